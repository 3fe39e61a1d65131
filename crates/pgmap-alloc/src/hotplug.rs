//! Ranges that come and go while the pgmap serves on.
//!
//! A range that goes is first closed: no new request is served there. Whatever is idle in it, and whatever becomes idle, is taken
//! and declared special ([`Reason::Leaving`]). When all of it is taken or retired, it is forgotten.
//!
//! # Rules
//!
//! 1. A range is closed as a page is marked (`lifetime`, rule 3): a request that has not heard of it gives its pages back, and
//!    whoever gives pages back looks here and takes them (`service`, step 8).
//! 2. Pages are taken, declared, and then it is looked whether their range is still leaving. Who opens it again says so, and then
//!    looks for what is declared. So nothing stays behind; undeclaring decides who gives a run back.
//! 3. A range is forgotten when every page of it is ours or retired; its pages are idle at no moment. First nobody finds it any
//!    more, then its words become idle, and only then can its offsets be another range's.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::error::{AddRangeError, RemoveRangeError};
use crate::leaving::{LEAVING, NotLeaving};
use crate::offset::{Offset, PhysRange, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::pool::{Forgotten, NewRange, PlacedRange, runs_of};
use crate::queue::Place;
use crate::report::{RunState, SnapshotRun};
use crate::standing::Reason;
use crate::sync::{full_fence, relax};
use crate::wakee::Wakee;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Adds a range, under load: its pages become idle. Room for it was asked for by [`Params::with_room`](crate::Params::with_room).
    /// As [`GenPool::add_range`](crate::GenPool::add_range).
    pub fn add_range(&self, range: impl Into<NewRange>) -> Result<PlacedRange, AddRangeError> {
        self.pool.add_range(range)
    }

    /// Makes the range that starts at `first` longer by memory that starts where it ends, under load: folios may lie across the seam.
    /// As [`GenPool::grow_range`](crate::GenPool::grow_range). A range that is closed does not grow.
    pub fn grow_range(&self, first: Offset, by: PhysRange) -> Result<PlacedRange, AddRangeError> {
        self.pool.grow_range_if(first, by, || self.leaving.within(Run::around(first.get(), Order::ZERO)).is_none())
    }

    /// Closes the range that starts at `first`: from now on no request is served there, and no finder gets a reference to a folio
    /// there ([`Pgmap::try_get_raw`]). Holders go on, so each folio there is gone after its longest hold. Pages that are idle there are
    /// counted as idle nowhere. The rest of the pgmap serves on. O(pages of the range); lock-free.
    ///
    /// Up to 8 ranges can be closed at a time ([`RemoveRangeError::TooManyLeaving`]). Dropping the guard opens the range again, with nothing
    /// lost.
    ///
    /// A retired page is not in the way: it goes with its range, and the pgmap forgets that it was bad. If the same memory may be added
    /// again, keep [`Closed::retired`] and give it to [`Pgmap::restore_retired`] then. A page that is to be retired but still in use is
    /// in the way until its last put.
    pub fn close_range(&self, first: Offset) -> Result<Closed<'_, O, WORDS>, RemoveRangeError> {
        // The range does not grow, and no page of it is pardoned, until it is known that it is leaving.
        let _change = self.pool.change_ranges().ok_or(RemoveRangeError::Changing)?;
        let range = self.pool.range_at(first).filter(|range| range.first == first).ok_or(RemoveRangeError::Unknown)?;
        let since = self.pool.forgotten();
        self.lifetime.add_mark();
        self.leaving.set(range.first, range.end()).map_err(|fault| {
            self.lifetime.remove_mark();
            match fault {
                NotLeaving::Already => RemoveRangeError::AlreadyLeaving,
                NotLeaving::TooMany => RemoveRangeError::TooManyLeaving { leaving: LEAVING },
                NotLeaving::Changing => RemoveRangeError::Changing,
            }
        })?;
        self.folios.gates.close();
        self.take_leaving(range.first, range.end());
        Ok(Closed { pgmap: self, range, since })
    }

    /// Takes what is idle between two pages of a range that is leaving.
    pub(crate) fn take_leaving(&self, first: Offset, end: Offset) {
        let idle = self.snapshot_from(first).take_while(|run| run.start < end).filter(|run| run.state == RunState::Idle);
        for run in idle {
            let last = (run.start.get() + run.pages).min(end.get());
            for piece in runs_of(run.start.get(), last, Order::MAX) {
                let since = self.pool.forgotten();
                if self.pool.take_at(piece).is_ok() {
                    self.count_in(None, piece.pages());
                    let declared = self.folios.word(piece.start()).declare(piece.order(), Reason::Leaving.to_bits());
                    debug_assert!(declared, "an owned run has a folio");
                    // Rule 2.
                    full_fence();
                    if self.leaving.within(piece).is_none() {
                        self.reopen(piece, since);
                    }
                }
            }
        }
    }

    /// Makes a run that was taken because its range was leaving, after `since` was read, idle again, as it was.
    fn reopen(&self, run: Run, since: Forgotten) {
        if self.folios.word(run.start()).undeclare(run.order()) {
            self.release_unused(None, run, Some(since));
        }
    }

    /// Whether nobody has a page, or it is being moved. Whoever has it and gives it back after this sees what the caller has written
    /// before.
    fn is_nobodys(&self, page: Offset) -> bool {
        self.pool.meet(Run::around(page.get(), Order::ZERO));
        self.folios.touch_above(page, self.largest_order());
        self.covering(page).is_none() && self.pool.is_taken(page) != Some(true)
    }
}

