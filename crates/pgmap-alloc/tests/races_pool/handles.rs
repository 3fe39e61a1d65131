//! Handles: one after another in the same place, and those that all share.

use pgmap_alloc::{AllocError, Offset, Params, PerCpu};

use super::{ONE, Pool, order, race, range};

/// One CPU, which both threads think that they run on; of two pages one or both are at hand there.
struct OneCpu {
    pool: &'static Pool,
    cpus: PerCpu<'static, Pool, 1>,
}

impl OneCpu {
    fn new() -> OneCpu {
        let pool: &'static Pool = Box::leak(Box::new(Pool::boxed(&Params::new(&[range(0, 2)])).unwrap()));
        let cpus = PerCpu::with_cpus(pool);
        cpus.on(0).free(cpus.on(0).alloc(ONE).unwrap()).unwrap();
        OneCpu { pool, cpus }
    }

    fn take(&self) -> Result<Offset, AllocError> {
        self.cpus.on(0).alloc(ONE).map(|taken| taken.into_raw().start())
    }

    /// Takes a page and gives it back.
    fn borrow(&self) -> bool {
        self.cpus.on(0).alloc(ONE).map(|taken| self.cpus.on(0).free(taken).unwrap()).is_ok()
    }

    fn assert_idle(&self, pages: u64) {
        self.cpus.drain();
        assert_eq!(self.pool.avail(), pages);
    }
}

#[test]
fn two_callers_on_one_cpu() {
    race(OneCpu::new, OneCpu::take, OneCpu::take, |it, mine, theirs| {
        // What one has at hand, or is taking, the other may be refused.
        let taken: Vec<_> = [mine, theirs].into_iter().flatten().collect();
        assert!(!taken.is_empty());
        assert!(taken.len() < 2 || taken[0] != taken[1], "handed out twice");
        it.assert_idle(2 - taken.len() as u64);
    });
}

#[test]
fn caller_against_one_who_gives_back() {
    race(OneCpu::new, OneCpu::borrow, OneCpu::take, |it, borrowed, taken| {
        assert!(borrowed || taken.is_ok());
        it.assert_idle(2 - taken.iter().len() as u64);
    });
}

#[test]
fn caller_against_a_drain() {
    race(
        OneCpu::new,
        |it| it.cpus.drain(),
        OneCpu::borrow,
        |it, (), _| {
            it.assert_idle(2);
            it.pool.alloc(order(1)).unwrap();
        },
    );
}

/// A handle drains itself when it goes, and whoever comes next into its place finds it empty.
#[test]
fn handle_that_comes_against_one_that_goes() {
    race(
        || Pool::boxed(&Params::new(&[range(0, 2)])).unwrap(),
        |pool| {
            let mut local = pool.local().unwrap();
            if let Ok(taken) = local.alloc(ONE) {
                local.free(taken).unwrap();
            }
        },
        |pool| pool.local().unwrap().alloc(ONE).ok().map(|taken| taken.into_raw().start()),
        |pool, (), taken| {
            if let Some(page) = taken {
                assert!(!pool.is_idle(page), "handed out twice");
            }
            assert_eq!(pool.avail(), 2 - taken.iter().len() as u64);
        },
    );
}
