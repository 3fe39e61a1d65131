//! Less harm: a request that cannot be met disturbs nobody, one that can disturbs the cheapest, and what is merely cached comes
//! first.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{Limits, Offset, Order, PerCpu};
use pgmap_ttm::*;
use support::*;

const A: Owner = Owner(1);
const B: Owner = Owner(2);

/// Where an object stands, and what else can be seen of it.
type Seen = (Vec<(u64, Piece)>, ObjectInfo);

/// All of them, and what was done to get there.
fn seen(r: &Rig<'_>, objects: &[Bo]) -> (Vec<Seen>, Counters) {
    let one = |bo: &Bo| (r.m.pieces(*bo).unwrap().collect(), r.m.info(*bo).unwrap());
    (objects.iter().map(one).collect(), r.m.counters())
}

fn run_in(memory: MemoryType) -> Placement {
    Place::new(memory).with(Flags::CONTIGUOUS).into()
}

/// A lack that no eviction can make up: by a block, a pin, somebody's reference, a minimum, a window, a full host, or a limit.
#[test]
fn req_74_a_request_in_vain_moves_nobody() {
    for kind in ["block", "pin", "reference", "min", "valuable", "host", "limit"] {
        let pgmap = pgmap(64);
        let mut r = rig(&pgmap, 256);
        let block = (kind == "block").then(|| pgmap.alloc_block(order(4)).unwrap());
        let mut objects = Vec::new();
        let mut reference = None;
        if kind != "block" {
            let stays = r.m.create(r.params(16).owner(A)).unwrap();
            r.m.validate(stays, &r.to_vram()).unwrap();
            fill(&mut r.m, stays, 9);
            let first = r.m.pieces(stays).unwrap().next().unwrap().1.first;
            match kind {
                "pin" => r.m.pin(stays).unwrap(),
                "reference" => reference = pgmap.try_get(Offset::new(first)),
                "min" => r.owners[0].set_limits(A, Limits { min: 16, low: 16, max: u64::MAX }).unwrap(),
                "valuable" => r.m.set_eviction_valuable(move |candidate| candidate.bo != stays),
                "host" => r.owners[1].set_limits(A, Limits { min: 0, low: 0, max: 8 }).unwrap(),
                _ => r.owners[0].set_limits(B, Limits { min: 0, low: 0, max: 60 }).unwrap(),
            }
            objects.push((stays, 9));
        }
        let idle = r.in_vram(40, 1);
        objects.push((idle, 1));
        let (new, to) = match kind {
            // 60 pages are allowed, 20 of them are somebody else's: the account's, not the manager's.
            "limit" => {
                pgmap_alloc::Charge::try_charge(r.owners[0], B, 20).unwrap();
                (r.m.create(r.params(48).owner(B)).unwrap(), r.to_vram())
            }
            _ => (r.m.create(r.params(56).owner(B)).unwrap(), r.to_vram()),
        };
        let all: Vec<Bo> = objects.iter().map(|(bo, _)| *bo).chain([new]).collect();
        let before = seen(&r, &all);
        let refusal = if kind == "limit" { ValidateError::OverLimit } else { ValidateError::NoSpace };
        for _ in 0..3 {
            assert_eq!(r.m.validate(new, &to), Err(refusal), "{kind}");
        }
        assert_eq!(seen(&r, &all), before, "{kind}");
        assert_eq!(r.m.cost_of(new, &to), Err(refusal), "{kind}");
        // And with that out of the way, it can be met.
        drop((block, reference));
        match kind {
            "pin" => r.m.unpin(objects[0].0).unwrap(),
            "valuable" => r.m.set_eviction_valuable(|_| true),
            "limit" => pgmap_alloc::Charge::uncharge(r.owners[0], B, 20).unwrap(),
            _ => {}
        }
        [A, B].iter().for_each(|owner| r.owners.iter().for_each(|owners| owners.set_limits(*owner, Limits::NONE).unwrap()));
        assert_eq!(r.m.validate(new, &to), Ok(true), "{kind}");
        objects.iter().for_each(|(bo, seed)| check(&mut r.m, *bo, *seed));
        r.finish(&all);
    }
}

