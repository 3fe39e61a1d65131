//! Eviction: who goes, where to, and what happens when nobody can.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgmap_alloc::Offset;
use pgmap_ttm::*;
use support::*;

#[test]
fn recursion_ends_where_it_would_go_round() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 16);
    let mut objects = Vec::new();
    for seed in 0..4 {
        let up = r.m.create(ObjectParams::new(4).evict_to(Place::new(r.vram))).unwrap();
        r.m.validate(up, &r.to_host()).unwrap();
        fill(&mut r.m, up, seed);
        let down = r.in_vram(4, seed);
        objects.extend([(up, seed), (down, seed)]);
    }
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    r.m.set_eviction_valuable(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        true
    });
    let new = r.m.create(r.params(4)).unwrap();
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::NoSpace));
    // Each of the four that might go down is asked, and the first of them asks each of the four that might make room for it; that
    // they cannot is known from then on, and there it ends.
    assert_eq!(asked.load(Ordering::Relaxed), 4 + 4);
    for (bo, seed) in &objects {
        check(&mut r.m, *bo, *seed);
    }
    r.finish(&[&objects.into_iter().map(|(bo, _)| bo).collect::<Vec<_>>()[..], &[new]].concat());
}

#[test]
fn an_object_is_not_pushed_out_for_itself() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_host(12, 1);
    r.m.fault(bo, 0, &Place::new(r.vram), order(2), order(2)).unwrap();
    let other = r.in_vram(8, 2);
    r.m.validate(bo, &r.to_vram()).unwrap();
    assert_eq!((r.home(bo), r.home(other)), (Some(r.vram), Some(r.host)), "though it is the older one");
    check(&mut r.m, bo, 1);
    check(&mut r.m, other, 2);
    r.audit();
    r.finish(&[bo, other]);
}

#[test]
fn req_54_priority_then_age() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let objects: Vec<Bo> = (0..4).map(|seed| r.in_vram(4, seed)).collect();
    r.m.set_priority(objects[0], Priority::High).unwrap();
    r.m.set_priority(objects[3], Priority::Low).unwrap();
    r.m.touch(objects[1]).unwrap();
    assert_eq!(walk(&r), [objects[3], objects[2], objects[1], objects[0]]);
    assert_eq!(r.m.evict_pages(r.vram, 5), Ok(8));
    assert_eq!(walk(&r), [objects[1], objects[0]]);
    r.finish(&objects);
}

#[test]
fn req_54_pinned_objects_leave_the_list() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let objects: Vec<Bo> = (0..3).map(|seed| r.in_vram(4, seed)).collect();
    r.m.pin(objects[0]).unwrap();
    r.m.pin(objects[0]).unwrap();
    assert_eq!(walk(&r), objects[1..]);
    r.m.unpin(objects[0]).unwrap();
    assert_eq!(walk(&r), objects[1..], "still pinned once");
    r.m.unpin(objects[0]).unwrap();
    assert_eq!(walk(&r), [objects[1], objects[2], objects[0]]);
    r.finish(&objects);
}

#[test]
fn req_54_bulk_move_keeps_the_order_of_its_members() {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, 64);
    let o: Vec<Bo> = (0..6).map(|seed| r.in_vram(4, seed)).collect();
    let bulk = r.m.create_bulk();
    for i in [0, 2, 4] {
        r.m.set_bulk(o[i], Some(bulk)).unwrap();
    }
    r.m.bulk_move(bulk).unwrap();
    assert_eq!(walk(&r), [o[1], o[3], o[5], o[0], o[2], o[4]]);
    r.m.touch(o[1]).unwrap();
    r.m.touch(o[0]).unwrap();
    assert_eq!(walk(&r), [o[3], o[5], o[2], o[4], o[0], o[1]], "a member's own touch moves it inside the bulk");
    assert_eq!(r.m.free_bulk(bulk), Err(BulkError::NotEmpty));
    r.m.set_bulk(o[2], None).unwrap();
    r.m.free(o[0]).unwrap();
    r.m.set_bulk(o[4], None).unwrap();
    r.m.free_bulk(bulk).unwrap();
    assert_eq!(r.m.bulk_move(bulk), Err(BulkError::StaleBulk));
    assert_eq!(r.m.set_bulk(o[1], Some(bulk)), Err(BulkError::StaleBulk));
    r.audit();
    r.finish(&o[1..]);
}

