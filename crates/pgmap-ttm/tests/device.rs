//! Faults, carve-outs, hot-unplug, and what is refused at the door.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{AllocError, Offset, Order, Params, Pgmap, Phys, PhysRange};
use pgmap_ttm::*;
use support::*;

#[test]
fn fault_brings_one_folio_of_the_order_asked_for() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 128);
    let bo = r.in_host(50, 1);
    let vram = Place::new(r.vram);
    assert_eq!(r.m.fault(bo, 21, &vram, order(3), order(0)), Ok(Faulted { first: 16, order: Some(order(3)) }));
    assert_eq!(r.m.fault(bo, 21, &vram, order(3), order(0)), Ok(Faulted { first: 21, order: None }));
    let there: Vec<_> = r.m.pieces(bo).unwrap().filter(|(_, p)| p.memory == r.vram).collect();
    assert_eq!((there.len(), there[0].0, there[0].1.pages), (1, 16, 8));
    assert_eq!(r.home(bo), None, "the rest has stayed");
    check(&mut r.m, bo, 1);
    // Order 4 around page 24 would hold pages that are there already, order 2 around the last would reach beyond the end.
    assert_eq!(r.m.fault(bo, 24, &vram, order(4), order(0)), Ok(Faulted { first: 24, order: Some(order(3)) }));
    assert_eq!(r.m.fault(bo, 49, &vram, order(2), order(0)), Ok(Faulted { first: 48, order: Some(order(1)) }));
    check(&mut r.m, bo, 1);
    assert_eq!(r.m.memory_usage(r.host).unwrap().used, 50 - 18, "what came has left the host");
    r.m.validate(bo, &r.to_vram()).unwrap();
    assert_eq!(r.home(bo), Some(r.vram));
    check(&mut r.m, bo, 1);
    r.m.evict(bo).unwrap();
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

#[test]
fn fault_goes_down_to_the_floor_before_it_pushes_anyone_out() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let old = r.m.create(r.params(13)).unwrap();
    r.m.validate(old, &r.to_vram()).unwrap();
    fill(&mut r.m, old, 1);
    let bo = r.in_host(32, 2);
    let vram = Place::new(r.vram);
    let small = r.m.fault(bo, 0, &vram, order(3), order(0)).unwrap();
    assert!(small.order.unwrap() < order(3) && r.home(old) == Some(r.vram));
    assert_eq!(r.m.fault(bo, 8, &vram, order(3), order(3)), Ok(Faulted { first: 8, order: Some(order(3)) }));
    assert_eq!(r.home(old), Some(r.host));
    check(&mut r.m, old, 1);
    check(&mut r.m, bo, 2);
    r.finish(&[old, bo]);
}

#[test]
fn fault_of_a_page_that_stands_nowhere_copies_nothing() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.m.create(r.params(40)).unwrap();
    r.m.fault(bo, 33, &Place::new(r.vram), order(2), order(0)).unwrap();
    assert_eq!((r.m.info(bo).unwrap().resident, r.m.counters().copies), (4, 0));
    fill(&mut r.m, bo, 1);
    r.m.evict(bo).unwrap();
    check_resident(&mut r.m, bo, 1);
    assert_eq!(r.m.pin(bo), Err(PinError::NotResident));
    r.finish(&[bo]);
}

#[test]
fn fault_takes_a_part_out_of_a_larger_folio() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_vram(32, 1);
    assert_eq!(pgmap.validate().unwrap().folios, 1);
    let host = Place::new(r.host);
    assert_eq!(r.m.fault(bo, 13, &host, order(1), order(0)), Ok(Faulted { first: 12, order: Some(order(1)) }));
    r.audit();
    let stay: Vec<_> = r.m.pieces(bo).unwrap().filter(|(_, p)| p.memory == r.vram).map(|(page, p)| (page, p.pages)).collect();
    assert_eq!(stay, [(0, 8), (8, 4), (14, 2), (16, 16)], "as few parts as there can be");
    for (page, piece) in r.m.pieces(bo).unwrap().filter(|(_, p)| p.memory == r.vram) {
        assert_eq!(r.m.holder(r.vram, piece.first + piece.pages - 1), Ok(Holder::Object { bo, page: page + piece.pages - 1 }));
    }
    assert_eq!(pgmap.validate().unwrap().in_service, 32, "the part that left is a ghost");
    assert_eq!(r.m.memory_usage(r.vram).unwrap().leaving, 2);
    check(&mut r.m, bo, 1);
    assert_eq!(pgmap.validate().unwrap().in_service, 30);
    r.m.validate(bo, &r.to_vram()).unwrap();
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

