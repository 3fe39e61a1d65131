//! How long copies take by the device's own clock: a time before the first command of a submission and one behind the last.
//!
//! Only where the queue that copies has a clock, and where the host can clear what it wrote: a queue that only copies cannot.

use std::rc::Rc;
use std::time::Duration;

use ash::vk;

use super::call;
use super::logical::{Logical, Owned};
use crate::device::DeviceError;

/// What the clock of a family of queues counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ticks {
    /// Nanoseconds from one to the next.
    pub(super) nanoseconds: f32,
    /// Bits that count; the others are not zero for sure.
    pub(super) bits: u32,
}

impl Ticks {
    /// None where nothing is counted.
    pub(super) fn new(nanoseconds: f32, bits: u32) -> Option<Ticks> {
        (nanoseconds > 0.0 && (1..=64).contains(&bits)).then_some(Ticks { nanoseconds, bits })
    }

    /// The time between two counts; the counter may have begun anew in between.
    fn between(self, before: u64, after: u64) -> Duration {
        let ticks = after.wrapping_sub(before) & (u64::MAX >> (64 - self.bits));
        Duration::from_nanos((ticks as f64 * f64::from(self.nanoseconds)) as u64)
    }
}

/// Two times for each slot of the ring of command buffers.
pub(super) struct Clock {
    device: Rc<Logical>,
    pool: vk::QueryPool,
    ticks: Ticks,
    /// Whether a slot's times have been asked for and not read.
    asked: Vec<bool>,
    /// All that has been read.
    pub(super) total: Duration,
}

impl Clock {
    pub(super) fn new(device: &Rc<Logical>, ticks: Ticks, slots: u32) -> Result<Clock, DeviceError> {
        let info = vk::QueryPoolCreateInfo::default().query_type(vk::QueryType::TIMESTAMP).query_count(2 * slots);
        // SAFETY: the device lives.
        let pool = unsafe { device.raw.create_query_pool(&info, None) }.map_err(call("making a clock"))?;
        device.own(Owned::QueryPool(pool));
        Ok(Clock { device: Rc::clone(device), pool, ticks, asked: vec![false; slots as usize], total: Duration::ZERO })
    }

    /// Notes the time before what is recorded next.
    ///
    /// # Safety
    /// The command buffer of this slot has just been begun, and its last submission is done.
    pub(super) unsafe fn begin(&mut self, slot: usize, buffer: vk::CommandBuffer) {
        let first = 2 * slot as u32;
        // SAFETY: the pool has two queries for each slot, of which the device uses none now; the feature is enabled.
        unsafe { self.device.raw.reset_query_pool(self.pool, first, 2) };
        // SAFETY: the command buffer is being recorded, of a family that has a clock.
        unsafe { self.device.raw.cmd_write_timestamp(buffer, vk::PipelineStageFlags::TOP_OF_PIPE, self.pool, first) };
    }

    /// Notes the time behind what was recorded.
    ///
    /// # Safety
    /// The command buffer of this slot is being recorded, and began with `begin`.
    pub(super) unsafe fn end(&mut self, slot: usize, buffer: vk::CommandBuffer) {
        let second = 2 * slot as u32 + 1;
        // SAFETY: as in `begin`, which cleared both queries.
        unsafe { self.device.raw.cmd_write_timestamp(buffer, vk::PipelineStageFlags::BOTTOM_OF_PIPE, self.pool, second) };
        self.asked[slot] = true;
    }

    /// Reads what a slot's last submission took, once it is done.
    pub(super) fn read(&mut self, slot: usize) {
        if !std::mem::take(&mut self.asked[slot]) {
            return;
        }
        let mut times = [0u64; 2];
        // SAFETY: the pool belongs to this device and has two queries for each slot.
        let read = unsafe {
            self.device.raw.get_query_pool_results(self.pool, 2 * slot as u32, &mut times, vk::QueryResultFlags::TYPE_64)
        };
        if read.is_ok() {
            self.total += self.ticks.between(times[0], times[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn req_82_a_clock_counts_in_its_own_unit_and_begins_anew() {
        let nanoseconds = |ticks: Ticks, before, after| ticks.between(before, after).as_nanos();
        assert_eq!(nanoseconds(Ticks::new(1.0, 64).unwrap(), 5, 12), 7);
        assert_eq!(nanoseconds(Ticks::new(52.083, 36).unwrap(), 0, 1000), 52_083);
        assert_eq!(nanoseconds(Ticks::new(2.0, 36).unwrap(), (1 << 36) - 1, 4), 10);
        assert_eq!(nanoseconds(Ticks::new(1.0, 36).unwrap(), 1 << 40, (1 << 41) + 3), 3, "bits beyond those mean nothing");
        assert!(Ticks::new(1.0, 0).is_none() && Ticks::new(0.0, 64).is_none());
    }
}
