//! The life of a pgmap: live -> killed -> drained -> torn down.
//!
//! There is no per-request reference on the pgmap. A request writes its word as `Building`, and then looks here
//! ([`Lifetime::is_dying`]); a kill writes here, and a drain then looks at the words. Both pairs are `SeqCst`, so at least one
//! of the two sees the other: either the request undoes itself, or the drain finds its word and waits. After a kill a word that
//! has been seen idle therefore stays idle, and a drain needs to look at each word only once.

use crate::sync::{AtomicU32, Ordering, order_after_write};

const LIVE: u32 = 0;
const KILLED: u32 = 1;
const QUIESCED: u32 = 2;
const DRAINED: u32 = 3;
const TORN_DOWN: u32 = 4;

/// How far a pgmap's life has gone.
pub(crate) struct Lifetime {
    stage: AtomicU32,
}

impl Lifetime {
    pub(crate) fn new() -> Lifetime {
        Lifetime { stage: AtomicU32::new(LIVE) }
    }

    /// Whether the pgmap has been killed.
    #[inline]
    pub(crate) fn is_dying(&self) -> bool {
        // SeqCst: the read half of the pair with `kill`.
        self.stage.load(Ordering::SeqCst) != LIVE
    }

    /// Live -> killed; killing twice is harmless.
    pub(crate) fn kill(&self) {
        // SeqCst: the write half. A failure means that somebody else was first. Relaxed on failure: nothing is read.
        let _ = self.stage.compare_exchange(LIVE, KILLED, Ordering::SeqCst, Ordering::Relaxed);
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

    fn step(&self, from: u32, to: u32) -> bool {
        // AcqRel: the hooks of one stage happen before those of the next. Relaxed on failure: somebody else was first.
        self.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
