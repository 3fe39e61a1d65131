//! The pool: which offsets are idle, at every order, and nothing about folios.
//!
//! ```text
//! order  0..8   entries of a PTE table    512 x 4 KiB
//! order  9..17  entries of a PMD table    512 x 2 MiB
//! order 18..26  entries of a PUD table    512 x 1 GiB     ... and so on
//! ```
//!
//! An entry is a 1 where it is wholly idle *at its level*. A 0 is taken, split into the table below, or outside. The code is the
//! same at every level.
//!
//! | step | file |
//! |---|---|
//! | what a pool is made of | `params` |
//! | where an offset falls | `shape`, `tables` |
//! | which offsets there are | `ranges` |
//! | propose a table and claim in it, splitting larger entries | `search` |
//! | claim exactly these offsets | `fixed` |
//! | give back, and merge upwards | `give_back` |
//! | which tables to look into | `listing`, `in_use` |
//! | what came back a moment ago | `fresh`, `reuse` |
//! | what the per-CPU handles have | `handles`, `local` |
//! | when a refusal is true | `motion`, `prove` |
//! | contiguous pages of any number, by any fit | `asked`, `choose`, `nearby`, `fit`, `extents` |
//! | the largest run, and the fewest that do | `largest`, `fewest` |
//! | many runs, or pages by the word, in one call | `pieces`, `scatter`, `words`, `bulk`, `local_bulk` |
//! | bits beside the tables | `plane` |
//! | two phases: reserve, commit | `reserve`, `held` |
//! | which idle pages are cleared | `notes`, `hunt`, `clear` |
//! | how many idle runs there are of each order | `runs` |
//! | idle pages in order of offset | `walk` |
//! | windows as sub-pools | `partition` |
//! | what to evict to make room | `scan` |
//! | add and take away ranges | `hotplug` |
//! | coming before or after every owner of some pages | `meeting` |
//! | is all this consistent? | `audit` |
//!
//! Splitting claims an entry first: what is below is then wholly ours, and is filled and listed before anyone relies on it.
//! Merging claims all of a table first, and then sets the entry above. A table that has just become wholly idle is not merged
//! at once but kept as the caller's *spare*, so that a pair of allocation and free does not split and merge every time; the
//! spare is merged when another takes its place, or when a larger run is wanted, and until then is used before another whole table is
//! split, but after all tables that are in use.

// As in `lib.rs`: a part uses only what stands above it.
mod shape;
mod tables;
mod ranges;
mod plane;
mod fresh;
mod runs;
mod params;
pub mod fit;
mod motion;
mod held;
mod notes;
mod meeting;
mod listing;
mod in_use;
mod handles;
mod give_back;
mod reuse;
mod walk;
mod prove;
mod search;
mod fixed;
mod taken;
mod local;
mod hunt;
mod clear;
mod asked;
mod choose;
mod nearby;
mod extents;
mod scan;
mod largest;
mod fewest;
mod pieces;
mod scatter;
mod words;
mod bulk;
mod local_bulk;
mod partition;
mod reserve;
mod hotplug;
mod audit;
#[cfg(all(test, feature = "alloc", not(loom)))]
mod tests;

use crate::error::{AllocError, BuildError, FreeError, RequestError};
use crate::memory::{Memory, Metadata, look_fresh, refresh};
use crate::offset::{Offset, Phys, Run};
use crate::order::Order;
use crate::sync::caller_slot;
use crate::table::Table;

pub use asked::{ExtentParams, Mode};
pub(crate) use audit::Fault;
pub use clear::{DirtyRun, DirtyRuns, Wish};
use fresh::Fresh;
use give_back::Spares;
use handles::Handles;
use held::Held;
use hunt::Finds;
use listing::Summary;
pub(crate) use local::Local;
pub use local::LocalPool;
pub(crate) use motion::Motion;
use notes::Clear;
pub use notes::Contents;
pub(crate) use notes::Forgotten;
use params::Layout;
pub use params::{ClearState, Params, PoolNeeds, Reservations, Reuse, RunCounts};
pub use partition::Partition;
use ranges::Ranges;
pub use ranges::{NewRange, PlacedRange, RangeSlot};
pub use reserve::Reservation;
pub use runs::IdleRuns;
use runs::Runs;
pub use scatter::ScatterParams;
use search::Hints;
use shape::{Place, Shape};
use tables::{CALLERS, Tables};
pub use taken::Taken;

