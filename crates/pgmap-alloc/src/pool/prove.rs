//! Trying until there is a result or a proof that there can be none (`motion`, rule 3).

use super::GenPool;
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
}
