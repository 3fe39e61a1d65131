//! Kill, drain and teardown against whoever is still there.

use loom::thread;
use pgmap_alloc::{AllocError, Drain, Put};

use crate::{ONE, model, pgmap, spawn};

#[test]
fn request_against_kill() {
    model(|| {
        let pgmap = pgmap(1);
        let request = spawn(&pgmap, |pgmap| pgmap.alloc_folio_raw(ONE, 7));
        let drained = matches!(pgmap.kill().poll_drain(), Drain::Done(_));
        match request.join().unwrap() {
            Ok(head) => {
                assert!(!drained, "drained with a folio in service");
                assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed));
            }
            Err(error) => assert_eq!((error, pgmap.ops().calls()), (AllocError::Dying, 0)),
        }
        assert!(matches!(pgmap.killed().unwrap().poll_drain(), Drain::Done(_)));
        assert_eq!(pgmap.validate().unwrap().idle, 1);
    });
}

#[test]
fn drain_against_last_put() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let put = spawn(&pgmap, move |pgmap| {
            pgmap.ops().write(0);
            pgmap.put_raw(head, 1)
        });
        let drained = pgmap.kill().drain(|_| thread::yield_now());
        assert_eq!(pgmap.ops().done(), 1, "drained while folio_free was running");
        // The memory is the driver's again.
        pgmap.ops().write(0);
        drained.teardown();
        assert_eq!(put.join().unwrap(), Ok(Put::Freed));
    });
}

#[test]
fn parked_drain_against_last_put() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let put = spawn(&pgmap, move |pgmap| pgmap.put_raw(head, 1));
        let mut offered = 0;
        loom::future::block_on(pgmap.kill().drained(|_| offered += 1)).teardown();
        assert_eq!((pgmap.ops().done(), put.join().unwrap()), (1, Ok(Put::Freed)));
        assert!(offered <= 1);
    });
}

/// The hook after comes after the hook before, whoever of two comes to the end first.
#[test]
fn drain_against_drain() {
    model(|| {
        let pgmap = pgmap(1);
        let other = spawn(&pgmap, |pgmap| pgmap.kill().drain(|_| thread::yield_now()).teardown());
        pgmap.kill().drain(|_| thread::yield_now()).teardown();
        other.join().unwrap();
        assert_eq!(pgmap.ops().torn_down.load(crate::Relaxed), 1);
    });
}
