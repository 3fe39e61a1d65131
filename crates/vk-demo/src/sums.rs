//! Sums that the device is making of what it holds, each beside what must come of it.

use std::collections::VecDeque;

use crate::device::{Device, DeviceError, SUMS_AT_ONCE, Sum};
use crate::pieces::{Piece, total};

/// Those under way, and what came of the others.
#[derive(Default)]
pub(crate) struct Sums {
    under_way: VecDeque<(Sum, u32)>,
    pub(crate) found: Found,
}

/// What came of sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many there were, and of how many bytes.
    pub(crate) sums: u64,
    pub(crate) bytes: u64,
    /// How many were not what they should have been.
    pub(crate) wrong: u64,
}

impl Sums {
    /// Asks for the sum of what these pieces hold after everything that was recorded before; does not wait for it, but if there are
    /// too many, for the oldest. Nothing where the device cannot sum.
    pub(crate) fn begin(&mut self, device: &mut dyn Device, pieces: &[Piece], expected: u32) -> Result<(), DeviceError> {
        if self.under_way.len() == SUMS_AT_ONCE {
            self.end_oldest(device)?;
        }
        if let Some(sum) = device.begin_sum(pieces)? {
            self.under_way.push_back((sum, expected));
            self.found.bytes += total(pieces);
        }
        Ok(())
    }

    /// Waits for all of them.
    pub(crate) fn end(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        while !self.under_way.is_empty() {
            self.end_oldest(device)?;
        }
        Ok(())
    }

    fn end_oldest(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        let Some((sum, expected)) = self.under_way.pop_front() else { return Ok(()) };
        let found = device.end_sum(sum)?;
        self.found.sums += 1;
        self.found.wrong += u64::from(found != expected);
        Ok(())
    }
}
