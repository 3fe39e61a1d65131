//! `buddy_system_allocator`: a buddy over one ordered set per order; unsynchronised.

use buddy_system_allocator::FrameAllocator;

use crate::peer::{Hand, Peer, run_or_each, run_or_pages};

/// Its largest order is 32: 16 TiB of 4 KiB pages.
pub struct BuddySystem(FrameAllocator<33>);

impl Peer for BuddySystem {
    const NAME: &'static str = "buddy_system_allocator";
    type Hand<'a> = &'a mut Self;

    fn build(pages: u64) -> Option<Self> {
        let mut frames = FrameAllocator::new();
        frames.add_frame(0, usize::try_from(pages).ok()?);
        Some(BuddySystem(frames))
    }

    fn hand(&mut self) -> &mut Self {
        self
    }
}

impl Hand for BuddySystem {
    type Block = usize;

    fn alloc(&mut self, order: u32) -> Option<usize> {
        self.0.alloc(1 << order)
    }

    fn free(&mut self, block: usize, order: u32) {
        self.0.dealloc(block, 1 << order);
    }

    fn page(block: &usize) -> u64 {
        *block as u64
    }

    fn alloc_bulk(&mut self, count: usize, blocks: &mut Vec<usize>) -> bool {
        run_or_pages(self, count, blocks)
    }

    fn free_bulk(&mut self, blocks: &mut Vec<usize>) {
        run_or_each(self, blocks);
    }
}
