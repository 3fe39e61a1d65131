//! The folio word: everything about the folio that starts at a page, in one atomic word.
//!
//! # The word
//!
//! ```text
//! bits  0..32  references
//! bits 32..52  mappings: how many of the references are mappings (Special: the reason)
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
//! | `Frozen` | in service, but no lookup gets a reference | 1.. | whoever froze it; who holds a reference counts on, but the last put is refused |
//! | `Retired` | bad memory; for ever | 0 | nobody |
//! | `Special` | a run of `order` without a folio, and why | 0 | whoever declared it, to take it back |
//! | 7 | never written | | |
//!
//! # Rules
//!
//! 1. Only the word of the folio's first page is ever written; the words of its other pages are 0. So a request and a last put
//!    cost the same at every order.
//! 2. A word leaves `Idle` only by [`Word::begin`], [`Word::begin_part`], [`Word::retire`] or [`Word::declare`], whose caller owns
//!    the run in the tables, and comes back only by [`Word::abandon`], [`Word::finish_free`] or [`Word::undeclare`], after which
//!    the caller gives the run back to the tables. The tables' claim (Acquire) and release (Release) hand the word from one owner
//!    to the next.
//! 3. A reference is taken only where one exists: the count goes 0 -> 1 in [`Word::publish`] and nowhere else. (A part that is
//!    split off begins with one too, but its pages were in service already.)
//! 4. A request writes `Building` and then looks whether the pgmap is dying; a kill writes "dying", and only then does a drain
//!    look at words. One of the two sees the other (`lifetime`).
//! 5. A count that would overflow stays at [`SATURATED`]: the folio is never freed, which is the safe way to be wrong.
//! 6. Mappings are references too: mappings <= references, and a put never takes what is a mapping.
//! 7. A split freezes the whole, writes the words of the parts (`Frozen`, one reference each), and only then makes the whole
//!    smaller. So a page of it is under a word with a count at every moment. A lookup looks at the smallest order first, and again
//!    if there was a split meanwhile (`folios`).

use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata, order_after_write, overwrite};

const REFS: u64 = 0xFFFF_FFFF;
const MAPS_AT: u32 = 32;
const ORDER_AT: u32 = 52;
const STATE_AT: u32 = 58;
const ONE_MAP: u64 = 1 << MAPS_AT;

const _: () = assert!(Order::MAX.get() < 1 << (STATE_AT - ORDER_AT));

/// A reference count that is no longer counted.
pub(crate) const SATURATED: u32 = u32::MAX;

/// The most mappings that a folio can have.
pub(crate) const MAX_MAPPINGS: u32 = (1 << (ORDER_AT - MAPS_AT)) - 1;

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
    /// A folio is in service and cannot be found.
    Frozen,
    /// The page is bad.
    Retired,
    /// A run without a folio.
    Special,
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
            3 => State::Freeing,
            4 => State::Frozen,
            5 => State::Retired,
            // The other value is never written.
            _ => State::Special,
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

    /// How many of the references are mappings.
    #[inline]
    pub(crate) const fn mappings(self) -> u32 {
        (self.0 >> MAPS_AT) as u32 & MAX_MAPPINGS
    }

    /// References that are no mappings (rule 6).
    #[inline]
    pub(crate) const fn pins(self) -> u32 {
        self.refs().saturating_sub(self.mappings())
    }

    /// Why a run is special.
    pub(crate) const fn reason(self) -> u32 {
        (self.0 >> MAPS_AT) as u32 & MAX_MAPPINGS
    }

    /// The same counts and order in another state.
    const fn with_state(self, state: State) -> Snapshot {
        Snapshot(self.0 & !(7 << STATE_AT) | (state as u64) << STATE_AT)
    }

    /// The same counts and state at another order.
    const fn with_order(self, order: Order) -> Snapshot {
        Snapshot(self.0 & !(63 << ORDER_AT) | (order.get() as u64) << ORDER_AT)
    }

    #[inline]
    const fn is_counted(self) -> bool {
        matches!(self.state(), State::InService | State::Frozen)
    }

    /// The word after the last reference is gone, or why it cannot go.
    #[inline]
    const fn ended(self) -> Result<(Snapshot, AfterPut), PutFault> {
        match self.state() {
            State::Frozen => Err(PutFault::Frozen),
            _ => Ok((Snapshot::new(State::Freeing, self.order(), 0), AfterPut::LastPut(self.order()))),
        }
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
    /// The word is neither `InService` nor `Frozen`.
    NotInService,
    /// More references than there are, mappings apart.
    TooMany {
        /// How many there are.
        held: u32,
    },
    /// It would be the last put, and the folio is frozen.
    Frozen,
    /// There is no mapping to take away.
    NotMapped,
}

