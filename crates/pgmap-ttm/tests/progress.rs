//! Progress within bounds: budgets bound what one call moves, and the largest object still gets where it should.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::Offset;
use pgmap_ttm::*;
use support::*;

/// Copied pages since the last time.
fn copied(r: &Rig<'_>, since: &mut u64) -> u64 {
    let now = r.m.counters().pages_copied;
    now - core::mem::replace(since, now)
}

#[test]
fn req_56_an_object_larger_than_the_budget_comes_back_over_several_calls() {
    for largest in [0, 2, 6] {
        let pgmap = pgmap(64);
        let mut r = rig(&pgmap, 256);
        let big = r.m.create(r.params(50).largest(order(largest))).unwrap();
        r.m.validate(big, &r.to_vram()).unwrap();
        fill(&mut r.m, big, 1);
        r.m.evict(big).unwrap();
        r.m.wait_all();
        let mut since = r.m.counters().pages_copied;
        let mut calls = 0;
        while r.m.info(big).unwrap().pushed_out {
            let promoted = r.m.promote(12).unwrap();
            assert!(promoted.pages > 0 && promoted.pages <= 12, "{promoted:?}");
            assert_eq!(copied(&r, &mut since), promoted.pages);
            assert_eq!(promoted.objects, u64::from(!r.m.info(big).unwrap().pushed_out));
            r.audit();
            check(&mut r.m, big, 1);
            calls += 1;
        }
        assert_eq!((calls, r.home(big)), (5, Some(r.vram)));
        assert_eq!((r.m.counters().promoted, r.m.promote(12)), (1, Ok(Promoted::default())));
        r.finish(&[big]);
    }
}

#[test]
fn req_56_parts_come_only_if_there_is_room_for_all() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 256);
    let big = r.in_vram(40, 1);
    let other = r.in_vram(60, 2);
    let mut since = r.m.counters().pages_copied;
    assert_eq!(r.m.promote(16), Ok(Promoted::default()), "four pages are no use to it");
    r.m.free(other).unwrap();
    let guest = r.in_vram(25, 3);
    assert_eq!(r.m.promote(16), Ok(Promoted::default()), "nor are 39");
    assert_eq!(copied(&r, &mut since), 0);
    r.m.free(guest).unwrap();
    // Half way there, others take the room: what is back stays, and nothing goes away from where it is wanted.
    assert_eq!(r.m.promote(16), Ok(Promoted { objects: 0, pages: 16 }));
    let guest = r.in_vram(30, 3);
    assert_eq!(r.m.promote(16), Ok(Promoted::default()));
    check(&mut r.m, big, 1);
    r.m.free(guest).unwrap();
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted { objects: 1, pages: 24 }));
    check(&mut r.m, big, 1);
    r.finish(&[big]);
}

/// The host is good enough, the device is better: what came back to the device half way does not go to the host for the other half.
#[test]
fn req_56_half_way_home_is_not_left_for_the_second_best() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 64);
    let either = Placement::new(&[Place::new(r.vram), Place::new(r.host)]);
    let bo = r.m.create(ObjectParams::new(24).evict_to(Place::new(r.swap))).unwrap();
    r.m.validate(bo, &either).unwrap();
    fill(&mut r.m, bo, 1);
    r.m.evict(bo).unwrap();
    r.m.wait_all();
    assert_eq!(r.m.promote(8).unwrap().pages, 8);
    let guest = r.in_vram(20, 2);
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()));
    let in_vram: u64 = r.m.pieces(bo).unwrap().filter(|(_, piece)| piece.memory == r.vram).map(|(_, piece)| piece.pages).sum();
    assert_eq!(in_vram, 8);
    check(&mut r.m, bo, 1);
    r.finish(&[bo, guest]);
}

