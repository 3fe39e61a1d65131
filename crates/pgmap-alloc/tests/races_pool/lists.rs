//! Where to search: classes, the names of classes, fresh runs.
//!
//! # Weakenings tried
//!
//! Each was made alone, and these went red:
//!
//! | weakened | red |
//! |---|---|
//! | a refusal without `list_fresh` | fresh_run_against_a_refusal |
//! | a place emptied only after its table has been listed | late_taker_of_a_fresh_run |
//! | a fresh run in a table of class 0 | late_listing_against_a_merge |
//! | `raise` without its motion | release_that_relies_on_a_class_against_its_raise |
//! | `relist` without its second look | relist_against_a_release_of_a_page, undone_claim_against_a_relist |
//! | `relist` without its motion | relist_against_whoever_relies_on_the_class |
//! | `leave_group`, or the end of `unlist_empty`, without its second look | leaving_a_group_against_whoever_raises_a_class_there |
//! | the exchange of `raise_class`, or its first look, Relaxed | undone_claim_against_a_relist |
//! | `without` without its motion, or without listing the table anew | spare_that_is_passed_over_against_a_refusal |
//! | `after_undo` without listing | undone_claim_against_a_relist, and four more |
//! | `unlist_empty` without its other second look | list_that_is_left_against_whoever_lists_a_table_there |
//!
//! These stayed green: `fill_place` Relaxed and the fences of `raise`, `ensure_named`, `ensure_found`, `change_class` and `remove_in` (the
//! motion, the note, and what stands between have fences of their own); `list_misleading` and `leave_group` without their motions
//! (each stands in for the other: what they hide is named again by somebody who is in motion); `set_whole` without the tables below (a
//! class that stays above 0 costs a look). Without `mark_split_above` the models stay green, with two levels each, and
//! `req_43_every_bad_free_is_refused_and_changes_nothing` goes red. What merges and keeps whole tables is in `spares`.

use loom::sync::Arc;
use loom::thread;
use pgmap_alloc::{AllocError, FreeError, GenPool, PageWord, Params, Run};

use super::{ONE, Pool, at, model, model_within, order, race, range};

/// A pool of tables of 64 pages, all of them taken page by page, none of them listed.
fn exhausted(tables: u64) -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 64 * tables)])).unwrap();
    (0..64 * tables).for_each(|_| _ = pool.alloc(ONE).unwrap());
    assert!(pool.alloc(ONE).is_err());
    pool
}

/// The same in a pool that packs tightly: whatever comes back is listed.
fn exhausted_tight(tables: u64) -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 64 * tables)]).packing_tightly()).unwrap();
    (0..64 * tables).for_each(|_| _ = pool.alloc(ONE).unwrap());
    assert!(pool.alloc(ONE).is_err());
    pool
}

/// As [`exhausted`], and the one place for fresh pages names the last page of the pool: the next page to come back lists its table.
fn without_places(tables: u64) -> Pool {
    let pool = exhausted(tables);
    pool.free(at(64 * tables - 1), ONE).unwrap();
    pool
}

/// The first table is listed though nothing in it is idle.
fn listed_too_high() -> Pool {
    let pool = without_places(2);
    pool.free(at(0), ONE).unwrap();
    // Taken by name: the table stays listed.
    pool.alloc_at(at(0), ONE).unwrap();
    pool.alloc_at(at(127), ONE).unwrap();
    pool
}

fn is_refused<T>(result: &Result<T, AllocError>) -> bool {
    matches!(result, Err(AllocError::NoSpace { .. } | AllocError::Fragmented { .. }))
}

/// At every moment one page is idle: first one that is listed, then one that only a place names.
#[test]
fn fresh_run_against_a_refusal() {
    race(
        || {
            let pool = without_places(2);
            pool.free(at(0), ONE).unwrap();
            pool.alloc_at(at(127), ONE).unwrap();
            // The place still names it; whoever looks there lists the table, and so page 0.
            pool
        },
        |pool| {
            pool.free(at(64), ONE).unwrap();
            let _ = pool.alloc_at(at(0), ONE);
        },
        |pool| pool.alloc(ONE),
        |_, (), got| assert!(!is_refused(&got), "refused though a page was idle at every moment"),
    );
}

