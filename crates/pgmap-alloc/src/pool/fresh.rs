//! Runs that came back a moment ago: the next allocation of their order need not search, and their tables need not be listed.
//!
//! # Protocol
//!
//! In a pool that is packed well, what comes back is most often a hole in a table that had none, and the next request of its order
//! is what fills it. To list such a table, take it from the list and unlist it again costs far more than the claim and the release
//! themselves. So each caller slot has a few *places* for each order of the lowest level, and a free may fill a place with the run
//! that it made idle, in place of listing its table.
//!
//! 1. A place names a run that was idle when it was filled; it is a hint like a list, and a claim decides.
//! 2. What a place names can be found: by those who share the slot, at once; by everyone who is about to refuse, and by whoever
//!    walks the idle pages, after [`GenPool::list_fresh`]. So a filled place counts as listed (rule 1 of `listing`).
//! 3. A place is emptied by who has claimed just the run that it names, or by who then lists its table by what it has and is in motion
//!    until that is done. So no run is hidden: every one that is idle and not listed has a place of its own, or somebody in motion is
//!    about to list it. (Emptied first: a run whose table is listed can be claimed, come back and fill the same place, and what is then
//!    emptied is its only name.)
//! 4. The first number of each line says how many of its places are filled, more or less. It is only a hint, written by plain
//!    stores: a place above it is found by rule 2, and an empty one below it costs a look.
//!
//! Taking from places, and listing what they name, is in `reuse`.
//!
//! A pool that packs tightly ([`Params::packing_tightly`](super::Params::packing_tightly)) has none: what came back last is seldom what
//! fits tightest among all.
//!
//! Places hold few pages: at most seven runs of each order below 2 MiB for each of the eight slots.

use super::GenPool;
use super::tables::{CALLERS, Tables};
use crate::offset::Offset;
use crate::order::Order;
use crate::sync::in_models;
use crate::table::Table;

/// Lines among which concurrent callers are spread.
pub(super) const SLOTS: usize = in_models(1, 8);
/// Words of a line: the number, and the places.
const LINE: usize = 8;
/// Places of a line.
pub(super) const PLACES: usize = in_models(1, LINE - 1);

/// The slot of a caller.
#[inline(always)]
pub(super) const fn slot_of(caller: usize) -> usize {
    // Neighbours share one: those of a few handles lie far apart.
    (caller & (CALLERS - 1)) * SLOTS / CALLERS
}

/// Where the places stand in the array of tables, if the pool has any.
#[derive(Clone, Copy)]
pub(super) struct Fresh(Option<usize>);

impl Fresh {
    /// Appends the places, if there are to be any, to an array of `tables`; `None` when that is more than can be counted.
    pub(super) fn append<const WORDS: usize>(wanted: bool, tables: &mut usize) -> Option<Fresh> {
        if !wanted {
            return Some(Fresh(None));
        }
        let base = *tables;
        *tables = base.checked_add(SLOTS * Table::<WORDS>::RADIX as usize * LINE.div_ceil(WORDS))?;
        Some(Fresh(Some(base)))
    }

    /// Whether the pool has any.
    #[inline(always)]
    pub(super) fn has_places(self) -> bool {
        self.0.is_some()
    }
}

/// The places of one slot for one order.
#[derive(Clone, Copy)]
pub(super) struct Line<'p, const WORDS: usize> {
    tables: Tables<'p, WORDS>,
    /// Where they stand in the array of tables.
    pub(super) base: usize,
}

impl<'p, const WORDS: usize> Line<'p, WORDS> {
    #[inline(always)]
    fn word(self, index: usize) -> (&'p Table<WORDS>, usize) {
        (self.tables.get(self.base + index / WORDS), index % WORDS)
    }

    /// A table of the lowest level.
    #[inline(always)]
    pub(super) fn table(self, table: usize) -> &'p Table<WORDS> {
        self.tables.table(0, table)
    }

    #[inline(always)]
    pub(super) fn filled(self) -> usize {
        let (table, word) = self.word(0);
        (table.hint(word) as usize).min(PLACES)
    }

    #[inline(always)]
    pub(super) fn set_filled(self, count: usize) {
        let (table, word) = self.word(0);
        table.set_hint(word, count as u64);
    }

    /// The first page of the run in a place, counted from 1.
    #[inline(always)]
    pub(super) fn get(self, place: usize) -> Option<Offset> {
        let (table, word) = self.word(place);
        table.place(word).checked_sub(1).map(Offset::new)
    }

    #[inline(always)]
    fn fill(self, place: usize, start: Offset) -> bool {
        let (table, word) = self.word(place);
        table.fill_place(word, start.get() + 1)
    }

    #[inline(always)]
    pub(super) fn empty(self, place: usize, start: Offset) {
        let (table, word) = self.word(place);
        table.empty_place(word, start.get() + 1);
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    #[inline(always)]
    pub(super) fn fresh_line<'p>(&self, tables: Tables<'p, WORDS>, slot: usize, order: u32) -> Option<Line<'p, WORDS>> {
        let line = slot * Self::RADIX as usize + order as usize;
        Some(Line { tables, base: self.fresh.0? + line * LINE.div_ceil(WORDS) })
    }

    /// The places that stand there.
    pub(super) fn line_at(&self, base: usize) -> Line<'_, WORDS> {
        Line { tables: self.tables(), base }
    }

    /// Fills a place with an idle run of an order of the lowest level; `false` if there is none for it.
    #[inline(always)]
    pub(super) fn keep_fresh(&self, tables: Tables<'_, WORDS>, caller: usize, start: Offset, order: u32) -> bool {
        let Some(line) = self.fresh_line(tables, slot_of(caller), order) else { return false };
        let place = line.filled() + 1;
        if place > PLACES {
            return false;
        }
        // A place that is filled after all is one more than was thought.
        let filled = line.fill(place, start);
        line.set_filled(place);
        filled
    }

    /// Whether a place of a caller for an order of the lowest level is filled, more or less.
    #[inline(always)]
    pub(super) fn may_have_fresh(&self, tables: Tables<'_, WORDS>, caller: usize, order: Order) -> bool {
        self.fresh_line(tables, slot_of(caller), order.get()).is_some_and(|line| line.filled() > 0)
    }
}
