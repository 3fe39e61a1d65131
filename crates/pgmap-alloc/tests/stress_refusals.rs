//! Requirement 44 with threads: wherever there is provably room at every moment, a refusal is a bug.
//!
//! About a second per test; `PGMAP_STRESS_SECS` makes them longer.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use pgmap_alloc::{
    AllocError, GenPool, PageWord, Params, PoolNeeds, RangeSlot, RequestError, Run, ScatterError, ScatterParams, Table,
};
use support::{Random, at, order, range, stress_time};

/// Runs `work` on each of `threads` threads, with a pool of `pages` pages in tables of `WORDS` words, until the time is up or
/// one of them has something to say; then with one that packs tightly.
fn with_pool<const WORDS: usize>(
    pages: u64,
    threads: u64,
    work: impl Fn(&GenPool<'_, WORDS>, u64, &mut Random) -> Option<String> + Sync,
) {
    let ranges = [range(0, pages)];
    for params in [Params::new(&ranges), Params::new(&ranges).packing_tightly()] {
        with_pool_of(&params, threads, &work);
    }
}

fn with_pool_of<const WORDS: usize>(
    params: &Params<'_>,
    threads: u64,
    work: &(impl Fn(&GenPool<'_, WORDS>, u64, &mut Random) -> Option<String> + Sync),
) {
    let needs = PoolNeeds::of::<WORDS>(params).unwrap();
    let mut tables: Vec<Table<WORDS>> = (0..needs.tables).map(|_| Table::new()).collect();
    let mut slots: Vec<RangeSlot> = (0..needs.ranges).map(|_| RangeSlot::new()).collect();
    let pool = GenPool::with_storage(params, &mut tables, &mut slots).unwrap();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let wrong: Vec<String> = thread::scope(|scope| {
        let run = |id| {
            let mut random = Random::new(id + 1);
            let time = stress_time();
            while !stop.load(Ordering::Relaxed) && !time.is_over() {
                for _ in 0..100 {
                    rounds.fetch_add(1, Ordering::Relaxed);
                    if let Some(wrong) = work(&pool, id, &mut random) {
                        stop.store(true, Ordering::Relaxed);
                        return Some(wrong);
                    }
                }
            }
            None
        };
        let all: Vec<_> = (0..threads).map(|id| scope.spawn(move || run(id))).collect();
        all.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "after {} calls: {wrong:?}", rounds.load(Ordering::Relaxed));
    // All has come back: the largest run is there again.
    pool.alloc(pool.largest_order()).unwrap();
}

/// Each of `n` threads has at most one run, of at most a table; there are `n` tables, so one is always wholly idle for the
/// thread that asks.
fn one_run_each<const WORDS: usize>(threads: u64, levels: u32) {
    let table = levels * (6 + WORDS.ilog2());
    with_pool::<WORDS>(threads << table, threads, |pool, id, random| {
        let o = if random.one_in(2) { table } else { random.below(u64::from(table) + 1) as u32 };
        match pool.alloc(order(o)) {
            Ok(offset) => {
                if random.one_in(4) {
                    thread::yield_now();
                }
                pool.free(offset, order(o)).unwrap();
                None
            }
            Err(AllocError::Contended) => None,
            Err(error) => Some(format!("thread {id}, order {o}: {error}")),
        }
    });
}

#[test]
fn req_44_one_run_each_of_tiny_tables() {
    one_run_each::<1>(2, 1);
    one_run_each::<1>(4, 1);
}

#[test]
fn req_44_one_run_each_of_two_levels() {
    one_run_each::<1>(3, 2);
    one_run_each::<2>(4, 2);
}

#[test]
fn req_44_one_run_each_of_real_tables() {
    one_run_each::<8>(3, 1);
    one_run_each::<8>(4, 2);
}

/// Each thread asks for pages that nobody else ever asks for, in tables that all of them share.
fn own_pages<const WORDS: usize>(threads: u64, part: u32) {
    with_pool::<WORDS>(threads << part, threads, |pool, id, random| {
        let o = if random.one_in(3) { part } else { random.below(u64::from(part) + 1) as u32 };
        let start = at((id << part) + (random.below(1 << (part - o)) << o));
        match pool.alloc_at(start, order(o)) {
            Ok(()) => {
                if random.one_in(4) {
                    thread::yield_now();
                }
                pool.free(start, order(o)).unwrap();
                None
            }
            Err(RequestError::Contended) => None,
            Err(error) => Some(format!("thread {id}, {start}+2^{o}: {error}")),
        }
    });
}

#[test]
fn req_44_own_pages_are_never_busy() {
    own_pages::<1>(4, 4);
    own_pages::<1>(4, 6);
    own_pages::<1>(4, 7);
    own_pages::<2>(3, 8);
    own_pages::<8>(4, 7);
    own_pages::<8>(4, 10);
}

/// As [`one_run_each`], asked for as a list of one run, or of one word: the list always would do.
fn one_list_each<const WORDS: usize>(threads: u64) {
    let table = 6 + WORDS.ilog2();
    with_pool::<WORDS>(threads << table, threads, |pool, id, random| {
        let wanted = order(if random.one_in(2) { table } else { random.below(u64::from(table) + 1) as u32 });
        if random.one_in(2) {
            let mut runs = [Run::new(at(0), order(0)).unwrap()];
            let got = pool.alloc_scattered(&ScatterParams::new(wanted.pages()), &mut runs).map(<[Run]>::to_vec);
            match got {
                Ok(runs) => runs.iter().for_each(|run| pool.free(run.start(), run.order()).unwrap()),
                Err(ScatterError::Contended) => {}
                Err(error) => return Some(format!("thread {id}, {wanted}: {error}")),
            }
        } else {
            let (mut words, pages) = ([PageWord::EMPTY], wanted.pages().min(64));
            match pool.alloc_words(pages, &mut words).map(<[PageWord]>::to_vec) {
                Ok(words) => pool.free_words(&words).unwrap(),
                Err(ScatterError::Contended) => {}
                Err(error) => return Some(format!("thread {id}, {pages} pages: {error}")),
            }
        }
        None
    });
}

#[test]
fn req_44_one_list_each_is_never_too_short() {
    one_list_each::<1>(3);
    one_list_each::<2>(3);
    one_list_each::<8>(2);
}

/// Half of what there is goes and comes back all the time, by pages; nobody else takes any. The other half never moves, so the largest run
/// is never smaller than it.
#[test]
fn req_42_what_is_idle_all_the_while_is_the_least_that_the_largest_can_be() {
    with_pool::<1>(1 << 9, 3, |pool, id, random| {
        if id > 0 {
            let page = at(random.below(1 << 8));
            if pool.alloc_at(page, order(0)).is_ok() {
                pool.free(page, order(0)).unwrap();
            }
            return None;
        }
        match pool.alloc_up_to(order(9), order(0)) {
            Ok(run) => {
                pool.free(run.start(), run.order()).unwrap();
                (run.order() < order(8)).then(|| format!("took order {} of 8 at least", run.order()))
            }
            Err(AllocError::Contended) => None,
            Err(error) => Some(format!("{error}")),
        }
    });
}
