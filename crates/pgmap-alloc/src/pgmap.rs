//! A pgmap: device memory whose pages are idle, or in service as folios of any order.
//!
//! # The walk of one folio
//!
//! 1. [`Pgmap::alloc_folio_raw`] asks the pool for a run; the pool proposes and claims it. ([`Pgmap::request_folio_raw`] claims the
//!    run that the caller names.) From here the pages are ours alone.
//! 2. The driver's data is written, and the folio word goes `Idle` -> `Building`.
//! 3. Is the pgmap dying? Then the word goes back, the run goes back, and the caller is told.
//! 4. The word goes to `InService` with one reference: the folio can be found.
//! 5. [`Pgmap::get_raw`] and [`Pgmap::put_raw`] count on that word alone. [`Folio`](crate::Folio) is this walk as a type.
//! 6. The put that takes the last reference turns the word to `Freeing` and calls [`PgmapOps::folio_free`].
//! 7. The word goes to `Idle`, and the run back to the pool: the pages can be claimed again, at any order.

use crate::data::{DataCell, DriverData};
use crate::error::{AllocError, BuildError, FreeError, GetError, LookupError, PutError, RequestError};
use crate::folios::Folios;
use crate::lifetime::Lifetime;
use crate::memory::Memory;
use crate::offset::{Offset, Phys, Run};
use crate::order::Order;
use crate::pool::{GenPool, Params, PlacedRange, PoolNeeds, RangeSlot};
use crate::state::{AfterPut, PutFault, State, Word};
use crate::table::Table;

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
        AfterFree::Release
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

/// A folio that has just left service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed<D> {
    /// Its first page.
    pub offset: Offset,
    /// Its order.
    pub order: Order,
    /// What the driver kept with it.
    pub data: D,
}

/// What becomes of the pages of a folio that has left service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFree {
    /// They are idle: anyone may allocate them.
    Release,
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

/// What stands at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// A folio in service, or one that is being set up or freed.
    Folio {
        /// Its first page.
        head: Offset,
        /// Its order.
        order: Order,
    },
    /// Nothing: the page can be allocated.
    Idle,
    /// The driver has taken the page, without a folio.
    Block,
}

/// What a put left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Others hold references.
    InService,
    /// It was the last one: `folio_free` has been called.
    Freed,
}

/// A set of device-memory ranges, its pages idle or in service.
///
/// Every verb takes `&self`. Unless it says otherwise it is lock-free, allocates nothing, never sleeps and may be called from
/// any context, interrupts included.
pub struct Pgmap<'s, O: PgmapOps, const WORDS: usize = 8> {
    pub(crate) pool: GenPool<'s, WORDS>,
    pub(crate) folios: Folios<'s>,
    pub(crate) lifetime: Lifetime,
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
        Ok(Pgmap { pool, folios, lifetime: Lifetime::new(), ops, page_shift: params.page_shift })
    }

    /// [`Pgmap::new`] for tables of any size.
    #[cfg(feature = "alloc")]
    pub(crate) fn boxed(params: &Params<'_>, ops: O) -> Result<Self, BuildError> {
        let needed = storage_needed::<O, WORDS>(params)?;
        let words = Memory::boxed(needed.words).ok_or(BuildError::OutOfMemory)?;
        let data = Memory::boxed(needed.data).ok_or(BuildError::OutOfMemory)?;
        let pool = GenPool::boxed(params)?;
        Ok(Pgmap { pool, folios: Folios::new(words, data), lifetime: Lifetime::new(), ops, page_shift: params.page_shift })
    }

    /// The driver's side.
    pub fn ops(&self) -> &O {
        &self.ops
    }

    /// Whether it has been killed.
    pub fn is_dying(&self) -> bool {
        self.lifetime.is_dying()
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
        let run = self.take_run(order)?;
        if self.enter_service(run, data) {
            return Ok(run.start());
        }
        self.release(run);
        Err(AllocError::Dying)
    }

    /// Puts exactly these pages into service as one folio, if all of them are idle, with one reference that the caller owns and
    /// puts with [`Pgmap::put_raw`]. O(levels), the same for every order.
    pub fn request_folio_raw(&self, offset: Offset, order: Order, data: O::Data) -> Result<(), RequestError> {
        let run = self.take_run_at(offset, order)?;
        if self.enter_service(run, data) {
            return Ok(());
        }
        self.release(run);
        Err(RequestError::Dying)
    }

    /// Step 1 of the walk where the pool picks the run.
    #[inline]
    pub(crate) fn take_run(&self, order: Order) -> Result<Run, AllocError> {
        if self.lifetime.is_dying() {
            return Err(AllocError::Dying);
        }
        self.pool.take(order)
    }

    /// Step 1 of the walk where the caller picks the run: checked, and claimed from the pool.
    pub(crate) fn take_run_at(&self, offset: Offset, order: Order) -> Result<Run, RequestError> {
        if self.lifetime.is_dying() {
            return Err(RequestError::Dying);
        }
        let run = Run::new(offset, order)?;
        self.pool.check_inside(run)?;
        self.pool.take_at(run)?;
        Ok(run)
    }

    /// Steps 2 to 4 of the walk for an owned run; `false` if the pgmap is dying, and then the word is idle again.
    #[inline]
    pub(crate) fn enter_service(&self, run: Run, data: O::Data) -> bool {
        let word = self.folios.word(run.start());
        if !word.begin(run.order()) {
            // Only a word that was written behind our back: leaving the run taken is the safe way to be wrong.
            debug_assert!(false, "an owned run has a folio");
            return false;
        }
        if self.lifetime.is_dying() {
            word.abandon();
            return false;
        }
        self.folios.set_data(run.start(), data);
        word.publish(run.order());
        true
    }
}

