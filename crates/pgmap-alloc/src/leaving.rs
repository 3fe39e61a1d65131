//! The range that is on its way out, if there is one: no new request is served there.
//!
//! One caller at a time sets it, and counts it as a mark (`lifetime`), so that requests and last puts look here. They may look a
//! moment too early; that only costs another round, because a range is gone when all its pages have been taken, and not before.

use crate::offset::{Offset, Run};
use crate::sync::{AtomicU64, Ordering};

/// From which page to which.
pub(crate) struct Leaving {
    /// The first page plus one; 0 = no range is leaving.
    first: AtomicU64,
    end: AtomicU64,
}

impl Leaving {
    pub(crate) fn new() -> Leaving {
        Leaving { first: AtomicU64::new(0), end: AtomicU64::new(0) }
    }

    /// Says that a range is leaving; `false` if one is already.
    pub(crate) fn set(&self, first: Offset, end: Offset) -> bool {
        // Acquire: pairs with `clear`. Relaxed on failure: nothing is read.
        if self.first.compare_exchange(0, first.get() + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        // Release: pairs with `meets`, which meets nothing until it sees an end.
        self.end.store(end.get(), Ordering::Release);
        true
    }

    /// Says that no range is leaving any more. The caller set it.
    pub(crate) fn clear(&self) {
        // Release, both: pairs with `set`.
        self.end.store(0, Ordering::Release);
        self.first.store(0, Ordering::Release);
    }

    /// The pages of `run` that are leaving, as the first and the one after the last.
    pub(crate) fn within(&self, run: Run) -> Option<(Offset, Offset)> {
        // Acquire, both: pairs with `set`.
        let end = Offset::new(self.end.load(Ordering::Acquire)).min(run.end());
        let first = Offset::new(self.first.load(Ordering::Acquire).checked_sub(1)?).max(run.start());
        (first < end).then_some((first, end))
    }
}
