//! Protected shares, limits, accounts, and coming back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{Accounted, AccountedError, Charge, ChargeError, GenPool, Limits, Owners, Params, Phys, PhysRange, Urgency};
use pgmap_ttm::*;
use support::*;

const A: Owner = Owner(1);
const B: Owner = Owner(2);

fn owned(r: &mut Rig<'_>, owner: Owner, pages: u64, seed: u64) -> Result<Bo, ValidateError> {
    let bo = r.m.create(r.params(pages).owner(owner)).unwrap();
    match r.m.validate(bo, &r.to_vram()) {
        Ok(_) => {
            fill(&mut r.m, bo, seed);
            Ok(bo)
        }
        Err(why) => {
            r.m.free(bo).unwrap();
            Err(why)
        }
    }
}

fn share(r: &Rig<'_>, owner: Owner, min: u64, low: u64, max: u64) {
    r.owners[0].set_limits(owner, Limits { min, low, max }).unwrap();
}

fn pages_of(r: &Rig<'_>, owner: Owner) -> u64 {
    r.owners[0].usage(owner).unwrap().pages
}

#[test]
fn req_56_min_is_never_taken() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    share(&r, A, 8, 8, u64::MAX);
    let a: Vec<Bo> = (0..4).map(|seed| owned(&mut r, A, 4, seed).unwrap()).collect();
    let b = owned(&mut r, B, 8, 9).unwrap();
    assert_eq!(pages_of(&r, A), 8);
    assert_eq!(owned(&mut r, B, 12, 10), Err(ValidateError::NoSpace), "what is left of A is sure");
    assert_eq!(pages_of(&r, A), 8);
    // B's own objects protect nobody from B, and A's own share does not stand in A's way.
    let a2 = owned(&mut r, A, 16, 11).unwrap();
    assert_eq!(r.home(a2), Some(r.vram));
    for (seed, bo) in (0..).zip(&a) {
        check(&mut r.m, *bo, seed);
    }
    r.finish(&[&a[..], &[b, a2]].concat());
}

#[test]
fn req_56_min_is_not_taken_by_way_of_a_large_object() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    share(&r, A, 4, 8, u64::MAX);
    let a = owned(&mut r, A, 16, 1).unwrap();
    assert_eq!(owned(&mut r, B, 4, 2), Err(ValidateError::NoSpace), "A has 16 and is sure of 4, but would be left with none");
    share(&r, A, 0, 8, u64::MAX);
    let b = owned(&mut r, B, 4, 2).unwrap();
    check(&mut r.m, a, 1);
    r.finish(&[a, b]);
}

#[test]
fn req_56_an_account_counts_what_others_charge_it() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 64);
    // The same account pays for a pool that the driver uses without a manager.
    let ranges = [PhysRange { start: Phys(0), pages: 64 }];
    let pool = GenPool::new(&Params::new(&ranges)).unwrap();
    let accounted = Accounted::new(&pool, r.owners[0], (), 0);
    share(&r, A, 0, 0, 12);
    let ring = accounted.alloc(order(3), A, Urgency::Normal).unwrap();
    assert_eq!(owned(&mut r, A, 8, 1), Err(ValidateError::OverLimit));
    let a = owned(&mut r, A, 4, 1).unwrap();
    assert_eq!(pages_of(&r, A), 12);
    let other = accounted.alloc(order(0), A, Urgency::Normal);
    assert!(matches!(other, Err(AccountedError::Owner { error: ChargeError::OverLimit { has: 12, .. } })), "{other:?}");
    r.m.audit().unwrap();
    accounted.free(ring, order(3), A).unwrap();
    let b = owned(&mut r, A, 8, 2).unwrap();
    assert_eq!((r.home(a), pages_of(&r, A)), (Some(r.vram), 12));
    // Someone takes back what the manager charged.
    r.owners[0].uncharge(A, 1).unwrap();
    let wrong = Inconsistency::Charged { owner: A, memory: r.vram, charged: 11, found: 12 };
    assert_eq!(r.m.audit(), Err(wrong));
    r.owners[0].try_charge(A, 1).unwrap();
    r.finish(&[a, b]);
}

#[test]
fn req_56_a_parent_at_its_limit_refuses_its_children() {
    let pgmap = pgmap(32);
    let owners: Owners<3> = Owners::with_parents([None, Some(Owner(0)), Some(Owner(0))]).unwrap();
    owners.set_limits(Owner(0), Limits { min: 0, low: 0, max: 12 }).unwrap();
    let mut mover = HostMover::new(SHIFT, DELAY);
    mover.add(32).unwrap();
    let mut m: Man<'_> = Manager::new(mover, SHIFT);
    let vram: Placement = Place::new(m.add(ResourceManager::device(&pgmap).charged_to(&owners)).unwrap()).into();
    let objects = [(A, 8), (B, 8), (B, 4)].map(|(owner, pages)| m.create(ObjectParams::new(pages).owner(owner)).unwrap());
    let told = objects.map(|bo| m.validate(bo, &vram));
    assert_eq!(told, [Ok(true), Err(ValidateError::OverLimit), Ok(true)]);
    let usage = owners.usage(Owner(0)).unwrap();
    assert_eq!((usage.pages, usage.refused > 0, owners.usage(B).unwrap().refused), (12, true, 0), "it was the parent's limit");
    m.audit().unwrap();
    objects.iter().for_each(|bo| m.free(*bo).unwrap());
    assert_eq!(owners.usage(Owner(0)).unwrap().pages, 0);
}

