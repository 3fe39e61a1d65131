//! A pgmap: device memory whose pages are idle, or in service as folios of any order.
//!
//! # The walk of one folio
//!
//! 1. [`Pgmap::alloc_folio_raw`] asks the pool for a run; the pool proposes and claims it. ([`Pgmap::request_folio_raw`] claims the
//!    run that the caller names.) From here the pages are ours alone.
//! 2. The driver's data is written, and the folio word goes `Idle` -> `Building`.
//! 3. Is the pgmap dying, or has a page of the run gone bad? Then the word goes back, the run goes back, and the caller is told.
//! 4. The word goes to `InService` with one reference: the folio can be found.
//! 5. [`Pgmap::get_raw`] and [`Pgmap::put_raw`] count on that word alone (`references`). [`Folio`](crate::Folio) is this walk as a
//!    type.
//! 6. The put that takes the last reference turns the word to `Freeing` and calls [`PgmapOps::folio_free`].
//! 7. The word goes to `Idle`, and the run back to the pool: the pages can be claimed again, at any order.
//! 8. Does anyone wait for these pages, or is one of them bad? Only then is there more to do.

use crate::data::{DataCell, DriverData};
use crate::error::{AllocError, BuildError, FreeError, RequestError};
use crate::folios::Folios;
use crate::leaving::Leaving;
use crate::lifetime::Lifetime;
use crate::marks::Marks;
use crate::memory::Memory;
use crate::memory_type::{FreeRule, MemoryType};
use crate::offset::{Offset, Phys, Run};
use crate::order::Order;
use crate::pool::{GenPool, Params, PlacedRange, PoolNeeds, RangeSlot};
use crate::standing::Lookup;
use crate::state::{State, Word};
use crate::table::Table;
use crate::trace::Event;
use crate::waiters::Waiters;

/// What the driver says to a pgmap.
pub trait PgmapOps {
    /// What the driver keeps with each folio; `()` for nothing.
    type Data: DriverData;

    /// The last reference of a folio is gone.
    ///
    /// Called exactly once per period of service, by whoever put that reference and in that context, which may be an interrupt:
    /// must not sleep, cannot fail. The pages become allocatable after it has returned, never before. It may call the pgmap.
    /// If it panics, the folio is leaked and the pgmap never drains.
    fn folio_free(&self, folio: Freed<Self::Data>) -> AfterFree {
        let _ = folio;
        AfterFree::ByType
    }

    /// A folio is being split: called for each part but the first with the part's first page, then once with `None`.
    ///
    /// The answer is what the driver keeps with that part, or at last with the first one. The parts are in service, but nobody
    /// can find them yet. May be called in any context: must not sleep, cannot fail.
    fn folio_split(&self, whole: Freed<Self::Data>, part: Option<Offset>) -> Self::Data {
        let _ = part;
        whole.data
    }

    /// A page has been found bad, and whose it is. Called once per page, by whoever retired it and in that context.
    fn memory_failure(&self, failure: Failure<Self::Data>) {
        let _ = failure;
    }

    /// Something has happened ([`Event`]); costs nothing unless the driver watches. In any context: must not sleep.
    #[inline]
    fn trace(&self, event: Event) {
        let _ = event;
    }

    /// Which line of [`MemoryType::TABLE`] holds for its memory; must always answer the same.
    fn memory_type(&self) -> MemoryType {
        MemoryType::DevicePrivate
    }

    /// The pgmap has been killed and is about to be drained: stop what keeps folios in service. Called once.
    fn quiesce(&self) {}

    /// The last folio is idle, and no `folio_free` is running. Called once, by [`Drained::teardown`](crate::Drained::teardown).
    fn teardown(&self) {}
}

/// Nothing to keep, nothing to say.
impl PgmapOps for () {
    type Data = ();
}

/// A folio as the driver hears of it: one that has just left service, or is about to be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed<D> {
    /// Its first page.
    pub offset: Offset,
    /// Its order.
    pub order: Order,
    /// What the driver kept with it.
    pub data: D,
}

/// A page that has been found bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<D> {
    /// The page.
    pub offset: Offset,
    /// What stood there.
    pub owner: Lookup,
    /// What the driver kept with the folio, if it was a folio in service.
    pub data: Option<D>,
}

/// What becomes of the pages of a folio that has left service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFree {
    /// What the memory type says ([`MemoryType::TABLE`]).
    ByType,
    /// They are idle: anyone may allocate them. What they hold is not known.
    Release,
    /// The same, and all of them are zero: for a pool that tracks it ([`Params::tracking_clear`]), else as `Release`. From a per-CPU
    /// handle too they go to the pool at once, which is where clear pages are looked for.
    ReleaseCleared,
    /// They stay with the driver, as a block without a folio ([`Pgmap::free_block_raw`] gives them back).
    Keep,
}

