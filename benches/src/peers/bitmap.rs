//! `bitmap-allocator`: a 16-way tree of bitmaps; single pages in constant time, longer runs by a linear search; unsynchronised.

use std::thread;

use bitmap_allocator::{BitAlloc, BitAlloc16M, BitAlloc256M};

use crate::peer::{Hand, Peer, run_or_each, run_or_pages};

/// Its capacity is part of its type; these two cover 64 GiB and 1 TiB of 4 KiB pages.
pub enum Bitmap {
    /// Up to 64 GiB.
    Small(Box<BitAlloc16M>),
    /// Up to 1 TiB.
    Large(Box<BitAlloc256M>),
}

impl Peer for Bitmap {
    const NAME: &'static str = "bitmap-allocator";
    type Hand<'a> = &'a mut Self;

    fn build(pages: u64) -> Option<Self> {
        let pages = usize::try_from(pages).ok()?;
        let mut bitmap = if pages <= BitAlloc16M::CAP {
            Bitmap::Small(boxed()?)
        } else if pages <= BitAlloc256M::CAP {
            Bitmap::Large(boxed()?)
        } else {
            return None;
        };
        match &mut bitmap {
            Bitmap::Small(bits) => bits.insert(0..pages),
            Bitmap::Large(bits) => bits.insert(0..pages),
        }
        Some(bitmap)
    }

    fn hand(&mut self) -> &mut Self {
        self
    }
}

/// It is built by value, and is larger than a thread's usual stack: so a thread with a stack to suit builds it.
fn boxed<T: BitAlloc + Send + 'static>() -> Option<Box<T>> {
    let stack = 4 * size_of::<T>() + (1 << 20);
    thread::Builder::new().stack_size(stack).spawn(|| Box::new(T::DEFAULT)).ok()?.join().ok()
}

impl Hand for Bitmap {
    type Block = usize;

    fn alloc(&mut self, order: u32) -> Option<usize> {
        match self {
            Bitmap::Small(bits) => alloc(&mut **bits, order),
            Bitmap::Large(bits) => alloc(&mut **bits, order),
        }
    }

    fn free(&mut self, block: usize, order: u32) {
        match self {
            Bitmap::Small(bits) => free(&mut **bits, block, order),
            Bitmap::Large(bits) => free(&mut **bits, block, order),
        }
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

fn alloc(bits: &mut impl BitAlloc, order: u32) -> Option<usize> {
    if order == 0 { bits.alloc() } else { bits.alloc_contiguous(None, 1 << order, order as usize) }
}

fn free(bits: &mut impl BitAlloc, block: usize, order: u32) {
    if order == 0 {
        bits.dealloc(block);
    } else {
        bits.dealloc_contiguous(block, 1 << order);
    }
}