/// Which references a freeze expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Exactly so many references, mappings included.
    Refs(u32),
    /// Any number of mappings and no other reference: what migration and eviction wait for.
    NoPins,
}

/// Why a word was not frozen, or a frozen one not made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FreezeFault {
    /// The word is not `InService`.
    NotInService,
    /// Somebody else has frozen it.
    Frozen,
    /// Not the expected references.
    Stray {
        /// How many there are.
        held: u32,
    },
    /// References that are no mappings.
    Pinned {
        /// How many there are.
        pins: u32,
    },
}

metadata! {
    /// The folio word of one page; callers only provide zeroed ones as storage.
    #[derive(Debug)]
    #[cfg_attr(all(feature = "huge-pages", not(loom)), derive(bytemuck::TransparentWrapper))]
    #[repr(transparent)]
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

    /// The word at this moment, joined to the chain of its changes: whoever changes it by a read-modify-write later sees what the
    /// caller has written before (`lifetime`, rules 2 and 3). `Building` and `Freeing` end in a plain store, which breaks the chain.
    pub(crate) fn touch(&self) -> Snapshot {
        // AcqRel: pairs with `begin`, `put` and every other change before and after.
        Snapshot(self.bits.fetch_or(0, Ordering::AcqRel))
    }

    /// The one compare-exchange loop: goes from what is seen to what `step` makes of it. Lock-free.
    #[inline]
    fn update<T, E>(&self, success: Ordering, step: impl Fn(Snapshot) -> Result<(Snapshot, T), E>) -> Result<T, E> {
        // Relaxed: only an idea of the word; the compare-exchange decides.
        let mut seen = Snapshot(self.bits.load(Ordering::Relaxed));
        loop {
            let (next, answer) = step(seen)?;
            // Relaxed on failure: tried again with what was found.
            match self.bits.compare_exchange_weak(seen.0, next.0, success, Ordering::Relaxed) {
                Ok(_) => return Ok(answer),
                Err(now) => seen = Snapshot(now),
            }
        }
    }
}

