//! Other allocators on the same device: each object has a buffer of its own, and memory for it from one of them.

mod gpu_allocator;
mod own;
#[cfg(feature = "vma")]
mod vma;

use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ash::vk;

use super::logical::Logical;
use super::memory::object_type;
use super::physical::Physical;
use super::{Gpu, call};
use crate::device::DeviceError;
use crate::peers::{Holding, Peer, Peers};

/// Hands out memory for buffers.
trait Allocator {
    /// Memory for one buffer; none where it refuses, or would take more from the device than it may.
    fn allocate(&mut self, needs: &vk::MemoryRequirements) -> Result<Option<Placed>, DeviceError>;

    /// Takes it back; nothing uses it any more.
    fn free(&mut self, placed: Placed) -> Result<(), DeviceError>;

    /// Taken from the device.
    fn held_bytes(&self) -> u64;

    /// Whether objects share blocks.
    fn shares(&self) -> bool;
}

/// Where an object's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Placed {
    memory: vk::DeviceMemory,
    offset: u64,
    bytes: u64,
}

/// An allocator at work, and what it has made room for.
pub(super) struct Lending {
    device: Rc<Logical>,
    physical: Physical,
    /// None only while it is dropped.
    allocator: Option<Box<dyn Allocator>>,
    /// Bytes of each block that objects share, where they do.
    block: u64,
    /// By number; none where a number is free.
    objects: Vec<Option<Object>>,
    time: Duration,
}

struct Object {
    buffer: vk::Buffer,
    bytes: u64,
    placed: Placed,
}

impl Lending {
    fn new(
        device: Rc<Logical>,
        physical: &Physical,
        peer: Peer,
        (limit, block): (u64, u64),
    ) -> Result<Result<Lending, String>, DeviceError> {
        let allocator: Box<dyn Allocator> = match peer {
            Peer::ObjectPerBuffer => Box::new(own::Own::new(&device, physical, limit)),
            Peer::GpuAllocator => Box::new(gpu_allocator::GpuAllocator::new(&device, physical, limit, block)?),
            #[cfg(feature = "vma")]
            Peer::Vma => Box::new(vma::Vma::new(&device, physical, limit, block)?),
            #[cfg(not(feature = "vma"))]
            Peer::Vma => return Ok(Err("this program was built without its feature `vma`".into())),
        };
        let physical = physical.clone();
        Ok(Ok(Lending { device, physical, allocator: Some(allocator), block, objects: Vec::new(), time: Duration::ZERO }))
    }

    /// Bytes of an object.
    pub(super) fn size(&self, object: usize) -> Option<u64> {
        self.objects.get(object)?.as_ref().map(|object| object.bytes)
    }

    /// The buffer that an object is.
    pub(super) fn buffer(&self, object: usize) -> Option<vk::Buffer> {
        self.objects.get(object)?.as_ref().map(|object| object.buffer)
    }

    fn take(&mut self, bytes: u64) -> Result<Option<usize>, DeviceError> {
        let buffer = self.device.loose_buffer(bytes)?;
        match self.memory_for(buffer) {
            Ok(Some(placed)) => {
                let free = self.objects.iter().position(Option::is_none).unwrap_or(self.objects.len());
                if free == self.objects.len() {
                    self.objects.push(None);
                }
                self.objects[free] = Some(Object { buffer, bytes, placed });
                Ok(Some(free))
            }
            refused => {
                // SAFETY: the buffer was just made from this device, and nothing has been recorded with it.
                unsafe { self.device.raw.destroy_buffer(buffer, None) };
                refused.map(|_| None)
            }
        }
    }

    fn memory_for(&mut self, buffer: vk::Buffer) -> Result<Option<Placed>, DeviceError> {
        let mut needs = self.device.needs_of(buffer);
        // Everyone has the type of memory that folios are of; left alone, some would take one of a feature that is off.
        needs.memory_type_bits = 1 << object_type(&self.physical, needs.memory_type_bits, needs.size)?;
        let Some(placed) = self.timed(|allocator| allocator.allocate(&needs))? else { return Ok(None) };
        // SAFETY: the buffer has no memory yet; the allocator was asked for the size, alignment and types that it needs.
        let bound = unsafe { self.device.raw.bind_buffer_memory(buffer, placed.memory, placed.offset) };
        if let Err(result) = bound {
            self.timed(|allocator| allocator.free(placed))?;
            return Err(call("binding a buffer")(result));
        }
        Ok(Some(placed))
    }

    fn put(&mut self, object: usize) -> Result<(), DeviceError> {
        let Object { buffer, placed, .. } = self.objects.get_mut(object).and_then(Option::take).ok_or(DeviceError::OutOfBounds)?;
        // SAFETY: the caller says that every copy that touches it is done; it goes before its memory.
        unsafe { self.device.raw.destroy_buffer(buffer, None) };
        self.timed(|allocator| allocator.free(placed))
    }

    fn holding(&self) -> Holding {
        let Some(allocator) = &self.allocator else { return Holding::default() };
        let objects = || self.objects.iter().flatten().map(|object| object.placed);
        let mut blocks: Vec<vk::DeviceMemory> = objects().map(|placed| placed.memory).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let span = |placed: Placed| {
            let before = blocks.partition_point(|memory| *memory < placed.memory) as u64 * self.block;
            before + placed.offset..before + placed.offset + placed.bytes
        };
        let spans: Vec<Range<u64>> = objects().map(span).collect();
        Holding {
            held_bytes: allocator.held_bytes(),
            placed_bytes: spans.iter().map(|span| span.end - span.start).sum(),
            spans: allocator.shares().then_some(spans),
        }
    }

    fn timed<T>(&mut self, work: impl FnOnce(&mut dyn Allocator) -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        let allocator = self.allocator.as_deref_mut().ok_or(DeviceError::OutOfBounds)?;
        let start = Instant::now();
        let done = work(allocator);
        self.time += start.elapsed();
        done
    }
}

impl Drop for Lending {
    fn drop(&mut self) {
        if !self.device.is_at_rest() {
            // Nothing may be destroyed under a device that may still use it: it stays for ever.
            std::mem::forget(self.allocator.take());
            return;
        }
        for object in 0..self.objects.len() {
            // A number that is free has nothing to give back, and an error of the allocator leaves nothing else to be done.
            let _ = self.put(object);
        }
    }
}

impl Peers for Gpu {
    fn begin(&mut self, peer: Peer, bytes: u64, block: u64) -> Result<Result<(), String>, DeviceError> {
        self.end();
        let begun = Lending::new(Rc::clone(&self.device), &self.physical, peer, (bytes, block))?;
        Ok(begun.map(|lending| self.lending = Some(lending)))
    }

    fn take(&mut self, bytes: u64) -> Result<Option<usize>, DeviceError> {
        self.lending.as_mut().ok_or(DeviceError::OutOfBounds)?.take(bytes)
    }

    fn put(&mut self, object: usize) -> Result<(), DeviceError> {
        self.lending.as_mut().ok_or(DeviceError::OutOfBounds)?.put(object)
    }

    fn holding(&self) -> Holding {
        self.lending.as_ref().map(Lending::holding).unwrap_or_default()
    }

    fn allocator_time(&self) -> Duration {
        self.lending.as_ref().map_or(Duration::ZERO, |lending| lending.time)
    }

    fn end(&mut self) {
        self.lending = None;
    }
}
