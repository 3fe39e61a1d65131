//! Tables that are wholly idle and not merged yet: whoever replaces, takes out or merges one.
//!
//! # Weakenings tried
//!
//! Each was made alone, and these went red:
//!
//! | weakened | red |
//! |---|---|
//! | `keep` replaces a spare without a motion | spare_that_is_replaced_against_a_refusal |
//! | `merge` returns after a claim that failed | merge_that_fails_against_a_page_that_comes_and_goes |
//! | `merge` lists nothing anew after a claim that failed | both merge_that_fails |
//! | `merge` without its fence | mark_that_is_taken_out_against_the_last_page |
//! | `merge_spares` takes a spare out without a motion | spare_that_is_merged_against_a_refusal |
//! | `merge_spares` takes a handle's table without a motion | table_of_a_handle_that_is_merged_against_a_refusal |
//! | `watch` without its fence | spare_that_is_replaced_against_a_refusal |
//! | a motion that ends before its note; notes that are read before motions | spare_that_is_replaced_against_a_refusal, and more |

use loom::sync::Arc;
use loom::thread;
use pgmap_alloc::{AllocError, GenPool, Params};

use super::{ONE, Pool, at, model_within, order, race, race_within, range};

fn is_refused<T>(result: &Result<T, AllocError>) -> bool {
    matches!(result, Err(AllocError::NoSpace { .. } | AllocError::Fragmented { .. }))
}

/// Tables of 64 pages, all of them taken page by page; then all of the first come back, so it is the spare, and all of the second but its
/// first page.
fn with_a_spare_and_nearly_another() -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 64 * 3)]).packing_tightly()).unwrap();
    (0..64 * 3).for_each(|_| _ = pool.alloc(ONE).unwrap());
    (0..64).chain(65..128).for_each(|page| pool.free(at(page), ONE).unwrap());
    pool
}

/// One table takes the other's place as the spare, and is broken at once: all pages of the other one are idle at every moment.
#[test]
fn spare_that_is_replaced_against_a_refusal() {
    race(
        with_a_spare_and_nearly_another,
        |pool| pool.free(at(64), ONE).unwrap(),
        |pool| {
            pool.alloc_at(at(66), ONE).unwrap();
            pool.alloc(order(6))
        },
        |_, (), got| assert!(!is_refused(&got), "refused though 64 pages were idle side by side at every moment"),
    );
}

/// A pool of two tables of two words; the first is wholly idle and not merged, the second is taken.
fn with_a_spare_of_two_words() -> GenPool<'static, 2> {
    let pool = GenPool::<2>::boxed(&Params::new(&[range(0, 256)]).packing_tightly()).unwrap();
    pool.alloc_at(at(128), order(7)).unwrap();
    [0, 64].iter().for_each(|&word| pool.alloc_at(at(word), order(6)).unwrap());
    [0, 64].iter().for_each(|&word| pool.free(at(word), order(6)).unwrap());
    pool
}

/// A merge claims a table word by word. A page of the second word is taken before, and comes back before the first word does: then
/// nobody but the one who merges knows that the table is whole.
#[test]
fn merge_that_fails_against_a_page_that_comes_and_goes() {
    model_within(3, || {
        let pool = Arc::new(with_a_spare_of_two_words());
        let other = Arc::clone(&pool);
        let page = thread::spawn(move || {
            if other.alloc_at(at(64), ONE).is_ok() {
                other.free(at(64), ONE).unwrap();
            }
        });
        let early = pool.alloc(order(7)).is_ok();
        page.join().unwrap();
        assert!(early || pool.alloc(order(7)) == Ok(at(0)), "the table was never merged");
    });
}

/// A page of the second word is taken, and its taker looks for the first word while that is claimed for a moment: he lists the table by
/// what he sees.
#[test]
fn merge_that_fails_against_whoever_is_misled() {
    model_within(3, || {
        let pool = Arc::new(with_a_spare_of_two_words());
        let other = Arc::clone(&pool);
        let both = thread::spawn(move || other.alloc(order(7)).is_ok());
        let page = pool.alloc_at(at(64), ONE).is_ok();
        let word = pool.alloc(order(6)).ok();
        let both = both.join().unwrap();
        if !both && page && word.is_none() {
            assert_eq!(pool.alloc(order(6)), Ok(at(0)), "an idle run cannot be found");
        }
    });
}

/// The first table is wholly idle and not merged, the second is taken.
fn with_a_spare() -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 64 * 2)]).packing_tightly()).unwrap();
    (0..128).for_each(|_| _ = pool.alloc(ONE).unwrap());
    (0..64).for_each(|page| pool.free(at(page), ONE).unwrap());
    pool
}

/// What is refused while somebody merges, and is idle afterwards, was idle at every moment: nobody gives anything back.
#[test]
fn spare_that_is_merged_against_a_refusal() {
    race_within(
        2,
        with_a_spare,
        |pool| pool.alloc(order(6)).is_ok(),
        |pool| {
            let got = pool.alloc(ONE);
            assert!(!(is_refused(&got) && pool.is_idle(at(0))), "refused though 64 pages were idle at every moment");
        },
        |_, _, ()| {},
    );
}

/// The same for a table that a handle works in: all of its pages have come back, and none is at hand.
#[test]
fn table_of_a_handle_that_is_merged_against_a_refusal() {
    race_within(
        2,
        || {
            let pool: &'static Pool = Box::leak(Box::new(Pool::boxed(&Params::new(&[range(0, 64)])).unwrap()));
            let mut handle = pool.local().unwrap();
            let pages: Vec<_> = (0..64).map(|_| handle.alloc(ONE).unwrap().into_raw()).collect();
            pages.iter().for_each(|page| pool.free(page.start(), ONE).unwrap());
            assert_eq!(handle.cached(), 0);
            // It still works there.
            core::mem::forget(handle);
            pool
        },
        |pool| pool.alloc(order(6)).is_ok(),
        |pool| {
            let got = pool.alloc(ONE);
            assert!(!(is_refused(&got) && pool.is_idle(at(0))), "refused though 64 pages were idle at every moment");
        },
        |_, _, ()| {},
    );
}

/// A table that was somebody's spare is in use, and its mark still stands. Its last page comes back while the mark is taken out: either
/// it is marked again, or it is merged.
#[test]
fn mark_that_is_taken_out_against_the_last_page() {
    race(
        || {
            let pool = with_a_spare();
            pool.alloc_at(at(7), ONE).unwrap();
            pool
        },
        |pool| pool.free(at(7), ONE).unwrap(),
        |pool| pool.alloc(order(6)).is_ok(),
        |pool, (), whole| assert!(whole || pool.alloc(order(6)) == Ok(at(0)), "the table was never merged"),
    );
}
