//! Waiting until a page is idle: as a future anywhere, and parked where there are threads.
//!
//! The protocol is `waiters`' rule 1. A wait ends when the page has been idle at one moment since it began, even if it is in service
//! again by then; `folio_free` has returned by that moment.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::error::WaitError;
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::queue::Place;
use crate::state::{GoesTo, Snapshot, State};
use crate::sync::relax;
use crate::waiters::{LOOKS, Ticket};

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A future that is ready once the folio that covers `offset` has left service; at once if there is none.
    ///
    /// Woken by the last put, after `folio_free` has returned; so it must not be waited for inside that `folio_free`. It never wakes
    /// itself to look again, but for the moment in which somebody else is at its waker. A poll is lock-free; one that finds a last put
    /// through a per-CPU handle inside `folio_free` takes some tens of microseconds once (`waiters`, rule 2).
    ///
    /// Any number may wait, and none misses a moment at which the page is idle, however short. There is room for 64 at a time, and for
    /// as many more as [`Pgmap::lend_wait_slots`] was given. With the feature `std` whoever comes when all of it is taken asks the
    /// host for twice as much, which stays until the pgmap ends. Where there is none to be had the wait still ends, but he goes by
    /// what he sees when he is woken, which is at every last put, and who neither polls nor drops his wait may hold up others like him.
    /// While anyone waits a last put looks at the room of all who wait. Dropping the future ends the wait without a trace.
    pub fn until_idle(&self, offset: Offset) -> Result<UntilIdle<'_, O, WORDS>, WaitError> {
        if !self.pool.has_offset(offset) {
            return Err(WaitError::OutOfRange);
        }
        Ok(UntilIdle { pgmap: self, page: offset, stand: Stand::Outside })
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

    /// How the wait for a page stands, for a waiter who is counted (`waiters`, rule 1).
    fn stay(&self, page: Offset) -> Stay {
        let look = || self.touch_folio(page).map_or(Stay::Gone, stay_of);
        match look() {
            Stay::Unsettled => {
                self.pool.meet(Run::around(page.get(), Order::ZERO));
                look()
            }
            // `waiters`, rule 2.
            Stay::IntoHandle => (0..LOOKS)
                .map(|_| {
                    relax();
                    look()
                })
                .find(|&stay| stay != Stay::IntoHandle)
                .unwrap_or(Stay::IntoHandle),
            settled => settled,
        }
    }
}

/// How the wait for a page stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// No folio is there.
    Gone,
    /// Its last put is still to come.
    InService,
    /// It is being set up, or the last put is inside `folio_free`, and the tables are still to be changed or met.
    Unsettled,
    /// The last put is inside `folio_free`, and changes no table.
    IntoHandle,
}

fn stay_of(folio: Snapshot) -> Stay {
    match folio.state() {
        State::Freeing if folio.goes_to() == GoesTo::Handle => Stay::IntoHandle,
        State::Freeing | State::Building => Stay::Unsettled,
        _ => Stay::InService,
    }
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

impl<O: PgmapOps, const WORDS: usize> UntilIdle<'_, O, WORDS> {
    /// Takes a slot, or stands in the queue, and is counted.
    fn enter(&mut self) {
        if matches!(self.stand, Stand::Outside) {
            self.stand = self.pgmap.waiters.enter(self.page).map_or(Stand::Queue(None), Stand::Slot);
            self.pgmap.lifetime.add_waiter();
        }
    }

    /// Notes whom to wake; `false` if that was not possible just now.
    fn note(&mut self, context: &Context<'_>) -> bool {
        let waiters = &self.pgmap.waiters;
        match &mut self.stand {
            Stand::Outside => false,
            Stand::Slot(ticket) => waiters.set_waker(ticket, context.waker()),
            Stand::Queue(place) => waiters.queue.join(place, context.waker()),
        }
    }

    /// Whether the page has been idle since the wait began, as far as is known without a look at it.
    fn has_fired(&self) -> bool {
        matches!(&self.stand, Stand::Slot(ticket) if self.pgmap.waiters.has_fired(ticket))
    }

    /// Whether a look at the page may be too old.
    fn was_called(&self) -> bool {
        matches!(&self.stand, Stand::Queue(place) if self.pgmap.waiters.queue.was_called(place))
    }

    fn leave(&mut self) {
        let stand = core::mem::replace(&mut self.stand, Stand::Outside);
        if matches!(stand, Stand::Outside) {
            return;
        }
        self.pgmap.lifetime.remove_waiter();
        match stand {
            Stand::Outside => {}
            Stand::Slot(ticket) => self.pgmap.waiters.leave(ticket),
            Stand::Queue(mut place) => self.pgmap.waiters.queue.leave(&mut place),
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Future for UntilIdle<'_, O, WORDS> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if matches!(this.stand, Stand::Outside) && !this.pgmap.is_occupied(this.page) {
            return Poll::Ready(());
        }
        this.enter();
        let noted = this.note(context);
        let stay = this.pgmap.stay(this.page);
        if stay == Stay::Gone || this.has_fired() {
            this.leave();
            return Poll::Ready(());
        }
        if !noted || this.was_called() {
            relax();
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for UntilIdle<'_, O, WORDS> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(feature = "std")]
pub(crate) use parked::block_parked;

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
    use crate::ops::PgmapOps;
    use crate::pgmap::Pgmap;

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

    /// Runs a future on this thread, parked while it waits.
    pub(crate) fn block_parked<T>(future: impl Future<Output = T>) -> T {
        let park = || {
            thread::park();
            Ok::<(), core::convert::Infallible>(())
        };
        match block_on(future, park) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// Runs a future on this thread; `park` waits, or gives up.
    fn block_on<T, E>(future: impl Future<Output = T>, mut park: impl FnMut() -> Result<(), E>) -> Result<T, E> {
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
