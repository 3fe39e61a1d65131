//! Eight threads that do everything to one pgmap after another, with a range that comes and goes and a kill at a random moment.
//!
//! A fraction of a second unless `PGMAP_STRESS_SECS` says how long. Between its rounds every pgmap is quiet: validated, every page
//! accounted for; and it ends drained, with `folio_free` called exactly once per period of service.

#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod kinds;
mod parked;
#[path = "../support/mod.rs"]
mod support;
mod worker;

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use pgmap_alloc::{AllocError, DriverData, Holdout, Order, Params, Pgmap, Removal};

use kinds::{Kind, Paying, Plain, Sharing, Silent};
use support::{EndOnPanic, Random, range, stress_time};
use worker::{Common, Worker};

/// Pages that are always there.
pub const PAGES: u64 = 5000;
/// Offsets beyond them that the range which comes and goes may have.
pub const PLUGGED: u64 = 2048;
const THREADS: u64 = 8;

/// Lets every worker go on for a while, and does `then` in the middle.
fn meanwhile<T>(time: Duration, then: impl FnOnce() -> T, stop: &AtomicBool) -> T {
    std::thread::sleep(time);
    let result = then();
    stop.store(true, Relaxed);
    result
}

/// Adds a range, lets it be used, closes it, and takes it away if it can be had; at last it is gone or open.
fn plug<K: Kind>(pgmap: &Pgmap<'static, K>, mut random: Random, until: &AtomicBool) {
    'range: while !until.load(Relaxed) {
        let added = pgmap.add_range(range(1 << 23, 700)).map(|range| range.first);
        let first = added.ok().or_else(|| pgmap.ranges().find(|range| range.pages == 700).map(|range| range.first)).unwrap();
        std::thread::sleep(Duration::from_micros(300));
        let Ok(mut closed) = pgmap.close_range(first) else { continue };
        if random.one_in(4) {
            // Waits, and is given up.
            let _ = pin!(closed.removed(|_| ())).poll(&mut Context::from_waker(Waker::noop()));
            continue;
        }
        for _ in 0..20 {
            assert!(closed.retired().all(|page| first <= page && page.get() < first.get() + 700));
            match closed.poll_removal() {
                Removal::Done(_) => continue 'range,
                Removal::Waiting(again, _) => closed = again,
            }
            std::thread::yield_now();
        }
    }
}

/// One pgmap from birth to teardown.
fn live_and_die<K: Kind>(seed: u64) {
    let mut random = Random::new(seed);
    let ranges = [range(1 << 20, 4096), range(1 << 22, PAGES - 4096)];
    let params = Params::new(&ranges).with_room(1, PAGES + PLUGGED);
    let params = if seed.is_multiple_of(2) { params } else { params.packing_tightly() };
    let params = if random.one_in(2) { params.tracking_clear() } else { params };
    let pgmap = Pgmap::new(&params, K::new()).unwrap();
    let common = Common { pgmap: &pgmap, served: AtomicU64::new(0), post: Mutex::new(vec![]), stop: AtomicBool::new(false) };
    let worker = |id| Worker {
        common: &common,
        random: Random::new(seed * THREADS + id),
        folios: vec![],
        blocks: vec![],
        specials: vec![],
        local: None,
    };
    let mut workers: Vec<_> = (0..THREADS).map(worker).collect();
    for _ in 0..random.below(3) {
        common.stop.store(false, Relaxed);
        std::thread::scope(|scope| {
            workers.iter_mut().for_each(|worker| _ = scope.spawn(|| alone(|| worker.run())));
            let plugger = Random::new(seed);
            scope.spawn(|| alone(|| plug(&pgmap, plugger, &common.stop)));
            meanwhile(Duration::from_millis(random.below(20)), || (), &common.stop);
        });
        check_quiet(&common, &workers);
    }
    common.stop.store(false, Relaxed);
    std::thread::scope(|scope| {
        workers.drain(..).for_each(|worker| _ = scope.spawn(|| alone(|| worker.finish())));
        let end = random.below(3);
        let killed = meanwhile(Duration::from_micros(random.below(5000)), || pgmap.kill(), &common.stop);
        let mut offered = 0;
        let drained = match end {
            0 => killed.drain(|_| std::thread::yield_now()),
            1 => killed.drain_parked(|holdout: Holdout| offered += holdout.order.pages()),
            _ => {
                // Given up, and begun again.
                let _ = pin!(killed.drained(|_| ())).poll(&mut Context::from_waker(Waker::noop()));
                pgmap.killed().unwrap().drain_parked(|_| ())
            }
        };
        assert_eq!(pgmap.alloc_folio_with(Order::ZERO, K::Data::from_bits(0)).err(), Some(AllocError::Dying));
        drained.teardown();
    });
    // What the driver has kept is its own to give back, after the end too.
    for run in pgmap.ops().books().kept.lock().unwrap().drain(..) {
        assert_eq!(pgmap.free_block_raw(run.start(), run.order()), Ok(()));
    }
    check_quiet(&common, &[]);
    assert_eq!((pgmap.ops().books().torn_down.load(Relaxed), pgmap.validate().unwrap().block), (1, 0));
}

