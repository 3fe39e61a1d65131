//! Contiguous pages that are no power of two, in a riddled pool: `cargo bench -p benches --bench pool`. Peers have no such verb, or
//! no alignment with it.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pgmap_alloc::fit::{best_fit, first_fit};
use pgmap_alloc::{ExtentParams, GenPool, Mode, Offset, Order, Params, Phys, PhysRange};

fn pool(pages: u64) -> GenPool<'static> {
    let ranges = [PhysRange { start: Phys(0), pages }];
    GenPool::new(&Params::new(&ranges)).expect("one sound range")
}

fn contiguous(c: &mut Criterion) {
    let mut group = c.benchmark_group("contiguous 300 pages, every 1000th page taken");
    for (name, pages) in [("1 GiB", 1u64 << 18), ("64 GiB", 1 << 24)] {
        let pool = pool(pages);
        (0..pages).step_by(1000).for_each(|page| pool.alloc_at(Offset::new(page), Order::ZERO).expect("idle"));
        for (mode_name, mode) in
            [("simple", Mode::Simple), ("first from the top", Mode::TopDown(first_fit)), ("best", Mode::BottomUp(best_fit))]
        {
            if mode_name == "best" && pages > 1 << 18 {
                // Every gap is a candidate here: as linear as a best fit has to be.
                continue;
            }
            group.bench_function(format!("{name}, {mode_name}"), |b| {
                b.iter(|| {
                    let extent = pool.alloc_extent(&ExtentParams::new(300).by(mode)).expect("a gap of 999");
                    pool.free_extent(black_box(extent)).expect("taken above");
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, contiguous);
criterion_main!(benches);
