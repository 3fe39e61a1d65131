//! Waiting until a page is idle, against whatever makes it so: no wake-up is lost. A lost one is a deadlock, which loom reports.

use pgmap_alloc::{Folio, Put};

use crate::{ONE, at, model, pgmap, spawn, two};

/// The wait may begin before the last put, inside its `folio_free`, and after.
#[test]
fn wait_idle_against_last_put() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let put = spawn(&pgmap, |pgmap| {
            pgmap.ops().write(1);
            pgmap.put_raw(at(0), 1)
        });
        loom::future::block_on(pgmap.until_idle(at(1)).unwrap());
        pgmap.ops().read(1);
        assert_eq!((pgmap.ops().done(), put.join().unwrap()), (1, Ok(Put::Freed)));
    });
}

#[test]
fn wait_idle_against_last_put_into_a_handle() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let put = spawn(&pgmap, move |pgmap| {
            let mut local = pgmap.local().unwrap();
            let put = local.put(Folio::from_raw(pgmap, head).unwrap()).map_err(|(error, _)| error);
            // The page stays at hand: nothing but the put itself can wake.
            core::mem::forget(local);
            put
        });
        loom::future::block_on(pgmap.until_idle(head).unwrap());
        assert_eq!((pgmap.ops().done(), put.join().unwrap()), (1, Ok(Put::Freed)));
    });
}

#[test]
fn wait_idle_against_end_as_a_block() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let end = spawn(&pgmap, move |pgmap| {
            let block = Folio::from_raw(pgmap, head).unwrap().into_block().ok().unwrap();
            // The page stays taken: nothing but the end of the folio can wake.
            block.into_raw()
        });
        loom::future::block_on(pgmap.until_idle(head).unwrap());
        assert_eq!((pgmap.ops().done(), end.join().unwrap().start()), (1, at(0)));
    });
}

#[test]
fn wait_idle_against_split_and_put_of_the_part() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let split = spawn(&pgmap, |pgmap| {
            pgmap.split_raw(at(0), ONE, 1).unwrap();
            pgmap.put_raw(at(1), 1)
        });
        loom::future::block_on(pgmap.until_idle(at(1)).unwrap());
        assert_eq!(split.join().unwrap(), Ok(Put::Freed));
        assert!(!pgmap.is_idle(at(0)));
    });
}

/// Models have one slot: the second waiter stands in the queue.
#[test]
fn wait_idle_in_the_queue_against_last_put() {
    model(|| {
        let pgmap = pgmap(2);
        let kept = pgmap.request_folio(at(1), ONE).unwrap();
        pgmap.request_folio_raw(at(0), ONE, 7).unwrap();
        let mut slot = Box::pin(pgmap.until_idle(at(1)).unwrap());
        let waker = std::task::Waker::noop();
        assert!(slot.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        let put = spawn(&pgmap, |pgmap| pgmap.put_raw(at(0), 1));
        loom::future::block_on(pgmap.until_idle(at(0)).unwrap());
        assert_eq!((pgmap.ops().done(), put.join().unwrap()), (1, Ok(Put::Freed)));
        drop((slot, kept));
    });
}
