//! Does a larger pool cost more (P8)? Ours alone, from 1 GiB to 4 TiB: `cargo bench -p benches --bench scale`.

use std::hint::black_box;
use std::time::Duration;

use benches::peer::{Hand, Peer};
use benches::peers::nothing::Nothing;
use benches::peers::ours::{Pool, PoolHandle};
use benches::peers::per_cpu::PoolPerCpu;
use benches::trace::{Slots, Trace};
use benches::works::{GIB, size};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};

const POOLS: [u64; 4] = [GIB, 16 * GIB, 256 * GIB, 4096 * GIB];
const STEPS: usize = 1_000_000;

fn scale(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scale/hot pair, order 0");
    for pages in POOLS {
        hot_pair::<PoolHandle>(&mut group, pages);
        hot_pair::<PoolPerCpu>(&mut group, pages);
        hot_pair::<Pool>(&mut group, pages);
    }
    drop(group);
    let mut group = criterion.benchmark_group("scale/churn at 80 %, two steps");
    group.sample_size(10);
    for pages in POOLS {
        let trace = Trace::churn(pages * 80 / 100, STEPS, 1);
        churn::<PoolHandle>(&mut group, pages, &trace);
        churn::<PoolPerCpu>(&mut group, pages, &trace);
        churn::<Pool>(&mut group, pages, &trace);
        // What of the growth is the harness's own: its slots grow with the pool, too.
        churn::<Nothing>(&mut group, pages, &trace);
    }
    drop(group);
    let mut group = criterion.benchmark_group("scale/build");
    for pages in POOLS {
        group.bench_function(BenchmarkId::new(Pool::NAME, size(pages)), |bencher| {
            bencher.iter(|| Pool::build(black_box(pages)).is_some());
        });
    }
}

fn hot_pair<P: Peer>(group: &mut BenchmarkGroup<'_, WallTime>, pages: u64) {
    let Some(mut peer) = P::build(pages) else { return };
    let mut hand = peer.hand();
    group.bench_function(BenchmarkId::new(P::NAME, size(pages)), |bencher| {
        bencher.iter(|| {
            if let Some(block) = hand.alloc(black_box(0)) {
                hand.free(black_box(block), 0);
            }
        });
    });
}

/// One iteration is two steps, on average an allocation and a free; when the trace is over, a fresh pool is filled and it
/// starts again.
fn churn<P: Peer>(group: &mut BenchmarkGroup<'_, WallTime>, pages: u64, trace: &Trace) {
    group.bench_function(BenchmarkId::new(P::NAME, size(pages)), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut left = (2 * iterations) as usize;
            let mut total = Duration::ZERO;
            while left > 0 {
                let Some(mut peer) = P::build(pages) else { return total };
                let mut hand = peer.hand();
                let mut slots = Slots::new(trace.slots);
                trace.fill.iter().for_each(|step| slots.apply(&mut hand, *step));
                let part = &trace.churn[..left.min(STEPS)];
                let start = std::time::Instant::now();
                part.iter().for_each(|step| slots.apply(&mut hand, *step));
                total += start.elapsed();
                left -= part.len();
            }
            total
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = scale
}
criterion_main!(benches);
