//! Requirements 01 to 05: offsets, and the two places where they meet physical memory.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    AllocError, BuildError, FreeError, GenPool, Lookup, LookupError, OrderError, Params, Pgmap, Phys, PhysRange, PutError,
    RequestError,
};
use proptest::prelude::*;
use support::{PAGE, at, order, partition, pgmap, range};

/// Every name that a user can write, and every line of a signature, stands on a line with `pub`.
#[test]
fn req_01_no_pfn_in_the_public_api() {
    let mut files = vec![];
    support::sources(&mut |name, text| {
        files.push(name.to_owned());
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!code.to_lowercase().contains("pfn"), "{name}:{}: {line}", number + 1);
        }
    });
    assert!(files.len() > 15, "the sources were not found: {files:?}");
}

/// Physical addresses leave and enter by three verbs, where a range is added, and the words for ranges, and nowhere else.
#[test]
fn req_01_physical_addresses_only_at_the_edge() {
    let mut verbs = vec![];
    support::sources(&mut |name, text| {
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("pub fn") && line.contains("Phys")) {
            verbs.push(format!("{name}: {line}"));
        }
    });
    for verb in &verbs {
        // In by fault handlers and memory failures, out to hardware.
        let edges = ["fn phys(", "fn offset_of(", "fn memory_failure(", "fn grow_range("];
        assert!(edges.iter().any(|edge| verb.contains(edge)), "{verb}");
    }
    assert!(verbs.len() >= 4, "the scan found only {verbs:?}");
}

#[test]
fn req_02_offset_and_phys_are_a_bijection_with_holes() {
    let ranges = [range(7, 3), range(1 << 20, 700), range(4096, 512), range(1 << 30, 1)];
    let pgmap = pgmap(&ranges);
    assert_eq!(pgmap.pages(), 3 + 700 + 512 + 1);
    let end = pgmap.ranges().last().unwrap().end().get();
    let mut seen = std::collections::BTreeSet::new();
    for page in 0..end + 2000 {
        let inside = pgmap.ranges().any(|range| range.first <= at(page) && at(page) < range.end());
        let phys = pgmap.phys(at(page));
        assert_eq!(phys.is_some(), inside, "page {page}");
        let Some(phys) = phys else {
            assert_eq!(pgmap.lookup(at(page)), Err(LookupError::OutOfRange));
            continue;
        };
        assert!(seen.insert(phys), "{phys} has two offsets");
        for byte in [0, 1, PAGE - 1] {
            assert_eq!(pgmap.offset_of(Phys(phys.0 + byte)), Some(at(page)));
        }
    }
    assert_eq!(seen.len() as u64, pgmap.pages());
    // What is just outside of each range belongs to nobody.
    for PhysRange { start, pages } in ranges {
        assert_eq!(pgmap.offset_of(Phys(start.0 - 1)), None);
        assert_eq!(pgmap.offset_of(Phys(start.0 + pages * PAGE)), None);
    }
    assert_eq!(pgmap.offset_of(Phys(0)), None);
    assert_eq!(pgmap.offset_of(Phys(u64::MAX)), None);
    assert_eq!(pgmap.phys(at(u64::MAX)), None);
}

#[test]
fn req_03_offset_zero_is_an_ordinary_offset() {
    for pages in [1, 2, 512, 513] {
        let pgmap = pgmap(&[range(0, pages)]);
        let largest = pgmap.largest_order();
        let folio = pgmap.alloc_folio(largest).unwrap();
        assert_eq!(folio.offset(), at(0));
        assert_eq!(folio.phys(), Some(Phys(0)));
        assert_eq!(pgmap.offset_of(Phys(0)), Some(at(0)));
        assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Folio { head: at(0), order: largest }));
        assert_eq!(pgmap.try_get(at(0)).unwrap().refs(), 2);
        assert_eq!(pgmap.request_folio(at(0), order(0)).map(drop), Err(RequestError::Busy));
        drop(folio);
        let block = pgmap.request_block(at(0), order(0)).unwrap().into_raw();
        assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Block));
        pgmap.free_block_raw(block.start(), block.order()).unwrap();
        assert_eq!(partition(&pgmap).idle, pages);
    }
}

