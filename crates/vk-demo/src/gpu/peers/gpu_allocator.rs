//! The crate `gpu-allocator`, with blocks of the size of those that the heap is made of.

use std::collections::HashMap;
use std::rc::Rc;

use ash::vk;
use gpu_allocator::vulkan::{Allocation, AllocationCreateDesc, AllocationScheme, AllocatorCreateDesc};
use gpu_allocator::{AllocationError, AllocationSizes, AllocatorDebugSettings, MemoryLocation};

use super::{Allocator, Placed};
use crate::device::DeviceError;
use crate::gpu::logical::Logical;
use crate::gpu::physical::Physical;

/// The allocator, and what it has handed out.
pub(super) struct GpuAllocator {
    allocator: gpu_allocator::vulkan::Allocator,
    allocations: HashMap<Placed, Allocation>,
    limit: u64,
    /// Under the allocator until it is gone.
    _device: Rc<Logical>,
}

impl GpuAllocator {
    pub(super) fn new(device: &Rc<Logical>, physical: &Physical, limit: u64, block: u64) -> Result<GpuAllocator, DeviceError> {
        let info = AllocatorCreateDesc {
            instance: physical.instance.raw.clone(),
            device: device.raw.clone(),
            physical_device: physical.raw,
            debug_settings: AllocatorDebugSettings::default(),
            buffer_device_address: false,
            // Device memory that the host sees too counts as the host's.
            allocation_sizes: AllocationSizes::new(block, block),
        };
        let allocator = gpu_allocator::vulkan::Allocator::new(&info).map_err(|error| failed(&error))?;
        Ok(GpuAllocator { allocator, allocations: HashMap::new(), limit, _device: Rc::clone(device) })
    }
}

impl Allocator for GpuAllocator {
    fn allocate(&mut self, needs: &vk::MemoryRequirements) -> Result<Option<Placed>, DeviceError> {
        let wanted = AllocationCreateDesc {
            name: "",
            requirements: *needs,
            location: MemoryLocation::GpuOnly,
            linear: true,
            allocation_scheme: AllocationScheme::GpuAllocatorManaged,
        };
        let allocation = match self.allocator.allocate(&wanted) {
            Ok(allocation) => allocation,
            Err(AllocationError::OutOfMemory) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        // It knows no limit: where its blocks are full it takes another one, which it gives back at once when that is empty.
        if self.allocator.capacity() > self.limit {
            self.allocator.free(allocation).map_err(|error| failed(&error))?;
            return Ok(None);
        }
        // SAFETY: the memory is only bound to a buffer, and given back to the allocator alone.
        let memory = unsafe { allocation.memory() };
        let placed = Placed { memory, offset: allocation.offset(), bytes: allocation.size() };
        self.allocations.insert(placed, allocation);
        Ok(Some(placed))
    }

    fn free(&mut self, placed: Placed) -> Result<(), DeviceError> {
        let allocation = self.allocations.remove(&placed).ok_or(DeviceError::OutOfBounds)?;
        self.allocator.free(allocation).map_err(|error| failed(&error))
    }

    fn held_bytes(&self) -> u64 {
        self.allocator.capacity()
    }

    fn shares(&self) -> bool {
        true
    }
}

fn failed(error: &AllocationError) -> DeviceError {
    DeviceError::Vulkan { call: "gpu-allocator", result: error.to_string() }
}
