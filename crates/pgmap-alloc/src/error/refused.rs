//! An error that gives back what was to be consumed.

use core::error::Error;
use core::fmt;

/// A verb was refused that takes something by value: why, and what it was to take. Nothing has changed.
pub struct Refused<E, T> {
    /// Why.
    pub error: E,
    /// What comes back.
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
