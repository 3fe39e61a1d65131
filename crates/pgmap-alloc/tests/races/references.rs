//! Getting and putting references against the last put.

use std::task::{Context, Waker};

use loom::future::block_on;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::{Acquire, Release};
use pgmap_alloc::{Expect, Folio, FreezeError, SplitError};

use crate::{Map, ONE, at, in_service, large_in_service, pgmap, race, race_up_to, two};

#[test]
fn put_against_try_get() {
    race(
        in_service,
        |pgmap| pgmap.put_raw(at(0), 1).map(|_| ()),
        |pgmap| {
            pgmap.try_get(at(0)).map(|folio| {
                assert_eq!((folio.data(), pgmap.ops().calls()), (7, 0), "a folio that was got is in service");
                pgmap.ops().read(0);
            })
        },
        |pgmap, put, _| assert_eq!((put, pgmap.ops().calls(), pgmap.validate().unwrap().idle), (Ok(()), 1, 1)),
    );
}

#[test]
fn get_against_request_finds_what_was_set_up() {
    race(
        || pgmap(1),
        |pgmap| pgmap.try_get(at(0)).map(|folio| folio.data()),
        |pgmap| pgmap.alloc_folio_with(ONE, 7).map(Folio::into_raw),
        |pgmap, got, served| {
            assert!(matches!(got, None | Some(7)));
            assert_eq!((served, pgmap.counts_raw(at(0)).unwrap().refs), (Ok(at(0)), 1));
        },
    );
}

#[test]
fn two_puts_free_once() {
    fn put<const PAGE: u64>(pgmap: &Map) {
        pgmap.ops().write(PAGE);
        drop(Folio::from_raw(pgmap, at(0)));
    }
    race(
        || {
            let pgmap = pgmap(2);
            pgmap.request_folio_raw(at(0), two(), 7).unwrap();
            pgmap.get_raw(at(0)).unwrap();
            pgmap
        },
        put::<0>,
        put::<1>,
        |pgmap, (), ()| assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 2)),
    );
}

/// A migration copies what the page holds while it is frozen: whatever was written by those who have put is there.
#[test]
fn freeze_against_get_and_unmap() {
    race(
        || {
            let pgmap = in_service();
            pgmap.map_raw(at(0)).unwrap();
            pgmap.put_raw(at(0), 1).unwrap();
            pgmap
        },
        |pgmap| {
            pgmap.try_get(at(0)).map(|folio| {
                assert_eq!(pgmap.ops().calls(), 0, "{folio:?}");
                pgmap.ops().write(0);
            })
        },
        |pgmap| {
            pgmap.freeze_raw(at(0), Expect::NoPins).is_ok_and(|frozen| {
                pgmap.ops().read(0);
                frozen.free().is_ok()
            })
        },
        |pgmap, _, freed| {
            assert_eq!(pgmap.unmap_raw(at(0)).is_ok(), !freed);
            assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
        },
    );
}

/// Whoever drops the last reference to a frozen folio leaves its end to the thaw: it comes once, after what both wrote.
#[test]
fn drop_of_the_last_reference_against_thaw() {
    race(
        in_service,
        |pgmap| {
            let folio = Folio::from_raw(pgmap, at(0)).unwrap();
            pgmap.ops().write(0);
            drop(folio);
        },
        |pgmap| pgmap.freeze_raw(at(0), Expect::Refs(1)).map(|frozen| assert_eq!((pgmap.ops().calls(), frozen.data()), (0, 7))),
        |pgmap, (), frozen| {
            assert!(matches!(frozen, Ok(()) | Err(FreezeError::NotInService)));
            assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
        },
    );
}

/// Each put of a folio that somebody waits to freeze is seen or wakes.
#[test]
fn wait_to_freeze_against_put() {
    race(
        || {
            let pgmap = in_service();
            pgmap.get_raw(at(0)).unwrap();
            pgmap
        },
        |pgmap| {
            pgmap.ops().write(0);
            pgmap.put_raw(at(0), 1).unwrap()
        },
        |pgmap| {
            let frozen = block_on(pgmap.until_frozen(at(0), Expect::Refs(1)).unwrap()).unwrap();
            pgmap.ops().read(0);
            drop(frozen);
        },
        |pgmap, _, ()| assert_eq!(pgmap.counts_raw(at(0)).unwrap().refs, 1),
    );
}

