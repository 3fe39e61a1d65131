//! Which queue families do the work: one that copies, and one that binds sparse buffers, often the same.

use ash::vk;

use super::instance::Instance;

/// The families of a device.
pub(super) struct Queues {
    families: Vec<vk::QueueFamilyProperties>,
}

impl Queues {
    /// Asks the driver.
    pub(super) fn of(instance: &Instance, raw: vk::PhysicalDevice) -> Queues {
        // SAFETY: `raw` came from this instance, which lives.
        let families = unsafe { instance.raw.get_physical_device_queue_family_properties(raw) };
        Queues { families }
    }

    /// The family to copy on, and whether it does nothing else: a copy engine works beside the others.
    pub(super) fn copying(&self) -> Option<(u32, bool)> {
        use vk::QueueFlags as Q;
        let dedicated = self.first(|flags| flags.contains(Q::TRANSFER) && !flags.intersects(Q::GRAPHICS | Q::COMPUTE));
        // A family with graphics or compute copies too, whether it says so or not.
        let any = self.first(|flags| flags.intersects(Q::TRANSFER | Q::COMPUTE | Q::GRAPHICS));
        dedicated.map(|family| (family, true)).or(any.map(|family| (family, false)))
    }

    /// Whether a family computes.
    pub(super) fn computes(&self, family: u32) -> bool {
        self.has(family, vk::QueueFlags::COMPUTE)
    }

    /// A family that binds sparse buffers: `copying`, if it can.
    pub(super) fn binding(&self, copying: u32) -> Option<u32> {
        let same = self.has(copying, vk::QueueFlags::SPARSE_BINDING).then_some(copying);
        same.or_else(|| self.first(|flags| flags.contains(vk::QueueFlags::SPARSE_BINDING)))
    }

    fn has(&self, family: u32, flag: vk::QueueFlags) -> bool {
        self.families.get(family as usize).is_some_and(|family| family.queue_flags.contains(flag))
    }

    fn first(&self, wanted: impl Fn(vk::QueueFlags) -> bool) -> Option<u32> {
        (0..).zip(&self.families).find(|(_, family)| wanted(family.queue_flags)).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_engine_copies_and_whoever_can_binds() {
        use vk::QueueFlags as Q;
        let queues = |flags: &[Q]| Queues {
            families: flags.iter().map(|&flags| vk::QueueFamilyProperties::default().queue_flags(flags)).collect(),
        };
        let all = Q::GRAPHICS | Q::COMPUTE | Q::TRANSFER;
        assert_eq!(queues(&[]).copying(), None);
        assert_eq!(queues(&[all, Q::TRANSFER]).copying(), Some((1, true)));
        assert_eq!(queues(&[Q::VIDEO_DECODE_KHR, Q::COMPUTE]).copying(), Some((1, false)));
        assert_eq!(queues(&[all | Q::SPARSE_BINDING, Q::TRANSFER]).binding(1), Some(0), "another one has to");
        assert_eq!(queues(&[all | Q::SPARSE_BINDING, Q::TRANSFER | Q::SPARSE_BINDING]).binding(1), Some(1));
        assert_eq!(queues(&[all, Q::TRANSFER]).binding(1), None);
    }
}
