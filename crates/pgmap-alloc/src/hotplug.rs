//! Ranges that come and go while the pgmap serves on.
//!
//! A range that goes is first closed: no new request is served there. Whatever is idle in it, and whatever becomes idle, is taken
//! and declared special ([`Reason::Leaving`]). When all of it is taken, it is forgotten.

use crate::error::{AddRangeError, RemoveRangeError};
use crate::offset::{Offset, PhysRange, Run};
use crate::order::Order;
use crate::pgmap::{Pgmap, PgmapOps};
use crate::pool::{PlacedRange, runs_of};
use crate::report::{RunState, SnapshotRun};
use crate::standing::Reason;
use crate::sync::full_fence;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Adds a range, under load: its pages become idle. Room for it was asked for by [`Params::with_room`](crate::Params::with_room).
    ///
    /// One caller at a time. O(number of ranges).
    pub fn add_range(&self, range: PhysRange) -> Result<PlacedRange, AddRangeError> {
        self.pool.add_range(range)
    }

    /// Closes the range that starts at `first`: from now on no request is served there. The rest of the pgmap serves on.
    ///
    /// One range at a time. Dropping what comes back opens the range again, with nothing lost.
    pub fn close_range(&self, first: Offset) -> Result<Closed<'_, O, WORDS>, RemoveRangeError> {
        let range = self.ranges().find(|range| range.first == first).ok_or(RemoveRangeError::Unknown)?;
        self.lifetime.add_mark();
        if !self.leaving.set(range.first, range.end()) {
            self.lifetime.remove_mark();
            return Err(RemoveRangeError::Changing);
        }
        Ok(Closed { pgmap: self, range })
    }

    /// Takes what is idle between two pages of the range that is leaving.
    pub(crate) fn take_leaving(&self, first: Offset, end: Offset) {
        let idle = self.snapshot_from(first).take_while(|run| run.start < end).filter(|run| run.state == RunState::Idle);
        for run in idle {
            let last = (run.start.get() + run.pages).min(end.get());
            for piece in runs_of(run.start.get(), last, Order::MAX) {
                if self.pool.take_at(piece).is_ok() {
                    let declared = self.folios.word(piece.start()).declare(piece.order(), Reason::Leaving.to_bits());
                    debug_assert!(declared, "an owned run has a folio");
                    // Declare, then look whether the range is still leaving; its opening says so, then looks for what is declared.
                    full_fence();
                    if self.leaving.within(piece).is_none() {
                        self.reopen(piece);
                    }
                }
            }
        }
    }

    /// Makes a run that was taken because its range was leaving idle again.
    fn reopen(&self, run: Run) {
        if self.folios.word(run.start()).undeclare(run.order()) {
            // Without step 8 of the walk, which might take it again.
            let _ = self.pool.give_back(run);
        }
    }
}

/// How far the removal of a range has come.
pub enum Removal<'p, O: PgmapOps, const WORDS: usize = 8> {
    /// It is gone.
    Done(PlacedRange),
    /// This, at least, is in the way: a folio to be evicted, a block, a special range, a retired page.
    Waiting(Closed<'p, O, WORDS>, SnapshotRun),
}

/// A range in which no request is served any more. Drop opens it again.
pub struct Closed<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    range: PlacedRange,
}

impl<'p, O: PgmapOps, const WORDS: usize> Closed<'p, O, WORDS> {
    /// The range.
    pub fn range(&self) -> PlacedRange {
        self.range
    }

    /// What is still in the way, in rising order of offset. O(pages of the range).
    pub fn holdouts(&self) -> impl Iterator<Item = SnapshotRun> + use<'p, O, WORDS> {
        let end = self.range.end();
        let gone = |state| matches!(state, RunState::Idle | RunState::Special { reason: Reason::Leaving, .. });
        self.pgmap.snapshot_from(self.range.first).take_while(move |run| run.start < end).filter(move |run| !gone(run.state))
    }

    /// Takes what has become idle, and forgets the range if that is all of it. Never waits. O(pages of the range).
    pub fn poll_removal(self) -> Removal<'p, O, WORDS> {
        self.pgmap.take_leaving(self.range.first, self.range.end());
        loop {
            if let Some(holdout) = self.holdouts().next() {
                return Removal::Waiting(self, holdout);
            }
            // All of it is ours. The pool takes it over: for a moment it is idle, and a request that has not heard may come in
            // between; then there is something in the way again.
            self.open();
            match self.pgmap.pool.remove_range(self.range.first) {
                // Unknown: nobody but us takes it away, so it cannot be.
                Ok(_) | Err(RemoveRangeError::Unknown) => return Removal::Done(self.range),
                Err(_) => self.pgmap.take_leaving(self.range.first, self.range.end()),
            }
        }
    }

    /// Waits until the range is gone; `evict` is told of everything that is in the way just before the wait for it, so that the
    /// driver can see to it that it goes. The thread is parked while it waits for a folio.
    #[cfg(feature = "std")]
    pub fn remove_parked(self, mut evict: impl FnMut(SnapshotRun)) -> PlacedRange {
        extern crate std;

        let mut closed = self;
        loop {
            match closed.poll_removal() {
                Removal::Done(range) => return range,
                Removal::Waiting(again, holdout) => {
                    closed = again;
                    evict(holdout);
                    match holdout.state {
                        RunState::Folio { .. } => _ = closed.pgmap.wait_idle(holdout.start),
                        // Nobody says when a block is freed.
                        _ => std::thread::sleep(core::time::Duration::from_micros(100)),
                    }
                }
            }
        }
    }

    /// Makes what was taken idle again.
    fn open(&self) {
        let end = self.range.end();
        for run in self.pgmap.snapshot_from(self.range.first).take_while(|run| run.start < end) {
            if let RunState::Special { order, reason: Reason::Leaving } = run.state {
                self.pgmap.reopen(Run::around(run.start.get(), order));
            }
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Closed<'_, O, WORDS> {
    fn drop(&mut self) {
        self.pgmap.leaving.clear();
        self.pgmap.lifetime.remove_mark();
        full_fence();
        // After a removal there is nothing left to open.
        self.open();
    }
}
