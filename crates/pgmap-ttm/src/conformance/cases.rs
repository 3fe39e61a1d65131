//! The cases, one function each. They mirror TTM's unit tests by behaviour; none of their text is in here.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use std::thread;

use pgmap_alloc::PgmapOps;

use super::{Rig, Subject, check, fill};
use crate::bo::{Bo, ObjectParams};
use crate::device::Holder;
use crate::error::{CopyError, EvictError, FreeError, Stale, UnpinError, ValidateError};
use crate::manager::Step;
use crate::place::{MemoryType, Place, Placement};

/// How long a held copy is let lie, so that whoever does not wait for it is well past it. Nothing is measured by it.
const LATE: Duration = Duration::from_millis(20);

/// Does something that has to wait for held copies, which are let go meanwhile, as a device does.
fn while_let_go<T>(let_go: Box<dyn FnOnce() + Send>, waits: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(LATE);
            let_go();
        });
        waits()
    })
}

/// An object is placed, filled, and moved with all of its bytes.
pub fn req_53_basic<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let bo = r.m.create(r.params(12)).unwrap();
    assert_eq!(r.m.info(bo).unwrap().resident, 0);
    assert_eq!(r.m.validate(bo, &r.to_vram()), Ok(true));
    assert_eq!((r.home(bo), r.m.info(bo).unwrap().resident), (Some(r.vram), 12));
    assert_eq!(r.m.counters().copies, 0, "pages that stand nowhere are not copied");
    fill(&mut r.m, bo, 1);
    assert_eq!(r.m.validate(bo, &r.to_host()), Ok(true));
    assert_eq!(r.home(bo), Some(r.host));
    check(&mut r.m, bo, 1);
    assert_eq!(r.m.validate(bo, &r.to_vram()), Ok(true));
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

/// A placement that cannot be is refused by name.
pub fn req_53_invalid_placement_changes_nothing<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let bo = r.in_host(32, 2);
    let foreign = MemoryType(4);
    let places = [Place::new(r.vram), Place::new(foreign)];
    let unknown = ValidateError::UnknownMemory { place: 1, memory: foreign };
    assert_eq!(r.m.validate(bo, &Placement::new(&places)), Err(unknown));
    let empty = Place::new(r.vram).within(7, 7);
    assert_eq!(r.m.validate(bo, &empty.into()), Err(ValidateError::EmptyWindow { place: 0 }));
    assert_eq!(r.m.validate(bo, &r.to_vram()), Err(ValidateError::TooLarge));
    assert_eq!(r.m.validate(bo, &Place::new(r.host).within(0, 31).into()), Err(ValidateError::TooLarge));
    assert_eq!(r.home(bo), Some(r.host));
    check(&mut r.m, bo, 2);
    r.finish(&[bo]);
}

/// Where an object stands well, it stays.
pub fn req_53_same_placement_does_nothing<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let bo = r.in_vram(20, 3);
    let before: Vec<_> = r.m.pieces(bo).unwrap().collect();
    assert_eq!(r.m.validate(bo, &r.to_vram()), Ok(false));
    let either = Placement::new(&[Place::new(r.host), Place::new(r.vram)]);
    assert_eq!(r.m.validate(bo, &either), Ok(false), "any of the places is good enough");
    assert_eq!(before, r.m.pieces(bo).unwrap().collect::<Vec<_>>());
    assert_eq!(r.m.counters().copies, 0);
    check(&mut r.m, bo, 3);
    r.finish(&[bo]);
}

/// No room, no charge: the object stays where it was.
pub fn req_53_failed_allocation_leaves_the_object<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let bo = r.in_host(20, 4);
    r.m.set_fault_hook(|step| step == Step::Allocate);
    assert_eq!(r.m.validate(bo, &r.to_vram()), Err(ValidateError::NoSpace));
    r.m.set_fault_hook(|step| step == Step::Charge);
    assert_eq!(r.m.validate(bo, &r.to_vram()), Err(ValidateError::OverLimit));
    r.m.clear_fault_hook();
    assert_eq!(r.home(bo), Some(r.host));
    check(&mut r.m, bo, 4);
    r.finish(&[bo]);
}

