//! What a handle can be on: the common part of [`PerThread`](crate::PerThread) and [`PerCpu`](crate::PerCpu).

use crate::local::Local;
use crate::ops::PgmapOps;
use crate::pgmap::Pgmap;
use crate::pool::{GenPool, LocalPool};

/// A [`Pgmap`] or a [`GenPool`]: what has handles.
pub trait Handles<'p> {
    /// The handle.
    type Handle: 'p;

    /// A new handle; `None` when there are none left.
    fn handle(&'p self) -> Option<Self::Handle>;

    /// Gives back all that a handle has at hand.
    fn drain(handle: &mut Self::Handle);
}

impl<'p, O: PgmapOps + 'p, const WORDS: usize> Handles<'p> for Pgmap<'p, O, WORDS> {
    type Handle = Local<'p, O, WORDS>;

    fn handle(&'p self) -> Option<Self::Handle> {
        self.local()
    }

    fn drain(handle: &mut Self::Handle) {
        handle.drain();
    }
}

impl<'p, const WORDS: usize> Handles<'p> for GenPool<'p, WORDS> {
    type Handle = LocalPool<'p, WORDS>;

    fn handle(&'p self) -> Option<Self::Handle> {
        self.local()
    }

    fn drain(handle: &mut Self::Handle) {
        handle.drain();
    }
}
