//! Requirements 05, 41 and 44: alignment is that of the physical address, in every mode, and beyond what a range's offsets are aligned to.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{AllocExtentError, ExtentParams, GenPool, Mode, Params, PhysRange, ScatterParams, fit};
use support::{Random, at, range, window};

const MODES: [Mode; 6] = [
    Mode::Simple,
    Mode::BottomUp(fit::first_fit_align),
    Mode::TopDown(fit::first_fit_align),
    Mode::BottomUp(fit::best_fit),
    Mode::TopDown(fit::best_fit),
    Mode::BottomUp(fit::order_align),
];

const ALIGNED_NOWHERE: AllocExtentError = AllocExtentError::Fragmented { cached: 0 };

fn pool_of(ranges: &[PhysRange]) -> GenPool<'static> {
    GenPool::new(&Params::new(ranges)).unwrap()
}

/// The page of physical memory that a page of the pool is.
fn page(pool: &GenPool<'_>, offset: u64) -> u64 {
    pool.phys(at(offset)).unwrap().0 >> 12
}

/// No multiple of 512 pages lies in the range, though a multiple of 512 offsets does.
#[test]
fn req_05_an_alignment_that_no_address_of_the_pool_has_is_refused() {
    let pool = pool_of(&[range(0x8_0300, 200)]);
    let first = pool.ranges().next().unwrap().first.get();
    for mode in MODES {
        let ask = ExtentParams::new(16).aligned(512).by(mode);
        assert_eq!(pool.alloc_extent(&ask), Err(ALIGNED_NOWHERE), "{mode:?}");
        assert_eq!(pool.alloc_extent(&ask.within(window(0, 1 << 20))), Err(ALIGNED_NOWHERE), "{mode:?}");
        assert_eq!(pool.scan_eviction(&ask, &[window(first, first + 200)]), None);
    }
    assert_eq!(pool.avail(), 200);
}

/// The address of page 41 * 8192 lies inside; its offset is no multiple of 8192.
#[test]
fn req_44_an_address_that_is_aligned_is_found_wherever_its_offset_is() {
    for mode in MODES {
        let pool = pool_of(&[range(335_811, 560)]);
        let got = pool.alloc_extent(&ExtentParams::new(4).aligned(8192).by(mode)).unwrap();
        assert_eq!(page(&pool, got.start().get()), 41 * 8192, "{mode:?}");
        let again = pool.alloc_extent(&ExtentParams::new(4).aligned(8192).by(mode));
        assert_eq!(again, Err(ALIGNED_NOWHERE), "{mode:?}");
        // Once it is idle again it is what an eviction would free.
        let scanned = pool.scan_eviction(&ExtentParams::new(4).aligned(8192).by(mode), &[got]);
        assert_eq!(scanned, Some((got, 1)), "{mode:?}");
        pool.free_extent(got).unwrap();
        assert_eq!(pool.avail(), 560);
    }
}

/// The page from which alignment counts may lie in another range: the distance is that of the addresses.
#[test]
fn req_40_a_base_counts_by_its_address_too() {
    let pool = pool_of(&[range(1000, 100), range(5003, 300)]);
    let [low, high] = [0, 1].map(|index| pool.ranges().nth(index).unwrap());
    for mode in MODES {
        let there = window(high.first.get(), high.end().get());
        let ask = ExtentParams::new(7).aligned_from(128, at(low.first.get() + 5)).within(there).by(mode);
        if matches!(mode, Mode::BottomUp(own) if core::ptr::fn_addr_eq(own, fit::order_align as fit::Fit)) {
            continue;
        }
        let got = pool.alloc_extent(&ask).unwrap();
        assert_eq!((page(&pool, got.start().get()) - 1005) % 128, 0, "{mode:?}");
        pool.free_extent(got).unwrap();
    }
    let nowhere = at(high.end().get());
    assert_eq!(
        pool.alloc_extent(&ExtentParams::new(1).aligned_from(8, nowhere)),
        Err(AllocExtentError::BaseOutside { base: nowhere })
    );
    assert_eq!(pool.avail(), 400);
}

/// Ranges at crooked addresses, pages taken here and there, every alignment: what is granted is aligned, what is refused is not there.
#[test]
fn req_44_every_alignment_over_crooked_ranges_agrees_with_a_slow_search() {
    for seed in 1..40 {
        let mut random = Random::new(seed);
        let mut start = random.below(1 << 13);
        let ranges: Vec<_> = (0..1 + random.below(3))
            .map(|_| {
                let pages = 1 + random.below(700);
                let range = range(start, pages);
                start += pages + random.below(3) * random.below(1 << 13);
                range
            })
            .collect();
        let pool = pool_of(&ranges);
        let mut idle: Vec<_> =
            pool.ranges().flat_map(|range| range.first.get()..range.end().get()).filter(|_| !random.one_in(40)).collect();
        for page in pool.ranges().flat_map(|range| range.first.get()..range.end().get()) {
            if idle.binary_search(&page).is_err() {
                pool.alloc_at(at(page), pgmap_alloc::Order::ZERO).unwrap();
            }
        }
        idle.retain(|&page| pool.is_idle(at(page)));
        for _ in 0..60 {
            let (pages, align) = (1 + random.below(64), 1 << random.below(16));
            let mode = MODES[random.below(5) as usize];
            let ask = ExtentParams::new(pages).aligned(align).by(mode);
            match pool.alloc_extent(&ask) {
                Ok(got) => {
                    assert!(page_aligned(&pool, got.start().get(), align), "seed {seed}: {ask:?} got {got}");
                    pool.free_extent(got).unwrap();
                }
                Err(AllocExtentError::TooLarge { .. }) => assert!(pool.ranges().all(|range| range.pages < pages)),
                Err(error) => {
                    let place = a_place(&pool, &idle, pages, align);
                    assert_eq!(place, None, "seed {seed}: {ask:?} was refused by {error}");
                }
            }
        }
    }
}

/// The lowest aligned place among idle pages, given in rising order.
fn a_place(pool: &GenPool<'_>, idle: &[u64], pages: u64, align: u64) -> Option<u64> {
    idle.iter().copied().filter(|&first| page_aligned(pool, first, align)).find(|&first| {
        let end = pool.range_at(at(first)).unwrap().end().get();
        first + pages <= end && (first..first + pages).all(|page| idle.binary_search(&page).is_ok())
    })
}

fn page_aligned(pool: &GenPool<'_>, offset: u64, align: u64) -> bool {
    page(pool, offset).is_multiple_of(align)
}

/// Runs of a scattered allocation are aligned to their size, as every run is.
#[test]
fn req_05_runs_of_a_scattered_allocation_are_aligned_in_physical_memory() {
    let pool = pool_of(&[range(335_811, 560), range(9, 130)]);
    let mut out = [pgmap_alloc::Run::new(at(0), pgmap_alloc::Order::ZERO).unwrap(); 64];
    for mode in MODES {
        let ask = ScatterParams::new(pool.size()).by(mode);
        let runs = pool.alloc_scattered(&ask, &mut out).unwrap();
        for run in runs {
            assert!(page_aligned(&pool, run.start().get(), run.pages()), "{mode:?}: {run:?}");
        }
        runs.iter().for_each(|run| pool.free(run.start(), run.order()).unwrap());
    }
}
