//! The migration table.

use std::time::Duration;

use pgmap_alloc::Order;
use serde::{Deserialize, Serialize};

use super::{Direction, Measured, Migrate, Mode, Sample, curve};
use crate::heap::PAGE;
use crate::picture::Picture;
use crate::report::{self, Head, Outcome, median};
use crate::size::Bytes;

/// Characters of the longest bar in the table.
const BAR: f64 = 20.0;

/// What came of the benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Migrated {
    /// Bytes migrated in each iteration of each row.
    bytes: u64,
    warm_ups: usize,
    iterations: usize,
    wrong_words: u64,
    /// Times that the device itself summed what it held, and how many of these sums were wrong.
    pub(super) device_sums: u64,
    pub(super) wrong_sums: u64,
    leaked_pages: u64,
    pub(super) rows: Vec<Row>,
}

/// One order, one mode, one direction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(super) order: u32,
    pub(super) folio_bytes: u64,
    pub(super) direction: Direction,
    pub(super) mode: Mode,
    /// Median over the iterations.
    pub(super) ms: f64,
    pub(super) gb_per_s: f64,
    /// Coefficient of variation over the iterations.
    pub(super) cv_percent: f64,
    /// Processor time of the whole program in an iteration: threads of a software device count too.
    #[serde(default)]
    pub(super) cpu_ms: f64,
    /// Throughput beside the bulk copy of the same bytes that was made just before or after, in the same direction: the median
    /// over the iterations, and what a quarter of them is below and above.
    pub(super) of_bulk_percent: f64,
    #[serde(default)]
    pub(super) of_bulk_low_percent: f64,
    #[serde(default)]
    pub(super) of_bulk_high_percent: f64,
    /// Page faults that it stands for: one for each folio that is waited for.
    #[serde(default)]
    pub(super) faults: u64,
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
    /// None where there are no samples.
    fn new(migrate: &Migrate, (mode, order): (Mode, Order), direction: Direction, samples: &[Pair]) -> Option<Row> {
        let first = samples.first()?;
        let column = |value: fn(&Sample) -> Duration| -> Vec<f64> {
            samples.iter().map(|(sample, _)| value(sample).as_secs_f64()).collect()
        };
        let (seconds, in_allocator) = (column(|sample| sample.time), median(&column(|sample| sample.allocator)));
        let of_bulk: Vec<f64> =
            samples.iter().map(|(sample, bulk)| 100.0 * bulk.time.as_secs_f64() / sample.time.as_secs_f64()).collect();
        let time = median(&seconds);
        let folio_bytes = order.pages() * PAGE;
        let folios = migrate.bytes / folio_bytes;
        Some(Row {
            order: order.get(),
            folio_bytes,
            direction,
            mode,
            ms: time * 1e3,
            gb_per_s: migrate.bytes as f64 / time / 1e9,
            cv_percent: variation(&seconds) * 100.0,
            cpu_ms: median(&column(|sample| sample.cpu)) * 1e3,
            of_bulk_percent: median(&of_bulk),
            of_bulk_low_percent: report::quantile(&of_bulk, 0.25),
            of_bulk_high_percent: report::quantile(&of_bulk, 0.75),
            faults: if mode == Mode::PerFolio { folios } else { 0 },
            folios,
            regions: first.0.work.regions,
            submits: first.0.work.submits,
            us_per_folio: time * 1e6 / folios as f64,
            allocator_percent: 100.0 * in_allocator / time,
            allocator_ns_per_folio: in_allocator * 1e9 / folios as f64,
        })
    }
}

/// A sample, and the bulk copy beside it.
type Pair = (Sample, Sample);

/// Both directions of every mode and order, each beside its bulk copies; those of all orders make one row.
fn rows(migrate: &Migrate, measured: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    for (direction, way) in [(Direction::HostToDevice, 0), (Direction::DeviceToHost, 1)] {
        let pairs = |samples: &[[Sample; 2]], bulk: &[[Sample; 2]]| -> Vec<Pair> {
            samples.iter().zip(bulk).map(|(sample, bulk)| (sample[way], bulk[way])).collect()
        };
        let all: Vec<Pair> = measured.orders.iter().flat_map(|order| pairs(&order.bulk, &order.bulk)).collect();
        rows.extend(Row::new(migrate, (Mode::Bulk, migrate.bulk), direction, &all));
        for samples in &measured.orders {
            for (mode, mine) in [(Mode::PerFolio, &samples.per_folio), (Mode::Batched, &samples.batched)] {
                rows.extend(Row::new(migrate, (mode, samples.order), direction, &pairs(mine, &samples.bulk)));
            }
        }
    }
    rows
}

