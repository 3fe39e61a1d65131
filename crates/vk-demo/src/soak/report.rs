//! What a soak says of itself.

use std::time::Duration;

use comfy_table::CellAlignment;
use pgmap_ttm::{Counters, Step};
use serde::Serialize;

use super::Plan;
use super::inject::Injected;
use super::model::Findings;
use crate::cli::Format;
use crate::device::{Device, DeviceInfo, Kind};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::gpu::Messages;
use crate::report::{self, Output};
use crate::size::Bytes;

/// The result of `soak`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    version: &'static str,
    device: DeviceInfo,
    /// "complete", "interrupted", or what the device said when it gave up.
    pub(super) ended: Ending,
    /// All was done, every byte was what had been written, every book agreed, and no page was lost or leaked.
    pub(super) verified: bool,
    /// Whether the validation layer listened.
    validated: bool,
    pub(super) validation_messages: u64,
    seed: u64,
    inject: bool,
    heap_bytes: u64,
    /// Steps that were made to fail.
    injected: InjectedSteps,
    #[serde(flatten)]
    pub(super) findings: Findings,
    did: Did,
    seconds: f64,
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
    waits: u64,
}

impl From<Counters> for Did {
    fn from(counters: Counters) -> Did {
        let Counters { copies, pages_copied, undone, evicted, gutted, swapped_out, promoted, faults, waits, .. } = counters;
        Did { copies, pages_copied, undone, evicted, gutted, swapped_out, promoted, faults, waits }
    }
}

/// What is known at the end of a soak.
pub(super) struct Ended {
    pub(super) ended: Ending,
    pub(super) findings: Findings,
    pub(super) counters: Counters,
    pub(super) injected: Injected,
    pub(super) elapsed: Duration,
}

impl Report {
    pub(super) fn new(device: &dyn Device, plan: &Plan, ended: Ended) -> Report {
        let count = |step| ended.injected.count(step);
        Report {
            schema: "vk-demo/soak/1",
            version: env!("CARGO_PKG_VERSION"),
            device: device.info().clone(),
            verified: ended.ended.is_complete() && ended.findings.are_good(),
            ended: ended.ended,
            validated: false,
            validation_messages: 0,
            seed: plan.seed,
            inject: plan.inject,
            heap_bytes: device.objects().iter().sum(),
            injected: InjectedSteps {
                charge: count(Step::Charge),
                allocate: count(Step::Allocate),
                copy: count(Step::Copy),
                fence: count(Step::Fence),
            },
            findings: ended.findings,
            did: ended.counters.into(),
            seconds: ended.elapsed.as_secs_f64(),
        }
    }

    /// Takes over what the validation layer has said.
    pub(super) fn count_messages(&mut self, messages: Option<&Messages>) {
        self.validated = messages.is_some();
        self.validation_messages = messages.map_or(0, Messages::count);
    }

    /// How many steps were made to fail.
    pub(super) fn injections(&self) -> u64 {
        let InjectedSteps { charge, allocate, copy, fence } = self.injected;
        charge + allocate + copy + fence
    }

    pub(super) fn write(&self, output: &mut Output) -> Result<(), Failure> {
        match output.format() {
            Format::Table => output.text(&self.text()),
            Format::Json => output.json(self),
            Format::Csv => output.csv(&[self.row()]),
        }
    }

    fn text(&self) -> String {
        let (device, found, did, injected) = (&self.device, &self.findings, &self.did, &self.injected);
        let mut table = report::table(&["", "", ""]);
        let steps = format!(
            "{} charges, {} allocations, {} copies, {} fences",
            injected.charge, injected.allocate, injected.copy, injected.fence
        );
        let rows = [
            ("heap", Bytes(self.heap_bytes).to_string(), String::new()),
            ("operations", found.ops.to_string(), format!("{} refused as they should be", found.refused)),
            ("injected", self.injections().to_string(), steps),
            ("copies", did.copies.to_string(), format!("{} undone, {} waits", did.undone, did.waits)),
            ("evicted", did.evicted.to_string(), format!("{} swapped out, {} promoted", did.swapped_out, did.promoted)),
            ("faults", did.faults.to_string(), String::new()),
            ("quiet points", found.quiet_points.to_string(), "every byte, every book".into()),
            ("compared", Bytes(found.checked_bytes).to_string(), format!("{} written", Bytes(found.written_bytes))),
            ("time", format!("{:.2} s", self.seconds), String::new()),
        ];
        for (what, value, more) in rows {
            table.add_row([what.to_owned(), value, more]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("{}\n{} ({})\n\n{table}\n\n", report::headline(device), device.name, device.driver);
        for problem in &found.problems {
            text += &format!("{problem}\n");
        }
        if let Some(note) = self.ended.note() {
            text += &format!("{note}\n");
        }
        let word = if self.verified { "verified" } else { "NOT VERIFIED" };
        text += &format!(
            "{word}: {} wrong words, {} lost pages, {} leaks, {} problems (seed {})",
            found.wrong_words, found.lost_pages, found.leaks, found.problem_count, self.seed
        );
        if self.validated {
            text += &format!("\nvalidation layer: {} messages", self.validation_messages);
        }
        text
    }

    fn row(&self) -> Row<'_> {
        Row {
            device: &self.device.name,
            kind: self.device.kind,
            ended: &self.ended,
            verified: self.verified,
            validation_messages: self.validation_messages,
            seed: self.seed,
            heap_bytes: self.heap_bytes,
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
        }
    }
}

/// One line for a spreadsheet.
#[derive(Serialize)]
struct Row<'a> {
    device: &'a str,
    kind: Kind,
    ended: &'a Ending,
    verified: bool,
    validation_messages: u64,
    seed: u64,
    heap_bytes: u64,
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
