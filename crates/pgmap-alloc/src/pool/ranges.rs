//! The physical ranges behind the offsets: who owns which offset, and the only place where an offset meets an address.
//!
//! # Protocol
//!
//! There are two copies of the table of ranges, and a word that says which one holds and how long it is.
//!
//! 1. Readers read the word, then the copy that it names, then the word again: if it is the same, what they read is one table.
//!    They never wait: whoever changes the ranges writes the other copy, and a reader starts over only after a change.
//! 2. One caller at a time changes the ranges; a second one is told so. He writes the copy that does not hold, then the word.
//!
//! # Placement
//!
//! A range starts at the lowest free offset that agrees with its physical page number in as many low bits as the largest run in
//! the range can need. So every run that is aligned in offset space is aligned in physical space too, at every order, and the
//! padding before a range is shorter than the range. Where two neighbours would complete an aligned run between them, the second
//! one moves on: so no idle run ever crosses from one range into the next, and nobody has to look.

use crate::error::{AddRangeError, BuildError};
use crate::memory::Memory;
use crate::offset::{Offset, Phys, PhysRange};
use crate::order::Order;
use crate::sync::{AtomicU32, AtomicU64, Ordering, const_outside_models, metadata, zero_words};

/// Words per copy of a slot.
const FIELDS: usize = 4;

metadata! {
    /// Room for one physical range; callers only provide them as storage.
    #[derive(Debug)]
    #[repr(C)]
    pub struct RangeSlot {
        /// First offset, pages, physical address and tag, for each of the two copies of the table.
        words: [AtomicU64; 8],
    }
}

impl RangeSlot {
    const_outside_models! {
        /// An empty slot.
        pub fn new() -> Self {
            RangeSlot { words: zero_words!() }
        }
    }

    pub(crate) fn all_words(&self) -> &[AtomicU64] {
        &self.words
    }

    #[inline(always)]
    fn copy(&self, copy: usize) -> &[AtomicU64] {
        let (even, odd) = self.words.split_at(FIELDS);
        if copy == 0 { even } else { odd }
    }

    fn read(&self, copy: usize) -> Option<PlacedRange> {
        let [first, pages, phys, tag] = self.copy(copy) else { return None };
        // Acquire, all four: pairs with `write`, so that who sees a later table's field sees the later table's word too (rule 1).
        Some(PlacedRange {
            first: Offset::new(first.load(Ordering::Acquire)),
            pages: pages.load(Ordering::Acquire),
            phys: Phys(phys.load(Ordering::Acquire)),
            tag: tag.load(Ordering::Acquire),
        })
    }

    /// First offset and the first one after it.
    #[inline]
    fn bounds(&self, copy: usize) -> Option<(u64, u64)> {
        let [first, pages, ..] = self.copy(copy) else { return None };
        // Acquire: as in `read`.
        let first = first.load(Ordering::Acquire);
        Some((first, first.wrapping_add(pages.load(Ordering::Acquire))))
    }

