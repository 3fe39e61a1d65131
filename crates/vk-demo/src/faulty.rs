//! A device that goes wrong on purpose, so that the tests see that the demo would notice.

use std::time::Duration;

use clap::{Args, FromArgMatches};

use crate::device::{Device, DeviceError, Layout, Ticket, Work};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::host::{self, Host};
use crate::job::Job;
use crate::peers::{Holding, Peer, Peers};
use crate::pieces::Piece;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One bit of everything that comes back.
    FlippedBit,
    /// Copies go nowhere: the bytes that come back are old ones.
    LostCopies,
    /// The device is lost at this submission.
    DeviceLost(u64),
}

/// Plans a job with these arguments and runs it on a host device with a fault.
pub(crate) fn run<J: Job>(arguments: &str, fault: Fault) -> Result<(Ending, J::Outcome), Failure> {
    let command = J::Options::augment_args(clap::Command::new("vk-demo").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments.split_whitespace());
    let usage = |error: clap::Error| Failure::Usage(error.to_string());
    let options = J::Options::from_arg_matches(&matches.map_err(usage)?).map_err(usage)?;
    let job = J::plan(&options, &host::describe())?;
    job.run(&mut Faulty::open(job.layout(), fault)?, true)
}

/// The host device with a fault.
pub(crate) struct Faulty {
    host: Host,
    fault: Fault,
}

impl Faulty {
    pub(crate) fn open(layout: &Layout, fault: Fault) -> Result<Faulty, DeviceError> {
        Ok(Faulty { host: Host::open(layout)?, fault })
    }
}

impl Peers for Faulty {
    fn begin(&mut self, peer: Peer, bytes: u64) -> Result<Result<(), String>, DeviceError> {
        self.host.begin(peer, bytes)
    }

    fn take(&mut self, bytes: u64) -> Result<Option<usize>, DeviceError> {
        self.host.take(bytes)
    }

    fn put(&mut self, object: usize) -> Result<(), DeviceError> {
        self.host.put(object)
    }

    fn holding(&self) -> Holding {
        self.host.holding()
    }

    fn allocator_time(&self) -> Duration {
        self.host.allocator_time()
    }

    fn end(&mut self) {
        self.host.end();
    }
}

impl Device for Faulty {
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
