//! Requirements 42 and 43: single pages by the word, on the shared path and through handles.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;

use pgmap_alloc::{AllocError, FreeError, FreeManyError, GenPool, Offset, Order, PageWord, Params, ScatterError, Wish};
use support::{assert_whole, at, pool, range, word};

/// A pool of which every `step`-th page is taken.
fn riddled(pages: u64, step: usize) -> GenPool<'static> {
    let pool = pool(pages);
    (0..pages).step_by(step).for_each(|page| pool.alloc_at(at(page), Order::ZERO).unwrap());
    pool
}

/// The pages of some words; no page twice.
fn pages(words: &[PageWord]) -> BTreeSet<Offset> {
    let all: BTreeSet<_> = words.iter().flat_map(|word| word.iter()).collect();
    assert_eq!(all.len() as u64, words.iter().map(|word| word.pages()).sum::<u64>(), "no page twice");
    all
}

fn refused(index: usize, error: FreeError) -> Result<(), FreeManyError> {
    Err(FreeManyError::Refused { index, error })
}

#[test]
fn req_42_exactly_so_many_pages_come_in_few_words() {
    let mut out = [PageWord::EMPTY; 128];
    for wanted in [1, 2, 63, 64, 65, 100, 511, 512, 513, 1000, 1500] {
        let pool = pool(2000);
        let words = pool.alloc_words(wanted, &mut out).unwrap();
        let taken = pages(words);
        assert_eq!((taken.len() as u64, pool.avail()), (wanted, 2000 - wanted));
        assert!(taken.iter().all(|page| pool.has_offset(*page) && !pool.is_idle(*page)));
        // The last few may come from two words, if one of them is just what was left over elsewhere.
        assert!(words.len() as u64 <= wanted.div_ceil(64) + 1, "{wanted} in {words:?}");
        assert!(words.iter().filter(|word| word.is_whole()).count() as u64 == wanted / 64);
        pool.free_words(words).unwrap();
        assert_whole(&pool);
    }
}

#[test]
fn req_42_of_a_riddled_word_all_that_is_wanted_is_taken_at_once() {
    let pool = riddled(4096, 2);
    let mut out = [PageWord::EMPTY; 17];
    let words = pool.alloc_words(500, &mut out).unwrap();
    assert!(pages(words).iter().all(|page| page.get() % 2 == 1));
    assert_eq!(words.len(), 16, "15 times 32 pages, and 20");
    pool.free_words(words).unwrap();
    assert_eq!(pool.avail(), 2048);
}

#[test]
fn req_42_partial_tables_are_used_up_before_a_whole_entry_is_split() {
    let pool = pool(4 * 512);
    pool.alloc_at(at(0), Order::ZERO).unwrap();
    let mut out = [PageWord::EMPTY; 8];
    let words = pool.alloc_words(7 * 64, &mut out).unwrap().to_vec();
    assert!(pages(&words).iter().all(|page| page.get() < 512), "{words:?}");
    assert_eq!(pool.idle_runs()[9], 1);
    assert_eq!(pool.alloc(Order::new(10).unwrap()), Ok(at(1024)));
}

#[test]
fn req_42_words_come_all_or_none_or_as_many_as_there_are() {
    let pool = riddled(1024, 2);
    let mut out = [PageWord::EMPTY; 16];
    let refused = |wanted, room| {
        let error = pool.alloc_words(wanted, &mut [PageWord::EMPTY; 17][..room]).unwrap_err();
        assert_eq!(pool.avail(), 512, "{error}");
        error
    };
    assert_eq!(refused(0, 17), ScatterError::NoPages);
    assert_eq!(refused(513, 17), ScatterError::NoSpace { idle: 512, cached: 0 });
    assert_eq!(refused(1025, 17), ScatterError::TooLarge { pages: 1025 });
    assert_eq!(refused(33, 1), ScatterError::ListFull { room: 1, cached: 0 });
    assert_eq!(refused(1, 0), ScatterError::ListFull { room: 0, cached: 0 });

    assert_eq!(pages(pool.alloc_some_words(40, &mut out[..1])).len(), 32, "as many as fit");
    let rest = pool.alloc_some_words(u64::MAX, &mut out).to_vec();
    assert_eq!((pages(&rest).len(), pool.avail()), (480, 0), "as many as there are");
    assert!(pool.alloc_some_words(1, &mut out).is_empty());
    assert!(pool.alloc_some_words(0, &mut out).is_empty());
}

