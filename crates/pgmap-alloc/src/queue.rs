//! A queue of any number of waiters that needs no memory for them.
//!
//! The queue knows one waiter, the last who came (`wakee`). Whoever comes takes the place of the one before, keeps in his own
//! hands who that was, and passes the call on when he is called. So the queue lies in the waiters, as in a kernel it lies on their
//! stacks, and there is no pointer to anybody.
//!
//! # Rules
//!
//! 1. A waiter joins, and then looks whether what he waits for has come. Who calls makes it come, and then calls. The order
//!    between the two pairs is the caller's business (`lifetime`, rules 2 and 3).
//! 2. The last lies behind a lock that is only ever tried. Who calls counts his call, tries the lock, and counts again while he
//!    has it; a waiter notes the count while he has it. So who is taken out was put in at another count, and a waiter
//!    whose count still holds is still in the queue: being polled once more costs him nothing and moves nobody.
//! 3. A waiter who finds the count changed after he has joined looks again; one who finds the lock taken looks again before long:
//!    who has it is gone in a moment.
//! 4. Whoever leaves counts too and wakes the one before him, who then joins anew. If he was the last who came he may be woken once
//!    more, for nothing.
//!
//! A waiter who is called and neither looks nor leaves holds up those who came before him.

use spin::mutex::SpinMutex;

use crate::sync::{AtomicU64, Ordering, fence_for_lock};
use crate::wakee::Wakee;

/// The queue's end.
pub(crate) struct WaitQueue {
    calls: AtomicU64,
    last: SpinMutex<Option<Wakee>>,
}

/// A waiter's place in the queue. To be given back with [`WaitQueue::leave`].
#[derive(Debug)]
pub(crate) struct Place {
    /// Who came before and has to be called next.
    before: Option<Wakee>,
    mine: Wakee,
    /// The count when this place was taken.
    calls: u64,
}

impl WaitQueue {
    pub(crate) fn new() -> WaitQueue {
        WaitQueue { calls: AtomicU64::new(0), last: SpinMutex::new(None) }
    }

    fn calls(&self) -> u64 {
        // AcqRel: pairs with `count`; a read-modify-write, so that no later count can be missed (rule 3).
        self.calls.fetch_add(0, Ordering::AcqRel)
    }

    fn count(&self) {
        // AcqRel: pairs with `calls`; who sees the count sees what the caller has done.
        self.calls.fetch_add(1, Ordering::AcqRel);
    }

    /// Stands in the queue from now on, whether for the first time or after a call; `false` if somebody is at it just now.
    pub(crate) fn join(&self, place: &mut Option<Place>, wakee: &Wakee) -> bool {
        if place.as_ref().is_some_and(|place| place.calls == self.calls() && place.mine.is(wakee)) {
            return true;
        }
        if let Some(before) = place.take().and_then(|place| place.before) {
            before.wake();
        }
        let (mine, in_queue) = (wakee.clone(), wakee.clone());
        let Some(mut last) = self.last.try_lock() else { return false };
        let (before, calls) = (last.replace(in_queue), self.calls());
        drop(last);
        fence_for_lock();
        *place = Some(Place { before: before.filter(|before| !before.is(&mine)), mine, calls });
        true
    }

    /// Whether somebody has called since this place was taken.
    pub(crate) fn was_called(&self, place: &Option<Place>) -> bool {
        place.as_ref().is_none_or(|place| place.calls != self.calls())
    }

    /// Gives the place up.
    pub(crate) fn leave(&self, place: &mut Option<Place>) {
        if let Some(place) = place.take() {
            self.count();
            if let Some(before) = place.before {
                before.wake();
            }
        }
    }

    /// Calls everyone. Takes no lock, allocates nothing, cannot fail.
    pub(crate) fn call(&self) {
        self.count();
        fence_for_lock();
        let last = self.last.try_lock().and_then(|mut last| {
            self.count();
            last.take()
        });
        if let Some(last) = last {
            last.wake();
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
