//! Waiting until a folio can be frozen: as a future anywhere, and parked where there are threads.
//!
//! The protocol is `state`'s rule 10. While the wait lasts the folio is closed to finders (`gates`).

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::error::FreezeError;
use crate::folio::Folio;
use crate::frozen::Frozen;
use crate::idle::UntilIdle;
use crate::offset::Offset;
use crate::ops::PgmapOps;
use crate::pgmap::Pgmap;
use crate::state::{Expect, FreezeOrWait};
use crate::sync::relax;
use crate::wakee::Wakee;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A future of the frozen folio in service at `head`, ready when its references are as expected and nobody else has it frozen.
    ///
    /// From its first poll until it is ready or dropped the folio is closed to finders ([`Pgmap::try_get_raw`] and its like); holders
    /// may clone and put. So it is ready after the longest hold. It ends with an error if there is no folio (any more), if it has fewer
    /// references than expected, or if they are no longer counted.
    ///
    /// Woken by puts, unmaps and thaws of this folio; a poll is lock-free and allocates nothing. Any number may wait, as in
    /// [`Pgmap::until_idle`]. Dropping the future ends the wait without a trace.
    pub fn until_frozen(&self, head: Offset, expect: Expect) -> Result<UntilFrozen<'_, O, WORDS>, FreezeError> {
        self.check_freeze(head, expect)?;
        Ok(UntilFrozen { wait: UntilIdle::at(self, head), expect })
    }
}

impl<O: PgmapOps, const WORDS: usize> Folio<'_, O, WORDS> {
    /// A future of this folio frozen ([`Pgmap::until_frozen`]); this reference is one of those that are expected.
    pub fn until_frozen(&self, expect: Expect) -> Result<UntilFrozen<'_, O, WORDS>, FreezeError> {
        self.pgmap().until_frozen(self.offset(), expect)
    }
}

/// Waits until a folio can be frozen; see [`Pgmap::until_frozen`].
pub struct UntilFrozen<'p, O: PgmapOps, const WORDS: usize = 8> {
    wait: UntilIdle<'p, O, WORDS>,
    expect: Expect,
}

impl<'p, O: PgmapOps, const WORDS: usize> UntilFrozen<'p, O, WORDS> {
    fn poll_as(&mut self, wakee: &Wakee) -> Poll<Result<Frozen<'p, O, WORDS>, FreezeError>> {
        self.wait.enter();
        let noted = self.wait.note(wakee);
        let answer = self.attempt();
        if answer.is_ready() {
            self.wait.leave();
        } else if !noted {
            relax();
            wakee.wake();
        }
        answer
    }

    /// One attempt, after which the next put tells if it was in vain.
    fn attempt(&self) -> Poll<Result<Frozen<'p, O, WORDS>, FreezeError>> {
        let (pgmap, head) = (self.wait.pgmap(), self.wait.page());
        if self.wait.has_fired() {
            // Whatever is there now is another folio.
            return Poll::Ready(Err(FreezeError::NotInService));
        }
        match pgmap.folios.word(head).freeze_or_wait(self.expect) {
            Ok(FreezeOrWait::Frozen(folio)) => Poll::Ready(Ok(Frozen::adopt(pgmap, head, folio.order()))),
            Ok(FreezeOrWait::Wait) => Poll::Pending,
            Err(fault) => Poll::Ready(Err(fault.into())),
        }
    }
}

impl<'p, O: PgmapOps, const WORDS: usize> Future for UntilFrozen<'p, O, WORDS> {
    type Output = Result<Frozen<'p, O, WORDS>, FreezeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_as(&Wakee::Task(context.waker().clone()))
    }
}

/// The same for threads: parked until a put wakes them.
#[cfg(feature = "std")]
mod waiting {
    extern crate std;

    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Expect, Folio, FreezeError, Frozen, Offset, Pgmap, PgmapOps};
    use core::task::Poll;

    use crate::idle::{block_parked, parked};

    impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
        /// Parks the thread until the folio at `head` can be frozen ([`Pgmap::until_frozen`]), and freezes it.
        pub fn wait_frozen(&self, head: Offset, expect: Expect) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
            self.wait_frozen_unless(head, expect, || false)
        }

        /// [`Pgmap::wait_frozen`], until `interrupted` says so: it is asked before each time the thread is parked. Whoever interrupts
        /// makes it true and then unparks the thread. An interrupted wait leaves no trace.
        pub fn wait_frozen_unless(
            &self,
            head: Offset,
            expect: Expect,
            mut interrupted: impl FnMut() -> bool,
        ) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
            let mut frozen = self.until_frozen(head, expect)?;
            block_parked(|wakee| {
                if let Poll::Ready(answer) = frozen.poll_as(wakee) {
                    return Poll::Ready(answer);
                }
                if interrupted() {
                    return Poll::Ready(Err(FreezeError::Interrupted));
                }
                // As in `wait_idle_unless`: the caller's code may have used up a wake-up.
                frozen.poll_as(wakee)
            })
        }

        /// [`Pgmap::wait_frozen`], for so long at most.
        pub fn wait_frozen_timeout(
            &self,
            head: Offset,
            expect: Expect,
            timeout: Duration,
        ) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
            let start = Instant::now();
            let mut frozen = self.until_frozen(head, expect)?;
            let park = || {
                let left = timeout.checked_sub(start.elapsed()).ok_or(FreezeError::TimedOut)?;
                thread::park_timeout(left);
                Ok::<(), FreezeError>(())
            };
            parked(|wakee| frozen.poll_as(wakee), park)?
        }
    }

    impl<O: PgmapOps, const WORDS: usize> Folio<'_, O, WORDS> {
        /// Parks the thread until this folio can be frozen ([`Folio::until_frozen`]), and freezes it.
        pub fn wait_frozen(&self, expect: Expect) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
            self.pgmap().wait_frozen(self.offset(), expect)
        }
    }
}
