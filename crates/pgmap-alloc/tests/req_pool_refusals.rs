//! Requirement 44: a refusal says which it is: order, window, owner limit, lack of space, or fragmentation.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    Accounted, AccountedError, AllocError, AllocExtentError, ExtentParams, GenPool, Limits, Offset, Order, Owner, Owners, Params,
    PerCpu, Pgmap, ReserveError, Urgency,
};
use support::{at, order, pgmap, pool, range, window};

const SCATTERED: AllocError = AllocError::Fragmented { cached: 0 };
const FULL: AllocError = AllocError::NoSpace { cached: 0 };

/// Takes all of a pool but runs of `2^hole` pages, so many, each at a multiple of `step`.
fn leave(pool: &GenPool<'_>, hole: u32, step: u64, holes: u64) {
    for page in 0..pool.size() {
        pool.alloc_at(at(page), order(0)).unwrap();
    }
    for index in 0..holes {
        pool.free(at(index * step), order(hole)).unwrap();
    }
}

#[test]
fn req_44_a_bare_pool_tells_scattered_pages_from_too_few() {
    let pool = pool(4096);
    leave(&pool, 2, 8, 256);
    // 1,024 pages are idle, in runs of 4.
    assert_eq!(pool.alloc(order(3)), Err(SCATTERED));
    assert_eq!(pool.alloc(order(10)), Err(SCATTERED));
    assert_eq!(pool.alloc(order(11)), Err(FULL));
    assert_eq!(pool.alloc(order(13)), Err(AllocError::TooLarge));
    assert_eq!(pool.alloc_up_to(order(12), order(3)), Err(SCATTERED));
    assert_eq!(pool.alloc_up_to(order(12), order(11)), Err(FULL));
    assert_eq!(pool.alloc_extent(&ExtentParams::new(5)), Err(AllocExtentError::Fragmented { cached: 0 }));
    let outside = ExtentParams::new(1).within(window(4096, 5000));
    assert_eq!(pool.alloc_extent(&outside), Err(AllocExtentError::WindowOutside));
    assert_eq!(pool.avail(), 1024);
    while pool.alloc(order(0)).is_ok() {}
    assert_eq!(pool.alloc(order(0)), Err(FULL));
    assert_eq!(pool.alloc(order(3)), Err(FULL));
}

#[test]
fn req_44_many_runs_are_refused_for_what_all_together_lack() {
    let pool = GenPool::<8>::boxed(&Params::new(&[range(0, 4096)]).taking_reservations()).unwrap();
    // Runs of 8 and of 4 pages: 512 pages in 64 of the former and none in the latter, then 64 pages more that do not do.
    leave(&pool, 3, 16, 64);
    (0..16).for_each(|index| pool.free(at(2048 + index * 16), order(2)).unwrap());
    assert_eq!(pool.avail(), 576);
    let mut out = [Offset::new(0); 80];
    // 66 runs have 528 pages, which are there; 73 have 584, which are not.
    assert_eq!(pool.alloc_many(order(3), &mut out[..66]), Err(SCATTERED));
    assert_eq!(pool.alloc_many(order(3), &mut out[..73]), Err(FULL));
    let reserve = |runs: usize, room: &mut [Offset]| pool.reserve(order(3), &mut room[..runs]).map(drop);
    assert_eq!(reserve(66, &mut out), Err(ReserveError::Refused { error: SCATTERED }));
    assert_eq!(reserve(73, &mut out), Err(ReserveError::Refused { error: FULL }));
    let mut handle = pool.local().unwrap();
    assert_eq!(handle.alloc_many(order(3), &mut out[..66]), Err(SCATTERED));
    assert_eq!(handle.alloc_many(order(3), &mut out[..73]), Err(FULL));
    assert_eq!(pool.avail(), 576, "nothing is kept");
}

#[test]
fn req_44_handles_and_pgmaps_say_the_same() {
    let pool = pool(1024);
    leave(&pool, 0, 2, 512);
    assert_eq!(pool.local().unwrap().alloc(order(1)).map(drop), Err(SCATTERED));
    assert_eq!(pool.local().unwrap().alloc(order(10)).map(drop), Err(FULL));
    let pgmap = Pgmap::new(&Params::new(&[range(0, 1024)]), ()).unwrap();
    let mut blocks: Vec<_> = (0..1024).map(|_| pgmap.alloc_block(order(0)).unwrap()).collect();
    blocks.retain(|block| block.offset().get() % 2 == 0);
    assert_eq!(pgmap.alloc_folio(order(3)).map(drop), Err(SCATTERED));
    assert_eq!(pgmap.alloc_block(order(9)).map(drop), Err(SCATTERED));
    assert_eq!(pgmap.alloc_block(order(10)).map(drop), Err(FULL));
}

