//! Requirement 66: lent memory that was used before is refused or reset, whatever it holds.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use pgmap_alloc::{
    BuildError, Charging, DataCell, GenPool, Owner, Owners, Params, Pgmap, PgmapOps, PhysRange, PoolNeeds, RangeSlot, Storage,
    Table, Urgency, WaitSlot, Word, storage_needed,
};
use support::{at, order, range};

/// What a caller lends, longer than it need be.
struct Lent {
    tables: Vec<Table>,
    ranges: Vec<RangeSlot>,
    words: Vec<Word>,
    data: Vec<DataCell>,
}

impl Lent {
    fn new<O: PgmapOps>(params: &Params<'_>) -> Lent {
        let needed = storage_needed::<O, 8>(params).unwrap();
        Lent {
            tables: (0..needed.tables + 9).map(|_| Table::new()).collect(),
            ranges: (0..needed.ranges + 2).map(|_| RangeSlot::new()).collect(),
            words: (0..needed.words + 600).map(|_| Word::new()).collect(),
            data: (0..needed.data + 600).map(|_| DataCell::new()).collect(),
        }
    }

    fn storage(&mut self) -> Storage<'_> {
        let Lent { tables, ranges, words, data } = self;
        Storage { tables, ranges, words, data }
    }
}

fn params(ranges: &[PhysRange]) -> Params<'_> {
    Params::new(ranges).tracking_clear().taking_reservations().counting_runs().with_room(1, 1 << 13)
}

/// A driver that keeps something.
struct Keeps;

impl PgmapOps for Keeps {
    type Data = u64;
}

/// Uses every kind of metadata, and leaves all of it as it is.
fn use_up<O: PgmapOps<Data = u64>>(pgmap: Pgmap<'_, O>) {
    let first = pgmap.ranges().next().unwrap();
    // The very first page too, which is looked at.
    pgmap.request_folio_raw(first.first, order(0), 7).unwrap();
    for o in [0, 3, 6] {
        (0..3).for_each(|_| _ = pgmap.alloc_folio_raw(order(o), 7).unwrap());
    }
    let _ = pgmap.retire(at(first.first.get() + 600)).unwrap();
    let _ = pgmap.add_range(range(1 << 30, 300)).unwrap();
    drop(pgmap);
}

#[test]
fn req_66_a_pool_on_storage_of_one_that_has_gone_is_as_new() {
    let ranges = [range(0, 3000)];
    let params = params(&ranges);
    let needs = PoolNeeds::of::<8>(&params).unwrap();
    let mut tables: Vec<Table> = (0..needs.tables).map(|_| Table::new()).collect();
    let mut slots: Vec<RangeSlot> = (0..needs.ranges).map(|_| RangeSlot::new()).collect();
    for life in 0..3 {
        let pool = GenPool::with_storage(&params, &mut tables, &mut slots).unwrap();
        assert_eq!((pool.avail(), pool.size(), pool.counted_runs().unwrap().pages()), (3000, 3000, 3000), "life {life}");
        assert_eq!(pool.avail_cleared(pgmap_alloc::Extent::ALL), 0, "life {life}");
        let mut granted = HashSet::new();
        let mut room = [at(0); 4];
        let reserved = pool.reserve(order(4), &mut room).unwrap();
        // Forgotten, so that nothing is given back.
        std::mem::forget(reserved);
        for _ in 0..700 * life {
            assert!(granted.insert(pool.alloc(order(0)).unwrap()), "life {life}");
        }
        while life == 2
            && let Ok(page) = pool.alloc(order(0))
        {
            assert!(granted.insert(page));
        }
        granted.iter().take(100).for_each(|page| pool.free_cleared(*page, order(0)).unwrap());
        drop(pool);
        // Known to be zero, as its caller says: it is not.
        let refused = GenPool::with_zeroed_storage(&params, &mut tables, &mut slots).map(drop);
        assert_eq!(refused, Err(BuildError::UsedStorage), "life {life}");
    }
    assert_eq!(BuildError::UsedStorage.to_string(), "the storage is not zero");
}

