//! Every verb of a table against one bool per entry: all patterns of sixteen entries, and mixtures over whole tables.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::sync::Ordering;

/// A table and its model.
struct Pair<const WORDS: usize> {
    table: Table<WORDS>,
    idle: Vec<bool>,
}

impl<const WORDS: usize> Pair<WORDS> {
    fn new(words: [u64; WORDS]) -> Self {
        let table = Table::new();
        for (index, word) in words.into_iter().enumerate() {
            table.0[index].store(word, Ordering::Relaxed);
        }
        let idle = (0..WORDS * 64).map(|entry| words[entry / 64] >> (entry % 64) & 1 == 1).collect();
        Pair { table, idle }
    }

    fn entries(&self, entry: u32, order: u32) -> &[bool] {
        &self.idle[entry as usize..(entry + (1 << order)) as usize]
    }

    fn is_idle(&self, entry: u32, order: u32) -> bool {
        self.entries(entry, order).iter().all(|&idle| idle)
    }

    fn set(&mut self, entry: u32, order: u32, idle: bool) {
        self.idle[entry as usize..(entry + (1 << order)) as usize].fill(idle);
    }

    /// The order of the largest idle run that holds the run.
    fn grown(&self, entry: u32, order: u32) -> u32 {
        (order..=Table::<WORDS>::RADIX).rev().find(|&larger| self.is_idle(entry >> larger << larger, larger)).unwrap_or(order)
    }

    fn runs(order: u32) -> impl Iterator<Item = u32> {
        (0..1 << Table::<WORDS>::RADIX).step_by(1 << order)
    }

    fn orders() -> impl DoubleEndedIterator<Item = u32> {
        0..=Table::<WORDS>::RADIX
    }

    fn largest(&self) -> Option<u32> {
        Self::orders().rev().find(|&order| Self::runs(order).any(|entry| self.is_idle(entry, order)))
    }

    /// The order of the smallest idle run, not part of a larger one, that has at least `order`.
    fn tightest(&self, order: u32) -> Option<u32> {
        (order..=Table::<WORDS>::RADIX)
            .find(|&from| Self::runs(from).any(|entry| self.is_idle(entry, from) && self.grown(entry, from) == from))
    }

    fn agrees(&self) {
        for (index, word) in self.table.0.iter().enumerate() {
            let bits = (0..64).fold(0, |bits, bit| bits | u64::from(self.idle[index * 64 + bit]) << bit);
            assert_eq!(word.load(Ordering::Relaxed), bits, "word {index}");
        }
    }

    /// What only looks.
    fn compare_looks(&self) {
        assert_eq!(self.table.largest(), self.largest());
        assert_eq!(self.table.first(), self.idle.iter().position(|&idle| idle).map(|entry| entry as u32));
        for order in Self::orders() {
            assert_eq!(self.table.has(order), self.largest() >= Some(order), "order {order}");
            for entry in Self::runs(order) {
                let members: Vec<u32> = self.table.members(entry, order).collect();
                let expected: Vec<u32> = (entry..entry + (1 << order)).filter(|&entry| self.idle[entry as usize]).collect();
                assert_eq!(members, expected, "{entry}+2^{order}");
                assert_eq!(self.table.is_idle(entry, order), self.is_idle(entry, order));
            }
        }
    }

    /// Claims the tightest run of an order, with a bound, and puts it back.
    fn compare_tightest(&mut self, order: u32, at_most: u32) {
        let expected = self.tightest(order);
        match self.table.claim_tightest(order, at_most, |_, _| ()) {
            Ok(fit) => {
                assert_eq!(Some(fit.from), expected, "order {order}");
                assert!(fit.from <= at_most && fit.entry % (1 << order) == 0 && self.is_idle(fit.entry, order));
                assert_eq!(self.grown(fit.entry, order), fit.from, "cut from another run");
                self.set(fit.entry, order, false);
                self.agrees();
                self.set(fit.entry, order, true);
                assert_eq!(self.table.release(fit.entry, order, |_, _| ()).map(|(grown, _)| grown), Ok(fit.from));
            }
            Err(Miss::None) => assert_eq!(expected, None, "order {order}"),
            Err(Miss::Larger) => assert!(expected.is_some_and(|from| from > at_most), "order {order}"),
        }
        self.agrees();
    }

