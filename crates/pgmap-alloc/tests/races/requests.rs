//! Requests against each other, and against the last put of whoever had the pages before.

use pgmap_alloc::{Lookup, Put, RequestError};

use crate::{ONE, at, large_in_service, pgmap, race, two};

#[test]
fn last_put_against_request_at_another_order() {
    race(
        large_in_service,
        |pgmap| pgmap.put_raw(at(0), 1),
        |pgmap| {
            let requested = pgmap.request_folio_raw(at(1), ONE, 8);
            if requested.is_ok() {
                assert_eq!(pgmap.ops().done(), 1, "allocatable only after folio_free has returned");
                pgmap.ops().write(1);
            }
            requested
        },
        |pgmap, put, requested| {
            assert_eq!(put, Ok(Put::Freed));
            match requested {
                Ok(()) => assert_eq!(pgmap.lookup(at(1)), Ok(Lookup::Folio { head: at(1), order: ONE })),
                Err(error) => assert!(matches!(error, RequestError::Busy | RequestError::Contended)),
            }
            assert!(pgmap.validate().is_ok());
        },
    );
}

#[test]
fn last_put_against_block_at_another_order() {
    race(
        large_in_service,
        |pgmap| pgmap.put_raw(at(0), 1),
        |pgmap| {
            if let Ok(block) = pgmap.request_block(at(1), ONE) {
                assert_eq!(pgmap.ops().done(), 1, "allocatable only after folio_free has returned");
                pgmap.ops().write(1);
                drop(block);
            }
        },
        |pgmap, put, ()| assert_eq!((put, pgmap.validate().unwrap().idle), (Ok(Put::Freed), 2)),
    );
}

/// Neither stands in the other's way.
#[test]
fn two_requests_of_disjoint_halves() {
    race(
        || {
            let pgmap = pgmap(2);
            drop(pgmap.request_folio(at(0), two()).unwrap());
            pgmap
        },
        |pgmap| {
            assert_eq!(pgmap.request_folio_raw(at(1), ONE, 8), Ok(()));
            pgmap.ops().write(1);
            assert_eq!(pgmap.put_raw(at(1), 1), Ok(Put::Freed));
        },
        |pgmap| {
            assert_eq!(pgmap.request_folio_raw(at(0), ONE, 9), Ok(()));
            // Once the other is done with its half, that may be had, and is as the other left it.
            if pgmap.ops().done() == 2
                && let Ok(block) = pgmap.request_block(at(1), ONE)
            {
                pgmap.ops().write(1);
                drop(block);
            }
        },
        |pgmap, (), ()| assert_eq!(pgmap.validate().unwrap().folios, 1),
    );
}

/// One of them wins; the other may win after it.
#[test]
fn two_requests_of_one_page() {
    race(
        || pgmap(2),
        |pgmap| {
            let requested = pgmap.request_folio_raw(at(1), ONE, 8).is_ok();
            if requested {
                pgmap.ops().write(1);
                assert_eq!(pgmap.put_raw(at(1), 1), Ok(Put::Freed));
            }
            requested
        },
        |pgmap| {
            let requested = pgmap.request_folio_raw(at(0), two(), 9).is_ok();
            if requested {
                pgmap.ops().write(1);
                assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed));
            }
            requested
        },
        |pgmap, one, other| {
            assert!(one || other, "one of them wins");
            assert_eq!(pgmap.validate().unwrap().idle, 2);
        },
    );
}