#[test]
fn req_74_where_no_run_can_be_had_nobody_goes() {
    let pgmap = pgmap(256);
    let mut r = rig(&pgmap, 512);
    let objects: Vec<Bo> = (0..256).map(|seed| r.in_vram(1, seed)).collect();
    let pinned: Vec<Bo> = objects.iter().copied().filter(|bo| first_page(&r, *bo).is_multiple_of(8)).collect();
    pinned.iter().for_each(|bo| r.m.pin(*bo).unwrap());
    let big = r.m.create(r.params(64)).unwrap();
    let before = seen(&r, &objects);
    assert_eq!(r.m.validate(big, &run_in(r.vram)), Err(ValidateError::NoSpace));
    // Nor for a fault that wants one folio; down to eight pages there is a pinned one in each.
    assert_eq!(r.m.fault(big, 0, &Place::new(r.vram), order(6), order(3)), Err(FaultError::NoSpace));
    assert_eq!(seen(&r, &objects), before);
    // Seven pages between two pinned ones can be had: at the cost of seven objects.
    let small = r.m.create(r.params(7)).unwrap();
    assert_eq!(r.m.cost_of(small, &run_in(r.vram)), Ok(Cost { objects: 7, pages: 7, purged: 0 }));
    r.m.validate(small, &run_in(r.vram)).unwrap();
    assert_eq!(r.m.counters().evicted, 7);
    assert_eq!(r.m.fault(big, 0, &Place::new(r.vram), order(6), order(0)).unwrap().order, Some(order(2)));
    pinned.iter().for_each(|bo| r.m.unpin(*bo).unwrap());
    for (seed, bo) in (0..).zip(&objects) {
        check(&mut r.m, *bo, seed);
    }
    r.finish(&[&objects[..], &[big, small]].concat());
}

/// Of several windows, the one with the fewest pages to move; whatever the age of those in it.
#[test]
fn req_74_a_run_takes_the_cheapest_window() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 256);
    let at = |r: &mut Rig<'_>, first: u64, pages: u64, seed: u64| {
        let bo = r.m.create(r.params(pages)).unwrap();
        r.m.validate(bo, &Place::new(r.vram).within(first, first + pages).into()).unwrap();
        fill(&mut r.m, bo, seed);
        bo
    };
    // Oldest first: 0..16 in sixteen, 16..32 half full, 32..64 in one.
    let old: Vec<Bo> = (0..16).map(|page| at(&mut r, page, 1, page)).collect();
    let half = at(&mut r, 20, 8, 16);
    let big = at(&mut r, 32, 32, 17);
    let new = r.m.create(r.params(16)).unwrap();
    r.m.validate(new, &run_in(r.vram)).unwrap();
    fill(&mut r.m, new, 18);
    assert_eq!((first_page(&r, new), r.home(half), r.m.counters().evicted), (16, Some(r.host), 1));
    // Priority comes before the number of pages.
    old.iter().for_each(|bo| r.m.set_priority(*bo, Priority::High).unwrap());
    r.m.set_priority(new, Priority::Kernel).unwrap();
    let next = r.m.create(r.params(16)).unwrap();
    r.m.validate(next, &run_in(r.vram)).unwrap();
    fill(&mut r.m, next, 19);
    assert_eq!((r.home(big), r.m.counters().evicted), (Some(r.host), 2));
    // A run that is on its way out costs nobody anything.
    r.m.wait_all();
    r.m.free(next).unwrap();
    let last = at(&mut r, 32, 32, 20);
    r.m.evict(last).unwrap();
    let more = r.m.create(r.params(32)).unwrap();
    r.m.validate(more, &run_in(r.vram)).unwrap();
    assert_eq!(r.m.counters().evicted, 3);
    for (seed, bo) in (0..).zip(&old) {
        check(&mut r.m, *bo, seed);
    }
    [(half, 16), (big, 17), (new, 18), (last, 20)].into_iter().for_each(|(bo, seed)| check(&mut r.m, bo, seed));
    r.finish(&[&old[..], &[half, big, new, last, more]].concat());
}