#[test]
fn req_04_orders_are_checked() {
    assert_eq!(pgmap_alloc::Order::new(64), Err(OrderError::TooLarge { order: 64 }));
    assert_eq!(pgmap_alloc::Order::new(255), Err(OrderError::TooLarge { order: 255 }));
    let pgmap = pgmap(&[range(0, 512)]);
    for large in 10..=44 {
        assert_eq!(pgmap.alloc_folio(order(large)).map(drop), Err(AllocError::TooLarge));
    }
    assert_eq!(partition(&pgmap).idle, 512);
}

/// A run that is no run is refused by every verb that takes one, each with its own error, and nothing changes.
#[test]
fn req_04_bad_runs_have_their_own_errors_and_change_nothing() {
    let pgmap = pgmap(&[range(0, 1000), range(1 << 20, 512)]);
    let second = pgmap.ranges().nth(1).unwrap();
    let held = pgmap.request_folio(at(8), order(3)).unwrap();
    let before = partition(&pgmap);
    let cases = [
        (1, 1, RequestError::Misaligned, FreeError::Misaligned),
        (511, 9, RequestError::Misaligned, FreeError::Misaligned),
        (u64::MAX, 0, RequestError::Overflow, FreeError::Overflow),
        (u64::MAX - 511, 9, RequestError::Overflow, FreeError::Overflow),
        (0, 44, RequestError::CrossesRange, FreeError::CrossesRange),
        (992, 4, RequestError::CrossesRange, FreeError::CrossesRange),
        (0, 10, RequestError::CrossesRange, FreeError::CrossesRange),
        (second.first.get(), 10, RequestError::CrossesRange, FreeError::CrossesRange),
        (1000, 0, RequestError::OutOfRange, FreeError::OutOfRange),
        (second.end().get(), 0, RequestError::OutOfRange, FreeError::OutOfRange),
        (u64::MAX - 1, 0, RequestError::OutOfRange, FreeError::OutOfRange),
        (1 << 63, 44, RequestError::OutOfRange, FreeError::OutOfRange),
    ];
    for (start, o, refused, not_freed) in cases {
        let (start, o) = (at(start), order(o));
        assert_eq!(pgmap.request_folio(start, o).map(drop), Err(refused), "{start}+2^{o}");
        assert_eq!(pgmap.request_block(start, o).map(drop), Err(refused), "{start}+2^{o}");
        assert_eq!(pgmap.request_folio_raw(start, o, 0), Err(refused), "{start}+2^{o}");
        assert_eq!(pgmap.free_block_raw(start, o), Err(not_freed), "{start}+2^{o}");
    }
    let far = at(u64::MAX);
    assert_eq!(pgmap.put_raw(far, 1), Err(PutError::OutOfRange));
    assert_eq!(pgmap.get_raw(far), Err(pgmap_alloc::GetError::OutOfRange));
    assert_eq!(pgmap.lookup(far), Err(LookupError::OutOfRange));
    assert_eq!(pgmap.try_get(far).map(drop), None);
    assert_eq!(pgmap.ops().calls(), 0);
    assert_eq!((partition(&pgmap), held.refs()), (before, 1));
}

