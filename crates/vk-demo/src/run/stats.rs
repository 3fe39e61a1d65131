//! What a run did, counted.

use std::time::Duration;

use serde::Serialize;

/// Counts and times of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) did: Did,
    /// Bytes that were written, and those of them that were compared at least once before they were overwritten or given up.
    pub(super) written_bytes: u64,
    pub(super) proven_bytes: u64,
    /// Bytes that were compared with what had been written, again and again.
    pub(super) checked_bytes: u64,
    /// Words of them that were wrong.
    pub(super) wrong_words: u64,
    /// Time in the manager and the allocator under it.
    pub(super) manager: Duration,
    /// Time spent submitting copies and waiting for them.
    pub(super) device: Duration,
    /// Time spent reading back, comparing and asking for sums, and the part of it with the device.
    pub(super) checking: Duration,
    pub(super) device_checking: Duration,
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
