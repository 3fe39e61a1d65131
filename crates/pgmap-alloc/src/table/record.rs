//! The same words as plain numbers: records that the pool keeps (`pool::held`).

use super::Table;
use crate::sync::Ordering;

impl<const WORDS: usize> Table<WORDS> {
    /// The number at `index`.
    pub(crate) fn record(&self, index: usize) -> u64 {
        // Acquire: pairs with `replace_record`.
        self.word(index).load(Ordering::Acquire)
    }

    /// Writes a number if the other one stands there.
    pub(crate) fn replace_record(&self, index: usize, from: u64, to: u64) -> bool {
        // AcqRel: whoever finds a record sees what its writer did before. Relaxed on failure: nothing is read.
        self.word(index).compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
