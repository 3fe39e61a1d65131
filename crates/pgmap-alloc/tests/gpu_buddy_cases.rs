//! What Linux's gpu_buddy KUnit suite asks of its allocator, asked of this one in our own words: one test per case, by its name.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    AllocError, AllocExtentError, Contents, Extent, ExtentParams, GenPool, Mode, Order, OrderError, Run, ScatterError,
    ScatterParams, Wish, fit,
};
use support::{Random, at, clear_pool, order, pool, window};

#[test]
fn gpu_buddy_alloc_limit() {
    // The largest pool that can be named is one run of the largest order, and has nothing beside it.
    let pool = pool(1 << 32);
    assert_eq!(pool.largest_order(), order(32));
    let whole = pool.alloc(order(32)).unwrap();
    assert_eq!((whole, pool.avail()), (at(0), 0));
    assert_eq!(pool.alloc(order(0)), Err(AllocError::NoSpace { cached: 0 }));
    pool.free(whole, order(32)).unwrap();
    assert_eq!(Order::new(45), Err(OrderError::TooLarge { order: 45 }));
}

#[test]
fn gpu_buddy_alloc_optimistic() {
    // Pages for exactly one run of each order: all of them can be had, smallest first, and then nothing.
    let top = 14;
    let pool = pool((1 << (top + 1)) - 1);
    let runs: Vec<_> = (0..=top).map(|o| (pool.alloc(order(o)).unwrap(), order(o))).collect();
    assert_eq!(pool.avail(), 0);
    assert!(pool.alloc(order(0)).is_err());
    runs.iter().for_each(|&(offset, order)| pool.free(offset, order).unwrap());
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn gpu_buddy_alloc_pessimistic() {
    // One run of each order below the top leaves one page of a power of two; the top itself is gone. Freed in turn, each order
    // merges into the next.
    let top = 14;
    let pool = pool(1 << top);
    let runs: Vec<_> = (0..top).map(|o| (pool.alloc(order(o)).unwrap(), order(o))).collect();
    let last = pool.alloc(order(0)).unwrap();
    assert!(pool.alloc(order(0)).is_err());
    pool.free(last, order(0)).unwrap();
    for (offset, o) in runs {
        pool.free(offset, o).unwrap();
        let next = order(o.get() + 1);
        let whole = pool.alloc(next).unwrap_or_else(|error| panic!("order {next} did not merge: {error}"));
        pool.free(whole, next).unwrap();
    }
}

#[test]
fn gpu_buddy_alloc_pathological() {
    // Of each order one half stays taken and the other is split further: the pool ends with nothing but single pages between
    // holes, and no larger run than the hole left by a free.
    let top = 9;
    let pool = pool(1 << top);
    let mut holes = vec![];
    let mut held = vec![];
    for round in 0..top {
        let pages: Vec<_> = (0..top - 1).filter_map(|o| pool.alloc(order(o)).ok().map(|offset| (offset, order(o)))).collect();
        holes.extend(pool.alloc(order(0)).ok());
        for (index, (offset, order)) in pages.into_iter().enumerate() {
            if (index + round as usize).is_multiple_of(2) {
                pool.free(offset, order).unwrap();
            } else {
                held.push((offset, order));
            }
        }
    }
    assert!(pool.alloc(order(top)).is_err(), "the whole cannot be had while anything is held");
    holes.into_iter().for_each(|page| pool.free(page, order(0)).unwrap());
    held.into_iter().for_each(|(offset, order)| pool.free(offset, order).unwrap());
    assert_eq!(pool.alloc(order(top)), Ok(at(0)), "and comes together again");
}

#[test]
fn gpu_buddy_alloc_contiguous() {
    // Every third piece is kept from left, middle and right: what is free is plenty, but contiguous only piece by piece.
    let (pages, piece) = (8 * 512u64, 4u64);
    let pool = pool(pages);
    let mut lists: [Vec<Extent>; 3] = [vec![], vec![], vec![]];
    for index in 0..pages / piece {
        lists[index as usize % 3].push(pool.alloc_extent(&ExtentParams::new(piece).by(Mode::BottomUp(fit::first_fit))).unwrap());
    }
    assert!(pool.alloc_extent(&ExtentParams::new(piece)).is_err());
    let [left, middle, right] = lists;
    middle.iter().for_each(|extent| pool.free_extent(*extent).unwrap());
    for more in [2 * piece, 3 * piece] {
        assert_eq!(pool.alloc_extent(&ExtentParams::new(more)), Err(AllocExtentError::Fragmented { cached: 0 }));
    }
    right.iter().for_each(|extent| pool.free_extent(*extent).unwrap());
    assert_eq!(pool.alloc_extent(&ExtentParams::new(3 * piece)), Err(AllocExtentError::Fragmented { cached: 0 }));
    // Two pieces side by side are no power of two from an aligned place: found all the same.
    let pair = pool.alloc_extent(&ExtentParams::new(2 * piece)).unwrap();
    pool.free_extent(pair).unwrap();
    left.iter().for_each(|extent| pool.free_extent(*extent).unwrap());
    assert_eq!(pool.alloc_extent(&ExtentParams::new(pages)).unwrap().pages(), pages);
}

#[test]
fn gpu_buddy_alloc_clear() {
    let pages = 4 * 512;
    let pool = clear_pool(pages);
    let ask = |wish| pool.alloc_wishing(order(3), wish);
    // Nothing is known to be clear at first.
    assert_eq!(ask(Wish::PreferCleared).unwrap().1, Contents::Dirty);
    let mut all = vec![at(0); 255];
    pool.alloc_many(order(3), &mut all).unwrap();
    pool.free(at(0), order(3)).unwrap();
    // Half comes back clean, half dirty.
    for (index, offset) in all.iter().filter(|offset| offset.get() != 0).enumerate() {
        let free = if index % 2 == 0 { GenPool::free_cleared } else { GenPool::free };
        free(&pool, *offset, order(3)).unwrap();
    }
    let cleared = pool.avail_cleared(Extent::ALL);
    assert!(cleared > 0);
    // All that is clean is given to those who prefer it before they get anything dirty.
    let mut got = vec![];
    for _ in 0..cleared / 8 {
        let (offset, contents) = ask(Wish::PreferCleared).unwrap();
        assert_eq!(contents, Contents::Cleared);
        got.push(offset);
    }
    assert_eq!(ask(Wish::Cleared), Err(AllocError::NoneCleared));
    assert_eq!(ask(Wish::PreferCleared).unwrap().1, Contents::Dirty);
    // Clean and dirty together still make the largest run.
    let pool = clear_pool(pages);
    let whole = order(11);
    pool.alloc(whole).unwrap();
    pool.free_cleared(at(0), order(10)).unwrap();
    pool.free(at(1024), order(10)).unwrap();
    assert_eq!(pool.alloc_wishing(whole, Wish::DontCare), Ok((at(0), Contents::Dirty)));
}

#[test]
fn gpu_buddy_alloc_range() {
    // A pool cut into windows side by side: each can be taken exactly, none twice, and together they are everything.
    let pool = pool(10_000);
    let mut random = Random::new(1);
    let mut at_page = 0;
    let mut taken = vec![];
    while at_page < 10_000 {
        let end = (at_page + 1 + random.below(700)).min(10_000);
        let window = window(at_page, end);
        assert_eq!(pool.alloc_extent(&ExtentParams::new(window.pages()).within(window)), Ok(window));
        assert!(pool.alloc_extent(&ExtentParams::new(1).within(window)).is_err());
        taken.push(window);
        at_page = end;
    }
    assert_eq!(pool.avail(), 0);
    taken.iter().for_each(|window| pool.free_extent(*window).unwrap());
    assert_eq!(pool.avail(), 10_000);
}

#[test]
fn gpu_buddy_alloc_range_bias() {
    // Windows of a fixed width in random order: all of each is for the taking, in pieces, and nothing else.
    let (pages, bias) = (16 * 1024u64, 1024u64);
    let pool = pool(pages);
    let mut random = Random::new(2);
    let mut windows: Vec<_> = (0..pages / bias).map(|index| window(index * bias, (index + 1) * bias)).collect();
    random.shuffle(&mut windows);
    let mut held: Vec<Run> = vec![];
    for window in &windows {
        let mut out = vec![Run::new(at(0), order(0)).unwrap(); 64];
        assert_eq!(
            pool.alloc_scattered(&ScatterParams::new(bias + 1).within(*window), &mut out),
            Err(ScatterError::LargerThanWindow { pages: bias + 1 })
        );
        assert_eq!(
            pool.alloc_extent(&ExtentParams::new(bias).within(Extent::new(window.start(), bias - 1).unwrap())),
            Err(AllocExtentError::LargerThanWindow { pages: bias })
        );
        let mut left = bias;
        while left > 0 {
            let pages = 1 + random.below(left);
            let runs = pool.alloc_scattered(&ScatterParams::new(pages).within(*window), &mut out).unwrap();
            assert!(runs.iter().all(|run| window.common((*run).into()) == Some((*run).into())), "outside its window");
            held.extend(runs);
            left -= pages;
        }
        let full = pool.alloc_scattered(&ScatterParams::new(1).within(*window), &mut out);
        assert_eq!(full, Err(ScatterError::NoSpace { idle: 0, cached: 0 }));
    }
    assert_eq!(pool.avail(), 0);
    random.shuffle(&mut held);
    held.iter().for_each(|run| pool.free(run.start(), run.order()).unwrap());
    assert_eq!(pool.alloc(order(14)), Ok(at(0)));
}

#[test]
fn gpu_buddy_fragmentation_performance() {
    // The workloads of the performance case: 4 GiB in small pieces, freed alternately clean and dirty, in two orders. Here only
    // that they work out; `benches` measures them.
    for reverse in [false, true] {
        let pages = 1u64 << 20;
        let pool = clear_pool(pages);
        let piece = order(6);
        let mut pieces = vec![at(0); (pages >> 6) as usize];
        pool.alloc_many(piece, &mut pieces).unwrap();
        assert_eq!(pool.avail(), 0);
        if reverse {
            pieces.reverse();
        }
        for (index, offset) in pieces.iter().enumerate() {
            let free = if index % 2 == 0 { GenPool::free_cleared } else { GenPool::free };
            free(&pool, *offset, piece).unwrap();
        }
        assert_eq!(pool.avail_cleared(Extent::ALL), pages / 2);
        assert_eq!(pool.alloc_wishing(order(20), Wish::DontCare), Ok((at(0), Contents::Dirty)), "one piece of 4 GiB again");
    }
}

#[test]
fn gpu_buddy_dirty_tracker_performance() {
    // Clean to dirty 1:1 and 3:1, and all that is clean is found, none of it twice.
    for (period, clean) in [(2u64, 1u64), (4, 3)] {
        let pages = 1u64 << 18;
        let pool = clear_pool(pages);
        let piece = order(6);
        let mut pieces = vec![at(0); (pages >> 6) as usize];
        pool.alloc_many(piece, &mut pieces).unwrap();
        for (index, offset) in pieces.iter().enumerate() {
            let free = if index as u64 % period < clean { GenPool::free_cleared } else { GenPool::free };
            free(&pool, *offset, piece).unwrap();
        }
        let expected = (pages >> 6) * clean / period;
        let found = (0..).take_while(|_| pool.alloc_wishing(piece, Wish::Cleared).is_ok()).count() as u64;
        assert_eq!(found, expected);
        // The rest is the clearer's.
        let dirty: u64 = pool.dirty_runs(Extent::ALL, order(9)).map(|dirty| dirty.run().pages()).sum();
        assert_eq!(dirty, pages - expected * 64);
    }
}

#[test]
fn gpu_buddy_alloc_exceeds_max_order() {
    // A size that only rounds up beyond the pool, and one that is beyond it.
    let pool = pool((8 << 18) + (2 << 18));
    let pages = 9 << 18;
    let extent = pool.alloc_extent(&ExtentParams::new(pages)).unwrap();
    assert_eq!(extent.pages(), pages, "16 GiB would be needed by rounding up, 10 GiB are there");
    pool.free_extent(extent).unwrap();
    let mut out = [Run::new(at(0), order(0)).unwrap(); 8];
    let runs = pool.alloc_scattered(&ScatterParams::new(pages).in_blocks_of(order(18)), &mut out).unwrap();
    assert_eq!(runs.iter().map(|run| run.pages()).sum::<u64>(), pages);
    let runs = runs.to_vec();
    runs.iter().for_each(|run| pool.free(run.start(), run.order()).unwrap());
    assert_eq!(pool.alloc_extent(&ExtentParams::new(11 << 18)), Err(AllocExtentError::TooLarge { pages: 11 << 18 }));
    assert_eq!(pool.alloc(order(22)), Err(AllocError::TooLarge));
    assert_eq!(pool.alloc_scattered(&ScatterParams::new(11 << 18), &mut out), Err(ScatterError::TooLarge { pages: 11 << 18 }));
}

#[test]
fn gpu_buddy_offset_aligned_allocation() {
    // Sizes below their alignment, at each alignment, until there is no aligned place; then pages between are still to be had.
    let pages = 1u64 << 14;
    for align in [64u64, 256, 1024] {
        for size in [1, align / 4, align / 2] {
            let pool = pool(pages);
            let ask = ExtentParams::new(size).aligned(align);
            let got: Vec<_> = (0..pages / align).map(|_| pool.alloc_extent(&ask).unwrap()).collect();
            assert!(got.iter().all(|extent| extent.start().get().is_multiple_of(align)));
            assert_eq!(pool.alloc_extent(&ask), Err(AllocExtentError::Fragmented { cached: 0 }));
            assert_eq!(pool.alloc_extent(&ExtentParams::new(size)).map(Extent::pages), Ok(size));
            got.iter().for_each(|extent| pool.free_extent(*extent).unwrap());
        }
    }
}

#[test]
fn gpu_buddy_subtree_offset_alignment_stress() {
    // Holes of random sizes at random places: whatever alignment is asked for, a place is found exactly when there is one.
    let pages = 1u64 << 12;
    let mut random = Random::new(3);
    for _ in 0..30 {
        let pool = pool(pages);
        let mut idle = vec![true; pages as usize];
        for _ in 0..60 {
            let (start, length) = (random.below(pages), 1 + random.below(60));
            let end = (start + length).min(pages);
            let hole = window(start, end);
            if pool.alloc_extent(&ExtentParams::new(hole.pages()).within(hole)).is_ok() {
                idle[start as usize..end as usize].fill(false);
            }
        }
        for align in (0..11).map(|shift| 1u64 << shift) {
            let size = 1 + random.below(align.max(2));
            let exists =
                (0..pages - size + 1).step_by(align as usize).any(|at| idle[at as usize..(at + size) as usize].iter().all(|&i| i));
            let got = pool.alloc_extent(&ExtentParams::new(size).aligned(align));
            assert_eq!(got.is_ok(), exists, "{size} pages at {align}: {got:?}");
            if let Ok(extent) = got {
                assert!(extent.start().get().is_multiple_of(align));
                pool.free_extent(extent).unwrap();
            }
        }
    }
}
