//! What Linux's drm_mm selftests ask of a range manager, asked of the pool in our own words: one test per case, by its name.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::fit::{best_fit, first_fit, first_fit_align};
use pgmap_alloc::{AllocExtentError, Extent, ExtentParams, FreeError, GenPool, Mode};
use support::{Random, at, window};

const PAGES: u64 = 4096;

/// best, bottom-up and top-down, as drm_mm's insertion modes.
const MODES: [Mode; 3] = [Mode::BottomUp(best_fit), Mode::BottomUp(first_fit_align), Mode::TopDown(first_fit_align)];

fn pool() -> GenPool<'static> {
    support::pool(PAGES)
}

/// Takes exactly these pages.
fn reserve(pool: &GenPool<'_>, extent: Extent) -> Result<Extent, AllocExtentError> {
    pool.alloc_extent(&ExtentParams::new(extent.pages()).within(extent))
}

#[test]
fn drm_mm_reserve() {
    let pool = pool();
    let mut random = Random::new(7);
    for size in [1u64, 3, 64, 100] {
        let mut places: Vec<_> = (0..PAGES / size).map(|index| window(index * size, (index + 1) * size)).collect();
        random.shuffle(&mut places);
        places.iter().for_each(|place| assert_eq!(reserve(&pool, *place), Ok(*place)));
        // A second time, overlapping at either side, or around: refused, and nothing changes.
        let before = pool.avail();
        for place in &places {
            assert!(reserve(&pool, *place).is_err());
            let wider = Extent::between(at(place.start().get().saturating_sub(1)), at((place.end().get() + 1).min(PAGES))).unwrap();
            assert!(reserve(&pool, wider).is_err());
        }
        assert_eq!(pool.avail(), before);
        // Taken out and put back at the same place, in another order.
        random.shuffle(&mut places);
        for place in &places {
            pool.free_extent(*place).unwrap();
            assert_eq!(reserve(&pool, *place), Ok(*place));
        }
        places.iter().for_each(|place| pool.free_extent(*place).unwrap());
        assert_eq!(pool.avail(), PAGES);
    }
    let outside = reserve(&pool, window(PAGES - 1, PAGES + 1));
    assert!(outside.is_err(), "{outside:?}");
    assert_eq!(reserve(&pool, window(PAGES, PAGES + 1)), Err(AllocExtentError::WindowOutside));
}

#[test]
fn drm_mm_insert() {
    for mode in MODES {
        for size in [1u64, 3, 64, 127, 128] {
            let pool = pool();
            let ask = ExtentParams::new(size).by(mode);
            let mut nodes: Vec<_> = (0..PAGES / size).map(|_| pool.alloc_extent(&ask).unwrap()).collect();
            assert!(pool.alloc_extent(&ask).is_err());
            assert!(nodes.iter().all(|node| node.pages() == size));
            // One out, one in: the only place is the one that was left.
            Random::new(size).shuffle(&mut nodes);
            for node in nodes.iter().take(40) {
                pool.free_extent(*node).unwrap();
                assert_eq!(pool.alloc_extent(&ask.within(*node)), Ok(*node));
            }
            nodes.sort();
            assert!(nodes.windows(2).all(|pair| pair[0].end() <= pair[1].start()), "two nodes overlap");
            nodes.iter().for_each(|node| pool.free_extent(*node).unwrap());
            assert_eq!(pool.avail(), PAGES);
        }
    }
}

#[test]
fn drm_mm_replace() {
    // A node changes hands while it stays where it is: who holds the extent owns it, so nothing needs to be told to the pool.
    let pool = pool();
    let ask = ExtentParams::new(16);
    let mut old: Vec<_> = (0..PAGES / 16).map(|_| pool.alloc_extent(&ask).unwrap()).collect();
    let mut new: Vec<Extent> = vec![];
    while let Some(node) = old.pop() {
        new.push(node);
        assert!(reserve(&pool, node).is_err(), "still taken");
    }
    assert_eq!(pool.avail(), 0);
    new.iter().for_each(|node| pool.free_extent(*node).unwrap());
    assert_eq!(pool.free_extent(new[0]), Err(FreeError::DoubleFree { page: new[0].start() }));
}