/// A page that came back a moment ago is taken and comes back again, while somebody is late for it.
#[test]
fn late_taker_of_a_fresh_run() {
    race(
        || {
            let pool = exhausted(2);
            // Not where a hint would find it.
            pool.free(at(3), ONE).unwrap();
            pool
        },
        |pool| {
            if let Ok(page) = pool.alloc(ONE) {
                pool.free(page, ONE).unwrap();
            }
        },
        |pool| pool.alloc(ONE).is_ok(),
        |pool, (), late| assert!(late || pool.alloc(ONE) == Ok(at(3)), "an idle page cannot be found"),
    );
}

/// One page comes back and lists its table; another one relies on that, and its owner wants it again.
#[test]
fn release_that_relies_on_a_class_against_its_raise() {
    race(
        || without_places(2),
        |pool| pool.free(at(0), ONE).unwrap(),
        |pool| {
            // Not beside the other: together they would be a larger run.
            pool.free(at(2), ONE).unwrap();
            // The one in the place, and one more.
            [pool.alloc(ONE), pool.alloc(ONE)]
        },
        |_, (), got| assert!(!got.iter().any(is_refused), "refused though a page was idle at every moment"),
    );
}

/// A page comes back to a table that is listed, while somebody who was misled there lowers the class.
#[test]
fn relist_against_a_release_of_a_page() {
    race(
        listed_too_high,
        |pool| pool.free(at(1), ONE).unwrap(),
        |pool| pool.alloc(ONE).ok(),
        |pool, (), early| match early {
            Some(page) => assert_eq!(page, at(1)),
            None => assert_eq!(pool.alloc(ONE), Ok(at(1)), "an idle page cannot be found"),
        },
    );
}

/// Frees a page and wants it again: it is there all the while, unless somebody else has got it.
fn free_and_take(pool: &Pool) {
    pool.free(at(1), ONE).unwrap();
    let got = pool.alloc(ONE);
    assert!(!(is_refused(&got) && pool.is_idle(at(1))), "refused though the page was idle at every moment");
}

/// The table of a page is listed though nothing in it is idle; whoever is misled hides for a moment what comes back to it.
#[test]
fn relist_against_whoever_relies_on_the_class() {
    race(listed_too_high, free_and_take, |pool| _ = pool.alloc(ONE), |_, (), ()| {});
}

/// The last table of a class in its group is emptied, while a page comes back to another table of that group.
#[test]
fn leaving_a_group_against_whoever_raises_a_class_there() {
    race(
        || {
            let pool = exhausted_tight(2);
            pool.free(at(0), ONE).unwrap();
            pool
        },
        |pool| pool.free(at(64), ONE).unwrap(),
        |pool| pool.alloc(ONE).ok(),
        |pool, (), early| {
            let late = pool.alloc(ONE).ok();
            assert!(early.iter().chain(&late).count() == 2, "an idle page cannot be found: {early:?} {late:?}");
        },
    );
}

/// A run of several words is claimed by halves and given back, while somebody lists the table by what is left of it.
#[test]
fn undone_claim_against_a_relist() {
    model(|| {
        let pool = GenPool::<4>::boxed(&Params::new(&[range(0, 257)])).unwrap();
        // The first table is split, its second half is taken, its first half is two whole words.
        pool.alloc_at(at(256), ONE).unwrap();
        pool.alloc_at(at(128), order(7)).unwrap();
        let pool = Arc::new(pool);
        let other = pool.clone();
        let both = thread::spawn(move || other.alloc_at(at(0), order(7)).is_ok());
        let page = pool.alloc_at(at(64), ONE).is_ok();
        let word = pool.alloc(order(6)).ok();
        let both = both.join().unwrap();
        if !both && page && word.is_none() {
            assert_eq!(pool.alloc(order(6)), Ok(at(0)), "an idle run cannot be found");
        }
    });
}

/// All but pages 0 and 32 of the first table are idle, so the last of them to come back lists the table anew.
fn nearly_whole() -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 128)])).unwrap();
    for page in [0, 32] {
        pool.alloc_at(at(page), ONE).unwrap();
    }
    // Looks for half a table there, and takes the listing away that promised it.
    assert!(pool.alloc(order(5)).unwrap() >= at(64));
    pool
}

/// A table that is listed only after it has been merged keeps its entry marked as in use: were it not so, the free of the whole at the
/// end would go through.
#[test]
fn late_listing_against_a_merge() {
    race(
        nearly_whole,
        |pool| pool.free(at(0), ONE).unwrap(),
        |pool| {
            pool.free(at(32), ONE).unwrap();
            pool.alloc_at(at(0), order(6)).is_ok()
        },
        |pool, (), whole| {
            if !whole {
                pool.alloc_at(at(0), order(6)).unwrap();
            }
            pool.free(at(5), ONE).unwrap();
            assert_eq!(pool.free(at(0), order(6)), Err(FreeError::DoubleFree { page: at(5) }));
        },
    );
}

