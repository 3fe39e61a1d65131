//! Requirement 51: trace points with the kernel's own words. What the `tracing` crate makes of them: `req_pool_tracing`.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::cell::RefCell;
use std::sync::Mutex;

use pgmap_alloc::{
    Accounted, Charging, Event, ExtentParams, Limits, Order, Owner, Owners, Params, Pgmap, PgmapOps, Trace, Urgency,
};
use support::{at, order, pool, range, window};

struct Log(RefCell<Vec<Event>>);

impl Trace for Log {
    fn trace(&self, event: Event) {
        self.0.borrow_mut().push(event);
    }
}

#[test]
fn req_51_trace_points_tell_what_happened_in_order() {
    let pool = pool(512);
    let log = Log(RefCell::new(vec![]));
    let books = Accounted::new(&pool, (), &log, 0);
    let offset = books.alloc(order(3), Owner(0), Urgency::Normal).unwrap();
    books.alloc(order(20), Owner(0), Urgency::Normal).unwrap_err();
    books.free(offset, order(3), Owner(0)).unwrap();
    let told =
        [Event::Alloc { offset, order: order(3) }, Event::Refused { order: order(20) }, Event::Free { offset, order: order(3) }];
    assert_eq!(*log.0.borrow(), told);
    assert_eq!(size_of::<()>(), 0, "who does not watch is no data");
}

struct Watching(Mutex<Vec<Event>>);

impl PgmapOps for Watching {
    type Data = ();

