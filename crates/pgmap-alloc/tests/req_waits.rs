//! Waiting without a spin and without a lost wake-up, step by step: requirements 25 and 68. The races are in `races`.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pgmap_alloc::{AfterFree, Freed, Lookup, Order, Put, UntilIdle, WaitSlot};
use support::{Driver, Map, Task, at, leaked, order, pgmap, range};

type Wait = Pin<Box<UntilIdle<'static, Driver>>>;

fn wait(pgmap: &'static Map, page: u64) -> Wait {
    Box::pin(pgmap.until_idle(at(page)).unwrap())
}

/// A pgmap in whose `folio_free` a wait for `page` begins, and the wait.
fn waited_for_in_folio_free(page: u64, answer: AfterFree) -> (&'static Map, &'static Mutex<Option<(Wait, Task)>>) {
    let pgmap = leaked(&[range(0, 1024)]);
    let begun: &Mutex<_> = Box::leak(Box::new(Mutex::new(None)));
    let on_free = move |folio: Freed<u64>| {
        if page < folio.offset.get() || folio.offset.get() + folio.order.pages() <= page {
            return answer;
        }
        let (mut wait, task) = (wait(pgmap, page), Task::default());
        assert!(task.poll(&mut wait).is_pending());
        *begun.lock().unwrap() = Some((wait, task));
        answer
    };
    pgmap.ops().on_free.set(Box::new(on_free)).ok().unwrap();
    (pgmap, begun)
}

#[test]
fn req_25_a_wait_that_begins_inside_folio_free_is_woken_at_its_end() {
    for (answer, after) in [(AfterFree::Release, Lookup::Idle), (AfterFree::Keep, Lookup::Block)] {
        for (o, page) in [(0, 512), (3, 517), (9, 1000)] {
            let (pgmap, begun) = waited_for_in_folio_free(page, answer);
            pgmap.request_folio_raw(at(512), order(o), 7).unwrap();
            assert_eq!(pgmap.put_raw(at(512), 1), Ok(Put::Freed));
            let (mut wait, task) = begun.lock().unwrap().take().unwrap();
            assert_eq!((task.woken(), pgmap.lookup(at(page))), (1, Ok(after)), "woken once, by the end, and not by itself");
            assert_eq!(task.poll(&mut wait), Poll::Ready(()));
        }
    }
}

#[test]
fn req_25_the_same_where_a_folio_becomes_a_block_or_is_evicted() {
    let (pgmap, begun) = waited_for_in_folio_free(5, AfterFree::Release);
    let block = pgmap.request_folio(at(4), order(1)).unwrap().into_block().ok().unwrap();
    let (mut wait, task) = begun.lock().unwrap().take().unwrap();
    assert_eq!((task.woken(), task.poll(&mut wait)), (1, Poll::Ready(())));
    drop(block);

    let (pgmap, begun) = waited_for_in_folio_free(5, AfterFree::Release);
    let head = pgmap.alloc_folio(order(3)).unwrap().into_raw();
    pgmap.map_raw(head).unwrap();
    pgmap.put_raw(head, 1).unwrap();
    assert!(pgmap.freeze_raw(head, pgmap_alloc::Expect::NoPins).unwrap().free().is_ok());
    let (mut wait, task) = begun.lock().unwrap().take().unwrap();
    assert_eq!((task.woken(), task.poll(&mut wait)), (1, Poll::Ready(())));
}

/// A handle changes no table: it ends in a change of the word that sees whoever has come that late.
#[test]
fn req_25_a_wait_that_begins_inside_folio_free_of_a_handle_is_parked_too() {
    let (pgmap, begun) = waited_for_in_folio_free(0, AfterFree::Release);
    let mut local = pgmap.local().unwrap();
    let folio = local.alloc_folio(Order::ZERO).unwrap();
    assert_eq!(folio.offset(), at(0));
    assert!(matches!(local.put(folio), Ok(Put::Freed)));
    let (mut wait, task) = begun.lock().unwrap().take().unwrap();
    assert_eq!((task.woken(), task.poll(&mut wait)), (1, Poll::Ready(())), "woken once, by the end, and not by itself");
    // Who comes in time is woken.
    let folio = local.alloc_folio(Order::ZERO).unwrap();
    let (mut wait, task) = (self::wait(pgmap, folio.offset().get()), Task::default());
    assert_eq!((task.poll(&mut wait), task.woken()), (Poll::Pending, 0));
    let _ = local.put(folio);
    assert_eq!((task.woken(), task.poll(&mut wait)), (1, Poll::Ready(())));
}

/// A pgmap with room for so many more who wait.
fn with_room(more: usize) -> &'static Map {
    let lent = Box::leak((0..more).map(|_| WaitSlot::new()).collect::<Box<[_]>>());
    Box::leak(Box::new(pgmap(&[range(0, 1024)]).lend_wait_slots(lent)))
}

