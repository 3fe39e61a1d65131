//! The folio word, one thread at a time, at the limits of its fields.

use super::snapshot::{BAD, MAX_MAPPINGS, MAX_PINS, SATURATED};
use super::{
    AfterPut, Cloned, Condemned, Ending, Expect, FreezeFault, FreezeOrWait, GetFault, IfFrozen, Pardoned, PutFault, Snapshot,
    State, Word,
};
use crate::order::Order;
use crate::sync::Ordering;

/// A word with this state, whoever made it.
fn word_of(state: State) -> Word {
    let word = Word::new();
    word.bits.store(Snapshot::new(state, Order::PMD, 1).0, Ordering::Relaxed);
    word
}

/// A word in service with these counts, whoever has them.
fn counted(state: State, pins: u32, mappings: u32) -> Word {
    let word = Word::new();
    word.bits.store(Snapshot::new(state, Order::PMD, pins).with_field(mappings).0, Ordering::Relaxed);
    word
}

/// A put that is refused where the folio is frozen.
fn put(word: &Word, n: u32) -> Result<AfterPut, PutFault> {
    word.put(n, Ending::Heard, IfFrozen::Refuse)
}

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
            for pins in [0, 1, 2, MAX_PINS, SATURATED] {
                for mappings in [0, 1, MAX_MAPPINGS] {
                    let word = Snapshot::new(state, order, pins).with_field(mappings);
                    let mapped = if state == Special { word.reason() } else { word.mappings() };
                    assert_eq!((word.state(), word.order(), word.pins(), mapped), (state, order, pins, mappings));
                    assert!(!word.is_bad() && !word.is_awaited() && word.refs() == pins + word.mappings());
                    let word = Snapshot(word.with_state(Frozen).with_order(Order::PMD).0 | BAD);
                    assert_eq!((word.state(), word.order(), word.pins(), word.mappings()), (Frozen, Order::PMD, pins, mappings));
                    assert!(word.is_bad() && !word.is_awaited());
                }
            }
        }
    }
}

#[test]
fn req_15_an_idle_word_is_zero_and_no_reference_comes_from_it() {
    let word = Word::new();
    assert_eq!((word.snapshot().state(), word.snapshot().refs()), (State::Idle, 0));
    assert_eq!(word.try_get(), Err(GetFault::State(State::Idle)));
    assert_eq!(put(&word, 1), Err(PutFault::NotInService));
    assert!(word.begin(Order::ZERO).is_ok());
    assert_eq!(word.try_get(), Err(GetFault::State(State::Building)), "a folio that is being set up must not be found");
    assert!(word.begin(Order::ZERO).is_err());
}

#[test]
fn req_18_counts_are_checked_and_saturate() {
    let word = in_service(Order::PMD);
    assert!(word.try_get().is_ok());
    assert_eq!(put(&word, 3), Err(PutFault::TooMany { held: 2 }));
    assert_eq!(word.snapshot().refs(), 2);
    assert_eq!(put(&word, 0), Ok(AfterPut::InService));
    assert_eq!(put(&word, 2), Ok(AfterPut::LastPut(Order::PMD)));
    assert_eq!((word.snapshot().state(), word.try_get()), (State::Freeing, Err(GetFault::State(State::Freeing))));
    word.finish_free();
    assert_eq!(word.snapshot(), Snapshot(0));

    assert_eq!(word.snapshot().refs(), 0);
}

/// Rule 5: who can refuse refuses long before a clone, which cannot, has to stop counting.
#[test]
fn req_82_references_run_out_by_name_and_saturate_with_a_word() {
    let word = counted(State::InService, MAX_PINS - 1, 0);
    assert_eq!(word.try_get().map(Snapshot::pins), Ok(MAX_PINS));
    assert_eq!((word.try_get(), word.snapshot().pins()), (Err(GetFault::TooMany), MAX_PINS));
    assert_eq!((word.get(), word.snapshot().pins()), (Cloned::Counted, MAX_PINS + 1));
    assert_eq!((put(&word, 2), word.try_get().map(Snapshot::pins)), (Ok(AfterPut::InService), Ok(MAX_PINS)));

    let word = counted(State::InService, SATURATED - 2, 0);
    assert_eq!((word.get(), word.snapshot().is_saturated()), (Cloned::Counted, false));
    assert_eq!((word.get(), word.snapshot().is_saturated()), (Cloned::Saturated, true));
    assert_eq!((word.get(), word.snapshot().pins()), (Cloned::Counted, SATURATED));
    assert_eq!(put(&word, SATURATED), Ok(AfterPut::InService), "a saturated folio stays in service");
    assert_eq!(put(&word, u32::MAX), Ok(AfterPut::InService));
    assert_eq!(word.snapshot().pins(), SATURATED);
    assert_eq!((word.map(), word.unmap(Ending::Heard)), (Ok(()), Ok(AfterPut::InService)), "its mappings are still counted");
    assert_eq!(word.unmap(Ending::Heard), Err(PutFault::NotMapped));
    assert_eq!(word.freeze(Expect::Refs(SATURATED)), Err(FreezeFault::Saturated));
    assert_eq!(word.freeze_or_wait(Expect::NoPins), Err(FreezeFault::Saturated), "nobody waits for ever");
}

