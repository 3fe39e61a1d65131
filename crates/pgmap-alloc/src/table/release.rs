//! Releasing: zeros to ones.

use super::Table;
use super::word::{largest, ones};
use crate::sync::Ordering;

impl<const WORDS: usize> Table<WORDS> {
    /// Makes the owned run of `order` at `entry` idle; says the order of the idle run that it is now part of, and what its first word
    /// was before.
    ///
    /// `Err` when an entry was idle already; nothing has changed then. Where a run of several words loses a part to somebody's
    /// mistaken release after it has begun, it becomes idle all the same, and `odd` is told each word that was not empty.
    pub(crate) fn release(&self, entry: u32, order: u32, mut odd: impl FnMut(u32, u64)) -> Result<(u32, u64), ()> {
        let index = (entry / 64) as usize;
        if order > 6 {
            let words = index..index + (1 << (order - 6));
            // Relaxed: only to refuse a second free without writing.
            if words.clone().any(|i| self.word(i).load(Ordering::Relaxed) != 0) {
                return Err(());
            }
            // SeqCst: Release hands the run on; as in `release_narrow`. Relaxed on failure: of two who free the same run at once only
            // one gets past its first word.
            self.word(index).compare_exchange(0, !0, Ordering::SeqCst, Ordering::Relaxed).map_err(|_| ())?;
            for i in words.skip(1) {
                // SeqCst: likewise, as in `release_narrow`.
                let before = self.word(i).swap(!0, Ordering::SeqCst);
                if before != 0 {
                    odd(i as u32 * 64, before);
                }
            }
            return Ok((self.grown(index, order), 0));
        }
        let now = self.release_narrow(entry, order)?;
        Ok((self.grown_to(entry, order, now), now & !(ones(order) << (entry % 64))))
    }

    /// [`Table::release`] for runs within a word; says what the word is now.
    ///
    /// Lock-free: a retry means that somebody else changed this word.
    #[inline(always)]
    pub(crate) fn release_narrow(&self, entry: u32, order: u32) -> Result<u64, ()> {
        let bits = ones(order) << (entry % 64);
        let word = self.word((entry / 64) as usize);
        // Relaxed: the compare-exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        while seen & bits == 0 {
            // SeqCst: Release pairs with the Acquire of a claim; the total order makes the last of several concurrent releases see
            // all the others when it looks whether the whole table is idle. Relaxed on failure: looked at again.
            match word.compare_exchange(seen, seen | bits, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Ok(seen | bits),
                Err(now) => seen = now,
            }
        }
        Err(())
    }

    /// Whether, in its word, all of the run of `order` that holds an entry is idle.
    #[inline(always)]
    pub(crate) fn is_within(entry: u32, order: u32, word: u64) -> bool {
        let run = ones(order) << ((entry % 64) & !((1 << order) - 1));
        word & run == run
    }

    /// The order of the idle run that now holds a run of `order`, at most 6, whose word is `now`.
    #[inline]
    pub(crate) fn grown_to(&self, entry: u32, mut order: u32, now: u64) -> u32 {
        if now == !0 {
            return self.grown((entry / 64) as usize, 6);
        }
        while order < 5 {
            if !Self::is_within(entry, order + 1, now) {
                break;
            }
            order += 1;
        }
        order
    }

    /// The order of the idle run that holds the idle run of `order >= 6` at word `index`.
    #[inline]
    fn grown(&self, index: usize, mut order: u32) -> u32 {
        crate::sync::order_after_write();
        while order < Self::RADIX {
            let words = 1 << (order - 6);
            let buddy = (index & !(words - 1)) ^ words;
            // SeqCst: the read half of "release, then look whether the whole table is idle", pairs with `release_narrow`.
            if (buddy..buddy + words).any(|index| self.word(index).load(Ordering::SeqCst) != !0) {
                break;
            }
            order += 1;
        }
        order
    }

    /// Makes some owned entries of one word idle, a one in `bits` for each; says the order of an idle run that is now there, as
    /// large as any that they are part of, and what the word was before. `Err` with the entries of them that were idle already; nothing
    /// has changed then.
    pub(crate) fn release_some(&self, index: usize, bits: u64) -> Result<(u32, u64), u64> {
        let word = self.word(index);
        // Relaxed: the compare-exchange decides.
        let mut before = word.load(Ordering::Relaxed);
        while before & bits == 0 {
            let now = before | bits;
            // SeqCst, and Relaxed on failure: as in `release_narrow`.
            match word.compare_exchange(before, now, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Ok((if now == !0 { self.grown(index, 6) } else { largest([now]).unwrap_or(0) }, before)),
                Err(now) => before = now,
            }
        }
        Err(before & bits)
    }

    /// Has a word come near that is about to be written.
    #[inline]
    pub(crate) fn expect_word(&self, index: usize) {
        // Relaxed: nothing is made of it.
        self.word(index).load(Ordering::Relaxed);
    }

    /// Fills a table that is wholly ours with idle entries; `odd` as for [`Table::release`].
    pub(crate) fn fill(&self, mut odd: impl FnMut(u32, u64)) {
        for index in 0..WORDS {
            // AcqRel: as in `fill_except`.
            let before = self.word(index).swap(!0, Ordering::AcqRel);
            if before != 0 {
                odd(index as u32 * 64, before);
            }
        }
    }

    /// Fills a table that is wholly ours with idle entries, all but the run of `order` at `entry`: the second half of a split.
    /// `odd` as for [`Table::release`].
    pub(crate) fn fill_except(&self, entry: u32, order: u32, mut odd: impl FnMut(u32, u64)) {
        let first = (entry / 64) as usize;
        for index in 0..WORDS {
            let keep = match order {
                0..=6 if index == first => ones(order) << (entry % 64),
                7.. if index >= first && index < first + (1 << (order - 6)) => !0,
                _ => 0,
            };
            // AcqRel: Release hands on what the claim of the entry above acquired; Acquire is rule 4. No claim succeeds on a word
            // of zeros, so nobody else changes it (rule 3).
            let before = self.word(index).swap(!keep, Ordering::AcqRel);
            if before != 0 {
                odd(index as u32 * 64, before);
            }
        }
    }

    /// Joins the chain of changes of every word of the run, without a change (rule 4).
    pub(crate) fn meet(&self, entry: u32, order: u32) {
        let first = (entry / 64) as usize;
        for index in first..first + (1 << order.saturating_sub(6)) {
            // AcqRel: pairs with every claim and release in the word, before and after.
            self.word(index).fetch_or(0, Ordering::AcqRel);
        }
    }
}
