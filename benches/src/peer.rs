//! What a peer looks like to the harness: one trait per shape.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Does the work: hands out runs of `2^order` pages and takes them back.
pub trait Hand {
    /// What the peer wants to see again when a run is freed.
    type Block: Send;

    /// A run of `2^order` pages, or `None` when the peer finds none.
    fn alloc(&mut self, order: u32) -> Option<Self::Block>;

    /// Gives back what [`Hand::alloc`] handed out for the same order.
    fn free(&mut self, block: Self::Block, order: u32);

    /// The first page of a run.
    fn page(block: &Self::Block) -> u64;

    /// As [`Hand::alloc`], a run whose pages have been cleared if there is one.
    fn alloc_cleared_first(&mut self, order: u32) -> Option<Self::Block> {
        self.alloc(order)
    }

    /// As [`Hand::free`], of a run whose pages have been cleared: a peer that does not track that has nothing to say to it.
    fn free_cleared(&mut self, block: Self::Block, order: u32) {
        self.free(block, order);
    }

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
    /// Whether it knows which pages have been cleared, if it is built for it.
    const TRACKS: bool = false;
    /// What allocates.
    type Hand<'a>: Hand
    where
        Self: 'a;

    /// A pool of `pages` pages, all idle; `None` if the peer cannot be that large.
    fn build(pages: u64) -> Option<Self>;

    /// Likewise, with the contents of pages tracked if it can.
    fn build_tracking(pages: u64) -> Option<Self> {
        Self::build(pages)
    }

    /// The one hand of a peer that nobody else uses meanwhile.
    fn hand(&mut self) -> Self::Hand<'_>;
}

/// An allocator that several threads use at once.
pub trait SyncPeer: Peer + Sync {
    /// A hand for one more thread.
    fn share(&self) -> Self::Hand<'_>;
}

/// [`Hand::alloc_bulk`] for a peer whose runs may come back page by page: a contiguous run if there is one.
pub fn run_or_pages<H: Hand<Block = usize>>(hand: &mut H, count: usize, blocks: &mut Vec<usize>) -> bool {
    if count.is_power_of_two()
        && let Some(first) = hand.alloc(count.ilog2())
    {
        blocks.extend(first..first + count);
        return true;
    }
    (0..count).all(|_| hand.alloc(0).map(|page| blocks.push(page)).is_some())
}

/// [`Hand::free_bulk`] for such a peer: as one run if the pages are one.
pub fn run_or_each<H: Hand<Block = usize>>(hand: &mut H, blocks: &mut Vec<usize>) {
    let (first, count) = (blocks.first().copied().unwrap_or(0), blocks.len());
    let is_run = count.is_power_of_two() && first.is_multiple_of(count);
    if is_run && blocks.iter().zip(first..).fold(true, |all, (page, expected)| all & (*page == expected)) {
        hand.free(first, count.ilog2());
        blocks.clear();
    } else {
        blocks.drain(..).for_each(|page| hand.free(page, 0));
    }
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

    fn page(block: &T::Block) -> u64 {
        T::page(block)
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

impl<P: Peer + Hand + Send> Peer for Mutexed<P> {
    const NAME: &'static str = P::NAME;
    const ALIGNED: bool = P::ALIGNED;
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
}

impl<P: Peer + Hand + Send> SyncPeer for Mutexed<P> {
    fn share(&self) -> Self::Hand<'_> {
        self
    }
}

impl<P: Hand> Mutexed<P> {
    fn lock(&self) -> MutexGuard<'_, P> {
        // A peer that panicked fails its measurement anyway; the poison adds nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Hand> Hand for &Mutexed<P> {
    type Block = P::Block;

    fn alloc(&mut self, order: u32) -> Option<P::Block> {
        self.lock().alloc(order)
    }

    fn free(&mut self, block: P::Block, order: u32) {
        self.lock().free(block, order);
    }

    fn page(block: &P::Block) -> u64 {
        P::page(block)
    }

    // Bulk calls take the lock once: that is what a mutex is good at.
    fn alloc_bulk(&mut self, count: usize, blocks: &mut Vec<P::Block>) -> bool {
        self.lock().alloc_bulk(count, blocks)
    }

    fn free_bulk(&mut self, blocks: &mut Vec<P::Block>) {
        self.lock().free_bulk(blocks);
    }
}
