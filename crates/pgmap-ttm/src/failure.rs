//! What stops a move from inside; each verb turns it into its own error.

use crate::error::{CopyError, EvictError, FaultError, ValidateError};
use crate::place::MemoryType;

/// Why a move did not take place; the object is where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    NoSpace,
    /// There is no room at the stop on the way.
    StopFull(MemoryType),
    OverLimit,
    NoAccount,
    Pinned,
    Busy,
    Copy(CopyError),
}

impl Failure {
    /// Whether another place may do.
    pub(crate) fn is_of_place(self) -> bool {
        matches!(self, Failure::NoSpace | Failure::StopFull(_) | Failure::OverLimit | Failure::NoAccount)
    }
}

macro_rules! from_failure {
    ($($error:ident),+) => {$(
        impl From<Failure> for $error {
            fn from(failure: Failure) -> $error {
                match failure {
                    Failure::NoSpace => $error::NoSpace,
                    Failure::StopFull(stop) => $error::StopFull(stop),
                    Failure::OverLimit => $error::OverLimit,
                    Failure::NoAccount => $error::NoAccount,
                    Failure::Pinned => $error::Pinned,
                    Failure::Busy => $error::Busy,
                    Failure::Copy(why) => $error::Copy(why),
                }
            }
        }
    )+};
}

from_failure!(ValidateError, EvictError, FaultError);
