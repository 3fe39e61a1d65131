//! Requirement 82: limits of counters are named, refused by name where a refusal is possible, and told where it is not.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Mutex;

use pgmap_alloc::{Event, Expect, FreezeError, GetError, MemoryType, Order, Params, Pgmap, PgmapOps, PinError, Put, SplitError};
use support::{at, range};

/// A driver that keeps what is told but what comes with every call.
#[derive(Default)]
struct Watcher(Mutex<Vec<Event>>);

impl PgmapOps for Watcher {
    type Data = ();

    fn memory_type(&self) -> MemoryType {
        MemoryType::Generic
    }

    fn trace(&self, event: Event) {
        if matches!(event, Event::Saturated { .. }) {
            self.0.lock().unwrap().push(event);
        }
    }
}

/// A page of a 1 GiB folio for each entry of a page table, of more than four processes; the limit itself is held by the folio word's
/// own tests.
#[test]
fn req_82_mappings_of_many_processes_are_counted() {
    let pgmap = Pgmap::new(&Params::new(&[range(0, 1 << 18)]), Watcher::default()).unwrap();
    let head = pgmap.alloc_folio_raw(Order::PUD, ()).unwrap();
    let many = 9 << 18;
    (0..many).for_each(|_| pgmap.map_raw(head).unwrap());
    let counts = pgmap.counts_raw(head).unwrap();
    assert_eq!((counts.mappings, counts.pins, counts.refs, counts.saturated), (many, 1, many + 1, false));
    assert_eq!(pgmap.put_raw(head, 1), Ok(Put::InService));
    (1..many).for_each(|_| assert_eq!(pgmap.unmap_raw(head), Ok(Put::InService)));
    assert_eq!((pgmap.unmap_raw(head), pgmap.validate().unwrap().idle), (Ok(Put::Freed), 1 << 18));
}

/// Verbs that can refuse do so half-way; clones go on, and the one that cannot be counted any more is told of, once.
#[test]
fn req_82_references_run_out_by_name_and_are_told_when_they_saturate() {
    let pgmap = Pgmap::new(&Params::new(&[range(0, 64)]), Watcher::default()).unwrap();
    let folio = pgmap.request_folio(at(3), Order::ZERO).unwrap();
    (1..1 << 24).for_each(|_| pgmap.get_raw(at(3)).unwrap());
    assert_eq!((pgmap.get_raw(at(3)), folio.refs()), (Err(GetError::TooMany), 1 << 24));
    assert_eq!((pgmap.pin(at(3)).err(), pgmap.try_get(at(3)).is_none()), (Some(PinError::TooMany), true));
    let limit = (1 << 25) - 1;
    (1 << 24..limit - 1).for_each(|_| core::mem::forget(folio.clone()));
    assert_eq!((folio.refs(), folio.counts().saturated, pgmap.ops().0.lock().unwrap().len()), (limit - 1, false, 0));
    (0..3).for_each(|_| core::mem::forget(folio.clone()));
    assert_eq!((folio.refs(), folio.counts().saturated), (limit, true));
    assert_eq!(*pgmap.ops().0.lock().unwrap(), [Event::Saturated { offset: at(3) }]);
    // It can neither be frozen nor split, nor does a wait for that begin; and it never ends.
    assert_eq!(folio.freeze(Expect::Refs(limit)).err(), Some(FreezeError::Saturated));
    assert_eq!(pgmap.split_raw(at(3), Order::ZERO, limit), Err(SplitError::Saturated));
    assert_eq!(pgmap.put_raw(at(3), limit), Ok(Put::InService));
    drop(folio);
    let killed = pgmap.kill();
    let holdouts: Vec<_> = killed.holdouts().map(|holdout| (holdout.offset, holdout.refs, holdout.saturated)).collect();
    assert_eq!(holdouts, [(at(3), limit, true)]);
}
