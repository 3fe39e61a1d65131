//! Requirements 42 and 43: bulk calls against a set of pages, by one caller and by several threads.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgmap_alloc::{GenPool, LocalPool, Offset, Order, PageWord, Params, PhysRange, ScatterError};
use proptest::prelude::*;
use support::{assert_whole, at, range, word};

/// What a random caller does, on the shared path or through a handle.
#[derive(Clone, Debug)]
enum Op {
    Words(u64, usize),
    SomeWords(u64),
    Many(u32, usize),
    One(u32),
    /// Some of the taken pages, thinned out by a mask.
    FreeWords(u64, u64),
    FreeMany(u64, usize),
    Drain,
}

fn op() -> impl Strategy<Value = (Op, bool)> {
    let op = prop_oneof![
        (1..700u64, 1..40usize).prop_map(|(pages, room)| Op::Words(pages, room)),
        (1..700u64).prop_map(Op::SomeWords),
        (0..8u32, 1..200usize).prop_map(|(order, count)| Op::Many(order, count)),
        (0..10u32).prop_map(Op::One),
        (any::<u64>(), any::<u64>()).prop_map(|(from, mask)| Op::FreeWords(from, mask)),
        (any::<u64>(), 1..300usize).prop_map(|(from, count)| Op::FreeMany(from, count)),
        Just(Op::Drain),
    ];
    (op, any::<bool>())
}

/// Pages taken, beside the pool.
struct Model<'p, const WORDS: usize> {
    pool: &'p GenPool<'p, WORDS>,
    local: LocalPool<'p, WORDS>,
    taken: BTreeSet<Offset>,
}

impl<const WORDS: usize> Model<'_, WORDS> {
    fn take(&mut self, pages: impl IntoIterator<Item = Offset>) {
        for page in pages {
            assert!(self.pool.has_offset(page) && !self.pool.is_idle(page), "{page}");
            assert!(self.taken.insert(page), "{page} is handed out twice");
        }
    }

    fn run(&mut self, op: &Op, handle: bool) {
        let mut words = [PageWord::EMPTY; 700];
        match *op {
            Op::Words(pages, room) => {
                let out = &mut words[..room];
                let before = self.pool.size() - self.taken.len() as u64;
                let result = if handle { self.local.alloc_words(pages, out) } else { self.pool.alloc_words(pages, out) };
                match result.map(<[PageWord]>::to_vec) {
                    Ok(got) => {
                        assert_eq!(got.iter().map(|word| word.pages()).sum::<u64>(), pages);
                        self.take(got.into_iter().flatten());
                    }
                    Err(ScatterError::NoSpace { idle, cached }) => assert!(idle < pages && before < pages + cached),
                    Err(ScatterError::ListFull { room: full, .. }) => assert_eq!(full, room),
                    Err(error) => assert_eq!(error, ScatterError::TooLarge { pages }),
                }
            }
            Op::SomeWords(pages) => {
                let out = &mut words;
                let got = if handle { self.local.alloc_some_words(pages, out) } else { self.pool.alloc_some_words(pages, out) };
                let got = got.to_vec();
                assert!(got.iter().all(|word| !word.is_empty()));
                self.take(got.into_iter().flatten());
            }
            Op::Many(order, count) => {
                let (order, mut out) = (Order::new(order).unwrap(), vec![at(u64::MAX); count]);
                let done = if handle { self.local.alloc_some(order, &mut out) } else { self.pool.alloc_some(order, &mut out) };
                assert!(out[..done].iter().all(|start| start.is_aligned(order)));
                self.take(out[..done].iter().flat_map(|start| (0..order.pages()).map(|page| at(start.get() + page))));
            }
            Op::One(order) => {
                let order = Order::new(order).unwrap();
                let start = if handle { self.local.alloc(order).map(|run| run.into_raw().start()) } else { self.pool.alloc(order) };
                if let Ok(start) = start {
                    self.take((0..order.pages()).map(|page| at(start.get() + page)));
                }
            }
            Op::FreeWords(from, mask) => {
                let first = self.taken.range(at(from % (4 * self.pool.size()))..).next().map_or(0, |page| page.get() / 64 * 64);
                let of = |base: u64| (0..64).filter(|bit| self.taken.contains(&at(base + bit))).fold(0, |all, bit| all | 1 << bit);
                let words: Vec<_> =
                    (0..4).map(|index| first + 64 * index).map(|base| word(base, of(base) & (mask | of(base) >> 1))).collect();
                let freed = if handle { self.local.free_words(&words) } else { self.pool.free_words(&words) };
                assert_eq!(freed, Ok(()));
                words.iter().flat_map(|word| word.iter()).for_each(|page| assert!(self.taken.remove(&page)));
            }
            Op::FreeMany(from, count) => {
                let pages: Vec<_> = self.taken.range(at(from % (4 * self.pool.size()))..).take(count).copied().collect();
                let freed =
                    if handle { self.local.free_many(Order::ZERO, &pages) } else { self.pool.free_many(Order::ZERO, &pages) };
                assert_eq!(freed, Ok(()));
                pages.iter().for_each(|page| assert!(self.taken.remove(page)));
            }
            Op::Drain => self.local.drain(),
        }
        let idle = self.pool.avail() + self.local.cached();
        assert_eq!(idle + self.taken.len() as u64, self.pool.size(), "after {op:?}");
    }
}

