//! The device where there is no Vulkan: memory objects in this process, and the CPU as its copy engine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sysinfo::System;

use crate::checksum;
use crate::device::{Device, DeviceError, DeviceInfo, Features, HeapInfo, Kind, Layout, Sparse, Sum, Ticket, Work};
use crate::failure::Failure;
use crate::lent::Lent;
use crate::peers::{Holding, Peer, Peers};
use crate::pieces::{self, Memory, Piece, Region};
use crate::size;

/// The host device takes at most one part in this many of the memory that is free.
const SHARE: u64 = 2;

/// Large objects would show nothing that small ones do not; several make a pgmap of several ranges.
const MAX_OBJECT: u64 = 1 << 30;

/// What the host device would be, without taking any memory yet.
pub(crate) fn describe() -> DeviceInfo {
    let (total, free) = host_memory();
    DeviceInfo {
        name: "host device".into(),
        driver: format!("vk-demo {}", env!("CARGO_PKG_VERSION")),
        kind: Kind::Host,
        api: None,
        heap: HeapInfo { index: 0, bytes: total, budget_bytes: free / SHARE, budget_from: "half of the host's free memory" },
        max_object_bytes: MAX_OBJECT,
        heaps: Vec::new(),
        queues: Vec::new(),
        roles: None,
        buffer_types: u32::MAX,
        view_types: u32::MAX,
        features: Features::default(),
        sparse: Sparse::Missing { missing: "the host device has no addresses of its own".into() },
        unusable: None,
    }
}

/// Refuses what would drive the host out of memory: buffers that are not in the heap are kept there.
pub(crate) fn room_for(bytes: u64) -> Result<(), Failure> {
    let (_, free) = host_memory();
    if bytes <= free {
        return Ok(());
    }
    let (bytes, free) = size::apart(bytes, free);
    Err(Failure::TooLarge(format!("{bytes} of host memory are needed for what is not in the heap, {free} are free")))
}

/// All of the host's memory and what is free of it, for a process with its limits.
fn host_memory() -> (u64, u64) {
    let mut system = System::new();
    system.refresh_memory();
    let (total, free) = (system.total_memory(), system.available_memory());
    match system.cgroup_limits() {
        Some(limits) => (total.min(limits.total_memory), free.min(limits.free_memory)),
        None => (total, free),
    }
}

/// The open host device.
pub(crate) struct Host {
    sizes: Vec<u64>,
    objects: Vec<Vec<u8>>,
    staging: Vec<u8>,
    /// Recorded and not yet submitted: kept back, so that a forgotten submit shows here as it would on a GPU.
    recorded: Vec<Region>,
    work: Work,
    lent: Lent,
    /// Sums that nobody has asked for yet: here they are made at once.
    sums: BTreeMap<usize, u32>,
}

impl Host {
    /// Takes the memory.
    pub(crate) fn open(layout: &Layout) -> Result<Host, DeviceError> {
        let objects = layout.objects.iter().map(|&bytes| zeroed(bytes)).collect::<Result<_, _>>()?;
        Ok(Host {
            sizes: layout.objects.clone(),
            objects,
            staging: zeroed(layout.staging)?,
            recorded: Vec::new(),
            work: Work::default(),
            lent: Lent::default(),
            sums: BTreeMap::new(),
        })
    }

    fn memory(&mut self, memory: Memory) -> &mut Vec<u8> {
        match memory {
            Memory::Object(index) => &mut self.objects[index],
            Memory::Lent(object) => self.lent.bytes(object),
            // There are no views here: a copy that names one is refused before it comes to this.
            Memory::Staging | Memory::View(_) => &mut self.staging,
        }
    }

    fn copy_region(&mut self, region: Region) {
        let span = |piece: Piece| piece.start as usize..piece.end() as usize;
        if region.from.memory == region.to.memory {
            self.memory(region.to.memory).copy_within(span(region.from), region.to.start as usize);
            return;
        }
        // Two different vectors of one struct: take one out for the moment of the copy.
        let source = std::mem::take(self.memory(region.from.memory));
        self.memory(region.to.memory)[span(region.to)].copy_from_slice(&source[span(region.from)]);
        *self.memory(region.from.memory) = source;
    }
}

impl Device for Host {
    fn objects(&self) -> &[u64] {
        &self.sizes
    }

    fn staging_bytes(&self) -> u64 {
        self.staging.len() as u64
    }

    fn write_staging(&mut self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let piece = self.staging_piece(at, bytes.len())?;
        self.settle()?;
        self.staging[piece].copy_from_slice(bytes);
        Ok(())
    }

    fn read_staging(&mut self, at: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        let piece = self.staging_piece(at, into.len())?;
        self.settle()?;
        into.copy_from_slice(&self.staging[piece]);
        Ok(())
    }

