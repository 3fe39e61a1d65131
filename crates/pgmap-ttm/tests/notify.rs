//! The mover is told where an object stands, after each change and before anyone else can have its old pages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

use pgmap_ttm::*;
use support::{SHIFT, assert_idle, order, pgmap};

/// A mover that keeps a page table.
struct Mapping {
    host: HostMover,
    stands: BTreeMap<Bo, Vec<(u64, Piece)>>,
    told: u64,
}

impl Mover for Mapping {
    fn copy(&mut self, from: &[Piece], to: &[Piece], bytes: u64) -> Result<Ticket, CopyError> {
        self.host.copy(from, to, bytes)
    }

    fn is_signalled(&mut self, ticket: Ticket) -> Result<bool, FenceError> {
        self.host.is_signalled(ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), FenceError> {
        self.host.wait(ticket)
    }

    fn move_notify(&mut self, bo: Bo, pieces: &mut dyn Iterator<Item = (u64, Piece)>) {
        self.stands.insert(bo, pieces.collect());
        self.told += 1;
    }
}

/// What the mover was told is what the manager says; and it was told something since the last look.
fn look(m: &mut Manager<'_, Mapping>, objects: &[Bo], what: &str) {
    for bo in objects {
        let pieces: Vec<_> = m.pieces(*bo).unwrap().collect();
        let told = m.mover().stands.get(bo).cloned().unwrap_or_default();
        assert_eq!(told, pieces, "after {what}");
    }
    assert!(std::mem::take(&mut m.mover_mut().told) > 0, "{what} moved nothing");
}

#[test]
fn the_mover_is_told_of_every_move_and_its_undoing() {
    let pgmap = pgmap(8);
    let mut host = HostMover::new(SHIFT, 1);
    [8, 16, 16].into_iter().for_each(|pages| host.add(pages).unwrap());
    let mapping = Mapping { host, stands: BTreeMap::new(), told: 0 };
    let mut m = Manager::new(mapping, SHIFT);
    let vram = m.add(ResourceManager::device(&pgmap)).unwrap();
    let host = m.add(ResourceManager::host(16)).unwrap();
    let swap = m.add(ResourceManager::host(16)).unwrap();
    m.mover_mut().host.detour(host, vram, swap);

    let object = |m: &mut Manager<'_, Mapping>| m.create(ObjectParams::new(5).evict_to(Place::new(host))).unwrap();
    let (a, b) = (object(&mut m), object(&mut m));
    m.validate(a, &Place::new(vram).into()).unwrap();
    look(&mut m, &[a, b], "the first pages");
    m.validate(b, &Place::new(vram).into()).unwrap();
    look(&mut m, &[a, b], "an eviction for another's sake");
    assert_eq!(m.home(a).unwrap(), Some(host));
    m.fault(a, 1, &Place::new(vram), order(0), order(0)).unwrap();
    look(&mut m, &[a, b], "a fault, which needs a stop on the way");

    m.set_fault_hook(|step| step == Step::Fence);
    m.validate(b, &Place::new(host).into()).unwrap();
    look(&mut m, &[a, b], "a move whose copy will fail");
    assert_eq!(m.wait(b), Err(WaitError::CopyFailed));
    m.clear_fault_hook();
    look(&mut m, &[a, b], "the failure, which puts it back");
    assert_eq!(m.home(b).unwrap(), Some(vram));

    m.validate(b, &Placement::nowhere()).unwrap();
    look(&mut m, &[a, b], "gutting");
    m.free(a).unwrap();
    assert_eq!((m.mover().stands[&a].len(), m.mover().told), (0, 1), "a freed object stands nowhere");
    m.free(b).unwrap();
    m.wait_all();
    drop(m);
    assert_idle(&pgmap);
}
