//! The conformance suite's small machine on the host mover, whose copies are late.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use pgmap_alloc::{Order, Params, Pgmap, Phys, PhysRange};
use pgmap_ttm::conformance::{self, SWAP};
use pgmap_ttm::{ByObject, HostMover, Manager};

pub use pgmap_ttm::conformance::{OWNERS, assert_idle, check, check_resident, fill, settle};

pub type Man<'p> = Manager<'p, HostMover>;
pub type Rig<'p> = conformance::Rig<'p, HostMover, ByObject>;

/// Small pages: what is checked is that every byte moves, not how many there are.
pub const SHIFT: u32 = 9;
/// Copies are done this many copies late, unless they are waited for.
pub const DELAY: u64 = 3;

pub fn pgmap(pages: u64) -> Pgmap<'static, ByObject> {
    let ranges = [PhysRange { start: Phys(1 << 30), pages }];
    Pgmap::new(&Params { page_shift: SHIFT, ..Params::new(&ranges) }, ByObject).unwrap()
}

/// A manager over one device, then host memory, then a swap.
pub fn rig<'p>(pgmap: &'p Pgmap<'p, ByObject>, host: u64) -> Rig<'p> {
    let mut mover = HostMover::new(SHIFT, DELAY);
    let end = pgmap.ranges().map(|range| range.first.get() + range.pages).max().unwrap();
    [end, host, SWAP].into_iter().for_each(|pages| mover.add(pages).unwrap());
    Rig::new(pgmap, mover, host)
}

pub fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

/// What a page of an object holds.
pub fn contents(seed: u64, page: u64) -> Vec<u8> {
    conformance::contents(seed, page, 1 << SHIFT)
}
