//! Wrong usage: a precise error, the right exit code, nothing on the standard output and no file touched.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::Stdio;

use common::{command, on_host, vk_demo};

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let cases = [
        ("--heap 0", "zero"),
        ("--heap 1", "less than one page"),
        ("--heap 12parsecs", "256MiB"),
        ("--heap 8EiB", "more than host device may give"),
        ("--heap 99999999999999999999999", "number too large"),
        ("--heap 1MiB --object 100", "less than one page"),
        ("--heap 1GiB --object 4KiB", "more than 1024 objects"),
        ("--heap 1MiB --order 9", "order 9 is beyond the largest that is possible here, 8"),
        ("--heap 1MiB --order 64", "order 64 is beyond"),
        ("--heap 1MiB --order 255", "order 255 is beyond"),
        ("--oversub 0", "above 0"),
        ("--oversub -1.5", "above 0"),
        ("--oversub NaN", "above 0"),
        ("--oversub inf", "above 0"),
        ("--seed minus", "invalid digit"),
        ("--format yaml", "table, json, csv"),
        ("--validate", "--validate needs a Vulkan device"),
        ("migrate --heap 1MiB --sizes 12KiB", "no power of two"),
        ("migrate --heap 1MiB --sizes 2MiB", "no power of two between 4 KiB and 1 MiB"),
        ("migrate --heap 1MiB --bytes 4EiB", "no power of two between 4 KiB and 1 MiB"),
        ("migrate --heap 1MiB --sizes 64KiB,2MiB", "--sizes: 2 MiB is no power of two between 4 KiB and 1 MiB"),
        ("migrate --heap 1MiB --sizes 2KiB..64KiB", "2 KiB is no power of two between 4 KiB and 1 MiB"),
        ("migrate --heap 1MiB --sizes 64KiB..4KiB", "from the smaller size to the larger"),
        ("migrate --heap 1MiB --sizes 64KiB,", "256MiB"),
        ("migrate --heap 1MiB --sizes 64KiB,1MiB --order 5", "order 5 is beyond the largest that is possible here, 4"),
        ("migrate --heap 1MiB --iterations 0", "not in 1..=65535"),
        ("migrate --heap 1MiB --order 9", "order 9 is beyond"),
        ("fault --policy mru", "lru, fifo, random"),
        ("fault --trace walk", "stream, random, zipf, two-phase"),
        ("fault --heap 1MiB --order 9", "--order: order 9 is beyond the largest that is possible here, 8"),
        ("fault --heap 1MiB --order 2 --floor 3", "--floor: order 3 is above the largest order of a fault, 2 (--order)"),
        ("fault --heap 0", "zero"),
        ("soak --heap 0", "zero"),
        ("soak --heap 8EiB", "more than host device may give"),
        ("soak --ops many", "invalid digit"),
        ("compare --heap 0", "zero"),
        ("compare --heap 5MiB", "no multiple of 4 MiB up to 256 MiB"),
        (
            "compare --heap 300MiB",
            "no multiple of 4 MiB up to 256 MiB, as one block of every allocator here must be, nor of 256 MiB",
        ),
        ("soak --ops 0", "0 is not in 1.."),
        ("fault --accesses 0", "0 is not in 1.."),
        ("--heap 4095", "a heap of 3.99 KiB is less than one page of 4 KiB"),
        ("--memory-heap 0", "--memory-heap: the host device has none to choose from"),
        ("--queue copy", "--queue: the host device has none to choose from"),
        ("fault --heap 1MiB --order 4 --floor 9", "--floor: order 9 is above the largest order of a fault, 4 (--order)"),
        ("fault --heap 1MiB --floor 9", "--floor: order 9 is above the largest order of a fault, 4 (--order)"),
        ("compare --full 0", "not in 1..=100"),
        ("compare --full 101", "not in 1..=100"),
        ("compare --ops 0", "not in 1..=10000000"),
        ("--fail-on 5", "--baseline"),
        ("--baseline x --fail-on -1", "0 or more"),
        ("--baseline x --fail-on NaN", "0 or more"),
        ("dance", "unrecognized subcommand"),
    ];
    for (arguments, said) in cases {
        // The validation layer need not be here: then that is what is said.
        if arguments == "--validate" && vk_demo("--validate --device host").stderr.contains("not installed") {
            continue;
        }
        let arguments = if arguments == "dance" { arguments.to_owned() } else { format!("{arguments} --device host") };
        let ran = vk_demo(&arguments);
        assert_eq!(ran.code, Some(2), "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{arguments}: {}", ran.stdout);
    }
}

