//! Which verbs can be refused, and how: read from the sources, so that a new verb or a new variant without a case is seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::sources;

/// What has no case, and why: verbs by pattern, variants, reason. `*` stands for anything.
const NO_CASE: &[(&str, &[&str], &str)] = &[
    // Needs others at the same moment; the models have those.
    ("*", &["Contended", "Changing", "Unsettled", "Changed"], "only while others do something"),
    ("Pgmap::forget_clear", &["Contended"], "only while others do something"),
    // Values that are made of nothing but their arguments, and constructors: what they are lent is `req_66_used_storage`'s.
    ("PoolNeeds::of", &["*"], "a number"),
    ("*storage_needed", &["*"], "a number"),
    ("HugePages::new", &["*"], "nothing has been built"),
    ("*::new", &["*"], "nothing has been built"),
    ("*::boxed", &["*"], "nothing has been built"),
    ("*::with_storage", &["*"], "nothing has been built; req_66_used_storage"),
    ("*::with_zeroed_storage", &["*"], "nothing has been built; req_66_used_storage"),
    ("Extent::between", &["*"], "a value"),
    ("Owners::with_parents", &["*"], "nothing has been built"),
    // Handles for threads are handles for CPUs with another number.
    ("PerThread::*", &["*"], "OnCpu's"),
    // A pool has no folios and no end.
    ("GenPool::*", &["Dying", "Retired", "Leaving", "InService", "Special"], "a pool has no folios and no end"),
    ("Partition::*", &["Dying", "Retired", "Leaving", "InService", "Special"], "a pool has no folios and no end"),
    ("LocalPool::*", &["Dying"], "a pool has no end"),
    ("OnCpu::alloc", &["Dying"], "a pool has no end"),
    ("GenPool::remove_range", &["AlreadyLeaving", "TooManyLeaving"], "a pool has no closed ranges"),
    // What cannot be asked for cannot be refused.
    ("GenPool::alloc", &["NoneCleared"], "asks for nothing cleared"),
    ("GenPool::alloc_many", &["NoneCleared"], "asks for nothing cleared"),
    ("GenPool::alloc_up_to", &["NoneCleared"], "asks for nothing cleared"),
    ("LocalPool::*", &["NoneCleared"], "asks for nothing cleared"),
    ("OnCpu::*", &["NoneCleared"], "asks for nothing cleared"),
    ("Local::*", &["NoneCleared"], "asks for nothing cleared"),
    ("Pgmap::alloc_block", &["NoneCleared"], "asks for nothing cleared"),
    ("Pgmap::alloc_folio", &["NoneCleared"], "asks for nothing cleared"),
    ("Pgmap::alloc_folio_with", &["NoneCleared"], "asks for nothing cleared"),
    ("Pgmap::alloc_folio_raw", &["NoneCleared"], "asks for nothing cleared"),
    ("*::free_extent", &["Misaligned", "Overflow"], "an extent is neither"),
    ("Partition::alloc", &["NoPages", "Alignment", "BadFit", "NoneCleared"], "asks for a run, and for nothing else"),
    ("Partition::alloc", &["Fragmented", "WindowOutside"], "alloc_extent's"),
    (
        "*::alloc_words",
        &["MinBlockTooLarge", "NoMultiple", "WindowOutside", "LargerThanWindow", "Fragmented", "NoneCleared", "BadFit"],
        "asks for single pages, wherever they are",
    ),
    ("Accounted::*", &["Request"], "a pool is not asked for a place"),
    ("Pgmap::alloc_*", &["Request"], "no place is asked for"),
    ("Local::alloc_folio_for", &["Request"], "no place is asked for"),
    ("Pgmap::request_folio_for", &["Pool", "Fragmented"], "a place is asked for"),
    ("*::into_folio", &["Misaligned", "Overflow", "OutOfRange", "CrossesRange"], "a block is a run of its pgmap"),
    ("Folio::recharge", &["NotInService"], "it holds its folio"),
    ("Pgmap::close_range", &["InUse"], "a closed range waits for what is in use"),
    ("Folio::freeze", &["OutOfRange", "NotInService"], "it holds its folio"),
    ("Folio::split", &["OutOfRange", "NotInService"], "it holds its folio"),
    ("Pgmap::put", &["OutOfRange", "NotInService", "TooMany", "Frozen", "NotMapped"], "it holds its folio"),
    ("Local::put", &["OutOfRange", "NotInService", "TooMany", "Frozen", "NotMapped"], "it holds its folio"),
    ("OnCpu::put", &["OutOfRange", "NotInService", "TooMany", "Frozen", "NotMapped"], "it holds its folio"),
    ("Pgmap::put_raw", &["NotMapped", "Foreign"], "takes no mapping and no folio"),
    ("Pgmap::unmap_raw", &["TooMany", "Foreign"], "takes a mapping"),
    ("Pgmap::map_raw", &["NotAllowed"], "every memory type can be mapped"),
    ("Pgmap::map_raw", &["TooMany"], "a million mappings: `state::tests`"),
    ("Folio::share", &["TooMany", "NotShared"], "four thousand million shares: `Shared` is tested by itself"),
    ("Folio::unshare", &["TooMany"], "makes it fewer"),
    ("Pgmap::until_idle", &["Foreign", "Frozen", "TimedOut", "Interrupted"], "a future has no time and no folio"),
    ("Pgmap::wait_idle", &["Foreign", "Frozen", "TimedOut", "Interrupted"], "until_idle's, parked"),
    ("Pgmap::wait_idle_unless", &["Foreign", "Frozen", "TimedOut"], "takes no time and no folio"),
    ("Pgmap::wait_idle_timeout", &["Foreign", "Frozen", "Interrupted"], "takes no folio"),
    ("Pgmap::put_and_wait", &["OutOfRange", "TimedOut", "Interrupted"], "takes no time, and a folio that is there"),
    ("Pgmap::declare_special", &["NotSpecial"], "undeclare's"),
    ("Pgmap::undeclare_special", &["InService", "Busy", "Dying"], "only looks whether it is special"),
    ("Pgmap::undeclare_special", &["NotYours", "Leaving"], "in a closed range it says NotSpecial"),
    ("Pgmap::inject_memory_failure", &["AlreadyRetired"], "retire's"),
    ("Pgmap::restore_retired", &["AlreadyRetired"], "counts those too"),
    ("Params::with_room_for", &["*"], "a number"),
    ("Pgmap::counts_raw", &["Frozen", "TooMany"], "counts those too"),
    // Sixteen million references: `state::tests`, and `req_82_counts`.
    ("Pgmap::get_raw", &["TooMany"], "sixteen million references"),
    ("Pgmap::pin", &["TooMany"], "sixteen million references"),
    ("*", &["Saturated"], "thirty million references"),
    ("Pgmap::freeze_raw", &["TimedOut", "Interrupted"], "does not wait"),
    ("Folio::freeze", &["TimedOut", "Interrupted"], "does not wait"),
    ("*::until_frozen", &["Pinned", "TimedOut", "Interrupted"], "a future has no time, and waits for pins to go"),
    ("Pgmap::until_frozen", &["NotInService"], "said when it is polled: wait_frozen's"),
    ("*::until_frozen", &["Frozen"], "waits for that to be over"),
    ("*::until_frozen", &["StrayReferences"], "said when it is polled: wait_frozen's"),
    ("Pgmap::wait_frozen*", &["Frozen", "Pinned"], "waits for that to be over"),
    ("Folio::wait_frozen", &["Frozen", "Pinned"], "waits for that to be over"),
    ("*::wait_frozen", &["TimedOut", "Interrupted"], "has no time, and nobody who interrupts"),
    ("Pgmap::wait_frozen_timeout", &["Interrupted"], "has a time, and nobody who interrupts"),
    ("Pgmap::wait_frozen_unless", &["TimedOut"], "has no time"),
    ("Folio::*_frozen", &["OutOfRange", "NotInService"], "it holds its folio"),
    ("Folio::gate", &["OutOfRange"], "it holds its folio"),
    ("Pgmap::pardon", &["Leaving"], "a retired page of a closed range: `req_bad_memory`"),
    ("GenPool::grow_range", &["Leaving"], "a pool has no closed ranges"),
    ("*::add_range", &["Unknown", "NotAdjacent", "Misplaced", "Leaving"], "grow_range's"),
    ("*::grow_range", &["NoSlot"], "takes no slot"),
    ("*::grow_range", &["Overlap", "Misplaced"], "ranges that are placed for it: `req_pool_ranges`"),
    ("*::into_folio", &["Special"], "a block is not special"),
    ("Partition::alloc", &["BaseOutside"], "asks for a run, and for nothing else"),
    ("Pgmap::free_block_raw", &["Held"], "a pgmap takes no reservations"),
    ("Owners::usage", &["*"], "a question"),
    ("Owners::protection", &["*"], "a question"),
    ("Owners::set_limits", &["OverLimit", "NotCharged", "Parent"], "charges nobody"),
    ("Owners::try_charge", &["NotCharged", "LimitsCross", "Parent"], "takes nothing back and sets nothing"),
    ("Owners::uncharge", &["OverLimit", "LimitsCross", "Parent"], "takes back"),
];

