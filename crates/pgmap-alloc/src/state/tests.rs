//! The folio word, one thread at a time, at the limits of its fields.

use super::snapshot::{MAX_MAPPINGS, SATURATED};
use super::{AfterPut, Condemned, Ending, Expect, FreezeFault, Pardoned, PutFault, Snapshot, State, Word};
use crate::order::Order;
use crate::sync::Ordering;

/// A word with this state, whoever made it.
fn word_of(state: State) -> Word {
    let word = Word::new();
    word.bits.store(Snapshot::new(state, Order::PMD, 1).0, Ordering::Relaxed);
    word
}

const ONE_MAP: u64 = 1 << 32;

fn in_service(order: Order) -> Word {
    let word = Word::new();
    assert!(word.begin(order).is_ok());
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
                    assert_eq!((word.state(), word.order(), word.refs(), word.mappings()), (Frozen, Order::PMD, refs, mappings));
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
    assert_eq!(word.put(1, Ending::Heard), Err(PutFault::NotInService));
    assert!(word.begin(Order::ZERO).is_ok());
    assert_eq!(word.try_get(), Err(State::Building), "a folio that is being set up must not be found");
    assert!(word.begin(Order::ZERO).is_err());
}

#[test]
fn req_18_counts_are_checked_and_saturate() {
    let word = in_service(Order::PMD);
    assert!(word.try_get().is_ok());
    assert_eq!(word.put(3, Ending::Heard), Err(PutFault::TooMany { held: 2 }));
    assert_eq!(word.snapshot().refs(), 2);
    assert_eq!(word.put(0, Ending::Heard), Ok(AfterPut::InService));
    assert_eq!(word.put(2, Ending::Heard), Ok(AfterPut::LastPut(Order::PMD)));
    assert_eq!((word.snapshot().state(), word.try_get()), (State::Freeing, Err(State::Freeing)));
    word.finish_free();
    assert_eq!(word.snapshot(), Snapshot(0));

    let word = in_service(Order::ZERO);
    word.bits.store(Snapshot::new(State::InService, Order::ZERO, SATURATED - 1).0, Ordering::Relaxed);
    assert_eq!(word.try_get().map(Snapshot::refs), Ok(SATURATED));
    assert_eq!(word.try_get().map(Snapshot::refs), Ok(SATURATED));
    assert_eq!(word.put(SATURATED, Ending::Heard), Ok(AfterPut::InService), "a saturated folio stays in service");
    assert_eq!(word.snapshot().refs(), SATURATED);
    assert_eq!((word.map(), word.unmap(Ending::Heard)), (Ok(()), Ok(AfterPut::InService)), "its mappings are still counted");
    assert_eq!(word.unmap(Ending::Heard), Err(PutFault::NotMapped));
    assert_eq!(word.freeze(Expect::Refs(SATURATED)), Err(FreezeFault::Stray { held: SATURATED }));
}

#[test]
fn req_23_mappings_are_references_that_no_put_takes() {
    let word = in_service(Order::ZERO);
    assert_eq!(word.map(), Ok(()));
    assert_eq!((word.snapshot().refs(), word.snapshot().mappings(), word.snapshot().pins()), (2, 1, 1));
    assert_eq!(word.put(2, Ending::Heard), Err(PutFault::TooMany { held: 1 }));
    assert_eq!(word.put(1, Ending::Heard), Ok(AfterPut::InService));
    assert_eq!(word.put(1, Ending::Heard), Err(PutFault::TooMany { held: 0 }));
    assert_eq!(word.unmap(Ending::Heard), Ok(AfterPut::LastPut(Order::ZERO)));
    assert_eq!(word.unmap(Ending::Heard), Err(PutFault::NotInService));

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
    assert_eq!(word.put(1, Ending::Heard), Err(PutFault::Frozen));
    assert!(word.get());
    assert_eq!(word.shrink(Order::ZERO, 1), Err(FreezeFault::Stray { held: 2 }));
    assert_eq!(word.put(1, Ending::Heard), Ok(AfterPut::InService));
    assert_eq!(word.shrink(Order::ZERO, 1), Ok(()));
    word.thaw();
    assert_eq!(word.put(1, Ending::Heard), Ok(AfterPut::LastPut(Order::ZERO)));
}

