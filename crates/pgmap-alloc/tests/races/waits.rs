//! Waiting until a page is idle, against whatever makes it so: no wake-up is lost. A lost one is a deadlock, which loom reports.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Wake, Waker};

use loom::future::block_on;
use pgmap_alloc::{Folio, Put, UntilIdle};

use crate::{Driver, Map, ONE, at, deaf_in_service, in_service, large_in_service, model, pgmap, race, race_up_to};

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
            block.into_folio(7).map_err(|refused| (refused.error, refused.value.into_raw())).err()
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

/// How often a task has been woken. Nothing that the checker sees.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A wait for a page, and the task that polls it.
struct Waits<'p> {
    until: Pin<Box<UntilIdle<'p, Driver, 1>>>,
    task: Arc<Woken>,
    over: bool,
}

impl<'p> Waits<'p> {
    /// Begins with a first look.
    fn new(pgmap: &'p Map, page: u64) -> Waits<'p> {
        let mut waits = Waits { until: Box::pin(pgmap.until_idle(at(page)).unwrap()), task: Arc::default(), over: false };
        waits.poll();
        waits
    }

    fn poll(&mut self) {
        let waker = Waker::from(self.task.clone());
        self.over = self.over || self.until.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    }

    /// From now on another task polls it.
    fn poll_elsewhere(&mut self) {
        self.task = Arc::default();
        self.poll();
    }
}

/// An executor at its work: polls whoever was woken, until nobody was.
fn settle(all: &mut [&mut Waits<'_>]) {
    for _ in 0..100 {
        let mut quiet = true;
        for waits in &mut *all {
            if waits.task.0.swap(0, Relaxed) > 0 {
                quiet = false;
                waits.poll();
            }
        }
        if quiet {
            return;
        }
    }
    panic!("they wake each other for ever");
}

/// So many pages, each in service by itself.
fn pages_in_service(pages: u64) -> Map {
    let pgmap = pgmap(pages);
    (0..pages).for_each(|page| pgmap.request_folio_raw(at(page), ONE, page).unwrap());
    pgmap
}

/// Runs `main`, which has the waits, against another thread, which starts when `main` calls for it the first time and has ended when
/// it has the second time. Either of the two is the first to run.
fn waits_against(preemptions: usize, pages: u64, other: fn(&Map), main: fn(&Map, &mut dyn FnMut())) {
    for other_first in [false, true] {
        model(preemptions, move || {
            let pgmap = loom::sync::Arc::new(pages_in_service(pages));
            let mut thread = None;
            main(&pgmap, &mut || match thread.take() {
                None => {
                    let pgmap = pgmap.clone();
                    thread = Some(loom::thread::spawn(move || other(&pgmap)));
                    if other_first {
                        loom::thread::yield_now();
                    }
                }
                Some(thread) => thread.join().unwrap(),
            });
        });
    }
}

fn put<const PAGE: u64>(pgmap: &Map) {
    assert_eq!(pgmap.put_raw(at(PAGE), 1), Ok(Put::Freed));
}

/// One has the only slot, two stand in the queue, the second of whom is just joining it when the page of the first is put.
#[test]
fn req_68_join_of_the_queue_against_call() {
    waits_against(3, 3, put::<1>, |pgmap, other| {
        let mut slot = Waits::new(pgmap, 0);
        let mut one = Waits::new(pgmap, 1);
        other();
        let mut joins = Waits::new(pgmap, 2);
        other();
        settle(&mut [&mut slot, &mut one, &mut joins]);
        assert!(one.over && !joins.over && !slot.over, "the page is idle, and whoever waits for it sleeps");
    });
}

/// The second in the queue goes away while the first is called.
#[test]
fn req_68_leave_of_the_queue_against_call() {
    waits_against(3, 3, put::<1>, |pgmap, other| {
        let mut slot = Waits::new(pgmap, 0);
        let mut one = Waits::new(pgmap, 1);
        let leaves = Waits::new(pgmap, 2);
        other();
        drop(leaves);
        other();
        settle(&mut [&mut slot, &mut one]);
        assert!(one.over && !slot.over);
    });
}

/// The second goes away while a third comes and goes.
#[test]
fn req_68_leave_of_the_queue_against_join_and_leave() {
    fn comes_and_goes(pgmap: &Map) {
        drop(Waits::new(pgmap, 3));
    }
    waits_against(3, 4, comes_and_goes, |pgmap, other| {
        let mut slot = Waits::new(pgmap, 0);
        let mut one = Waits::new(pgmap, 1);
        let leaves = Waits::new(pgmap, 2);
        other();
        drop(leaves);
        other();
        settle(&mut [&mut slot, &mut one]);
        put::<1>(pgmap);
        settle(&mut [&mut slot, &mut one]);
        assert!(one.over && !slot.over);
    });
}

/// The second is polled by another task while a third comes.
#[test]
fn req_68_poll_by_another_task_against_join() {
    fn comes_and_goes(pgmap: &Map) {
        drop(Waits::new(pgmap, 3));
    }
    waits_against(3, 4, comes_and_goes, |pgmap, other| {
        let mut slot = Waits::new(pgmap, 0);
        let mut one = Waits::new(pgmap, 1);
        let mut moves = Waits::new(pgmap, 2);
        other();
        moves.poll_elsewhere();
        other();
        settle(&mut [&mut slot, &mut one, &mut moves]);
        put::<1>(pgmap);
        settle(&mut [&mut slot, &mut one, &mut moves]);
        assert!(one.over && !moves.over && !slot.over);
    });
}

/// Two calls, of which neither may leave a joiner to the other.
#[test]
fn req_68_join_of_the_queue_against_two_calls() {
    model(2, || {
        let pgmap = loom::sync::Arc::new(pages_in_service(4));
        let mut slot = Waits::new(&pgmap, 0);
        let mut one = Waits::new(&pgmap, 1);
        let mut two = Waits::new(&pgmap, 2);
        let calls: [fn(&Map); 2] = [put::<1>, put::<2>];
        let threads = calls.map(|put| {
            let pgmap = pgmap.clone();
            loom::thread::spawn(move || put(&pgmap))
        });
        let mut joins = Waits::new(&pgmap, 3);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settle(&mut [&mut slot, &mut one, &mut two, &mut joins]);
        assert!(one.over && two.over && !joins.over && !slot.over);
    });
}

/// Whoever comes while the slot becomes free has it in the end, and misses no idle moment then.
#[test]
fn req_68_join_of_the_queue_against_leave_of_the_slot() {
    fn comes_and_goes(pgmap: &Map) {
        drop(Waits::new(pgmap, 0));
    }
    waits_against(3, 2, comes_and_goes, |pgmap, other| {
        other();
        let mut one = Waits::new(pgmap, 1);
        other();
        settle(&mut [&mut one]);
        put::<1>(pgmap);
        pgmap.request_folio_raw(at(1), ONE, 7).unwrap();
        settle(&mut [&mut one]);
        assert!(one.over, "there was a slot");
    });
}

/// A joiner finds the slot free before those in the queue are called for it, and leaves none of them behind.
#[test]
fn req_68_leave_of_the_slot_against_a_joiner_that_takes_it() {
    fn comes_and_goes(pgmap: &Map) {
        drop(Waits::new(pgmap, 2));
    }
    waits_against(3, 3, comes_and_goes, |pgmap, other| {
        let slot = Waits::new(pgmap, 0);
        let mut one = Waits::new(pgmap, 1);
        other();
        drop(slot);
        other();
        settle(&mut [&mut one]);
        put::<1>(pgmap);
        settle(&mut [&mut one]);
        assert!(one.over);
    });
}

/// The slot goes from one to the next while the first is being woken: the next is neither woken in his stead nor forgotten.
#[test]
fn req_68_slot_that_changes_hands_against_wake() {
    waits_against(3, 3, put::<1>, |pgmap, other| {
        let one = Waits::new(pgmap, 1);
        other();
        drop(one);
        let mut next = Waits::new(pgmap, 2);
        other();
        settle(&mut [&mut next]);
        assert!(!next.over, "what was meant for the one before has reached the next");
        put::<2>(pgmap);
        settle(&mut [&mut next]);
        assert!(next.over);
    });
}

/// The page is idle for a moment, and in service again before the last put has woken anybody, while the waiter says that another task is
/// to be woken.
#[test]
fn req_68_poll_by_another_task_against_wake_and_request() {
    model(3, || {
        let pgmap = loom::sync::Arc::new(pages_in_service(2));
        let mut one = Waits::new(&pgmap, 1);
        let others: [fn(&Map); 2] = [put::<1>, |pgmap| _ = pgmap.request_folio_raw(at(1), ONE, 7)];
        let threads = others.map(|other| {
            let pgmap = pgmap.clone();
            loom::thread::spawn(move || other(&pgmap))
        });
        one.poll_elsewhere();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settle(&mut [&mut one]);
        assert!(one.over, "the page was idle");
    });
}

/// A drain that finds no slot hears of every last put that it waits for.
#[test]
fn req_68_drain_in_the_queue_against_last_puts() {
    fn puts(pgmap: &Map) {
        put::<0>(pgmap);
        put::<1>(pgmap);
    }
    waits_against(2, 2, puts, |pgmap, other| {
        let _slot = Waits::new(pgmap, 1);
        other();
        block_on(pgmap.kill().drained(|_| ())).teardown();
        other();
        assert_eq!(pgmap.ops().done(), 2);
    });
}
