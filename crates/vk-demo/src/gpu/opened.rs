//! A device that is open and of which no memory has been taken yet: now it tells all that it has to tell.

use std::rc::Rc;

use super::Gpu;
use super::logical::Logical;
use super::physical::Physical;
use super::sparse;
use crate::device::{DeviceError, DeviceInfo, Layout, Sparse};

/// An open device.
pub(crate) struct Opened {
    device: Rc<Logical>,
    physical: Physical,
}

impl Opened {
    /// Opens it, once: with all its queues, and sparse binding where it has it.
    pub(crate) fn new(mut physical: Physical) -> Result<Opened, DeviceError> {
        let device = Rc::new(Logical::open(&physical)?);
        let buffer = device.loose_buffer(1)?;
        physical.info.buffer_types = device.needs_of(buffer).memory_type_bits;
        // SAFETY: the buffer was just made from this device, and nothing has used it.
        unsafe { device.raw.destroy_buffer(buffer, None) };
        if device.binding.is_some() {
            match sparse::ability(&device, &physical) {
                Ok(ability) => {
                    (physical.info.sparse, physical.sparse) = (ability.info(), Some(ability));
                    physical.info.view_types = ability.memory_types;
                }
                Err(missing) => physical.info.sparse = Sparse::Missing { missing },
            }
        }
        physical.info.features.sparse_binding = physical.sparse.is_some();
        Ok(Opened { device, physical })
    }

    /// What it is.
    pub(crate) fn info(&self) -> &DeviceInfo {
        &self.physical.info
    }

    /// Takes the memory.
    pub(crate) fn furnish(self, layout: &Layout) -> Result<Gpu, DeviceError> {
        Gpu::new(self.device, self.physical, layout)
    }
}
