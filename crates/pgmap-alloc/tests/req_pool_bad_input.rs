//! What callers of the pool get wrong, one test for each kind: a precise error, and nothing has changed.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    Accounted, AccountedError, AddRangeError, AllocError, AllocExtentError, BuildError, ChargeError, Extent, ExtentError,
    ExtentParams, FreeError, FreeManyError, GenPool, Limits, Mode, Offset, Order, Owner, Owners, Params, Phys, PhysRange,
    PlacedRange, RemoveRangeError, RequestError, ReserveError, Run, ScatterError, ScatterParams, Urgency, fit,
};
use support::{at, order, range, window};

/// Two ranges with a hole between them and room for a third; some pages of both are taken.
fn riddled() -> GenPool<'static> {
    let ranges = [range(0, 1000), range(4096, 600)];
    let pool = GenPool::new(&Params::new(&ranges).with_room(1, 1 << 14).taking_reservations()).unwrap();
    [3, 64, 500, 999].iter().for_each(|&page| pool.alloc_at(at(page), order(0)).unwrap());
    pool.alloc_at(second(&pool).first, order(5)).unwrap();
    pool
}

fn second(pool: &GenPool<'_>) -> PlacedRange {
    pool.ranges().nth(1).unwrap()
}

/// Everything that can be seen from outside.
fn picture(pool: &GenPool<'_>) -> (Vec<PlacedRange>, Vec<Extent>) {
    (pool.ranges().collect(), pool.gaps_in(Extent::ALL).collect())
}

/// The pool is as it was after each of some mistakes.
fn unchanged(pool: &GenPool<'_>, mistakes: &mut dyn FnMut()) {
    let before = picture(pool);
    mistakes();
    assert_eq!(picture(pool), before);
}

#[test]
fn req_06_adding_a_range_that_overlaps() {
    let pool = riddled();
    let (first, second) = (at(0), second(&pool).first);
    unchanged(&pool, &mut || {
        for (page, pages, meets) in [(0, 1, first), (999, 1, first), (0, 5000, first), (4095, 2, second), (4695, 100, second)] {
            assert_eq!(pool.add_range(range(page, pages)), Err(AddRangeError::Overlap { first: meets }), "{page}");
        }
    });
    let overlapping = [range(10, 10), range(0, 5), range(19, 1)];
    assert_eq!(GenPool::new(&Params::new(&overlapping)).err(), Some(BuildError::Overlap { first: 0, second: 2 }));
    pool.add_range(range(4696, 1)).unwrap();
}

#[test]
fn req_06_taking_away_a_range_in_use() {
    let pool = riddled();
    let range = second(&pool);
    unchanged(&pool, &mut || {
        assert_eq!(pool.remove_range(range.first), Err(RemoveRangeError::InUse { page: range.first }));
        assert_eq!(pool.remove_range(at(0)), Err(RemoveRangeError::InUse { page: at(3) }));
        assert_eq!(pool.remove_range(range.first.checked_add(1).unwrap()), Err(RemoveRangeError::Unknown));
    });
    // What a reservation holds is in use too.
    pool.free(range.first, order(5)).unwrap();
    let mut room = [at(0); 400];
    let reserved = pool.reserve(order(0), &mut room).unwrap();
    unchanged(&pool, &mut || assert!(matches!(pool.remove_range(range.first), Err(RemoveRangeError::InUse { .. }))));
    drop(reserved);
    assert_eq!(pool.remove_range(range.first), Ok(range));
}

#[test]
fn req_41_a_window_that_is_empty_or_outside() {
    for (start, end, error) in [(8, 8, ExtentError::Empty), (9, 8, ExtentError::Empty)] {
        assert_eq!(Extent::between(at(start), at(end)), Err(error));
    }
    assert_eq!(Extent::new(at(0), 0), Err(ExtentError::Empty));
    assert_eq!(Extent::new(at(2), u64::MAX), Err(ExtentError::Overflow));
    let pool = riddled();
    let mut out = [Run::new(at(0), order(0)).unwrap(); 4];
    unchanged(&pool, &mut || {
        // Before the first page there is nothing; the hole and what is beyond the last page are no pages either.
        for outside in [window(1000, 1001), window(5000, 9000), window(1 << 40, u64::MAX)] {
            assert_eq!(pool.alloc_extent(&ExtentParams::new(1).within(outside)), Err(AllocExtentError::WindowOutside));
            let scattered = pool.alloc_scattered(&ScatterParams::new(1).within(outside), &mut out);
            assert_eq!(scattered, Err(ScatterError::WindowOutside));
            assert!(pool.partition(outside).is_none());
            assert_eq!((pool.avail_in(outside), pool.first_gap(outside)), (0, None));
        }
        let low = pool.partition(window(0, 100)).unwrap();
        assert_eq!(low.alloc_extent(&ExtentParams::new(1).within(window(100, 200))), Err(AllocExtentError::WindowOutside));
        assert_eq!(low.free(at(500), order(0)), Err(FreeError::OutOfRange), "taken, but not in its window");
        assert_eq!(pool.alloc_at(at(1000), order(0)), Err(RequestError::OutOfRange));
        assert_eq!(pool.alloc_at(at(992), order(4)), Err(RequestError::CrossesRange));
    });
}

