//! Ranges that come, grow and go, against a slow model, and what that costs.

#![allow(clippy::unwrap_used)]

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::error::{AddRangeError, BuildError};
use crate::offset::{PhysRange, Run};
use crate::sync::recorded::record;

const SHIFT: u32 = 12;
const SLOTS: usize = 48;

fn ranges(slots: usize) -> Ranges<'static> {
    Ranges::new(Memory::boxed(slots).unwrap(), SHIFT, Order::MAX)
}

fn range(page: u64, pages: u64) -> PhysRange {
    PhysRange { start: Phys(page << SHIFT), pages }
}

#[derive(Clone, Debug)]
enum Op {
    Add(u64, u64, u64),
    Grow(usize, u64),
    Remove(usize),
}

fn op() -> impl Strategy<Value = Op> {
    // Mostly short ones, so that there are many gaps alike.
    let pages = || prop_oneof![6 => 1..4_u64, 1 => (0..6_u32).prop_map(|o| 1 << o), 1 => 1..60_u64];
    prop_oneof![
        9 => (0..1000_u64, pages(), prop_oneof![4 => Just(0), 1 => 0..80_u64]).prop_map(|(page, pages, grows)| Op::Add(page, pages, grows)),
        3 => (0..SLOTS, pages()).prop_map(|(index, pages)| Op::Grow(index, pages)),
        3 => (0..SLOTS).prop_map(Op::Remove),
    ]
}

/// The ranges by first offset, with the pages that each may come to have.
type Model = BTreeMap<u64, (PlacedRange, u64)>;

/// Whether a range can stand here, by the rules alone: it agrees with its addresses, overlaps no other, and completes no run with one.
fn can_stand(model: &Model, new: &PlacedRange, limit: u64) -> bool {
    let page = new.phys.0 >> SHIFT;
    let agrees = (0..=new.pages.ilog2()).all(|o| page & ((1 << o) - 1) == new.first.get() & ((1 << o) - 1));
    let runs_cross = |a: &PlacedRange, b: &PlacedRange| {
        let both = a.first.get()..b.end().get();
        a.end() == b.first
            && (1..8).any(|o| {
                both.clone().any(|at| {
                    at % (1 << o) == 0 && at < b.first.get() && at + (1 << o) > b.first.get() && at + (1 << o) <= both.end
                })
            })
    };
    agrees
        && new.end().get() <= limit
        && model.values().all(|(other, room)| {
            let other = PlacedRange { pages: *room, ..*other };
            let apart = other.end() <= new.first || new.end() <= other.first;
            apart && !runs_cross(&other, new) && !runs_cross(new, &other)
        })
}

fn overlaps(model: &Model, new: &PhysRange) -> bool {
    let (first, end) = (new.start.0 >> SHIFT, (new.start.0 >> SHIFT) + new.pages);
    model.values().any(|(other, _)| {
        let start = other.phys.0 >> SHIFT;
        first < start + other.pages && start < end
    })
}

fn add(ranges: &Ranges<'_>, model: &mut Model, new: NewRange, limit: u64) {
    let answer = ranges.change().unwrap().add(&new, limit);
    match answer {
        Ok(placed) => {
            let room = new.grows_to.max(new.range.pages);
            assert!(!overlaps(model, &new.range) && model.len() < SLOTS);
            assert_eq!((placed.pages, placed.phys, placed.tag), (new.range.pages, new.range.start, new.tag));
            assert!(can_stand(model, &PlacedRange { pages: room, ..placed }, limit), "{placed:?} among {model:?}");
            model.insert(placed.first.get(), (placed, room));
        }
        Err(AddRangeError::Overlap { first }) => {
            assert!(overlaps(model, &new.range) && model.contains_key(&first.get()));
        }
        Err(AddRangeError::NoSlot { slots }) => assert_eq!((slots, model.len()), (SLOTS, SLOTS)),
        Err(error) => {
            let pages = new.grows_to.max(new.range.pages);
            assert_eq!(error, AddRangeError::NoRoom { pages });
            let at = |first| PlacedRange { first: Offset::new(first), pages, phys: new.range.start, tag: 0 };
            let place = (0..limit).map(at).find(|place| can_stand(model, place, limit));
            assert_eq!(place, None, "there is room among {model:?}");
        }
    }
}

