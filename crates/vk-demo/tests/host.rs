//! The program on the host device, which is there on every machine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{command, on_host, vk_demo};
use serde_json::{Value, json};

#[test]
fn run_is_verified_and_says_on_what() {
    let report = on_host("run --heap 8MiB --ops 300 --format json").json();
    assert_eq!(report["schema"], "vk-demo/run/3");
    assert_eq!(report["device"]["kind"], "host");
    assert_eq!(report["device"]["name"], "host device");
    assert_eq!(report["verified"], true);
    assert_eq!(report["validation_messages"], 0);
    assert_eq!(report["seed"], 1);
    assert_eq!(report["heap_bytes"], 8 << 20);
    assert_eq!(report["buffers_bytes"], 12 << 20);
    assert_eq!(report["leaked_pages"], 0);
    assert!(report["evictions"].as_u64() > Some(0), "1.5 times the heap cannot stay in it");
    assert!(report["checked_bytes"].as_u64() > Some(12 << 20));
    assert_eq!(report["heat_map"]["ranges"][0].as_str().unwrap().chars().count(), 4);
}

#[test]
fn run_is_what_is_done_without_a_command() {
    let ran = on_host("--heap 2MiB --ops 50");
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.starts_with("Ran on: host device (no Vulkan, the CPU copies)\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nverified: "), "{}", ran.stdout);
    assert!(ran.stderr.is_empty(), "no progress where nobody watches: {}", ran.stderr);
}

#[test]
fn a_seed_tells_what_is_asked_of_the_heap() {
    // Where folios go is the pool's choice, and may hang on where this process has its stack.
    let asked = |seed| {
        let report = on_host(&format!("run --heap 4MiB --ops 300 --format json --seed {seed}")).json();
        let did = &report["did"];
        let uses = did["hits"].as_u64().unwrap() + did["faults"].as_u64().unwrap();
        [&report["buffers"], &did["ops"], &did["writes"], &did["replacements"], &uses.into()].map(Value::clone)
    };
    assert_eq!(asked(5), asked(5));
    assert_ne!(asked(5), asked(6));
}

#[test]
fn order_caps_the_folios() {
    let report = on_host("run --heap 4MiB --ops 100 --order 2 --format json").json();
    let folios = report["folios_by_order"].as_array().unwrap();
    assert_eq!(folios.len(), 3);
    assert!(folios[2].as_u64() > Some(0));
}

#[test]
fn a_heap_can_be_several_memory_objects() {
    let report = on_host("run --heap 9MiB --object 2MiB --ops 300 --format json").json();
    assert_eq!(report["objects_bytes"].as_array().unwrap().len(), 5);
    assert_eq!(report["heat_map"]["ranges"].as_array().unwrap().len(), 5);
    assert_eq!(report["verified"], true);
}

#[test]
fn migrate_has_every_size_and_order_both_ways_and_every_mode() {
    let report = on_host("migrate --heap 4MiB --iterations 3 --format json").json();
    assert_eq!(report["schema"], "vk-demo/migrate/3");
    assert_eq!(report["verified"], true);
    assert_eq!((&report["sizes_bytes"], &report["left_out"]), (&json!([512 << 10, 4 << 20]), &json!([])));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), rows_of(rows, 512 << 10) + rows_of(rows, 4 << 20));
}