#[test]
fn req_41_an_alignment_that_is_zero_or_no_power_of_two() {
    let pool = riddled();
    unchanged(&pool, &mut || {
        for align in [0, 3, 6, 100, u64::MAX] {
            for mode in [Mode::Simple, Mode::TopDown(fit::first_fit_align), Mode::BottomUp(fit::best_fit)] {
                let ask = ExtentParams::new(1).aligned(align).by(mode);
                assert_eq!(pool.alloc_extent(&ask), Err(AllocExtentError::Alignment { align }));
                assert_eq!(pool.alloc_extent(&ask.aligned_from(align, at(7))), Err(AllocExtentError::Alignment { align }));
                assert_eq!(pool.scan_eviction(&ask, &[window(3, 4)]), None);
            }
        }
        assert_eq!(pool.alloc_at(at(2), order(2)), Err(RequestError::Misaligned));
        assert_eq!(pool.free(at(3), order(1)), Err(FreeError::Misaligned));
    });
}

#[test]
fn req_41_a_size_that_is_zero_or_larger_than_everything() {
    let pool = riddled();
    let mut out = [Run::new(at(0), order(0)).unwrap(); 4];
    unchanged(&pool, &mut || {
        assert_eq!(pool.alloc_extent(&ExtentParams::new(0)), Err(AllocExtentError::NoPages));
        for pages in [1001, 1 << 40, u64::MAX] {
            for mode in [Mode::Simple, Mode::BottomUp(fit::first_fit), Mode::TopDown(fit::order_align)] {
                assert_eq!(pool.alloc_extent(&ExtentParams::new(pages).by(mode)), Err(AllocExtentError::TooLarge { pages }));
            }
        }
        let inside = ExtentParams::new(u64::MAX).within(window(0, 10));
        assert_eq!(pool.alloc_extent(&inside), Err(AllocExtentError::LargerThanWindow { pages: u64::MAX }));
        assert_eq!(pool.alloc_scattered(&ScatterParams::new(0), &mut out), Err(ScatterError::NoPages));
        let all = pool.alloc_scattered(&ScatterParams::new(u64::MAX), &mut out);
        assert_eq!(all, Err(ScatterError::TooLarge { pages: u64::MAX }));
        for huge in [order(10), order(40), Order::MAX] {
            assert_eq!(pool.alloc(huge), Err(AllocError::TooLarge));
            assert_eq!(pool.alloc_many(huge, &mut [at(0); 2]), Err(AllocError::TooLarge));
        }
        assert_eq!(pool.alloc_at(at(0), Order::MAX), Err(RequestError::CrossesRange));
        let last = Offset::new(u64::MAX);
        assert_eq!(pool.alloc_at(last, order(0)), Err(RequestError::Overflow));
        assert_eq!(pool.free(last, order(0)), Err(FreeError::Overflow));
        assert_eq!(pool.add_range(range(1 << 30, u64::MAX)), Err(AddRangeError::TooLarge));
        assert_eq!(pool.add_range(range(1 << 30, 0)), Err(AddRangeError::Empty));
    });
    assert!(Order::new(u32::MAX).is_err());
    let huge = [PhysRange { start: Phys(0), pages: u64::MAX }];
    assert_eq!(GenPool::new(&Params::new(&huge)).err(), Some(BuildError::TooLarge { index: 0 }));
}

#[test]
fn req_41_a_smallest_block_larger_than_the_size() {
    let pool = riddled();
    let mut out = [Run::new(at(0), order(0)).unwrap(); 4];
    unchanged(&pool, &mut || {
        for (pages, block) in [(1, 1), (31, 5), (500, 9), (1, 40)] {
            let ask = ScatterParams::new(pages).in_blocks_of(order(block));
            assert_eq!(pool.alloc_scattered(&ask, &mut out), Err(ScatterError::MinBlockTooLarge { pages }));
        }
        let crooked = ScatterParams::new(33).in_blocks_of(order(5));
        assert_eq!(pool.alloc_scattered(&crooked, &mut out), Err(ScatterError::NoMultiple { pages: 33 }));
    });
}