/// The first table is wholly idle and not merged, the second is taken.
fn with_a_spare() -> Pool {
    let pool = exhausted_tight(2);
    (0..64).for_each(|page| pool.free(at(page), ONE).unwrap());
    pool
}

/// Who looks for a table in use before he cuts a whole one takes that one off the lists for a moment: one preemption is enough to see
/// it, and the searches of both are long.
#[test]
fn spare_that_is_passed_over_against_a_refusal() {
    model_within(1, || {
        let pool = Arc::new(with_a_spare());
        let other = Arc::clone(&pool);
        let other = thread::spawn(move || other.alloc(ONE));
        let got = (pool.alloc(ONE), other.join().unwrap());
        assert!(!is_refused(&got.0) && !is_refused(&got.1), "refused though 64 pages were idle");
    });
}

/// A pool of one table of several words, all of it taken in pieces of these orders.
fn one_table<const WORDS: usize>(orders: &[u32]) -> GenPool<'static, WORDS> {
    let pool = GenPool::<WORDS>::boxed(&Params::new(&[range(0, 64 * WORDS as u64 - 1)])).unwrap();
    assert_eq!(orders.iter().map(|&o| order(o).pages()).sum::<u64>(), pool.size());
    let mut page = 0;
    for &o in orders {
        pool.alloc_at(at(page), order(o)).unwrap();
        page += order(o).pages();
    }
    pool
}

/// No larger run is idle, so the refusal is tried to be proved at once. The one table is read word by word: a page comes back to the first word after that was read, and one of the second is taken before.
#[test]
fn page_that_comes_back_against_a_refusal_in_one_table() {
    fn set_up() -> GenPool<'static, 2> {
        let pool = one_table(&[6, 5, 4, 3, 2, 1, 0]);
        pool.free(at(64), ONE).unwrap();
        pool
    }
    fn check(_: &GenPool<'static, 2>, (): (), got: Result<Run, AllocError>) {
        assert!(!is_refused(&got), "refused though a page was idle at every moment");
    }
    race(
        set_up,
        |pool| {
            pool.free(at(0), ONE).unwrap();
            let _ = pool.alloc_at(at(64), ONE);
        },
        |pool| pool.alloc_up_to(order(1), ONE),
        check,
    );
    race(
        set_up,
        |pool| {
            pool.free_words(&[PageWord::new(at(0), 1).unwrap()]).unwrap();
            let _ = pool.alloc_at(at(64), ONE);
        },
        |pool| pool.alloc_up_to(order(1), ONE),
        check,
    );
}

/// The same for a run of two words: the other one that was idle loses a page.
#[test]
fn run_that_comes_back_against_a_refusal_in_one_table() {
    race(
        || {
            let pool: GenPool<'static, 8> = one_table(&[7, 7, 7, 6, 5, 4, 3, 2, 1, 0]);
            pool.free(at(128), order(7)).unwrap();
            pool
        },
        |pool| {
            pool.free(at(0), order(7)).unwrap();
            let _ = pool.alloc_at(at(128), ONE);
        },
        |pool| pool.alloc_up_to(order(8), order(7)),
        |_, (), got| assert!(!is_refused(&got), "refused though two words were idle at every moment"),
    );
}

/// The last page listed below an entry of the table on top is taken, while one comes back to another table below that entry.
#[test]
fn list_that_is_left_against_whoever_lists_a_table_there() {
    race(
        || {
            // Three levels of tables of 64 entries.
            let pool = Pool::boxed(&Params::new(&[range(0, 2 << 12)]).packing_tightly()).unwrap();
            [0, 1 << 12].iter().for_each(|&half| pool.alloc_at(at(half), order(12)).unwrap());
            pool.free(at(0), ONE).unwrap();
            pool
        },
        // Not in the same group.
        |pool| pool.free(at(64 * 20), ONE).unwrap(),
        |pool| pool.alloc(ONE).ok(),
        |pool, (), early| {
            let late = pool.alloc(ONE).ok();
            assert!(early.iter().chain(&late).count() == 2, "an idle page cannot be found: {early:?} {late:?}");
        },
    );
}
