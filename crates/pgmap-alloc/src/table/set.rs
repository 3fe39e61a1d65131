//! The same words, used as a set of hints: which tables to look into (`pool::listing`).

use super::Table;
use super::word::ones;
use crate::sync::Ordering;

impl<const WORDS: usize> Table<WORDS> {
    /// The first member.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        // SeqCst: pairs with `insert` and `remove`: the read half of "list, then search" and of "unlist, then look again".
        for index in 0..WORDS {
            let word = self.word(index).load(Ordering::SeqCst);
            if word != 0 {
                return Some(index as u32 * 64 + word.trailing_zeros());
            }
        }
        None
    }

    /// The first member from an entry on, and of those before it if there is none.
    #[inline(always)]
    pub(crate) fn first_from(&self, start: u32) -> Option<u32> {
        // SeqCst: as in `first`.
        let above = self.word((start / 64) as usize).load(Ordering::SeqCst) & !0 << (start % 64);
        if above != 0 {
            return Some(start / 64 * 64 + above.trailing_zeros());
        }
        self.first_after(start / 64)
    }

    /// The first member of those behind a word, and of those before its end if there is none.
    #[inline(never)]
    fn first_after(&self, word: u32) -> Option<u32> {
        // SeqCst: as in `first`.
        let seen = (word + 1..WORDS as u32).map(|index| (index, self.word(index as usize).load(Ordering::SeqCst)));
        let behind = seen.into_iter().find(|&(_, seen)| seen != 0);
        behind.map(|(index, seen)| index * 64 + seen.trailing_zeros()).or_else(|| self.first())
    }

    /// The first member of those in one word, counted from the word's first entry: the first from a bit on, if there is one.
    #[inline]
    pub(crate) fn first_in_from(&self, word: u32, bit: u32) -> Option<u32> {
        // SeqCst: as in `first`.
        let seen = self.word(word as usize).load(Ordering::SeqCst);
        (seen != 0).then(|| (seen.rotate_right(bit).trailing_zeros() + bit) & 63)
    }

    /// The first member of those in one word, counted from the word's first entry.
    #[inline]
    pub(crate) fn first_in(&self, word: u32) -> Option<u32> {
        // SeqCst: as in `first`.
        let seen = self.word(word as usize).load(Ordering::SeqCst);
        (seen != 0).then(|| seen.trailing_zeros())
    }

    /// The members in a run of entries.
    pub(crate) fn members(&self, entry: u32, order: u32) -> impl Iterator<Item = u32> {
        let narrow = order.min(6);
        (entry..entry + (1 << order)).step_by(1 << narrow).flat_map(move |at| {
            let mut left = self.word((at / 64) as usize).load(Ordering::SeqCst) & ones(narrow) << (at % 64);
            core::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(at / 64 * 64 + bit)
            })
        })
    }

    /// Whether `entry` is a member.
    #[inline]
    pub(crate) fn contains(&self, entry: u32) -> bool {
        self.word((entry / 64) as usize).load(Ordering::SeqCst) & 1 << (entry % 64) != 0
    }

    /// Makes `entry` a member.
    /// Says whether it was none before.
    pub(crate) fn insert(&self, entry: u32) -> bool {
        // SeqCst: the write half of "list, then search".
        self.word((entry / 64) as usize).fetch_or(1 << (entry % 64), Ordering::SeqCst) & 1 << (entry % 64) == 0
    }

    /// Makes `entry` no member.
    pub(crate) fn remove(&self, entry: u32) {
        // SeqCst: the write half of "unlist, then look again".
        self.word((entry / 64) as usize).fetch_and(!(1 << (entry % 64)), Ordering::SeqCst);
        crate::sync::order_after_write();
    }

    /// Makes a member of those in one word none, counted from the word's first entry; says whether the word has no other.
    pub(crate) fn remove_in(&self, word: u32, bit: u32) -> bool {
        // SeqCst: as in `remove`.
        let before = self.word(word as usize).fetch_and(!(1 << bit), Ordering::SeqCst);
        crate::sync::order_after_write();
        before & !(1 << bit) == 0
    }
}
