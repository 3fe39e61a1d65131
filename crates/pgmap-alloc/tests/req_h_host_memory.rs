//! Requirement 50: after construction nothing is allocated. A file of its own, because its allocator counts (and touches what
//! it gives out).

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use allocation_counter::measure;
use pgmap_alloc::{AllocError, Drain, Params, Pgmap};
use support::{at, order, range};

#[test]
fn req_50_nothing_is_allocated_after_construction() {
    let ranges = [range(0, 1 << 14), range(1 << 20, 700)];
    assert_ne!(measure(|| drop(Pgmap::new(&Params::new(&ranges), ()))).count_total, 0, "nothing is counted");
    let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
    let life = measure(|| {
        // Everything that a driver does all day: at every order, let picked and picking, refused, by type and raw.
        for o in 0..=14 {
            let folio = pgmap.alloc_folio(order(o)).unwrap();
            let (more, head) = (folio.clone(), folio.offset());
            assert!(pgmap.try_get(head).is_some() && pgmap.lookup(head).is_ok());
            assert!(pgmap.request_folio(head, order(0)).is_err());
            assert!(pgmap.offset_of(folio.phys().unwrap()) == Some(head));
            drop((more, folio));
            drop(pgmap.request_block(at(0), order(o)).unwrap());
        }
        while pgmap.alloc_folio_raw(order(3), ()).is_ok() {}
        assert_eq!(pgmap.alloc_block(order(3)).map(drop), Err(AllocError::NoSpace { cached: 0 }));
        for head in (0..1 << 14).step_by(8) {
            pgmap.put_raw(at(head), 1).unwrap();
        }
        // And what it does once in a while.
        assert!(pgmap.validate().is_ok());
        assert!(pgmap.snapshot().count() > 1);
        let Drain::Waiting(killed, _) = pgmap.kill().poll_drain() else { panic!("the second range is in service") };
        killed.drain(|holdout| assert!(pgmap.put_raw(holdout.offset, 1).is_ok())).teardown();
    });
    assert_eq!(life.count_total, 0, "{life:?}");
}
