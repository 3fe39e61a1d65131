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

/// Whoever names an ordering owns an atomic word, and says at each access why it is this one and what it pairs with.
#[test]
fn every_ordering_is_explained_where_it_is_used() {
    let (mut accesses, mut silent) = (0, vec![]);
    support::sources(&mut |name, text| {
        if name.ends_with("tests.rs") {
            return;
        }
        let text = text.find("mod tests {").map_or(text, |tests| &text[..tests]);
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with("//")) {
            for (_, ordering) in after(line, "Ordering::") {
                assert!(text.contains("AtomicU") || name.starts_with("table"), "{name} names {ordering} but owns no word");
                accesses += 1;
                // What `sync` and its parts are handed is explained by who hands it.
                if !name.starts_with("sync") && !is_explained(&lines[..at], ordering) {
                    silent.push(format!("src/{name}:{}: {ordering}", at + 1));
                }
            }
        }
    });
    assert!(accesses > 100, "the scan found only {accesses} accesses");
    assert!(silent.is_empty(), "{} of {accesses} accesses do not say why:\n{}", silent.len(), silent.join("\n"));
}

/// Whether a comment between the access that follows `above` and the start of its function names the ordering, and says what it
/// pairs with: another function, a rule, or what stands in for it. Nothing pairs with `Relaxed`, which is argued.
fn is_explained(above: &[&str], ordering: &str) -> bool {
    let starts = |line: &&str| line.split('(').next().is_some_and(|line| line.split(' ').any(|word| word == "fn"));
    let start = above.iter().rposition(|line| starts(line) && !line.starts_with("//")).unwrap_or(0);
    let mut comments = above[start..].split(|line| !line.starts_with("// ")).filter(|block| !block.is_empty());
    comments.any(|block| {
        let words = |word: &str| block.iter().any(|line| line.split(|c: char| !c.is_alphanumeric()).any(|other| other == word));
        let pairs = block.iter().any(|line| line.contains('`')) || ["rule", "rules", "pairs"].iter().any(|word| words(word));
        words(ordering) && (ordering == "Relaxed" || pairs)
    })
}
