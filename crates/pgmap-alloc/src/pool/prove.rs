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
pub(super) const TRIES: u32 = 64;

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
        // Most often nothing is missing but that merge, and then nothing need be proved.
        if self.spares_below(level) {
            self.merge_spares(level);
            if let Try::Got(got) = attempt() {
                return Ok(got);
            }
        }
        let shown = self.until_shown(level, TRIES, |holds| match attempt() {
            Try::Got(got) => Some(Ok(got)),
            Try::Nothing if holds() => Some(Err(Unproved::Nothing)),
            Try::Nothing | Try::Lost => None,
        });
        shown.unwrap_or(Err(Unproved::Contended))
    }

    /// Looks until a look says something, so many times at most. What it has not found it may say of the pool once it has asked whether
    /// that holds: nothing came or moved since the look began.
    ///
    /// Tables below `level` that are wholly idle are merged before each look, and all that came back a moment ago is listed.
    pub(super) fn until_shown<T>(&self, level: u32, tries: u32, mut look: impl FnMut(&dyn Fn() -> bool) -> Option<T>) -> Option<T> {
        let watch = self.motion.watch();
        for _ in 0..tries {
            let notes = watch.notes();
            self.merge_spares(level);
            self.list_fresh();
            // In this order: a table that is a spare no more was taken out in a motion.
            let shown = look(&|| !self.spares_below(level) && watch.nothing_since(notes));
            if shown.is_some() {
                return shown;
            }
            relax();
        }
        None
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

#[cfg(all(test, feature = "alloc", not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::offset::{Offset, Phys, PhysRange};
    use crate::pool::Params;
    use crate::sync::recorded::record;

    /// How many times shared memory is looked at when all of a pool is wanted at once that came back in small pieces.
    fn looks(caller: usize, pages: u64) -> usize {
        let pool = GenPool::new(&Params::new(&[PhysRange { start: Phys(0), pages }]).tracking_clear()).unwrap();
        let piece = Order::clamped(6);
        let starts = || (0..pages).step_by(piece.pages() as usize).map(Offset::new);
        starts().for_each(|_| _ = pool.alloc(piece).unwrap());
        starts().for_each(|start| pool.free(start, piece).unwrap());
        let (whole, accesses) = record(caller, || pool.alloc(pool.largest_order()));
        assert_eq!(whole, Ok(Offset::new(0)));
        accesses.len()
    }

    #[test]
    fn req_41_all_of_a_pool_is_merged_without_looking_for_what_is_not_needed() {
        // Whoever asks, in whichever line the spares stand.
        for caller in 0..8 {
            let [two_levels, four_gib] = [1 << 18, 1 << 20].map(|pages| looks(caller, pages));
            // 2,122 and 2,681 before spares were looked for first, and the classes of a table by the word.
            assert!(two_levels < 400 && four_gib < 500, "{two_levels} and {four_gib} looks");
        }
    }
}
