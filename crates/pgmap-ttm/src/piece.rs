//! Runs of pages, and points in time.

use crate::place::MemoryType;

/// A point on the mover's timeline.
///
/// Later copies have larger tickets, and a ticket signals only after every smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A run of pages in one memory type; in device memory it lies in one folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// The memory type.
    pub memory: MemoryType,
    /// Its first page there: an offset of the pgmap, or a host page.
    pub first: u64,
    /// Its length in pages; at least one.
    pub pages: u64,
}