#[test]
fn retired_and_special_words_give_nothing() {
    let word = Word::new();
    assert!(word.declare(Order::PMD, 7));
    assert!(word.retire().is_none() && word.begin(Order::ZERO).is_err() && !word.declare(Order::PMD, 7) && !word.get());
    assert_eq!((word.snapshot().reason(), word.snapshot().refs(), word.try_get()), (7, 0, Err(State::Special)));
    assert!(!word.undeclare(Order::ZERO) && word.undeclare(Order::PMD) && word.retire() == Some(false));
    assert!(word.retire().is_none() && word.begin(Order::ZERO).is_err() && !word.undeclare(Order::ZERO) && !word.get());
    assert_eq!((word.put(0, Ending::Heard), word.snapshot().refs()), (Err(PutFault::NotInService), 0));
}
/// Rule 9, and what its page was is kept.
#[test]
fn a_last_put_that_nobody_hears_is_one_step() {
    let word = in_service(Order::PMD);
    assert!(word.get());
    assert_eq!(word.put(1, Ending::Silent), Ok(AfterPut::InService));
    assert_eq!(word.put(1, Ending::Silent), Ok(AfterPut::LastPut(Order::PMD)));
    assert_eq!(word.snapshot(), Snapshot(0));
    let word = in_service(Order::PMD);
    assert_eq!((word.condemn(), word.end_alone(Ending::Silent)), (Condemned::Now, Some(Order::PMD)));
    assert_eq!((word.snapshot().state(), word.snapshot().is_bad()), (State::Idle, true));
}

/// Both ends of a folio that is heard of leave the same word.
#[test]
fn a_put_into_a_handle_ends_as_others_do() {
    for bad in [false, true] {
        let [one, other] = [Word::finish_free, Word::finish_free_chained].map(|finish| {
            let word = in_service(Order::PMD);
            assert!(!bad || word.condemn() == Condemned::Now);
            assert_eq!(word.put(1, Ending::Heard), Ok(AfterPut::LastPut(Order::PMD)));
            assert_eq!((word.snapshot().state(), word.snapshot().refs()), (State::Freeing, 0));
            finish(&word);
            word.snapshot()
        });
        assert_eq!((one, one.state(), one.is_bad()), (other, State::Idle, bad));
    }
}

/// Rule 8: what is said of a page stays through every change of what starts there, and is unsaid once.
#[test]
fn req_38_that_a_page_is_bad_stays_in_its_word_until_it_is_retired() {
    let word = in_service(Order::PMD);
    assert_eq!((word.condemn(), word.condemn()), (Condemned::Now, Condemned::Already));
    let is_bad = || word.snapshot().is_bad();
    assert!(word.try_get().is_ok() && word.map().is_ok() && word.unmap(Ending::Heard).is_ok() && is_bad());
    assert!(word.freeze(Expect::Refs(2)).is_ok() && word.shrink(Order::ZERO, 2).is_ok() && is_bad());
    word.thaw();
    assert_eq!((word.snapshot().state(), word.snapshot().order(), word.snapshot().refs()), (State::InService, Order::ZERO, 2));
    assert_eq!((word.put(2, Ending::Heard), word.condemn()), (Ok(AfterPut::LastPut(Order::ZERO)), Condemned::Unsettled));
    word.finish_free();
    assert_eq!((word.snapshot().state(), is_bad()), (State::Idle, true));
    assert!(word.begin(Order::ZERO).is_err(), "no folio begins with a bad page");
    assert!(word.declare(Order::ZERO, 3) && is_bad() && word.undeclare(Order::ZERO) && is_bad());
    assert!(word.begin_part(Order::ZERO) && is_bad());
    word.abandon_part();
    assert_eq!((is_bad(), word.retire(), is_bad(), word.condemn()), (true, Some(true), false, Condemned::Retired));
    assert_eq!(word.pardon(), Pardoned::Retired);

    for state in [State::Idle, State::InService, State::Frozen, State::Special] {
        let word = word_of(state);
        assert_eq!((word.condemn(), word.snapshot().state(), word.pardon()), (Condemned::Now, state, Pardoned::Now));
    }
    for state in [State::Building, State::Freeing] {
        assert_eq!(word_of(state).condemn(), Condemned::Unsettled);
    }
}