/// How far the removal of a range has come.
pub enum Removal<'p, O: PgmapOps, const WORDS: usize = 8> {
    /// It is gone.
    Done(PlacedRange),
    /// This, at least, is in the way: a folio to be evicted, a block, a special range; pages at hand in a per-CPU handle look like
    /// a block. [`Reason::Leaving`]: nothing is, but another range is being added or taken away at this moment.
    Waiting(Closed<'p, O, WORDS>, SnapshotRun),
}

/// A range in which no request is served any more. Drop opens it again.
pub struct Closed<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    range: PlacedRange,
    /// Read before any of it was taken: what its pages hold is known still when it opens again.
    since: Forgotten,
}

impl<'p, O: PgmapOps, const WORDS: usize> Closed<'p, O, WORDS> {
    /// The range.
    pub fn range(&self) -> PlacedRange {
        self.range
    }

    /// What stands in the range, in rising order of offset.
    fn runs(&self) -> impl Iterator<Item = SnapshotRun> + use<'p, O, WORDS> {
        let end = self.range.end();
        self.pgmap.snapshot_from(self.range.first).take_while(move |run| run.start < end)
    }

    /// What is still in the way, in rising order of offset. O(pages of the range).
    pub fn holdouts(&self) -> impl Iterator<Item = SnapshotRun> + use<'p, O, WORDS> {
        self.runs().filter(|run| !is_gone(run.state) && run.state != RunState::Idle)
    }

    /// The bad pages of the range: first those that are retired, in rising order, then those that are pending. To be kept if its memory
    /// may come back. O(pages of the range).
    pub fn retired(&self) -> impl Iterator<Item = Offset> + use<'p, O, WORDS> {
        let (pgmap, end) = (self.pgmap, self.range.end());
        let retired = self.runs().filter(|run| run.state == RunState::Retired);
        let retired = retired.flat_map(move |run| (run.start.get()..(run.start.get() + run.pages).min(end.get())).map(Offset::new));
        retired.chain(pgmap.marks.between(&pgmap.folios, self.range.first, end))
    }

    /// Takes what has become idle, and forgets the range if that is all of it. Never waits. O(pages of the range).
    pub fn poll_removal(self) -> Removal<'p, O, WORDS> {
        self.pgmap.take_leaving(self.range.first, self.range.end());
        let left = self.runs().find(|run| !is_gone(run.state));
        match left.map_or_else(|| self.forget(), Some) {
            Some(left) => Removal::Waiting(self, left),
            None => {
                let range = self.range;
                // There is nothing to open.
                core::mem::forget(self);
                Removal::Done(range)
            }
        }
    }

    /// Rule 3; says what is in the way, if it is.
    fn forget(&self) -> Option<SnapshotRun> {
        let (pgmap, range) = (self.pgmap, self.range);
        let forgotten = pgmap.pool.forget_range(range.first, || {
            // Before the range is leaving no more: somebody who has just declared a page would else make it idle again (rule 2).
            pgmap.folios.forget(range.first, range.end(), |page| pgmap.uncount(page));
            pgmap.folios.gates.open();
            pgmap.leaving.clear(range.first);
            pgmap.lifetime.remove_mark();
            // The range is gone, then its marks go; whoever marks a page does that, and then looks whether it is still there.
            full_fence();
            pgmap.marks.between(&pgmap.folios, range.first, range.end()).for_each(|page| pgmap.unmark(page));
        });
        match forgotten {
            Ok(range) => {
                // All of them were taken, and now they are no pages of the pgmap any more.
                pgmap.count_out(range.pages);
                None
            }
            // Nobody but us takes it away, so it cannot be.
            Err(RemoveRangeError::Unknown) => None,
            Err(_) => self.runs().next(),
        }
    }

    /// A future of the range's removal. Calls `evict` with what it is about to wait for, so that the driver can see to it that it goes.
    /// Woken when pages of the range are given back.
    ///
    /// Dropping it opens the range again. A per-CPU handle gives pages of the range back at its next put, when it is drained and
    /// when it is dropped.
    pub fn removed<F: FnMut(SnapshotRun) + Unpin>(self, evict: F) -> UntilRemoved<'p, F, O, WORDS> {
        UntilRemoved { closed: Some(self), place: None, offered: None, evict }
    }

    /// [`Closed::removed`], with the thread parked while it waits.
    #[cfg(feature = "std")]
    pub fn remove_parked(self, evict: impl FnMut(SnapshotRun) + Unpin) -> PlacedRange {
        let mut removed = self.removed(evict);
        crate::idle::block_parked(|wakee| removed.poll_as(wakee))
    }

    /// Makes what was taken idle again.
    fn open(&self) {
        for run in self.runs() {
            if let RunState::Special { order, reason: Reason::Leaving } = run.state {
                self.pgmap.reopen(Run::around(run.start.get(), order), self.since);
            }
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Closed<'_, O, WORDS> {
    fn drop(&mut self) {
        self.pgmap.folios.gates.open();
        self.pgmap.leaving.clear(self.range.first);
        self.pgmap.lifetime.remove_mark();
        // Rule 2.
        full_fence();
        self.open();
    }
}

/// Whether pages in this state go with their range.
fn is_gone(state: RunState) -> bool {
    matches!(state, RunState::Retired | RunState::Special { reason: Reason::Leaving, .. })
}

/// Waits until a range is gone; see [`Closed::removed`].
pub struct UntilRemoved<'p, F, O: PgmapOps, const WORDS: usize = 8> {
    /// Taken once the range is gone.
    closed: Option<Closed<'p, O, WORDS>>,
    place: Option<Place>,
    /// What the driver has been told of last.
    offered: Option<SnapshotRun>,
    evict: F,
}

