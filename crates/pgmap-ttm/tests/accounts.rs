//! True to its limits: who pays until the last put, another owner for an object, and what is not needed now.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{Drain, Folio, Limits, Offset, Owners};
use pgmap_ttm::*;
use support::*;

const A: Owner = Owner(1);
const B: Owner = Owner(2);

fn limit(r: &Rig<'_>, owner: Owner, max: u64) {
    r.owners[0].set_limits(owner, Limits { min: 0, low: 0, max }).unwrap();
}

fn charged(r: &Rig<'_>, owner: Owner) -> u64 {
    r.owners[0].usage(owner).unwrap().pages
}

fn owned(r: &mut Rig<'_>, owner: Owner, pages: u64) -> Result<Bo, ValidateError> {
    let bo = r.m.create(r.params(pages).owner(owner)).unwrap();
    match r.m.validate(bo, &r.to_vram()) {
        Ok(_) => Ok(bo),
        Err(why) => {
            r.m.free(bo).unwrap();
            Err(why)
        }
    }
}

/// A reference to each folio of an object.
fn hold<'p>(r: &Rig<'p>, bo: Bo) -> Vec<Folio<'p, ByObject>> {
    r.m.pieces(bo).unwrap().map(|(_, piece)| r.pgmap.try_get(Offset::new(piece.first)).unwrap()).collect()
}

#[test]
fn req_81_pages_are_charged_until_the_last_put() {
    let pgmap = pgmap(256);
    let mut r = rig(&pgmap, 64);
    limit(&r, A, 16);
    let bo = owned(&mut r, A, 16).unwrap();
    let held = hold(&r, bo);
    r.m.free(bo).unwrap();
    r.m.wait_all();
    let usage = r.m.memory_usage(r.vram).unwrap();
    assert_eq!((charged(&r, A), usage.used, usage.held, usage.leaving), (16, 16, 16, 0));
    assert_eq!(r.audit().held, 16);
    assert_eq!(owned(&mut r, A, 1), Err(ValidateError::OverLimit), "it has 16 already");
    assert!(matches!(r.m.holder(r.vram, held[0].offset().get()), Ok(Holder::Ghost)));
    let other = owned(&mut r, B, 200).unwrap();
    // Nobody can be pushed out of what others hold, so a request for it moves nobody.
    let new = r.m.create(r.params(250).owner(B)).unwrap();
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::NoSpace));
    assert_eq!(r.home(other), Some(r.vram));
    drop(held);
    assert_eq!(charged(&r, A), 16, "until the manager looks");
    r.m.reap();
    assert_eq!((charged(&r, A), r.in_service(), r.audit().held), (0, 200, 0));
    let again = owned(&mut r, A, 16).unwrap();
    r.finish(&[other, new, again]);
}

/// However an object gives its pages up.
#[test]
fn req_81_however_pages_are_given_up() {
    for how in ["free", "nowhere"] {
        let pgmap = pgmap(64);
        let mut r = rig(&pgmap, 64);
        let bo = owned(&mut r, A, 20).unwrap();
        let held = hold(&r, bo);
        assert_eq!(held.len(), 2, "16 and 4");
        let (large, small) = (held[0].clone(), held[1].clone());
        drop(held);
        match how {
            "free" => r.m.free(bo).unwrap(),
            _ => assert_eq!(r.m.validate(bo, &Placement::nowhere()), Ok(true)),
        }
        r.m.wait_all();
        assert_eq!((charged(&r, A), r.audit().held), (20, 20), "{how}");
        drop(large);
        r.m.wait_all();
        assert_eq!((charged(&r, A), r.audit().held, r.in_service()), (4, 4, 4), "{how}");
        drop(small);
        r.m.wait_all();
        assert_eq!((charged(&r, A), r.audit().held, r.in_service()), (0, 0, 0), "{how}");
        r.finish(if how == "nowhere" { core::slice::from_ref(&bo) } else { &[] });
    }
}

