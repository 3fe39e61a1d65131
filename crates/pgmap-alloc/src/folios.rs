//! From an offset to the folio that covers it.

use crate::charge::Charged;
use crate::data::{DataCell, DriverData};
use crate::gates::{AtGates, Gates};
use crate::memory::Memory;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::state::{Snapshot, State, Word};

/// The words and the driver data of all pages.
pub(crate) struct Folios<'s> {
    words: Memory<'s, Word>,
    data: Memory<'s, DataCell>,
    /// The first of the cells that say who pays; those with data stand before it.
    charges: usize,
    /// Stand for pages that do not exist: always idle, without data.
    no_word: Word,
    no_cell: DataCell,
    /// Has changed since if there was a split: a split says so once the words of its parts are written, before the whole becomes
    /// smaller. A lookup that found nothing may have looked for a part too early and for the whole too late; then this differs.
    pub(crate) gates: Gates,
}

/// A folio, special range or retired page as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its first page.
    pub(crate) head: Offset,
    /// Its word; never idle.
    pub(crate) word: Snapshot,
}

impl Found {
    /// Its pages.
    pub(crate) fn run(self) -> Run {
        Run::around(self.head.get(), self.word.order())
    }
}

impl<'s> Folios<'s> {
    pub(crate) fn new(words: Memory<'s, Word>, data: Memory<'s, DataCell>, charges: usize) -> Self {
        Folios { words, data, charges, no_word: Word::new(), no_cell: DataCell::new(), gates: Gates::new() }
    }

    /// The word of a page.
    #[inline]
    pub(crate) fn word(&self, page: Offset) -> &Word {
        self.words.get(page.index()).unwrap_or(&self.no_word)
    }

    /// Writes the driver data of the folio at `head`; the caller alone can see it.
    #[inline]
    pub(crate) fn set_data<D: DriverData>(&self, head: Offset, data: D) {
        if D::STORED
            && let Some(cell) = self.data.get(head.index())
        {
            cell.set(data);
        }
    }

    /// The data cell of the folio at `head`, if folios have data.
    pub(crate) fn cell(&self, head: Offset) -> &DataCell {
        self.data.get(head.index()).unwrap_or(&self.no_cell)
    }

    /// Reads the driver data of the folio at `head`.
    #[inline]
    pub(crate) fn data<D: DriverData>(&self, head: Offset) -> D {
        if D::STORED { self.data.get(head.index()).unwrap_or(&self.no_cell).get() } else { D::from_bits(0) }
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

    /// The folio, special range or retired page that covers `page`, whatever its state.
    ///
    /// At most one probe per order up to `largest`; smallest first, because an inner word that is not idle is the truth.
    /// Lock-free: it looks again if there was a split.
    pub(crate) fn covering(&self, page: Offset, largest: Order) -> Option<Found> {
        self.covering_at_gates(page, largest).0
    }

    /// [`Folios::covering`], and what the gates said before.
    #[inline]
    pub(crate) fn covering_at_gates(&self, page: Offset, largest: Order) -> (Option<Found>, AtGates) {
        loop {
            // Whoever sees the whole smaller, or gone, sees the word changed; whoever begins with the changed word sees the parts.
            let gates = self.gates.look();
            let found = self.probe(page, largest);
            if found.is_some() || self.gates.look() == gates {
                return (found, gates);
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
