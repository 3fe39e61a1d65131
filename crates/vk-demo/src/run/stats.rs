//! What a run did, counted.

use std::time::Duration;

use serde::Serialize;

/// Counts and times of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) did: Did,
    pub(super) moved: Moved,
    /// Bytes that came back from the heap and were compared.
    pub(super) checked_bytes: u64,
    /// Words of them that were wrong.
    pub(super) wrong_words: u64,
    /// Folios put into service, by order.
    pub(super) folios: Vec<u64>,
    /// Time in the allocator.
    pub(super) allocator: Duration,
    /// Time spent submitting copies and waiting for them.
    pub(super) device: Duration,
}

/// How often what was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Did {
    /// Uses of a buffer that was in the heap.
    pub(super) hits: u64,
    /// Uses of a buffer that had to be brought in.
    pub(super) faults: u64,
    /// Buffers moved out to make room.
    pub(super) evictions: u64,
    /// Buffers written anew.
    pub(super) writes: u64,
    /// Buffers read back while in the heap.
    pub(super) reads: u64,
    /// Buffers moved to other folios of the heap.
    pub(super) moves: u64,
    /// Buffers given up and replaced by others.
    pub(super) replacements: u64,
}

/// Bytes copied, by direction.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Moved {
    /// Host to device.
    pub(super) to_device_bytes: u64,
    /// Device to host.
    pub(super) to_host_bytes: u64,
    /// From one place of the heap to another.
    pub(super) within_device_bytes: u64,
}

impl Moved {
    /// In all directions together.
    pub(super) fn total(self) -> u64 {
        self.to_device_bytes + self.to_host_bytes + self.within_device_bytes
    }
}
