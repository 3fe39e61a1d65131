//! `pgmap-alloc` itself: the pool alone and whole folios with their counts, each through a handle and shared.

use pgmap_alloc::{Folio, GenPool, Local, LocalPool, Offset, Order, Params, Pgmap, PgmapOps, Phys, PhysRange, Taken, Wish};

use crate::peer::{Hand, Peer, SyncPeer};

/// The pool through a handle of its own for each thread.
pub struct PoolHandle(GenPool<'static>);

impl Peer for PoolHandle {
    const NAME: &'static str = "pgmap-alloc handle";
    type Hand<'a> = LocalPool<'a>;

    fn build(pages: u64) -> Option<Self> {
        GenPool::new(&Params::new(&[one_range(pages)])).ok().map(PoolHandle)
    }

    fn hand(&mut self) -> LocalPool<'_> {
        self.share()
    }
}

impl SyncPeer for PoolHandle {
    fn share(&self) -> LocalPool<'_> {
        handle(self.0.local())
    }
}

impl<'p> Hand for LocalPool<'p> {
    type Block = Taken<'p>;

    fn alloc(&mut self, order: u32) -> Option<Taken<'p>> {
        LocalPool::alloc(self, Order::new(order).ok()?).ok()
    }

    fn free(&mut self, block: Taken<'p>, _order: u32) {
        let freed = LocalPool::free(self, block);
        debug_assert!(freed.is_ok());
    }

    fn page(block: &Taken<'p>) -> u64 {
        block.offset().get()
    }
}

/// The pool without a handle: what any thread can do at any time.
pub struct Pool(GenPool<'static>);

impl Peer for Pool {
    const NAME: &'static str = "pgmap-alloc shared";
    const TRACKS: bool = true;
    type Hand<'a> = &'a Pool;

    fn build(pages: u64) -> Option<Self> {
        GenPool::new(&Params::new(&[one_range(pages)])).ok().map(Pool)
    }

    fn build_tracking(pages: u64) -> Option<Self> {
        GenPool::new(&Params::new(&[one_range(pages)]).tracking_clear()).ok().map(Pool)
    }

    fn hand(&mut self) -> &Pool {
        self
    }
}

impl Pool {
    pub(super) fn pool(&self) -> &GenPool<'static> {
        &self.0
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

    fn page(block: &Offset) -> u64 {
        block.get()
    }

    fn alloc_cleared_first(&mut self, order: u32) -> Option<Offset> {
        self.0.alloc_wishing(Order::new(order).ok()?, Wish::PreferCleared).ok().map(|(start, _)| start)
    }

    fn free_cleared(&mut self, block: Offset, order: u32) {
        let freed = Order::new(order).map(|order| self.0.free_cleared(block, order));
        debug_assert!(matches!(freed, Ok(Ok(()))));
    }
}

/// The pool without a handle, built to pack as tightly as it can.
pub struct Tight(Pool);

impl Peer for Tight {
    const NAME: &'static str = "pgmap-alloc tight";
    const TRACKS: bool = true;
    type Hand<'a> = &'a Pool;

    fn build(pages: u64) -> Option<Self> {
        GenPool::new(&Params::new(&[one_range(pages)]).packing_tightly()).ok().map(|pool| Tight(Pool(pool)))
    }

    fn build_tracking(pages: u64) -> Option<Self> {
        GenPool::new(&Params::new(&[one_range(pages)]).packing_tightly().tracking_clear()).ok().map(|pool| Tight(Pool(pool)))
    }

    fn hand(&mut self) -> &Pool {
        &self.0
    }
}

impl SyncPeer for Tight {
    fn share(&self) -> &Pool {
        &self.0
    }
}

/// A driver that keeps nothing with its folios, and is told when one is free.
pub struct Told;

impl PgmapOps for Told {
    type Data = ();
}

/// A peer whose runs are folios: counted, and told to their driver when the last reference goes. No other peer does that.
pub trait Counted: Peer {
    /// A folio's whole life: into service, one more reference, both put. Says whether it came about.
    fn cycle(hand: &mut Self::Hand<'_>, order: Order) -> bool;
}

/// Folios through a handle of its own for each thread.
pub struct FolioHandle(Pgmap<'static, Told>);

impl Peer for FolioHandle {
    const NAME: &'static str = "folio handle";
    type Hand<'a> = Local<'a, Told>;

    fn build(pages: u64) -> Option<Self> {
        Pgmap::new(&Params::new(&[one_range(pages)]), Told).ok().map(FolioHandle)
    }

    fn hand(&mut self) -> Local<'_, Told> {
        self.share()
    }
}

impl SyncPeer for FolioHandle {
    fn share(&self) -> Local<'_, Told> {
        handle(self.0.local())
    }
}

impl<'p> Hand for Local<'p, Told> {
    type Block = Folio<'p, Told>;

    fn alloc(&mut self, order: u32) -> Option<Folio<'p, Told>> {
        self.alloc_folio(Order::new(order).ok()?).ok()
    }

    fn free(&mut self, block: Folio<'p, Told>, _order: u32) {
        let put = self.put(block);
        debug_assert!(put.is_ok());
    }

    fn page(block: &Folio<'p, Told>) -> u64 {
        block.offset().get()
    }
}

impl Counted for FolioHandle {
    fn cycle(hand: &mut Local<'_, Told>, order: Order) -> bool {
        let Ok(folio) = hand.alloc_folio(order) else { return false };
        let second = folio.clone();
        let put = (hand.put(folio), hand.put(std::hint::black_box(second)));
        matches!(put, (Ok(_), Ok(_)))
    }
}

/// Folios without a handle.
pub struct Folios(Pgmap<'static, Told>);

impl Peer for Folios {
    const NAME: &'static str = "folio shared";
    type Hand<'a> = &'a Folios;

    fn build(pages: u64) -> Option<Self> {
        Pgmap::new(&Params::new(&[one_range(pages)]), Told).ok().map(Folios)
    }

    fn hand(&mut self) -> &Folios {
        self
    }
}

impl SyncPeer for Folios {
    fn share(&self) -> &Folios {
        self
    }
}

impl<'p> Hand for &'p Folios {
    type Block = Folio<'p, Told>;

    fn alloc(&mut self, order: u32) -> Option<Folio<'p, Told>> {
        self.0.alloc_folio(Order::new(order).ok()?).ok()
    }

    fn free(&mut self, block: Folio<'p, Told>, _order: u32) {
        drop(block);
    }

    fn page(block: &Folio<'p, Told>) -> u64 {
        block.offset().get()
    }
}

impl Counted for Folios {
    fn cycle(hand: &mut &Folios, order: Order) -> bool {
        let Ok(folio) = hand.0.alloc_folio(order) else { return false };
        let second = folio.clone();
        drop(folio);
        drop(std::hint::black_box(second));
        true
    }
}

/// The simplest device: one range from physical address zero.
pub(super) fn one_range(pages: u64) -> PhysRange {
    PhysRange { start: Phys(0), pages }
}

/// No more than two threads are measured at once, and a pool has many more handles.
fn handle<T>(local: Option<T>) -> T {
    local.unwrap_or_else(|| unreachable!("a fresh pool has handles left"))
}
