//! Requirement 50: after construction nothing is allocated. A file of its own, because its allocator counts (and touches what
//! it gives out).

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use pgmap_alloc::{
    AfterFree, AllocError, DirtyRun, Drain, Extent, ExtentParams, Freed, GenPool, Mode, Params, Pgmap, PgmapOps, Put, PutError,
    Run, ScatterParams, WaitError, Wish, fit,
};
use support::{Task, at, order, range};

#[test]
fn req_50_nothing_is_allocated_after_construction() {
    let ranges = [range(0, 1 << 14), range(1 << 20, 700)];
    assert_ne!(measure(|| drop(Pgmap::new(&Params::new(&ranges), ()))).count_total, 0, "nothing is counted");
    let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
    let life = measure(|| {
        // Everything that a driver does all day: at every order, let picked and picking, refused, by type and raw.
        for o in 0..=14 {
            let folio = pgmap.alloc_folio(order(o)).unwrap();
            let (more, head) = (folio.clone(), folio.offset());
            assert!(pgmap.try_get(head).is_some() && pgmap.lookup(head).is_ok());
            assert!(pgmap.request_folio(head, order(0)).is_err());
            assert!(pgmap.offset_of(folio.phys().unwrap()) == Some(head));
            drop((more, folio));
            drop(pgmap.request_block(at(0), order(o)).unwrap());
        }
        while pgmap.alloc_folio_raw(order(3), ()).is_ok() {}
        assert_eq!(pgmap.alloc_block(order(3)).map(drop), Err(AllocError::NoSpace { cached: 0 }));
        for head in (0..1 << 14).step_by(8) {
            pgmap.put_raw(at(head), 1).unwrap();
        }
        // And what it does once in a while.
        assert!(pgmap.validate().is_ok());
        assert!(pgmap.snapshot().count() > 1);
        let Drain::Waiting(killed, _) = pgmap.kill().poll_drain() else { panic!("the second range is in service") };
        killed.drain(|holdout| assert!(pgmap.put_raw(holdout.offset, 1).is_ok())).teardown();
    });
    assert_eq!(life.count_total, 0, "{life:?}");
}

#[test]
fn req_50_no_verb_of_the_pool_asks_the_host_for_memory() {
    let ranges = [range(0, 1 << 14), range(1 << 20, 700)];
    let params = Params::new(&ranges).tracking_clear().taking_reservations().counting_runs();
    let pool = GenPool::new(&params.with_room(1, 1 << 16)).unwrap();
    let life = measure(|| {
        let mut room = [at(0); 4];
        pool.reserve(order(5), &mut room).unwrap().commit().iter().for_each(|start| pool.free(*start, order(5)).unwrap());
        drop(pool.reserve(order(5), &mut room).unwrap());
        assert!(pool.reserve(order(13), &mut room).is_err());
        for mode in [Mode::Simple, Mode::BottomUp(fit::best_fit), Mode::TopDown(fit::first_fit_align)] {
            let extent = pool.alloc_extent(&ExtentParams::new(777).aligned(64).by(mode)).unwrap();
            pool.free_extent(extent).unwrap();
        }
        let mut out = [Run::new(at(0), order(0)).unwrap(); 16];
        let runs = pool.alloc_scattered(&ScatterParams::new(1000), &mut out).unwrap();
        runs.iter().for_each(|run| pool.free_cleared(run.start(), run.order()).unwrap());
        let mut many = [at(0); 100];
        pool.alloc_many(order(0), &mut many).unwrap();
        pool.free_many(order(0), &many).unwrap();
        for wish in [Wish::DontCare, Wish::PreferCleared, Wish::Cleared] {
            let (start, _) = pool.alloc_wishing(order(3), wish).unwrap();
            pool.free_cleared(start, order(3)).unwrap();
        }
        pool.dirty_runs(Extent::ALL, order(9)).for_each(DirtyRun::cleared);
        pool.forget_clear(Extent::ALL).unwrap();
        let added = pool.add_range(range(1 << 24, 300)).unwrap();
        pool.remove_range(added.first).unwrap();
        let mut handle = pool.local().unwrap();
        let run = handle.alloc(order(0)).unwrap();
        handle.free(run).unwrap();
        drop(handle);
        let part = pool.partition(Extent::new(at(0), 100).unwrap()).unwrap();
        let page = part.alloc(order(0)).unwrap();
        part.free(page, order(0)).unwrap();
        assert_eq!(pool.counted_runs().unwrap().pages(), pool.avail());
        assert_eq!(pool.gaps_in(Extent::ALL).map(Extent::pages).sum::<u64>(), pool.size());
    });
    assert_eq!(life.count_total, 0, "{life:?}");
}

