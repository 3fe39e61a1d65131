//! Requirements 41 and 44: contiguous pages of any number pack nearly without a remainder, by the simple mode too.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{AllocExtentError, Extent, ExtentParams, GenPool, Mode, Params, fit};
use support::{Random, pool, range};

const MODES: [Mode; 3] = [Mode::Simple, Mode::BottomUp(fit::first_fit_align), Mode::BottomUp(fit::best_fit)];

/// Allocates extents of odd sizes until one is refused; says how full the pool is then, in a thousandth.
fn fill(pool: &GenPool<'_>, mode: Mode, random: &mut Random, held: &mut Vec<Extent>) -> u64 {
    loop {
        match pool.alloc_extent(&ExtentParams::new(1 + random.below(97)).by(mode)) {
            Ok(got) => held.push(got),
            Err(AllocExtentError::NoSpace { .. } | AllocExtentError::Fragmented { .. }) => {
                return 1000 - 1000 * pool.avail() / pool.size();
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// As first fit and best fit do; what is missing at the end is smaller than what was asked for last.
#[test]
fn req_41_odd_sizes_fill_a_pool_to_about_99_percent() {
    for mode in MODES {
        for (pages, least) in [(1_000, 950), (10_000, 990)] {
            let full = |seed| fill(&pool(pages), mode, &mut Random::new(seed), &mut vec![]);
            let mean = (1..=10).map(full).sum::<u64>() / 10;
            assert!(mean >= least, "{mode:?} fills {pages} pages to {mean} thousandths");
        }
    }
}

/// The same in ranges at crooked addresses.
#[test]
fn req_41_odd_sizes_fill_several_ranges_too() {
    for seed in 1..=5 {
        let pool = GenPool::new(&Params::new(&[range(77, 4001), range(100_003, 3000), range(1 << 20, 2999)])).unwrap();
        let full = fill(&pool, Mode::Simple, &mut Random::new(seed), &mut vec![]);
        assert!(full >= 975, "{full} thousandths");
    }
}

#[test]
fn req_41_two_extents_that_make_up_a_pool_both_fit() {
    for pages in 1..=200 {
        for first in 1..pages {
            let pool = pool(pages);
            for part in [first, pages - first] {
                pool.alloc_extent(&ExtentParams::new(part)).unwrap_or_else(|error| panic!("{part} of {pages}: {error}"));
            }
            assert_eq!(pool.avail(), 0);
        }
    }
    // Memory that a firmware leaves over, in MiB.
    for (all, first, second) in [(56, 34, 17), (63, 9, 33)] {
        let pool = pool(all * 256);
        pool.alloc_extent(&ExtentParams::new(first * 256)).unwrap();
        pool.alloc_extent(&ExtentParams::new(second * 256)).unwrap();
    }
}

/// Extents come until one is refused, then random ones go until a fifth is idle, again and again.
#[test]
fn req_41_holes_are_filled_before_anything_is_refused() {
    for seed in 1..=2 {
        let (pool, mut held, mut random) = (pool(20_000), vec![], Random::new(seed));
        let rounds = (0..30).map(|_| {
            let full = fill(&pool, Mode::Simple, &mut random, &mut held);
            while pool.avail() < 20_000 / 5 {
                let gone = held.swap_remove(random.below(held.len() as u64) as usize);
                pool.free_extent(gone).unwrap();
            }
            full
        });
        let mean = rounds.sum::<u64>() / 30;
        // Best fit, which looks at every gap, fills it to 96 %.
        assert!(mean >= 870, "seed {seed}: {mean} thousandths");
    }
}

/// Extents come and go while 40 % is idle: most of that is whole pieces of 2 MiB.
#[test]
fn req_42_extents_that_come_and_go_leave_large_runs_whole() {
    for seed in 1..=2 {
        let (pool, mut held, mut used, mut random) = (pool(50_000), Vec::<Extent>::new(), 0, Random::new(seed));
        for _ in 0..8_000 {
            let next = ExtentParams::new(1 + random.below(97));
            if used > 30_000 {
                let gone = held.swap_remove(random.below(held.len() as u64) as usize);
                used -= gone.pages();
                pool.free_extent(gone).unwrap();
            } else {
                held.push(pool.alloc_extent(&next).unwrap());
                used += next.pages;
            }
        }
        let whole: u64 = pool.idle_runs().iter().skip(9).zip(0..).map(|(runs, order)| runs << order).sum();
        assert!(whole >= 18, "seed {seed}: {whole} of 39");
    }
}
