//! A device that goes wrong on purpose, so that the tests see that the demo would notice; and one that has views, which the host
//! device has not: a page table, looked up for each copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, FromArgMatches};

use crate::cli::Asked;
use crate::device::{Bind, Device, DeviceError, DeviceInfo, Layout, Sparse, Sum, Ticket, View, Work};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::host::{self, Host};
use crate::job::{self, Job};
use crate::peers::{Holding, Peer, Peers};
use crate::pieces::{Memory, Piece, push_merged};

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One bit of everything that comes back.
    FlippedBit,
    /// Copies go nowhere: the bytes that come back are old ones.
    LostCopies,
    /// Views go on showing what was bound first.
    LostBinds,
    /// The device is lost at this submission.
    DeviceLost(u64),
}

/// Plans a job with these arguments and runs it on a host device with a fault.
pub(crate) fn run<J: Job>(arguments: &str, fault: Fault) -> Result<(Ending, J::Outcome), Failure> {
    run_on::<J>(&host::describe(), arguments, fault)
}

/// The same on a device of that description.
pub(crate) fn run_on<J: Job>(info: &DeviceInfo, arguments: &str, fault: Fault) -> Result<(Ending, J::Outcome), Failure> {
    let (job, layout) = plan::<J>(arguments, info)?;
    let mut device = Faulty::open(&layout, fault)?;
    if let Sparse::Granule { granule_bytes, address_bytes } = info.sparse {
        (device.granule, device.addresses) = (granule_bytes, address_bytes);
    }
    job.run(&mut device, true)
}

/// Plans a job with these arguments on a device of that description.
pub(crate) fn plan<J: Job>(arguments: &str, info: &DeviceInfo) -> Result<(J, Layout), Failure> {
    let command = Asked::<J::Options>::augment_args(clap::Command::new("vk-demo").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments.split_whitespace());
    let usage = |error: clap::Error| Failure::Usage(error.to_string());
    let asked = Asked::<J::Options>::from_arg_matches(&matches.map_err(usage)?).map_err(usage)?;
    job::plan(&asked.job, &asked.own, info)
}

/// The host device with a fault.
pub(crate) struct Faulty {
    host: Host,
    fault: Fault,
    granule: u64,
    /// For all views together.
    addresses: u64,
    views: Vec<Option<Table>>,
    /// What was submitted after this ticket is not reached while this is set.
    held: (u64, Arc<AtomicBool>),
}

/// What is behind each granule of a view: a memory object and a byte of it.
struct Table {
    bytes: u64,
    behind: Vec<Option<(usize, u64)>>,
}

impl Faulty {
    pub(crate) fn open(layout: &Layout, fault: Fault) -> Result<Faulty, DeviceError> {
        Ok(Faulty { host: Host::open(layout)?, fault, granule: 1, addresses: 0, views: Vec::new(), held: Default::default() })
    }

    /// What a host device would be that has views of this granule, and so many addresses for them.
    pub(crate) fn describe(granule_bytes: u64, address_bytes: u64) -> DeviceInfo {
        DeviceInfo { sparse: Sparse::Granule { granule_bytes, address_bytes }, ..host::describe() }
    }

    /// What the pieces are of, with views looked through; refused where nothing is behind one.
    fn behind(&self, pieces: &[Piece]) -> Result<Vec<Piece>, DeviceError> {
        let mut found = Vec::new();
        for piece in pieces {
            let Memory::View(index) = piece.memory else {
                push_merged(&mut found, *piece);
                continue;
            };
            let table = self.views.get(index).and_then(Option::as_ref).ok_or(DeviceError::OutOfBounds)?;
            assert!(piece.end() <= table.bytes);
            let mut at = piece.start;
            while at < piece.end() {
                let (object, start) = table.behind[(at / self.granule) as usize].ok_or(DeviceError::OutOfBounds)?;
                let end = piece.end().min((at / self.granule + 1) * self.granule);
                let start = start + at % self.granule;
                push_merged(&mut found, Piece { memory: Memory::Object(object), start, bytes: end - at });
                at = end;
            }
        }
        Ok(found)
    }

    fn holds(&self, ticket: Ticket) -> bool {
        ticket.0 > self.held.0 && self.held.1.load(Ordering::Acquire)
    }

    fn addresses_left(&self) -> u64 {
        self.addresses - self.views.iter().flatten().map(|table| table.bytes).sum::<u64>()
    }
}

impl Peers for Faulty {
    fn begin(&mut self, peer: Peer, bytes: u64, block: u64) -> Result<Result<(), String>, DeviceError> {
        self.host.begin(peer, bytes, block)
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
        if matches!(self.fault, Fault::LostCopies) { Ok(()) } else { self.host.copy(&self.behind(from)?, &self.behind(to)?) }
    }

    fn submit(&mut self) -> Result<Ticket, DeviceError> {
        match self.fault {
            Fault::DeviceLost(at) if self.host.work().submits == at => Err(DeviceError::Lost),
            _ => self.host.submit(),
        }
    }

    fn make_view(&mut self, bytes: u64) -> Result<Option<View>, DeviceError> {
        if bytes > self.addresses_left() {
            return Ok(None);
        }
        self.views.push(Some(Table { bytes, behind: vec![None; bytes.div_ceil(self.granule) as usize] }));
        Ok(Some(View(self.views.len() - 1)))
    }

    fn drop_view(&mut self, view: View) -> Result<(), DeviceError> {
        self.views[view.0] = None;
        Ok(())
    }

    fn bind(&mut self, binds: &[Bind]) -> Result<(), DeviceError> {
        for bind in binds {
            let table = self.views[bind.view.0].as_mut().ok_or(DeviceError::OutOfBounds)?;
            let start = bind.to.map_or(0, |(_, start)| start);
            let numbers = [bind.at, bind.bytes, start];
            assert!(bind.bytes > 0 && numbers.iter().all(|number| number.is_multiple_of(self.granule)), "{bind:?}");
            let first = (bind.at / self.granule) as usize;
            for (index, part) in (0..).zip(&mut table.behind[first..][..(bind.bytes / self.granule) as usize]) {
                if part.is_none() || !matches!(self.fault, Fault::LostBinds) {
                    *part = bind.to.map(|(object, start)| (object, start + index * self.granule));
                }
            }
        }
        Ok(())
    }

    fn begin_sum(&mut self, pieces: &[Piece]) -> Result<Option<Sum>, DeviceError> {
        self.host.begin_sum(&self.behind(pieces)?)
    }

    fn end_sum(&mut self, sum: Sum) -> Result<u32, DeviceError> {
        self.host.end_sum(sum)
    }

    fn is_reached(&mut self, ticket: Ticket) -> Result<bool, DeviceError> {
        Ok(!self.holds(ticket) && self.host.is_reached(ticket)?)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), DeviceError> {
        while self.holds(ticket) {
            std::hint::spin_loop();
        }
        self.host.wait(ticket)
    }

    fn work(&self) -> Work {
        self.host.work()
    }

    fn hold(&mut self) -> Box<dyn FnOnce() + Send> {
        let held = Arc::new(AtomicBool::new(true));
        self.held = (self.host.work().submits, Arc::clone(&held));
        Box::new(move || held.store(false, Ordering::Release))
    }
}
