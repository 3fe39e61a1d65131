//! The folio word: everything about the folio that starts at a page, in one atomic word.
//!
//! # The word
//!
//! ```text
//! bits  0..32  references
//! bits 32..52  always 0
//! bits 52..58  order
//! bits 58..61  state
//! bits 61..64  always 0
//! ```
//!
//! | state | meaning | references | who may write the word |
//! |---|---|---|---|
//! | `Idle` | no folio starts here; the whole word is 0 | 0 | whoever owns the page in the tables |
//! | `Building` | a request owns the pages and is setting them up | 0 | that request |
//! | `InService` | a folio of `order` starts here | 1.. | anyone who holds a reference; [`Word::try_get`] |
//! | `Freeing` | the last reference is gone, the driver's `folio_free` is running | 0 | that put |
//! | any other | never written | | |
//!
//! # Rules
//!
//! 1. Only the word of the folio's first page is ever written; the words of its other pages are 0. So a request and a last put
//!    cost the same at every order.
//! 2. A word leaves `Idle` only by [`Word::begin`], whose caller owns the run in the tables, and comes back only by
//!    [`Word::abandon`] or [`Word::finish_free`], after which the caller gives the run back to the tables. The tables' claim
//!    (Acquire) and release (Release) hand the word from one owner to the next.
//! 3. A reference is taken only where one exists: the count goes 0 -> 1 in [`Word::publish`] and nowhere else.
//! 4. A request writes `Building` and then looks whether the pgmap is dying; a kill writes "dying", and only then does a drain
//!    look at words. One of the two sees the other (`lifetime`).
//! 5. A count that would overflow stays at [`SATURATED`]: the folio is never freed, which is the safe way to be wrong.

use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata, order_after_write};

const REFS: u64 = 0xFFFF_FFFF;
const ORDER_AT: u32 = 52;
const STATE_AT: u32 = 58;

const _: () = assert!(Order::MAX.get() < 1 << (STATE_AT - ORDER_AT));

/// A reference count that is no longer counted.
pub(crate) const SATURATED: u32 = u32::MAX;

/// What a word says about the page that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No folio starts here.
    Idle,
    /// A folio is being set up.
    Building,
    /// A folio is in service.
    InService,
    /// The driver's `folio_free` is running.
    Freeing,
}

/// A word as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    #[inline]
    const fn new(state: State, order: Order, refs: u32) -> Snapshot {
        Snapshot((state as u64) << STATE_AT | (order.get() as u64) << ORDER_AT | refs as u64)
    }

    #[inline]
    pub(crate) const fn state(self) -> State {
        match self.0 >> STATE_AT {
            0 => State::Idle,
            1 => State::Building,
            2 => State::InService,
            // The other values are never written.
            _ => State::Freeing,
        }
    }

    #[inline]
    pub(crate) const fn order(self) -> Order {
        Order::clamped((self.0 >> ORDER_AT) as u32 & 63)
    }

    #[inline]
    pub(crate) const fn refs(self) -> u32 {
        (self.0 & REFS) as u32
    }
}

/// What a put leaves its caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum AfterPut {
    /// Nothing: others hold references.
    InService,
    /// Call `folio_free`, then [`Word::finish_free`], then give the run back: the word is `Freeing` and the caller's alone.
    LastPut(Order),
}

/// Why a put changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// The word is not `InService`.
    NotInService,
    /// More references than there are.
    TooMany {
        /// How many there are.
        held: u32,
    },
}

metadata! {
    /// The folio word of one page; callers only provide zeroed ones as storage.
    #[derive(Debug)]
    #[repr(C)]
    pub struct Word {
        bits: AtomicU64,
    }
}

impl Word {
    const_outside_models! {
        /// The word of an idle page.
        pub fn new() -> Self {
            Word { bits: AtomicU64::new(0) }
        }
    }

    /// The word at this moment.
    #[inline]
    pub(crate) fn snapshot(&self) -> Snapshot {
        // SeqCst: Acquire pairs with `publish`, so what is seen in service is set up; the total order is rule 4's, for a drain.
        Snapshot(self.bits.load(Ordering::SeqCst))
    }

