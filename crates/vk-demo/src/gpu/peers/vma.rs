//! AMD's Vulkan Memory Allocator through `vk-mem`: a pool of blocks of the size of those that the heap is made of.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ash::vk;
use vk_mem::{Alloc, Allocation, AllocationCreateInfo, AllocatorCreateFlags, AllocatorCreateInfo, AllocatorPool, PoolCreateInfo};

use super::{Allocator, Placed};
use crate::device::DeviceError;
use crate::gpu::call;
use crate::gpu::logical::Logical;
use crate::gpu::memory::object_type;
use crate::gpu::physical::Physical;

/// The allocator, its pool once there is one, and what it has handed out.
pub(super) struct Vma {
    /// Before the allocator that it is of; which types it may be of is known when the first object comes.
    pool: Option<AllocatorPool>,
    allocations: HashMap<Placed, Allocation>,
    allocator: Arc<vk_mem::Allocator>,
    physical: Physical,
    limit: u64,
    block: u64,
    /// Under the allocator until it is gone.
    _device: Rc<Logical>,
}

impl Vma {
    pub(super) fn new(device: &Rc<Logical>, physical: &Physical, limit: u64, block: u64) -> Result<Vma, DeviceError> {
        let mut info = AllocatorCreateInfo::new(&physical.instance.raw, &device.raw, physical.raw);
        // One thread is all there is: it need not take its mutex.
        info.flags = AllocatorCreateFlags::EXTERNALLY_SYNCHRONIZED;
        // SAFETY: instance, device and physical device outlive the allocator, which keeps the device alive beside it.
        let allocator = unsafe { vk_mem::Allocator::new(info) }.map_err(call("making the VMA allocator"))?;
        let (allocator, physical) = (Arc::new(allocator), physical.clone());
        Ok(Vma { pool: None, allocations: HashMap::new(), allocator, physical, limit, block, _device: Rc::clone(device) })
    }

    fn pool_for(&mut self, allowed: u32) -> Result<&AllocatorPool, DeviceError> {
        let pool = match self.pool.take() {
            Some(pool) => pool,
            None => {
                let info = PoolCreateInfo {
                    memory_type_index: object_type(&self.physical, allowed, self.block)?,
                    block_size: self.block,
                    max_block_count: (self.limit / self.block) as usize,
                    ..PoolCreateInfo::default()
                };
                self.allocator.create_pool(&info).map_err(call("making the VMA pool"))?
            }
        };
        Ok(self.pool.insert(pool))
    }
}

impl Allocator for Vma {
    fn allocate(&mut self, needs: &vk::MemoryRequirements) -> Result<Option<Placed>, DeviceError> {
        let pool = self.pool_for(needs.memory_type_bits)?;
        // SAFETY: the pool's type is one of those that the buffer may have.
        let allocation = match unsafe { pool.allocate_memory(needs, &AllocationCreateInfo::default()) } {
            Ok(allocation) => allocation,
            Err(vk::Result::ERROR_OUT_OF_DEVICE_MEMORY) => return Ok(None),
            Err(result) => return Err(call("VMA")(result)),
        };
        let info = self.allocator.get_allocation_info(&allocation);
        let placed = Placed { memory: info.device_memory, offset: info.offset, bytes: info.size };
        self.allocations.insert(placed, allocation);
        Ok(Some(placed))
    }

    fn free(&mut self, placed: Placed) -> Result<(), DeviceError> {
        let mut allocation = self.allocations.remove(&placed).ok_or(DeviceError::OutOfBounds)?;
        // SAFETY: handed out above, given back once, and its buffer is gone.
        unsafe { self.allocator.free_memory(&mut allocation) };
        Ok(())
    }

    fn held_bytes(&self) -> u64 {
        let statistics = self.pool.as_ref().map(AllocatorPool::get_statistics);
        statistics.and_then(Result::ok).map_or(0, |statistics| statistics.blockBytes)
    }

    fn shares(&self) -> bool {
        true
    }
}
