//! What a pool knows of its per-CPU handles (`local`): how much they have at hand and in which tables they work.

use super::GenPool;
use crate::offset::Run;
use crate::order::Order;
use crate::sync::{AtomicU32, AtomicU64, Ordering, in_models};

/// How many handles a pool can have at a time.
const HANDLES: usize = in_models(2, 64);
/// Orders of which handles keep runs at hand.
pub(super) const ORDERS: usize = 19;

const _: () = assert!(HANDLES <= u64::BITS as usize, "a bit for each");

/// What a pool knows of its handles.
pub(super) struct Handles {
    /// Which places are taken: a bit each.
    taken: Padded<AtomicU64>,
    places: [Padded<Public>; HANDLES],
}

/// 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

/// What others may know of one handle. Only its owner writes it, but for `pressed`.
pub(super) struct Public {
    /// Set by whoever was refused: give back what is at hand. Cleared by the owner before he does.
    pub(super) pressed: AtomicU32,
    /// How many runs of each order are at hand.
    pub(super) counts: [AtomicU32; ORDERS],
    /// Single pages at hand beside those that are counted: a bit for each page of one word.
    pub(super) pages: AtomicU64,
    /// The table that it takes pages from: the table's number plus one, 0 = none.
    pub(super) own: AtomicU64,
}

impl Public {
    fn new() -> Public {
        Public {
            pressed: AtomicU32::new(0),
            counts: core::array::from_fn(|_| AtomicU32::new(0)),
            pages: AtomicU64::new(0),
            own: AtomicU64::new(0),
        }
    }

    /// How many pages are at hand.
    pub(super) fn cached(&self) -> u64 {
        // Relaxed, here and below, where nothing is said: a count or a hint that may be old by the time it is read.
        let runs = self.counts.iter().enumerate().map(|(order, count)| u64::from(count.load(Ordering::Relaxed)) << order);
        runs.sum::<u64>() + u64::from(self.pages.load(Ordering::Relaxed).count_ones())
    }
}

impl Handles {
    pub(super) fn new() -> Handles {
        Handles { taken: Padded(AtomicU64::new(0)), places: core::array::from_fn(|_| Padded(Public::new())) }
    }

    /// Takes a place for a handle, if there is one left.
    pub(super) fn enter(&self) -> Option<(usize, &Public)> {
        // Relaxed: only a proposal, as is what a failed exchange has read.
        let mut taken = self.taken.0.load(Ordering::Relaxed);
        loop {
            let place = taken.trailing_ones() as usize;
            let public = self.places.get(place)?;
            // Acquire: pairs with the Release in `leave`: the last owner's last counts come before ours.
            match self.taken.0.compare_exchange(taken, taken | 1 << place, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some((place, &public.0)),
                Err(now) => taken = now,
            }
        }
    }

    pub(super) fn leave(&self, place: usize) {
        // Release: pairs with the Acquire in `enter`.
        self.taken.0.fetch_and(!(1 << place), Ordering::Release);
    }

    fn places(&self) -> impl Iterator<Item = &Public> {
        // Relaxed: as in `cached`.
        let mut left = self.taken.0.load(Ordering::Relaxed);
        core::iter::from_fn(move || {
            let place = self.places.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(&place.0)
        })
    }

    /// Asks all handles that have something at hand to give it back; says how many pages that is, maybe a few operations ago.
    pub(super) fn press(&self) -> u64 {
        let mut all = 0;
        for place in self.places() {
            let cached = place.cached();
            if cached > 0 {
                // Relaxed: seen a little later, it is still seen.
                place.pressed.store(1, Ordering::Relaxed);
            }
            all += cached;
        }
        all
    }

    /// How many pages all handles have at hand, maybe a few operations ago.
    pub(super) fn cached(&self) -> u64 {
        self.places().map(Public::cached).sum()
    }

    /// The tables that handles work in.
    pub(super) fn tables(&self) -> impl Iterator<Item = usize> {
        // Acquire: pairs with the Release in `own_table`: the table has been filled.
        self.places().filter_map(|place| (place.own.load(Ordering::Acquire) as usize).checked_sub(1))
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// How many pages its per-CPU handles have at hand, maybe a few operations ago: they can have those, and nobody else. O(handles).
    pub(crate) fn cached(&self) -> u64 {
        self.handles.cached()
    }

    /// Takes a run of `order` from a table, if it has one.
    fn take_in(&self, table: usize, order: Order) -> Option<Run> {
        // Looking first, as in `take_from`.
        let hides = order.get() > 6;
        if hides && !self.table(0, table).has(order.get()) {
            return None;
        }
        let _moving = hides.then(|| self.motion.begin());
        let fit = self.table(0, table).claim_tightest(order.get(), Self::RADIX, self.tell_odd(0, table)).ok()?;
        let place = super::Place { level: 0, table, entry: fit.entry, order: order.get() };
        self.tell_taken(place, fit.before);
        Some(self.shape.run(place))
    }

    /// Takes a run from a table that a handle works in: only when nothing else is left.
    pub(super) fn take_from_handles(&self, order: Order) -> Option<Run> {
        if order.get() >= Self::RADIX {
            return None;
        }
        self.handles.tables().find_map(|table| self.take_in(table, order))
    }
}