#[test]
fn req_66_a_pgmap_on_storage_of_one_that_has_gone_is_as_new() {
    let (vram, other) = ([range(0, 3000)], [range(512, 700), range(1 << 20, 2000)]);
    let mut lent = Lent::new::<Keeps>(&params(&vram));
    // Fresh memory may be said to be.
    use_up(Pgmap::with_zeroed_storage(&params(&vram), lent.storage(), Keeps).unwrap());
    for ranges in [&vram[..], &other[..], &vram[..]] {
        let params = params(ranges);
        assert_eq!(Pgmap::with_zeroed_storage(&params, lent.storage(), Keeps).map(drop).unwrap_err(), BuildError::UsedStorage);
        let pgmap = Pgmap::with_storage(&params, lent.storage(), Keeps).unwrap();
        let census = pgmap.validate_every_word().unwrap();
        assert_eq!((census.idle, census.pages), (pgmap.pages(), pgmap.pages()));
        assert!((0..1 << 14).all(|page| pgmap.try_get(at(page)).is_none()), "nothing is left of what stood there");
        assert_eq!(pgmap.retired().count() + pgmap.retiring().count(), 0);
        use_up(pgmap);
    }
}

/// Slots that the next pool has for ranges to come are as new, whatever stood there.
#[test]
fn req_66_range_slots_without_a_range_are_as_new() {
    let (many, one) = ([range(0, 64), range(1 << 20, 64), range(1 << 28, 64)], [range(0, 64)]);
    let wide = Params::new(&many);
    let mut lent = Lent::new::<()>(&wide);
    drop(Pgmap::with_storage(&wide, lent.storage(), ()).unwrap());
    drop(Pgmap::with_storage(&Params::new(&one).with_room(2, 0), lent.storage(), ()).unwrap());
    let fresh = format!("{:?}", RangeSlot::new());
    assert!(lent.ranges[1..].iter().all(|slot| format!("{slot:?}") == fresh) && format!("{:?}", lent.ranges[0]) != fresh);
}

/// Only part of it was used before, or it was used as something else.
#[test]
fn req_66_each_kind_of_metadata_is_looked_at_and_made_as_new_by_itself() {
    let vram = [range(0, 3000)];
    let params = params(&vram);
    for kind in 0..4 {
        let (mut used, mut lent) = (Lent::new::<Keeps>(&params), Lent::new::<Keeps>(&params));
        use_up(Pgmap::with_storage(&params, used.storage(), Keeps).unwrap());
        match kind {
            0 => lent.tables = used.tables,
            1 => lent.ranges = used.ranges,
            2 => lent.words = used.words,
            _ => lent.data = used.data,
        }
        let refused = Pgmap::with_zeroed_storage(&params, lent.storage(), Keeps).map(drop);
        assert_eq!(refused.unwrap_err(), BuildError::UsedStorage, "kind {kind}");
        let pgmap = Pgmap::with_storage(&params, lent.storage(), Keeps).unwrap();
        assert_eq!(pgmap.validate_every_word().unwrap().idle, 3000, "kind {kind}");
        let mut seen = HashSet::new();
        while let Ok(page) = pgmap.alloc_folio_raw(order(0), 1) {
            assert!(seen.insert(page), "kind {kind}");
        }
        assert_eq!(seen.len(), 3000, "kind {kind}");
    }
}

