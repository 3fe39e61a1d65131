//! Other allocators that can manage a device's memory: what `compare` sets beside the pgmap.

use std::ops::Range;
use std::time::Duration;

use crate::device::DeviceError;

/// Which allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// None: a memory object of its own for each buffer.
    ObjectPerBuffer,
    /// The crate of this name.
    GpuAllocator,
    /// AMD's Vulkan Memory Allocator, through `vk-mem`.
    Vma,
}

/// A device on which one peer at a time may manage memory.
///
/// The objects that it has made room for are [`Memory::Lent`](crate::pieces::Memory::Lent). Copies find them like any other memory.
pub(crate) trait Peers {
    /// Begins with a peer, which may take so many bytes from the device, in blocks of so many if its objects share any; says in words
    /// why it cannot be had here.
    fn begin(&mut self, peer: Peer, bytes: u64, block: u64) -> Result<Result<(), String>, DeviceError>;

    /// Room for an object of so many bytes; none where the peer has none, or would need more than it may.
    fn take(&mut self, bytes: u64) -> Result<Option<usize>, DeviceError>;

    /// Gives an object back. All copies that touch it must be done.
    fn put(&mut self, object: usize) -> Result<(), DeviceError>;

    /// What it has at this moment.
    fn holding(&self) -> Holding;

    /// Time spent inside the allocator so far; making and binding buffers does not count.
    fn allocator_time(&self) -> Duration;

    /// Gives back everything that it has taken from the device.
    fn end(&mut self);
}

/// What a peer has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    /// Taken from the device.
    pub(crate) held_bytes: u64,
    /// Given to objects, with what the allocator rounds up.
    pub(crate) placed_bytes: u64,
    /// Where the objects lie in the blocks that they share, taken one after another; none where each has a block of its own.
    pub(crate) spans: Option<Vec<Range<u64>>>,
}
