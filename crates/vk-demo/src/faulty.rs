//! A device that goes wrong on purpose, so that the tests see that the demo would notice; and one that has views, which the host
//! device has not: a page table, looked up for each copy.

use crate::device::{Bind, Device, DeviceError, DeviceInfo, Layout, Sparse, Ticket, View, Work};
use crate::host::{self, Host};
use crate::pieces::{Memory, Piece, push_merged};

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing at all.
    Nothing,
    /// One bit of everything that comes back.
    FlippedBit,
    /// Copies go nowhere: the bytes that come back are old ones.
    LostCopies,
    /// Views go on showing what was bound first.
    LostBinds,
    /// The device is lost at this submission.
    DeviceLost(u64),
}

/// The host device with a fault.
pub(crate) struct Faulty {
    host: Host,
    fault: Fault,
    info: DeviceInfo,
    views: Vec<Option<Table>>,
    granule: u64,
}

/// What is behind each granule of a view: a memory object and a byte of it.
struct Table {
    bytes: u64,
    behind: Vec<Option<(usize, u64)>>,
}

impl Faulty {
    pub(crate) fn open(layout: &Layout, fault: Fault) -> Result<Faulty, DeviceError> {
        Faulty::with_views(host::describe(), layout, fault)
    }

    /// What a host device would be that has views.
    pub(crate) fn describe(granule_bytes: u64, address_bytes: u64) -> DeviceInfo {
        DeviceInfo { sparse: Sparse::Granule { granule_bytes, address_bytes }, ..host::describe() }
    }

    /// A device of that description.
    pub(crate) fn with_views(info: DeviceInfo, layout: &Layout, fault: Fault) -> Result<Faulty, DeviceError> {
        let granule = info.sparse.granule().unwrap_or(1);
        Ok(Faulty { host: Host::open(info.clone(), layout)?, fault, info, views: Vec::new(), granule })
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

    fn address_bytes(&self) -> u64 {
        let Sparse::Granule { address_bytes, .. } = self.info.sparse else { return 0 };
        address_bytes - self.views.iter().flatten().map(|table| table.bytes).sum::<u64>()
    }
}

impl Device for Faulty {
    fn info(&self) -> &DeviceInfo {
        &self.info
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
        if matches!(self.fault, Fault::LostCopies) { Ok(()) } else { self.host.copy(&self.behind(from)?, &self.behind(to)?) }
    }

    fn submit(&mut self) -> Result<Ticket, DeviceError> {
        match self.fault {
            Fault::DeviceLost(at) if self.host.work().submits == at => Err(DeviceError::Lost),
            _ => self.host.submit(),
        }
    }

    fn make_view(&mut self, bytes: u64) -> Result<Option<View>, DeviceError> {
        if bytes > self.address_bytes() {
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

    fn checksum(&mut self, pieces: &[Piece]) -> Result<Option<u32>, DeviceError> {
        self.host.checksum(&self.behind(pieces)?)
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
