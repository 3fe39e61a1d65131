//! What a pool is made of, and how much metadata that takes.

use super::fresh::Fresh;
use super::plane::Plane;
use super::ranges::{NewRange, PlacedRange, bytes_of, most_offsets, place_behind, unsound};
use super::runs::Runs;
use super::shape::Shape;
use crate::error::BuildError;
use crate::offset::PhysRange;
use crate::order::Order;

/// What a pool is made of.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    /// The physical ranges, in the order in which they get their offsets.
    pub ranges: &'a [PhysRange],
    /// The base-2 logarithm of the page size in bytes: 12 for pages of 4 KiB.
    pub page_shift: u32,
    /// How many pages the last range may grow to ([`GenPool::grow_range`](crate::GenPool::grow_range)); that many offsets are kept
    /// for it. A number below its present length counts as that length.
    pub grows_to: u64,
    /// How many ranges can be added at run time, beyond those given.
    pub spare_ranges: usize,
    /// Offsets below this one can be given to ranges, those added at run time included; less than what `ranges` need counts as
    /// that. Costs metadata that is touched only where it is used.
    ///
    /// A range takes up to twice as many offsets as it has pages: it starts where its offsets agree with its addresses, and neighbours
    /// that would complete an aligned run between them are kept apart. [`Params::with_room_for`] computes what is enough wherever the
    /// ranges lie; where they are known, [`PoolNeeds::pages`] of a pool with all of them is what they take, one after another.
    pub offsets: u64,
    /// Whether runs can be reserved ([`GenPool::reserve`](crate::GenPool::reserve)): one more bit per page.
    pub reservations: Reservations,
    /// Whether the pool remembers which idle pages are cleared: one more bit per page, and one more step in each free.
    pub clear: ClearState,
    /// Whether the pool counts its idle runs: one more bit per page, and one more step in each allocation and free.
    pub runs: RunCounts,
    /// Which of several idle runs that would do is taken.
    pub reuse: Reuse,
}

/// Which of several idle runs that would do the pool itself takes; what handles have at hand comes before either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// The one that came back last, if it has just the order that is asked for, else the one that fits tightest: the tables of most
    /// runs that come back need not be listed, and their metadata is near.
    Latest,
    /// Always the one that fits tightest, the lowest of several: what is left idle is less scattered, by a fraction of a percent. Churn
    /// takes nearly twice the time, and concurrent callers meet, since all of them look where the others do.
    Tightest,
}

/// Whether a pool counts its idle runs by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCounts {
    /// It does not, and pays nothing for it; [`GenPool::idle_runs`](crate::GenPool::idle_runs) looks for them.
    None,
    /// It does: [`GenPool::counted_runs`](crate::GenPool::counted_runs) reads the counts.
    Kept,
}

/// Whether a pool knows which of its idle pages are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearState {
    /// It does not, and pays nothing for it: every page counts as dirty.
    Unknown,
    /// It remembers what each free says.
    Tracked,
}

/// Whether a pool takes reservations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservations {
    /// It takes none, and pays nothing for it.
    None,
    /// As many as there are runs. The metadata for it is touched only where runs are held.
    Any,
}

impl<'a> Params<'a> {
    /// These ranges, with pages of 4 KiB, no room for more, no reservations, clear state unknown, runs not counted, and
    /// the latest reused first.
    pub const fn new(ranges: &'a [PhysRange]) -> Self {
        Params {
            ranges,
            page_shift: 12,
            grows_to: 0,
            spare_ranges: 0,
            offsets: 0,
            reservations: Reservations::None,
            clear: ClearState::Unknown,
            runs: RunCounts::None,
            reuse: Reuse::Latest,
        }
    }

    /// With room for `ranges` more, below offset `offsets`: up to twice as many as they have pages ([`Params::offsets`]).
    #[must_use]
    pub const fn with_room(self, ranges: usize, offsets: u64) -> Self {
        Params { spare_ranges: ranges, offsets, ..self }
    }

    /// With room for `ranges` more ranges of up to `pages` pages each, counting what each may grow to, at any address and in any order.
    /// Refused with [`BuildError::TooManyOffsets`], or with the error of an unsound range. O(number of ranges).
    ///
    /// Call it last: what the given ranges need, and [`Params::growing_to`], must be known by then. Two things use up the room: a
    /// range that grows beyond what offsets are kept for, and the gap of a removed range that no later one fits into.
    ///
    /// ```
    /// # use pgmap_alloc::{GenPool, Params, Phys, PhysRange};
    /// # #[cfg(feature = "alloc")] {
    /// let first = [PhysRange { start: Phys(0), pages: 64 }];
    /// let params = Params::new(&first).with_room_for(3, 64)?;
    /// assert_eq!(params.offsets, 64 + 3 * 128);
    /// let pool = GenPool::new(&params)?;
    /// for range in 1..=3 {
    ///     pool.add_range(PhysRange { start: Phys(range << 40), pages: 64 }).expect("there is room for three");
    /// }
    /// # }
    /// # Ok::<(), pgmap_alloc::BuildError>(())
    /// ```
    pub fn with_room_for(self, ranges: usize, pages: u64) -> Result<Self, BuildError> {
        let given = Params { offsets: 0, ..self }.check()?;
        let more = most_offsets(pages).and_then(|each| each.checked_mul(u64::try_from(ranges).ok()?));
        let offsets = more.and_then(|more| given.checked_add(more)).unwrap_or(u64::MAX);
        if offsets > Order::MAX.pages() {
            return Err(BuildError::TooManyOffsets { offsets });
        }
        Ok(self.with_room(ranges, offsets))
    }

