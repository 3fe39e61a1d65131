//! `pgmap-alloc` itself: the pool alone, and whole folios with their counts.

use pgmap_alloc::{GenPool, Offset, Order, Params, Pgmap, Phys, PhysRange};

use crate::peer::{Hand, Peer, SyncPeer};

/// The pool alone: what the peers do, from any thread.
pub struct Pool(GenPool<'static>);

impl Peer for Pool {
    const NAME: &'static str = "pgmap-alloc pool";
    type Block = Offset;
    type Hand<'a> = &'a Pool;

    fn build(pages: u64) -> Option<Self> {
        GenPool::new(&Params::new(&[one_range(pages)])).ok().map(Pool)
    }

    fn hand(&mut self) -> &Pool {
        self
    }

    fn page(block: &Offset) -> u64 {
        block.get()
    }
}

impl SyncPeer for Pool {
    fn share(&self) -> &Pool {
        self
    }
}

impl Hand for &Pool {
    type Block = Offset;

    fn alloc(&mut self, order: u32) -> Option<Offset> {
        self.0.alloc(Order::new(order).ok()?).ok()
    }

    fn free(&mut self, block: Offset, order: u32) {
        let freed = Order::new(order).map(|order| self.0.free(block, order));
        debug_assert!(matches!(freed, Ok(Ok(()))));
    }
}

/// Folios in service: more than any peer does, since each is counted and told to its driver when its last reference goes.
pub struct Folios(Pgmap<'static, ()>);

impl Peer for Folios {
    const NAME: &'static str = "pgmap-alloc folio";
    type Block = Offset;
    type Hand<'a> = &'a Folios;

    fn build(pages: u64) -> Option<Self> {
        Pgmap::new(&Params::new(&[one_range(pages)]), ()).ok().map(Folios)
    }

    fn hand(&mut self) -> &Folios {
        self
    }

    fn page(block: &Offset) -> u64 {
        block.get()
    }
}

impl SyncPeer for Folios {
    fn share(&self) -> &Folios {
        self
    }
}

impl Hand for &Folios {
    type Block = Offset;

    fn alloc(&mut self, order: u32) -> Option<Offset> {
        self.0.alloc_folio_raw(Order::new(order).ok()?, ()).ok()
    }

    fn free(&mut self, block: Offset, _order: u32) {
        let put = self.0.put_raw(block, 1);
        debug_assert!(put.is_ok());
    }
}

impl Folios {
    /// A folio's whole life: into service, one more reference, both put. Says whether it came about.
    pub fn cycle(&self, order: Order) -> bool {
        let Ok(folio) = self.0.alloc_folio(order) else {
            return false;
        };
        let second = folio.clone();
        drop(folio);
        drop(std::hint::black_box(second));
        true
    }
}

/// The simplest device: one range from physical address zero.
pub fn one_range(pages: u64) -> PhysRange {
    PhysRange { start: Phys(0), pages }
}
