//! Places in the staging memory, one after another and round again.

/// Hands out places; who still needs an old one is looked after by the device, which waits before a place is used anew.
pub(super) struct Ring {
    bytes: u64,
    next: u64,
}

impl Ring {
    /// The whole staging memory.
    pub(super) fn new(bytes: u64) -> Ring {
        Ring { bytes, next: 0 }
    }

    /// The next place of this length, which is at most the ring's.
    pub(super) fn take(&mut self, bytes: u64) -> u64 {
        if self.next + bytes > self.bytes {
            self.next = 0;
        }
        let at = self.next;
        self.next += bytes;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other_and_never_wrap_inside() {
        let mut ring = Ring::new(10);
        assert_eq!([4, 4, 4, 6, 10].map(|bytes| ring.take(bytes)), [0, 4, 0, 4, 0]);
    }
}