/// Every one for whom there is room learns of a moment at which his page was idle, though it is in service again when he looks.
#[test]
fn req_25_nobody_misses_a_short_idle_moment_however_many_have_room() {
    let pgmap = with_room(3000 - 64);
    (0..1024).for_each(|page| pgmap.request_folio_raw(at(page), Order::ZERO, 7).unwrap());
    let mut waits: Vec<_> = (0..3000).map(|n| (n % 1000, wait(pgmap, n % 1000), Task::default())).collect();
    for (_, wait, task) in &mut waits {
        assert_eq!((task.poll(wait), task.woken()), (Poll::Pending, 0), "parked, however many wait");
    }
    for page in (0..1000).filter(|page| page % 3 == 0) {
        assert_eq!(pgmap.put_raw(at(page), 1), Ok(Put::Freed));
        pgmap.request_folio_raw(at(page), Order::ZERO, 8).unwrap();
    }
    for (page, wait, task) in &mut waits {
        let was_idle = *page % 3 == 0;
        assert_eq!((task.woken(), task.poll(wait).is_ready()), (u32::from(was_idle), was_idle), "page {page}");
    }
}

/// Without room for him a waiter is still woken; with some that was lent nobody else wakes him.
#[test]
fn req_25_room_for_more_may_be_lent() {
    let pgmap = with_room(100);
    (0..150).for_each(|page| pgmap.request_folio_raw(at(page), Order::ZERO, 7).unwrap());
    let mut waits: Vec<_> = (0..150).map(|page| (wait(pgmap, page), Task::default())).collect();
    assert!(waits.iter_mut().all(|(wait, task)| task.poll(wait).is_pending()));
    for (page, (wait, task)) in (0..).zip(&mut waits) {
        assert_eq!((pgmap.put_raw(at(page), 1), task.woken(), task.poll(wait)), (Ok(Put::Freed), 1, Poll::Ready(())));
    }
}

/// Whoever found no room has some as soon as another leaves, and from then on misses nothing.
#[test]
fn req_25_who_found_no_room_takes_that_of_the_next_who_leaves() {
    let pgmap = leaked(&[range(0, 1024)]);
    (0..70).for_each(|page| pgmap.request_folio_raw(at(page), Order::ZERO, 7).unwrap());
    let mut waits: Vec<_> = (0..66).map(|page| (wait(pgmap, page), Task::default())).collect();
    for (wait, task) in &mut waits {
        assert_eq!((task.poll(wait), task.woken()), (Poll::Pending, 0), "parked");
    }
    let mut late = waits.split_off(64);
    // One loses interest. The last in the queue is told, and passes it on.
    drop(waits.remove(10));
    for (wait, task) in late.iter_mut().rev() {
        assert_eq!((task.woken(), task.poll(wait)), (1, Poll::Pending));
    }
    let short = |page| {
        assert_eq!(pgmap.put_raw(at(page), 1), Ok(Put::Freed));
        pgmap.request_folio_raw(at(page), Order::ZERO, 8).unwrap();
    };
    let (wait, task) = &mut late[1];
    short(65);
    assert_eq!((task.woken() > 0, task.poll(wait)), (true, Poll::Ready(())), "he had a slot");
    // It goes to the other.
    let (wait, task) = &mut late[0];
    assert_eq!((task.woken() > 0, task.poll(wait)), (true, Poll::Pending));
    // What he left in the queue may wake him once more; then nobody wakes him for another's page.
    short(69);
    assert!(task.woken() <= 1);
    short(69);
    assert_eq!((task.woken(), task.poll(wait)), (0, Poll::Pending));
    short(64);
    assert_eq!((task.woken(), task.poll(wait)), (1, Poll::Ready(())));
}

/// Polls whoever is woken until nobody is; the waits that are over are dropped.
fn settle(waits: &mut Vec<(Wait, Task)>) {
    for _ in 0..10_000 {
        let before = waits.len();
        let mut woken = false;
        waits.retain_mut(|(wait, task)| {
            let polled = task.woken() > 0;
            woken |= polled;
            !polled || task.poll(wait).is_pending()
        });
        if !woken && waits.len() == before {
            return;
        }
    }
    panic!("they wake each other for ever");
}

