//! The races, one by one, in the model checker: every interleaving and every reordering that the orderings allow.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pgmap-alloc --release --test races`
//!
//! Pools are tiny (tables of one or two words) and threads do one or two things each. Threads are switched at most
//! `LOOM_MAX_PREEMPTIONS` times (3 unless told) where they could have gone on.
//!
//! # Weakenings tried
//!
//! Each was made alone, all models were run, and these went red:
//!
//! | weakened | red |
//! |---|---|
//! | `Word::begin` without its fence | request_against_kill |
//! | `Lifetime::kill` without its fence | request_against_kill |
//! | `Word::publish` Relaxed | get_against_request_finds_what_was_set_up |
//! | `Word::try_get` Relaxed | get_against_request_finds_what_was_set_up, split_against_get |
//! | `Word::put` Acquire | two_puts_free_once |
//! | `Word::put` Release | two_puts_free_once, wait_idle_against_last_put_into_a_handle |
//! | `Word::finish_free` Relaxed | drain_against_last_put, parked_drain_against_last_put, both wait_idle_against_last_put |
//! | `Word::snapshot` Relaxed | both drains, both wait_idle_against_last_put, split_against_get |
//! | `Word::touch` Acquire | parked_drain_against_last_put, every wait_idle |
//! | `Word::shrink` Acquire | split_against_get |
//! | `Word::thaw` Relaxed | split_against_get |
//! | `Folios::note_split` Relaxed, or gone | split_against_get |
//! | `Table::release` Relaxed | last_put_against_block_at_another_order |
//! | `Table::remove` (lists) without its fence | relist_against_release |
//! | `Motion::note` without its fence | relist_against_release |
//! | `Motion::watch` without its fence | release_against_refusal |
//!
//! These stayed green, because in the models something else gives the same order: `Word::abandon` Relaxed, `Word::shrink` Release,
//! `Word::freeze` Relaxed, `Word::retire` and `Marks::set` without their fences, `Table::meet` Acquire or gone,
//! `Folios::touch_above` gone (the fences of `Motion::note` and `Marks::set`, which stand for a total order that the machine
//! gives, order retirements too), `Table::claim_at` and `claim_tightest` Relaxed (the look before them acquires),
//! `Waiters::fire` Relaxed (the lock around the waker is not modelled), the fences of `enlist` and `grown`. So the models of
//! retirement show that the steps are right, not that each ordering is needed.

#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicUsize as Plain, Ordering::Relaxed};

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;
use pgmap_alloc::{
    AfterFree, AllocError, Block, Drain, Expect, Folio, Freed, GenPool, Lookup, Offset, Order, Params, Pgmap, PgmapOps, Phys,
    PhysRange, Put, RequestError, RetireError, Retirement, SplitError,
};

/// A driver that counts calls, and leaves something behind that only a happens-before makes visible.
#[derive(Default)]
struct Driver {
    calls: Plain,
    done: AtomicUsize,
    used: [AtomicUsize; 2],
}

impl PgmapOps for Driver {
    type Data = u64;

    fn folio_free(&self, _: Freed<u64>) -> AfterFree {
        self.calls.fetch_add(1, Relaxed);
        let used = self.used.each_ref().map(|used| used.load(Relaxed));
        assert_eq!(used[0], used[1], "folio_free runs after all that holders did");
        self.done.fetch_add(1, Relaxed);
        AfterFree::ByType
    }
}

impl Driver {
    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    fn done(&self) -> usize {
        self.done.load(Relaxed)
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
    Arc::new(Map::boxed(&Params::new(&ranges(pages)), Driver::default()).unwrap())
}

fn pool<const WORDS: usize>(pages: u64) -> Arc<Pool<WORDS>> {
    Arc::new(Pool::boxed(&Params::new(&ranges(pages))).unwrap())
}

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.max_branches = 20_000;
    builder.check(threads);
}

fn spawn<T: Send + Sync + 'static, R: 'static>(shared: &Arc<T>, work: impl FnOnce(&T) -> R + 'static) -> thread::JoinHandle<R> {
    let shared = shared.clone();
    thread::spawn(move || work(&shared))
}

#[test]
fn request_against_kill() {
    model(|| {
        let pgmap = pgmap(1);
        let request = spawn(&pgmap, |pgmap| pgmap.alloc_folio_raw(ONE, 7));
        let drained = matches!(pgmap.kill().poll_drain(), Drain::Done(_));
        match request.join().unwrap() {
            Ok(head) => {
                assert!(!drained, "drained with a folio in service");
                assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed));
            }
            Err(error) => assert_eq!((error, pgmap.ops().calls()), (AllocError::Dying, 0)),
        }
        assert!(matches!(pgmap.killed().unwrap().poll_drain(), Drain::Done(_)));
        assert_eq!(pgmap.validate().unwrap().idle, 1);
    });
}

