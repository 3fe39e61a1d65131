//! Where a page stands: in the pgmap (an offset) and, at the edge only, in physical memory.

use core::fmt;

use crate::order::Order;

/// A page's index in its pgmap, counted from zero. Offset 0 is an ordinary offset.
///
/// Holding one proves nothing about any pool: every verb that takes an offset checks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Offset(u64);

impl Offset {
    /// The page with this index.
    pub const fn new(page: u64) -> Offset {
        Offset(page)
    }

    /// The plain index.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Where a page's metadata stands in a slice that has some for each page: beyond every slice where this machine cannot count so far.
    #[inline]
    pub(crate) const fn index(self) -> usize {
        if self.0 > usize::MAX as u64 { usize::MAX } else { self.0 as usize }
    }

    /// Whether a run of `order` may start here.
    pub const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages() - 1) == 0
    }

    /// The start of the run of `order` that this page lies in.
    pub const fn align_down(self, order: Order) -> Offset {
        Offset(self.0 & !(order.pages() - 1))
    }

    /// The largest order at which a run may start here.
    pub(crate) const fn alignment(self) -> Order {
        Order::clamped(self.0.trailing_zeros())
    }

    /// The offset `pages` further on, unless that overflows.
    pub const fn checked_add(self, pages: u64) -> Option<Offset> {
        match self.0.checked_add(pages) {
            Some(page) => Some(Offset(page)),
            None => None,
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An offset and an order that name no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunError {
    /// The offset is no multiple of the run's length.
    Misaligned,
    /// The run would end beyond the last offset that can be named.
    Overflow,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunError::Misaligned => "the offset is not a multiple of the run's length",
            RunError::Overflow => "offset plus length overflows",
        })
    }
}

impl core::error::Error for RunError {}

/// `2^order` pages that start at a multiple of `2^order`.
///
/// Holding one proves alignment and that its end does not overflow; it does not prove that any pool holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    start: Offset,
    order: Order,
}

impl Run {
    /// Checks alignment and overflow.
    pub const fn new(start: Offset, order: Order) -> Result<Run, RunError> {
        if start.0.checked_add(order.pages()).is_none() {
            return Err(RunError::Overflow);
        }
        if !start.is_aligned(order) {
            return Err(RunError::Misaligned);
        }
        Ok(Run { start, order })
    }

    /// The run of `order` that starts at `start`, which is aligned to it.
    #[inline]
    pub(crate) const fn aligned(start: u64, order: Order) -> Run {
        debug_assert!(Offset(start).is_aligned(order));
        Run { start: Offset(start), order }
    }

    /// The run of `order` that holds `page`.
    pub(crate) const fn around(page: u64, order: Order) -> Run {
        Run { start: Offset(page).align_down(order), order }
    }

    /// Its first page.
    pub const fn start(self) -> Offset {
        self.start
    }

    /// Its order.
    pub const fn order(self) -> Order {
        self.order
    }

    /// Its length in pages.
    pub const fn pages(self) -> u64 {
        self.order.pages()
    }

    /// The first page after it.
    pub const fn end(self) -> Offset {
        Offset(self.start.0 + self.order.pages())
    }

    /// Whether `page` is one of its pages.
    pub const fn contains(self, page: Offset) -> bool {
        page.align_down(self.order).0 == self.start.0
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+2^{}", self.start, self.order)
    }
}

/// A physical address in bytes: what hardware is programmed with. Appears only where an offset leaves or enters the pgmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phys(pub u64);

impl fmt::Display for Phys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A piece of physically contiguous device memory that a pgmap is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PhysRange {
    /// Address of the first byte; a multiple of the page size.
    pub start: Phys,
    /// Length in pages; at least one.
    pub pages: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_04_runs_are_aligned_and_do_not_overflow() {
        let order = |o| Order::new(o).unwrap();
        assert_eq!(Run::new(Offset::new(3), order(1)), Err(RunError::Misaligned));
        assert_eq!(Run::new(Offset::new(u64::MAX), order(0)), Err(RunError::Overflow));
        assert_eq!(Run::new(Offset::new(u64::MAX - 511), order(9)), Err(RunError::Overflow));
        for o in 0..12 {
            for start in 0..10_000 {
                let run = Run::new(Offset::new(start), order(o));
                assert_eq!(run.is_ok(), start % (1 << o) == 0);
            }
        }
    }

    #[test]
    fn req_03_offset_zero_is_ordinary() {
        let run = Run::new(Offset::new(0), Order::PMD).unwrap();
        assert_eq!((run.start().get(), run.end().get()), (0, 512));
        assert!(run.contains(Offset::new(0)) && run.contains(Offset::new(511)) && !run.contains(Offset::new(512)));
    }
}
