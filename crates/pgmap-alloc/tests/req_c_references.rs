//! Requirements 15 to 21, 24 and 29: references, and what happens at the last put.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use pgmap_alloc::{
    AfterFree, AllocError, Drain, Expect, Folio, FreeError, Freed, GetError, Lookup, MemoryType, Params, Pgmap, PgmapOps, Put,
    PutError, Reason, Refused, RequestError, RunState, SpecialSize,
};
use support::{Driver, Lent, at, leaked, order, partition, pgmap, range};

/// A driver whose memory may be pinned and mapped.
struct Generic;

impl PgmapOps for Generic {
    type Data = ();

    fn memory_type(&self) -> MemoryType {
        MemoryType::Generic
    }
}

#[test]
fn req_15_an_idle_page_has_count_zero_and_nothing_treats_one_as_free() {
    let pgmap = pgmap(&[range(0, 64)]);
    for page in 0..64 {
        assert!(pgmap.is_idle(at(page)));
        assert_eq!(pgmap.get_raw(at(page)), Err(GetError::NotInService));
        assert_eq!(pgmap.put_raw(at(page), 1), Err(PutError::NotInService));
        assert!(Folio::from_raw(&pgmap, at(page)).is_none());
    }
    let folio = pgmap.alloc_folio(order(0)).unwrap();
    assert_eq!((folio.refs(), pgmap.is_idle(folio.offset())), (1, false));
    assert_eq!(pgmap.request_folio(folio.offset(), order(0)).map(drop), Err(RequestError::Busy));
}

/// Of all metadata a get or a put changes one word, and the end of the pgmap's life changes nothing about that.
#[test]
fn req_16_get_and_put_touch_only_the_folios_own_word() {
    for (killed, o) in [(false, 0), (true, 0), (false, 9), (true, 9)] {
        let after = |gets: u32, puts: u32| {
            let mut lent = Lent::<8>::new(&[range(0, 1024)]);
            {
                let pgmap = lent.pgmap(Driver::default());
                pgmap.request_folio_raw(at(512), order(o), 7).unwrap();
                if killed {
                    let _ = pgmap.kill();
                }
                for _ in 0..gets {
                    pgmap.get_raw(at(512)).unwrap();
                }
                for _ in 0..puts {
                    assert_eq!(pgmap.put_raw(at(512), 1), Ok(Put::InService));
                }
            }
            lent.printed()
        };
        let (one, two) = (after(0, 0), after(1, 0));
        assert_eq!(after(1, 1), one, "a put undoes a get, and nothing else");
        let changed: Vec<_> = one.iter().zip(&two).filter(|(one, two)| one != two).map(|(one, _)| one.0.clone()).collect();
        assert_eq!(changed, ["word 512"], "order {o}");
    }
}

#[test]
fn req_17_try_get_takes_a_reference_only_where_one_is() {
    let pgmap = pgmap(&[range(0, 1024)]);
    let folio = pgmap.request_folio(at(256), order(8)).unwrap();
    let block = pgmap.request_block(at(0), order(7)).unwrap();
    for page in 0..1024 {
        let got = pgmap.try_get(at(page));
        if (256..512).contains(&page) {
            let got = got.unwrap();
            assert_eq!((got.offset(), got.order(), got.refs()), (at(256), order(8), 2));
        } else {
            assert!(got.is_none(), "page {page} has no folio");
        }
    }
    assert_eq!((folio.refs(), pgmap.ops().calls()), (1, 0));
    // A tail is no name for raw references: they count at the head.
    assert_eq!(pgmap.get_raw(at(257)), Err(GetError::NotInService));
    assert_eq!(pgmap.put_raw(at(257), 1), Err(PutError::NotInService));
    drop((folio, block));
    assert!((0..1024).all(|page| pgmap.try_get(at(page)).is_none()));
}