/// Verbs that no scan finds: those of a trait, and one that tells a callback what it refuses.
const NOT_SCANNED: [(&str, &str); 3] =
    [("Owners::try_charge", "ChargeError"), ("Owners::uncharge", "ChargeError"), ("Pgmap::restore_retired", "RetireError")];

/// Names the pairs of verb and variant that have neither a case nor a reason, and cases of what there is not.
pub fn missing(ran: &[(&str, &str)]) -> Vec<String> {
    let (variants, mut verbs) = scan();
    verbs.extend(NOT_SCANNED.map(|(verb, error)| (verb.to_owned(), error.to_owned())));
    assert!(variants.len() > 25 && verbs.len() > 90, "the scan found {} errors and {} verbs", variants.len(), verbs.len());
    let ran: BTreeSet<(String, String)> = ran.iter().map(|(verb, error)| ((*verb).to_owned(), (*error).to_owned())).collect();
    let mut faults = vec![];
    let mut pairs = BTreeSet::new();
    for (verb, error) in &verbs {
        for variant in variants.get(error).into_iter().flatten() {
            pairs.insert((verb.clone(), variant.clone()));
        }
    }
    for (verb, variant) in &pairs {
        let reason =
            NO_CASE.iter().find(|(verbs, variants, _)| fits(verbs, verb) && variants.iter().any(|pattern| fits(pattern, variant)));
        if !ran.contains(&(verb.clone(), variant.clone())) && reason.is_none() {
            faults.push(format!("{verb} is not run into {variant}"));
        }
    }
    faults.extend(ran.iter().filter(|pair| !pairs.contains(pair)).map(|(verb, error)| format!("{verb} has no error {error}")));
    faults
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    }
}

