//! Taking exactly the run that the caller names.

use super::GenPool;
use super::prove::{Try, Unproved};
use super::shape::Place;
use crate::error::RequestError;
use crate::offset::Run;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes `run`, which lies in a range.
    pub(crate) fn take_at(&self, run: Run) -> Result<(), RequestError> {
        if self.claim_run(run) {
            return Ok(());
        }
        // Its pages may be idle one by one, in tables that have not been merged yet.
        let level = run.order().get() / Self::RADIX;
        let claim = || if self.claim_run(run) { Try::Got(()) } else { Try::Nothing };
        self.until_proved(level, claim).map_err(|unproved| match unproved {
            Unproved::Nothing => RequestError::Busy,
            Unproved::Contended => RequestError::Contended,
        })
    }

    /// Claims the run at its own level, or splits the idle entry above that holds it.
    pub(super) fn claim_run(&self, run: Run) -> bool {
        let place = self.shape.place(run);
        let table = self.table(place.level, place.table);
        if table.is_idle(place.entry, place.order) {
            let _moving = (place.order > 6).then(|| self.motion.begin());
            if let Some(before) = table.claim_at(place.entry, place.order, self.tell_odd(place.level, place.table)) {
                self.tell_taken(place, before);
                // The table may now be listed too high; the next search that comes by puts that right.
                return true;
            }
            if place.order > 6 {
                self.after_undo(place.level, place.table);
            }
        }
        (place.level + 1..=self.shape.top).any(|level| {
            let (table, entry) = self.shape.entry(run.start(), level);
            if !self.table(level, table).is_idle(entry, 0) {
                return false;
            }
            let _moving = self.motion.begin();
            let Some(before) = self.table(level, table).claim_at(entry, 0, self.tell_odd(level, table)) else { return false };
            let place = Place { level, table, entry, order: 0 };
            self.tell_taken(place, before);
            self.split_to(place, run);
            true
        })
    }
}
