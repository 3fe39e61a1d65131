//! One radix table: a bit per entry, 1 = the entry is wholly idle at this level.
//!
//! # Protocol
//!
//! | bits | meaning | who may write them |
//! |---|---|---|
//! | 1 | idle: anyone may claim it | whoever turns it to 0 by compare-exchange |
//! | 0 | taken, split into the next level, or outside | only its owner |
//!
//! 1. Claiming turns ones into zeros by compare-exchange with at least Acquire, releasing turns zeros into ones with at least
//!    Release: the edge that hands whatever belongs to those entries (folio words, the table below) from the last owner to the
//!    next.
//! 2. A run of several words is claimed word by word in rising order; the first word that cannot be had undoes the ones before.
//!    While that lasts the undone words look taken to others: the pool marks such claims (`pool::motion`).
//! 3. All zeros is a valid table: nothing is idle here.
//! 4. Every change of a word is a read-modify-write with Acquire and Release, so all changes of a word are one chain: who comes
//!    later sees whatever came with the earlier ones ([`Table::meet`], `lifetime`).

use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata_lines, zero_words};

metadata_lines! {
    /// One radix table: `WORDS * 64` entries, one bit each, 1 = wholly idle at this level.
    ///
    /// Callers only provide zeroed ones as storage, best on 64-byte boundaries. `WORDS` is 8 (one 64-byte line, 512 entries)
    /// everywhere but in models and exhaustive tests, which run the same code on tiny tables.
    #[derive(Debug)]
    pub struct Table<const WORDS: usize = 8>;
}

/// A run of entries that was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Its first entry.
    pub(crate) entry: u32,
    /// The order of the idle run that it was cut from.
    pub(crate) from: u32,
}

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No idle run is large enough.
    None,
    /// Only idle runs larger than allowed are.
    Larger,
}

/// The ones of a run of `order` entries in a word, at bit 0; `order` is at most 6.
#[inline]
const fn ones(order: u32) -> u64 {
    !0 >> (64 - (1u32 << order))
}

/// The bits at which a run of each order may start.
const STARTS: [u64; 8] =
    [!0, 0x5555_5555_5555_5555, 0x1111_1111_1111_1111, 0x0101_0101_0101_0101, 0x0001_0001_0001_0001, 0x0000_0001_0000_0001, 1, 0];

/// The starts of the idle runs of the next order, from those of `order`.
#[inline]
const fn doubled(starts: u64, order: u32) -> u64 {
    // A word has no runs beyond order 6: STARTS is 0 there.
    starts & starts.wrapping_shr(1 << order) & STARTS[(order as usize + 1) & 7]
}

/// The starts of the idle runs of `order` in `word`.
#[inline]
fn runs(word: u64, order: u32) -> u64 {
    (0..order).fold(word, doubled)
}

/// The smallest idle run of at least `order` in `word`: its order and its start.
#[inline]
fn tightest(word: u64, order: u32) -> Option<(u32, u32)> {
    let mut starts = runs(word, order);
    if starts == 0 {
        return None;
    }
    let mut at = order;
    loop {
        let larger = doubled(starts, at);
        let alone = starts & !(larger | larger.wrapping_shl(1 << at));
        if alone != 0 || larger == 0 {
            return Some((at, if alone != 0 { alone } else { starts }.trailing_zeros()));
        }
        starts = larger;
        at += 1;
    }
}

/// The order of the largest idle run in any of `words`, all at once: each step is the same for every word.
#[inline]
fn largest<const N: usize>(words: [u64; N]) -> Option<u32> {
    let mut starts = words;
    for order in 0..7 {
        if starts.iter().fold(0, |any, starts| any | starts) == 0 {
            return u32::checked_sub(order, 1);
        }
        starts = starts.map(|starts| doubled(starts, order));
    }
    Some(6)
}

impl<const WORDS: usize> Table<WORDS> {
    /// The order of the whole table: its entries are `2^RADIX`.
    pub(crate) const RADIX: u32 = {
        assert!(WORDS.is_power_of_two() && WORDS <= 64);
        6 + WORDS.trailing_zeros()
    };

    /// How many entries it has.
    pub(crate) const ENTRIES: u64 = 1 << Self::RADIX;

