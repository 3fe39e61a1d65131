//! Which runs reservations hold, so that a free of one of them is refused.
//!
//! A record per run, found by its place in the list. Records say nothing about idle or not: the tables do.

use super::GenPool;
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::sync::{AtomicU32, Ordering};

/// Where the records stand, and how many there are.
pub(super) struct Held {
    base: usize,
    tables: usize,
    /// Records in use: frees need not look while it is 0.
    count: AtomicU32,
}

impl Held {
    pub(super) fn new((base, tables): (usize, usize)) -> Held {
        Held { base, tables, count: AtomicU32::new(0) }
    }
}

/// A record: the start and the order, plus one; 0 = none.
fn record(run: Run) -> u64 {
    (run.start().get() << 6 | u64::from(run.order().get())) + 1
}

fn run_of(record: u64) -> Option<Run> {
    let bits = record.checked_sub(1)?;
    Run::new(Offset::new(bits >> 6), Order::clamped(bits as u32 & 63)).ok()
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// How many runs can be held.
    pub(super) fn held_slots(&self) -> usize {
        self.held.tables * WORDS
    }

    /// Records a run that the caller owns; `None` when all records are in use. O(number of records).
    pub(super) fn hold(&self, run: Run) -> Option<u32> {
        // SeqCst: raised before the record is there, so that nobody who could find it does not look.
        self.held.count.fetch_add(1, Ordering::SeqCst);
        for slot in 0..self.held_slots() {
            let table = self.metadata(self.held.base + slot / WORDS.max(1));
            if table.record(slot % WORDS.max(1)) == 0 && table.replace_record(slot % WORDS.max(1), 0, record(run)) {
                return Some(slot as u32);
            }
        }
        // SeqCst: as above.
        self.held.count.fetch_sub(1, Ordering::SeqCst);
        None
    }

    /// Forgets a record. O(1).
    pub(super) fn unhold(&self, slot: u32, run: Run) {
        let slot = slot as usize;
        let table = self.metadata(self.held.base + slot / WORDS.max(1));
        if table.replace_record(slot % WORDS.max(1), record(run), 0) {
            // SeqCst: pairs with `held_in`.
            self.held.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether reservations hold any run.
    pub(super) fn any_held(&self) -> bool {
        // SeqCst: as in `held_in`.
        self.held.count.load(Ordering::SeqCst) != 0
    }

    /// The start of a held run that has a page in common with `run`. One load while nothing is held.
    #[inline]
    pub(super) fn held_in(&self, run: Run) -> Option<Offset> {
        // SeqCst: pairs with `hold`. Whoever frees a run that is being reserved at this moment frees what was not his.
        if self.any_held() { self.find_held(run) } else { None }
    }

    #[cold]
    fn find_held(&self, run: Run) -> Option<Offset> {
        (0..self.held_slots()).find_map(|slot| {
            let held = run_of(self.metadata(self.held.base + slot / WORDS.max(1)).record(slot % WORDS.max(1)))?;
            Extent::from(held).common(run.into()).map(|_| held.start())
        })
    }
}
