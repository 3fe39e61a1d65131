//! A handle for each thread: made by the thread, drained when it ends, and never in the way.

#![cfg(all(feature = "std", not(loom)))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Barrier;
use std::thread;

use pgmap_alloc::{AfterFree, AllocError, Order, PerThread, PutError, Refused};
use support::{Map, leaked, order, partition, range};

fn cached(pgmap: PerThread<Map>) -> Option<u64> {
    pgmap.with(|handle| handle.map(|local| local.cached()))
}

#[test]
fn a_thread_keeps_what_it_put_until_it_ends() {
    let map = leaked(&[range(0, 1 << 10)]);
    let pgmap = PerThread::new(map);
    thread::spawn(move || {
        let folio = pgmap.alloc_folio(Order::ZERO).unwrap();
        let page = folio.offset();
        pgmap.put(folio).unwrap();
        assert!(cached(pgmap).unwrap() > 0, "the pages are at hand");
        let again = pgmap.alloc_folio(Order::ZERO).unwrap();
        assert_eq!(again.offset(), page, "and the last one put is the next");
        pgmap.put(again).unwrap();
        assert!(partition(map).block > 0, "to others they look like blocks");
    })
    .join()
    .unwrap();
    assert_eq!(partition(map).idle, 1 << 10, "everything has come back with the end of the thread");
}

#[test]
fn release_gives_the_handle_back_at_once() {
    let map = leaked(&[range(0, 1 << 10)]);
    let pgmap = PerThread::new(map);
    pgmap.put(pgmap.alloc_folio(Order::ZERO).unwrap()).unwrap();
    assert!(partition(map).idle < 1 << 10);
    pgmap.release();
    assert_eq!(partition(map).idle, 1 << 10);
    assert_eq!(cached(pgmap), Some(0), "and the next call makes a new one");
}

#[test]
fn two_pgmaps_have_two_handles() {
    let maps = [leaked(&[range(0, 1 << 10)]), leaked(&[range(0, 1 << 10)])];
    let [first, second] = maps.map(PerThread::new);
    let folio = first.alloc_folio(Order::ZERO).unwrap();
    let Refused { error, value: folio } = second.put(folio).unwrap_err();
    assert_eq!(error, PutError::Foreign);
    first.put(folio).unwrap();
    assert!(cached(first).unwrap() > 0);
    assert_eq!(cached(second), Some(0));
    maps.iter().for_each(|map| _ = partition(map));
}

#[test]
fn folio_free_may_allocate_from_the_same_thread() {
    let map = leaked(&[range(0, 1 << 10)]);
    let pgmap = PerThread::new(map);
    let inside = move |_| {
        assert_eq!(cached(pgmap), None, "the handle is in use further up");
        let folio = pgmap.alloc_folio(order(3)).unwrap();
        assert_eq!(folio.refs(), 1);
        // Not put with the handle either; and its own folio_free must not go on for ever.
        std::mem::forget(folio);
        AfterFree::Release
    };
    map.ops().on_free.set(Box::new(inside)).ok().unwrap();
    pgmap.put(pgmap.alloc_folio(Order::ZERO).unwrap()).unwrap();
    assert_eq!(map.ops().calls(), 1);
    assert!(cached(pgmap).unwrap() > 0, "the handle is back");
    assert_eq!(partition(map).in_service, 8);
}

#[test]
fn more_threads_than_handles_all_allocate() {
    const THREADS: usize = 300;
    let map = leaked(&[range(0, 1 << 20)]);
    let pgmap = PerThread::new(map);
    let all_there = Barrier::new(THREADS);
    let without: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let has = cached(pgmap).is_some();
                    all_there.wait();
                    for _ in 0..100 {
                        pgmap.put(pgmap.alloc_folio(Order::ZERO).unwrap()).unwrap();
                    }
                    usize::from(!has)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(without > 0 && without < THREADS, "{without} threads had no handle");
    assert_eq!(map.ops().calls(), THREADS * 100);
    assert_eq!(partition_idle(map), 1 << 20);
}

/// Without the walk page by page: this pgmap is large.
fn partition_idle(map: &Map) -> u64 {
    map.validate().unwrap().idle
}

#[test]
fn a_killed_pgmap_takes_back_what_its_threads_have() {
    let map = leaked(&[range(0, 1 << 10)]);
    let pgmap = PerThread::new(map);
    pgmap.put(pgmap.alloc_folio(Order::ZERO).unwrap()).unwrap();
    let _ = map.kill();
    assert_eq!(pgmap.alloc_folio(Order::ZERO).unwrap_err(), AllocError::Dying);
    assert_eq!(cached(pgmap), Some(0));
    assert_eq!(partition(map).idle, 1 << 10);
}