/// One run comes as a whole: not before the calls that left it behind have left as many pages unused, and what was saved is spent then.
#[test]
fn req_56_a_run_larger_than_the_budget_comes_when_it_has_been_saved_for() {
    let pgmap = pgmap(128);
    let mut r = rig(&pgmap, 256);
    let run: Placement = Place::new(r.vram).with(Flags::CONTIGUOUS).into();
    let runs: Vec<Bo> = (0..2)
        .map(|seed| {
            let bo = r.m.create(r.params(40)).unwrap();
            r.m.validate(bo, &run).unwrap();
            fill(&mut r.m, bo, seed);
            bo
        })
        .collect();
    let all = [runs[0], runs[1], r.in_vram(4, 2)];
    all.iter().for_each(|bo| r.m.evict(*bo).unwrap());
    r.m.wait_all();
    let came: Vec<u64> = (0..7).map(|_| r.m.promote(16).unwrap().pages).collect();
    assert_eq!(came, [4, 0, 40, 0, 0, 40, 0], "never more than sixteen a call, all calls together");
    (0..).zip(all).for_each(|(seed, bo)| {
        assert_eq!(r.home(bo), Some(r.vram));
        check(&mut r.m, bo, seed);
    });
    // Nothing is saved for nobody.
    r.m.evict(runs[0]).unwrap();
    r.m.wait_all();
    assert_eq!(r.m.promote(16).unwrap().pages, 0);
    r.finish(&all);
}

/// More than is asked for goes by less than one segment, however large the object.
#[test]
fn req_54_no_more_is_pushed_out_than_is_missing() {
    let pgmap = pgmap(1024);
    let mut r = rig(&pgmap, 2048);
    let big = r.m.create(r.params(1000).largest(order(5))).unwrap();
    r.m.validate(big, &r.to_vram()).unwrap();
    fill(&mut r.m, big, 1);
    for (asked, gone) in [(1, 8), (30, 32), (64, 64), (100, 128)] {
        let before = r.m.counters().pages_copied;
        assert_eq!(r.m.evict_pages(r.vram, asked), Ok(gone));
        assert_eq!(r.m.counters().pages_copied - before, gone);
        r.m.wait_all();
        r.audit();
    }
    check(&mut r.m, big, 1);
    assert!(r.m.info(big).unwrap().pushed_out, "and it all comes back");
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted { objects: 1, pages: 232 }));
    // A run is pushed out whole, for it is a run no longer.
    let run: Placement = Place::new(r.vram).with(Flags::CONTIGUOUS).into();
    r.m.validate(big, &r.to_host()).unwrap();
    r.m.validate(big, &run).unwrap();
    assert_eq!(r.m.evict_pages(r.vram, 1), Ok(1000));
    check(&mut r.m, big, 1);
    r.finish(&[big]);
}

#[test]
fn req_53_a_stop_smaller_than_the_object_is_passed_in_parts() {
    for (largest, parts) in [(0, 5), (2, 5), (3, 5), (6, 5)] {
        let pgmap = pgmap(64);
        let mut r = rig(&pgmap, 6);
        let (vram, host, swap) = (r.vram, r.host, r.swap);
        r.m.mover_mut().detour(vram, swap, host);
        r.m.mover_mut().detour(swap, vram, host);
        let bo = r.m.create(r.params(20).largest(order(largest)).evict_to(Place::new(swap))).unwrap();
        r.m.validate(bo, &r.to_vram()).unwrap();
        fill(&mut r.m, bo, 1);
        r.m.evict(bo).unwrap();
        assert_eq!((r.home(bo), r.m.counters().bounced), (Some(swap), 1));
        assert!(r.m.counters().copies >= 2 * 4 && r.m.counters().copies <= 2 * parts, "{:?}", r.m.counters());
        r.audit();
        check(&mut r.m, bo, 1);
        r.m.validate(bo, &r.to_vram()).unwrap();
        assert_eq!((r.home(bo), r.m.counters().bounced), (Some(vram), 2));
        r.audit();
        check(&mut r.m, bo, 1);
        // In one run, too.
        r.m.evict(bo).unwrap();
        let run = Place::new(vram).with(Flags::CONTIGUOUS | Flags::TOP_DOWN);
        r.m.validate(bo, &run.into()).unwrap();
        assert_eq!(r.m.validate(bo, &run.into()), Ok(false));
        check(&mut r.m, bo, 1);
        r.m.wait_all();
        assert_eq!(r.m.memory_usage(host).unwrap().used, 0, "nothing stays at the stop");
        r.finish(&[bo]);
    }
}

