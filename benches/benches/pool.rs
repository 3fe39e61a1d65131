//! What only the pool's own verbs can do: `cargo bench -p benches --bench pool`.
//!
//! The two workloads of the kernel's gpu_buddy performance case (4 GiB, pieces of 256 KiB that come back alternately clean and
//! dirty), bulk, and contiguous pages that are no power of two in a riddled pool. Peers have none of these verbs.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pgmap_alloc::fit::{best_fit, first_fit};
use pgmap_alloc::{ExtentParams, GenPool, Mode, Offset, Order, Params, Phys, PhysRange, Wish};

const PAGES: u64 = 1 << 20;

fn order(order: u32) -> Order {
    Order::new(order).unwrap_or_default()
}

fn pool(pages: u64) -> GenPool<'static> {
    let ranges = [PhysRange { start: Phys(0), pages }];
    GenPool::new(&Params::new(&ranges).tracking_clear()).expect("one sound range")
}

/// 4 GiB in pieces of 256 KiB, all free, every other one cleared.
fn alternating() -> GenPool<'static> {
    let pool = pool(PAGES);
    let mut pieces = vec![Offset::new(0); (PAGES >> 6) as usize];
    pool.alloc_many(order(6), &mut pieces).expect("an empty pool");
    give_back(&pool, &pieces);
    pool
}

fn give_back(pool: &GenPool<'_>, pieces: &[Offset]) {
    for (index, piece) in pieces.iter().enumerate() {
        let free = if index % 2 == 0 { GenPool::free_cleared } else { GenPool::free };
        free(pool, *piece, order(6)).expect("taken above");
    }
}

fn clear_and_dirty(c: &mut Criterion) {
    let mut group = c.benchmark_group("4 GiB alternating clear/dirty");
    group.sample_size(10);
    group.bench_function("one of 4 GiB", |b| {
        b.iter_batched_ref(alternating, |pool| black_box(pool.alloc(order(20))).is_ok(), BatchSize::PerIteration);
    });
    group.throughput(Throughput::Elements(PAGES >> 6));
    for (name, wish) in [("any", Wish::DontCare), ("prefer cleared", Wish::PreferCleared)] {
        group.bench_function(format!("16384 of 256 KiB, {name}"), |b| {
            b.iter_batched_ref(
                alternating,
                |pool| (0..PAGES >> 6).filter(|_| black_box(pool.alloc_wishing(order(6), wish)).is_ok()).count(),
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("16384 of 256 KiB come back", |b| {
        b.iter_batched_ref(
            || {
                let pool = pool(PAGES);
                let mut pieces = vec![Offset::new(0); (PAGES >> 6) as usize];
                pool.alloc_many(order(6), &mut pieces).expect("an empty pool");
                (pool, pieces)
            },
            |(pool, pieces)| give_back(pool, pieces),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn bulk(c: &mut Criterion) {
    let ranges = [PhysRange { start: Phys(0), pages: PAGES }];
    let pool = GenPool::new(&Params::new(&ranges)).expect("one sound range");
    let mut group = c.benchmark_group("bulk 512 pages");
    group.throughput(Throughput::Elements(512));
    let mut pages = [Offset::new(0); 512];
    group.bench_function("alloc_many + free_many", |b| {
        b.iter(|| {
            pool.alloc_many(order(0), &mut pages).expect("an empty pool");
            pool.free_many(order(0), black_box(&pages)).expect("taken above");
        });
    });
    group.finish();
}

fn contiguous(c: &mut Criterion) {
    let mut group = c.benchmark_group("contiguous 300 pages, every 1000th page taken");
    for (name, pages) in [("1 GiB", 1u64 << 18), ("64 GiB", 1 << 24)] {
        let pool = pool(pages);
        (0..pages).step_by(1000).for_each(|page| pool.alloc_at(Offset::new(page), order(0)).expect("idle"));
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

criterion_group!(benches, clear_and_dirty, bulk, contiguous);
criterion_main!(benches);
