//! Marks on bad pages that are still somebody's: they are retired as soon as they can be had.
//!
//! A mark is a page in a short list. It lies there from the moment a page is found bad until the page is the pgmap's own to
//! retire; the attention count in `lifetime` says how many there are, so that nobody looks here in vain.
//!
//! # Rules
//!
//! 1. A mark is counted and set, then the page's words are touched and its tables met (`lifetime`, rule 3), then the page is
//!    tried. So whoever gets the page afterwards sees the mark and does not put it into service, and whoever gives it back
//!    afterwards sees the mark and tries the page.
//! 2. Trying a page is claiming it in the tables; the one who succeeds writes its word `Retired` and then takes away every mark on
//!    that page. Setting a mark is followed by a look at the word. Both pairs are `SeqCst`: no mark is left on a retired page.

use crate::offset::{Offset, Run};
use crate::sync::{AtomicU64, Ordering, in_models, order_after_write};

/// How many pages may be marked at a time; each costs every request a look while it is marked.
pub(crate) const MARKS: usize = in_models(2, 128);

/// The list: 0 is no mark, else the page plus one.
pub(crate) struct Marks {
    pages: [AtomicU64; MARKS],
}

impl Marks {
    pub(crate) fn new() -> Marks {
        Marks { pages: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Marks a page; `false` when the list is full.
    pub(crate) fn set(&self, page: Offset) -> bool {
        let set = self.pages.iter().any(|slot| {
            // SeqCst: the write half of rule 2's second pair. Relaxed on failure: the slot is another's.
            slot.compare_exchange(0, page.get() + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        });
        order_after_write();
        set
    }

    /// Takes a mark of this page away; `false` if there is none (any more). One caller succeeds per mark.
    pub(crate) fn take(&self, page: Offset) -> bool {
        // SeqCst: the read half of rule 2's first pair.
        self.pages.iter().any(|slot| {
            slot.load(Ordering::SeqCst) == page.get() + 1
                && slot.compare_exchange(page.get() + 1, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        })
    }

    /// All marked pages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Offset> {
        // SeqCst: pairs with `set`; a request that was begun after its word was touched sees the mark (`lifetime`, rule 3).
        self.pages.iter().filter_map(|slot| slot.load(Ordering::SeqCst).checked_sub(1).map(Offset::new))
    }

    /// The marked pages of a run.
    pub(crate) fn within(&self, run: Run) -> impl Iterator<Item = Offset> {
        self.iter().filter(move |&page| run.contains(page))
    }
}
