//! Claiming: ones to zeros.

use super::word::{Found, ones, tightest, tightest_part};
use super::{Table, idle_words};
use crate::sync::Ordering;

/// A run of entries that was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Its first entry.
    pub(crate) entry: u32,
    /// The order of the idle run that it was cut from.
    pub(crate) from: u32,
    /// Whether that was the last one of its order.
    pub(crate) last: bool,
    /// The word that it starts in, as it was before.
    pub(crate) before: u64,
}

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No idle run is large enough.
    None,
    /// Only idle runs larger than allowed are.
    Larger,
}

impl<const WORDS: usize> Table<WORDS> {
    /// Claims the run of `order` that fits tightest: cut from the smallest idle run that is large enough and at most of order
    /// `at_most`.
    ///
    /// Lock-free: a retry means that somebody else changed this table.
    #[inline]
    pub(crate) fn claim_tightest(&self, order: u32, at_most: u32, mut odd: impl FnMut(u32, u64)) -> Result<Fit, Miss> {
        loop {
            let (fit, seen) = self.choose(order).ok_or(Miss::None)?;
            if fit.from > at_most {
                return Err(Miss::Larger);
            }
            let index = (fit.entry / 64) as usize;
            let claimed = if order <= 6 {
                let after = seen & !(ones(order) << (fit.entry % 64));
                // AcqRel: Acquire pairs with `release` of the last owner; Release keeps the chain for bits of the same word that
                // stay idle. Relaxed on failure: chosen anew.
                self.word(index).compare_exchange(seen, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            } else {
                self.claim_words(index, 1 << (order - 6), &mut odd)
            };
            if claimed {
                return Ok(Fit { before: seen, ..fit });
            }
        }
    }

    /// Claims up to `most` idle entries of one word, the one with the fewest: which word, a bit for each entry, and the word as it
    /// was.
    ///
    /// Lock-free: a retry means that somebody else changed this table.
    pub(crate) fn claim_some(&self, most: u32) -> Option<(u32, u64, u64)> {
        loop {
            // Relaxed: the compare-exchange decides.
            let words = (0..WORDS).map(|index| (index, self.word(index).load(Ordering::Relaxed)));
            let (index, seen) = words.filter(|&(_, word)| word != 0).min_by_key(|&(_, word)| word.count_ones())?;
            let mut rest = seen;
            (0..most).for_each(|_| rest &= rest.wrapping_sub(1));
            // AcqRel: as in `claim_tightest`.
            if self.word(index).compare_exchange(seen, rest, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some((index as u32, seen & !rest, seen));
            }
        }
    }

    /// The tightest fit, and its word as it was seen; of those that are equally tight, the lowest.
    #[inline]
    fn choose(&self, order: u32) -> Option<(Fit, u64)> {
        // Relaxed: the compare-exchange decides.
        let seen: [u64; WORDS] = core::array::from_fn(|index| self.word(index).load(Ordering::Relaxed));
        if let Some(Found { order: from, index, bit, last }) = tightest_part(&seen, order) {
            return Some((Fit { entry: index as u32 * 64 + bit, from, last, before: 0 }, seen[index & (WORDS - 1)]));
        }
        let Found { order: from, bit: index, last, .. } = tightest(idle_words(&seen), order.saturating_sub(6))?;
        Some((Fit { entry: index * 64, from: from + 6, last, before: 0 }, !0))
    }

    /// Claims exactly the run of `order` at `entry`, or nothing; says what its first word was before.
    #[inline]
    pub(crate) fn claim_at(&self, entry: u32, order: u32, odd: impl FnMut(u32, u64)) -> Option<u64> {
        if order > 6 {
            return self.claim_words((entry / 64) as usize, 1 << (order - 6), odd).then_some(!0);
        }
        self.claim_within(entry, order)
    }

    /// [`Table::claim_at`] for runs within a word.
    #[inline(always)]
    pub(crate) fn claim_within(&self, entry: u32, order: u32) -> Option<u64> {
        let bits = ones(order) << (entry % 64);
        let word = self.word((entry / 64) as usize);
        // Relaxed: the compare-exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        while seen & bits == bits {
            // AcqRel: as in `claim_tightest`.
            match word.compare_exchange(seen, seen & !bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(seen),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Claims `count` whole words from `first` on; the undo stands beside the do (rule 2). `odd` as for [`Table::release`]: what was
    /// released by mistake while it was ours is idle again with all the rest.
    fn claim_words(&self, first: usize, count: usize, mut odd: impl FnMut(u32, u64)) -> bool {
        for index in first..first + count {
            // SeqCst (Acquire pairs with `release`): the write half of "claim and give back, then look again", see `claim_all`.
            // Relaxed on failure: not ours, and what was claimed before it goes back.
            if self.word(index).compare_exchange(!0, 0, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                for undo in first..index {
                    // SeqCst: these words are wholly ours, so a swap is enough; ordered before the caller's second look.
                    let before = self.word(undo).swap(!0, Ordering::SeqCst);
                    if before != 0 {
                        odd(undo as u32 * 64, before);
                    }
                }
                return false;
            }
        }
        true
    }

    /// Claims every entry, or nothing: the first half of a merge.
    pub(crate) fn claim_all(&self, odd: impl FnMut(u32, u64)) -> bool {
        self.claim_words(0, WORDS, odd)
    }
}