/// Every verb that gives a reference refuses where there is none to share, and where a freeze hides it; and all of them count through
/// the one loop of the word.
#[test]
fn req_17_every_way_to_take_a_reference_is_the_same_way() {
    let pgmap = Pgmap::new(&Params::new(&[range(0, 2048)]), Generic).unwrap();
    let folio = pgmap.request_folio(at(16), order(4)).unwrap();
    let _block = pgmap.request_block(at(64), order(0)).unwrap();
    pgmap.declare_special(at(65), SpecialSize::Page, Reason::Zero).unwrap();
    pgmap.retire(at(66)).unwrap();
    let hidden = pgmap.request_folio(at(128), order(4)).unwrap();
    let frozen = hidden.freeze(Expect::Refs(1)).unwrap();
    let all = |page| {
        let found = [pgmap.try_get(page).is_some(), pgmap.try_get_raw(page).is_some(), pgmap.pin(page).is_ok()];
        (found, [pgmap.get_raw(page).is_ok(), pgmap.map_raw(page).is_ok()])
    };
    for page in [0, 64, 65, 66, 128, 130, 1000, 2047, 2048, u64::MAX] {
        assert_eq!(all(at(page)), ([false; 3], [false; 2]), "page {page}");
    }
    // A tail leads to the folio, but is not its name.
    assert_eq!((all(at(17)), folio.refs()), (([true; 3], [false; 2]), 2), "one of them was kept as a number");
    assert_eq!((all(at(16)), folio.refs()), (([true; 3], [true; 2]), 5));
    assert_eq!(folio.counts().mappings, 1);
    drop(frozen);
    drop(hidden);
    let (mut words, mut loops) = (0, 0);
    support::sources(&mut |name, text| {
        if name == "state/word.rs" {
            words += 1;
            assert!(!text.contains("fetch_add") && !text.contains("fetch_sub"), "a count changes past the loop");
            loops += text.matches("compare_exchange_weak").count();
        }
    });
    assert_eq!((words, loops), (1, 1));
}

/// Whoever got a reference holds the folio of that moment in service, however fast others put and request.
#[test]
fn req_17_a_reference_that_was_taken_keeps_the_folio() {
    let pgmap = leaked(&[range(0, 64)]);
    // One flag for each period: a later one may come and go on other pages while this one is held.
    let freed: Arc<Vec<AtomicBool>> = Arc::new((0..30_000).map(|_| AtomicBool::new(false)).collect());
    let seen = freed.clone();
    pgmap
        .ops()
        .on_free
        .set(Box::new(move |folio| {
            seen[folio.data as usize].store(true, Ordering::SeqCst);
            AfterFree::Release
        }))
        .ok()
        .unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for period in 1..30_000u64 {
                // 16 pages in ever another shape: what a probe has seen is soon a tail or the head of another folio.
                let o = (period % 5) as u32;
                let start = at(((period * 7 % 16) >> o) << o);
                while let Err(error) = pgmap.request_folio_with(start, order(o), period).map(drop) {
                    assert!(matches!(error, RequestError::Busy | RequestError::Contended), "{error}");
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        for page in [0, 7, 15] {
            let (done, freed) = (&done, &freed);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let Some(folio) = pgmap.try_get(at(page)) else { continue };
                    let period = folio.data();
                    assert!(folio.offset() <= at(page) && page < folio.offset().get() + folio.order().pages());
                    assert!(!freed[period as usize].load(Ordering::SeqCst), "held, and freed all the same");
                    assert_eq!(folio.data(), period);
                }
            });
        }
    });
    assert_eq!((partition(pgmap).idle, pgmap.ops().calls()), (64, 29_999));
}

#[test]
fn req_18_many_references_are_put_at_once_and_freed_once() {
    let pgmap = pgmap(&[range(0, 512)]);
    let head = pgmap.alloc_folio_raw(order(9), 5).unwrap();
    for _ in 0..9 {
        pgmap.get_raw(head).unwrap();
    }
    for n in [11, 12, u32::MAX] {
        assert_eq!(pgmap.put_raw(head, n), Err(PutError::TooMany { held: 10 }));
    }
    assert_eq!(pgmap.put_raw(head, 0), Ok(Put::InService));
    assert_eq!(pgmap.put_raw(head, 4), Ok(Put::InService));
    assert_eq!(pgmap.put_raw(head, 7), Err(PutError::TooMany { held: 6 }));
    assert_eq!(pgmap.ops().calls(), 0);
    assert_eq!(pgmap.put_raw(head, 6), Ok(Put::Freed));
    assert_eq!(pgmap.put_raw(head, 1), Err(PutError::NotInService));
    assert_eq!((pgmap.ops().calls(), partition(&pgmap).idle), (1, 512));
}

