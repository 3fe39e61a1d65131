//! What is known of the contents of idle pages.
//!
//! # Protocol
//!
//! Beside each table of a pool that tracks this stand notes about its entries, valid while an entry is idle at its level:
//!
//! | notes | all pages of the entry are |
//! |---|---|
//! | clear | cleared |
//! | mixed (above the lowest level) | as the notes of the table below say, which were valid when it was merged |
//! | neither | dirty, or nothing is known: all-zero notes are true |
//!
//! 1. Only the owner of an entry writes its notes, and the claim and the release in the tables order them.
//! 2. A free writes them first: what is not freed as cleared is dirty. Pages that come back unused keep theirs.
//! 3. A split hands clear or dirty down to the whole table below; if the entry is mixed the notes there are right already.
//! 4. A merge sums the notes of the table up: clear, dirty, or mixed. So cleared and dirty neighbours merge, and nothing is lost.
//! 5. Who forgets what is known says so first, and then makes the idle pages dirty, until there was a moment at which none was
//!    cleared and none was hidden in a motion (`motion`). Who has taken pages, did not use them and is no motion all the while (a
//!    reservation, a handle, a failed allocation of many runs) has asked before he took them whether somebody is forgetting, and
//!    puts them back in a motion in which he asks whether somebody has begun since: if either is so, they are dirty
//!    ([`Unused`]). Of those who put back and those who forget one sees the other, or what he did.
//!
//! Every step costs one table's notes at most, whatever the order.

use super::GenPool;
use super::motion::Moving;
use super::plane::Plane;
use super::shape::{Place, WORD};
use crate::error::FreeError;
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, order_after_write};
use crate::table::{Notes, Table};

/// Where the notes of each level stand, if there are any.
pub(super) struct Clear {
    notes: Option<Plane>,
    cleared: Hint,
    dirty: Hint,
    /// How often somebody began to forget what is known, above [`FORGETTING`]; how many are at it, in those bits (rule 5).
    forgotten: AtomicU64,
}

/// The bits that count those who are forgetting at the moment.
const FORGETTING: u64 = 0xFFFF;

/// Whether what is known was being forgotten at some moment, and how often it had been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten(u64);

/// Where to look, and where not, for idle pages that hold one or the other. Both may be wrong, which costs a look or a wish.
struct Hint {
    /// Where such pages were found last: the next search starts here, and then once more from the bottom.
    last: AtomicU64,
    /// No such run of this order or more was found, and none has come back since. For those who only prefer such pages: wrong for
    /// a moment while somebody frees, and where pages come back unused.
    barren: AtomicU64,
}

impl Hint {
    fn new() -> Hint {
        Hint { last: AtomicU64::new(0), barren: AtomicU64::new(u64::MAX) }
    }
}