    /// With offsets kept for the last of the ranges, which may grow to `pages` pages. Call it before [`Params::with_room_for`].
    #[must_use]
    pub const fn growing_to(self, pages: u64) -> Self {
        Params { grows_to: pages, ..self }
    }

    /// With memory of which idle pages are cleared.
    #[must_use]
    pub const fn tracking_clear(self) -> Self {
        Params { clear: ClearState::Tracked, ..self }
    }

    /// With counts of the idle runs of each order.
    #[must_use]
    pub const fn counting_runs(self) -> Self {
        Params { runs: RunCounts::Kept, ..self }
    }

    /// With the tightest packing that it can do.
    #[must_use]
    pub const fn packing_tightly(self) -> Self {
        Params { reuse: Reuse::Tightest, ..self }
    }

    /// With reservations.
    #[must_use]
    pub const fn taking_reservations(self) -> Self {
        Params { reservations: Reservations::Any, ..self }
    }

    /// The given ranges, in their order.
    pub(super) fn new_ranges(&self) -> impl Iterator<Item = NewRange> + use<'a> {
        let (last, grows_to) = (self.ranges.len().wrapping_sub(1), self.grows_to);
        let ranges = self.ranges.iter().enumerate();
        ranges.map(move |(index, &range)| NewRange::new(range).growing_to(if index == last { grows_to } else { 0 }))
    }

    /// The number of offsets, once everything has been checked but that ranges do not overlap, which is found when they are placed.
    pub(super) fn check(&self) -> Result<u64, BuildError> {
        if !(9..=30).contains(&self.page_shift) {
            return Err(BuildError::PageShift { shift: self.page_shift });
        }
        let mut last: Option<PlacedRange> = None;
        for (index, new) in self.new_ranges().enumerate() {
            bytes_of(&new.range, self.page_shift).map_err(|why| unsound(&why, index))?;
            last = Some(place_behind(last, &new, self.page_shift).ok_or(BuildError::TooLarge { index })?);
        }
        if self.offsets > Order::MAX.pages() {
            return Err(BuildError::TooManyOffsets { offsets: self.offsets });
        }
        last.map(|last| last.end().get().max(self.offsets)).ok_or(BuildError::NoRange)
    }
}

/// How much metadata a pool needs, in elements of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolNeeds {
    /// Tables: one bit per page and about 2 % more. Only those of split entries are ever touched.
    pub tables: usize,
    /// Range slots.
    pub ranges: usize,
    /// Offsets, padding between the ranges included.
    pub pages: u64,
}

impl PoolNeeds {
    /// What a pool with these parameters needs. Whether ranges overlap is found when it is built.
    pub fn of<const WORDS: usize>(params: &Params<'_>) -> Result<PoolNeeds, BuildError> {
        let layout = Layout::<WORDS>::new(params)?;
        let ranges = params.ranges.len().saturating_add(params.spare_ranges);
        Ok(PoolNeeds { tables: layout.tables, ranges, pages: layout.shape.pages })
    }
}

/// What the array of tables holds, one after another: the tables and their lists, the places for fresh
/// runs, the held runs, the clear state, the counts of idle runs.
pub(super) struct Layout<const WORDS: usize> {
    pub(super) shape: Shape<WORDS>,
    /// The places for runs that came back, if it has any.
    pub(super) fresh: Fresh,
    /// The marks of held runs, if any can be.
    pub(super) held: Option<Plane>,
    /// The clear state, if it is tracked.
    pub(super) clear: Option<Plane>,
    /// The counts of idle runs, if they are kept.
    pub(super) runs: Runs,
    /// How many tables that is.
    tables: usize,
}

impl<const WORDS: usize> Layout<WORDS> {
    pub(super) fn new(params: &Params<'_>) -> Result<Self, BuildError> {
        let pages = params.check()?;
        let too_large = BuildError::TooLarge { index: params.ranges.len().saturating_sub(1) };
        let shape = Shape::<WORDS>::new(pages).ok_or(too_large)?;
        let mut tables = shape.storage;
        let fresh = Fresh::append::<WORDS>(params.reuse == Reuse::Latest, &mut tables).ok_or(too_large)?;
        let mut plane = |wanted: bool| wanted.then(|| Plane::append(&shape, &mut tables).ok_or(too_large)).transpose();
        let held = plane(params.reservations == Reservations::Any)?;
        let clear = plane(params.clear == ClearState::Tracked)?;
        let runs = plane(params.runs == RunCounts::Kept)?;
        let runs = Runs::append::<WORDS>(runs, &mut tables).ok_or(too_large)?;
        Ok(Layout { shape, fresh, held, clear, runs, tables })
    }
}