/// Into service and out of it: each has one owner.
impl Word {
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
        overwrite(&self.bits, Snapshot::new(State::InService, order, 1).0, Ordering::Release);
    }

    /// `Building` -> `Idle`. The caller is the request that began it.
    #[inline]
    pub(crate) fn abandon(&self) {
        // Release: pairs with a drain's `snapshot`, which must see the request's writes before it calls the pgmap drained.
        overwrite(&self.bits, 0, Ordering::Release);
    }

    /// `Freeing` -> `Idle`. The caller is the put that got [`AfterPut::LastPut`], after `folio_free` has returned.
    #[inline]
    pub(crate) fn finish_free(&self) {
        // Release: pairs with a drain's `snapshot`: the callback has returned once the word is seen idle.
        overwrite(&self.bits, 0, Ordering::Release);
    }

    /// `Idle` -> `Retired`; `false` if the word was not idle. The caller owns the page.
    pub(crate) fn retire(&self) -> bool {
        let retired = Snapshot::new(State::Retired, Order::ZERO, 0).0;
        // SeqCst: the write half of "retire, then take the marks away" (`marks`).
        let done = self.bits.compare_exchange(0, retired, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        order_after_write();
        done
    }

    /// `Idle` -> `Special`; `false` if the word was not idle. The caller owns the run.
    pub(crate) fn declare(&self, order: Order, reason: u32) -> bool {
        let special = Snapshot::new(State::Special, order, 0).0 | u64::from(reason & MAX_MAPPINGS) << MAPS_AT;
        // AcqRel: pairs with `undeclare`. Relaxed on failure: nothing is read.
        self.bits.compare_exchange(0, special, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// `Special` of this order -> `Idle`; `false` if it is something else. The one caller who succeeds owns the run.
    pub(crate) fn undeclare(&self, order: Order) -> bool {
        // AcqRel: pairs with `declare`.
        let step = |seen: Snapshot| {
            if seen.state() == State::Special && seen.order() == order { Ok((Snapshot(0), ())) } else { Err(()) }
        };
        self.update(Ordering::AcqRel, step).is_ok()
    }
}

/// Counting.
impl Word {
    /// Takes a reference if the folio is in service, else says what it is.
    #[inline]
    pub(crate) fn try_get(&self) -> Result<Snapshot, State> {
        // Acquire: pairs with `publish`.
        self.update(Ordering::Acquire, |seen| match seen.state() {
            State::InService if seen.refs() == SATURATED => Ok((seen, seen)),
            State::InService => Ok((Snapshot(seen.0 + 1), Snapshot(seen.0 + 1))),
            other => Err(other),
        })
    }

    /// Takes one more reference where the caller holds one, so that a freeze does not stand in the way.
    #[inline]
    pub(crate) fn get(&self) -> bool {
        let step = |seen: Snapshot| match seen.is_counted() {
            true if seen.refs() == SATURATED => Ok((seen, ())),
            true => Ok((Snapshot(seen.0 + 1), ())),
            false => Err(()),
        };
        // Acquire: as in `try_get`.
        self.update(Ordering::Acquire, step).is_ok()
    }

    /// Gives `n` references back.
    #[inline]
    pub(crate) fn put(&self, n: u32) -> Result<AfterPut, PutFault> {
        // AcqRel: Release hands this holder's accesses to the last put, which acquires those of all holders before it calls
        // `folio_free`.
        self.update(Ordering::AcqRel, |seen| {
            if !seen.is_counted() {
                return Err(PutFault::NotInService);
            }
            if seen.refs() == SATURATED {
                return Ok((seen, AfterPut::InService));
            }
            if n > seen.pins() {
                return Err(PutFault::TooMany { held: seen.pins() });
            }
            if n == seen.refs() { seen.ended() } else { Ok((Snapshot(seen.0 - u64::from(n)), AfterPut::InService)) }
        })
    }

    /// Gives the only reference back, and nothing if there are others.
    pub(crate) fn end_alone(&self) -> Option<Order> {
        let step = |seen: Snapshot| match (seen.state(), seen.refs(), seen.mappings()) {
            (State::InService, 1, 0) => Ok((Snapshot::new(State::Freeing, seen.order(), 0), seen.order())),
            _ => Err(()),
        };
        // AcqRel: as in `put`.
        self.update(Ordering::AcqRel, step).ok()
    }

    /// Takes a reference that is a mapping; `Err(None)` when there are as many as can be counted.
    pub(crate) fn map(&self) -> Result<(), Option<State>> {
        // Acquire: as in `try_get`.
        self.update(Ordering::Acquire, |seen| match seen.state() {
            State::InService if seen.mappings() == MAX_MAPPINGS => Err(None),
            State::InService if seen.refs() == SATURATED => Ok((Snapshot(seen.0 + ONE_MAP), ())),
            State::InService => Ok((Snapshot(seen.0 + ONE_MAP + 1), ())),
            other => Err(Some(other)),
        })
    }

    /// Gives back a reference that is a mapping.
    pub(crate) fn unmap(&self) -> Result<AfterPut, PutFault> {
        // AcqRel: as in `put`.
        self.update(Ordering::AcqRel, |seen| {
            if !seen.is_counted() {
                return Err(PutFault::NotInService);
            }
            if seen.mappings() == 0 {
                return Err(PutFault::NotMapped);
            }
            match seen.refs() {
                SATURATED => Ok((Snapshot(seen.0 - ONE_MAP), AfterPut::InService)),
                1 => seen.ended(),
                _ => Ok((Snapshot(seen.0 - ONE_MAP - 1), AfterPut::InService)),
            }
        })
    }
}

/// Frozen: still counted, but not to be found.
impl Word {
    /// `InService` -> `Frozen`, if the references are as expected.
    pub(crate) fn freeze(&self, expect: Expect) -> Result<Snapshot, FreezeFault> {
        // AcqRel: Acquire pairs with the puts of those who are gone; Release keeps their chain for the last put.
        self.update(Ordering::AcqRel, |seen| match (seen.state(), expect) {
            (State::Frozen, _) => Err(FreezeFault::Frozen),
            (state, _) if state != State::InService => Err(FreezeFault::NotInService),
            (_, Expect::Refs(refs)) if refs != seen.refs() || refs == SATURATED => Err(FreezeFault::Stray { held: seen.refs() }),
            (_, Expect::NoPins) if seen.pins() != 0 => Err(FreezeFault::Pinned { pins: seen.pins() }),
            _ => Ok((seen.with_state(State::Frozen), seen)),
        })
    }

    /// `Frozen` -> `InService`. The caller froze it.
    pub(crate) fn thaw(&self) {
        let step = |seen: Snapshot| match seen.state() {
            State::Frozen => Ok((seen.with_state(State::InService), ())),
            _ => Err(()),
        };
        // Release: pairs with `try_get`; what was changed while it was frozen is seen.
        let thawed = self.update(Ordering::Release, step);
        debug_assert!(thawed.is_ok(), "thawed what was not frozen");
    }

    /// `Frozen` -> `Freeing`, if all references are mappings. The caller froze it.
    pub(crate) fn end_frozen(&self) -> Option<Order> {
        let step = |seen: Snapshot| match seen.state() {
            State::Frozen if seen.pins() == 0 => Ok((Snapshot::new(State::Freeing, seen.order(), 0), seen.order())),
            _ => Err(()),
        };
        // AcqRel: as in `put`.
        self.update(Ordering::AcqRel, step).ok()
    }

    /// `Idle` -> `Frozen` with one reference: a part of the frozen folio that covers this page (rule 7).
    pub(crate) fn begin_part(&self, order: Order) -> bool {
        let part = Snapshot::new(State::Frozen, order, 1).0;
        // Release: pairs with the `snapshot` of a lookup. Relaxed on failure: nothing is read.
        self.bits.compare_exchange(0, part, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Makes the frozen folio smaller, if it still has exactly `refs` references (rule 7). The caller froze it.
    pub(crate) fn shrink(&self, order: Order, refs: u32) -> Result<(), FreezeFault> {
        // AcqRel: Release pairs with the `snapshot` of a lookup: who sees the smaller order sees the words of the parts. Acquire:
        // hands a waiter's `touch` of the whole on to the parts.
        self.update(Ordering::AcqRel, |seen| match (seen.state(), seen.refs()) {
            (State::Frozen, held) if held == refs => Ok((seen.with_order(order), ())),
            (State::Frozen, held) => Err(FreezeFault::Stray { held }),
            _ => Err(FreezeFault::NotInService),
        })
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
        use State::{Building, Freeing, Frozen, Idle, InService, Retired, Special};
        for state in [Idle, Building, InService, Freeing, Frozen, Retired, Special] {
            for order in Order::MAX.up_to() {
                for refs in [0, 1, 2, u32::MAX - 1, u32::MAX] {
                    for mappings in [0, 1, MAX_MAPPINGS] {
                        let word = Snapshot(Snapshot::new(state, order, refs).0 + u64::from(mappings) * ONE_MAP);
                        assert_eq!((word.state(), word.order(), word.refs(), word.mappings()), (state, order, refs, mappings));
                        let word = word.with_state(Frozen).with_order(Order::PMD);
                        assert_eq!(
                            (word.state(), word.order(), word.refs(), word.mappings()),
                            (Frozen, Order::PMD, refs, mappings)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn req_15_an_idle_word_is_zero_and_no_reference_comes_from_it() {
        let word = Word::new();
        assert_eq!((word.snapshot().state(), word.snapshot().refs()), (State::Idle, 0));
        assert_eq!(word.try_get(), Err(State::Idle));
        assert_eq!(word.put(1), Err(PutFault::NotInService));
        assert!(word.begin(Order::ZERO));
        assert_eq!(word.try_get(), Err(State::Building), "a folio that is being set up must not be found");
        assert!(!word.begin(Order::ZERO));
    }

    #[test]
    fn req_18_counts_are_checked_and_saturate() {
        let word = in_service(Order::PMD);
        assert!(word.try_get().is_ok());
        assert_eq!(word.put(3), Err(PutFault::TooMany { held: 2 }));
        assert_eq!(word.snapshot().refs(), 2);
        assert_eq!(word.put(0), Ok(AfterPut::InService));
        assert_eq!(word.put(2), Ok(AfterPut::LastPut(Order::PMD)));
        assert_eq!((word.snapshot().state(), word.try_get()), (State::Freeing, Err(State::Freeing)));
        word.finish_free();
        assert_eq!(word.snapshot(), Snapshot(0));

        let word = in_service(Order::ZERO);
        word.bits.store(Snapshot::new(State::InService, Order::ZERO, SATURATED - 1).0, Ordering::Relaxed);
        assert_eq!(word.try_get().map(Snapshot::refs), Ok(SATURATED));
        assert_eq!(word.try_get().map(Snapshot::refs), Ok(SATURATED));
        assert_eq!(word.put(SATURATED), Ok(AfterPut::InService), "a saturated folio stays in service");
        assert_eq!(word.snapshot().refs(), SATURATED);
        assert_eq!((word.map(), word.unmap()), (Ok(()), Ok(AfterPut::InService)), "its mappings are still counted");
        assert_eq!(word.unmap(), Err(PutFault::NotMapped));
        assert_eq!(word.freeze(Expect::Refs(SATURATED)), Err(FreezeFault::Stray { held: SATURATED }));
    }

    #[test]
    fn req_23_mappings_are_references_that_no_put_takes() {
        let word = in_service(Order::ZERO);
        assert_eq!(word.map(), Ok(()));
        assert_eq!((word.snapshot().refs(), word.snapshot().mappings(), word.snapshot().pins()), (2, 1, 1));
        assert_eq!(word.put(2), Err(PutFault::TooMany { held: 1 }));
        assert_eq!(word.put(1), Ok(AfterPut::InService));
        assert_eq!(word.put(1), Err(PutFault::TooMany { held: 0 }));
        assert_eq!(word.unmap(), Ok(AfterPut::LastPut(Order::ZERO)));
        assert_eq!(word.unmap(), Err(PutFault::NotInService));

        let word = in_service(Order::ZERO);
        word.bits.fetch_add(u64::from(MAX_MAPPINGS) * ONE_MAP + u64::from(MAX_MAPPINGS), Ordering::Relaxed);
        let full = word.snapshot();
        assert_eq!((word.map(), word.snapshot()), (Err(None), full), "mappings never run over into the order");
    }

    #[test]
    fn a_frozen_word_counts_but_is_not_found_and_does_not_end() {
        let word = in_service(Order::PMD);
        assert_eq!(word.freeze(Expect::Refs(2)), Err(FreezeFault::Stray { held: 1 }));
        assert_eq!(word.freeze(Expect::NoPins), Err(FreezeFault::Pinned { pins: 1 }));
        assert!(word.freeze(Expect::Refs(1)).is_ok());
        assert_eq!(word.freeze(Expect::Refs(1)), Err(FreezeFault::Frozen));
        assert_eq!((word.try_get(), word.map()), (Err(State::Frozen), Err(Some(State::Frozen))));
        assert_eq!(word.put(1), Err(PutFault::Frozen));
        assert!(word.get());
        assert_eq!(word.shrink(Order::ZERO, 1), Err(FreezeFault::Stray { held: 2 }));
        assert_eq!(word.put(1), Ok(AfterPut::InService));
        assert_eq!(word.shrink(Order::ZERO, 1), Ok(()));
        word.thaw();
        assert_eq!(word.put(1), Ok(AfterPut::LastPut(Order::ZERO)));
    }

    #[test]
    fn retired_and_special_words_give_nothing() {
        let word = Word::new();
        assert!(word.declare(Order::PMD, 7));
        assert!(!word.retire() && !word.begin(Order::ZERO) && !word.declare(Order::PMD, 7) && !word.get());
        assert_eq!((word.snapshot().reason(), word.snapshot().refs(), word.try_get()), (7, 0, Err(State::Special)));
        assert!(!word.undeclare(Order::ZERO) && word.undeclare(Order::PMD) && word.retire());
        assert!(!word.retire() && !word.begin(Order::ZERO) && !word.undeclare(Order::ZERO) && !word.get());
        assert_eq!((word.put(0), word.snapshot().refs()), (Err(PutFault::NotInService), 0));
    }
}
