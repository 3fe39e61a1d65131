//! From an offset to the folio that covers it.

use crate::charge::Charged;
use crate::data::{DataCell, DriverData};
use crate::memory::Memory;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::state::{Snapshot, State, Word};
use crate::sync::{AtomicU64, Ordering};

/// The words and the driver data of all pages.
pub(crate) struct Folios<'s> {
    words: Memory<'s, Word>,
    data: Memory<'s, DataCell>,
    /// The first of the cells that say who pays; those with data stand before it.
    charges: usize,
    /// Stand for pages that do not exist: always idle, without data.
    no_word: Word,
    no_cell: DataCell,
    /// How many splits there have been, or nearly: a split adds to it once the words of its parts are written, before the whole
    /// becomes smaller. A lookup that found nothing may have looked for a part too early and for the whole too late; then this
    /// has changed.
    splits: AtomicU64,
}

/// A folio, special range or retired page as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its first page.
    pub(crate) head: Offset,
    /// Its word; never idle.
    pub(crate) word: Snapshot,
}

impl<'s> Folios<'s> {
    pub(crate) fn new(words: Memory<'s, Word>, data: Memory<'s, DataCell>, charges: usize) -> Self {
        Folios { words, data, charges, no_word: Word::new(), no_cell: DataCell::new(), splits: AtomicU64::new(0) }
    }

    /// The word of a page.
    #[inline]
    pub(crate) fn word(&self, page: Offset) -> &Word {
        self.words.get(page.get() as usize).unwrap_or(&self.no_word)
    }

    /// Writes the driver data of the folio at `head`; the caller alone can see it.
    #[inline]
    pub(crate) fn set_data<D: DriverData>(&self, head: Offset, data: D) {
        if D::STORED
            && let Some(cell) = self.data.get(head.get() as usize)
        {
            cell.set(data);
        }
    }

    /// The data cell of the folio at `head`, if folios have data.
    pub(crate) fn cell(&self, head: Offset) -> &DataCell {
        self.data.get(head.get() as usize).unwrap_or(&self.no_cell)
    }

    /// Reads the driver data of the folio at `head`.
    #[inline]
    pub(crate) fn data<D: DriverData>(&self, head: Offset) -> D {
        if D::STORED { self.data.get(head.get() as usize).unwrap_or(&self.no_cell).get() } else { D::from_bits(0) }
    }

    /// The cell that says who pays for the folio at `head`, in a pgmap that keeps books. As the data it is written while the folio word
    /// is `Building` or `Freeing`; besides, whoever has a reference may change it by compare-exchange.
    pub(crate) fn charge(&self, head: Offset) -> &DataCell {
        self.data.get(self.charges.saturating_add(head.get() as usize)).unwrap_or(&self.no_cell)
    }

    /// The folio at `head` has become one of `order`; says what stands at each of its parts. The caller is the one who splits it.
    pub(crate) fn split_charge(&self, head: Offset, order: Order) -> Charged {
        let part = |whole: Charged| Ok::<_, core::convert::Infallible>(whole.of_part(order));
        let Ok(charged) = self.charge(head).update(part);
        charged
    }

    /// Touches every word at which something that covers `page` can start, so that whoever changes one later sees what the caller
    /// has written before. Wait-free.
    pub(crate) fn touch_above(&self, page: Offset, largest: Order) {
        largest.up_to().for_each(|order| _ = self.word(page.align_down(order)).touch());
    }

    /// Makes the words of pages idle whose range is gone, all of which special ranges and retired pages cover; says which first pages
    /// of those were bad. O(number of those).
    pub(crate) fn forget(&self, first: Offset, end: Offset, was_bad: impl Fn(Offset)) {
        let mut page = first;
        while page < end {
            let gone = self.word(page).forget();
            if gone.is_bad() {
                was_bad(page);
            }
            page = Offset::new(page.get() + gone.order().pages());
        }
    }

    /// The first word of a run's pages that says anything. O(2^order).
    pub(crate) fn starting_in(&self, run: Run) -> Option<Found> {
        (run.start().get()..run.end().get()).map(Offset::new).find_map(|head| {
            let word = self.word(head).snapshot();
            (word.state() != State::Idle).then_some(Found { head, word })
        })
    }

    /// Whether a page of a run is retired. O(2^order).
    pub(crate) fn has_retired(&self, run: Run) -> bool {
        (run.start().get()..run.end().get()).any(|page| self.word(Offset::new(page)).snapshot().state() == State::Retired)
    }

    /// Says that the parts of a split have their words, and the whole is about to become smaller.
    pub(crate) fn note_split(&self) {
        // AcqRel: Release pairs with `covering`.
        self.splits.fetch_add(1, Ordering::AcqRel);
    }

    /// The folio, special range or retired page that covers `page`, whatever its state.
    ///
    /// At most one probe per order up to `largest`; smallest first, because an inner word that is not idle is the truth.
    /// Lock-free: it looks again if there was a split.
    pub(crate) fn covering(&self, page: Offset, largest: Order) -> Option<Found> {
        loop {
            // Acquire, twice: pairs with `note_split`. Whoever sees the whole smaller, or gone, sees the count changed; whoever
            // begins with the changed count sees the parts.
            let splits = self.splits.load(Ordering::Acquire);
            let found = self.probe(page, largest);
            if found.is_some() || self.splits.load(Ordering::Acquire) == splits {
                return found;
            }
        }
    }

    fn probe(&self, page: Offset, largest: Order) -> Option<Found> {
        largest.up_to().find_map(|order| {
            let head = page.align_down(order);
            if order > Order::ZERO && head == page.align_down(Order::clamped(order.get() - 1)) {
                // The same word as one order below.
                return None;
            }
            let word = self.word(head).snapshot();
            let covers = word.state() != State::Idle && page.align_down(word.order()) == head;
            covers.then_some(Found { head, word })
        })
    }
}