fn grow(ranges: &Ranges<'_>, model: &mut Model, first: u64, pages: u64, limit: u64) {
    let (old, room) = model[&first];
    let by = PhysRange { start: Phys(old.phys.0 + (old.pages << SHIFT)), pages };
    let answer = ranges.change().unwrap().grow(Offset::new(first), &by, limit);
    let grown = PlacedRange { pages: old.pages + pages, ..old };
    let new_room = room.max(grown.pages);
    model.remove(&first);
    let fits = new_room == room || can_stand(model, &PlacedRange { pages: new_room, ..old }, limit);
    match answer {
        Ok(answer) => {
            assert_eq!(answer, (old, grown));
            assert!(fits && !overlaps(model, &by));
            model.insert(first, (grown, new_room));
        }
        Err(error) => {
            match error {
                AddRangeError::Overlap { .. } => assert!(overlaps(model, &by)),
                AddRangeError::NoRoom { .. } | AddRangeError::Misplaced => assert!(!fits, "{old:?} by {pages} among {model:?}"),
                error => panic!("{error}"),
            }
            model.insert(first, (old, room));
        }
    }
}

/// Every question is answered as by the model.
fn check(ranges: &Ranges<'_>, model: &Model, limit: u64) {
    let all: Vec<_> = model.values().map(|(range, _)| *range).collect();
    assert_eq!(ranges.iter().collect::<Vec<_>>(), all);
    assert_eq!(ranges.pages(), all.iter().map(|range| range.pages).sum::<u64>());
    let largest =
        all.iter().flat_map(|range| crate::pool::runs_of(range.first.get(), range.end().get(), Order::MAX)).map(Run::order).max();
    assert_eq!(ranges.largest(), largest.unwrap_or(Order::ZERO));
    for page in (0..limit + 2).map(Offset::new) {
        let home = all.iter().find(|range| range.first <= page && page < range.end()).copied();
        assert_eq!((ranges.of(page), ranges.end_of(page)), (home, home.map(|home| home.end())));
        let phys = home.map(|home| Phys(home.phys.0 + ((page.get() - home.first.get()) << SHIFT)));
        assert_eq!(ranges.phys(page), phys);
        if let Some(phys) = phys {
            assert_eq!(ranges.offset_of(Phys(phys.0 + 4095)), Some(page));
        }
    }
    for (range, _) in model.values() {
        let behind = Phys(range.phys.0 + (range.pages << SHIFT));
        let covered = all.iter().any(|other| other.phys == behind);
        assert_eq!(ranges.offset_of(behind).is_some(), covered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Whatever comes, grows and goes: each range stands where it may, a refusal is true, and every page is found both ways.
    #[test]
    fn req_02_req_06_req_69_ranges_agree_with_the_model(ops in prop::collection::vec(op(), 1..200), limit in 20..200_u64) {
        let (ranges, mut model) = (ranges(SLOTS), Model::new());
        for (tag, op) in ops.into_iter().enumerate() {
            match op {
                Op::Add(page, pages, grows) => {
                    add(&ranges, &mut model, NewRange::new(range(page, pages)).tagged(tag as u64).growing_to(grows), limit);
                }
                Op::Grow(index, pages) => {
                    if let Some(&first) = model.keys().nth(index) {
                        grow(&ranges, &mut model, first, pages, limit);
                    }
                }
                Op::Remove(index) => {
                    if let Some(&first) = model.keys().nth(index) {
                        let (range, _) = model.remove(&first).unwrap();
                        ranges.change().unwrap().remove(&range);
                    }
                }
            }
            if tag % 4 == 0 {
                check(&ranges, &model, limit);
            }
        }
        check(&ranges, &model, limit);
    }
}

/// Pages three apart, in an order that suits no tree.
fn scattered(count: u64) -> impl Iterator<Item = PhysRange> {
    (0..count).map(move |i| range(i * 5 % count * 3, 1))
}

/// What each step costs with so many ranges there, in accesses to shared memory: the most of several.
fn cost(count: u64) -> [usize; 4] {
    let ranges = ranges(count as usize + 1);
    for (index, new) in scattered(count).enumerate() {
        ranges.change().unwrap().append(&new.into(), index).unwrap();
    }
    let mut most = [0; 4];
    for turn in 0..50 {
        let page = range(count * 3 + turn * 3, 1);
        let (placed, add) = record(0, || ranges.change().unwrap().add(&page.into(), u64::MAX >> 8).unwrap());
        let (phys, look) = record(0, || ranges.phys(placed.first).unwrap());
        let (offset, find) = record(0, || ranges.offset_of(phys).unwrap());
        let ((), remove) = record(0, || ranges.change().unwrap().remove(&placed));
        assert_eq!((phys, offset), (page.start, placed.first));
        let costs = [add.len(), look.len(), find.len(), remove.len()];
        most = core::array::from_fn(|step| most[step].max(costs[step]));
    }
    most
}

/// 256 times as many ranges cost a few looks more in each step: they are not walked.
#[test]
fn req_06_each_step_is_logarithmic_in_the_number_of_ranges() {
    let (few, many) = (cost(64), cost(64 << 8));
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < 8 * few.max(100), "{few} with 64 ranges, {many} with 16384");
    }
}

