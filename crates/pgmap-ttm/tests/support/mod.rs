//! A small machine: one device, host memory, a swap, and objects whose every byte is known.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use pgmap_alloc::{Order, Owners, Params, Pgmap, Phys, PhysRange};
use pgmap_ttm::{
    Audit, Bo, ByObject, HostMover, Manager, MemoryType, ObjectParams, Owner, Piece, Place, Placement, ResourceManager, WaitError,
};

pub type Man<'p> = Manager<'p, HostMover>;

/// Small pages: what is checked is that every byte moves, not how many there are.
pub const SHIFT: u32 = 9;
/// Copies are done this many copies late, unless they are waited for.
pub const DELAY: u64 = 3;
/// Owners with an account; of those, 3 and 4 stand under 0.
pub const OWNERS: usize = 8;
const PARENTS: [Option<Owner>; OWNERS] = [None, None, None, Some(Owner(0)), Some(Owner(0)), None, None, None];

pub fn pgmap(pages: u64) -> Pgmap<'static, ByObject> {
    let ranges = [PhysRange { start: Phys(1 << 30), pages }];
    Pgmap::new(&Params { page_shift: SHIFT, ..Params::new(&ranges) }, ByObject).unwrap()
}

/// A manager over one device, then host memory, then a swap.
pub struct Rig<'p> {
    pub m: Man<'p>,
    pub pgmap: &'p Pgmap<'p, ByObject>,
    pub vram: MemoryType,
    pub host: MemoryType,
    pub swap: MemoryType,
    /// The accounts of each memory type, which nobody but the manager charges.
    pub owners: [&'static Owners<OWNERS>; 3],
}

pub fn rig<'p>(pgmap: &'p Pgmap<'p, ByObject>, host: u64) -> Rig<'p> {
    let mut mover = HostMover::new(SHIFT, DELAY);
    let end = pgmap.ranges().map(|range| range.first.get() + range.pages).max().unwrap();
    [end, host, 256].into_iter().for_each(|pages| mover.add(pages).unwrap());
    let mut m = Manager::new(mover, SHIFT);
    let owners: [&Owners<OWNERS>; 3] = std::array::from_fn(|_| &*Box::leak(Box::new(Owners::with_parents(PARENTS).unwrap())));
    let vram = m.add(ResourceManager::device(pgmap).charged_to(owners[0])).unwrap();
    let host = m.add(ResourceManager::host(host).charged_to(owners[1])).unwrap();
    let swap = m.add(ResourceManager::host(256).charged_to(owners[2])).unwrap();
    Rig { m, pgmap, vram, host, swap, owners }
}

impl Rig<'_> {
    pub fn to_vram(&self) -> Placement {
        Place::new(self.vram).into()
    }

    pub fn to_host(&self) -> Placement {
        Place::new(self.host).into()
    }

    /// What an ordinary object is made of: it goes to the host when it is pushed out.
    pub fn params(&self, pages: u64) -> ObjectParams {
        ObjectParams::new(pages).evict_to(Place::new(self.host))
    }

    /// An object in device memory, with known bytes.
    pub fn in_vram(&mut self, pages: u64, seed: u64) -> Bo {
        let bo = self.m.create(self.params(pages)).unwrap();
        self.m.validate(bo, &self.to_vram()).unwrap();
        fill(&mut self.m, bo, seed);
        bo
    }

    /// An object in host memory, with known bytes.
    pub fn in_host(&mut self, pages: u64, seed: u64) -> Bo {
        let bo = self.m.create(self.params(pages)).unwrap();
        self.m.validate(bo, &self.to_host()).unwrap();
        fill(&mut self.m, bo, seed);
        bo
    }

    pub fn home(&self, bo: Bo) -> Option<MemoryType> {
        self.m.home(bo).unwrap()
    }

    /// Every book agrees with every other, and the accounts with what is taken, to the page.
    pub fn audit(&self) -> Audit {
        for (memory, owners) in [self.vram, self.host, self.swap].into_iter().zip(self.owners) {
            let top = (0..OWNERS as u32).map(Owner).filter(|owner| owners.parent(*owner).is_none());
            let charged: u64 = top.map(|owner| owners.usage(owner).unwrap().pages).sum();
            assert_eq!(charged, self.m.memory_usage(memory).unwrap().used, "what owners are charged for in {memory}");
        }
        self.m.audit().unwrap()
    }

    /// Waits for everything, frees the objects, and finds nothing left anywhere.
    pub fn finish(mut self, objects: &[Bo]) {
        for bo in objects {
            self.m.free(*bo).unwrap();
        }
        self.m.wait_all();
        assert_eq!(self.audit(), Audit::default());
        for memory in [self.vram, self.host, self.swap] {
            assert_eq!(self.m.memory_usage(memory).unwrap().used, 0, "{memory} leaks");
        }
        assert_idle(self.pgmap);
    }
}

/// Every page of the pgmap is idle, by its own validator.
pub fn assert_idle(pgmap: &Pgmap<'_, ByObject>) {
    let census = pgmap.validate().unwrap();
    assert_eq!((census.in_service, census.block), (0, 0));
}

pub fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

/// What a page of an object holds.
pub fn contents(seed: u64, page: u64) -> Vec<u8> {
    let word = |at: u64| (seed << 40 ^ page << 16 ^ at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..1 << (SHIFT - 3)).flat_map(|at| word(at).to_le_bytes()).collect()
}

fn pages_of(piece: Piece) -> impl Iterator<Item = Piece> {
    (piece.first..piece.first + piece.pages).map(move |first| Piece { first, pages: 1, ..piece })
}

/// Writes the object's bytes, all of them where it is resident.
pub fn fill(m: &mut Man<'_>, bo: Bo, seed: u64) {
    settle(m, bo);
    let pieces: Vec<_> = m.pieces(bo).unwrap().collect();
    for (first, piece) in pieces {
        for (page, piece) in (first..).zip(pages_of(piece)) {
            m.mover_mut().bytes_mut(piece).unwrap().copy_from_slice(&contents(seed, page));
        }
    }
}

/// Reads every byte of an object that is wholly resident.
pub fn check(m: &mut Man<'_>, bo: Bo, seed: u64) {
    let info = m.info(bo).unwrap();
    assert_eq!(info.resident, info.pages, "an object lost pages");
    check_resident(m, bo, seed);
}

/// Reads every byte of an object that stands somewhere.
pub fn check_resident(m: &mut Man<'_>, bo: Bo, seed: u64) {
    settle(m, bo);
    for (first, piece) in m.pieces(bo).unwrap() {
        for (page, piece) in (first..).zip(pages_of(piece)) {
            assert!(m.mover().bytes(piece).unwrap() == contents(seed, page), "page {page} of {bo:?} in {piece:?}");
        }
    }
}

/// Waits for the object's copies; one that failed is no matter here.
pub fn settle(m: &mut Man<'_>, bo: Bo) {
    assert!(matches!(m.wait(bo), Ok(()) | Err(WaitError::CopyFailed)));
}
