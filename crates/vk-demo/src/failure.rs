//! Every way a command can end badly, and the exit code each one has.

use std::process::ExitCode;

use thiserror::Error;

use crate::device::DeviceError;

/// The command ran, and what it found is not good: verification failed, a validation message came, or a result is worse than was allowed.
pub(crate) const NOT_VERIFIED: u8 = 1;

/// Ctrl-C, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command could not be carried out.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The request makes no sense here; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// More memory would be needed than there is; nothing was done.
    #[error("{0}")]
    TooLarge(String),
    /// No device answers to the name or index; nothing was done.
    #[error("{0}")]
    NoSuchDevice(String),
    /// The device gave up in the middle.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The allocator refused what it should have given: an error in this project.
    #[error("the heap's books do not balance: {0}")]
    Heap(String),
    /// The user asked for the end before the work was done.
    #[error("interrupted")]
    Interrupted,
    /// The result could not be written.
    #[error("the result could not be written: {0}")]
    Output(String),
}

impl Failure {
    /// The exit code: 1 not verified, 2 wrong usage, 3 no such device, 130 interrupted.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Usage(_) | Failure::TooLarge(_) => 2,
            Failure::NoSuchDevice(_) => 3,
            Failure::Interrupted => INTERRUPTED,
            Failure::Device(_) | Failure::Heap(_) | Failure::Output(_) => NOT_VERIFIED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_exit_code() {
        let codes = [
            (Failure::Usage(String::new()), 2),
            (Failure::TooLarge(String::new()), 2),
            (Failure::NoSuchDevice(String::new()), 3),
            (Failure::Interrupted, 130),
            (Failure::Device(DeviceError::Lost), 1),
            (Failure::Device(DeviceError::OutOfHostMemory), 1),
            (Failure::Heap(String::new()), 1),
            (Failure::Output(String::new()), 1),
        ];
        for (failure, code) in codes {
            // ExitCode has no other way to be compared.
            assert_eq!(format!("{:?}", failure.exit_code()), format!("{:?}", ExitCode::from(code)), "{failure:?}");
        }
    }
}
