//! Requirements 47 to 49: partitions, who pays, the account.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use pgmap_alloc::{
    Accounted, AccountedError, AfterFree, AllocError, AllocExtentError, Charge, ChargeError, Charging, Extent, ExtentParams,
    FreeError, Freed, GenPool, Limits, Owner, Owners, Params, Pgmap, PgmapOps, Protection, RequestError, ReturnError, Run,
    RunState, ScatterError, ScatterParams, SnapshotRun, Urgency,
};
use support::{Random, at, order, pool, range, window};

#[test]
fn req_47_partitions_are_windows_with_a_fallback_order() {
    let pool = pool(4096);
    // A small BAR shows the first quarter to the CPU; allocations that need not be seen go elsewhere first.
    let visible = pool.partition(window(0, 1024)).unwrap();
    let rest = pool.partition(window(1024, 1 << 40)).unwrap();
    assert!(pool.partition(window(4096, 5000)).is_none(), "outside the pool");
    assert_eq!((visible.size(), rest.size(), rest.avail()), (1024, 3072, 3072));
    assert!(visible.has_offset(at(1023)) && !visible.has_offset(at(1024)) && !rest.has_offset(at(4096)));

    let order_of = [rest, visible];
    let mut from = [0, 0];
    let refusal = loop {
        match GenPool::alloc_falling_back(&order_of, &ExtentParams::new(100)) {
            Ok((index, extent)) => {
                assert_eq!(order_of[index].window().common(extent), Some(extent));
                assert!(index == 0 || order_of[0].avail() < 200, "the first has it as long as it can");
                from[index] += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(from, [30, 10]);
    assert_eq!(refusal, AllocExtentError::NoSpace { idle: 24, cached: 0 });
    assert_eq!(visible.free(at(2048), order(0)), Err(FreeError::OutOfRange), "not one of its pages");
    assert_eq!(rest.alloc(order(30)), Err(AllocExtentError::TooLarge { pages: 1 << 30 }));
    assert_eq!(rest.alloc_extent(&ExtentParams::new(1).within(window(0, 8))), Err(AllocExtentError::WindowOutside));
    let page = visible.alloc(order(0)).unwrap();
    visible.free(page, order(0)).unwrap();
    // Everything that a pool takes and gives, within its window.
    assert_eq!(visible.alloc_at(at(1024), order(0)), Err(RequestError::OutOfRange));
    assert_eq!(visible.alloc_at(at(1020), order(3)), Err(RequestError::Misaligned));
    visible.alloc_at(at(1020), order(2)).unwrap();
    assert_eq!(visible.free_extent(window(1020, 1025)), Err(FreeError::OutOfRange));
    visible.free_extent(window(1020, 1024)).unwrap();
    let mut out = [Run::new(at(0), order(0)).unwrap(); 8];
    let runs = visible.alloc_scattered(&ScatterParams::new(24), &mut out).unwrap();
    assert!(runs.iter().all(|run| visible.window().common((*run).into()) == Some((*run).into())));
    assert_eq!(visible.avail(), 0);
    let outside = visible.alloc_scattered(&ScatterParams::new(1).within(window(2048, 4096)), &mut out);
    assert_eq!(outside, Err(ScatterError::WindowOutside));
}

#[test]
fn req_48_an_owner_pays_before_and_gets_it_back_after() {
    let pool = pool(1024);
    let owners = Owners::<2>::new();
    owners.set_limits(Owner(0), Limits { min: 16, low: 64, max: 128 }).unwrap();
    let books = Accounted::new(&pool, &owners, (), 0);
    let first = books.alloc(order(6), Owner(0), Urgency::Normal).unwrap();
    assert_eq!(owners.protection(Owner(0)), Ok(Protection::Low));
    let over = ChargeError::OverLimit { owner: 0, has: 64, max: 128 };
    assert_eq!(books.alloc(order(7), Owner(0), Urgency::Critical), Err(AccountedError::Owner { error: over }));
    assert_eq!(pool.avail(), 960, "nothing was taken");
    let second = books.alloc(order(6), Owner(0), Urgency::Normal).unwrap();
    assert_eq!(owners.protection(Owner(0)), Ok(Protection::None));
    let unknown = ChargeError::UnknownOwner { owner: 2 };
    assert_eq!(books.alloc(order(0), Owner(2), Urgency::Normal), Err(AccountedError::Owner { error: unknown }));
    let not_his = ChargeError::NotCharged { owner: 1, has: 0 };
    assert_eq!(books.free(first, order(6), Owner(1)), Err(ReturnError::Owner { error: not_his }));
    assert!(!pool.is_idle(first), "and still taken");
    // Parts go back one by one; a second free is refused and charges nothing.
    books.free(first, order(5), Owner(0)).unwrap();
    let double = ReturnError::Refused { error: FreeError::DoubleFree { page: first } };
    assert_eq!(books.free(first, order(5), Owner(0)), Err(double));
    assert_eq!(owners.usage(Owner(0)).unwrap().pages, 96);
    books.free(at(first.get() + 32), order(5), Owner(0)).unwrap();
    books.free(second, order(6), Owner(0)).unwrap();
    let usage = owners.usage(Owner(0)).unwrap();
    assert_eq!((usage.pages, usage.high_water, usage.refused), (0, 128, 1));
    assert_eq!(owners.protection(Owner(0)), Ok(Protection::Min));
    // What the pool refuses is not charged.
    books.alloc(order(10), Owner(1), Urgency::Normal).unwrap();
    assert!(books.alloc(order(0), Owner(1), Urgency::Normal).is_err());
    assert_eq!(owners.usage(Owner(1)).unwrap().pages, 1024);
}

#[test]
fn req_48_limits_that_contradict_each_other_change_nothing() {
    let owners = Owners::<1>::new();
    let before = owners.usage(Owner(0)).unwrap();
    let crossed = ChargeError::LimitsCross { min: 3, low: 2, max: 9 };
    assert_eq!(owners.set_limits(Owner(0), Limits { min: 3, low: 2, max: 9 }), Err(crossed));
    assert!(owners.set_limits(Owner(0), Limits { min: 3, low: 20, max: 9 }).is_err());
    assert!(owners.set_limits(Owner(1), Limits::NONE).is_err());
    assert_eq!(owners.usage(Owner(0)), Ok(before));
    assert_eq!(owners.uncharge(Owner(0), 1), Err(ChargeError::NotCharged { owner: 0, has: 0 }));
}

#[test]
fn req_48_the_last_pages_are_for_the_critical() {
    let pool = pool(1024);
    let books = Accounted::new(&pool, (), (), 128);
    for _ in 0..7 {
        books.alloc(order(7), Owner(0), Urgency::Normal).unwrap();
    }
    let refused = AccountedError::Watermark { idle: 128, watermark: 128 };
    assert_eq!(books.alloc(order(0), Owner(0), Urgency::Normal), Err(refused));
    let page = books.alloc(order(7), Owner(0), Urgency::Critical).unwrap();
    books.free(page, order(7), Owner(0)).unwrap();
    assert_eq!(books.alloc(order(0), Owner(0), Urgency::Normal), Err(refused));
}

#[test]
fn req_49_the_account_adds_up() {
    let pool = pool(4096);
    let books = Accounted::new(&pool, (), (), 0);
    let alloc = |o| books.alloc(order(o), Owner(0), Urgency::Normal).unwrap();
    let runs: Vec<_> = [0, 3, 3, 9, 10].map(|o| (alloc(o), order(o))).into();
    let account = books.account();
    assert_eq!((account.size, account.used, account.high_water), (4096, 1553, 1553));
    assert_eq!((account.taken[0], account.taken[3], account.taken[9], account.taken[10]), (1, 2, 1, 1));
    assert_eq!(account.taken.iter().sum::<u64>(), 5);
    assert_eq!(account.size - account.used, pool.avail());
    runs.iter().for_each(|(offset, order)| books.free(*offset, *order, Owner(0)).unwrap());
    let account = books.account();
    assert_eq!((account.used, account.high_water, account.allocated[3]), (0, 1553, 2));
    assert!(account.taken.iter().all(|&taken| taken == 0));

    // Every other page: as bad as it gets. Half in one piece: as good as it gets.
    let pages: Vec<_> = (0..4096).map(|_| alloc(0)).collect();
    pages.iter().filter(|page| page.get() % 2 == 0).for_each(|page| books.free(*page, order(0), Owner(0)).unwrap());
    let riddled = books.account();
    assert_eq!(riddled.largest_idle, Some(0));
    assert!(riddled.fragmentation > 990, "{}", riddled.fragmentation);
    pages.iter().filter(|page| page.get() % 2 == 1 && page.get() < 2048).for_each(|page| {
        books.free(*page, order(0), Owner(0)).unwrap();
    });
    pages.iter().filter(|page| page.get() % 2 == 0 && page.get() >= 2048).for_each(|page| pool.alloc_at(*page, order(0)).unwrap());
    assert!(pool.alloc_up_to(order(11), order(0)).unwrap().order() == order(11));
}

#[test]
fn req_48_a_parent_has_what_its_children_have_and_every_limit_holds() {
    // 0 is the root, 1 and 2 are its children, 3 is a child of 1.
    let owners = Owners::<4>::with_parents([None, Some(Owner(0)), Some(Owner(0)), Some(Owner(1))]).unwrap();
    let usage = |owner| owners.usage(Owner(owner)).unwrap().pages;
    owners.set_limits(Owner(0), Limits { min: 40, low: 50, max: 100 }).unwrap();
    owners.set_limits(Owner(1), Limits { min: 30, low: 60, max: 60 }).unwrap();
    owners.set_limits(Owner(3), Limits { min: 35, low: 70, max: 70 }).unwrap();
    owners.try_charge(Owner(3), 30).unwrap();
    assert_eq!([usage(0), usage(1), usage(2), usage(3)], [30, 30, 0, 30]);
    // His own promise is 35, but his parent is promised 30 only.
    assert_eq!(owners.protection(Owner(3)), Ok(Protection::Min));
    owners.try_charge(Owner(3), 10).unwrap();
    assert_eq!(owners.protection(Owner(3)), Ok(Protection::Low));
    owners.try_charge(Owner(3), 11).unwrap();
    assert_eq!(owners.protection(Owner(3)), Ok(Protection::None), "the root's low is 50");
    let over = |owner, has, max| Err(ChargeError::OverLimit { owner, has, max });
    assert_eq!(owners.try_charge(Owner(3), 10), over(1, 51, 60), "his parent's limit");
    owners.try_charge(Owner(2), 40).unwrap();
    assert_eq!(owners.try_charge(Owner(1), 10), over(1, 51, 60));
    assert_eq!(owners.try_charge(Owner(1), 9), Ok(()));
    assert_eq!(owners.try_charge(Owner(2), 1), over(0, 100, 100), "the root's limit");
    assert_eq!([usage(0), usage(1), usage(2), usage(3)], [100, 60, 40, 51], "refusals have changed nothing");
    assert_eq!(owners.uncharge(Owner(2), 41), Err(ChargeError::NotCharged { owner: 2, has: 40 }));
    owners.uncharge(Owner(3), 51).unwrap();
    owners.uncharge(Owner(2), 40).unwrap();
    owners.uncharge(Owner(1), 9).unwrap();
    assert_eq!([usage(0), usage(1), usage(2), usage(3)], [0; 4]);
    let later = Owners::<2>::with_parents([Some(Owner(1)), None]).err();
    assert_eq!(later, Some(ChargeError::Parent { owner: 0, parent: 1 }));
    assert!(Owners::<1>::with_parents([Some(Owner(0))]).is_err(), "nobody is his own parent");
}

#[test]
fn req_48_whoever_frees_need_not_know_the_owner() {
    let pool = pool(1024);
    let owners = Owners::<2>::new();
    let books = Accounted::new(&pool, &owners, (), 0);
    let run = books.alloc_run(order(4), Owner(1), Urgency::Normal).unwrap();
    assert_eq!((run.owner(), run.run().order(), owners.usage(Owner(1)).unwrap().pages), (Owner(1), order(4), 16));
    drop(run);
    assert_eq!((books.account().used, owners.usage(Owner(1)).unwrap().pages, pool.avail()), (0, 0, 1024));
    let (run, owner) = books.alloc_run(order(4), Owner(1), Urgency::Normal).unwrap().into_raw();
    assert_eq!(books.account().used, 16);
    books.free(run.start(), run.order(), owner).unwrap();
}

/// A driver that keeps a folio of which the data says so.
struct Keeping;

impl PgmapOps for Keeping {
    type Data = u32;

    fn folio_free(&self, folio: Freed<u32>) -> AfterFree {
        if folio.data == u32::MAX { AfterFree::Keep } else { AfterFree::Release }
    }
}

#[test]
fn req_48_the_owner_of_a_folio_stands_beside_its_data_and_gets_it_back_at_the_last_put() {
    let owners = Owners::<2>::new();
    let vram = [range(0, 4096)];
    let pgmap = Pgmap::new(&Params::new(&vram), Charging::new(Keeping, &owners, 0, 4096)).unwrap();
    let has = |owner| owners.usage(Owner(owner)).unwrap().pages;
    let normal = Urgency::Normal;
    let folio = pgmap.alloc_folio_for(order(9), Owner(0), normal, 7).unwrap();
    assert_eq!((folio.payer(), folio.data(), has(0)), (Some(Owner(0)), 7, 512));
    // Others hold it too; the last put is somebody's who does not know.
    let other = folio.clone();
    drop(folio);
    assert_eq!(has(0), 512);
    std::thread::scope(|threads| threads.spawn(|| drop(other)).join().unwrap());
    assert_eq!((has(0), pgmap.account().used), (0, 0));
    // Split, and given back part by part.
    let folio = pgmap.alloc_folio_for(order(2), Owner(1), normal, 1).unwrap();
    let parts: Vec<_> = folio.split(order(0), 1).unwrap().collect();
    for (left, part) in parts.into_iter().rev().enumerate() {
        assert_eq!((part.payer(), has(1)), (Some(Owner(1)), 4 - left as u64));
    }
    assert_eq!(has(1), 0);
    // Through a handle, into one, and at a given place.
    let mut handle = pgmap.local().unwrap();
    let folio = handle.alloc_folio_for(order(3), Owner(1), normal, 0).unwrap();
    assert_eq!(has(1), 8);
    handle.put(folio).unwrap();
    assert_eq!(has(1), 0);
    drop(handle);
    let folio = pgmap.request_folio_for(at(64), order(6), Owner(1), normal, 0).unwrap();
    let busy = AccountedError::Request { error: RequestError::Busy };
    assert_eq!(pgmap.request_folio_for(at(64), order(6), Owner(0), normal, 0).unwrap_err(), busy);
    assert_eq!((has(0), has(1)), (0, 64));
    drop(folio);
    // What the driver keeps is out of service, and nobody's; what is taken by the ordinary verbs is nobody's from the start. Neither
    // is idle, and the account counts both.
    let kept = pgmap.alloc_folio_for(order(0), Owner(0), normal, u32::MAX).unwrap();
    let head = kept.offset();
    drop(kept);
    assert_eq!((has(0), pgmap.account().used), (0, 1));
    pgmap.free_block_raw(head, order(0)).unwrap();
    let unpaid = pgmap.alloc_folio_with(order(0), 3).unwrap();
    assert_eq!((unpaid.payer(), unpaid.data(), pgmap.account().used), (None, 3, 1));
    drop(unpaid);
    drop(pgmap.alloc_folio(order(0)).unwrap());
    assert_eq!((has(0), has(1), pgmap.account().used), (0, 0, 0));
    assert_eq!(pgmap.account().allocated.iter().sum::<u64>(), 5);
}

#[test]
fn req_48_blocks_know_who_pays_and_limits_and_the_watermark_hold_for_a_pgmap_too() {
    let owners = Owners::<1>::new();
    owners.set_limits(Owner(0), Limits { min: 0, low: 0, max: 700 }).unwrap();
    let vram = [range(0, 1024)];
    let pgmap = Pgmap::new(&Params::new(&vram).tracking_clear(), Charging::new((), &owners, 400, 1024)).unwrap();
    let has = || owners.usage(Owner(0)).unwrap().pages;
    let block = pgmap.alloc_block_for(order(9), Owner(0), Urgency::Normal).unwrap();
    assert_eq!((block.owner(), block.block().order(), has()), (Owner(0), order(9), 512));
    let reserve = AccountedError::Watermark { idle: 512, watermark: 400 };
    assert_eq!(pgmap.alloc_folio_for(order(7), Owner(0), Urgency::Normal, ()).unwrap_err(), reserve);
    let limit = AccountedError::Owner { error: ChargeError::OverLimit { owner: 0, has: 512, max: 700 } };
    assert_eq!(pgmap.alloc_block_for(order(8), Owner(0), Urgency::Critical).unwrap_err(), limit);
    assert_eq!(has(), 512);
    let folio = block.into_folio(()).unwrap();
    assert_eq!((folio.payer(), has()), (Some(Owner(0)), 512));
    drop(folio);
    pgmap.alloc_block_for(order(4), Owner(0), Urgency::Normal).unwrap().release_cleared();
    assert_eq!((has(), pgmap.avail_cleared(Extent::ALL)), (0, 16));
    drop(pgmap.alloc_block_for(order(4), Owner(0), Urgency::Normal).unwrap());
    let refusals = pgmap.account().refusals;
    assert_eq!((refusals.watermark, refusals.owner, owners.usage(Owner(0)).unwrap().refused), (1, 1, 1));
    pgmap.kill();
    let dying = AccountedError::Pool { error: AllocError::Dying };
    assert_eq!(pgmap.alloc_block_for(order(0), Owner(0), Urgency::Normal).unwrap_err(), dying);
    assert_eq!((has(), pgmap.account().refusals.dying), (0, 1));
}

#[test]
fn req_48_the_books_of_many_threads_add_up_and_the_watermark_is_never_passed() {
    const THREADS: u64 = 4;
    // Large enough for stocks: a batch has 16 pages.
    let pages = 1u64 << 20;
    let pool = pool(pages);
    let owners = Owners::<4>::new();
    let books = Accounted::new(&pool, &owners, (), 1024);
    let limit = pages - 1024;
    let taken = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (books, taken) = (&books, &taken);
            threads.spawn(move || {
                let (mut held, mut random) = (vec![], thread + 1);
                for _ in 0..30_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let o = order([0, 0, 2, 4, 9, 15][(random >> 40) as usize % 6]);
                    match books.alloc(o, Owner(thread as u32), Urgency::Normal) {
                        Ok(offset) => {
                            assert!(taken.fetch_add(o.pages(), Ordering::SeqCst) + o.pages() <= limit, "beyond the watermark");
                            held.push((offset, o));
                        }
                        Err(error) => {
                            assert!(!matches!(error, AccountedError::Owner { .. }), "{error}");
                            for _ in 0..held.len() / 2 {
                                let (offset, o) = held.swap_remove((random >> 20) as usize % held.len());
                                taken.fetch_sub(o.pages(), Ordering::SeqCst);
                                books.free(offset, o, Owner(thread as u32)).unwrap();
                            }
                        }
                    }
                }
                held.into_iter().for_each(|(offset, o)| {
                    taken.fetch_sub(o.pages(), Ordering::SeqCst);
                    books.free(offset, o, Owner(thread as u32)).unwrap();
                });
            });
        }
    });
    let account = books.account();
    assert_eq!((account.used, account.taken.iter().sum::<u64>(), pool.avail()), (0, 0, pages));
    assert!(account.refusals.watermark > 0, "the pool was full at times");
    assert!(account.high_water <= limit, "{}", account.high_water);
    assert!((0..4).all(|owner| owners.usage(Owner(owner)).unwrap().pages == 0));
    // One caller has all but the reserve, stocks or not.
    let mut all = 0;
    while books.alloc(order(0), Owner(0), Urgency::Normal).is_ok() {
        all += 1;
    }
    assert_eq!((all, books.account().used), (limit, limit));
}