/// A pinned object does not move, and is not freed.
pub fn req_53_pinned_is_refused<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let bo = r.in_host(20, 5);
    r.m.pin(bo).unwrap();
    assert_eq!(r.m.validate(bo, &r.to_vram()), Err(ValidateError::Pinned));
    assert_eq!(r.m.validate(bo, &Placement::nowhere()), Err(ValidateError::Pinned));
    assert_eq!(r.m.validate(bo, &r.to_host()), Ok(false), "it stands there already");
    assert_eq!(r.m.free(bo), Err(FreeError::Pinned));
    assert_eq!(r.m.evict(bo), Err(EvictError::Pinned));
    r.m.unpin(bo).unwrap();
    assert_eq!(r.m.unpin(bo), Err(UnpinError::NotPinned));
    assert_eq!(r.m.validate(bo, &r.to_vram()), Ok(true));
    check(&mut r.m, bo, 5);
    r.finish(&[bo]);
}

/// Another place that has room comes before pushing anyone out.
pub fn req_53_busy_placement_leads_to_the_next<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let first = r.in_vram(16, 6);
    let bo = r.m.create(r.params(8)).unwrap();
    r.m.validate(bo, &Placement::new(&[Place::new(r.vram), Place::new(r.host)])).unwrap();
    fill(&mut r.m, bo, 7);
    assert_eq!((r.home(bo), r.home(first)), (Some(r.host), Some(r.vram)), "nobody is pushed out while another place has room");
    check(&mut r.m, first, 6);
    check(&mut r.m, bo, 7);
    r.finish(&[first, bo]);
}

/// Where there is no direct way, the object stops in between, and nothing stays there.
pub fn req_53_multihop_bounces<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    r.m.mover_mut().detour(swap, vram, host);
    let bo = r.in_vram(20, 7);
    for (there, bounced) in [(swap, 1), (vram, 2)] {
        r.m.validate(bo, &Place::new(there).into()).unwrap();
        assert_eq!((r.home(bo), r.m.counters().bounced), (Some(there), bounced));
        check(&mut r.m, bo, 7);
        r.m.wait_all();
        assert_eq!(r.m.memory_usage(host).unwrap().used, 0, "nothing stays at the stop");
    }
    r.finish(&[bo]);
}

/// A stop with less room than the object is passed in parts, there and back.
pub fn req_53_multihop_in_parts<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    r.m.mover_mut().detour(swap, vram, host);
    let bo = r.in_vram(20, 7);
    for (there, bounced) in [(swap, 1), (vram, 2)] {
        r.m.validate(bo, &Place::new(there).into()).unwrap();
        assert_eq!((r.home(bo), r.m.counters().bounced), (Some(there), bounced));
        check(&mut r.m, bo, 7);
        r.m.wait_all();
        assert_eq!(r.m.memory_usage(host).unwrap().used, 0, "nothing stays at the stop");
    }
    assert!(r.m.counters().copies > 4, "more than the two legs of each way");
    r.finish(&[bo]);
}

/// A second leg that fails takes the object back to where the first one began.
pub fn req_53_multihop_failing_half_way_goes_back<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    let bo = r.in_vram(20, 8);
    let mut copies = 0;
    r.m.set_fault_hook(move |step| {
        copies += i32::from(step == Step::Copy);
        // The first is the direct way, the second goes to the stop.
        step == Step::Copy && copies == 3
    });
    let to_swap = Place::new(swap).into();
    assert_eq!(r.m.validate(bo, &to_swap), Err(ValidateError::Copy(CopyError::Failed)));
    assert_eq!((r.home(bo), r.m.counters().bounced), (Some(vram), 1));
    r.m.clear_fault_hook();
    check(&mut r.m, bo, 8);
    assert_eq!(r.m.validate(bo, &to_swap), Ok(true));
    check(&mut r.m, bo, 8);
    r.finish(&[bo]);
}

/// The pages of an object that has left are another's only once the copy out of them has ended.
pub fn req_55_move_fence_not_signalled_is_waited_for<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let bo = r.in_vram(16, 1);
    let let_go = r.m.mover_mut().hold();
    r.m.evict(bo).unwrap();
    assert_eq!(r.home(bo), Some(r.host), "the object has moved");
    let ticket = r.m.info(bo).unwrap().moved_at.unwrap();
    assert_eq!(r.m.mover_mut().is_signalled(ticket), Ok(false));
    r.m.reap();
    let usage = r.m.memory_usage(r.vram).unwrap();
    assert_eq!((usage.used, usage.leaving, r.in_service()), (16, 16, 16), "its folios have not");
    assert!(matches!(r.m.holder(r.vram, 0), Ok(Holder::Ghost)));
    let new = r.m.create(r.params(16)).unwrap();
    assert_eq!(r.m.counters().waits, 0);
    let to_vram = r.to_vram();
    while_let_go(let_go, || {
        r.m.validate(new, &to_vram).unwrap();
        assert_eq!(r.m.mover_mut().is_signalled(ticket), Ok(true), "whoever has the room has waited for it");
    });
    assert!(r.m.counters().waits > 0);
    fill(&mut r.m, new, 2);
    check(&mut r.m, bo, 1);
    check(&mut r.m, new, 2);
    r.finish(&[bo, new]);
}