fn agrees<const WORDS: usize>(ranges: &[PhysRange], ops: &[(Op, bool)]) {
    let pool = GenPool::<WORDS>::boxed(&Params::new(ranges)).unwrap();
    let mut model = Model { pool: &pool, local: pool.local().unwrap(), taken: BTreeSet::new() };
    ops.iter().for_each(|(op, handle)| model.run(op, *handle));
    let left: Vec<_> = model.taken.iter().copied().collect();
    model.local.free_many(Order::ZERO, &left).unwrap();
    drop(model);
    assert_whole(&pool);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn req_42_43_bulk_calls_agree_with_a_set_of_pages(
        sizes in prop::collection::vec((0..200u64, 1..1500u64), 1..4),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut end = 0;
        let ranges: Vec<_> = sizes.iter().map(|&(gap, pages)| { end += gap + pages; range(end - pages, pages) }).collect();
        agrees::<1>(&ranges, &ops);
        agrees::<8>(&ranges, &ops);
    }
}

#[test]
fn req_42_threads_in_bulk_never_share_a_page() {
    const PAGES: u64 = 5000;
    let pool = GenPool::new(&Params::new(&[range(0, PAGES)])).unwrap();
    let taken: Vec<AtomicBool> = (0..PAGES).map(|_| AtomicBool::new(false)).collect();
    let mark = |words: &[PageWord], now: bool| {
        for page in words.iter().flat_map(|word| word.iter()) {
            assert_eq!(taken[page.get() as usize].swap(now, Ordering::AcqRel), !now, "{page}");
        }
    };
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let (pool, mark) = (&pool, &mark);
            scope.spawn(move || {
                let mut local = pool.local().unwrap();
                let mut out = [PageWord::EMPTY; 64];
                for round in 0..300u64 {
                    let wanted = 1 + (round * 37 + thread * 211) % 900;
                    let handle = (round + thread).is_multiple_of(2);
                    let some =
                        if handle { local.alloc_some_words(wanted, &mut out) } else { pool.alloc_some_words(wanted, &mut out) };
                    mark(some, true);
                    // Those that two threads want at once are had in parts.
                    let (first, second) = some.split_at(some.len() / 2);
                    mark(first, false);
                    pool.free_words(first).unwrap();
                    mark(second, false);
                    local.free_words(second).unwrap();
                }
            });
        }
    });
    assert_whole(&pool);
}
