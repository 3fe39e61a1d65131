//! A queue of any number of waiters that needs no memory for them.
//!
//! The queue stores one waiter, the last. Each waiter that joins takes its place, and keeps the one before in its own [`Place`]. So the
//! chain lies in the waiters, as in a kernel it lies on their stacks, and there is no pointer to any of them. A call wakes the last;
//! each waiter wakes the one before when it is polled.
//!
//! ```text
//! bit  0       a call is still to be served
//! bits 1..64   epoch: a place that was taken in this epoch is in the chain
//! ```
//!
//! # Rules
//!
//! 1. A waiter joins, and then looks whether what it waits for has come. A caller makes it come, and then calls. The order between
//!    the two pairs is the users' business (`lifetime`, rules 2 and 3).
//! 2. The last waiter lies behind a lock that is only ever tried. A caller sets bit 0 and then tries the lock. Whoever has had the
//!    lock, to join, to leave or to serve, looks at bit 0 after giving it up, and serves. So a call that finds the lock taken is left
//!    to the holder, and no call is lost. All calls that are still to be served are served at once.
//! 3. To serve a call is to clear bit 0, to begin an epoch and to take the last waiter out, all with the lock held, and then to wake
//!    that waiter.
//! 4. A waiter that gives up its place, because it leaves, because the epoch is another when it is polled, or because another task
//!    polls it, wakes the one before. If the epoch is still that of its own place it begins another first: that tells the one before
//!    to join anew.
//! 5. A waiter that is still the last when it gives up its place makes the one before the last again, and wakes nobody.
//! 6. A waiter that finds the lock taken is not in the queue. It has to look again before long: the holder is gone in a moment.
//!
//! Why a place of the present epoch is in the chain: it can only get lost where the waiter behind it, which joined later and so in the
//! same epoch or a later one, gives up its own place, or where a call is served. Both leave another epoch behind.
//!
//! A waiter that has been woken and is neither polled nor dropped holds up those before it: only it knows them. One that leaves from
//! the middle makes those before it join anew, one after another; where the first or the last leaves nobody is woken.

use crate::sync::{AtomicU64, Ordering, TryLock, full_fence};
use crate::wakee::Wakee;

/// A call is still to be served.
const CALLED: u64 = 1;
const EPOCH: u64 = 2;

/// The queue's end.
pub(crate) struct WaitQueue {
    calls: AtomicU64,
    end: TryLock<End>,
}

struct End {
    /// How often a place was taken.
    joined: u64,
    last: Option<Link>,
}

/// A waiter as the queue, or the waiter behind it, knows it.
#[derive(Debug)]
struct Link {
    /// Which place it is.
    number: u64,
    wakee: Wakee,
}

/// A waiter's place in the queue. To be given back with [`WaitQueue::leave`].
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    mine: Wakee,
    /// The epoch in which it was taken.
    epoch: u64,
    before: Option<Link>,
}

impl WaitQueue {
    pub(crate) fn new() -> WaitQueue {
        WaitQueue { calls: AtomicU64::new(0), end: TryLock::new(End { joined: 0, last: None }) }
    }

    fn calls(&self) -> u64 {
        // Acquire: pairs with `serve` and `pass_on`. An epoch that is too old is harmless: whoever began the new one wakes the waiters
        // that it concerns afterwards, and they see it then.
        self.calls.load(Ordering::Acquire)
    }

    /// Whether a place is in the chain for sure.
    fn is_held(&self, place: &Place) -> bool {
        place.epoch == self.calls() / EPOCH
    }

    /// Stands in the queue from now on, whether for the first time or after a call; `false` if the lock was taken (rule 6).
    pub(crate) fn join(&self, place: &mut Option<Place>, wakee: &Wakee) -> bool {
        if place.as_ref().is_some_and(|place| self.is_held(place) && place.mine.is(wakee)) {
            return true;
        }
        self.leave(place);
        // Copied before, dropped after: that runs code of the caller's, which is not for under the lock.
        let (mine, in_queue) = (wakee.clone(), wakee.clone());
        let Some(mut end) = self.end.try_lock() else { return false };
        end.joined += 1;
        let (number, epoch) = (end.joined, self.calls() / EPOCH);
        let before = end.last.replace(Link { number, wakee: in_queue });
        drop(end);
        *place = Some(Place { number, mine, epoch, before });
        self.serve();
        true
    }