/// Nobody waits for a copy that has ended.
pub fn req_55_move_fence_signalled_costs_no_wait<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let bo = r.in_vram(16, 1);
    r.m.evict(bo).unwrap();
    let ticket = r.m.info(bo).unwrap().moved_at.unwrap();
    r.m.mover_mut().wait(ticket).unwrap();
    let new = r.m.create(r.params(16)).unwrap();
    r.m.validate(new, &r.to_vram()).unwrap();
    assert_eq!(r.m.counters().waits, 0);
    fill(&mut r.m, new, 2);
    check(&mut r.m, bo, 1);
    check(&mut r.m, new, 2);
    r.finish(&[bo, new]);
}

/// The least recently used leave for the one that comes, and no more than it takes.
pub fn req_53_happy_evict<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let old: Vec<Bo> = (0..4).map(|seed| r.in_vram(4, seed)).collect();
    let new = r.in_vram(6, 9);
    let homes: Vec<_> = old.iter().map(|bo| r.home(*bo)).collect();
    assert_eq!(homes, [Some(r.host), Some(r.host), Some(r.vram), Some(r.vram)], "the least recently used go, and no more");
    check_all(&mut r, &old);
    check(&mut r.m, new, 9);
    r.finish(&[&old[..], &[new]].concat());
}

/// Pinned objects make no room.
pub fn req_53_all_pinned_is_no_space<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let old: Vec<Bo> = (0..4).map(|seed| r.in_vram(4, seed)).collect();
    old.iter().for_each(|bo| r.m.pin(*bo).unwrap());
    let new = r.in_host(4, 9);
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::NoSpace));
    check(&mut r.m, new, 9);
    old.iter().for_each(|bo| r.m.unpin(*bo).unwrap());
    assert!(old.iter().all(|bo| r.home(*bo) == Some(r.vram)));
    check_all(&mut r, &old);
    r.finish(&[&old[..], &[new]].concat());
}

/// The one that may go goes, whatever its age.
pub fn req_53_allowed_only<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let old: Vec<Bo> = (0..4).map(|seed| r.in_vram(4, seed)).collect();
    for i in [0, 1, 3] {
        r.m.pin(old[i]).unwrap();
    }
    let new = r.in_vram(4, 9);
    assert_eq!(r.home(old[2]), Some(r.host), "the only one that may go, though not the oldest");
    for i in [0, 1, 3] {
        assert_eq!(r.home(old[i]), Some(r.vram));
        r.m.unpin(old[i]).unwrap();
    }
    check_all(&mut r, &old);
    check(&mut r.m, new, 9);
    r.finish(&[&old[..], &[new]].concat());
}

/// Pages of an object that was freed in the middle of a copy are waited for before anyone alive has to go.
pub fn req_53_deleted_goes_before_the_living<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let living = r.in_vram(8, 1);
    let deleted = r.in_host(8, 2);
    let let_go = r.m.mover_mut().hold();
    r.m.validate(deleted, &r.to_vram()).unwrap();
    r.m.free(deleted).unwrap();
    assert_eq!(r.pgmap.validate().unwrap().idle, 0, "its pages wait for the copy into them");
    let new = while_let_go(let_go, || r.in_vram(8, 3));
    assert_eq!((r.home(living), r.m.counters().evicted), (Some(r.vram), 0));
    assert_eq!(r.m.info(deleted), Err(Stale));
    check(&mut r.m, living, 1);
    check(&mut r.m, new, 3);
    r.finish(&[living, new]);
}

/// Who has nowhere to go stays, and so does everyone else.
pub fn req_53_busy_domain_leaves_everyone<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let old = r.in_vram(16, 1);
    let full = r.in_host(12, 2);
    r.m.pin(full).unwrap();
    let new = r.m.create(r.params(8)).unwrap();
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::NoSpace));
    assert_eq!((r.home(old), r.home(full), r.home(new)), (Some(r.vram), Some(r.host), None));
    check(&mut r.m, old, 1);
    check(&mut r.m, full, 2);
    r.m.unpin(full).unwrap();
    r.finish(&[old, full, new]);
}