impl<F: FnMut(SnapshotRun) + Unpin, O: PgmapOps, const WORDS: usize> UntilRemoved<'_, F, O, WORDS> {
    fn poll_as(&mut self, wakee: &Wakee) -> Poll<PlacedRange> {
        loop {
            // Polled again after the end: nothing more comes.
            let Some(closed) = self.closed.take() else { return Poll::Pending };
            let (pgmap, first) = (closed.pgmap, closed.range.first);
            let waiting = pgmap.leaving.waiting(first);
            let noted = waiting.is_some_and(|waiting| waiting.join(&mut self.place, wakee));
            let holdout = match closed.poll_removal() {
                Removal::Done(range) => {
                    // Else the queue, which is another range's next, would keep the waker.
                    if let Some(waiting) = waiting {
                        waiting.leave(&mut self.place);
                    }
                    return Poll::Ready(range);
                }
                Removal::Waiting(again, holdout) => {
                    self.closed = Some(again);
                    holdout
                }
            };
            if self.offered != Some(holdout) {
                self.offered = Some(holdout);
                (self.evict)(holdout);
                // Met before the last look: whoever gives it back later sees that somebody waits.
                pgmap.is_nobodys(holdout.start);
                continue;
            }
            if !noted || is_gone(holdout.state) || pgmap.is_nobodys(holdout.start) {
                relax();
                wakee.wake();
            }
            return Poll::Pending;
        }
    }
}

impl<F: FnMut(SnapshotRun) + Unpin, O: PgmapOps, const WORDS: usize> Future for UntilRemoved<'_, F, O, WORDS> {
    type Output = PlacedRange;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<PlacedRange> {
        self.poll_as(&Wakee::Task(context.waker().clone()))
    }
}

impl<F, O: PgmapOps, const WORDS: usize> Drop for UntilRemoved<'_, F, O, WORDS> {
    fn drop(&mut self) {
        let Some(closed) = &self.closed else { return };
        if let Some(waiting) = closed.pgmap.leaving.waiting(closed.range.first) {
            waiting.leave(&mut self.place);
        }
    }
}
