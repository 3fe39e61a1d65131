//! What is known of the contents of idle pages.
//!
//! # Protocol
//!
//! Beside each table of a pool that tracks this stand notes about its entries. They are relative: what an entry *stands for* is what the
//! entry above its table stands for, or the opposite if the entry *flips* it. Above the top everything is dirty.
//!
//! | notes | |
//! |---|---|
//! | flips | the entry stands for the opposite of what the entry above its table stands for |
//! | mixed (above the lowest level) | below the entry there may be notes that are not zero |
//!
//! A page holds what the lowest entry around it stands for that has notes. So all-zero notes say that all is dirty, and every page, taken or
//! idle, has one answer, whatever the size of the run that is asked about (requirement 65).
//!
//! 1. Only the owner of an entry, who has all of its pages, writes its notes and those below it. The claim and the release in the tables
//!    order them. What an entry stands for can therefore not change while somebody else owns a part of it.
//! 2. Below an entry that is not mixed all notes are zero. The owner of a part who is about to write a one raises `mixed` of the
//!    entries above first, as far as it is not raised. Until that owner has given the part back nobody owns the entry, so
//!    nobody relies on the rest of the way up. Only the owner of an entry lowers its `mixed`.
//! 3. A free writes the notes of its run, and zeros below it: what is not freed as cleared is dirty. Pages that come back unused keep
//!    theirs, and nothing is written for that, in whatever pieces they come back.
//! 4. A split writes nothing: what stands below is right already.
//! 5. A merge makes notes simple: if all entries of the table flip and none is mixed, the entry above flips instead; if none has
//!    notes, the entry above is not mixed any more. So cleared and dirty neighbours merge, and nothing is lost.
//! 6. A caller that forgets what is known says so first, and then makes the idle pages dirty, until there was a moment at which none was
//!    cleared and none was hidden in a motion (`motion`). A caller that has taken pages, did not use them and is no motion all the while (a
//!    reservation, a handle, a failed allocation of many runs) has asked before it took them whether somebody is forgetting, and
//!    puts them back in a motion in which it asks whether somebody has begun since: if either is so, they are dirty
//!    ([`Unused`]). Of those that put back and those that forget one sees the other, or what it did.
//!
//! A free costs one table's notes, and a look at the entries above. Where its run is mixed it also costs one table's notes for each table
//! below that has any: each of them was paid for by a merge, or by frees of parts, that left them there.

use super::GenPool;
use super::motion::Moving;
use super::plane::Plane;
use super::shape::{Place, WORD};
use super::tables::Tables;
use crate::error::FreeError;
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::page_word::PageWord;
use crate::sync::{AtomicU64, Ordering, order_after_write};
use crate::table::{Notes, Table};

/// Where the notes of each level stand, if there are any.
pub(super) struct Clear {
    notes: Option<Plane>,
    cleared: Barren,
    dirty: Barren,
    /// How often somebody began to forget what is known, above [`FORGETTING`]; how many are at it, in those bits (rule 6).
    forgotten: AtomicU64,
}

/// The bits that count those who are forgetting at the moment.
const FORGETTING: u64 = 0xFFFF;

/// Whether what is known was being forgotten at some moment, and how often it had been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten(u64);

/// For idle pages that hold one or the other: no run of this order or more was found, and none has come back since; `u64::MAX` if nothing
/// is known. Only for callers that prefer such pages or do not care.
///
/// Too low, so that a wish is not granted, where somebody frees at the moment when a search has found nothing; until the next such free. Too
/// high, after somebody has taken the last one; that costs the next search.
struct Barren(AtomicU64);