#[test]
fn drm_mm_insert_range() {
    for mode in MODES {
        for inside in [window(0, PAGES), window(0, PAGES / 2), window(PAGES / 2, PAGES), window(PAGES / 4 + 3, 3 * PAGES / 4 + 2)] {
            for size in [1u64, 7, 64] {
                let pool = pool();
                let ask = ExtentParams::new(size).within(inside).by(mode);
                let nodes: Vec<_> = (0..inside.pages() / size).map(|_| pool.alloc_extent(&ask).unwrap()).collect();
                assert!(nodes.iter().all(|node| inside.common(*node) == Some(*node)), "outside {inside}");
                assert!(pool.alloc_extent(&ask).is_err(), "the window is full");
                assert_eq!(pool.avail(), PAGES - inside.pages() / size * size);
            }
        }
    }
}

#[test]
fn drm_mm_frag() {
    // Every other node goes; what fits in the holes must still be found, from both ends, and by the best fit.
    for mode in MODES {
        let pool = pool();
        let nodes: Vec<_> = (0..PAGES / 8).map(|_| pool.alloc_extent(&ExtentParams::new(8).by(mode)).unwrap()).collect();
        let (odd, even): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.start().get() / 8 % 2 == 1);
        odd.iter().for_each(|node| pool.free_extent(*node).unwrap());
        assert!(pool.alloc_extent(&ExtentParams::new(9).by(mode)).is_err());
        for _ in 0..PAGES / 16 {
            pool.alloc_extent(&ExtentParams::new(5).by(mode)).unwrap();
            pool.alloc_extent(&ExtentParams::new(3).by(mode)).unwrap();
        }
        assert_eq!(pool.avail(), 0, "{mode:?}: five and three fill each hole of eight");
        even.iter().for_each(|node| pool.free_extent(*node).unwrap());
    }
}

#[test]
fn drm_mm_align() {
    for mode in MODES {
        for shift in 0..13 {
            let pool = pool();
            pool.alloc_extent(&ExtentParams::new(1).within(window(0, 1))).unwrap();
            let ask = ExtentParams::new(1).aligned(1 << shift).by(mode);
            let mut places: Vec<_> = core::iter::from_fn(|| pool.alloc_extent(&ask).ok()).map(|node| node.start().get()).collect();
            places.sort_unstable();
            let expected: Vec<_> = (1..PAGES >> shift).map(|index| index << shift).collect();
            assert_eq!(places, expected, "all multiples of 2^{shift} but 0");
        }
    }
    assert_eq!(pool().alloc_extent(&ExtentParams::new(1).aligned(6)), Err(AllocExtentError::Alignment { align: 6 }));
}

#[test]
fn drm_mm_topdown() {
    let pool = pool();
    let ask = ExtentParams::new(10).by(Mode::TopDown(first_fit));
    let mut end = PAGES;
    while end >= 10 {
        assert_eq!(pool.alloc_extent(&ask), Ok(window(end - 10, end)), "without a gap from the top");
        end -= 10;
    }
    assert!(pool.alloc_extent(&ask).is_err());
    // Of two holes the higher one is filled.
    pool.free_extent(window(PAGES - 400, PAGES - 390)).unwrap();
    pool.free_extent(window(PAGES - 40, PAGES - 30)).unwrap();
    assert_eq!(pool.alloc_extent(&ask), Ok(window(PAGES - 40, PAGES - 30)));
}

#[test]
fn drm_mm_bottomup() {
    let pool = pool();
    let ask = ExtentParams::new(10).by(Mode::BottomUp(first_fit));
    for index in 0..PAGES / 10 {
        assert_eq!(pool.alloc_extent(&ask), Ok(window(index * 10, index * 10 + 10)), "without a gap from the bottom");
    }
    assert!(pool.alloc_extent(&ask).is_err());
    pool.free_extent(window(400, 410)).unwrap();
    pool.free_extent(window(40, 50)).unwrap();
    assert_eq!(pool.alloc_extent(&ask), Ok(window(40, 50)));
}

