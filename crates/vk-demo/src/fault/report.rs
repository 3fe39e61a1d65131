//! What each order and policy cost.

use serde::Serialize;

use super::{Fault, Policy, Trace};
use crate::heap::PAGE;
use crate::picture::{Axis, Chart, Line, Picture, Stroke};
use crate::report::{self, Coverage, Head, Outcome};
use crate::size::Bytes;

/// What came of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Faulted {
    trace: Trace,
    space_bytes: u64,
    pub(super) rows: Vec<Row>,
}

/// One order, one policy.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
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
    /// Folios in the heap at the end that the device itself summed, and how many of these sums were wrong.
    pub(super) device_sums: u64,
    pub(super) wrong_sums: u64,
    pub(super) leaked_pages: u64,
}

impl Faulted {
    pub(super) fn new(fault: &Fault, mut rows: Vec<Row>) -> Faulted {
        let base: Vec<(Policy, f64)> = rows.iter().filter(|row| row.order == 0).map(|row| (row.policy, row.ms)).collect();
        for row in &mut rows {
            row.times_order_0 = base.iter().find(|(policy, _)| *policy == row.policy).map_or(0.0, |(_, ms)| ms / row.ms);
        }
        Faulted { trace: fault.trace, space_bytes: fault.pages * PAGE, rows }
    }

    /// One line for each policy, over the order.
    fn chart(&self, title: &str, unit: &str, value: fn(&Row) -> f64) -> Chart {
        let policies = [(Policy::Lru, Stroke::Solid), (Policy::Fifo, Stroke::Dashed), (Policy::Random, Stroke::Dotted)];
        let line = |(policy, stroke)| {
            let rows = self.rows.iter().filter(|row| row.policy == policy);
            Line::new(policy_name(policy), stroke, rows.map(|row| (f64::from(row.order), value(row))).collect())
        };
        Chart {
            title: title.into(),
            x: Axis::orders(self.rows.iter().map(|row| row.order)),
            y: Axis::decades(unit, self.rows.iter().map(value)),
            lines: policies.map(line).into_iter().filter(|line| !line.points.is_empty()).collect(),
        }
    }
}

fn policy_name(policy: Policy) -> String {
    format!("{policy:?}").to_lowercase()
}

impl Outcome for Faulted {
    const SCHEMA: &'static str = "vk-demo/fault/1";
    const RESULTS: &'static [&'static str] =
        &["faults", "hit_percent", "evictions", "moved_bytes", "ms", "wrong_words", "wrong_sums", "leaked_pages"];
    const SETTINGS: &'static [&'static str] = &["trace", "space_bytes"];
    type Line = Row;

    fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.wrong_words == 0 && row.wrong_sums == 0 && row.leaked_pages == 0)
    }

    /// Nothing is written but at the beginning; what moves carries its mistakes to the end, where all of it is compared.
    fn coverage(&self) -> Coverage {
        let bytes = self.space_bytes * self.rows.len() as u64;
        Coverage { written_bytes: bytes, compared_bytes: bytes }
    }

    fn verdict(&self) -> String {
        let wrong: u64 = self.rows.iter().map(|row| row.wrong_words).sum();
        let leaked: u64 = self.rows.iter().map(|row| row.leaked_pages).sum();
        let space = Bytes(self.space_bytes);
        let mut text = format!("after each of {} rows all {space} compared, {wrong} wrong words, ", self.rows.len());
        let (sums, wrong): (Vec<_>, Vec<_>) = self.rows.iter().map(|row| (row.device_sums, row.wrong_sums)).unzip();
        if sums.iter().sum::<u64>() > 0 {
            text += &format!("{} sums by the device, {} wrong, ", sums.iter().sum::<u64>(), wrong.iter().sum::<u64>());
        }
        text + &format!("{leaked} leaked pages")
    }

    fn text(&self, head: &Head) -> String {
        let header = ["policy", "order", "floor", "faults", "hits", "moved", "fragmented", "time", "per fault", "order 0"];
        let mut table = report::table(&header);
        for row in &self.rows {
            table.add_row([
                policy_name(row.policy),
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
        report::align_right(&mut table, 1..header.len());
        let table = report::fitted(table, head.width, &[2, 6, 5]);
        let (heap, space) = (Bytes(head.heap_bytes), Bytes(self.space_bytes));
        format!("{:?} trace over {space}, a heap of {heap}\n{table}", self.trace)
    }

    fn lines(&self) -> Vec<Row> {
        self.rows.clone()
    }

    fn picture(&self, head: &Head) -> Picture<'_> {
        let (heap, space) = (Bytes(head.heap_bytes), Bytes(self.space_bytes));
        let charts = vec![self.chart("Time of the trace", "ms", |row| row.ms), self.chart("Faults", "", |row| row.faults as f64)];
        let subtitle = format!("{:?} trace over {space}, a heap of {heap}", self.trace);
        Picture { title: "What folio order and policy do for a space larger than the heap".into(), subtitle, map: None, charts }
    }
}
