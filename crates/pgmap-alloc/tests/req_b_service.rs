//! Requirements 07 to 14: putting a folio into service.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, OnceLock};
use std::thread;

use pgmap_alloc::{AfterFree, DriverData, Inconsistency, Lookup, Params, Pgmap, PgmapOps, Put, Refused, RequestError};
use support::{Lent, at, leaked, order, partition, pgmap, range};

#[test]
fn req_07_request_succeeds_only_if_all_pages_are_idle() {
    let pgmap = pgmap(&[range(0, 2048)]);
    for o in 0..=10 {
        // One busy page, wherever it is and whatever holds it, refuses the whole.
        for busy in [0, (1 << o) / 3, (1 << o) - 1] {
            let folio = pgmap.request_folio(at(busy), order(0)).unwrap();
            assert_eq!(pgmap.request_folio(at(0), order(o)).map(drop), Err(RequestError::Busy));
            assert_eq!((partition(&pgmap).in_service, folio.refs(), pgmap.ops().calls()), (1, 1, 0));
            drop(folio);
            let block = pgmap.request_block(at(busy), order(0)).unwrap();
            assert_eq!(pgmap.request_folio(at(0), order(o)).map(drop), Err(RequestError::Busy));
            assert_eq!(partition(&pgmap).block, 1);
            drop(block);
            pgmap.ops().freed.lock().unwrap().clear();
        }
        let folio = pgmap.request_folio(at(0), order(o)).unwrap();
        assert_eq!((folio.refs(), folio.order(), folio.offset()), (1, order(o), at(0)));
        assert_eq!(partition(&pgmap).in_service, 1 << o);
        // Again, in part, and as part of more: never a second reference.
        for (start, o) in [(0, o), ((1 << o) - 1, 0), (0, 11.min(o + 1)), (0, 0)] {
            assert_eq!(pgmap.request_folio(at(start), order(o)).map(drop), Err(RequestError::Busy));
        }
        assert_eq!((folio.refs(), pgmap.ops().calls()), (1, 0));
        drop(folio);
        pgmap.ops().freed.lock().unwrap().clear();
    }
}

/// Of any number of requests for the same page at once exactly one succeeds.
#[test]
fn req_07_one_of_many_requests_wins() {
    let pgmap = pgmap(&[range(0, 64)]);
    for round in 0..200u64 {
        let start = Barrier::new(4);
        let won = Mutex::new(vec![]);
        thread::scope(|scope| {
            for id in 0..4u32 {
                let (pgmap, start, won) = (&pgmap, &start, &won);
                scope.spawn(move || {
                    start.wait();
                    match pgmap.request_folio_with(at(0), order(id), round) {
                        Ok(folio) => won.lock().unwrap().push(folio),
                        Err(error) => assert!(matches!(error, RequestError::Busy | RequestError::Contended), "{error}"),
                    }
                });
            }
        });
        let won = won.into_inner().unwrap();
        assert_eq!((won.len(), won[0].refs(), won[0].data()), (1, 1, round));
        assert_eq!(partition(&pgmap).in_service, won[0].order().pages());
    }
}

#[test]
fn req_08_any_mix_of_earlier_orders() {
    let pgmap = pgmap(&[range(0, 1024)]);
    let mixes: [&[(u64, u32)]; 4] =
        [&[(0, 9), (512, 9)], &[(0, 8), (256, 8), (512, 9)], &[(0, 10)], &[(0, 0), (1, 0), (2, 1), (512, 9)]];
    for _ in 0..3 {
        for mix in mixes {
            let folios: Vec<_> = mix.iter().map(|&(start, o)| pgmap.request_folio(at(start), order(o)).unwrap()).collect();
            partition(&pgmap);
            drop(folios);
        }
        // 512 single pages, given back in a scattered order, and then one folio of them all.
        let mut pages: Vec<_> = (0..512).map(|page| Some(pgmap.request_folio(at(page), order(0)).unwrap())).collect();
        for page in 0..512 {
            assert!(pages[page * 181 % 512].take().is_some());
        }
        drop(pgmap.request_folio(at(0), order(9)).unwrap());
    }
    assert_eq!(partition(&pgmap).idle, 1024);
}

/// Halves of what was one folio live and die without a trace in each other.
#[test]
fn req_09_disjoint_halves_do_not_write_each_others_words() {
    let pgmap = pgmap(&[range(0, 512)]);
    drop(pgmap.request_folio(at(0), order(9)).unwrap());
    thread::scope(|scope| {
        for half in 0..2u64 {
            let pgmap = &pgmap;
            scope.spawn(move || {
                for round in 0..5000 {
                    let start = at(half * 256);
                    let folio = match pgmap.request_folio_with(start, order(8), round) {
                        Ok(folio) => folio,
                        Err(RequestError::Contended) => continue,
                        Err(error) => panic!("the {half}. half is mine alone: {error}"),
                    };
                    let (again, head) = (folio.clone(), pgmap.try_get(at(half * 256 + 77)).unwrap());
                    assert_eq!((folio.refs(), again.data(), head.offset(), head.order()), (3, round, start, order(8)));
                }
            });
        }
    });
    assert_eq!(partition(&pgmap).idle, 512);
}

