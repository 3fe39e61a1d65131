//! No allocator at all: what the harness itself costs.

use crate::peer::{Hand, Peer, SyncPeer};

/// Hands out the next page without looking; nothing is ever taken.
pub struct Nothing {
    pages: u64,
}

/// One thread's counter.
pub struct Counter {
    next: u64,
    mask: u64,
}

impl Peer for Nothing {
    const NAME: &'static str = "harness alone";
    const ALIGNED: bool = false;
    type Hand<'a> = Counter;

    fn build(pages: u64) -> Option<Self> {
        pages.is_power_of_two().then_some(Nothing { pages })
    }

    fn hand(&mut self) -> Counter {
        self.share()
    }
}

impl SyncPeer for Nothing {
    fn share(&self) -> Counter {
        Counter { next: 0, mask: self.pages - 1 }
    }
}

impl Hand for Counter {
    type Block = u64;

    fn alloc(&mut self, order: u32) -> Option<u64> {
        self.next = (self.next + (1 << order)) & self.mask;
        Some(self.next)
    }

    fn free(&mut self, _block: u64, _order: u32) {}

    fn page(block: &u64) -> u64 {
        *block
    }
}
