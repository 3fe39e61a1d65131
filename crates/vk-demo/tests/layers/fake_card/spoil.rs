//! Making mistakes of regions that have been copied.

use ash::vk;

use crate::pretend::Region;
use crate::scratch::Scratch;

/// A page: what `shift` is off by.
const PAGE: u64 = 4096;

/// A region that has been copied, and is to be spoilt.
pub(crate) struct At<'a> {
    pub(crate) device: &'a ash::Device,
    pub(crate) physical: vk::PhysicalDevice,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) region: Region,
    /// What its target held before.
    pub(crate) old: &'a [u8],
    /// Of the buffer that its target lies in.
    pub(crate) bytes: u64,
}

impl At<'_> {
    /// Gives the target what it held before, from this byte on; false if that makes no difference.
    pub(crate) fn leave(&mut self, from: u64) -> bool {
        let Region { to, copy, .. } = self.region;
        let now = self.scratch.read(self.device, self.physical, to, copy.dst_offset, copy.size);
        let from = from as usize;
        if now[from..] == self.old[from..] {
            return false;
        }
        self.scratch.write(self.device, self.physical, to, copy.dst_offset + from as u64, &self.old[from..]);
        true
    }

    pub(crate) fn shift(&mut self) -> bool {
        let Region { to, copy, .. } = self.region;
        let now = self.scratch.read(self.device, self.physical, to, copy.dst_offset, copy.size);
        if !self.leave(0) {
            return false;
        }
        let after = copy.dst_offset + PAGE;
        let target = if after + copy.size <= self.bytes { Some(after) } else { copy.dst_offset.checked_sub(PAGE) };
        if let Some(target) = target {
            self.scratch.write(self.device, self.physical, to, target, &now);
        }
        true
    }

    pub(crate) fn exchange(&mut self, next: &Region) -> bool {
        let Region { to, copy, .. } = self.region;
        if (to, copy.size) != (next.to, next.copy.size) {
            return false;
        }
        let [one, other] =
            [copy, next.copy].map(|copy| self.scratch.read(self.device, self.physical, to, copy.dst_offset, copy.size));
        self.scratch.write(self.device, self.physical, to, copy.dst_offset, &other);
        self.scratch.write(self.device, self.physical, to, next.copy.dst_offset, &one);
        one != other
    }
}