/// Checks the rows of one size, in both directions: the bulk copy, and every order to 10 that there is. How many they are.
fn rows_of(rows: &[Value], bytes: u64) -> usize {
    let (pages, last) = (bytes / 4096, (bytes / 4096).ilog2());
    for direction in ["host-to-device", "device-to-host"] {
        let find = |order: u32, mode: &str| {
            let named = |row: &&Value| row["order"] == order && row["mode"] == mode;
            let found = |row: &&Value| row["bytes"] == bytes && row["direction"] == direction && named(row);
            rows.iter().find(found).unwrap_or_else(|| panic!("no row for order {order}, {mode}, {direction} of {bytes}"))
        };
        assert_eq!((&find(last, "bulk")["regions"], &find(last, "bulk")["faults"]), (&1.into(), &0.into()));
        for order in 0..=last.min(10) {
            let folios = pages >> order;
            let merged = find(order, "merged");
            assert_eq!((&merged["submits"], &merged["folios"]), (&1.into(), &folios.into()));
            // An idle heap of that size is one run, whichever folios come first.
            assert!(merged["regions"].as_u64() <= Some(if bytes == 4 << 20 { 1 } else { folios }), "{merged}");
            for (mode, submits, faults) in [("per-folio", folios, folios), ("batched", 1, 0)] {
                let row = find(order, mode);
                assert_eq!((&row["submits"], &row["faults"]), (&submits.into(), &faults.into()));
                assert_eq!((&row["regions"], &row["folios"]), (&folios.into(), &folios.into()), "a region for each folio");
                for measured in ["ms", "gb_per_s", "cv_percent", "cpu_ms", "allocator_percent", "allocator_ns_per_folio"] {
                    assert!(row[measured].as_f64() >= Some(0.0), "{measured}: {row}");
                }
                for part in ["allocator_ms", "recording_ms", "waiting_ms", "planning_ms", "spread_percent"] {
                    assert!(row[part].as_f64() >= Some(0.0), "{part}: {row}");
                }
                for (low, middle, high) in [("ms_low", "ms", "ms_high"), ("gb_per_s_low", "gb_per_s", "gb_per_s_high")] {
                    let [low, middle, high] = [low, middle, high].map(|name| row[name].as_f64().unwrap());
                    assert!(low <= middle && middle <= high, "{row}");
                }
                assert_eq!(row["varies"], row["spread_percent"].as_f64() > Some(20.0), "{row}");
                let latency = ["p50_us", "p99_us"].map(|name| row[name].as_f64());
                assert!(latency[0].is_some() == (mode == "per-folio") && latency[0] <= latency[1], "{row}");
            }
        }
    }
    2 * (1 + 3 * (1 + last.min(10) as usize))
}

#[test]
fn migrate_takes_a_list_of_sizes_or_a_range() {
    for (sizes, expected) in [("64KiB..256KiB", [64, 128, 256]), ("16KiB,1MiB,32KiB,16KiB", [16, 32, 1024])] {
        let ran = on_host(&format!("migrate --heap 2MiB --sizes {sizes} --iterations 1 --format json"));
        let report = ran.json();
        let expected = expected.map(|size| size << 10);
        assert_eq!(report["sizes_bytes"], json!(expected), "{sizes}");
        let found: Vec<u64> = report["rows"].as_array().unwrap().iter().map(|row| row["bytes"].as_u64().unwrap()).collect();
        assert!(found.is_sorted() && expected.iter().all(|size| found.contains(size)), "{found:?}");
        assert!(report["rows"][1]["cv_percent"].is_null(), "one iteration alone does not vary");
    }
    // A terminal shows what there is room for.
    let narrow =
        command("migrate --heap 1MiB --sizes 64KiB,1MiB --iterations 1 --device host").env("COLUMNS", "72").output().unwrap();
    let table = common::Ran::from(narrow).stdout;
    let tables = table.lines().filter(|line| line.starts_with(['\u{250c}', '\u{2502}', '\u{251c}', '\u{2514}', '\u{255e}']));
    assert!(tables.clone().count() > 40 && tables.into_iter().all(|line| line.chars().count() <= 72), "{table}");
    // People see each size by itself, and all of them at one glance.
    let table = on_host("migrate --heap 2MiB --sizes 64KiB,1MiB --iterations 2").stdout;
    for part in ["Host -> device, 64 KiB", "Device -> host, 1 MiB", "Host -> device, GB/s", "Device -> host, GB/s"] {
        assert!(table.contains(&format!("\n{part}\n")), "{part} in {table}");
    }
}

#[test]
fn migrate_leaves_out_orders_that_do_not_fit() {
    let report = on_host("migrate --heap 64KiB --format json").json();
    assert_eq!(report["sizes_bytes"], json!([64 << 10]), "a heap that holds none of the sizes is migrated as a whole");
    assert!(report["rows"].as_array().unwrap().iter().all(|row| row["order"].as_u64() <= Some(4)));
    let one = on_host("migrate --heap 64KiB --order 3 --format json").json();
    assert_eq!(one["rows"].as_array().unwrap().len(), 2 * 4);
    assert_eq!(one["iterations"], 5);
    assert_eq!(on_host("migrate --heap 16KiB --order 0 --iterations 9 --format json").json()["iterations"], 9);
}

#[test]
fn list_ends_with_the_host_device() {
    let report = vk_demo("list --format json").json();
    let devices = report["devices"].as_array().unwrap();
    let last = devices.last().unwrap();
    assert_eq!((last["kind"].as_str(), last["index"].as_u64()), (Some("host"), Some(devices.len() as u64 - 1)));
    let by_index = vk_demo(&format!("run --heap 1MiB --ops 9 --format json --device {}", devices.len() - 1)).json();
    assert_eq!(by_index["device"]["kind"], "host");
}

