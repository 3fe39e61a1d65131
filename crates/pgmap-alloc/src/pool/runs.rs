//! How many idle runs there are of each order, counted as they come and go, so that they can be read at any time.
//!
//! Kept by pools that were built for it ([`Params::counting_runs`](super::Params::counting_runs)). Nothing is decided by the
//! counts: they are no third truth but a sum over the first.
//!
//! # Protocol
//!
//! What a word of a table holds in runs of less than a word is a function of that word. Every change of a word is one
//! read-modify-write, so whoever makes it knows the word before and after, and counts the difference of the function
//! ([`GenPool::tell_word`]). The differences of all changes of a word add up to the function of what it is now, in whatever order
//! they are told: so the counts of a quiet pool are exact.
//!
//! Runs of several words are no function of one word, and nobody changes several words in one step. Beside each table stands a word
//! of digits, one for each of the table's words: 1 is added to it when the word has become wholly idle, and taken away when it has
//! ceased to be. Those additions are read-modify-writes of one word again; which runs of words there are is a function of it, and the
//! same holds.
//!
//! 1. A change is told after it was made, by who made it. Until then the counts are off by it, up or down; nothing needs to be
//!    repaired. (A digit may be -1 or 2 meanwhile, where a change and the one after it are told the other way round.)
//! 2. What is undone or hidden in a motion is told like everything else, and so is what a mistake did: each step is told by the word
//!    that it found, not by the one that there should have been ([`GenPool::tell_odd`]).
//! 3. The counts stand in lines of the caller's slot, the digits beside their table; no line is everybody's.
//!
//! # What they mean
//!
//! They count what the tables hold: a table that is wholly idle and not merged yet (`give_back`; no more than one for each caller
//! slot and level, and those that handles work in) is one run of its order, though it may lie beside another.
//! [`GenPool::idle_runs`] joins them. Pages that handles have at hand are not idle.

use super::GenPool;
use super::plane::Plane;
use super::shape::Place;
use crate::order::Order;
use crate::sync::{caller_slot, in_models};
use crate::table::Table;

/// Caller slots.
const SLOTS: usize = in_models(1, 8);
/// Orders that are counted.
const ORDERS: usize = Order::MAX.get() as usize + 1;
/// Orders of runs within one word.
const IN_WORD: usize = 6;

/// Where the counts stand, if they are kept.
pub(super) struct Runs {
    digits: Option<Plane>,
    /// The first table of the counts: for each slot so many that there is a word for each order.
    counts: usize,
}

impl Runs {
    /// Appends the counts to an array of `tables`.
    pub(super) fn append<const WORDS: usize>(digits: Option<Plane>, tables: &mut usize) -> Option<Runs> {
        let counts = *tables;
        if digits.is_some() {
            *tables = tables.checked_add(SLOTS * ORDERS.div_ceil(WORDS))?;
        }
        Some(Runs { digits, counts })
    }
}

/// How many idle runs there are of each order.
///
/// Written down (feature `serde`) as a list by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleRuns([u64; ORDERS]);

#[cfg(feature = "serde")]
impl serde::Serialize for IdleRuns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

impl IdleRuns {
    /// Of one order.
    pub fn of(&self, order: Order) -> u64 {
        self.0.get(order.get() as usize).copied().unwrap_or(0)
    }

    /// By order.
    pub fn by_order(&self) -> &[u64; ORDERS] {
        &self.0
    }

    /// How many pages they have together.
    pub fn pages(&self) -> u64 {
        self.pages_from(Order::ZERO)
    }

    fn pages_from(&self, order: Order) -> u64 {
        let from = self.0.iter().enumerate().skip(order.get() as usize);
        from.fold(0, |sum, (order, runs)| sum.saturating_add(runs.saturating_mul(1 << order)))
    }

    /// The order of the largest.
    pub fn largest(&self) -> Option<Order> {
        self.0.iter().rposition(|&runs| runs > 0).map(|order| Order::clamped(order as u32))
    }

    /// How much of what is idle is of no use for runs of an order, because it lies in smaller ones: 0 = all is, 1000 = nothing is; as
    /// the kernel's unusable free space index. 0 where nothing is idle.
    pub fn unusable(&self, order: Order) -> u64 {
        let all = u128::from(self.pages());
        let smaller = all.saturating_sub(u128::from(self.pages_from(order)));
        (smaller * 1000).checked_div(all).map_or(0, |index| index as u64)
    }
}

