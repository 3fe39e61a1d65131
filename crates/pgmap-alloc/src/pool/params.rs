//! What a pool is made of, and how much metadata that takes.

use super::ranges::place_all;
use super::shape::{LEVELS, Shape};
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
    /// How many ranges can be added at run time, beyond those given.
    pub spare_ranges: usize,
    /// Offsets below this one can be given to ranges, those added at run time included; less than what `ranges` need counts as
    /// that. Costs metadata that is touched only where it is used.
    pub offsets: u64,
    /// How many runs reservations can hold at a time.
    pub held_runs: usize,
    /// Whether the pool remembers which idle pages are cleared: one more bit per page, and one more step in each free.
    pub clear: ClearState,
}

/// Whether a pool knows which of its idle pages are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearState {
    /// It does not, and pays nothing for it: every page counts as dirty.
    Unknown,
    /// It remembers what each free says.
    Tracked,
}

impl<'a> Params<'a> {
    /// These ranges, with pages of 4 KiB, no room for more, room for 64 held runs, and clear state unknown.
    pub const fn new(ranges: &'a [PhysRange]) -> Self {
        Params { ranges, page_shift: 12, spare_ranges: 0, offsets: 0, held_runs: 64, clear: ClearState::Unknown }
    }

    /// With room for `ranges` more, below offset `offsets`.
    #[must_use]
    pub const fn with_room(self, ranges: usize, offsets: u64) -> Self {
        Params { spare_ranges: ranges, offsets, ..self }
    }

    /// With memory of which idle pages are cleared.
    #[must_use]
    pub const fn tracking_clear(self) -> Self {
        Params { clear: ClearState::Tracked, ..self }
    }

    /// The number of offsets, once everything has been checked.
    pub(super) fn check(&self) -> Result<u64, BuildError> {
        if !(9..=30).contains(&self.page_shift) {
            return Err(BuildError::PageShift { shift: self.page_shift });
        }
        let mut end = Err(BuildError::NoRange);
        for placed in place_all(self.ranges, self.page_shift) {
            end = Ok(placed?.end().get());
        }
        if self.offsets > Order::MAX.pages() {
            return Err(BuildError::TooManyOffsets { offsets: self.offsets });
        }
        end.map(|end| end.max(self.offsets))
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
    /// What a pool with these parameters needs.
    pub fn of<const WORDS: usize>(params: &Params<'_>) -> Result<PoolNeeds, BuildError> {
        let layout = Layout::<WORDS>::new(params)?;
        let ranges = params.ranges.len().saturating_add(params.spare_ranges);
        Ok(PoolNeeds { tables: layout.tables, ranges, pages: layout.shape.pages })
    }
}

/// What the array of tables holds, one after another: the tables and their lists, the held runs, the clear state.
pub(super) struct Layout<const WORDS: usize> {
    pub(super) shape: Shape<WORDS>,
    /// Where the held runs stand, and how many tables they take.
    pub(super) held: (usize, usize),
    /// Where the clear state of each level stands, if it is tracked.
    pub(super) clear: Option<[usize; LEVELS]>,
    /// How many tables that is.
    tables: usize,
}

impl<const WORDS: usize> Layout<WORDS> {
    pub(super) fn new(params: &Params<'_>) -> Result<Self, BuildError> {
        let pages = params.check()?;
        let too_large = BuildError::TooLarge { index: params.ranges.len().saturating_sub(1) };
        let shape = Shape::<WORDS>::new(pages).ok_or(too_large)?;
        let held = (shape.storage, params.held_runs.div_ceil(WORDS.max(1)));
        let mut tables = held.0.checked_add(held.1).ok_or(too_large)?;
        let clear = match params.clear {
            ClearState::Unknown => None,
            ClearState::Tracked => {
                let mut bases = [0; LEVELS];
                for (base, level) in bases.iter_mut().zip(0..=shape.top) {
                    *base = tables;
                    // Above the lowest level an entry is clear, mixed or neither: two bits.
                    let each = if level == 0 { 1 } else { 2 };
                    let more = shape.tables(level).and_then(|count| count.checked_mul(each)).ok_or(too_large)?;
                    tables = tables.checked_add(more).ok_or(too_large)?;
                }
                Some(bases)
            }
        };
        Ok(Layout { shape, held, clear, tables })
    }
}
