#![allow(clippy::unwrap_used)]

use super::*;
use crate::device::DeviceError;
use crate::faulty::{self, Fault};
use crate::report::Outcome;

fn on_faulty(fault: Fault) -> (Ending, Soaked) {
    faulty::run::<Soak>("--heap 1MiB --ops 2000 --inject", fault).unwrap()
}

#[test]
fn req_57_every_seed_and_shape_of_heap_is_verified() {
    for shape in ["--heap 1MiB --seed 1", "--heap 1MiB --seed 2", "--heap 4KiB", "--heap 96KiB --object 20KiB", "--heap 256KiB"] {
        for inject in ["", "--inject"] {
            let (ended, soaked) = faulty::run::<Soak>(&format!("{shape} {inject} --ops 4000"), Fault::None).unwrap();
            assert!(ended.is_complete() && soaked.is_good(), "{shape}: {:?}", soaked.findings);
            assert!(soaked.findings.unplugged, "{shape}");
            // A heap of less than sixteen pages has none to spare.
            assert_eq!(soaked.findings.retired_pages > 0, shape != "--heap 4KiB", "{shape}");
            assert_eq!(soaked.injections() > 0, !inject.is_empty());
        }
    }
}

#[test]
fn a_wrong_bit_and_stale_bytes_are_seen() {
    for fault in [Fault::FlippedBit, Fault::LostCopies] {
        let (_, soaked) = on_faulty(fault);
        assert!(!soaked.is_good() && soaked.findings.wrong_words > 0, "{fault:?}");
    }
}

#[test]
fn a_device_that_is_lost_leaves_a_report_and_leaks_nothing() {
    for submit in (0..400).step_by(7) {
        let (ended, soaked) = on_faulty(Fault::DeviceLost(submit));
        assert_eq!(ended, Ending::Device(DeviceError::Lost), "at submit {submit}");
        assert_eq!((soaked.findings.wrong_words, soaked.findings.leaks), (0, 0), "at submit {submit}: {:?}", soaked.findings);
    }
}
