//! Taking a range away against whoever requests there, is still there, or finds a page of it bad.

use pgmap_alloc::{AllocError, Block, Offset, Params, PhysRange, Removal, RemoveRangeError, RetireError, Retirement};

use crate::{Driver, Map, ONE, at, in_service, pgmap, race, race_up_to, ranges};

/// A request in a range that is being taken away is served before, or not at all: once the range is gone nobody uses it.
#[test]
fn request_against_removal() {
    race(
        || pgmap(1),
        |pgmap| {
            let served = pgmap.alloc_folio_raw(ONE, 7);
            if let Ok(head) = served {
                pgmap.ops().write(0);
                let _ = pgmap.put_raw(head, 1).unwrap();
            }
            served
        },
        |pgmap| {
            let removal = pgmap.close_range(at(0)).unwrap().poll_removal();
            let gone = matches!(removal, Removal::Done(_));
            if gone {
                // The memory is unplugged.
                pgmap.ops().write(0);
            }
            gone
        },
        |pgmap, served, gone| {
            assert!(!matches!(served, Err(AllocError::Dying)));
            assert_eq!(pgmap.ops().calls(), usize::from(served.is_ok()));
            assert_eq!((pgmap.pages(), pgmap.validate().unwrap().idle), if gone { (0, 0) } else { (1, 1) }, "nothing is lost");
        },
    );
}

/// Whoever waits for a range hears of the last put there.
#[test]
fn last_put_against_parked_removal() {
    race_up_to(
        2,
        in_service,
        |pgmap| {
            pgmap.ops().write(0);
            pgmap.put_raw(at(0), 1)
        },
        |pgmap| {
            let gone = loom::future::block_on(pgmap.close_range(at(0)).unwrap().removed(|_| ()));
            pgmap.ops().write(0);
            assert_eq!((gone.pages, pgmap.pages(), pgmap.ops().done()), (1, 0, 1));
        },
        |_, put, ()| assert!(put.is_ok()),
    );
}

/// A range that is opened again has lost nothing, whoever gave something back meanwhile.
#[test]
fn free_of_a_block_against_opening() {
    race(
        || {
            let pgmap = pgmap(2);
            let _ = pgmap.request_block(at(1), ONE).map(Block::into_raw).unwrap();
            pgmap
        },
        |pgmap| {
            pgmap.ops().write(1);
            pgmap.free_block_raw(at(1), ONE).unwrap();
        },
        |pgmap| {
            drop(pgmap.close_range(at(0)).unwrap());
            if let Ok(block) = pgmap.request_block(at(1), ONE) {
                pgmap.ops().write(1);
                drop(block);
            }
        },
        |pgmap, (), ()| assert_eq!(pgmap.validate().map(|census| (census.idle, census.special)), Ok((2, 0))),
    );
}

/// What is found bad while its range goes is bad no more when the range has gone, and nothing else is: whoever comes next at
/// these offsets is served as if nothing had been.
#[test]
fn retire_against_removal() {
    race_up_to(
        2,
        || Map::boxed(&Params::new(&ranges(1)).with_room(1, 4), Driver::new()).unwrap(),
        |pgmap| pgmap.retire(at(0)),
        |pgmap| matches!(pgmap.close_range(at(0)).unwrap().poll_removal(), Removal::Done(_)),
        |pgmap, retired, gone| {
            assert!(matches!(retired, Ok(Retirement::Done | Retirement::Pending) | Err(RetireError::OutOfRange)), "{retired:?}");
            if gone {
                let added = pgmap.add_range(PhysRange { pages: 1, ..ranges(1)[0] }).unwrap();
                assert_eq!(pgmap.alloc_folio_raw(ONE, 7), Ok(added.first));
            }
            let pending: Vec<Offset> = pgmap.retiring().collect();
            assert_eq!((pending, pgmap.retired().count()), (vec![], usize::from(!gone && retired.is_ok())));
        },
    );
}

/// A page is pardoned before its range goes, or goes with it: it is never given back to a range that has gone.
#[test]
fn pardon_against_removal() {
    race_up_to(
        2,
        || {
            let pgmap = pgmap(1);
            assert_eq!(pgmap.retire(at(0)), Ok(Retirement::Done));
            pgmap
        },
        |pgmap| pgmap.pardon(at(0)),
        |pgmap| match pgmap.close_range(at(0)) {
            Ok(closed) => matches!(closed.poll_removal(), Removal::Done(_)),
            Err(error) => {
                assert_eq!(error, RemoveRangeError::Changing);
                false
            }
        },
        |pgmap, pardoned, gone| {
            let census = pgmap.validate().unwrap();
            assert_eq!((census.pages, census.idle + census.retired), if gone { (0, 0) } else { (1, 1) });
            assert_eq!((census.idle == 1, pgmap.retiring().count()), (!gone && pardoned.is_ok(), 0), "{pardoned:?}");
        },
    );
}

/// A range goes although others look for its folio until they are refused.
#[test]
fn finders_against_removal() {
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
            let closed = pgmap.close_range(at(0)).unwrap();
            assert!(pgmap.try_get(at(0)).is_none(), "found after the close");
            let _ = pgmap.put_raw(at(0), 1).unwrap();
            loom::future::block_on(closed.removed(|_| ()));
            pgmap.ops().write(0);
        },
        |pgmap, (), ()| assert_eq!((pgmap.ops().calls(), pgmap.pages()), (1, 0)),
    );
}
