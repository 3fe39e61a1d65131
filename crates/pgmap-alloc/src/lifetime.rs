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
//! 2. *Waiters.* Whoever waits for a page first writes here, and then joins the chain of changes of its folio's word by a
//!    read-modify-write that changes nothing ([`Word::touch`](crate::state::Word::touch)). A last put changes the word, and then
//!    looks here. The two read-modify-writes have an order: a last put that comes later sees the waiter; one that came earlier
//!    has left `Freeing` or `Idle` for the waiter to see, who then looks again before long.
//! 3. *Marks.* Whoever marks a page first writes here, and then joins the chain of changes of every folio word that can ever cover
//!    the page, and of every table word in which the page can be claimed or released (`pool::meeting`). Whoever begins a folio,
//!    ends one, claims or releases pages looks here afterwards. So whoever comes later sees the mark; whoever came earlier has
//!    made the page idle for the marker to see, or has it and comes later at its end. (The words are for handles, which keep
//!    pages without a change in the tables.)
//!
//! In rules 2 and 3 the order comes from the chain of one word, so no access to this one needs more than `Relaxed`.

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

    /// The word, for whoever has ended a folio or released pages.
    #[inline]
    pub(crate) fn afterwards(&self) -> Now {
        // Relaxed: rules 2 and 3; the order comes from the read-modify-write just before.
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
        // Relaxed, here and below: rules 2 and 3.
        self.word.fetch_add(WAITER, Ordering::Relaxed);
    }

    /// One fewer waits.
    pub(crate) fn remove_waiter(&self) {
        self.word.fetch_sub(WAITER, Ordering::Relaxed);
    }

    /// One more mark, from now until [`Lifetime::remove_mark`].
    pub(crate) fn add_mark(&self) {
        self.word.fetch_add(MARK, Ordering::Relaxed);
    }

    /// One mark fewer.
    pub(crate) fn remove_mark(&self) {
        self.word.fetch_sub(MARK, Ordering::Relaxed);
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
        assert!(life.tear_down() && !life.tear_down() && !life.afterwards().is_calm());
    }
}
