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
//!
//! Every step costs one table's notes at most, whatever the order.

use super::GenPool;
use super::plane::Plane;
use super::shape::Place;
use crate::extent::Extent;
use crate::offset::Run;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering};
use crate::table::{Notes, Table};

/// Where the notes of each level stand, if there are any.
pub(super) struct Clear {
    notes: Option<Plane>,
    cleared: Hint,
    dirty: Hint,
}

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
        Clear { notes, cleared: Hint::new(), dirty: Hint::new() }
    }

    #[inline]
    pub(super) fn is_tracked(&self) -> bool {
        self.notes.is_some()
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