/// As many as a driver that grows by the page could have. That this ends is the test: it took minutes.
#[test]
fn req_06_many_ranges_are_built_one_by_one() {
    let count = 1 << 16;
    let ranges = ranges(count as usize);
    for (index, new) in scattered(count).enumerate() {
        ranges.change().unwrap().append(&new.into(), index).unwrap();
    }
    assert_eq!((ranges.pages(), ranges.iter().count() as u64), (count, count));
    let overlap = ranges.change().unwrap().append(&range(3, 1).into(), count as usize);
    assert!(matches!(overlap, Err(BuildError::Overlap { .. })), "{overlap:?}");
}

/// A lent slot that was used before is written anew, whatever it holds.
#[test]
fn req_66_a_used_slot_is_as_good_as_a_fresh_one() {
    let places = |slots: &[RangeSlot]| {
        let ranges = Ranges::new(Memory::Lent(slots), SHIFT, Order::MAX);
        let add = |page, pages| ranges.change().unwrap().add(&range(page, pages).into(), 2000).map(|added| added.first);
        for page in [4096, 0, 8192, 1 << 16] {
            add(page, 300).unwrap();
        }
        let second = ranges.iter().nth(1).unwrap();
        ranges.change().unwrap().remove(&second);
        (0..16).map(|turn| add((1 << 20) + turn * 512, 20 << (turn % 4))).collect::<Vec<_>>()
    };
    let slots = || (0..20).map(|_| RangeSlot::new()).collect::<Vec<_>>();
    let fresh = places(&slots());
    assert!(fresh.iter().any(Result::is_ok) && fresh.iter().any(Result::is_err), "{fresh:?}");
    let used = slots();
    // Among them what would cut a list of gaps off behind one of its slots.
    for seed in (1..12).map(|slot| slot << 32).chain([1, 3 << 32 | 5, u64::MAX]) {
        used.iter().for_each(|slot| slot.fill(seed));
        assert_eq!(places(&used), fresh);
    }
}

/// One gap does, and it is the last that is looked at: more that are as long, and do not, were left after it.
#[test]
fn req_06_a_range_is_refused_only_if_no_gap_does() {
    let ranges = ranges(40);
    let append = |page, pages| ranges.change().unwrap().append(&range(page, pages).into(), 0).unwrap();
    append(0, 1);
    let gone = append(10, 1);
    append(20, 1);
    assert_eq!(gone.first, Offset::new(2));
    ranges.change().unwrap().remove(&gone);
    let mut end = 0;
    for turn in 1..=12 {
        let wide = append(turn * 100 + 1, 3);
        end = append(turn * 100 + 50, 1).end().get();
        assert_eq!(wide.first.get() % 2, 1, "two pages before it, of which the second is even");
    }
    let two = range(10_000, 2).into();
    assert_eq!(ranges.change().unwrap().add(&two, end).map(|added| added.first), Ok(gone.first));
    assert_eq!(ranges.change().unwrap().add(&range(20_000, 2).into(), end), Err(AddRangeError::NoRoom { pages: 2 }));
}
