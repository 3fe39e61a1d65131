//! Requirements 40, 41 and 44: contiguous pages of any number, in windows, by any fit, against a slow model.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pgmap_alloc::fit::{self, Fit, Offer, Want};
use pgmap_alloc::{
    AllocExtentError, Extent, ExtentParams, FreeError, GenPool, Mode, Offset, Order, Params, PhysRange, PoolNeeds, RangeSlot, Table,
};
use proptest::prelude::*;
use support::{order, range, window as extent};

/// Idle or not, page by page, and in which range.
struct Model {
    idle: Vec<bool>,
    ranges: Vec<Extent>,
    /// The number of the page of physical memory that each page of the pool is.
    phys: Vec<u64>,
}

impl Model {
    fn of<const WORDS: usize>(pool: &GenPool<'_, WORDS>) -> Model {
        let ranges: Vec<_> = pool.ranges().map(|range| extent(range.first.get(), range.end().get())).collect();
        let end = ranges.last().unwrap().end().get();
        let phys = (0..end).map(|page| pool.phys(Offset::new(page)).map_or(0, |phys| phys.0 / support::PAGE)).collect();
        Model { idle: (0..end).map(|page| pool.has_offset(Offset::new(page))).collect(), ranges, phys }
    }

    fn set(&mut self, extent: Extent, idle: bool) {
        for page in extent.start().get()..extent.end().get() {
            assert_ne!(self.idle[page as usize], idle, "page {page}");
            self.idle[page as usize] = idle;
        }
    }

    /// The gaps of a window.
    fn gaps(&self, window: Extent) -> Vec<Extent> {
        let mut gaps = vec![];
        for range in self.ranges.iter().filter_map(|range| range.common(window)) {
            let mut start = None;
            for page in range.start().get()..=range.end().get() {
                let idle = page < range.end().get() && self.idle[page as usize];
                match start {
                    None if idle => start = Some(page),
                    Some(first) if !idle => {
                        gaps.push(extent(first, page));
                        start = None;
                    }
                    _ => {}
                }
            }
        }
        gaps
    }

