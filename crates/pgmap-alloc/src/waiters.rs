//! Who waits for which page to be idle.
//!
//! A fixed number of slots, each with the page that is waited for and the waker to call; who finds none free stands in a queue
//! (`queue`). Nothing is allocated and no lock is taken, so a last put may wake from any context.
//!
//! ```text
//! bits  0..45  the page plus one; 0 = the slot is free
//! bit   45     fired: the page has been idle since the wait began
//! bits 46..64  generation, so that a wake-up meant for one waiter never reaches the next
//! ```
//!
//! # Rules
//!
//! 1. A waiter takes a slot, sets its waker, is counted in `lifetime`, and then touches the folio word (`lifetime`, rule 2). If
//!    that says in service, the last put is still to come and sees the slot. If it says that a folio is being freed, the waiter
//!    meets the tables (`pool::meeting`) and touches the word again: if the folio is still being freed, its pages are still to be
//!    given back, and whoever does that sees the slot. Only where pages go into a handle, which changes no table, and while a
//!    request is being set up, may the waiter have come too late to be seen: it looks again before long.
//! 2. Waiter and waker use the same key, the page: a last put wakes everyone whose page lies in the folio, whatever its order was
//!    when the wait began.
//! 3. Firing is by compare-exchange on the exact value of the slot, and only the waiter frees its slot.
//! 4. The waker lies behind a lock that is only ever tried. A waiter sets it and then joins the chain of the key's changes; who
//!    fires changes the key and then tries the lock. So whoever fires later finds the waker, and whoever fired earlier is seen.
//!    A waiter who finds the lock taken looks again before long: who has it is waking him.
//! 5. A waiter in the queue is called at every last put that sees that anybody waits. He sees his page when he looks, so he may
//!    miss a moment between two periods of service, which a waiter with a slot does not.

use core::task::Waker;

use try_lock::TryLock;

use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::queue::WaitQueue;
use crate::sync::{AtomicU64, Ordering, fence_for_lock, in_models};

/// How many may wait at a time with a slot.
pub(crate) const WAITERS: usize = in_models(1, 64);

const PAGE: u64 = FIRED - 1;
const FIRED: u64 = 1 << 45;
const GENERATION: u64 = 1 << 46;

const _: () = assert!(Order::MAX.pages() < FIRED);

struct Slot {
    key: AtomicU64,
    waker: TryLock<Option<Waker>>,
}

/// Everyone who waits.
pub(crate) struct Waiters {
    slots: [Slot; WAITERS],
    /// Those without a slot.
    pub(crate) queue: WaitQueue,
}

/// A taken slot. To be given back with [`Waiters::leave`].
#[derive(Debug)]
pub(crate) struct Ticket(usize);

impl Waiters {
    pub(crate) fn new() -> Waiters {
        let slot = |_| Slot { key: AtomicU64::new(0), waker: TryLock::new(None) };
        Waiters { slots: core::array::from_fn(slot), queue: WaitQueue::new() }
    }

    /// Takes a slot for a page; `None` when all are taken.
    pub(crate) fn enter(&self, page: Offset) -> Option<Ticket> {
        self.slots.iter().enumerate().find_map(|(index, slot)| {
            // Relaxed: the compare-exchange decides.
            let seen = slot.key.load(Ordering::Relaxed);
            let key = (seen & !(GENERATION - 1)).wrapping_add(GENERATION) | (page.get() + 1);
            // AcqRel: Acquire pairs with `leave`; Release with `fire`. Relaxed on failure: the slot is another's.
            let free = seen & PAGE == 0 && slot.key.compare_exchange(seen, key, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            free.then_some(Ticket(index))
        })
    }

    /// Whom to wake; to be called before each look at the folio word. `false` if that could not be noted just now.
    pub(crate) fn set_waker(&self, ticket: &Ticket, waker: &Waker) -> bool {
        let waker = waker.clone();
        let lock = self.slots.get(ticket.0).and_then(|slot| slot.waker.try_lock());
        // Dropping the old one runs code of the caller's: after the lock.
        let set = lock.map(|mut lock| lock.replace(waker)).is_some();
        fence_for_lock();
        set
    }

    /// Whether the page has been idle since the wait began.
    pub(crate) fn has_fired(&self, ticket: &Ticket) -> bool {
        // AcqRel: pairs with `fire`; Acquire: the waiter sees what the last put has done; Release: rule 4.
        self.slots.get(ticket.0).is_none_or(|slot| slot.key.fetch_or(0, Ordering::AcqRel) & FIRED != 0)
    }

    /// Frees the slot.
    pub(crate) fn leave(&self, ticket: Ticket) {
        if let Some(slot) = self.slots.get(ticket.0) {
            drop(slot.waker.try_lock().and_then(|mut lock| lock.take()));
            // Release: pairs with the next `enter`. And-ing keeps the generation, whether it has been fired or not (rule 3).
            slot.key.fetch_and(!(GENERATION - 1), Ordering::Release);
        }
    }

    /// Wakes everyone who waits for a page of `run`.
    #[cold]
    pub(crate) fn fire(&self, run: Run) {
        for slot in &self.slots {
            // Acquire: pairs with `enter`.
            let key = slot.key.load(Ordering::Acquire);
            let awaited = (key & PAGE).checked_sub(1).is_some_and(|page| run.contains(Offset::new(page)));
            // AcqRel: Release pairs with `has_fired`. A failure means that the waiter has left.
            if awaited && slot.key.compare_exchange(key, key | FIRED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                fence_for_lock();
                let waker = slot.waker.try_lock().and_then(|mut lock| lock.take());
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
        self.queue.call();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_and_generations_differ() {
        let waiters = Waiters::new();
        let page = Offset::new(7);
        let all: [_; WAITERS] = core::array::from_fn(|_| waiters.enter(page).unwrap());
        assert!(waiters.enter(page).is_none());
        waiters.fire(Run::around(0, Order::PMD));
        let before = waiters.slots[0].key.load(Ordering::Relaxed);
        for ticket in all {
            assert!(waiters.has_fired(&ticket));
            waiters.leave(ticket);
        }
        let again = waiters.enter(page).unwrap();
        assert!(!waiters.has_fired(&again));
        assert_ne!(waiters.slots[again.0].key.load(Ordering::Relaxed), before & !FIRED);
        waiters.fire(Run::around(512, Order::PMD));
        assert!(!waiters.has_fired(&again), "another folio's last put");
    }
}