#[test]
fn without_a_driver_the_host_device_takes_over_and_says_why() {
    let without = |arguments: &str| {
        let mut command = command(arguments);
        // The loader's two names for the same setting, old and new.
        command.env("VK_ICD_FILENAMES", "/nonexistent").env("VK_DRIVER_FILES", "/nonexistent");
        common::Ran::from(command.output().unwrap())
    };
    let list = without("list --format json").json();
    assert!(
        list["no_vulkan"].as_str().is_some_and(|why| why.starts_with("a Vulkan loader but no") || why.starts_with("no Vulkan"))
    );
    assert_eq!(list["devices"].as_array().unwrap().len(), 1);
    let ran = without("--heap 1MiB --ops 9 --format json");
    assert!(ran.stderr.contains("the host device is used instead"), "{}", ran.stderr);
    let report = ran.json();
    assert_eq!(report["device"]["kind"], "host");
    let why = report["no_vulkan"].as_str().unwrap();
    assert!(why.starts_with("no Vulkan") || why.contains("no driver (VK_DRIVER_FILES is \"/nonexistent\")"), "{why}");
    assert!(without("--heap 1MiB --ops 9").stdout.contains(&format!("No Vulkan: {why}.")));
    let asked_for = without("--heap 1MiB --ops 9 --device host --format json");
    assert!(asked_for.stderr.is_empty() && asked_for.json()["no_vulkan"].is_null(), "who asks for it needs no reason");
    assert_eq!(without("--heap 1MiB --ops 9 --validate").code, Some(2), "there is nothing to validate");
}

#[test]
fn every_command_writes_every_form() {
    let commands = [
        ("run --heap 1MiB --ops 9", 2),
        ("migrate --heap 16KiB", 21),
        ("soak --heap 1MiB --ops 99", 2),
        ("fault --heap 64KiB --order 1 --accesses 99", 7),
        ("compare --heap 4MiB --ops 99", 4),
        ("list", 2),
    ];
    for (of, fewest_lines) in commands {
        let device = if of == "list" { "" } else { "--device host" };
        let csv = vk_demo(&format!("{of} {device} --format csv"));
        assert_eq!(csv.code, Some(0), "{}", csv.stderr);
        let columns = |line: &csv::StringRecord| line.len();
        let mut reader = csv::Reader::from_reader(csv.stdout.as_bytes());
        let header = columns(reader.headers().unwrap());
        let lines: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert!(lines.len() + 1 >= fewest_lines && lines.iter().all(|line| columns(line) == header));
        assert!(vk_demo(&format!("{of} {device} --format json")).json()["schema"].is_string());
        assert!(vk_demo(&format!("{of} {device}")).stdout.contains("host device"));
    }
}

#[test]
fn req_82_every_command_writes_what_the_schema_says() {
    for of in common::SMALL {
        let result = on_host(&format!("{of} --format json -q")).json();
        assert_eq!(common::against_schema(&result, true), Ok(()), "{of}");
    }
    let list = vk_demo("list --format json").json();
    assert_eq!(common::against_schema(&list, true), Ok(()));
}

#[test]
fn req_82_the_schema_refuses_what_nobody_writes() {
    let result = on_host("migrate --heap 4KiB --iterations 1 --format json").json();
    let refused = |change: fn(&mut Value), strict| {
        let mut changed = result.clone();
        change(&mut changed);
        common::against_schema(&changed, strict).is_err()
    };
    assert!(!refused(|_| {}, true));
    assert!(refused(|result| result["rows"][0]["ms"] = "soon".into(), false));
    assert!(refused(|result| result["rows"][0]["mode"] = "by hand".into(), false));
    assert!(refused(|result| result["rows"][0]["ms_low"] = Value::Null, false));
    assert!(refused(|result| drop(result["device"].as_object_mut().unwrap().remove("name")), false));
    assert!(refused(|result| result["picture"]["charts"][0]["lines"][0]["stroke"] = "wavy".into(), false));
    let added: fn(&mut Value) = |result| result["rows"][0]["more"] = 1.into();
    assert!(!refused(added, false) && refused(added, true), "fields may be added, and this file names them all");
}