/// What others hold keeps nobody from draining a device that was unplugged, once they have put it.
#[test]
fn req_81_an_unplugged_device_is_let_go() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let bo = owned(&mut r, A, 16).unwrap();
    let held = hold(&r, bo);
    r.m.free(bo).unwrap();
    r.m.wait_all();
    let killed = r.m.unplug(r.vram).unwrap();
    assert_eq!((charged(&r, A), r.audit().held), (0, 0));
    let Drain::Waiting(killed, _) = killed.poll_drain() else { panic!("others hold it") };
    drop(held);
    assert!(matches!(killed.poll_drain(), Drain::Done(_)));
    r.finish(&[]);
}

/// The accounts outlive the manager: nobody pays for what is gone.
#[test]
fn req_81_a_dropped_manager_leaves_nobody_charged() {
    let pgmap = pgmap(64);
    let owners = Owners::<4>::new();
    let mut mover = HostMover::new(SHIFT, DELAY);
    [64, 64].into_iter().for_each(|pages| mover.add(pages).unwrap());
    let mut m = Manager::new(mover, SHIFT);
    let vram = m.add(ResourceManager::device(&pgmap).charged_to(&owners)).unwrap();
    let host = m.add(ResourceManager::host(64).charged_to(&owners)).unwrap();
    let objects: Vec<Bo> = (0..3)
        .map(|_| {
            let bo = m.create(ObjectParams::new(10).owner(A).evict_to(Place::new(host))).unwrap();
            m.validate(bo, &Place::new(vram).into()).unwrap();
            bo
        })
        .collect();
    m.evict(objects[0]).unwrap();
    let first = m.pieces(objects[1]).unwrap().next().unwrap().1.first;
    let held = pgmap.try_get(Offset::new(first)).unwrap();
    m.free(objects[1]).unwrap();
    assert_eq!(owners.usage(A).unwrap().pages, 10 + 10 + 8 + 10, "what a ghost and somebody else hold, too");
    drop(m);
    assert_eq!(owners.usage(A).unwrap().pages, 0);
    drop(held);
    assert_idle(&pgmap);
}

#[test]
fn req_81_a_charge_goes_along_to_another_owner_or_stays() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let bo = owned(&mut r, A, 20).unwrap();
    fill(&mut r.m, bo, 1);
    // In two memory types, and half way into one of them.
    r.m.fault(bo, 17, &Place::new(r.host), order(1), order(0)).unwrap();
    let in_host = |r: &Rig<'_>, owner: Owner| r.owners[1].usage(owner).unwrap().pages;
    r.m.set_owner(bo, B).unwrap();
    assert_eq!((charged(&r, A), charged(&r, B), in_host(&r, A), in_host(&r, B)), (0, 18, 0, 2));
    assert_eq!(r.m.info(bo).unwrap().owner, B);
    r.audit();
    // The device would take it, the host does not: nobody pays anything else than before.
    r.owners[1].set_limits(A, Limits { min: 0, low: 0, max: 1 }).unwrap();
    assert_eq!(r.m.set_owner(bo, A), Err(OwnerError::OverLimit(r.host)));
    assert_eq!((charged(&r, A), charged(&r, B), in_host(&r, A), in_host(&r, B)), (0, 18, 0, 2));
    let nobody = Owner(OWNERS as u32);
    assert_eq!(r.m.set_owner(bo, nobody), Err(OwnerError::NoAccount(r.vram)));
    assert_eq!((charged(&r, B), in_host(&r, B), r.m.info(bo).unwrap().owner), (18, 2, B));
    r.audit();
    check(&mut r.m, bo, 1);
    // Between two under the same parent, nothing is needed of the parent, however full.
    r.owners[1].set_limits(A, Limits::NONE).unwrap();
    let [first, second] = [Owner(3), Owner(4)];
    r.m.set_owner(bo, first).unwrap();
    limit(&r, Owner(0), 18);
    r.m.set_owner(bo, second).unwrap();
    assert_eq!((charged(&r, Owner(0)), charged(&r, first), charged(&r, second)), (18, 0, 18));
    assert_eq!(r.m.set_owner(bo, second), Ok(()), "it has it");
    // Nor is anything taken off it when that is undone.
    r.owners[1].set_limits(first, Limits { min: 0, low: 0, max: 1 }).unwrap();
    assert_eq!(r.m.set_owner(bo, first), Err(OwnerError::OverLimit(r.host)));
    assert_eq!((charged(&r, Owner(0)), charged(&r, first), charged(&r, second)), (18, 0, 18));
    r.m.free(bo).unwrap();
    assert_eq!(r.m.set_owner(bo, A), Err(OwnerError::Stale));
    r.finish(&[]);
}