#[test]
fn req_48_many_threads_that_pay_as_one_owner_never_pass_his_parents_limit() {
    let (limit, all) = (1u64 << 19, [0u32, 0, 2, 4, 9, 12]);
    let owners = Owners::<2>::with_parents([None, Some(Owner(0))]).unwrap();
    owners.set_limits(Owner(0), Limits { max: limit, ..Limits::NONE }).unwrap();
    let has = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let (owners, has) = (&owners, &has);
            threads.spawn(move || {
                let (mut random, mut held) = (Random::new(thread), vec![]);
                for round in 0..40_000 {
                    let pages = 1 << all[random.below(6) as usize];
                    match owners.try_charge(Owner(1), pages) {
                        Ok(()) => {
                            assert!(has.fetch_add(pages, Ordering::SeqCst) + pages <= limit, "beyond the limit");
                            held.push(pages);
                        }
                        Err(ChargeError::OverLimit { owner: 0, .. } | ChargeError::Contended) => {}
                        Err(error) => panic!("{error}"),
                    }
                    while held.len() > 900 || !held.is_empty() && random.below(3) == round % 3 {
                        let pages = held.swap_remove(random.below(held.len() as u64) as usize);
                        has.fetch_sub(pages, Ordering::SeqCst);
                        owners.uncharge(Owner(1), pages).unwrap();
                    }
                }
                held.into_iter().for_each(|pages| {
                    has.fetch_sub(pages, Ordering::SeqCst);
                    owners.uncharge(Owner(1), pages).unwrap();
                });
            });
        }
    });
    assert!(owners.usage(Owner(0)).unwrap().high_water <= limit);
    assert_eq!([0, 1].map(|owner| owners.usage(Owner(owner)).unwrap().pages), [0, 0]);
    owners.try_charge(Owner(1), limit).unwrap();
    assert!(owners.try_charge(Owner(1), 1).is_err());
}

