//! Every verb of the pool alone, once.

use core::hint::black_box;

use pgmap_alloc::fit::{best_fit, first_fit_align, order_align};
use pgmap_alloc::{
    Accounted, Extent, ExtentParams, GenPool, Limits, Mode, Offset, Order, Owner, Owners, PageWord, Params, PerCpu, Phys,
    PhysRange, RangeSlot, Run, ScatterParams, Table, Urgency, Wish,
};

const RANGES: [PhysRange; 1] = [PhysRange { start: Phys(0x1_0000_0000), pages: 3000 }];

/// The order, the offsets and the numbers are unknown to the compiler.
pub fn walk(tables: &mut [Table], ranges: &mut [RangeSlot]) -> Option<u64> {
    let params = Params::new(black_box(&RANGES)).with_room(1, 8192).tracking_clear().taking_reservations();
    let pool = GenPool::with_zeroed_storage(&params, tables, ranges).ok()?;
    let order = Order::new(black_box(3)).ok()?;

    let added = pool.add_range(PhysRange { start: Phys(black_box(0x2_0000_0000)), pages: 512 }).ok()?;
    pool.remove_range(added.first).ok()?;

    let window = Extent::between(Offset::new(black_box(100)), Offset::new(black_box(2000))).ok()?;
    for mode in [Mode::Simple, Mode::BottomUp(first_fit_align), Mode::TopDown(best_fit), Mode::BottomUp(order_align)] {
        let asked = ExtentParams::new(black_box(77)).aligned(black_box(4)).within(window).by(mode);
        black_box(pool.scan_eviction(&asked, &[window]));
        pool.free_extent(pool.alloc_extent(&asked).ok()?).ok()?;
    }
    let trimmed = pool.alloc_extent(&ExtentParams::new(black_box(77))).ok()?;
    pool.free_extent(trimmed).ok()?;

    let mut starts = [Offset::new(0); 70];
    pool.alloc_many(order, &mut starts).ok()?;
    pool.free_many(order, &starts).ok()?;
    let mut words = [PageWord::EMPTY; 8];
    pool.free_words(pool.alloc_words(black_box(77), &mut words).ok()?).ok()?;
    let mut local = pool.local()?;
    local.alloc_many(order, &mut starts).ok()?;
    local.free_many(order, &starts).ok()?;
    let some = local.alloc_some_words(black_box(77), &mut words).len();
    local.free_words(words.get(..some)?).ok()?;
    drop(local);
    let cpus = PerCpu::<_, 2>::with_cpus(&pool);
    let taken = cpus.on(black_box(5)).alloc(order).ok()?;
    cpus.here().free(taken).ok()?;
    cpus.drain();
    drop(cpus);
    let mut runs = [Run::new(Offset::new(0), Order::ZERO).ok()?; 8];
    for run in pool.alloc_scattered(&ScatterParams::new(black_box(77)), &mut runs).ok()? {
        pool.free(run.start(), run.order()).ok()?;
    }
    let piece = pool.alloc_up_to(order, Order::ZERO).ok()?;
    pool.free_cleared(piece.start(), piece.order()).ok()?;
    let (clear, _) = pool.alloc_wishing(order, Wish::PreferCleared).ok()?;
    pool.free(clear, order).ok()?;
    pool.dirty_runs(window, order).take(2).for_each(|dirty| dirty.cleared());
    let _ = pool.forget_clear(window);

    let mut room = [Offset::new(0); 4];
    let reserved = pool.reserve(order, &mut room).ok()?;
    let held = reserved.commit();
    held.iter().for_each(|start| _ = black_box(pool.free(*start, order)));

    let partition = pool.partition(window)?;
    let page = partition.alloc(Order::ZERO).ok()?;
    partition.free(page, Order::ZERO).ok()?;

    let owners = Owners::<4>::new();
    owners.set_limits(Owner(1), Limits { max: black_box(100), ..Limits::NONE }).ok()?;
    let books = Accounted::new(&pool, &owners, (), black_box(10));
    let page = books.alloc(order, Owner(1), Urgency::Critical).ok()?;
    books.free(page, order, Owner(1)).ok()?;
    black_box((books.account(), owners.usage(Owner(1)).ok()?));
    Some(pool.avail() + pool.gaps_in(window).count() as u64 + u64::from(pool.largest_idle()?.get()))
}