/// A thread whose panic ends the process: the others would wait for what it had.
fn alone(work: impl FnOnce()) {
    let _end = EndOnPanic;
    work();
}

/// Nobody does anything: every page is accounted for, and the workers have what is in service.
fn check_quiet<K: Kind>(common: &Common<'_, K>, workers: &[Worker<'_, '_, K>]) {
    let (pgmap, books) = (common.pgmap, common.pgmap.ops().books());
    // A page that came back from a handle may still be marked; asking retires it.
    let pending: Vec<_> = pgmap.retiring().filter(|&page| pgmap.is_retiring(page)).collect();
    let census = pgmap.validate().unwrap();
    let blocks = workers.iter().flat_map(|worker| &worker.blocks).map(|block| block.order().pages()).sum::<u64>();
    let at_hand = workers.iter().flat_map(|worker| &worker.local).map(pgmap_alloc::Local::cached).sum::<u64>();
    let kept = books.kept.lock().unwrap().iter().map(|run| run.pages()).sum::<u64>();
    let specials = workers.iter().flat_map(|worker| &worker.specials).map(|(_, size)| size.pages()).sum::<u64>();
    assert_eq!((census.block, census.special), (blocks + at_hand + kept, specials));
    assert_eq!(census.in_service, common.served.load(Relaxed) - books.freed.load(Relaxed));
    assert_eq!(census.idle + census.in_service + census.block + census.special + census.retired, census.pages);
    K::check_quiet(pgmap.ops(), workers.is_empty());
    if workers.is_empty() {
        assert_eq!((census.in_service, pending), (0, vec![]));
    }
}

trait Pages {
    fn pages(self) -> u64;
}

impl Pages for &pgmap_alloc::SpecialSize {
    fn pages(self) -> u64 {
        if *self == pgmap_alloc::SpecialSize::Page { 1 } else { 512 }
    }
}

#[test]
fn everything_at_once_and_a_kill() {
    let time = stress_time();
    let mut lives = 0;
    while !time.is_over() {
        match lives % 4 {
            0 => live_and_die::<Plain>(lives),
            1 => live_and_die::<Sharing>(lives),
            2 => live_and_die::<Silent>(lives),
            _ => live_and_die::<Paying>(lives),
        }
        lives += 1;
    }
    println!("{lives} pgmaps lived and died");
}

#[test]
fn no_wake_up_of_a_put_into_a_handle_is_lost() {
    let time = stress_time();
    while !time.is_over() {
        parked::put_and_wait::<Plain>(500);
        parked::put_and_wait::<Silent>(500);
    }
}
