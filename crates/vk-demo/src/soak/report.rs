//! What a soak says of itself.

use std::time::Duration;

use pgmap_ttm::{Counters, Step};
use serde::Serialize;

use super::findings::Findings;
use super::inject::Injected;
use crate::picture::{self, Picture};
use crate::report::{self, Coverage, Head, HeatMap, Outcome, Timeline};
use crate::size::Bytes;

/// What came of a soak.
#[derive(Debug, Serialize)]
pub(crate) struct Soaked {
    inject: bool,
    /// Steps that were made to fail.
    injected: InjectedSteps,
    #[serde(flatten)]
    pub(super) findings: Findings,
    did: Did,
    seconds: f64,
    /// The heap before the end, and how full and how fragmented it was, over the operations.
    heat_map: HeatMap,
    timeline: Timeline,
}

/// What is known at the end of a soak, beside the findings.
pub(super) struct Ended {
    pub(super) counters: Counters,
    pub(super) injected: Injected,
    pub(super) elapsed: Duration,
    pub(super) heat_map: HeatMap,
    pub(super) timeline: Timeline,
}

/// How often which step was made to fail.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct InjectedSteps {
    pub(super) charge: u64,
    pub(super) allocate: u64,
    pub(super) copy: u64,
    pub(super) fence: u64,
}

/// What the manager did.
#[derive(Clone, Copy, Debug, Serialize)]
struct Did {
    copies: u64,
    pages_copied: u64,
    undone: u64,
    evicted: u64,
    gutted: u64,
    swapped_out: u64,
    promoted: u64,
    faults: u64,
    bounced: u64,
    waits: u64,
}

impl From<Counters> for Did {
    fn from(counters: Counters) -> Did {
        let Counters { copies, pages_copied, undone, evicted, gutted, swapped_out, promoted, faults, bounced, waits, .. } =
            counters;
        Did { copies, pages_copied, undone, evicted, gutted, swapped_out, promoted, faults, bounced, waits }
    }
}

impl Soaked {
    pub(super) fn new(inject: bool, findings: Findings, ended: Ended) -> Soaked {
        let count = |step| ended.injected.count(step);
        let injected = InjectedSteps {
            charge: count(Step::Charge),
            allocate: count(Step::Allocate),
            copy: count(Step::Copy),
            fence: count(Step::Fence),
        };
        let (did, seconds) = (ended.counters.into(), ended.elapsed.as_secs_f64());
        Soaked { inject, injected, findings, did, seconds, heat_map: ended.heat_map, timeline: ended.timeline }
    }

    /// How many steps were made to fail.
    pub(super) fn injections(&self) -> u64 {
        let InjectedSteps { charge, allocate, copy, fence } = self.injected;
        charge + allocate + copy + fence
    }
}

impl Outcome for Soaked {
    const SCHEMA: &'static str = "vk-demo/soak/2";
    const RESULTS: &'static [&'static str] = &[
        "seconds",
        "refused",
        "copies",
        "evicted",
        "faults",
        "waits",
        "wrong_words",
        "wrong_sums",
        "lost_pages",
        "leaks",
        "problem_count",
    ];
    const SETTINGS: &'static [&'static str] = &["ops", "inject"];
    type Line = Row;

    fn is_good(&self) -> bool {
        self.findings.are_good()
    }

    fn coverage(&self) -> Coverage {
        self.findings.coverage
    }

    fn verdict(&self) -> String {
        let Findings { wrong_words, lost_pages, leaks, problem_count, .. } = self.findings;
        let Findings { device_sums, wrong_sums, summed_bytes, checked_bytes, .. } = self.findings;
        let mut text = format!("{} compared, {wrong_words} wrong words, ", Bytes(checked_bytes));
        if device_sums > 0 {
            text += &format!("{device_sums} sums of {} by the device, {wrong_sums} wrong, ", Bytes(summed_bytes));
        }
        text + &format!("{lost_pages} lost pages, {leaks} leaks, {problem_count} problems")
    }

    fn text(&self, head: &Head) -> String {
        let (found, did, injected) = (&self.findings, &self.did, &self.injected);
        let steps = format!(
            "{} charges, {} allocations, {} copies, {} fences",
            injected.charge, injected.allocate, injected.copy, injected.fence
        );
        let facts = report::facts([
            ("heap", Bytes(head.heap_bytes).to_string(), String::new()),
            ("operations", found.ops.to_string(), format!("{} refused as they should be", found.refused)),
            ("injected", self.injections().to_string(), steps),
            ("copies", did.copies.to_string(), format!("{} undone, {} waits", did.undone, did.waits)),
            ("evicted", did.evicted.to_string(), format!("{} swapped out, {} promoted", did.swapped_out, did.promoted)),
            ("faults", did.faults.to_string(), format!("{} moves with a stop on the way", did.bounced)),
            ("quiet points", found.quiet_points.to_string(), "every byte, every book".into()),
            ("retired", format!("{} pages", found.retired_pages), String::new()),
            ("unplugged", if found.unplugged { "yes" } else { "no" }.into(), "everything out, killed, drained".into()),
            ("compared", Bytes(found.checked_bytes).to_string(), format!("{} written", Bytes(found.coverage.written_bytes))),
            ("time", format!("{:.2} s", self.seconds), String::new()),
        ]);
        let table = report::fitted(facts, head.width, &[]);
        format!("{table}\n\n{}", found.problems.join("\n"))
    }

    fn lines(&self) -> Vec<Row> {
        let row = Row {
            ops: self.findings.ops,
            refused: self.findings.refused,
            injected: self.injections(),
            copies: self.did.copies,
            checked_bytes: self.findings.checked_bytes,
            wrong_words: self.findings.wrong_words,
            lost_pages: self.findings.lost_pages,
            leaks: self.findings.leaks,
            problems: self.findings.problem_count,
            seconds: self.seconds,
        };
        vec![row]
    }

    fn picture(&self, head: &Head) -> Picture<'_> {
        let (heap, ops) = (Bytes(head.heap_bytes), self.findings.ops);
        let subtitle = format!("{heap}, {ops} operations, {} steps made to fail", self.injections());
        let charts = vec![picture::over_time(&self.timeline, ops)];
        Picture { title: "Device memory at the end of a soak".into(), subtitle, map: Some(&self.heat_map), charts }
    }
}

/// What a spreadsheet has of it.
#[derive(Serialize)]
pub(crate) struct Row {
    ops: u64,
    refused: u64,
    injected: u64,
    copies: u64,
    checked_bytes: u64,
    wrong_words: u64,
    lost_pages: u64,
    leaks: u64,
    problems: u64,
    seconds: f64,
}