    fn trace(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn req_51_a_pgmap_tells_of_its_whole_life() {
    let vram = [range(0, 512)];
    let pgmap = Pgmap::new(&Params::new(&vram), Watching(Mutex::new(vec![]))).unwrap();
    let folio = pgmap.alloc_folio(order(1)).unwrap();
    let offset = folio.offset();
    drop(folio.split(order(0), 1).unwrap());
    pgmap.request_folio_raw(at(64), order(2), ()).unwrap();
    pgmap.put_raw(at(64), 1).unwrap();
    pgmap.retire(at(100)).unwrap();
    pgmap.kill().drain(|_| ());
    let told = pgmap.ops().0.lock().unwrap().clone();
    let second = at(offset.get() + 1);
    let zero = order(0);
    let expected = [
        Event::Alloc { offset, order: order(1) },
        Event::Split { offset, order: zero },
        Event::Put { offset, count: 1 },
        Event::FolioFree { offset, order: zero },
        Event::Put { offset: second, count: 1 },
        Event::FolioFree { offset: second, order: zero },
        Event::Request { offset: at(64), order: order(2) },
        Event::Put { offset: at(64), count: 1 },
        Event::FolioFree { offset: at(64), order: order(2) },
        Event::Retire { offset: at(100) },
        Event::Kill,
        Event::Drain,
    ];
    assert_eq!(told, expected);
}

#[test]
fn req_51_a_handle_tells_as_much_as_its_pgmap() {
    let vram = [range(0, 512)];
    let pgmap = Pgmap::new(&Params::new(&vram), Watching(Mutex::new(vec![]))).unwrap();
    let mut handle = pgmap.local().unwrap();
    let folio = handle.alloc_folio(order(3)).unwrap();
    let (offset, other) = (folio.offset(), folio.clone());
    handle.put(folio).unwrap();
    handle.put(other).unwrap();
    handle.alloc_folio(order(20)).unwrap_err();
    let put = Event::Put { offset, count: 1 };
    let expected = [
        Event::Alloc { offset, order: order(3) },
        put,
        put,
        Event::FolioFree { offset, order: order(3) },
        Event::Refused { order: order(20) },
    ];
    assert_eq!(*pgmap.ops().0.lock().unwrap(), expected);
}

impl Watching {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn watched(params: &Params<'_>) -> Pgmap<'static, Watching> {
    Pgmap::new(params, Watching(Mutex::new(vec![]))).unwrap()
}

fn alloc(page: u64, o: u32) -> Event {
    Event::Alloc { offset: at(page), order: order(o) }
}

fn request(page: u64, o: u32) -> Event {
    Event::Request { offset: at(page), order: order(o) }
}

fn free(page: u64, o: u32) -> Event {
    Event::Free { offset: at(page), order: order(o) }
}

#[test]
fn req_51_blocks_are_told_of_too() {
    let pgmap = watched(&Params::new(&[range(0, 512)]));
    let told = || pgmap.ops().take();
    // Taken by the pool's choice and by the caller's, freed in parts, trimmed, and by offset.
    let block = pgmap.alloc_block(order(2)).unwrap();
    let first = block.offset().get();
    block.split(order(1)).for_each(drop);
    assert_eq!(told(), [alloc(first, 2), free(first, 1), free(first + 2, 1)]);
    let rest = pgmap.request_block(at(64), order(3)).unwrap().trim(5);
    assert_eq!(told(), [request(64, 3), free(69, 0), free(70, 1)]);
    drop(rest);
    assert_eq!(told(), [free(64, 2), free(68, 0)]);
    let raw = pgmap.alloc_block(order(4)).unwrap().into_raw();
    pgmap.free_block_raw(raw.start(), order(4)).unwrap();
    assert_eq!(told(), [alloc(raw.start().get(), 4), free(raw.start().get(), 4)]);
    // Nothing is told of what did not happen, but that it was refused.
    pgmap.free_block_raw(raw.start(), order(4)).unwrap_err();
    assert_eq!(told(), []);
    pgmap.alloc_block(order(20)).unwrap_err();
    assert_eq!(told(), [Event::Refused { order: order(20) }]);
    // Pages side by side.
    let extent = ExtentParams::new(6).within(window(128, 256));
    let blocks = pgmap.alloc_extent(&extent).unwrap();
    let taken = told();
    drop(blocks);
    let freed = taken.iter().map(|event| match event {
        Event::Alloc { offset, order } => Event::Free { offset: *offset, order: *order },
        other => panic!("{other:?}"),
    });
    assert_eq!((told(), taken.len()), (freed.collect(), 2));
    pgmap.alloc_extent(&ExtentParams::new(600)).unwrap_err();
    assert_eq!(told(), [Event::Refused { order: order(10) }]);
    // Into service and back.
    let folio = pgmap.request_block(at(8), order(0)).unwrap().into_folio(()).unwrap();
    drop(folio.into_block().unwrap());
    assert_eq!(told(), [request(8, 0), request(8, 0), Event::FolioFree { offset: at(8), order: order(0) }, free(8, 0)]);
}

#[test]
fn req_51_an_unfit_block_is_not_told_of() {
    let pgmap = watched(&Params::new(&[range(0, 1)]));
    let block = pgmap.alloc_block(order(0)).unwrap();
    pgmap.retire(at(0)).unwrap();
    drop(block);
    let told = pgmap.ops().take();
    assert_eq!(told, [alloc(0, 0), Event::Retire { offset: at(0) }, free(0, 0)]);
    pgmap.alloc_block(Order::ZERO).unwrap_err();
    assert!(pgmap.request_block(at(0), Order::ZERO).is_err());
    assert_eq!(pgmap.ops().take(), [Event::Refused { order: Order::ZERO }]);
}

#[test]
fn req_51_a_background_clearer_is_told_of() {
    let pgmap = watched(&Params::new(&[range(0, 512)]).tracking_clear());
    pgmap.dirty_blocks(window(0, 256), order(7)).for_each(pgmap_alloc::Block::release_cleared);
    assert_eq!(pgmap.ops().take(), [alloc(0, 7), free(0, 7), alloc(128, 7), free(128, 7)]);
}

#[test]
fn req_51_what_an_owner_is_refused_is_told() {
    let owners = Owners::<1>::new();
    owners.set_limits(Owner(0), Limits { max: 8, ..Limits::NONE }).unwrap();
    let ops = Charging::new(Watching(Mutex::new(vec![])), &owners, 256, 512);
    let pgmap = Pgmap::new(&Params::new(&[range(0, 512)]), ops).unwrap();
    let told = || pgmap.ops().ops().take();
    let block = pgmap.alloc_block_for(order(3), Owner(0), Urgency::Normal).unwrap();
    let start = block.block().offset().get();
    pgmap.alloc_block_for(order(1), Owner(0), Urgency::Normal).unwrap_err();
    pgmap.alloc_folio_for(order(9), Owner(0), Urgency::Normal, ()).unwrap_err();
    pgmap.alloc_folio_for(order(20), Owner(0), Urgency::Critical, ()).unwrap_err();
    drop(block);
    let refused = |o| Event::Refused { order: order(o) };
    assert_eq!(told(), [alloc(start, 3), refused(1), refused(9), refused(20), free(start, 3)]);
}
