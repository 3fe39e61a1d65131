//! `offset-allocator`: two-level segregated fit in constant time; unsynchronised, promises no alignment.

use offset_allocator::{Allocation, Allocator};

use crate::peer::{Hand, Peer};

/// It keeps a node per allocation and per hole, all built up front at 32 bytes and more each: enough for 16 GiB of single pages.
const PAGE_NODES: u64 = (4 << 20) + 2;
/// In larger pools only runs of mixed orders are taken, of 102 pages on average at 80 %: twice as many nodes as runs, and a few more.
const PAGES_PER_NODE: u64 = 48;

/// Counts in pages, because it counts in 32 bits.
pub struct OffsetAllocator(Allocator);

impl Peer for OffsetAllocator {
    const NAME: &'static str = "offset-allocator";
    const ALIGNED: bool = false;
    type Hand<'a> = &'a mut Self;

    fn build(pages: u64) -> Option<Self> {
        let nodes = u32::try_from((pages + 2).min(PAGE_NODES.max(pages / PAGES_PER_NODE))).ok()?;
        Some(OffsetAllocator(Allocator::with_max_allocs(u32::try_from(pages).ok()?, nodes)))
    }

    fn hand(&mut self) -> &mut Self {
        self
    }
}

impl Hand for OffsetAllocator {
    type Block = Allocation;

    fn alloc(&mut self, order: u32) -> Option<Allocation> {
        self.0.allocate(1 << order)
    }

    fn free(&mut self, block: Allocation, _order: u32) {
        self.0.free(block);
    }

    fn page(block: &Allocation) -> u64 {
        u64::from(block.offset)
    }
}
