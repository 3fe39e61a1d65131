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
    /// A future that freezes the folio in service at `head` as soon as its references are as expected and no other caller has it frozen.
    ///
    /// From the first poll until the future is ready or dropped the folio is closed to finders ([`Pgmap::try_get_raw`] and its like).
    /// Holders may still clone and put. So the wait ends after the longest hold, however often other threads look the folio up. It
    /// waits for the caller's own references too: with more of them than expected it never ends.
    ///
    /// Refused at once: [`FreezeError::OutOfRange`], and [`FreezeError::NotAllowed`] for [`Expect::NoPins`] if the memory type does not
    /// let contents move. The future ends with [`FreezeError::NotInService`] if no folio starts at `head`, or the one that did has
    /// ended; with [`FreezeError::StrayReferences`] if there are fewer references than expected; with [`FreezeError::Saturated`] if they
    /// are no longer counted. A killed pgmap is no reason to refuse.
    ///
    /// Woken by puts, unmaps and thaws of this folio. A poll is lock-free, allocates nothing and may be made in any context in which
    /// the waker may be cloned; it costs one attempt, and the first one a look at each wait slot. Any number of callers may wait, as in
    /// [`Pgmap::until_idle`]. Dropping the future ends the wait without a trace.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use pgmap_alloc::{Expect, Order, Params, Pgmap, Phys, PhysRange};
    ///
    /// let pgmap = Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 512 }]), ()).expect("one sound range");
    /// let folio = pgmap.alloc_folio(Order::PMD).expect("an empty pgmap");
    /// let head = folio.offset();
    /// std::thread::scope(|threads| {
    ///     // These look the folio up and drop it, again and again.
    ///     (0..2).for_each(|_| drop(threads.spawn(|| (0..1000).for_each(|_| drop(pgmap.try_get(head))))));
    ///
    ///     let frozen = folio.wait_frozen(Expect::Refs(1)).expect("the reference above is the only one that stays");
    ///     assert!(pgmap.try_get(head).is_none());
    ///     drop(frozen); // copy the contents before this
    /// });
    /// # }
    /// ```
    pub fn until_frozen(&self, head: Offset, expect: Expect) -> Result<UntilFrozen<'_, O, WORDS>, FreezeError> {
        self.check_freeze(head, expect)?;
        Ok(UntilFrozen { wait: UntilIdle::at(self, head), expect })
    }
}

impl<O: PgmapOps, const WORDS: usize> Folio<'_, O, WORDS> {
    /// [`Pgmap::until_frozen`] of this folio. This reference counts among the expected ones, so [`Expect::Refs`]`(1)` waits until it is
    /// the only one, and [`Expect::NoPins`] does not end while it is kept.
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
        /// Freezes the folio at `head`, parking the thread until that is possible. Errors as for [`Pgmap::until_frozen`]. May wait, so
        /// not for interrupts, nor inside a callback of [`PgmapOps`].
        pub fn wait_frozen(&self, head: Offset, expect: Expect) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
            self.wait_frozen_unless(head, expect, || false)
        }

        /// [`Pgmap::wait_frozen`] that can be interrupted: `interrupted` is asked before each time the thread parks, and `true` ends the
        /// wait with [`FreezeError::Interrupted`]. To interrupt it, make that true and then unpark the thread. Leaves no trace.
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

        /// [`Pgmap::wait_frozen`], for `timeout` at most; then [`FreezeError::TimedOut`].
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
        /// [`Folio::until_frozen`], parking the thread: may wait, so not for interrupts, nor inside a callback of [`PgmapOps`].
        pub fn wait_frozen(&self, expect: Expect) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
            self.pgmap().wait_frozen(self.offset(), expect)
        }
    }
}
