//! Pinning: as long as something outside uses an object's pieces, it stays where it is.

use pgmap_alloc::PgmapOps;

use crate::bo::Bo;
use crate::error::{PinError, UnpinError};
use crate::manager::Manager;
use crate::mover::Mover;

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Pins an object where it stands, after waiting until it stands there; pins are counted.
    ///
    /// A pinned object is on no list: it is not pushed out, not swapped out, not promoted, and a validation that would have to
    /// move it is refused.
    pub fn pin(&mut self, bo: Bo) -> Result<(), PinError> {
        let key = self.find(bo)?;
        if self.objects[key].pins == 0 {
            self.finish(key);
        }
        let object = &mut self.objects[key];
        if core::mem::take(&mut object.undone) {
            return Err(PinError::CopyFailed);
        }
        if object.resident() < object.pages {
            return Err(PinError::NotResident);
        }
        object.pins = object.pins.checked_add(1).ok_or(PinError::TooMany)?;
        self.relist(key, false);
        Ok(())
    }

    /// Takes one pin back; after the last the object is listed again, as the youngest.
    pub fn unpin(&mut self, bo: Bo) -> Result<(), UnpinError> {
        let key = self.find(bo)?;
        let object = &mut self.objects[key];
        object.pins = object.pins.checked_sub(1).ok_or(UnpinError::NotPinned)?;
        self.relist(key, false);
        Ok(())
    }
}
