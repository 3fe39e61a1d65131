//! Requirements 42, 43 and 45: many runs in one call, and two phases.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    AllocError, Extent, FreeError, FreeManyError, GenPool, Mode, Offset, Order, PageWord, Params, PoolNeeds, ReserveError, Run,
    ScatterError, ScatterParams, fit,
};
use support::{at, order, pool, range, word};

/// A pool in which every run of `2^order` pages has exactly its first page taken.
fn riddled(pages: u64, hole: u32) -> GenPool<'static> {
    let pool = pool(pages);
    for page in (0..pages).step_by(1 << hole) {
        pool.alloc_at(at(page), order(0)).unwrap();
    }
    pool
}

#[test]
fn req_42_alloc_up_to_takes_the_largest_there_is_down_to_a_floor() {
    let pool = riddled(4096, 6);
    // Of each 64 pages the first is taken: the largest run that is left has 32.
    assert_eq!(pool.alloc_up_to(order(10), order(0)).unwrap().order(), order(5));
    assert_eq!(pool.alloc_up_to(order(3), order(0)).unwrap().order(), order(3));
    assert_eq!(pool.alloc_up_to(order(10), order(6)), Err(AllocError::Fragmented { cached: 0 }));
    assert_eq!(pool.alloc_up_to(order(20), order(13)), Err(AllocError::TooLarge));
    assert_eq!(pool.alloc_up_to(order(2), order(9)).unwrap().order(), order(2), "a floor above counts as the order itself");
    // The same page by page: no more, no less than there is.
    let mut pages = 32 + 8 + 4 + 64;
    while let Ok(run) = pool.alloc_up_to(order(12), order(0)) {
        pages += run.pages();
    }
    assert_eq!(pages, 4096);
}

#[test]
fn req_42_alloc_many_is_all_or_nothing_and_alloc_some_a_best_effort() {
    let pool = pool(1000);
    let mut out = [at(u64::MAX); 700];
    pool.alloc_many(order(0), &mut out).unwrap();
    let mut seen = out.to_vec();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), pool.avail()), (700, 300));
    assert!(seen.iter().all(|&page| pool.has_offset(page) && !pool.is_idle(page)));

    let mut more = [at(u64::MAX); 301];
    assert_eq!(pool.alloc_many(order(0), &mut more), Err(AllocError::NoSpace { cached: 0 }));
    assert_eq!(pool.avail(), 300, "nothing is kept of what could not be whole");
    assert_eq!(pool.alloc_some(order(0), &mut more), 300);
    assert_eq!(pool.avail(), 0);
    pool.free_many(order(0), &out).unwrap();
    pool.free_many(order(0), &more[..300]).unwrap();
    assert_eq!(pool.avail(), 1000);
    assert_eq!(pool.alloc(order(9)), Ok(at(0)));

    let mut large = [at(0); 3];
    assert_eq!(pool.alloc_some(order(7), &mut large), 3);
    assert_eq!(pool.alloc_many(order(0), &mut []), Ok(()));
    assert!(large.iter().all(|start| start.is_aligned(order(7))));
}

#[test]
fn req_42_alloc_many_takes_scattered_pages_when_there_is_nothing_else() {
    let pool = riddled(4096, 1);
    let mut out = [at(0); 2048];
    pool.alloc_many(order(0), &mut out).unwrap();
    assert!(out.iter().all(|page| page.get() % 2 == 1));
    // Backwards, so that no two neighbours of the list are neighbours in a word's order.
    out.reverse();
    pool.free_many(order(0), &out).unwrap();
    assert_eq!(pool.avail(), 2048);
}

