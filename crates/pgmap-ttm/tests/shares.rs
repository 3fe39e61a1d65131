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

/// A device of 64 pages and a host, with accounts of which some have parents; what it holds goes to the host.
struct Family<'p> {
    m: Man<'p>,
    owners: &'static Owners<5>,
    vram: MemoryType,
    host: MemoryType,
}

/// The last two stand under the first; owner 0 and its child 4 under nobody else.
const PARENT: Owner = Owner(1);
const CHILDREN: [Owner; 2] = [Owner(2), Owner(3)];
const STRANGER: Owner = Owner(4);

fn family<'p>(pgmap: &'p pgmap_alloc::Pgmap<'p, ByObject>) -> Family<'p> {
    let parents = [None, None, Some(PARENT), Some(PARENT), Some(Owner(0))];
    let owners: &Owners<5> = Box::leak(Box::new(Owners::with_parents(parents).unwrap()));
    let mut mover = HostMover::new(SHIFT, DELAY);
    [pgmap.pages(), 256].into_iter().for_each(|pages| mover.add(pages).unwrap());
    let mut m = Manager::new(mover, SHIFT);
    let vram = m.add(ResourceManager::device(pgmap).charged_to(owners)).unwrap();
    let host = m.add(ResourceManager::host(256)).unwrap();
    Family { m, owners, vram, host }
}

impl Family<'_> {
    fn limits(&self, owner: Owner, min: u64, low: u64, max: u64) {
        self.owners.set_limits(owner, Limits { min, low, max }).unwrap();
    }

    /// An object in device memory, or why there is none.
    fn own(&mut self, owner: Owner, pages: u64, seed: u64) -> Result<Bo, ValidateError> {
        let bo = self.m.create(ObjectParams::new(pages).owner(owner).evict_to(Place::new(self.host))).unwrap();
        let told = self.m.validate(bo, &Place::new(self.vram).into());
        self.m.audit().unwrap();
        match told {
            Ok(_) => fill(&mut self.m, bo, seed),
            Err(_) => self.m.free(bo).unwrap(),
        }
        told.map(|_| bo)
    }

    fn has(&self, owner: Owner) -> u64 {
        self.owners.usage(owner).unwrap().pages
    }

    fn is_out(&self, bo: Bo) -> bool {
        self.m.home(bo).unwrap() == Some(self.host)
    }

    fn finish(mut self, objects: &[(Bo, u64)]) {
        for (bo, seed) in objects {
            check(&mut self.m, *bo, *seed);
            self.m.free(*bo).unwrap();
        }
        self.m.wait_all();
        assert_eq!((self.has(PARENT), self.has(STRANGER)), (0, 0));
    }
}

#[test]
fn req_56_a_parent_at_its_limit_is_relieved_by_anyone_under_it() {
    let pgmap = pgmap(64);
    let mut f = family(&pgmap);
    f.limits(PARENT, 0, 0, 16);
    let stranger = f.own(STRANGER, 8, 1).unwrap();
    let [first, second] = [f.own(CHILDREN[0], 8, 2).unwrap(), f.own(PARENT, 4, 3).unwrap()];
    // The asking child has nothing to give yet: its sibling, the least recently used, goes for it, and not the stranger.
    let third = f.own(CHILDREN[1], 8, 4).unwrap();
    assert_eq!([stranger, first, second, third].map(|bo| f.is_out(bo)), [false, true, false, false]);
    assert_eq!((f.has(PARENT), f.has(CHILDREN[0]), f.has(CHILDREN[1])), (12, 0, 8));
    assert_eq!((f.owners.usage(PARENT).unwrap().refused > 0, f.owners.usage(CHILDREN[1]).unwrap().refused), (true, 0));
    // What the parent has itself goes for its children, too.
    let fourth = f.own(CHILDREN[0], 8, 5).unwrap();
    assert_eq!([second, third].map(|bo| f.is_out(bo)), [true, false]);
    assert_eq!(f.own(CHILDREN[0], 17, 6), Err(ValidateError::OverLimit));
    assert!(!f.is_out(third) && !f.is_out(fourth), "nobody goes in vain");
    f.finish(&[(stranger, 1), (first, 2), (second, 3), (third, 4), (fourth, 5)]);
}

#[test]
fn req_56_shares_hold_between_siblings_and_a_parent_s_against_strangers() {
    let pgmap = pgmap(64);
    let mut f = family(&pgmap);
    f.limits(PARENT, 0, 0, 16);
    f.limits(CHILDREN[0], 8, 8, u64::MAX);
    let sure = f.own(CHILDREN[0], 8, 1).unwrap();
    let other = f.own(CHILDREN[1], 8, 2).unwrap();
    assert_eq!(f.own(CHILDREN[1], 12, 3), Err(ValidateError::OverLimit), "the sibling's minimum stays");
    let more = f.own(CHILDREN[1], 8, 3).unwrap();
    assert_eq!([sure, other, more].map(|bo| f.is_out(bo)), [false, true, false]);
    // Low gives way when nothing else is left.
    f.limits(CHILDREN[0], 0, 8, u64::MAX);
    f.m.pin(more).unwrap();
    let last = f.own(CHILDREN[1], 8, 4).unwrap();
    assert!(f.is_out(sure));
    f.m.unpin(more).unwrap();

    // A stranger fills the rest and wants more: what the parent is promised holds for its children, whatever they are promised,
    // and what they are promised holds no further than that.
    f.limits(CHILDREN[1], 16, 16, u64::MAX);
    f.limits(PARENT, 8, 8, 16);
    let rest = f.own(STRANGER, 48, 5).unwrap();
    f.m.pin(rest).unwrap();
    let stranger = f.own(STRANGER, 8, 6).unwrap();
    assert_eq!((f.has(PARENT), f.is_out(more) != f.is_out(last)), (8, true));
    for promised in [16, 0] {
        f.limits(CHILDREN[1], promised, promised, u64::MAX);
        assert_eq!(f.own(STRANGER, 16, 7), Err(ValidateError::NoSpace), "the parent's minimum stays, with or without its child's");
    }
    f.m.unpin(rest).unwrap();
    f.finish(&[(sure, 1), (other, 2), (more, 3), (last, 4), (rest, 5), (stranger, 6)]);
}

#[test]
fn req_56_a_limit_first_and_then_a_lack_of_room_each_find_who_can_help() {
    let pgmap = pgmap(64);
    let mut f = family(&pgmap);
    f.limits(PARENT, 0, 0, 32);
    // The stranger is the oldest, so the walk for the limit has passed it when room is short.
    let stranger = f.own(STRANGER, 32, 1).unwrap();
    let small = f.own(CHILDREN[0], 8, 2).unwrap();
    let pinned = f.own(Owner(0), 24, 3).unwrap();
    f.m.pin(pinned).unwrap();
    let big = f.own(CHILDREN[1], 32, 4).unwrap();
    assert_eq!([stranger, small, big].map(|bo| f.is_out(bo)), [true, true, false]);
    f.m.unpin(pinned).unwrap();
    f.finish(&[(stranger, 1), (small, 2), (pinned, 3), (big, 4)]);
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
