//! No allocator: `vkAllocateMemory` for each object.

use std::rc::Rc;

use ash::vk;

use super::{Allocator, Placed};
use crate::device::DeviceError;
use crate::gpu::call;
use crate::gpu::logical::Logical;
use crate::gpu::memory::object_type;
use crate::gpu::physical::Physical;

/// Memory objects, one for each buffer.
pub(super) struct Own {
    device: Rc<Logical>,
    physical: Physical,
    limit: u64,
    held: u64,
}

impl Own {
    pub(super) fn new(device: &Rc<Logical>, physical: &Physical, limit: u64) -> Own {
        Own { device: Rc::clone(device), physical: physical.clone(), limit, held: 0 }
    }
}

impl Allocator for Own {
    fn allocate(&mut self, needs: &vk::MemoryRequirements) -> Result<Option<Placed>, DeviceError> {
        if self.held + needs.size > self.limit {
            return Ok(None);
        }
        let memory_type = object_type(&self.physical, needs.memory_type_bits, needs.size)?;
        let info = vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(memory_type);
        // SAFETY: the type is one of this device's, and allowed for the buffer; a size beyond its limits is refused.
        match unsafe { self.device.raw.allocate_memory(&info, None) } {
            Ok(memory) => {
                self.held += needs.size;
                Ok(Some(Placed { memory, offset: 0, bytes: needs.size }))
            }
            // There may be only so many objects.
            Err(vk::Result::ERROR_TOO_MANY_OBJECTS | vk::Result::ERROR_OUT_OF_DEVICE_MEMORY) => Ok(None),
            Err(result) => Err(call("taking device memory")(result)),
        }
    }

    fn free(&mut self, placed: Placed) -> Result<(), DeviceError> {
        // SAFETY: allocated above, given back once, and its buffer is gone.
        unsafe { self.device.raw.free_memory(placed.memory, None) };
        self.held -= placed.bytes;
        Ok(())
    }

    fn held_bytes(&self) -> u64 {
        self.held
    }

    fn shares(&self) -> bool {
        false
    }
}