#[test]
fn req_42_scattered_pages_come_in_as_few_runs_as_possible() {
    let pool = riddled(4096, 6);
    let mut out = [Run::new(at(0), order(0)).unwrap(); 64];
    // 32 + 32 + 16 + 8 + 4 + 1
    let runs = pool.alloc_scattered(&ScatterParams::new(93), &mut out).unwrap();
    assert_eq!(runs.iter().map(|run| run.order().get()).collect::<Vec<_>>(), [5, 5, 4, 3, 2, 0]);
    let avail = pool.avail();
    assert_eq!(avail, 4096 - 64 - 93);
    let refused = |params: ScatterParams, room| {
        let mut out = vec![Run::new(at(0), order(0)).unwrap(); room];
        let error = pool.alloc_scattered(&params, &mut out).unwrap_err();
        assert_eq!(pool.avail(), avail, "{error}");
        error
    };
    assert_eq!(refused(ScatterParams::new(0), 8), ScatterError::NoPages);
    assert_eq!(refused(ScatterParams::new(32).in_blocks_of(order(6)), 8), ScatterError::MinBlockTooLarge { pages: 32 });
    assert_eq!(refused(ScatterParams::new(63).in_blocks_of(order(3)), 8), ScatterError::NoMultiple { pages: 63 });
    assert_eq!(refused(ScatterParams::new(64).in_blocks_of(order(6)), 8), ScatterError::Fragmented { cached: 0 });
    assert_eq!(refused(ScatterParams::new(128), 3), ScatterError::ListFull { room: 3, cached: 0 });
    assert_eq!(refused(ScatterParams::new(u64::MAX), 3), ScatterError::TooLarge { pages: u64::MAX });
    assert_eq!(refused(ScatterParams::new(avail + 1), 4096), ScatterError::NoSpace { idle: avail, cached: 0 });
    let window = Extent::new(at(1000), 100).unwrap();
    assert_eq!(refused(ScatterParams::new(101).within(window), 8), ScatterError::LargerThanWindow { pages: 101 });
    assert_eq!(refused(ScatterParams::new(1).within(Extent::new(at(4096), 9).unwrap()), 8), ScatterError::WindowOutside);

    // All of a window, and only that.
    let idle = pool.avail_in(window);
    let runs = pool.alloc_scattered(&ScatterParams::new(idle).within(window).by(Mode::TopDown(fit::first_fit)), &mut out).unwrap();
    assert!(runs.iter().all(|run| window.common((*run).into()) == Some((*run).into())));
    assert_eq!((pool.avail_in(window), pool.avail()), (0, avail - idle));
}

#[test]
fn req_43_a_list_with_a_bad_free_says_how_far_it_came() {
    let pool = pool(1000);
    let mut out = [at(0); 130];
    pool.alloc_many(order(0), &mut out).unwrap();
    out.sort();
    let twice = [out[3], out[4], out[5], out[4], out[6]];
    let error = FreeError::DoubleFree { page: out[4] };
    assert_eq!(pool.free_many(order(0), &twice), Err(FreeManyError::Refused { index: 3, error }));
    assert_eq!(pool.avail(), 873, "three were freed, and no more");
    assert_eq!(pool.free_many(order(0), &[out[6], out[7], out[4], out[8]]), Err(FreeManyError::Refused { index: 2, error }));
    assert_eq!(pool.avail(), 875);
    let outside = FreeManyError::Refused { index: 1, error: FreeError::OutOfRange };
    assert_eq!(pool.free_many(order(0), &[out[8], at(1000)]), Err(outside));
    let crooked = FreeManyError::Refused { index: 0, error: FreeError::Misaligned };
    assert_eq!(pool.free_many(order(1), &[at(1)]), Err(crooked));
    assert_eq!(pool.avail(), 876);
    pool.free_many(order(0), &out[9..]).unwrap();
    pool.free_many(order(0), &out[..3]).unwrap();
    assert_eq!(pool.avail(), 1000);
}

fn reserving(pages: u64) -> GenPool<'static> {
    GenPool::new(&Params::new(&[range(0, pages)]).taking_reservations()).unwrap()
}

