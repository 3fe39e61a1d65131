//! Which runs reservations hold, so that a free of one of them is refused.
//!
//! # Protocol
//!
//! Beside each table of a pool that takes reservations stand marks about its entries. They say nothing about idle or not: the
//! tables do. What they say is whose a taken entry is, for the sake of a mistaken free.
//!
//! | marks | |
//! |---|---|
//! | held | the entry is part of a run that a reservation holds |
//! | below (above the lowest level) | there may be held runs below this entry |
//!
//! 1. Only a reservation writes the held marks of a run, and only while it owns the run in the tables. They stand at the run's own
//!    level, so that holding and committing cost the same for every order.
//! 2. `below` is a hint, never too low: it is raised after the held marks. It stays when they go; a free that is misled by it
//!    takes it away, looks again, and raises it anew if there is something after all. Taking it away and then looking stands
//!    against marking and then raising it: one of the two sees the other.
//! 3. While no reservation lives, frees read one line that nobody writes, and no marks.

use super::GenPool;
use super::plane::Plane;
use super::shape::Place;
use crate::offset::{Offset, Run};
use crate::sync::{AtomicU32, Ordering, full_fence};

/// Where the marks stand, if there are any.
pub(super) struct Held {
    marks: Option<Plane>,
    /// Reservations that live.
    count: AtomicU32,
}

impl Held {
    pub(super) fn new(marks: Option<Plane>) -> Held {
        Held { marks, count: AtomicU32::new(0) }
    }

    /// Counts a reservation; `false` if the pool takes none.
    pub(super) fn enter(&self) -> bool {
        if self.marks.is_some() {
            // SeqCst: raised before the first mark, so that nobody who could find it does not look (rule 3).
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        self.marks.is_some()
    }

    pub(super) fn leave(&self) {
        // SeqCst: as in `enter`; the marks are gone.
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Marks a run that the caller owns and has counted a reservation for. O(levels).
    pub(super) fn hold(&self, run: Run) {
        let Some(marks) = &self.held.marks else { return };
        let Place { level, table, entry, order } = self.shape.place(run);
        if let Some((held, _)) = self.beside(marks, level, table) {
            held.set_notes(entry, order, true);
        }
        // Mark, then raise the hints: the write half of rule 2.
        full_fence();
        for above in level + 1..=self.shape.top {
            let (table, entry) = self.shape.entry(run.start(), above);
            if let Some((_, Some(below))) = self.beside(marks, above, table)
                && !below.contains(entry)
            {
                below.insert(entry);
            }
        }
    }

    /// Takes the marks of a held run away. O(1).
    pub(super) fn unhold(&self, run: Run) {
        let Some(marks) = &self.held.marks else { return };
        let Place { level, table, entry, order } = self.shape.place(run);
        if let Some((held, _)) = self.beside(marks, level, table) {
            held.set_notes(entry, order, false);
        }
    }

    /// Whether a reservation lives.
    pub(super) fn any_held(&self) -> bool {
        // SeqCst: pairs with `Held::enter`. Whoever frees a run that is being reserved at this moment frees what was not his.
        self.held.count.load(Ordering::SeqCst) != 0
    }

    /// A page of `run` that a reservation holds. One load while none lives, else O(levels), and a look at each stale hint that it
    /// meets and puts right.
    #[inline]
    pub(super) fn held_in(&self, run: Run) -> Option<Offset> {
        if self.any_held() { self.find_held(run) } else { None }
    }

    #[cold]
    fn find_held(&self, run: Run) -> Option<Offset> {
        let marks = self.held.marks.as_ref()?;
        let place = self.shape.place(run);
        let above = (place.level + 1..=self.shape.top).any(|level| {
            let (table, entry) = self.shape.entry(run.start(), level);
            self.beside(marks, level, table).is_some_and(|(held, _)| held.contains(entry))
        });
        if above { Some(run.start()) } else { self.held_among(marks, place) }
    }

    /// The first page that is held in or below a run of entries.
    fn held_among(&self, marks: &Plane, place: Place) -> Option<Offset> {
        let (held, below) = self.beside(marks, place.level, place.table)?;
        if let Some(entry) = held.members(place.entry, place.order).next() {
            return Some(self.shape.run(Place { entry, order: 0, ..place }).start());
        }
        let below = below?;
        below.members(place.entry, place.order).find_map(|entry| {
            let (level, table) = (place.level.checked_sub(1)?, self.shape.child(place.table, entry));
            let look = || self.held_among(marks, Place { level, table, entry: 0, order: Self::RADIX });
            look().or_else(|| {
                // Take it away, then look again, all of it SeqCst: the read half of rule 2.
                below.remove(entry);
                look().inspect(|_| _ = below.insert(entry))
            })
        })
    }
}
