//! What a pool knows of its per-CPU handles (`local`): how much they have at hand and in which tables they work.

use super::GenPool;
use crate::offset::Run;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, in_models};

/// How many handles a pool can have at a time.
const HANDLES: usize = in_models(2, 64);
/// Groups of orders that work in a table of their own: single pages, small runs, large runs.
pub(super) const GROUPS: usize = 3;

/// What a pool knows of its handles.
pub(super) struct Handles {
    /// Raised by every search that fails.
    pub(super) pressure: Padded<AtomicU64>,
    pub(super) places: [Padded<Public>; HANDLES],
}

/// 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

/// What others may know of one handle.
pub(super) struct Public {
    /// Whether the place is taken.
    pub(super) taken: AtomicU64,
    /// Pages in its stacks.
    pub(super) cached: AtomicU64,
    /// Its tables: each the table's number plus one, 0 = none.
    pub(super) own: [AtomicU64; GROUPS],
}

impl Handles {
    pub(super) fn new() -> Handles {
        Handles {
            pressure: Padded(AtomicU64::new(0)),
            places: core::array::from_fn(|_| {
                let own = core::array::from_fn(|_| AtomicU64::new(0));
                Padded(Public { taken: AtomicU64::new(0), cached: AtomicU64::new(0), own })
            }),
        }
    }

    fn places(&self) -> impl Iterator<Item = &Public> {
        // Relaxed, here and below, where nothing is said: a count or a hint that may be old by the time it is read.
        self.places.iter().map(|padded| &padded.0).filter(|place| place.taken.load(Ordering::Relaxed) != 0)
    }

    /// Asks all handles to give back what they have at hand; says how many pages that is, maybe a few operations ago.
    pub(super) fn press(&self) -> u64 {
        let cached = self.places().map(|place| place.cached.load(Ordering::Relaxed)).sum();
        if cached > 0 {
            self.pressure.0.fetch_add(1, Ordering::Relaxed);
        }
        cached
    }

    /// The tables that handles work in.
    pub(super) fn tables(&self) -> impl Iterator<Item = usize> {
        // Acquire: pairs with the Release in `own_table`: the table has been filled.
        self.places().flat_map(|place| place.own.iter()).filter_map(|own| (own.load(Ordering::Acquire) as usize).checked_sub(1))
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a run of `order` from a table, if it has one.
    pub(super) fn take_in(&self, table: usize, order: Order, at_most: u32) -> Option<Run> {
        // Looking first, as in `take_from`.
        let hides = order.get() > 6;
        if hides && !self.table(0, table).has(order.get()) {
            return None;
        }
        let _moving = hides.then(|| self.motion.begin());
        let fit = self.table(0, table).claim_tightest(order.get(), at_most).ok()?;
        Some(self.shape.run(super::Place { level: 0, table, entry: fit.entry, order: order.get() }))
    }

    /// Takes a run from a table that a handle works in: only when nothing else is left.
    pub(super) fn take_from_handles(&self, order: Order) -> Option<Run> {
        if order.get() >= Self::RADIX {
            return None;
        }
        self.handles.tables().find_map(|table| self.take_in(table, order, Self::RADIX))
    }
}