#[test]
fn req_57_a_soak_with_injected_failures_is_verified_and_leaks_nothing() {
    let soak = |arguments: &str| on_host(&format!("soak --heap 1MiB --inject --format json {arguments}")).json();
    let report = soak("--ops 20000 --seed 1");
    assert_eq!(report["schema"], "vk-demo/soak/2");
    assert_eq!(report["verified"], true);
    assert_eq!((&report["leaks"], &report["ops"], &report["seed"]), (&0.into(), &20000.into(), &1.into()));
    for step in ["charge", "allocate", "copy", "fence"] {
        assert!(report["injected"][step].as_u64() > Some(0), "{step}");
    }
    assert_eq!((&report["unplugged"], &report["retired_pages"]), (&true.into(), &16.into()));
    for done in ["undone", "swapped_out", "bounced"] {
        assert!(report["did"][done].as_u64() > Some(0), "{done}");
    }
    assert_eq!(soak("--time 1")["verified"], true);
}

#[test]
fn compare_says_aloud_who_is_left_out_and_compares_the_rest() {
    let ran = on_host("compare --heap 4MiB --ops 400 --format json -q");
    for peer in ["gpu-allocator", "VMA"] {
        assert!(ran.stderr.contains(&format!("left out: {peer}: it needs Vulkan")), "{}", ran.stderr);
    }
    let report = ran.json();
    assert_eq!((&report["schema"], &report["verified"]), (&"vk-demo/compare/1".into(), &true.into()));
    let allocators = |list: &Value| list.as_array().unwrap().iter().map(|row| row["allocator"].clone()).collect::<Vec<_>>();
    assert_eq!(allocators(&report["left_out"]), ["gpu-allocator", "VMA"]);
    assert_eq!(allocators(&report["rows"]), ["pgmap-alloc, folios", "pgmap-alloc, contiguous", "a memory object per buffer"]);
    for row in report["rows"].as_array().unwrap() {
        assert_eq!((&row["asked"], &row["leaked_bytes"]), (&report["rows"][0]["asked"], &0.into()));
        assert!(row["checked_bytes"].as_u64() > Some(0) && row["take_ns"].as_f64() > Some(0.0));
    }
    assert!(report["not_comparable"].as_array().is_some_and(|notes| !notes.is_empty()));
}

#[test]
fn fault_has_a_row_for_every_order_and_policy_beside_order_0() {
    let report = on_host("fault --heap 1MiB --order 3 --accesses 400 --format json").json();
    assert_eq!((&report["schema"], &report["verified"]), (&"vk-demo/fault/1".into(), &true.into()));
    let rows: Vec<String> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row["policy"].as_str().unwrap(), row["order"]))
        .collect();
    assert_eq!(rows, ["lru 0", "lru 3", "fifo 0", "fifo 3", "random 0", "random 3"]);
    assert!(report["rows"][0]["faults"].as_u64() > report["rows"][1]["faults"].as_u64());
}

#[test]
fn req_80_what_was_compared_is_said_and_nothing_is_not_verified() {
    for of in [
        "run --heap 1MiB --ops 50",
        "soak --heap 1MiB --ops 500",
        "fault --heap 64KiB --order 1 --accesses 99",
        "compare --heap 4MiB --ops 99",
    ] {
        let coverage = on_host(&format!("{of} --format json")).json()["coverage"].clone();
        assert!(coverage["written_bytes"].as_u64() > Some(0), "{of}");
        assert_eq!(coverage["written_bytes"], coverage["compared_bytes"], "{of}");
    }
    // What warms a folio up is thrown away.
    let migrate = on_host("migrate --heap 64KiB");
    assert!(migrate.stdout.contains("\nverified: ") && migrate.stdout.contains("\nnot checked: "), "{}", migrate.stdout);
    // One operation makes an object that stands nowhere.
    let nothing = on_host("soak --heap 1MiB --ops 1");
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.stdout.contains("\nNOTHING CHECKED: "), "{}", nothing.stdout);
}

#[test]
fn req_80_a_soak_takes_a_share_of_the_heap_by_default() {
    // However little the host has free, it is more than a corner.
    let report = on_host("soak --ops 20 --format json").json();
    assert!(report["heap_bytes"].as_u64() >= Some(16 << 20), "{}", report["heap_bytes"]);
}

#[test]
fn req_82_compare_goes_beyond_one_block() {
    let report = on_host("compare --heap 512MiB --ops 12 --format json").json();
    assert_eq!((&report["verified"], &report["heap_bytes"]), (&true.into(), &(512u64 << 20).into()));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_each_command_cleanly_with_a_partial_report() {
    common::interrupts("host");
}
