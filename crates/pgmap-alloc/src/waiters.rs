//! Who waits for which page to be idle.
//!
//! Slots, each with the page that is waited for and whom to wake. The first few are built in; more may be lent when the pgmap is
//! built. A waiter that finds none free stands in a queue (`queue`) until there is one. A last put takes no lock, allocates nothing,
//! and may wake from any context; nor does a waiter allocate.
//!
//! Every waiter is woken for its page, with a slot or without. What a slot adds is a memory: that the page was idle has to be written
//! down for each waiter until it looks, or it cannot know of a moment that is over by then. So to miss no moment takes memory for
//! each waiter; a waiter in the queue, which has none, may miss one (rule 6).
//!
//! ```text
//! bits  0..45  the page plus one; 0 = the slot is free
//! bit   45     fired: the page has been idle since the wait began
//! bits 46..64  generation, so that a wake-up meant for one waiter never reaches the next
//! ```
//!
//! # Rules
//!
//! 1. A waiter takes a slot, says whom to wake, is counted in `lifetime`, and then touches the folio word (`lifetime`, rule 2). If
//!    that says in service, the last put is still to come and sees the slot. If it says that a folio is being freed or set up, the
//!    waiter meets the tables (`pool::meeting`) and touches the word again: if it still says so, the pages are still to be given
//!    back, or the folio to come into service; whoever gives them back, keeps them, or undoes himself changes or meets the tables
//!    after he has changed the word, and sees the slot.
//! 2. A put into a handle changes no table. It ends in a read-modify-write of the word in place of a plain store, so it sees the
//!    touch of whoever came while `folio_free` ran; it is this, or a waiter who cannot park at once. Where the driver hears of no
//!    frees the put is that one read-modify-write (`state`, rule 9), and costs nothing more.
//! 3. Waiter and waker use the same key, the page: a last put wakes everyone whose page lies in the folio, whatever its order was
//!    when the wait began.
//! 4. Firing is by compare-exchange on the exact value of the slot, and only the waiter frees its slot.
//! 5. Whom to wake lies behind a lock that is only tried. A waiter sets it and then looks at the key; a caller that fires changes the
//!    key and then tries the lock. Between the two steps both have a full fence: a caller that finds the lock taken is seen.
//!    A waiter that finds the lock taken looks again before long: the holder is waking it. A caller may be so late that it wakes the
//!    slot's next waiter: that one is polled for nothing, and sets itself anew. The lock is given up before the slot is, so that a
//!    waiter that leaves never takes its successor's waker along.
//! 6. A waiter in the queue is called at every last put that sees that anybody waits, and whenever a slot becomes free, which it then
//!    takes. Until then it goes by what it sees when it is polled: if its page is in service again by then, it waits on.
//! 7. Whoever is woken at other moments than the end of the folio (`state`, rule 10) stands in the same slots and looks again. Whoever
//!    tells them does not fire: the page has not been idle.
//! 8. A slot that has not fired is also a gate before the folio that covers its page (`gates`).

use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::queue::WaitQueue;
use crate::sync::{AtomicU64, Ordering, TryLock, full_fence, in_models};
use crate::wakee::Wakee;

/// How many may wait at a time with a slot that is built in.
pub(crate) const WAITERS: usize = in_models(1, 64);

const PAGE: u64 = FIRED - 1;
const FIRED: u64 = 1 << 45;
const GENERATION: u64 = 1 << 46;

const _: () = assert!(Order::MAX.pages() < FIRED);

/// Room for one wait or one gate, to be lent to a pgmap ([`Pgmap::lend_wait_slots`](crate::Pgmap::lend_wait_slots)).
pub struct WaitSlot {
    key: AtomicU64,
    wakee: TryLock<Option<Wakee>>,
}

impl WaitSlot {
    /// A free one.
    pub fn new() -> WaitSlot {
        WaitSlot { key: AtomicU64::new(0), wakee: TryLock::new(None) }
    }

