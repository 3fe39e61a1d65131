//! Requirement 06, the pool's part: ranges that come and go at run time.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use pgmap_alloc::{
    AddRangeError, AllocError, BuildError, Extent, ExtentParams, FreeError, GenPool, NewRange, Offset, Params, Phys, PhysRange,
    PlacedRange, PoolNeeds, RemoveRangeError, RequestError,
};
use support::{order, range};

fn pool(ranges: &[PhysRange], spare: usize, offsets: u64) -> GenPool<'static> {
    GenPool::new(&Params::new(ranges).with_room(spare, offsets)).unwrap()
}

#[test]
fn req_06_an_added_range_can_be_allocated_and_taken_away_again() {
    let pool = pool(&[range(0, 512)], 1, 1 << 20);
    assert_eq!(pool.alloc(order(10)), Err(AllocError::TooLarge));
    let added = pool.add_range(NewRange::new(range(1 << 18, 4096)).tagged(7)).unwrap();
    assert_eq!((added.pages, added.tag), (4096, 7));
    assert_eq!(pool.size(), 512 + 4096);
    assert_eq!(pool.largest_order(), order(12));
    let offset = pool.alloc(order(12)).unwrap();
    assert_eq!(offset, added.first);
    assert_eq!(pool.phys(offset), Some(Phys(1 << 30)));
    assert_eq!(pool.offset_of(Phys((1 << 30) + 4096)), offset.checked_add(1));

    let in_use = RemoveRangeError::InUse { page: added.first };
    assert_eq!(pool.remove_range(added.first), Err(in_use));
    pool.free(offset, order(12)).unwrap();
    assert_eq!(pool.remove_range(added.first), Ok(added));
    assert_eq!(pool.size(), 512);
    assert_eq!(pool.largest_order(), order(9));
    assert!(!pool.has_offset(offset));
    assert_eq!(pool.alloc_at(offset, order(0)), Err(RequestError::OutOfRange));
    assert_eq!(pool.alloc(order(12)), Err(AllocError::TooLarge));
    assert_eq!(pool.remove_range(added.first), Err(RemoveRangeError::Unknown));
}

#[test]
fn req_06_taking_away_a_range_in_use_loses_nothing() {
    let pool = pool(&[range(0, 512), range(1 << 18, 3000)], 0, 0);
    let second = pool.ranges().nth(1).unwrap();
    let page = second.first.checked_add(1777).unwrap();
    pool.alloc_at(page, order(0)).unwrap();
    assert_eq!(pool.remove_range(second.first), Err(RemoveRangeError::InUse { page }));
    // All the others are still idle, and can be had.
    for at in (second.first.get()..second.end().get()).map(Offset::new) {
        assert_eq!(pool.is_idle(at), at != page);
    }
    pool.alloc_at(second.first, order(10)).unwrap();
    pool.free(second.first, order(10)).unwrap();
    pool.free(page, order(0)).unwrap();
    assert_eq!(pool.remove_range(second.first), Ok(second));
    // The pages of the first are untouched, and the second can come back to where it was.
    assert_eq!(pool.alloc(order(9)), Ok(Offset::new(0)));
    assert_eq!(pool.add_range(range(1 << 18, 3000)).map(|range| range.first), Ok(second.first));
}

#[test]
fn req_06_every_unsound_range_is_refused_and_changes_nothing() {
    let pool = pool(&[range(0, 512), range(4096, 512)], 1, 2048);
    let before: Vec<_> = pool.ranges().collect();
    let second = before[1].first;
    assert_eq!(pool.add_range(range(9000, 0)), Err(AddRangeError::Empty));
    assert_eq!(pool.add_range(PhysRange { start: Phys(100), pages: 1 }), Err(AddRangeError::Misaligned));
    assert_eq!(pool.add_range(range(9000, u64::MAX)), Err(AddRangeError::TooLarge));
    assert_eq!(pool.add_range(PhysRange { start: Phys(u64::MAX << 12), pages: 2 }), Err(AddRangeError::TooLarge));
    assert_eq!(pool.add_range(range(4096 + 511, 2)), Err(AddRangeError::Overlap { first: second }));
    assert_eq!(pool.add_range(range(4095, 2)), Err(AddRangeError::Overlap { first: second }));
    assert_eq!(pool.add_range(range(9000, 2000)), Err(AddRangeError::NoRoom { pages: 2000 }));
    assert_eq!(pool.remove_range(Offset::new(1)), Err(RemoveRangeError::Unknown));
    assert_eq!(pool.ranges().collect::<Vec<_>>(), before);
    pool.add_range(range(4096 + 512, 100)).unwrap();
    assert_eq!(pool.add_range(range(9000, 1)), Err(AddRangeError::NoSlot { slots: 3 }));

    let one = [range(0, 1)];
    assert_eq!(
        GenPool::new(&Params::new(&one).with_room(1, u64::MAX)).err(),
        Some(BuildError::TooManyOffsets { offsets: u64::MAX })
    );
}

