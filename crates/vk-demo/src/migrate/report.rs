//! The migration table.

use comfy_table::CellAlignment;
use serde::{Deserialize, Serialize};

use super::{Direction, ITERATIONS, Measured, Mode, Plan, Sample, curve};
use crate::device::{Device, DeviceInfo};
use crate::failure::Failure;
use crate::gpu::Messages;
use crate::heap::PAGE;
use crate::picture;
use crate::report::{self, Baseline, Output};
use crate::size::Bytes;

/// Characters of the longest bar in the table.
const BAR: f64 = 24.0;

/// The schema of the result.
pub(super) const SCHEMA: &str = "vk-demo/migrate/1";

/// Its numbers that say how good it was, and those that say of what.
const RESULTS: [&str; 1] = ["gb_per_s"];
const SETTINGS: [&str; 6] = ["version", "device.name", "device.driver", "seed", "heap_bytes", "bytes"];

/// The result of `migrate`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    version: &'static str,
    device: DeviceInfo,
    /// Every byte that came back was what had been sent, and no page was lost.
    pub(super) verified: bool,
    /// Whether the validation layer listened.
    validated: bool,
    pub(super) validation_messages: u64,
    seed: u64,
    heap_bytes: u64,
    /// Bytes migrated in each iteration of each row.
    bytes: u64,
    warm_ups: usize,
    iterations: usize,
    wrong_words: u64,
    /// Times that the device itself summed what it held, and how many of these sums were wrong.
    pub(super) device_sums: u64,
    pub(super) wrong_sums: u64,
    leaked_pages: u64,
    rows: Vec<Row>,
}

/// One order, one mode, one direction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) order: u32,
    pub(super) folio_bytes: u64,
    pub(super) direction: Direction,
    pub(super) mode: Mode,
    /// Median over the iterations.
    pub(super) ms: f64,
    pub(super) gb_per_s: f64,
    /// Coefficient of variation over the iterations.
    pub(super) cv_percent: f64,
    /// Throughput beside the bulk copy of the same bytes in the same direction.
    pub(super) of_bulk_percent: f64,
    pub(super) folios: u64,
    pub(super) regions: u64,
    pub(super) submits: u64,
    /// Median time for one folio, everything included.
    pub(super) us_per_folio: f64,
    /// The allocator's part of the median's iterations.
    pub(super) allocator_percent: f64,
    pub(super) allocator_ns_per_folio: f64,
}

impl Row {
    fn new(measured: &Measured, direction: Direction, samples: &[Sample], bytes: u64) -> Row {
        let seconds: Vec<f64> = samples.iter().map(|sample| sample.time.as_secs_f64()).collect();
        let allocator: Vec<f64> = samples.iter().map(|sample| sample.allocator.as_secs_f64()).collect();
        let (time, in_allocator) = (median(&seconds), median(&allocator));
        let work = samples.first().map(|sample| sample.work).unwrap_or_default();
        let folio_bytes = measured.case.order.pages() * PAGE;
        let folios = bytes / folio_bytes;
        Row {
            order: measured.case.order.get(),
            folio_bytes,
            direction,
            mode: measured.case.mode,
            ms: time * 1e3,
            gb_per_s: bytes as f64 / time / 1e9,
            cv_percent: variation(&seconds) * 100.0,
            of_bulk_percent: 0.0,
            folios,
            regions: work.regions,
            submits: work.submits,
            us_per_folio: time * 1e6 / folios as f64,
            allocator_percent: 100.0 * in_allocator / time,
            allocator_ns_per_folio: in_allocator * 1e9 / folios as f64,
        }
    }
}

/// Both directions of every case, each beside the bulk copy.
fn rows(measured: &[Measured], bytes: u64) -> Vec<Row> {
    let up = |case: &Measured| Row::new(case, Direction::HostToDevice, &case.up, bytes);
    let down = |case: &Measured| Row::new(case, Direction::DeviceToHost, &case.down, bytes);
    let mut rows: Vec<Row> = measured.iter().map(up).chain(measured.iter().map(down)).collect();
    for direction in [Direction::HostToDevice, Direction::DeviceToHost] {
        let ours = |row: &&mut Row| row.direction == direction;
        let bulk = rows.iter().find(|row| row.direction == direction && row.mode == Mode::Bulk).map(|row| row.ms);
        for row in rows.iter_mut().filter(ours) {
            row.of_bulk_percent = bulk.map_or(0.0, |bulk| 100.0 * bulk / row.ms);
        }
    }
    rows
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Standard deviation of a sample over its mean.
fn variation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt() / mean
}