#[test]
fn req_53_a_full_stop_is_named() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 16);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    let full = r.in_host(16, 1);
    r.m.pin(full).unwrap();
    let bo = r.m.create(r.params(8).evict_to(Place::new(swap))).unwrap();
    r.m.validate(bo, &r.to_vram()).unwrap();
    fill(&mut r.m, bo, 2);
    assert_eq!(r.m.evict(bo), Err(EvictError::StopFull(host)));
    assert_eq!(r.m.validate(bo, &Place::new(swap).into()), Err(ValidateError::StopFull(host)));
    assert_eq!((r.home(bo), r.m.pieces(bo).unwrap().count()), (Some(vram), 1), "whole, too");
    assert_eq!(r.m.fault(bo, 0, &Place::new(swap), order(3), order(0)), Err(FaultError::StopFull(host)));
    check(&mut r.m, bo, 2);
    r.m.unpin(full).unwrap();
    r.finish(&[full, bo]);
}

/// A fault wants one folio: it comes at once or not, at an order for which the stop has room.
#[test]
fn req_53_a_fault_through_a_small_stop_comes_at_a_smaller_order() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 7);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(swap, vram, host);
    let bo = r.m.create(r.params(16)).unwrap();
    r.m.validate(bo, &Place::new(swap).into()).unwrap();
    fill(&mut r.m, bo, 1);
    let faulted = r.m.fault(bo, 9, &Place::new(vram), order(4), order(0)).unwrap();
    assert_eq!((faulted.first, faulted.order), (8, Some(order(2))));
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

/// A part that fails, at either leg, at once or later, leaves every page where it can be read, and the next attempt goes on from
/// there.
#[test]
fn req_57_a_part_that_fails_loses_nothing() {
    for failing in [Step::Copy, Step::Fence, Step::Allocate, Step::Charge] {
        for nth in 0..24 {
            let pgmap = pgmap(64);
            let mut r = rig(&pgmap, 6);
            let (vram, host, swap) = (r.vram, r.host, r.swap);
            r.m.mover_mut().detour(vram, swap, host);
            let bo = r.m.create(r.params(20).evict_to(Place::new(swap))).unwrap();
            r.m.validate(bo, &r.to_vram()).unwrap();
            fill(&mut r.m, bo, nth);
            let mut seen = 0;
            r.m.set_fault_hook(move |step| {
                seen += u64::from(step == failing);
                step == failing && seen == nth + 1
            });
            let _ = r.m.evict(bo);
            r.audit();
            check(&mut r.m, bo, nth);
            r.m.clear_fault_hook();
            r.m.validate(bo, &Place::new(swap).into()).unwrap();
            assert_eq!(r.home(bo), Some(swap), "{failing:?} {nth}");
            check(&mut r.m, bo, nth);
            r.finish(&[bo]);
        }
    }
}

/// The first part arrives spoiled: the verb says so, and no other part sets out.
#[test]
fn req_57_a_part_that_is_spoiled_ends_the_move() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 6);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    let bo = r.m.create(r.params(20).evict_to(Place::new(swap))).unwrap();
    r.m.validate(bo, &r.to_vram()).unwrap();
    fill(&mut r.m, bo, 1);
    r.m.mover_mut().spoil_next();
    assert_eq!(r.m.evict(bo), Err(EvictError::Copy(CopyError::Failed)));
    assert_eq!((r.home(bo), r.m.counters().copies, r.m.wait(bo)), (Some(vram), 2, Ok(())), "told once");
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

/// Someone took a reference meanwhile: the folio cannot be cut, so the object stays.
#[test]
fn req_53_what_others_hold_is_not_cut_for_a_stop() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 6);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    let bo = r.in_vram(16, 1);
    let first = r.m.pieces(bo).unwrap().next().unwrap().1.first;
    let held = pgmap.try_get(Offset::new(first)).unwrap();
    assert_eq!(r.m.validate(bo, &Place::new(swap).into()), Err(ValidateError::Busy));
    drop(held);
    assert_eq!(r.m.validate(bo, &Place::new(swap).into()), Ok(true));
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

/// Some of it stands at the stop already, in larger pieces than the parts that fit through.
#[test]
fn req_53_what_stands_at_the_stop_already_goes_on_whole() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 5);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    let bo = r.m.create(r.params(10)).unwrap();
    r.m.validate(bo, &r.to_vram()).unwrap();
    fill(&mut r.m, bo, 1);
    r.m.fault(bo, 4, &Place::new(host), order(2), order(2)).unwrap();
    r.m.validate(bo, &Place::new(swap).into()).unwrap();
    assert_eq!(r.home(bo), Some(swap));
    r.audit();
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}
