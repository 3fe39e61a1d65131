//! `pgmap-alloc` through handles that all threads share: what any thread can do at any time, as fast as it goes.

use std::sync::atomic::AtomicPtr;

use pgmap_alloc::{Folio, GenPool, Order, Params, PerCpu, Pgmap, Taken};

use crate::peer::{Hand, Peer, SyncPeer};
use crate::peers::ours::{Counted, Told, one_range};

/// Something that can be named as long as its peer lives.
struct Home<T>(AtomicPtr<T>);

impl<T: 'static> Home<T> {
    fn new(it: T) -> (Home<T>, &'static T) {
        let it = Box::into_raw(Box::new(it));
        // SAFETY: it came from a box, and lives until the peer, and with it all that names it, is gone.
        (Home(AtomicPtr::new(it)), unsafe { &*it })
    }
}

impl<T> Drop for Home<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and it is the last field of its peer: nobody names it any more.
        drop(unsafe { Box::from_raw(*self.0.get_mut()) });
    }
}

/// The pool, through the handle of the CPU.
pub struct PoolPerCpu {
    cpus: Box<PerCpu<'static, GenPool<'static>>>,
    _pool: Home<GenPool<'static>>,
}

impl Peer for PoolPerCpu {
    const NAME: &'static str = "pgmap-alloc per CPU";
    type Hand<'a> = &'a PoolPerCpu;

    fn build(pages: u64) -> Option<Self> {
        let (home, pool) = Home::new(GenPool::new(&Params::new(&[one_range(pages)])).ok()?);
        Some(PoolPerCpu { cpus: Box::new(PerCpu::new(pool)), _pool: home })
    }

    fn hand(&mut self) -> &PoolPerCpu {
        self
    }
}

impl PoolPerCpu {
    /// What is asked for in bulk needs no handle.
    pub(super) fn pool(&self) -> &'static GenPool<'static> {
        self.cpus.owner()
    }
}

impl SyncPeer for PoolPerCpu {
    fn share(&self) -> &PoolPerCpu {
        self
    }
}

impl Hand for &PoolPerCpu {
    type Block = Taken<'static>;

    fn alloc(&mut self, order: u32) -> Option<Taken<'static>> {
        self.cpus.here().alloc(Order::new(order).ok()?).ok()
    }

    fn free(&mut self, block: Taken<'static>, _order: u32) {
        let freed = self.cpus.here().free(block);
        debug_assert!(freed.is_ok());
    }

    fn page(block: &Taken<'static>) -> u64 {
        block.offset().get()
    }
}

/// Folios, through the handle of the CPU.
pub struct FoliosPerCpu {
    cpus: Box<PerCpu<'static, Pgmap<'static, Told>>>,
    _pgmap: Home<Pgmap<'static, Told>>,
}

impl Peer for FoliosPerCpu {
    const NAME: &'static str = "folio per CPU";
    type Hand<'a> = &'a FoliosPerCpu;

    fn build(pages: u64) -> Option<Self> {
        let (home, pgmap) = Home::new(Pgmap::new(&Params::new(&[one_range(pages)]), Told).ok()?);
        Some(FoliosPerCpu { cpus: Box::new(PerCpu::new(pgmap)), _pgmap: home })
    }

    fn hand(&mut self) -> &FoliosPerCpu {
        self
    }
}

impl SyncPeer for FoliosPerCpu {
    fn share(&self) -> &FoliosPerCpu {
        self
    }
}

impl Hand for &FoliosPerCpu {
    type Block = Folio<'static, Told>;

    fn alloc(&mut self, order: u32) -> Option<Self::Block> {
        self.cpus.here().alloc_folio(Order::new(order).ok()?).ok()
    }

    fn free(&mut self, block: Self::Block, _order: u32) {
        let put = self.cpus.here().put(block);
        debug_assert!(put.is_ok());
    }

    fn page(block: &Self::Block) -> u64 {
        block.offset().get()
    }
}

impl Counted for FoliosPerCpu {
    fn cycle(hand: &mut &FoliosPerCpu, order: Order) -> bool {
        let Ok(folio) = hand.cpus.here().alloc_folio(order) else { return false };
        let second = folio.clone();
        let put = (hand.cpus.here().put(folio), hand.cpus.here().put(std::hint::black_box(second)));
        matches!(put, (Ok(_), Ok(_)))
    }
}
