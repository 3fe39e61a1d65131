//! A folio that is closed to finders for as long as a guard lives.

use core::fmt;

use crate::error::GateError;
use crate::folio::Folio;
use crate::idle::UntilIdle;
use crate::offset::Offset;
use crate::ops::PgmapOps;
use crate::pgmap::Pgmap;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Closes the folio that covers `offset` to finders ([`Pgmap::try_get_raw`] and its like) until the guard is dropped: no finder that
    /// begins after the return gets a reference to it. Holders may clone and put, so its references run out after the longest hold.
    ///
    /// [`Pgmap::until_idle`] and [`Pgmap::until_frozen`] do this by themselves; the guard is for drivers that wait by other means. It
    /// ends with the folio: the next one on these pages is open. If the folio is split meanwhile, the part with this page stays closed.
    /// Several may close the same folio; it opens when the last of them is done.
    ///
    /// Takes the room of one who waits, so there may be 64 at a time, and as many more as [`Pgmap::lend_wait_slots`] was given room
    /// for. O(those); lock-free.
    pub fn gate(&self, offset: Offset) -> Result<Gate<'_, O, WORDS>, GateError> {
        if !self.pool.has_offset(offset) {
            return Err(GateError::OutOfRange);
        }
        let mut wait = UntilIdle::at(self, offset);
        if wait.enter_slot() { Ok(Gate { wait }) } else { Err(GateError::NoSlot) }
    }
}

impl<'p, O: PgmapOps, const WORDS: usize> Folio<'p, O, WORDS> {
    /// Closes it to finders ([`Pgmap::gate`]). This reference may be put while the gate is closed.
    pub fn gate(&self) -> Result<Gate<'p, O, WORDS>, GateError> {
        self.pgmap().gate(self.offset())
    }
}

/// A folio that is closed to finders. Drop opens it, unless others keep it closed; see [`Pgmap::gate`].
#[must_use = "a gate that is dropped is open again"]
pub struct Gate<'p, O: PgmapOps, const WORDS: usize = 8> {
    wait: UntilIdle<'p, O, WORDS>,
}

impl<O: PgmapOps, const WORDS: usize> Gate<'_, O, WORDS> {
    /// The page that it was closed at.
    pub fn offset(&self) -> Offset {
        self.wait.page()
    }
}

impl<O: PgmapOps, const WORDS: usize> fmt::Debug for Gate<'_, O, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.offset()).finish()
    }
}