#[test]
fn fault_leaves_a_folio_whole_that_someone_else_holds() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_vram(32, 1);
    let held = pgmap.try_get(Offset::new(20)).unwrap();
    let host = Place::new(r.host);
    assert_eq!(r.m.fault(bo, 13, &host, order(1), order(0)), Err(FaultError::Busy));
    assert_eq!((pgmap.validate().unwrap().folios, r.m.memory_usage(r.host).unwrap().used), (1, 0));
    drop(held);
    r.m.mover_mut().refuse_next();
    assert_eq!(r.m.fault(bo, 13, &host, order(1), order(0)), Err(FaultError::Copy(CopyError::Failed)));
    assert_eq!((r.home(bo), r.m.memory_usage(r.host).unwrap().used), (Some(r.vram), 0), "split, and where it was");
    r.audit();
    check(&mut r.m, bo, 1);
    // Started, and failed: the parts are back.
    r.m.mover_mut().spoil_next();
    r.m.fault(bo, 13, &host, order(1), order(0)).unwrap();
    assert_eq!(r.m.wait(bo), Err(WaitError::CopyFailed));
    assert_eq!(r.home(bo), Some(r.vram));
    r.audit();
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

#[test]
fn fault_gives_its_room_back_when_someone_takes_a_reference_in_the_middle() {
    // The hook outlives the test, so what it looks at does, too.
    let pgmap: &'static Pgmap<'static, ByObject> = Box::leak(Box::new(pgmap(64)));
    let mut r = rig(pgmap, 64);
    let bo = r.in_vram(32, 1);
    let head = Offset::new(r.m.pieces(bo).unwrap().next().unwrap().1.first);
    r.m.set_fault_hook(move |step| {
        if step == Step::Allocate {
            pgmap.get_raw(head).unwrap();
        }
        false
    });
    assert_eq!(r.m.fault(bo, 13, &Place::new(r.host), order(1), order(0)), Err(FaultError::Busy));
    r.m.clear_fault_hook();
    assert_eq!((r.home(bo), pgmap.validate().unwrap().folios, r.m.memory_usage(r.host).unwrap().used), (Some(r.vram), 1, 0));
    r.audit();
    pgmap.put_raw(head, 1).unwrap();
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

#[test]
fn fault_refuses_what_cannot_be() {
    let (a, b) = (pgmap(16), pgmap(16));
    let mut mover = HostMover::new(SHIFT, DELAY);
    [16, 16].into_iter().for_each(|pages| mover.add(pages).unwrap());
    let mut m: Man<'_> = Manager::new(mover, SHIFT);
    let first = m.add(ResourceManager::device(&a)).unwrap();
    let second = m.add(ResourceManager::device(&b)).unwrap();
    let bo = m.create(ObjectParams::new(8)).unwrap();
    m.validate(bo, &Place::new(first).into()).unwrap();
    let to = Place::new(second);
    assert_eq!(m.fault(bo, 8, &to, order(0), order(0)), Err(FaultError::OutOfRange { pages: 8 }));
    assert_eq!(m.fault(bo, 0, &to, order(0), order(1)), Err(FaultError::FloorAboveOrder));
    assert_eq!(m.fault(bo, 0, &to.within(3, 3), order(0), order(0)), Err(FaultError::EmptyWindow));
    assert_eq!(m.fault(bo, 0, &to, order(4), order(4)), Err(FaultError::NoRun), "the object ends too early");
    assert_eq!(m.fault(bo, 0, &to, order(3), order(0)), Ok(Faulted { first: 0, order: Some(order(3)) }));
    m.pin(bo).unwrap();
    assert_eq!(m.fault(bo, 0, &Place::new(first), order(3), order(0)), Err(FaultError::Pinned));
}

#[test]
fn carve_outs_hold_no_object() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 128);
    let window = |first, last| Window { first, last };
    r.m.carve_out(r.vram, window(3, 21), 7).unwrap();
    r.m.carve_out(r.vram, window(21, 24), 7).unwrap();
    assert_eq!(r.m.memory_usage(r.vram).unwrap().carved, 21);
    assert_eq!(r.m.holder(r.vram, 20), Ok(Holder::CarveOut(7)));
    assert_eq!(r.m.holder(r.vram, 24), Ok(Holder::Idle));
    assert_eq!(r.m.holder(r.vram, 64), Err(LookupError::OutOfRange { page: 64 }));
    let bo = r.in_vram(43, 1);
    assert!(r.m.pieces(bo).unwrap().all(|(_, p)| p.first + p.pages <= 3 || p.first >= 24));
    assert_eq!(r.m.carve_out(r.vram, window(0, 2), 8), Err(CarveError::InUse { page: 0 }));
    assert_eq!(r.m.carve_out(r.vram, window(60, 70), 8), Err(CarveError::InUse { page: 60 }));
    assert_eq!(r.m.carve_out(r.vram, window(5, 5), 8), Err(CarveError::EmptyWindow));
    assert_eq!(r.m.carve_out(r.host, window(0, 2), 8), Err(CarveError::NotDevice(r.host)));
    assert_eq!(r.m.give_back(r.vram, 30), Err(CarveError::NotCarved));
    r.m.give_back(r.vram, 10).unwrap();
    assert_eq!(r.m.memory_usage(r.vram).unwrap().carved, 3, "its neighbour with the same tag stays");
    r.m.give_back(r.vram, 22).unwrap();
    r.m.evict(bo).unwrap();
    r.m.wait_all();
    assert_eq!(r.m.carve_out(r.vram, window(60, 70), 8), Err(CarveError::OutOfRange { page: 64 }));
    assert_idle(&pgmap);
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

