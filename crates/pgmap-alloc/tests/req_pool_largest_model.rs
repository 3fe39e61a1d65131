//! Requirements 42 and 44 against a slow model: the largest run is the largest, and a list is said to be too short only if it is.
//!
//! Whatever came back from another thread, stands in tables that have not been merged, or lies in a table that a handle works in, counts.
//! Before each call the model looks at every page by itself.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::thread;

use pgmap_alloc::{
    AllocError, Extent, GenPool, LocalPool, Mode, Order, PageWord, Params, PhysRange, Run, ScatterError, ScatterParams, Taken, fit,
};
use proptest::prelude::*;
use support::{at, order, range, window};

/// Which pages are idle.
struct Seen {
    idle: Vec<bool>,
    /// For each page the first one of the next range.
    limit: Vec<u64>,
}

impl Seen {
    fn of<const WORDS: usize>(pool: &GenPool<'_, WORDS>) -> Seen {
        let end = pool.ranges().last().unwrap().end().get();
        let idle = (0..end).map(|page| pool.is_idle(at(page))).collect();
        let mut limit = vec![0; end as usize];
        for range in pool.ranges() {
            limit[range.first.get() as usize..range.end().get() as usize].fill(range.end().get());
        }
        Seen { idle, limit }
    }

    fn pages(&self, within: Extent) -> u64 {
        let end = within.end().get().min(self.idle.len() as u64);
        (within.start().get()..end).filter(|&page| self.idle[page as usize]).count() as u64
    }

    /// How many aligned runs of an order are idle side by side, in a window.
    fn runs(&self, order: u32, within: Extent) -> u64 {
        let size = 1u64 << order;
        let starts = (0..self.idle.len() as u64).step_by(size as usize);
        let idle = |start: &u64| {
            let end = start + size;
            within.start().get() <= *start
                && end <= within.end().get()
                && end <= self.limit[*start as usize]
                && self.idle[*start as usize..end as usize].iter().all(|idle| *idle)
        };
        starts.filter(idle).count() as u64
    }

    fn largest(&self) -> Option<u32> {
        (0..13).rev().find(|&order| self.runs(order, Extent::ALL) > 0)
    }

    /// The fewest runs that make up so many pages; `None` if those are not idle.
    fn fewest_runs(&self, pages: u64, least: u32, within: Extent) -> Option<u64> {
        let (mut left, mut runs) = (pages, 0);
        for order in (least..13).rev() {
            // What has been taken already is a multiple of this order.
            let taken = (pages - left) >> order;
            let more = (left >> order).min(self.runs(order, within) - taken);
            (left, runs) = (left - (more << order), runs + more);
        }
        (left == 0).then_some(runs)
    }

    /// The fewest words that so many pages lie in.
    fn fewest_words(&self, pages: u64) -> Option<usize> {
        let mut words: Vec<_> = self.idle.chunks(64).map(|word| word.iter().filter(|&&idle| idle).count() as u64).collect();
        words.sort_unstable_by(|one, other| other.cmp(one));
        let mut sum = 0;
        words
            .iter()
            .position(|word| {
                sum += word;
                sum >= pages
            })
            .map(|index| index + 1)
    }
}

#[derive(Clone, Debug)]
enum Op {
    One(u32),
    At(u64, u32),
    /// One of the runs that are held, or a half of it; by another thread or by this one.
    Free {
        which: usize,
        half: bool,
        elsewhere: bool,
    },
    Local(bool, u32),
    LocalFree(bool, usize),
    LocalMany(bool, u32, usize),
    LocalWords(bool, u64, usize),
    Drain(bool),
    UpTo(u32, u32),
    Scatter {
        pages: u64,
        room: usize,
        least: u32,
        within: Option<(u64, u64)>,
        mode: u8,
    },
    Words(u64, usize),
    Many(u32, usize),
    Some(u32, usize),
    Largest,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..10u32).prop_map(Op::One),
        2 => (0..3000u64, 0..8u32).prop_map(|(page, order)| Op::At(page, order)),
        8 => (any::<usize>(), any::<bool>(), any::<bool>()).prop_map(|(which, half, elsewhere)| Op::Free { which, half, elsewhere }),
        2 => (any::<bool>(), 0..8u32).prop_map(|(which, order)| Op::Local(which, order)),
        1 => (any::<bool>(), any::<usize>()).prop_map(|(which, run)| Op::LocalFree(which, run)),
        1 => (any::<bool>(), 0..5u32, 1..80usize).prop_map(|(which, order, count)| Op::LocalMany(which, order, count)),
        1 => (any::<bool>(), 1..300u64, 1..12usize).prop_map(|(which, pages, room)| Op::LocalWords(which, pages, room)),
        1 => any::<bool>().prop_map(Op::Drain),
        4 => (0..12u32, 0..4u32).prop_map(|(order, floor)| Op::UpTo(order, floor)),
        4 => (1..400u64, 1..24usize, prop_oneof![3 => Just(0), 1 => 0..4u32], prop::option::weighted(0.3, (0..2000u64, 1..1500u64)), 0..4u8)
            .prop_map(|(pages, room, least, within, mode)| Op::Scatter { pages: pages << least, room, least, within, mode }),
        3 => (1..400u64, 1..12usize).prop_map(|(pages, room)| Op::Words(pages, room)),
        1 => (0..6u32, 1..60usize).prop_map(|(order, count)| Op::Many(order, count)),
        1 => (0..6u32, 1..60usize).prop_map(|(order, count)| Op::Some(order, count)),
        2 => Just(Op::Largest),
    ]
}

