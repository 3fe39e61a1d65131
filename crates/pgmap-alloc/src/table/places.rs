//! The same words as places: each is empty, 0, or names something (`pool::fresh`).

use super::Table;
use crate::sync::Ordering;

impl<const WORDS: usize> Table<WORDS> {
    /// What a place names.
    #[inline(always)]
    pub(crate) fn place(&self, word: usize) -> u64 {
        // SeqCst: pairs with `fill_place`: who fills a place and then finds no watcher is seen by the watcher (`pool::motion`, rule 2).
        self.word(word).load(Ordering::SeqCst)
    }

    /// Fills a place; `false` if it is not empty.
    #[inline(always)]
    pub(crate) fn fill_place(&self, word: usize, name: u64) -> bool {
        // SeqCst: the write half of the same, pairs with `place`. Relaxed on failure: nothing follows from it.
        self.word(word).compare_exchange(0, name, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Empties a place, unless it names something else by now.
    #[inline(always)]
    pub(crate) fn empty_place(&self, word: usize, name: u64) {
        // SeqCst: the write half of "empty the place, then look at the table", against "release, then find the place filled". Relaxed on
        // failure: it is somebody else's by now.
        let _ = self.word(word).compare_exchange(name, 0, Ordering::SeqCst, Ordering::Relaxed);
        crate::sync::order_after_write();
    }

    /// A number that is only a hint.
    #[inline(always)]
    pub(crate) fn hint(&self, word: usize) -> u64 {
        // Relaxed: it may be old or another's.
        self.word(word).load(Ordering::Relaxed)
    }

    /// Writes a number that is only a hint.
    #[inline(always)]
    pub(crate) fn set_hint(&self, word: usize, hint: u64) {
        // Relaxed: as in `hint`.
        self.word(word).store(hint, Ordering::Relaxed);
    }
}
