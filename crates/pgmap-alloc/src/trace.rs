//! What can be watched, in the kernel's own words.
//!
//! Each thing is told by who does it, once: before others can have the pages where they are given back by their owner, after it was
//! done where it may be refused. What several do at once may be told in another order than it was done in.

use crate::offset::Offset;
use crate::order::Order;

/// Something that has just happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Event {
    /// The pool picked a run, and it was taken: as a folio, or without one.
    Alloc {
        /// Its first page.
        offset: Offset,
        /// Its order.
        order: Order,
    },
    /// A run was taken at the caller's place, as a folio or without one; or a block's pages became a folio.
    Request {
        /// Its first page.
        offset: Offset,
        /// Its order.
        order: Order,
    },
    /// An allocation was refused.
    Refused {
        /// The order that was wanted; for pages side by side that are no power of two, the next one.
        order: Order,
    },
    /// References were put.
    Put {
        /// The folio's first page.
        offset: Offset,
        /// How many.
        count: u32,
    },
    /// The last reference of a folio is gone, and `folio_free` is about to be called. Its pages may stay taken, as a block.
    FolioFree {
        /// Its first page.
        offset: Offset,
        /// Its order.
        order: Order,
    },
    /// A run without a folio, or a part of one, goes back to the pool.
    Free {
        /// Its first page.
        offset: Offset,
        /// Its order.
        order: Order,
    },
    /// A folio in service was split.
    Split {
        /// Its first page.
        offset: Offset,
        /// The order of the parts.
        order: Order,
    },
    /// A clone has brought a folio's references to the largest number that can be counted: it stays in service for ever.
    Saturated {
        /// The folio's first page.
        offset: Offset,
    },
    /// A page was retired.
    Retire {
        /// Which.
        offset: Offset,
    },
    /// A page that was retired, or pending, is as good as any other again.
    Pardon {
        /// Which.
        offset: Offset,
    },
    /// The pgmap was killed.
    Kill,
    /// The pgmap was drained.
    Drain,
}

/// Who watches. `()` does not, and costs nothing: the calls are compiled away.
pub trait Trace {
    /// Called where it happens, in whatever context that is: must not sleep.
    #[inline]
    fn trace(&self, event: Event) {
        let _ = event;
    }
}

impl Trace for () {}

impl<T: Trace> Trace for &T {
    fn trace(&self, event: Event) {
        (**self).trace(event);
    }
}

/// Hands each event to the `tracing` crate, at its level `TRACE`, with the event's name as the message.
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
pub struct ToTracing;

#[cfg(feature = "tracing")]
impl Trace for ToTracing {
    fn trace(&self, event: Event) {
        let run = |offset: Offset, order: Order| (offset.get(), order.get());
        match event {
            Event::Alloc { offset, order } => {
                let (offset, order) = run(offset, order);
                tracing::trace!(offset, order, "alloc");
            }
            Event::Request { offset, order } => {
                let (offset, order) = run(offset, order);
                tracing::trace!(offset, order, "request");
            }
            Event::Refused { order } => tracing::trace!(order = order.get(), "refused"),
            Event::Put { offset, count } => tracing::trace!(offset = offset.get(), count, "put"),
            Event::FolioFree { offset, order } => {
                let (offset, order) = run(offset, order);
                tracing::trace!(offset, order, "folio_free");
            }
            Event::Free { offset, order } => {
                let (offset, order) = run(offset, order);
                tracing::trace!(offset, order, "free");
            }
            Event::Split { offset, order } => {
                let (offset, order) = run(offset, order);
                tracing::trace!(offset, order, "split");
            }
            Event::Saturated { offset } => tracing::trace!(offset = offset.get(), "saturated"),
            Event::Retire { offset } => tracing::trace!(offset = offset.get(), "retire"),
            Event::Pardon { offset } => tracing::trace!(offset = offset.get(), "pardon"),
            Event::Kill => tracing::trace!("kill"),
            Event::Drain => tracing::trace!("drain"),
        }
    }
}