    fn write(&self, copy: usize, range: PlacedRange) {
        let fields = [range.first.get(), range.pages, range.phys.0, range.tag];
        for (word, field) in self.copy(copy).iter().zip(fields) {
            // Release: pairs with `read`.
            word.store(field, Ordering::Release);
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
    /// What its owner calls it; 0 unless said otherwise when it was added.
    pub tag: u64,
}

impl PlacedRange {
    /// The first offset after it.
    pub const fn end(&self) -> Offset {
        Offset::new(self.first.get() + self.pages)
    }

    fn meets(&self, bytes: &core::ops::Range<u64>, page_shift: u32) -> bool {
        self.phys.0 < bytes.end && bytes.start < self.phys.0 + (self.pages << page_shift)
    }

    /// Whether an aligned run could lie across the border between this range and the next one.
    fn joins(&self, next: &PlacedRange) -> bool {
        if self.end() != next.first || next.first.get() == 0 {
            return false;
        }
        // The smallest aligned run across the border has it in the middle.
        let half = next.first.get() & next.first.get().wrapping_neg();
        self.pages >= half && next.pages >= half
    }
}

/// Why a range is unsound by itself.
enum Unsound {
    Empty,
    Misaligned,
    TooLarge,
}

/// A range's bytes, once it is known to be sound.
fn bytes_of(range: &PhysRange, page_shift: u32) -> Result<core::ops::Range<u64>, Unsound> {
    if range.pages == 0 {
        return Err(Unsound::Empty);
    }
    if range.start.0 & ((1 << page_shift) - 1) != 0 {
        return Err(Unsound::Misaligned);
    }
    let bytes = range.pages.checked_mul(1 << page_shift).ok_or(Unsound::TooLarge)?;
    let end = range.start.0.checked_add(bytes).ok_or(Unsound::TooLarge)?;
    Ok(range.start.0..end)
}

/// The lowest place for a range after `before`; `None` when it would end beyond the largest offset.
fn place_after(before: Option<PlacedRange>, range: &PhysRange, tag: u64, page_shift: u32) -> Option<PlacedRange> {
    let step = Order::fitting(range.pages)?.pages();
    let low = before.map_or(0, |before| before.end().get());
    let page = range.start.0 >> page_shift;
    let first = low.checked_add(page.wrapping_sub(low) & (step - 1))?;
    let mut placed = PlacedRange { first: Offset::new(first), pages: range.pages, phys: range.start, tag };
    if before.is_some_and(|before| before.joins(&placed)) {
        placed.first = Offset::new(first.checked_add(step)?);
    }
    let end = placed.first.get().checked_add(range.pages)?;
    (end <= Order::MAX.pages()).then_some(placed)
}

/// Gives ranges their offsets, one after another.
pub(crate) fn place_all<'a>(
    ranges: &'a [PhysRange],
    page_shift: u32,
) -> impl Iterator<Item = Result<PlacedRange, BuildError>> + 'a {
    let mut last = None;
    ranges.iter().enumerate().map(move |(index, range)| {
        let bytes = bytes_of(range, page_shift).map_err(|unsound| match unsound {
            Unsound::Empty => BuildError::EmptyRange { index },
            Unsound::Misaligned => BuildError::Misaligned { index },
            Unsound::TooLarge => BuildError::TooLarge { index },
        })?;
        for (first, other) in ranges.iter().enumerate().take(index) {
            // An earlier range was found sound before this one is looked at.
            let other_end = other.start.0 + (other.pages << page_shift);
            if bytes.start < other_end && other.start.0 < bytes.end {
                return Err(BuildError::Overlap { first, second: index });
            }
        }
        let placed = place_after(last, range, 0, page_shift).ok_or(BuildError::TooLarge { index })?;
        last = Some(placed);
        Ok(placed)
    })
}

/// The ranges of a pool, in rising order of offset.
pub(crate) struct Ranges<'s> {
    slots: Memory<'s, RangeSlot>,
    /// Changes so far (the lowest bit names the copy that holds) << 32 | ranges.
    table: AtomicU64,
    /// 1 while somebody changes the ranges.
    changing: AtomicU32,
    /// The order of the largest run in any range. Never too low: raised before a range's first page is idle, lowered after its
    /// last one is gone.
    largest: AtomicU32,
    /// No run is larger than this one: the tables end there.
    limit: Order,
    page_shift: u32,
}

/// One of the two copies.
#[derive(Clone, Copy)]
struct Copied<'r> {
    slots: &'r Memory<'r, RangeSlot>,
    copy: usize,
    count: usize,
}

impl Copied<'_> {
    fn get(&self, index: usize) -> Option<PlacedRange> {
        if index < self.count { self.slots.get(index)?.read(self.copy) } else { None }
    }

    #[inline]
    fn bounds(&self, index: usize) -> Option<(u64, u64)> {
        self.slots.get(index)?.bounds(self.copy)
    }

    /// The index of the first range that does not end before `offset`.
    #[inline]
    fn index_of(&self, offset: Offset) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.bounds(middle)?.1 <= offset.get() { low = middle + 1 } else { high = middle }
        }
        Some(low)
    }

    fn at_or_after(&self, offset: Offset) -> Option<PlacedRange> {
        self.get(self.index_of(offset)?)
    }

    /// First offset and the first one after it, of the range that `offset` belongs to or that is the next one.
    fn bounds_from(&self, offset: Offset) -> Option<(u64, u64)> {
        self.bounds(self.index_of(offset).filter(|&index| index < self.count)?)
    }

    fn iter(self) -> impl Iterator<Item = PlacedRange> {
        (0..self.count).filter_map(move |index| self.get(index))
    }
}

