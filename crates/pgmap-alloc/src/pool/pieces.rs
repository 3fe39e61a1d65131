//! The next piece of something larger: as much as can be had in one claim.

use super::GenPool;
use super::shape::Place;
use crate::error::AllocError;
use crate::offset::Run;
use crate::order::Order;
use crate::page_word::PageWord;

/// A part of the pages that a call in bulk is to take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    /// A run of the smallest order that is wanted, or larger.
    Run(Run),
    /// Single pages of one word.
    Word(PageWord),
}

/// What a call in bulk has found out about the pool, so that its next step need not.
pub(super) struct Found {
    /// No larger run was to be had.
    pub(super) at_most: Order,
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Before the first piece nothing has been found out.
    pub(super) fn nothing_found(&self) -> Found {
        Found { at_most: self.largest_order() }
    }

    /// Takes a piece of `left` pages, which are one run of `floor` at least.
    ///
    /// Whole entries above the lowest level while there are any, because they cost one claim however large, and nothing is split
    /// for them. Then whole words from the tightest tables, so that partial tables are used up before a whole one is. Then the
    /// largest run of a word, and of single pages whatever else the word has. A refusal is true as for [`GenPool::alloc`].
    pub(super) fn next_piece(&self, left: u64, floor: Order, found: &mut Found) -> Result<Piece, AllocError> {
        let fitting = Order::fitting(left).unwrap_or(floor).min(found.at_most).max(floor);
        // A run of several words of a table would be cut from a larger one than a word needs.
        let skipped = |order: u32| order > 6 && order < Self::RADIX && floor.get() <= 6;
        for order in (floor.get()..=fitting.get()).rev().filter(|&order| !skipped(order)) {
            if let Some(run) = self.attempt(Order::clamped(order)) {
                return Ok(self.with_its_word(run, left, floor));
            }
            found.at_most = Order::clamped(order.saturating_sub(1)).max(floor);
        }
        self.take(floor).map(|run| self.with_its_word(run, left, floor))
    }

    /// A run that was taken as part of `left` pages; if those are wanted one by one, with more pages of its word.
    #[inline]
    fn with_its_word(&self, run: Run, left: u64, floor: Order) -> Piece {
        match PageWord::of(run) {
            Some(word) if floor == Order::ZERO && run.pages() < left && !word.is_whole() => {
                Piece::Word(self.more_of_word(word, left - run.pages()))
            }
            _ => Piece::Run(run),
        }
    }

    /// Takes up to `most` more pages of the word that some were taken of.
    fn more_of_word(&self, word: PageWord, most: u64) -> PageWord {
        let (table, entry) = self.shape.entry(word.base(), 0);
        // The table may now be listed too high; the next search that comes by puts that right.
        let claimed = self.table(0, table).claim_in_word((entry / 64) as usize, most.min(PageWord::MOST) as u32);
        let Some((more, before)) = claimed else { return word };
        self.tell_word(Place { level: 0, table, entry, order: 0 }, before, before & !more);
        PageWord::around(word.base().get(), word.mask() | more)
    }
}