/// Of all words and cells the life of a folio in one half changes none in the other, whatever was there before.
#[test]
fn req_09_a_half_leaves_no_mark_in_the_other() {
    let after = |half: Option<u64>| {
        let mut lent = Lent::<8>::new(&[range(0, 512)]);
        {
            let pgmap = lent.pgmap(support::Driver::default());
            drop(pgmap.request_folio_with(at(0), order(9), 7).unwrap());
            // The other half is somebody's already.
            if let Some(half) = half {
                pgmap.request_folio_raw(at((1 - half) * 256), order(8), 8).unwrap();
                pgmap.request_folio_raw(at(half * 256), order(8), 9).unwrap();
                pgmap.get_raw(at(half * 256)).unwrap();
                assert_eq!(pgmap.put_raw(at((1 - half) * 256), 1), Ok(Put::Freed));
            }
        }
        (lent.words_in_use(), lent.cells_in_use())
    };
    assert_eq!(after(None), (vec![], vec![]));
    assert_eq!((after(Some(0)), after(Some(1))), ((vec![0], vec![0]), (vec![256], vec![256])));
}

/// Which words a folio's whole life writes: its head's, at every order.
#[test]
fn req_10_a_request_touches_as_much_at_every_order() {
    for o in 0..=9 {
        let mut lent = Lent::<8>::new(&[range(0, 512)]);
        {
            let pgmap = lent.pgmap(support::Driver::default());
            pgmap.request_folio_raw(at(0), order(o), 7).unwrap();
            pgmap.get_raw(at(0)).unwrap();
        }
        let words = lent.words_in_use();
        assert_eq!(words, [0], "order {o}");
        assert_eq!(lent.cells_in_use(), [0], "order {o}");
    }
}

/// Driver data that looks at its folio at the moment at which it is stored.
#[derive(Clone, Copy, Default)]
struct Looking(u64);

static LOOKED_AT: OnceLock<Pgmap<'static, Looker>> = OnceLock::new();
static LOOKS: AtomicU64 = AtomicU64::new(0);

struct Looker;

impl PgmapOps for Looker {
    type Data = Looking;
}

impl DriverData for Looking {
    fn to_bits(self) -> u64 {
        if let Some(pgmap) = LOOKED_AT.get() {
            LOOKS.fetch_add(1, Ordering::Relaxed);
            assert!(pgmap.try_get(at(0)).is_none(), "found before its data was stored, or after its last put");
            assert!(pgmap.is_idle(at(0)));
            assert_eq!(pgmap.request_folio_raw(at(0), order(0), Looking(0)), Err(RequestError::Busy));
        }
        self.0
    }

    fn from_bits(bits: u64) -> Looking {
        Looking(bits)
    }
}

#[test]
fn req_11_nobody_finds_a_folio_before_its_data_is_set() {
    let pgmap = LOOKED_AT.get_or_init(|| Pgmap::new(&Params::new(&[range(0, 64)]), Looker).unwrap());
    for o in 0..=6 {
        let folio = pgmap.request_folio_with(at(0), order(o), Looking(7)).unwrap();
        assert_eq!((folio.data().0, folio.refs()), (7, 1));
    }
    assert!(LOOKS.load(Ordering::Relaxed) >= 7, "data is stored for every folio");
}

/// Who finds a folio finds it complete: its order, its data, its one reference.
#[test]
fn req_11_the_reference_is_visible_last() {
    let pgmap = pgmap(&[range(0, 64)]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..20_000u64 {
                let o = (round % 7) as u32;
                if let Ok(folio) = pgmap.request_folio_with(at(0), order(o), round << 8 | u64::from(o)) {
                    drop(folio);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                if let Some(folio) = pgmap.try_get(at(0)) {
                    let data = folio.data();
                    assert_eq!(data & 0xFF, u64::from(folio.order().get()), "found before it was complete");
                    assert!(data >= last, "the data of an earlier folio");
                    last = data;
                }
            }
        });
    });
    assert_eq!(partition(&pgmap).idle, 64);
}

/// Requests that fail, for each reason there is: no callback, no count, no pin, no page.
#[test]
fn req_12_a_failed_request_leaves_no_trace() {
    let mut lent = Lent::<8>::new(&[range(0, 600)]);
    {
        let pgmap = lent.pgmap(support::Driver::default());
        let held = pgmap.request_block(at(511), order(0)).unwrap();
        for (start, o) in [(0, 9), (256, 8), (510, 1), (511, 0), (3, 2), (512, 7), (600, 0)] {
            assert!(pgmap.request_folio_with(at(start), order(o), 9).is_err());
        }
        assert!(pgmap.alloc_folio_with(order(9), 9).is_err());
        let killed = pgmap.kill();
        assert_eq!(pgmap.request_folio_with(at(0), order(0), 9).map(drop), Err(RequestError::Dying));
        let Refused { error, value: held } = held.into_folio(9).unwrap_err();
        assert_eq!(error, RequestError::Dying);
        drop(held);
        assert_eq!(killed.pages_in_service(), 0);
        assert_eq!((partition(&pgmap).idle, pgmap.ops().calls()), (600, 0));
    }
    assert_eq!((lent.words_in_use(), lent.cells_in_use()), (vec![], vec![]));
}

