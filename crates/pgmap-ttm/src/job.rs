//! What is to move, where it may go, and where it must not make anyone move.

use crate::place::{MemoryType, Place};

/// What of an object is to move.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// Whatever is not where the placement wants it, pages that stand nowhere included.
    Misplaced,
    /// Its pages in one memory type.
    In(MemoryType),
    /// So many of them, and no more than it takes in whole segments.
    Some(MemoryType, u64),
}

impl Part {
    /// The memory type that it is to leave, if it is to leave one.
    pub(crate) fn memory(self) -> Option<MemoryType> {
        match self {
            Part::Misplaced => None,
            Part::In(memory) | Part::Some(memory, _) => Some(memory),
        }
    }
}

/// One object's way to one of several places.
pub(crate) struct Job<'a> {
    pub(crate) key: usize,
    pub(crate) part: Part,
    pub(crate) places: &'a [Place],
    pub(crate) shut: Shut,
}

/// The memory types in which room is being made already, further up: nobody is pushed out of those again, so pushing out one
/// object to push out another ends.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shut(u32);

impl Shut {
    pub(crate) fn has(self, memory: MemoryType) -> bool {
        self.0 >> memory.index() & 1 != 0
    }

    pub(crate) fn and(self, memory: MemoryType) -> Shut {
        Shut(self.0 | 1 << memory.index())
    }
}