/// On a machine of 32 bits an offset that differs from another only beyond them is not that other page.
#[test]
fn req_04_an_offset_that_the_machine_cannot_count_is_no_other_page() {
    let pgmap = pgmap(&[range(0, 512)]);
    let held = pgmap.request_folio(at(8), order(3)).unwrap();
    let block = pgmap.request_block(at(64), order(3)).unwrap().into_raw();
    pgmap.retire(at(100)).unwrap();
    let before = pgmap.validate_every_word();
    for far in [1 << 32, 1 << 33, 1 << 40, 1 << 43, 1 << 62] {
        let (folio, tail, taken, bad) = (at(far + 8), at(far + 9), at(far + 64), at(far + 100));
        for page in [folio, tail] {
            assert!(pgmap.try_get(page).is_none() && pgmap.try_get_raw(page).is_none());
            assert!(pgmap_alloc::Folio::from_raw(&pgmap, page).is_none());
            assert!(pgmap.is_idle(page), "no reference to it exists");
            assert_eq!(pgmap.lookup(page), Err(LookupError::OutOfRange));
            assert_eq!(pgmap.get_raw(page), Err(pgmap_alloc::GetError::OutOfRange));
            assert_eq!(pgmap.counts_raw(page), Err(pgmap_alloc::GetError::OutOfRange));
            assert_eq!(pgmap.put_raw(page, 1), Err(PutError::OutOfRange));
            assert_eq!(pgmap.unmap_raw(page), Err(PutError::OutOfRange));
            assert_eq!(pgmap.map_raw(page), Err(pgmap_alloc::MapError::OutOfRange));
            assert_eq!(pgmap.split_raw(page, order(0), 1), Err(pgmap_alloc::SplitError::OutOfRange));
            assert_eq!(pgmap.freeze_raw(page, pgmap_alloc::Expect::Refs(1)).err(), Some(pgmap_alloc::FreezeError::OutOfRange));
            assert!(pgmap.until_idle(page).is_err() && pgmap.retire(page).is_err() && pgmap.pin(page).is_err());
            assert!(!pgmap.is_retiring(page) && pgmap.phys(page).is_none());
            assert_eq!(pgmap.request_folio(page, order(0)).map(drop), Err(RequestError::OutOfRange));
            assert_eq!(pgmap.close_range(page).err(), Some(pgmap_alloc::RemoveRangeError::Unknown));
        }
        assert_eq!(pgmap.pardon(bad), Err(pgmap_alloc::PardonError::OutOfRange));
        assert_eq!(pgmap.free_block_raw(taken, block.order()), Err(FreeError::OutOfRange));
        let run = pgmap_alloc::Run::new(taken, block.order()).unwrap();
        assert_eq!(pgmap_alloc::Block::from_raw(&pgmap, run).err(), Some(pgmap_alloc::BlockError::NoSuchRun));
        let window = pgmap_alloc::Extent::new(at(far), 512).unwrap();
        let params = pgmap_alloc::ExtentParams::new(1).within(window);
        assert_eq!(pgmap.alloc_extent(&params).map(drop), Err(pgmap_alloc::AllocExtentError::WindowOutside));
    }
    assert_eq!((pgmap.validate_every_word(), held.refs()), (before, 1));
    #[cfg(target_pointer_width = "32")]
    assert_eq!(Pgmap::new(&Params::new(&[range(0, 1 << 32)]), ()).err(), Some(BuildError::Unaddressable));
}

#[test]
fn req_04_a_pool_of_offsets_knows_nothing_beyond_its_end() {
    let pool = GenPool::new(&Params::new(&[range(0, 512)])).unwrap();
    assert!((0..512).all(|page| pool.is_idle(at(page))));
    for page in (512..5000).chain([1 << 20, 1 << 44, u64::MAX]) {
        assert!(!pool.is_idle(at(page)) && !pool.has_offset(at(page)), "page {page}");
    }
}