/// How much metadata a pgmap needs, in elements of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageNeeded {
    /// Tables; see [`PoolNeeds::tables`].
    pub tables: usize,
    /// Range slots.
    pub ranges: usize,
    /// Folio words: one for each offset, touched only where a folio has started.
    pub words: usize,
    /// Data cells: one for each offset, none if the driver keeps nothing.
    pub data: usize,
}

/// How much metadata a pgmap with these parameters and this driver needs.
pub fn storage_needed<O: PgmapOps, const WORDS: usize>(params: &Params<'_>) -> Result<StorageNeeded, BuildError> {
    let needs = PoolNeeds::of::<WORDS>(params)?;
    let pages = usize::try_from(needs.pages).map_err(|_| BuildError::Unaddressable)?;
    let data = if O::Data::STORED { pages } else { 0 };
    Ok(StorageNeeded { tables: needs.tables, ranges: needs.ranges, words: pages, data })
}

/// Zeroed (fresh) metadata that the caller lends to a pgmap.
///
/// All-zero memory is valid, so memory that the operating system zeroes when it is first touched is never touched needlessly.
pub struct Storage<'s, const WORDS: usize = 8> {
    /// See [`StorageNeeded::tables`].
    pub tables: &'s mut [Table<WORDS>],
    /// See [`StorageNeeded::ranges`].
    pub ranges: &'s mut [RangeSlot],
    /// See [`StorageNeeded::words`].
    pub words: &'s mut [Word],
    /// See [`StorageNeeded::data`].
    pub data: &'s mut [DataCell],
}

/// A set of device-memory ranges, its pages idle or in service.
///
/// Every verb takes `&self`. Unless it says otherwise it is lock-free, allocates nothing, never sleeps and may be called from
/// any context, interrupts included.
pub struct Pgmap<'s, O: PgmapOps, const WORDS: usize = 8> {
    pub(crate) pool: GenPool<'s, WORDS>,
    pub(crate) folios: Folios<'s>,
    pub(crate) lifetime: Lifetime,
    pub(crate) marks: Marks,
    pub(crate) leaving: Leaving,
    pub(crate) waiters: Waiters,
    ops: O,
    page_shift: u32,
}

#[cfg(feature = "alloc")]
impl<O: PgmapOps> Pgmap<'static, O> {
    /// Builds a pgmap that owns its metadata: 1 bit and 8 bytes per page (8 more with driver data), of which only what is used
    /// is ever touched.
    pub fn new(params: &Params<'_>, ops: O) -> Result<Self, BuildError> {
        Self::boxed(params, ops)
    }
}

impl<'s, O: PgmapOps, const WORDS: usize> Pgmap<'s, O, WORDS> {
    /// Builds a pgmap over metadata that the caller lends, all of it zeroed. Needs no allocator.
    pub fn with_storage(params: &Params<'_>, storage: Storage<'s, WORDS>, ops: O) -> Result<Self, BuildError> {
        let needed = storage_needed::<O, WORDS>(params)?;
        if storage.words.len() < needed.words {
            return Err(BuildError::WordStorage { needed: needed.words, given: storage.words.len() });
        }
        if storage.data.len() < needed.data {
            return Err(BuildError::DataStorage { needed: needed.data, given: storage.data.len() });
        }
        let pool = GenPool::with_storage(params, storage.tables, storage.ranges)?;
        let folios = Folios::new(Memory::Lent(storage.words), Memory::Lent(storage.data));
        Ok(Self::assemble(pool, folios, ops, params.page_shift))
    }

    /// [`Pgmap::new`] for tables of any size: models and exhaustive tests want tiny ones.
    #[cfg(feature = "alloc")]
    pub fn boxed(params: &Params<'_>, ops: O) -> Result<Self, BuildError> {
        let needed = storage_needed::<O, WORDS>(params)?;
        let words = Memory::boxed(needed.words).ok_or(BuildError::OutOfMemory)?;
        let data = Memory::boxed(needed.data).ok_or(BuildError::OutOfMemory)?;
        let pool = GenPool::boxed(params)?;
        Ok(Self::assemble(pool, Folios::new(words, data), ops, params.page_shift))
    }

    fn assemble(pool: GenPool<'s, WORDS>, folios: Folios<'s>, ops: O, page_shift: u32) -> Self {
        Pgmap {
            pool,
            folios,
            lifetime: Lifetime::new(),
            marks: Marks::new(),
            leaving: Leaving::new(),
            waiters: Waiters::new(),
            ops,
            page_shift,
        }
    }