#[test]
fn req_44_a_pool_with_an_account_says_too_whether_the_owner_is_why() {
    let pool = pool(1024);
    let owners = Owners::<1>::new();
    let books = Accounted::new(&pool, &owners, (), 0);
    let alloc = |o| books.alloc(order(o), Owner(0), Urgency::Normal);
    assert_eq!(alloc(11), Err(AccountedError::Pool { error: AllocError::TooLarge }));
    let pages: Vec<_> = (0..1024).map(|_| alloc(0).unwrap()).collect();
    assert_eq!(alloc(0), Err(AccountedError::Pool { error: AllocError::NoSpace { cached: 0 } }));
    for page in pages.iter().filter(|page| page.get() % 2 == 0) {
        books.free(*page, order(0), Owner(0)).unwrap();
    }
    assert_eq!(alloc(1), Err(AccountedError::Fragmented { idle: 512 }));
    owners.set_limits(Owner(0), Limits { max: 512, ..Limits::NONE }).unwrap();
    assert!(matches!(alloc(0), Err(AccountedError::Owner { .. })));
    let refusals = books.account().refusals;
    assert_eq!((refusals.too_large, refusals.no_space, refusals.fragmented, refusals.owner), (1, 1, 1, 1));
    assert_eq!((refusals.contended, refusals.watermark), (0, 0));
}

/// A handle that has room hears of the refusal all the same: at its next free it gives all back.
#[test]
fn req_44_a_handle_gives_all_back_at_its_next_free_after_a_refusal() {
    let pool = pool(512);
    let mut handle = pool.local().unwrap();
    let (one, other) = (handle.alloc(Order::ZERO).unwrap(), handle.alloc(Order::ZERO).unwrap());
    handle.free(one).unwrap();
    assert_eq!(pool.alloc(order(9)), Err(AllocError::NoSpace { cached: 63 }));
    handle.free(other).unwrap();
    assert_eq!(handle.cached(), 0);
    let whole = pool.alloc(order(9)).unwrap();
    pool.free(whole, order(9)).unwrap();

    let pgmap = pgmap(&[range(0, 512)]);
    let mut handle = pgmap.local().unwrap();
    let (one, other) = (handle.alloc_folio(Order::ZERO).unwrap(), handle.alloc_folio(Order::ZERO).unwrap());
    handle.put(one).unwrap();
    assert_eq!(pgmap.alloc_folio(order(9)).map(drop), Err(AllocError::NoSpace { cached: 63 }));
    handle.put(other).unwrap();
    assert_eq!(handle.cached(), 0);
    pgmap.alloc_folio(order(9)).unwrap();
}

/// The same through handles that all share, where the pool itself refuses; they drain themselves before they do.
#[test]
fn req_44_handles_that_all_share_hear_of_a_refusal_too() {
    let pool = pool(512);
    let cpus = PerCpu::new(&pool);
    let (one, other) = (cpus.on(0).alloc(Order::ZERO).unwrap(), cpus.on(0).alloc(Order::ZERO).unwrap());
    cpus.on(0).free(one).unwrap();
    assert_eq!(pool.alloc(order(9)), Err(AllocError::NoSpace { cached: 63 }));
    cpus.on(0).free(other).unwrap();
    let whole = pool.alloc(order(9)).unwrap();
    pool.free(whole, order(9)).unwrap();
}

/// A handle works in a table all of whose pages have come back by other ways: it is merged, and is idle as a whole.
#[test]
fn req_44_a_table_that_a_handle_works_in_is_merged_when_it_is_whole() {
    for ask in [|pool: &GenPool<'_>| pool.alloc(order(9)).is_ok(), |pool: &GenPool<'_>| pool.alloc_at(at(0), order(9)).is_ok()] {
        let pool = pool(512);
        let mut handle = pool.local().unwrap();
        let pages: Vec<_> = (0..64).map(|_| handle.alloc(Order::ZERO).unwrap().into_raw()).collect();
        pages.iter().for_each(|page| pool.free(page.start(), Order::ZERO).unwrap());
        assert_eq!((handle.cached(), pool.avail()), (0, 512));
        assert!(ask(&pool));
        // The handle finds that it has no table any more.
        assert!(handle.alloc(Order::ZERO).is_err());
    }
}

/// The last pages of a table come back one by one when a handle gives its oldest back.
#[test]
fn req_44_a_table_that_a_handle_completes_is_merged() {
    let ranges = [range(0, 4 * 512)];
    // In a pool that keeps what came back a moment ago, whoever lists that sees that the table is whole.
    for params in [Params::new(&ranges), Params::new(&ranges).packing_tightly()] {
        let pool = GenPool::<8>::boxed(&params).unwrap();
        let mut handle = pool.local().unwrap();
        let mut taken: Vec<_> = (0..4 * 512).map(|_| handle.alloc(Order::ZERO).unwrap()).collect();
        // Table by table, and no neighbours within a word one after another.
        taken.sort_by_key(|page| (page.offset().get() / 512, (page.offset().get() as u8).reverse_bits(), page.offset()));
        taken.drain(..2 * 512).for_each(|page| handle.free(page).unwrap());
        assert_eq!(pool.alloc_at(at(0), order(9)), Ok(()));
        taken.into_iter().for_each(|page| handle.free(page).unwrap());
    }
}
