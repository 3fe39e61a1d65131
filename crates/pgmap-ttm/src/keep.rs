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
    /// Says that what an object holds is not needed at the moment.
    ///
    /// When room is short in a memory type where it has pages, the object is *purged*: all its pages are taken, without a copy,
    /// before anyone else has to move, whatever its priority and whatever its owner's share; then as many objects as are missing,
    /// the least recently used first. The mover is told as of any move. Its owner's limit makes room short, too, and so do
    /// [`evict`](Manager::evict) and the verbs like it. A pinned object is not purged; it is not promoted, either.
    pub fn dont_need(&mut self, bo: Bo) -> Result<(), Stale> {
        let key = self.find(bo)?;
        if self.objects[key].keeping == Keeping::Needed {
            self.relist_as(key, |object| object.keeping = Keeping::Purgeable);
        }
        Ok(())
    }

    /// Says that what an object holds is needed again, and learns whether it was purged meanwhile: once.
    pub fn will_need(&mut self, bo: Bo) -> Result<Retained, Stale> {
        let key = self.find(bo)?;
        let before = self.objects[key].keeping;
        if before != Keeping::Needed {
            self.relist_as(key, |object| object.keeping = Keeping::Needed);
        }
        Ok(if before == Keeping::Purged { Retained::Lost } else { Retained::Kept })
    }
}