impl Clear {
    pub(super) fn new(notes: Option<Plane>) -> Clear {
        // Nobody has cleared anything yet.
        let [cleared, dirty] = [0, u64::MAX].map(|barren| Barren(AtomicU64::new(barren)));
        Clear { notes, cleared, dirty, forgotten: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn is_tracked(&self) -> bool {
        self.notes.is_some()
    }

    /// Says that what is known is being forgotten, while `forget` does it.
    pub(super) fn forgetting<T>(&self, forget: impl FnOnce() -> T) -> T {
        // SeqCst: the write half of rule 6; pairs with `GenPool::forgotten`.
        self.forgotten.fetch_add(FORGETTING + 2, Ordering::SeqCst);
        let done = forget();
        // SeqCst: as above; who sees the end took his pages after it.
        self.forgotten.fetch_sub(1, Ordering::SeqCst);
        done
    }

    fn barren(&self, contents: Contents) -> &AtomicU64 {
        if contents == Contents::Cleared { &self.cleared.0 } else { &self.dirty.0 }
    }

    #[inline]
    pub(super) fn is_barren(&self, contents: Contents, order: Order) -> bool {
        // Relaxed: a hint.
        u64::from(order.get()) >= self.barren(contents).load(Ordering::Relaxed)
    }

    /// Notes that a search found no such run.
    pub(super) fn set_barren(&self, contents: Contents, order: Order) {
        // Relaxed: as in `is_barren`.
        self.barren(contents).store(u64::from(order.get()), Ordering::Relaxed);
    }

    /// The order from which on nothing was found, if there is one.
    #[inline]
    fn barren_from(&self, contents: Contents) -> Option<u64> {
        // Relaxed: as in `is_barren`.
        Some(self.barren(contents).load(Ordering::Relaxed)).filter(|&order| order != u64::MAX)
    }

    /// Notes that there may be runs again. Looked at first, because the line is everybody's.
    fn set_fertile(&self, contents: Contents) {
        if self.barren_from(contents).is_some() {
            // Relaxed: as in `is_barren`.
            self.barren(contents).store(u64::MAX, Ordering::Relaxed);
        }
    }
}

/// What pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// All zero.
    Cleared,
    /// Anything, for all that is known.
    Dirty,
}

/// Pages that go back as they came: nobody has used them.
pub(super) struct Unused<'p, const WORDS: usize> {
    pool: &'p GenPool<'p, WORDS>,
    /// Whether what was known of them has been forgotten since.
    forgotten: bool,
    /// Rule 6; where nothing is known, nothing is hidden from who forgets.
    _moving: Option<Moving<'p>>,
}

impl<const WORDS: usize> Unused<'_, WORDS> {
    /// Puts an owned run back.
    pub(super) fn put_back(&self, run: Run) -> Result<(), FreeError> {
        if self.forgotten { self.pool.give_back(run) } else { self.pool.put_back(run) }
    }

    /// Puts owned pages back that lie side by side, as the largest runs there are.
    pub(super) fn put_back_row(&self, row: Extent) {
        // Owned, so none of them can be idle.
        row.runs(self.pool.largest_entry()).for_each(|run| _ = Unused::put_back(self, run));
    }

    /// Puts owned pages of one word back.
    pub(super) fn put_back_word(&self, word: PageWord) {
        if self.forgotten {
            // Owned, here and below, so none of them can be idle.
            word.runs().for_each(|run| _ = self.pool.give_back(run));
        } else if !word.is_empty() {
            let _ = self.pool.put_back_word(word.base().get(), word.mask());
        }
    }

    /// Puts the first few of some owned runs back, neighbours within a word together; says how many. No more than `writes` words
    /// are written.
    pub(super) fn put_back_first(&self, caller: usize, starts: &[u64], order: Order, writes: usize) -> usize {
        let (pool, first) = (self.pool, starts.get(..writes).unwrap_or(starts));
        // A write waits for its line, and the next one for the write: looked at together, the lines come at the same time.
        first.iter().for_each(|&start| pool.expect_word(Offset::new(start)));
        if !self.forgotten && order < WORD {
            return pool.put_back_narrow(caller, starts, order, writes);
        }
        for run in first.iter().map(|&start| Run::aligned(start, order)) {
            // Owned, so it cannot be idle.
            let _ = if self.forgotten { pool.give_back(run) } else { pool.put_back_as(caller, run) };
        }
        first.len()
    }
}