/// References, and out of service.
impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A reference to the folio in service that covers `offset`: its head, if there is one.
    ///
    /// Lock-free; one probe per order at most. Never takes a count from 0 to 1.
    pub fn try_get_raw(&self, offset: Offset) -> Option<Offset> {
        let head = self.folios.covering(offset, self.largest_order())?.head;
        let now = self.folios.word(head).try_get()?;
        if offset.align_down(now.order()) == head {
            return Some(head);
        }
        // Between the probe and the reference the folio has made place for a smaller one.
        let _ = self.put_refs(head, 1);
        None
    }

    /// Takes one more reference to the folio in service at `head`. Touches only its word; lock-free.
    pub fn get_raw(&self, head: Offset) -> Result<(), GetError> {
        if !self.pool.has_offset(head) {
            return Err(GetError::OutOfRange);
        }
        self.folios.word(head).try_get().map(|_| ()).ok_or(GetError::NotInService)
    }

    /// Puts `n` references to the folio in service at `head`; more than there are is refused and changes nothing.
    ///
    /// Touches only its word unless it is the last; lock-free.
    pub fn put_raw(&self, head: Offset, n: u32) -> Result<Put, PutError> {
        if !self.pool.has_offset(head) {
            return Err(PutError::OutOfRange);
        }
        self.put_refs(head, n).map_err(|fault| match fault {
            PutFault::NotInService => PutError::NotInService,
            PutFault::TooMany { held } => PutError::TooMany { held },
        })
    }

    #[inline]
    pub(crate) fn put_refs(&self, head: Offset, n: u32) -> Result<Put, PutFault> {
        match self.folios.word(head).put(n)? {
            AfterPut::InService => Ok(Put::InService),
            AfterPut::LastPut(order) => {
                if let Some(run) = self.leave_service(head, order) {
                    self.release(run);
                }
                Ok(Put::Freed)
            }
        }
    }

    /// Steps 6 and 7 of the walk; the word is `Freeing` and ours. Says which run is to go back to the pool.
    #[inline]
    pub(crate) fn leave_service(&self, head: Offset, order: Order) -> Option<Run> {
        let data = self.folios.data(head);
        let after = self.ops.folio_free(Freed { offset: head, order, data });
        self.folios.set_data(head, O::Data::from_bits(0));
        self.folios.word(head).finish_free();
        (after == AfterFree::Release).then(|| Run::around(head.get(), order))
    }

    /// Gives an owned run back to the pool.
    #[inline]
    pub(crate) fn release(&self, run: Run) {
        let released = self.pool.give_back(run);
        debug_assert!(released.is_ok(), "an owned run was idle");
    }

    /// Gives back a block, or an aligned part of one, that the driver knows only as offset and order.
    ///
    /// Refuses pages that are idle or belong to a folio. To be sure of that it reads the run's folio words: O(2^order); a
    /// [`Block`](crate::Block) does without.
    pub fn free_block_raw(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        self.pool.check_inside(run)?;
        if let Some(found) = self.folios.covering(offset, self.largest_order()) {
            return Err(FreeError::InService { head: found.head });
        }
        let in_service = |page: &Offset| self.folios.word(*page).snapshot().state() != State::Idle;
        if let Some(head) = (offset.get()..run.end().get()).map(Offset::new).find(in_service) {
            return Err(FreeError::InService { head });
        }
        self.pool.free(offset, order)
    }

    /// What stands at `offset`. One probe per order at most; by the time it is read the answer may be old.
    pub fn lookup(&self, offset: Offset) -> Result<Lookup, LookupError> {
        if !self.pool.has_offset(offset) {
            return Err(LookupError::OutOfRange);
        }
        if let Some(found) = self.folios.covering(offset, self.largest_order()) {
            return Ok(Lookup::Folio { head: found.head, order: found.word.order() });
        }
        Ok(if self.pool.is_idle(offset) { Lookup::Idle } else { Lookup::Block })
    }

    /// Whether no reference to `offset` exists: a count of 0 and nothing else, so true for a block as well.
    pub fn is_idle(&self, offset: Offset) -> bool {
        self.folios.covering(offset, self.largest_order()).is_none_or(|found| found.word.refs() == 0)
    }
}