    /// The driver's side.
    pub fn ops(&self) -> &O {
        &self.ops
    }

    /// Whether it has been killed.
    pub fn is_dying(&self) -> bool {
        self.lifetime.now().is_dying()
    }

    /// How many pages it has, idle or not. O(number of ranges).
    pub fn pages(&self) -> u64 {
        self.pool.size()
    }

    /// The base-2 logarithm of the page size in bytes.
    pub fn page_shift(&self) -> u32 {
        self.page_shift
    }

    /// The largest order that it holds when empty.
    pub fn largest_order(&self) -> Order {
        self.pool.largest_order()
    }

    /// Its physical ranges and the offsets that they were given, in rising order of offset.
    pub fn ranges(&self) -> impl Iterator<Item = PlacedRange> {
        self.pool.ranges()
    }

    /// The physical address of a page: for programming hardware. O(log n) in the number of ranges.
    pub fn phys(&self, offset: Offset) -> Option<Phys> {
        self.pool.phys(offset)
    }

    /// The page that a physical address lies in: for fault handlers and diagnostics. O(n) in the number of ranges.
    pub fn offset_of(&self, phys: Phys) -> Option<Offset> {
        self.pool.offset_of(phys)
    }
}

/// Into service.
impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Puts idle pages into service as a folio of `order`, wherever they fit best, with one reference that the caller owns and
    /// puts with [`Pgmap::put_raw`]. O(levels), the same for every order.
    ///
    /// For drivers that keep offsets in their own structures; [`Pgmap::alloc_folio`] keeps the reference in a type.
    #[inline]
    pub fn alloc_folio_raw(&self, order: Order, data: O::Data) -> Result<Offset, AllocError> {
        loop {
            let run = self.take_run(order).inspect_err(|_| self.ops.trace(Event::Refused { order }))?;
            let Err(refusal) = self.enter_service(run, data) else {
                self.ops.trace(Event::Alloc { offset: run.start(), order });
                return Ok(run.start());
            };
            // Giving an unfit run back takes it out of the pool, so the next run is another.
            self.release_refused(run, refusal);
            if refusal == Refusal::Dying {
                return Err(AllocError::Dying);
            }
        }
    }

    /// Puts exactly these pages into service as one folio, if all of them are idle, with one reference that the caller owns and
    /// puts with [`Pgmap::put_raw`]. O(levels), the same for every order.
    pub fn request_folio_raw(&self, offset: Offset, order: Order, data: O::Data) -> Result<(), RequestError> {
        let run = self.take_run_at(offset, order)?;
        self.enter_service(run, data).map_err(|refusal| {
            self.release_refused(run, refusal);
            RequestError::from(refusal)
        })?;
        self.ops.trace(Event::Request { offset, order });
        Ok(())
    }

    /// Step 1 of the walk where the pool picks the run.
    #[inline]
    pub(crate) fn take_run(&self, order: Order) -> Result<Run, AllocError> {
        if self.lifetime.now().is_dying() {
            return Err(AllocError::Dying);
        }
        self.pool.take(order)
    }

    /// Step 1 of the walk where the caller picks the run: checked, and claimed from the pool.
    pub(crate) fn take_run_at(&self, offset: Offset, order: Order) -> Result<Run, RequestError> {
        if self.lifetime.now().is_dying() {
            return Err(RequestError::Dying);
        }
        let run = Run::new(offset, order)?;
        self.pool.check_inside(run)?;
        self.pool.take_at(run)?;
        Ok(run)
    }

    /// Steps 2 to 4 of the walk for an owned run; after a refusal the word is as before and the run still owned.
    #[inline]
    pub(crate) fn enter_service(&self, run: Run, data: O::Data) -> Result<(), Refusal> {
        let word = self.folios.word(run.start());
        if !word.begin(run.order()) {
            return Err(Refusal::Occupied);
        }
        if !self.lifetime.now().is_calm()
            && let Err(refusal) = self.check_calm(run)
        {
            word.abandon();
            return Err(refusal);
        }
        self.folios.set_data(run.start(), data);
        word.publish(run.order());
        Ok(())
    }

    /// Gives a run back that did not enter service; where a folio stands on it already it stays taken, as it should have been.
    pub(crate) fn release_refused(&self, run: Run, refusal: Refusal) {
        if refusal != Refusal::Occupied {
            self.release(run);
        }
    }

    /// Step 3 of the walk when there is something to look at.
    #[cold]
    pub(crate) fn check_calm(&self, run: Run) -> Result<(), Refusal> {
        let now = self.lifetime.now();
        if now.is_dying() {
            return Err(Refusal::Dying);
        }
        match self.is_unfit(run) {
            true => Err(Refusal::Unfit),
            false => Ok(()),
        }
    }

    /// Whether a page of a run is to be retired, or its range is leaving.
    pub(crate) fn is_unfit(&self, run: Run) -> bool {
        let marked = self.lifetime.now().is_marked();
        marked && (self.marks.within(run).next().is_some() || self.leaving.within(run).is_some())
    }
}

