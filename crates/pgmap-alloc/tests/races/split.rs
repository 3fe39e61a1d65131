//! Splitting a folio in service against whoever looks for it, holds it, or finds a page of it bad.

use pgmap_alloc::{Folio, Lookup, Put, Retirement, SplitError};

use crate::{ONE, at, large_in_service, race, two};

#[test]
fn split_against_get() {
    race(
        large_in_service,
        |pgmap| {
            assert!(!pgmap.is_idle(at(1)), "a count of 0 was seen during a split");
            pgmap.try_get(at(1)).map(|folio| {
                assert_eq!(folio.data(), 7);
                folio.into_raw()
            })
        },
        |pgmap| pgmap.split_raw(at(0), ONE, 1),
        |pgmap, got, split| {
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
        },
    );
}

/// Whoever holds one of the counted references may take more of them and put them meanwhile: none is lost, and what he wrote
/// comes before `folio_free`.
#[test]
fn split_against_clone_of_a_counted_reference() {
    race(
        || {
            let pgmap = large_in_service();
            pgmap.get_raw(at(0)).unwrap();
            pgmap
        },
        |pgmap| {
            let mine = Folio::from_raw(pgmap, at(0)).unwrap();
            let more = mine.clone();
            pgmap.ops().write(0);
            assert_eq!(pgmap.ops().calls(), 0, "a reference was lost");
            drop(mine);
            drop(more);
        },
        |pgmap| {
            let split = pgmap.split_raw(at(0), ONE, 2);
            let order = if split.is_ok() { ONE } else { two() };
            assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Folio { head: at(0), order }));
            let _ = pgmap.put_raw(at(0), 1).unwrap();
            split.is_ok()
        },
        |pgmap, (), split| {
            assert_eq!(pgmap.ops().calls(), 1, "freed once, by whoever was last");
            assert_eq!(pgmap.put_raw(at(1), 1).is_ok(), split);
            assert_eq!(pgmap.validate().unwrap().idle, 2);
        },
    );
}

/// That a page is bad is not lost when it becomes the first page of a part, nor when that is undone.
#[test]
fn split_against_retire_of_a_tail() {
    race(
        || {
            let pgmap = large_in_service();
            pgmap.get_raw(at(0)).unwrap();
            pgmap
        },
        |pgmap| {
            let retired = pgmap.retire(at(1));
            // Now there is one reference more or fewer than is expected, at one moment or another.
            let _ = pgmap.put_raw(at(0), 1).unwrap();
            retired
        },
        |pgmap| pgmap.split_raw(at(0), ONE, 2).is_ok(),
        |pgmap, retired, split| {
            assert_eq!((retired, pgmap.retiring().collect::<Vec<_>>()), (Ok(Retirement::Pending), vec![at(1)]));
            if pgmap.lookup(at(0)).is_ok_and(|found| found != Lookup::Idle) {
                let _ = pgmap.put_raw(at(0), 1).unwrap();
            }
            assert_eq!(pgmap.put_raw(at(1), 1).is_ok(), split);
            assert_eq!((pgmap.lookup(at(1)), pgmap.lookup(at(0))), (Ok(Lookup::Retired), Ok(Lookup::Idle)));
            assert_eq!(pgmap.retiring().count(), 0);
        },
    );
}

/// A gate that is closed at a page while its folio is split is before whatever covers the page afterwards.
#[test]
fn split_against_gate() {
    race(
        large_in_service,
        |pgmap| pgmap.split_raw(at(0), ONE, 1),
        |pgmap| {
            let gate = pgmap.gate(at(1)).unwrap();
            assert!(pgmap.try_get(at(1)).is_none(), "found behind the gate");
            let first = pgmap.try_get(at(0)).map(|folio| folio.order());
            assert!(pgmap.try_get(at(1)).is_none(), "found behind the gate");
            drop(gate);
            first
        },
        |pgmap, split, first| {
            // Whoever found the first part came after the split: the whole is closed.
            assert!(split.is_ok() && matches!(first, None | Some(ONE)));
            assert!(pgmap.try_get(at(1)).is_some());
        },
    );
}
