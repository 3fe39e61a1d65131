//! Memory of this process that the device does not reach. What moves between it and the heap stops in the host's pages on the
//! way; between those and it, the processor copies.

use std::ops::Range;

use pgmap_ttm::{MemoryType, Piece as Pages};

use crate::device::DeviceError;
use crate::heap::PAGE;
use crate::host;

/// Bytes that stand in no memory of the device.
pub(crate) struct Swap {
    /// Index among the memory types.
    memory: usize,
    /// Where what comes from the heap or goes there has to stop.
    via: MemoryType,
    bytes: Vec<u8>,
}

impl Swap {
    /// So many pages, of zeroes.
    pub(crate) fn new(memory: usize, pages: u64, via: MemoryType) -> Result<Swap, DeviceError> {
        Ok(Swap { memory, via, bytes: host::zeroed(pages * PAGE)? })
    }

    /// Whether these pages are here.
    pub(crate) fn has(&self, piece: Pages) -> bool {
        piece.memory.index() == self.memory
    }

    /// The stop, where any of the pages would go between `heap` and here.
    pub(crate) fn detour(&self, from: &[Pages], to: &[Pages], heap: usize) -> Option<MemoryType> {
        let apart = |a: &Pages, b: &Pages| a.memory.index() == heap && self.has(*b);
        from.iter().zip(to).any(|(from, to)| apart(from, to) || apart(to, from)).then_some(self.via)
    }

    /// What the pages hold.
    pub(crate) fn bytes(&self, piece: Pages) -> Result<&[u8], DeviceError> {
        self.bytes.get(span(piece)).ok_or(DeviceError::OutOfBounds)
    }

    /// The same, to write to.
    pub(crate) fn bytes_mut(&mut self, piece: Pages) -> Result<&mut [u8], DeviceError> {
        self.bytes.get_mut(span(piece)).ok_or(DeviceError::OutOfBounds)
    }

    /// From one part of it to another.
    pub(crate) fn copy_within(&mut self, from: Pages, to: Pages) -> Result<(), DeviceError> {
        let (from, to) = (span(from), span(to));
        if from.end.max(to.end) > self.bytes.len() {
            return Err(DeviceError::OutOfBounds);
        }
        self.bytes.copy_within(from, to.start);
        Ok(())
    }
}

fn span(piece: Pages) -> Range<usize> {
    let byte = |page: u64| (page * PAGE) as usize;
    byte(piece.first)..byte(piece.first + piece.pages)
}
