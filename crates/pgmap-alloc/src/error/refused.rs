//! An error that gives back what was to be consumed.

use core::error::Error;
use core::fmt;

/// The refusal of a verb that takes its argument by value: the reason, and the argument back. Nothing has changed.
///
/// Dropping it drops the value: a refused [`Folio`](crate::Folio) is then put, a refused [`Block`](crate::Block) given back.
pub struct Refused<E, T> {
    /// The reason.
    pub error: E,
    /// The argument, unchanged.
    pub value: T,
}

impl<E: fmt::Debug, T> fmt::Debug for Refused<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<E: fmt::Display, T> fmt::Display for Refused<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: Error, T> Error for Refused<E, T> {}
