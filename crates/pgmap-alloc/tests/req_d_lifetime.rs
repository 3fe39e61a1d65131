//! Requirements 26 to 28: kill, drain, teardown.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;

use pgmap_alloc::{AfterFree, AllocError, Drain, DrainError, Params, Pgmap, PgmapOps, Put, Refused, RequestError};
use support::{at, leaked, order, partition, pgmap, range};

#[test]
fn req_26_kill_with_live_folios_is_legal_and_refuses_every_request() {
    let pgmap = pgmap(&[range(0, 1024)]);
    let folio = pgmap.alloc_folio(order(9)).unwrap();
    let block = pgmap.alloc_block(order(3)).unwrap();
    let _first = pgmap.kill();
    let _again = pgmap.kill();
    assert_eq!(pgmap.alloc_folio(order(0)).map(drop), Err(AllocError::Dying));
    assert_eq!(pgmap.alloc_folio_raw(order(0), 0), Err(AllocError::Dying));
    assert_eq!(pgmap.alloc_block(order(0)).map(drop), Err(AllocError::Dying));
    assert_eq!(pgmap.request_folio(at(1000), order(0)).map(drop), Err(RequestError::Dying));
    assert_eq!(pgmap.request_block(at(1000), order(0)).map(drop), Err(RequestError::Dying));
    let Refused { error, value: block } = block.into_folio(0).unwrap_err();
    assert_eq!(error, RequestError::Dying);
    // What is in service goes on: holders may take more references, but finders get none (requirement 79).
    let more = folio.clone();
    pgmap.get_raw(folio.offset()).unwrap();
    assert_eq!((folio.refs(), pgmap.try_get(folio.offset()).is_none()), (3, true));
    assert_eq!(pgmap.put_raw(folio.offset(), 1), Ok(Put::InService));
    drop((folio, more, block));
    assert_eq!((partition(&pgmap).idle, pgmap.ops().calls()), (1024, 1));
}

/// Requests race a kill: each succeeds wholly or fails wholly, and none that begins after the kill succeeds.
#[test]
fn req_26_a_race_of_kill_and_request_is_whole_or_nothing() {
    for round in 0..150u64 {
        let pgmap = pgmap(&[range(0, 512)]);
        let (start, killed) = (Barrier::new(4), AtomicBool::new(false));
        let (served, kept) = (AtomicU64::new(0), Mutex::new(vec![]));
        thread::scope(|scope| {
            for id in 0..3u64 {
                let (pgmap, start, killed, served, kept) = (&pgmap, &start, &killed, &served, &kept);
                scope.spawn(move || {
                    start.wait();
                    for n in 0.. {
                        let late = killed.load(Ordering::SeqCst);
                        let o = order(((n + id) % 4) as u32);
                        let data = id << 32 | n;
                        let got = if n % 2 == 0 {
                            pgmap.alloc_folio_with(o, data).map_err(|error| error == AllocError::Dying)
                        } else {
                            pgmap.request_folio_with(at(id * 128), o, data).map_err(|error| error == RequestError::Dying)
                        };
                        match got {
                            Ok(folio) => {
                                assert!(!late, "a request after the kill succeeded");
                                assert_eq!((folio.refs(), folio.order(), folio.data()), (1, o, data));
                                served.fetch_add(1, Ordering::Relaxed);
                                if n % 16 == 0 {
                                    kept.lock().unwrap().push(folio);
                                }
                            }
                            Err(true) => break,
                            Err(false) => assert!(!late, "not refused as dying"),
                        }
                    }
                });
            }
            start.wait();
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            let mut ended = pgmap.kill();
            killed.store(true, Ordering::SeqCst);
            // The drain goes on while the others are still finding out; their folios are put as it names them.
            let drained = loop {
                match ended.poll_drain() {
                    Drain::Done(drained) => break drained,
                    Drain::Waiting(again, holdout) => {
                        kept.lock().unwrap().retain(|folio| folio.offset() != holdout.offset);
                        ended = again;
                        thread::yield_now();
                    }
                }
            };
            assert!(kept.lock().unwrap().is_empty(), "drained with folios in service");
            drained.teardown();
        });
        assert_eq!(pgmap.ops().calls() as u64, served.load(Ordering::Relaxed), "one callback for each success, none for a failure");
        assert_eq!(partition(&pgmap).idle, 512);
    }
}

#[test]
fn req_27_drain_waits_for_the_last_folio_and_the_last_callback() {
    let pgmap = leaked(&[range(0, 512)]);
    let (entered, is_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel();
    let may_leave = Mutex::new(may_leave);
    pgmap
        .ops()
        .on_free
        .set(Box::new(move |_| {
            entered.send(()).unwrap();
            may_leave.lock().unwrap().recv().unwrap();
            AfterFree::Release
        }))
        .ok()
        .unwrap();
    let folio = pgmap.request_folio(at(64), order(6)).unwrap();
    let Drain::Waiting(killed, holdout) = pgmap.kill().poll_drain() else { panic!("a folio is in service") };
    assert_eq!((holdout.offset, holdout.order, holdout.refs), (at(64), order(6), 1));
    assert_eq!(*pgmap.ops().hooks.lock().unwrap(), ["quiesce"]);
    let putter = thread::spawn(move || drop(folio));
    is_entered.recv().unwrap();
    let Drain::Waiting(killed, holdout) = killed.poll_drain() else { panic!("folio_free is running") };
    assert_eq!((holdout.offset, holdout.refs), (at(64), 0));
    leave.send(()).unwrap();
    let drained = killed.drain(|_| thread::yield_now());
    assert_eq!(pgmap.ops().calls(), 1);
    assert_eq!(*pgmap.ops().hooks.lock().unwrap(), ["quiesce"]);
    drained.teardown();
    putter.join().unwrap();
    assert_eq!(*pgmap.ops().hooks.lock().unwrap(), ["quiesce", "teardown"]);
    assert_eq!(partition(pgmap).idle, 512);
}

/// Each hook runs once, however many end the pgmap's life, and at once.
#[test]
fn req_27_many_may_end_it_and_each_hook_runs_once() {
    for _ in 0..100 {
        let pgmap = pgmap(&[range(0, 512)]);
        let folio = Mutex::new(Some(pgmap.alloc_folio(order(1)).unwrap()));
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    start.wait();
                    let evict = |_| {
                        drop(folio.lock().unwrap().take());
                    };
                    pgmap.kill().drain(evict).teardown();
                });
            }
        });
        assert_eq!(*pgmap.ops().hooks.lock().unwrap(), ["quiesce", "teardown"]);
    }
}