    /// Gives the place up.
    pub(crate) fn leave(&self, place: &mut Option<Place>) {
        let Some(mut place) = place.take() else { return };
        let mut link = None;
        if let Some(mut end) = self.end.try_lock()
            && end.last.as_ref().is_some_and(|last| last.number == place.number)
        {
            // Rule 5. The link is dropped after the lock, as in `join`.
            link = core::mem::replace(&mut end.last, place.before.take());
        }
        drop(link);
        self.pass_on(place);
        self.serve();
    }

    /// Rule 4, for a place that is not the last.
    fn pass_on(&self, place: Place) {
        if let Some(before) = &place.before {
            if self.is_held(&place) {
                // AcqRel: pairs with `calls`; the waiter that is woken sees it.
                self.calls.fetch_add(EPOCH, Ordering::AcqRel);
            }
            before.wakee.wake();
        }
    }

    /// Calls everyone. Waits for no lock, allocates nothing, cannot fail.
    pub(crate) fn call(&self) {
        // AcqRel: pairs with `serve`; a waiter that is woken for this call sees what the caller has done.
        self.calls.fetch_or(CALLED, Ordering::AcqRel);
        self.serve();
    }

    /// Rules 2 and 3. Lock-free: it goes round again only for another call.
    fn serve(&self) {
        loop {
            // Between the call and the attempt, and between giving the lock up and the look (rule 2).
            full_fence();
            if self.calls() & CALLED == 0 {
                return;
            }
            let Some(mut end) = self.end.try_lock() else { return };
            let mut last = None;
            // Looked at again: another may have served meanwhile. Nobody else clears the bit now.
            if self.calls() & CALLED != 0 {
                // AcqRel: pairs with `call` and `calls`. Takes bit 0 along into the epoch.
                self.calls.fetch_add(EPOCH - CALLED, Ordering::AcqRel);
                last = end.last.take();
            }
            drop(end);
            if let Some(last) = last {
                last.wakee.wake();
            }
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    extern crate std;

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::{Wake, Waker};
    use std::vec::Vec;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A waiter, and how often it has been woken.
    struct Waiter(Option<Place>, Arc<Count>);

    impl Waiter {
        fn join(&mut self, queue: &WaitQueue) {
            assert!(queue.join(&mut self.0, &Wakee::Task(Waker::from(self.1.clone()))));
        }

        fn woken(&self) -> u32 {
            self.1.0.swap(0, Relaxed)
        }
    }

    fn waiters(queue: &WaitQueue, count: usize) -> Vec<Waiter> {
        let mut waiters: Vec<_> = (0..count).map(|_| Waiter(None, Arc::default())).collect();
        waiters.iter_mut().for_each(|waiter| waiter.join(queue));
        waiters
    }

    /// Polls whoever is woken until nobody is; says how often each was.
    fn settle(queue: &WaitQueue, waiters: &mut [Waiter]) -> Vec<u32> {
        let mut polls = std::vec![0; waiters.len()];
        for _ in 0..1000 {
            let mut quiet = true;
            for (waiter, polls) in waiters.iter_mut().zip(&mut polls) {
                if waiter.woken() > 0 {
                    quiet = false;
                    *polls += 1;
                    waiter.join(queue);
                }
            }
            if quiet {
                return polls;
            }
        }
        panic!("they wake each other for ever");
    }

    #[test]
    fn a_call_reaches_every_waiter() {
        let queue = WaitQueue::new();
        let mut all = waiters(&queue, 200);
        for _ in 0..3 {
            assert_eq!(settle(&queue, &mut all), std::vec![0; 200], "nobody has called");
            queue.call();
            assert!(settle(&queue, &mut all).iter().all(|&polls| polls >= 1), "somebody was not called");
        }
    }

    #[test]
    fn req_68_a_waiter_that_another_task_polls_takes_nobody_along() {
        let queue = WaitQueue::new();
        for moves in 0..5 {
            let mut all = waiters(&queue, 5);
            let before = core::mem::take(&mut all[moves].1);
            all[moves].join(&queue);
            settle(&queue, &mut all);
            queue.call();
            assert!(settle(&queue, &mut all).iter().all(|&polls| polls >= 1), "{moves} moved, and somebody was not called");
            assert!(before.0.load(Relaxed) <= 1);
            all.iter_mut().for_each(|waiter| queue.leave(&mut waiter.0));
        }
    }

    #[test]
    fn where_the_first_or_the_last_leaves_nobody_is_woken() {
        let queue = WaitQueue::new();
        let mut all = waiters(&queue, 7);
        for gone in [0, 6, 5] {
            queue.leave(&mut all[gone].0);
            assert_eq!(settle(&queue, &mut all), std::vec![0; 7]);
        }
        queue.call();
        assert_eq!(settle(&queue, &mut all[1..5]), [1; 4], "each once");
    }

    #[test]
    fn whoever_leaves_and_whoever_is_polled_for_nothing_takes_nobody_along() {
        let queue = WaitQueue::new();
        let mut all = waiters(&queue, 7);
        for round in 0..100 {
            // Polled for nothing.
            all[round * 3 % 7].join(&queue);
            all[round * 5 % 7].join(&queue);
            let gone = round % 7;
            queue.leave(&mut all[gone].0);
            assert!(settle(&queue, &mut all).iter().all(|&polls| polls <= 7));
            all[(round * 2 + 1) % 7].join(&queue);
            all[gone].join(&queue);
            queue.call();
            assert!(settle(&queue, &mut all).iter().all(|&polls| polls >= 1), "round {round}: somebody was not called");
        }
    }
}

#[cfg(all(test, feature = "std", loom))]
#[allow(clippy::expect_used)]
mod models {
    extern crate std;

    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::sync::models::against_two;
    use crate::sync::{load_latest, relax};

    /// Whether a task has been woken; as in every executor, what comes before a wake-up comes before the poll.
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.swap(1, Ordering::AcqRel);
        }
    }