#[test]
fn ranges_and_holes() {
    // Alignment in offset space is alignment in physical space, so there is a hole between the ranges.
    let ranges = [PhysRange { start: Phys(0), pages: 20 }, PhysRange { start: Phys(64 << SHIFT), pages: 12 }];
    let pgmap = Pgmap::new(&Params { page_shift: SHIFT, ..Params::new(&ranges) }, ByObject).unwrap();
    let mut r = rig(&pgmap, 64);
    let spans: Vec<_> = pgmap.ranges().map(|range| (range.first.get(), range.first.get() + range.pages)).collect();
    let usage = r.m.memory_usage(r.vram).unwrap();
    assert_eq!((usage.pages, usage.end), (32, spans[1].1));
    assert!(spans[0].1 < spans[1].0, "the test wants a hole");
    let bo = r.in_vram(32, 1);
    check(&mut r.m, bo, 1);
    assert_eq!(r.m.validate(bo, &Place::new(r.vram).within(0, spans[1].0 + 11).into()), Err(ValidateError::TooLarge));
    let run = Place::new(r.vram).with(Flags::CONTIGUOUS);
    assert_eq!(r.m.validate(bo, &run.into()), Err(ValidateError::TooLarge), "no folio crosses a hole");
    r.m.free(bo).unwrap();
    let top = r.m.create(r.params(20)).unwrap();
    r.m.validate(top, &Place::new(r.vram).with(Flags::TOP_DOWN).into()).unwrap();
    let mut pages: Vec<u64> = r.m.pieces(top).unwrap().flat_map(|(_, p)| p.first..p.first + p.pages).collect();
    pages.sort_unstable();
    assert_eq!(pages, (0..16).chain(spans[1].1 - 4..spans[1].1).collect::<Vec<_>>());
    fill(&mut r.m, top, 2);
    // Carve-outs may cross from one range into the next, not into a hole.
    r.m.evict(top).unwrap();
    r.m.wait_all();
    let hole = Window { first: 4, last: spans[1].1 };
    assert_eq!(r.m.carve_out(r.vram, hole, 1), Err(CarveError::OutOfRange { page: spans[0].1 }));
    assert_idle(&pgmap);
    check(&mut r.m, top, 2);
    r.finish(&[top]);
}

