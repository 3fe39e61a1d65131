//! The pool against a slow model: one bool per page.

#![allow(clippy::unwrap_used)]

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::error::*;
use crate::offset::PhysRange;
use proptest::prelude::*;

fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

fn range(start: u64, pages: u64) -> PhysRange {
    PhysRange { start: Phys(start << 12), pages }
}

fn pool<const WORDS: usize>(ranges: &[PhysRange]) -> GenPool<'static, WORDS> {
    GenPool::boxed(&Params::new(ranges)).unwrap()
}

/// Idle or not, page by page.
struct Model {
    idle: Vec<bool>,
}

impl Model {
    fn of<const WORDS: usize>(pool: &GenPool<'_, WORDS>) -> Model {
        Model { idle: (0..pool.shape.pages).map(|page| pool.has_offset(Offset::new(page))).collect() }
    }

    fn pages(&mut self, run: Run) -> &mut [bool] {
        &mut self.idle[run.start().get() as usize..run.end().get() as usize]
    }

    /// Whether an idle run of `order` exists.
    fn fits(&self, order: Order) -> bool {
        self.idle.chunks_exact(order.pages() as usize).any(|run| run.iter().all(|&idle| idle))
    }

    /// Why nothing of an order that does not fit is to be had.
    fn refusal<const WORDS: usize>(&self, pool: &GenPool<'_, WORDS>, order: Order) -> AllocError {
        let idle = self.idle.iter().filter(|&&idle| idle).count() as u64;
        match order {
            _ if order > pool.largest_order() => AllocError::TooLarge,
            _ if idle >= order.pages() => AllocError::Fragmented { cached: 0 },
            _ => AllocError::NoSpace { cached: 0 },
        }
    }