/// Pages that were not used.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// To be read before pages are taken that may go back unused (rule 6).
    #[inline]
    pub(crate) fn forgotten(&self) -> Forgotten {
        // SeqCst: the read half of rule 6; pairs with `Clear::forgetting`.
        Forgotten(self.clear.forgotten.load(Ordering::SeqCst))
    }

    /// Makes an owned run idle that was taken when or after `since` was read, and not used.
    #[cold]
    pub(crate) fn give_back_unused(&self, since: Forgotten, run: Run) -> Result<(), FreeError> {
        self.unused(since).put_back(run)
    }

    /// Runs that were taken when or after `since` was read, and not used, go back by what this returns, as long as it lives.
    pub(super) fn unused(&self, since: Forgotten) -> Unused<'_, WORDS> {
        // The motion before the look: see rule 6.
        let moving = self.clear.is_tracked().then(|| self.motion.begin());
        order_after_write();
        if moving.is_some() {
            // Nobody has marked them, so nobody has said that there are such runs again.
            self.clear.set_fertile(Contents::Cleared);
            self.clear.set_fertile(Contents::Dirty);
        }
        let forgotten = since.0 & FORGETTING != 0 || since.0 / (FORGETTING + 1) != self.forgotten().0 / (FORGETTING + 1);
        Unused { pool: self, forgotten, _moving: moving }
    }
}

/// The notes of a table: flips, and (above the lowest level) mixed.
pub(super) type Beside<'p, const WORDS: usize> = Option<(&'p Table<WORDS>, Option<&'p Table<WORDS>>)>;

/// Which of the 64 entries around one all differ from what the entry above the table stands for, or do not, with all that is below.
#[inline]
fn held_in<const WORDS: usize>(notes: Beside<'_, WORDS>, entry: u32, flipped: bool) -> u64 {
    let Some((flips, mixed)) = notes else { return 0 };
    let flips = flips.note_word(entry);
    (if flipped { flips } else { !flips }) & !mixed.map_or(0, |mixed| mixed.note_word(entry))
}

/// A table, and where it holds one or the other.
pub(super) struct Sight<'p, const WORDS: usize> {
    pub(super) here: &'p Table<WORDS>,
    notes: Beside<'p, WORDS>,
    flipped: bool,
}

impl<const WORDS: usize> Sight<'_, WORDS> {
    /// Which of the 64 entries around one hold nothing else, idle or not.
    #[inline(always)]
    pub(super) fn holding(&self, entry: u32) -> u64 {
        held_in(self.notes, entry, self.flipped)
    }

    /// Below which of them there may be notes.
    #[inline(always)]
    pub(super) fn mixed(&self, entry: u32) -> u64 {
        self.notes.and_then(|(_, mixed)| mixed).map_or(0, |mixed| mixed.note_word(entry))
    }

    /// Those of them that are idle.
    #[inline(always)]
    pub(super) fn idle(&self, entry: u32) -> u64 {
        self.here.note_word(entry) & self.holding(entry)
    }

    /// A run of `order` that is idle and holds nothing else, in a word that holds other things too if there is one; and which such words there
    /// are ([`Table::first_in_part`]).
    pub(super) fn first_idle(&self, order: u32) -> Option<(u32, u64)> {
        let (held, here) = (self.held(), self.here.note_words());
        let idle = core::array::from_fn(|index| held[index] & here[index]);
        Table::<WORDS>::first_in_part(&idle, order)
    }

    /// [`Sight::first_idle`] of a table all of which is idle.
    pub(super) fn first_held(&self, order: u32) -> Option<(u32, u64)> {
        Table::<WORDS>::first_in_part(&self.held(), order)
    }

    /// [`Sight::holding`] of all words.
    #[inline(always)]
    fn held(&self) -> [u64; WORDS] {
        let Some((flips, mixed)) = self.notes else { return [0; WORDS] };
        let (flips, opposite) = (flips.note_words(), if self.flipped { 0 } else { !0 });
        match mixed.map(Table::note_words) {
            Some(mixed) => core::array::from_fn(|index| (flips[index] ^ opposite) & !mixed[index]),
            None => core::array::from_fn(|index| flips[index] ^ opposite),
        }
    }
}