struct Caller<'p, const WORDS: usize> {
    pool: &'p GenPool<'p, WORDS>,
    held: Vec<Run>,
    handles: [LocalPool<'p, WORDS>; 2],
    taken: Vec<Taken<'p>>,
}

impl<const WORDS: usize> Caller<'_, WORDS> {
    fn hold_words(&mut self, words: &[PageWord]) {
        self.held.extend(words.iter().flat_map(|word| word.runs()));
    }

    fn cached(&self) -> u64 {
        self.handles.iter().map(LocalPool::cached).sum()
    }

    fn run(&mut self, op: &Op) {
        let (pool, seen) = (self.pool, Seen::of(self.pool));
        let (runs, pages) = (|order| seen.runs(order, Extent::ALL), seen.pages(Extent::ALL));
        assert_eq!(pages, pool.avail());
        match *op {
            Op::One(o) => match pool.alloc(order(o)) {
                Ok(start) => self.held.push(Run::new(start, order(o)).unwrap()),
                Err(_) => assert_eq!(runs(o), 0),
            },
            Op::At(page, o) => {
                let start = at(page).align_down(order(o));
                if pool.alloc_at(start, order(o)).is_ok() {
                    self.held.push(Run::new(start, order(o)).unwrap());
                }
            }
            Op::Free { which, half, elsewhere } if !self.held.is_empty() => {
                let mut run = self.held.swap_remove(which % self.held.len());
                if half && run.order() > Order::ZERO {
                    let part = order(run.order().get() - 1);
                    let [low, high] = [0, part.pages()].map(|more| Run::new(at(run.start().get() + more), part).unwrap());
                    self.held.push(low);
                    run = high;
                }
                let free = || pool.free(run.start(), run.order()).unwrap();
                if elsewhere { thread::scope(|scope| scope.spawn(free).join().unwrap()) } else { free() }
            }
            Op::Local(which, o) => match self.handles[usize::from(which)].alloc(order(o)) {
                Ok(run) => self.taken.push(run),
                Err(_) => assert_eq!(runs(o), 0),
            },
            Op::LocalFree(which, run) if !self.taken.is_empty() => {
                let run = self.taken.swap_remove(run % self.taken.len());
                self.handles[usize::from(which)].free(run).unwrap();
            }
            Op::LocalMany(which, o, count) => {
                let mut out = vec![at(0); count];
                match self.handles[usize::from(which)].alloc_many(order(o), &mut out) {
                    Ok(()) => self.held.extend(out.iter().map(|start| Run::new(*start, order(o)).unwrap())),
                    // By now the handle has given back what it had.
                    Err(_) => assert!(Seen::of(pool).runs(o, Extent::ALL) < count as u64, "{count} runs of order {o} were idle"),
                }
            }
            Op::LocalWords(which, pages, room) => {
                let mut out = vec![PageWord::EMPTY; room];
                match self.handles[usize::from(which)].alloc_words(pages, &mut out).map(<[PageWord]>::to_vec) {
                    Ok(words) => self.hold_words(&words),
                    Err(error) => self.refused_words(&Seen::of(pool), pages, room, error),
                }
            }
            Op::Drain(which) => self.handles[usize::from(which)].drain(),
            Op::UpTo(o, floor) => {
                let floor = floor.min(o);
                let largest = seen.largest().map(|largest| largest.min(o)).filter(|&largest| largest >= floor);
                match pool.alloc_up_to(order(o), order(floor)) {
                    Ok(run) => {
                        assert_eq!(Some(run.order().get()), largest, "not the largest, up to {o}");
                        self.held.push(run);
                    }
                    Err(AllocError::TooLarge) => assert!(order(floor) > pool.largest_order()),
                    Err(error) => assert_eq!(largest, None, "{error}"),
                }
            }
            Op::Scatter { pages, room, least, within, mode } => {
                let modes = [Mode::Simple, Mode::Simple, Mode::BottomUp(fit::best_fit), Mode::TopDown(fit::first_fit_align)];
                let within = within.map_or(Extent::ALL, |(start, pages)| window(start, start + pages));
                let ask = ScatterParams::new(pages).in_blocks_of(order(least)).within(within).by(modes[usize::from(mode)]);
                let mut out = vec![Run::new(at(0), Order::ZERO).unwrap(); room];
                let fewest = seen.fewest_runs(pages, least, within);
                match pool.alloc_scattered(&ask, &mut out) {
                    Ok(runs) => {
                        assert_eq!(runs.iter().map(|run| run.pages()).sum::<u64>(), pages);
                        assert_eq!(runs.len() as u64, fewest.unwrap(), "not the fewest");
                        self.held.extend_from_slice(runs);
                    }
                    Err(ScatterError::ListFull { room: full, .. }) => {
                        assert!(full == room && fewest.unwrap() > room as u64, "{fewest:?} runs do, there is room for {room}");
                    }
                    Err(ScatterError::NoSpace { idle, .. }) => assert!(idle < pages && fewest.is_none()),
                    Err(ScatterError::Fragmented { .. }) => assert!(seen.pages(within) >= pages && fewest.is_none()),
                    Err(error) => assert_eq!(fewest, None, "{error}"),
                }
            }
            Op::Words(pages, room) => {
                let mut out = vec![PageWord::EMPTY; room];
                match pool.alloc_words(pages, &mut out).map(<[PageWord]>::to_vec) {
                    Ok(words) => {
                        assert_eq!(words.iter().map(|word| word.pages()).sum::<u64>(), pages);
                        self.hold_words(&words);
                    }
                    Err(error) => self.refused_words(&seen, pages, room, error),
                }
            }
            Op::Many(o, count) => {
                let mut out = vec![at(0); count];
                match pool.alloc_many(order(o), &mut out) {
                    Ok(()) => self.held.extend(out.iter().map(|start| Run::new(*start, order(o)).unwrap())),
                    Err(_) => assert!(runs(o) < count as u64, "{count} runs of order {o} were idle"),
                }
            }
            Op::Some(o, count) => {
                let mut out = vec![at(0); count];
                let done = pool.alloc_some(order(o), &mut out);
                assert_eq!(done as u64, runs(o).min(count as u64));
                self.held.extend(out[..done].iter().map(|start| Run::new(*start, order(o)).unwrap()));
            }
            Op::Largest => assert_eq!(pool.largest_idle().map(Order::get), seen.largest()),
            Op::Free { .. } | Op::LocalFree(..) => {}
        }
    }

    fn refused_words(&self, seen: &Seen, pages: u64, room: usize, error: ScatterError) {
        match error {
            ScatterError::ListFull { room: full, cached } => {
                let fewest = seen.fewest_words(pages).unwrap();
                assert!(full == room && fewest > room, "{fewest} words do, there is room for {room}");
                assert_eq!(cached, self.cached());
            }
            ScatterError::NoSpace { idle, cached } => assert!(idle < pages && cached == self.cached()),
            error => assert!(pages > self.pool.size(), "{error}"),
        }
    }
}

fn agrees<const WORDS: usize>(ranges: &[PhysRange], ops: &[Op]) {
    let pool = GenPool::<WORDS>::boxed(&Params::new(ranges)).unwrap();
    let handles = [pool.local().unwrap(), pool.local().unwrap()];
    let mut caller = Caller { pool: &pool, held: vec![], handles, taken: vec![] };
    ops.iter().for_each(|op| caller.run(op));
    let Caller { held, handles, taken, .. } = caller;
    drop(handles);
    let runs = held.into_iter().chain(taken.into_iter().map(Taken::into_raw));
    runs.for_each(|run| pool.free(run.start(), run.order()).unwrap());
    support::assert_whole(&pool);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn req_44_the_largest_is_the_largest_in_tables_of_one_word(ops in prop::collection::vec(op(), 1..120)) {
        agrees::<1>(&[range(0, 1400)], &ops);
    }

    #[test]
    fn req_44_the_largest_is_the_largest_over_ranges(ops in prop::collection::vec(op(), 1..120)) {
        agrees::<8>(&[range(7, 1), range(64, 1300), range(10_000, 131)], &ops);
    }
}
