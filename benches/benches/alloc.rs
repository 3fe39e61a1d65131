//! The hot paths, in criterion's own words: `cargo bench -p benches --bench alloc`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::peer::{Hand, Peer};
use benches::peers::bitmap::Bitmap;
use benches::peers::buddy_system::BuddySystem;
use benches::peers::gpu_alloc::GpuAlloc;
use benches::peers::offset_allocator::OffsetAllocator;
use benches::peers::ours::{Counted, FolioHandle, Folios, Pool, PoolHandle};
use benches::peers::per_cpu::{FoliosPerCpu, PoolPerCpu};
use benches::trace::shuffled;
use benches::works::GIB;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use pgmap_alloc::Order;

const PAGES: u64 = 16 * GIB;

type Group<'a> = BenchmarkGroup<'a, WallTime>;
type Blocks<'a, P> = Vec<Option<<<P as Peer>::Hand<'a> as Hand>::Block>>;

/// Calls a generic function once for every peer.
macro_rules! for_every_peer {
    ($function:ident($($argument:expr),*)) => {
        $function::<PoolHandle>($($argument),*);
        $function::<PoolPerCpu>($($argument),*);
        $function::<Pool>($($argument),*);
        $function::<FolioHandle>($($argument),*);
        $function::<FoliosPerCpu>($($argument),*);
        $function::<Folios>($($argument),*);
        $function::<OffsetAllocator>($($argument),*);
        $function::<GpuAlloc>($($argument),*);
        $function::<BuddySystem>($($argument),*);
        $function::<Bitmap>($($argument),*);
        #[cfg(feature = "vma")]
        $function::<benches::peers::vma::Vma>($($argument),*);
    };
}

fn alloc(criterion: &mut Criterion) {
    for order in [0, 4, 9, 18] {
        let mut group = criterion.benchmark_group(format!("alloc/hot pair, order {order}"));
        for_every_peer!(hot_pair(&mut group, order));
    }
    let mut group = criterion.benchmark_group("alloc/fill with order 0");
    for_every_peer!(fill(&mut group));
    drop(group);
    let mut group = criterion.benchmark_group("alloc/free in random order");
    for_every_peer!(random_free(&mut group));
    drop(group);
    let mut group = criterion.benchmark_group("alloc/folio cycle");
    folio_cycle::<FolioHandle>(&mut group);
    folio_cycle::<FoliosPerCpu>(&mut group);
    folio_cycle::<Folios>(&mut group);
    drop(group);
    build(&mut criterion.benchmark_group("alloc/build"));
}

/// One run taken and given back. A page stays taken, as in the side-by-side table.
fn hot_pair<P: Peer>(group: &mut Group<'_>, order: u32) {
    let Some(mut peer) = P::build(PAGES) else { return };
    let mut hand = peer.hand();
    let kept = hand.alloc(0);
    group.bench_function(P::NAME, |bencher| {
        bencher.iter(|| {
            if let Some(block) = hand.alloc(black_box(order)) {
                hand.free(black_box(block), order);
            }
        });
    });
    if let Some(kept) = kept {
        hand.free(kept, 0);
    }
}

/// One iteration is one page; a pool that is full is replaced while the clock stands still.
fn fill<P: Peer>(group: &mut Group<'_>) {
    group.sample_size(10).bench_function(P::NAME, |bencher| {
        bencher.iter_custom(|pages| pools::<P>(pages, |_, _, fill_time| fill_time));
    });
}

/// One iteration is one page of a pool filled while the clock stood still.
fn random_free<P: Peer>(group: &mut Group<'_>) {
    group.sample_size(10).bench_function(P::NAME, |bencher| {
        bencher.iter_custom(|pages| {
            pools::<P>(pages, |hand, mut blocks, _| {
                let order = shuffled(blocks.len() as u32, 1);
                let names: Vec<_> = order.iter().filter_map(|&index| blocks[index as usize].take()).collect();
                let start = Instant::now();
                names.into_iter().for_each(|block| hand.free(block, 0));
                start.elapsed()
            })
        });
    });
}

/// Fills as many pools as `pages` pages need, and adds up what `time` says of each: it gets the hand, the blocks and the time
/// that the filling took.
fn pools<P: Peer>(pages: u64, time: impl for<'a> Fn(&mut P::Hand<'a>, Blocks<'a, P>, Duration) -> Duration) -> Duration {
    let mut left = pages;
    let mut total = Duration::ZERO;
    while left > 0 {
        let count = left.min(PAGES);
        let Some(mut peer) = P::build(PAGES) else { return total };
        let mut hand = peer.hand();
        let mut blocks: Blocks<'_, P> = (0..count).map(|_| None).collect();
        let start = Instant::now();
        for block in &mut blocks {
            *block = hand.alloc(0);
        }
        let fill_time = start.elapsed();
        total += time(&mut hand, blocks, fill_time);
        left -= count;
    }
    total
}

/// Allocation into service, one more reference, both put: only we count references.
fn folio_cycle<C: Counted>(group: &mut Group<'_>) {
    let Some(mut peer) = C::build(PAGES) else { return };
    let mut hand = peer.hand();
    for order in [Order::ZERO, Order::PMD, Order::PUD] {
        group.bench_function(format!("{}/order {order}", C::NAME), |bencher| {
            bencher.iter(|| C::cycle(&mut hand, black_box(order)));
        });
    }
}

/// From parameters to a pgmap that can be used, and away again.
fn build(group: &mut Group<'_>) {
    for pages in [16 * GIB, 16 * 1024 * GIB] {
        let name = benches::works::size(pages);
        group.bench_function(name, |bencher| bencher.iter(|| Folios::build(black_box(pages)).is_some()));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = alloc
}
criterion_main!(benches);
