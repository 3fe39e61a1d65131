//! A small machine: one device, host memory, a swap, and objects whose every byte is known.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use pgmap_alloc::{Owner, Owners, Pgmap, PgmapOps};

use super::Subject;
use crate::audit::Audit;
use crate::bo::{Bo, ObjectParams};
use crate::error::WaitError;
use crate::manager::Manager;
use crate::piece::Piece;
use crate::place::{MemoryType, Place, Placement};
use crate::resource::ResourceManager;

/// Pages of the swap.
pub const SWAP: u64 = 256;
/// Owners with an account; of those, 3 and 4 stand under 0.
pub const OWNERS: usize = 8;
const PARENTS: [Option<Owner>; OWNERS] = [None, None, None, Some(Owner(0)), Some(Owner(0)), None, None, None];

/// A manager over one device, then host memory, then a swap.
pub struct Rig<'p, M: Subject, O: PgmapOps<Data = usize>> {
    /// The manager.
    pub m: Manager<'p, M, O>,
    /// The device's memory.
    pub pgmap: &'p Pgmap<'p, O>,
    /// Memory 0, which the pgmap is of.
    pub vram: MemoryType,
    /// Memory 1: host pages.
    pub host: MemoryType,
    /// Memory 2: [`SWAP`] host pages.
    pub swap: MemoryType,
    /// The accounts of each memory type, which nobody but the manager charges.
    pub owners: [&'static Owners<OWNERS>; 3],
}

impl<'p, M: Subject, O: PgmapOps<Data = usize>> Rig<'p, M, O> {
    /// A mover that moves between the pgmap, `host` host pages and [`SWAP`] pages of swap, in this order.
    pub fn new(pgmap: &'p Pgmap<'p, O>, mover: M, host: u64) -> Self {
        let mut m = Manager::new(mover, pgmap.page_shift());
        // A test has few rigs, and each is used to the end of the test.
        let owners: [&Owners<OWNERS>; 3] = core::array::from_fn(|_| &*Box::leak(Box::new(Owners::with_parents(PARENTS).unwrap())));
        let vram = m.add(ResourceManager::device(pgmap).charged_to(owners[0])).unwrap();
        let host = m.add(ResourceManager::host(host).charged_to(owners[1])).unwrap();
        let swap = m.add(ResourceManager::host(SWAP).charged_to(owners[2])).unwrap();
        Rig { m, pgmap, vram, host, swap, owners }
    }

    /// Into device memory, anywhere.
    pub fn to_vram(&self) -> Placement {
        Place::new(self.vram).into()
    }

    /// Into host memory, anywhere.
    pub fn to_host(&self) -> Placement {
        Place::new(self.host).into()
    }

    /// What an ordinary object is made of: it goes to the host when it is pushed out.
    pub fn params(&self, pages: u64) -> ObjectParams {
        ObjectParams::new(pages).evict_to(Place::new(self.host))
    }

    /// An object in device memory, with known bytes.
    pub fn in_vram(&mut self, pages: u64, seed: u64) -> Bo {
        self.at(&self.to_vram(), pages, seed)
    }

    /// An object in host memory, with known bytes.
    pub fn in_host(&mut self, pages: u64, seed: u64) -> Bo {
        self.at(&self.to_host(), pages, seed)
    }

    fn at(&mut self, placement: &Placement, pages: u64, seed: u64) -> Bo {
        let bo = self.m.create(self.params(pages)).unwrap();
        self.m.validate(bo, placement).unwrap();
        fill(&mut self.m, bo, seed);
        bo
    }

    /// Where all of an object stands.
    pub fn home(&self, bo: Bo) -> Option<MemoryType> {
        self.m.home(bo).unwrap()
    }

    /// Pages of the pgmap that are in service.
    pub fn in_service(&self) -> u64 {
        self.pgmap.validate().unwrap().in_service
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
pub fn assert_idle<O: PgmapOps>(pgmap: &Pgmap<'_, O>) {
    let census = pgmap.validate().unwrap();
    assert_eq!((census.in_service, census.block), (0, 0));
}

/// What a page of an object holds.
pub fn contents(seed: u64, page: u64, page_bytes: usize) -> Vec<u8> {
    let word = |at: u64| (seed << 40 ^ page << 16 ^ at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..page_bytes as u64 / 8).flat_map(|at| word(at).to_le_bytes()).collect()
}

fn pages_of(piece: Piece) -> impl Iterator<Item = Piece> {
    (piece.first..piece.first + piece.pages).map(move |first| Piece { first, pages: 1, ..piece })
}

/// Each page of an object that stands somewhere, and where.
fn pages<M: Subject, O: PgmapOps<Data = usize>>(m: &Manager<'_, M, O>, bo: Bo) -> Vec<(u64, Piece)> {
    m.pieces(bo).unwrap().flat_map(|(first, piece)| (first..).zip(pages_of(piece))).collect()
}

/// Writes the object's bytes, all of them where it is resident.
pub fn fill<M: Subject, O: PgmapOps<Data = usize>>(m: &mut Manager<'_, M, O>, bo: Bo, seed: u64) {
    settle(m, bo);
    let page_bytes = m.mover().page_bytes();
    for (page, piece) in pages(m, bo) {
        m.mover_mut().write_piece(piece, &contents(seed, page, page_bytes));
    }
}

/// Reads every byte of an object that is wholly resident.
pub fn check<M: Subject, O: PgmapOps<Data = usize>>(m: &mut Manager<'_, M, O>, bo: Bo, seed: u64) {
    let info = m.info(bo).unwrap();
    assert_eq!(info.resident, info.pages, "an object lost pages");
    check_resident(m, bo, seed);
}

/// Reads every byte of an object that stands somewhere.
pub fn check_resident<M: Subject, O: PgmapOps<Data = usize>>(m: &mut Manager<'_, M, O>, bo: Bo, seed: u64) {
    settle(m, bo);
    let page_bytes = m.mover().page_bytes();
    let mut bytes = vec![0; page_bytes];
    for (page, piece) in pages(m, bo) {
        m.mover_mut().read_piece(piece, &mut bytes);
        assert!(bytes == contents(seed, page, page_bytes), "page {page} of {bo:?} in {piece:?}");
    }
}

/// Waits for the object's copies; one that failed is no matter here.
pub fn settle<M: Subject, O: PgmapOps<Data = usize>>(m: &mut Manager<'_, M, O>, bo: Bo) {
    assert!(matches!(m.wait(bo), Ok(()) | Err(WaitError::CopyFailed)));
}