impl<'s> Ranges<'s> {
    /// Fills the slots; `placed` were checked by [`place_all`] and there is a slot for each.
    pub(crate) fn new(
        slots: Memory<'s, RangeSlot>,
        placed: impl Iterator<Item = PlacedRange>,
        page_shift: u32,
        limit: Order,
    ) -> Self {
        let (table, changing, largest) = (AtomicU64::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let ranges = Ranges { slots, table, changing, largest, limit, page_shift };
        ranges.replace(placed);
        ranges.measure();
        ranges
    }

    /// Reads one table (rule 1). Lock-free: starts over only after a change.
    #[inline]
    fn read<T>(&self, read: impl Fn(Copied<'_>) -> T) -> T {
        self.read_named(|table| read(self.copied(table)))
    }

    /// [`Ranges::read`] of the table that a word names.
    #[inline(always)]
    fn read_named<T>(&self, read: impl Fn(u64) -> T) -> T {
        // Acquire: pairs with `replace`, whose copy is complete once its word is seen.
        let mut seen = self.table.load(Ordering::Acquire);
        loop {
            let found = read(seen);
            // Acquire: only to start over with; that it comes after the fields is the Acquire of `RangeSlot::read`.
            let now = self.table.load(Ordering::Acquire);
            if now == seen {
                return found;
            }
            seen = now;
        }
    }

    fn copied(&self, table: u64) -> Copied<'_> {
        Copied { slots: &self.slots, copy: (table >> 32) as usize & 1, count: table as u32 as usize }
    }

    /// Writes the other copy, then the word (rule 2). The caller is the only one who changes.
    fn replace(&self, ranges: impl Iterator<Item = PlacedRange>) {
        // Relaxed: only the one who changes writes it.
        let now = self.table.load(Ordering::Relaxed);
        let changes = (now >> 32).wrapping_add(1);
        let mut count = 0u32;
        for range in ranges {
            if let Some(slot) = self.slots.get(count as usize) {
                slot.write(changes as usize & 1, range);
                count += 1;
            }
        }
        // Release: pairs with `read`.
        self.table.store(changes << 32 | u64::from(count), Ordering::Release);
    }

    /// Finds out what the largest run is.
    fn measure(&self) {
        let of = |range: PlacedRange| super::runs_of(range.first.get(), range.end().get(), self.limit).map(|run| run.order().get());
        let largest = self.iter().flat_map(of).max().unwrap_or(0);
        // Relaxed: a bound, not a promise; see `largest`.
        self.largest.store(largest, Ordering::Relaxed);
    }

    /// The order of the largest run in any range.
    #[inline]
    pub(crate) fn largest(&self) -> Order {
        // Relaxed: as in `measure`.
        Order::clamped(self.largest.load(Ordering::Relaxed))
    }

    /// All ranges, in rising order of offset; one that comes or goes meanwhile may be missed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PlacedRange> {
        core::iter::successors(self.at_or_after(Offset::new(0)), |range| self.at_or_after(range.end()))
    }

    /// How many pages they have together.
    pub(crate) fn pages(&self) -> u64 {
        self.read(|ranges| ranges.iter().map(|range| range.pages).sum())
    }

    /// The range that `offset` belongs to. O(log n) in the number of ranges.
    #[inline]
    pub(crate) fn of(&self, offset: Offset) -> Option<PlacedRange> {
        self.at_or_after(offset).filter(|range| range.first <= offset)
    }

    /// Whether there is but one range, as in most pools, and these pages lie in it.
    #[inline(always)]
    pub(super) fn is_in_the_only_one(&self, first: Offset, end: Offset) -> bool {
        // Acquire, both: as in `read_named`.
        let table = self.table.load(Ordering::Acquire);
        let bounds =
            if table as u32 == 1 { self.slots.get(0).and_then(|slot| slot.bounds((table >> 32) as usize & 1)) } else { None };
        bounds.is_some_and(|bounds| bounds.0 <= first.get() && end.get() <= bounds.1) && self.table.load(Ordering::Acquire) == table
    }

