//! The pool under the folios: claims, releases, merges, refusals.

use pgmap_alloc::{AllocError, Order};

use crate::{Contents, ONE, Pool, at, pgmap, pool, race, two};

/// A pool and what two of its pages hold.
struct Used(Pool<1>, Contents);

fn used(pages: u64) -> Used {
    Used(pool(pages), Contents::new())
}

#[test]
fn take_at_against_release() {
    race(
        || {
            let used = used(4);
            used.0.alloc_at(at(1), ONE).unwrap();
            used
        },
        |Used(pool, contents)| {
            contents.write(1);
            pool.free(at(1), ONE)
        },
        |Used(pool, contents)| {
            let taken = pool.alloc_at(at(0), two());
            if taken.is_ok() {
                contents.write(1);
            }
            taken
        },
        |Used(pool, _), freed, taken| {
            assert_eq!(freed, Ok(()));
            match taken {
                Ok(()) => assert_eq!((pool.is_idle(at(0)), pool.is_idle(at(1))), (false, false)),
                Err(_) => assert_eq!(pool.alloc_at(at(0), two()), Ok(())),
            }
        },
    );
}

#[test]
fn release_against_refusal() {
    race(
        || {
            // Two words: 64 pages in the first and 63 in the second; at every moment a page of one of them is idle.
            let pool = pool::<2>(127);
            for (page, order) in [(0, 6), (64, 5), (96, 4), (112, 3), (120, 2), (124, 1), (126, 0)] {
                pool.alloc_at(at(page), Order::new(order).unwrap()).unwrap();
            }
            pool.free(at(0), ONE).unwrap();
            pool
        },
        |pool| {
            pool.free(at(64), ONE).unwrap();
            let _ = pool.alloc_at(at(0), ONE);
        },
        |pool| pool.alloc(ONE),
        |_, (), result| {
            assert!(
                !matches!(result, Err(AllocError::NoSpace { .. } | AllocError::Fragmented { .. })),
                "refused though a page was idle at every moment"
            );
        },
    );
}

#[test]
fn merge_against_claim() {
    fn whole() -> Order {
        Order::new(6).unwrap()
    }
    race(
        || {
            // One table below the top one, wholly idle but split: a request for all of it has to merge it first.
            let used = used(64);
            used.0.alloc_at(at(0), ONE).unwrap();
            used.0.free(at(0), ONE).unwrap();
            used
        },
        |Used(pool, contents)| {
            pool.alloc_at(at(1), ONE).is_ok().then(|| {
                contents.write(1);
                pool.free(at(1), ONE).unwrap();
            })
        },
        |Used(pool, contents)| {
            if pool.alloc_at(at(0), whole()).is_ok() {
                contents.write(1);
                pool.free(at(0), whole()).unwrap();
            }
        },
        |Used(pool, _), _, ()| assert_eq!(pool.alloc_at(at(0), whole()), Ok(()), "nothing is lost"),
    );
}

#[test]
fn relist_against_release() {
    fn half() -> Order {
        Order::new(5).unwrap()
    }
    race(
        || {
            // A table that is listed for larger runs than it has: whoever fails there lists it anew while a run comes back.
            let pool = pool::<1>(64);
            pool.alloc_at(at(0), half()).unwrap();
            pool.alloc_at(at(32), half()).unwrap();
            pool
        },
        |pool| pool.free(at(32), half()).unwrap(),
        |pool| pool.alloc(half()).ok(),
        |pool, (), early| {
            if let Some(offset) = early {
                assert_eq!(offset, at(32));
            } else {
                assert_eq!(pool.alloc(half()), Ok(at(32)), "an idle run cannot be found");
            }
        },
    );
}

/// A refusal asks handles for what they have; what comes back is somebody else's after its last user.
#[test]
fn handle_drain_against_refusal() {
    race(
        || {
            let pgmap = pgmap(2);
            pgmap.request_block(at(0), ONE).unwrap().into_raw();
            pgmap
        },
        |pgmap| {
            let mut local = pgmap.local().unwrap();
            if let Ok(folio) = local.alloc_folio(ONE) {
                pgmap.ops().write(1);
                let _ = local.put(folio);
            }
        },
        |pgmap| {
            // A block has no word by which its owner could come after the last one.
            if let Ok(_mine) = pgmap.alloc_block(ONE) {
                pgmap.ops().write(1);
            }
        },
        |pgmap, (), ()| assert_eq!(pgmap.alloc_folio_raw(ONE, 7), Ok(at(1)), "what the handle had is back"),
    );
}