/// Or each unmap.
#[test]
fn wait_to_freeze_against_unmap() {
    race(
        || {
            let pgmap = in_service();
            pgmap.map_raw(at(0)).unwrap();
            pgmap
        },
        |pgmap| pgmap.unmap_raw(at(0)).unwrap(),
        |pgmap| drop(block_on(pgmap.until_frozen(at(0), Expect::Refs(1)).unwrap()).unwrap()),
        |pgmap, _, ()| assert_eq!(pgmap.counts_raw(at(0)).unwrap().refs, 1),
    );
}

/// A thaw wakes the next who waits. Models have one slot: where both wait, one stands in the queue.
#[test]
fn wait_to_freeze_against_wait_to_freeze() {
    fn freeze(pgmap: &Map) {
        let frozen = block_on(pgmap.until_frozen(at(0), Expect::Refs(1)).unwrap()).unwrap();
        pgmap.ops().write(0);
        drop(frozen);
    }
    race_up_to(2, in_service, freeze, freeze, |pgmap, (), ()| assert_eq!(pgmap.counts_raw(at(0)).unwrap().refs, 1));
}

/// A wait to freeze ends when the folio ends, too.
#[test]
fn wait_to_freeze_against_last_puts() {
    race_up_to(
        2,
        || {
            let pgmap = in_service();
            pgmap.get_raw(at(0)).unwrap();
            pgmap
        },
        |pgmap| {
            let _ = pgmap.put_raw(at(0), 1).unwrap();
            drop(Folio::from_raw(pgmap, at(0)));
        },
        |pgmap| block_on(pgmap.until_frozen(at(0), Expect::Refs(1)).unwrap()).map(drop),
        |pgmap, (), frozen| {
            assert!(matches!(frozen, Ok(()) | Err(FreezeError::NotInService)));
            assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
        },
    );
}

/// A part of which a split makes nothing after all keeps nobody waiting.
#[test]
fn wait_to_freeze_a_part_against_split_that_is_undone() {
    race_up_to(
        2,
        large_in_service,
        |pgmap| pgmap.split_raw(at(0), ONE, 1),
        |pgmap| {
            let mine = Folio::from_raw(pgmap, at(0)).unwrap();
            // One more than the split expects.
            let more = mine.clone();
            let frozen = block_on(pgmap.until_frozen(at(1), Expect::Refs(1)).unwrap()).map(drop);
            drop(more);
            core::mem::forget(mine);
            frozen
        },
        |_, split, frozen| match split {
            Ok(()) => assert!(matches!(frozen, Ok(()) | Err(FreezeError::NotInService))),
            Err(error) => assert!(matches!(error, SplitError::StrayReferences { .. }) && frozen == Err(FreezeError::NotInService)),
        },
    );
}

/// A finder that begins after a gate has been closed gets nothing; one that is on its way may.
#[test]
fn finder_against_gate() {
    race(
        || (in_service(), AtomicUsize::new(0)),
        |(pgmap, closed)| {
            let late = closed.load(Acquire) == 1;
            let got = pgmap.try_get(at(0)).map(|_| pgmap.ops().read(0));
            assert!(!late || got.is_none(), "found behind the gate");
        },
        |(pgmap, closed)| {
            core::mem::forget(pgmap.gate(at(0)).unwrap());
            closed.store(1, Release);
            assert!(pgmap.try_get(at(0)).is_none());
        },
        |(pgmap, _), (), ()| assert_eq!(pgmap.counts_raw(at(0)).unwrap().refs, 1),
    );
}

/// A wait for idle closes the folio by itself, and ends although others look for it until they are refused.
#[test]
fn finders_against_wait_idle() {
    race_up_to(
        2,
        in_service,
        |pgmap| {
            while let Some(folio) = pgmap.try_get(at(0)) {
                pgmap.ops().read(0);
                drop(folio);
                loom::thread::yield_now();
            }
        },
        |pgmap| {
            let mut idle = Box::pin(pgmap.until_idle(at(0)).unwrap());
            let waker = Waker::noop();
            let pending = idle.as_mut().poll(&mut Context::from_waker(waker)).is_pending();
            assert!(pending && pgmap.try_get(at(0)).is_none(), "found while it is waited for");
            let _ = pgmap.put_raw(at(0), 1).unwrap();
            block_on(idle);
            assert_eq!(pgmap.ops().done(), 1);
        },
        |pgmap, (), ()| assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1)),
    );
}