/// How many of the largest aligned runs of ones a word has, of each order up to that of the word.
fn runs_in(word: u64, orders: usize) -> [i64; IN_WORD + 4] {
    let mut runs = [0; IN_WORD + 4];
    let mut starts = word;
    for (order, runs) in runs.iter_mut().enumerate().take(orders) {
        // The bits at which two of them are the halves of one of the next order.
        let halves = 1u32.checked_shl(order as u32).map_or(0, |half| starts & starts >> half.min(63) & every(2 * half));
        *runs = i64::from(starts.count_ones()) - 2 * i64::from(halves.count_ones());
        starts = halves;
    }
    if let Some(runs) = runs.get_mut(orders) {
        *runs = i64::from(starts.count_ones());
    }
    runs
}

/// Every bit whose index is a multiple of `step`, a power of two.
fn every(step: u32) -> u64 {
    if step >= 64 { 1 } else { !0 / ((1 << step) - 1) }
}

/// The bits of a run in its word; its order is at most 6.
const fn bits(entry: u32, order: u32) -> u64 {
    !0 >> (64 - (1u32 << order)) << (entry % 64)
}

/// What is told after a change of a table.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The run was idle and is not any more; `before` is what its first word was.
    #[inline(always)]
    pub(super) fn tell_taken(&self, place: Place, before: u64) {
        if self.runs.digits.is_some() {
            self.count_run(place.level, place.table, place.entry, place.order, before, false);
        }
    }

    /// The run is idle and was not before; `before` is what its first word was.
    #[inline(always)]
    pub(super) fn tell_idle(&self, place: Place, before: u64) {
        if self.runs.digits.is_some() {
            self.count_run(place.level, place.table, place.entry, place.order, before, true);
        }
    }

    /// [`GenPool::tell_idle`] of a run within a word, which is now `now`.
    #[inline(always)]
    pub(super) fn tell_released(&self, place: Place, now: u64) {
        if self.runs.digits.is_some() {
            self.count_word(place.level, place.table, place.entry, now & !bits(place.entry, place.order), now);
        }
    }

    /// A table in which nothing was idle has been filled.
    #[inline(always)]
    pub(super) fn tell_filled(&self, level: u32, table: usize) {
        self.tell_idle(Place { level, table, entry: 0, order: Self::RADIX }, 0);
    }

    /// A word that was filled was not empty before: pages in it were freed by mistake a moment ago.
    #[inline(always)]
    pub(super) fn tell_odd(&self, level: u32, table: usize) -> impl FnMut(u32, u64) {
        // As if it had been emptied first.
        move |entry, before| self.tell_word(Place { level, table, entry, order: 0 }, before, 0)
    }

    /// The word that a place lies in has changed.
    #[inline(always)]
    pub(super) fn tell_word(&self, place: Place, before: u64, after: u64) {
        if self.runs.digits.is_some() {
            self.count_word(place.level, place.table, place.entry, before, after);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_run(&self, level: u32, table: usize, entry: u32, order: u32, before: u64, idle: bool) {
        if order > IN_WORD as u32 {
            // Whole words, of which the others were as the first one.
            return self.count_whole(level, table, entry, 1 << (order - IN_WORD as u32), idle);
        }
        let bits = bits(entry, order);
        self.count_word(level, table, entry, before, if idle { before | bits } else { before & !bits });
    }

    #[cold]
    #[inline(never)]
    fn count_word(&self, level: u32, table: usize, entry: u32, before: u64, after: u64) {
        self.count(level * Self::RADIX, IN_WORD, runs_in(before, IN_WORD), runs_in(after, IN_WORD));
        if (before == !0) != (after == !0) {
            self.count_whole(level, table, entry, 1, after == !0);
        }
    }

    /// Words that are wholly idle now, or not any more.
    fn count_whole(&self, level: u32, table: usize, entry: u32, words: usize, idle: bool) {
        let Some((digits, _)) = self.runs.digits.as_ref().and_then(|digits| self.beside(digits, level, table)) else { return };
        let (before, after) = digits.add_digits((entry / 64) as usize, words, idle);
        let orders = Self::RADIX as usize - IN_WORD;
        self.count(level * Self::RADIX + IN_WORD as u32, orders + 1, runs_in(before, orders), runs_in(after, orders));
    }

    /// Counts the difference.
    fn count(&self, base: u32, orders: usize, before: [i64; IN_WORD + 4], after: [i64; IN_WORD + 4]) {
        let slot = caller_slot(SLOTS) & (SLOTS - 1);
        let both = before.iter().zip(after).take(orders).enumerate();
        for (order, difference) in both.map(|(order, (before, after))| (order, after - before)).filter(|&(_, it)| it != 0) {
            let index = base as usize + order;
            self.counts(slot, index).add(index % WORDS, difference);
        }
    }

    /// The table in which a slot's count of an order stands.
    fn counts(&self, slot: usize, order: usize) -> &Table<WORDS> {
        self.metadata(self.runs.counts + slot * ORDERS.div_ceil(WORDS) + order / WORDS)
    }

    /// How many idle runs there are of each order; `None` if the pool was not built to count them. O(1): so many loads, whatever the
    /// size of the pool. Exact at a quiet moment, at any other off by what is under way.
    pub fn counted_runs(&self) -> Option<IdleRuns> {
        self.runs.digits.as_ref()?;
        let sum =
            |order: usize| (0..SLOTS).fold(0, |sum: i64, slot| sum.wrapping_add(self.counts(slot, order).number(order % WORDS)));
        // Less than none is what somebody has not told yet.
        Some(IdleRuns(core::array::from_fn(|order| u64::try_from(sum(order)).unwrap_or(0))))
    }
}

#[cfg(all(test, feature = "alloc", not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    extern crate std;

    use super::*;
    use crate::extent::Extent;
    use crate::offset::{Offset, Phys, PhysRange, Run};
    use crate::page_word::PageWord;
    use crate::pool::{ExtentParams, Params};
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn pool<const WORDS: usize>(pages: u64) -> GenPool<'static, WORDS> {
        GenPool::boxed(&Params::new(&[PhysRange { start: Phys(0), pages }]).counting_runs()).unwrap()
    }

    /// The runs that the tables hold, found entry by entry.
    fn found<const WORDS: usize>(pool: &GenPool<'_, WORDS>) -> [u64; ORDERS] {
        fn cut(idle: &[bool], order: usize, runs: &mut [u64]) {
            if idle.iter().all(|&idle| idle) {
                runs[order] += 1;
            } else if idle.len() > 1 {
                let (low, high) = idle.split_at(idle.len() / 2);
                cut(low, order - 1, runs);
                cut(high, order - 1, runs);
            }
        }
        let mut runs = [0; ORDERS];
        for level in 0..=pool.shape.top {
            let radix = Table::<WORDS>::RADIX;
            for table in 0..pool.shape.pages.div_ceil(1 << ((level + 1) * radix)) {
                let table = pool.table(level, table as usize);
                let idle: Vec<_> = (0..1 << radix).map(|entry| table.is_idle(entry, 0)).collect();
                if idle.contains(&true) {
                    cut(&idle, ((level + 1) * radix) as usize, &mut runs);
                }
            }
        }
        runs
    }

    #[track_caller]
    fn is_exact<const WORDS: usize>(pool: &GenPool<'_, WORDS>) {
        let counted = pool.counted_runs().unwrap();
        assert_eq!(counted.by_order(), &found(pool));
        assert_eq!(counted.pages(), pool.avail());
    }

    fn order(order: u32) -> Order {
        Order::new(order).unwrap()
    }

    /// Runs `ops` on a pool: each is what to do, an order, and where.
    fn use_it<const WORDS: usize>(pool: &GenPool<'_, WORDS>, ops: &[(u8, u32, u64)], mut check: impl FnMut(&GenPool<'_, WORDS>)) {
        let (mut held, mut handle): (Vec<Extent>, _) = (vec![], pool.local().unwrap());
        let (mut out, mut words) = ([Offset::new(0); 90], [PageWord::EMPTY; 90]);
        let mut kept: Vec<PageWord> = vec![];
        for &(what, o, at) in ops {
            match what {
                0 | 1 => held.extend(pool.alloc(order(o)).map(|start| Extent::from(Run::around(start.get(), order(o))))),
                2 => {
                    let run = Run::around(at % pool.shape.pages, order(o));
                    held.extend(pool.alloc_at(run.start(), run.order()).map(|()| Extent::from(run)));
                }
                3 => held.extend(pool.alloc_extent(&ExtentParams::new(1 + at % 700))),
                4 => {
                    let small = order(o % 4);
                    let some = pool.alloc_some(small, &mut out[..(at % 90) as usize]);
                    pool.free_many(small, &out[..some]).unwrap();
                }
                5 => {
                    let run = handle.alloc(order(o % 9));
                    let _ = run.map(|run| handle.free(run));
                }
                6 => handle.drain(),
                7 => {
                    let small = order(o % 4);
                    let some = handle.alloc_some(small, &mut out[..(at % 90) as usize]);
                    handle.free_many(small, &out[..some]).unwrap();
                }
                8 => kept.extend(pool.alloc_some_words(1 + at % 300, &mut words)),
                9 => kept.extend(handle.alloc_some_words(1 + at % 300, &mut words)),
                10 => kept.extend(pool.alloc_words(1 + at % 900, &mut words).unwrap_or_default()),
                11 => kept.extend(handle.alloc_words(1 + at % 900, &mut words).unwrap_or_default()),
                12 | 13 if !kept.is_empty() => {
                    let rest = kept.split_off(at as usize % kept.len());
                    pool.free_words(&rest).unwrap();
                }
                14 if !kept.is_empty() => {
                    let rest = kept.split_off(at as usize % kept.len());
                    handle.free_words(&rest).unwrap();
                }
                _ if held.is_empty() => {}
                _ => {
                    let extent = held.swap_remove(at as usize % held.len());
                    pool.free_extent(extent).unwrap();
                }
            }
            check(pool);
        }
        drop(handle);
        pool.free_words(&kept).unwrap();
        held.into_iter().for_each(|extent| pool.free_extent(extent).unwrap());
    }

    fn ops() -> impl Strategy<Value = Vec<(u8, u32, u64)>> {
        prop::collection::vec((0..20u8, prop_oneof![3 => 0..7u32, 1 => 0..13u32], any::<u64>()), 1..150)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn req_49_counts_of_idle_runs_are_exact_in_tables_of_one_word(ops in ops()) {
            use_it(&pool::<1>(5000), &ops, is_exact);
        }

        #[test]
        fn req_49_counts_of_idle_runs_are_exact_in_tables_of_two_words(ops in ops()) {
            use_it(&pool::<2>(5000), &ops, is_exact);
        }

        #[test]
        fn req_49_counts_of_idle_runs_are_exact_in_tables_of_eight_words(ops in ops()) {
            use_it(&pool::<8>(5000), &ops, is_exact);
        }
    }

    #[test]
    fn req_49_counts_of_idle_runs_are_exact_after_many_threads() {
        for seed in 0..4u64 {
            let pool = pool::<8>(6000);
            std::thread::scope(|threads| {
                for thread in 1..5 {
                    let pool = &pool;
                    threads.spawn(move || {
                        let mut random = seed * 5 + thread;
                        let mut next = |below: u64| {
                            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                            (random >> 33) % below
                        };
                        let ops: Vec<_> = (0..3000).map(|_| (next(20) as u8, next(11) as u32, next(1 << 30))).collect();
                        use_it(pool, &ops, |_| ());
                    });
                }
            });
            is_exact(&pool);
            assert_eq!(pool.counted_runs().unwrap().pages(), 6000);
        }
    }

    #[test]
    fn req_49_the_counts_are_read_at_the_same_cost_in_every_pool() {
        use crate::sync::recorded::record;
        let reads = [1 << 10, 1 << 24].map(|pages| {
            let pool = pool::<8>(pages);
            record(0, || pool.counted_runs().unwrap()).1.len()
        });
        assert_eq!(reads, [SLOTS * ORDERS; 2]);
        let silent = GenPool::new(&Params::new(&[PhysRange { start: Phys(0), pages: 512 }])).unwrap();
        assert_eq!(silent.counted_runs(), None);
    }
}
