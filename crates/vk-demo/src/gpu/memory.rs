//! Memory: one `VkDeviceMemory` with one whole `VkBuffer` for each range of the pgmap, and one for staging.

use std::ops::Range;

use ash::vk;

use super::call;
use super::logical::Logical;
use super::physical::Physical;
use crate::device::{DeviceError, Layout};

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
    /// Takes all of it, device-local for the objects.
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
    // SAFETY: the buffer was just made from this device.
    let needs = unsafe { device.raw.get_buffer_memory_requirements(buffer) };
    let memory_type = object_type(physical, needs.memory_type_bits & suits)?;
    let memory = device.memory_for(buffer, needs.size, memory_type, true)?;
    Ok(Object { buffer, memory, bytes })
}

/// The type of memory that objects are of: one of those in `allowed`.
pub(super) fn object_type(physical: &Physical, allowed: u32) -> Result<u32, DeviceError> {
    let chosen = best_type(&physical.memory, allowed, |memory_type| {
        use vk::MemoryPropertyFlags as Flags;
        let flags = memory_type.property_flags;
        let ours = memory_type.heap_index == physical.heap && flags.contains(Flags::DEVICE_LOCAL);
        // Memory that the host sees through a window is scarce on some cards: leave it to others.
        ours.then_some(u32::from(!flags.contains(Flags::HOST_VISIBLE)))
    });
    chosen.ok_or(DeviceError::OutOfDeviceMemory)
}

/// The type with the highest score among those allowed; a type without a score is not taken.
fn best_type(
    memory: &vk::PhysicalDeviceMemoryProperties,
    allowed: u32,
    score: impl Fn(&vk::MemoryType) -> Option<u32>,
) -> Option<u32> {
    let scored = |index: u32| Some((score(&memory.memory_types[index as usize])?, index));
    let allowed = (0..memory.memory_type_count).filter(|index| allowed & (1 << index) != 0);
    // The first of equals: drivers list the better type first.
    allowed.filter_map(scored).max_by_key(|&(score, index)| (score, u32::MAX - index)).map(|(_, index)| index)
}

/// Memory that both sides reach, mapped for good.
pub(super) struct Staging {
    pub(super) buffer: vk::Buffer,
    pub(super) bytes: u64,
    mapped: *mut u8,
}

impl Staging {
    /// Takes and maps it.
    pub(super) fn new(device: &Logical, physical: &Physical, bytes: u64) -> Result<Staging, DeviceError> {
        let buffer = device.buffer(bytes)?;
        // SAFETY: the buffer was just made from this device.
        let needs = unsafe { device.raw.get_buffer_memory_requirements(buffer) };
        let chosen = best_type(&physical.memory, needs.memory_type_bits, |memory_type| {
            use vk::MemoryPropertyFlags as Flags;
            let flags = memory_type.property_flags;
            // Cached, because the host reads it as often as it writes; and not out of the heap under test.
            let good = [flags.contains(Flags::HOST_CACHED), !flags.contains(Flags::DEVICE_LOCAL)];
            let score = u32::from(good[0]) * 2 + u32::from(good[1]);
            flags.contains(Flags::HOST_VISIBLE | Flags::HOST_COHERENT).then_some(score)
        });
        let memory_type = chosen.ok_or(DeviceError::OutOfHostMemory)?;
        let memory = device.memory_for(buffer, needs.size, memory_type, false)?;
        // SAFETY: the type is host-visible, and this memory is mapped only here.
        let mapped = unsafe { device.raw.map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty()) }
            .map_err(call("mapping the staging memory"))?;
        Ok(Staging { buffer, bytes, mapped: mapped.cast() })
    }

    /// Whether `bytes` bytes at `at` lie inside.
    pub(super) fn span(&self, at: u64, bytes: usize) -> Result<Range<u64>, DeviceError> {
        let end = at.checked_add(bytes as u64).ok_or(DeviceError::OutOfBounds)?;
        if end > self.bytes { Err(DeviceError::OutOfBounds) } else { Ok(at..end) }
    }

    /// Copies `bytes` in.
    ///
    /// # Safety
    /// No copy of the device that is under way touches this span, and the device still lives.
    pub(super) unsafe fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let span = self.span(at, bytes.len())?;
        // SAFETY: the span was checked to lie inside the mapping.
        let to = unsafe { self.mapped.add(span.start as usize) };
        // SAFETY: both sides are `bytes.len()` long and cannot overlap, as the mapping is the driver's; the caller says that
        // the device is not in it.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies bytes out.
    ///
    /// # Safety
    /// No copy of the device that is under way writes this span, and the device still lives.
    pub(super) unsafe fn read(&self, at: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        let span = self.span(at, into.len())?;
        // SAFETY: the span was checked to lie inside the mapping.
        let from = unsafe { self.mapped.add(span.start as usize) };
        // SAFETY: both sides are `into.len()` long and cannot overlap, as the mapping is the driver's; its memory is always
        // initialised as far as Rust is concerned, being shared with a device; the caller says that the device is not in it.
        unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
        Ok(())
    }
}