#[test]
fn req_04_bad_ranges_have_their_own_errors() {
    let build = |ranges: &[PhysRange]| Pgmap::new(&Params::new(ranges), ()).err();
    assert_eq!(build(&[]), Some(BuildError::NoRange));
    assert_eq!(build(&[range(0, 1), range(9, 0)]), Some(BuildError::EmptyRange { index: 1 }));
    assert_eq!(build(&[PhysRange { start: Phys(1), pages: 1 }]), Some(BuildError::Misaligned { index: 0 }));
    assert_eq!(build(&[range(0, 100), range(99, 1)]), Some(BuildError::Overlap { first: 0, second: 1 }));
    assert_eq!(build(&[range(50, 1), range(0, 100)]), Some(BuildError::Overlap { first: 0, second: 1 }));
    assert_eq!(build(&[range(0, u64::MAX)]), Some(BuildError::TooLarge { index: 0 }));
    assert_eq!(build(&[range(u64::MAX / PAGE, 2)]), Some(BuildError::TooLarge { index: 0 }));
    for shift in [0, 8, 31, 64, u32::MAX] {
        let params = Params { ranges: &[range(0, 1)], page_shift: shift, ..Params::new(&[]) };
        assert_eq!(Pgmap::new(&params, ()).err(), Some(BuildError::PageShift { shift }));
    }
    // Side by side is not overlapping.
    assert_eq!(build(&[range(100, 100), range(0, 100)]), None);
}

/// Idle pages of two ranges that stand side by side in offset space must never be handed out as one run.
#[test]
fn req_05_a_folio_never_crosses_a_range() {
    // Two half tables that complete one another, and a range that makes the joint order legal.
    let pgmap = pgmap(&[range(0, 256), range(1280, 256), range(4096, 512)]);
    let whole = pgmap.alloc_folio(order(9)).unwrap();
    assert_eq!(pgmap.phys(whole.offset()), Some(Phys(4096 * PAGE)));
    assert_eq!(pgmap.alloc_folio(order(9)).map(drop), Err(AllocError::Fragmented { cached: 0 }));
}

fn ranges() -> impl Strategy<Value = Vec<PhysRange>> {
    let one = prop_oneof![1..40u64, (0..10u32).prop_map(|o| 1 << o), 1..1500u64];
    // Each range at a place of its own, at an alignment of its own.
    prop::collection::vec((one, 0..2048u64, prop_oneof![Just(false), Just(true)]), 1..12).prop_map(|list| {
        let place = |(i, (pages, skew, natural)): (usize, (u64, u64, bool))| {
            let slot = (i as u64 * 7 % 13) * 8192;
            if natural { range(slot + (skew & !(pages.next_power_of_two() - 1)), pages) } else { range(slot + skew, pages) }
        };
        list.into_iter().enumerate().map(place).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the ranges: each run that can be had lies in one range, aligned in both spaces, and all pages can be had.
    #[test]
    fn req_05_aligned_in_physical_space_too(ranges in ranges(), pick in any::<u64>()) {
        let pgmap = pgmap(&ranges);
        let largest = pgmap.largest_order().get();
        prop_assert_eq!(Some(largest), ranges.iter().map(largest_in).max());
        let (mut pages, mut taken) = (0, vec![]);
        let mut o = if pick % 3 == 0 { largest } else { (pick % u64::from(largest + 1)) as u32 };
        loop {
            let Ok(folio) = pgmap.alloc_folio(order(o)) else {
                if o == 0 { break }
                o -= 1;
                continue;
            };
            let first = folio.offset().get();
            let home = pgmap.ranges().find(|range| range.first <= folio.offset() && folio.offset() < range.end()).unwrap();
            prop_assert!(first + (1 << o) <= home.end().get(), "{:?} crosses the end of {:?}", folio, home);
            prop_assert_eq!(first % (1 << o), 0);
            prop_assert_eq!(folio.phys().unwrap().0 / PAGE % (1 << o), 0);
            pages += 1 << o;
            taken.push(folio);
        }
        prop_assert_eq!(pages, pgmap.pages());
        drop(taken);
        prop_assert_eq!(partition(&pgmap).idle, pages);
    }
}

/// The order of the largest run of a range that is aligned in physical space.
fn largest_in(range: &PhysRange) -> u32 {
    let (first, end) = (range.start.0 / PAGE, range.start.0 / PAGE + range.pages);
    (0..=range.pages.ilog2()).rev().find(|&o| first.next_multiple_of(1 << o) + (1 << o) <= end).unwrap_or(0)
}
