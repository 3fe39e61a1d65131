//! What a peer looks like to the harness: one trait per shape.

use std::sync::{Mutex, PoisonError};

/// Does the work: hands out runs of `2^order` pages and takes them back.
pub trait Hand {
    /// What the peer wants to see again when a run is freed.
    type Block: Send;

    /// A run of `2^order` pages, or `None` when the peer finds none.
    fn alloc(&mut self, order: u32) -> Option<Self::Block>;

    /// Gives back what [`Hand::alloc`] handed out for the same order.
    fn free(&mut self, block: Self::Block, order: u32);

    /// `count` single pages at once, appended to `blocks`; says whether all were found.
    fn alloc_bulk(&mut self, count: usize, blocks: &mut Vec<Self::Block>) -> bool {
        for _ in 0..count {
            match self.alloc(0) {
                Some(block) => blocks.push(block),
                None => return false,
            }
        }
        true
    }

    /// Gives back single pages; `blocks` is empty afterwards.
    fn free_bulk(&mut self, blocks: &mut Vec<Self::Block>) {
        for block in blocks.drain(..) {
            self.free(block, 0);
        }
    }
}

/// An allocator that one thread at a time uses.
pub trait Peer: Sized {
    /// Its name in the table.
    const NAME: &'static str;
    /// Whether a run always starts at a multiple of its own length.
    const ALIGNED: bool = true;
    /// What names a run.
    type Block: Send;
    /// What allocates.
    type Hand<'a>: Hand<Block = Self::Block>
    where
        Self: 'a;

    /// A pool of `pages` pages, all idle; `None` if the peer cannot be that large.
    fn build(pages: u64) -> Option<Self>;

    /// The one hand of a peer that nobody else uses meanwhile.
    fn hand(&mut self) -> Self::Hand<'_>;

    /// The first page of a run.
    fn page(block: &Self::Block) -> u64;
}

/// An allocator that several threads use at once.
pub trait SyncPeer: Peer + Sync {
    /// A hand for one more thread.
    fn share(&self) -> Self::Hand<'_>;
}

/// A peer that is its own hand: all that most unsynchronised ones need.
impl<T: Hand> Hand for &mut T {
    type Block = T::Block;

    fn alloc(&mut self, order: u32) -> Option<T::Block> {
        T::alloc(self, order)
    }

    fn free(&mut self, block: T::Block, order: u32) {
        T::free(self, block, order);
    }

    fn alloc_bulk(&mut self, count: usize, blocks: &mut Vec<T::Block>) -> bool {
        T::alloc_bulk(self, count, blocks)
    }

    fn free_bulk(&mut self, blocks: &mut Vec<T::Block>) {
        T::free_bulk(self, blocks);
    }
}

/// An unsynchronised peer behind a mutex: how its users share it between threads.
pub struct Mutexed<P>(Mutex<P>);

impl<P: Peer + Send> Peer for Mutexed<P> {
    const NAME: &'static str = P::NAME;
    const ALIGNED: bool = P::ALIGNED;
    type Block = P::Block;
    type Hand<'a>
        = &'a Mutexed<P>
    where
        P: 'a;

    fn build(pages: u64) -> Option<Self> {
        P::build(pages).map(|peer| Mutexed(Mutex::new(peer)))
    }

    fn hand(&mut self) -> Self::Hand<'_> {
        self
    }

    fn page(block: &P::Block) -> u64 {
        P::page(block)
    }
}

impl<P: Peer + Send> SyncPeer for Mutexed<P> {
    fn share(&self) -> Self::Hand<'_> {
        self
    }
}

impl<P: Peer + Send> Hand for &Mutexed<P> {
    type Block = P::Block;

    fn alloc(&mut self, order: u32) -> Option<P::Block> {
        // A peer that panicked fails its measurement anyway; the poison adds nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hand().alloc(order)
    }

    fn free(&mut self, block: P::Block, order: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hand().free(block, order);
    }

    // Bulk calls take the lock once: that is what a mutex is good at.
    fn alloc_bulk(&mut self, count: usize, blocks: &mut Vec<P::Block>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hand().alloc_bulk(count, blocks)
    }

    fn free_bulk(&mut self, blocks: &mut Vec<P::Block>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hand().free_bulk(blocks);
    }
}
