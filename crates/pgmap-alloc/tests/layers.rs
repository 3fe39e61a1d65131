//! Layers are law: a file uses only what is declared above it in `lib.rs`, and only `sync.rs` names atomics.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

/// The sources by path, without comments and without tests.
fn code() -> BTreeMap<String, String> {
    let mut code = BTreeMap::new();
    support::sources(&mut |name, text| {
        if name.ends_with("tests.rs") || name.contains("tests/") {
            return;
        }
        let text = text.find("mod tests {").map_or(text, |tests| &text[..tests]);
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        code.insert(name.to_owned(), lines.collect::<Vec<_>>().join("\n"));
    });
    code
}

/// The modules that a file declares, from the lowest to the highest; the last is the file itself.
fn declared(code: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
    };
    code.lines().filter_map(name).filter(|name| name != "tests").collect()
}

/// The identifiers that follow `path` in `code`.
fn after<'c>(code: &'c str, path: &'c str) -> impl Iterator<Item = (&'c str, &'c str)> {
    code.match_indices(path).map(move |(at, _)| {
        let rest = &code[at + path.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (&code[..at], &rest[..end])
    })
}

#[test]
fn a_file_uses_only_what_is_declared_above_it() {
    let code = code();
    let order = declared(&code["lib.rs"]);
    let rank = |module: &str| order.iter().position(|name| name == module);
    assert!(order.len() > 10, "lib.rs declares {order:?}");
    let mut uses = 0;
    for (file, text) in &code {
        let module = file.split('/').next().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let mine = rank(module).unwrap_or_else(|| panic!("{file} is not declared in lib.rs"));
        for (before, used) in after(text, "crate::") {
            // Macros name what stands where they are used.
            if before.ends_with('$') || used == module {
                continue;
            }
            let theirs = rank(used).unwrap_or_else(|| panic!("{file} uses crate::{used}, which is no module"));
            assert!(theirs < mine, "{file} uses {used}, which is declared below it");
            uses += 1;
        }
    }
    assert!(uses > 50, "the scan found only {uses} uses");
}

/// Inside the pool too: by its imports, and by the verbs that it calls on the pool.
#[test]
fn a_part_of_the_pool_uses_only_what_is_declared_above_it() {
    let code = code();
    let order = declared(&code["pool/mod.rs"]);
    let rank = |module: &str| order.iter().position(|name| name == module);
    let parts = || order.iter().map(|name| (name, &code[&format!("pool/{name}.rs")]));
    // Which part adds which verb to the pool.
    let mut homes: BTreeMap<&str, &str> = BTreeMap::new();
    for (part, text) in parts() {
        for block in text.split("\nimpl").filter(|block| block.lines().next().is_some_and(|line| line.contains("> GenPool<"))) {
            let block = block.split("\n}").next().unwrap_or_default();
            homes.extend(after(block, "fn ").map(|(_, verb)| (verb, part.as_str())));
        }
    }
    let mut calls = 0;
    for (part, text) in parts() {
        let mine = rank(part).unwrap();
        let imported = after(text, "super::").map(|(_, used)| used).filter(|used| rank(used).is_some());
        let adds = homes.values().any(|home| home == part);
        let called = after(text, "self.").filter_map(|(_, verb)| homes.get(verb).copied()).filter(|_| adds);
        for used in imported.chain(called).filter(|used| used != part) {
            assert!(rank(used).unwrap() < mine, "pool/{part}.rs uses {used}, which is declared below it");
            calls += 1;
        }
    }
    assert!(calls > 20, "the scan found only {calls} uses");
}

#[test]
fn only_sync_names_atomics_and_the_model_checker() {
    for (file, text) in code() {
        if file == "sync.rs" {
            assert!(text.contains("core::sync::atomic") && text.contains("loom::sync::atomic"));
            continue;
        }
        // Its part for unit tests.
        if file == "sync/recorded.rs" {
            continue;
        }
        assert!(!text.contains("sync::atomic"), "{file} names atomics");
        assert!(!text.contains("loom::"), "{file} names the model checker");
        assert!(!text.replace("unsafe_code", "").contains("unsafe"), "{file} names unsafe");
    }
}

/// Whoever names an ordering owns an atomic word, and says why: some comment of the file begins with the ordering's name.
#[test]
fn every_ordering_is_explained_by_the_owner_of_the_word() {
    support::sources(&mut |name, text| {
        if name.ends_with("tests.rs") {
            return;
        }
        let text = text.find("mod tests {").map_or(text, |tests| &text[..tests]);
        let code = |line: &&str| !line.trim().starts_with("//");
        let named = text.lines().filter(code).flat_map(|line| after(line, "Ordering::")).map(|(_, ordering)| ordering);
        let comments: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("// ")).collect();
        for ordering in named {
            assert!(text.contains("AtomicU") || name.starts_with("table"), "{name} names {ordering} but owns no word");
            let explained =
                comments.iter().any(|comment| comment.starts_with(ordering) || comment.contains(&format!(" {ordering} ")));
            assert!(explained || name == "sync.rs", "{name} uses {ordering} and does not say why");
        }
    });
}
