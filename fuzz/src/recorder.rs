//! The driver's side: writes down what it is told.

use std::cell::{Cell, RefCell};

use pgmap_alloc::{AfterFree, Freed, PgmapOps};

/// Collects every call; the test takes them out and compares.
#[derive(Default)]
pub struct Recorder {
    freed: RefCell<Vec<Freed<u64>>>,
    quiesced: Cell<u32>,
    torn_down: Cell<u32>,
}

/// The bit of a folio's data that says that its pages stay taken.
const KEEP: u64 = 1;

/// The data of folio number `serial`.
pub fn data(serial: u64, keep: bool) -> u64 {
    serial << 1 | if keep { KEEP } else { 0 }
}

/// Whether the pages of a folio with this data stay taken.
pub fn keeps(data: u64) -> bool {
    data & KEEP != 0
}

impl PgmapOps for Recorder {
    type Data = u64;

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        self.freed.borrow_mut().push(folio);
        if keeps(folio.data) { AfterFree::Keep } else { AfterFree::Release }
    }

    fn quiesce(&self) {
        self.quiesced.set(self.quiesced.get() + 1);
    }

    fn teardown(&self) {
        self.torn_down.set(self.torn_down.get() + 1);
    }
}

impl Recorder {
    /// What has been freed since the last call.
    pub fn take_freed(&self) -> Vec<Freed<u64>> {
        self.freed.take()
    }

    /// How often it was told to quiesce, and to tear down.
    pub fn ends(&self) -> (u32, u32) {
        (self.quiesced.get(), self.torn_down.get())
    }
}
