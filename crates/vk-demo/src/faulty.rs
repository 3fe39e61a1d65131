//! A device that goes wrong on purpose, so that the tests see that the demo would notice.

use crate::device::{Device, DeviceError, DeviceInfo, Layout, Ticket, Work};
use crate::host::{self, Host};
use crate::pieces::Piece;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// One bit of everything that comes back.
    FlippedBit,
    /// Copies go nowhere: the bytes that come back are old ones.
    LostCopies,
    /// The device is lost at this submission.
    DeviceLost(u64),
}

/// The host device with a fault.
pub(crate) struct Faulty {
    host: Host,
    fault: Fault,
}

impl Faulty {
    pub(crate) fn open(layout: &Layout, fault: Fault) -> Result<Faulty, DeviceError> {
        Ok(Faulty { host: Host::open(host::describe(), layout)?, fault })
    }
}

impl Device for Faulty {
    fn info(&self) -> &DeviceInfo {
        self.host.info()
    }

    fn objects(&self) -> &[u64] {
        self.host.objects()
    }

    fn staging_bytes(&self) -> u64 {
        self.host.staging_bytes()
    }

    fn write_staging(&mut self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.host.write_staging(at, bytes)
    }

    fn read_staging(&mut self, at: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.host.read_staging(at, into)?;
        if let (Fault::FlippedBit, Some(byte)) = (self.fault, into.last_mut()) {
            *byte ^= 1;
        }
        Ok(())
    }

    fn copy(&mut self, from: &[Piece], to: &[Piece]) -> Result<(), DeviceError> {
        if matches!(self.fault, Fault::LostCopies) { Ok(()) } else { self.host.copy(from, to) }
    }

    fn submit(&mut self) -> Result<Ticket, DeviceError> {
        match self.fault {
            Fault::DeviceLost(at) if self.host.work().submits == at => Err(DeviceError::Lost),
            _ => self.host.submit(),
        }
    }

    fn checksum(&mut self, pieces: &[Piece]) -> Result<Option<u32>, DeviceError> {
        self.host.checksum(pieces)
    }

    fn is_reached(&mut self, ticket: Ticket) -> Result<bool, DeviceError> {
        self.host.is_reached(ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), DeviceError> {
        self.host.wait(ticket)
    }

    fn work(&self) -> Work {
        self.host.work()
    }
}
