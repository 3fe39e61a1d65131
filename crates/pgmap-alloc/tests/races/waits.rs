//! Waiting until a page is idle, against whatever makes it so: no wake-up is lost. A lost one is a deadlock, which loom reports.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use loom::future::block_on;
use pgmap_alloc::{Folio, Put};

use crate::{Map, ONE, at, deaf_in_service, in_service, large_in_service, pgmap, race, race_up_to};

/// Waits for a page; says how many `folio_free` had returned by then.
fn wait<const PAGE: u64>(pgmap: &Map) -> usize {
    block_on(pgmap.until_idle(at(PAGE)).unwrap());
    pgmap.ops().done()
}

/// The wait may begin before the last put, inside its `folio_free`, and after.
#[test]
fn wait_idle_against_last_put() {
    race(
        large_in_service,
        |pgmap| {
            pgmap.ops().write(1);
            pgmap.put_raw(at(0), 1)
        },
        |pgmap| {
            let done = wait::<1>(pgmap);
            pgmap.ops().read(1);
            done
        },
        |_, put, done| assert_eq!((put, done), (Ok(Put::Freed), 1)),
    );
}

#[test]
fn wait_idle_against_last_put_into_a_handle() {
    race(
        in_service,
        |pgmap| {
            let mut local = pgmap.local().unwrap();
            let put = local.put(Folio::from_raw(pgmap, at(0)).unwrap()).map_err(|refused| refused.error);
            // The page stays at hand: nothing but the put itself can wake.
            core::mem::forget(local);
            put
        },
        wait::<0>,
        |_, put, done| assert_eq!((put, done), (Ok(Put::Freed), 1)),
    );
}

/// The same where the driver hears nothing, so that a put is one step.
#[test]
fn wait_idle_against_silent_last_put_into_a_handle() {
    race(
        deaf_in_service,
        |pgmap| {
            pgmap.ops().0.write(0);
            let mut local = pgmap.local().unwrap();
            let put = local.put(Folio::from_raw(pgmap, at(0)).unwrap()).map_err(|refused| refused.error);
            core::mem::forget(local);
            put
        },
        |pgmap| {
            block_on(pgmap.until_idle(at(0)).unwrap());
            pgmap.ops().0.read(0);
        },
        |_, put, ()| assert_eq!(put, Ok(Put::Freed)),
    );
}

#[test]
fn wait_idle_against_end_as_a_block() {
    race(
        in_service,
        |pgmap| {
            let block = Folio::from_raw(pgmap, at(0)).unwrap().into_block().ok().unwrap();
            // The page stays taken: nothing but the end of the folio can wake.
            block.into_raw().start()
        },
        wait::<0>,
        |_, block, done| assert_eq!((block, done), (at(0), 1)),
    );
}

#[test]
fn wait_idle_against_split_and_put_of_the_part() {
    race_up_to(
        2,
        large_in_service,
        |pgmap| {
            pgmap.split_raw(at(0), ONE, 1).unwrap();
            pgmap.put_raw(at(1), 1)
        },
        wait::<1>,
        |pgmap, put, _| assert!(put == Ok(Put::Freed) && !pgmap.is_idle(at(0))),
    );
}

/// A request may be found while it sets its folio up; the last put is then still to come.
#[test]
fn wait_idle_against_request_and_last_put() {
    race(
        || pgmap(1),
        |pgmap| {
            let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
            pgmap.put_raw(head, 1)
        },
        wait::<0>,
        |_, put, done| assert!(put == Ok(Put::Freed) && done <= 1),
    );
}

/// Or it undoes itself, and its pages stay taken.
#[test]
fn wait_idle_against_request_that_is_refused() {
    race(
        || {
            let pgmap = pgmap(1);
            let _ = pgmap.alloc_block(ONE).unwrap().into_raw();
            let _ = pgmap.kill();
            pgmap
        },
        |pgmap| {
            let block = pgmap_alloc::Block::from_raw(pgmap, pgmap_alloc::Run::new(at(0), ONE).unwrap()).unwrap();
            block.into_folio(7).map_err(|(error, block)| (error, block.into_raw())).err()
        },
        wait::<0>,
        |_, refused, done| assert!(refused.is_some() && done == 0),
    );
}

/// Between two periods of service the page is idle for a moment, and that is what was waited for.
#[test]
fn wait_idle_against_last_put_and_another_request() {
    race(
        in_service,
        |pgmap| {
            let put = pgmap.put_raw(at(0), 1);
            // In service for ever.
            assert_eq!(pgmap.alloc_folio_raw(ONE, 8), Ok(at(0)));
            put
        },
        |pgmap| {
            let mut waits = pin!(pgmap.until_idle(at(0)).unwrap());
            // Begun during the first period, at the latest when it is already over.
            if waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() && pgmap.ops().calls() == 0 {
                block_on(waits);
            }
        },
        |pgmap, put, ()| assert!(put == Ok(Put::Freed) && !pgmap.is_idle(at(0))),
    );
}

/// Models have one slot: the second waiter stands in the queue.
#[test]
fn wait_idle_in_the_queue_against_last_put() {
    race(
        || {
            let pgmap = large_in_service();
            pgmap.split_raw(at(0), ONE, 1).unwrap();
            pgmap
        },
        |pgmap| pgmap.put_raw(at(0), 1),
        |pgmap| {
            let mut slot = Box::pin(pgmap.until_idle(at(1)).unwrap());
            assert!(slot.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            wait::<0>(pgmap)
        },
        |_, put, done| assert_eq!((put, done), (Ok(Put::Freed), 1)),
    );
}
