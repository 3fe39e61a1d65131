//! Eight threads that do everything to one pgmap after another, with a range that comes and goes and a kill at a random moment.
//!
//! A fraction of a second unless `PGMAP_STRESS_SECS` says how long. Every pgmap ends quiet: drained, validated, every page
//! accounted for, `folio_free` called exactly once per period of service.

#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pgmap_alloc::{
    AfterFree, AllocError, Block, Drained, Expect, Folio, Freed, Holdout, Lookup, Offset, Order, Params, Pgmap, PgmapOps, Reason,
    Removal, SpecialSize, WaitError,
};
use support::{Random, at, order, range, stress_time};

const PAGES: u64 = 5000;
const THREADS: u64 = 8;

/// Counts the pages that come out of service; a folio's data is its head plus one.
#[derive(Default)]
struct Driver {
    freed: AtomicU64,
    torn_down: AtomicU64,
}

impl PgmapOps for Driver {
    type Data = u64;

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        assert!(names(folio.data, folio.offset), "another folio's data");
        self.freed.fetch_add(folio.order.pages(), Relaxed);
        AfterFree::Release
    }

    fn folio_split(&self, whole: Freed<u64>, part: Option<Offset>) -> u64 {
        part.unwrap_or(whole.offset).get() + 1
    }

    fn teardown(&self) {
        self.torn_down.fetch_add(1, Relaxed);
    }
}

/// Whether this can be the data of a folio that starts here: handles give none.
fn names(data: u64, head: Offset) -> bool {
    data == 0 || data == head.get() + 1
}

type Map = Pgmap<'static, Driver>;

/// What one thread has, and what all share.
struct Worker<'w, 'p> {
    pgmap: &'p Map,
    random: Random,
    folios: Vec<Folio<'p, Driver>>,
    blocks: Vec<Block<'p, Driver>>,
    served: &'w AtomicU64,
    /// Folios on their way from one thread to another.
    post: &'w Mutex<Vec<Folio<'p, Driver>>>,
}

impl<'p> Worker<'_, 'p> {
    fn order(&mut self) -> Order {
        order([0, 0, 0, 0, 1, 2, 3, 5, 9, 10][self.random.below(10) as usize])
    }

    fn page(&mut self) -> Offset {
        at(self.random.below(PAGES))
    }

    fn keep(&mut self, folio: Folio<'p, Driver>) {
        self.served.fetch_add(folio.order().pages(), Relaxed);
        self.folios.push(folio);
    }

    fn any_folio(&mut self) -> Option<Folio<'p, Driver>> {
        let count = self.folios.len() as u64;
        (count > 0).then(|| self.folios.swap_remove(self.random.below(count) as usize))
    }

    /// Folios are requested without data and get it as blocks, so that the data can name the head.
    fn request(&mut self) {
        let order = self.order();
        let block = if self.random.one_in(2) { self.pgmap.alloc_block(order).ok() } else { self.request_block(order) };
        let Some(block) = block else { return };
        let data = block.offset().get() + 1;
        match block.into_folio(data) {
            Ok(folio) => self.keep(folio),
            Err((_, block)) => drop(block),
        }
    }

    fn request_block(&mut self, order: Order) -> Option<Block<'p, Driver>> {
        let offset = self.page().get() >> order.get() << order.get();
        self.pgmap.request_block(at(offset), order).ok()
    }

    fn one_operation(&mut self) {
        match self.random.below(16) {
            0..5 => self.request(),
            5..9 => drop(self.any_folio()),
            9 => {
                // A speculative reference, from here or to another thread.
                let page = self.page();
                if let Some(folio) = self.pgmap.try_get(page) {
                    assert!(names(folio.data(), folio.offset()));
                    self.post.lock().unwrap().push(folio);
                }
                let got = self.post.lock().unwrap().pop();
                drop(got);
            }
            10 => {
                let Some(folio) = self.any_folio() else { return };
                let smaller = order(u32::from(folio.order().get() > 0) * (folio.order().get() / 2));
                match folio.split(smaller, 1) {
                    Ok(parts) => parts.for_each(|part| self.folios.push(part)),
                    Err((_, folio)) => self.folios.push(folio),
                }
            }
            11 => {
                let Some(folio) = self.any_folio() else { return };
                self.pgmap.map_raw(folio.offset()).unwrap();
                let head = folio.into_raw();
                // Migrated away if nobody else has it, else unmapped and put.
                let _ = self.pgmap.put_raw(head, 1);
                let gone = self.pgmap.freeze_raw(head, Expect::NoPins).is_ok_and(|frozen| frozen.free().is_ok());
                if !gone {
                    self.pgmap.unmap_raw(head).unwrap();
                }
            }
            12 => {
                let order = self.order();
                if let Ok(block) = self.pgmap.alloc_block(order) {
                    self.blocks.extend(block.trim(self.random.below(order.pages()) + 1));
                }
                if self.random.one_in(2) {
                    self.blocks.clear();
                }
                if let Some(Ok(block)) = self.any_folio().map(Folio::into_block) {
                    self.blocks.push(block);
                }
            }
            13 => {
                let page = self.page();
                match self.pgmap.lookup(page).unwrap() {
                    Lookup::Folio { head, order } => assert!(head <= page && page.get() < head.get() + order.pages()),
                    Lookup::Idle if self.pgmap.declare_special(page, SpecialSize::Page, Reason::Driver(1)).is_ok() => {
                        self.pgmap.undeclare_special(page, SpecialSize::Page).unwrap();
                    }
                    _ => {}
                }
            }
            // Also where the range comes and goes.
            14 if self.random.one_in(200) => _ = self.pgmap.retire(at(self.random.below(PAGES + 2048))),
            14 => {
                let mine = self.folios.iter().any(|folio| self.pgmap.lookup(folio.offset()).is_err());
                assert!(!mine);
                let page = self.page();
                match self.pgmap.wait_idle_timeout(page, Duration::from_micros(50)) {
                    Ok(()) | Err(WaitError::TimedOut) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            _ => {
                let Some(mut local) = self.pgmap.local() else { return };
                for _ in 0..self.random.below(40) {
                    let order = self.order();
                    match local.alloc_folio(order) {
                        Ok(folio) => {
                            self.served.fetch_add(order.pages(), Relaxed);
                            if self.random.one_in(3) { self.folios.push(folio) } else { _ = local.put(folio) }
                        }
                        Err(AllocError::Dying) => return,
                        Err(_) => {}
                    }
                }
            }
        }
    }

    fn run(&mut self, until: &AtomicBool) {
        while !until.load(Relaxed) {
            self.one_operation();
            if self.folios.len() > 40 {
                self.folios.truncate(10);
            }
        }
    }

    /// Some more operations, so that the kill and the drain meet them, and then the end.
    fn finish(mut self, until: &AtomicBool) {
        self.run(until);
        (0..200).for_each(|_| self.one_operation());
        let post = self.post;
        drop(self);
        let left = std::mem::take(&mut *post.lock().unwrap());
        drop(left);
    }
}

/// Lets every worker go on for a while, and does `then` in the middle.
fn meanwhile<T>(time: Duration, then: impl FnOnce() -> T, stop: &AtomicBool) -> T {
    std::thread::sleep(time);
    let result = then();
    stop.store(true, Relaxed);
    result
}

/// Adds a range, lets it be used, closes it, and takes it away if it can be had; at last it is gone or open.
fn plug(pgmap: &Map, until: &AtomicBool) {
    'range: while !until.load(Relaxed) {
        let added = pgmap.add_range(range(1 << 23, 700)).map(|range| range.first);
        let first = added.ok().or_else(|| pgmap.ranges().find(|range| range.pages == 700).map(|range| range.first)).unwrap();
        std::thread::sleep(Duration::from_micros(300));
        let Ok(mut closed) = pgmap.close_range(first) else { continue };
        for _ in 0..20 {
            match closed.poll_removal() {
                Removal::Done(_) => continue 'range,
                Removal::Waiting(again, _) => closed = again,
            }
            std::thread::yield_now();
        }
    }
}

