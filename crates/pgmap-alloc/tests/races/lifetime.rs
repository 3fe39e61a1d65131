//! Kill, drain and teardown against whoever is still there.

use loom::thread;
use pgmap_alloc::{AllocError, Drain, Put};

use crate::{Map, ONE, Relaxed, at, deaf_in_service, in_service, pgmap, race, race_up_to};

#[test]
fn request_against_kill() {
    race(
        || pgmap(1),
        |pgmap| pgmap.alloc_folio_raw(ONE, 7),
        |pgmap| matches!(pgmap.kill().poll_drain(), Drain::Done(_)),
        |pgmap, served, drained| {
            match served {
                Ok(head) => {
                    assert!(!drained, "drained with a folio in service");
                    assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed));
                }
                Err(error) => assert_eq!((error, pgmap.ops().calls()), (AllocError::Dying, 0)),
            }
            assert!(matches!(pgmap.killed().unwrap().poll_drain(), Drain::Done(_)));
            assert_eq!(pgmap.validate().unwrap().idle, 1);
        },
    );
}

#[test]
fn drain_against_last_put() {
    race(
        in_service,
        |pgmap| {
            pgmap.ops().write(0);
            pgmap.put_raw(at(0), 1)
        },
        |pgmap| {
            let drained = pgmap.kill().drain(|_| thread::yield_now());
            assert_eq!(pgmap.ops().done(), 1, "drained while folio_free was running");
            // The memory is the driver's again.
            pgmap.ops().write(0);
            drained.teardown();
        },
        |_, put, ()| assert_eq!(put, Ok(Put::Freed)),
    );
}

/// What a driver that hears nothing wrote comes before the end all the same.
#[test]
fn drain_against_silent_last_put() {
    race(
        deaf_in_service,
        |pgmap| {
            pgmap.ops().0.write(0);
            pgmap.put_raw(at(0), 1)
        },
        |pgmap| {
            let drained = pgmap.kill().drain(|_| thread::yield_now());
            pgmap.ops().0.write(0);
            drained.teardown();
        },
        |_, put, ()| assert_eq!(put, Ok(Put::Freed)),
    );
}

#[test]
fn parked_drain_against_last_put() {
    race(
        in_service,
        |pgmap| pgmap.put_raw(at(0), 1),
        |pgmap| {
            let mut offered = 0;
            loom::future::block_on(pgmap.kill().drained(|_| offered += 1)).teardown();
            assert!(offered <= 1 && pgmap.ops().done() == 1);
        },
        |_, put, ()| assert_eq!(put, Ok(Put::Freed)),
    );
}

/// The hook after comes after the hook before, whoever of two comes to the end first.
#[test]
fn drain_against_drain() {
    fn end(pgmap: &Map) {
        pgmap.kill().drain(|_| thread::yield_now()).teardown();
    }
    race(|| pgmap(1), end, end, |pgmap, (), ()| assert_eq!(pgmap.ops().torn_down.load(Relaxed), 1));
}

/// A drain ends although others look for the folio until they are refused.
#[test]
fn finders_against_kill_and_drain() {
    race_up_to(
        2,
        in_service,
        |pgmap| {
            while let Some(folio) = pgmap.try_get(at(0)) {
                pgmap.ops().read(0);
                drop(folio);
                thread::yield_now();
            }
        },
        |pgmap| {
            let killed = pgmap.kill();
            assert!(pgmap.try_get(at(0)).is_none(), "found after the kill");
            let _ = pgmap.put_raw(at(0), 1).unwrap();
            killed.drain(|_| thread::yield_now()).teardown();
            pgmap.ops().write(0);
        },
        |pgmap, (), ()| assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1)),
    );
}