/// A pool of offsets: gen_pool's place in a driver, without folios.
///
/// Hands out naturally aligned runs of any order. All verbs take `&self`, are lock-free unless they say otherwise, allocate
/// nothing and never sleep, so they may be called from any context, interrupts included.
pub struct GenPool<'s, const WORDS: usize = 8> {
    shape: Shape<WORDS>,
    ranges: Ranges<'s>,
    metadata: Memory<'s, Table<WORDS>>,
    /// Stands for a table that the shape does not have, in which nothing is ever idle: spares every access a panic.
    outside: Table<WORDS>,
    summary: Summary,
    motion: Motion,
    hints: Hints,
    fresh: Fresh,
    spares: Spares,
    handles: Handles,
    held: Held,
    clear: Clear,
    finds: Finds,
    runs: Runs,
}

#[cfg(feature = "alloc")]
impl GenPool<'static> {
    /// Builds a pool that owns its metadata. Touches only the tables at the edges of ranges. O(n log n) in the number of ranges.
    pub fn new(params: &Params<'_>) -> Result<Self, BuildError> {
        Self::boxed(params)
    }
}

impl<'s, const WORDS: usize> GenPool<'s, WORDS> {
    pub(super) const RADIX: u32 = Table::<WORDS>::RADIX;

    /// Builds a pool over the caller's metadata, whatever it was used for before.
    ///
    /// O(metadata): all that is needed is read, and written where it is not zero. [`GenPool::with_zeroed_storage`] is for large pools.
    pub fn with_storage(
        params: &Params<'_>,
        tables: &'s mut [Table<WORDS>],
        ranges: &'s mut [RangeSlot],
    ) -> Result<Self, BuildError> {
        let (tables, ranges) = Self::check_storage(params, tables, ranges)?;
        refresh(tables);
        refresh(ranges);
        Self::build(params, Memory::Lent(tables), Memory::Lent(ranges))
    }

    /// Builds a pool over metadata that the caller knows to be zero, such as memory that comes fresh from the operating system. As
    /// [`GenPool::new`] it touches only the tables at the edges of ranges.
    ///
    /// [`BuildError::UsedStorage`] if one of the range slots, of the first 64 tables, or of the tables that have to be touched is not
    /// zero. The storage of a pool that has gone is found by its range slots. What is not looked at is taken for zero: pages may be
    /// handed out twice if it is not.
    pub fn with_zeroed_storage(
        params: &Params<'_>,
        tables: &'s mut [Table<WORDS>],
        ranges: &'s mut [RangeSlot],
    ) -> Result<Self, BuildError> {
        let (tables, ranges) = Self::check_storage(params, tables, ranges)?;
        if !ranges.iter().all(RangeSlot::is_fresh) || !look_fresh(tables) {
            return Err(BuildError::UsedStorage);
        }
        let (tables, ranges) = (&*tables, &*ranges);
        let pool = Self::unseeded(params, Memory::Lent(tables), Memory::Lent(ranges))?;
        if !pool.edges_are_fresh() {
            ranges.iter().for_each(RangeSlot::forget);
            return Err(BuildError::UsedStorage);
        }
        Ok(pool.seeded())
    }

    /// Whether the tables at the edges of ranges, which are about to be touched, are as new.
    fn edges_are_fresh(&self) -> bool {
        self.ranges.iter().all(|range| {
            let ends = [range.first, Offset::new(range.end().get() - 1)];
            let tables = ends.into_iter().flat_map(|page| (0..=self.shape.top).map(move |level| (page, level)));
            tables.into_iter().all(|(page, level)| self.table(level, self.shape.entry(page, level).0).is_fresh())
        })
    }

    /// As much of the caller's metadata as is needed, if it is enough.
    fn check_storage(
        params: &Params<'_>,
        tables: &'s mut [Table<WORDS>],
        ranges: &'s mut [RangeSlot],
    ) -> Result<(&'s mut [Table<WORDS>], &'s mut [RangeSlot]), BuildError> {
        let needs = PoolNeeds::of::<WORDS>(params)?;
        if ranges.len() < needs.ranges {
            return Err(BuildError::TooManyRanges { given: needs.ranges, slots: ranges.len() });
        }
        let given = tables.len();
        let tables = tables.get_mut(..needs.tables).ok_or(BuildError::TableStorage { needed: needs.tables, given })?;
        Ok((tables, ranges))
    }

