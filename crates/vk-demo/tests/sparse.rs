//! Buffers used through contiguous addresses, on a Vulkan device with sparse binding; skipped where there is none, unless
//! `PGMAP_REQUIRE_SPARSE=1`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::Write;

use common::{on_host, vk_demo};
use serde_json::Value;

fn devices() -> Vec<Value> {
    vk_demo("list --format json").json()["devices"].as_array().unwrap().clone()
}

/// The index of a device with sparse binding.
fn device() -> Option<u64> {
    let found = devices().into_iter().find(|device| device["features"]["sparse_binding"] == true);
    let Some(found) = found else {
        let required = std::env::var_os("PGMAP_REQUIRE_SPARSE").is_some_and(|value| value == "1");
        assert!(!required, "a device with sparse binding is required, and there is none");
        // Not println: that is shown for failed tests only.
        std::io::stderr().write_all(b"skipped: sparse binding, no Vulkan device here has it\n").unwrap();
        return None;
    };
    found["index"].as_u64()
}

#[test]
fn buffers_are_used_through_their_views_under_validation_without_a_message() {
    let Some(device) = device() else { return };
    let run = format!("run --device {device} --sparse on --heap 16MiB --object 6MiB --ops 600 --format json");
    let layer = vk_demo(&format!("run --device {device} --heap 1MiB --ops 0 --validate"));
    let validated = !layer.stderr.contains("is not installed");
    let report = vk_demo(&format!("{run} {}", if validated { "--validate" } else { "" })).json();
    assert_eq!((&report["verified"], &report["validation_messages"]), (&true.into(), &0.into()));
    let sparse = &report["sparse"];
    let granule = sparse["granule_bytes"].as_u64().unwrap();
    assert_eq!((&sparse["used"], &report["wrong_sums"]), (&true.into(), &0.into()));
    for count in ["through_views", "binds", "unbinds"] {
        assert!(sparse[count].as_u64() > Some(0), "{count}: {sparse}");
    }
    assert!(granule > 4096 || sparse["in_pieces"] == 0, "{sparse}");
    assert!(sparse["most_runs"].as_u64() > Some(1), "no view was scattered: {sparse}");
    let sums = report["device_sums"].as_u64().unwrap();
    assert!(sums > 0 || report["device"]["roles"]["summing"].is_null(), "{sparse}");
}

#[test]
fn the_same_bytes_are_right_with_and_without() {
    let Some(device) = device() else { return };
    for (wanted, used) in [("auto", true), ("off", false)] {
        let run = format!("run --device {device} --sparse {wanted} --heap 8MiB --order 0 --ops 400 --format json");
        let report = vk_demo(&run).json();
        assert_eq!((&report["verified"], &report["sparse"]["used"]), (&true.into(), &used.into()), "{wanted}");
        assert_eq!(report["sparse"]["note"].is_null(), used);
    }
}

#[test]
fn a_device_without_it_is_refused_only_where_it_must_be_there() {
    let refused = on_host("run --heap 1MiB --ops 9 --sparse on");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert!(refused.stderr.contains("--sparse on: host device has no sparse binding"), "{}", refused.stderr);
    let report = on_host("run --heap 1MiB --ops 9 --format json").json();
    assert_eq!((&report["verified"], &report["sparse"]["used"]), (&true.into(), &false.into()));
    assert!(report["sparse"]["note"].as_str().unwrap().starts_with("no sparse binding: "));
}

#[test]
fn every_device_says_its_granule_or_what_is_missing() {
    for device in devices() {
        let sparse = &device["sparse"];
        match device["features"]["sparse_binding"].as_bool().unwrap() {
            true => assert!(sparse["granule_bytes"].as_u64().unwrap().is_power_of_two(), "{device}"),
            false => assert!(!sparse["missing"].as_str().unwrap().is_empty(), "{device}"),
        }
    }
}
