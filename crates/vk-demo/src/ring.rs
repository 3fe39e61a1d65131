//! Places for contents on their way, in a part of the staging memory.

use crate::device::{ATOM, DeviceError};

/// Places in the scratch, one after another and round again. Who still needs an old one is looked after by the device, which
/// waits before a place is used anew.
pub(crate) struct Ring {
    start: u64,
    end: u64,
    next: u64,
}

impl Ring {
    /// All of this part of the staging memory.
    pub(crate) fn new(start: u64, end: u64) -> Ring {
        Ring { start, end, next: start }
    }

    /// The next place of so many bytes, away from what is under way in others.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        self.next = self.next.next_multiple_of(ATOM);
        if bytes > self.end - self.start {
            return Err(DeviceError::OutOfBounds);
        }
        if self.next + bytes > self.end {
            self.next = self.start;
        }
        let at = self.next;
        self.next += bytes;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn places_follow_each_other_and_never_wrap_inside() {
        let mut ring = Ring::new(ATOM, 4 * ATOM);
        let places = [4, ATOM, 4, ATOM + 4, 3 * ATOM].map(|bytes| ring.take(bytes).unwrap());
        assert_eq!(places, [1, 2, 3, 1, 1].map(|atoms| atoms * ATOM));
        assert_eq!(ring.take(3 * ATOM + 1), Err(DeviceError::OutOfBounds));
    }
}
