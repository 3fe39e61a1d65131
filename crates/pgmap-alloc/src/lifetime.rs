//! The life of a pgmap, and who else wants to hear of what happens in it: one word that every request and last put looks at.
//!
//! ```text
//! bits  0..8   stage: live -> killed -> quiesced -> drained -> torn down
//! bits  8..32  how many wait for pages to be idle (`waiters`)
//! bits 32..64  how many marks lie on pages that must not stay in service (`marks`)
//! ```
//!
//! It is 0 for nearly all of a pgmap's life, and then costs a load of a line that nobody writes.
//!
//! # Rules
//!
//! 1. *Kill.* There is no per-request reference on the pgmap. A request writes its folio word as `Building`, and then looks here
//!    ([`Lifetime::now`]); a kill writes here, and a drain then looks at the folio words. Both pairs are `SeqCst`, so at least one
//!    of the two sees the other: either the request undoes itself, or the drain finds its word and waits. After a kill a word
//!    that has been seen idle therefore stays idle, and a drain needs to look at each word only once.
//! 2. *Waiters and marks.* Whoever waits for a page, or marks it, first writes here and then meets the pages' owners in the
//!    tables: a read-modify-write, without a change, of every table word in which the page can be claimed or released
//!    (`pool::meeting`). An owner claims, then looks here; it makes the folio word idle, releases, then looks here. The two
//!    read-modify-writes of one table word have an order. If the owner's is later, the owner sees what stands here. If it is
//!    earlier, whoever waits or marks sees the page idle afterwards. An owner that keeps the pages instead of releasing them
//!    meets too.

use crate::sync::{AtomicU64, Ordering, order_after_write};

const STAGE: u64 = 0xFF;
const WAITER: u64 = 1 << 8;
const MARK: u64 = 1 << 32;

const LIVE: u64 = 0;
const KILLED: u64 = 1;
const QUIESCED: u64 = 2;
const DRAINED: u64 = 3;
const TORN_DOWN: u64 = 4;

/// How far a pgmap's life has gone, and who wants attention.
pub(crate) struct Lifetime {
    word: AtomicU64,
}

/// The word as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now(u64);

impl Now {
    /// Live, and nobody wants attention.
    #[inline]
    pub(crate) const fn is_calm(self) -> bool {
        self.0 == 0
    }

    /// Killed, or further.
    #[inline]
    pub(crate) const fn is_dying(self) -> bool {
        self.0 & STAGE != LIVE
    }

    /// Somebody waits for pages to be idle.
    pub(crate) const fn is_awaited(self) -> bool {
        self.0 & (MARK - WAITER) != 0
    }

    /// Pages are marked.
    pub(crate) const fn is_marked(self) -> bool {
        self.0 >= MARK
    }
}

impl Lifetime {
    pub(crate) fn new() -> Lifetime {
        Lifetime { word: AtomicU64::new(LIVE) }
    }

    /// The word at this moment.
    #[inline]
    pub(crate) fn now(&self) -> Now {
        // SeqCst: the read half of rule 1; pairs with `kill`.
        Now(self.word.load(Ordering::SeqCst))
    }

    /// The word, for an owner who has just released pages or met.
    #[inline]
    pub(crate) fn after_release(&self) -> Now {
        // Relaxed: rule 2; the order comes from the read-modify-write in the tables just before.
        Now(self.word.load(Ordering::Relaxed))
    }

    /// Live -> killed; killing twice is harmless.
    pub(crate) fn kill(&self) {
        let _ = self.step(LIVE, KILLED);
        order_after_write();
    }

    /// Killed -> quiesced; `true` for the one caller that is to run the hook.
    pub(crate) fn quiesce(&self) -> bool {
        self.step(KILLED, QUIESCED)
    }

    /// Quiesced -> drained, once the last word has been seen idle.
    pub(crate) fn drained(&self) {
        self.step(QUIESCED, DRAINED);
    }

    /// Drained -> torn down; `true` for the one caller that is to run the hook.
    pub(crate) fn tear_down(&self) -> bool {
        self.step(DRAINED, TORN_DOWN)
    }

    /// One more waits, from now until [`Lifetime::remove_waiter`].
    pub(crate) fn add_waiter(&self) {
        // AcqRel, here and below: Release is rule 2's, handed on by the meeting.
        self.word.fetch_add(WAITER, Ordering::AcqRel);
    }

    /// One fewer waits.
    pub(crate) fn remove_waiter(&self) {
        self.word.fetch_sub(WAITER, Ordering::AcqRel);
    }

    /// One more mark, from now until [`Lifetime::remove_mark`].
    pub(crate) fn add_mark(&self) {
        self.word.fetch_add(MARK, Ordering::AcqRel);
    }

    /// One mark fewer.
    pub(crate) fn remove_mark(&self) {
        self.word.fetch_sub(MARK, Ordering::AcqRel);
    }

    /// From one stage to the next, whoever else wants attention; `false` if the stage is another. Lock-free.
    fn step(&self, from: u64, to: u64) -> bool {
        // Relaxed: only an idea of the word; the compare-exchange decides.
        let mut seen = self.word.load(Ordering::Relaxed);
        while seen & STAGE == from {
            // SeqCst: the write half of rule 1, and the hooks of one stage happen before those of the next. Relaxed on failure:
            // tried again with what was found.
            match self.word.compare_exchange_weak(seen, seen - from + to, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_three_fields_do_not_touch_each_other() {
        let life = Lifetime::new();
        assert!(life.now().is_calm());
        life.add_waiter();
        assert!(life.now().is_awaited() && !life.now().is_marked() && !life.now().is_dying());
        life.add_mark();
        life.kill();
        life.remove_waiter();
        assert!(!life.now().is_awaited() && life.now().is_marked() && life.now().is_dying());
        assert!(!life.tear_down() && life.quiesce() && !life.quiesce());
        life.drained();
        life.remove_mark();
        assert!(life.tear_down() && !life.tear_down() && !life.after_release().is_calm());
    }
}
