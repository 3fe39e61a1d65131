//! Requirement 63 where a folio is frozen: whatever is dropped gives back, whatever is refused comes back.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    Drain, Expect, Folio, Frozen, GetError, Inconsistency, Lookup, PerCpu, Put, PutError, Refused, RequestError, SplitError,
};
#[cfg(feature = "std")]
use pgmap_alloc::{PerThread, WaitError};
use support::{Driver, Map, at, leaked, order, partition, pgmap, range};

/// A pgmap whose folio at page 0 somebody has frozen through the raw form, and the one reference to it.
fn under_a_freeze() -> (&'static Map, Frozen<'static, Driver>, Folio<'static, Driver>) {
    let pgmap = leaked(&[range(0, 64)]);
    let folio = pgmap.request_folio_with(at(0), order(2), 7).unwrap();
    (pgmap, pgmap.freeze_raw(at(0), Expect::Refs(1)).unwrap(), folio)
}

/// A last put of a frozen folio is refused by every face, and the folio comes back.
#[test]
fn req_63_a_last_put_while_frozen_gives_the_folio_back() {
    type Face = fn(&'static Map, Folio<'static, Driver>) -> Refused<PutError, Folio<'static, Driver>>;
    let faces: [Face; 4] = [
        |pgmap, folio| pgmap.put(folio).unwrap_err(),
        |pgmap, folio| pgmap.local().unwrap().put(folio).unwrap_err(),
        |pgmap, folio| PerCpu::<_, 2>::with_cpus(pgmap).on(1).put(folio).unwrap_err(),
        #[cfg(feature = "std")]
        |pgmap, folio| PerThread::new(pgmap).put(folio).unwrap_err(),
    ];
    for face in faces {
        let (pgmap, frozen, folio) = under_a_freeze();
        let refused = face(pgmap, folio);
        let error: &dyn std::error::Error = &refused;
        assert_eq!((refused.error, error.to_string()), (PutError::Frozen, PutError::Frozen.to_string()));
        assert_eq!((refused.value.refs(), pgmap.put_raw(at(0), 1)), (1, Err(PutError::Frozen)));
        // What is not the last is put.
        assert_eq!(pgmap.put(refused.value.clone()).unwrap(), Put::InService);
        drop(frozen);
        assert_eq!((pgmap.put(refused.value).unwrap(), pgmap.ops().calls(), partition(pgmap).idle), (Put::Freed, 1, 64));
    }
    #[cfg(feature = "std")]
    {
        let (pgmap, frozen, folio) = under_a_freeze();
        let refused = pgmap.put_and_wait(folio).unwrap_err();
        assert_eq!((refused.error, refused.value.refs()), (WaitError::Frozen, 1));
        drop(frozen);
        assert_eq!(pgmap.put(refused.value).unwrap(), Put::Freed);
    }
}

/// Other verbs that take a folio give it back as well.
#[test]
fn req_63_a_frozen_folio_comes_back_from_every_verb_that_takes_it() {
    let (pgmap, frozen, folio) = under_a_freeze();
    let refused = folio.split(order(0), 1).err().unwrap();
    assert_eq!(refused.error, SplitError::Frozen);
    let folio = refused.value.into_block().unwrap_err();
    let frozen = frozen.free().err().unwrap();
    assert_eq!((folio.refs(), frozen.offset()), (1, at(0)));
    drop((frozen, folio));
    assert_eq!((pgmap.ops().calls(), partition(pgmap).idle), (1, 64));
}

/// The last folio that is dropped under a freeze ends when it thaws, or when it is freed; until then nobody gets a reference.
#[test]
fn req_63_a_last_folio_that_is_dropped_while_frozen_ends_with_the_thaw() {
    for freed in [false, true] {
        let (pgmap, frozen, folio) = under_a_freeze();
        drop(folio.clone());
        assert_eq!(folio.refs(), 1);
        drop(folio);
        assert_eq!((pgmap.ops().calls(), pgmap.lookup(at(3))), (0, Ok(Lookup::Folio { head: at(0), order: order(2) })));
        assert_eq!((pgmap.counts_raw(at(0)), pgmap.put_raw(at(0), 1)), (Err(GetError::NotInService), Err(PutError::NotInService)));
        assert!(Folio::from_raw(pgmap, at(0)).is_none() && pgmap.try_get(at(0)).is_none() && pgmap.get_raw(at(0)).is_err());
        assert_eq!(pgmap.request_folio(at(0), order(0)).map(drop), Err(RequestError::Busy));
        assert_eq!(frozen.data(), 7);
        if freed {
            assert!(frozen.free().is_ok());
        } else {
            drop(frozen);
        }
        assert_eq!((pgmap.ops().last().data, pgmap.ops().calls(), partition(pgmap).idle), (7, 1, 64));
    }
    // A drain waits for it.
    let (pgmap, frozen, folio) = under_a_freeze();
    drop(folio);
    let Drain::Waiting(killed, holdout) = pgmap.kill().poll_drain() else { panic!("a folio is frozen") };
    assert_eq!((holdout.offset, holdout.refs, holdout.saturated), (at(0), 0, false));
    drop(frozen);
    assert!(matches!(killed.poll_drain(), Drain::Done(_)));
}

/// The parts of a split too, if the driver drops the last reference to one that another has frozen.
#[test]
fn req_63_parts_that_are_dropped_while_frozen_end_with_the_thaw() {
    let pgmap = pgmap(&[range(0, 64)]);
    let mut parts = pgmap.request_folio(at(0), order(2)).unwrap().split(order(0), 1).unwrap();
    let first = parts.next().unwrap();
    let frozen = [at(0), at(2)].map(|head| pgmap.freeze_raw(head, Expect::Refs(1)).unwrap());
    drop((first, parts));
    assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap_err()), (2, Inconsistency::Unsettled { page: at(0) }));
    drop(frozen);
    assert_eq!((pgmap.ops().calls(), partition(&pgmap).idle), (4, 64));
}