/// Standard deviation of a sample over its mean.
fn variation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt() / mean
}

impl Migrated {
    pub(super) fn new(migrate: &Migrate, measured: &Measured, leaked_pages: u64) -> Migrated {
        Migrated {
            bytes: migrate.bytes,
            warm_ups: 1,
            iterations: migrate.iterations,
            wrong_words: measured.wrong_words,
            device_sums: measured.sums,
            wrong_sums: measured.wrong_sums,
            leaked_pages,
            rows: rows(migrate, measured),
        }
    }

    fn table(&self, direction: Direction) -> comfy_table::Table {
        let header = [
            "order",
            "folio",
            "mode",
            "ms",
            "cv %",
            "GB/s",
            "",
            "of bulk, %",
            "us/folio",
            "CPU ms",
            "regions",
            "submits",
            "allocator",
        ];
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
                format!("{:.0} ({:.0} to {:.0})", row.of_bulk_percent, row.of_bulk_low_percent, row.of_bulk_high_percent),
                format!("{:.2}", row.us_per_folio),
                format!("{:.2}", row.cpu_ms),
                row.regions.to_string(),
                row.submits.to_string(),
                format!("{:.1} %", row.allocator_percent),
            ]);
        }
        report::align_right(&mut table, [0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 12]);
        table
    }
}

impl Outcome for Migrated {
    const SCHEMA: &'static str = "vk-demo/migrate/1";
    const RESULTS: &'static [&'static str] = &["gb_per_s", "of_bulk_percent"];
    const SETTINGS: &'static [&'static str] = &["bytes"];
    type Line = Row;

    fn is_good(&self) -> bool {
        self.wrong_words == 0 && self.wrong_sums == 0 && self.leaked_pages == 0
    }

    fn verdict(&self) -> String {
        let mut text = format!("every byte compared, {} wrong words, ", self.wrong_words);
        if self.device_sums > 0 {
            text += &format!("{} sums by the device, {} wrong, ", self.device_sums, self.wrong_sums);
        }
        text + &format!("{} leaked pages", self.leaked_pages)
    }

    fn text(&self, _: &Head) -> String {
        let mut text = format!("{} in each row, median of {} after a warm-up\n", Bytes(self.bytes), self.iterations);
        for (direction, name) in [(Direction::HostToDevice, "Host -> device"), (Direction::DeviceToHost, "Device -> host")] {
            text += &format!("\n{name}\n{}\n", self.table(direction));
        }
        text
    }

    fn lines(&self) -> Vec<Row> {
        self.rows.clone()
    }

    /// The curve of both directions.
    fn picture(&self, _: &Head) -> Picture<'_> {
        let subtitle = format!("{}, median of {}", Bytes(self.bytes), self.iterations);
        Picture { title: "What folio order buys for migration".into(), subtitle, map: None, charts: curve::charts(&self.rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(milliseconds: [u64; 5]) -> Vec<[Sample; 2]> {
        milliseconds.map(|time| [Sample { time: Duration::from_millis(time), ..Sample::default() }; 2]).to_vec()
    }

    #[test]
    fn batched_is_compared_with_the_bulk_copy_of_its_own_iteration() {
        let order = Order::PMD;
        let layout = crate::device::Layout { objects: vec![], staging: 0, views: false };
        let migrate = Migrate { layout, bytes: order.pages() * PAGE, bulk: order, orders: vec![order], iterations: 5, seed: 1 };
        let mut measured = Measured::new(&migrate);
        measured.orders[0].bulk = samples([10, 30, 20, 30, 10]);
        measured.orders[0].batched = samples([10, 60, 10, 30, 40]);
        let rows = rows(&migrate, &measured);
        let modes: Vec<Mode> = rows.iter().map(|row| row.mode).collect();
        assert_eq!(modes, [Mode::Bulk, Mode::Batched, Mode::Bulk, Mode::Batched], "what was not measured has no row");
        for batched in [&rows[1], &rows[3]] {
            assert_eq!((batched.of_bulk_low_percent, batched.of_bulk_percent, batched.of_bulk_high_percent), (50.0, 100.0, 100.0));
            assert_eq!(batched.ms, 30.0, "a ratio of medians would be 67 %");
        }
        assert_eq!((rows[0].ms, rows[0].of_bulk_percent), (20.0, 100.0));
    }

    #[test]
    fn variation_is_that_of_a_sample() {
        assert_eq!(variation(&[2.0, 2.0, 2.0]), 0.0);
        assert!((variation(&[1.0, 2.0, 3.0]) - 0.5).abs() < 1e-12);
    }
}
