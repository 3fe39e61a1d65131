//! VMA's virtual blocks through `vk-mem`: two-level segregated fit with alignment; unsynchronised.

use vk_mem::{VirtualAllocation, VirtualAllocationCreateFlags, VirtualAllocationCreateInfo, VirtualBlock, VirtualBlockCreateInfo};

use crate::peer::{Hand, Peer};

/// One unit is one page.
pub struct Vma(VirtualBlock);

// SAFETY: a virtual block is plain memory without ties to the thread that made it; `&mut self` keeps its users apart.
unsafe impl Send for Vma {}

impl Peer for Vma {
    const NAME: &'static str = "VMA virtual block";
    type Hand<'a> = &'a mut Self;

    fn build(pages: u64) -> Option<Self> {
        let info = VirtualBlockCreateInfo { size: pages, ..VirtualBlockCreateInfo::default() };
        VirtualBlock::new(info).ok().map(Vma)
    }

    fn hand(&mut self) -> &mut Self {
        self
    }
}

impl Hand for Vma {
    type Block = (VirtualAllocation, u64);

    fn alloc(&mut self, order: u32) -> Option<(VirtualAllocation, u64)> {
        let pages = 1 << order;
        let info = VirtualAllocationCreateInfo {
            size: pages,
            alignment: pages,
            user_data: 0,
            flags: VirtualAllocationCreateFlags::empty(),
        };
        // SAFETY: size and alignment are powers of two and not zero.
        unsafe { self.0.allocate(info) }.ok()
    }

    fn free(&mut self, mut block: (VirtualAllocation, u64), _order: u32) {
        // SAFETY: the harness hands a block back to the peer that made it, once: blocks are moved, not copied.
        unsafe { self.0.free(&mut block.0) }
    }

    fn page(block: &(VirtualAllocation, u64)) -> u64 {
        block.1
    }
}

impl Drop for Vma {
    fn drop(&mut self) {
        // VMA asserts that a virtual block is empty when it goes; a bench may drop a full one.
        // SAFETY: the block is going away, and with it every allocation made in it.
        unsafe { self.0.clear() }
    }
}
