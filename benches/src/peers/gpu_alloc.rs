//! `gpu-alloc`: the buddy inside a Vulkan-shaped allocator, driven through a device that only counts; unsynchronised.

use std::borrow::Cow;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use gpu_alloc::{Config, GpuAllocator, MemoryBlock, Request, UsageFlags};
use gpu_alloc_types::{
    AllocationFlags, DeviceMapError, DeviceProperties, MappedMemoryRange, MemoryDevice, MemoryHeap, MemoryPropertyFlags,
    MemoryType, OutOfMemory,
};

use crate::peer::{Hand, Peer};

/// One memory object as large as the pool, one byte to the page.
pub struct GpuAlloc {
    allocator: GpuAllocator<()>,
    device: Device,
}

impl Peer for GpuAlloc {
    const NAME: &'static str = "gpu-alloc buddy";
    type Hand<'a> = &'a mut Self;

    fn build(pages: u64) -> Option<Self> {
        // Its memory objects are powers of two.
        if !pages.is_power_of_two() {
            return None;
        }
        // It serves whatever is larger than a 32nd of the heap by a memory object of its own; a heap said to be 64 times as
        // large keeps every order in the buddy. The device still grants only one object of the pool's size.
        let heap = pages.checked_mul(64)?;
        let config = Config {
            dedicated_threshold: heap,
            preferred_dedicated_threshold: heap,
            transient_dedicated_threshold: heap,
            starting_free_list_chunk: pages,
            final_free_list_chunk: pages,
            minimal_buddy_size: 1,
            initial_buddy_dedicated_size: pages,
        };
        let properties = DeviceProperties {
            memory_types: Cow::Owned(vec![MemoryType { heap: 0, props: MemoryPropertyFlags::DEVICE_LOCAL }]),
            memory_heaps: Cow::Owned(vec![MemoryHeap { size: heap }]),
            max_memory_allocation_count: 1,
            max_memory_allocation_size: heap,
            non_coherent_atom_size: 1,
            buffer_device_address: false,
        };
        Some(GpuAlloc { allocator: GpuAllocator::new(config, properties), device: Device { pages } })
    }

    fn hand(&mut self) -> &mut Self {
        self
    }
}

impl Hand for GpuAlloc {
    // It complains about each block that goes without being freed; a bench may end with a full pool.
    type Block = ManuallyDrop<MemoryBlock<()>>;

    fn alloc(&mut self, order: u32) -> Option<Self::Block> {
        let pages = 1 << order;
        let request = Request { size: pages, align_mask: pages - 1, usage: UsageFlags::FAST_DEVICE_ACCESS, memory_types: 1 };
        // SAFETY: the allocator was made with this device's properties and has never seen another device.
        unsafe { self.allocator.alloc(&self.device, request) }.ok().map(ManuallyDrop::new)
    }

    fn free(&mut self, block: Self::Block, _order: u32) {
        // SAFETY: the harness hands a block back to the peer that made it, once: blocks are moved, not copied.
        unsafe { self.allocator.dealloc(&self.device, ManuallyDrop::into_inner(block)) }
    }

    fn page(block: &Self::Block) -> u64 {
        block.offset()
    }
}

/// Grants memory objects as large as the pool and nothing else.
struct Device {
    pages: u64,
}

impl MemoryDevice<()> for Device {
    unsafe fn allocate_memory(&self, size: u64, _memory_type: u32, _flags: AllocationFlags) -> Result<(), OutOfMemory> {
        if size == self.pages { Ok(()) } else { Err(OutOfMemory::OutOfDeviceMemory) }
    }

    unsafe fn deallocate_memory(&self, (): ()) {}

    unsafe fn map_memory(&self, (): &mut (), _offset: u64, _size: u64) -> Result<NonNull<u8>, DeviceMapError> {
        Err(DeviceMapError::MapFailed)
    }

    unsafe fn unmap_memory(&self, (): &mut ()) {}

    unsafe fn invalidate_memory_ranges(&self, _ranges: &[MappedMemoryRange<'_, ()>]) -> Result<(), OutOfMemory> {
        Ok(())
    }

    unsafe fn flush_memory_ranges(&self, _ranges: &[MappedMemoryRange<'_, ()>]) -> Result<(), OutOfMemory> {
        Ok(())
    }
}