/// The two of a window could each go by itself; the host has room for one.
#[test]
fn req_74_those_of_a_window_must_be_able_to_go_together() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 8);
    let objects: Vec<Bo> = (0..4).map(|seed| r.in_vram(8, seed)).collect();
    let new = r.m.create(r.params(16)).unwrap();
    let before = seen(&r, &objects);
    assert_eq!(r.m.validate(new, &run_in(r.vram)), Err(ValidateError::NoSpace));
    assert_eq!(seen(&r, &objects), before);
    // As many in one go to the swap, further down.
    r.m.free(objects[3]).unwrap();
    r.m.validate(new, &run_in(r.vram)).unwrap();
    assert_eq!(r.m.counters().evicted, 1);
    for (seed, bo) in (0..).zip(&objects[..3]) {
        check(&mut r.m, *bo, seed);
    }
    r.finish(&[&objects[..3], &[new]].concat());
}

/// Those who would have to make room further down cannot: that is found before those above go.
#[test]
fn req_74_a_chain_that_ends_nowhere_moves_nobody() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 16);
    let low: Vec<Bo> = (0..2)
        .map(|seed| {
            let bo = r.m.create(ObjectParams::new(8).evict_to(Place::new(r.swap))).unwrap();
            r.m.validate(bo, &r.to_host()).unwrap();
            fill(&mut r.m, bo, seed);
            bo
        })
        .collect();
    let high: Vec<Bo> = (2..6).map(|seed| r.in_vram(8, seed)).collect();
    r.m.pin(low[1]).unwrap();
    // Three would have to go, one of them for one that can go on from the host, and that is all there is.
    let new = r.m.create(r.params(24)).unwrap();
    let all = [&low[..], &high[..]].concat();
    let before = seen(&r, &all);
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::NoSpace));
    assert_eq!(seen(&r, &all), before);
    let fits = r.m.create(r.params(8)).unwrap();
    r.m.validate(fits, &r.to_vram()).unwrap();
    assert_eq!((r.home(low[0]), r.home(high[0])), (Some(r.swap), Some(r.host)));
    r.m.unpin(low[1]).unwrap();
    for (seed, bo) in (0..).zip(&all) {
        check(&mut r.m, *bo, seed);
    }
    r.finish(&[&all[..], &[new, fits]].concat());
}

/// The first could make half of the room it needs out of its owner's pages; that is no room for the others, from whom they are
/// protected.
#[test]
fn req_74_half_a_way_out_is_no_room_for_the_next() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 16);
    r.owners[1].set_limits(A, Limits { min: 8, low: 8, max: u64::MAX }).unwrap();
    let at = |r: &mut Rig<'_>, to: MemoryType, evict_to: MemoryType, pages: u64, owner: Owner, seed: u64| {
        let bo = r.m.create(ObjectParams::new(pages).owner(owner).evict_to(Place::new(evict_to))).unwrap();
        r.m.validate(bo, &Place::new(to).into()).unwrap();
        fill(&mut r.m, bo, seed);
        bo
    };
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    let sure = at(&mut r, host, swap, 8, A, 0);
    let pinned = at(&mut r, host, swap, 8, B, 1);
    r.m.pin(pinned).unwrap();
    let large = at(&mut r, vram, host, 16, A, 2);
    let (first, second) = (at(&mut r, vram, swap, 8, B, 3), at(&mut r, vram, host, 8, B, 4));
    let all = [sure, pinned, large, first, second];
    let new = r.m.create(r.params(16).owner(B)).unwrap();
    let before = seen(&r, &all);
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::NoSpace));
    assert_eq!(seen(&r, &all), before);
    r.m.unpin(pinned).unwrap();
    (0..).zip(all).for_each(|(seed, bo)| check(&mut r.m, bo, seed));
    r.finish(&[&all[..], &[new]].concat());
}

