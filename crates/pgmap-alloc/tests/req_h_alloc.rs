//! Requirements 37, 43 and 50 as far as they are about which pages can be had.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{FreeError, Pgmap, Put, PutError, Run};
use support::{Lent, Random, at, order, partition, pgmap, range};

/// Pages given back one by one in a random order are the largest runs again, over several levels of tables.
#[test]
fn req_37_freed_parts_merge_back_to_the_largest_idle_run() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let pgmap = pgmap(&[range(0, 4096), range(1 << 20, 777)]);
        let mut folios: Vec<_> = std::iter::from_fn(|| pgmap.alloc_folio(order(random.below(4) as u32)).ok()).collect();
        folios.extend(std::iter::from_fn(|| pgmap.alloc_folio(order(0)).ok()));
        assert_eq!(partition(&pgmap).idle, 0);
        while !folios.is_empty() {
            folios.swap_remove(random.below(folios.len() as u64) as usize);
        }
        assert_eq!(partition(&pgmap).idle, 4096 + 777);
        let whole = pgmap.request_folio(at(0), order(12)).unwrap();
        let second = pgmap.ranges().nth(1).unwrap().first.get();
        let parts: Vec<_> = [(0, 9), (512, 8), (768, 3), (776, 0)]
            .map(|(from, o)| pgmap.request_folio(at(second + from), order(o)).unwrap())
            .into();
        assert_eq!(partition(&pgmap).idle, 0);
        drop((whole, parts));
    }
}

/// One large block comes back in parts of any order, in any sequence.
#[test]
fn req_37_parts_of_one_block_merge() {
    let mut random = Random::new(7);
    let pgmap = pgmap(&[range(0, 8192)]);
    for _ in 0..5 {
        let whole = pgmap.request_block(at(4096), order(12)).unwrap().into_raw();
        let (mut parts, mut done) = (vec![whole], vec![]);
        while let Some(part) = parts.pop() {
            if part.order() == order(0) || random.one_in(3) {
                done.push(part);
            } else {
                let half = order(part.order().get() - 1);
                parts.push(Run::new(part.start(), half).unwrap());
                parts.push(Run::new(at(part.start().get() + half.pages()), half).unwrap());
            }
        }
        while !done.is_empty() {
            let part = done.swap_remove(random.below(done.len() as u64) as usize);
            pgmap.free_block_raw(part.start(), part.order()).unwrap();
        }
        assert_eq!(partition(&pgmap).idle, 8192);
        drop(pgmap.request_folio(at(0), order(13)).unwrap());
    }
}

#[test]
fn req_43_every_bad_free_is_an_error_and_loses_nothing() {
    let pgmap = pgmap(&[range(0, 2048), range(1 << 20, 100)]);
    let free = |start: u64, o: u32| pgmap.free_block_raw(at(start), order(o));
    let block = pgmap.request_block(at(512), order(9)).unwrap().into_raw();
    let folio = pgmap.request_folio(at(1024), order(4)).unwrap();
    let before = partition(&pgmap);
    let second = pgmap.ranges().nth(1).unwrap().first.get();
    // Idle pages, in whole and in part; pages of a folio, by head, by tail, around it.
    assert_eq!(free(0, 9), Err(FreeError::DoubleFree { page: at(0) }));
    assert_eq!(free(0, 10), Err(FreeError::DoubleFree { page: at(0) }));
    assert!(matches!(free(512 + 512, 9), Err(FreeError::InService { head }) if head == at(1024)));
    for (start, o) in [(1024, 4), (1024, 0), (1039, 0), (1032, 3), (1024, 5), (1024, 10)] {
        assert_eq!(free(start, o), Err(FreeError::InService { head: at(1024) }), "{start}+2^{o}");
    }
    assert_eq!(free(513, 1), Err(FreeError::Misaligned));
    assert_eq!(free(second + 100, 0), Err(FreeError::OutOfRange));
    assert_eq!(free(second + 96, 3), Err(FreeError::CrossesRange));
    assert_eq!(free(u64::MAX, 0), Err(FreeError::Overflow));
    assert_eq!((partition(&pgmap), folio.refs(), pgmap.ops().calls()), (before, 1, 0));
    // A folio is put, not freed; a block is freed, not put.
    assert_eq!(pgmap.put_raw(at(512), 1), Err(PutError::NotInService));
    // A part, the same part again, what contains it, a part of it.
    free(512 + 64, 4).unwrap();
    for (start, o) in [(512 + 64, 4), (512 + 64, 0), (512 + 79, 0), (512 + 64, 6), (512, 9)] {
        assert!(matches!(free(start, o), Err(FreeError::DoubleFree { .. })), "{start}+2^{o}");
    }
    assert_eq!(partition(&pgmap).block, 512 - 16);
    for (start, o) in [(0, 6), (80, 4), (96, 5), (128, 7), (256, 8)] {
        free(block.start().get() + start, o).unwrap();
    }
    assert_eq!(free(512, 9), Err(FreeError::DoubleFree { page: at(512) }));
    assert_eq!(pgmap.put(folio).unwrap(), Put::Freed);
    assert_eq!(partition(&pgmap).idle, 2148);
    drop(pgmap.request_folio(at(0), order(11)).unwrap());
}

/// Building touches the tables at the edges of the ranges only, and one folio one word.
#[test]
fn req_50_only_what_is_used_is_touched() {
    let mut before = 0;
    for (pages, most) in [(1u64 << 9, 8), (1 << 18, 8), ((1 << 20) - 1, 8 + 30)] {
        let mut lent = Lent::<8>::new(&[range(0, pages)]);
        let pgmap: Pgmap<'_, (), 8> = lent.pgmap(());
        assert_eq!(pgmap.largest_order().get(), pages.ilog2());
        drop(pgmap);
        let touched = lent.tables_in_use();
        assert!(touched <= most, "{pages} pages: {touched} tables");
        assert!(touched >= before);
        before = if pages.is_power_of_two() { touched } else { 0 };
        assert_eq!((lent.words_in_use(), lent.cells_in_use()), (vec![], vec![]));
    }
}