    fn agrees<const WORDS: usize>(&self, pool: &GenPool<'_, WORDS>) {
        pool.audit().unwrap();
        for (page, &idle) in self.idle.iter().enumerate() {
            assert_eq!(pool.is_idle(Offset::new(page as u64)), idle, "page {page}");
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Alloc(u32),
    AllocAt(u64, u32),
    /// Free one of the taken runs.
    Free(usize),
    /// Free an aligned part of one of the taken runs.
    FreePart(usize, u32, u64),
    /// Free anything at all.
    FreeAny(u64, u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..12u32).prop_map(Op::Alloc),
        2 => (0..5000u64, 0..12u32).prop_map(|(at, o)| Op::AllocAt(at, o)),
        1 => (0..5000u64, 0..12u32).prop_map(|(at, o)| Op::AllocAt(at >> o << o, o)),
        4 => any::<usize>().prop_map(Op::Free),
        2 => (any::<usize>(), 0..12u32, any::<u64>()).prop_map(|(i, o, at)| Op::FreePart(i, o, at)),
        1 => (0..5000u64, 0..12u32).prop_map(|(at, o)| Op::FreeAny(at >> o << o, o)),
    ]
}

/// Runs `ops` on a pool and on the model; `taken` are the runs that the caller holds.
fn compare<const WORDS: usize>(ranges: &[PhysRange], ops: &[Op]) {
    let pool = pool::<WORDS>(ranges);
    let mut model = Model::of(&pool);
    model.agrees(&pool);
    let mut taken: Vec<Run> = vec![];
    for op in ops {
        match *op {
            Op::Alloc(o) => match pool.alloc(order(o)) {
                Ok(offset) => {
                    let run = Run::new(offset, order(o)).unwrap();
                    assert!(model.pages(run).iter().all(|&idle| idle), "{run} was not idle");
                    model.pages(run).fill(false);
                    taken.push(run);
                }
                Err(error) => {
                    assert!(!model.fits(order(o)), "refused order {o} though there is a run");
                    assert_eq!(error, model.refusal(&pool, order(o)));
                }
            },
            Op::AllocAt(at, o) => {
                let result = pool.alloc_at(Offset::new(at), order(o));
                let Ok(run) = Run::new(Offset::new(at), order(o)) else {
                    assert_eq!(result, Err(RequestError::Misaligned));
                    continue;
                };
                let inside = pool.check_inside(run);
                let idle = inside.is_ok() && model.pages(run).iter().all(|&idle| idle);
                match result {
                    Ok(()) => {
                        assert!(idle);
                        model.pages(run).fill(false);
                        taken.push(run);
                    }
                    Err(RequestError::Busy) => assert!(inside.is_ok() && !idle, "{run} is idle"),
                    Err(error) => assert_eq!(error, inside.map_err(RequestError::from).unwrap_err()),
                }
            }
            Op::Free(i) if !taken.is_empty() => {
                let run = taken.swap_remove(i % taken.len());
                pool.free(run.start(), run.order()).unwrap();
                model.pages(run).fill(true);
            }
            Op::FreePart(i, o, at) if !taken.is_empty() => {
                let whole = taken.swap_remove(i % taken.len());
                let part_order = order(o).min(whole.order());
                let part = Run::around(whole.start().get() + at % whole.pages(), part_order);
                pool.free(part.start(), part.order()).unwrap();
                model.pages(part).fill(true);
                taken.extend(runs_of(whole.start().get(), part.start().get(), Order::MAX));
                taken.extend(runs_of(part.end().get(), whole.end().get(), Order::MAX));
            }
            Op::FreeAny(at, o) => {
                let run = Run::new(Offset::new(at), order(o)).unwrap();
                let inside = pool.check_inside(run);
                match pool.free(run.start(), run.order()) {
                    Ok(()) => {
                        assert!(model.pages(run).iter().all(|&idle| !idle), "{run} was idle in part");
                        model.pages(run).fill(true);
                        let held: Vec<Run> = core::mem::take(&mut taken);
                        for h in held {
                            if h.start() >= run.end() || h.end() <= run.start() {
                                taken.push(h);
                            } else {
                                taken.extend(runs_of(h.start().get(), run.start().get().max(h.start().get()), Order::MAX));
                                taken.extend(runs_of(run.end().get().min(h.end().get()), h.end().get(), Order::MAX));
                            }
                        }
                    }
                    Err(FreeError::DoubleFree { page }) => {
                        assert!(run.contains(page) && model.idle[page.get() as usize]);
                    }
                    Err(error) => assert_eq!(error, inside.map_err(FreeError::from).unwrap_err()),
                }
            }
            Op::Free(_) | Op::FreePart(..) => {}
        }
    }
    model.agrees(&pool);
    for run in taken {
        pool.free(run.start(), run.order()).unwrap();
        model.pages(run).fill(true);
    }
    model.agrees(&pool);
    // Everything has come back: the largest run must be there again.
    let largest = pool.largest_order();
    assert!(pool.alloc(largest).is_ok(), "order {largest} did not merge");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_the_model_in_tables_of_one_word(ops in prop::collection::vec(op(), 1..200)) {
        compare::<1>(&[range(0, 4096)], &ops);
    }

    #[test]
    fn agrees_with_the_model_in_tables_of_two_words(ops in prop::collection::vec(op(), 1..200)) {
        compare::<2>(&[range(8192, 2500), range(20_000, 700)], &ops);
    }

    #[test]
    fn agrees_with_the_model_in_tables_of_eight_words(ops in prop::collection::vec(op(), 1..200)) {
        compare::<8>(&[range(0, 4999)], &ops);
    }

    #[test]
    fn agrees_with_the_model_over_several_ranges(ops in prop::collection::vec(op(), 1..200)) {
        compare::<8>(&[range(3, 1), range(4096, 2048), range(100_001, 1000)], &ops);
    }
}

#[test]
fn req_43_every_bad_free_is_refused_and_changes_nothing() {
    let pool = pool::<8>(&[range(0, 1 << 20), range(1 << 24, 1000)]);
    let second = pool.ranges().nth(1).unwrap();
    let free = |at: u64, o| pool.free(Offset::new(at), order(o));
    pool.alloc_at(Offset::new(0), order(18)).unwrap();
    assert_eq!(free(1, 1), Err(FreeError::Misaligned));
    assert_eq!(free(u64::MAX, 0), Err(FreeError::Overflow));
    assert_eq!(free(second.end().get(), 0), Err(FreeError::OutOfRange));
    assert_eq!(free(second.first.get(), 10), Err(FreeError::CrossesRange));
    assert_eq!(free(1 << 19, 9), Err(FreeError::DoubleFree { page: Offset::new(1 << 19) }));
    // A part, then the part again, a part of the part, and the whole that contains it.
    free(512 * 3 + 5, 0).unwrap();
    let again = FreeError::DoubleFree { page: Offset::new(512 * 3 + 5) };
    assert_eq!(free(512 * 3 + 5, 0), Err(again));
    assert_eq!(free(512 * 3, 9), Err(again));
    assert_eq!(free(0, 18), Err(again));
    pool.audit().unwrap();
    // The rest, in its largest pieces.
    for run in runs_of(0, 512 * 3 + 5, Order::MAX).chain(runs_of(512 * 3 + 6, 1 << 18, Order::MAX)) {
        pool.free(run.start(), run.order()).unwrap();
    }
    assert_eq!(pool.alloc_at(Offset::new(0), order(18)), Ok(()));
}

#[test]
fn req_50_sixteen_tebibytes_touch_only_the_top() {
    let pool = pool::<8>(&[range(0, 1 << 32)]);
    assert_eq!(pool.largest_order().get(), 32);
    assert_eq!(pool.alloc(order(32)), Ok(Offset::new(0)));
    assert_eq!(pool.alloc(order(0)), Err(AllocError::NoSpace { cached: 0 }));
    pool.free(Offset::new(0), order(32)).unwrap();
    for o in (0..=31).rev() {
        pool.alloc(order(o)).unwrap();
    }
    // 2^32 - 1 pages are taken: one is left.
    let last = pool.alloc(order(0)).unwrap();
    assert_eq!(pool.alloc(order(0)), Err(AllocError::NoSpace { cached: 0 }));
    pool.free(last, order(0)).unwrap();
}

#[test]
fn sizes_at_the_edge_of_a_table_hold_their_largest_run() {
    for pages in [1, 2, 63, 64, 65, 511, 512, 513, 1 << 18, (1 << 18) + 1, (1 << 27) - 1, 1 << 27] {
        let pool = pool::<8>(&[range(0, pages)]);
        let largest = pages.ilog2();
        assert_eq!(pool.largest_order().get(), largest, "{pages} pages");
        assert_eq!(pool.alloc(order(largest)), Ok(Offset::new(0)));
        assert_eq!(pool.alloc(order(largest + 1)), Err(AllocError::TooLarge));
    }
}

#[test]
fn req_04_no_run_crosses_from_one_range_into_the_next() {
    // The first two would fill a table together, though they are far apart in physical memory.
    let pool = pool::<8>(&[range(0, 256), range(1024 + 256, 256), range(4096, 1024)]);
    let first: Vec<u64> = pool.ranges().map(|range| range.first.get()).collect();
    while let Ok(offset) = pool.alloc(order(9)) {
        pool.check_inside(Run::new(offset, order(9)).unwrap()).map_err(|_| (offset, first.clone())).unwrap();
    }
}
/// Runs random pairs through two handles and the shared path, and proves at the end that nothing was lost.
fn handles<const WORDS: usize>(pages: u64, ops: &[(u8, u32, usize)]) {
    let pool = pool::<WORDS>(&[range(0, pages)]);
    let mut model = Model::of(&pool);
    let mut handles = [pool.local().unwrap(), pool.local().unwrap()];
    let mut taken: Vec<Taken<'_>> = vec![];
    for &(which, o, i) in ops {
        let handle = &mut handles[which as usize & 1];
        match which >> 1 {
            0 | 1 => match handle.alloc(order(o)) {
                Ok(run) => {
                    assert!(model.pages(run.run()).iter().all(|&idle| idle), "{run:?} is taken");
                    model.pages(run.run()).fill(false);
                    taken.push(run);
                }
                Err(AllocError::NoSpace { cached: 0 } | AllocError::Fragmented { cached: 0 }) => {
                    assert!(!model.fits(order(o)), "refused order {o}");
                }
                Err(AllocError::NoSpace { cached } | AllocError::Fragmented { cached }) => {
                    assert_eq!(cached, handles[0].cached() + handles[1].cached());
                }
                Err(error) => assert_eq!(error, AllocError::TooLarge),
            },
            2 | 3 if !taken.is_empty() => {
                let run = taken.swap_remove(i % taken.len());
                model.pages(run.run()).fill(true);
                handle.free(run).unwrap();
            }
            4 if !taken.is_empty() => {
                let run = taken.swap_remove(i % taken.len()).into_raw();
                model.pages(run).fill(true);
                pool.free(run.start(), run.order()).unwrap();
            }
            5 => handle.drain(),
            _ => {}
        }
        pool.audit().unwrap();
    }
    drop(handles);
    model.agrees(&pool);
    for run in taken {
        let run = run.into_raw();
        pool.free(run.start(), run.order()).unwrap();
    }
    assert!(pool.alloc(pool.largest_order()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn handles_lose_nothing_in_tables_of_one_word(ops in prop::collection::vec((0..12u8, 0..9u32, any::<usize>()), 1..300)) {
        handles::<1>(700, &ops);
    }

    #[test]
    fn handles_lose_nothing_in_tables_of_eight_words(ops in prop::collection::vec((0..12u8, 0..11u32, any::<usize>()), 1..300)) {
        handles::<8>(4000, &ops);
    }
}

#[test]
fn a_foreign_run_is_refused() {
    let (one, two) = (pool::<8>(&[range(0, 512)]), pool::<8>(&[range(0, 512)]));
    let (mut here, mut there) = (one.local().unwrap(), two.local().unwrap());
    let run = here.alloc(Order::ZERO).unwrap();
    let run = there.free(run).unwrap_err();
    here.free(run).unwrap();
}

#[test]
fn req_43_idle_pages_in_a_handle_s_table_are_seen_by_a_free_of_the_whole() {
    let pool = pool::<8>(&[range(0, 2048)]);
    let mut handle = pool.local().unwrap();
    let page = handle.alloc(Order::ZERO).unwrap();
    let whole = Run::around(page.offset().get(), Order::PMD);
    let refused = pool.free(whole.start(), whole.order());
    assert!(matches!(refused, Err(FreeError::DoubleFree { page }) if whole.contains(page)), "{refused:?}");
    handle.free(page).unwrap();
}

/// What a handle gives back page by page can be found, and whoever is about to refuse hears of it before the call returns.
#[test]
fn req_44_what_a_handle_gives_back_can_be_found_and_is_noted() {
    let pool = pool::<8>(&[range(0, 2048)]);
    let mut handle = pool.local().unwrap();
    let mut taken: Vec<_> = (0..2048).map(|_| handle.alloc(Order::ZERO).unwrap()).collect();
    // No neighbours one after another.
    taken.sort_by_key(|page| page.offset().get().reverse_bits());
    let watch = pool.motion.watch();
    for page in taken {
        let (before, notes) = (handle.cached(), watch.notes());
        handle.free(page).unwrap();
        if handle.cached() <= before {
            assert!(watch.notes() > notes, "something became idle");
            pool.audit().unwrap();
        }
    }
    assert!(pool.avail() > 2000);
}