#[test]
fn req_43_a_word_with_a_bad_page_changes_nothing() {
    let pool = pool(1000);
    let mut out = [PageWord::EMPTY; 16];
    pool.alloc_words(1000, &mut out).unwrap();
    pool.free_words(&[word(64, 0b1000)]).unwrap();
    let double = |page| FreeError::DoubleFree { page: at(page) };
    assert_eq!(pool.free_words(&[word(64, !0)]), refused(0, double(67)));
    assert_eq!(pool.avail(), 1, "nor any other page of the word");
    // Those before are freed, those after are not, and the second of two that overlap is a double free.
    assert_eq!(pool.free_words(&[word(0, 0xFF), PageWord::EMPTY, word(0, 0x180), word(128, !0)]), refused(2, double(7)));
    assert_eq!(pool.avail(), 9);
    assert_eq!(pool.free_words(&[word(960, !0)]), refused(0, FreeError::OutOfRange), "page 1000 is none");
    assert_eq!(pool.free_words(&[word(1 << 40, 1)]), refused(0, FreeError::OutOfRange));
    assert_eq!(pool.free_words(&[word(u64::MAX - 127, !0)]), refused(0, FreeError::OutOfRange));
    assert_eq!(pool.avail(), 9);
    // Idle above the level of pages.
    let whole = pool.alloc_many(Order::ZERO, &mut []);
    assert_eq!((whole, pool.free_words(&[word(960, (1 << 40) - 1)])), (Ok(()), Ok(())));
    pool.free_words(&[word(0, !0xFF), word(64, !0b1000)]).unwrap();
    (128..960).step_by(64).for_each(|base| pool.free_words(&[word(base, !0)]).unwrap());
    assert_eq!((pool.avail(), pool.alloc(Order::PMD)), (1000, Ok(at(0))));
    pool.free(at(0), Order::PMD).unwrap();
    assert_eq!(pool.free_words(&[word(192, 0b110)]), refused(0, double(193)));
}

#[test]
fn req_43_a_row_of_words_with_a_bad_page_is_freed_up_to_it() {
    let pool = pool(4096);
    let mut out = [PageWord::EMPTY; 64];
    let words = pool.alloc_words(4096, &mut out).unwrap().to_vec();
    assert_eq!(words.len(), 64);
    // In the second 2 MiB: the first is freed as one run.
    pool.free(at(13 * 64 + 5), Order::ZERO).unwrap();
    let double = FreeError::DoubleFree { page: at(13 * 64 + 5) };
    assert_eq!(pool.free_words(&words), refused(13, double));
    assert_eq!(pool.avail(), 13 * 64 + 1);
    let rest: Vec<_> = (13 * 64..4096).map(at).collect();
    assert_eq!(pool.free_many(Order::ZERO, &rest), refused(5, double));
    assert_eq!(pool.avail(), 13 * 64 + 6);
    pool.free_many(Order::ZERO, &rest[6..]).unwrap();
    assert_whole(&pool);
}

#[test]
fn req_43_a_long_list_says_where_it_was_refused_at_every_order() {
    for order in (0..=8).map(|order| Order::new(order).unwrap()) {
        let pool = pool(1 << 16);
        let mut starts = vec![at(0); 1 << 16 >> order.get()];
        pool.alloc_many(order, &mut starts).unwrap();
        let bad = starts.len() / 2 + starts.len() / 8 + 1;
        pool.free(starts[bad], order).unwrap();
        assert_eq!(pool.free_many(order, &starts), refused(bad, FreeError::DoubleFree { page: starts[bad] }), "order {order}");
        assert_eq!(pool.avail(), (bad as u64 + 1) << order.get());
        // Backwards there is no row.
        let rest: Vec<_> = starts[bad + 1..].iter().rev().copied().collect();
        pool.free_many(order, &rest).unwrap();
        assert_whole(&pool);
    }
}

#[test]
fn req_43_a_long_row_of_what_are_no_runs_changes_nothing() {
    let pool = pool(400);
    pool.alloc_words(400, &mut [PageWord::EMPTY; 8]).unwrap();
    let starts = |first: u64, step: usize| (first..).step_by(step).take(200).map(at).collect::<Vec<_>>();
    assert_eq!(pool.free_many(Order::new(1).unwrap(), &starts(1, 2)), refused(0, FreeError::Misaligned));
    assert_eq!(pool.free_many(Order::PMD, &starts(0, 512)), refused(0, FreeError::CrossesRange));
    assert_eq!(pool.free_many(Order::PUD, &starts(0, 1 << 18)), refused(0, FreeError::CrossesRange));
    assert_eq!(pool.free_many(Order::ZERO, &vec![at(u64::MAX - 64); 70]), refused(0, FreeError::OutOfRange));
    assert_eq!(pool.free_many(Order::ZERO, &starts(350, 1)), refused(50, FreeError::OutOfRange));
    assert_eq!(pool.avail(), 50);
}

#[test]
fn req_43_a_word_may_lie_in_two_ranges_but_not_in_a_hole() {
    // The second range starts in the first one's last word, the third one leaves a hole.
    let pool = GenPool::new(&Params::new(&[range(0, 33), range(1033, 20), range(4096 + 60, 2)])).unwrap();
    let firsts: Vec<_> = pool.ranges().map(|range| range.first.get()).collect();
    let mut out = [PageWord::EMPTY; 8];
    let words = pool.alloc_words(55, &mut out).unwrap().to_vec();
    assert_eq!((pages(&words).len(), pool.avail()), (55, 0), "{firsts:?}");
    let mut all: Vec<PageWord> = Vec::new();
    for page in pages(&words) {
        let (base, bit) = (page.get() / 64 * 64, 1 << (page.get() % 64));
        match all.last_mut().filter(|last| last.base().get() == base) {
            Some(last) => *last = word(base, last.mask() | bit),
            None => all.push(word(base, bit)),
        }
    }
    let hole = word(0, all[0].mask() | (1 << 40));
    assert!(!pool.has_offset(at(40)));
    assert_eq!(pool.free_words(&[hole]), refused(0, FreeError::OutOfRange));
    assert_eq!(pool.avail(), 0);
    pool.free_words(&all).unwrap();
    assert_eq!(pool.avail(), 55);
}

