//! The life of a pgmap, and who else wants to hear of what happens in it: one word that every request and last put looks at.
//!
//! ```text
//! bits  0..7   stage: live -> killed -> quiesced -> drained -> torn down
//! bit   7      the quiesce hook is running
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
//!    that has been seen idle therefore stays idle, and a drain needs to look at each word only once. The hooks: the drain that
//!    turns killed into quiesced runs the one before. If another drain has come to the end of the pgmap's life by the time that
//!    hook returns, the first runs the hook after in the other's stead: so it comes after, and nobody waits.
//! 2. *Waiters.* Whoever waits for a page first writes here, and then touches its folio's word by a read-modify-write that changes
//!    nothing ([`Word::touch`](crate::state::Word::touch)). Whoever takes the last reference changes the word, and then looks here
//!    ([`Lifetime::afterwards`]). All four are `SeqCst`: a last put that the touch did not see, be the folio in service, frozen or
//!    still being set up when it was touched, sees the waiter; one that it did see has left `Freeing` or `Idle` for the waiter.
//!    Who sees `Freeing` or `Building` meets the tables (`waiters`, rule 1).
//! 3. *Marks.* Whoever marks a page first writes here, and then touches every folio word that can ever cover the page, and joins the
//!    chain of changes of every table word in which the page can be claimed or released (`pool::meeting`). Whoever begins a folio,
//!    ends one, claims or releases pages looks here afterwards. So whoever comes later sees the mark; whoever came earlier has
//!    made the page idle for the marker to see, or has it and comes later at its end.
//!
//!    The chain of a folio word is broken where `Building` ends in a plain store, and `Freeing` where the pages go to the tables. What counts holds all the same: no
//!    folio is begun with a marked page. A marker writes the mark and then touches the word, a request begins the word and then
//!    looks here, all four `SeqCst`: a request whose beginning the touch did not see sees the mark. What is lost is promptness, and
//!    only where pages go into a handle meanwhile: the page stays marked until the handle's next request or `is_retiring`.

use crate::sync::{AtomicU64, Ordering, load_latest};

const STAGE: u64 = 0x7F;
const HOOK: u64 = 1 << 7;
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
        Now(load_latest(&self.word))
    }

    /// The word, for whoever has ended a folio or released pages.
    #[inline]
    pub(crate) fn afterwards(&self) -> Now {
        // SeqCst: the read half of rule 2; pairs with `add_waiter`. Where pages were released, the release just before orders it too.
        Now(self.word.load(Ordering::SeqCst))
    }

    /// Live -> killed; killing twice is harmless.
    pub(crate) fn kill(&self) {
        let _ = self.step(LIVE, KILLED);
    }

    /// Killed -> quiesced; `true` for the one caller that is to run the hook, and then to call [`Lifetime::quiesced`].
    pub(crate) fn quiesce(&self) -> bool {
        self.step(KILLED, QUIESCED | HOOK).is_some()
    }

    /// The quiesce hook has returned; `true` if the caller is to run the teardown hook too, which has come up meanwhile.
    pub(crate) fn quiesced(&self) -> bool {
        // AcqRel: pairs with `tear_down`, in whichever order they come: the second sees what the first has done.
        self.word.fetch_and(!HOOK, Ordering::AcqRel) & STAGE == TORN_DOWN
    }

    /// Quiesced -> drained, once the last word has been seen idle.
    pub(crate) fn drained(&self) {
        self.step(QUIESCED, DRAINED);
    }

    /// Drained -> torn down; `true` for the one caller that is to run the hook. While the quiesce hook runs that is its caller.
    pub(crate) fn tear_down(&self) -> bool {
        // The hook's bit is from the step itself: of this one and `quiesced`, the second sees the first.
        self.step(DRAINED, TORN_DOWN).is_some_and(|before| before & HOOK == 0)
    }

    /// One more waits, from now until [`Lifetime::remove_waiter`].
    pub(crate) fn add_waiter(&self) {
        // SeqCst: the write half of rule 2; pairs with `afterwards`.
        self.word.fetch_add(WAITER, Ordering::SeqCst);
    }

    /// One fewer waits.
    pub(crate) fn remove_waiter(&self) {
        // Relaxed: a waiter seen too long costs a look.
        self.word.fetch_sub(WAITER, Ordering::Relaxed);
    }

    /// One more mark, from now until [`Lifetime::remove_mark`].
    pub(crate) fn add_mark(&self) {
        // SeqCst: the write half of rule 3's second paragraph.
        self.word.fetch_add(MARK, Ordering::SeqCst);
    }

    /// One mark fewer.
    pub(crate) fn remove_mark(&self) {
        // Relaxed: a mark seen too long costs a look.
        self.word.fetch_sub(MARK, Ordering::Relaxed);
    }

    /// From one stage to the next, whoever else wants attention: the word before; `None` if the stage is another. Lock-free.
    fn step(&self, from: u64, to: u64) -> Option<u64> {
        // Relaxed: only an idea of the word; the compare-exchange decides.
        let mut seen = self.word.load(Ordering::Relaxed);
        while seen & STAGE == from {
            // SeqCst: the write half of rule 1, and the hooks of one stage happen before those of the next. Relaxed on failure:
            // tried again with what was found.
            match self.word.compare_exchange_weak(seen, seen - from + to, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(before) => return Some(before),
                Err(now) => seen = now,
            }
        }
        None
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
        assert!(!life.tear_down() && life.quiesce() && !life.quiesce() && !life.quiesced());
        life.drained();
        life.remove_mark();
        assert!(life.tear_down() && !life.tear_down() && !life.afterwards().is_calm());
    }

    #[test]
    fn the_teardown_hook_is_left_to_whoever_runs_the_quiesce_hook() {
        let life = Lifetime::new();
        life.kill();
        assert!(life.quiesce() && life.now().is_dying() && !life.now().is_awaited() && !life.now().is_marked());
        // Another drain comes to the end meanwhile.
        assert!(!life.quiesce());
        life.drained();
        assert!(!life.tear_down() && life.quiesced() && !life.tear_down());
    }
}
