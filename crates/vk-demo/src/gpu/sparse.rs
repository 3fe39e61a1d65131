//! Sparse binding: whether a device has all that views need, and what its granule is.

use ash::vk;

use super::logical::Logical;
use super::physical::Physical;
use super::queues::Queues;
use crate::device::{DeviceError, Sparse};

/// What views need to know of a device that has sparse binding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ability {
    /// The family whose queue binds.
    pub(super) queue_family: u32,
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

/// Looks for all that is needed, and opens the device for a moment: the granule is told of buffers, not of devices.
pub(super) fn ability(physical: &Physical) -> Result<Ability, String> {
    let queue_family = needs(physical)?;
    let wrong = |error: DeviceError| format!("asking for the granule: {error}");
    let device = Logical::open(physical, Some(queue_family)).map_err(wrong)?;
    let buffer = device.loose_sparse_buffer(1).map_err(wrong)?;
    // SAFETY: the buffer was just made from this device.
    let needs = unsafe { device.raw.get_buffer_memory_requirements(buffer) };
    // SAFETY: as above, and nothing has used it.
    unsafe { device.raw.destroy_buffer(buffer, None) };
    if !needs.alignment.is_power_of_two() {
        return Err(format!("the granule of {} bytes is no power of two", needs.alignment));
    }
    let address_bytes = physical.limits().sparse_address_space_size;
    Ok(Ability { queue_family, granule: needs.alignment, memory_types: needs.memory_type_bits, address_bytes })
}

/// The family of the queue that binds, or the first thing that is missing.
fn needs(physical: &Physical) -> Result<u32, String> {
    // SAFETY: `raw` came from this instance, which lives.
    let features = unsafe { physical.instance.raw.get_physical_device_features(physical.raw) };
    let needed = [
        (features.sparse_binding, "sparseBinding"),
        (features.sparse_residency_buffer, "sparseResidencyBuffer"),
        // A folio is seen through its memory object and, at the same time, through the view of its buffer object.
        (features.sparse_residency_aliased, "sparseResidencyAliased"),
    ];
    if let Some((_, name)) = needed.iter().find(|(there, _)| *there == vk::FALSE) {
        return Err(format!("no feature {name}"));
    }
    let queues = Queues::of(&physical.instance, physical.raw);
    queues.binding(physical.queue_family).ok_or_else(|| "no queue with SPARSE_BINDING".into())
}