/// [`pgmap_alloc::Reservation::commit`] takes the reservation with it, so a second one cannot be written (its documentation has
/// the proof); what is committed one by one runs out.
#[test]
fn req_45_committing_twice() {
    let pool = riddled();
    let mut room = [at(0); 2];
    let mut reserved = pool.reserve(order(3), &mut room).unwrap();
    let first = reserved.commit_one().unwrap();
    let second = reserved.commit_one().unwrap();
    unchanged(&pool, &mut || assert_eq!((reserved.commit_one(), reserved.left()), (None, 0)));
    let before = picture(&pool);
    assert_eq!(reserved.commit(), []);
    assert_eq!(picture(&pool), before, "what was committed stays the caller's");
    pool.free(first, order(3)).unwrap();
    pool.free(second, order(3)).unwrap();
    assert_eq!(pool.reserve(order(0), &mut []).unwrap_err(), ReserveError::NoRuns);
}

#[test]
fn req_45_freeing_what_a_reservation_holds() {
    let pool = riddled();
    let mut room = [at(0); 3];
    let reserved = pool.reserve(order(4), &mut room).unwrap();
    let held_run = |start: &Offset| start.is_aligned(order(4)) && !pool.is_idle(*start) && !pool.is_idle(at(start.get() + 15));
    // Not the run of 32 pages that somebody else has.
    let theirs = window(second(&pool).first.get(), second(&pool).first.get() + 32);
    let start = (0..1 << 14).map(at).find(|page| pool.has_offset(*page) && !theirs.contains(*page) && held_run(page)).unwrap();
    let held = |page| FreeError::Held { page };
    unchanged(&pool, &mut || {
        assert_eq!(pool.free(start, order(4)), Err(held(start)));
        assert_eq!(pool.free_cleared(start, order(4)), Err(held(start)));
        let last = at(start.get() + 15);
        assert_eq!(pool.free(last, order(0)), Err(held(last)));
        assert_eq!(pool.free_extent(Extent::new(last, 1).unwrap()), Err(held(last)));
        assert_eq!(pool.free_many(order(0), &[last]), Err(FreeManyError::Refused { index: 0, error: held(last) }));
        let partition = pool.partition(window(0, 1 << 14)).unwrap();
        assert_eq!(partition.free(start, order(2)), Err(held(start)));
        assert!(matches!(pool.free(start.align_down(order(6)), order(6)), Err(FreeError::Held { .. })));
    });
    drop(reserved);
    assert_eq!(pool.free(start, order(4)), Err(FreeError::DoubleFree { page: start }));
}

#[test]
fn req_48_an_owner_over_his_limit() {
    let pool = riddled();
    let owners = Owners::<1>::new();
    owners.set_limits(Owner(0), Limits { min: 0, low: 0, max: 10 }).unwrap();
    let books = Accounted::new(&pool, &owners, (), 0);
    let page = books.alloc(order(3), Owner(0), Urgency::Normal).unwrap();
    let before = owners.usage(Owner(0)).unwrap();
    unchanged(&pool, &mut || {
        let over = AccountedError::Owner { error: ChargeError::OverLimit { owner: 0, has: 8, max: 10 } };
        assert_eq!(books.alloc(order(2), Owner(0), Urgency::Normal), Err(over));
        assert_eq!(books.alloc(order(9), Owner(0), Urgency::Critical), Err(over), "no urgency lifts a limit");
        let unknown = AccountedError::Owner { error: ChargeError::UnknownOwner { owner: 1 } };
        assert_eq!(books.alloc(order(0), Owner(1), Urgency::Normal), Err(unknown));
    });
    let after = owners.usage(Owner(0)).unwrap();
    assert_eq!((after.pages, after.high_water, after.refused), (before.pages, before.high_water, 2));
    books.alloc(order(1), Owner(0), Urgency::Normal).unwrap();
    books.free(page, order(3), Owner(0)).unwrap();
}

#[test]
fn req_43_freeing_what_is_idle_or_somebody_elses() {
    let pool = riddled();
    unchanged(&pool, &mut || {
        assert_eq!(pool.free(at(0), order(0)), Err(FreeError::DoubleFree { page: at(0) }));
        assert_eq!(pool.free(at(2), order(1)), Err(FreeError::DoubleFree { page: at(2) }), "one of the two is taken");
        assert_eq!(pool.free(at(512), order(8)), Err(FreeError::DoubleFree { page: at(512) }));
        assert_eq!(pool.free(at(1000), order(0)), Err(FreeError::OutOfRange));
        assert_eq!(pool.free(at(992), order(4)), Err(FreeError::CrossesRange));
        assert_eq!(pool.free_extent(window(999, 1001)), Err(FreeError::CrossesRange));
    });
    // A run of another pool stays what it was: the value that stands for it does not fit.
    let other = GenPool::new(&Params::new(&[range(0, 1000)])).unwrap();
    let (mut mine, mut theirs) = (pool.local().unwrap(), other.local().unwrap());
    let run = theirs.alloc(order(0)).unwrap();
    let run = mine.free(run).unwrap_err();
    theirs.free(run).unwrap();
}