/// What goes nowhere when it is pushed out loses its pages, without a copy.
pub fn req_53_gutting<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let cache = r.m.create(ObjectParams::new(16)).unwrap();
    r.m.validate(cache, &r.to_vram()).unwrap();
    fill(&mut r.m, cache, 1);
    let new = r.in_vram(16, 2);
    assert_eq!((r.m.info(cache).unwrap().resident, r.m.counters().gutted, r.m.counters().copies), (0, 1, 0));
    check(&mut r.m, new, 2);
    r.m.validate(cache, &r.to_host()).unwrap();
    fill(&mut r.m, cache, 3);
    check(&mut r.m, cache, 3);
    r.finish(&[cache, new]);
}

/// Without a placement an object stands nowhere, and its pages are idle.
pub fn req_53_no_placement_takes_the_pages_at_once_when_nothing_is_under_way<M: Subject, O: PgmapOps<Data = usize>>(
    mut r: Rig<'_, M, O>,
) {
    let (bo, other) = (r.in_vram(20, 9), r.in_host(20, 10));
    assert_eq!(r.m.validate(bo, &Placement::nowhere()), Ok(true));
    assert_eq!(r.m.info(bo).unwrap().resident, 0);
    assert_eq!(r.in_service(), 0);
    assert_eq!(r.m.validate(bo, &Placement::nowhere()), Ok(false));
    check(&mut r.m, other, 10);
    r.finish(&[bo, other]);
}

/// They are idle only once the copy into them has ended.
pub fn req_53_no_placement_keeps_the_pages_until_the_copy_has_signalled<M: Subject, O: PgmapOps<Data = usize>>(
    mut r: Rig<'_, M, O>,
) {
    let (bo, other) = (r.in_host(20, 10), r.in_vram(20, 11));
    let let_go = r.m.mover_mut().hold();
    r.m.validate(bo, &r.to_vram()).unwrap();
    r.m.validate(bo, &Placement::nowhere()).unwrap();
    assert_eq!(r.m.info(bo).unwrap().resident, 0);
    r.m.reap();
    assert_eq!(r.in_service(), 40, "the copy still writes there");
    while_let_go(let_go, || r.m.wait_all());
    assert_eq!(r.in_service(), 20);
    check(&mut r.m, other, 11);
    r.finish(&[bo, other]);
}

/// Who is pushed out may push out another.
pub fn req_53_recursive_evict<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let low = r.m.create(ObjectParams::new(16).evict_to(Place::new(r.swap))).unwrap();
    r.m.validate(low, &r.to_host()).unwrap();
    fill(&mut r.m, low, 1);
    let mid = r.in_vram(16, 2);
    let new = r.in_vram(16, 3);
    assert_eq!((r.home(low), r.home(mid), r.home(new)), (Some(r.swap), Some(r.host), Some(r.vram)));
    for (bo, seed) in [(low, 1), (mid, 2), (new, 3)] {
        check(&mut r.m, bo, seed);
    }
    r.finish(&[low, mid, new]);
}

/// Host pages go to the swap, the oldest first, and come back.
pub fn req_53_swapout<M: Subject, O: PgmapOps<Data = usize>>(mut r: Rig<'_, M, O>) {
    let objects: Vec<Bo> = (0..4).map(|seed| r.in_host(8, seed)).collect();
    r.m.pin(objects[0]).unwrap();
    assert_eq!(r.m.swapout(r.host, r.swap, 10), Ok(16));
    let homes: Vec<_> = objects.iter().map(|bo| r.home(*bo)).collect();
    assert_eq!(homes, [Some(r.host), Some(r.swap), Some(r.swap), Some(r.host)]);
    assert_eq!(r.m.counters().swapped_out, 2);
    r.m.unpin(objects[0]).unwrap();
    check_all(&mut r, &objects);
    r.m.validate(objects[1], &r.to_host()).unwrap();
    check(&mut r.m, objects[1], 1);
    assert_eq!(r.m.swapout(r.host, r.host, 10), Ok(0), "nobody goes where he stands");
    r.finish(&objects);
}

/// Each holds what it was filled with: its place in the list.
fn check_all<M: Subject, O: PgmapOps<Data = usize>>(r: &mut Rig<'_, M, O>, objects: &[Bo]) {
    for (seed, bo) in (0..).zip(objects) {
        check(&mut r.m, *bo, seed);
    }
}
