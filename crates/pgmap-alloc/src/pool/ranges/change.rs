//! Adding a range, making one longer, and taking one away: by one caller at a time.

use super::book::{Book, CLASSES, class_of};
use super::placing::{NewRange, PlacedRange, Unsound, bytes_of, place_behind, unsound};
use super::slot::{By, Name, RangeSlot};
use super::tree::slot;
use super::{Ranges, Relink};
use crate::error::{AddRangeError, BuildError};
use crate::offset::{Offset, PhysRange};
use crate::sync::Held;

/// How many gaps of each class are tried before the place behind all ranges is.
const LOOKS: usize = 8;

/// The right to change the ranges.
pub(crate) struct Change<'r> {
    pub(super) ranges: &'r Ranges<'r>,
    pub(super) book: Held<'r, Book>,
}

impl<'r> Change<'r> {
    /// Adds a range below `limit`: in a gap that is hardly larger than it is, else behind all ranges.
    pub(crate) fn add(&mut self, new: &NewRange, limit: u64) -> Result<PlacedRange, AddRangeError> {
        let bytes = self.bytes(&new.range)?;
        self.check_apart(&bytes)?;
        self.book.check_slot(&self.ranges.slots).map_err(|slots| AddRangeError::NoSlot { slots })?;
        let placed = self.place(new, limit).ok_or(AddRangeError::NoRoom { pages: new.room() })?;
        self.settle(new, placed).map_err(|slots| AddRangeError::NoSlot { slots })
    }

    /// Adds a range behind all others, as the one with this index in a list.
    pub(crate) fn append(&mut self, new: &NewRange, index: usize) -> Result<PlacedRange, BuildError> {
        let bytes = bytes_of(&new.range, self.ranges.page_shift).map_err(|why| unsound(&why, index))?;
        if let Some(other) = self.overlapping(&bytes) {
            // Slots are used one after another.
            return Err(BuildError::Overlap { first: other as usize - 1, second: index });
        }
        let placed = place_behind(self.at_most(self.last()), new, self.ranges.page_shift).ok_or(BuildError::TooLarge { index })?;
        self.settle(new, placed).map_err(|slots| BuildError::TooManyRanges { given: index + 1, slots })
    }

    /// Makes the range at `first` longer by what lies behind it in memory; as it was before, and as it is now.
    pub(crate) fn grow(&mut self, first: Offset, by: &PhysRange, limit: u64) -> Result<(PlacedRange, PlacedRange), AddRangeError> {
        let shift = self.ranges.page_shift;
        let bytes = self.bytes(by)?;
        let slot = self.find(first).and_then(|name| self.slot(name)).ok_or(AddRangeError::Unknown)?;
        let (range, was) = (slot.range(), slot.at_most());
        if range.phys.0 + (range.pages << shift) != by.start.0 {
            return Err(AddRangeError::NotAdjacent);
        }
        self.check_apart(&bytes)?;
        let grown = PlacedRange { pages: range.pages + by.pages, ..range };
        let room = PlacedRange { pages: grown.pages.max(was.pages), ..range };
        let (before, next) = self.neighbours(first);
        if room.pages > was.pages {
            if !room.agrees(shift) {
                return Err(AddRangeError::Misplaced);
            }
            if !room.stands_between(self.at_most(before), self.at_most(next), limit) {
                return Err(AddRangeError::NoRoom { pages: by.pages });
            }
        }
        self.count(&grown, true, by.pages);
        slot.grow(grown.pages, room.pages);
        self.end_gap(next, Some(room));
        self.count(&range, false, 0);
        Ok((range, grown))
    }

    /// Takes a range out; none of its pages may be found any more.
    pub(crate) fn remove(&mut self, range: &PlacedRange) {
        let Some(name) = self.find(range.first) else { return };
        let (before, next) = self.neighbours(range.first);
        self.ranges.relink(Relink::Out, name);
        self.end_gap(next, self.at_most(before));
        self.book.set_gap(&self.ranges.slots, name, 0);
        self.book.free_slot(&self.ranges.slots, name);
        self.count(range, false, range.pages);
    }

    /// Takes a range in at a place that was found for it; if there is no slot, how many there are.
    fn settle(&mut self, new: &NewRange, placed: PlacedRange) -> Result<PlacedRange, usize> {
        let name = self.book.take_slot(&self.ranges.slots)?;
        let range = PlacedRange { pages: new.range.pages, ..placed };
        let (before, next) = self.neighbours(range.first);
        if let Some(slot) = self.slot(name) {
            slot.become_range(range, placed.pages);
        }
        self.count(&range, true, range.pages);
        self.ranges.relink(Relink::In, name);
        self.end_gap(name, self.at_most(before));
        self.end_gap(next, Some(placed));
        Ok(range)
    }