    /// Claims and releases exactly one run, each as it should be and each when it should be refused.
    fn compare_at(&mut self, entry: u32, order: u32) {
        let idle = self.is_idle(entry, order);
        let taken = self.entries(entry, order).iter().all(|&idle| !idle);
        assert_eq!(self.table.claim_at(entry, order, |_, _| ()).is_some(), idle, "{entry}+2^{order}");
        if idle {
            self.set(entry, order, false);
        }
        self.agrees();
        let released = self.table.release(entry, order, |_, _| ()).map(|(grown, _)| grown);
        if idle || taken {
            self.set(entry, order, true);
            assert_eq!(released, Ok(self.grown(entry, order)), "{entry}+2^{order}");
        } else {
            assert_eq!(released, Err(()), "{entry}+2^{order} is idle in part");
        }
        self.agrees();
    }
}

#[test]
fn all_patterns_of_sixteen_entries() {
    for pattern in 0..=u16::MAX {
        for (shift, others) in [(0, 0), (16, 0), (48, !0)] {
            let word = u64::from(pattern) << shift | others & !(0xFFFF << shift);
            let mut pair = Pair::<1>::new([word]);
            assert_eq!(pair.table.largest(), pair.largest(), "{word:#x}");
            for order in 0..=5 {
                pair.compare_tightest(order, 6);
            }
        }
    }
}

#[test]
fn all_runs_in_all_patterns_of_eight_entries() {
    for pattern in 0..=u8::MAX {
        for shift in [0, 8, 56] {
            for (order, from) in (0..=3).flat_map(|order| (0..8).step_by(1 << order).map(move |from| (order, from))) {
                Pair::<1>::new([u64::from(pattern) << shift]).compare_at(shift + from, order);
            }
        }
    }
}

/// Words of every kind side by side: taken, idle, idle but for one entry, taken but for one, mixed.
fn mixtures<const WORDS: usize>(count: u64) {
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..count {
        let words = core::array::from_fn(|_| match next() % 8 {
            0 | 1 => 0,
            2..=4 => !0,
            5 => 1 << (next() % 64),
            6 => !(1 << (next() % 64)),
            _ => next() & next().rotate_left(7),
        });
        let mut pair = Pair::<WORDS>::new(words);
        pair.compare_looks();
        for order in Pair::<WORDS>::orders() {
            pair.compare_tightest(order, Table::<WORDS>::RADIX);
            pair.compare_tightest(order, (next() % 10) as u32);
            let entry = (next() % Table::<WORDS>::ENTRIES) as u32 >> order << order;
            pair.compare_at(entry, order);
        }
    }
}

#[test]
fn mixtures_of_words() {
    mixtures::<1>(2000);
    mixtures::<2>(1000);
    mixtures::<8>(300);
}

/// The second half of a split, for every run of every order.
fn all_splits<const WORDS: usize>() {
    for order in Pair::<WORDS>::orders() {
        for entry in Pair::<WORDS>::runs(order) {
            let mut pair = Pair::<WORDS>::new([0; WORDS]);
            pair.table.fill_except(entry, order, |_, _| ());
            pair.set(0, Table::<WORDS>::RADIX, true);
            pair.set(entry, order, false);
            pair.agrees();
            // The run comes back, and all is whole: the first half of a merge takes it all, once.
            assert_eq!(pair.table.release(entry, order, |_, _| ()).map(|(grown, _)| grown), Ok(Table::<WORDS>::RADIX));
            assert!(pair.table.claim_all(|_, _| ()) && !pair.table.claim_all(|_, _| ()));
            pair.set(0, Table::<WORDS>::RADIX, false);
            pair.agrees();
        }
    }
}

#[test]
fn every_split_and_the_merge_after_it() {
    all_splits::<1>();
    all_splits::<2>();
    all_splits::<8>();
}

/// A claim of several words that cannot have the last one leaves all of them as they were.
#[test]
fn a_claim_of_several_words_is_undone() {
    for missing in 0..8 {
        let words = core::array::from_fn(|index| if index == missing { !1 } else { !0 });
        let pair = Pair::<8>::new(words);
        assert!(pair.table.claim_at(0, 9, |_, _| ()).is_none() && !pair.table.claim_all(|_, _| ()));
        pair.agrees();
    }
}
