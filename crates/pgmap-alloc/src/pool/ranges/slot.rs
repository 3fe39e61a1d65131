//! Room for one physical range: what it is, and where it stands among the others.

use super::placing::PlacedRange;
use crate::offset::{Offset, Phys};
use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata, zero_words};

metadata! {
    /// Room for one physical range; callers only provide them as storage.
    ///
    /// ```text
    /// word  0..4   first offset, pages, physical address, tag
    /// word  4..6   what is below it in the tree by offset, for each of the two copies of the table
    /// word  6..8   the same in the tree by address
    /// word  8      pages that it may come to have
    /// word  9      the length of the gap before it
    /// word  10     its neighbours in the list of gaps as long; the next one in the list of free slots
    /// word  11..16 always 0
    /// ```
    ///
    /// Readers look at the first line only (`ranges`, rule 1); the second one is the writer's.
    #[derive(Debug)]
    #[repr(C)]
    pub struct RangeSlot {
        words: [AtomicU64; 16],
    }
}

/// A slot's number plus one; 0 is none.
pub(super) type Name = u32;

/// No slot.
pub(super) const NONE: Name = 0;

/// By what the ranges are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Offset,
    Phys,
}

const FIRST: usize = 0;
const PAGES: usize = 1;
const PHYS: usize = 2;
const TAG: usize = 3;
const LINKS: usize = 4;
const ROOM: usize = 8;
const GAP: usize = 9;
const LISTED: usize = 10;

impl RangeSlot {
    pub(crate) fn all_words(&self) -> &[AtomicU64] {
        &self.words
    }

    /// As new, where a construction is given up.
    pub(crate) fn forget(&self) {
        // Relaxed: nobody else has it.
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    const_outside_models! {
        /// An empty slot.
        pub fn new() -> Self {
            RangeSlot { words: zero_words!() }
        }
    }

    #[inline(always)]
    fn load(&self, word: usize) -> u64 {
        // Acquire: pairs with `store`, so that a reader that sees a later change's field sees the later table's word too (`ranges`, rule 1).
        self.words[word].load(Ordering::Acquire)
    }

    #[inline(always)]
    fn store(&self, word: usize, value: u64) {
        // Release: pairs with `load`.
        self.words[word].store(value, Ordering::Release);
    }

    pub(super) fn range(&self) -> PlacedRange {
        PlacedRange {
            first: Offset::new(self.load(FIRST)),
            pages: self.load(PAGES),
            phys: Phys(self.load(PHYS)),
            tag: self.load(TAG),
        }
    }

    /// First offset and the first one after it.
    #[inline]
    pub(super) fn bounds(&self) -> (u64, u64) {
        let first = self.load(FIRST);
        (first, first.wrapping_add(self.load(PAGES)))
    }

    /// What it is ordered by.
    #[inline]
    pub(super) fn key(&self, by: By) -> u64 {
        self.load(if by == By::Offset { FIRST } else { PHYS })
    }

    /// What is below it on the left and on the right.
    #[inline]
    pub(super) fn links(&self, by: By, copy: usize) -> (Name, Name) {
        halves(self.load(Self::links_at(by, copy)))
    }

    pub(super) fn set_links(&self, by: By, copy: usize, (left, right): (Name, Name)) {
        self.store(Self::links_at(by, copy), u64::from(left) << 32 | u64::from(right));
    }

    #[inline]
    const fn links_at(by: By, copy: usize) -> usize {
        LINKS + (by as usize) * 2 + (copy & 1)
    }
}

/// For the writer.
impl RangeSlot {
    /// Becomes this range, which may come to have so many pages, and stands nowhere yet, whatever it held before.
    pub(super) fn become_range(&self, range: PlacedRange, room: u64) {
        (LINKS..self.words.len()).for_each(|word| self.store(word, 0));
        self.store(FIRST, range.first.get());
        self.store(PAGES, range.pages);
        self.store(PHYS, range.phys.0);
        self.store(TAG, range.tag);
        self.store(ROOM, room);
    }

    /// Becomes longer. The one change of a range that can be found: readers see it as it was before or as it is now.
    pub(super) fn grow(&self, pages: u64, room: u64) {
        self.store(PAGES, pages);
        self.store(ROOM, room);
    }

    /// The range with all pages that it may come to have.
    pub(super) fn at_most(&self) -> PlacedRange {
        PlacedRange { pages: self.load(ROOM), ..self.range() }
    }

    /// Holds what an earlier use may have left there.
    #[cfg(test)]
    pub(super) fn fill(&self, value: u64) {
        (0..self.words.len()).for_each(|word| self.store(word, value));
    }

    pub(super) fn gap(&self) -> u64 {
        self.load(GAP)
    }

    pub(super) fn set_gap(&self, pages: u64) {
        self.store(GAP, pages);
    }

    /// Its neighbours in the list that it is in.
    pub(super) fn listed(&self) -> (Name, Name) {
        halves(self.load(LISTED))
    }

    pub(super) fn set_listed(&self, (before, next): (Name, Name)) {
        self.store(LISTED, u64::from(before) << 32 | u64::from(next));
    }
}

#[inline]
const fn halves(word: u64) -> (Name, Name) {
    ((word >> 32) as Name, word as Name)
}
