//! The races, one by one, in the model checker: every interleaving and every reordering that the orderings allow.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pgmap-alloc --release --test races`
//!
//! Pools are tiny (tables of one or two words) and threads do one or two things each. Threads are switched at most
//! `LOOM_MAX_PREEMPTIONS` times (3 unless told) where they could have gone on.
//!
//! What the models look at, besides answers and states, is what drivers use a page for: each owner writes its contents
//! ([`Driver::write`]), and `folio_free` clears them. loom objects unless one comes after the other by the orderings alone. So a
//! model in which a page changes hands shows the edge by which it does.
//!
//! Which weakenings turn which model red is written in `weakened.md` beside this file.

#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod hotplug;
mod lifetime;
mod pool;
mod references;
mod requests;
mod retire;
mod split;
mod waits;

use std::sync::atomic::{AtomicUsize as Plain, Ordering::Relaxed};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;
use pgmap_alloc::{AfterFree, Freed, GenPool, Offset, Order, Params, Pgmap, PgmapOps, Phys, PhysRange};

/// What pages hold, as loom sees it: nothing but who wrote and read it when.
struct Contents([UnsafeCell<()>; 2]);

impl Contents {
    fn new() -> Contents {
        Contents([UnsafeCell::new(()), UnsafeCell::new(())])
    }

    /// Its owner writes a page.
    fn write(&self, page: u64) {
        self.0[page as usize].with_mut(|_| ());
    }

    /// Somebody reads a page that nobody writes any more.
    fn read(&self, page: u64) {
        self.0[page as usize].with(|_| ());
    }
}

/// A driver that counts calls, and whose `folio_free` clears the pages.
struct Driver {
    calls: Plain,
    done: AtomicUsize,
    contents: Contents,
    /// What the hooks before and after a drain share.
    hooks: UnsafeCell<()>,
    torn_down: Plain,
}

impl PgmapOps for Driver {
    type Data = u64;

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        self.calls.fetch_add(1, Relaxed);
        (0..folio.order.pages()).for_each(|page| self.write(folio.offset.get() + page));
        self.done.fetch_add(1, Relaxed);
        AfterFree::ByType
    }

    fn quiesce(&self) {
        assert_eq!(self.torn_down.load(Relaxed), 0, "torn down before the quiesce hook has run");
        // A look at something, so that others may come in between.
        self.hooks.with_mut(|_| _ = self.done());
    }

    fn teardown(&self) {
        self.hooks.with_mut(|_| ());
        self.torn_down.fetch_add(1, Relaxed);
    }
}

impl Driver {
    fn new() -> Driver {
        let (calls, done, torn_down) = (Plain::new(0), AtomicUsize::new(0), Plain::new(0));
        Driver { calls, done, contents: Contents::new(), hooks: UnsafeCell::new(()), torn_down }
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    fn done(&self) -> usize {
        self.done.load(Relaxed)
    }

    fn write(&self, page: u64) {
        self.contents.write(page);
    }

    fn read(&self, page: u64) {
        self.contents.read(page);
    }
}

type Map = Pgmap<'static, Driver, 1>;
type Pool<const WORDS: usize> = GenPool<'static, WORDS>;

const ONE: Order = Order::ZERO;

fn two() -> Order {
    Order::new(1).unwrap()
}

fn at(page: u64) -> Offset {
    Offset::new(page)
}

fn ranges(pages: u64) -> [PhysRange; 1] {
    [PhysRange { start: Phys(0), pages }]
}

fn pgmap(pages: u64) -> Arc<Map> {
    Arc::new(Map::boxed(&Params::new(&ranges(pages)), Driver::new()).unwrap())
}

fn pool<const WORDS: usize>(pages: u64) -> Arc<Pool<WORDS>> {
    Arc::new(Pool::boxed(&Params::new(&ranges(pages))).unwrap())
}

fn model(threads: impl Fn() + Send + Sync + 'static) {
    model_up_to(3, threads);
}

/// [`model`] with fewer switches, where threads do much.
fn model_up_to(preemptions: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    builder.check(threads);
}

fn spawn<T: 'static, R: 'static>(shared: &Arc<T>, work: impl FnOnce(&T) -> R + 'static) -> thread::JoinHandle<R> {
    let shared = shared.clone();
    thread::spawn(move || work(&shared))
}
