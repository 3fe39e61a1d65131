//! The end of a pgmap's life, one type per stage: killed -> drained -> torn down.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::error::DrainError;
use crate::idle::UntilIdle;
use crate::offset::Offset;
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::report::RunState;
use crate::trace::Event;
use crate::wakee::Wakee;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// The right to drain a pgmap that has been killed before.
    pub fn killed(&self) -> Result<Killed<'_, O, WORDS>, DrainError> {
        if !self.lifetime.now().is_dying() {
            return Err(DrainError::NotKilled);
        }
        Ok(Killed { pgmap: self, at: Offset::new(0) })
    }

    /// Ends the pgmap's life: from the return on every request is refused as dying, and no finder gets a reference
    /// ([`Pgmap::try_get_raw`]). Folios in service stay until their last put, and holders may clone what they hold: so a drain ends
    /// after the longest hold.
    ///
    /// Lock-free. Legal at any moment, with live folios, and more than once. A request that races with it succeeds wholly or
    /// fails wholly.
    pub fn kill(&self) -> Killed<'_, O, WORDS> {
        // First: where the pgmap is dying, gates are closed.
        self.folios.gates.close_all();
        self.lifetime.kill();
        self.ops().trace(Event::Kill);
        Killed { pgmap: self, at: Offset::new(0) }
    }
}

/// A pgmap that puts nothing into service any more.
///
/// Holding one proves that the pgmap is dying; no count goes from 0 to 1 any more.
///
/// The order of the stages is one of types: what is not killed cannot be drained, and what is not drained cannot be torn down.
///
/// ```compile_fail,E0599
/// # use pgmap_alloc::Pgmap;
/// fn end(pgmap: &Pgmap<'_, ()>) {
///     pgmap.drain(|_| ());
/// }
/// ```
/// ```compile_fail,E0599
/// # use pgmap_alloc::Pgmap;
/// fn end(pgmap: &Pgmap<'_, ()>) {
///     pgmap.kill().teardown();
/// }
/// ```
pub struct Killed<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    /// Every word before this one has been seen idle, and stays so.
    at: Offset,
}

/// A folio that a drain waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdout {
    /// Its first page.
    pub offset: Offset,
    /// Its order.
    pub order: Order,
    /// Its references; 0 while `folio_free` runs, while a request that came too late undoes itself, or while the folio is frozen
    /// and its last reference has been dropped.
    pub refs: u32,
    /// Its references are no longer counted ([`Counts::saturated`](crate::Counts::saturated)): it stays in service for ever.
    pub saturated: bool,
}

