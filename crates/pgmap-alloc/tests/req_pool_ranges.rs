//! Requirement 06, the pool's part: ranges that come and go at run time.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use pgmap_alloc::{
    AddRangeError, AllocError, BuildError, FreeError, GenPool, Offset, Params, Phys, PhysRange, RemoveRangeError, RequestError,
};
use support::{order, range};

fn pool(ranges: &[PhysRange], spare: usize, offsets: u64) -> GenPool<'static> {
    GenPool::new(&Params::new(ranges).with_room(spare, offsets)).unwrap()
}

#[test]
fn req_06_an_added_range_can_be_allocated_and_taken_away_again() {
    let pool = pool(&[range(0, 512)], 1, 1 << 20);
    assert_eq!(pool.alloc(order(10)), Err(AllocError::TooLarge));
    let added = pool.add_range_tagged(range(1 << 18, 4096), 7).unwrap();
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