/// References put by many threads at once: one callback, in the thread that put the last one, with what the driver kept.
#[test]
fn req_19_folio_free_comes_exactly_once_per_period() {
    let pgmap = leaked(&[range(0, 512)]);
    let where_called = Arc::new(Mutex::new(None));
    let seen = where_called.clone();
    pgmap
        .ops()
        .on_free
        .set(Box::new(move |_| {
            assert!(seen.lock().unwrap().replace(thread::current().id()).is_none(), "called twice");
            AfterFree::Release
        }))
        .ok()
        .unwrap();
    for period in 0..300u64 {
        let o = (period % 10) as u32;
        let folio = pgmap.alloc_folio_with(order(o), period).unwrap();
        let (offset, start) = (folio.offset(), Barrier::new(4));
        let put = |folio: Folio<'static, Driver>| {
            start.wait();
            let last = pgmap.put(folio).unwrap() == Put::Freed;
            last.then(|| thread::current().id())
        };
        let put = &put;
        let last: Vec<_> = thread::scope(|scope| {
            let folios = [folio.clone(), folio.clone(), folio.clone(), folio];
            let threads = folios.map(|folio| scope.spawn(move || put(folio)));
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(last.len(), 1, "the last put is one");
        assert_eq!(where_called.lock().unwrap().take(), Some(last[0]), "called where the last put was");
        assert_eq!(pgmap.ops().last(), Freed { offset, order: order(o), data: period });
        assert_eq!(pgmap.ops().calls() as u64, period + 1);
    }
    // A drop is a put too.
    drop(pgmap.alloc_folio_with(order(3), 77).unwrap());
    assert_eq!(pgmap.ops().last().data, 77);
}

/// What a driver that calls back sees from inside `folio_free`: count 0, and pages that nobody can have.
#[test]
fn req_20_pages_are_allocatable_only_after_folio_free() {
    let pgmap = leaked(&[range(0, 512)]);
    pgmap
        .ops()
        .on_free
        .set(Box::new(move |freed| {
            if freed.data == 99 {
                return AfterFree::Release;
            }
            let (head, o) = (freed.offset, freed.order);
            assert!(pgmap.is_idle(head), "the count is 0");
            // Every way to ask says the same (requirement 32).
            for page in [head, at(head.get() + o.pages() / 2)] {
                assert_eq!((pgmap.lookup(page), pgmap.is_idle(page)), (Ok(Lookup::Folio { head, order: o }), true));
            }
            let run = pgmap.snapshot().find(|run| run.start == head).unwrap();
            assert_eq!((run.pages, run.state), (o.pages(), RunState::Folio { order: o, refs: 0 }));
            for page in [head, at(head.get() + o.pages() - 1)] {
                assert_eq!(pgmap.request_folio(page, order(0)).map(drop), Err(RequestError::Busy));
                assert_eq!(pgmap.request_block(page, order(0)).map(drop), Err(RequestError::Busy));
                assert_eq!(pgmap.free_block_raw(page, order(0)), Err(FreeError::InService { head }));
                assert!(pgmap.try_get(page).is_none());
            }
            assert_eq!(pgmap.get_raw(head), Err(GetError::NotInService));
            assert_eq!(pgmap.put_raw(head, 1), Err(PutError::NotInService));
            // Everything else can be had, and nothing of this.
            let mut others = vec![];
            while let Ok(folio) = pgmap.alloc_folio_with(order(0), 99) {
                assert!(folio.offset() < head || folio.offset().get() >= head.get() + o.pages());
                others.push(folio);
            }
            assert_eq!(others.len() as u64, 512 - o.pages());
            assert_eq!(pgmap.alloc_folio_with(order(0), 99).map(drop), Err(AllocError::NoSpace { cached: 0 }));
            AfterFree::Release
        }))
        .ok()
        .unwrap();
    for o in 0..=9 {
        let folio = pgmap.alloc_folio_with(order(o), 1).unwrap();
        let head = folio.offset();
        drop(folio);
        drop(pgmap.request_folio_with(head, order(o), 99).unwrap());
    }
    assert_eq!(partition(pgmap).idle, 512);
}

/// The pgmap is pinned while the callback runs: a drain that begins inside it waits for it.
#[test]
fn req_20_the_pgmap_is_pinned_while_folio_free_runs() {
    let pgmap = leaked(&[range(0, 512)]);
    pgmap
        .ops()
        .on_free
        .set(Box::new(move |freed| {
            match pgmap.kill().poll_drain() {
                Drain::Waiting(_, holdout) => {
                    assert_eq!((holdout.offset, holdout.order, holdout.refs), (freed.offset, freed.order, 0));
                }
                Drain::Done(_) => panic!("drained while folio_free runs"),
            }
            AfterFree::Release
        }))
        .ok()
        .unwrap();
    drop(pgmap.alloc_folio(order(5)).unwrap());
    assert!(matches!(pgmap.kill().poll_drain(), Drain::Done(_)));
}

/// Pages that the driver keeps may be given back by another thread as soon as the word is idle: nobody reads them afterwards.
#[test]
fn req_20_nothing_of_the_folio_is_used_after_folio_free() {
    let pgmap = leaked(&[range(0, 8)]);
    pgmap.ops().on_free.set(Box::new(|freed| if freed.data == 1 { AfterFree::Keep } else { AfterFree::Release })).ok().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10_000 {
                while pgmap.request_folio_with(at(0), order(3), 1).map(drop).is_err() {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            let mut given_back = 0;
            while given_back < 10_000 {
                match pgmap.free_block_raw(at(0), order(3)) {
                    Ok(()) => given_back += 1,
                    Err(FreeError::InService { .. } | FreeError::DoubleFree { .. }) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    });
    assert_eq!((partition(pgmap).idle, pgmap.ops().calls()), (8, 10_000));
}

#[test]
fn req_21_no_stale_order_or_owner_survives_the_last_put() {
    let mut lent = Lent::<8>::new(&[range(0, 1024)]);
    let fresh = {
        let _ = lent.pgmap(Driver::default());
        (lent.words_in_use(), lent.cells_in_use())
    };
    assert_eq!(fresh, (vec![], vec![]));
    {
        let pgmap = lent.pgmap(Driver::default());
        for o in 0..=9 {
            let folio = pgmap.request_folio_with(at(512), order(o), u64::MAX).unwrap();
            let more = folio.clone();
            drop((folio, more));
            for page in 512..1024 {
                assert_eq!(pgmap.lookup(at(page)), Ok(Lookup::Idle));
                // The next owner finds nothing of the last.
                let next = pgmap.request_folio(at(page), order(0)).unwrap();
                assert_eq!((next.order(), next.data(), next.refs()), (order(0), 0, 1));
            }
        }
        // And the last one leaves nothing for whoever comes after.
        drop(pgmap.request_folio_with(at(512), order(9), u64::MAX).unwrap());
    }
    assert_eq!((lent.words_in_use(), lent.cells_in_use()), (vec![], vec![]));
}

#[test]
fn req_24_idle_means_count_zero_and_a_listing_holds_nothing() {
    let pgmap = pgmap(&[range(0, 512)]);
    let folio = pgmap.request_folio(at(0), order(4)).unwrap();
    let block = pgmap.request_block(at(16), order(4)).unwrap();
    for page in 0..512 {
        assert_eq!(pgmap.is_idle(at(page)), page >= 16, "page {page}");
    }
    // Listing a page, by snapshot, lookup or address, takes no reference.
    let (listed, found) = (pgmap.snapshot().count(), pgmap.lookup(at(3)).unwrap());
    assert_eq!((listed, found), (3, Lookup::Folio { head: at(0), order: order(4) }));
    assert_eq!(folio.refs(), 1);
    let raw = folio.into_raw();
    assert!(!pgmap.is_idle(raw), "a raw reference is a reference");
    assert_eq!(pgmap.put_raw(raw, 1), Ok(Put::Freed));
    assert!(pgmap.is_idle(raw));
    drop(block);
    assert_eq!(partition(&pgmap).idle, 512);
}

#[test]
fn req_29_a_foreign_folio_is_refused() {
    let (ours, theirs) = (pgmap(&[range(0, 512)]), pgmap(&[range(0, 512)]));
    let (mine, foreign) = (ours.request_folio(at(0), order(2)).unwrap(), theirs.request_folio(at(0), order(2)).unwrap());
    let Refused { error, value: foreign } = ours.put(foreign).unwrap_err();
    assert_eq!(error, PutError::Foreign);
    assert_eq!((mine.refs(), foreign.refs(), ours.ops().calls(), theirs.ops().calls()), (1, 1, 0, 0));
    assert_eq!(theirs.put(foreign).unwrap(), Put::Freed);
    assert_eq!((mine.refs(), ours.ops().calls(), theirs.ops().calls()), (1, 0, 1));
    drop(mine);
    assert_eq!((partition(&ours).idle, partition(&theirs).idle), (512, 512));
}

/// A driver's mistake with raw references is refused wherever it is met.
#[test]
fn req_18_a_folio_put_behind_its_back_is_harmless() {
    let pgmap = pgmap(&[range(0, 512)]);
    let folio = pgmap.alloc_folio(order(0)).unwrap();
    assert_eq!(pgmap.put_raw(folio.offset(), 1), Ok(Put::Freed));
    let more = folio.clone();
    assert_eq!((folio.refs(), more.refs()), (0, 0));
    drop((folio, more));
    assert_eq!((partition(&pgmap).idle, pgmap.ops().calls()), (512, 1));
}