/// Holes of rising size from the bottom up, each behind one page that stays.
fn holes() -> (GenPool<'static>, Vec<Extent>) {
    let pool = pool();
    let mut holes = vec![];
    let mut page = 0;
    for size in 1..60 {
        holes.push(window(page + 1, page + 1 + size));
        page += 1 + size;
    }
    reserve(&pool, window(0, PAGES)).unwrap();
    holes.iter().for_each(|hole| pool.free_extent(*hole).unwrap());
    (pool, holes)
}

#[test]
fn drm_mm_lowest() {
    for size in [1, 2, 17, 40, 59] {
        let (pool, holes) = holes();
        let expected = holes.iter().find(|hole| hole.pages() >= size).unwrap().start();
        let got = pool.alloc_extent(&ExtentParams::new(size).by(Mode::BottomUp(first_fit))).unwrap();
        assert_eq!(got.start(), expected, "the lowest place for {size}");
    }
}

#[test]
fn drm_mm_highest() {
    for size in [1, 2, 17, 40, 59] {
        let (pool, holes) = holes();
        let expected = holes.iter().rev().find(|hole| hole.pages() >= size).unwrap().end();
        let got = pool.alloc_extent(&ExtentParams::new(size).by(Mode::TopDown(first_fit))).unwrap();
        assert_eq!(got.end(), expected, "the highest place for {size}");
    }
}

#[test]
fn drm_mm_evict() {
    // A full pool, victims in random order: the scan names a place, exactly its victims are evicted, and the place is free.
    for (size, align) in [(1u64, 1u64), (16, 1), (16, 16), (100, 1), (64, 64), (300, 4)] {
        for mode in [Mode::BottomUp(first_fit_align), Mode::TopDown(first_fit_align)] {
            let pool = pool();
            let mut nodes: Vec<_> = (0..PAGES / 4).map(|_| pool.alloc_extent(&ExtentParams::new(4)).unwrap()).collect();
            Random::new(size + align).shuffle(&mut nodes);
            let ask = ExtentParams::new(size).aligned(align).by(mode);
            assert!(pool.alloc_extent(&ask).is_err());
            let (place, named) = pool.scan_eviction(&ask, &nodes).expect("everything together is enough");
            assert_eq!(place.pages(), size);
            assert!(place.start().get().is_multiple_of(align));
            assert!(pool.scan_eviction(&ask, &nodes[..named - 1]).is_none(), "not one more than needed was named");
            assert_eq!(pool.avail(), 0, "a scan changes nothing");
            let victims: Vec<_> = nodes[..named].iter().filter(|node| place.common(**node).is_some()).collect();
            assert!(victims.len() as u64 <= size / 4 + 2, "{} victims for {size} pages", victims.len());
            victims.iter().for_each(|node| pool.free_extent(**node).unwrap());
            assert_eq!(pool.alloc_extent(&ExtentParams::new(size).aligned(align).within(place)), Ok(place));
        }
    }
}

#[test]
fn drm_mm_evict_range() {
    let pool = pool();
    let inside = window(1000, 2000);
    let mut nodes: Vec<_> = (0..PAGES / 4).map(|_| pool.alloc_extent(&ExtentParams::new(4)).unwrap()).collect();
    Random::new(5).shuffle(&mut nodes);
    let ask = ExtentParams::new(50).within(inside);
    let (place, _) = pool.scan_eviction(&ask, &nodes).unwrap();
    assert_eq!(inside.common(place), Some(place));
    let elsewhere: Vec<_> = nodes.iter().copied().filter(|node| inside.common(*node).is_none()).collect();
    assert_eq!(pool.scan_eviction(&ask, &elsewhere), None, "who stands outside the window does not help");
}
