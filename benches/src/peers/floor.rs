//! The least that an allocator can do: look up a run of the wanted order, and write one line of metadata that belongs to the run.
//!
//! The harness alone hands out numbers and so never touches anything that belongs to a run. Every real allocator must at least
//! write down, somewhere that belongs to the run, that it is taken or idle; in a large pool that line is in no cache when a random
//! run is freed. This peer does that and nothing else: a bit per page for the start of each run, and for each order a stack of
//! the runs that were freed. It never merges, so it is no allocator that one could use.

use crate::peer::{Hand, Peer, SyncPeer};

/// More than the orders of any trace.
const ORDERS: usize = 64;

/// What to write to.
pub struct Floor {
    pages: u64,
}

/// One thread's stacks and lines.
pub struct Lines {
    /// A bit per page.
    words: Vec<u64>,
    idle: Vec<Vec<u64>>,
    next: u64,
    pages: u64,
}

impl Peer for Floor {
    const NAME: &'static str = "one line per call";
    type Hand<'a> = Lines;

    fn build(pages: u64) -> Option<Self> {
        pages.is_power_of_two().then_some(Floor { pages })
    }

    fn hand(&mut self) -> Lines {
        self.share()
    }
}

impl SyncPeer for Floor {
    fn share(&self) -> Lines {
        Lines { words: vec![0; (self.pages / 64) as usize], idle: vec![Vec::new(); ORDERS], next: 0, pages: self.pages }
    }
}

impl Lines {
    fn write(&mut self, page: u64) {
        if let Some(word) = self.words.get_mut((page / 64) as usize) {
            *word ^= 1 << (page % 64);
        }
    }
}

impl Hand for Lines {
    type Block = u64;

    #[inline]
    fn alloc(&mut self, order: u32) -> Option<u64> {
        let page = self.idle.get_mut(order as usize)?.pop().unwrap_or_else(|| {
            let length = 1 << order;
            let first = self.next.next_multiple_of(length) & (self.pages - 1);
            self.next = first + length;
            first
        });
        self.write(page);
        Some(page)
    }

    #[inline]
    fn free(&mut self, block: u64, order: u32) {
        self.write(block);
        if let Some(idle) = self.idle.get_mut(order as usize) {
            idle.push(block);
        }
    }

    fn page(block: &u64) -> u64 {
        *block
    }
}
