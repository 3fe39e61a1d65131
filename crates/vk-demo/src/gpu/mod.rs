//! Vulkan: the only place that names `ash` and the only place with `unsafe`.
//!
//! ```text
//! instance   the loader, found at run time, and the validation layer     messages   what the layer says, counted
//! physical   which devices there are                                     heaps, queues   and what each of them has
//! logical    the opened device and what is made from it                  opened     what only an open device tells; sparse
//! memory     one memory object per range                                 staging    the memory that both sides reach
//! views      contiguous addresses over scattered folios                  checksum   the device sums its own memory
//! peers      other allocators on the same device, for `compare`
//! commands   a ring of command buffers and the one timeline              in_flight  what of the staging memory is in use
//! clock      how long copies take by the device's own clock
//! ```
//! [`Gpu`] puts them together as a [`Device`].

mod checksum;
mod clock;
mod commands;
mod heaps;
mod in_flight;
mod instance;
mod logical;
mod memory;
mod messages;
mod opened;
mod peers;
mod physical;
mod queues;
mod sparse;
mod staging;
mod views;

use std::rc::Rc;
use std::time::Instant;

use ash::vk;

pub(crate) use instance::{Instance, NoInstance};
pub(crate) use messages::Messages;
pub(crate) use opened::Opened;
pub(crate) use physical::{Physical, enumerate};

use checksum::Summer;
use commands::Commands;
use in_flight::{Before, InFlight};
use logical::Logical;
use memory::Memories;
use peers::Lending;
use views::{Shown, Views};

use crate::device::{Bind, Device, DeviceError, Layout, Sum, Ticket, View, Work};
use crate::pieces::{self, Memory, Piece, Region};

/// The validation layer's time grows with the square of the regions in one command.
const REGIONS_UNDER_VALIDATION: usize = 512;
/// Otherwise only the size of the command buffer speaks against more.
const REGIONS: usize = 16_384;

/// An open Vulkan device.
pub(crate) struct Gpu {
    memories: Memories,
    /// Where a queue computes.
    summer: Option<Summer>,
    /// Where they were asked for.
    views: Option<Views>,
    commands: Commands,
    in_flight: InFlight,
    regions_per_command: usize,
    work: Work,
    /// Where another allocator than the pgmap is at work.
    lending: Option<Lending>,
    physical: Physical,
    /// Last, so that it is dropped after all that is made from it.
    device: Rc<Logical>,
}

/// Some drivers count the bytes of a region in 32 bits, with a sign.
const LARGEST_REGION: u64 = 1 << 30;

impl Gpu {
    /// Takes the memory of a device that has just been opened.
    fn new(device: Rc<Logical>, physical: Physical, layout: &Layout) -> Result<Gpu, DeviceError> {
        let memories = Memories::new(&device, &physical, layout)?;
        Ok(Gpu {
            summer: Summer::new(&device, &physical, &memories)?,
            memories,
            views: physical.sparse.filter(|_| layout.views).map(|ability| Views::new(&device, ability)),
            commands: Commands::new(&device)?,
            in_flight: InFlight::default(),
            regions_per_command: if physical.instance.validated { REGIONS_UNDER_VALIDATION } else { REGIONS },
            work: Work::default(),
            lending: None,
            physical,
            device,
        })
    }

    /// Waits until no copy touches a span of the staging memory.
    fn settle(&mut self, at: u64, bytes: usize) -> Result<(), DeviceError> {
        let span = self.memories.staging.span(at, bytes)?;
        match self.in_flight.before(&span) {
            Before::Nothing => Ok(()),
            Before::Wait(ticket) => self.wait(ticket),
            Before::Submit => {
                let ticket = self.submit()?;
                self.wait(ticket)
            }
        }
    }

    fn size_of(&self, memory: Memory) -> Option<u64> {
        match memory {
            Memory::Staging => Some(self.memories.staging.bytes),
            Memory::Object(index) => self.memories.sizes.get(index).copied(),
            Memory::Lent(object) => self.lending.as_ref()?.size(object),
            Memory::View(index) => self.view(index).map(|view| view.bytes),
        }
    }

