//! What reservations hold.

use pgmap_alloc::{FreeError, Offset, Params};

use super::{ONE, Pool, at, order, race, range};

/// Two tables; in one a reservation stays, in the other one has left a hint that nothing is behind.
struct Misleading {
    pool: Pool,
    start: Offset,
}

impl Misleading {
    fn new() -> Misleading {
        let pool = Pool::boxed(&Params::new(&[range(0, 128)]).taking_reservations()).unwrap();
        let (mut room, mut gone) = ([at(0)], [at(0)]);
        // Never dropped: it lives as long as the pool.
        std::mem::forget(pool.reserve(order(6), &mut room).unwrap());
        drop(pool.reserve(ONE, &mut gone).unwrap());
        // So that its listing is right: while somebody puts one right, a mistaken free of the whole may not see what is idle.
        pool.alloc(ONE).unwrap();
        Misleading { pool, start: gone[0].align_down(order(6)) }
    }

    fn mistaken_free(&self) -> FreeError {
        self.pool.free(self.start, order(6)).unwrap_err()
    }
}

#[test]
fn reservation_against_a_free_that_a_stale_hint_misleads() {
    race(
        Misleading::new,
        |it| {
            let mut room = [at(0)];
            std::mem::forget(it.pool.reserve(ONE, &mut room).unwrap());
        },
        |it| assert!(matches!(it.mistaken_free(), FreeError::Held { .. } | FreeError::DoubleFree { .. })),
        |it, (), ()| {
            let refused = it.mistaken_free();
            assert!(matches!(refused, FreeError::Held { .. }), "the hint was lost: {refused}");
        },
    );
}

#[test]
fn commit_against_a_free_of_the_same_run() {
    race(
        || {
            let pool = Pool::boxed(&Params::new(&[range(0, 2)]).taking_reservations()).unwrap();
            std::mem::forget(pool.reserve(ONE, &mut [at(0)]).unwrap());
            pool
        },
        |pool| {
            let mut room = [at(0)];
            pool.reserve(ONE, &mut room).map(|reserved| reserved.commit()[0])
        },
        |pool| pool.free(at(1), ONE),
        |pool, committed, freed| {
            assert_eq!(committed, Ok(at(1)));
            match freed {
                Ok(()) => assert!(pool.is_idle(at(1)), "committed before"),
                Err(error) => {
                    assert!(matches!(error, FreeError::Held { .. } | FreeError::DoubleFree { .. }), "{error}");
                    // One reservation lives on, so the marks are looked at: they are gone.
                    pool.free(at(1), ONE).unwrap();
                }
            }
        },
    );
}
