//! Mistakes, one at a time, at spread places of each command: each is noticed, or the report says what was not compared.
//!
//! The table of how many were made and noticed goes to the standard error, for `cargo test -- --nocapture` and for the documentation.
//! `PGMAP_CAMPAIGN=20` tries so many places of each kind instead of a few.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;

use crate::common::{Layer, Ran};

/// What a command says of itself in the end, and what the layer says of it.
struct Tried {
    made: Option<String>,
    noticed: bool,
    /// The report says that part of what was written was not compared.
    is_partial: bool,
}

/// A card or none, a command, and the kinds of mistake that are made; all of them where none is named.
type Case = (Option<&'static str>, &'static str, &'static [&'static str]);

const CASES: [Case; 10] = [
    (None, "run --heap 2MiB --ops 60", &[]),
    (None, "run --heap 2MiB --ops 60 --order 0 --sparse off", &[]),
    (None, "migrate --heap 1MiB --sizes 64KiB --iterations 1", &[]),
    (None, "soak --heap 512KiB --ops 1200", &[]),
    (None, "fault --heap 128KiB --order 2 --floor 0 --accesses 120 --policy lru", &[]),
    (None, "compare --heap 4MiB --ops 1500 --full 100", &[]),
    // Nothing is relocated: only where bytes stand tells that pairs are exchanged.
    (None, "run --heap 2MiB --ops 0 --order 0 --sparse off", &["both-ways"]),
    // Nothing is summed: what is read back is all there is.
    (Some("copy-only"), "run --heap 2MiB --ops 200", &["drop"]),
    (Some("copy-only"), "soak --heap 512KiB --ops 1200", &["drop"]),
    (Some("copy-only"), "compare --heap 4MiB --ops 300", &["drop"]),
];

/// Kinds of mistake, and what the layer counts chances in.
const KINDS: [(&str, &str); 8] = [
    ("drop", "regions"),
    ("short", "regions"),
    ("shift", "regions"),
    ("exchange", "regions"),
    ("bind", "binds"),
    ("dispatch", "dispatches"),
    ("fence", "waits"),
    ("both-ways", "once"),
];

fn run(layer: &Layer, &(card, command, _): &Case, fault: &str, at: u64) -> (Ran, Value) {
    let mut command = layer.under(&format!("{command} --device 0 --format json"), false);
    command.env("FAULT", fault).env("FAULT_AT", at.to_string());
    card.map(|card| command.env("FAKE_CARD", card));
    let ran = Ran::from(command.output().unwrap());
    let report = serde_json::from_str(&ran.stdout).unwrap_or(Value::Null);
    (ran, report)
}

fn tried(layer: &Layer, case: &Case, fault: &str, at: u64) -> Tried {
    let (ran, report) = run(layer, case, fault, at);
    let made = ran.stderr.lines().find(|line| line.starts_with("fake card: fault: ")).map(str::to_owned);
    let verified = report["verified"] == true;
    assert_eq!(verified, ran.code == Some(0), "{case:?}, {fault} at {at}: {}", ran.stderr);
    let coverage = &report["coverage"];
    Tried { made, noticed: !verified, is_partial: coverage["written_bytes"] != coverage["compared_bytes"] }
}

/// How many chances of each kind a command has when nothing goes wrong.
fn chances(layer: &Layer, case: &Case) -> BTreeMap<String, u64> {
    let (ran, report) = run(layer, case, "count", 0);
    assert_eq!(report["verified"], true, "{case:?}: {}", ran.stderr);
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("fake card: chances: ")).unwrap();
    let pair = |part: &str| part.split_once(' ').map(|(count, name)| (name.to_owned(), count.parse().unwrap()));
    line.split(", ").filter_map(pair).chain([("once".to_owned(), 1)]).collect()
}

#[test]
fn req_80_every_single_mistake_is_noticed_or_the_words_say_what_was_not_compared() {
    let Some(layer) = Layer::built("fake_card") else { return };
    let places: u64 = std::env::var("PGMAP_CAMPAIGN").ok().and_then(|places| places.parse().ok()).unwrap_or(3);
    let mut table = String::from("command | mistake | made | noticed | where the report says that it did not look\n");
    let mut missed = Vec::new();
    for case in CASES {
        let (card, command, kinds) = case;
        let chances = chances(&layer, &case);
        let command = card.map_or(command.to_owned(), |card| format!("{command} ({card})"));
        for (fault, unit) in KINDS.into_iter().filter(|(fault, _)| kinds.is_empty() || kinds.contains(fault)) {
            let most = chances[unit];
            let (mut made, mut noticed, mut said) = (0, 0, 0);
            // Where only one kind is tried, there is time for more of them.
            let places = if kinds.is_empty() { places } else { 3 * places }.min(most);
            for place in 0..places {
                let at = (2 * place + 1) * most / (2 * places);
                let tried = tried(&layer, &case, fault, at);
                let Some(what) = tried.made else { continue };
                made += 1;
                match (tried.noticed, tried.is_partial) {
                    (true, _) => noticed += 1,
                    (false, true) => said += 1,
                    (false, false) => missed.push(format!("{command}: {what} (chance {at} of {most})")),
                }
            }
            if made > 0 {
                table += &format!("{command} | {fault} | {made} | {noticed} | {said}\n");
            }
        }
    }
    // Not println: that is shown for failed tests only.
    std::io::stderr().write_all(table.as_bytes()).unwrap();
    assert!(missed.is_empty(), "not noticed:\n{}\n{table}", missed.join("\n"));
    let rows = |fault: &str| table.lines().filter(|line| line.contains(&format!(" | {fault} | "))).count();
    for fault in ["drop", "short", "shift", "exchange", "dispatch", "fence", "both-ways"] {
        assert!(rows(fault) >= 3, "{fault} was hardly ever made:\n{table}");
    }
}