#[test]
fn req_13_picking_and_letting_pick_share_one_truth() {
    let pgmap = pgmap(&[range(0, 512)]);
    let mut folios: Vec<_> = (0..512).step_by(8).map(|page| pgmap.request_folio(at(page), order(1)).unwrap()).collect();
    let mut picked = vec![];
    while let Ok(folio) = pgmap.alloc_folio(order(1)) {
        assert_ne!(folio.offset().get() % 8, 0);
        assert_eq!(pgmap.request_folio(folio.offset(), order(0)).map(drop), Err(RequestError::Busy));
        picked.push(folio);
    }
    assert_eq!((folios.len(), picked.len()), (64, 192));
    // A block can be let pick as well, and become a folio where it stands.
    folios.remove(5);
    let block = pgmap.alloc_block(order(1)).unwrap();
    assert_eq!((block.offset(), pgmap.lookup(at(41))), (at(40), Ok(Lookup::Block)));
    let folio = block.into_folio(3).unwrap();
    assert_eq!((folio.offset(), folio.refs(), folio.data()), (at(40), 1, 3));
    drop((folios, picked, folio));
    assert_eq!(partition(&pgmap).idle, 512);
}

/// Every kind of page at once, and the proof after each step.
#[test]
fn req_14_requested_and_returned_partition_the_offsets() {
    let pgmap = leaked(&[range(0, 700), range(8192 + 512, 600)]);
    // The driver keeps what carries the number 1.
    pgmap.ops().on_free.set(Box::new(|folio| if folio.data == 1 { AfterFree::Keep } else { AfterFree::Release })).ok().unwrap();
    assert_eq!(partition(pgmap).idle, 1300);
    let folio = pgmap.alloc_folio_with(order(9), 0).unwrap();
    let block = pgmap.alloc_block(order(4)).unwrap();
    let kept = pgmap.alloc_folio_with(order(2), 1).unwrap();
    let census = partition(pgmap);
    assert_eq!((census.in_service, census.block, census.idle, census.folios), (516, 16, 768, 2));
    let head = kept.offset();
    assert_eq!(pgmap.put(kept).unwrap(), Put::Freed);
    let census = partition(pgmap);
    assert_eq!((census.in_service, census.block, census.folios), (512, 20, 1));
    pgmap.free_block_raw(at(head.get() + 2), order(1)).unwrap();
    assert_eq!(partition(pgmap).block, 18);
    drop((folio, block));
    pgmap.free_block_raw(head, order(1)).unwrap();
    assert_eq!(partition(pgmap).idle, 1300);
}

/// The validator can fail: words that were written behind the pgmap's back are found.
#[test]
fn req_14_the_validator_sees_what_is_wrong() {
    let mut lent = Lent::<8>::new(&[range(0, 512)]);
    {
        let pgmap = lent.pgmap(());
        pgmap.request_folio_raw(at(100), order(0), ()).unwrap();
    }
    let pgmap: Pgmap<'_, (), 8> = lent.stale_words(());
    assert!(pgmap.validate().is_err(), "a folio in service whose pages are idle");
}

#[test]
fn req_14_a_stray_word_deep_in_an_idle_run_is_found_when_every_word_is_read() {
    let mut lent = Lent::<8>::new(&[range(0, 8192)]);
    lent.pgmap(()).request_folio_raw(at(5000), order(0), ()).unwrap();
    let pgmap: Pgmap<'_, (), 8> = lent.stale_words(());
    assert!(pgmap.validate().is_ok(), "the first 4096 words of an idle run are as they should be");
    assert_eq!(pgmap.validate_every_word(), Err(Inconsistency::Nested { page: at(5000) }));
}

/// Pages given back while a folio stood on them are not lost and bring nothing down: the mistake is met as busy.
#[test]
fn req_43_a_block_freed_behind_its_back_is_harmless() {
    let pgmap = pgmap(&[range(0, 512)]);
    let twice = pgmap.request_block(at(0), order(0)).unwrap();
    pgmap.free_block_raw(at(0), order(0)).unwrap();
    drop(twice);
    assert_eq!(partition(&pgmap).idle, 512);

    let stale = pgmap.request_block(at(0), order(0)).unwrap();
    pgmap.free_block_raw(at(0), order(0)).unwrap();
    let folio = pgmap.request_folio(at(0), order(0)).unwrap();
    drop(stale); // gives the folio's page back
    assert_eq!(pgmap.request_folio(at(0), order(0)).map(drop), Err(RequestError::Busy));
    let all: Vec<_> = std::iter::from_fn(|| pgmap.alloc_folio(order(0)).ok()).collect();
    assert_eq!(all.len(), 511);
    drop((folio, all));
    assert_eq!(partition(&pgmap).idle, 512);
}
