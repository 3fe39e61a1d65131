//! Drivers that hear nothing of frees: requirements 19, 21, 25, 27, 30 and 38 hold for them too, though a last put is one step.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::marker::PhantomData;

use pgmap_alloc::{
    AfterFree, Drain, DriverData, Expect, Folio, FreeRule, Freed, Lookup, MemoryType, Offset, Params, Pgmap, PgmapOps, Put,
    Retirement,
};
use support::{Lent, Task, at, order, partition, range};

/// A driver that hears nothing, of memory of a type, and keeps nothing or a number with its folios.
struct Deaf<D>(MemoryType, PhantomData<D>);

impl<D: DriverData> PgmapOps for Deaf<D> {
    type Data = D;

    const HEARS_FREES: bool = false;

    fn folio_free(&self, folio: Freed<D>) -> AfterFree {
        panic!("{} of {} is heard of", folio.offset, folio.order);
    }

    fn memory_type(&self) -> MemoryType {
        self.0
    }
}

type Map<D> = Pgmap<'static, Deaf<D>>;

fn deaf<D: DriverData>(memory_type: MemoryType) -> &'static Map<D> {
    let ops = Deaf(memory_type, PhantomData);
    Box::leak(Box::new(Pgmap::new(&Params::new(&[range(0, 1024)]), ops).unwrap()))
}

type End<D> = fn(&'static Map<D>, Folio<'static, Deaf<D>>);

/// Every way in which a folio can end; after the last of them its pages are a block.
fn ends<D: DriverData + 'static>() -> [(&'static str, End<D>); 8] {
    fn mapped<D: DriverData>(pgmap: &Map<D>, folio: Folio<'_, Deaf<D>>) -> Offset {
        pgmap.map_raw(folio.offset()).unwrap();
        let head = folio.into_raw();
        assert_eq!(pgmap.put_raw(head, 1), Ok(Put::InService));
        head
    }
    [
        ("a drop", |_, folio| drop(folio)),
        ("a put", |pgmap, folio| assert_eq!(pgmap.put(folio).ok(), Some(Put::Freed))),
        ("a put of many", |pgmap, folio| {
            let head = folio.into_raw();
            pgmap.get_raw(head).unwrap();
            assert_eq!(pgmap.put_raw(head, 2), Ok(Put::Freed));
        }),
        ("an unmapping", |pgmap, folio| assert_eq!(pgmap.unmap_raw(mapped(pgmap, folio)), Ok(Put::Freed))),
        ("an eviction", |pgmap, folio| {
            assert!(pgmap.freeze_raw(mapped(pgmap, folio), Expect::NoPins).unwrap().free().is_ok());
        }),
        ("a split", |_, folio| drop(folio.split(order(0), 1).unwrap())),
        ("a put into a handle", |pgmap, folio| {
            let (mut local, head) = (pgmap.local().unwrap(), folio.offset());
            assert_eq!(local.put(folio).ok(), Some(Put::Freed));
            assert!(pgmap.is_idle(head));
        }),
        ("a block", |_, folio| _ = folio.into_block().ok().unwrap().into_raw()),
    ]
}

fn every_end_is_an_end<D: DriverData + Default + 'static>() {
    for (name, end) in ends::<D>() {
        let pgmap = deaf::<D>(MemoryType::DevicePrivate);
        let folio = pgmap.request_folio(at(64), order(3)).unwrap();
        let (mut idle, task) = (Box::pin(pgmap.until_idle(at(66)).unwrap()), Task::default());
        assert!(task.poll(&mut idle).is_pending() && task.woken() == 0);
        end(pgmap, folio);
        assert_eq!((task.woken(), task.poll(&mut idle).is_ready()), (1, true), "{name}");
        let census = partition(pgmap);
        assert_eq!((census.folios, census.block), (0, if name == "a block" { 8 } else { 0 }), "{name}");
        assert!(matches!(pgmap.kill().poll_drain(), Drain::Done(_)), "{name}");
    }
}

#[test]
fn req_19_who_hears_nothing_is_not_called() {
    every_end_is_an_end::<()>();
    every_end_is_an_end::<u64>();
}

#[test]
fn req_21_what_a_driver_that_hears_nothing_kept_does_not_survive() {
    let mut lent = Lent::<8>::new(&[range(0, 1024)]);
    {
        let pgmap: Pgmap<'_, Deaf<u64>> = lent.pgmap(Deaf(MemoryType::DevicePrivate, PhantomData));
        drop(pgmap.request_folio_with(at(0), order(4), 99).unwrap());
        let mut local = pgmap.local().unwrap();
        let folio = local.alloc_folio_with(order(0), 99).unwrap();
        assert_eq!(local.put(folio).ok(), Some(Put::Freed));
    }
    assert_eq!((lent.words_in_use(), lent.cells_in_use()), (vec![], vec![]));
}

/// The memory type says what becomes of the pages.
#[test]
fn req_30_the_free_rule_holds_for_who_hears_nothing() {
    for rules in MemoryType::TABLE {
        let pgmap = deaf::<()>(rules.memory_type);
        drop(pgmap.request_folio(at(0), order(3)).unwrap());
        let kept = rules.free == FreeRule::Keep;
        assert_eq!(pgmap.lookup(at(0)), Ok(if kept { Lookup::Block } else { Lookup::Idle }), "{:?}", rules.memory_type);
    }
}

#[test]
fn req_38_a_bad_page_is_retired_by_a_silent_last_put() {
    let pgmap = deaf::<()>(MemoryType::DevicePrivate);
    for (head, bad) in [(0, 0), (8, 13)] {
        let folio = pgmap.request_folio(at(head), order(3)).unwrap();
        assert_eq!(pgmap.retire(at(bad)), Ok(Retirement::Pending));
        drop(folio);
        assert_eq!((pgmap.lookup(at(bad)), pgmap.lookup(at(head + 7))), (Ok(Lookup::Retired), Ok(Lookup::Idle)));
    }
    let mut local = pgmap.local().unwrap();
    let folio = local.alloc_folio(order(0)).unwrap();
    let bad = folio.offset();
    assert_eq!(pgmap.retire(bad), Ok(Retirement::Pending));
    let _ = local.put(folio);
    assert_eq!(pgmap.lookup(bad), Ok(Lookup::Retired), "the handle does not keep it");
}