#[test]
fn request_against_retire() {
    model(|| {
        let pgmap = pgmap(2);
        let request = spawn(&pgmap, |pgmap| pgmap.alloc_folio_raw(ONE, 7).unwrap());
        let retirement = pgmap.retire(at(0)).unwrap();
        let head = request.join().unwrap();
        if head == at(0) {
            assert_eq!((retirement, pgmap.is_retiring(at(0))), (Retirement::Pending, true));
            assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed));
        }
        assert_eq!((pgmap.lookup(at(0)), pgmap.retiring().count()), (Ok(Lookup::Retired), 0));
        assert_eq!(pgmap.retire(at(0)), Err(RetireError::AlreadyRetired));
    });
}

#[test]
fn request_of_a_large_folio_against_retire_of_its_tail() {
    model(|| {
        let pgmap = pgmap(2);
        let request = spawn(&pgmap, |pgmap| pgmap.request_folio_raw(at(0), two(), 7));
        let retirement = pgmap.retire(at(1)).unwrap();
        match request.join().unwrap() {
            Ok(()) => {
                assert_eq!((retirement, pgmap.is_retiring(at(1))), (Retirement::Pending, true));
                assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed));
            }
            Err(error) => assert!(matches!(error, RequestError::Busy | RequestError::Retired), "{error}"),
        }
        assert_eq!((pgmap.lookup(at(1)), pgmap.lookup(at(0))), (Ok(Lookup::Retired), Ok(Lookup::Idle)));
    });
}

#[test]
fn block_against_retire() {
    model(|| {
        let pgmap = pgmap(2);
        let block = spawn(&pgmap, |pgmap| {
            let block = pgmap.alloc_block(two()).map(Block::into_raw).ok()?;
            pgmap.free_block_raw(block.start(), block.order()).unwrap();
            Some(())
        });
        let _ = pgmap.retire(at(1)).unwrap();
        block.join().unwrap();
        assert_eq!((pgmap.lookup(at(1)), pgmap.retiring().count()), (Ok(Lookup::Retired), 0));
    });
}

#[test]
fn last_put_against_retire() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let put = spawn(&pgmap, |pgmap| pgmap.put_raw(at(0), 1).unwrap());
        let _ = pgmap.retire(at(1)).unwrap();
        // The last put may be the retirement's, which had a look at the driver's data.
        let _ = put.join().unwrap();
        assert_eq!(pgmap.ops().calls(), 1);
        assert_eq!((pgmap.lookup(at(1)), pgmap.lookup(at(0))), (Ok(Lookup::Retired), Ok(Lookup::Idle)));
        assert_eq!(pgmap.retiring().count(), 0);
    });
}

#[test]
fn retire_against_retire() {
    model(|| {
        let pgmap = pgmap(1);
        let other = spawn(&pgmap, |pgmap| pgmap.retire(at(0)));
        let _ = pgmap.retire(at(0));
        let _ = other.join().unwrap();
        assert_eq!((pgmap.lookup(at(0)), pgmap.retiring().count()), (Ok(Lookup::Retired), 0));
    });
}

#[test]
fn put_against_try_get() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let get = spawn(&pgmap, |pgmap| {
            pgmap.try_get(at(0)).map(|folio| {
                assert_eq!((folio.data(), pgmap.ops().calls()), (7, 0), "a folio that was got is in service");
            })
        });
        let _ = pgmap.put_raw(head, 1).unwrap();
        get.join().unwrap();
        assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
    });
}

#[test]
fn get_against_request_finds_what_was_set_up() {
    model(|| {
        let pgmap = pgmap(1);
        let get = spawn(&pgmap, |pgmap| pgmap.try_get(at(0)).map(|folio| folio.data()));
        let folio = pgmap.alloc_folio_with(ONE, 7).unwrap();
        assert!(matches!(get.join().unwrap(), None | Some(7)));
        assert_eq!(folio.refs(), 1);
    });
}

#[test]
fn last_put_against_request_at_another_order() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let request = spawn(&pgmap, |pgmap| {
            let requested = pgmap.request_folio_raw(at(1), ONE, 8);
            if requested.is_ok() {
                assert_eq!(pgmap.ops().done(), 1, "allocatable only after folio_free has returned");
            }
            requested
        });
        assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed));
        match request.join().unwrap() {
            Ok(()) => assert_eq!(pgmap.lookup(at(1)), Ok(Lookup::Folio { head: at(1), order: ONE })),
            Err(error) => assert!(matches!(error, RequestError::Busy | RequestError::Contended)),
        }
        assert!(pgmap.validate().is_ok());
    });
}