    /// Takes it for a page, if it is free.
    fn take(&self, page: Offset) -> bool {
        // Relaxed: the compare-exchange decides.
        let seen = self.key.load(Ordering::Relaxed);
        let key = (seen & !(GENERATION - 1)).wrapping_add(GENERATION) | (page.get() + 1);
        // AcqRel: Acquire pairs with `free`; Release with `fire`. Relaxed on failure: the slot is another's.
        seen & PAGE == 0 && self.key.compare_exchange(seen, key, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn has_fired(&self) -> bool {
        // Acquire: pairs with `fire`; the waiter sees what the last put has done. The fence of `set_wakee` comes before (rule 5).
        self.key.load(Ordering::Acquire) & FIRED != 0
    }

    fn free(&self) {
        drop(self.wakee.try_lock().and_then(|mut lock| lock.take()));
        // Release: pairs with the next `take`. And-ing keeps the generation, whether it has been fired or not (rule 4).
        self.key.fetch_and(!(GENERATION - 1), Ordering::Release);
    }

    /// Whether somebody waits here for a page of `run`, which has not been idle since.
    fn is_waiting_for(&self, run: Run) -> bool {
        // Acquire: pairs with `take`.
        let key = self.key.load(Ordering::Acquire);
        key & FIRED == 0 && (key & PAGE).checked_sub(1).is_some_and(|page| run.contains(Offset::new(page)))
    }

    /// Wakes whoever waits here, if it is for a page of `run`, for another look (rule 7).
    fn tell(&self, run: Run) {
        if self.is_waiting_for(run) {
            full_fence();
            let wakee = self.wakee.try_lock().and_then(|mut lock| lock.take());
            if let Some(wakee) = wakee {
                wakee.wake();
            }
        }
    }

    /// Wakes whoever waits here, if it is for a page of `run`.
    fn fire(&self, run: Run) {
        // Acquire: pairs with `take`.
        let key = self.key.load(Ordering::Acquire);
        let awaited = (key & PAGE).checked_sub(1).is_some_and(|page| run.contains(Offset::new(page)));
        // AcqRel: Release pairs with `has_fired`. Relaxed on failure: the waiter has left.
        if awaited && self.key.compare_exchange(key, key | FIRED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            full_fence();
            let wakee = self.wakee.try_lock().and_then(|mut lock| lock.take());
            if let Some(wakee) = wakee {
                wakee.wake();
            }
        }
    }
}

impl Default for WaitSlot {
    fn default() -> WaitSlot {
        WaitSlot::new()
    }
}

/// Everyone who waits.
pub(crate) struct Waiters<'s> {
    built_in: [WaitSlot; WAITERS],
    lent: &'s [WaitSlot],
    /// Those without a slot.
    pub(crate) queue: WaitQueue,
}

/// A taken slot. To be given back with [`Waiters::leave`].
#[derive(Debug)]
pub(crate) enum Ticket {
    BuiltIn(usize),
    Lent(usize),
}

impl<'s> Waiters<'s> {
    pub(crate) fn new() -> Self {
        Waiters { built_in: core::array::from_fn(|_| WaitSlot::new()), lent: &[], queue: WaitQueue::new() }
    }

    /// More slots, of somebody's who lends them to nobody else.
    pub(crate) fn lend(&mut self, slots: &'s mut [WaitSlot]) {
        self.lent = slots;
    }

    /// Takes a slot for a page; `None` when there is none.
    pub(crate) fn enter(&self, page: Offset) -> Option<Ticket> {
        let taken = |slots: &[WaitSlot]| slots.iter().position(|slot| slot.take(page));
        taken(&self.built_in).map(Ticket::BuiltIn).or_else(|| taken(self.lent).map(Ticket::Lent))
    }

    fn slot(&self, ticket: &Ticket) -> Option<&WaitSlot> {
        match ticket {
            Ticket::BuiltIn(index) => self.built_in.get(*index),
            Ticket::Lent(index) => self.lent.get(*index),
        }
    }