    /// `Idle` -> `Building`; `false` if the word was not idle, and then nothing has changed.
    #[inline]
    pub(crate) fn begin(&self, order: Order) -> bool {
        let building = Snapshot::new(State::Building, order, 0).0;
        // SeqCst: the write half of rule 4. Acquire would not be needed, the claim in the tables was that.
        let begun = self.bits.compare_exchange(0, building, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        order_after_write();
        begun
    }

    /// `Building` -> `InService` with one reference. The caller is the request that began it.
    #[inline]
    pub(crate) fn publish(&self, order: Order) {
        // Release: pairs with the Acquire of `try_get` and `snapshot`; driver data is written before.
        self.bits.store(Snapshot::new(State::InService, order, 1).0, Ordering::Release);
    }

    /// `Building` -> `Idle`. The caller is the request that began it.
    #[inline]
    pub(crate) fn abandon(&self) {
        // Release: pairs with a drain's `snapshot`, which must see the request's writes before it calls the pgmap drained.
        self.bits.store(0, Ordering::Release);
    }

    /// `Freeing` -> `Idle`. The caller is the put that got [`AfterPut::LastPut`], after `folio_free` has returned.
    #[inline]
    pub(crate) fn finish_free(&self) {
        // Release: pairs with a drain's `snapshot`: the callback has returned once the word is seen idle.
        self.bits.store(0, Ordering::Release);
    }

    /// Takes a reference if the folio is in service. Lock-free.
    #[inline]
    pub(crate) fn try_get(&self) -> Option<Snapshot> {
        // Relaxed: only an idea of the word; the compare-exchange decides.
        let mut seen = Snapshot(self.bits.load(Ordering::Relaxed));
        loop {
            if seen.state() != State::InService {
                return None;
            }
            if seen.refs() == SATURATED {
                return Some(seen);
            }
            // Acquire: pairs with `publish`. Relaxed on failure: tried again with what was found.
            match self.bits.compare_exchange_weak(seen.0, seen.0 + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Snapshot(seen.0 + 1)),
                Err(now) => seen = Snapshot(now),
            }
        }
    }

    /// Gives `n` references back. Lock-free.
    #[inline]
    pub(crate) fn put(&self, n: u32) -> Result<AfterPut, PutFault> {
        // Relaxed: as in `try_get`.
        let mut seen = Snapshot(self.bits.load(Ordering::Relaxed));
        loop {
            if seen.state() != State::InService {
                return Err(PutFault::NotInService);
            }
            let held = seen.refs();
            if held == SATURATED {
                return Ok(AfterPut::InService);
            }
            if n > held {
                return Err(PutFault::TooMany { held });
            }
            let (next, after) = if n == held && n > 0 {
                (Snapshot::new(State::Freeing, seen.order(), 0).0, AfterPut::LastPut(seen.order()))
            } else {
                (seen.0 - u64::from(n), AfterPut::InService)
            };
            // AcqRel: Release hands this holder's accesses to the last put, which acquires those of all holders before it calls
            // `folio_free`. Relaxed on failure: as in `try_get`.
            match self.bits.compare_exchange_weak(seen.0, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(after),
                Err(now) => seen = Snapshot(now),
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn in_service(order: Order) -> Word {
        let word = Word::new();
        assert!(word.begin(order));
        word.publish(order);
        word
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        for state in [State::Idle, State::Building, State::InService, State::Freeing] {
            for order in Order::MAX.up_to() {
                for refs in [0, 1, 2, u32::MAX - 1, u32::MAX] {
                    let word = Snapshot::new(state, order, refs);
                    assert_eq!((word.state(), word.order(), word.refs()), (state, order, refs));
                }
            }
        }
    }

    #[test]
    fn req_15_an_idle_word_is_zero_and_no_reference_comes_from_it() {
        let word = Word::new();
        assert_eq!((word.snapshot().state(), word.snapshot().refs()), (State::Idle, 0));
        assert_eq!(word.try_get(), None);
        assert_eq!(word.put(1), Err(PutFault::NotInService));
        assert!(word.begin(Order::ZERO));
        assert_eq!(word.try_get(), None, "a folio that is being set up must not be found");
        assert!(!word.begin(Order::ZERO));
    }

    #[test]
    fn req_18_counts_are_checked_and_saturate() {
        let word = in_service(Order::PMD);
        assert!(word.try_get().is_some());
        assert_eq!(word.put(3), Err(PutFault::TooMany { held: 2 }));
        assert_eq!(word.snapshot().refs(), 2);
        assert_eq!(word.put(0), Ok(AfterPut::InService));
        assert_eq!(word.put(2), Ok(AfterPut::LastPut(Order::PMD)));
        assert_eq!((word.snapshot().state(), word.try_get()), (State::Freeing, None));
        word.finish_free();
        assert_eq!(word.snapshot(), Snapshot(0));

        let word = in_service(Order::ZERO);
        word.bits.store(Snapshot::new(State::InService, Order::ZERO, SATURATED - 1).0, Ordering::Relaxed);
        assert_eq!(word.try_get().map(Snapshot::refs), Some(SATURATED));
        assert_eq!(word.try_get().map(Snapshot::refs), Some(SATURATED));
        assert_eq!(word.put(SATURATED), Ok(AfterPut::InService), "a saturated folio stays in service");
        assert_eq!(word.snapshot().refs(), SATURATED);
    }
}