    /// The buffer that one side of a region lies in, and where in it. None for an object that is not lent and a view that is not
    /// there at this moment.
    fn place(&self, side: Piece) -> Option<(vk::Buffer, u64)> {
        let buffer = match side.memory {
            Memory::Staging => return self.memories.staging.buffer(side),
            Memory::Object(index) => self.memories.objects.get(index).map(|object| object.buffer),
            Memory::Lent(object) => self.lending.as_ref()?.buffer(object),
            Memory::View(index) => self.view(index).map(|view| view.buffer),
        };
        Some((buffer?, side.start))
    }

    /// How many bytes from here on one command can name as one region.
    fn reach(&self, side: Piece) -> u64 {
        if side.memory == Memory::Staging { self.memories.staging.in_one_part(side.start) } else { LARGEST_REGION }
    }

    /// What a region is to the driver: one copy, or several where it would be too large or leave a part of the staging memory.
    fn copies(&self, mut region: Region) -> Result<Vec<Copy>, DeviceError> {
        let mut copies = Vec::new();
        loop {
            let most = self.reach(region.from).min(self.reach(region.to));
            let rest = region.split_off(most);
            let ((from, src_offset), (to, dst_offset)) =
                self.place(region.from).zip(self.place(region.to)).ok_or(DeviceError::OutOfBounds)?;
            copies.push(Copy { from, to, region: vk::BufferCopy { src_offset, dst_offset, size: region.to.bytes } });
            match rest {
                Some(rest) => region = rest,
                None => return Ok(copies),
            }
        }
    }

    fn view(&self, index: usize) -> Option<Shown> {
        self.views.as_ref()?.get(index)
    }

    fn submit_recorded(&mut self) -> Result<(), DeviceError> {
        if self.commands.is_recording() {
            self.submit()?;
        }
        Ok(())
    }

    /// What is known to be done is no longer in use.
    fn retire(&mut self) {
        let reached = self.commands.known_reached();
        self.in_flight.reached(reached);
        if let Some(views) = &mut self.views {
            views.reached(reached);
        }
    }
}

impl Device for Gpu {
    fn objects(&self) -> &[u64] {
        &self.memories.sizes
    }

    fn staging_bytes(&self) -> u64 {
        self.memories.staging.bytes
    }

    fn write_staging(&mut self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.settle(at, bytes.len())?;
        // SAFETY: `settle` has just waited for every copy that touches the span; the device is held by `self`.
        unsafe { self.memories.staging.write(&self.device, at, bytes) }
    }

    fn read_staging(&mut self, at: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.settle(at, into.len())?;
        // SAFETY: `settle` has just waited for every copy that touches the span; the device is held by `self`.
        unsafe { self.memories.staging.read(&self.device, at, into) }
    }

