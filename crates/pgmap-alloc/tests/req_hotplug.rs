//! Ranges that come and go under a pgmap in use: requirement 06.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{Lookup, Order, Params, Pgmap, Reason, Removal, RemoveRangeError, RequestError, RunState};
use support::{Driver, at, order, range};

/// Where the second range starts: not at 1024, because no idle run may cross from one range into the next.
const SECOND: u64 = 2048;

fn pgmap() -> Pgmap<'static, Driver> {
    let ranges = [range(0, 1024), range(1 << 20, 1024)];
    let pgmap = Pgmap::new(&Params::new(&ranges).with_room(1, 8192), Driver::default()).unwrap();
    assert_eq!(pgmap.ranges().nth(1).map(|range| range.first), Some(at(SECOND)));
    pgmap
}

#[test]
fn req_06_a_closed_range_serves_no_request_and_goes_when_its_last_folio_has_gone() {
    let pgmap = pgmap();
    assert_eq!(pgmap.close_range(at(5)).err(), Some(RemoveRangeError::Unknown));
    let folio = pgmap.request_folio(at(SECOND + 64), order(3)).unwrap();
    let closed = pgmap.close_range(at(SECOND)).unwrap();
    assert_eq!(pgmap.close_range(at(0)).err(), Some(RemoveRangeError::Changing));
    let refused = pgmap.request_folio(at(SECOND), Order::ZERO).err();
    assert!(matches!(refused, Some(RequestError::Retired | RequestError::Busy)), "{refused:?}");
    let Removal::Waiting(closed, holdout) = closed.poll_removal() else { panic!("gone under a folio") };
    assert_eq!((holdout.start, holdout.state), (at(SECOND + 64), RunState::Folio { order: order(3), refs: 1 }));
    // The rest serves on, and only the rest.
    let rest: Vec<_> = (0..1024).map(|_| pgmap.alloc_folio(Order::ZERO).unwrap()).collect();
    assert!(rest.iter().all(|folio| folio.offset().get() < 1024) && pgmap.alloc_folio(Order::ZERO).is_err());
    assert!(matches!(pgmap.lookup(at(SECOND)), Ok(Lookup::Special { reason: Reason::Leaving, .. })));
    assert_eq!(pgmap.validate().map(|census| (census.in_service, census.special)), Ok((1024 + 8, 1024 - 8)));

    drop(folio);
    let Removal::Done(gone) = closed.poll_removal() else { panic!("nothing is in the way") };
    assert_eq!((gone.first, pgmap.pages()), (at(SECOND), 1024));
    assert!(pgmap.lookup(at(SECOND)).is_err());
    let back = pgmap.add_range(range(1 << 21, 512)).unwrap();
    assert_eq!(pgmap.alloc_folio(Order::PMD).map(|folio| folio.offset()), Ok(back.first));
    drop(rest);
    assert_eq!(pgmap.validate().unwrap().idle, 1024 + 512);
}

#[test]
fn req_06_a_range_that_is_opened_again_has_lost_nothing() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(SECOND + 64), order(3)).unwrap();
    let closed = pgmap.close_range(at(SECOND)).unwrap();
    let Removal::Waiting(closed, _) = closed.poll_removal() else { panic!("gone under a folio") };
    drop(closed);
    assert_eq!(pgmap.validate().map(|census| (census.in_service, census.idle)), Ok((8, 2048 - 8)));
    drop(folio);
    assert!(pgmap.request_folio(at(SECOND), order(10)).is_ok());
}

#[test]
fn req_06_a_range_is_evicted_while_others_allocate() {
    let pgmap = pgmap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let held = std::sync::Mutex::new((0..1500).map(|_| pgmap.alloc_folio(Order::ZERO).unwrap()).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let folio = pgmap.alloc_folio(order(1)).ok();
                    std::thread::yield_now();
                    drop(folio);
                }
            });
        }
        let closed = pgmap.close_range(at(SECOND)).unwrap();
        let gone = closed.remove_parked(|holdout| {
            held.lock().unwrap().retain(|folio| folio.offset() != holdout.start);
        });
        assert_eq!(gone.first, at(SECOND));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let held = held.into_inner().unwrap();
    assert!(held.iter().all(|folio| folio.offset().get() < 1024));
    assert_eq!(pgmap.validate().map(|census| census.in_service), Ok(held.len() as u64));
}
