//! Proof that a refusal is true: nothing came or was hidden while we searched.
//!
//! A search that found nothing has looked at the tables one after another. It proves that there was a moment without a fitting
//! idle run only if no run became idle during the search, and none was hidden by somebody who was moving it.
//!
//! 1. Whoever hides idle pages for a while (splits, merges, undoes a claim, moves a table from one list to another) does so
//!    between [`Motion::begin`] and the drop of the guard.
//! 2. Whoever made a run idle, or ended such a motion, calls [`Motion::note`] *after* it can be found.
//! 3. A search that is about to refuse first becomes a watcher, reads the count of notes, searches again, and refuses only if
//!    the count is the same and nothing is in motion.
//!
//! Writing "findable" and then reading `watchers` stands against writing `watchers` and then searching: one of the two sees
//! the other. Without a watcher a note is one load of a line that nobody writes, so refusals pay and allocations do not.

use crate::sync::{AtomicU32, AtomicU64, Ordering, caller_slot, full_fence, in_models, order_after_write};

/// Callers that can move something at the same time without meeting.
const SLOTS: usize = in_models(1, 8);

/// A flag or a count on a line of its own; 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
struct Line(AtomicU32);

/// What is being moved in a pool.
pub(crate) struct Motion {
    /// 1 while the caller who has taken the line moves something.
    moving: [Line; SLOTS],
    /// Those who found no line.
    others: Line,
    watchers: AtomicU32,
    notes: AtomicU64,
}

impl Motion {
    pub(crate) fn new() -> Motion {
        let line = || Line(AtomicU32::new(0));
        Motion { moving: core::array::from_fn(|_| line()), others: line(), watchers: AtomicU32::new(0), notes: AtomicU64::new(0) }
    }

    /// Says that idle pages are being moved until the guard is dropped.
    pub(crate) fn begin(&self) -> Moving<'_> {
        let first = caller_slot(SLOTS);
        for slot in [first, first + 1] {
            let line = &self.moving[slot & (SLOTS - 1)].0;
            // SeqCst: ordered before the hiding that follows, as a watcher sees it (rule 1). Relaxed on failure, and before:
            // somebody else's line.
            if line.load(Ordering::Relaxed) == 0 && line.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                return Moving { motion: self, line: Some(line) };
            }
        }
        // SeqCst: as above.
        self.others.0.fetch_add(1, Ordering::SeqCst);
        Moving { motion: self, line: None }
    }

    /// Says that a run has become findable.
    #[inline]
    pub(crate) fn note(&self) {
        order_after_write();
        // SeqCst: the read half of rule 2; pairs with `watch`.
        if self.watchers.load(Ordering::SeqCst) != 0 {
            self.notes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Becomes a watcher until the guard is dropped.
    pub(crate) fn watch(&self) -> Watch<'_> {
        // SeqCst: the write half of rule 3; pairs with `note`.
        self.watchers.fetch_add(1, Ordering::SeqCst);
        // Searches read tables by relaxed loads: none of them may come before the write.
        full_fence();
        Watch { motion: self }
    }
}

/// Idle pages are being moved while this lives.
pub(crate) struct Moving<'m> {
    motion: &'m Motion,
    /// The line that is the caller's alone, if he got one.
    line: Option<&'m AtomicU32>,
}

impl Moving<'_> {
    /// Ends without a note: nothing was hidden that can be found again.
    pub(crate) fn nothing_hidden(self) {
        self.end();
        core::mem::forget(self);
    }

    fn end(&self) {
        match self.line {
            // Release: pairs with `Watch::nothing_since`; who sees the end sees the note. Nobody else writes the line.
            Some(line) => line.store(0, Ordering::Release),
            // SeqCst: pairs with `Watch::nothing_since`.
            None => {
                self.motion.others.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        // First the note, then the end of the motion: a watcher that misses the motion must see the note.
        self.motion.note();
        self.end();
    }
}

/// Somebody who is about to refuse.
pub(crate) struct Watch<'m> {
    motion: &'m Motion,
}

impl Watch<'_> {
    /// How many notes there have been.
    pub(crate) fn notes(&self) -> u64 {
        // SeqCst: pairs with `Motion::note` (rule 3).
        self.motion.notes.load(Ordering::SeqCst)
    }

    /// Whether nothing has become idle since `notes` was read and nothing is in motion.
    pub(crate) fn nothing_since(&self, notes: u64) -> bool {
        // As in `watch`: none of them may come after the reads that follow.
        full_fence();
        // SeqCst throughout: the motions are read before the notes, because a motion ends by a note and only then disappears (rule 1);
        // pairs with `Moving::end`.
        let still = |line: &Line| line.0.load(Ordering::SeqCst) == 0;
        self.motion.moving.iter().all(still) && still(&self.motion.others) && self.notes() == notes
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // Relaxed is enough: leaving a watch late only costs others a note.
        self.motion.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
