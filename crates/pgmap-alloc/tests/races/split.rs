//! Splitting a folio in service against whoever looks for it or holds it.

use pgmap_alloc::{Folio, Lookup, Put, SplitError};

use crate::{ONE, at, model, pgmap, spawn, two};

#[test]
fn split_against_get() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let get = spawn(&pgmap, |pgmap| {
            assert!(!pgmap.is_idle(at(1)), "a count of 0 was seen during a split");
            pgmap.try_get(at(1)).map(|folio| {
                assert_eq!(folio.data(), 7);
                folio.into_raw()
            })
        });
        let split = pgmap.split_raw(at(0), ONE, 1);
        let got = get.join().unwrap();
        match split {
            Ok(()) => assert_ne!(got, Some(at(0))),
            Err(error) => assert_eq!((error, got), (SplitError::StrayReferences { held: 2 }, Some(at(0)))),
        }
        if let Some(head) = got {
            assert_eq!(pgmap.put_raw(head, 1), Ok(Put::InService));
        }
        assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed));
        assert_eq!(pgmap.put_raw(at(1), 1).is_ok(), split.is_ok());
        assert_eq!(pgmap.validate().unwrap().idle, 2);
    });
}

/// Whoever holds one of the counted references may take more of them and put them meanwhile: none is lost, and what he wrote
/// comes before `folio_free`.
#[test]
fn split_against_clone_of_a_counted_reference() {
    model(|| {
        let pgmap = pgmap(2);
        let folio = pgmap.request_folio_with(at(0), two(), 7).unwrap();
        let head = folio.clone().into_raw();
        let clone = spawn(&pgmap, move |pgmap| {
            let mine = Folio::from_raw(pgmap, head).unwrap();
            let more = mine.clone();
            pgmap.ops().write(0);
            assert_eq!(pgmap.ops().calls(), 0, "a reference was lost");
            drop(mine);
            drop(more);
        });
        let split = pgmap.split_raw(folio.into_raw(), ONE, 2);
        let order = if split.is_ok() { ONE } else { two() };
        assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Folio { head: at(0), order }));
        let _ = pgmap.put_raw(at(0), 1).unwrap();
        clone.join().unwrap();
        assert_eq!(pgmap.ops().calls(), 1, "freed once, by whoever was last");
        assert_eq!(pgmap.put_raw(at(1), 1).is_ok(), split.is_ok());
        assert_eq!(pgmap.validate().unwrap().idle, 2);
    });
}
