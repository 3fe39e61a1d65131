//! Waiting until a page is idle: as a future anywhere, and parked where there are threads.
//!
//! The protocol is `waiters`' rule 1. A wait ends when the page has been idle at one moment since it began, even if it is in service
//! again by then; `folio_free` has returned by that moment.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::error::WaitError;
use crate::offset::Offset;
use crate::pgmap::{Pgmap, PgmapOps};
use crate::state::State;
use crate::sync::relax;
use crate::waiters::Ticket;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A future that is ready once the folio that covers `offset` has left service; at once if there is none.
    ///
    /// Dropping it ends the wait without a trace. Nothing is allocated. 64 waits at a time are woken; more are polled, each of
    /// them waking itself.
    pub fn until_idle(&self, offset: Offset) -> Result<UntilIdle<'_, O, WORDS>, WaitError> {
        if !self.pool.has_offset(offset) {
            return Err(WaitError::OutOfRange);
        }
        Ok(UntilIdle { pgmap: self, page: offset, ticket: None })
    }

    /// Whether a folio covers the page, be it in service, being set up or being freed.
    fn is_occupied(&self, page: Offset) -> bool {
        self.covering(page).is_some_and(|found| !matches!(found.word.state(), State::Retired | State::Special))
    }

    /// The state of the folio that covers the page, its word touched. Lock-free: a retry means that the folio has just changed.
    fn touch_folio(&self, page: Offset) -> Option<State> {
        loop {
            let head = self.covering(page)?.head;
            let now = self.folios.word(head).touch();
            match now.state() {
                State::Retired | State::Special => return None,
                // Somebody has freed it or split it between the two looks.
                State::Idle => continue,
                _ if page.align_down(now.order()) != head => continue,
                state => return Some(state),
            }
        }
    }
}

/// Waits until a page is idle; see [`Pgmap::until_idle`].
pub struct UntilIdle<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    page: Offset,
    ticket: Option<Ticket>,
}

impl<O: PgmapOps, const WORDS: usize> UntilIdle<'_, O, WORDS> {
    /// Takes a slot and is counted; `false` if there is no slot.
    fn enter(&mut self) -> bool {
        if self.ticket.is_none() {
            self.ticket = self.pgmap.waiters.enter(self.page);
            if self.ticket.is_some() {
                self.pgmap.lifetime.add_waiter();
            }
        }
        self.ticket.is_some()
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.pgmap.lifetime.remove_waiter();
            self.pgmap.waiters.leave(ticket);
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Future for UntilIdle<'_, O, WORDS> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.ticket.is_none() && !this.pgmap.is_occupied(this.page) {
            return Poll::Ready(());
        }
        if !this.enter() {
            relax();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let noted = this.ticket.as_ref().is_some_and(|ticket| this.pgmap.waiters.set_waker(ticket, context.waker()));
        let occupied = this.pgmap.touch_folio(this.page);
        let fired = this.ticket.as_ref().is_some_and(|ticket| this.pgmap.waiters.has_fired(ticket));
        match occupied {
            Some(State::InService | State::Frozen) if noted && !fired => Poll::Pending,
            Some(_) if !fired => {
                // The folio is just being set up or freed, which takes a moment and no sleep: look again.
                relax();
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ => {
                this.leave();
                Poll::Ready(())
            }
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for UntilIdle<'_, O, WORDS> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(feature = "std")]
pub(crate) use parked::block_on;

/// The same for threads: parked until the last put wakes them.
#[cfg(feature = "std")]
mod parked {
    extern crate std;

    use core::future::Future;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};
    use std::sync::Arc;
    use std::task::Wake;
    use std::thread::{self, Thread};
    use std::time::{Duration, Instant};

    use crate::error::WaitError;
    use crate::folio::Folio;
    use crate::offset::Offset;
    use crate::pgmap::{Pgmap, PgmapOps};

    impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
        /// Parks the thread until the folio that covers `offset` has left service; returns at once if there is none.
        pub fn wait_idle(&self, offset: Offset) -> Result<(), WaitError> {
            self.wait_idle_unless(offset, || false)
        }

        /// [`Pgmap::wait_idle`], until `interrupted` says so: it is asked before each time the thread is parked. Who interrupts
        /// makes it true and then unparks the thread. An interrupted wait leaves no trace.
        pub fn wait_idle_unless(&self, offset: Offset, mut interrupted: impl FnMut() -> bool) -> Result<(), WaitError> {
            block_on(self.until_idle(offset)?, || {
                if interrupted() {
                    return Err(WaitError::Interrupted);
                }
                thread::park();
                Ok(())
            })
        }

        /// [`Pgmap::wait_idle`], for so long at most.
        pub fn wait_idle_timeout(&self, offset: Offset, timeout: Duration) -> Result<(), WaitError> {
            let start = Instant::now();
            block_on(self.until_idle(offset)?, || {
                let left = timeout.checked_sub(start.elapsed()).ok_or(WaitError::TimedOut)?;
                thread::park_timeout(left);
                Ok(())
            })
        }

        /// Puts a reference, and waits until all others are put too. A foreign folio comes back.
        pub fn put_and_wait<'f>(&self, folio: Folio<'f, O, WORDS>) -> Result<(), (WaitError, Folio<'f, O, WORDS>)> {
            let page = folio.offset();
            self.put(folio).map_err(|(_, folio)| (WaitError::Foreign, folio))?;
            // A folio of ours is in range, and nobody interrupts.
            let _ = self.wait_idle(page);
            Ok(())
        }
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Runs a future on this thread; `park` waits, or gives up.
    pub(crate) fn block_on<T, E>(future: impl Future<Output = T>, mut park: impl FnMut() -> Result<(), E>) -> Result<T, E> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return Ok(value),
                Poll::Pending => park()?,
            }
        }
    }
}