#[test]
fn last_put_against_block_at_another_order() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let block = spawn(&pgmap, |pgmap| {
            if let Ok(block) = pgmap.request_block(at(1), ONE) {
                assert_eq!(pgmap.ops().done(), 1, "allocatable only after folio_free has returned");
                drop(block);
            }
        });
        assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed));
        block.join().unwrap();
        assert_eq!(pgmap.validate().unwrap().idle, 2);
    });
}

#[test]
fn two_puts_free_once() {
    model(|| {
        let pgmap = pgmap(1);
        let folio = pgmap.alloc_folio_with(ONE, 7).unwrap();
        let head = folio.clone().into_raw();
        let other = spawn(&pgmap, move |pgmap| {
            pgmap.ops().used[0].store(1, Relaxed);
            drop(Folio::from_raw(pgmap, head));
        });
        pgmap.ops().used[1].store(1, Relaxed);
        drop(folio);
        other.join().unwrap();
        assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
    });
}

#[test]
fn two_requests_of_disjoint_halves() {
    model(|| {
        let pgmap = pgmap(2);
        drop(pgmap.request_folio(at(0), two()).unwrap());
        let other = spawn(&pgmap, |pgmap| pgmap.request_folio_raw(at(1), ONE, 8));
        assert_eq!(pgmap.request_folio_raw(at(0), ONE, 9), Ok(()));
        assert_eq!(other.join().unwrap(), Ok(()));
        assert_eq!(pgmap.validate().unwrap().folios, 2);
    });
}

#[test]
fn two_requests_of_one_page() {
    model(|| {
        let pgmap = pgmap(2);
        let other = spawn(&pgmap, |pgmap| pgmap.request_folio_raw(at(1), ONE, 8).is_ok());
        let mine = pgmap.request_folio_raw(at(0), two(), 9).is_ok();
        assert!(mine != other.join().unwrap(), "exactly one of them wins");
        assert!(pgmap.validate().is_ok());
    });
}

#[test]
fn split_against_get() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let get = spawn(&pgmap, |pgmap| {
            assert!(!pgmap.is_idle(at(1)), "a count of 0 was seen during a split");
            pgmap.try_get(at(1)).map(|folio| {
                assert_eq!(folio.data(), 7);
                folio.into_raw()
            })
        });
        let split = pgmap.split_raw(at(0), ONE, 1);
        let got = get.join().unwrap();
        match split {
            Ok(()) => assert_ne!(got, Some(at(0))),
            Err(error) => assert_eq!((error, got), (SplitError::StrayReferences { held: 2 }, Some(at(0)))),
        }
        if let Some(head) = got {
            assert_eq!(pgmap.put_raw(head, 1), Ok(Put::InService));
        }
        assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed));
        assert_eq!(pgmap.put_raw(at(1), 1).is_ok(), split.is_ok());
        assert_eq!(pgmap.validate().unwrap().idle, 2);
    });
}

#[test]
fn split_against_clone_of_a_counted_reference() {
    model(|| {
        let pgmap = pgmap(2);
        let folio = pgmap.request_folio_with(at(0), two(), 7).unwrap();
        let head = folio.clone().into_raw();
        let clone = spawn(&pgmap, move |pgmap| {
            let mine = Folio::from_raw(pgmap, head).unwrap();
            let more = mine.clone();
            (mine.into_raw(), more.into_raw())
        });
        let split = pgmap.split_raw(folio.into_raw(), ONE, 2);
        clone.join().unwrap();
        let order = if split.is_ok() { ONE } else { two() };
        assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Folio { head: at(0), order }));
        assert_eq!(pgmap.counts_raw(at(0)).unwrap().refs, 3, "no reference is lost, whoever was first");
        assert_eq!(pgmap.put_raw(at(0), 3), Ok(Put::Freed));
        assert_eq!(pgmap.put_raw(at(1), 1).is_ok(), split.is_ok());
        assert_eq!(pgmap.validate().unwrap().idle, 2);
    });
}

#[test]
fn freeze_against_get_and_unmap() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        pgmap.map_raw(head).unwrap();
        pgmap.put_raw(head, 1).unwrap();
        let get = spawn(&pgmap, |pgmap| pgmap.try_get(at(0)).map(|folio| assert_eq!(pgmap.ops().calls(), 0, "{folio:?}")));
        let freed = pgmap.freeze_raw(head, Expect::NoPins).is_ok_and(|frozen| frozen.free().is_ok());
        get.join().unwrap();
        assert_eq!(pgmap.unmap_raw(head).is_ok(), !freed);
        assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
    });
}

