//! Coming before or after every owner of some pages, and knowing for sure whether they have one.

use super::GenPool;
use super::shape::Place;
use crate::offset::{Offset, Run};

/// How often it is tried to prove that a page is taken.
const TRIES: u32 = 8;

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

    /// Whether somebody has a page: there was a moment during the call at which it was so. `None` where that cannot be told,
    /// because runs were in motion at each of several looks: a page that is being merged is seen at no level.
    pub(crate) fn is_taken(&self, page: Offset) -> Option<bool> {
        if self.idle_run(page).is_some() {
            return Some(false);
        }
        let watch = self.motion.watch();
        (0..TRIES).find_map(|_| {
            let notes = watch.notes();
            if self.idle_run(page).is_some() { Some(false) } else { watch.nothing_since(notes).then_some(true) }
        })
    }
}