#[test]
fn req_49_idle_runs_by_order_are_what_a_buddy_would_list() {
    let pool = pool(1000);
    let by_order = |pool: &GenPool<'_>| {
        pool.idle_runs().iter().enumerate().filter(|(_, runs)| **runs > 0).map(|(o, runs)| (o, *runs)).collect::<Vec<_>>()
    };
    // 1000 = 512 + 256 + 128 + 64 + 32 + 8
    assert_eq!(by_order(&pool), [(3, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1)]);
    pool.alloc_at(at(0), order(0)).unwrap();
    assert_eq!(by_order(&pool), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 1), (5, 2), (6, 2), (7, 2), (8, 2)]);
    pool.free(at(0), order(0)).unwrap();
    assert_eq!(by_order(&pool).len(), 6);
    let total: u64 = pool.idle_runs().iter().enumerate().map(|(o, runs)| runs << o).sum();
    assert_eq!(total, pool.avail());
}

#[test]
fn req_49_a_pool_that_counts_its_idle_runs_says_of_each_order_how_much_is_of_use() {
    let pool = GenPool::new(&Params::new(&[range(0, 1000)]).counting_runs()).unwrap();
    let books = Accounted::new(&pool, (), (), 0);
    let idle = || books.account().idle.unwrap();
    let same = || assert_eq!(idle().by_order(), &pool.idle_runs());
    same();
    let page = books.alloc(order(0), Owner(0), Urgency::Normal).unwrap();
    same();
    books.free(page, order(0), Owner(0)).unwrap();
    same();
    assert_eq!((idle().pages(), idle().largest(), idle().of(order(8))), (1000, Some(order(9)), 1));
    // 1000 = 512 + 256 + 128 + 64 + 32 + 8: in runs below 64 lie 40 of 1000.
    assert_eq!([0, 3, 4, 6, 9, 10].map(|o| idle().unusable(order(o))), [0, 0, 8, 40, 488, 1000]);
    // As bad as it gets: every other page.
    let pages: Vec<_> = (0..1000).map(|_| books.alloc(order(0), Owner(0), Urgency::Normal).unwrap()).collect();
    assert_eq!((idle().pages(), idle().largest(), idle().unusable(order(0))), (0, None, 0));
    pages.iter().filter(|page| page.get() % 2 == 0).for_each(|page| books.free(*page, order(0), Owner(0)).unwrap());
    same();
    assert_eq!([0, 1].map(|o| idle().unusable(order(o))), [0, 1000]);
    assert_eq!(Accounted::new(&support::pool(8), (), (), 0).account().idle, None);
}