#[test]
fn req_45_what_is_reserved_can_be_committed_without_failing() {
    let pool = reserving(1024);
    let mut room = [at(0); 5];
    let mut reserved = pool.reserve(order(7), &mut room).unwrap();
    assert_eq!((reserved.left(), pool.avail()), (5, 1024 - 5 * 128));
    let first = reserved.commit_one().unwrap();
    // Nothing else is idle, and nothing is needed.
    let mut rest = [at(0); 384];
    pool.alloc_many(order(0), &mut rest).unwrap();
    let held = reserved.commit();
    assert_eq!(held.len(), 4);
    pool.free(first, order(7)).unwrap();
    held.iter().for_each(|start| pool.free(*start, order(7)).unwrap());
    pool.free_many(order(0), &rest).unwrap();
    assert_eq!(pool.alloc(order(10)), Ok(at(0)));
}

#[test]
fn req_45_a_reservation_that_is_dropped_or_refused_leaves_nothing() {
    let pool = reserving(1024);
    let mut room = [at(0); 8];
    drop(pool.reserve(order(3), &mut room).unwrap());
    assert_eq!(pool.avail(), 1024);
    let refused = ReserveError::Refused { error: AllocError::NoSpace { cached: 0 } };
    assert_eq!(pool.reserve(order(8), &mut room).unwrap_err(), refused, "there are only four of these");
    assert_eq!(pool.reserve(order(30), &mut room).unwrap_err(), ReserveError::Refused { error: AllocError::TooLarge });
    assert_eq!(pool.reserve(order(0), &mut []).unwrap_err(), ReserveError::NoRuns);
    assert_eq!(pool.avail(), 1024);
    let mut reserved = pool.reserve(order(0), &mut room).unwrap();
    assert!(reserved.commit_one().is_some());
    drop(reserved);
    assert_eq!(pool.avail(), 1023, "what was committed stays");
    // Nothing is held any more: the one page is an ordinary one.
    let page = (0..1024).map(at).find(|page| !pool.is_idle(*page)).unwrap();
    pool.free(page, order(0)).unwrap();
}

#[test]
fn req_45_every_run_of_a_pool_can_be_reserved() {
    let pages = 1 << 15;
    let pool = reserving(pages);
    let mut room = vec![at(0); pages as usize];
    let reserved = pool.reserve(order(0), &mut room).unwrap();
    assert_eq!(pool.avail(), 0);
    for page in (0..pages).map(at) {
        assert_eq!(pool.free(page, order(0)), Err(FreeError::Held { page }));
    }
    drop(reserved);
    assert_eq!(pool.alloc(order(15)), Ok(at(0)));
    pool.free(at(0), order(15)).unwrap();
}

#[test]
fn req_45_a_pool_takes_reservations_if_it_was_built_for_them_and_pays_nothing_else() {
    let silent = pool(1024);
    assert_eq!(silent.reserve(order(0), &mut [at(0)]).unwrap_err(), ReserveError::NotTaken);
    assert_eq!(silent.avail(), 1024);
    let ranges = [range(0, 1 << 20)];
    let needs = |params: Params<'_>| PoolNeeds::of::<8>(&params).unwrap().tables;
    let (without, with) = (needs(Params::new(&ranges)), needs(Params::new(&ranges).taking_reservations()));
    // One bit per page, and two for each entry above.
    assert_eq!(with - without, 2048 + 2 * 4 + 2);
}

#[test]
fn req_45_what_a_reservation_holds_cannot_be_freed() {
    let pool = reserving(1024);
    let mut room = [at(0); 1];
    let reserved = pool.reserve(order(4), &mut room).unwrap();
    let start = (0..1024).map(at).find(|page| !pool.is_idle(*page)).unwrap();
    let held = |page: u64| FreeError::Held { page: at(start.get() + page) };
    assert_eq!(pool.free(start, order(4)), Err(held(0)));
    assert_eq!(pool.free(at(start.get() + 3), order(0)), Err(held(3)), "nor a part");
    assert_eq!(pool.free_extent(Extent::new(start, 5).unwrap()), Err(held(0)));
    assert_eq!(pool.free_many(order(0), &[start]), Err(FreeManyError::Refused { index: 0, error: held(0) }));
    assert_eq!(pool.avail(), 1008);
    reserved.commit();
    pool.free(start, order(4)).unwrap();
    assert_eq!(pool.free(start, order(4)), Err(FreeError::DoubleFree { page: start }));
}