#[test]
fn unplug_evicts_kills_and_drains() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let objects: Vec<Bo> = (0..3).map(|seed| r.in_vram(5, seed)).collect();
    r.m.carve_out(r.vram, Window { first: 15, last: 16 }, 1)
        .or_else(|_| r.m.carve_out(r.vram, Window { first: 0, last: 1 }, 1))
        .ok();
    r.m.pin(objects[1]).unwrap();
    assert_eq!(r.m.unplug(r.vram).err(), Some(UnplugError::Pinned(objects[1])));
    assert_eq!(r.home(objects[0]), Some(r.vram));
    r.m.unpin(objects[1]).unwrap();
    assert_eq!(r.m.unplug(r.host).err(), Some(UnplugError::NotDevice(r.host)));
    let drained = r.m.unplug(r.vram).unwrap().drain(|_| panic!("nothing of ours is in service"));
    drained.teardown();
    assert_eq!(pgmap.alloc_folio_with(Order::ZERO, 0).err(), Some(AllocError::Dying));
    assert_eq!(r.m.unplug(r.vram).err(), Some(UnplugError::UnknownMemory(r.vram)));
    for (seed, bo) in (0..).zip(&objects) {
        assert_eq!(r.home(*bo), Some(r.host));
        check(&mut r.m, *bo, seed);
    }
    let either = Placement::new(&[Place::new(r.vram), Place::new(r.host)]);
    assert_eq!(r.m.validate(objects[0], &r.to_vram()), Err(ValidateError::NoSpace));
    assert_eq!(r.m.validate(objects[0], &either), Ok(false));
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()));
    r.finish(&objects);
}

#[test]
fn req_74_unplug_that_cannot_finish_moves_nobody() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 12);
    let (a, b) = (r.in_vram(8, 1), r.in_vram(8, 2));
    assert_eq!(r.m.unplug(r.vram).err(), Some(UnplugError::Evict(b, EvictError::NoSpace)));
    assert_eq!(
        (r.home(a), r.home(b), r.m.counters().copies),
        (Some(r.vram), Some(r.vram), 0),
        "the one that could leave stays, too"
    );
    let c = r.m.create(r.params(12)).unwrap();
    r.m.free(b).unwrap();
    r.m.wait_all();
    r.m.mover_mut().spoil_next();
    assert_eq!(r.m.unplug(r.vram).err(), Some(UnplugError::CopyFailed(a)));
    assert_eq!(r.home(a), Some(r.vram));
    check(&mut r.m, a, 1);
    r.finish(&[a, c]);
}

#[test]
fn unplug_of_a_lost_device_guts_everything() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 64);
    let (stays, pinned, used) = (r.in_vram(8, 1), r.in_vram(4, 2), r.in_vram(4, 3));
    let (partly, arriving, leaving) = (r.in_host(8, 4), r.in_host(4, 5), r.in_vram(4, 6));
    let cached = r.in_host(4, 7);
    r.m.carve_out(r.vram, Window { first: 31, last: 32 }, 1).unwrap();
    r.m.pin(pinned).unwrap();
    r.m.fault(partly, 0, &Place::new(r.vram), order(1), order(1)).unwrap();
    r.m.wait(partly).unwrap();
    r.m.validate(arriving, &r.to_vram()).unwrap();
    r.m.evict(leaving).unwrap();
    r.m.used_until(used, r.m.info(leaving).unwrap().moved_at.unwrap()).unwrap();
    let held = pgmap.try_get(Offset::new(r.m.pieces(stays).unwrap().next().unwrap().1.first)).unwrap();
    r.m.mover_mut().lose();

    assert_eq!(r.m.unplug_lost(r.host).err(), Some(UnplugError::NotDevice(r.host)));
    let killed = r.m.unplug_lost(r.vram).unwrap();
    let left = |bo| r.m.info(bo).unwrap().resident;
    assert_eq!([stays, pinned, used, leaving].map(left), [0; 4], "what stood there, or had not left, is lost");
    assert_eq!([partly, arriving, cached].map(left), [6, 4, 4], "what stands in the host is not");
    assert_eq!((r.m.counters().gutted, r.home(arriving)), (5, Some(r.host)));
    r.audit();
    assert_eq!(r.m.memory_usage(r.vram).unwrap().used, 0);
    // Only what someone else holds is still in service; when that is put the drain ends.
    let mut holders = vec![held];
    killed.drain(|holdout| assert_eq!(holders.pop().map(|folio| folio.offset()), Some(holdout.offset))).teardown();
    assert_eq!(r.m.unplug_lost(r.vram).err(), Some(UnplugError::UnknownMemory(r.vram)));
    assert_eq!(r.m.wait(arriving), Err(WaitError::CopyFailed));
    check(&mut r.m, arriving, 5);
    check_resident(&mut r.m, partly, 4);
    check(&mut r.m, cached, 7);
    r.m.unpin(pinned).unwrap();
    assert_eq!(r.m.validate(stays, &r.to_vram()), Err(ValidateError::NoSpace));
    assert_eq!(r.m.validate(stays, &r.to_host()), Ok(true), "it stands again, with nothing in it");
    r.finish(&[stays, pinned, used, partly, arriving, leaving, cached]);
}

