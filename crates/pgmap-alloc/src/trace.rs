//! What can be watched, in the kernel's own words.

use crate::offset::Offset;
use crate::order::Order;

/// Something that has just happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Event {
    /// The pool picked a run, and it was taken.
    Alloc {
        /// Its first page.
        offset: Offset,
        /// Its order.
        order: Order,
    },
    /// A run was taken at the caller's place.
    Request {
        /// Its first page.
        offset: Offset,
        /// Its order.
        order: Order,
    },
    /// An allocation was refused.
    Refused {
        /// The order that was wanted.
        order: Order,
    },
    /// References were put.
    Put {
        /// The folio's first page.
        offset: Offset,
        /// How many.
        count: u32,
    },
    /// The last reference of a folio is gone, and `folio_free` is about to be called; or a run without a folio was freed.
    FolioFree {
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
    /// A page was retired.
    Retire {
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
            Event::Split { offset, order } => {
                let (offset, order) = run(offset, order);
                tracing::trace!(offset, order, "split");
            }
            Event::Retire { offset } => tracing::trace!(offset = offset.get(), "retire"),
            Event::Kill => tracing::trace!("kill"),
            Event::Drain => tracing::trace!("drain"),
        }
    }
}