/// A last put asks for nothing, whoever is woken by it, whatever `folio_free` calls, and however deep the context is in which it
/// comes: here inside another's.
#[test]
fn req_19_a_last_put_allocates_nothing_in_any_context() {
    const DEPTH: u64 = 50;
    let pgmap = Pgmap::new(&Params::new(&[range(0, 1 << 10)]), Deep(OnceLock::new())).unwrap();
    let pgmap: &_ = Box::leak(Box::new(pgmap));
    assert!(pgmap.ops().0.set(pgmap).is_ok());
    (0..DEPTH).for_each(|page| pgmap.request_folio_raw(at(page), order(0), page).unwrap());
    let _ = pgmap.retire(at(7)).unwrap();
    let mut waits: Vec<_> = (0..100).map(|n| (Box::pin(pgmap.until_idle(at(n % DEPTH)).unwrap()), Task::default())).collect();
    assert!(waits.iter_mut().all(|(wait, task)| task.poll(wait).is_pending()));
    let ends = measure(|| assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed)));
    assert_eq!(ends.count_total, 0, "{ends:?}");
    assert!(waits[..64].iter().all(|(_, task)| task.woken() > 0));
    assert_eq!(pgmap.validate().map(|census| (census.idle, census.retired)), Ok((1023, 1)));
}

/// A driver whose `folio_free` puts the next folio.
struct Deep(OnceLock<&'static Pgmap<'static, Deep>>);

impl PgmapOps for Deep {
    type Data = u64;

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        let pgmap = self.0.get().unwrap();
        assert!(pgmap.is_idle(folio.offset) && pgmap.try_get(folio.offset).is_none());
        let next = at(folio.data + 1);
        assert!(matches!(pgmap.put_raw(next, 1), Ok(Put::Freed) | Err(PutError::NotInService)));
        AfterFree::Release
    }
}

/// Whoever waits takes nothing from the host either, parked or polled, however many they are.
#[test]
fn req_50_nobody_who_waits_asks_the_host_for_memory() {
    let ranges = [range(0, 1 << 10), range(1 << 20, 512)];
    let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
    let held = pgmap.request_folio(at(0), order(9)).unwrap();
    let waiting = AtomicUsize::new(0);
    // The first few have slots, the others stand in the queue.
    let come = || waiting.fetch_add(1, SeqCst);
    thread::scope(|scope| {
        let parked = || {
            let mut asked = 0;
            let life = measure(|| {
                pgmap
                    .wait_idle_unless(at(5), || {
                        (asked == 0).then(come);
                        asked += 1;
                        false
                    })
                    .unwrap();
            });
            assert_eq!(life.count_total, 0, "{life:?}");
        };
        let waiters: Vec<_> = (0..100).map(|_| scope.spawn(parked)).collect();
        let range = scope.spawn(|| {
            let life = measure(|| {
                let second = pgmap.ranges().last().unwrap();
                let held = pgmap.request_folio(second.first, order(0)).unwrap();
                let mut held = Some(held);
                pgmap.close_range(second.first).unwrap().remove_parked(|_| held = None);
            });
            assert_eq!(life.count_total, 0, "{life:?}");
        });
        let timed = measure(|| {
            assert_eq!(pgmap.wait_idle_timeout(at(5), Duration::from_millis(1)), Err(WaitError::TimedOut));
            let mut idle = pin!(pgmap.until_idle(at(5)).unwrap());
            assert!(idle.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        });
        assert_eq!(timed.count_total, 0, "{timed:?}");
        while waiting.load(SeqCst) < 100 {
            thread::yield_now();
        }
        drop(held);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        range.join().unwrap();
    });
    let mut last = Some(pgmap.alloc_folio(order(3)).unwrap());
    let end = measure(|| pgmap.kill().drain_parked(|_| last = None).teardown());
    assert_eq!(end.count_total, 0, "{end:?}");
}
