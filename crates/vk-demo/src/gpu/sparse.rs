//! Sparse binding: whether a device has all that views need, and what its granule is.

use ash::vk;

use super::instance::Instance;
use super::logical::Logical;
use super::physical::Physical;
use crate::device::{DeviceError, Sparse};
use crate::memory_types::{Need, choose};

/// What views need to know of a device that has sparse binding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ability {
    /// Buffers are bound in multiples of this.
    pub(super) granule: u64,
    /// The types of memory that may be bound.
    pub(super) memory_types: u32,
    /// All sparse buffers together take at most as many addresses.
    pub(super) address_bytes: u64,
}

impl Ability {
    /// For everyone to read.
    pub(super) fn info(&self) -> Sparse {
        Sparse::Granule { granule_bytes: self.granule, address_bytes: self.address_bytes }
    }
}

/// The first thing that is missing, if anything is.
pub(super) fn missing(instance: &Instance, raw: vk::PhysicalDevice, binding: Option<u32>) -> Option<&'static str> {
    // SAFETY: `raw` came from this instance, which lives.
    let features = unsafe { instance.raw.get_physical_device_features(raw) };
    let needed = [
        (features.sparse_binding == vk::TRUE, "no feature sparseBinding"),
        (features.sparse_residency_buffer == vk::TRUE, "no feature sparseResidencyBuffer"),
        // A folio is seen through its memory object and, at the same time, through the view of its buffer object.
        (features.sparse_residency_aliased == vk::TRUE, "no feature sparseResidencyAliased"),
        (binding.is_some(), "no queue with SPARSE_BINDING"),
    ];
    needed.iter().find(|(there, _)| !there).map(|(_, name)| *name)
}

/// Asks an open device, whose features are on: the granule is told of buffers, not of devices.
pub(super) fn ability(device: &Logical, physical: &Physical) -> Result<Ability, String> {
    let wrong = |error: DeviceError| format!("asking for the granule: {error}");
    let buffer = device.loose_sparse_buffer(1).map_err(wrong)?;
    let needs = device.needs_of(buffer);
    // SAFETY: the buffer was just made from this device, and nothing has used it.
    unsafe { device.raw.destroy_buffer(buffer, None) };
    if !needs.alignment.is_power_of_two() {
        return Err(format!("the granule of {} bytes is no power of two", needs.alignment));
    }
    let (info, memory_types) = (&physical.info, needs.memory_type_bits);
    let both = memory_types & info.buffer_types;
    if choose(&info.heaps, both, Need::Folios { heap: info.heap.index }, 1).is_none() {
        return Err("no type of memory in the heap suits buffers with and without it".into());
    }
    Ok(Ability { granule: needs.alignment, memory_types, address_bytes: physical.limits.sparse_address_space_size })
}
