//! What each order and policy cost.

use comfy_table::CellAlignment;
use serde::Serialize;

use super::{Plan, Policy, Trace};
use crate::cli::Format;
use crate::device::{Device, DeviceInfo};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::gpu::Messages;
use crate::heap::PAGE;
use crate::report::{self, Output};
use crate::size::Bytes;

/// The result of `fault`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    version: &'static str,
    device: DeviceInfo,
    /// "complete", "interrupted", or what the device said when it gave up.
    pub(super) ended: Ending,
    /// All was done, every byte of the space was what had been written, and no page was lost.
    pub(super) verified: bool,
    /// Whether the validation layer listened.
    validated: bool,
    pub(super) validation_messages: u64,
    seed: u64,
    trace: Trace,
    heap_bytes: u64,
    space_bytes: u64,
    pub(super) rows: Vec<Row>,
}

/// One order, one policy.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) policy: Policy,
    pub(super) order: u32,
    pub(super) floor: u32,
    pub(super) accesses: u64,
    pub(super) faults: u64,
    pub(super) hit_percent: f64,
    pub(super) evictions: u64,
    pub(super) moved_bytes: u64,
    /// Of the idle pages at the end, those that lie in no idle run of 2 MiB.
    pub(super) fragmentation_percent: f64,
    pub(super) ms: f64,
    pub(super) us_per_fault: f64,
    /// Time of the same trace and policy at order 0, over this time.
    pub(super) times_order_0: f64,
    pub(super) wrong_words: u64,
    pub(super) leaked_pages: u64,
}

impl Report {
    pub(super) fn new(device: &dyn Device, plan: &Plan, ended: Ending, mut rows: Vec<Row>) -> Report {
        let base: Vec<(Policy, f64)> = rows.iter().filter(|row| row.order == 0).map(|row| (row.policy, row.ms)).collect();
        for row in &mut rows {
            row.times_order_0 = base.iter().find(|(policy, _)| *policy == row.policy).map_or(0.0, |(_, ms)| ms / row.ms);
        }
        Report {
            schema: "vk-demo/fault/1",
            version: env!("CARGO_PKG_VERSION"),
            device: device.info().clone(),
            verified: ended.is_complete() && rows.iter().all(|row| row.wrong_words == 0 && row.leaked_pages == 0),
            ended,
            validated: false,
            validation_messages: 0,
            seed: plan.seed,
            trace: plan.trace,
            heap_bytes: device.objects().iter().sum(),
            space_bytes: plan.pages * PAGE,
            rows,
        }
    }

    /// Takes over what the validation layer has said.
    pub(super) fn count_messages(&mut self, messages: Option<&Messages>) {
        self.validated = messages.is_some();
        self.validation_messages = messages.map_or(0, Messages::count);
    }

    pub(super) fn write(&self, output: &mut Output) -> Result<(), Failure> {
        match output.format() {
            Format::Table => output.text(&self.text()),
            Format::Json => output.json(self),
            Format::Csv => output.csv(&self.rows),
        }
    }

    fn text(&self) -> String {
        let header = ["policy", "order", "floor", "faults", "hits", "moved", "fragmented", "time", "per fault", "order 0"];
        let mut table = report::table(&header);
        for row in &self.rows {
            table.add_row([
                format!("{:?}", row.policy).to_lowercase(),
                row.order.to_string(),
                row.floor.to_string(),
                row.faults.to_string(),
                format!("{:.1} %", row.hit_percent),
                Bytes(row.moved_bytes).to_string(),
                format!("{:.1} %", row.fragmentation_percent),
                format!("{:.2} ms", row.ms),
                format!("{:.1} us", row.us_per_fault),
                format!("{:.2}x", row.times_order_0),
            ]);
        }
        for column in 1..header.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let device = &self.device;
        let mut text = format!("{}\n{} ({})\n\n", report::headline(device), device.name, device.driver);
        let (heap, space) = (Bytes(self.heap_bytes), Bytes(self.space_bytes));
        text += &format!("{:?} trace over {space}, a heap of {heap}\n{table}\n\n", self.trace);
        if let Some(note) = self.ended.note() {
            text += &format!("{note}\n");
        }
        let wrong: u64 = self.rows.iter().map(|row| row.wrong_words).sum();
        let leaked: u64 = self.rows.iter().map(|row| row.leaked_pages).sum();
        let word = if self.verified { "verified" } else { "NOT VERIFIED" };
        text += &format!(
            "{word}: after each row all {space} compared, {wrong} wrong words, {leaked} leaked pages (seed {})",
            self.seed
        );
        if self.validated {
            text += &format!("\nvalidation layer: {} messages", self.validation_messages);
        }
        text
    }
}
