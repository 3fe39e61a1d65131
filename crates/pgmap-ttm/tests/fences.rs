//! Eviction behind fences: pages are put when the copy has signalled, and a copy that fails is undone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pgmap_ttm::*;
use support::*;

#[test]
fn req_55_many_leave_before_the_first_is_waited_for() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 64);
    let old: Vec<Bo> = (0..3).map(|seed| r.in_vram(8, seed)).collect();
    let piece = r.in_vram(8, 9);
    r.m.touch(old[0]).unwrap();
    let new = r.m.create(r.params(24)).unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&steps);
    r.m.set_fault_hook(move |step| {
        recorder.lock().unwrap().push(step);
        false
    });
    r.m.validate(new, &r.to_vram()).unwrap();
    r.m.clear_fault_hook();
    let copies_and_fences: Vec<Step> =
        steps.lock().unwrap().iter().copied().filter(|step| matches!(step, Step::Copy | Step::Fence)).collect();
    assert_eq!(copies_and_fences, [Step::Copy, Step::Copy, Step::Copy, Step::Fence, Step::Fence, Step::Fence]);
    assert_eq!(r.home(old[0]), Some(r.vram));
    r.finish(&[old[0], old[1], old[2], piece, new]);
}

#[test]
fn req_55_refused_copy_leaves_the_object_where_it_was() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_vram(16, 1);
    let before: Vec<_> = r.m.pieces(bo).unwrap().collect();
    r.m.mover_mut().refuse_next();
    assert_eq!(r.m.evict(bo), Err(EvictError::Copy(CopyError::Failed)));
    assert_eq!(before, r.m.pieces(bo).unwrap().collect::<Vec<_>>());
    assert_eq!(r.m.memory_usage(r.host).unwrap().used, 0);
    check(&mut r.m, bo, 1);
    // The need of another is refused with the same reason, and nobody has moved.
    let new = r.m.create(r.params(4)).unwrap();
    r.m.mover_mut().refuse_next();
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::Copy(CopyError::Failed)));
    check(&mut r.m, bo, 1);
    assert_eq!(r.home(bo), Some(r.vram));
    r.finish(&[bo, new]);
}

#[test]
fn req_55_copy_that_fails_later_is_undone() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_vram(16, 1);
    let before: Vec<_> = r.m.pieces(bo).unwrap().collect();
    r.m.mover_mut().spoil_next();
    r.m.evict(bo).unwrap();
    assert_eq!(r.home(bo), Some(r.host));
    assert_eq!(r.m.wait(bo), Err(WaitError::CopyFailed));
    assert_eq!(r.m.wait(bo), Ok(()), "said once");
    assert_eq!(before, r.m.pieces(bo).unwrap().collect::<Vec<_>>());
    check(&mut r.m, bo, 1);
    r.audit();
    r.finish(&[bo]);
}

#[test]
fn req_55_failure_found_while_making_room_is_undone_too() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let a = r.in_vram(8, 1);
    let b = r.in_vram(8, 2);
    r.m.mover_mut().spoil_next();
    // a leaves, fails to, and comes back; b leaves instead.
    let new = r.in_vram(8, 3);
    assert_eq!((r.home(a), r.home(b), r.home(new)), (Some(r.vram), Some(r.host), Some(r.vram)));
    assert_eq!(r.m.counters().undone, 1);
    for (bo, seed) in [(a, 1), (b, 2), (new, 3)] {
        check(&mut r.m, bo, seed);
    }
    r.finish(&[a, b, new]);
}

#[test]
fn req_55_both_legs_of_a_bounce_are_undone() {
    for spoiled_leg in [0, 1] {
        let pgmap = pgmap(16);
        let mut r = rig(&pgmap, 64);
        let (vram, host, swap) = (r.vram, r.host, r.swap);
        r.m.mover_mut().detour(vram, swap, host);
        let bo = r.in_vram(16, 1);
        let mut fences = 0;
        r.m.set_fault_hook(move |step| {
            fences += i32::from(step == Step::Fence);
            step == Step::Fence && fences == spoiled_leg + 1
        });
        r.m.validate(bo, &Place::new(swap).into()).unwrap();
        assert_eq!(r.m.wait(bo), Err(WaitError::CopyFailed));
        // A first leg that has ended is not undone: the object is at the stop, and leaves it at its next validation.
        assert_eq!(r.home(bo), Some(if spoiled_leg == 0 { vram } else { host }));
        check(&mut r.m, bo, 1);
        r.m.clear_fault_hook();
        r.m.validate(bo, &r.to_host()).unwrap();
        check(&mut r.m, bo, 1);
        r.finish(&[bo]);
    }
}

#[test]
fn req_55_pin_waits_and_tells() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_host(16, 1);
    r.m.mover_mut().spoil_next();
    r.m.validate(bo, &r.to_vram()).unwrap();
    assert_eq!(r.m.pin(bo), Err(PinError::CopyFailed));
    assert_eq!(r.home(bo), Some(r.host));
    r.m.validate(bo, &r.to_vram()).unwrap();
    r.m.pin(bo).unwrap();
    check(&mut r.m, bo, 1);
    r.m.unpin(bo).unwrap();
    r.finish(&[bo]);
}