#[test]
fn req_46_words_come_back_dirty_and_a_refused_one_says_nothing() {
    let ranges = [range(0, 128)];
    let pool = GenPool::new(&Params::new(&ranges).tracking_clear()).unwrap();
    let mut out = [PageWord::EMPTY; 2];
    pool.alloc_words(128, &mut out).unwrap();
    pool.free_words(&[word(0, 0xF)]).unwrap();
    assert_eq!(pool.alloc_wishing(Order::ZERO, Wish::Cleared), Err(AllocError::NoneCleared));
    pool.free_cleared(at(64), Order::ZERO).unwrap();
    assert_eq!(pool.free_words(&[word(64, 0b11)]), refused(0, FreeError::DoubleFree { page: at(64) }));
    assert!(pool.alloc_wishing(Order::ZERO, Wish::Cleared).is_ok(), "the page was not touched");
}

#[test]
fn req_45_words_do_not_free_what_a_reservation_holds() {
    let pool = GenPool::new(&Params::new(&[range(0, 64)]).taking_reservations()).unwrap();
    let mut room = [at(0)];
    let reserved = pool.reserve(Order::new(2).unwrap(), &mut room).unwrap();
    let mut out = [PageWord::EMPTY; 2];
    let rest = pool.alloc_words(60, &mut out).unwrap().to_vec();
    let held = (0..64).map(at).find(|page| !pages(&rest).contains(page)).unwrap();
    assert_eq!(pool.free_words(&[word(0, !0)]), refused(0, FreeError::Held { page: held }));
    assert_eq!(pool.avail(), 0);
    pool.free_words(&rest).unwrap();
    drop(reserved);
    assert_eq!(pool.avail(), 64);
}

#[test]
fn req_42_a_handle_takes_words_of_its_own_table_and_all_that_there_is() {
    let pool = pool(4096);
    let (mut one, mut two) = (pool.local().unwrap(), pool.local().unwrap());
    let mut out = [PageWord::EMPTY; 64];
    let mut theirs = [PageWord::EMPTY; 64];
    let first = one.alloc_words(100, &mut out).unwrap().to_vec();
    let second = two.alloc_words(100, &mut theirs).unwrap().to_vec();
    let entry = |words: &[PageWord]| words[0].base().get() / 512;
    assert!(first.iter().all(|word| word.base().get() / 512 == entry(&first)));
    assert_ne!(entry(&first), entry(&second), "two handles do not meet");
    assert_eq!((first.len(), second.len()), (2, 2));
    // What is at hand is not refused.
    let taken: Vec<_> = (0..3).map(|_| one.alloc(Order::ZERO).unwrap()).collect();
    taken.into_iter().for_each(|taken| one.free(taken).unwrap());
    assert!(one.cached() > 0);
    let rest = one.alloc_words(4096 - 200, &mut out).unwrap().to_vec();
    assert_eq!((pool.avail(), one.cached()), (0, 0));
    assert_eq!(one.alloc_words(1, &mut out), Err(ScatterError::NoSpace { idle: 0, cached: 0 }));
    assert_eq!(one.alloc_words(0, &mut out), Err(ScatterError::NoPages));
    assert_eq!(two.alloc_many(Order::ZERO, &mut [at(0)]), Err(AllocError::NoSpace { cached: 0 }));
    two.free_words(&rest).unwrap();
    one.free_words(&second).unwrap();
    assert_eq!(one.free_words(&second), refused(0, FreeError::DoubleFree { page: second[0].first().unwrap() }));
    pool.free_words(&first).unwrap();
    drop((one, two));
    assert_whole(&pool);
}

#[test]
fn req_42_a_bulk_free_gives_up_what_is_at_hand_when_somebody_was_refused() {
    let pool = pool(512);
    let mut local = pool.local().unwrap();
    let page = local.alloc(Order::ZERO).unwrap();
    let mut starts = [at(0); 64];
    local.alloc_many(Order::ZERO, &mut starts).unwrap();
    let cached = local.cached();
    assert!(cached > 0);
    let mut all = [at(0); 512];
    let got = pool.alloc_some(Order::ZERO, &mut all);
    assert_eq!(got as u64, 512 - 65 - cached);
    local.free_many(Order::ZERO, &starts).unwrap();
    assert_eq!((local.cached(), pool.avail()), (0, cached + 64));
    local.free(page).unwrap();
}
