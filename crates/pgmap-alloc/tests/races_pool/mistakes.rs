//! A caller's mistakes, at the same moment as what they contradict: one of two frees is refused, and the counts stay true.
//!
//! # Weakenings tried
//!
//! | weakened | red |
//! |---|---|
//! | `release_narrow` looks, and then sets the bits whatever it finds | all but run_of_two_words |
//! | a split, or a release of several words, that does not tell what it found there | idle_page_freed_while_it_is_split, run_of_two_words_freed_at_once_with_a_page_of_it |

use pgmap_alloc::{FreeError, GenPool, Order, PageWord, Params};

use super::{ONE, at, order, race, range};

/// A pool that counts its idle runs, of which all is taken.
fn taken<const WORDS: usize>(pages: u64, largest: Order) -> GenPool<'static, WORDS> {
    let pool = GenPool::boxed(&Params::new(&[range(0, pages)]).counting_runs()).unwrap();
    (0..pages).step_by(largest.pages() as usize).for_each(|page| pool.alloc_at(at(page), largest).unwrap());
    pool
}

#[track_caller]
fn counts_are_true<const WORDS: usize>(pool: &GenPool<'_, WORDS>) {
    let counted = pool.counted_runs().unwrap();
    assert_eq!((counted.pages(), counted.by_order()), (pool.avail(), &pool.idle_runs()));
}

fn is_double<T>(result: &Result<T, FreeError>) -> bool {
    matches!(result, Err(FreeError::DoubleFree { .. }))
}

#[test]
fn page_freed_twice_at_once() {
    race(
        || taken::<1>(64, ONE),
        |pool| pool.free(at(5), ONE),
        |pool| pool.free(at(5), ONE),
        |pool, one, other| {
            assert!(one.is_ok() && is_double(&other) || other.is_ok() && is_double(&one), "{one:?} and {other:?}");
            counts_are_true(pool);
        },
    );
}

#[test]
fn run_freed_at_once_with_a_page_of_it() {
    race(
        || taken::<1>(64, order(2)),
        |pool| pool.free(at(4), order(2)),
        |pool| pool.free(at(6), ONE),
        |pool, one, other| {
            assert!(one.is_ok() && is_double(&other) || other.is_ok() && is_double(&one), "{one:?} and {other:?}");
            counts_are_true(pool);
            assert_eq!(pool.avail(), if one.is_ok() { 4 } else { 1 });
        },
    );
}

#[test]
fn words_that_share_a_page_freed_at_once() {
    race(
        || taken::<1>(64, ONE),
        |pool| pool.free_words(&[PageWord::new(at(0), 0b0110).unwrap()]),
        |pool| pool.free_words(&[PageWord::new(at(0), 0b1100).unwrap()]),
        |pool, one, other| {
            assert!(one.is_ok() != other.is_ok(), "{one:?} and {other:?}");
            counts_are_true(pool);
            assert_eq!(pool.avail(), 2);
        },
    );
}

/// Several words cannot be released in one step: that a page of a later one is freed meanwhile is seen too late to refuse it.
#[test]
fn run_of_two_words_freed_at_once_with_a_page_of_it() {
    race(
        || taken::<4>(256, order(7)),
        |pool| pool.free(at(128), order(7)),
        |pool| pool.free(at(200), ONE),
        |pool, one, _| {
            counts_are_true(pool);
            assert_eq!(pool.avail(), if one.is_ok() { 128 } else { 1 });
        },
    );
}

/// Somebody frees a page that is idle, at the moment when the run that it is part of is split for somebody else.
#[test]
fn idle_page_freed_while_it_is_split() {
    race(
        || GenPool::<1>::boxed(&Params::new(&[range(0, 128)]).counting_runs()).unwrap(),
        |pool| pool.alloc(ONE).unwrap(),
        |pool| pool.free(at(9), ONE),
        |pool, _, _| {
            assert_eq!(pool.avail(), 127);
            counts_are_true(pool);
        },
    );
}