    /// Where a range can be added, with all pages that it may come to have.
    fn place(&self, new: &NewRange, limit: u64) -> Option<PlacedRange> {
        let shift = self.ranges.page_shift;
        let before_it = |name: Name| {
            let next = self.at_most(name)?;
            let before = self.at_most(self.neighbours(next.first).0);
            let placed = place_behind(before, new, shift)?;
            placed.stands_between(before, Some(next), limit).then_some(placed)
        };
        let behind_all = || {
            let placed = place_behind(self.at_most(self.last()), new, shift)?;
            (placed.end().get() <= limit).then_some(placed)
        };
        // Whether a gap that is long enough does hangs on its alignment; one four times as long always does. So more than a few are
        // looked at only where there is no such gap, and no place behind all ranges.
        let gaps = |class| self.book.gaps(&self.ranges.slots, class);
        let classes = || class_of(new.room())..CLASSES;
        let few = classes().flat_map(|class| gaps(class).take(LOOKS)).find_map(before_it);
        few.or_else(behind_all).or_else(|| classes().flat_map(|class| gaps(class).skip(LOOKS)).find_map(before_it))
    }

    /// What lies before this range begins where that one ends.
    fn end_gap(&mut self, name: Name, before: Option<PlacedRange>) {
        let Some(slot) = self.slot(name) else { return };
        let gap = slot.key(By::Offset) - before.map_or(0, |before| before.end().get());
        self.book.set_gap(&self.ranges.slots, name, gap);
    }

    /// A range more, and so many pages more, before these can be allocated; or fewer, when no caller has them.
    fn count(&mut self, range: &PlacedRange, comes: bool, pages: u64) {
        let order = self.ranges.largest_in(range);
        let largest = self.book.count_largest(order, comes);
        self.ranges.set_sizes(largest, pages, comes);
    }
}

/// What there is.
impl<'r> Change<'r> {
    fn slot(&self, name: Name) -> Option<&'r RangeSlot> {
        slot(&self.ranges.slots, name)
    }

    /// The range with all pages that it may come to have.
    fn at_most(&self, name: Name) -> Option<PlacedRange> {
        self.slot(name).map(RangeSlot::at_most)
    }

    fn last(&self) -> Name {
        self.ranges.now().last(By::Offset, |_| true)
    }

    /// The range that starts at `first`.
    fn find(&self, first: Offset) -> Option<Name> {
        let name = self.ranges.now().last(By::Offset, |slot| slot.key(By::Offset) <= first.get());
        self.slot(name).filter(|slot| slot.key(By::Offset) == first.get()).map(|_| name)
    }

    /// The ranges before and after the one that starts, or would start, at `first`.
    fn neighbours(&self, first: Offset) -> (Name, Name) {
        let now = self.ranges.now();
        let before = now.last(By::Offset, |slot| slot.key(By::Offset) < first.get());
        (before, now.first(By::Offset, |slot| slot.key(By::Offset) > first.get()))
    }

    fn bytes(&self, range: &PhysRange) -> Result<core::ops::Range<u64>, AddRangeError> {
        bytes_of(range, self.ranges.page_shift).map_err(|unsound| match unsound {
            Unsound::Empty => AddRangeError::Empty,
            Unsound::Misaligned => AddRangeError::Misaligned,
            Unsound::TooLarge => AddRangeError::TooLarge,
        })
    }

    /// The first range in memory that shares some with these bytes.
    fn overlapping(&self, bytes: &core::ops::Range<u64>) -> Option<Name> {
        // Ranges do not overlap each other, so the first one that ends behind the start is the first that can reach in.
        let end = |slot: &RangeSlot| slot.key(By::Phys) + (slot.range().pages << self.ranges.page_shift);
        let name = self.ranges.now().first(By::Phys, |slot| end(slot) > bytes.start);
        self.slot(name).filter(|slot| slot.key(By::Phys) < bytes.end).map(|_| name)
    }

    fn check_apart(&self, bytes: &core::ops::Range<u64>) -> Result<(), AddRangeError> {
        match self.overlapping(bytes).and_then(|name| self.slot(name)) {
            Some(other) => Err(AddRangeError::Overlap { first: Offset::new(other.key(By::Offset)) }),
            None => Ok(()),
        }
    }
}