#[test]
fn req_45_a_free_of_more_or_less_than_what_is_held_is_refused_at_every_order() {
    let pages = 1u64 << 20;
    let pool = reserving(pages);
    let whole = pool.largest_order();
    for held in [0, 3, 6, 7, 8, 9, 12, 16, 17, 18, 19] {
        let mut room = [at(0); 2];
        let reserved = pool.reserve(order(held), &mut room).unwrap();
        // Everything else is taken as well, so that nothing but the marks can refuse.
        let mut out = [Run::new(at(0), order(0)).unwrap(); 64];
        let rest =
            pool.alloc_scattered(&ScatterParams::new(pool.avail().max(1)), &mut out).map(<[Run]>::to_vec).unwrap_or_default();
        assert_eq!(pool.avail(), 0);
        let is_rest = |page: Offset| rest.iter().any(|run| run.contains(page));
        let first = (0..pages).map(at).find(|page| !is_rest(*page)).unwrap();
        for freed in 0..=whole.get() {
            let start = first.align_down(order(freed));
            let Err(FreeError::Held { page }) = pool.free(start, order(freed)) else { panic!("order {freed} over {held}") };
            assert!(!is_rest(page) && page >= start);
        }
        let starts = reserved.commit().to_vec();
        // Now the same free goes through, hints that are left behind or not.
        rest.iter().for_each(|run| pool.free(run.start(), run.order()).unwrap());
        starts.iter().for_each(|start| pool.free(*start, order(held)).unwrap());
        assert_eq!(pool.avail(), pages);
        let all = pool.alloc(whole).unwrap();
        let mut none = [at(0)];
        assert!(pool.reserve(order(0), &mut none).is_err());
        pool.free(all, whole).unwrap();
    }
    // While a reservation lives, frees of what others have go through at every order.
    let mut room = [at(0); 1];
    let _reserved = pool.reserve(order(0), &mut room).unwrap();
    for order in (0..whole.get()).map(order) {
        let run = pool.alloc(order).unwrap();
        pool.free(run, order).unwrap();
    }
}

/// A pool of which all pages of the first table are taken, and its listing has been put right, once it has been somebody's spare.
fn taken_but_a_spare_once(tables: u64) -> &'static GenPool<'static> {
    let pool: &'static GenPool<'static> = Box::leak(Box::new(pool(tables * 512)));
    (1..tables).for_each(|table| pool.alloc_at(at(table * 512), order(9)).unwrap());
    let pages: Vec<_> = (0..512).map(|_| pool.alloc(Order::ZERO).unwrap()).collect();
    pages.iter().for_each(|page| pool.free(*page, Order::ZERO).unwrap());
    [0, 256].iter().for_each(|&half| pool.alloc_at(at(half), order(8)).unwrap());
    assert!(pool.alloc(Order::ZERO).is_err());
    pool
}

/// Which thread gave a run back is no matter. Where its stack lies decides what it shares with whom, so many try.
#[test]
fn req_42_a_larger_run_that_another_thread_gave_back_is_taken_first() {
    for _ in 0..16 {
        let pool = taken_but_a_spare_once(2);
        pool.free(at(0), order(4)).unwrap();
        // Lists it.
        assert_eq!(pool.avail(), 16);
        std::thread::spawn(|| pool.free(at(64), order(5)).unwrap()).join().unwrap();
        let [first, second] = [0, 1].map(|_| pool.alloc_up_to(order(9), Order::ZERO).unwrap().order());
        assert_eq!([first, second], [order(5), order(4)]);
        assert_eq!(pool.largest_idle(), None);
        pool.free(at(64), order(5)).unwrap();
        assert_eq!(pool.largest_idle(), Some(order(5)));
    }
}