#[test]
fn req_23_mappings_are_references_that_no_put_takes() {
    let word = in_service(Order::ZERO);
    assert_eq!(word.map(), Ok(()));
    assert_eq!((word.snapshot().refs(), word.snapshot().mappings(), word.snapshot().pins()), (2, 1, 1));
    assert_eq!(put(&word, 2), Err(PutFault::TooMany { held: 1 }));
    assert_eq!(put(&word, 1), Ok(AfterPut::InService));
    assert_eq!(put(&word, 1), Err(PutFault::TooMany { held: 0 }));
    assert_eq!(word.unmap(Ending::Heard), Ok(AfterPut::LastPut(Order::ZERO)));
    assert_eq!(word.unmap(Ending::Heard), Err(PutFault::NotInService));

    let word = counted(State::InService, 1, MAX_MAPPINGS);
    let full = word.snapshot();
    assert_eq!((word.map(), word.snapshot()), (Err(GetFault::TooMany), full), "mappings never run over into the pins");
    assert_eq!((put(&word, 1), word.snapshot().refs()), (Ok(AfterPut::InService), MAX_MAPPINGS));
}

#[test]
fn a_frozen_word_counts_but_is_not_found_and_does_not_end() {
    let word = in_service(Order::PMD);
    assert_eq!(word.freeze(Expect::Refs(2)), Err(FreezeFault::Stray { held: 1 }));
    assert_eq!(word.freeze(Expect::NoPins), Err(FreezeFault::Pinned { pins: 1 }));
    assert!(word.freeze(Expect::Refs(1)).is_ok());
    assert_eq!(word.freeze(Expect::Refs(1)), Err(FreezeFault::Frozen));
    assert_eq!((word.try_get(), word.map()), (Err(GetFault::State(State::Frozen)), Err(GetFault::State(State::Frozen))));
    assert_eq!(put(&word, 1), Err(PutFault::Frozen));
    assert_eq!(word.get(), Cloned::Counted);
    assert_eq!(word.shrink(Order::ZERO, 1), Err(FreezeFault::Stray { held: 2 }));
    assert_eq!(put(&word, 1), Ok(AfterPut::InService));
    assert_eq!(word.shrink(Order::ZERO, 1), Ok(()));
    assert_eq!(word.thaw(Ending::Heard), AfterPut::InService);
    assert_eq!(put(&word, 1), Ok(AfterPut::LastPut(Order::ZERO)));
}

/// Rule 11.
#[test]
fn req_63_what_is_dropped_while_frozen_ends_with_the_thaw() {
    for (ending, ended) in [(Ending::Heard, State::Freeing), (Ending::Silent, State::Idle)] {
        let word = in_service(Order::PMD);
        assert!(word.freeze(Expect::Refs(1)).is_ok());
        assert_eq!(word.put(1, ending, IfFrozen::Leave), Ok(AfterPut::InService));
        assert_eq!((word.snapshot().state(), word.snapshot().refs(), word.snapshot().is_counted()), (State::Frozen, 0, false));
        assert_eq!((word.get(), word.try_get().is_err(), word.map().is_err()), (Cloned::NotInService, true, true));
        for if_frozen in [IfFrozen::Refuse, IfFrozen::Leave] {
            assert_eq!(word.put(0, ending, if_frozen), Err(PutFault::NotInService));
            assert_eq!(word.put(1, ending, if_frozen), Err(PutFault::NotInService), "it is left once");
        }
        assert_eq!(
            (word.unmap(ending), word.shrink(Order::ZERO, 1)),
            (Err(PutFault::NotInService), Err(FreezeFault::Stray { held: 0 }))
        );
        assert_eq!((word.thaw(ending), word.snapshot().state()), (AfterPut::LastPut(Order::PMD), ended));
    }
}

