//! Requirement 50: what a pgmap costs its host. A file of its own, because it measures the whole process.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{Params, Pgmap};
use support::{order, range};

/// Pages of the host that this process has touched; `None` where the system does not say.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn req_50_sixteen_tebibytes_touch_no_more_than_sixteen_gibibytes() {
    // Once before, so that what the process does for the first time is not counted.
    drop(Pgmap::new(&Params::new(&[range(0, 1 << 22)]), ()).unwrap());
    let cost = |pages: u64| {
        let before = resident();
        let pgmap = Pgmap::new(&Params::new(&[range(0, pages)]), ()).unwrap();
        assert_eq!((pgmap.pages(), pgmap.largest_order()), (pages, order(pages.ilog2())));
        let after = resident();
        (pgmap, after.zip(before).map(|(after, before)| after.saturating_sub(before)))
    };
    let (_small, sixteen_gibibytes) = cost(1 << 22);
    let (pgmap, sixteen_tebibytes) = cost(1 << 32);
    if let (Some(small), Some(large)) = (sixteen_gibibytes, sixteen_tebibytes) {
        assert!(large <= small + 256, "building touched {large} host pages for 16 TiB, {small} for 16 GiB");
    }
    // A folio of every order, each with one word of its own.
    let before = resident();
    let folios: Vec<_> = (0..=30).rev().map(|o| pgmap.alloc_folio(order(o)).unwrap()).collect();
    if let (Some(before), Some(now)) = (before, resident()) {
        assert!(now <= before + 512, "{} folios touched {} host pages", folios.len(), now - before);
    }
    drop(folios);
    drop(pgmap.alloc_folio(order(32)).unwrap());
}