#[test]
fn drain_against_last_put() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let put = spawn(&pgmap, move |pgmap| pgmap.put_raw(head, 1));
        let drained = pgmap.kill().drain(|_| thread::yield_now());
        assert_eq!(pgmap.ops().done(), 1, "drained while folio_free was running");
        drained.teardown();
        assert_eq!(put.join().unwrap(), Ok(Put::Freed));
    });
}

#[test]
fn parked_drain_against_last_put() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let put = spawn(&pgmap, move |pgmap| pgmap.put_raw(head, 1));
        let mut offered = 0;
        loom::future::block_on(pgmap.kill().drained(|_| offered += 1)).teardown();
        assert_eq!((pgmap.ops().done(), put.join().unwrap()), (1, Ok(Put::Freed)));
        assert!(offered <= 1);
    });
}

#[test]
fn wait_idle_against_last_put() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let put = spawn(&pgmap, |pgmap| pgmap.put_raw(at(0), 1));
        loom::future::block_on(pgmap.until_idle(at(1)).unwrap());
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

#[test]
fn take_at_against_release() {
    model(|| {
        let pool = pool::<1>(4);
        pool.alloc_at(at(1), ONE).unwrap();
        let free = spawn(&pool, |pool| pool.free(at(1), ONE));
        let taken = pool.alloc_at(at(0), two());
        assert_eq!(free.join().unwrap(), Ok(()));
        match taken {
            Ok(()) => assert_eq!((pool.is_idle(at(0)), pool.is_idle(at(1))), (false, false)),
            Err(_) => assert_eq!(pool.alloc_at(at(0), two()), Ok(())),
        }
    });
}

#[test]
fn release_against_refusal() {
    model(|| {
        // Two words: 64 pages in the first and 63 in the second; at every moment a page of one of them is idle.
        let pool = pool::<2>(127);
        for (page, order) in [(0, 6), (64, 5), (96, 4), (112, 3), (120, 2), (124, 1), (126, 0)] {
            pool.alloc_at(at(page), Order::new(order).unwrap()).unwrap();
        }
        pool.free(at(0), ONE).unwrap();
        let motion = spawn(&pool, |pool| {
            pool.free(at(64), ONE).unwrap();
            let _ = pool.alloc_at(at(0), ONE);
        });
        let result = pool.alloc(ONE);
        motion.join().unwrap();
        assert!(!matches!(result, Err(AllocError::NoSpace { .. })), "refused though a page was idle at every moment");
    });
}

#[test]
fn merge_against_claim() {
    model(|| {
        // One table below the top one, wholly idle but split: a request for all of it has to merge it first.
        let pool = pool::<1>(64);
        let whole = Order::new(6).unwrap();
        pool.alloc_at(at(0), ONE).unwrap();
        pool.free(at(0), ONE).unwrap();
        let claim = spawn(&pool, |pool| pool.alloc_at(at(5), ONE).is_ok());
        let merged = pool.alloc_at(at(0), whole).is_ok();
        let claimed = claim.join().unwrap();
        assert!(!(merged && claimed), "a page was claimed twice");
        if claimed {
            pool.free(at(5), ONE).unwrap();
        }
        if merged {
            pool.free(at(0), whole).unwrap();
        }
        assert_eq!(pool.alloc_at(at(0), whole), Ok(()), "nothing is lost");
    });
}

#[test]
fn relist_against_release() {
    model(|| {
        // A table that is listed for larger runs than it has: whoever fails there lists it anew while a run comes back.
        let pool = pool::<1>(64);
        let half = Order::new(5).unwrap();
        pool.alloc_at(at(0), half).unwrap();
        pool.alloc_at(at(32), half).unwrap();
        let release = spawn(&pool, move |pool| pool.free(at(32), half).unwrap());
        let early = pool.alloc(half).ok();
        release.join().unwrap();
        if let Some(offset) = early {
            assert_eq!(offset, at(32));
        } else {
            assert_eq!(pool.alloc(half), Ok(at(32)), "an idle run cannot be found");
        }
    });
}

#[test]
fn handle_drain_against_refusal() {
    model(|| {
        let pgmap = pgmap(1);
        let drain = spawn(&pgmap, |pgmap| {
            let mut local = pgmap.local().unwrap();
            if let Ok(folio) = local.alloc_folio(ONE) {
                let _ = local.put(folio);
            }
        });
        let mine = pgmap.alloc_folio_raw(ONE, 7).ok();
        drain.join().unwrap();
        match mine {
            Some(head) => assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed)),
            None => assert_eq!(pgmap.alloc_folio_raw(ONE, 7), Ok(at(0)), "what the handle had is back"),
        }
    });
}