#[test]
fn req_55_freed_pages_wait_for_the_device() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let used = r.in_vram(8, 1);
    let other = r.in_host(8, 2);
    r.m.validate(other, &r.to_vram()).unwrap();
    let ticket = r.m.info(other).unwrap().moved_at.unwrap();
    r.m.used_until(used, ticket).unwrap();
    r.m.free(used).unwrap();
    assert_eq!(pgmap.validate().unwrap().in_service, 16);
    r.m.wait(other).unwrap();
    r.m.reap();
    assert_eq!(pgmap.validate().unwrap().in_service, 8);
    check(&mut r.m, other, 2);
    r.finish(&[other]);
}

#[test]
fn req_55_a_lost_device_takes_nothing_that_had_not_left() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_host(8, 1);
    let leaving = r.in_host(8, 2);
    r.m.validate(leaving, &r.to_vram()).unwrap();
    r.m.mover_mut().lose();
    assert_eq!(r.m.validate(bo, &r.to_vram()), Err(ValidateError::Copy(CopyError::Lost)));
    assert_eq!(r.m.wait(leaving), Err(WaitError::CopyFailed));
    assert_eq!((r.home(bo), r.home(leaving)), (Some(r.host), Some(r.host)));
    check(&mut r.m, bo, 1);
    check(&mut r.m, leaving, 2);
    r.finish(&[bo, leaving]);
}

#[test]
fn req_55_a_move_waits_for_the_one_before() {
    let (a, b) = (pgmap(16), pgmap(16));
    let mut mover = HostMover::new(SHIFT, 8);
    [16, 16, 64].into_iter().for_each(|pages| mover.add(pages).unwrap());
    let mut m: Man<'_> = Manager::new(mover, SHIFT);
    let (a, b) = (m.add(ResourceManager::device(&a)).unwrap(), m.add(ResourceManager::device(&b)).unwrap());
    let host = Place::new(m.add(ResourceManager::host(64)).unwrap());
    let make = |m: &mut Man<'_>, pages, place: Place, seed| {
        let bo = m.create(ObjectParams::new(pages).evict_to(host)).unwrap();
        m.validate(bo, &place.into()).unwrap();
        fill(m, bo, seed);
        bo
    };
    let in_the_way = make(&mut m, 4, Place::new(b).within(12, 16), 1);
    // One folio, that a copy which fails brings into two; half of those are where the next placement wants them, the other half
    // has to wait for room. The failure is found in that wait, and the one folio is back.
    let bo = make(&mut m, 8, Place::new(a).with(Flags::CONTIGUOUS), 2);
    m.mover_mut().spoil_next();
    m.validate(bo, &Place::new(b).within(4, 12).into()).unwrap();
    assert_eq!(m.pieces(bo).unwrap().count(), 2);
    m.validate(bo, &Place::new(b).within(8, 16).into()).unwrap();
    m.audit().unwrap();
    check(&mut m, bo, 2);
    check(&mut m, in_the_way, 1);
    assert_eq!((m.home(bo), m.home(in_the_way)), (Ok(Some(b)), Ok(Some(host.memory))));
}

/// Tells what the last wait was for.
struct Watched(HostMover, Arc<AtomicU64>);

impl Mover for Watched {
    fn copy(&mut self, from: &[Piece], to: &[Piece], bytes: u64) -> Result<Ticket, CopyError> {
        let pages = |pieces: &[Piece]| pieces.iter().map(|piece| piece.pages).sum::<u64>();
        assert_eq!((pages(from) << SHIFT, pages(to) << SHIFT), (bytes, bytes));
        self.0.copy(from, to, bytes)
    }

    fn is_signalled(&mut self, ticket: Ticket) -> Result<bool, FenceError> {
        self.0.is_signalled(ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), FenceError> {
        self.1.store(ticket.0, Ordering::Relaxed);
        self.0.wait(ticket)
    }
}

#[test]
fn dropping_a_manager_waits_and_gives_everything_back() {
    let pgmap = pgmap(16);
    let waited = Arc::new(AtomicU64::new(0));
    {
        let mut mover = HostMover::new(SHIFT, DELAY);
        [16, 16].into_iter().for_each(|pages| mover.add(pages).unwrap());
        let mut m = Manager::new(Watched(mover, Arc::clone(&waited)), SHIFT);
        let vram = m.add(ResourceManager::device(&pgmap)).unwrap();
        let host = Place::new(m.add(ResourceManager::host(16)).unwrap());
        let bo = m.create(ObjectParams::new(8).evict_to(host)).unwrap();
        let _stays = m.validate(bo, &Place::new(vram).into()).unwrap();
        m.evict(bo).unwrap();
        assert_eq!((waited.load(Ordering::Relaxed), pgmap.validate().unwrap().in_service), (0, 8));
    }
    assert_eq!(waited.load(Ordering::Relaxed), 1);
    assert_idle(&pgmap);
}

#[test]
fn a_manager_can_be_put_behind_one_lock() {
    fn shareable<T: Send + Sync>() {}
    fn movable<T: Send>() {}
    movable::<Man<'static>>();
    shareable::<Mutex<Man<'static>>>();
}