#[test]
fn req_25_any_number_may_wait() {
    let pgmap = leaked(&[range(0, 1024)]);
    let heads = [at(0), at(256), at(512)];
    heads.iter().for_each(|&head| pgmap.request_folio_raw(head, order(8), 7).unwrap());
    let mut waits: Vec<_> = (0..600).map(|n| (wait(pgmap, n % 3 * 256 + n % 200), Task::default())).collect();
    for (wait, task) in &mut waits {
        assert_eq!((task.poll(wait), task.woken()), (Poll::Pending, 0), "parked, however many wait");
    }
    // Some lose interest.
    waits.truncate(450);
    settle(&mut waits);
    assert_eq!(waits.len(), 450);
    for (left, head) in [(300, heads[1]), (150, heads[0]), (0, heads[2])] {
        assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed));
        settle(&mut waits);
        assert_eq!(waits.len(), left, "all who waited for {head}, and nobody else");
    }
    assert_eq!(pgmap.validate().unwrap().idle, 1024);
}

#[test]
fn req_25_more_threads_than_slots_wait() {
    let pgmap = pgmap(&[range(0, 1024)]);
    let folio = pgmap.alloc_folio(Order::PMD).unwrap();
    let page = folio.offset();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..100).map(|_| scope.spawn(|| pgmap.wait_idle(page))).collect();
        std::thread::sleep(Duration::from_millis(20));
        drop(folio);
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == Ok(())));
    });
}

/// A drain that is parked hears of the end of a folio whose `folio_free` was running when it came.
#[test]
fn req_27_a_parked_drain_hears_of_a_folio_that_is_just_being_freed() {
    let pgmap = leaked(&[range(0, 1024)]);
    let task: &Task = Box::leak(Box::default());
    let drained: &Mutex<Option<_>> = Box::leak(Box::new(Mutex::new(None)));
    let on_free = move |_| {
        let mut draining = Box::pin(pgmap.killed().unwrap().drained(|_| ()));
        assert!(task.poll(&mut draining).is_pending());
        *drained.lock().unwrap() = Some(draining);
        AfterFree::Release
    };
    pgmap.ops().on_free.set(Box::new(on_free)).ok().unwrap();
    let folio = pgmap.alloc_folio(order(2)).unwrap();
    let _ = pgmap.kill();
    drop(folio);
    let mut draining = drained.lock().unwrap().take().unwrap();
    assert_eq!(task.woken(), 1);
    assert!(task.poll(&mut draining).is_ready());
}

/// Fails when a thread sleeps on that should not, in place of a test that does not end.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(Duration::from_secs(20)).expect("it sleeps on")
}

/// What asks whether the wait is interrupted is the caller's code, and may park the thread: a channel does. So it may use up the very
/// wake-up that the thread is about to wait for.
#[test]
fn req_68_a_wake_up_that_the_caller_uses_up_is_not_missed() {
    let pgmap = leaked(&[range(0, 1024)]);
    let head = pgmap.alloc_folio(Order::ZERO).unwrap().into_raw();
    let asked: &AtomicU32 = Box::leak(Box::default());
    let waited = ends(move || {
        pgmap.wait_idle_unless(head, || {
            if asked.fetch_add(1, SeqCst) == 0 {
                // The last put comes now, and wakes this thread.
                assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed));
                std::thread::park();
            }
            false
        })
    });
    assert_eq!((waited, asked.load(SeqCst)), (Ok(()), 1));
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// Whatever was noted of a waiter is gone with its wait: nothing keeps its task alive.
#[test]
fn req_68_a_wait_that_is_over_leaves_no_waker_behind() {
    let pgmap = leaked(&[range(0, 1024)]);
    (0..80).for_each(|page| pgmap.request_folio_raw(at(page), Order::ZERO, 7).unwrap());
    let task = Arc::new(Nobody);
    let waker = Waker::from(task.clone());
    let poll = |wait: &mut Wait| wait.as_mut().poll(&mut Context::from_waker(&waker));
    let mut waits: Vec<_> = (0..80).map(|page| wait(pgmap, page)).collect();
    assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
    assert!(Arc::strong_count(&task) >= 2 + 80);
    // Some are over, in the order in which they came; the others lose interest, the last first.
    for (page, wait) in waits.iter_mut().enumerate().take(70) {
        assert_eq!(pgmap.put_raw(at(page as u64), 1), Ok(Put::Freed));
        assert_eq!(poll(wait), Poll::Ready(()));
    }
    while waits.pop().is_some() {}
    assert_eq!(Arc::strong_count(&task), 2, "this test's own two");

    let mut removal = Box::pin(pgmap.close_range(at(0)).unwrap().removed(|_| ()));
    assert!(removal.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(removal);
    assert_eq!(Arc::strong_count(&task), 2, "given up");
    let mut removal = Box::pin(pgmap.close_range(at(0)).unwrap().removed(|_| ()));
    let mut poll = || removal.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    (70..80).for_each(|page| assert_eq!(pgmap.put_raw(at(page), 1), Ok(Put::Freed)));
    assert!(poll().is_ready());
    assert_eq!(Arc::strong_count(&task), 2);
}