/// One pgmap from birth to teardown.
fn live_and_die(seed: u64) {
    let ranges = [range(1 << 20, 4096), range(1 << 22, PAGES - 4096)];
    let params = Params::new(&ranges).with_room(1, PAGES + 2048);
    let pgmap = Pgmap::new(&params, Driver::default()).unwrap();
    let (served, post) = (AtomicU64::new(0), Mutex::new(vec![]));
    let mut random = Random::new(seed);
    let worker = |id| Worker {
        pgmap: &pgmap,
        random: Random::new(seed * THREADS + id),
        folios: vec![],
        blocks: vec![],
        served: &served,
        post: &post,
    };
    let mut workers: Vec<_> = (0..THREADS).map(worker).collect();
    for _ in 0..random.below(3) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            workers.iter_mut().for_each(|worker| _ = scope.spawn(|| worker.run(&stop)));
            scope.spawn(|| plug(&pgmap, &stop));
            meanwhile(Duration::from_millis(random.below(20)), || (), &stop);
        });
        check_quiet(&pgmap, &workers, &served);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        workers.drain(..).for_each(|worker| _ = scope.spawn(move || worker.finish(stop)));
        let killed = meanwhile(Duration::from_micros(random.below(5000)), || pgmap.kill(), stop);
        let mut offered = 0;
        let drained: Drained<'_, _> = killed.drain_parked(|holdout: Holdout| offered += holdout.order.pages());
        assert_eq!(pgmap.alloc_folio(Order::ZERO).err(), Some(AllocError::Dying));
        drained.teardown();
    });
    check_quiet(&pgmap, &[], &served);
    assert_eq!((pgmap.ops().torn_down.load(Relaxed), pgmap.validate().unwrap().block), (1, 0));
}

/// Nobody does anything: every page is accounted for, and the workers have what is in service.
fn check_quiet(pgmap: &Map, workers: &[Worker<'_, '_>], served: &AtomicU64) {
    // A page that came back from a handle may still be marked; asking retires it.
    let pending: Vec<_> = pgmap.retiring().filter(|&page| pgmap.is_retiring(page)).collect();
    let census = pgmap.validate().unwrap();
    let blocks: u64 = workers.iter().flat_map(|worker| &worker.blocks).map(|block| block.order().pages()).sum();
    assert_eq!((census.block, census.special), (blocks, 0));
    assert_eq!(census.in_service, served.load(Relaxed) - pgmap.ops().freed.load(Relaxed));
    assert_eq!(census.idle + census.in_service + census.block + census.retired, census.pages);
    if workers.is_empty() {
        assert_eq!((census.in_service, pending), (0, vec![]));
    }
}

#[test]
fn everything_at_once_and_a_kill() {
    let time = stress_time();
    let mut lives = 0;
    while !time.is_over() {
        live_and_die(lives);
        lives += 1;
    }
    println!("{lives} pgmaps lived and died");
}
