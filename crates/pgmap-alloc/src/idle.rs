//! Waiting until a page is idle: as a future anywhere, and parked where there are threads.
//!
//! The protocol is `waiters`' rule 1. A wait ends when the page has been idle at one moment since it began, even if it is in service
//! again by then; `folio_free` has returned by that moment. While it lasts the folio is closed to finders (`gates`).

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::error::WaitError;
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::queue::Place;
use crate::state::{Snapshot, State};
use crate::sync::relax;
use crate::waiters::Ticket;
use crate::wakee::Wakee;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A future that is ready once the folio that covers `offset` has left service; at once if there is none.
    ///
    /// From its first poll until it is ready or dropped that folio is closed to finders ([`Pgmap::try_get_raw`] and its like). Holders
    /// may still clone and put. So the wait ends after the longest hold. If the folio is split meanwhile, the part with this page stays
    /// closed. The one error is [`WaitError::OutOfRange`].
    ///
    /// Woken by the last put, after `folio_free` has returned; so do not wait for it inside that `folio_free`. It does not wake itself
    /// to look again, except while another thread is in the middle of waking it. A poll is lock-free, allocates nothing and may be
    /// made in any context in which the waker may be cloned.
    ///
    /// Any number of callers may wait. Each takes one of 64 slots, or of those lent by [`Pgmap::lend_wait_slots`], and then misses no
    /// moment at which the page is idle, however short. When all slots are taken a waiter stands in a queue: it closes no folio, is woken
    /// at every last put, may miss an idle moment that is over when it looks, and moves to a slot as soon as one is free. A queued future
    /// that is neither polled nor dropped may hold up those queued with it. While anything waits, a last put looks at all slots.
    /// Dropping the future ends the wait without a trace.
    pub fn until_idle(&self, offset: Offset) -> Result<UntilIdle<'_, O, WORDS>, WaitError> {
        if !self.pool.has_offset(offset) {
            return Err(WaitError::OutOfRange);
        }
        Ok(UntilIdle::at(self, offset))
    }

    /// Whether a folio covers the page, be it in service, being set up or being freed.
    fn is_occupied(&self, page: Offset) -> bool {
        self.covering(page).is_some_and(|found| !matches!(found.word.state(), State::Retired | State::Special))
    }

    /// The folio that covers the page, its word touched. Lock-free: a retry means that the folio has just changed.
    fn touch_folio(&self, page: Offset) -> Option<Snapshot> {
        loop {
            let head = self.covering(page)?.head;
            let now = self.folios.word(head).touch();
            match now.state() {
                State::Retired | State::Special => return None,
                // Somebody has freed it or split it between the two looks.
                State::Idle => continue,
                _ if page.align_down(now.order()) != head => continue,
                _ => return Some(now),
            }
        }
    }

    /// Whether the wait for a page is over, for a waiter who is counted (`waiters`, rule 1).
    fn is_over(&self, page: Offset) -> bool {
        self.touch_folio(page).is_none_or(|folio| {
            is_unsettled(folio) && {
                self.pool.meet(Run::around(page.get(), Order::ZERO));
                self.touch_folio(page).is_none()
            }
        })
    }
}

/// Whether a folio is being set up or freed: what its end sees are the tables.
fn is_unsettled(folio: Snapshot) -> bool {
    matches!(folio.state(), State::Freeing | State::Building)
}

/// Waits until a page is idle; see [`Pgmap::until_idle`].
pub struct UntilIdle<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    page: Offset,
    stand: Stand,
}

/// Where a waiter stands.
enum Stand {
    /// Nowhere: he is not counted.
    Outside,
    Slot(Ticket),
    Queue(Option<Place>),
}

impl<'p, O: PgmapOps, const WORDS: usize> UntilIdle<'p, O, WORDS> {
    /// One who waits at a page of the pgmap, and has not begun to.
    pub(crate) fn at(pgmap: &'p Pgmap<'_, O, WORDS>, page: Offset) -> Self {
        UntilIdle { pgmap, page, stand: Stand::Outside }
    }

    /// Its pgmap.
    pub(crate) fn pgmap(&self) -> &'p Pgmap<'p, O, WORDS> {
        self.pgmap
    }

    /// The page.
    pub(crate) fn page(&self) -> Offset {
        self.page
    }

    /// Takes a slot, or stands in the queue, and is counted.
    pub(crate) fn enter(&mut self) {
        if matches!(self.stand, Stand::Outside) && !self.enter_slot() {
            self.stand = Stand::Queue(None);
            self.count();
        }
    }

    /// Takes a slot and is counted; `false` if there is none.
    pub(crate) fn enter_slot(&mut self) -> bool {
        let ticket = self.pgmap.waiters.enter(self.page);
        ticket.is_some_and(|ticket| {
            self.stand = Stand::Slot(ticket);
            self.count();
            true
        })
    }

    fn count(&self) {
        self.pgmap.lifetime.add_waiter();
        self.pgmap.folios.gates.close();
    }

    /// Notes whom to wake; `false` if that was not possible just now.
    pub(crate) fn note(&mut self, wakee: &Wakee) -> bool {
        let waiters = &self.pgmap.waiters;
        let mut joined = false;
        if let Stand::Queue(place) = &mut self.stand {
            joined = waiters.queue.join(place, wakee);
            // In the queue first, then a look: who frees a slot does that, and then calls.
            if let Some(ticket) = waiters.enter(self.page) {
                waiters.queue.leave(place);
                self.stand = Stand::Slot(ticket);
            }
        }
        match &self.stand {
            Stand::Slot(ticket) => waiters.set_wakee(ticket, wakee),
            Stand::Queue(_) | Stand::Outside => joined,
        }
    }

