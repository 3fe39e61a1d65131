//! Idle pages that a pgmap does not see because a cache in front of it holds them.

use pgmap_alloc::{Handles, PerCpu};

/// Caches in front of a pgmap, which others allocate through.
pub trait Caches {
    /// Has all of them that are not in use just now give back what they hold. Called before anyone is pushed out.
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
