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
//!
//! | file | what |
//! |---|---|
//! | `word` | the runs in one word, as plain functions |
//! | `claim` `some` `release` | ones to zeros, and back |
//! | `look` | what is idle |
//! | `set` `notes` `classes` `places` `digits` | the same words put to other uses: hints, notes about entries, how the tables below
//! are listed, places for runs, counts |

mod claim;
mod classes;
mod digits;
mod look;
mod notes;
mod places;
mod release;
mod set;
mod some;
#[cfg(all(test, not(loom)))]
mod tests;
mod word;

use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata_lines, zero_words};
pub(crate) use claim::{Fit, Miss};
pub(crate) use notes::Notes;

metadata_lines! {
    /// One radix table: `WORDS * 64` entries, one bit each, 1 = wholly idle at this level.
    ///
    /// Callers only provide them as storage, best on 64-byte boundaries. `WORDS` is 8 (one 64-byte line, 512 entries)
    /// everywhere but in models and exhaustive tests, which run the same code on tiny tables.
    #[derive(Debug)]
    pub struct Table<const WORDS: usize = 8>;
}

impl<const WORDS: usize> Table<WORDS> {
    /// The order of the whole table: its entries are `2^RADIX`.
    pub(crate) const RADIX: u32 = {
        // More than 16, and the groups of `pool::listing` would not fit into a word.
        assert!(WORDS.is_power_of_two() && WORDS <= 16);
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
}

/// One bit per word that is wholly idle.
#[inline]
fn idle_words<const WORDS: usize>(seen: &[u64; WORDS]) -> u64 {
    (0..WORDS).fold(0, |mask, index| mask | u64::from(seen[index] == !0) << index)
}