    /// Whether the page has been idle since the wait began, as far as is known without a look at it.
    pub(crate) fn has_fired(&self) -> bool {
        matches!(&self.stand, Stand::Slot(ticket) if self.pgmap.waiters.has_fired(ticket))
    }

    /// Waits no more.
    pub(crate) fn leave(&mut self) {
        let stand = core::mem::replace(&mut self.stand, Stand::Outside);
        if matches!(stand, Stand::Outside) {
            return;
        }
        self.pgmap.folios.gates.open();
        self.pgmap.lifetime.remove_waiter();
        match stand {
            Stand::Outside => {}
            Stand::Slot(ticket) => self.pgmap.waiters.leave(ticket),
            Stand::Queue(mut place) => self.pgmap.waiters.queue.leave(&mut place),
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> UntilIdle<'_, O, WORDS> {
    /// One look; whoever is not ready is woken when there is reason for another.
    pub(crate) fn poll_as(&mut self, wakee: &Wakee) -> Poll<()> {
        if matches!(self.stand, Stand::Outside) && !self.pgmap.is_occupied(self.page) {
            return Poll::Ready(());
        }
        self.enter();
        let noted = self.note(wakee);
        let over = self.pgmap.is_over(self.page);
        if over || self.has_fired() {
            self.leave();
            return Poll::Ready(());
        }
        if !noted {
            relax();
            wakee.wake();
        }
        Poll::Pending
    }
}

impl<O: PgmapOps, const WORDS: usize> Future for UntilIdle<'_, O, WORDS> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.poll_as(&Wakee::Task(context.waker().clone()))
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for UntilIdle<'_, O, WORDS> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(feature = "std")]
pub(crate) use parked::{block_parked, parked};

/// The same for threads: parked until the last put wakes them.
#[cfg(feature = "std")]
mod parked {
    extern crate std;

    use core::task::Poll;
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::error::{PutError, Refused, WaitError};
    use crate::folio::Folio;
    use crate::offset::Offset;
    use crate::ops::PgmapOps;
    use crate::pgmap::Pgmap;
    use crate::wakee::Wakee;

    impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
        /// Parks the thread until the folio that covers `offset` has left service; returns at once if there is none. As
        /// [`Pgmap::until_idle`]; may wait, so not for interrupts, nor inside a callback of [`PgmapOps`].
        pub fn wait_idle(&self, offset: Offset) -> Result<(), WaitError> {
            self.wait_idle_unless(offset, || false)
        }

        /// [`Pgmap::wait_idle`] that can be interrupted: `interrupted` is asked before each time the thread parks, and `true` ends the
        /// wait with [`WaitError::Interrupted`]. To interrupt it, make that true and then unpark the thread. Leaves no trace.
        pub fn wait_idle_unless(&self, offset: Offset, mut interrupted: impl FnMut() -> bool) -> Result<(), WaitError> {
            let mut idle = self.until_idle(offset)?;
            block_parked(|wakee| {
                if idle.poll_as(wakee).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if interrupted() {
                    return Poll::Ready(Err(WaitError::Interrupted));
                }
                // The caller's code may have parked the thread itself, and so have used up a wake-up that came meanwhile.
                idle.poll_as(wakee).map(Ok)
            })
        }

        /// [`Pgmap::wait_idle`], for `timeout` at most; then [`WaitError::TimedOut`].
        pub fn wait_idle_timeout(&self, offset: Offset, timeout: Duration) -> Result<(), WaitError> {
            let start = Instant::now();
            let mut idle = self.until_idle(offset)?;
            parked(
                |wakee| idle.poll_as(wakee),
                || {
                    let left = timeout.checked_sub(start.elapsed()).ok_or(WaitError::TimedOut)?;
                    thread::park_timeout(left);
                    Ok(())
                },
            )
        }

        /// Puts a reference, and parks the thread until all others are put too. A folio that [`Pgmap::put`] would refuse comes back in
        /// the error.
        pub fn put_and_wait<'f>(&self, folio: Folio<'f, O, WORDS>) -> Result<(), Refused<WaitError, Folio<'f, O, WORDS>>> {
            let page = folio.offset();
            self.put(folio).map_err(|Refused { error, value }| {
                let error = if error == PutError::Foreign { WaitError::Foreign } else { WaitError::Frozen };
                Refused { error, value }
            })?;
            // A folio of ours is in range, and nobody interrupts.
            let _ = self.wait_idle(page);
            Ok(())
        }
    }

    /// Polls on this thread, which is parked in between, until it is ready.
    pub(crate) fn block_parked<T>(poll: impl FnMut(&Wakee) -> Poll<T>) -> T {
        let park = || {
            thread::park();
            Ok::<(), core::convert::Infallible>(())
        };
        match parked(poll, park) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// [`block_parked`]; `park` waits, or gives up.
    pub(crate) fn parked<T, E>(mut poll: impl FnMut(&Wakee) -> Poll<T>, mut park: impl FnMut() -> Result<(), E>) -> Result<T, E> {
        let this = Wakee::Thread(thread::current());
        loop {
            match poll(&this) {
                Poll::Ready(value) => return Ok(value),
                Poll::Pending => park()?,
            }
        }
    }
}