    /// [`GenPool::new`] for tables of any size: models and exhaustive tests want tiny ones.
    #[cfg(feature = "alloc")]
    pub fn boxed(params: &Params<'_>) -> Result<Self, BuildError> {
        let needs = PoolNeeds::of::<WORDS>(params)?;
        let tables = Memory::boxed(needs.tables).ok_or(BuildError::OutOfMemory)?;
        let ranges = Memory::boxed(needs.ranges).ok_or(BuildError::OutOfMemory)?;
        Self::build(params, tables, ranges)
    }

    fn build(params: &Params<'_>, tables: Memory<'s, Table<WORDS>>, slots: Memory<'s, RangeSlot>) -> Result<Self, BuildError> {
        Self::unseeded(params, tables, slots).map(Self::seeded)
    }

    /// A pool that knows its ranges, of which nothing is idle yet.
    fn unseeded(params: &Params<'_>, tables: Memory<'s, Table<WORDS>>, slots: Memory<'s, RangeSlot>) -> Result<Self, BuildError> {
        let Layout { shape, fresh, held, clear, runs, .. } = Layout::new(params)?;
        let ranges = Ranges::new(slots, params.page_shift, shape.entry_order(shape.top + 1));
        // Not shared yet, so the right to change it is free.
        let mut change = ranges.change().ok_or(BuildError::NoRange)?;
        params.new_ranges().enumerate().try_for_each(|(index, new)| change.append(&new, index).map(drop))?;
        drop(change);
        Ok(GenPool {
            ranges,
            shape,
            metadata: tables,
            outside: Table::new(),
            summary: Summary::new(),
            motion: Motion::new(),
            hints: Hints::new(),
            fresh,
            spares: Spares::new(),
            handles: Handles::new(),
            held: Held::new(held),
            clear: Clear::new(clear),
            finds: Finds::new(),
            runs,
        })
    }

    /// All of its ranges idle.
    fn seeded(self) -> Self {
        for range in self.ranges.iter() {
            self.seed(range.first, range.end());
        }
        self
    }

    /// How many pages it manages, idle or not.
    pub fn size(&self) -> u64 {
        self.ranges.pages()
    }

    /// The largest order that it holds when empty.
    #[inline]
    pub fn largest_order(&self) -> Order {
        self.ranges.largest()
    }

    /// Its ranges, in rising order of offset.
    pub fn ranges(&self) -> impl Iterator<Item = PlacedRange> {
        self.ranges.iter()
    }

    /// Whether `offset` belongs to it. O(log n) in the number of ranges.
    pub fn has_offset(&self, offset: Offset) -> bool {
        self.ranges.end_of(offset).is_some()
    }

    /// The range that `offset` belongs to, with its tag. O(log n) in the number of ranges.
    pub fn range_at(&self, offset: Offset) -> Option<PlacedRange> {
        self.ranges.of(offset)
    }

    /// The physical address of a page. O(log n) in the number of ranges.
    pub fn phys(&self, offset: Offset) -> Option<Phys> {
        self.ranges.phys(offset)
    }

    /// The page that a physical address lies in. O(log n) in the number of ranges.
    pub fn offset_of(&self, phys: Phys) -> Option<Offset> {
        self.ranges.offset_of(phys)
    }

    /// Takes a run of `order` wherever it fits best.
    ///
    /// Lock-free; O(levels) plus one look at each stale hint that it meets and repairs. A refusal is true: during the call
    /// there was a moment without a fitting idle run; where that cannot be shown the error is [`AllocError::Contended`]. To say
    /// whether there are too few pages or they are scattered, which is as it was a moment later, it counts idle pages up to the size
    /// of the run: O(2^order) tables at most.
    #[inline]
    pub fn alloc(&self, order: Order) -> Result<Offset, AllocError> {
        self.take(order).map(Run::start)
    }

    /// Takes exactly the run of `order` at `offset`. Lock-free; O(levels).
    pub fn alloc_at(&self, offset: Offset, order: Order) -> Result<(), RequestError> {
        let run = Run::new(offset, order)?;
        self.check_inside(run)?;
        self.take_at(run)
    }

    /// Gives back a run, or any aligned part of one.
    ///
    /// Lock-free; O(levels), and O(2^k) words for a run of 2^k entries of its table. Refuses what is idle already, also when two free
    /// the same run at the same moment: one of them is refused. That check misses pages that are at hand in a per-CPU handle, which
    /// look taken to everyone else, and a part of a run of more than 64 entries, or at another level, that is freed at the very moment
    /// when the whole is.
    #[inline]
    pub fn free(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        self.check_inside(run)?;
        // By far most runs are pages or a few, and the tables of those are the easiest to find.
        if order.get() < Self::RADIX {
            self.free_at(run, self.shape.place_at(0, run))
        } else {
            self.free_at(run, self.shape.place(run))
        }
    }

