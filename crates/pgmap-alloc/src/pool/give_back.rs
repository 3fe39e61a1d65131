//! Giving a run back, and merging what has become whole.

use super::GenPool;
use super::notes::Contents;
use super::shape::{LEVELS, Place};
use super::tables::{CALLERS, Tables};
use crate::error::FreeError;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, caller_slot, in_models, order_after_write};

/// Lines among which concurrent callers are spread.
const SLOTS: usize = in_models(1, 8);

/// Tables that are wholly idle and not merged yet: per caller slot and level at most one, so that merging them all is bounded.
///
/// Only hints: a table may stand here though it is in use again, or in two slots.
pub(super) struct Spares {
    lines: [Line; SLOTS],
}

/// One caller slot: for each level the table's number plus one, 0 = none. 128 bytes because lines are fetched in pairs.
#[repr(align(128))]
struct Line([AtomicU64; LEVELS]);

impl Spares {
    pub(super) fn new() -> Spares {
        Spares { lines: core::array::from_fn(|_| Line(core::array::from_fn(|_| AtomicU64::new(0)))) }
    }

    /// The caller's spare of a level.
    #[inline]
    fn mine(&self, level: u32) -> Option<&AtomicU64> {
        self.lines[caller_slot(SLOTS) & (SLOTS - 1)].0.get(level as usize)
    }