impl Clear {
    pub(super) fn new(notes: Option<Plane>) -> Clear {
        Clear { notes, cleared: Hint::new(), dirty: Hint::new(), forgotten: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn is_tracked(&self) -> bool {
        self.notes.is_some()
    }

    /// Says that what is known is being forgotten, while `forget` does it.
    pub(super) fn forgetting<T>(&self, forget: impl FnOnce() -> T) -> T {
        // SeqCst: the write half of rule 5; pairs with `GenPool::forgotten`.
        self.forgotten.fetch_add(FORGETTING + 2, Ordering::SeqCst);
        let done = forget();
        // SeqCst: as above; who sees the end took his pages after it.
        self.forgotten.fetch_sub(1, Ordering::SeqCst);
        done
    }

    fn hint(&self, contents: Contents) -> &Hint {
        if contents == Contents::Cleared { &self.cleared } else { &self.dirty }
    }

    pub(super) fn last(&self, contents: Contents) -> u64 {
        // Relaxed: a hint.
        self.hint(contents).last.load(Ordering::Relaxed)
    }

    pub(super) fn is_barren(&self, contents: Contents, order: Order) -> bool {
        // Relaxed: a hint.
        u64::from(order.get()) >= self.hint(contents).barren.load(Ordering::Relaxed)
    }

    pub(super) fn set_barren(&self, contents: Contents, order: Option<Order>) {
        let (hint, order) = (self.hint(contents), order.map_or(u64::MAX, |order| u64::from(order.get())));
        // Relaxed: as in `is_barren`. Looked at first, because the line is everybody's.
        if hint.barren.load(Ordering::Relaxed) != order {
            hint.barren.store(order, Ordering::Relaxed);
        }
    }

    pub(super) fn remember(&self, contents: Contents, run: Run) {
        // Relaxed: as in `last`.
        self.hint(contents).last.store(run.start().get(), Ordering::Relaxed);
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
    /// Rule 5; where nothing is known, nothing is hidden from who forgets.
    _moving: Option<Moving<'p>>,
}

impl<const WORDS: usize> Unused<'_, WORDS> {
    /// Puts an owned run back.
    pub(super) fn put_back(&self, run: Run) -> Result<(), FreeError> {
        if self.forgotten { self.pool.give_back(run) } else { self.pool.put_back(run) }
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
    /// To be read before pages are taken that may go back unused (rule 5).
    #[inline]
    pub(super) fn forgotten(&self) -> Forgotten {
        // SeqCst: the read half of rule 5; pairs with `Clear::forgetting`.
        Forgotten(self.clear.forgotten.load(Ordering::SeqCst))
    }

    /// Runs that were taken when or after `since` was read, and not used, go back by what this returns, as long as it lives.
    pub(super) fn unused(&self, since: Forgotten) -> Unused<'_, WORDS> {
        // The motion before the look: see rule 5.
        let moving = self.clear.is_tracked().then(|| self.motion.begin());
        order_after_write();
        let forgotten = since.0 & FORGETTING != 0 || since.0 / (FORGETTING + 1) != self.forgotten().0 / (FORGETTING + 1);
        Unused { pool: self, forgotten, _moving: moving }
    }
}

/// The notes.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The notes of a table: cleared, and (above the lowest level) mixed.
    pub(super) fn notes(&self, level: u32, table: usize) -> Option<(&Table<WORDS>, Option<&Table<WORDS>>)> {
        self.beside(self.clear.notes.as_ref()?, level, table)
    }

    /// Writes the notes of an owned run (rule 2).
    #[inline]
    pub(super) fn mark(&self, run: Run, contents: Contents) {
        if self.clear.is_tracked() {
            self.write_notes(self.shape.place(run), contents);
            self.clear.set_barren(contents, None);
        }
    }

    fn write_notes(&self, Place { level, table, entry, order }: Place, contents: Contents) {
        let Some((clear, mixed)) = self.notes(level, table) else { return };
        clear.set_notes(entry, order, contents == Contents::Cleared);
        if let Some(mixed) = mixed {
            mixed.set_notes(entry, order, false);
        }
    }

    /// What the notes of an owned run say; dirty if not all of it is cleared.
    pub(crate) fn contents(&self, run: Run) -> Contents {
        if self.is_all(run, Contents::Cleared) { Contents::Cleared } else { Contents::Dirty }
    }

    /// Whether the notes of an owned run say that every page of it holds this.
    pub(super) fn is_all(&self, run: Run, contents: Contents) -> bool {
        let Place { level, table, entry, order } = self.shape.place(run);
        let Some((clear, mixed)) = self.notes(level, table) else { return contents == Contents::Dirty };
        match contents {
            Contents::Cleared => clear.notes(entry, order) == Notes::All,
            Contents::Dirty => {
                clear.notes(entry, order) == Notes::None && mixed.is_none_or(|mixed| mixed.notes(entry, order) == Notes::None)
            }
        }
    }

    /// Rule 3, for a table that is about to be filled; it and the entry above are the caller's.
    #[inline]
    pub(super) fn split_notes(&self, level: u32, table: usize) {
        if self.clear.is_tracked() {
            let (above, entry) = self.shape.parent(table);
            let Some((clear, mixed)) = self.notes(level + 1, above) else { return };
            let whole = Place { level, table, entry: 0, order: Self::RADIX };
            if clear.notes(entry, 0) == Notes::All {
                self.write_notes(whole, Contents::Cleared);
            } else if mixed.is_none_or(|mixed| mixed.notes(entry, 0) == Notes::None) {
                self.write_notes(whole, Contents::Dirty);
            }
        }
    }

    /// Rule 4, for a table that has been claimed and is about to be merged.
    #[inline]
    pub(super) fn merge_notes(&self, level: u32, table: usize) {
        let Some((clear, mixed)) = self.notes(level, table) else { return };
        let (clear, mixed) = (clear.notes(0, Self::RADIX), mixed.map_or(Notes::None, |mixed| mixed.notes(0, Self::RADIX)));
        let (above, entry) = self.shape.parent(table);
        let place = Place { level: level + 1, table: above, entry, order: 0 };
        let contents = if clear == Notes::All { Contents::Cleared } else { Contents::Dirty };
        self.write_notes(place, contents);
        if (clear == Notes::Some || mixed != Notes::None)
            && let Some((_, Some(mixed))) = self.notes(level + 1, above)
        {
            mixed.set_notes(entry, 0, true);
        }
    }

    /// Hands the notes of an owned run down to where those of `part` of it stand. All of `run` is still the caller's.
    pub(super) fn push_notes(&self, run: Run, part: Extent) {
        if !self.clear.is_tracked() {
            return;
        }
        let from = self.shape.place(run).level;
        for piece in part.runs(self.largest_entry()) {
            for level in (self.shape.place(piece).level..from).rev() {
                let (table, _) = self.shape.entry(piece.start(), level);
                self.split_notes(level, table);
            }
        }
    }
}