#[test]
fn req_50_an_account_asks_nothing_of_the_host_and_the_bare_pool_knows_nothing_of_it() {
    let pool = pool(1 << 20);
    let owners = Owners::<2>::new();
    let books = Accounted::new(&pool, &owners, (), 64);
    let asked = allocation_counter::measure(|| {
        // Taken, refused in every way, given back, proved, read.
        let page = books.alloc(order(0), Owner(0), Urgency::Normal).unwrap();
        let run = books.alloc_run(order(9), Owner(1), Urgency::Critical).unwrap();
        owners.set_limits(Owner(1), Limits { max: 512, ..Limits::NONE }).unwrap();
        assert!(books.alloc(order(0), Owner(1), Urgency::Normal).is_err());
        assert!(books.alloc(order(19), Owner(0), Urgency::Normal).is_ok());
        assert!(books.alloc(order(19), Owner(0), Urgency::Normal).is_err());
        assert!(books.alloc(order(30), Owner(0), Urgency::Critical).is_err());
        drop(run);
        books.free(page, order(0), Owner(0)).unwrap();
        assert_eq!(books.account().used, 1 << 19);
        assert_eq!(pool.idle_runs()[19], 1);
    });
    assert_eq!(asked.count_total, 0, "{asked:?}");
    // The bare pool sees the same pages, and what it does is in no book.
    let (used, before) = (books.account().used, owners.usage(Owner(0)).unwrap());
    let page = books.pool().alloc(order(0)).unwrap();
    assert!(!pool.is_idle(page));
    pool.free(page, order(0)).unwrap();
    assert_eq!((books.account().used, owners.usage(Owner(0)).unwrap()), (used, before));
}

