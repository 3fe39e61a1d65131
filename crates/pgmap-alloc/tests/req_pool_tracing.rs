//! Requirement 51: what the `tracing` crate is told, with the feature `tracing`. A file of its own, because the listener is the
//! process's only one.

#![cfg(all(feature = "alloc", feature = "tracing"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fmt::{Debug, Write};
use std::sync::Mutex;

use pgmap_alloc::{Accounted, Event, GenPool, Owner, Params, Pgmap, PgmapOps, ToTracing, Trace, Urgency};
use support::{at, order, range};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Writes down the events of this crate, and nothing else.
struct Listener;

static HEARD: Mutex<Vec<String>> = Mutex::new(vec![]);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("pgmap_alloc")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        assert_eq!(*event.metadata().level(), Level::TRACE);
        let mut line = Line(String::new());
        event.record(&mut line);
        HEARD.lock().unwrap().push(line.0.trim_end().to_string());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The message, and then each field with its name.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?} ")),
            name => write!(self.0, "{name}={value:?} ").unwrap(),
        }
    }
}

/// A driver that hands on what it hears.
struct Driver;

impl PgmapOps for Driver {
    type Data = ();

    fn trace(&self, event: Event) {
        ToTracing.trace(event);
    }
}

#[test]
fn req_51_tracing_is_told_everything_in_the_kernels_words() {
    tracing::subscriber::set_global_default(Listener).unwrap();
    let heard = || std::mem::take(&mut *HEARD.lock().unwrap());
    // The pool with an account.
    let pool = GenPool::new(&Params::new(&[range(0, 512)])).unwrap();
    let books = Accounted::new(&pool, (), ToTracing, 0);
    let offset = books.alloc(order(3), Owner(0), Urgency::Normal).unwrap();
    assert!(books.alloc(order(20), Owner(0), Urgency::Normal).is_err());
    books.free(offset, order(3), Owner(0)).unwrap();
    let at_offset = format!("offset={offset} order=3");
    assert_eq!(heard(), [format!("alloc {at_offset}"), "refused order=20".into(), format!("free {at_offset}")]);
    // The whole life of a pgmap: every event there is.
    let pgmap = Pgmap::new(&Params::new(&[range(0, 512)]), Driver).unwrap();
    let folio = pgmap.request_folio(at(8), order(1)).unwrap();
    drop(folio.split(order(0), 1).unwrap());
    drop(pgmap.request_block(at(32), order(2)).unwrap());
    pgmap.retire(at(100)).unwrap();
    pgmap.kill().drain(|_| ());
    let expected = [
        "request offset=8 order=1",
        "split offset=8 order=0",
        "put offset=8 count=1",
        "folio_free offset=8 order=0",
        "put offset=9 count=1",
        "folio_free offset=9 order=0",
        "request offset=32 order=2",
        "free offset=32 order=2",
        "retire offset=100",
        "kill",
        "drain",
    ];
    assert_eq!(heard(), expected);
}
