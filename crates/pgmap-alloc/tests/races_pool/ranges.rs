//! Ranges that come and go.

use pgmap_alloc::{AddRangeError, NewRange, Offset, Params, Phys, PlacedRange, RemoveRangeError};

use super::{ONE, PAGE, Pool, order, race, range};

/// One page, and room for two ranges more.
fn growing() -> Pool {
    Pool::boxed(&Params::new(&[range(0, 1)]).with_room(2, 8)).unwrap()
}

/// A range whose fields all say which one it is.
fn add(pool: &Pool, page: u64) -> Result<PlacedRange, AddRangeError> {
    pool.add_range(NewRange::new(range(page, page / 100)).tagged(page))
}

/// The same with one range more, which starts at [`SECOND`].
fn grown() -> Pool {
    let pool = growing();
    assert_eq!(add(&pool, 200).unwrap().first, SECOND);
    pool
}

const SECOND: Offset = Offset::new(2);

#[test]
fn read_of_the_ranges_against_two_changes() {
    race(
        grown,
        |pool| {
            pool.remove_range(SECOND).unwrap();
            assert_eq!(add(pool, 300).unwrap().first, SECOND);
        },
        |pool| {
            for range in pool.ranges().skip(1) {
                assert_eq!((range.phys.0 / PAGE, range.pages), (range.tag, range.tag / 100), "one range, not pieces of two");
            }
        },
        |_, (), ()| {},
    );
}

#[test]
fn request_against_a_range_that_goes() {
    race(
        grown,
        |pool| pool.remove_range(SECOND),
        |pool| pool.alloc_at(SECOND, ONE),
        |pool, removed, got| match got {
            Ok(()) => {
                assert_eq!(removed, Err(RemoveRangeError::InUse { page: SECOND }));
                assert_eq!(pool.phys(SECOND), Some(Phys(200 * PAGE)));
                pool.free(SECOND, ONE).unwrap();
            }
            Err(_) => assert!(matches!(removed, Ok(_) | Err(RemoveRangeError::Contended)), "{removed:?}"),
        },
    );
}

#[test]
fn request_against_a_range_that_comes() {
    race(
        || {
            let pool = growing();
            pool.alloc(ONE).unwrap();
            pool
        },
        |pool| add(pool, 100).unwrap(),
        |pool| {
            // Known first, idle then: whoever gets a page of it can find where it is.
            let got = pool.alloc(ONE);
            if let Ok(page) = got {
                assert_eq!(pool.phys(page), Some(Phys(100 * PAGE)));
            }
            got
        },
        |pool, added, got| assert_eq!(got.is_err(), pool.is_idle(added.first)),
    );
}

#[test]
fn two_ranges_come_at_once() {
    race(
        growing,
        |pool| add(pool, 100),
        |pool| add(pool, 200),
        |pool, one, other| {
            for added in [one, other] {
                assert!(matches!(added, Ok(_) | Err(AddRangeError::Changing)), "{added:?}");
            }
            let came: u64 = [one, other].iter().flatten().map(|range| range.pages).sum();
            assert!(came > 0, "each was told to wait for the other");
            assert_eq!((pool.size(), pool.avail()), (1 + came, 1 + came));
        },
    );
}

/// Pages of a range that grows are known first and idle then.
#[test]
fn request_against_a_range_that_grows() {
    race(
        || {
            let pool = Pool::boxed(&Params::new(&[range(0, 1)]).growing_to(2)).unwrap();
            pool.alloc(ONE).unwrap();
            pool
        },
        |pool| pool.grow_range(Offset::new(0), range(1, 1)).unwrap(),
        |pool| {
            let got = pool.alloc(ONE);
            if let Ok(page) = got {
                assert_eq!(pool.phys(page), Some(Phys(PAGE)));
            }
            got
        },
        |pool, grown, got| {
            assert_eq!((grown.pages, pool.size(), got.is_err()), (2, 2, pool.is_idle(Offset::new(1))));
            pool.free(Offset::new(0), ONE).unwrap();
            if got.is_ok() {
                pool.free(Offset::new(1), ONE).unwrap();
            }
            pool.alloc(order(1)).unwrap();
        },
    );
}
