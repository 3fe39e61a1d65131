//! One folio from idle to service and back, with nothing but `core`: no std, no libc, no allocator, no panic.
//!
//! `check` links this with nothing else and looks at what is in it.

#![no_std]
#![no_main]

mod mem;
mod pool;

use core::future::Future;
use core::hint::black_box;
use core::panic::PanicInfo;
use core::pin::pin;
use core::task::{Context, Waker};

use pgmap_alloc::{
    AfterFree, Capability, DataCell, Expect, Freed, Offset, Order, Params, PerCpu, Pgmap, PgmapOps, Phys, PhysRange, RangeSlot,
    Reason, SpecialSize, Storage, StorageNeeded, Table, Word, storage_needed,
};

/// 16 MiB in two ranges: enough for PTE and PMD tables.
const RANGES: [PhysRange; 2] =
    [PhysRange { start: Phys(0x1_0000_0000), pages: 3000 }, PhysRange { start: Phys(0x2_0000_0000), pages: 1000 }];

/// The driver: does nothing, but could.
struct Driver;

impl PgmapOps for Driver {
    type Data = u32;

    fn folio_free(&self, folio: Freed<u32>) -> AfterFree {
        if black_box(folio.data) == u32::MAX { AfterFree::Keep } else { AfterFree::Release }
    }
}

/// All metadata, as a kernel would have it: in memory that is zero from the start and belongs to nobody's heap.
struct Metadata {
    tables: [Table; 40],
    ranges: [RangeSlot; 2],
    pool_tables: [Table; 80],
    pool_ranges: [RangeSlot; 2],
    words: [Word; 8192],
    data: [DataCell; 8192],
}

static mut METADATA: Metadata = Metadata {
    tables: [const { Table::new() }; 40],
    ranges: [const { RangeSlot::new() }; 2],
    pool_tables: [const { Table::new() }; 80],
    pool_ranges: [const { RangeSlot::new() }; 2],
    words: [const { Word::new() }; 8192],
    data: [const { DataCell::new() }; 8192],
};

/// Entered once, by whoever starts the program; never left.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let metadata = &raw mut METADATA;
    // SAFETY: this function runs once and in one thread, so nobody else has this reference.
    black_box(walk(unsafe { &mut *metadata }));
    loop {
        core::hint::spin_loop();
    }
}

/// Every verb once; the orders and offsets are unknown to the compiler, so nothing is worked out beforehand.
fn walk(metadata: &mut Metadata) -> Option<u64> {
    let params = Params::new(black_box(&RANGES));
    let StorageNeeded { tables, .. } = storage_needed::<Driver, 8>(&params).ok()?;
    black_box(tables);
    let Metadata { tables, ranges, pool_tables, pool_ranges, words, data } = metadata;
    black_box(pool::walk(pool_tables, pool_ranges)?);
    let pgmap = Pgmap::with_zeroed_storage(&params, Storage { tables, ranges, words, data }, Driver).ok()?;

    let order = Order::new(black_box(3)).ok()?;
    let folio = pgmap.alloc_folio(order).ok()?;
    let second = folio.clone();
    let found = pgmap.try_get(black_box(folio.offset()))?;
    drop((folio, second, found));
    let cpus = PerCpu::<_, 2>::with_cpus(&pgmap);
    let folio = cpus.on(black_box(5)).alloc_folio(order).ok()?;
    cpus.here().put(folio).ok()?;
    drop(cpus);

    let at = Offset::new(black_box(512));
    pgmap.request_folio_raw(at, order, black_box(7)).ok()?;
    pgmap.get_raw(at).ok()?;
    pgmap.put_raw(at, black_box(2)).ok()?;
    let block = pgmap.alloc_block(order).ok()?.into_raw();
    black_box(pgmap.lookup(block.start()).ok());
    pgmap.free_block_raw(block.start(), block.order()).ok()?;

    service(&pgmap, order)?;

    let census = pgmap.validate().ok()?;
    let phys = pgmap.phys(at).and_then(|phys| pgmap.offset_of(phys));
    black_box((census, phys, pgmap.snapshot().count()));
    pgmap.kill().drain(|holdout| _ = black_box(holdout)).teardown();
    Some(pgmap.pages())
}

/// The verbs of the folio service.
fn service(pgmap: &Pgmap<'_, Driver>, order: Order) -> Option<()> {
    let block = pgmap.alloc_block(order).ok()?;
    let mut blocks = block.split(black_box(Order::ZERO));
    let block = blocks.next()?.trim(black_box(1)).next()?;
    let folio = block.into_folio(3).ok()?;
    drop((blocks, folio.into_block().ok()?));

    let folio = pgmap.alloc_folio(order).ok()?;
    let (head, parts) = (folio.offset(), folio.split(black_box(Order::ZERO), black_box(1)).ok()?);
    pgmap.map_raw(head).ok()?;
    let waiting = pgmap.until_idle(head).ok()?;
    let mut waiting = pin!(waiting);
    let mut context = Context::from_waker(Waker::noop());
    black_box(waiting.as_mut().poll(&mut context).is_pending());
    pgmap.retire(head).ok()?;
    drop(parts);
    drop(pgmap.freeze_raw(head, Expect::NoPins).ok()?);
    black_box((pgmap.counts_raw(head).ok()?.pins, pgmap.unmap_raw(head).ok()?));
    black_box((waiting.poll(&mut context).is_ready(), pgmap.retired().count()));

    let special = Offset::new(black_box(1024));
    pgmap.declare_special(special, SpecialSize::Pmd, Reason::Firmware).ok()?;
    black_box(pgmap.check_access(special, Capability::CopyOnWrite).is_err());
    pgmap.undeclare_special(special, SpecialSize::Pmd).ok()
}

/// Asked for by the compiler, never called: `check` finds no way here in the binary.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