    fn copy(&mut self, from: &[Piece], to: &[Piece]) -> Result<(), DeviceError> {
        let start = Instant::now();
        let regions = pieces::regions(from, to, |memory| match memory {
            Memory::Staging => Some(self.staging.len() as u64),
            Memory::Object(index) => self.sizes.get(index).copied(),
            Memory::Lent(object) => self.lent.size(object),
            Memory::View(_) => None,
        })?;
        self.work.planning += start.elapsed();
        self.work.regions += regions.len() as u64;
        self.recorded.extend(regions);
        Ok(())
    }

    fn submit(&mut self) -> Result<Ticket, DeviceError> {
        for index in 0..self.recorded.len() {
            self.copy_region(self.recorded[index]);
        }
        self.recorded.clear();
        self.work.submits += 1;
        Ok(Ticket(self.work.submits))
    }

    fn begin_sum(&mut self, pieces: &[Piece]) -> Result<Option<Sum>, DeviceError> {
        pieces::inside(pieces, |memory| match memory {
            Memory::Staging | Memory::View(_) => None,
            Memory::Object(index) => self.sizes.get(index).copied(),
            Memory::Lent(object) => self.lent.size(object),
        })?;
        self.settle()?;
        let (mut sum, mut place) = (0, 0);
        for piece in pieces {
            let memory = self.memory(piece.memory);
            sum = checksum::add(sum, place, &memory[piece.start as usize..piece.end() as usize]);
            place += piece.bytes / 4;
        }
        let number = self.sums.last_key_value().map_or(0, |(last, _)| last + 1);
        self.sums.insert(number, sum);
        Ok(Some(Sum(number)))
    }

    fn end_sum(&mut self, Sum(number): Sum) -> Result<u32, DeviceError> {
        self.sums.remove(&number).ok_or(DeviceError::OutOfBounds)
    }

    fn is_reached(&mut self, ticket: Ticket) -> Result<bool, DeviceError> {
        Ok(ticket.0 <= self.work.submits)
    }

    fn wait(&mut self, _: Ticket) -> Result<(), DeviceError> {
        Ok(())
    }

    fn work(&self) -> Work {
        self.work
    }
}

impl Host {
    fn staging_piece(&self, at: u64, bytes: usize) -> Result<std::ops::Range<usize>, DeviceError> {
        let start = usize::try_from(at).map_err(|_| DeviceError::OutOfBounds)?;
        let end = start.checked_add(bytes).ok_or(DeviceError::OutOfBounds)?;
        if end > self.staging.len() { Err(DeviceError::OutOfBounds) } else { Ok(start..end) }
    }

    fn settle(&mut self) -> Result<(), DeviceError> {
        if !self.recorded.is_empty() {
            self.submit()?;
        }
        Ok(())
    }
}

impl Peers for Host {
    fn begin(&mut self, peer: Peer, bytes: u64, _: u64) -> Result<Result<(), String>, DeviceError> {
        if peer != Peer::ObjectPerBuffer {
            return Ok(Err("it needs Vulkan, and this is the host device".into()));
        }
        self.lent = Lent::with_limit(bytes);
        Ok(Ok(()))
    }

    fn take(&mut self, bytes: u64) -> Result<Option<usize>, DeviceError> {
        self.lent.take(bytes)
    }

    fn put(&mut self, object: usize) -> Result<(), DeviceError> {
        self.lent.put(object)
    }

    fn holding(&self) -> Holding {
        self.lent.holding()
    }

    fn allocator_time(&self) -> Duration {
        self.lent.time()
    }

    fn end(&mut self) {
        self.lent = Lent::default();
    }
}

/// Memory of zeroes, or a refusal instead of an abort.
pub(crate) fn zeroed(bytes: u64) -> Result<Vec<u8>, DeviceError> {
    let bytes = usize::try_from(bytes).map_err(|_| DeviceError::OutOfHostMemory)?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_| DeviceError::OutOfHostMemory)?;
    memory.resize(bytes, 0);
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_the_host_has_not_is_refused_and_no_abort() {
        let too_much = [
            Layout { objects: vec![1 << 62], staging: 0, views: false },
            Layout { objects: vec![], staging: 1 << 62, views: false },
        ];
        for layout in too_much {
            assert_eq!(Host::open(&layout).err(), Some(DeviceError::OutOfHostMemory));
        }
        let lent = Lent::with_limit(u64::MAX).take(1 << 62);
        assert_eq!(lent, Err(DeviceError::OutOfHostMemory));
        assert!(matches!(room_for(u64::MAX), Err(Failure::TooLarge(_))));
    }
}