    /// Whether no table below `level` is kept.
    fn none_below(&self, level: u32) -> bool {
        // SeqCst: pairs with `keep`.
        self.lines.iter().all(|line| line.0.iter().take(level as usize).all(|spare| spare.load(Ordering::SeqCst) == 0))
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// An idle page of a run at the levels above and below its own, if there is one.
    #[inline(always)]
    pub(super) fn idle_page_around(&self, tables: Tables<'_, WORDS>, run: Run, place: Place) -> Option<Offset> {
        // What is below an idle entry is all zeros, and most often there is an idle neighbour.
        let split = tables.table(place.level, place.table).has_near(place.entry);
        if !split && self.is_idle_above(tables, place.level, place.table) {
            return Some(run.start());
        }
        if self.may_be_split(tables, place) {
            self.first_idle_below(place.level, place.table, place.entry, place.order)
        } else {
            None
        }
    }

    /// Whether one of the entries that hold a table is idle.
    #[inline(always)]
    fn is_idle_above(&self, tables: Tables<'_, WORDS>, mut level: u32, mut index: usize) -> bool {
        while level < self.shape.top {
            let (table, entry) = self.shape.parent(index);
            level += 1;
            if tables.table(level, table).contains(entry) {
                return true;
            }
            index = table;
        }
        false
    }

    /// An idle page of a run, if there is one.
    pub(crate) fn idle_page_in(&self, run: Run) -> Option<Offset> {
        let place = self.shape.place(run);
        let here = self.table(place.level, place.table).members(place.entry, place.order).next();
        match here {
            Some(entry) => Some(self.shape.run(Place { entry, order: 0, ..place }).start()),
            None => self.idle_page_around(self.tables(), run, place),
        }
    }

    /// An idle page in the tables below a run of entries, those that handles work in too.
    #[cold]
    fn first_idle_below(&self, level: u32, table: usize, entry: u32, order: u32) -> Option<Offset> {
        self.split_entries(Place { level, table, entry, order }).find_map(|entry| {
            let (level, table) = (level.checked_sub(1)?, self.shape.child(table, entry));
            let here = self.table(level, table).members(0, Self::RADIX).next();
            let found = here.map(|entry| self.shape.run(Place { level, table, entry, order: 0 }).start());
            found.or_else(|| if level > 0 { self.first_idle_below(level, table, 0, Self::RADIX) } else { None })
        })
    }

    /// Makes an owned run idle; what it holds is not known.
    #[inline(always)]
    pub(crate) fn give_back(&self, run: Run) -> Result<(), FreeError> {
        self.mark(run, Contents::Dirty);
        self.put_back(run)
    }

    /// Makes an owned run idle that was not used, or whose notes have been written (`notes`).
    ///
    /// Lock-free; O(levels). Merging, if it comes to that, claims one table per level.
    #[inline(always)]
    pub(super) fn put_back(&self, run: Run) -> Result<(), FreeError> {
        self.put_back_as(caller_slot(CALLERS), run)
    }

    /// [`GenPool::put_back`] for a caller who knows his slot.
    #[inline(always)]
    pub(super) fn put_back_as(&self, caller: usize, run: Run) -> Result<(), FreeError> {
        // As in `free`.
        if run.order().get() < Self::RADIX {
            self.put_back_at(|| caller, self.tables(), self.shape.place_at(0, run))
        } else {
            self.put_back_at(|| caller, self.tables(), self.shape.place(run))
        }
    }

    /// [`GenPool::put_back_as`] of a run at its place, for a caller whose slot is seldom needed.
    #[inline(always)]
    pub(super) fn put_back_at(
        &self,
        caller: impl FnOnce() -> usize,
        tables: Tables<'_, WORDS>,
        place: Place,
    ) -> Result<(), FreeError> {
        let Place { level, table, entry, order } = place;
        if order > 6 {
            return self.put_back_large(caller(), level, table, entry, order);
        }
        let Ok(now) = tables.table(level, table).release_narrow(entry, order) else {
            return Err(self.idle_already(level, table, entry, order));
        };
        self.tell_released(place, now);
        if level < self.shape.top && self.ensure_found(tables, caller, place, now) {
            self.keep(level, table);
        }
        self.motion.note();
        Ok(())
    }

    /// Puts the first few of some owned runs of less than a word back, neighbours within a word together; says how many. No more than
    /// `writes` words are written.
    pub(super) fn put_back_narrow(&self, caller: usize, starts: &[u64], order: Order, writes: usize) -> usize {
        let (tables, ones) = (self.tables(), !0u64 >> (64 - order.pages()));
        let mut rest = starts;
        for _ in 0..writes {
            let [start, others @ ..] = rest else { break };
            let near = others.iter().take_while(|&other| other / 64 == start / 64);
            let word = near.clone().fold(0, |word, other| word | ones << (other % 64));
            // Owned, so they cannot be idle.
            if word == 0 {
                let place = self.shape.place_at(0, Run::aligned(*start, order));
                if let Ok(now) = tables.table(0, place.table).release_narrow(place.entry, place.order) {
                    self.tell_released(place, now);
                    if self.shape.top > 0 && !self.is_covered(tables, place, now) {
                        self.released_narrow(caller, place.table, place.entry, place.order, now);
                    }
                }
                rest = others;
            } else {
                let _ = self.put_back_word(start & !63, word | ones << (start % 64));
                rest = others.get(near.count()..).unwrap_or_default();
            }
        }
        // One note for all: what came back and has not been noted has not come back yet, for who refuses meanwhile.
        self.motion.note();
        starts.len() - rest.len()
    }

    /// After a release at the lowest level that the table's class does not cover.
    #[inline(never)]
    fn released_narrow(&self, caller: usize, table: usize, entry: u32, order: u32, now: u64) {
        let grown = self.table(0, table).grown_to(entry, order, now);
        self.ensure_found_grown(caller, table, entry, grown);
        if grown == Self::RADIX {
            self.keep(0, table);
        }
    }

    /// Has the word of a page of the lowest level come near: it is about to be written.
    #[inline]
    pub(super) fn expect_word(&self, page: Offset) {
        let (table, entry) = self.shape.entry(page, 0);
        self.table(0, table).expect_word((entry / 64) as usize);
    }

    /// As [`GenPool::put_back`], for owned pages of one word, a bit for each.
    pub(super) fn put_back_word(&self, base: u64, pages: u64) -> Result<(), FreeError> {
        let (table, entry) = self.shape.entry(Offset::new(base), 0);
        match self.table(0, table).release_some((entry / 64) as usize, pages) {
            Ok((grown, before)) => {
                self.tell_word(Place { level: 0, table, entry, order: 0 }, before, before | pages);
                self.released(0, table, grown);
                self.motion.note();
                Ok(())
            }
            Err(idle) => Err(FreeError::DoubleFree { page: Offset::new(base + u64::from(idle.trailing_zeros())) }),
        }
    }

    #[inline(never)]
    fn put_back_large(&self, caller: usize, level: u32, table: usize, entry: u32, order: u32) -> Result<(), FreeError> {
        let released = self.table(level, table).release(entry, order, self.tell_odd(level, table));
        let Ok((grown, before)) = released else { return Err(self.idle_already(level, table, entry, order)) };
        self.tell_idle(Place { level, table, entry, order }, before);
        if level == 0 && grown < Self::RADIX && self.shape.top > 0 {
            order_after_write();
            self.ensure_found_grown(caller, table, entry, grown);
        } else {
            self.released(level, table, grown);
        }
        self.motion.note();
        Ok(())
    }

    #[cold]
    fn idle_already(&self, level: u32, table: usize, entry: u32, order: u32) -> FreeError {
        let entry = self.table(level, table).members(entry, order).next().unwrap_or(entry);
        FreeError::DoubleFree { page: self.shape.run(Place { level, table, entry, order: 0 }).start() }
    }

    /// After a release that made or completed an idle run of order `grown`: list the table, and keep it when it is whole.
    pub(super) fn released(&self, level: u32, table: usize, grown: u32) {
        if level == self.shape.top {
            return;
        }
        self.ensure_listed(level, table, grown);
        if grown == Self::RADIX {
            self.keep(level, table);
        }
    }

    /// Makes a table the caller's spare, and merges the one that it replaces.
    ///
    /// Lock-free: a retry means that somebody else changed the spare.
    #[inline]
    pub(super) fn keep(&self, level: u32, table: usize) {
        let Some(spare) = self.spares.mine(level) else { return };
        let mark = table as u64 + 1;
        loop {
            // SeqCst: the release that made the table whole stands before this read, the swap in `merge_spares` before the look
            // at the table there: one of the two sees the other.
            let seen = spare.load(Ordering::SeqCst);
            if seen == mark {
                return;
            }
            // What is replaced is for a moment neither a spare nor merged.
            let _moving = (seen != 0).then(|| self.motion.begin());
            // SeqCst: pairs with `none_below`, which must not miss a table that was kept during a search. Relaxed on failure: read
            // again.
            if spare.compare_exchange(seen, mark, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                if let Some(replaced) = (seen as usize).checked_sub(1) {
                    self.merge(level, replaced);
                }
                return;
            }
        }
    }

    /// After a claim of several words that failed: somebody may have listed the table by what was left in the meantime, and the
    /// release that made it whole may have seen it half claimed. The caller has marked the motion.
    #[cold]
    pub(super) fn after_undo(&self, level: u32, table: usize) {
        if level < self.shape.top && self.list_anew(level, table) == Some(Self::RADIX) {
            self.keep(level, table);
        }
    }

    /// Merges every spare below `level`, so that their runs can be found at the levels above.
    pub(super) fn merge_spares(&self, level: u32) {
        if level > 0 {
            // Tables that handles work in are not merged while they are in use; here somebody needs them more.
            for table in self.handles.tables().filter(|&table| self.is_whole(0, table)) {
                let _moving = self.motion.begin();
                // Somebody may have claimed in it meanwhile: then it is nobody's now and must be found.
                self.disown(table);
                self.merge(0, table);
            }
        }
        // From the lowest level up: what is merged may make a spare of the next one, in whichever line is ours.
        for below in 0..level {
            for spare in self.spares.lines.iter().filter_map(|line| line.0.get(below as usize)) {
                // SeqCst: as in `keep`.
                if spare.load(Ordering::SeqCst) == 0 {
                    continue;
                }
                // What is taken out is for a moment neither a spare nor merged.
                let _moving = self.motion.begin();
                if let Some(table) = (spare.swap(0, Ordering::SeqCst) as usize).checked_sub(1) {
                    self.merge(below, table);
                }
            }
        }
    }

    /// Whether tables below `level` are wholly idle and not merged, as far as spares and handles know.
    pub(super) fn spares_below(&self, level: u32) -> bool {
        !self.spares.none_below(level) || level > 0 && self.handles.tables().any(|table| self.is_whole(0, table))
    }

    /// Whether every entry of a table is idle.
    pub(super) fn is_whole(&self, level: u32, table: usize) -> bool {
        self.table(level, table).is_idle(0, Self::RADIX)
    }

    /// If a table is wholly idle, makes it an idle entry of the table above. The caller has marked the motion.
    #[cold]
    fn merge(&self, level: u32, table: usize) {
        // The table was taken out of its spare a moment ago, and the look at it must not pass that (`keep`).
        order_after_write();
        // Not more often than somebody else claims in this table and gives it back meanwhile: a claim that fails is followed by
        // another look, because the release that made the table whole may have seen our half-finished claim.
        while level < self.shape.top && self.is_whole(level, table) {
            if level == 0 && self.is_owned(table) {
                // A handle works in it, and comes here again when it leaves.
                return;
            }
            if self.table(level, table).claim_all(self.tell_odd(level, table)) {
                self.tell_taken(Place { level, table, entry: 0, order: Self::RADIX }, !0);
                let (above, entry) = self.shape.parent(table);
                self.set_whole(level, table);
                self.merge_notes(level, table);
                // The entry was taken when it was split, and all that is below is ours.
                if let Ok((grown, before)) = self.table(level + 1, above).release(entry, 0, |_, _| ()) {
                    self.tell_idle(Place { level: level + 1, table: above, entry, order: 0 }, before);
                    self.released(level + 1, above, grown);
                }
                return;
            }
            // As in `after_undo`: what was undone must be found.
            self.list_anew(level, table);
        }
    }
}
