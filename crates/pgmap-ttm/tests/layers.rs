//! A file uses only files that stand above it, so each can be read knowing only those.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every file but `lib.rs`, in order; the verbs of the manager are on one line because none needs another's types.
const ORDER: &[&[&str]] = &[
    &["place"],
    &["piece"],
    &["bo"],
    &["error"],
    &["failure", "mover"],
    &["account", "caches", "job", "lru", "pick", "segment"],
    &["object", "ask", "carve", "sketch", "windows"],
    &["folios", "host_pages"],
    &["resource"],
    &["manager"],
    &["plan"],
    &[
        "audit", "bounce", "cost", "device", "evict", "fault", "ghost", "keep", "lists", "owner", "pin", "promote", "relocate",
        "unplug", "validate",
    ],
    &["conformance"],
    &["host"],
];

#[test]
fn a_file_uses_only_files_above_it() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut above = BTreeSet::new();
    for level in ORDER {
        for name in *level {
            let text = fs::read_to_string(sources.join(name).with_extension("rs")).unwrap();
            let uses = text.lines().filter_map(|line| line.trim().strip_prefix("use crate::"));
            for used in uses.map(|rest| rest.split("::").next().unwrap()) {
                assert!(above.contains(used), "{name}.rs uses {used}, which does not stand above it");
            }
            let code =
                text.lines().filter(|line| !line.trim_start().starts_with("//")).filter(|line| !line.contains("use crate::"));
            assert!(!code.collect::<String>().contains("crate::"), "{name}.rs names a path in passing");
        }
        above.extend(level.iter().map(ToString::to_string));
    }
    let files = fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
    above.insert("lib".to_string());
    assert_eq!(names, above, "every file has its place");
}