#[test]
fn req_56_an_owner_without_an_account_is_told_so() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let first = owned(&mut r, A, 16, 1).unwrap();
    let stranger = Owner(OWNERS as u32);
    assert_eq!(owned(&mut r, stranger, 4, 2), Err(ValidateError::NoAccount));
    assert_eq!(r.home(first), Some(r.vram), "nobody goes for it");
    // Where nobody pays, anyone may stand.
    let mut mover = HostMover::new(SHIFT, DELAY);
    mover.add(16).unwrap();
    let mut m: Man<'_> = Manager::new(mover, SHIFT);
    let free = m.add(ResourceManager::host(16)).unwrap();
    let bo = m.create(ObjectParams::new(4).owner(stranger)).unwrap();
    assert_eq!(m.validate(bo, &Place::new(free).into()), Ok(true));
    m.audit().unwrap();
    r.finish(&[first]);
}

#[test]
fn req_56_low_is_taken_last() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    share(&r, A, 0, 8, u64::MAX);
    let a: Vec<Bo> = (0..2).map(|seed| owned(&mut r, A, 4, seed).unwrap()).collect();
    let b: Vec<Bo> = (0..2).map(|seed| owned(&mut r, B, 4, seed).unwrap()).collect();
    let c = owned(&mut r, Owner(3), 8, 9).unwrap();
    assert_eq!(pages_of(&r, A), 8, "A is older, but below its low share");
    assert_eq!(pages_of(&r, B), 0);
    r.m.pin(c).unwrap();
    let d = owned(&mut r, Owner(4), 4, 10).unwrap();
    assert_eq!(pages_of(&r, A), 4, "when nothing else is left, low gives way");
    r.m.unpin(c).unwrap();
    for (seed, bo) in (0..).zip(&a) {
        check(&mut r.m, *bo, seed);
    }
    r.finish(&[&a[..], &b[..], &[c, d]].concat());
}

#[test]
fn req_56_max_makes_the_owner_give_up_its_own() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 64);
    share(&r, A, 0, 0, 8);
    let b = owned(&mut r, B, 4, 1).unwrap();
    let a: Vec<Bo> = (0..3).map(|seed| owned(&mut r, A, 4, seed).unwrap()).collect();
    assert_eq!((r.home(a[0]), r.home(a[1]), r.home(b)), (Some(r.host), Some(r.vram), Some(r.vram)));
    assert_eq!(owned(&mut r, A, 12, 9), Err(ValidateError::OverLimit));
    assert_eq!((r.home(a[1]), r.home(a[2])), (Some(r.vram), Some(r.vram)), "nobody goes in vain");
    let usage = r.owners[0].usage(A).unwrap();
    assert_eq!((usage.pages, usage.high_water), (8, 8));
    assert!(usage.refused > 0, "the account knows of the refusals, too");
    for (seed, bo) in (0..).zip(&a) {
        check(&mut r.m, *bo, seed);
    }
    r.finish(&[&a[..], &[b]].concat());
}

#[test]
fn req_56_what_was_pushed_out_comes_back() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let old: Vec<Bo> = (0..4).map(|seed| r.in_vram(4, seed)).collect();
    r.m.set_priority(old[0], Priority::High).unwrap();
    let big = r.in_vram(16, 9);
    assert!(old.iter().all(|bo| r.m.info(*bo).unwrap().pushed_out));
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()), "no room, and nobody is pushed out for it");
    assert_eq!(r.home(big), Some(r.vram));
    r.m.free(big).unwrap();
    assert_eq!(r.m.promote(9), Ok(Promoted { objects: 2, pages: 8 }));
    let homes: Vec<_> = old.iter().map(|bo| r.home(*bo)).collect();
    assert_eq!(homes, [Some(r.vram), Some(r.host), Some(r.host), Some(r.vram)], "high priority first, then who left last");
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted { objects: 2, pages: 8 }));
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()));
    for (seed, bo) in (0..).zip(&old) {
        check(&mut r.m, *bo, seed);
    }
    r.finish(&old);
}

#[test]
fn req_56_only_a_better_place_is_worth_coming_back_to() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_host(8, 1);
    r.m.swapout(r.host, r.swap, 1).unwrap();
    let vram_or_host = Placement::new(&[Place::new(r.vram), Place::new(r.host)]);
    let second = r.m.create(r.params(16)).unwrap();
    r.m.validate(second, &vram_or_host).unwrap();
    fill(&mut r.m, second, 2);
    r.m.evict(second).unwrap();
    r.m.wait_all();
    let blocker = r.in_vram(1, 3);
    // second stands in its second best place, and the best has no room: it stays. bo has room where it was.
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted { objects: 1, pages: 8 }));
    assert_eq!((r.home(bo), r.home(second)), (Some(r.host), Some(r.host)));
    r.m.free(blocker).unwrap();
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted { objects: 1, pages: 16 }));
    assert_eq!(r.home(second), Some(r.vram));
    // Validated elsewhere since: nothing to come back to.
    r.m.evict(second).unwrap();
    r.m.validate(second, &r.to_host()).unwrap();
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted::default()));
    check(&mut r.m, bo, 1);
    check(&mut r.m, second, 2);
    r.finish(&[bo, second]);
}

#[test]
fn req_56_refused_promotion_is_tried_again() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_vram(8, 1);
    r.m.evict(bo).unwrap();
    r.m.mover_mut().refuse_next();
    assert_eq!(r.m.promote(u64::MAX), Err(CopyError::Failed));
    assert_eq!(r.home(bo), Some(r.host));
    assert_eq!(r.m.promote(u64::MAX), Ok(Promoted { objects: 1, pages: 8 }));
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}