#[test]
fn req_06_a_range_fills_the_gap_that_another_left() {
    let pool = pool(&[range(0, 512), range(4096, 512), range(8192, 512)], 0, 0);
    let second = pool.ranges().nth(1).unwrap();
    let third = pool.ranges().nth(2).unwrap();
    pool.remove_range(second.first).unwrap();
    assert_eq!(pool.phys(third.first), Some(third.phys));
    let placed = pool.add_range(range(16384, 512)).unwrap();
    assert_eq!(placed.first, second.first);
    assert_eq!(pool.ranges().map(|range| range.first).collect::<Vec<_>>(), [Offset::new(0), placed.first, third.first]);
    assert_eq!(pool.phys(placed.first), Some(Phys(16384 << 12)));
}

#[test]
fn req_06_ranges_come_and_go_under_load() {
    let pool = pool(&[range(0, 4096)], 2, 1 << 20);
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for seed in 0..2u64 {
            let (pool, stop) = (&pool, &stop);
            threads.spawn(move || {
                let mut held = Vec::new();
                let mut random = seed + 1;
                while !stop.load(Ordering::Relaxed) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let order = order((random >> 60) as u32 % 11);
                    match pool.alloc(order) {
                        Ok(offset) if pool.phys(offset).is_some() => held.push((offset, order)),
                        Ok(offset) => panic!("page {offset} is in no range"),
                        Err(_) => held.drain(..).for_each(|(offset, order)| pool.free(offset, order).unwrap()),
                    }
                    if held.len() > 20 {
                        let (offset, order) = held.swap_remove((random >> 32) as usize % held.len());
                        pool.free(offset, order).unwrap();
                    }
                }
                held.drain(..).for_each(|(offset, order)| pool.free(offset, order).unwrap());
            });
        }
        for turn in 0..2000 {
            match pool.add_range(range((1 << 18) + turn * 4096, 2048 + turn)) {
                Ok(added) => assert_eq!(added.pages, 2048 + turn),
                Err(error) => assert_eq!(error, AddRangeError::NoSlot { slots: 3 }),
            }
            for range in pool.ranges().skip(1) {
                match pool.remove_range(range.first) {
                    Ok(gone) => assert_eq!(gone, range),
                    Err(error) => assert!(matches!(error, RemoveRangeError::InUse { .. } | RemoveRangeError::Contended)),
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    while pool.ranges().count() > 1 {
        pool.remove_range(pool.ranges().last().unwrap().first).unwrap();
    }
    assert_eq!(pool.alloc(order(12)), Ok(Offset::new(0)));
    assert_eq!(pool.alloc(order(0)), Err(AllocError::NoSpace { cached: 0 }));
}

/// Wherever the only range begins and ends: what lies beside it is refused, page by page.
#[test]
fn req_43_nothing_beside_the_only_range_is_freed() {
    let pool = pool(&[range(0, 512)], 1, 1 << 20);
    let added = pool.add_range(range(1 << 18, 513)).unwrap();
    pool.remove_range(Offset::new(0)).unwrap();
    let (first, end) = (added.first.get(), added.first.get() + added.pages);
    let all: Vec<_> = std::iter::from_fn(|| pool.alloc(order(0)).ok()).collect();
    assert_eq!(all.len(), 513);
    for page in [0, first - 1, end, end + 1] {
        assert_eq!(pool.free(Offset::new(page), order(0)), Err(FreeError::OutOfRange), "{page}");
    }
    assert_eq!(pool.free(Offset::new(end - 1), order(1)), Err(FreeError::CrossesRange));
    assert_eq!(pool.avail(), 0, "nothing has changed");
    all.into_iter().for_each(|page| pool.free(page, order(0)).unwrap());
}

/// Memory that continues a range is the same range: runs and extents lie across the seam, and nothing of it goes alone.
#[test]
fn req_69_a_range_that_grows_in_place_is_one_range() {
    let pool = pool(&[range(0, 256)], 1, 4096);
    let grown = pool.grow_range(Offset::new(0), range(256, 768)).unwrap();
    assert_eq!((grown.first, grown.pages, pool.ranges().count(), pool.size()), (Offset::new(0), 1024, 1, 1024));
    let whole = pool.alloc_extent(&ExtentParams::new(1024)).unwrap();
    assert_eq!((pool.phys(Offset::new(256)), pool.offset_of(Phys(1023 << 12))), (Some(Phys(256 << 12)), Some(Offset::new(1023))));
    pool.free_extent(whole).unwrap();
    pool.alloc_at(Offset::new(300), order(0)).unwrap();
    assert_eq!(pool.remove_range(Offset::new(256)), Err(RemoveRangeError::Unknown), "a part is no range");
    assert_eq!(pool.remove_range(Offset::new(0)), Err(RemoveRangeError::InUse { page: Offset::new(300) }));
    pool.free(Offset::new(300), order(0)).unwrap();
    assert_eq!(pool.remove_range(Offset::new(0)), Ok(grown));
    assert_eq!((pool.size(), pool.avail()), (0, 0));

    // From an odd first size on: all that it is divides evenly.
    let pool = GenPool::new(&Params::new(&[range(0, 245)]).growing_to(16_384)).unwrap();
    pool.grow_range(Offset::new(0), range(245, 16_384 - 245)).unwrap();
    assert_eq!((0..8).filter(|_| pool.alloc_extent(&ExtentParams::new(2048)).is_ok()).count(), 8);

    // Piece by piece, under a limit that leaves no place for other ranges.
    let pool = GenPool::new(&Params::new(&[range(0, 512)]).growing_to(4096)).unwrap();
    for piece in 1..8_u64 {
        assert_eq!(pool.largest_order(), order((piece * 512).ilog2()));
        pool.grow_range(Offset::new(0), range(piece * 512, 512)).unwrap();
    }
    assert_eq!((pool.largest_order(), pool.alloc(order(12))), (order(12), Ok(Offset::new(0))));
    assert_eq!(pool.grow_range(Offset::new(0), range(4096, 1)), Err(AddRangeError::NoRoom { pages: 1 }));
}

/// What is taken, free, and cleared on both sides of the seam stays so.
#[test]
fn req_69_growing_changes_nothing_of_what_is_there() {
    let pool = GenPool::new(&Params::new(&[range(0, 300)]).growing_to(1000).tracking_clear()).unwrap();
    let taken = pool.alloc_extent(&ExtentParams::new(300)).unwrap();
    pool.grow_range(Offset::new(0), range(300, 700)).unwrap();
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (700, 0));
    pool.free_cleared(Offset::new(256), order(5)).unwrap();
    assert_eq!(pool.free(Offset::new(300), order(0)), Err(FreeError::DoubleFree { page: Offset::new(300) }));
    assert_eq!(pool.free(Offset::new(1000), order(0)), Err(FreeError::OutOfRange));
    assert_eq!(pool.avail_cleared(Extent::ALL), 32);
    pool.free_extent(Extent::between(taken.start(), Offset::new(256)).unwrap()).unwrap();
    pool.free_extent(Extent::between(Offset::new(288), Offset::new(300)).unwrap()).unwrap();
    assert_eq!((pool.avail(), pool.alloc(order(9))), (1000, Ok(Offset::new(0))));
}

/// Physically contiguous and aligned at every order, or refused by name; and nothing has changed.
#[test]
fn req_05_req_69_a_range_grows_only_where_it_may() {
    let given = [range(256, 256), range(4096, 64)];
    let pool = pool(&given, 1, 1 << 14);
    let [first, second] = [0, 1].map(|index| pool.ranges().nth(index).unwrap());
    let before: Vec<_> = pool.ranges().collect();
    let grow = |of: PlacedRange, by| pool.grow_range(of.first, by).err();
    assert_eq!(grow(first, range(513, 1)), Some(AddRangeError::NotAdjacent));
    assert_eq!(grow(first, range(255, 1)), Some(AddRangeError::NotAdjacent), "not to the front");
    assert_eq!(grow(first, range(512, 0)), Some(AddRangeError::Empty));
    assert_eq!(grow(first, range(512, u64::MAX)), Some(AddRangeError::TooLarge));
    assert_eq!(pool.grow_range(Offset::new(1), range(512, 1)).err(), Some(AddRangeError::Unknown));
    // Offset 0 is page 256: no more than 256 pages are aligned in both.
    assert_eq!((first.first.get(), grow(first, range(512, 256))), (0, Some(AddRangeError::Misplaced)));
    // The range behind it is in the way, of its offsets or of its memory.
    assert_eq!(grow(first, range(512, 100)), Some(AddRangeError::NoRoom { pages: 100 }));
    assert_eq!(pool.ranges().collect::<Vec<_>>(), before);
    let third = pool.add_range(range(4200, 8)).unwrap();
    assert_eq!(grow(second, range(4160, 64)), Some(AddRangeError::Overlap { first: third.first }));
    assert_eq!((pool.size(), pool.avail()), (256 + 64 + 8, 256 + 64 + 8));

    // With room asked for it is placed where it can grow, and others keep away.
    let growing = pool.add_range(NewRange::new(range(1 << 20, 8)).growing_to(2048));
    assert_eq!(growing.err(), Some(AddRangeError::NoSlot { slots: 3 }));
    pool.remove_range(third.first).unwrap();
    let growing = pool.add_range(NewRange::new(range((1 << 20) + 512, 8)).growing_to(1024)).unwrap();
    let first = growing.first;
    pool.grow_range(first, range((1 << 20) + 520, 1016)).unwrap();
    let run = Offset::new(first.get().next_multiple_of(512));
    pool.alloc_at(run, order(9)).unwrap();
    assert_eq!(pool.phys(run).unwrap().0 % (512 << 12), 0);
}

/// Neighbours are kept apart, so more offsets than pages are needed: as many as the pool says are enough, and it is told how many.
#[test]
fn req_06_room_for_ranges_can_be_computed() {
    for pages in [1, 2, 3, 63, 64, 65, 512, 1000] {
        let given = [range(0, pages)];
        for skew in [0, 1, 7, 64, 300] {
            let params = Params::new(&given).with_room_for(7, pages).unwrap();
            assert!(params.offsets <= pages + 7 * 2 * pages, "no more than twice");
            let pool = GenPool::new(&params).unwrap();
            for place in 1..8 {
                let added = pool.add_range(range((place << 28) + skew * place, pages));
                assert!(added.is_ok(), "range {place} of {pages} pages below {}: {added:?}", params.offsets);
            }
        }
        // Exactly, where it is known what will come.
        let all: Vec<_> = (0..8).map(|place| range(place << 28, pages)).collect();
        let needed = PoolNeeds::of::<8>(&Params::new(&all)).unwrap().pages;
        let pool = GenPool::new(&Params::new(&all[..1]).with_room(7, needed)).unwrap();
        assert!(all[1..].iter().all(|range| pool.add_range(*range).is_ok()), "{pages}");
    }
    let one = [range(0, 1)];
    let too_many = Params::new(&one).with_room_for(usize::MAX, u64::MAX >> 1).err();
    assert!(matches!(too_many, Some(BuildError::TooManyOffsets { .. })), "{too_many:?}");
    assert_eq!(Params::new(&[]).with_room_for(1, 1).err(), Some(BuildError::NoRange));
}

/// The whole pool with as many ranges, in whatever order they are given: built, looked up, allocated from, and half of it taken away.
#[test]
fn req_06_a_pool_of_many_ranges() {
    let count = 1 << 16;
    let ranges: Vec<_> = (0..count).map(|i| range(i * 5 % count * 3, 1)).collect();
    let pool = GenPool::new(&Params::new(&ranges).with_room(2, 1 << 18)).unwrap();
    assert_eq!((pool.size(), pool.avail(), pool.largest_order()), (count, count, order(0)));
    for page in (0..count).step_by(977) {
        let offset = pool.offset_of(Phys((page * 3) << 12)).unwrap();
        assert_eq!((pool.phys(offset), pool.offset_of(Phys((page * 3 + 1) << 12))), (Some(Phys((page * 3) << 12)), None));
    }
    assert_eq!(pool.alloc_extent(&ExtentParams::new(1)).map(Extent::pages), Ok(1));
    let all: Vec<_> = pool.ranges().collect();
    let gone = all.iter().step_by(2).filter(|range| pool.remove_range(range.first).is_ok()).count() as u64;
    assert_eq!((gone, pool.size()), (count / 2 - 1, count - gone), "one page is taken");
    for i in 0..gone {
        pool.add_range(range((1 << 30) + i * 3, 1)).unwrap();
    }
    assert_eq!(pool.size(), count);
    let overlap = [ranges[7], ranges[9], PhysRange { pages: 2, ..ranges[7] }];
    assert_eq!(GenPool::new(&Params::new(&overlap)).err(), Some(BuildError::Overlap { first: 0, second: 2 }));
}