#[test]
fn an_unknown_device_ends_with_3_and_names_those_there_are() {
    for wanted in ["99", "no-such-card", "18446744073709551616"] {
        for of in ["run", "migrate", "soak", "fault", "compare"] {
            let ran = vk_demo(&format!("{of} --device {wanted}"));
            assert_eq!(ran.code, Some(3), "{wanted}: {}", ran.stderr);
            assert!(ran.stderr.contains("host device"), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing").join("file");
    for path in [missing.as_path(), directory.path()] {
        let ran = on_host(&format!("run --ops 1000000000 -o {}", path.display()));
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("cannot be written"), "{}", ran.stderr);
    }
}

#[test]
fn a_file_is_left_alone_until_there_is_a_result() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    std::fs::write(&old, "a longer text than any table that is written by one small run ".repeat(999)).unwrap();
    let before = std::fs::read_to_string(&old).unwrap();
    for path in [&old, &new] {
        assert_eq!(on_host(&format!("run --heap 1MiB --order 64 -o {}", path.display())).code, Some(2));
    }
    assert_eq!(std::fs::read_to_string(&old).unwrap(), before);
    assert!(!new.exists());

    let ran = on_host(&format!("run --heap 1MiB --ops 9 --format json -o {}", old.display()));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&old).unwrap()).unwrap();
    assert_eq!(report["verified"], true);
}

/// One small run of each command that works on a device.
const SMALL: [&str; 5] = [
    "run --heap 1MiB --ops 9",
    "migrate --heap 16KiB",
    "soak --heap 1MiB --ops 99",
    "fault --heap 64KiB --order 1 --accesses 99",
    "compare --heap 4MiB --ops 99",
];

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for of in SMALL {
        let mut child = command(&format!("{of} --device host")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{of}: {stderr}");
        assert_eq!(output.status.code(), Some(0), "{of}: {stderr}");
    }
}

#[test]
fn req_82_two_options_for_one_file_are_refused_before_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file").display().to_string();
    for (options, named) in [
        (format!("-o {file} --svg {file}"), "-o and --svg name one file"),
        (format!("--svg {file} --png {file}"), "--svg and --png name one file"),
    ] {
        let ran = on_host(&format!("run --ops 1000000000 {options}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{options}");
        assert!(ran.stderr.contains(named), "{options}: {}", ran.stderr);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is there");
}

/// No file may be larger than 512 bytes here: that is a disk that fills up in the middle of the result.
#[cfg(target_os = "linux")]
#[test]
fn req_82_a_full_disk_keeps_the_old_result_and_leaves_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    std::fs::write(&file, "the old one").unwrap();
    let program = env!("CARGO_BIN_EXE_vk-demo");
    for option in if cfg!(feature = "png") { &["--format json -o", "--svg", "--png"][..] } else { &["--format json -o", "--svg"] } {
        let limited =
            format!("trap '' XFSZ; ulimit -f 1; exec {program} run --heap 1MiB --ops 9 --device host {option} {}", file.display());
        let ran: common::Ran = std::process::Command::new("sh").args(["-c", &limited]).output().unwrap().into();
        assert_eq!(ran.code, Some(1), "{option}: {}", ran.stderr);
        assert!(ran.stderr.contains("could not be written"), "{option}: {}", ran.stderr);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "the old one", "{option}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "{option}: nothing is left beside it");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_an_error_and_no_panic() {
    for of in SMALL {
        for full in ["stdout", "-o /dev/full", "--svg /dev/full"] {
            let (option, stdout) = match full {
                "stdout" => ("", std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()),
                option => (option, Stdio::null()),
            };
            let ran = command(&format!("{of} --device host {option}")).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
            let stderr = String::from_utf8(ran.stderr).unwrap();
            assert_eq!(ran.status.code(), Some(1), "{of} {full}: {stderr}");
            assert!(stderr.contains("could not be written"), "{of} {full}: {stderr}");
        }
    }
}

#[test]
fn more_than_the_host_has_is_refused_before_the_work() {
    let list = vk_demo("list --format json").json();
    let host = list["devices"].as_array().unwrap().iter().find(|device| device["kind"] == "host").unwrap();
    let budget = host["heap"]["budget_bytes"].as_u64().unwrap();
    // The heap alone may be had; what is not in it may not, being fifteen times as much.
    for of in ["run", "fault"] {
        let ran = on_host(&format!("{of} --heap {} --oversub 16", budget / 2));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{of}: {}", ran.stderr);
        assert!(ran.stderr.contains("of host memory are needed"), "{of}: {}", ran.stderr);
    }
}

/// Neither the heap nor what is not in it can be had: an answer, and no abort.
#[cfg(target_os = "linux")]
#[test]
fn a_host_that_runs_out_of_memory_ends_each_command_with_1() {
    let program = env!("CARGO_BIN_EXE_vk-demo");
    for of in ["run --heap 512MiB", "migrate --heap 512MiB --sizes 256MiB", "soak --heap 512MiB", "fault --heap 512MiB"] {
        let limited = format!("ulimit -v 700000; exec {program} {of} --device host");
        let ran: common::Ran = std::process::Command::new("sh").args(["-c", &limited]).output().unwrap().into();
        // A machine with less than that refuses it before the work.
        if ran.code == Some(2) {
            continue;
        }
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{of}: {}", ran.stderr);
        assert!(ran.stderr.contains("the host is out of memory"), "{of}: {}", ran.stderr);
    }
}