/// The copy that was under way fails: what comes back is the new owner's.
#[test]
fn req_81_a_copy_that_fails_gives_nothing_back_to_the_old_owner() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let bo = owned(&mut r, A, 16).unwrap();
    fill(&mut r.m, bo, 1);
    r.m.mover_mut().spoil_next();
    r.m.evict(bo).unwrap();
    r.m.set_owner(bo, B).unwrap();
    assert_eq!(r.m.wait(bo), Err(WaitError::CopyFailed));
    r.m.wait_all();
    assert_eq!((charged(&r, A), charged(&r, B), r.home(bo)), (0, 16, Some(r.vram)));
    r.audit();
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

/// What was bought by one and is used by another can be pushed out for either, by the shares of whoever pays now.
#[test]
fn req_56_shares_follow_the_owner() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    r.owners[0].set_limits(A, Limits { min: 16, low: 16, max: u64::MAX }).unwrap();
    let bo = owned(&mut r, A, 16).unwrap();
    assert_eq!(owned(&mut r, B, 4), Err(ValidateError::NoSpace));
    r.m.set_owner(bo, Owner(5)).unwrap();
    let new = owned(&mut r, B, 4).unwrap();
    assert_eq!(r.home(bo), Some(r.host));
    r.finish(&[bo, new]);
}

#[test]
fn req_74_what_is_not_needed_is_purged_before_anyone_moves() {
    for flags in [Flags::empty(), Flags::CONTIGUOUS] {
        let pgmap = pgmap(64);
        let mut r = rig(&pgmap, 16);
        let oldest = r.in_vram(16, 1);
        let to: Placement = Place::new(r.vram).with(flags).into();
        let cache = r.m.create(r.params(40)).unwrap();
        r.m.validate(cache, &to).unwrap();
        fill(&mut r.m, cache, 2);
        r.m.set_priority(cache, Priority::Kernel).unwrap();
        r.m.dont_need(cache).unwrap();
        assert_eq!(r.m.info(cache).unwrap().keeping, Keeping::Purgeable);
        check(&mut r.m, cache, 2);
        // There is room: nothing is lost.
        let small = r.in_vram(8, 3);
        assert_eq!(r.m.will_need(cache), Ok(Retained::Kept));
        check(&mut r.m, cache, 2);
        r.m.dont_need(cache).unwrap();
        r.m.dont_need(cache).unwrap();
        // There is none: it goes, and nobody else.
        let new = r.m.create(r.params(40)).unwrap();
        assert_eq!(r.m.cost_of(new, &to), Ok(Cost { objects: 0, pages: 0, purged: 1 }));
        r.m.validate(new, &to).unwrap();
        let counters = r.m.counters();
        assert_eq!((counters.purged, counters.gutted, counters.evicted, counters.copies), (1, 0, 0, 0));
        assert_eq!((r.home(oldest), r.home(small)), (Some(r.vram), Some(r.vram)));
        let info = r.m.info(cache).unwrap();
        assert_eq!((info.resident, info.keeping, info.pushed_out), (0, Keeping::Purged, false));
        assert_eq!(r.m.will_need(cache), Ok(Retained::Lost));
        assert_eq!(r.m.will_need(cache), Ok(Retained::Kept), "told once");
        r.m.validate(cache, &r.to_host()).unwrap_err();
        check(&mut r.m, oldest, 1);
        check(&mut r.m, small, 3);
        r.finish(&[oldest, cache, small, new]);
    }
}

