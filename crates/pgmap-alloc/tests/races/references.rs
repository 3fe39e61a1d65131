//! Getting and putting references against the last put.

use pgmap_alloc::{Expect, Folio};

use crate::{Map, ONE, at, in_service, pgmap, race, two};

#[test]
fn put_against_try_get() {
    race(
        in_service,
        |pgmap| pgmap.put_raw(at(0), 1).map(|_| ()),
        |pgmap| {
            pgmap.try_get(at(0)).map(|folio| {
                assert_eq!((folio.data(), pgmap.ops().calls()), (7, 0), "a folio that was got is in service");
                pgmap.ops().read(0);
            })
        },
        |pgmap, put, _| assert_eq!((put, pgmap.ops().calls(), pgmap.validate().unwrap().idle), (Ok(()), 1, 1)),
    );
}

#[test]
fn get_against_request_finds_what_was_set_up() {
    race(
        || pgmap(1),
        |pgmap| pgmap.try_get(at(0)).map(|folio| folio.data()),
        |pgmap| pgmap.alloc_folio_with(ONE, 7).map(Folio::into_raw),
        |pgmap, got, served| {
            assert!(matches!(got, None | Some(7)));
            assert_eq!((served, pgmap.counts_raw(at(0)).unwrap().refs), (Ok(at(0)), 1));
        },
    );
}

#[test]
fn two_puts_free_once() {
    fn put<const PAGE: u64>(pgmap: &Map) {
        pgmap.ops().write(PAGE);
        drop(Folio::from_raw(pgmap, at(0)));
    }
    race(
        || {
            let pgmap = pgmap(2);
            pgmap.request_folio_raw(at(0), two(), 7).unwrap();
            pgmap.get_raw(at(0)).unwrap();
            pgmap
        },
        put::<0>,
        put::<1>,
        |pgmap, (), ()| assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 2)),
    );
}

/// A migration copies what the page holds while it is frozen: whatever was written by those who have put is there.
#[test]
fn freeze_against_get_and_unmap() {
    race(
        || {
            let pgmap = in_service();
            pgmap.map_raw(at(0)).unwrap();
            pgmap.put_raw(at(0), 1).unwrap();
            pgmap
        },
        |pgmap| {
            pgmap.try_get(at(0)).map(|folio| {
                assert_eq!(pgmap.ops().calls(), 0, "{folio:?}");
                pgmap.ops().write(0);
            })
        },
        |pgmap| {
            pgmap.freeze_raw(at(0), Expect::NoPins).is_ok_and(|frozen| {
                pgmap.ops().read(0);
                frozen.free().is_ok()
            })
        },
        |pgmap, _, freed| {
            assert_eq!(pgmap.unmap_raw(at(0)).is_ok(), !freed);
            assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
        },
    );
}
