//! Idle pages that a pgmap does not see because a cache in front of it holds them.

use pgmap_alloc::{Handles, PerCpu};

/// Caches in front of a pgmap, which others allocate through.
pub trait Caches {
    /// Makes all caches that are not in use just now give back their pages. Called before any object is pushed out.
    fn drain(&self);
}

/// There are none.
impl Caches for () {
    fn drain(&self) {}
}

impl<'p, P: Handles<'p>, const CPUS: usize> Caches for PerCpu<'p, P, CPUS> {
    fn drain(&self) {
        PerCpu::drain(self);
    }
}
