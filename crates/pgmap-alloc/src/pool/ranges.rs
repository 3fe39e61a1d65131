//! The physical ranges behind the offsets: who owns which offset, and the only place where an offset meets an address.

use crate::error::BuildError;
use crate::memory::Memory;
use crate::offset::{Offset, Phys, PhysRange};
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata};

metadata! {
    /// Room for one physical range; callers only provide zeroed ones as storage.
    #[derive(Debug)]
    #[repr(C)]
    pub struct RangeSlot {
        first: AtomicU64,
        pages: AtomicU64,
        phys: AtomicU64,
        unused: AtomicU64,
    }
}

impl RangeSlot {
    const_outside_models! {
        /// An empty slot.
        pub fn new() -> Self {
            RangeSlot { first: AtomicU64::new(0), pages: AtomicU64::new(0), phys: AtomicU64::new(0), unused: AtomicU64::new(0) }
        }
    }
}

/// A physical range and the offsets that it has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedRange {
    /// The offset of its first page.
    pub first: Offset,
    /// Its length in pages.
    pub pages: u64,
    /// The physical address of its first byte.
    pub phys: Phys,
}

impl PlacedRange {
    /// The first offset after it.
    pub const fn end(&self) -> Offset {
        Offset::new(self.first.get() + self.pages)
    }
}

/// Gives ranges their offsets, one after another.
///
/// A range starts at the lowest free offset that agrees with its physical page number in as many low bits as the largest run
/// in the range can need. So every run that is aligned in offset space is aligned in physical space too, at every order.
///
/// Tables know nothing of ranges: idle pages of two ranges side by side would join to one run. Of the runs that cross a border
/// the smallest has its middle there, so it is enough to leave an offset unused wherever both sides could fill their half. The
/// padding before a range is never longer than the range.
pub(crate) fn place_all<'a>(
    ranges: &'a [PhysRange],
    page_shift: u32,
) -> impl Iterator<Item = Result<PlacedRange, BuildError>> + 'a {
    let (mut next, mut before) = (0u64, 0u64);
    ranges.iter().enumerate().map(move |(index, range)| {
        let largest = Order::fitting(range.pages).ok_or(BuildError::EmptyRange { index })?;
        let too_large = BuildError::TooLarge { index };
        if range.start.0 & ((1 << page_shift) - 1) != 0 {
            return Err(BuildError::Misaligned { index });
        }
        let bytes = range.pages.checked_mul(1 << page_shift).ok_or(too_large)?;
        let end = range.start.0.checked_add(bytes).ok_or(too_large)?;
        for (first, other) in ranges.iter().enumerate().take(index) {
            // An earlier range was found sound before this one is looked at.
            let other_end = other.start.0 + (other.pages << page_shift);
            if range.start.0 < other_end && other.start.0 < end {
                return Err(BuildError::Overlap { first, second: index });
            }
        }
        let page = range.start.0 >> page_shift;
        let agreeing_from = |offset: u64| offset + (page.wrapping_sub(offset) & (largest.pages() - 1));
        let half = next & next.wrapping_neg();
        let mut first = agreeing_from(next);
        if first == next && next != 0 && before >= half && range.pages >= half {
            first = agreeing_from(next + 1);
        }
        before = range.pages;
        next = first.checked_add(range.pages).filter(|&end| end <= Order::MAX.pages()).ok_or(too_large)?;
        Ok(PlacedRange { first: Offset::new(first), pages: range.pages, phys: range.start })
    })
}

/// The ranges of a pool, in rising order of offset.
pub(crate) struct Ranges<'s> {
    slots: Memory<'s, RangeSlot>,
    count: usize,
    page_shift: u32,
}

impl<'s> Ranges<'s> {
    /// Fills the slots; `ranges` were checked by [`place_all`] and there is a slot for each.
    pub(crate) fn new(slots: Memory<'s, RangeSlot>, placed: impl Iterator<Item = PlacedRange>, page_shift: u32) -> Self {
        let mut ranges = Ranges { slots, count: 0, page_shift };
        for range in placed {
            if let Some(slot) = ranges.slots.get(ranges.count) {
                // Relaxed, here and below: written before the pool is shared and never again.
                slot.first.store(range.first.get(), Ordering::Relaxed);
                slot.pages.store(range.pages, Ordering::Relaxed);
                slot.phys.store(range.phys.0, Ordering::Relaxed);
                ranges.count += 1;
            }
        }
        ranges
    }

    fn slot(&self, index: usize) -> Option<PlacedRange> {
        let slot = self.slots.get(index)?;
        Some(PlacedRange {
            first: Offset::new(slot.first.load(Ordering::Relaxed)),
            pages: slot.pages.load(Ordering::Relaxed),
            phys: Phys(slot.phys.load(Ordering::Relaxed)),
        })
    }

    /// All ranges, in rising order of offset.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PlacedRange> {
        (0..self.count).filter_map(|index| self.slot(index))
    }

    /// The range that `offset` belongs to. O(log n) in the number of ranges.
    pub(crate) fn of(&self, offset: Offset) -> Option<PlacedRange> {
        self.at_or_after(offset).filter(|range| range.first <= offset)
    }

    /// The range that `offset` belongs to, or the next one.
    pub(crate) fn at_or_after(&self, offset: Offset) -> Option<PlacedRange> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.slot(middle)?.end() <= offset { low = middle + 1 } else { high = middle }
        }
        if low < self.count { self.slot(low) } else { None }
    }

    /// The physical address of a page.
    pub(crate) fn phys(&self, offset: Offset) -> Option<Phys> {
        let range = self.of(offset)?;
        Some(Phys(range.phys.0 + ((offset.get() - range.first.get()) << self.page_shift)))
    }

    /// The page that a physical address lies in. O(n) in the number of ranges.
    pub(crate) fn offset_of(&self, phys: Phys) -> Option<Offset> {
        self.iter().find_map(|range| {
            let page = phys.0.checked_sub(range.phys.0)? >> self.page_shift;
            (page < range.pages).then(|| Offset::new(range.first.get() + page))
        })
    }
}