/// How far a drain has come.
pub enum Drain<'p, O: PgmapOps, const WORDS: usize = 8> {
    /// Every folio is idle and no `folio_free` is running.
    Done(Drained<'p, O, WORDS>),
    /// This folio, at least, is not.
    Waiting(Killed<'p, O, WORDS>, Holdout),
}

impl<'p, O: PgmapOps, const WORDS: usize> Killed<'p, O, WORDS> {
    /// Goes on until a folio that is still in service. Never waits; all polls together look at each word once.
    ///
    /// The first poll of a pgmap calls [`PgmapOps::quiesce`]. If another caller has drained and torn down the pgmap by the time that
    /// has returned, it calls [`PgmapOps::teardown`] too.
    pub fn poll_drain(mut self) -> Drain<'p, O, WORDS> {
        if self.pgmap.lifetime.quiesce() {
            self.pgmap.ops().quiesce();
            if self.pgmap.lifetime.quiesced() {
                self.pgmap.ops().teardown();
            }
        }
        let first = self.holdouts().next();
        match first {
            Some(holdout) => {
                self.at = holdout.offset;
                Drain::Waiting(self, holdout)
            }
            None => {
                self.pgmap.lifetime.drained();
                self.pgmap.ops().trace(Event::Drain);
                Drain::Done(Drained { pgmap: self.pgmap })
            }
        }
    }

    /// Waits until the last folio is idle and no `folio_free` is running; calls `wait` whenever it has to, with the folio that it
    /// waits for, so that the caller can evict it, sleep or spin.
    pub fn drain(self, mut wait: impl FnMut(Holdout)) -> Drained<'p, O, WORDS> {
        let mut killed = self;
        loop {
            match killed.poll_drain() {
                Drain::Done(drained) => return drained,
                Drain::Waiting(again, holdout) => {
                    killed = again;
                    wait(holdout);
                }
            }
        }
    }

    /// A future of the drained pgmap. Calls `evict` for each folio that it has to wait for, just before it does: the driver's
    /// chance to see to it that its references are put.
    ///
    /// Dropping it leaves the pgmap killed, to be drained later ([`Pgmap::killed`]).
    pub fn drained<F: FnMut(Holdout) + Unpin>(self, evict: F) -> UntilDrained<'p, F, O, WORDS> {
        UntilDrained { killed: Some(self), holdout: None, evict }
    }

    /// [`Killed::drained`], with the thread parked while it waits.
    #[cfg(feature = "std")]
    pub fn drain_parked(self, evict: impl FnMut(Holdout) + Unpin) -> Drained<'p, O, WORDS> {
        let mut drained = self.drained(evict);
        crate::idle::block_parked(|wakee| drained.poll_as(wakee))
    }

    /// The folios that are still in service, in rising order of offset. O(pages not seen idle before).
    pub fn holdouts(&self) -> impl Iterator<Item = Holdout> {
        self.pgmap.snapshot_from(self.at).filter_map(|run| match run.state {
            RunState::Folio { order, refs } => {
                let saturated = self.pgmap.folios.word(run.start).snapshot().is_saturated();
                Some(Holdout { offset: run.start, order, refs, saturated })
            }
            _ => None,
        })
    }

    /// How many pages are still in service. O(pages not seen idle before).
    pub fn pages_in_service(&self) -> u64 {
        self.holdouts().map(|holdout| holdout.order.pages()).sum()
    }
}

/// Waits until the last folio is idle; see [`Killed::drained`].
pub struct UntilDrained<'p, F, O: PgmapOps, const WORDS: usize = 8> {
    /// Taken once the pgmap is drained.
    killed: Option<Killed<'p, O, WORDS>>,
    holdout: Option<UntilIdle<'p, O, WORDS>>,
    evict: F,
}

impl<'p, F: FnMut(Holdout) + Unpin, O: PgmapOps, const WORDS: usize> UntilDrained<'p, F, O, WORDS> {
    fn poll_as(&mut self, wakee: &Wakee) -> Poll<Drained<'p, O, WORDS>> {
        loop {
            if let Some(idle) = &mut self.holdout
                && idle.poll_as(wakee).is_pending()
            {
                return Poll::Pending;
            }
            // Polled again after the end: nothing more comes.
            let Some(killed) = self.killed.take() else { return Poll::Pending };
            match killed.poll_drain() {
                Drain::Done(drained) => return Poll::Ready(drained),
                Drain::Waiting(again, holdout) => {
                    self.holdout = again.pgmap.until_idle(holdout.offset).ok();
                    self.killed = Some(again);
                    (self.evict)(holdout);
                }
            }
        }
    }
}

impl<'p, F: FnMut(Holdout) + Unpin, O: PgmapOps, const WORDS: usize> Future for UntilDrained<'p, F, O, WORDS> {
    type Output = Drained<'p, O, WORDS>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_as(&Wakee::Task(context.waker().clone()))
    }
}

/// A pgmap whose last folio is idle.
///
/// Holding one proves that no folio is in service, that none ever will be, and that no `folio_free` is running.
pub struct Drained<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
}

impl<O: PgmapOps, const WORDS: usize> Drained<'_, O, WORDS> {
    /// Calls [`PgmapOps::teardown`], once in the pgmap's life, and never before [`PgmapOps::quiesce`] has returned: while that runs
    /// in another caller's drain, it is left to that caller.
    pub fn teardown(self) {
        if self.pgmap.lifetime.tear_down() {
            self.pgmap.ops().teardown();
        }
    }
}