impl Report {
    pub(super) fn new(device: &dyn Device, plan: &Plan, measured: &[Measured], leaked_pages: u64) -> Report {
        let wrong_words: u64 = measured.iter().map(|case| case.wrong_words).sum();
        let wrong_sums: u64 = measured.iter().map(|case| case.wrong_sums).sum();
        Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            device: device.info().clone(),
            verified: wrong_words == 0 && wrong_sums == 0 && leaked_pages == 0,
            validated: false,
            validation_messages: 0,
            seed: plan.seed,
            heap_bytes: device.objects().iter().sum(),
            bytes: plan.bytes,
            warm_ups: 1,
            iterations: ITERATIONS,
            wrong_words,
            device_sums: measured.iter().map(|case| case.sums).sum(),
            wrong_sums,
            leaked_pages,
            rows: rows(measured, plan.bytes),
        }
    }

    /// Takes over what the validation layer has said.
    pub(super) fn count_messages(&mut self, messages: Option<&Messages>) {
        self.validated = messages.is_some();
        self.validation_messages = messages.map_or(0, Messages::count);
    }

    pub(super) fn write(&self, output: &mut Output, baseline: Option<&Baseline>) -> Result<(), Failure> {
        let changes = baseline.map(|baseline| baseline.changes(self, &RESULTS, &SETTINGS)).transpose()?;
        output.result(changes.as_deref(), || self.text(), self, &self.lines())
    }

    /// The curve of both directions.
    pub(super) fn picture(&self) -> String {
        let device = &self.device;
        let verified = if self.verified { "every byte verified" } else { "NOT VERIFIED" };
        let subtitle = format!(
            "{} on {} ({}), median of {}, {verified}, seed {}",
            Bytes(self.bytes),
            device.name,
            device.kind.words(),
            self.iterations,
            self.seed
        );
        let title = "What folio order buys for migration".into();
        picture::Picture { title, subtitle, map: None, charts: curve::charts(&self.rows) }.svg()
    }

    fn text(&self) -> String {
        let device = &self.device;
        let mut text = format!("{}\n{} ({})\n", report::headline(device), device.name, device.driver);
        let (bytes, runs) = (Bytes(self.bytes), self.iterations);
        text += &format!("{bytes} in each row, median of {runs} after a warm-up, seed {}\n", self.seed);
        for (direction, name) in [(Direction::HostToDevice, "Host -> device"), (Direction::DeviceToHost, "Device -> host")] {
            text += &format!("\n{name}\n{}\n", self.table(direction));
        }
        text += match self.verified {
            true => "\nverified: every byte came back as it was sent, no page leaked",
            false => "\nNOT VERIFIED: ",
        };
        if !self.verified {
            text +=
                &format!("{} wrong words, {} wrong sums, {} pages leaked", self.wrong_words, self.wrong_sums, self.leaked_pages);
        }
        if self.device_sums > 0 {
            text += &format!("\nchecksums by the device itself: {}, {} of them wrong", self.device_sums, self.wrong_sums);
        }
        if self.validated {
            text += &format!("\nvalidation layer: {} messages", self.validation_messages);
        }
        text
    }

    fn table(&self, direction: Direction) -> comfy_table::Table {
        let header = ["order", "folio", "mode", "ms", "cv %", "GB/s", "", "us/folio", "regions", "submits", "allocator"];
        let mut table = report::table(&header);
        let rows = || self.rows.iter().filter(|row| row.direction == direction);
        let most = rows().map(|row| row.gb_per_s).fold(0.0, f64::max);
        for row in rows() {
            table.add_row([
                row.order.to_string(),
                Bytes(row.folio_bytes).to_string(),
                match row.mode {
                    Mode::Bulk => "bulk copy",
                    Mode::PerFolio => "per folio",
                    Mode::Batched => "batched",
                }
                .to_owned(),
                format!("{:.2}", row.ms),
                format!("{:.1}", row.cv_percent),
                format!("{:.2}", row.gb_per_s),
                "\u{2588}".repeat((row.gb_per_s / most * BAR).round() as usize),
                format!("{:.2}", row.us_per_folio),
                row.regions.to_string(),
                row.submits.to_string(),
                format!("{:.1} %", row.allocator_percent),
            ]);
        }
        for number in [0, 1, 3, 4, 5, 7, 8, 9, 10] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let line = |row: &Row| Line {
            device: &self.device.name,
            driver: &self.device.driver,
            kind: self.device.kind,
            verified: self.verified,
            validation_messages: self.validation_messages,
            seed: self.seed,
            bytes: self.bytes,
            order: row.order,
            folio_bytes: row.folio_bytes,
            direction: row.direction,
            mode: row.mode,
            ms: row.ms,
            gb_per_s: row.gb_per_s,
            cv_percent: row.cv_percent,
            of_bulk_percent: row.of_bulk_percent,
            folios: row.folios,
            regions: row.regions,
            submits: row.submits,
            us_per_folio: row.us_per_folio,
            allocator_percent: row.allocator_percent,
            allocator_ns_per_folio: row.allocator_ns_per_folio,
        };
        self.rows.iter().map(line).collect()
    }
}

/// One line for a spreadsheet.
#[derive(Serialize)]
struct Line<'a> {
    device: &'a str,
    driver: &'a str,
    kind: crate::device::Kind,
    verified: bool,
    validation_messages: u64,
    seed: u64,
    bytes: u64,
    order: u32,
    folio_bytes: u64,
    direction: Direction,
    mode: Mode,
    ms: f64,
    gb_per_s: f64,
    cv_percent: f64,
    of_bulk_percent: f64,
    folios: u64,
    regions: u64,
    submits: u64,
    us_per_folio: f64,
    allocator_percent: f64,
    allocator_ns_per_folio: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_variation() {
        assert_eq!(median(&[5.0, 1.0, 3.0, 2.0, 4.0]), 3.0);
        assert_eq!(variation(&[2.0, 2.0, 2.0]), 0.0);
        assert!((variation(&[1.0, 2.0, 3.0]) - 0.5).abs() < 1e-12);
    }
}
