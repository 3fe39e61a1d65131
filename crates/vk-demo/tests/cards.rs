//! The program on cards that are not here: a layer of our own (`layers/fake_card`) makes them of the driver that is. And what it sees of
//! mistakes that the layer makes. Skipped where there is no Vulkan, or where the layer was not built, unless `PGMAP_REQUIRE_VULKAN=1`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "cards/campaign.rs"]
mod campaign;
mod common;

use common::{Layer, Ran, validation_layer};
use serde_json::{Value, json};

const CARDS: [&str; 8] = ["nvidia", "amd", "amd-large-bar", "arc", "integrated", "non-coherent", "uncached", "copy-only"];

/// Runs a command on a card; it does nothing that the card does not allow.
fn on(layer: &Layer, card: &str, arguments: &str, validated: bool) -> Ran {
    let validate = if validated { "--validate" } else { "" };
    let mut command = layer.under(&format!("{arguments} --device fake --format json {validate}"), validated);
    let ran = Ran::from(command.env("FAKE_CARD", card).output().unwrap());
    assert!(!ran.stderr.contains("violation"), "{card}: {arguments}: {}", ran.stderr);
    ran
}

fn verified(layer: &Layer, card: &str, arguments: &str, validated: bool) -> Value {
    let report = on(layer, card, arguments, validated).json();
    assert_eq!(report["verified"], true, "{card}: {arguments}");
    assert_eq!(report["validation_messages"], 0, "{card}: {arguments}");
    report
}

#[test]
fn req_82_on_each_card_memory_and_queues_are_what_surprises_least() {
    let Some(layer) = Layer::built("fake_card") else { return };
    let validated = validation_layer();
    // Types of folios and copies; the families that copy and sum.
    let expected = [(1, 3, 1, Some(0)), (1, 5, 2, Some(0)), (0, 3, 0, Some(0)), (2, 3, 2, Some(0)), (0, 1, 0, Some(0))];
    let expected = expected.into_iter().chain([(0, 2, 1, Some(0)), (0, 1, 0, Some(0)), (0, 1, 0, None)]);
    for (card, (folios, copies, copying, summing)) in CARDS.into_iter().zip(expected) {
        let report = verified(&layer, card, "run --heap 8MiB --ops 60", validated);
        let used = &report["used"];
        assert_eq!(report["device"]["kind"], "hardware", "{card}");
        assert_eq!((&used["folios"]["type"], &used["staging"]["type"]), (&folios.into(), &copies.into()), "{card}: {used}");
        assert_eq!((&used["queues"]["copying"], &used["queues"]["summing"]), (&copying.into(), &json!(summing)), "{card}: {used}");
        let (sums, gaps) = (report["device_sums"].as_u64().unwrap(), report["not_checked"].to_string());
        assert_eq!((sums > 0, gaps.contains("did not sum")), (summing.is_some(), summing.is_none()), "{card}: {gaps}");
        let notes = used["notes"].to_string();
        assert_eq!(notes.contains("not coherent"), card == "non-coherent", "{notes}");
        assert_eq!(notes.contains("not cached"), card == "uncached", "{notes}");
        assert_eq!(notes.contains("the same heap"), card == "integrated", "{notes}");
        if report["sparse"]["used"] == true {
            let orders: Vec<u64> =
                report["folios_by_order"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
            assert!(orders.iter().all(|count| *count > 0), "{card}: folios of every order: {orders:?}");
        }
    }
}

#[test]
fn req_82_every_command_is_verified_on_every_card() {
    let Some(layer) = Layer::built("fake_card") else { return };
    for card in CARDS {
        for command in [
            "migrate --heap 1MiB --sizes 256KiB --iterations 1",
            "soak --heap 1MiB --ops 500 --inject",
            "fault --heap 256KiB --order 2 --floor 0 --accesses 200 --policy lru",
            "compare --heap 4MiB --ops 100",
        ] {
            let report = verified(&layer, card, command, false);
            assert_eq!(report["not_checked"].to_string().contains("did not sum"), card == "copy-only", "{card}: {command}");
        }
    }
}

#[test]
fn req_82_staging_and_heap_are_cut_to_what_the_card_gives() {
    let Some(layer) = Layer::built("fake_card") else { return };
    // No more than 5 MiB at a time.
    let report = verified(&layer, "uncached", "run --heap 9MiB --ops 100", false);
    assert_eq!(report["objects_bytes"], json!([4 << 20, 4 << 20, 1 << 20]));
    let report = verified(&layer, "uncached", "migrate --heap 16MiB --sizes 8MiB --order 4 --iterations 1", false);
    let bulk = report["rows"].as_array().unwrap().iter().find(|row| row["mode"] == "bulk").unwrap();
    assert_eq!((&bulk["folios"], &bulk["submits"]), (&2.into(), &1.into()), "more than one memory object holds: {bulk}");
    // One heap for both: what is asked for is refused, what nobody asked for is made smaller.
    let both = on(&layer, "integrated", "run --heap 8GiB", false);
    assert_eq!(both.code, Some(2));
    assert!(both.stderr.contains("in one place") || both.stderr.contains("host memory are needed"), "{}", both.stderr);
    // Not the window of 246 MiB, whatever there is of it.
    let nvidia = verified(&layer, "nvidia", "run --heap 4MiB --ops 9", false);
    assert_eq!((&nvidia["used"]["folios"]["heap"], &nvidia["used"]["staging"]["heap"]), (&0.into(), &1.into()));
}

#[test]
fn req_82_the_user_chooses_the_heap_and_who_copies() {
    let Some(layer) = Layer::built("fake_card") else { return };
    let run = |options: &str| on(&layer, "nvidia", &format!("run --heap 4MiB --ops 40 {options}"), false);
    for (options, copying, heap) in [
        ("", 1, 0),
        ("--queue copy", 1, 0),
        ("--queue compute", 2, 0),
        ("--queue graphics", 0, 0),
        ("--queue 3", 3, 0),
        ("--memory-heap 1", 1, 1),
    ] {
        let report = run(options).json();
        assert_eq!(report["verified"], true, "{options}");
        assert_eq!(
            (&report["used"]["queues"]["copying"], &report["used"]["folios"]["heap"]),
            (&copying.into(), &heap.into()),
            "{options}"
        );
    }
    for (options, said) in [
        ("--queue 4", "--queue: there is no family 4 that copies; there are 0: graphics, compute, copy"),
        ("--queue draw", "it is copy, compute, graphics or a family's number"),
        ("--memory-heap 3", "--memory-heap: there is no heap 3; they are numbered 0 to 2"),
    ] {
        let refused = run(options);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{options}");
        assert!(refused.stderr.contains(said), "{options}: {}", refused.stderr);
    }
    let none = on(&layer, "integrated", "run --heap 4MiB --queue copy", false);
    assert!(none.code == Some(2) && none.stderr.contains("no family of queues only copies"), "{}", none.stderr);
}

#[test]
fn req_82_a_budget_of_0_is_not_told() {
    let Some(layer) = Layer::built("fake_card") else { return };
    let list = |card: &str| {
        let mut command = layer.under("list --format json", false);
        let list = Ran::from(command.env("FAKE_CARD", card).output().unwrap()).json();
        list["devices"][0].clone()
    };
    let heap = list("arc")["heap"].clone();
    assert_eq!((&heap["budget_from"], &heap["budget_bytes"]), (&"3/4 of the heap".into(), &(12u64 << 30).into()));
    assert_eq!(list("nvidia")["queues"][1]["does"], json!(["copy", "sparse-binding"]));
}