/// What was not to be had while others were on their way is asked for again once they stay.
#[test]
fn req_74_a_window_that_failed_does_not_spoil_the_next() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 8);
    let at = |r: &mut Rig<'_>, first: u64, seed: u64, priority: Priority| {
        let bo = r.m.create(r.params(8).priority(priority)).unwrap();
        r.m.validate(bo, &Place::new(r.vram).within(first, first + 8).into()).unwrap();
        fill(&mut r.m, bo, seed);
        bo
    };
    let low = [at(&mut r, 0, 0, Priority::Low), at(&mut r, 8, 1, Priority::Low)];
    let high = at(&mut r, 16, 2, Priority::High);
    // The host makes room for one, by a move to the swap. The two of low priority would be the better ones to go.
    let down = r.m.create(ObjectParams::new(8).evict_to(Place::new(r.swap))).unwrap();
    r.m.validate(down, &r.to_host()).unwrap();
    fill(&mut r.m, down, 3);
    let new = r.m.create(r.params(16)).unwrap();
    r.m.validate(new, &run_in(r.vram)).unwrap();
    assert_eq!((low.map(|bo| r.home(bo)), r.home(high)), ([Some(r.vram); 2], Some(r.host)));
    (0..).zip([low[0], low[1], high, down]).for_each(|(seed, bo)| check(&mut r.m, bo, seed));
    r.finish(&[low[0], low[1], high, down, new]);
}

/// If the last to go is large, those before it are not needed.
#[test]
fn req_74_no_more_go_than_are_needed_and_it_is_told_beforehand() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 256);
    let small: Vec<Bo> = (0..4).map(|seed| r.in_vram(4, seed)).collect();
    let large = r.in_vram(48, 4);
    let new = r.m.create(r.params(40)).unwrap();
    let cost = r.m.cost_of(new, &r.to_vram()).unwrap();
    assert_eq!((cost, r.m.counters().evicted), (Cost { objects: 1, pages: 48, purged: 0 }, 0));
    r.m.validate(new, &r.to_vram()).unwrap();
    assert_eq!((r.m.counters().evicted, r.home(large)), (1, Some(r.host)));
    assert_eq!(r.m.cost_of(new, &r.to_vram()), Ok(Cost::default()), "it is there");
    for (seed, bo) in (0..).zip(&small) {
        assert_eq!(r.home(*bo), Some(r.vram));
        check(&mut r.m, *bo, seed);
    }
    check(&mut r.m, large, 4);
    r.finish(&[&small[..], &[large, new]].concat());
}

/// Several at once may not take what one after another may not, though their pages are charged until the copies have ended.
#[test]
fn req_56_min_is_not_taken_by_several_at_once() {
    for flags in [Flags::empty(), Flags::CONTIGUOUS] {
        let pgmap = pgmap(16);
        let mut r = rig(&pgmap, 64);
        r.owners[0].set_limits(A, Limits { min: 8, low: 8, max: u64::MAX }).unwrap();
        let a: Vec<Bo> = (0..4)
            .map(|seed| {
                let bo = r.m.create(r.params(4).owner(A)).unwrap();
                r.m.validate(bo, &r.to_vram()).unwrap();
                fill(&mut r.m, bo, seed);
                bo
            })
            .collect();
        let before = seen(&r, &a);
        let b = r.m.create(r.params(12).owner(B)).unwrap();
        assert_eq!(r.m.validate(b, &Place::new(r.vram).with(flags).into()), Err(ValidateError::NoSpace), "A would be left with 4");
        assert_eq!(seen(&r, &a), before);
        for (seed, bo) in (0..).zip(&a) {
            check(&mut r.m, *bo, seed);
        }
        r.finish(&[&a[..], &[b]].concat());
    }
}

/// Pages whose copy out of the device has not ended are still charged. They are no longer the owner's to keep, and need not go again.
#[test]
fn req_56_what_is_leaving_is_gone_for_shares_and_for_limits() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let a: Vec<Bo> = (0..4)
        .map(|at| {
            let bo = r.m.create(r.params(4).owner(A)).unwrap();
            r.m.validate(bo, &Place::new(r.vram).within(4 * at, 4 * at + 4).into()).unwrap();
            fill(&mut r.m, bo, at);
            bo
        })
        .collect();
    r.owners[0].set_limits(A, Limits { min: 12, low: 12, max: 16 }).unwrap();
    r.m.evict(a[0]).unwrap();
    assert_eq!(r.owners[0].usage(A).unwrap().pages, 16);
    let b = r.m.create(r.params(4).owner(B)).unwrap();
    assert_eq!(
        r.m.validate(b, &Place::new(r.vram).within(4, 8).into()),
        Err(ValidateError::NoSpace),
        "A has 12, and is sure of them"
    );
    let more = r.m.create(r.params(4).owner(A)).unwrap();
    r.m.validate(more, &r.to_vram()).unwrap();
    assert_eq!(r.m.counters().evicted, 1, "four of the sixteen were on their way already");
    (0..).zip(&a).for_each(|(seed, bo)| check(&mut r.m, *bo, seed));
    r.finish(&[&a[..], &[b, more]].concat());
}

