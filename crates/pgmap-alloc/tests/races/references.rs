//! Getting and putting references against the last put.

use pgmap_alloc::{Expect, Folio};

use crate::{ONE, at, model, pgmap, spawn};

#[test]
fn put_against_try_get() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let get = spawn(&pgmap, |pgmap| {
            pgmap.try_get(at(0)).map(|folio| {
                assert_eq!((folio.data(), pgmap.ops().calls()), (7, 0), "a folio that was got is in service");
                pgmap.ops().read(0);
            })
        });
        let _ = pgmap.put_raw(head, 1).unwrap();
        get.join().unwrap();
        assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
    });
}

#[test]
fn get_against_request_finds_what_was_set_up() {
    model(|| {
        let pgmap = pgmap(1);
        let get = spawn(&pgmap, |pgmap| pgmap.try_get(at(0)).map(|folio| folio.data()));
        let folio = pgmap.alloc_folio_with(ONE, 7).unwrap();
        assert!(matches!(get.join().unwrap(), None | Some(7)));
        assert_eq!(folio.refs(), 1);
    });
}

#[test]
fn two_puts_free_once() {
    model(|| {
        let pgmap = pgmap(2);
        let folio = pgmap.request_folio_with(at(0), crate::two(), 7).unwrap();
        let head = folio.clone().into_raw();
        let other = spawn(&pgmap, move |pgmap| {
            pgmap.ops().write(0);
            drop(Folio::from_raw(pgmap, head));
        });
        pgmap.ops().write(1);
        drop(folio);
        other.join().unwrap();
        assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 2));
    });
}

/// A migration copies what the page holds while it is frozen: whatever was written by those who have put is there.
#[test]
fn freeze_against_get_and_unmap() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        pgmap.map_raw(head).unwrap();
        pgmap.put_raw(head, 1).unwrap();
        let get = spawn(&pgmap, |pgmap| {
            pgmap.try_get(at(0)).map(|folio| {
                assert_eq!(pgmap.ops().calls(), 0, "{folio:?}");
                pgmap.ops().write(0);
            })
        });
        let freed = pgmap.freeze_raw(head, Expect::NoPins).is_ok_and(|frozen| {
            pgmap.ops().read(0);
            frozen.free().is_ok()
        });
        get.join().unwrap();
        assert_eq!(pgmap.unmap_raw(head).is_ok(), !freed);
        assert_eq!((pgmap.ops().calls(), pgmap.validate().unwrap().idle), (1, 1));
    });
}
