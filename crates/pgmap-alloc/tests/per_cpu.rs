//! Handles that all share: any number of callers, from anywhere, and nothing that stays behind in them.

#![cfg(all(feature = "alloc", not(loom)))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgmap_alloc::{AfterFree, AllocError, GenPool, Order, PerCpu, PutError, Refused, Taken};
use support::{Map, Random, assert_whole, leaked, order, partition, pgmap, pool, range};

#[test]
fn what_is_freed_is_at_hand_on_that_cpu() {
    let pool = pool(1 << 12);
    let cpus = PerCpu::new(&pool);
    let taken = cpus.on(3).alloc(order(2)).unwrap();
    let start = taken.offset();
    cpus.on(3).free(taken).unwrap();
    assert!(pool.avail() < pool.size(), "to others it looks taken");
    let other = cpus.on(4).alloc(order(2)).unwrap();
    assert_ne!(other.offset(), start);
    let again = cpus.on(3 + 16).alloc(order(2)).unwrap();
    assert_eq!(again.offset(), start, "numbers from CPUS on begin anew");
    cpus.on(3).free(again).unwrap();
    cpus.on(3).free(other).unwrap();
    cpus.drain();
    assert_whole(&pool);
}

#[test]
fn req_44_nobody_is_refused_what_lies_in_another_cpu_s_handle() {
    let pool = pool(1 << 10);
    let cpus = PerCpu::new(&pool);
    let all: Vec<Taken<'_>> = (0..1 << 10).map(|page| cpus.on(page).alloc(Order::ZERO).unwrap()).collect();
    assert!(matches!(cpus.here().alloc(Order::ZERO), Err(AllocError::NoSpace { .. })), "and each page was handed out");
    for (page, taken) in all.into_iter().enumerate() {
        cpus.on(page / 7).free(taken).unwrap();
    }
    let whole = cpus.on(15).alloc(order(10)).unwrap();
    assert_eq!(whole.order(), order(10), "out of what sixteen handles had");
    cpus.on(0).free(whole).unwrap();
    drop(cpus);
    assert_whole(&pool);
}

#[test]
fn req_29_a_run_or_folio_of_another_comes_back() {
    let pools = [pool(64), pool(64)];
    let (first, second) = (PerCpu::new(&pools[0]), PerCpu::new(&pools[1]));
    let taken = second.here().free(first.here().alloc(Order::ZERO).unwrap()).unwrap_err();
    first.here().free(taken).unwrap();

    let maps = [pgmap(&[range(0, 64)]), pgmap(&[range(0, 64)])];
    let (first, second) = (PerCpu::new(&maps[0]), PerCpu::new(&maps[1]));
    let Refused { error, value: folio } = second.here().put(first.here().alloc_folio(Order::ZERO).unwrap()).unwrap_err();
    assert_eq!(error, PutError::Foreign);
    first.here().put(folio).unwrap();
    first.drain();
    maps.iter().for_each(|map| assert_eq!(partition(map).idle, 64));
}

/// `folio_free` runs before the handle is entered, which it may use; in a handle that is in use it finds another one, and the shared path
/// when there is none.
#[test]
fn req_19_folio_free_may_allocate_from_the_same_cpu() {
    fn nested<const CPUS: usize>(in_use: bool) {
        let map: &'static Map = leaked(&[range(0, 1 << 10)]);
        let cpus: &'static PerCpu<'static, Map, CPUS> = Box::leak(Box::new(PerCpu::with_cpus(map)));
        let inside = move |_| {
            cpus.on(0).with(|handle| assert_eq!(handle.is_some(), !in_use || CPUS > 1));
            std::mem::forget(cpus.on(0).alloc_folio(order(3)).unwrap());
            AfterFree::Release
        };
        map.ops().on_free.set(Box::new(inside)).ok().unwrap();
        let folio = cpus.on(0).alloc_folio(Order::ZERO).unwrap();
        let put = |folio| if in_use { cpus.on(0).with(|handle| handle.unwrap().put(folio)) } else { cpus.on(0).put(folio) };
        put(folio).unwrap();
        cpus.drain();
        let census = partition(map);
        assert_eq!((map.ops().calls(), census.in_service, census.block), (1, 8, 0));
    }
    for in_use in [false, true] {
        nested::<1>(in_use);
        nested::<2>(in_use);
    }
}

#[test]
fn without_a_handle_left_calls_take_the_shared_path() {
    let pool = pool(1 << 12);
    let handles: Vec<_> = std::iter::from_fn(|| pool.local()).collect();
    let cpus = PerCpu::new(&pool);
    let taken = cpus.here().alloc(order(5)).unwrap();
    cpus.here().with(|handle| assert!(handle.is_none()));
    cpus.here().free(taken).unwrap();
    drop(handles);
    assert_whole(&pool);
    let taken = cpus.here().alloc(order(5)).unwrap();
    cpus.here().with(|handle| assert!(handle.is_some(), "as soon as there is one"));
    cpus.here().free(taken).unwrap();
}

#[test]
fn req_26_a_killed_pgmap_takes_back_what_its_cpus_have() {
    let map = pgmap(&[range(0, 1 << 10)]);
    let cpus = PerCpu::new(&map);
    cpus.on(1).put(cpus.on(1).alloc_folio(Order::ZERO).unwrap()).unwrap();
    let held = cpus.on(2).alloc_folio(Order::ZERO).unwrap();
    let killed = map.kill();
    assert_eq!(cpus.on(1).alloc_folio(Order::ZERO).unwrap_err(), AllocError::Dying);
    cpus.on(2).put(held).unwrap();
    cpus.drain();
    let _ = killed.drain(|_| ());
    assert_eq!(partition(&map).idle, 1 << 10);
}

/// Threads that share fewer handles than they are: no run is out twice, and all come back.
#[test]
fn req_14_many_threads_share_few_handles() {
    const PAGES: u64 = 1 << 14;
    let pool = pool(PAGES);
    let cpus: PerCpu<'_, GenPool<'_>, 2> = PerCpu::with_cpus(&pool);
    let owned: Vec<AtomicBool> = (0..PAGES).map(|_| false.into()).collect();
    let mark = |taken: &Taken<'_>, is: bool| {
        for page in taken.offset().get()..taken.offset().get() + taken.order().pages() {
            assert_ne!(owned[page as usize].swap(is, Ordering::AcqRel), is, "page {page}");
        }
    };
    thread::scope(|scope| {
        for seed in 0..4 {
            let (cpus, mark) = (&cpus, &mark);
            scope.spawn(move || {
                let (mut random, mut mine) = (Random::new(seed), Vec::new());
                for _ in 0..20_000 {
                    if random.below(64) as usize > mine.len() {
                        let Ok(taken) = cpus.here().alloc(order(random.below(7) as u32)) else { continue };
                        mark(&taken, true);
                        mine.push(taken);
                    } else if !mine.is_empty() {
                        let taken = mine.swap_remove(random.below(mine.len() as u64) as usize);
                        mark(&taken, false);
                        cpus.here().free(taken).unwrap();
                    }
                }
                for taken in mine {
                    mark(&taken, false);
                    cpus.here().free(taken).unwrap();
                }
            });
        }
    });
    assert!(owned.iter().all(|page| !page.load(Ordering::Acquire)));
    cpus.drain();
    assert_whole(&pool);
}
