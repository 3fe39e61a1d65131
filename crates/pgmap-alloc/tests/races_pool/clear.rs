//! What idle pages hold.

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use pgmap_alloc::{AllocError, Contents, Extent, Order, Params, Wish};

use super::{ONE, Pool, at, order, race, range};

/// Two pages, and what they hold: 0 = all zero. Written by whoever has a page, so ordered by the tables alone.
struct Pages {
    pool: Pool,
    hold: [AtomicUsize; 2],
}

impl Pages {
    fn new() -> Pages {
        let pool = Pool::boxed(&Params::new(&[range(0, 2)]).tracking_clear()).unwrap();
        Pages { pool, hold: [AtomicUsize::new(1), AtomicUsize::new(1)] }
    }

    /// Page 0 is taken.
    fn one_taken() -> Pages {
        let pages = Pages::new();
        pages.pool.alloc_at(at(0), ONE).unwrap();
        pages
    }

    fn take(&self, wish: Wish) -> Option<usize> {
        let (page, contents) = self.pool.alloc_wishing(ONE, wish).ok()?;
        let index = page.get() as usize;
        if contents == Contents::Cleared {
            assert_eq!(self.hold[index].load(Relaxed), 0, "said to be cleared");
        }
        Some(index)
    }

    fn leave(&self, index: usize, dirt: usize) {
        self.hold[index].store(dirt, Relaxed);
        let free = if dirt == 0 { Pool::free_cleared } else { Pool::free };
        free(&self.pool, at(index as u64), ONE).unwrap();
    }
}

#[test]
fn cleared_free_against_an_allocation_that_wants_one() {
    race(
        Pages::one_taken,
        |pages| pages.leave(0, 0),
        |pages| pages.take(Wish::Cleared),
        |pages, (), taken| assert_eq!(pages.pool.avail_cleared(Extent::ALL), u64::from(taken.is_none())),
    );
}

#[test]
fn cleared_free_against_somebody_who_leaves_the_page_dirty() {
    race(
        Pages::one_taken,
        |pages| pages.leave(0, 0),
        |pages| {
            if pages.pool.alloc_at(at(0), ONE).is_ok() {
                pages.leave(0, 1);
            }
        },
        |pages, (), ()| while pages.take(Wish::Cleared).is_some() {},
    );
}

#[test]
fn cleared_and_dirty_free_of_neighbours() {
    race(
        || {
            // Page 0 was cleared and is not any more, page 1 the other way round: both notes are in one word.
            let pages = Pages::one_taken();
            pages.leave(0, 0);
            pages.pool.alloc(Order::new(1).unwrap()).unwrap();
            pages
        },
        |pages| pages.leave(0, 1),
        |pages| pages.leave(1, 0),
        |pages, (), ()| {
            assert_eq!(pages.pool.avail_cleared(Extent::ALL), 1);
            assert_eq!(pages.take(Wish::Cleared), Some(1));
        },
    );
}

/// A pool in which both pages are cleared.
fn all_cleared() -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 2)]).tracking_clear().taking_reservations()).unwrap();
    for page in 0..2 {
        pool.alloc_at(at(page), ONE).unwrap();
        pool.free_cleared(at(page), ONE).unwrap();
    }
    pool
}

#[test]
fn reservation_that_is_dropped_against_forgetting() {
    race(
        all_cleared,
        |pool| drop(pool.reserve(ONE, &mut [at(0)])),
        |pool| {
            let forgotten = pool.forget_clear(Extent::ALL).is_ok();
            assert!(!forgotten || pool.alloc_wishing(ONE, Wish::PreferCleared).is_ok_and(|(_, holds)| holds == Contents::Dirty));
            forgotten
        },
        |pool, (), forgotten| assert!(!forgotten || pool.avail_cleared(Extent::ALL) == 0, "cleared after it was forgotten"),
    );
}

#[test]
fn bulk_call_that_is_refused_against_forgetting() {
    race(
        all_cleared,
        |pool| pool.alloc_many(ONE, &mut [at(0); 3]).unwrap_err(),
        |pool| pool.forget_clear(Extent::ALL).is_ok(),
        |pool, _, forgotten| assert!(!forgotten || pool.avail_cleared(Extent::ALL) == 0, "cleared after it was forgotten"),
    );
}

#[test]
fn cleared_page_that_is_spared_against_forgetting() {
    race(
        || {
            // Page 1 is cleared, page 2 is not: who does not care takes the one, puts it back, and takes the other.
            let pool = Pool::boxed(&Params::new(&[range(0, 4)]).tracking_clear()).unwrap();
            pool.alloc_at(at(0), order(2)).unwrap();
            pool.free_cleared(at(1), ONE).unwrap();
            pool.free(at(2), ONE).unwrap();
            pool
        },
        |pool| {
            let (page, _) = pool.alloc_wishing(ONE, Wish::DontCare).unwrap();
            pool.free(page, ONE).unwrap();
        },
        |pool| pool.forget_clear(Extent::ALL).is_ok(),
        |pool, (), forgotten| assert!(!forgotten || pool.avail_cleared(Extent::ALL) == 0),
    );
}