#[test]
fn req_66_who_paid_in_an_earlier_life_pays_nothing_in_the_next() {
    let (vram, owners) = ([range(0, 1024)], Owners::<2>::new());
    let params = Params::new(&vram);
    let mut lent = Lent::new::<Charging<Keeps, &Owners<2>>>(&params);
    assert_eq!(storage_needed::<Charging<Keeps, &Owners<2>>, 8>(&params).unwrap().data, 2048);
    assert_eq!(storage_needed::<Charging<(), &Owners<2>>, 8>(&params).unwrap().data, 1024);
    for _ in 0..2 {
        let ops = Charging::new(Keeps, &owners, 0, 1024);
        let pgmap = Pgmap::with_storage(&params, lent.storage(), ops).unwrap();
        assert_eq!(pgmap.payer(at(1023)), None, "nothing has started there yet");
        let last = pgmap.request_folio(at(1023), order(0)).unwrap();
        assert_eq!((last.payer(), last.data()), (None, 0));
        drop(last);
        let paid = pgmap.request_folio_for(at(1023), order(0), Owner(1), Urgency::Normal, u64::MAX).unwrap();
        assert_eq!((paid.payer(), paid.data()), (Some(Owner(1)), u64::MAX));
        std::mem::forget(paid);
    }
    assert_eq!(owners.usage(Owner(1)).unwrap().pages, 2, "as they were never given back");
}

/// Too little is refused before anything is touched.
#[test]
fn req_66_storage_that_is_refused_is_as_it_was() {
    let (small, large) = ([range(0, 1024)], [range(0, 3000)]);
    let mut lent = Lent::new::<Keeps>(&params(&small));
    lent.words.truncate(1 << 13);
    use_up(Pgmap::with_storage(&params(&small), lent.storage(), Keeps).unwrap());
    let seen = |lent: &Lent| format!("{:?}{:?}{:?}{:?}", lent.tables, lent.ranges, lent.words, lent.data);
    let before = seen(&lent);
    let wide = Params::new(&large).with_room(1, 1 << 14);
    for zeroed in [false, true] {
        let built = if zeroed {
            Pgmap::with_zeroed_storage(&wide, lent.storage(), Keeps)
        } else {
            Pgmap::with_storage(&wide, lent.storage(), Keeps)
        };
        assert!(matches!(built.map(drop), Err(BuildError::WordStorage { .. })));
        let (tables, slots) = (&mut lent.tables[..3], &mut lent.ranges[..]);
        assert!(matches!(GenPool::with_storage(&wide, tables, slots).map(drop), Err(BuildError::TableStorage { .. })));
        assert_eq!(seen(&lent), before);
    }
}

/// A waiter that was forgotten keeps its slot: in the next pgmap it is free.
#[test]
fn req_66_lent_wait_slots_are_free_again() {
    let mut slots: Vec<WaitSlot> = (0..8).map(|_| WaitSlot::new()).collect();
    for _ in 0..2 {
        let pgmap: Pgmap<'_, ()> = Pgmap::new(&Params::new(&[range(0, 64)]), ()).unwrap().lend_wait_slots(&mut slots);
        let folio = pgmap.alloc_folio(order(0)).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        // All that are built in, and all that are lent.
        for _ in 0..64 + 8 {
            let mut wait = Box::pin(pgmap.until_idle(folio.offset()).unwrap());
            assert!(wait.as_mut().poll(&mut context).is_pending());
            std::mem::forget(wait);
        }
        drop(folio);
    }
    let pgmap: Pgmap<'_, ()> = Pgmap::new(&Params::new(&[range(0, 64)]), ()).unwrap().lend_wait_slots(&mut slots);
    let folio = pgmap.alloc_folio(order(0)).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    // Whoever has no slot stands in a queue, and would miss a moment that has passed when it looks.
    let mut waits: Vec<_> = (0..72).map(|_| Box::pin(pgmap.until_idle(folio.offset()).unwrap())).collect();
    assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut context).is_pending()));
    let page = folio.offset();
    drop(folio);
    let again = pgmap.request_folio(page, order(0)).unwrap();
    assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut context).is_ready()), "each has a slot, and missed nothing");
    let mut late = pin!(pgmap.until_idle(page).unwrap());
    assert!(late.as_mut().poll(&mut context).is_pending());
    drop(again);
}
