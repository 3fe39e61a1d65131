//! Memory objects: one `VkDeviceMemory` with one whole `VkBuffer` for each range of the pgmap; and the staging memory beside them.

use ash::vk;

use super::logical::Logical;
use super::physical::Physical;
use super::staging::Staging;
use crate::device::{DeviceError, Layout};
use crate::memory_types::{Need, choose};

/// The memory objects and the staging memory.
pub(super) struct Memories {
    pub(super) sizes: Vec<u64>,
    pub(super) objects: Vec<Object>,
    pub(super) staging: Staging,
}

/// One memory object, seen through a buffer over all of it.
pub(super) struct Object {
    pub(super) buffer: vk::Buffer,
    pub(super) memory: vk::DeviceMemory,
    pub(super) bytes: u64,
}

impl Memories {
    /// Takes all of it.
    pub(super) fn new(device: &Logical, physical: &Physical, layout: &Layout) -> Result<Memories, DeviceError> {
        // Views are of the same memory.
        let suits = if layout.views { physical.sparse.map_or(u32::MAX, |ability| ability.memory_types) } else { u32::MAX };
        let mut objects = Vec::with_capacity(layout.objects.len());
        for &bytes in &layout.objects {
            objects.push(object(device, physical, bytes, suits)?);
        }
        let staging = Staging::new(device, physical, layout.staging)?;
        Ok(Memories { sizes: layout.objects.clone(), objects, staging })
    }
}

fn object(device: &Logical, physical: &Physical, bytes: u64, suits: u32) -> Result<Object, DeviceError> {
    let buffer = device.buffer(bytes)?;
    let needs = device.needs_of(buffer);
    let memory_type = object_type(physical, needs.memory_type_bits & suits, needs.size)?;
    let memory = device.memory_for(buffer, needs.size, memory_type, true)?;
    Ok(Object { buffer, memory, bytes })
}

/// The type of memory that objects of so many bytes are of: one of those in `allowed`.
pub(super) fn object_type(physical: &Physical, allowed: u32, bytes: u64) -> Result<u32, DeviceError> {
    let need = Need::Folios { heap: physical.info.heap.index };
    choose(&physical.info.heaps, allowed, need, bytes).map(|chosen| chosen.index).ok_or(DeviceError::OutOfDeviceMemory)
}