#[test]
fn req_54_cursor_survives_changes() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let o: Vec<Bo> = (0..8).map(|seed| r.in_vram(4, seed)).collect();
    let bulk = r.m.create_bulk();
    for i in [2, 3, 4] {
        r.m.set_bulk(o[i], Some(bulk)).unwrap();
    }
    // Order now: 0 1 5 6 7 (2 3 4).
    let mut cursor = r.m.lru_cursor(r.vram).unwrap();
    assert_eq!(r.m.lru_next(&mut cursor), Some(o[0]));
    assert_eq!(r.m.lru_next(&mut cursor), Some(o[1]));
    r.m.free(o[1]).unwrap();
    r.m.touch(o[0]).unwrap();
    r.m.free(o[5]).unwrap();
    assert_eq!(r.m.lru_next(&mut cursor), Some(o[6]), "the element behind, though the one it stood on is gone");
    r.m.pin(o[7]).unwrap();
    assert_eq!(r.m.lru_next(&mut cursor), Some(o[2]));
    let mut inside = cursor;
    r.m.free(o[3]).unwrap();
    assert_eq!(r.m.lru_next(&mut cursor), Some(o[4]));
    assert_eq!(r.m.lru_next(&mut cursor), None, "what was touched after the walk began is not met");
    r.m.bulk_move(bulk).unwrap();
    assert_eq!(r.m.lru_next(&mut inside), None, "a bulk that moved away is young");
    r.m.unpin(o[7]).unwrap();
    r.finish(&[o[0], o[2], o[4], o[6], o[7]]);
}

#[test]
fn req_54_eviction_valuable_is_asked() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let spared = r.in_vram(8, 1);
    let other = r.in_vram(8, 2);
    r.m.set_eviction_valuable(move |candidate| candidate.bo != spared);
    let new = r.in_vram(8, 3);
    assert_eq!((r.home(spared), r.home(other), r.home(new)), (Some(r.vram), Some(r.host), Some(r.vram)));
    r.m.set_eviction_valuable(|_| false);
    assert_eq!(r.m.validate(other, &r.to_vram()), Err(ValidateError::NoSpace));
    check(&mut r.m, other, 2);
    r.finish(&[spared, other, new]);
}

#[test]
fn req_52_only_those_in_the_window_go() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let halves: Vec<Bo> = [(0, 8), (8, 16)]
        .into_iter()
        .map(|(first, last)| {
            let bo = r.m.create(r.params(8)).unwrap();
            r.m.validate(bo, &Place::new(r.vram).within(first, last).into()).unwrap();
            bo
        })
        .collect();
    let new = r.m.create(r.params(8)).unwrap();
    r.m.validate(new, &Place::new(r.vram).within(8, 16).into()).unwrap();
    assert_eq!((r.home(halves[0]), r.home(halves[1])), (Some(r.vram), Some(r.host)), "the oldest would not have helped");
    r.finish(&[halves[0], halves[1], new]);
}

#[test]
fn req_52_pushed_out_to_one_run_takes_all_of_the_object() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let run = Place::new(r.host).with(Flags::CONTIGUOUS);
    let bo = r.m.create(ObjectParams::new(8).evict_to(run)).unwrap();
    r.m.validate(bo, &r.to_vram()).unwrap();
    fill(&mut r.m, bo, 1);
    r.m.fault(bo, 3, &Place::new(r.swap), order(0), order(0)).unwrap();
    r.m.evict(bo).unwrap();
    assert_eq!((r.home(bo), r.m.pieces(bo).unwrap().count()), (Some(r.host), 1));
    check(&mut r.m, bo, 1);
    r.finish(&[bo]);
}

#[test]
fn req_53_evict_leaves_what_is_on_no_device() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.m.create(r.params(8)).unwrap();
    r.m.validate(bo, &Place::new(r.swap).into()).unwrap();
    fill(&mut r.m, bo, 1);
    r.m.evict(bo).unwrap();
    assert_eq!((r.home(bo), r.m.counters().evicted), (Some(r.swap), 0));
    r.finish(&[bo]);
}

#[test]
fn a_folio_that_someone_else_holds_does_not_move() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let bo = r.in_vram(16, 1);
    let new = r.m.create(r.params(16)).unwrap();
    let first = r.m.pieces(bo).unwrap().next().unwrap().1.first;
    let held = pgmap.try_get(Offset::new(first)).unwrap();
    assert_eq!(r.m.evict(bo), Err(EvictError::Busy));
    assert_eq!(r.m.validate(bo, &r.to_host()), Err(ValidateError::Busy));
    assert_eq!(r.m.validate(new, &r.to_vram()), Err(ValidateError::NoSpace));
    drop(held);
    assert_eq!(r.m.validate(new, &r.to_vram()), Ok(true));
    check(&mut r.m, bo, 1);
    r.finish(&[bo, new]);
}

fn walk(r: &Rig<'_>) -> Vec<Bo> {
    let mut cursor = r.m.lru_cursor(r.vram).unwrap();
    core::iter::from_fn(|| r.m.lru_next(&mut cursor)).collect()
}
