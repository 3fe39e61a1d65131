//! The same words as notes about entries, written only by who owns the entry (`pool::notes`). The claim (Acquire) and the release
//! (Release) of the entry order them, so they need no ordering of their own.

use super::Table;
use super::word::ones;
use crate::sync::Ordering;

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
        let seen = word.load(Ordering::Relaxed);
        if set && seen & bits != bits {
            word.fetch_or(bits, Ordering::Relaxed);
        } else if !set && seen & bits != 0 {
            word.fetch_and(!bits, Ordering::Relaxed);
        }
    }

    /// The note of an entry.
    #[inline]
    pub(crate) fn note(&self, entry: u32) -> bool {
        self.note_word(entry) >> (entry % 64) & 1 != 0
    }

    /// The notes of the 64 entries around `entry`.
    pub(crate) fn note_word(&self, entry: u32) -> u64 {
        // Relaxed: see above; who does not own the entries gets a hint.
        self.word((entry / 64) as usize).load(Ordering::Relaxed)
    }

    /// [`Table::note_word`] for all words.
    #[inline]
    pub(crate) fn note_words(&self) -> [u64; WORDS] {
        // Relaxed: as there.
        core::array::from_fn(|index| self.word(index).load(Ordering::Relaxed))
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
