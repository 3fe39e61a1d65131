//! Requirements 44 and 47 to 51: partitions, who pays, the account, true refusals by cause, trace points.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::sync::Mutex;

use pgmap_alloc::{
    Accounted, AccountedError, AllocError, AllocExtentError, Charge, ChargeError, Event, Extent, ExtentParams, FreeError, GenPool,
    Limits, Offset, Order, Owner, Owners, Params, Pgmap, PgmapOps, Phys, PhysRange, Protection, ReturnError, Trace, Urgency,
};

fn range(page: u64, pages: u64) -> PhysRange {
    PhysRange { start: Phys(page << 12), pages }
}

fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

fn at(page: u64) -> Offset {
    Offset::new(page)
}

fn pool(pages: u64) -> GenPool<'static> {
    GenPool::new(&Params::new(&[range(0, pages)])).unwrap()
}

fn window(start: u64, end: u64) -> Extent {
    Extent::between(at(start), at(end)).unwrap()
}

#[test]
fn req_47_partitions_are_windows_with_a_fallback_order() {
    let pool = pool(4096);
    // A small BAR shows the first quarter to the CPU; allocations that need not be seen go elsewhere first.
    let visible = pool.partition(window(0, 1024)).unwrap();
    let rest = pool.partition(window(1024, 1 << 40)).unwrap();
    assert!(pool.partition(window(4096, 5000)).is_none(), "outside the pool");
    assert_eq!((visible.size(), rest.size(), rest.avail()), (1024, 3072, 3072));
    assert!(visible.has_offset(at(1023)) && !visible.has_offset(at(1024)) && !rest.has_offset(at(4096)));

    let order_of = [rest, visible];
    let mut from = [0, 0];
    let refusal = loop {
        match GenPool::alloc_falling_back(&order_of, &ExtentParams::new(100)) {
            Ok((index, extent)) => {
                assert_eq!(order_of[index].window().common(extent), Some(extent));
                assert!(index == 0 || order_of[0].avail() < 200, "the first has it as long as it can");
                from[index] += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(from, [30, 10]);
    assert_eq!(refusal, AllocExtentError::NoSpace { idle: 24, cached: 0 });
    assert_eq!(visible.free(at(2048), order(0)), Err(FreeError::OutOfRange), "not one of its pages");
    assert_eq!(rest.alloc(order(30)), Err(AllocExtentError::TooLarge { pages: 1 << 30 }));
    assert_eq!(rest.alloc_extent(&ExtentParams::new(1).within(window(0, 8))), Err(AllocExtentError::WindowOutside));
    let page = visible.alloc(order(0)).unwrap();
    visible.free(page, order(0)).unwrap();
}

#[test]
fn req_48_an_owner_pays_before_and_gets_it_back_after() {
    let pool = pool(1024);
    let owners = Owners::<2>::new();
    owners.set_limits(Owner(0), Limits { min: 16, low: 64, max: 128 }).unwrap();
    let books = Accounted::new(&pool, &owners, (), 0);
    let first = books.alloc(order(6), Owner(0), Urgency::Normal).unwrap();
    assert_eq!(owners.protection(Owner(0)), Ok(Protection::Low));
    let over = ChargeError::OverLimit { owner: 0, has: 64, max: 128 };
    assert_eq!(books.alloc(order(7), Owner(0), Urgency::Critical), Err(AccountedError::Owner { error: over }));
    assert_eq!(pool.avail(), 960, "nothing was taken");
    let second = books.alloc(order(6), Owner(0), Urgency::Normal).unwrap();
    assert_eq!(owners.protection(Owner(0)), Ok(Protection::None));
    let unknown = ChargeError::UnknownOwner { owner: 2 };
    assert_eq!(books.alloc(order(0), Owner(2), Urgency::Normal), Err(AccountedError::Owner { error: unknown }));
    let not_his = ChargeError::NotCharged { owner: 1, has: 0 };
    assert_eq!(books.free(first, order(6), Owner(1)), Err(ReturnError::Owner { error: not_his }));
    assert!(!pool.is_idle(first), "and still taken");
    // Parts go back one by one; a second free is refused and charges nothing.
    books.free(first, order(5), Owner(0)).unwrap();
    let double = ReturnError::Refused { error: FreeError::DoubleFree { page: first } };
    assert_eq!(books.free(first, order(5), Owner(0)), Err(double));
    assert_eq!(owners.usage(Owner(0)).unwrap().pages, 96);
    books.free(at(first.get() + 32), order(5), Owner(0)).unwrap();
    books.free(second, order(6), Owner(0)).unwrap();
    let usage = owners.usage(Owner(0)).unwrap();
    assert_eq!((usage.pages, usage.high_water, usage.refused), (0, 128, 1));
    assert_eq!(owners.protection(Owner(0)), Ok(Protection::Min));
    // What the pool refuses is not charged.
    books.alloc(order(10), Owner(1), Urgency::Normal).unwrap();
    assert!(books.alloc(order(0), Owner(1), Urgency::Normal).is_err());
    assert_eq!(owners.usage(Owner(1)).unwrap().pages, 1024);
}

#[test]
fn req_48_limits_that_contradict_each_other_change_nothing() {
    let owners = Owners::<1>::new();
    let before = owners.usage(Owner(0)).unwrap();
    let crossed = ChargeError::LimitsCross { min: 3, low: 2, max: 9 };
    assert_eq!(owners.set_limits(Owner(0), Limits { min: 3, low: 2, max: 9 }), Err(crossed));
    assert!(owners.set_limits(Owner(0), Limits { min: 3, low: 20, max: 9 }).is_err());
    assert!(owners.set_limits(Owner(1), Limits::NONE).is_err());
    assert_eq!(owners.usage(Owner(0)), Ok(before));
    assert_eq!(owners.uncharge(Owner(0), 1), Err(ChargeError::NotCharged { owner: 0, has: 0 }));
}

#[test]
fn req_48_the_last_pages_are_for_the_critical() {
    let pool = pool(1024);
    let books = Accounted::new(&pool, (), (), 128);
    for _ in 0..7 {
        books.alloc(order(7), Owner(0), Urgency::Normal).unwrap();
    }
    let refused = AccountedError::Watermark { idle: 128, watermark: 128 };
    assert_eq!(books.alloc(order(0), Owner(0), Urgency::Normal), Err(refused));
    let page = books.alloc(order(7), Owner(0), Urgency::Critical).unwrap();
    books.free(page, order(7), Owner(0)).unwrap();
    assert_eq!(books.alloc(order(0), Owner(0), Urgency::Normal), Err(refused));
}

#[test]
fn req_44_a_refusal_says_whether_order_space_fragmentation_or_owner_is_why() {
    let pool = pool(1024);
    let owners = Owners::<1>::new();
    let books = Accounted::new(&pool, &owners, (), 0);
    let alloc = |o| books.alloc(order(o), Owner(0), Urgency::Normal);
    assert_eq!(alloc(11), Err(AccountedError::Pool { error: AllocError::TooLarge }));
    let pages: Vec<_> = (0..1024).map(|_| alloc(0).unwrap()).collect();
    assert_eq!(alloc(0), Err(AccountedError::Pool { error: AllocError::NoSpace { cached: 0 } }));
    for page in pages.iter().filter(|page| page.get() % 2 == 0) {
        books.free(*page, order(0), Owner(0)).unwrap();
    }
    assert_eq!(alloc(1), Err(AccountedError::Fragmented { idle: 512 }));
    owners.set_limits(Owner(0), Limits { max: 512, ..Limits::NONE }).unwrap();
    assert!(matches!(alloc(0), Err(AccountedError::Owner { .. })));
    let refusals = books.account().refusals;
    assert_eq!((refusals.too_large, refusals.no_space, refusals.fragmented, refusals.owner), (1, 1, 1, 1));
    assert_eq!((refusals.contended, refusals.watermark), (0, 0));
}

#[test]
fn req_49_the_account_adds_up() {
    let pool = pool(4096);
    let books = Accounted::new(&pool, (), (), 0);
    let alloc = |o| books.alloc(order(o), Owner(0), Urgency::Normal).unwrap();
    let runs: Vec<_> = [0, 3, 3, 9, 10].map(|o| (alloc(o), order(o))).into();
    let account = books.account();
    assert_eq!((account.size, account.used, account.high_water), (4096, 1553, 1553));
    assert_eq!((account.taken[0], account.taken[3], account.taken[9], account.taken[10]), (1, 2, 1, 1));
    assert_eq!(account.taken.iter().sum::<u64>(), 5);
    assert_eq!(account.size - account.used, pool.avail());
    runs.iter().for_each(|(offset, order)| books.free(*offset, *order, Owner(0)).unwrap());
    let account = books.account();
    assert_eq!((account.used, account.high_water, account.allocated[3]), (0, 1553, 2));
    assert!(account.taken.iter().all(|&taken| taken == 0));

    // Every other page: as bad as it gets. Half in one piece: as good as it gets.
    let pages: Vec<_> = (0..4096).map(|_| alloc(0)).collect();
    pages.iter().filter(|page| page.get() % 2 == 0).for_each(|page| books.free(*page, order(0), Owner(0)).unwrap());
    let riddled = books.account();
    assert_eq!(riddled.largest_idle, Some(0));
    assert!(riddled.fragmentation > 990, "{}", riddled.fragmentation);
    pages.iter().filter(|page| page.get() % 2 == 1 && page.get() < 2048).for_each(|page| {
        books.free(*page, order(0), Owner(0)).unwrap();
    });
    pages.iter().filter(|page| page.get() % 2 == 0 && page.get() >= 2048).for_each(|page| pool.alloc_at(*page, order(0)).unwrap());
    assert!(pool.alloc_up_to(order(11), order(0)).unwrap().order() == order(11));
}

#[test]
fn req_50_an_account_allocates_nothing_and_costs_the_bare_pool_nothing() {
    // The account is a value around a borrowed pool: no heap, and the pool knows nothing of it.
    let pool = pool(512);
    let before = size_of_val(&pool);
    let books = Accounted::new(&pool, (), (), 0);
    let page = books.alloc(order(0), Owner(0), Urgency::Normal).unwrap();
    // The bare pool sees the same pages.
    assert!(!pool.is_idle(page));
    books.pool().free(page, order(0)).unwrap();
    assert_eq!(size_of_val(&pool), before);
}

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
    let told = [
        Event::Alloc { offset, order: order(3) },
        Event::Refused { order: order(20) },
        Event::FolioFree { offset, order: order(3) },
    ];
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

#[cfg(feature = "serde")]
#[test]
fn req_49_the_account_can_be_written_down() {
    let pool = pool(512);
    let books = Accounted::new(&pool, (), (), 0);
    books.alloc(order(3), Owner(0), Urgency::Normal).unwrap();
    let written = serde_json::to_value(books.account()).unwrap();
    assert_eq!((&written["size"], &written["used"], &written["taken"][3]), (&512.into(), &8.into(), &1.into()));
    assert_eq!(written["refusals"]["no_space"], 0);
}