    /// All the places that would do, and how large a gap each is in.
    fn places(&self, params: &ExtentParams) -> Vec<(Extent, u64)> {
        let fits = |gap: &Extent| {
            let (gap, pages) = (*gap, params.pages);
            let base = params.base.map_or(0, |base| self.phys[base.get() as usize]);
            let aligned = move |at: &u64| self.phys[*at as usize].abs_diff(base).is_multiple_of(params.align);
            let starts = (gap.start().get()..gap.end().get()).filter(aligned);
            starts.take_while(move |at| at + pages <= gap.end().get()).map(move |at| (at, gap.pages()))
        };
        self.gaps(params.window).iter().flat_map(fits).map(|(at, gap)| (extent(at, at + params.pages), gap)).collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Alloc { pages: u64, align: u32, base: u64, window: Option<(u64, u64)>, mode: u8 },
    Order(u32),
    Free(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let pages = prop_oneof![1..8u64, 1..100u64, 1..1500u64];
    let window = prop::option::of((0..5000u64, 1..3000u64));
    prop_oneof![
        4 => (pages, prop_oneof![Just(0), 0..11u32], prop_oneof![3 => Just(0), 1 => 0..3000u64], window, 0..7u8)
            .prop_map(|(pages, align, base, window, mode)| Op::Alloc { pages, align, base, window, mode }),
        2 => (0..9u32).prop_map(Op::Order),
        5 => any::<usize>().prop_map(Op::Free),
    ]
}

fn compare<const WORDS: usize>(ranges: &[PhysRange], ops: &[Op]) {
    let params = Params::new(ranges);
    let needs = PoolNeeds::of::<WORDS>(&params).unwrap();
    let mut tables: Vec<_> = (0..needs.tables).map(|_| Table::<WORDS>::new()).collect();
    let mut slots: Vec<_> = (0..needs.ranges).map(|_| RangeSlot::new()).collect();
    let pool = GenPool::with_storage(&params, &mut tables, &mut slots).unwrap();
    let mut model = Model::of(&pool);
    let mut held: Vec<Extent> = vec![];
    for op in ops {
        match *op {
            Op::Alloc { pages, align, base, window, mode } => {
                let window = window.map_or(Extent::ALL, |(start, pages)| extent(start, start + pages));
                let modes = [
                    Mode::Simple,
                    Mode::BottomUp(fit::first_fit_align),
                    Mode::TopDown(fit::first_fit_align),
                    Mode::BottomUp(fit::best_fit),
                    Mode::TopDown(fit::order_align),
                    Mode::BottomUp(fit::first_fit),
                    Mode::TopDown(fit::first_fit),
                ];
                let asked = ExtentParams { base: (base > 0).then(|| Offset::new(base)), ..ExtentParams::new(pages) };
                let asked = ExtentParams { align: 1 << align, ..asked }.within(window);
                let mode = usize::from(mode);
                if let Some(base) = asked.base.filter(|&base| !pool.has_offset(base)) {
                    assert_eq!(pool.alloc_extent(&asked.by(modes[mode])), Err(AllocExtentError::BaseOutside { base }));
                    continue;
                }
                let strict = if mode == 4 { asked.aligned(asked.align.max(pages.next_power_of_two())) } else { asked };
                let places = model.places(&strict);
                match pool.alloc_extent(&asked.by(modes[mode])) {
                    Ok(got) => {
                        let at = places.iter().find(|(place, _)| *place == got).unwrap_or_else(|| panic!("{got} is no place"));
                        match mode {
                            1 => assert_eq!(at, places.first().unwrap(), "first from the bottom"),
                            2 | 4 => assert_eq!(at, places.last().unwrap(), "first from the top"),
                            3 => assert!(places.iter().all(|(_, gap)| *gap >= at.1), "best"),
                            // With an alignment, gaps that have no aligned place may not be shown: then only that it is a place.
                            5 if align == 0 => assert_eq!(Some(at), places.first(), "first from the bottom"),
                            6 if align == 0 => assert_eq!(Some(at), places.last(), "first from the top"),
                            _ => {}
                        }
                        model.set(got, false);
                        held.push(got);
                    }
                    Err(AllocExtentError::BadFit { start }) => {
                        assert!(mode > 4, "only this fit does not know alignments");
                        let base = asked.base.map_or(0, |base| model.phys[base.get() as usize]);
                        assert_ne!(model.phys[start.get() as usize].abs_diff(base) % (1 << align), 0);
                    }
                    Err(error) => {
                        assert!(places.is_empty(), "refused {asked:?} by {error} though {:?} was idle", places[0]);
                        let idle: u64 = model.gaps(window).iter().map(|gap| gap.pages()).sum();
                        let most =
                            model.ranges.iter().filter(|range| range.common(window).is_some()).map(|range| range.pages()).max();
                        let expected = match most {
                            _ if pages > window.pages() => AllocExtentError::LargerThanWindow { pages },
                            None => AllocExtentError::WindowOutside,
                            Some(most) if pages > most => AllocExtentError::TooLarge { pages },
                            Some(_) if idle < pages => AllocExtentError::NoSpace { idle, cached: 0 },
                            Some(_) => AllocExtentError::Fragmented { cached: 0 },
                        };
                        assert_eq!(error, expected);
                    }
                }
            }
            Op::Order(o) => {
                if let Ok(offset) = pool.alloc(order(o)) {
                    let got = Extent::new(offset, 1 << o).unwrap();
                    model.set(got, false);
                    held.push(got);
                }
            }
            Op::Free(i) if !held.is_empty() => {
                let whole = held.swap_remove(i % held.len());
                let cut = (i as u64 >> 32) % whole.pages();
                // In two parts, the second one first.
                let middle = whole.start().get() + cut;
                pool.free_extent(extent(middle, whole.end().get())).unwrap();
                let again = pool.free_extent(whole);
                assert!(
                    matches!(again, Err(FreeError::DoubleFree { page }) if page.get() >= middle && whole.contains(page)),
                    "{again:?}"
                );
                if cut > 0 {
                    pool.free_extent(extent(whole.start().get(), middle)).unwrap();
                }
                model.set(whole, true);
            }
            Op::Free(_) => {}
        }
    }
    let gaps = model.gaps(Extent::ALL);
    assert_eq!(pool.gaps_in(Extent::ALL).collect::<Vec<_>>(), gaps);
    assert_eq!(pool.avail(), gaps.iter().map(|gap| gap.pages()).sum::<u64>());
    let window = extent(70, 2700);
    assert_eq!(pool.gaps_in(window).collect::<Vec<_>>(), model.gaps(window));
    held.into_iter().for_each(|extent| pool.free_extent(extent).unwrap());
    assert_eq!(pool.avail(), pool.size());
    let largest = pool.largest_order();
    pool.alloc(largest).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn req_44_extents_agree_with_the_model_in_tables_of_one_word(ops in prop::collection::vec(op(), 1..150)) {
        compare::<1>(&[range(0, 4096)], &ops);
    }

    #[test]
    fn req_44_extents_agree_with_the_model_over_ranges(ops in prop::collection::vec(op(), 1..150)) {
        compare::<8>(&[range(0, 2500), range(20_013, 700), range(4096 + 96, 416), range((1 << 20) + 3, 1500)], &ops);
    }
}

#[test]
fn req_41_bad_parameters_are_refused_by_name_and_change_nothing() {
    let pool = GenPool::new(&Params::new(&[range(0, 1000)])).unwrap();
    let ask = |params: ExtentParams| pool.alloc_extent(&params);
    assert_eq!(ask(ExtentParams::new(0)), Err(AllocExtentError::NoPages));
    assert_eq!(ask(ExtentParams::new(u64::MAX)), Err(AllocExtentError::TooLarge { pages: u64::MAX }));
    assert_eq!(ask(ExtentParams::new(1001)), Err(AllocExtentError::TooLarge { pages: 1001 }));
    assert_eq!(ask(ExtentParams::new(1).aligned(0)), Err(AllocExtentError::Alignment { align: 0 }));
    assert_eq!(ask(ExtentParams::new(1).aligned(3)), Err(AllocExtentError::Alignment { align: 3 }));
    assert_eq!(ask(ExtentParams::new(1).within(extent(1000, 2000))), Err(AllocExtentError::WindowOutside));
    assert_eq!(ask(ExtentParams::new(9).within(extent(0, 8))), Err(AllocExtentError::LargerThanWindow { pages: 9 }));
    assert!(Extent::between(Offset::new(8), Offset::new(8)).is_err(), "an empty window cannot be named");
    // Only offset 0 is aligned like this.
    assert_eq!(ask(ExtentParams::new(1).aligned(1 << 63)).unwrap().start(), Offset::new(0));
    assert_eq!(ask(ExtentParams::new(1).aligned(1 << 63)), Err(AllocExtentError::Fragmented { cached: 0 }));
    assert_eq!(pool.avail(), 999);
    assert_eq!(pool.free_extent(extent(999, 1001)), Err(FreeError::CrossesRange));
    assert_eq!(pool.free_extent(extent(1000, 1001)), Err(FreeError::OutOfRange));
    assert_eq!(pool.free_extent(extent(0, 2)), Err(FreeError::DoubleFree { page: Offset::new(1) }));
    assert_eq!(pool.avail(), 999);
}

#[test]
fn req_40_first_fit_knows_no_alignment_and_first_fit_align_counts_it_from_a_base() {
    let pool = GenPool::new(&Params::new(&[range(0, 1000)])).unwrap();
    pool.alloc_at(Offset::new(0), order(0)).unwrap();
    let ask = |params: ExtentParams, fit: Fit| pool.alloc_extent(&params.by(Mode::BottomUp(fit)));
    let bad = AllocExtentError::BadFit { start: Offset::new(1) };
    assert_eq!(ask(ExtentParams::new(10).aligned(8), fit::first_fit), Err(bad), "refused, not given unaligned");
    assert_eq!(pool.avail(), 999);
    assert_eq!(ask(ExtentParams::new(10), fit::first_fit), Ok(extent(1, 11)));
    assert_eq!(ask(ExtentParams::new(10).aligned(8), fit::first_fit_align), Ok(extent(16, 26)));
    // 100, 164, 228 ... are the multiples of 64 from page 100; those below it count too.
    let from = |base| ExtentParams::new(10).aligned_from(64, Offset::new(base));
    assert_eq!(ask(from(100), fit::first_fit_align), Ok(extent(36, 46)));
    assert_eq!(ask(from(100), fit::best_fit), Ok(extent(100, 110)));
    assert_eq!(pool.alloc_extent(&from(100).by(Mode::TopDown(fit::first_fit_align))), Ok(extent(932, 942)));
    assert_eq!(pool.alloc_extent(&from(999)).map(|got| got.start().get() % 64), Ok(999 % 64));
    assert_eq!(pool.alloc_extent(&from(u64::MAX)), Err(AllocExtentError::BaseOutside { base: Offset::new(u64::MAX) }));
    assert_eq!(pool.alloc_extent(&from(100).within(extent(101, 170))), Err(AllocExtentError::Fragmented { cached: 0 }));
}

#[test]
fn req_40_a_callers_own_fit_chooses_and_a_bad_one_is_found_out() {
    fn middle(gap: Extent, want: &Want) -> Option<Offer> {
        let slack = gap.pages().checked_sub(want.pages)?;
        Some(Offer { start: Offset::new(gap.start().get() + slack / 2), cost: 0 })
    }
    fn beyond(gap: Extent, _: &Want) -> Option<Offer> {
        Some(Offer { start: gap.end(), cost: 0 })
    }
    fn never(_: Extent, _: &Want) -> Option<Offer> {
        None
    }
    let pool = GenPool::new(&Params::new(&[range(0, 1000)])).unwrap();
    let ask = |fit: Fit| pool.alloc_extent(&ExtentParams::new(100).by(Mode::BottomUp(fit)));
    assert_eq!(ask(middle), Ok(extent(450, 550)));
    assert_eq!(ask(beyond), Err(AllocExtentError::BadFit { start: Offset::new(450) }));
    assert_eq!(ask(never), Err(AllocExtentError::Fragmented { cached: 0 }));
    assert_eq!(pool.avail(), 900);
}

#[test]
fn req_41_a_size_that_is_no_power_of_two_is_trimmed_and_may_be_smaller_than_its_alignment() {
    let pool = GenPool::new(&Params::new(&[range(0, (1 << 20) - 777)])).unwrap();
    // 3 GiB and 20 KiB.
    let pages = 3 * (1 << 18) + 5;
    let got = pool.alloc_extent(&ExtentParams::new(pages)).unwrap();
    assert_eq!(got.pages(), pages);
    assert_eq!(pool.avail(), (1 << 20) - 777 - pages);
    let small = pool.alloc_extent(&ExtentParams::new(3).aligned(1 << 10)).unwrap();
    assert_eq!(small.start().get() % (1 << 10), 0);
    pool.free_extent(got).unwrap();
    pool.free_extent(small).unwrap();
    assert_eq!(pool.avail(), pool.size());
    assert_eq!(pool.alloc(order(19)), Ok(Offset::new(0)));
}

#[test]
fn req_41_a_fit_compares_no_more_gaps_than_it_may() {
    let pool = GenPool::new(&Params::new(&[range(0, 512)])).unwrap();
    pool.alloc_extent(&ExtentParams::new(512)).unwrap();
    let holes = [(0, 9), (64, 7), (128, 3), (192, 5), (256, 6)];
    holes.iter().for_each(|&(start, pages)| pool.free_extent(extent(start, start + pages)).unwrap());
    let place = |mode, gaps| {
        let got = pool.alloc_extent(&ExtentParams::new(5).by(mode).comparing(gaps)).unwrap();
        pool.free_extent(got).unwrap();
        got.start().get()
    };
    let (up, down) = (Mode::BottomUp(fit::best_fit), Mode::TopDown(fit::best_fit));
    // The hole of 3 has no place, and does not count.
    assert_eq!([0, 1, 2, 3, u32::MAX].map(|gaps| place(up, gaps)), [0, 0, 64, 192, 192]);
    assert_eq!([1, 2].map(|gaps| place(down, gaps)), [257, 192]);
    // However few are compared, what fits is found.
    let largest = ExtentParams::new(9).by(down).comparing(1);
    assert_eq!(pool.alloc_extent(&largest), Ok(extent(0, 9)));
    assert_eq!(pool.alloc_extent(&largest), Err(AllocExtentError::Fragmented { cached: 0 }));
}

#[test]
fn req_40_gen_pools_face() {
    // Offset 0 is an ordinary offset, a range has a tag, and every page can be had at its own place.
    let pool = GenPool::new(&Params::new(&[range(0, 64)]).with_room(1, 1 << 12)).unwrap();
    let added = pool.add_range_tagged(range(1 << 16, 128), 0xFEED).unwrap();
    assert_eq!((pool.size(), pool.avail()), (192, 192));
    assert_eq!(pool.ranges().map(|range| range.tag).collect::<Vec<_>>(), [0, 0xFEED]);
    assert_eq!(pool.alloc_extent(&ExtentParams::new(64).by(Mode::BottomUp(fit::first_fit))), Ok(extent(0, 64)));
    assert!(pool.has_offset(Offset::new(0)) && !pool.has_offset(Offset::new(64)));
    pool.alloc_at(added.first, order(3)).unwrap();
    for range in pool.ranges() {
        let window = extent(range.first.get(), range.end().get());
        assert_eq!(pool.avail_in(window), if range.tag == 0 { 0 } else { 120 });
    }
    // Whose a page is.
    let tag = |page| pool.range_at(Offset::new(page)).map(|range| range.tag);
    assert_eq!([0, 63, 64, added.first.get(), added.end().get()].map(tag), [Some(0), Some(0), None, Some(0xFEED), None]);
    // A part of what was taken can be given back on its own.
    pool.free(Offset::new(16), order(4)).unwrap();
    assert_eq!(pool.first_gap(Extent::ALL), Some(extent(16, 32)));
    assert_eq!(pool.avail(), 136);
}

/// A stretch of idle pages that somebody has begun to take is passed over, though there are idle pages before it.
#[test]
fn req_44_a_walk_over_the_gaps_ends_though_a_page_is_taken_under_it() {
    static POOL: OnceLock<GenPool<'static>> = OnceLock::new();
    static CALLS: AtomicU32 = AtomicU32::new(0);
    fn meddle(_: Extent, _: &Want) -> Option<Offer> {
        // In the place of another thread.
        if CALLS.fetch_add(1, Relaxed) == 0 {
            let pool = POOL.get().unwrap();
            pool.alloc_at(Offset::new(9), Order::ZERO).unwrap();
            pool.free(Offset::new(8), Order::ZERO).unwrap();
        }
        None
    }
    let pool = POOL.get_or_init(|| GenPool::new(&Params::new(&[range(0, 64)])).unwrap());
    pool.alloc_at(Offset::new(8), Order::ZERO).unwrap();
    let params = ExtentParams::new(3).by(Mode::BottomUp(meddle));
    assert!(pool.alloc_extent(&params).is_err());
    assert!(CALLS.load(Relaxed) >= 2, "the rest of the stretch was offered");
}
