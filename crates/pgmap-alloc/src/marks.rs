//! Bad pages that are still somebody's: they are retired as soon as they can be had.
//!
//! That a page is bad stands in its own folio word (`state`, rule 8), so there is room for any number. Here stands what helps to find
//! them: for each region of 512 pages a count of the bad pages in it, a few regions to a count. A count may be too high for a
//! moment, and is for the regions that share it; it is never too low. Whoever finds it 0 need not look at the words.
//!
//! A page whose word is just being set up or freed cannot say so itself. It is *noted* in a short list instead, as the page plus one,
//! until it is retired, or until its note moves to its word because others need the room.
//!
//! # Rules
//!
//! 1. A bad page is counted here, then in `lifetime`, then said in its word or noted; then its words are touched and its tables
//!    met (`lifetime`, rule 3), then the page is tried. So whoever gets the page afterwards finds it and does not put it into
//!    service, and whoever gives it back afterwards finds it and tries the page.
//! 2. Trying a page is claiming it in the tables; the one who succeeds writes its word `Retired`. Whoever turned the word from bad to
//!    retired uncounts it, and so does whoever takes a note away. What is noted is looked for after the word is written, and the
//!    word after the note; both pairs are `SeqCst`: no note is left on a retired page.

use crate::folios::Folios;
use crate::offset::{Offset, Run};
use crate::state::Condemned;
use crate::sync::{AtomicU64, Ordering, in_models, order_after_write};

/// How many pages may be noted at a time.
const NOTES: usize = in_models(2, 128);
/// Counts of bad pages; a power of two.
const COUNTS: usize = in_models(1, 256);
/// Pages that are counted together.
const REGION: u64 = 512;

/// Where bad pages are.
pub(crate) struct Marks {
    /// 0 is no note, else the page plus one.
    noted: [AtomicU64; NOTES],
    counts: [AtomicU64; COUNTS],
    /// Not 0 once any page has been retired.
    retired: AtomicU64,
}

/// What became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Marked {
    /// The page is marked and counted.
    Now,
    /// It was marked before.
    Already,
    /// It is retired.
    Retired,
    /// A folio that starts with it is being set up or freed, and so are too many others.
    Unsettled,
}

impl Marks {
    pub(crate) fn new() -> Marks {
        let zeros = |_| AtomicU64::new(0);
        Marks {
            noted: core::array::from_fn(zeros),
            counts: core::array::from_fn(|_| AtomicU64::new(0)),
            retired: AtomicU64::new(0),
        }
    }

    /// Marks a page that the caller has counted, unless it is marked already; then the caller uncounts it.
    pub(crate) fn set(&self, folios: &Folios<'_>, page: Offset) -> Marked {
        if self.is_noted(page) {
            return Marked::Already;
        }
        match folios.word(page).condemn() {
            Condemned::Now => Marked::Now,
            Condemned::Already => Marked::Already,
            Condemned::Retired => Marked::Retired,
            Condemned::Unsettled if self.note(page) => Marked::Now,
            Condemned::Unsettled => Marked::Unsettled,
        }
    }

    /// One more bad page.
    pub(crate) fn count(&self, page: Offset) {
        // Relaxed: the count in `lifetime` comes after it, and who looks here has seen that.
        self.count_of(page).fetch_add(1, Ordering::Relaxed);
    }

    /// One bad page fewer.
    pub(crate) fn uncount(&self, page: Offset) {
        // Relaxed: a count that is too high for a moment costs a look.
        self.count_of(page).fetch_sub(1, Ordering::Relaxed);
    }

    /// Says that a page is being retired.
    pub(crate) fn note_retired(&self) {
        // Relaxed: a hint for the wording of a refusal. Looked at first, because the line is everybody's.
        if self.retired.load(Ordering::Relaxed) == 0 {
            self.retired.store(1, Ordering::Relaxed);
        }
    }

    /// Whether any page was ever retired, as far as the caller can know.
    pub(crate) fn any_retired(&self) -> bool {
        // Relaxed: as in `note_retired`.
        self.retired.load(Ordering::Relaxed) != 0
    }

    fn count_of(&self, page: Offset) -> &AtomicU64 {
        &self.counts[(page.get() / REGION) as usize & (COUNTS - 1)]
    }

    fn note(&self, page: Offset) -> bool {
        let set = self.noted.iter().any(|slot| {
            // SeqCst: the write half of rule 2's second pair. Relaxed on failure: the slot is another's.
            slot.compare_exchange(0, page.get() + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        });
        order_after_write();
        set
    }

    /// Takes a note of this page away; `false` if there is none (any more). One caller succeeds per note.
    pub(crate) fn take_note(&self, page: Offset) -> bool {
        // SeqCst: the read half of rule 2's first pair. Relaxed on failure: somebody else has taken it.
        let take = |slot: &AtomicU64| slot.compare_exchange(page.get() + 1, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        // SeqCst: as above.
        self.noted.iter().any(|slot| slot.load(Ordering::SeqCst) == page.get() + 1 && take(slot))
    }

    /// The pages that are noted.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Offset> {
        // SeqCst: pairs with `note`; a request that was begun after its word was touched sees the note (`lifetime`, rule 3).
        self.noted.iter().filter_map(|slot| slot.load(Ordering::SeqCst).checked_sub(1).map(Offset::new))
    }

    fn is_noted(&self, page: Offset) -> bool {
        self.notes().any(|noted| noted == page)
    }

    /// Whether a page is marked.
    pub(crate) fn has(&self, folios: &Folios<'_>, page: Offset) -> bool {
        folios.word(page).snapshot().is_bad() || self.is_noted(page)
    }

    /// The marked pages from `first` up to `end`: those that say so themselves, in rising order, then those that are noted.
    /// O(regions), and O(pages) of those in which there may be any.
    pub(crate) fn between(&self, folios: &Folios<'_>, first: Offset, end: Offset) -> impl Iterator<Item = Offset> {
        let (first, end) = (first.get(), end.get());
        // Relaxed: whoever looks here has seen the later count in `lifetime`.
        let some = |region: &u64| self.count_of(Offset::new(region * REGION)).load(Ordering::Relaxed) != 0;
        let regions = (first / REGION..end.div_ceil(REGION)).filter(some);
        let pages = regions.flat_map(move |region| (region * REGION).max(first)..((region + 1) * REGION).min(end)).map(Offset::new);
        let said = pages.filter(|&page| folios.word(page).snapshot().is_bad());
        said.chain(self.notes().filter(move |page| (first..end).contains(&page.get())))
    }

    /// The marked pages of a run; as [`Marks::between`].
    pub(crate) fn within(&self, folios: &Folios<'_>, run: Run) -> impl Iterator<Item = Offset> {
        self.between(folios, run.start(), run.end())
    }
}