#[test]
fn req_49_the_snapshot_knows_every_run_with_its_state_its_order_and_its_owner() {
    let owners = Owners::<2>::new();
    let vram = [range(0, 1024)];
    let pgmap = Pgmap::new(&Params::new(&vram), Charging::new((), &owners, 0, 1024)).unwrap();
    let folio = pgmap.request_folio_for(at(64), order(6), Owner(1), Urgency::Normal, ()).unwrap();
    let more = folio.clone();
    let _unpaid = pgmap.request_folio(at(128), order(0)).unwrap();
    let _block = pgmap.request_block(at(256), order(8)).unwrap();
    let walk = || {
        let run = |(run, payer): (SnapshotRun, Option<Owner>)| (run.start.get(), run.pages, run.state, payer);
        pgmap.snapshot_with_payers().map(run).collect::<Vec<_>>()
    };
    let folio_of = |o, refs| RunState::Folio { order: order(o), refs };
    let expected = [
        (0, 64, RunState::Idle, None),
        (64, 64, folio_of(6, 2), Some(Owner(1))),
        (128, 1, folio_of(0, 1), None),
        (129, 127, RunState::Idle, None),
        (256, 256, RunState::Block, None),
        (512, 512, RunState::Idle, None),
    ];
    assert_eq!(walk(), expected);
    let asked = allocation_counter::measure(|| {
        assert_eq!((pgmap.snapshot_with_payers().count(), pgmap.snapshot_with_data().count()), (6, 6));
    });
    assert_eq!(asked.count_total, 0, "{asked:?}");
    drop((folio, more));
    assert_eq!(walk()[0], (0, 128, RunState::Idle, None));
}

