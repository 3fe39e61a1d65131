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
    /// acts on one folio: when that has ended, the next one on these pages is open. Where no folio covers the page yet, the next one to
    /// come is closed. If the folio is split, the part with this page stays closed. Several guards may close the same folio; it
    /// opens when the last of them is dropped.
    ///
    /// A guard takes a wait slot: 64 at a time, waits included, and those lent by [`Pgmap::lend_wait_slots`]; without a free one it is
    /// [`GateError::NoSlot`]. O(slots); lock-free; any context.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// # use pgmap_alloc::{Order, Params, Pgmap, Phys, PhysRange};
    /// # let pgmap = Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 512 }]), ()).expect("one sound range");
    /// let folio = pgmap.alloc_folio(Order::PMD).expect("an empty pgmap");
    /// let gate = folio.gate().expect("64 are built in");
    /// assert!(pgmap.try_get(folio.offset()).is_none()); // a finder
    /// assert_eq!(folio.clone().refs(), 2); // a holder
    /// drop(gate);
    /// assert!(pgmap.try_get(folio.offset()).is_some());
    /// # }
    /// ```
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
