//! A Vulkan device that is lost in the middle, memory that is refused, and a message from the validation layer: a report, an exit
//! code, no hang and no crash. A layer of our own (`layers/lose_device.rs`) stands in front of the driver; skipped where there is no
//! Vulkan, or where the layer was not built, unless `PGMAP_REQUIRE_VULKAN=1`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Layer, Ran, validation_layer};
use serde_json::Value;

fn layer() -> Option<Layer> {
    Layer::built("lose_device")
}

/// Runs the program on Vulkan behind the layer.
fn behind(layer: &Layer, arguments: &str, variable: &str, at: u64) -> Ran {
    let mut command = layer.under(&format!("{arguments} --device 0 --format json"), false);
    command.env(variable, at.to_string()).output().unwrap().into()
}

const COMMANDS: [&str; 5] = [
    "run --heap 2MiB --ops 100",
    "migrate --heap 64KiB",
    "soak --heap 1MiB --ops 2000 --inject",
    "fault --heap 64KiB --order 1 --accesses 200",
    "compare --heap 4MiB --ops 200",
];

#[test]
fn a_lost_device_ends_each_command_with_a_report_and_1() {
    let Some(layer) = layer() else { return };
    for of in COMMANDS {
        for submit in [0, 1, 40, 90] {
            let ran = behind(&layer, of, "LOSE_AT_SUBMIT", submit);
            assert_eq!(ran.code, Some(1), "{of}, lost at submit {submit}: {}", ran.stderr);
            assert!(ran.stderr.contains("VK_ERROR_DEVICE_LOST"), "{of}: {}", ran.stderr);
            let report: Value = serde_json::from_str(&ran.stdout).unwrap();
            let ended = report["ended"].as_str().unwrap();
            assert!(ended.contains("VK_ERROR_DEVICE_LOST") && report["verified"] == false, "{of}: {ended}");
            assert!(report["wrong_words"].is_null() || report["wrong_words"] == 0, "what was done until then was good");
            assert!(report["leaked_pages"].is_null() || report["leaked_pages"] == 0, "{of}, at submit {submit}");
            assert!(report["leaks"].is_null() || report["leaks"] == 0, "{of}, at submit {submit}");
        }
    }
}

#[test]
fn memory_that_is_refused_ends_each_command_with_1_and_says_whose() {
    let Some(layer) = layer() else { return };
    for of in COMMANDS {
        for allocation in 0..2 {
            for (variable, whose) in [("NO_HOST_MEMORY_AT", "the host is"), ("NO_DEVICE_MEMORY_AT", "the device is")] {
                let ran = behind(&layer, of, variable, allocation);
                assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{of}: {}", ran.stderr);
                assert!(ran.stderr.contains(&format!("{whose} out of memory")), "{of}: {}", ran.stderr);
            }
        }
    }
}

#[test]
fn one_message_from_the_validation_layer_is_a_failure() {
    let Some(layer) = layer() else { return };
    if !validation_layer() {
        return;
    }
    let run = |at| behind(&layer, "run --heap 1MiB --ops 20 --validate", "MISUSE_AT_SUBMIT", at);
    let ran = run(3);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["verified"]), (Some(1), &true.into()), "{}", ran.stderr);
    assert_eq!(report["validation_messages"], 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("vkResetFences"), "{}", ran.stderr);
    assert_eq!(run(u64::MAX).json()["validation_messages"], 0);
}

#[test]
fn behind_the_layer_all_is_well_when_nothing_is_to_fail() {
    let Some(layer) = layer() else { return };
    assert_eq!(behind(&layer, COMMANDS[0], "LOSE_AT_SUBMIT", u64::MAX).json()["verified"], true);
}
