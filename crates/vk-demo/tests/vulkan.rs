//! The program on Vulkan, hardware or software; skipped where there is none, unless `PGMAP_REQUIRE_VULKAN=1`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{validation_layer, vk_demo, vulkan};
use serde_json::Value;

#[test]
fn run_is_verified_under_validation_without_a_message() {
    if !validation_layer() {
        return;
    }
    let report = vk_demo("run --heap 16MiB --object 6MiB --ops 300 --validate --format json").json();
    assert_ne!(report["device"]["kind"], "host");
    assert_eq!(report["verified"], true);
    assert_eq!(report["validated"], true);
    assert_eq!(report["validation_messages"], 0);
    assert_eq!(report["objects_bytes"].as_array().unwrap().len(), 4, "of 4 MiB each");
    assert!(report["evictions"].as_u64() > Some(0));
}

#[test]
fn migrate_is_verified_under_validation_without_a_message() {
    if !validation_layer() {
        return;
    }
    // More folios than regions fit into one command under validation.
    let report = vk_demo("migrate --heap 4MiB --validate --format json").json();
    assert_eq!(report["verified"], true);
    assert_eq!(report["validation_messages"], 0);
    let rows = report["rows"].as_array().unwrap();
    for direction in ["host-to-device", "device-to-host"] {
        for order in 0..=10 {
            let found = rows.iter().any(|row| row["order"] == order && row["direction"] == direction);
            assert!(found, "no row for order {order}, {direction}");
        }
    }
}

#[test]
fn the_device_sums_what_it_holds() {
    if !vulkan() {
        return;
    }
    // Several objects, and perhaps another queue than the one that copies.
    let report = vk_demo("migrate --heap 24MiB --object 6MiB --sizes 4MiB --order 3 --format json").json();
    assert_eq!(report["verified"], true);
    assert_eq!(report["wrong_sums"], 0);
    let sums = report["device_sums"].as_u64().unwrap();
    assert!(sums == 8 || report["device"]["roles"]["summing"].is_null(), "{sums} sums of 4 modes in the first and the last round");
}

#[test]
fn compare_asks_other_allocators_under_validation_without_a_message() {
    if !validation_layer() {
        return;
    }
    let report = vk_demo("compare --heap 4MiB --ops 1500 --full 100 --validate --format json").json();
    assert_eq!((&report["verified"], &report["validation_messages"]), (&true.into(), &0.into()));
    let names = |list: &Value| list.as_array().unwrap().iter().map(|row| row["allocator"].clone()).collect::<Vec<_>>();
    let (rows, left_out) = (names(&report["rows"]), names(&report["left_out"]));
    assert!(rows.contains(&"gpu-allocator".into()), "{rows:?}");
    if cfg!(feature = "vma") {
        assert!(rows.contains(&"VMA".into()) && left_out.is_empty(), "{rows:?}, without {left_out:?}");
    } else {
        println!("skipped: VMA, this was built without the feature vma");
        assert_eq!(left_out, ["VMA"]);
    }
    for row in report["rows"].as_array().unwrap() {
        assert!(row["refused"].as_u64() > Some(0) || row["allocator"] != "gpu-allocator", "it has been at its limit: {row}");
        assert!(row["peak_held_bytes"].as_u64() <= Some(4 << 20), "nobody has more than the heap: {row}");
        assert!(row["peak_placed_bytes"].as_u64() >= row["peak_asked_bytes"].as_u64().map(|bytes| bytes * 9 / 10), "{row}");
    }
}

#[test]
fn vulkan_is_chosen_before_the_host_device() {
    if !vulkan() {
        return;
    }
    let report = vk_demo("run --heap 4MiB --ops 100 --format json").json();
    assert_ne!(report["device"]["kind"], "host");
    assert_eq!(report["verified"], true);
    let sums = report["device_sums"].as_u64() > Some(0);
    assert!(sums || report["device"]["roles"]["summing"].is_null(), "a queue that computes sums what is in the heap");
    assert_eq!(report["wrong_sums"], 0);
    assert!(report["device"]["api"].as_str().unwrap().starts_with("1."));
}

#[test]
fn a_heap_beyond_the_budget_is_refused() {
    if !vulkan() {
        return;
    }
    let ran = vk_demo("run --heap 8EiB --device 0");
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("is more than"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_each_command_cleanly_with_a_partial_report() {
    if vulkan() {
        common::interrupts("0");
    }
}

#[test]
fn req_82_every_command_writes_what_the_schema_says_on_vulkan() {
    if !vulkan() {
        return;
    }
    for of in common::SMALL {
        let result = vk_demo(&format!("{of} --device 0 --format json -q")).json();
        assert_eq!(common::against_schema(&result, true), Ok(()), "{of}");
    }
}

#[test]
fn req_82_copies_are_timed_by_the_devices_own_clock_too() {
    if !vulkan() {
        return;
    }
    let result = vk_demo("migrate --device 0 --heap 4MiB --sizes 4MiB --order 5 --iterations 3 --format json -q").json();
    for row in result["rows"].as_array().unwrap() {
        let Some(copying) = row["copying_ms"].as_f64() else {
            assert_ne!(result["device"]["kind"], "software", "lavapipe has a clock: {row}");
            continue;
        };
        assert!(copying > 0.0, "4 MiB cannot be copied in no time: {row}");
    }
}