#[test]
fn req_74_what_caches_hold_is_taken_before_anyone_goes() {
    let pgmap = pgmap(1 << 12);
    let per_cpu: PerCpu<'_, _, 4> = PerCpu::with_cpus(&pgmap);
    for cpu in 0..4 {
        let mut held = Vec::new();
        for order in [0, 2, 4, 5, 6] {
            held.extend((0..20).filter_map(|_| per_cpu.on(cpu).alloc_folio_with(Order::new(order).unwrap(), 0).ok()));
        }
        held.into_iter().for_each(|folio| _ = per_cpu.on(cpu).put(folio).unwrap());
    }
    assert!(pgmap.avail_in(pgmap_alloc::Extent::ALL) < 1 << 11, "the caches hold more than half");
    let mut mover = HostMover::new(SHIFT, DELAY);
    [1 << 12, 1 << 12].into_iter().for_each(|pages| mover.add(pages).unwrap());
    let mut m = Manager::new(mover, SHIFT);
    let vram = m.add(ResourceManager::device(&pgmap).cached_by(&per_cpu)).unwrap();
    let host = m.add(ResourceManager::host(1 << 12)).unwrap();
    let objects: Vec<Bo> = (0..64)
        .map(|seed| {
            let bo = m.create(ObjectParams::new(64).evict_to(Place::new(host))).unwrap();
            m.validate(bo, &Place::new(vram).into()).unwrap();
            fill(&mut m, bo, seed);
            bo
        })
        .collect();
    assert_eq!((m.counters().evicted, m.memory_usage(vram).unwrap().used), (0, 1 << 12), "every page, and nobody went");
    for (seed, bo) in (0..).zip(&objects) {
        check(&mut m, *bo, seed);
    }
    // Nor is a page in use that lies in a cache.
    m.free(objects[0]).unwrap();
    m.wait_all();
    let cached = per_cpu.on(0).alloc_folio_with(Order::ZERO, 0).unwrap();
    let page = cached.offset().get();
    per_cpu.on(0).put(cached).unwrap();
    m.carve_out(vram, Window { first: page, last: page + 1 }, 0).unwrap();
}

/// Odd sizes, side by side: until the first object has to go, about 99 % of the device is full.
#[test]
fn req_52_contiguous_packs_odd_sizes() {
    for flags in [Flags::CONTIGUOUS, Flags::CONTIGUOUS | Flags::TOP_DOWN] {
        let mut full = 0;
        for seed in 1..=8u64 {
            let pgmap = pgmap(10_000);
            let mut mover = HostMover::new(0, 0);
            [10_000, 20_000].into_iter().for_each(|pages| mover.add(pages).unwrap());
            let mut m = Manager::new(mover, SHIFT);
            let vram = m.add(ResourceManager::device(&pgmap)).unwrap();
            let host = m.add(ResourceManager::host(20_000)).unwrap();
            let (mut random, mut used) = (seed * 7919, 0);
            loop {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let pages = 1 + random % 97;
                let bo = m.create(ObjectParams::new(pages).evict_to(Place::new(host))).unwrap();
                m.validate(bo, &Place::new(vram).with(flags).into()).unwrap();
                if m.counters().evicted > 0 {
                    break;
                }
                used += pages;
            }
            full += used;
        }
        assert!(full > 8 * 9_880, "{:.1} % full, {flags:?}", full as f64 / 800.0);
    }
}

fn first_page(r: &Rig<'_>, bo: Bo) -> u64 {
    r.m.pieces(bo).unwrap().next().unwrap().1.first
}