/// The notes.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Whether it remembers which idle pages are cleared.
    #[inline]
    pub(crate) fn tracks_clear(&self) -> bool {
        self.clear.is_tracked()
    }

    #[inline]
    pub(super) fn notes(&self, level: u32, table: usize) -> Beside<'_, WORDS> {
        self.beside(self.clear.notes.as_ref()?, level, table)
    }

    /// Whether the entry above a table stands for cleared pages: what the table's own notes are relative to.
    #[inline]
    pub(super) fn stands_for_cleared(&self, level: u32, table: usize) -> bool {
        self.clear.notes.as_ref().is_some_and(|plane| self.stands_in(self.tables(), plane, level, table))
    }

    /// [`GenPool::stands_for_cleared`] by notes that the caller has at hand.
    #[inline(always)]
    fn stands_in(&self, tables: Tables<'_, WORDS>, plane: &Plane, level: u32, mut table: usize) -> bool {
        let (mut cleared, mut above, top) = (false, level, self.shape.top);
        while above < top {
            above += 1;
            let (up, entry) = self.shape.parent(table);
            cleared ^= tables.get(plane.index(above, up)).note(entry);
            table = up;
        }
        cleared
    }

    /// A table with its notes, and where it holds this.
    #[inline(always)]
    pub(super) fn sight<'p>(&'p self, tables: Tables<'p, WORDS>, level: u32, table: usize, contents: Contents) -> Sight<'p, WORDS> {
        let here = tables.table(level, table);
        match &self.clear.notes {
            Some(plane) => {
                let flipped = (contents == Contents::Cleared) != self.stands_in(tables, plane, level, table);
                Sight { here, notes: Some(tables.beside(plane, level, table)), flipped }
            }
            None => Sight { here, notes: None, flipped: contents == Contents::Cleared },
        }
    }

    /// [`GenPool::sight`] of the table below an entry of one that was looked at.
    #[inline(always)]
    pub(super) fn sight_below<'p>(
        &'p self,
        tables: Tables<'p, WORDS>,
        level: u32,
        table: usize,
        (above, entry): (&Sight<'_, WORDS>, u32),
    ) -> Sight<'p, WORDS> {
        let notes = self.clear.notes.as_ref().map(|plane| tables.beside(plane, level, table));
        let flip = above.notes.is_some_and(|(flips, _)| flips.note(entry));
        Sight { here: tables.table(level, table), notes, flipped: above.flipped != flip }
    }

    /// Writes the notes of an owned run (rule 3).
    #[inline]
    pub(super) fn mark(&self, run: Run, contents: Contents) {
        if self.clear.is_tracked() {
            let place = self.shape.place(run);
            self.write_notes(place, contents);
            if let Some(barren) = self.clear.barren_from(contents) {
                self.revive(place, contents, barren);
            }
        }
    }

    /// A run is about to be idle: whether it makes one of those of which none was found.
    #[inline(never)]
    fn revive(&self, Place { level, table, entry, order }: Place, contents: Contents, barren: u64) {
        let (idle, holds) = self.holding_in(level, table, (entry / 64) as usize, contents);
        let mut grown = order;
        if order < 6 {
            let own = ((1 << (1 << order)) - 1) << (entry % 64);
            while grown < 6 && Table::<WORDS>::is_within(entry, grown + 1, (idle | own) & holds) {
                grown += 1;
            }
        }
        // What reaches beyond a word may make a run of any order.
        if grown >= 6 || u64::from(level * Self::RADIX + grown) >= barren {
            self.clear.set_fertile(contents);
        }
    }

    fn write_notes(&self, place: Place, contents: Contents) {
        let Place { level, table, entry, order } = place;
        let Some((flips, mixed)) = self.notes(level, table) else { return };
        let flip = (contents == Contents::Cleared) != self.stands_for_cleared(level, table);
        if let Some(mixed) = mixed {
            self.wipe_below(place, mixed);
        }
        if flip {
            self.mix_above(level, table);
        }
        flips.set_notes(entry, order, flip);
    }

    /// Rule 2.
    #[inline]
    fn mix_above(&self, level: u32, mut table: usize) {
        for above in level + 1..=self.shape.top {
            let (up, entry) = self.shape.parent(table);
            match self.notes(above, up) {
                Some((_, Some(mixed))) if !mixed.note(entry) => mixed.set_notes(entry, 0, true),
                _ => return,
            }
            table = up;
        }
    }

    /// Makes the notes below some owned entries zero.
    #[inline]
    fn wipe_below(&self, Place { level, table, entry, order }: Place, mixed: &Table<WORDS>) {
        if mixed.notes(entry, order) == Notes::None {
            return;
        }
        for entry in mixed.members(entry, order) {
            self.wipe(level.saturating_sub(1), self.shape.child(table, entry));
        }
        mixed.set_notes(entry, order, false);
    }

    #[cold]
    fn wipe(&self, level: u32, table: usize) {
        let Some((flips, mixed)) = self.notes(level, table) else { return };
        let whole = Place { level, table, entry: 0, order: Self::RADIX };
        if let Some(mixed) = mixed {
            self.wipe_below(whole, mixed);
        }
        flips.set_notes(0, Self::RADIX, false);
    }

    /// A word of a table, and the entries in it all of whose pages hold this, idle or not, as far as can be seen.
    #[inline]
    fn holding_in(&self, level: u32, table: usize, index: usize, contents: Contents) -> (u64, u64) {
        let flipped = (contents == Contents::Cleared) != self.stands_for_cleared(level, table);
        let entry = index as u32 * 64;
        (self.table(level, table).note_word(entry), held_in(self.notes(level, table), entry, flipped))
    }

    /// [`GenPool::is_all`] of owned entries of a table that was looked at before: where they lie in one word, that is seen at once. What
    /// the entry above stands for may have changed since.
    #[inline(always)]
    pub(super) fn holds(&self, tables: Tables<'_, WORDS>, place: Place, sight: &Sight<'_, WORDS>, contents: Contents) -> bool {
        let Place { level, table, entry, order } = place;
        if let Some(plane) = &self.clear.notes
            && order <= WORD.get()
        {
            let flipped = (contents == Contents::Cleared) != self.stands_in(tables, plane, level, table);
            if Table::<WORDS>::is_within(entry, order, held_in(sight.notes, entry, flipped)) {
                return true;
            }
        }
        self.is_all(self.shape.run(place), contents)
    }

    /// What the notes of an owned run say; dirty if not all of it is cleared.
    pub(crate) fn contents(&self, run: Run) -> Contents {
        if self.is_all(run, Contents::Cleared) { Contents::Cleared } else { Contents::Dirty }
    }

    /// Whether the notes of an owned run say that every page of it holds this.
    pub(super) fn is_all(&self, run: Run, contents: Contents) -> bool {
        if !self.clear.is_tracked() {
            return contents == Contents::Dirty;
        }
        let place = self.shape.place(run);
        let flipped = (contents == Contents::Cleared) != self.stands_for_cleared(place.level, place.table);
        self.are_all(place, flipped)
    }

    /// Whether all pages of some owned entries differ from what the entry above the table stands for, or none does.
    #[inline]
    fn are_all(&self, place: Place, flipped: bool) -> bool {
        let Some((flips, mixed)) = self.notes(place.level, place.table) else { return !flipped };
        match mixed.filter(|mixed| mixed.notes(place.entry, place.order) != Notes::None) {
            Some(mixed) => self.are_all_mixed(place, flips, mixed, flipped),
            None => flips.notes(place.entry, place.order) == if flipped { Notes::All } else { Notes::None },
        }
    }

    /// [`GenPool::are_all`] where something may stand below.
    #[cold]
    fn are_all_mixed(&self, place: Place, flips: &Table<WORDS>, mixed: &Table<WORDS>, flipped: bool) -> bool {
        let Place { level, table, entry, order } = place;
        (entry..entry + (1 << order)).all(|entry| {
            let below = flipped != flips.note(entry);
            let child =
                Place { level: level.saturating_sub(1), table: self.shape.child(table, entry), entry: 0, order: Self::RADIX };
            if mixed.note(entry) { self.are_all(child, below) } else { !below }
        })
    }

    /// Rule 5, for a table that has been claimed and is about to be merged.
    #[inline]
    pub(super) fn merge_notes(&self, level: u32, table: usize) {
        let Some((flips, mixed)) = self.notes(level, table) else { return };
        let (above, entry) = self.shape.parent(table);
        let Some((flips_above, Some(mixed_above))) = self.notes(level + 1, above) else { return };
        let same = flips.notes(0, Self::RADIX);
        if same == Notes::Some || mixed.is_some_and(|mixed| mixed.notes(0, Self::RADIX) != Notes::None) {
            // The entry is mixed already (rule 2).
            return;
        }
        if same == Notes::All {
            flips.set_notes(0, Self::RADIX, false);
            flips_above.set_notes(entry, 0, !flips_above.note(entry));
        }
        mixed_above.set_notes(entry, 0, false);
    }
}