#[test]
fn req_44_a_list_that_would_do_is_not_too_short() {
    for _ in 0..16 {
        let pool = taken_but_a_spare_once(3);
        (0..16).for_each(|run| pool.free(at(512 + run * 32), order(4)).unwrap());
        assert_eq!(pool.avail(), 256);
        std::thread::spawn(|| pool.free(at(0), order(8)).unwrap()).join().unwrap();
        let mut out = [Run::new(at(0), Order::ZERO).unwrap(); 17];
        assert_eq!(pool.alloc_scattered(&ScatterParams::new(512), &mut out).unwrap().len(), 17);
        out.iter().for_each(|run| pool.free(run.start(), run.order()).unwrap());
        let short = pool.alloc_scattered(&ScatterParams::new(512), &mut out[..16]);
        assert_eq!(short, Err(ScatterError::ListFull { room: 16, cached: 0 }));
        assert_eq!(pool.avail(), 512);
    }
}

/// A list that is too short is not what is missing where the pages are not there either.
#[test]
fn req_44_a_list_is_called_too_short_only_where_a_longer_one_would_do() {
    let pool = pool(1024);
    let mut out = [Run::new(at(0), Order::ZERO).unwrap(); 4];
    let mut words = [PageWord::EMPTY; 2];
    pool.alloc_at(at(0), order(9)).unwrap();
    pool.free(at(7), Order::ZERO).unwrap();
    let refusal = pool.alloc_scattered(&ScatterParams::new(514), &mut out[..1]);
    assert_eq!(refusal, Err(ScatterError::NoSpace { idle: 513, cached: 0 }));
    let refusal = pool.alloc_scattered(&ScatterParams::new(514).in_blocks_of(order(1)), &mut out[..1]);
    assert_eq!(refusal, Err(ScatterError::NoSpace { idle: 513, cached: 0 }));
    pool.free(at(9), Order::ZERO).unwrap();
    let refusal = pool.alloc_scattered(&ScatterParams::new(514).in_blocks_of(order(1)), &mut out[..1]);
    assert_eq!(refusal, Err(ScatterError::Fragmented { cached: 0 }));
    assert_eq!(pool.alloc_words(515, &mut words), Err(ScatterError::NoSpace { idle: 514, cached: 0 }));
    assert_eq!(pool.alloc_words(129, &mut words), Err(ScatterError::ListFull { room: 2, cached: 0 }));
    assert_eq!(pool.avail(), 514);
}

/// Half of a word side by side has fewer pages than three quarters of one that are not.
#[test]
fn req_42_words_are_the_fewest_that_do() {
    let pool = pool(1024);
    let mut words = [PageWord::EMPTY; 16];
    pool.alloc_words(1024, &mut words).unwrap();
    pool.free_words(&[word(64, !0 >> 32), word(192, 0x7777_7777_7777_7777)]).unwrap();
    let got = pool.alloc_words(48, &mut words[..1]).unwrap().to_vec();
    assert_eq!(got, [word(192, 0x7777_7777_7777_7777)]);
    pool.free_words(&got).unwrap();
    assert_eq!(pool.alloc_words(49, &mut words[..1]), Err(ScatterError::ListFull { room: 1, cached: 0 }));
    // A handle gives back what it has at hand before it says that a list is too short.
    let mut handle = pool.local().unwrap();
    let page = handle.alloc(Order::ZERO).unwrap();
    handle.free(page).unwrap();
    assert!(handle.cached() > 0);
    assert_eq!(
        pool.alloc_words(80, &mut words[..2]),
        Err(ScatterError::NoSpace { idle: 80 - handle.cached(), cached: handle.cached() })
    );
    assert_eq!(handle.alloc_words(80, &mut words[..2]).unwrap().len(), 2);
}
