//! Is the pool consistent? For tests, debugging and the curious; meant for a moment when nobody else uses the pool.

use super::GenPool;
use super::shape::Place;
use crate::offset::Offset;

/// What is wrong with a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A page is idle at two levels.
    IdleTwice(Offset),
    /// A page outside every range is idle.
    IdleOutside(Offset),
    /// A table with an idle run cannot be found by a search for that run, or its entry is not known to be split.
    Unlisted(Offset),
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Looks at every table that can have been touched.
    ///
    /// O(tables below entries that are not idle); tables below an idle entry are looked at, those below them are not.
    pub(crate) fn audit(&self) -> Result<(), Fault> {
        self.list_fresh();
        self.audit_table(self.shape.top, 0)
    }

    fn audit_table(&self, level: u32, table: usize) -> Result<(), Fault> {
        self.audit_listing(level, table)?;
        for entry in 0..1 << Self::RADIX {
            let run = self.shape.run(Place { level, table, entry, order: 0 });
            if run.start().get() >= self.shape.pages {
                break;
            }
            let idle = self.table(level, table).is_idle(entry, 0);
            if idle && self.check_inside(run).is_err() {
                return Err(Fault::IdleOutside(run.start()));
            }
            if level == 0 {
                continue;
            }
            let child = self.shape.child(table, entry);
            if !idle {
                self.audit_table(level - 1, child)?;
            } else if self.table(level - 1, child).largest().is_some() {
                return Err(Fault::IdleTwice(run.start()));
            }
        }
        Ok(())
    }

    fn audit_listing(&self, level: u32, table: usize) -> Result<(), Fault> {
        let Some(largest) = self.table(level, table).largest() else { return Ok(()) };
        if level == self.shape.top || self.can_be_found(level, table, largest) {
            Ok(())
        } else {
            Err(Fault::Unlisted(self.shape.run(Place { level, table, entry: 0, order: 0 }).start()))
        }
    }
}