/// The hook after runs after the hook before has returned, whoever comes to the end first.
#[test]
fn req_27_the_teardown_hook_never_overtakes_the_quiesce_hook() {
    struct Slow {
        hooks: Mutex<Vec<&'static str>>,
        entered: mpsc::Sender<()>,
        leave: Mutex<mpsc::Receiver<()>>,
    }
    impl PgmapOps for Slow {
        type Data = ();

        fn quiesce(&self) {
            self.entered.send(()).unwrap();
            self.leave.lock().unwrap().recv().unwrap();
            self.hooks.lock().unwrap().push("quiesce");
        }

        fn teardown(&self) {
            self.hooks.lock().unwrap().push("teardown");
        }
    }
    let ((entered, is_entered), (leave, may_leave)) = (mpsc::channel(), mpsc::channel());
    let ops = Slow { hooks: Mutex::default(), entered, leave: Mutex::new(may_leave) };
    let pgmap = Pgmap::new(&Params::new(&[range(0, 512)]), ops).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| pgmap.kill().drain(|_| ()).teardown());
        is_entered.recv().unwrap();
        pgmap.kill().drain(|_| ()).teardown();
        assert_eq!(pgmap.ops().hooks.lock().unwrap().len(), 0, "torn down while the quiesce hook runs");
        leave.send(()).unwrap();
        first.join().unwrap();
    });
    assert_eq!(*pgmap.ops().hooks.lock().unwrap(), ["quiesce", "teardown"]);
}

#[test]
fn req_27_only_a_killed_pgmap_can_be_drained() {
    let pgmap = pgmap(&[range(0, 512)]);
    let folio = pgmap.alloc_folio(order(1)).unwrap();
    assert_eq!(pgmap.killed().err(), Some(DrainError::NotKilled));
    assert!(!pgmap.is_dying() && pgmap.ops().hooks.lock().unwrap().is_empty(), "nothing has changed");
    assert!(pgmap.alloc_folio(order(0)).is_ok());
    let _ = pgmap.kill();
    assert!(pgmap.killed().is_ok());
    drop(folio);
}

#[test]
fn req_27_an_unused_pgmap_drains_at_once() {
    let pgmap = pgmap(&[range(0, 512), range(8192, 3)]);
    let drained = pgmap.kill().drain(|holdout| panic!("nothing is in service, but {holdout:?}"));
    drained.teardown();
    assert_eq!(*pgmap.ops().hooks.lock().unwrap(), ["quiesce", "teardown"]);
    // Blocks carry no folio: a drain does not wait for them.
    let pgmap = support::pgmap(&[range(0, 64)]);
    let block = pgmap.alloc_block(order(0)).unwrap();
    assert!(matches!(pgmap.kill().poll_drain(), Drain::Done(_)));
    drop(block);
}

#[test]
fn req_28_drain_reports_progress_so_that_a_driver_can_evict() {
    let pgmap = pgmap(&[range(0, 1024), range(1 << 20, 600)]);
    let mut held: Vec<_> = [0, 3, 9, 1, 6, 0, 9].into_iter().map(|o| pgmap.alloc_folio_raw(order(o), 0).unwrap()).collect();
    held.sort_unstable();
    pgmap.get_raw(held[0]).unwrap();
    let mut killed = pgmap.kill();
    let listed: Vec<_> = killed.holdouts().map(|holdout| holdout.offset).collect();
    assert_eq!(listed, held);
    assert_eq!(killed.holdouts().next().unwrap().refs, 2);
    assert_eq!(killed.pages_in_service(), 1 + 8 + 512 + 2 + 64 + 1 + 512);
    let mut before = killed.pages_in_service();
    let drained = loop {
        match killed.poll_drain() {
            Drain::Done(drained) => break drained,
            Drain::Waiting(again, holdout) => {
                assert_eq!(again.pages_in_service(), before);
                assert!(held.contains(&holdout.offset));
                match pgmap.put_raw(holdout.offset, 1).unwrap() {
                    Put::InService => assert_eq!(holdout.refs, 2),
                    Put::Freed => {
                        before -= holdout.order.pages();
                        held.retain(|&offset| offset != holdout.offset);
                    }
                }
                killed = again;
            }
        }
    };
    assert_eq!((before, held.len()), (0, 0));
    drained.teardown();
    assert_eq!(partition(&pgmap).idle, 1624);
}
