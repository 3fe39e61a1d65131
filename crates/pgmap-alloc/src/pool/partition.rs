//! Windows as sub-pools: a GPU's partitions, the part of the memory that a small BAR shows to the CPU.
//!
//! A partition is a view: the pool's tables stay the only truth, so partitions may overlap and cost nothing.

use super::GenPool;
use super::asked::ExtentParams;
use super::scatter::ScatterParams;
use crate::error::{AllocExtentError, FreeError, RequestError, ScatterError};
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;

/// A window of a pool as a pool.
#[derive(Clone, Copy)]
pub struct Partition<'p, const WORDS: usize = 8> {
    pool: &'p GenPool<'p, WORDS>,
    window: Extent,
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The window as a sub-pool; `None` when no page of it belongs to the pool.
    pub fn partition(&self, window: Extent) -> Option<Partition<'_, WORDS>> {
        let range = self.ranges.at_or_after(window.start())?;
        (range.first < window.end()).then_some(Partition { pool: self, window })
    }

    /// Takes contiguous pages from the first of some partitions that has them; says which. The last refusal is the answer.
    pub fn alloc_falling_back(
        partitions: &[Partition<'_, WORDS>],
        params: &ExtentParams,
    ) -> Result<(usize, Extent), AllocExtentError> {
        let mut refusal = AllocExtentError::WindowOutside;
        for (index, partition) in partitions.iter().enumerate() {
            match partition.alloc_extent(params) {
                Ok(extent) => return Ok((index, extent)),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

impl<const WORDS: usize> Partition<'_, WORDS> {
    /// Its offsets.
    pub fn window(&self) -> Extent {
        self.window
    }

    /// How many pages it has, idle or not.
    pub fn size(&self) -> u64 {
        let inside = |range: super::PlacedRange| Extent::between(range.first, range.end()).ok()?.common(self.window);
        self.pool.ranges().filter_map(inside).map(Extent::pages).sum()
    }

    /// How many of them are idle; see [`GenPool::avail_in`].
    pub fn avail(&self) -> u64 {
        self.pool.avail_in(self.window)
    }

    /// Whether `offset` belongs to it.
    pub fn has_offset(&self, offset: Offset) -> bool {
        self.window.contains(offset) && self.pool.has_offset(offset)
    }

    /// Takes a run of `order` from it.
    pub fn alloc(&self, order: Order) -> Result<Offset, AllocExtentError> {
        self.alloc_extent(&ExtentParams::new(order.pages()).aligned(order.pages())).map(Extent::start)
    }

    /// Takes contiguous pages from it, and from the window that `params` name.
    pub fn alloc_extent(&self, params: &ExtentParams) -> Result<Extent, AllocExtentError> {
        let window = params.window.common(self.window).ok_or(AllocExtentError::WindowOutside)?;
        self.pool.alloc_extent(&params.within(window))
    }

    /// Takes exactly the run of `order` at `offset`, which lies in it.
    pub fn alloc_at(&self, offset: Offset, order: Order) -> Result<(), RequestError> {
        let run = Run::new(offset, order)?;
        if self.holds(run.into()) { self.pool.alloc_at(offset, order) } else { Err(RequestError::OutOfRange) }
    }

    /// Takes pages in as few runs as it has them, or none, from the window that `params` name too
    /// ([`GenPool::alloc_scattered`]).
    pub fn alloc_scattered<'o>(&self, params: &ScatterParams, out: &'o mut [Run]) -> Result<&'o [Run], ScatterError> {
        let window = params.window.common(self.window).ok_or(ScatterError::WindowOutside)?;
        self.pool.alloc_scattered(&params.within(window), out)
    }

    /// Gives back a run that lies in it, or an aligned part of one.
    pub fn free(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        if self.holds(run.into()) { self.pool.free(offset, order) } else { Err(FreeError::OutOfRange) }
    }

    /// Gives back contiguous pages that lie in it ([`GenPool::free_extent`]).
    pub fn free_extent(&self, extent: Extent) -> Result<(), FreeError> {
        if self.holds(extent) { self.pool.free_extent(extent) } else { Err(FreeError::OutOfRange) }
    }

    fn holds(&self, extent: Extent) -> bool {
        self.window.common(extent) == Some(extent)
    }
}