#[test]
fn what_was_lost_with_a_device_does_not_come_back_empty() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_host(8, 1);
    assert_eq!(r.m.swapout(r.host, r.vram, 1), Ok(8));
    r.m.wait(bo).unwrap();
    r.m.unplug_lost(r.vram).unwrap().drain(|_| panic!("nothing of ours is in service")).teardown();
    let info = r.m.info(bo).unwrap();
    assert_eq!((info.resident, info.pushed_out), (0, false));
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()));
    r.finish(&[bo]);
}

#[test]
fn nobody_moves_onto_a_device_that_is_being_unplugged() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 8);
    let up = r.m.create(ObjectParams::new(8).evict_to(Place::new(r.vram))).unwrap();
    r.m.validate(up, &r.to_host()).unwrap();
    let down = r.in_vram(8, 1);
    assert_eq!(r.m.unplug(r.vram).err(), Some(UnplugError::Evict(down, EvictError::NoSpace)));
    assert_eq!((r.home(up), r.home(down)), (Some(r.host), Some(r.vram)));
    check(&mut r.m, down, 1);
    r.finish(&[up, down]);
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    assert_eq!(r.m.create(ObjectParams::new(0)), Err(CreateError::NoPages));
    assert_eq!(r.m.create(ObjectParams::new(u64::MAX)), Err(CreateError::TooLarge { largest: 256 }));
    assert_eq!(r.m.add(ResourceManager::host(0)), Err(AddError::NoPages));
    let bo = r.in_vram(4, 1);
    r.m.free(bo).unwrap();
    let again = r.in_vram(4, 2);
    assert_eq!(again.key(), bo.key(), "the key is used again, the handle is not");
    assert_eq!(r.m.free(bo), Err(FreeError::Stale));
    assert_eq!(r.m.validate(bo, &r.to_vram()), Err(ValidateError::Stale));
    assert_eq!(r.m.wait(bo), Err(WaitError::Stale));
    assert_eq!(r.m.touch(bo), Err(Stale));
    let mut m = Manager::<HostMover>::new(HostMover::new(SHIFT + 1, 0), SHIFT + 1);
    let shifts = AddError::PageShift { pgmap: SHIFT, manager: SHIFT + 1 };
    assert_eq!(m.add(ResourceManager::device(&pgmap)), Err(shifts));
    for _ in 0..MemoryType::MAX {
        m.add(ResourceManager::host(1)).unwrap();
    }
    assert_eq!(m.add(ResourceManager::host(1)), Err(AddError::TooMany));
    let mut mover = HostMover::new(70, 0);
    assert_eq!(mover.add(1), Err(AddError::OutOfMemory));
    assert_eq!(HostMover::new(SHIFT, 0).add(u64::MAX), Err(AddError::OutOfMemory));
    assert_eq!(mover.bytes(Piece { memory: r.vram, first: u64::MAX, pages: 2 }), None);
    check(&mut r.m, again, 2);
    r.finish(&[again]);
}