#[test]
fn dirty_free_of_the_last_page_against_an_allocation_of_the_whole() {
    race(
        || {
            let pool = Pool::boxed(&Params::new(&[range(0, 64)]).tracking_clear()).unwrap();
            // The whole of it, an entry of the table above, was cleared once; now all of it but one page comes back cleared.
            pool.alloc(order(6)).unwrap();
            pool.free_cleared(at(0), order(6)).unwrap();
            pool.alloc(order(6)).unwrap();
            for (page, order) in [(0, 5), (32, 4), (48, 3), (56, 2), (60, 1), (62, 0)].map(|(page, o)| (page, order(o))) {
                pool.free_cleared(at(page), order).unwrap();
            }
            pool
        },
        |pool| pool.free(at(63), ONE).unwrap(),
        |pool| pool.alloc_wishing(order(6), Wish::PreferCleared),
        |pool, (), whole| match whole {
            Ok((_, contents)) => assert_eq!(contents, Contents::Dirty),
            Err(_) => assert_eq!(pool.avail_cleared(Extent::ALL), 63),
        },
    );
}

/// 64 pages that were cleared as a whole, an entry of the table above, and are taken as one.
fn cleared_as_a_whole() -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 64)]).tracking_clear()).unwrap();
    pool.alloc(order(6)).unwrap();
    pool.free_cleared(at(0), order(6)).unwrap();
    pool.alloc(order(6)).unwrap();
    pool
}

fn holds(pool: &Pool, page: u64) -> Contents {
    pool.contents_of(Extent::new(at(page), 1).unwrap())
}

#[test]
fn two_parts_of_a_cleared_run_come_back_at_once() {
    race(
        cleared_as_a_whole,
        // Each is the first below the whole that differs from it, as far as it knows.
        |pool| {
            pool.free(at(0), ONE).unwrap();
            holds(pool, 2)
        },
        |pool| {
            pool.free(at(1), ONE).unwrap();
            holds(pool, 3)
        },
        |pool, two, three| {
            assert_eq!((two, three), (Contents::Cleared, Contents::Cleared), "those who still have a part");
            // All comes back as a whole, and whatever was noted below is gone.
            (0..2).for_each(|page| pool.alloc_at(at(page), ONE).unwrap());
            assert_eq!((holds(pool, 0), holds(pool, 1)), (Contents::Dirty, Contents::Dirty));
            pool.free_cleared(at(0), order(6)).unwrap();
            pool.alloc(order(6)).unwrap();
            assert!((0..64).all(|page| holds(pool, page) == Contents::Cleared));
        },
    );
}

#[test]
fn part_that_comes_back_dirty_against_a_merge() {
    race(
        || {
            // All but one page is back: whoever brings the last one makes the whole.
            let pool = cleared_as_a_whole();
            for (page, order) in [(32, 5), (16, 4), (8, 3), (4, 2), (2, 1)].map(|(page, o)| (page, order(o))) {
                pool.free_cleared(at(page), order).unwrap();
            }
            pool
        },
        |pool| pool.free(at(0), ONE).unwrap(),
        |pool| pool.free_cleared(at(1), ONE).unwrap(),
        |pool, (), ()| {
            assert_eq!(pool.alloc(order(6)), Ok(at(0)));
            assert!((1..64).all(|page| holds(pool, page) == Contents::Cleared));
            assert_eq!(holds(pool, 0), Contents::Dirty);
        },
    );
}

#[test]
fn wish_for_a_page_that_somebody_leaves_dirty() {
    race(
        || {
            // Page 0 is cleared, and was found by a wish before.
            let pages = Pages::one_taken();
            pages.leave(0, 0);
            pages.take(Wish::Cleared).unwrap();
            pages.leave(0, 0);
            pages.pool.alloc_at(at(1), ONE).unwrap();
            pages
        },
        |pages| {
            let taken = pages.pool.alloc_at(at(0), ONE).is_ok();
            if taken {
                pages.leave(0, 1);
            }
            // The page is idle, whatever it holds, unless the other has it.
            taken.then(|| pages.pool.alloc(ONE))
        },
        |pages| pages.take(Wish::Cleared),
        |_, again, wished| {
            let refused = matches!(again, Some(Err(AllocError::NoSpace { .. })));
            assert!(!refused || wished.is_some(), "the page was idle");
        },
    );
}