    /// The first offset after the range that `offset` belongs to. O(log n) in the number of ranges.
    #[inline]
    pub(crate) fn end_of(&self, offset: Offset) -> Option<Offset> {
        let bounds = self.read_named(|table| {
            // Most pools have one range.
            if table as u32 == 1 { self.slots.get(0)?.bounds((table >> 32) as usize & 1) } else { self.bounds_among(table, offset) }
        });
        bounds.filter(|&(first, end)| first <= offset.get() && offset.get() < end).map(|(_, end)| Offset::new(end))
    }

    #[inline(never)]
    fn bounds_among(&self, table: u64, offset: Offset) -> Option<(u64, u64)> {
        self.copied(table).bounds_from(offset)
    }

    /// The range that `offset` belongs to, or the next one.
    #[inline]
    pub(crate) fn at_or_after(&self, offset: Offset) -> Option<PlacedRange> {
        self.read(|ranges| ranges.at_or_after(offset))
    }

    /// The physical address of a page.
    pub(crate) fn phys(&self, offset: Offset) -> Option<Phys> {
        let range = self.of(offset)?;
        Some(Phys(range.phys.0 + ((offset.get() - range.first.get()) << self.page_shift)))
    }

    /// How much larger the numbers of a range's pages of physical memory are than its offsets; wraps around.
    pub(super) fn ahead(&self, range: &PlacedRange) -> u64 {
        (range.phys.0 >> self.page_shift).wrapping_sub(range.first.get())
    }

    /// The page that a physical address lies in. O(n) in the number of ranges.
    pub(crate) fn offset_of(&self, phys: Phys) -> Option<Offset> {
        self.read(|ranges| {
            ranges.iter().find_map(|range| {
                let page = phys.0.checked_sub(range.phys.0)? >> self.page_shift;
                (page < range.pages).then(|| Offset::new(range.first.get() + page))
            })
        })
    }

    /// Becomes the one who changes the ranges, unless there is one.
    pub(crate) fn change(&self) -> Option<Change<'_>> {
        // Acquire: pairs with the drop of the last `Change`. Relaxed on failure: nothing is read.
        self.changing.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Relaxed: nobody else writes it now.
        Some(Change { ranges: self, now: self.copied(self.table.load(Ordering::Relaxed)) })
    }
}

/// The right to change the ranges.
pub(crate) struct Change<'r> {
    ranges: &'r Ranges<'r>,
    now: Copied<'r>,
}

impl Change<'_> {
    /// Adds a range below `limit` at the lowest place where it fits.
    pub(crate) fn add(&self, range: &PhysRange, tag: u64, limit: u64) -> Result<PlacedRange, AddRangeError> {
        let shift = self.ranges.page_shift;
        let bytes = bytes_of(range, shift).map_err(|unsound| match unsound {
            Unsound::Empty => AddRangeError::Empty,
            Unsound::Misaligned => AddRangeError::Misaligned,
            Unsound::TooLarge => AddRangeError::TooLarge,
        })?;
        if let Some(other) = self.now.iter().find(|other| other.meets(&bytes, shift)) {
            return Err(AddRangeError::Overlap { first: other.first });
        }
        if self.ranges.slots.get(self.now.count).is_none() {
            return Err(AddRangeError::NoSlot { slots: self.now.count });
        }
        let fits = |index: usize| {
            let before = index.checked_sub(1).and_then(|before| self.now.get(before));
            let placed = place_after(before, range, tag, shift)?;
            let clear = match self.now.get(index) {
                Some(next) => placed.end() <= next.first && !placed.joins(&next),
                None => placed.end().get() <= limit,
            };
            clear.then_some((index, placed))
        };
        let (index, placed) = (0..=self.now.count).find_map(fits).ok_or(AddRangeError::NoRoom { pages: range.pages })?;
        let (low, high) = (self.now.iter().take(index), self.now.iter().skip(index));
        self.ranges.replace(low.chain([placed]).chain(high));
        self.ranges.measure();
        Ok(placed)
    }

    /// Takes a range out; none of its pages may be found any more.
    pub(crate) fn remove(&self, range: &PlacedRange) {
        self.ranges.replace(self.now.iter().filter(|other| other.first != range.first));
        self.ranges.measure();
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // Release: pairs with `Ranges::change`.
        self.ranges.changing.store(0, Ordering::Release);
    }
}
