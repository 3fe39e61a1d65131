//! Taking runs that came back a moment ago (`fresh`), or listing their tables after all.

use super::GenPool;
use super::fresh::{Line, PLACES, SLOTS, slot_of};
use super::shape::Place;
use crate::offset::{Offset, Run};
use crate::order::Order;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a run of just this order from the places of a caller for it.
    #[inline(never)]
    pub(super) fn take_from_places(&self, caller: usize, order: Order) -> Option<Run> {
        let line = self.fresh_line(self.tables(), slot_of(caller), order.get())?;
        let mut filled = line.filled();
        while filled > 0 {
            let place = filled;
            filled -= 1;
            if let Some(start) = line.get(place)
                && self.claim_fresh(line, place, start, order.get())
            {
                line.empty(place, start);
                line.set_filled(filled);
                return Some(Run::aligned(start.get(), order));
            }
        }
        line.set_filled(0);
        None
    }

    /// Takes a run from a larger one in the caller's places, but not from one of order `below` or more; says the order of that one.
    pub(super) fn cut_fresh(&self, caller: usize, order: Order, below: u32) -> Option<(Run, u32)> {
        let tables = self.tables();
        for from in order.get() + 1..below.min(Self::RADIX) {
            let line = self.fresh_line(tables, slot_of(caller), from)?;
            for place in (1..=line.filled()).rev() {
                let Some(start) = line.get(place) else { continue };
                let claimed = self.claim_fresh(line, place, start, order.get());
                line.set_filled(place - 1);
                if claimed {
                    // What is left over.
                    let (table, _) = self.shape.entry(start, 0);
                    self.ensure_listed(0, table, from - 1);
                    line.empty(place, start);
                    return Some((Run::aligned(start.get(), order), from));
                }
            }
        }
        None
    }

    /// Claims a run that a place names, or else empties the place and lists its table (rule 3).
    #[inline(always)]
    fn claim_fresh(&self, line: Line<'_, WORDS>, place: usize, start: Offset, order: u32) -> bool {
        let (table, entry) = self.shape.entry(start, 0);
        // What a claim of several words gives back is hidden for a moment.
        let _moving = (order > 6).then(|| self.motion.begin());
        let Some(before) = line.table(table).claim_at(entry, order, self.tell_odd(0, table)) else {
            self.list_misleading(line.base, place, start);
            return false;
        };
        self.tell_taken(Place { level: 0, table, entry, order }, before);
        true
    }

    /// Empties a place, and lists the table of the run that it named (rule 3).
    #[cold]
    fn list_misleading(&self, base: usize, place: usize, start: Offset) {
        // Until the table is listed the run may be hidden. Not the other way round: the run could be claimed and come back in between, to
        // this very place.
        let _moving = self.motion.begin();
        self.line_at(base).empty(place, start);
        let (table, _) = self.shape.entry(start, 0);
        self.after_undo(0, table);
    }

    /// Lists the tables of all runs in all places, and empties them. O(slots).
    #[cold]
    pub(super) fn list_fresh(&self) {
        let tables = self.tables();
        for (slot, order) in (0..SLOTS).flat_map(|slot| (0..Self::RADIX).map(move |order| (slot, order))) {
            let Some(line) = self.fresh_line(tables, slot, order) else { return };
            for place in 1..=PLACES {
                if let Some(start) = line.get(place) {
                    self.list_misleading(line.base, place, start);
                }
            }
        }
    }
}