#[cfg(feature = "serde")]
#[test]
fn req_49_the_snapshot_and_the_census_can_be_written_down() {
    let vram = [range(0, 64)];
    let pgmap = Pgmap::new(&Params::new(&vram), ()).unwrap();
    let _folio = pgmap.request_folio(at(8), order(3)).unwrap();
    let runs: Vec<_> = pgmap.snapshot().collect();
    let written = serde_json::to_value(&runs).unwrap();
    assert_eq!((&written[0]["start"], &written[0]["pages"], &written[0]["state"]), (&0.into(), &8.into(), &"Idle".into()));
    assert_eq!(written[1]["state"]["Folio"], serde_json::json!({ "order": 3, "refs": 1 }));
    assert_eq!(serde_json::to_value(pgmap.validate().unwrap()).unwrap()["in_service"], 8);
}

#[cfg(feature = "serde")]
#[test]
fn req_49_the_account_can_be_written_down() {
    let pool = pool(512);
    let books = Accounted::new(&pool, (), (), 0);
    books.alloc(order(3), Owner(0), Urgency::Normal).unwrap();
    let written = serde_json::to_value(books.account()).unwrap();
    assert_eq!((&written["size"], &written["used"], &written["taken"][3]), (&512.into(), &8.into(), &1.into()));
    assert_eq!(written["refusals"]["no_space"], 0);
    let counting = GenPool::new(&Params::new(&[range(0, 512)]).counting_runs()).unwrap();
    let written = serde_json::to_value(Accounted::new(&counting, (), (), 0).account()).unwrap();
    assert_eq!(written["idle"][9], 1);
}