/// Rule 10: whatever changes the word after an attempt in vain tells, once.
#[test]
fn req_79_the_next_put_tells_who_waits_to_freeze() {
    let awaited = Ok(AfterPut::Awaited(Order::PMD));
    let word = counted(State::InService, 3, 2);
    assert_eq!(word.freeze_or_wait(Expect::Refs(6)), Err(FreezeFault::Stray { held: 5 }), "what is missing will not come");
    assert!(!word.snapshot().is_awaited());
    let wait = |expect| assert_eq!(word.freeze_or_wait(expect), Ok(FreezeOrWait::Wait));
    wait(Expect::Refs(1));
    assert_eq!((word.get(), put(&word, 1), put(&word, 1)), (Cloned::Counted, awaited, Ok(AfterPut::InService)));
    wait(Expect::NoPins);
    assert_eq!((word.unmap(Ending::Heard), word.unmap(Ending::Heard)), (awaited, Ok(AfterPut::InService)));
    assert!(matches!(word.freeze_or_wait(Expect::Refs(2)), Ok(FreezeOrWait::Frozen(before)) if before.refs() == 2));
    wait(Expect::Refs(2));
    assert_eq!((word.thaw(Ending::Heard), word.snapshot().is_awaited()), (AfterPut::Awaited(Order::PMD), false));
    wait(Expect::Refs(1));
    assert_eq!(put(&word, 2), Ok(AfterPut::LastPut(Order::PMD)), "the end is heard of anyway");
    assert_eq!((word.snapshot().is_awaited(), word.freeze_or_wait(Expect::Refs(1))), (false, Err(FreezeFault::NotInService)));
}

#[test]
fn retired_and_special_words_give_nothing() {
    let word = Word::new();
    assert!(word.declare(Order::PMD, 7));
    assert!(
        word.retire().is_none()
            && word.begin(Order::ZERO).is_err()
            && !word.declare(Order::PMD, 7)
            && word.get() == Cloned::NotInService
    );
    assert_eq!((word.snapshot().reason(), word.snapshot().refs(), word.try_get()), (7, 0, Err(GetFault::State(State::Special))));
    assert!(!word.undeclare(Order::ZERO) && word.undeclare(Order::PMD) && word.retire() == Some(false));
    assert!(
        word.retire().is_none()
            && word.begin(Order::ZERO).is_err()
            && !word.undeclare(Order::ZERO)
            && word.get() == Cloned::NotInService
    );
    assert_eq!((put(&word, 0), word.snapshot().refs()), (Err(PutFault::NotInService), 0));
}
/// Rule 9, and what its page was is kept.
#[test]
fn a_last_put_that_nobody_hears_is_one_step() {
    let word = in_service(Order::PMD);
    assert_eq!(word.get(), Cloned::Counted);
    assert_eq!(word.put(1, Ending::Silent, IfFrozen::Refuse), Ok(AfterPut::InService));
    assert_eq!(word.put(1, Ending::Silent, IfFrozen::Refuse), Ok(AfterPut::LastPut(Order::PMD)));
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
            assert_eq!(put(&word, 1), Ok(AfterPut::LastPut(Order::PMD)));
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
    assert_eq!(word.thaw(Ending::Heard), AfterPut::InService);
    assert_eq!((word.snapshot().state(), word.snapshot().order(), word.snapshot().refs()), (State::InService, Order::ZERO, 2));
    assert_eq!((put(&word, 2), word.condemn()), (Ok(AfterPut::LastPut(Order::ZERO)), Condemned::Unsettled));
    word.finish_free();
    assert_eq!((word.snapshot().state(), is_bad()), (State::Idle, true));
    assert!(word.begin(Order::ZERO).is_err(), "no folio begins with a bad page");
    assert!(word.declare(Order::ZERO, 3) && is_bad() && word.undeclare(Order::ZERO) && is_bad());
    assert!(word.begin_part(Order::ZERO) && is_bad());
    assert!(!word.abandon_part());
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
