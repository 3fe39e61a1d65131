//! Coming before or after every owner of some pages.

use super::GenPool;
use super::shape::Place;
use crate::offset::Run;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Joins the chain of changes of every table word in which `run`, or a run that holds it, can be claimed or released.
    ///
    /// Changes nothing. Whoever claims or releases there later sees what the caller has written before; what was claimed or
    /// released there before, the caller sees afterwards. O(levels), and O(2^k) words for a run of 2^k entries.
    pub(crate) fn meet(&self, run: Run) {
        let Place { level, table, entry, order } = self.shape.place(run);
        self.table(level, table).meet(entry, order);
        for above in level + 1..=self.shape.top {
            let (table, entry) = self.shape.entry(run.start(), above);
            self.table(above, table).meet(entry, 0);
        }
    }
}
