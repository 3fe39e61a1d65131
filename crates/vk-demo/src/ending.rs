//! How a command's work ended, where there is a report of it all the same.

use serde::{Serialize, Serializer};

use crate::device::DeviceError;
use crate::failure::Failure;

/// The end of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All of it was done.
    Complete,
    /// Ctrl-C: some of it was done.
    Interrupted,
    /// The device gave up: some of it was done.
    Device(DeviceError),
}

impl Ending {
    /// A device that gave up and Ctrl-C leave a report; anything else that goes wrong does not.
    pub(crate) fn of(done: Result<Ending, Failure>) -> Result<Ending, Failure> {
        match done {
            Err(Failure::Device(error)) => Ok(Ending::Device(error)),
            Err(Failure::Interrupted) => Ok(Ending::Interrupted),
            other => other,
        }
    }

    /// Whether what was found holds for all of the work.
    pub(crate) fn is_complete(&self) -> bool {
        *self == Ending::Complete
    }

    /// Once the report is written: what is to be said of an end that was not the end of the work.
    pub(crate) fn into_result(self) -> Result<(), Failure> {
        match self {
            Ending::Complete => Ok(()),
            Ending::Interrupted => Err(Failure::Interrupted),
            Ending::Device(error) => Err(Failure::Device(error)),
        }
    }

    /// A line for people; none where all is done.
    pub(crate) fn note(&self) -> Option<String> {
        match self {
            Ending::Complete => None,
            Ending::Interrupted => Some("interrupted: this is what was done until then".into()),
            Ending::Device(error) => Some(format!("{error}: this is what was done until then")),
        }
    }
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Ending::Complete => serializer.serialize_str("complete"),
            Ending::Interrupted => serializer.serialize_str("interrupted"),
            Ending::Device(error) => serializer.collect_str(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_device_that_gave_up_and_ctrl_c_leave_a_report_and_an_error_behind_it() {
        let lost = Ending::of(Err(Failure::Device(DeviceError::Lost))).unwrap();
        assert_eq!(serde_json::to_value(&lost).unwrap(), "the device is lost (VK_ERROR_DEVICE_LOST)");
        assert!(lost.note().is_some_and(|note| note.contains("what was done until then")) && !lost.is_complete());
        assert!(matches!(lost.into_result(), Err(Failure::Device(DeviceError::Lost))));
        let interrupted = Ending::of(Err(Failure::Interrupted)).unwrap();
        assert_eq!(serde_json::to_value(&interrupted).unwrap(), "interrupted");
        assert!(matches!(interrupted.into_result(), Err(Failure::Interrupted)));
        assert!(matches!(Ending::of(Err(Failure::Heap("x".into()))), Err(Failure::Heap(_))), "books that are wrong are no ending");
        assert!(Ending::Complete.into_result().is_ok() && Ending::Complete.note().is_none());
    }
}