    fn copy(&mut self, from: &[Piece], to: &[Piece]) -> Result<(), DeviceError> {
        let start = Instant::now();
        let regions = pieces::regions(from, to, |memory| self.size_of(memory))?;
        let mut copies = Vec::with_capacity(regions.len());
        for region in &regions {
            copies.extend(self.copies(*region)?);
        }
        self.work.planning += start.elapsed();
        self.commands.order()?;
        for run in copies.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to)) {
            for part in run.chunks(self.regions_per_command) {
                let copies: Vec<vk::BufferCopy> = part.iter().map(|copy| copy.region).collect();
                // SAFETY: `pieces::regions` has checked that each region lies inside both memories and does not overlap itself.
                unsafe { self.commands.copy(run[0].from, run[0].to, &copies) }?;
            }
        }
        for side in regions.iter().flat_map(|region| [region.from, region.to]) {
            if side.memory == Memory::Staging {
                self.in_flight.record(side.start..side.end());
            }
        }
        self.work.regions += copies.len() as u64;
        Ok(())
    }

    fn submit(&mut self) -> Result<Ticket, DeviceError> {
        let ticket = self.commands.submit()?;
        self.in_flight.submit(ticket);
        self.work.submits += 1;
        Ok(ticket)
    }

    fn make_view(&mut self, bytes: u64) -> Result<Option<View>, DeviceError> {
        self.views.as_mut().map_or(Ok(None), |views| views.make(bytes))
    }

    fn drop_view(&mut self, view: View) -> Result<(), DeviceError> {
        self.submit_recorded()?;
        if let Some(views) = &mut self.views {
            views.give_up(view, self.commands.submitted());
        }
        Ok(())
    }

    fn bind(&mut self, binds: &[Bind]) -> Result<(), DeviceError> {
        let Some(views) = &self.views else { return Err(DeviceError::OutOfBounds) };
        let plan = views.plan(binds, &self.memories.objects)?;
        if plan.is_empty() {
            return Ok(());
        }
        self.submit_recorded()?;
        // SAFETY: `plan` has checked every bind, and nothing recorded is left.
        unsafe { self.commands.bind(&plan) }
    }

    fn begin_sum(&mut self, pieces: &[Piece]) -> Result<Option<Sum>, DeviceError> {
        pieces::inside(pieces, |memory| self.size_of(memory))?;
        if self.summer.is_none() {
            return Ok(None);
        }
        self.submit_recorded()?;
        self.summer.as_mut().map(|summer| summer.begin(&mut self.commands, pieces)).transpose()
    }

    fn end_sum(&mut self, sum: Sum) -> Result<u32, DeviceError> {
        let ticket = self.summer.as_ref().and_then(|summer| summer.ticket(&sum)).ok_or(DeviceError::OutOfBounds)?;
        self.wait(ticket)?;
        let summer = self.summer.as_mut().ok_or(DeviceError::OutOfBounds)?;
        // SAFETY: the dispatches were just waited for.
        unsafe { summer.end(sum) }
    }

    fn is_reached(&mut self, ticket: Ticket) -> Result<bool, DeviceError> {
        let reached = self.commands.is_reached(ticket)?;
        self.retire();
        Ok(reached)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), DeviceError> {
        self.commands.wait(ticket)?;
        self.retire();
        Ok(())
    }

    fn work(&self) -> Work {
        Work { copying: self.commands.copying(), ..self.work }
    }

    #[cfg(test)]
    fn hold(&mut self) -> Box<dyn FnOnce() + Send> {
        self.commands.hold().expect("a semaphore")
    }
}

/// One region of one command.
struct Copy {
    from: vk::Buffer,
    to: vk::Buffer,
    region: vk::BufferCopy,
}

/// For `map_err`: the error of one kind of call.
fn call(what: &'static str) -> impl Fn(vk::Result) -> DeviceError {
    move |result| error(what, result)
}

fn error(what: &'static str, result: vk::Result) -> DeviceError {
    match result {
        vk::Result::ERROR_DEVICE_LOST => DeviceError::Lost,
        vk::Result::ERROR_OUT_OF_DEVICE_MEMORY => DeviceError::OutOfDeviceMemory,
        vk::Result::ERROR_OUT_OF_HOST_MEMORY => DeviceError::OutOfHostMemory,
        other => DeviceError::Vulkan { call: what, result: format!("{other:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_and_a_full_one_have_errors_of_their_own() {
        assert_eq!(error("x", vk::Result::ERROR_DEVICE_LOST), DeviceError::Lost);
        assert_eq!(error("x", vk::Result::ERROR_OUT_OF_DEVICE_MEMORY), DeviceError::OutOfDeviceMemory);
        assert_eq!(error("x", vk::Result::ERROR_OUT_OF_HOST_MEMORY), DeviceError::OutOfHostMemory);
        let other = error("making a fence", vk::Result::ERROR_UNKNOWN);
        assert_eq!(other.to_string(), "making a fence: ERROR_UNKNOWN");
    }
}
