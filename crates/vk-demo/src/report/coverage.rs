//! How much of what was written was compared: what may be called verified, and what must be said of the rest.

use serde::Serialize;

use crate::size::Bytes;

/// Bytes that were written into the device's memory, and those of them that were compared before they were overwritten or given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Coverage {
    pub(crate) written_bytes: u64,
    pub(crate) compared_bytes: u64,
}

impl Coverage {
    /// Whether there is anything to call verified.
    pub(crate) fn is_something(self) -> bool {
        self.compared_bytes > 0
    }

    /// Whether that is all there was.
    pub(crate) fn is_everything(self) -> bool {
        self.is_something() && self.compared_bytes == self.written_bytes
    }

    /// What is to be said of bytes that nobody looked at.
    pub(crate) fn gap(self) -> Option<String> {
        let missing = self.written_bytes.checked_sub(self.compared_bytes).filter(|missing| *missing > 0)?;
        Some(format!("{} of {} that were written were not compared", Bytes(missing), Bytes(self.written_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_80_nothing_compared_is_not_verified_and_a_part_is_not_everything() {
        let of = |written_bytes, compared_bytes| Coverage { written_bytes, compared_bytes };
        assert!(!of(0, 0).is_something() && !of(0, 0).is_everything() && of(0, 0).gap().is_none());
        assert!(!of(8, 0).is_something() && of(8, 4).is_something() && !of(8, 4).is_everything() && of(8, 8).is_everything());
        assert_eq!(of(8, 4).gap().as_deref(), Some("4 B of 8 B that were written were not compared"));
        assert_eq!(of(8, 8).gap(), None);
    }
}
