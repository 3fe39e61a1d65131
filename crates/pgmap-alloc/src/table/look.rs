//! Looking at what is idle.

use super::word::{first_run, has, largest, tightest};
use super::{Table, idle_words};
use crate::sync::Ordering;

impl<const WORDS: usize> Table<WORDS> {
    /// The order of its largest idle run; `None` when nothing is idle, `RADIX` when all is.
    #[inline]
    pub(crate) fn largest(&self) -> Option<u32> {
        Self::largest_in(self.seen())
    }

    /// The order of the largest run of all words as they were seen.
    pub(crate) fn largest_in(seen: [u64; WORDS]) -> Option<u32> {
        match idle_words(&seen) {
            0 => largest(seen),
            idle => largest([idle]).map(|order| order + 6),
        }
    }

    /// The first of the runs of `order`, at most 6, whose bits in a word are all set.
    #[inline]
    pub(crate) fn first_in_word(word: u64, order: u32) -> Option<u32> {
        first_run(word, order)
    }

    /// The first entry of a run of `order` whose bits are all set: the first one in a word that is not all ones, if there is such a word; of
    /// several words the tightest. And a bit for each word that is not all ones and has one, or for the word of the first entry if none is.
    pub(crate) fn first_in_part(words: &[u64; WORDS], order: u32) -> Option<(u32, u64)> {
        let whole = |index: u32| (index * 64, 1 << index);
        if order > 6 {
            return tightest(idle_words(words), order - 6).map(|found| whole(found.bit));
        }
        if words.iter().fold(0, |any, word| any | word) == 0 {
            return None;
        }
        let (mut parts, mut first) = (0, None);
        for (index, &word) in words.iter().enumerate() {
            if word != 0
                && word != !0
                && let Some(bit) = first_run(word, order)
            {
                parts |= 1 << index;
                first = first.or(Some(index as u32 * 64 + bit));
            }
        }
        match first {
            Some(entry) => Some((entry, parts)),
            None => words.iter().position(|&word| word == !0).map(|index| whole(index as u32)),
        }
    }

    /// Whether an idle run of `order` or more exists.
    #[inline]
    pub(crate) fn has(&self, order: u32) -> bool {
        let seen = self.seen();
        if order < 6 { has(seen, order) } else { has([idle_words(&seen)], order - 6) }
    }

    /// Whether any entry in the same word is idle.
    #[inline(always)]
    pub(crate) fn has_near(&self, entry: u32) -> bool {
        // SeqCst: as in `seen`.
        self.word((entry / 64) as usize).load(Ordering::SeqCst) != 0
    }

    /// Whether every entry of the run is idle.
    #[inline]
    pub(crate) fn is_idle(&self, entry: u32, order: u32) -> bool {
        let first = (entry / 64) as usize;
        // SeqCst: as in `seen`.
        let word = |index| self.word(index).load(Ordering::SeqCst);
        if order > 6 {
            return (first..first + (1 << (order - 6))).all(|index| word(index) == !0);
        }
        Self::is_within(entry, order, word(first))
    }

    /// How many entries from `entry` upwards are idle in a row.
    pub(crate) fn idle_from(&self, entry: u32) -> u32 {
        let mut at = entry;
        while at < 64 * WORDS as u32 {
            // SeqCst: as in `seen`.
            let word = self.word((at / 64) as usize).load(Ordering::SeqCst) >> (at % 64);
            let ones = word.trailing_ones().min(64 - at % 64);
            at += ones;
            if ones == 0 || !at.is_multiple_of(64) {
                break;
            }
        }
        at - entry
    }

    /// How many entries from `entry` downwards are idle in a row.
    pub(crate) fn idle_to(&self, entry: u32) -> u32 {
        let mut above = entry + 1;
        while above > 0 {
            let at = above - 1;
            // SeqCst: as in `seen`.
            let word = self.word((at / 64) as usize).load(Ordering::SeqCst) << (63 - at % 64);
            let ones = word.leading_ones().min(at % 64 + 1);
            above -= ones;
            if ones == 0 || !above.is_multiple_of(64) {
                break;
            }
        }
        entry + 1 - above
    }
}
