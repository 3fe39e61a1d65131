//! Trying until there is a result or a proof that there can be none (`motion`, rule 3), and then why there is none.

use core::ops::ControlFlow;

use super::GenPool;
use super::fit::Side;
use super::walk::Trail;
use crate::error::AllocError;
use crate::extent::Extent;
use crate::order::Order;
use crate::sync::relax;

/// How often a refusal is tried to be proved before the caller is told that the pool is too busy for a proof.
const TRIES: u32 = 64;

/// How one try went.
pub(super) enum Try<T> {
    /// It succeeded.
    Got(T),
    /// There was something, but somebody else was faster.
    Lost,
    /// There was nothing.
    Nothing,
}

/// Why there is no result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproved {
    /// There was a moment during the tries at which there was nothing.
    Nothing,
    /// Runs were in motion during each of the tries.
    Contended,
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Tries until something is got, or until nothing came or moved during a try that found nothing.
    ///
    /// Tables below `level` that are wholly idle are merged before each try.
    pub(super) fn until_proved<T>(&self, level: u32, mut attempt: impl FnMut() -> Try<T>) -> Result<T, Unproved> {
        let watch = self.motion.watch();
        for _ in 0..TRIES {
            let notes = watch.notes();
            self.merge_spares(level);
            self.list_fresh();
            match attempt() {
                Try::Got(got) => return Ok(got),
                // In this order: a table that is a spare no more was taken out in a motion.
                Try::Nothing if !self.spares_below(level) && watch.nothing_since(notes) => return Err(Unproved::Nothing),
                Try::Nothing | Try::Lost => relax(),
            }
        }
        Err(Unproved::Contended)
    }

    /// Why there are not so many runs of `order`, as has been proved: too few idle pages, or none of them where they would do.
    #[cold]
    pub(super) fn explain_runs(&self, order: Order, runs: usize) -> AllocError {
        let pages = order.pages().saturating_mul(runs as u64);
        // Single pages cannot be scattered.
        let scattered = order > Order::ZERO && self.idle_up_to(pages, Extent::ALL) >= pages;
        let cached = self.handles.press();
        if scattered { AllocError::Fragmented { cached } } else { AllocError::NoSpace { cached } }
    }

    /// Why so many runs were not to be had, of which one was refused for a reason that need not hold of all together.
    pub(super) fn explain_all(&self, order: Order, runs: usize, refused: AllocError) -> AllocError {
        match refused {
            AllocError::NoSpace { .. } | AllocError::Fragmented { .. } => self.explain_runs(order, runs),
            refused => refused,
        }
    }

    /// How many pages of a window are idle; no more than `enough`, or few more, are counted. O(tables with idle pages), and no more of
    /// them than `enough`.
    pub(super) fn idle_up_to(&self, enough: u64, window: Extent) -> u64 {
        let mut idle = 0;
        let _ = self.walk(&Trail { window, order: Order::ZERO, from: Side::Bottom }, &mut |_, seen| {
            idle += seen.pages();
            if idle >= enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        idle
    }
}
