//! A Vulkan device that is lost in the middle, memory that is refused, and a message from the validation layer: a report, an exit
//! code, no hang and no crash. A layer of our own (`lose_device/layer.rs`) stands in front of the driver; skipped where there is no Vulkan, or where the layer was not
//! built (`cargo test` builds it, `cargo test --test lost` alone does not), unless `PGMAP_REQUIRE_VULKAN=1`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;

use common::{Ran, command, here, validation_layer, vulkan};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with what the loader wants to know of the layer.
fn layer() -> Option<TempDir> {
    if !vulkan() {
        return None;
    }
    let built = Path::new(env!("CARGO_BIN_EXE_vk-demo")).parent().unwrap().join("examples/liblose_device.so");
    if !here("layer", built.exists(), "cargo build --examples makes it") {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = json!({
        "file_format_version": "1.2.0",
        "layer": {
            "name": "VK_LAYER_PGMAP_lose_device",
            "type": "GLOBAL",
            "library_path": built,
            "api_version": "1.3.0",
            "implementation_version": "1",
            "description": "makes a device fail at a given moment",
        },
    });
    std::fs::write(folder.path().join("lose_device.json"), manifest.to_string()).unwrap();
    Some(folder)
}

/// Runs the program on Vulkan behind the layer.
fn behind(layer: &TempDir, arguments: &str, variable: &str, at: u64) -> Ran {
    let mut command = command(&format!("{arguments} --device 0 --format json"));
    // Beside those that are installed: the validation layer is one of them.
    command.env("VK_ADD_LAYER_PATH", layer.path()).env("VK_INSTANCE_LAYERS", "VK_LAYER_PGMAP_lose_device");
    command.env(variable, at.to_string()).output().unwrap().into()
}

const COMMANDS: [&str; 5] = [
    "run --heap 2MiB --ops 100",
    "migrate --heap 64KiB",
    "soak --ops 2000 --inject",
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
