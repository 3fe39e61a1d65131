//! Random operations with injected failures, against the slowest model there is: what each object's bytes should be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

use pgmap_alloc::{Limits, Offset};
use pgmap_ttm::*;
use proptest::prelude::*;
use support::*;

#[derive(Clone, Debug)]
enum Op {
    Create { pages: u64, owner: u32, gone_when_evicted: bool },
    Validate { object: usize, places: Vec<(usize, u8, u64)> },
    Write { object: usize, seed: u64 },
    Fault { object: usize, page: u64, order: u32, memory: usize },
    Evict { object: usize },
    EvictPages { pages: u64 },
    Swapout { pages: u64 },
    Pin { object: usize },
    Unpin { object: usize },
    Touch { object: usize },
    Bulk { object: usize, join: bool },
    BulkMove,
    Promote { pages: u64 },
    Shares { owner: u32, min: u64, max: u64 },
    DontNeed { object: usize },
    WillNeed { object: usize },
    Owner { object: usize, owner: u32 },
    Hold { object: usize },
    Put,
    Free { object: usize },
    Inject { step: usize },
    Spoil,
    Refuse,
    Reap,
}

fn op() -> impl Strategy<Value = Op> {
    let object = 0..12usize;
    let place = (0..3usize, 0..8u8, 0..40u64);
    prop_oneof![
        4 => (1..20u64, 0..5u32, prop::bool::weighted(0.1))
            .prop_map(|(pages, owner, gone_when_evicted)| Op::Create { pages, owner, gone_when_evicted }),
        8 => (object.clone(), prop::collection::vec(place, 0..3)).prop_map(|(object, places)| Op::Validate { object, places }),
        4 => (object.clone(), 0..1000u64).prop_map(|(object, seed)| Op::Write { object, seed }),
        4 => (object.clone(), 0..20u64, 0..5u32, 0..3usize)
            .prop_map(|(object, page, order, memory)| Op::Fault { object, page, order, memory }),
        2 => object.clone().prop_map(|object| Op::Evict { object }),
        1 => (0..40u64).prop_map(|pages| Op::EvictPages { pages }),
        1 => (0..40u64).prop_map(|pages| Op::Swapout { pages }),
        1 => object.clone().prop_map(|object| Op::Pin { object }),
        2 => object.clone().prop_map(|object| Op::Unpin { object }),
        1 => object.clone().prop_map(|object| Op::Touch { object }),
        1 => (object.clone(), any::<bool>()).prop_map(|(object, join)| Op::Bulk { object, join }),
        1 => Just(Op::BulkMove),
        1 => (0..60u64).prop_map(|pages| Op::Promote { pages }),
        1 => (0..5u32, 0..10u64, 10..60u64).prop_map(|(owner, min, max)| Op::Shares { owner, min, max }),
        1 => object.clone().prop_map(|object| Op::DontNeed { object }),
        1 => object.clone().prop_map(|object| Op::WillNeed { object }),
        1 => (object.clone(), 0..5u32).prop_map(|(object, owner)| Op::Owner { object, owner }),
        1 => object.clone().prop_map(|object| Op::Hold { object }),
        1 => Just(Op::Put),
        2 => object.prop_map(|object| Op::Free { object }),
        2 => (0..4usize).prop_map(|step| Op::Inject { step }),
        1 => Just(Op::Spoil),
        1 => Just(Op::Refuse),
        1 => Just(Op::Reap),
    ]
}

/// What is known of an object: the seed of each page that was written and may be read.
#[derive(Default)]
struct Known {
    pages: BTreeMap<u64, u64>,
    /// Pushed out, it may lose its pages.
    may_vanish: bool,
    /// It may be purged.
    purgeable: bool,
    pins: u32,
}