    /// Why [`GenPool::free`] would refuse a run at this moment.
    pub(crate) fn check_free(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        self.check_inside(run)?;
        self.check_taken(run)?;
        self.idle_page_in(run).map_or(Ok(()), |page| Err(FreeError::DoubleFree { page }))
    }

    /// Gives back a run that lies in a range, at its place.
    #[inline(always)]
    fn free_at(&self, run: Run, place: Place) -> Result<(), FreeError> {
        let tables = self.tables();
        self.check_taken_at(tables, run, place)?;
        self.mark(run, Contents::Dirty);
        self.put_back_at(|| caller_slot(CALLERS), tables, place)
    }

    /// Refuses a run of which a page is held by a reservation, or idle at another level than its own; at its own level the release
    /// sees it.
    fn check_taken(&self, run: Run) -> Result<(), FreeError> {
        self.check_taken_at(self.tables(), run, self.shape.place(run))
    }

    #[inline(always)]
    fn check_taken_at(&self, tables: Tables<'_, WORDS>, run: Run, place: Place) -> Result<(), FreeError> {
        if let Some(page) = self.held_in(run) {
            return Err(FreeError::Held { page });
        }
        // Where notes are kept, those of idle pages must not be touched by a free that is refused.
        let idle = if self.clear.is_tracked() { self.idle_page_in(run) } else { self.idle_page_around(tables, run, place) };
        match idle {
            Some(page) => Err(FreeError::DoubleFree { page }),
            None => Ok(()),
        }
    }

    /// Whether `offset` is idle at this moment.
    pub fn is_idle(&self, offset: Offset) -> bool {
        // The tables know no offset beyond the last.
        self.has_offset(offset) && self.idle_run(offset).is_some()
    }

    /// The largest entry that is wholly idle and holds `offset`, which lies in a range.
    pub(crate) fn idle_run(&self, offset: Offset) -> Option<Run> {
        (0..=self.shape.top).rev().find_map(|level| {
            let (table, entry) = self.shape.entry(offset, level);
            let idle = self.table(level, table).is_idle(entry, 0);
            idle.then(|| self.shape.run(Place { level, table, entry, order: 0 }))
        })
    }

    /// Refuses a run that is not wholly in one range.
    #[inline(always)]
    pub(crate) fn check_inside(&self, run: Run) -> Result<(), Outside> {
        if self.ranges.is_in_the_only_one(run.start(), run.end()) { Ok(()) } else { self.check_among_ranges(run) }
    }

    #[inline(never)]
    fn check_among_ranges(&self, run: Run) -> Result<(), Outside> {
        let end = self.ranges.end_of(run.start()).ok_or(Outside::OutOfRange)?;
        if run.end() > end { Err(Outside::CrossesRange) } else { Ok(()) }
    }

    /// The order of the largest run that the tables can name.
    pub(super) fn largest_entry(&self) -> Order {
        Order::clamped((self.shape.top + 1) * Self::RADIX - 1)
    }

    /// The range at `offset`, or the next one after it.
    pub(crate) fn range_from(&self, offset: Offset) -> Option<PlacedRange> {
        self.ranges.at_or_after(offset)
    }
}

/// How a run can fail to lie in a range.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outside {
    OutOfRange,
    CrossesRange,
}

impl From<Outside> for RequestError {
    fn from(outside: Outside) -> RequestError {
        match outside {
            Outside::OutOfRange => RequestError::OutOfRange,
            Outside::CrossesRange => RequestError::CrossesRange,
        }
    }
}

impl From<Outside> for FreeError {
    fn from(outside: Outside) -> FreeError {
        match outside {
            Outside::OutOfRange => FreeError::OutOfRange,
            Outside::CrossesRange => FreeError::CrossesRange,
        }
    }
}

/// Cuts `[start, end)` into the largest aligned runs below order `limit`.
pub(crate) fn runs_of(start: u64, end: u64, limit: Order) -> impl Iterator<Item = Run> {
    let mut at = start;
    core::iter::from_fn(move || {
        let fitting = Order::fitting(end.checked_sub(at)?)?.get();
        let aligned = if at == 0 { fitting } else { at.trailing_zeros() };
        let order = Order::clamped(fitting.min(aligned).min(limit.get().saturating_sub(1)));
        let run = Run::around(at, order);
        at = run.end().get();
        Some(run)
    })
}
