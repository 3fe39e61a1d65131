//! Which queue families do the work: one that copies, one that sums what the device holds, and one that binds sparse buffers; often
//! the same.

use ash::vk;

use super::instance::Instance;
use crate::device::{QueueDetails, QueueWanted, Roles};

/// The families of a device.
pub(super) struct Queues {
    families: Vec<vk::QueueFamilyProperties>,
}

use vk::QueueFlags as Q;

/// What the demo has to do with, in Vulkan's words.
const WORDS: [(Q, &str); 6] = [
    (Q::GRAPHICS, "graphics"),
    (Q::COMPUTE, "compute"),
    (Q::TRANSFER, "copy"),
    (Q::SPARSE_BINDING, "sparse-binding"),
    (Q::VIDEO_DECODE_KHR, "video-decode"),
    (Q::VIDEO_ENCODE_KHR, "video-encode"),
];

impl Queues {
    /// Asks the driver.
    pub(super) fn of(instance: &Instance, raw: vk::PhysicalDevice) -> Queues {
        // SAFETY: `raw` came from this instance, which lives.
        let families = unsafe { instance.raw.get_physical_device_queue_family_properties(raw) };
        Queues { families }
    }

    /// Who does what, with `wanted` doing the copies; none where no family copies.
    pub(super) fn roles(&self, wanted: Option<QueueWanted>) -> Result<Option<Roles>, String> {
        let copying = match wanted {
            None => self.copying(),
            Some(wanted) => Some(self.wanted(wanted)?),
        };
        Ok(copying.map(|copying| Roles { copying, summing: self.summing(copying), binding: self.binding(copying) }))
    }

    /// Whether a family does nothing but copy: a copy engine works beside the others.
    pub(super) fn is_copy_engine(&self, family: u32) -> bool {
        self.has(family, Q::TRANSFER) && !self.has(family, Q::GRAPHICS) && !self.has(family, Q::COMPUTE)
    }

    /// All of them.
    pub(super) fn details(&self) -> Vec<QueueDetails> {
        let details = |family: &vk::QueueFamilyProperties| QueueDetails {
            queues: family.queue_count,
            does: WORDS.iter().filter(|(flag, _)| family.queue_flags.contains(*flag)).map(|(_, word)| *word).collect(),
        };
        self.families.iter().map(details).collect()
    }

    /// How many bits the clock of a family counts with; 0 where it has none.
    pub(super) fn clock_bits(&self, family: u32) -> u32 {
        self.families.get(family as usize).map_or(0, |family| family.timestamp_valid_bits)
    }

    fn copying(&self) -> Option<u32> {
        let engine = self.all().find(|family| self.is_copy_engine(*family));
        engine.or_else(|| self.all().find(|family| self.copies(*family)))
    }

    fn wanted(&self, wanted: QueueWanted) -> Result<u32, String> {
        let found = match wanted {
            QueueWanted::Copy => self.all().find(|family| self.is_copy_engine(*family)),
            // One that does nothing else beside, where there is one.
            QueueWanted::Compute => self
                .all()
                .find(|family| self.computes(*family) && !self.has(*family, Q::GRAPHICS))
                .or_else(|| self.all().find(|family| self.computes(*family))),
            QueueWanted::Graphics => self.all().find(|family| self.has(*family, Q::GRAPHICS)),
            QueueWanted::Index(index) => self.all().find(|family| *family == index && self.copies(*family)),
        };
        found.ok_or_else(|| {
            let list: Vec<String> =
                self.details().iter().enumerate().map(|(index, family)| format!("{index}: {}", family.does.join(", "))).collect();
            let what = match wanted {
                QueueWanted::Copy => "no family of queues only copies".into(),
                QueueWanted::Compute => "no family of queues computes".into(),
                QueueWanted::Graphics => "no family of queues draws".into(),
                QueueWanted::Index(index) => format!("there is no family {index} that copies"),
            };
            format!("{what}; there are {}", list.join("; "))
        })
    }

    /// The family that computes: `copying`, if it can, or the first that does.
    fn summing(&self, copying: u32) -> Option<u32> {
        if self.computes(copying) { Some(copying) } else { self.all().find(|family| self.computes(*family)) }
    }

    /// The family that binds sparse buffers: `copying`, if it can, or the first that does.
    fn binding(&self, copying: u32) -> Option<u32> {
        let binds = |family: u32| self.has(family, Q::SPARSE_BINDING);
        if binds(copying) { Some(copying) } else { self.all().find(|family| binds(*family)) }
    }

    fn computes(&self, family: u32) -> bool {
        self.has(family, Q::COMPUTE)
    }

    /// A family with graphics or compute copies too, whether it says so or not.
    fn copies(&self, family: u32) -> bool {
        [Q::TRANSFER, Q::COMPUTE, Q::GRAPHICS].iter().any(|flag| self.has(family, *flag))
    }

    fn has(&self, family: u32, flag: Q) -> bool {
        self.families.get(family as usize).is_some_and(|family| family.queue_flags.contains(flag))
    }

    fn all(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.families.len() as u32
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn queues(flags: &[Q]) -> Queues {
        Queues { families: flags.iter().map(|&flags| vk::QueueFamilyProperties::default().queue_flags(flags)).collect() }
    }

    const ALL: Q = Q::from_raw(0b111);

    #[test]
    fn req_82_a_copy_engine_copies_and_others_sum_and_bind_beside_it() {
        let roles = |flags: &[Q]| queues(flags).roles(None).unwrap().map(|roles| (roles.copying, roles.summing, roles.binding));
        assert_eq!(roles(&[]), None);
        assert_eq!(roles(&[ALL, Q::TRANSFER]), Some((1, Some(0), None)));
        assert_eq!(roles(&[Q::VIDEO_DECODE_KHR, Q::COMPUTE]), Some((1, Some(1), None)));
        assert_eq!(roles(&[Q::TRANSFER]), Some((0, None, None)), "nobody computes");
        assert_eq!(roles(&[ALL | Q::SPARSE_BINDING, Q::TRANSFER]), Some((1, Some(0), Some(0))), "another one has to bind");
        assert_eq!(roles(&[ALL | Q::SPARSE_BINDING, Q::TRANSFER | Q::SPARSE_BINDING]), Some((1, Some(0), Some(1))));
        assert_eq!(roles(&[Q::VIDEO_DECODE_KHR | Q::TRANSFER, ALL]), Some((0, Some(1), None)));
    }

    #[test]
    fn req_82_the_user_may_choose_who_copies() {
        let card = queues(&[ALL, Q::TRANSFER, Q::COMPUTE | Q::TRANSFER, Q::VIDEO_DECODE_KHR]);
        let copying = |wanted| card.roles(Some(wanted)).map(|roles| roles.unwrap().copying);
        assert_eq!(copying(QueueWanted::Copy), Ok(1));
        assert_eq!(copying(QueueWanted::Compute), Ok(2));
        assert_eq!(copying(QueueWanted::Graphics), Ok(0));
        assert_eq!(copying(QueueWanted::Index(2)), Ok(2));
        for missing in [3, 4] {
            assert!(copying(QueueWanted::Index(missing)).unwrap_err().contains("there are 0: graphics, compute, copy; 1: copy"));
        }
        assert!(queues(&[ALL]).roles(Some(QueueWanted::Copy)).unwrap_err().contains("no family of queues only copies"));
    }
}