    /// Whom to wake; to be called before each look at the folio word. `false` if that could not be noted just now.
    pub(crate) fn set_wakee(&self, ticket: &Ticket, wakee: &Wakee) -> bool {
        let wakee = wakee.clone();
        let lock = self.slot(ticket).and_then(|slot| slot.wakee.try_lock());
        // Dropping the old one runs code of the caller's: after the lock.
        let set = lock.map(|mut lock| lock.replace(wakee)).is_some();
        full_fence();
        set
    }

    /// Whether the page has been idle since the wait began.
    pub(crate) fn has_fired(&self, ticket: &Ticket) -> bool {
        self.slot(ticket).is_none_or(WaitSlot::has_fired)
    }

    /// Frees the slot, and tells those in the queue of it (rule 6).
    pub(crate) fn leave(&self, ticket: Ticket) {
        if let Some(slot) = self.slot(&ticket) {
            slot.free();
            self.queue.call();
        }
    }

    /// Whether somebody waits for a page of `run`, which has not been idle since (rule 8). O(slots).
    pub(crate) fn wait_within(&self, run: Run) -> bool {
        self.built_in.iter().chain(self.lent).any(|slot| slot.is_waiting_for(run))
    }

    /// Wakes everyone who waits for a page of `run`, for another look (rule 7). O(slots).
    #[cold]
    pub(crate) fn tell(&self, run: Run) {
        self.built_in.iter().chain(self.lent).for_each(|slot| slot.tell(run));
        self.queue.call();
    }

    /// Wakes everyone who waits for a page of `run`. O(slots).
    #[cold]
    pub(crate) fn fire(&self, run: Run) {
        self.built_in.iter().chain(self.lent).for_each(|slot| slot.fire(run));
        self.queue.call();
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_and_generations_differ() {
        let mut lent: [WaitSlot; 3] = core::array::from_fn(|_| WaitSlot::new());
        let mut waiters = Waiters::new();
        waiters.lend(&mut lent);
        let page = Offset::new(7);
        const MANY: usize = 100;
        let all: [_; MANY] = core::array::from_fn(|index| {
            let ticket = waiters.enter(page);
            assert_eq!(ticket.is_some(), index < WAITERS + 3);
            ticket
        });
        waiters.fire(Run::around(0, Order::PMD));
        let before = waiters.built_in[0].key.load(Ordering::Relaxed);
        for ticket in all.into_iter().flatten() {
            assert!(waiters.has_fired(&ticket));
            waiters.leave(ticket);
        }
        let again = waiters.enter(page).unwrap();
        assert!(matches!(again, Ticket::BuiltIn(0)) && !waiters.has_fired(&again));
        assert_ne!(waiters.built_in[0].key.load(Ordering::Relaxed), before & !FIRED);
        waiters.fire(Run::around(512, Order::PMD));
        assert!(!waiters.has_fired(&again), "another folio's last put");
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn a_wait_that_is_over_is_counted_no_more() {
        use crate::offset::{Phys, PhysRange};
        use crate::pgmap::Pgmap;
        use core::pin::pin;
        use core::task::{Context, Waker};

        let ranges = [PhysRange { start: Phys(0), pages: 512 }];
        let pgmap: Pgmap<'_, ()> = Pgmap::new(&crate::pool::Params::new(&ranges), ()).unwrap();
        let page = pgmap.alloc_folio_raw(Order::ZERO, ()).unwrap();
        for ends in [false, true] {
            let mut wait = pin!(pgmap.until_idle(page).unwrap());
            let mut poll = || wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll().is_pending() && pgmap.lifetime.now().is_awaited());
            if ends {
                pgmap.put_raw(page, 1).unwrap();
                assert!(poll().is_ready() && !pgmap.lifetime.now().is_awaited());
            }
        }
        assert!(pgmap.lifetime.now().is_calm());
    }
}