/// With failures, or `calm`: then a request that is refused must not have moved anyone. The host is the stop between the device and
/// the swap; with few pages it is one that most objects pass in parts.
fn run(ops: Vec<Op>, host: u64, calm: bool) {
    let pgmap = pgmap(32);
    let mut r = rig(&pgmap, host);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    let bulk = r.m.create_bulk();
    let mut objects: Vec<(Bo, Known)> = Vec::new();
    let mut held = Vec::new();
    for op in ops {
        if calm && matches!(op, Op::Inject { .. } | Op::Spoil | Op::Refuse) {
            continue;
        }
        match op {
            Op::Hold { object } if !objects.is_empty() => {
                let bo = objects[object % objects.len()].0;
                let first = r.m.pieces(bo).unwrap().find(|(_, piece)| piece.memory == vram).map(|(_, piece)| piece.first);
                held.extend(first.map(|first| pgmap.try_get(Offset::new(first)).unwrap()));
            }
            Op::Put => _ = held.pop(),
            op => apply(&mut r, bulk, &mut objects, op, calm),
        }
        r.audit();
        for (bo, known) in &mut objects {
            // Reading waits, which would hide what pipelining does: so some are read at the end only.
            if bo.key() % 2 == 0 {
                verify(&mut r, *bo, known);
            } else {
                forget_vanished(&r, *bo, known);
            }
        }
    }
    held.clear();
    for (bo, known) in &mut objects {
        verify(&mut r, *bo, known);
    }
    r.m.clear_fault_hook();
    for (bo, known) in &objects {
        (0..known.pins).for_each(|_| r.m.unpin(*bo).unwrap());
        r.m.set_bulk(*bo, None).unwrap();
    }
    r.m.free_bulk(bulk).unwrap();
    r.finish(&objects.iter().map(|(bo, _)| *bo).collect::<Vec<_>>());
}

fn apply(r: &mut Rig<'_>, bulk: Bulk, objects: &mut Vec<(Bo, Known)>, op: Op, calm: bool) {
    let memories = [r.vram, r.host, r.swap];
    if let Op::Create { pages, owner, gone_when_evicted } = op {
        let evict_to = if gone_when_evicted { Placement::nowhere() } else { r.to_host() };
        let bo = r.m.create(ObjectParams::new(pages).owner(Owner(owner)).evict_to(evict_to)).unwrap();
        objects.push((bo, Known { may_vanish: gone_when_evicted, ..Known::default() }));
        return;
    }
    // An operation on object n is one on the n-th of those there are.
    let count = objects.len();
    let pick = |object: usize| (count > 0).then(|| object % count);
    match op {
        Op::Create { .. } | Op::Hold { .. } | Op::Put => {}
        Op::Validate { object, places } => {
            let Some(i) = pick(object) else { return };
            let place = |(memory, flags, first): &(usize, u8, u64)| {
                let place = Place::new(memories[*memory]).with(Flags::from_bits_truncate(*flags));
                if first % 3 == 0 { place.within(*first, first + 24) } else { place }
            };
            let placement = Placement::new(&places.iter().map(place).collect::<Vec<_>>());
            // What has no direct way may find out on it that there is none.
            let told = calm && placement.places().iter().all(|place| place.memory != r.swap);
            let before = stands(r, objects);
            let cost = r.m.cost_of(objects[i].0, &placement);
            let counters = r.m.counters();
            let (bo, known) = &mut objects[i];
            let validated = r.m.validate(*bo, &placement);
            if validated.is_ok() && places.is_empty() {
                known.pages.clear();
            }
            if told && validated.is_err() {
                assert_eq!(stands(r, objects), before, "{validated:?} moved somebody");
            }
            if told && !places.is_empty() {
                assert_eq!(cost.is_ok(), validated.is_ok(), "{cost:?} {validated:?}");
            }
            if told && cost == Ok(Cost::default()) {
                let gone = |counters: Counters| (counters.evicted, counters.gutted + counters.purged);
                let emptied = u64::from(places.is_empty());
                assert!(gone(r.m.counters()).1 - gone(counters).1 <= emptied && gone(r.m.counters()).0 == gone(counters).0);
            }
        }
        Op::Write { object, seed } => {
            let Some(i) = pick(object) else { return };
            let (bo, known) = &mut objects[i];
            fill(&mut r.m, *bo, seed);
            for (first, piece) in r.m.pieces(*bo).unwrap() {
                known.pages.extend((first..first + piece.pages).map(|page| (page, seed)));
            }
        }
        Op::Fault { object, page, order: o, memory } => {
            let Some(i) = pick(object) else { return };
            let pages = r.m.info(objects[i].0).unwrap().pages;
            let _ = r.m.fault(objects[i].0, page % pages, &Place::new(memories[memory]), order(o), order(0));
        }
        Op::Evict { object } => {
            let Some(i) = pick(object) else { return };
            let _ = r.m.evict(objects[i].0);
        }
        Op::EvictPages { pages } => {
            let _ = r.m.evict_pages(r.vram, pages);
        }
        Op::Swapout { pages } => {
            let _ = r.m.swapout(r.host, r.swap, pages);
        }
        Op::Pin { object } => {
            let Some(i) = pick(object) else { return };
            let (bo, known) = &mut objects[i];
            known.pins += u32::from(r.m.pin(*bo).is_ok());
        }
        Op::Unpin { object } => {
            let Some(i) = pick(object) else { return };
            let (bo, known) = &mut objects[i];
            assert_eq!(r.m.unpin(*bo).is_ok(), known.pins > 0);
            known.pins = known.pins.saturating_sub(1);
        }
        Op::Touch { object } => {
            let Some(i) = pick(object) else { return };
            r.m.touch(objects[i].0).unwrap();
        }
        Op::Bulk { object, join } => {
            let Some(i) = pick(object) else { return };
            r.m.set_bulk(objects[i].0, join.then_some(bulk)).unwrap();
        }
        Op::BulkMove => r.m.bulk_move(bulk).unwrap(),
        Op::Promote { pages } => {
            let _ = r.m.promote(pages);
        }
        Op::Shares { owner, min, max } => r.owners[0].set_limits(Owner(owner), Limits { min, low: min, max }).unwrap(),
        Op::DontNeed { object } => {
            let Some(i) = pick(object) else { return };
            let (bo, known) = &mut objects[i];
            r.m.dont_need(*bo).unwrap();
            known.purgeable = true;
        }
        Op::WillNeed { object } => {
            let Some(i) = pick(object) else { return };
            let (bo, known) = &mut objects[i];
            if r.m.will_need(*bo).unwrap() == Retained::Lost {
                known.pages.clear();
            }
            known.purgeable = false;
        }
        Op::Owner { object, owner } => {
            let Some(i) = pick(object) else { return };
            let _ = r.m.set_owner(objects[i].0, Owner(owner));
        }
        Op::Free { object } => {
            let Some(i) = pick(object) else { return };
            let freed = r.m.free(objects[i].0);
            assert_eq!(freed.is_ok(), objects[i].1.pins == 0);
            if freed.is_ok() {
                objects.swap_remove(i);
            }
        }
        Op::Inject { step } => {
            let step = [Step::Charge, Step::Allocate, Step::Copy, Step::Fence][step];
            let mut armed = true;
            r.m.set_fault_hook(move |at| at == step && core::mem::take(&mut armed));
        }
        Op::Spoil => r.m.mover_mut().spoil_next(),
        Op::Refuse => r.m.mover_mut().refuse_next(),
        Op::Reap => r.m.reap(),
    }
}