/// The high water is the most that was held: a refused free does not lower it by the way, a refused allocation does not raise it.
#[test]
fn req_64_the_high_water_is_never_too_low_and_no_refusal_raises_it() {
    let pool = pool(1 << 18);
    let owners = Owners::<1>::new();
    let books = Accounted::new(&pool, &owners, (), 1 << 10);
    let usage = || owners.usage(Owner(0)).unwrap();
    let sixteen = order(4);
    for _ in 0..1024 {
        books.alloc(sixteen, Owner(0), Urgency::Normal).unwrap();
    }
    let last = at((1 << 18) - 16);
    assert!(pool.is_idle(last));
    for round in 0..1000 {
        let (before, account) = (usage(), books.account());
        let double = ReturnError::Refused { error: FreeError::DoubleFree { page: last } };
        assert_eq!(books.free(last, sixteen, Owner(0)), Err(double));
        assert_eq!((usage(), books.account()), (before, account), "round {round}");
        // By the pool, which has no such run left in one piece, and by the watermark.
        let (before, high) = (usage(), books.account().high_water);
        assert!(books.alloc(order(18), Owner(0), Urgency::Critical).is_err());
        assert!(books.alloc(order(18), Owner(0), Urgency::Normal).is_err());
        let after = usage();
        assert_eq!((after.pages, after.high_water), (before.pages, before.high_water), "round {round}");
        assert_eq!(books.account().high_water, high, "round {round}");
        books.alloc(sixteen, Owner(0), Urgency::Normal).unwrap();
        assert!(usage().high_water >= usage().pages && books.account().high_water >= books.account().used, "round {round}");
    }
    // What comes back afterwards makes neither less.
    let most = usage().pages;
    (0..64).for_each(|run| books.free(at(run * 16), sixteen, Owner(0)).unwrap());
    assert!(usage().high_water >= most && usage().high_water <= most + most / 64);
    assert!(books.account().high_water >= most && books.account().high_water <= most + most / 64);
}

/// What was drawn for an allocation that was refused lies in stock: whoever has it from there has it for the first time.
#[test]
fn req_64_what_is_taken_from_stock_is_in_the_high_water() {
    let pool = pool(1 << 20);
    let owners = Owners::<1>::new();
    let books = Accounted::new(&pool, &owners, (), 16);
    pool.alloc_extent(&ExtentParams::new(1 << 20)).unwrap();
    assert!(books.alloc(order(0), Owner(0), Urgency::Normal).is_err());
    assert_eq!((books.account().used, books.account().high_water), (0, 0));
    pool.free(at(0), order(4)).unwrap();
    for _ in 0..16 {
        books.alloc(order(0), Owner(0), Urgency::Normal).unwrap();
        let account = books.account();
        assert!(account.high_water >= account.used, "{account:?}");
    }
}
