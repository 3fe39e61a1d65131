//! What is not needed now: called purgeable, it is lost only when room is short, and whoever needs it again is told.

use pgmap_alloc::PgmapOps;

use crate::bo::{Bo, Keeping};
use crate::error::Stale;
use crate::manager::Manager;
use crate::mover::Mover;

/// What is left of what an object held when it was called purgeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Retained {
    /// All of it.
    Kept,
    /// Nothing: it was purged.
    Lost,
}

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Says that what an object holds is not needed at the moment: it may be purged.
    ///
    /// When room is short in a memory type where it has pages, or its owner is at its limit, the object is *purged*: it loses all its
    /// pages, without a copy. Purgeable objects go before any other object has to move, whatever their priority and their owner's
    /// share, the least recently used first, and no more of them than needed. [`evict`](Manager::evict) and its like purge them
    /// too. The mover is told as of any move. A pinned object is not purged. A purgeable object is not promoted.
    ///
    /// Moves nothing and never waits; the one error is [`Stale`].
    pub fn dont_need(&mut self, bo: Bo) -> Result<(), Stale> {
        let key = self.find(bo)?;
        if self.objects[key].keeping == Keeping::Needed {
            self.relist_as(key, |object| object.keeping = Keeping::Purgeable);
        }
        Ok(())
    }

    /// Says that what an object holds is needed again, and returns whether it is still there. A loss is reported once: the next call
    /// says [`Retained::Kept`] of what the object has by then. Brings nothing back and never waits; validate it next.
    pub fn will_need(&mut self, bo: Bo) -> Result<Retained, Stale> {
        let key = self.find(bo)?;
        let before = self.objects[key].keeping;
        if before != Keeping::Needed {
            self.relist_as(key, |object| object.keeping = Keeping::Needed);
        }
        Ok(if before == Keeping::Purged { Retained::Lost } else { Retained::Kept })
    }
}