fn forget_vanished(r: &Rig<'_>, bo: Bo, known: &mut Known) {
    let info = r.m.info(bo).unwrap();
    assert!(known.purgeable || info.keeping == Keeping::Needed);
    if known.may_vanish && info.resident == 0 || info.keeping == Keeping::Purged {
        known.pages.clear();
    }
}

/// Where everybody stands.
fn stands(r: &Rig<'_>, objects: &[(Bo, Known)]) -> Vec<Vec<(u64, Piece)>> {
    objects.iter().map(|(bo, _)| r.m.pieces(*bo).unwrap().collect()).collect()
}

/// Every page that was written is still there, with every byte; only an object that is lost when pushed out may be empty.
fn verify(r: &mut Rig<'_>, bo: Bo, known: &mut Known) {
    settle(&mut r.m, bo);
    forget_vanished(r, bo, known);
    let pieces: Vec<_> = r.m.pieces(bo).unwrap().collect();
    for (page, seed) in &known.pages {
        let (first, piece) = pieces.iter().find(|(first, p)| (*first..first + p.pages).contains(page)).expect("a page is lost");
        let one = Piece { first: piece.first + (page - first), pages: 1, ..*piece };
        assert!(r.m.mover().bytes(one).unwrap() == contents(*seed, *page), "page {page} of {bo:?} in {one:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn req_57_random_operations_lose_no_byte(ops in prop::collection::vec(op(), 1..120)) {
        run(ops, 48, false);
    }

    #[test]
    fn req_57_random_operations_through_a_small_stop_lose_no_byte(ops in prop::collection::vec(op(), 1..120)) {
        run(ops, 5, false);
    }

    #[test]
    fn req_74_random_requests_that_are_refused_move_nobody(ops in prop::collection::vec(op(), 1..160), host in 8..64u64) {
        run(ops, host, true);
    }
}