/// The variants of each error.
type Variants = BTreeMap<String, Vec<String>>;

/// The variants of each error, and which verb has which error.
fn scan() -> (Variants, Vec<(String, String)>) {
    let (mut variants, mut verbs) = (Variants::new(), vec![]);
    sources(&mut |name, text| {
        let text = text.split("mod tests {").next().unwrap_or_default();
        if name.starts_with("error/") && name != "error/mod.rs" {
            for block in text.split("errors! {").skip(1) {
                let block = block.split("\n}").next().unwrap_or_default();
                let lines = || block.lines().map(str::trim).filter(|line| !line.starts_with("//"));
                let error = lines().find_map(|line| line.strip_suffix(" {")).unwrap().to_owned();
                let of = lines().filter(|line| line.contains(" => ")).map(|line| word(line).to_owned());
                variants.insert(error, of.collect());
            }
        }
        let mut owner = String::new();
        for (at, _) in text.match_indices('\n') {
            let rest = &text[at + 1..];
            if let Some(head) = rest.trim_start_matches(' ').strip_prefix("impl") {
                owner = owner_of(head);
            }
            let Some(signature) = rest.trim_start_matches(' ').strip_prefix("pub ") else { continue };
            let Some(signature) = signature.trim_start_matches("const ").strip_prefix("fn ") else { continue };
            let head = signature.split('{').next().unwrap_or_default();
            let Some((_, answer)) = head.rsplit_once("->") else { continue };
            let error = answer.split(|c: char| !c.is_alphanumeric()).find(|word| word.ends_with("Error"));
            verbs.extend(error.map(|error| (format!("{owner}::{}", word(signature)), error.to_owned())));
        }
    });
    (variants, verbs)
}

/// The first word.
fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Whose verbs an implementation has: the name after its parameters, and after `for`.
fn owner_of(head: &str) -> String {
    let head = head.split('{').next().unwrap_or_default();
    let mut depth = 0_i32;
    let mut before = ' ';
    let end = head.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '<') - i32::from(c == '>' && before != '-');
        before = c;
        depth == 0 && c != '>'
    });
    let rest = head[end.map_or(0, |(at, _)| at)..].trim();
    let rest = rest.split_once(" for ").map_or(rest, |(_, rest)| rest);
    word(rest.trim_start_matches('&')).to_owned()
}
