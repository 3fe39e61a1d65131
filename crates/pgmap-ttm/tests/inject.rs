//! A failure injected at each step in turn: every object stays readable, and nothing leaks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgmap_alloc::{Drain, Limits};
use pgmap_ttm::*;
use support::*;

/// A story with everything in it; every verb may fail, and no byte may be wrong.
fn story(r: &mut Rig<'_>) -> Vec<(Bo, u64)> {
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    let mut objects: Vec<(Bo, u64)> = Vec::new();
    for seed in 0..5 {
        let bo = r.m.create(r.params(7).owner(Owner([0, 3, 4][seed as usize % 3]))).unwrap();
        if r.m.validate(bo, &Placement::new(&[Place::new(vram), Place::new(host).fallback()])).is_ok() {
            // A copy may still fail: what was written before it is what counts.
            fill(&mut r.m, bo, seed);
            objects.push((bo, seed));
        } else {
            r.m.free(bo).unwrap();
        }
        verify(r, &objects);
    }
    for (bo, _) in objects.clone() {
        let _ = r.m.validate(bo, &r.to_vram());
        verify(r, &objects);
    }
    let _ = r.m.swapout(host, swap, 8);
    verify(r, &objects);
    for (bo, _) in objects.clone() {
        let _ = r.m.evict(bo);
        let _ = r.m.fault(bo, 5, &Place::new(vram), order(2), order(0));
        verify(r, &objects);
        // Out of the middle of a larger folio.
        let _ = r.m.validate(bo, &r.to_vram());
        let _ = r.m.fault(bo, 1, &Place::new(host), order(0), order(0));
        verify(r, &objects);
        let _ = r.m.validate(bo, &Place::new(swap).into());
        verify(r, &objects);
    }
    let _ = r.m.evict_pages(vram, 9);
    let _ = r.m.promote(u64::MAX);
    verify(r, &objects);
    // Short of limit where there is room, in one run from the high end, and for a group that is used together.
    let bulk = r.m.create_bulk();
    r.owners[0].set_limits(Owner(0), Limits { min: 0, low: 0, max: 14 }).unwrap();
    let (one_run, top) = (Place::new(vram).with(Flags::CONTIGUOUS), Place::new(vram).with(Flags::CONTIGUOUS | Flags::TOP_DOWN));
    for (bo, place) in objects.clone().into_iter().map(|(bo, _)| bo).zip([one_run, top].into_iter().cycle()) {
        r.m.set_bulk(bo, Some(bulk)).unwrap();
        let _ = r.m.validate(bo, &Placement::new(&[place, Place::new(swap)]));
        r.m.bulk_move(bulk).unwrap();
        verify(r, &objects);
    }
    r.owners[0].set_limits(Owner(0), Limits::NONE).unwrap();
    objects.iter().for_each(|(bo, _)| r.m.set_bulk(*bo, None).unwrap());
    r.m.free_bulk(bulk).unwrap();
    if let Some((bo, _)) = objects.pop() {
        r.m.free(bo).unwrap();
    }
    verify(r, &objects);
    // Either everything leaves the device, or it stays in use.
    match r.m.unplug(vram) {
        Ok(killed) => {
            assert!(matches!(killed.poll_drain(), Drain::Done(_)), "something of the manager's is still in service");
            assert!(objects.iter().all(|(bo, _)| r.m.pieces(*bo).unwrap().all(|(_, piece)| piece.memory != vram)));
        }
        Err(_) => {
            let _ = objects.first().map(|(bo, _)| r.m.validate(*bo, &r.to_vram()));
        }
    }
    verify(r, &objects);
    objects
}

fn verify(r: &mut Rig<'_>, objects: &[(Bo, u64)]) {
    r.audit();
    for (bo, seed) in objects {
        check(&mut r.m, *bo, *seed);
    }
    r.audit();
}

/// Runs the story with the `nth` step of this kind failing; says whether there was one.
fn run(failing: Step, nth: u64) -> bool {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 24);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    // The way to the swap needs a stop, so that both legs get their turn.
    r.m.mover_mut().detour(vram, swap, host);
    let seen = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&seen);
    r.m.set_fault_hook(move |step| step == failing && counter.fetch_add(1, Ordering::Relaxed) == nth);
    let objects: Vec<Bo> = story(&mut r).into_iter().map(|(bo, _)| bo).collect();
    let reached = seen.load(Ordering::Relaxed) > nth;
    r.finish(&objects);
    reached
}

fn every(failing: Step) {
    let steps = (0..).take_while(|nth| run(failing, *nth)).count();
    assert!(steps > 20, "the story has {steps} such steps");
}

#[test]
fn req_57_every_charge_may_fail() {
    every(Step::Charge);
}

#[test]
fn req_57_every_allocation_may_fail() {
    every(Step::Allocate);
}

#[test]
fn req_57_every_copy_may_fail() {
    every(Step::Copy);
}

#[test]
fn req_57_every_fence_may_fail() {
    every(Step::Fence);
}

#[test]
fn req_57_all_fences_may_fail() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 24);
    r.m.set_fault_hook(|step| step == Step::Fence);
    let objects: Vec<Bo> = story(&mut r).into_iter().map(|(bo, _)| bo).collect();
    r.finish(&objects);
}
