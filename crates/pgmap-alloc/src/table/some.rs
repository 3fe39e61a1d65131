//! Some entries of one word, whichever are idle.

use super::Table;
use crate::sync::Ordering;

/// The lowest `most` ones of a word.
#[inline]
fn lowest(word: u64, most: u32) -> u64 {
    if word.count_ones() <= most {
        return word;
    }
    let mut rest = word;
    (0..most).for_each(|_| rest &= rest.wrapping_sub(1));
    word & !rest
}

impl<const WORDS: usize> Table<WORDS> {
    /// Claims up to `most` idle entries of the word `index`, the lowest: a bit for each, and the word as it was.
    ///
    /// Lock-free: a retry means that somebody else changed this word.
    pub(crate) fn claim_in_word(&self, index: usize, most: u32) -> Option<(u64, u64)> {
        let word = self.word(index);
        // Relaxed: the compare-exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let claimed = lowest(seen, most);
            if claimed == 0 {
                return None;
            }
            // AcqRel: as in `claim_tightest`.
            match word.compare_exchange(seen, seen & !claimed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some((claimed, seen)),
                Err(now) => seen = now,
            }
        }
    }

    /// Claims up to `most` idle entries of one word, so that few words are needed: of those that have as many the one with the
    /// fewest, else the one with the most. Which word, a bit for each entry, and the word as it was.
    ///
    /// Lock-free: a retry means that somebody else changed this table.
    pub(crate) fn claim_word_for(&self, most: u32) -> Option<(usize, u64, u64)> {
        loop {
            // Relaxed: the compare-exchange decides.
            let counts = (0..WORDS).map(|index| (index, self.word(index).load(Ordering::Relaxed).count_ones()));
            let best = |&(_, count): &(usize, u32)| if count >= most { 128 - count } else { count };
            let (index, _) = counts.filter(|&(_, count)| count > 0).max_by_key(best)?;
            if let Some((claimed, before)) = self.claim_in_word(index, most) {
                return Some((index, claimed, before));
            }
        }
    }
}
