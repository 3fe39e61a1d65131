//! The gates that finders respect: one word that every finder reads before it looks for a folio.
//!
//! A *finder* takes a reference to whatever folio covers an offset ([`Pgmap::try_get`](crate::Pgmap::try_get) and its like). A *holder*
//! has a reference and takes another one (a clone, [`Pgmap::get_raw`](crate::Pgmap::get_raw), a mapping). A gate is closed
//! to finders and open to holders: whatever is behind it is left alone once the last of those who hold it now is done.
//!
//! ```text
//! bit   0      the pgmap is dying: closed for ever
//! bits  1..24  how many gates are closed: ranges that are leaving, pages that are waited for
//! bits 24..64  splits (`folios`)
//! ```
//!
//! # Rules
//!
//! 1. Which gates are closed stands elsewhere: in `lifetime` (the whole pgmap), in `leaving` (ranges), in the slots of `waiters`
//!    (pages). This word says that there are any, and is never too low. So it costs a finder nothing while there is none: it reads this
//!    word anyway.
//! 2. Whoever closes a gate writes down which, and then counts it here. A finder reads this word, looks for the folio, and looks
//!    for a gate that stands before that folio if this word said that there is one. So a finder that begins after a gate has
//!    been closed is refused. One that is on its way takes one reference at most, and is a holder from then on.
//! 3. Whoever opens a gate does so in reverse. Counting may be late, which costs finders a look.

use crate::sync::{AtomicU64, Ordering};

const DYING: u64 = 1;
const GATE: u64 = 1 << 1;
const SPLIT: u64 = 1 << 24;

/// The word.
pub(crate) struct Gates {
    word: AtomicU64,
}

/// The word as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtGates(u64);

impl AtGates {
    /// Whether a finder may go on without a look: no gate is closed.
    #[inline]
    pub(crate) const fn are_open(self) -> bool {
        self.0 & (SPLIT - 1) == 0
    }

    /// Whether the pgmap is dying.
    pub(crate) const fn is_dying(self) -> bool {
        self.0 & DYING != 0
    }
}

impl Gates {
    pub(crate) fn new() -> Gates {
        Gates { word: AtomicU64::new(0) }
    }

    /// The word at this moment.
    #[inline]
    pub(crate) fn look(&self) -> AtGates {
        // Acquire: pairs with `note_split` (`folios`), and with `close` and `close_all`: whoever sees a gate counted sees which it is.
        AtGates(self.word.load(Ordering::Acquire))
    }

    /// One more gate is closed, which the caller has written down.
    pub(crate) fn close(&self) {
        // Release: pairs with `look`.
        self.word.fetch_add(GATE, Ordering::Release);
    }

    /// One gate fewer is closed.
    pub(crate) fn open(&self) {
        // Relaxed: a gate that is counted too long costs a look.
        self.word.fetch_sub(GATE, Ordering::Relaxed);
    }

    /// The pgmap is dying.
    pub(crate) fn close_all(&self) {
        // Release: pairs with `look`.
        self.word.fetch_or(DYING, Ordering::Release);
    }

    /// The parts of a split have their words, and the whole is about to become smaller.
    pub(crate) fn note_split(&self) {
        // AcqRel: Release pairs with `look`; Acquire keeps the words of earlier splits with it.
        self.word.fetch_add(SPLIT, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_three_fields_do_not_touch_each_other() {
        let gates = Gates::new();
        gates.note_split();
        let split = gates.look();
        assert!(split.are_open() && !split.is_dying());
        gates.close();
        gates.close();
        gates.open();
        assert!(!gates.look().are_open() && !gates.look().is_dying());
        gates.open();
        assert_eq!(gates.look(), split);
        gates.close_all();
        gates.close_all();
        assert!(!gates.look().are_open() && gates.look().is_dying());
        gates.note_split();
        assert_ne!(gates.look(), split);
    }
}
