//! What only the writer needs to know: which slots are free, where the gaps are, how large the largest runs are.

use super::slot::{NONE, Name, RangeSlot};
use super::tree::slot;
use crate::memory::Memory;
use crate::order::Order;

/// Lengths of gaps that are told apart, by the order of the largest power of two in them; orders of runs.
pub(super) const CLASSES: usize = Order::MAX.get() as usize + 1;

/// As many slots as can be counted.
const MOST: u32 = u32::MAX >> 1;

pub(super) struct Book {
    /// Of each class of gaps, a range that has such a gap before it; the others hang on that one.
    gaps: [Name; CLASSES],
    /// How many ranges there are whose largest run is of each order.
    largest: [u32; CLASSES],
    /// A slot that a range has left; the others hang on it.
    free: Name,
    /// Slots that have been used.
    used: u32,
}

/// The order of the largest power of two in a length.
pub(super) fn class_of(pages: u64) -> usize {
    (pages.max(1).ilog2() as usize).min(CLASSES - 1)
}

impl Book {
    pub(super) const fn new() -> Book {
        Book { gaps: [NONE; CLASSES], largest: [0; CLASSES], free: NONE, used: 0 }
    }
}

/// Slots.
impl Book {
    /// Whether there is one left; if not, how many there are.
    pub(super) fn check_slot(&self, slots: &Memory<'_, RangeSlot>) -> Result<(), usize> {
        let unused = self.used < MOST && slots.get(self.used as usize).is_some();
        if self.free != NONE || unused { Ok(()) } else { Err(self.used as usize) }
    }

    /// A slot that no range is in: one that a range has left, else the first that was never used.
    pub(super) fn take_slot(&mut self, slots: &Memory<'_, RangeSlot>) -> Result<Name, usize> {
        if let Some(free) = slot(slots, self.free) {
            return Ok(core::mem::replace(&mut self.free, free.listed().1));
        }
        self.check_slot(slots)?;
        self.used += 1;
        Ok(self.used)
    }

    /// The slot of a range that is gone, and that has no gap before it any more.
    pub(super) fn free_slot(&mut self, slots: &Memory<'_, RangeSlot>, name: Name) {
        if let Some(left) = slot(slots, name) {
            left.set_listed((NONE, self.free));
            self.free = name;
        }
    }
}

/// Gaps.
impl Book {
    /// The ranges with a gap of this class before them.
    pub(super) fn gaps<'b>(&self, slots: &'b Memory<'_, RangeSlot>, class: usize) -> impl Iterator<Item = Name> + use<'b> {
        let listed = |name: Name| if name == NONE { None } else { Some(name) };
        let first = self.gaps.get(class).copied().and_then(listed);
        core::iter::successors(first, move |name| listed(slot(slots, *name)?.listed().1))
    }

    /// The gap before a range, if it is one, has so many pages now.
    pub(super) fn set_gap(&mut self, slots: &Memory<'_, RangeSlot>, name: Name, pages: u64) {
        self.unlist(slots, name);
        let Some(after) = slot(slots, name).filter(|_| pages > 0) else { return };
        after.set_gap(pages);
        if let Some(head) = self.gaps.get_mut(class_of(pages)) {
            let next = core::mem::replace(head, name);
            after.set_listed((NONE, next));
            if let Some(next) = slot(slots, next) {
                next.set_listed((name, next.listed().1));
            }
        }
    }

    fn unlist(&mut self, slots: &Memory<'_, RangeSlot>, name: Name) {
        let Some(after) = slot(slots, name).filter(|slot| slot.gap() > 0) else { return };
        let (before, next) = after.listed();
        if let Some(before) = slot(slots, before) {
            before.set_listed((before.listed().0, next));
        } else if let Some(head) = self.gaps.get_mut(class_of(after.gap())) {
            *head = next;
        }
        if let Some(next) = slot(slots, next) {
            next.set_listed((before, next.listed().1));
        }
        after.set_gap(0);
    }
}

/// The largest runs.
impl Book {
    /// A range more, or one fewer, whose largest run is of this order; the largest order now.
    pub(super) fn count_largest(&mut self, order: u32, comes: bool) -> u32 {
        if let Some(ranges) = self.largest.get_mut(order as usize) {
            *ranges = if comes { *ranges + 1 } else { ranges.saturating_sub(1) };
        }
        self.largest.iter().rposition(|&ranges| ranges > 0).unwrap_or(0) as u32
    }
}