/// Why an owned run does not enter service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The pgmap has been killed.
    Dying,
    /// A page is to be retired, or its range is leaving.
    Unfit,
    /// There is a folio already: its pages were given back while it was in service, through the raw forms.
    Occupied,
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> RequestError {
        match refusal {
            Refusal::Dying => RequestError::Dying,
            Refusal::Unfit => RequestError::Retired,
            Refusal::Occupied => RequestError::Busy,
        }
    }
}

/// Out of service.
impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Steps 6 and 7 of the walk; the word is `Freeing` and ours. Says which run is to go back to the pool; whoever gives it back
    /// does step 8.
    #[inline]
    pub(crate) fn leave_service(&self, head: Offset, order: Order) -> Option<Run> {
        let run = Run::around(head.get(), order);
        match self.end_folio(run) {
            AfterFree::Release => return Some(run),
            AfterFree::ReleaseCleared => self.release_cleared(run),
            AfterFree::Keep | AfterFree::ByType => self.attend(run),
        }
        None
    }

    /// Step 6 of the walk; afterwards the word is idle and the run the caller's. Says what the driver wants, never `ByType`.
    #[inline]
    pub(crate) fn end_folio(&self, run: Run) -> AfterFree {
        let (head, order) = (run.start(), run.order());
        let data = self.folios.data(head);
        self.ops.trace(Event::FolioFree { offset: head, order });
        let after = self.ops.folio_free(Freed { offset: head, order, data });
        self.folios.set_data(head, O::Data::from_bits(0));
        self.folios.word(head).finish_free();
        match after {
            AfterFree::ByType if self.ops.memory_type().rules().free == FreeRule::Keep => AfterFree::Keep,
            AfterFree::ByType => AfterFree::Release,
            AfterFree::ReleaseCleared if !self.pool.tracks_clear() => AfterFree::Release,
            after => after,
        }
    }

    /// Steps 7 and 8 of the walk: gives an owned run, whose word is idle, back to the pool.
    #[inline]
    pub(crate) fn release(&self, run: Run) {
        // Refused only if pages were given back behind the owner's back, through the raw forms: they are idle already.
        let _ = self.pool.give_back(run);
        if !self.is_calm_after() {
            self.attend(run);
        }
    }

    /// [`Pgmap::release`] of pages that are all zero.
    #[cold]
    pub(crate) fn release_cleared(&self, run: Run) {
        // As in `release`.
        let _ = self.pool.give_back_cleared(run);
        if !self.is_calm_after() {
            self.attend(run);
        }
    }

    /// Whether step 8 of the walk is empty; asked by whoever has ended a folio or released a run.
    #[inline]
    pub(crate) fn is_calm_after(&self) -> bool {
        self.lifetime.afterwards().is_calm()
    }

    /// Step 8 of the walk: retires the bad pages of a run that has just become idle, and wakes whoever waits for it.
    #[cold]
    pub(crate) fn attend(&self, run: Run) {
        let now = self.lifetime.afterwards();
        if now.is_marked() {
            for page in self.marks.within(run) {
                self.try_to_retire(page);
            }
            if let Some((first, end)) = self.leaving.within(run) {
                self.take_leaving(first, end);
            }
        }
        if now.is_awaited() {
            self.waiters.fire(run);
        }
    }

    /// Gives back a block, or an aligned part of one, that the driver knows only as offset and order.
    ///
    /// Refuses pages that are idle or belong to a folio. To be sure of that it reads the run's folio words: O(2^order); a
    /// [`Block`](crate::Block) does without. Pages at hand in a per-CPU handle look like a block: a driver that frees those by
    /// mistake is not told.
    pub fn free_block_raw(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        self.pool.check_inside(run)?;
        if let Some(found) = self.folio_in(run) {
            return Err(match found.word.state() {
                State::Retired => FreeError::Retired { page: found.head },
                State::Special => FreeError::Special { head: found.head },
                _ => FreeError::InService { head: found.head },
            });
        }
        self.pool.free(offset, order)?;
        if !self.is_calm_after() {
            self.attend(run);
        }
        Ok(())
    }
}
