//! One puts folios into its handle, the other waits for each of them, parked and without a time limit: a wake-up that is lost is a
//! wait that does not end.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use pgmap_alloc::{DriverData, Order, Params, Pgmap, Put};

use crate::kinds::{Kind, keeping_nothing};
use crate::support::{EndOnPanic, Random, at, range};

/// How many turns the putter waits for the waiter, with a rest each, before he says that a wake-up was lost.
const TURNS: u32 = 100_000;

/// So many folios; the wait for each begins before its last put, at the same moment, or afterwards.
pub fn put_and_wait<K: Kind>(folios: u64) {
    let pgmap = Pgmap::new(&Params::new(&[range(0, 64)]), K::new()).unwrap();
    // The round, and the page that is waited for in it; the last round that was waited for.
    let (round, waited) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let _end = EndOnPanic;
            for n in 1..=folios {
                while round.load(SeqCst) >> 8 < n {
                    thread::park();
                }
                assert_eq!(pgmap.wait_idle(at(round.load(SeqCst) & 0xFF)), Ok(()));
                waited.store(n, SeqCst);
            }
        });
        let _end = EndOnPanic;
        let (mut random, mut local) = (Random::new(7), pgmap.local().unwrap());
        for n in 1..=folios {
            let folio = local.alloc_folio_with(Order::ZERO, K::Data::from_bits(0)).unwrap();
            round.store(n << 8 | folio.offset().get(), SeqCst);
            waiter.thread().unpark();
            (0..random.below(3000)).for_each(|_| std::hint::spin_loop());
            assert!(matches!(keeping_nothing(|| local.put(folio)), Ok(Put::Freed)));
            let came = (0..TURNS).any(|turn| {
                if turn > 100 {
                    thread::sleep(std::time::Duration::from_micros(100));
                }
                waited.load(SeqCst) == n
            });
            assert!(came, "the wake-up of round {n} was lost");
        }
    });
    assert_eq!(pgmap.validate().unwrap().idle, 64);
}