/// For a limit, for a fault, by hand; not while it is pinned, held, or of no use.
#[test]
fn req_74_a_purge_happens_only_under_need() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    limit(&r, A, 16);
    let [mine, other] = [owned(&mut r, A, 16).unwrap(), owned(&mut r, B, 16).unwrap()];
    fill(&mut r.m, other, 2);
    r.m.dont_need(other).unwrap();
    r.m.dont_need(mine).unwrap();
    r.m.pin(mine).unwrap();
    assert_eq!(owned(&mut r, A, 8), Err(ValidateError::OverLimit), "pinned, and the other's pages are on another account");
    r.m.unpin(mine).unwrap();
    let held = hold(&r, mine);
    assert_eq!(owned(&mut r, A, 8), Err(ValidateError::OverLimit), "held");
    drop(held);
    let second = owned(&mut r, A, 8).unwrap();
    assert_eq!((r.m.info(mine).unwrap().keeping, r.m.info(other).unwrap().keeping), (Keeping::Purged, Keeping::Purgeable));
    check(&mut r.m, other, 2);
    // A request that cannot be met purges nothing, either.
    let pinned = r.in_vram(40, 3);
    r.m.pin(pinned).unwrap();
    let large = r.m.create(r.params(32)).unwrap();
    assert_eq!(r.m.validate(large, &r.to_vram()), Err(ValidateError::NoSpace));
    check(&mut r.m, other, 2);
    // A minimum is not for what its owner does not need.
    r.owners[0].set_limits(B, Limits { min: 16, low: 16, max: u64::MAX }).unwrap();
    let faulting = r.m.create(r.params(16)).unwrap();
    r.m.fault(faulting, 0, &Place::new(r.vram), order(4), order(4)).unwrap();
    assert_eq!(r.m.will_need(other), Ok(Retained::Lost));
    r.m.unpin(pinned).unwrap();
    // By hand it is purged rather than moved, and comes back from nowhere.
    r.m.dont_need(second).unwrap();
    let copies = r.m.counters().copies;
    r.m.evict(second).unwrap();
    assert_eq!((r.m.counters().copies, r.m.info(second).unwrap().resident), (copies, 0));
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()));
    r.finish(&[mine, other, second, pinned, large, faulting]);
}

/// Somebody else has to go as well, for a limit: after the purge, not before.
#[test]
fn req_74_a_purge_comes_before_the_first_copy() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let mine = owned(&mut r, A, 8).unwrap();
    fill(&mut r.m, mine, 1);
    let other = owned(&mut r, B, 56).unwrap();
    r.m.dont_need(other).unwrap();
    limit(&r, A, 16);
    r.m.mover_mut().refuse_next();
    let new = r.m.create(r.params(16).owner(A)).unwrap();
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::Copy(CopyError::Failed)));
    assert_eq!((r.m.counters().purged, r.home(mine)), (1, Some(r.vram)));
    assert_eq!(r.m.will_need(other), Ok(Retained::Lost));
    check(&mut r.m, mine, 1);
    r.finish(&[mine, other, new]);
}

/// What was pushed out before it was called purgeable stays where it is, and is purged where it stands.
#[test]
fn req_74_what_is_not_needed_does_not_come_back() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 16);
    let bo = r.in_vram(16, 1);
    r.m.evict(bo).unwrap();
    r.m.dont_need(bo).unwrap();
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()));
    let up = r.in_vram(16, 2);
    // Room on the device is made by a move to the host, and room there by a purge.
    let new = r.in_vram(16, 3);
    assert_eq!((r.home(up), r.home(new), r.m.counters().purged), (Some(r.host), Some(r.vram), 1));
    assert_eq!(r.m.will_need(bo), Ok(Retained::Lost));
    check(&mut r.m, up, 2);
    check(&mut r.m, new, 3);
    r.finish(&[bo, up, new]);
}