    const_outside_models! {
        /// A table in which nothing is idle.
        pub fn new() -> Self {
            Table(zero_words!())
        }
    }

    #[inline]
    fn word(&self, index: usize) -> &AtomicU64 {
        // The mask only spares the check: indices come from entries of this table.
        &self.0[index & (WORDS - 1)]
    }

    /// All words as they stand, one after another; a claim decides whether what was seen still holds.
    #[inline]
    pub(crate) fn seen(&self) -> [u64; WORDS] {
        // SeqCst: also the read half of "release, then look whether the whole table is idle", see `release` and `claim_all`.
        core::array::from_fn(|index| self.word(index).load(Ordering::SeqCst))
    }

    /// One bit per word that is wholly idle.
    #[inline]
    fn idle_words(seen: &[u64; WORDS]) -> u64 {
        (0..WORDS).fold(0, |mask, index| mask | u64::from(seen[index] == !0) << index)
    }

    /// Claims the run of `order` that fits tightest: cut from the smallest idle run that is large enough and at most of order
    /// `at_most`.
    ///
    /// Lock-free: a retry means that somebody else changed this table.
    #[inline]
    pub(crate) fn claim_tightest(&self, order: u32, at_most: u32) -> Result<Fit, Miss> {
        loop {
            let (fit, seen) = self.choose(order).ok_or(Miss::None)?;
            if fit.from > at_most {
                return Err(Miss::Larger);
            }
            let index = (fit.entry / 64) as usize;
            let claimed = if order <= 6 {
                let after = seen & !(ones(order) << (fit.entry % 64));
                // AcqRel: Acquire pairs with `release` of the last owner; Release keeps the chain for bits of the same word that
                // stay idle.
                self.word(index).compare_exchange(seen, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            } else {
                self.claim_words(index, 1 << (order - 6))
            };
            if claimed {
                return Ok(fit);
            }
        }
    }

    /// Claims up to `most` idle entries of one word, the one with the fewest: which word, and a bit for each entry.
    ///
    /// Lock-free: a retry means that somebody else changed this table.
    pub(crate) fn claim_some(&self, most: u32) -> Option<(u32, u64)> {
        loop {
            // Relaxed: the compare-exchange decides.
            let words = (0..WORDS).map(|index| (index, self.word(index).load(Ordering::Relaxed)));
            let (index, seen) = words.filter(|&(_, word)| word != 0).min_by_key(|&(_, word)| word.count_ones())?;
            let mut rest = seen;
            (0..most).for_each(|_| rest &= rest.wrapping_sub(1));
            // AcqRel: as in `claim_tightest`.
            if self.word(index).compare_exchange(seen, rest, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some((index as u32, seen & !rest));
            }
        }
    }

    /// The tightest fit, and its word as it was seen. One pass over the line; stops at a run of exactly the right size.
    #[inline]
    fn choose(&self, order: u32) -> Option<(Fit, u64)> {
        let mut whole = 0;
        let mut best: Option<(Fit, u64)> = None;
        for index in 0..WORDS {
            // Relaxed: the compare-exchange decides.
            let word = self.word(index).load(Ordering::Relaxed);
            if word == !0 {
                whole |= 1 << index;
            } else if word != 0
                && order < 6
                && let Some((from, bit)) = tightest(word, order)
                && best.is_none_or(|(best, _)| from < best.from)
            {
                best = Some((Fit { entry: index as u32 * 64 + bit, from }, word));
                if from == order {
                    return best;
                }
            }
        }
        best.or_else(|| {
            let (from, index) = tightest(whole, order.saturating_sub(6))?;
            Some((Fit { entry: index * 64, from: from + 6 }, !0))
        })
    }

    /// Claims exactly the run of `order` at `entry`, or nothing.
    pub(crate) fn claim_at(&self, entry: u32, order: u32) -> bool {
        let index = (entry / 64) as usize;
        if order > 6 {
            return self.claim_words(index, 1 << (order - 6));
        }
        let bits = ones(order) << (entry % 64);
        let word = self.word(index);
        // Relaxed: the compare-exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        while seen & bits == bits {
            // AcqRel: as in `claim_tightest`.
            match word.compare_exchange(seen, seen & !bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Claims `count` whole words from `first` on; the undo stands beside the do (rule 2).
    fn claim_words(&self, first: usize, count: usize) -> bool {
        for index in first..first + count {
            // SeqCst (Acquire pairs with `release`): the write half of "claim and give back, then look again", see `claim_all`.
            if self.word(index).compare_exchange(!0, 0, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                for undo in first..index {
                    // SeqCst: these words are wholly ours, so a swap is enough; ordered before the caller's second look.
                    self.word(undo).swap(!0, Ordering::SeqCst);
                }
                return false;
            }
        }
        true
    }

    /// Claims every entry, or nothing: the first half of a merge.
    pub(crate) fn claim_all(&self) -> bool {
        self.claim_words(0, WORDS)
    }

    /// Makes the owned run of `order` at `entry` idle; says the order of the idle run that it is now part of.
    ///
    /// `Err` when an entry was idle already; nothing has changed then, unless the same run is being freed twice at once.
    #[inline]
    pub(crate) fn release(&self, entry: u32, order: u32) -> Result<u32, ()> {
        let index = (entry / 64) as usize;
        if order > 6 {
            let words = index..index + (1 << (order - 6));
            if words.clone().any(|i| self.word(i).load(Ordering::Relaxed) != 0) {
                return Err(());
            }
            for i in words {
                // SeqCst: Release hands the run on; see the narrow case below.
                self.word(i).swap(!0, Ordering::SeqCst);
            }
            return Ok(self.grown(index, order));
        }
        let bits = ones(order) << (entry % 64);
        let word = self.word(index);
        // Relaxed: only to refuse a second free without writing.
        if word.load(Ordering::Relaxed) & bits != 0 {
            return Err(());
        }
        // SeqCst: Release pairs with the Acquire of a claim; the total order makes the last of several concurrent releases see all
        // the others when it looks whether the whole table is idle.
        let now = word.fetch_or(bits, Ordering::SeqCst) | bits;
        let mut order = order;
        while order < 6 {
            let run = ones(order + 1) << ((entry % 64) & !((2 << order) - 1));
            if now & run != run {
                return Ok(order);
            }
            order += 1;
        }
        Ok(self.grown(index, 6))
    }

    /// The order of the idle run that holds the idle run of `order >= 6` at word `index`.
    #[cold]
    fn grown(&self, index: usize, mut order: u32) -> u32 {
        crate::sync::order_after_write();
        let idle = Self::idle_words(&self.seen());
        while order < Self::RADIX {
            let run = ones(order + 1 - 6) << (index & !((2 << (order - 6)) - 1));
            if idle & run != run {
                break;
            }
            order += 1;
        }
        order
    }

    /// Makes some owned entries of one word idle, a one in `bits` for each; says the order of an idle run that is now there, as
    /// large as any that they are part of. `Err` with the entries of them that were idle already; nothing has changed then.
    pub(crate) fn release_some(&self, index: usize, bits: u64) -> Result<u32, u64> {
        let word = self.word(index);
        // Relaxed: only to refuse a second free without writing.
        let idle = word.load(Ordering::Relaxed) & bits;
        if idle != 0 {
            return Err(idle);
        }
        // SeqCst: as in `release`.
        let now = word.fetch_or(bits, Ordering::SeqCst) | bits;
        Ok(if now == !0 { self.grown(index, 6) } else { largest([now]).unwrap_or(0) })
    }

    /// Fills a table that is wholly ours with idle entries.
    pub(crate) fn fill(&self) {
        // AcqRel: as in `fill_except`.
        (0..WORDS).for_each(|index| {
            self.word(index).swap(!0, Ordering::AcqRel);
        });
    }

    /// Fills a table that is wholly ours with idle entries, all but the run of `order` at `entry`: the second half of a split.
    pub(crate) fn fill_except(&self, entry: u32, order: u32) {
        let first = (entry / 64) as usize;
        for index in 0..WORDS {
            let keep = match order {
                0..=6 if index == first => ones(order) << (entry % 64),
                7.. if index >= first && index < first + (1 << (order - 6)) => !0,
                _ => 0,
            };
            // AcqRel: Release hands on what the claim of the entry above acquired; Acquire is rule 4. No claim succeeds on a word
            // of zeros, so nobody else changes it (rule 3).
            self.word(index).swap(!keep, Ordering::AcqRel);
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

    /// The order of its largest idle run; `None` when nothing is idle, `RADIX` when all is.
    pub(crate) fn largest(&self) -> Option<u32> {
        let seen = self.seen();
        match largest([Self::idle_words(&seen)]) {
            Some(order) => Some(order + 6),
            None => largest(seen),
        }
    }

    /// Whether an idle run of `order` or more exists.
    #[inline]
    pub(crate) fn has(&self, order: u32) -> bool {
        let seen = self.seen();
        if order < 6 { seen.iter().any(|&word| runs(word, order) != 0) } else { runs(Self::idle_words(&seen), order - 6) != 0 }
    }

    /// Whether every entry of the run is idle.
    pub(crate) fn is_idle(&self, entry: u32, order: u32) -> bool {
        self.idle_entries(entry, order) == 1 << order
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

    /// How many entries of the run are idle.
    pub(crate) fn idle_entries(&self, entry: u32, order: u32) -> u64 {
        let first = (entry / 64) as usize;
        if order > 6 {
            return (first..first + (1 << (order - 6))).map(|i| u64::from(self.word(i).load(Ordering::SeqCst).count_ones())).sum();
        }
        u64::from((self.word(first).load(Ordering::SeqCst) & ones(order) << (entry % 64)).count_ones())
    }
}

/// The same words, used as a set of hints: which tables to look into (`pool::listing`).
impl<const WORDS: usize> Table<WORDS> {
    /// The first member.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        // SeqCst: the read half of "list, then search" and of "unlist, then look again".
        for index in 0..WORDS {
            let word = self.word(index).load(Ordering::SeqCst);
            if word != 0 {
                return Some(index as u32 * 64 + word.trailing_zeros());
            }
        }
        None
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
}

/// The same words as notes about entries, written only by who owns the entry (`pool::clear`). The claim (Acquire) and the release
/// (Release) of the entry order them, so they need no ordering of their own.
impl<const WORDS: usize> Table<WORDS> {
    /// Writes the notes of a run of entries.
    pub(crate) fn set_notes(&self, entry: u32, order: u32, set: bool) {
        let first = (entry / 64) as usize;
        if order > 6 {
            for index in first..first + (1 << (order - 6)) {
                // Relaxed: see above; all entries of these words are the caller's.
                self.word(index).store(if set { !0 } else { 0 }, Ordering::Relaxed);
            }
            return;
        }
        let (word, bits) = (self.word(first), ones(order) << (entry % 64));
        // Relaxed, all: see above; other owners' notes in the word stay as they are.
        if set {
            word.fetch_or(bits, Ordering::Relaxed);
        } else if word.load(Ordering::Relaxed) & bits != 0 {
            word.fetch_and(!bits, Ordering::Relaxed);
        }
    }

    /// The notes of the 64 entries around `entry`.
    pub(crate) fn note_word(&self, entry: u32) -> u64 {
        // Relaxed: see above; who does not own the entries gets a hint.
        self.word((entry / 64) as usize).load(Ordering::Relaxed)
    }

    /// Whether the notes of a run of entries are all set, or none is.
    pub(crate) fn notes(&self, entry: u32, order: u32) -> Notes {
        let first = (entry / 64) as usize;
        // Relaxed: see above.
        let seen = |index: usize| self.word(index).load(Ordering::Relaxed);
        let (all, none) = if order > 6 {
            let words = first..first + (1 << (order - 6));
            (words.clone().all(|index| seen(index) == !0), words.clone().all(|index| seen(index) == 0))
        } else {
            let bits = ones(order) << (entry % 64);
            (seen(first) & bits == bits, seen(first) & bits == 0)
        };
        if all {
            Notes::All
        } else if none {
            Notes::None
        } else {
            Notes::Some
        }
    }
}

/// What the notes of several entries say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notes {
    /// All are set.
    All,
    /// None is set.
    None,
    /// Some are, some are not.
    Some,
}
#[cfg(all(test, not(loom)))]
mod tests;
