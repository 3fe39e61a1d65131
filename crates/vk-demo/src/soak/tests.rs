#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};
use crate::device::DeviceError;
use crate::faulty::{Fault, Faulty};
use crate::host::Host;

fn plan(arguments: &[&str]) -> Plan {
    let Command::Soak(options) = Cli::parse_from(["vk-demo", "soak"].iter().chain(arguments)).command() else {
        unreachable!("the command was given");
    };
    Plan::new(&options, &host::describe()).unwrap()
}

fn on_faulty(fault: Fault) -> Report {
    let plan = plan(&["--ops", "2000", "--inject"]);
    run(&mut Faulty::open(&plan.layout, fault).unwrap(), &plan, true).unwrap()
}

#[test]
fn req_57_every_seed_and_shape_of_heap_is_verified() {
    let shapes: &[&[&str]] = &[
        &["--seed", "1"],
        &["--seed", "2"],
        &["--heap", "4KiB"],
        &["--heap", "96KiB", "--object", "20KiB"],
        &["--heap", "256KiB"],
    ];
    for shape in shapes {
        for inject in [&[][..], &["--inject"][..]] {
            let plan = plan(&[shape, inject, &["--ops", "4000"][..]].concat());
            let mut device = Host::open(host::describe(), &plan.layout).unwrap();
            let report = run(&mut device, &plan, true).unwrap();
            assert!(report.verified, "{shape:?}: {:?}", report.findings);
            assert_eq!(report.injections() > 0, !inject.is_empty());
        }
    }
}

#[test]
fn a_wrong_bit_and_stale_bytes_are_seen() {
    for fault in [Fault::FlippedBit, Fault::LostCopies] {
        let report = on_faulty(fault);
        assert!(!report.verified && report.findings.wrong_words > 0, "{fault:?}");
    }
}

#[test]
fn a_device_that_is_lost_leaves_a_report_and_leaks_nothing() {
    for submit in (0..400).step_by(7) {
        let report = on_faulty(Fault::DeviceLost(submit));
        assert_eq!(report.ended, Ending::Device(DeviceError::Lost), "at submit {submit}");
        assert!(!report.verified);
        assert_eq!((report.findings.wrong_words, report.findings.leaks), (0, 0), "at submit {submit}: {:?}", report.findings);
    }
}
