//! What a run did, counted.

use std::time::Duration;

use serde::Serialize;

/// Counts and times of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) did: Did,
    /// Bytes that were compared with what had been written.
    pub(super) checked_bytes: u64,
    /// Words of them that were wrong.
    pub(super) wrong_words: u64,
    /// Buffers that the device itself summed.
    pub(super) device_sums: u64,
    /// Sums of the device that were not those of what had been written.
    pub(super) wrong_sums: u64,
    /// Time in the manager and the allocator under it.
    pub(super) manager: Duration,
    /// Time spent submitting copies and waiting for them.
    pub(super) device: Duration,
}

/// How often what was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Did {
    /// Operations after the buffers had been made.
    pub(super) ops: u64,
    /// Uses of a buffer that was in the heap.
    pub(super) hits: u64,
    /// Uses of a buffer that had to be brought in.
    pub(super) faults: u64,
    /// Buffers written anew.
    pub(super) writes: u64,
    /// Buffers read and compared, wherever they were.
    pub(super) reads: u64,
    /// Buffers moved to other folios of the heap.
    pub(super) moves: u64,
    /// Buffers given up and replaced by others.
    pub(super) replacements: u64,
}