    /// A queue, what its waiter waits for, and that waiter once it sleeps.
    struct Shared {
        queue: WaitQueue,
        come: AtomicU64,
        sleeps: Mutex<Option<Waiter>>,
    }

    impl Shared {
        fn new() -> Shared {
            Shared { queue: WaitQueue::new(), come: AtomicU64::new(0), sleeps: Mutex::new(None) }
        }

        fn comes(&self) {
            self.come.swap(1, Ordering::SeqCst);
            self.queue.call();
        }

        fn waits(&self) {
            *self.sleeps.lock().expect("nobody has it") = Some(Waiter::new(self));
        }

        /// Whoever was woken is polled, and then knows.
        fn is_heard(&self) -> bool {
            let waiter = self.sleeps.lock().expect("nobody has it").take();
            waiter.is_some_and(|mut waiter| {
                if waiter.was_woken() {
                    waiter.poll(self);
                }
                waiter.has_come
            })
        }
    }

    /// A waiter that is polled whenever it has been woken.
    struct Waiter {
        place: Option<Place>,
        woken: Arc<Woken>,
        has_come: bool,
    }

    impl Waiter {
        fn new(shared: &Shared) -> Waiter {
            let mut waiter = Waiter { place: None, woken: Arc::new(Woken(AtomicU64::new(0))), has_come: false };
            waiter.poll(shared);
            waiter
        }

        fn was_woken(&self) -> bool {
            self.woken.0.swap(0, Ordering::AcqRel) > 0
        }

        fn poll(&mut self, shared: &Shared) {
            loop {
                let joined = shared.queue.join(&mut self.place, &Wakee::Task(Waker::from(self.woken.clone())));
                self.has_come = load_latest(&shared.come) == 1;
                if joined && !self.was_woken() {
                    return;
                }
                relax();
            }
        }
    }

    /// A caller whose call the waiter has served has the lock for nothing; a second call that finds it taken is left to that caller.
    #[test]
    fn req_68_call_against_a_caller_that_comes_too_late() {
        against_two(Shared::new, [Shared::waits, Shared::comes], |shared, ended| {
            shared.queue.call();
            ended();
            assert!(shared.is_heard(), "it sleeps");
        });
    }
}
