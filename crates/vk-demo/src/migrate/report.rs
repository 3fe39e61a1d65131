//! The migration table.

use serde::Serialize;

use super::bench::{Direction, Mode};
use super::row::{Row, TOO_WIDE, rows};
use super::{Measured, Migrate, Series, curve};
use crate::picture::Picture;
use crate::report::{self, Coverage, Head, Outcome};
use crate::size::Bytes;

/// Characters of the longest bar in the table.
const BAR: f64 = 20.0;

/// How folios are sent, from the slowest to the quickest.
const SENT: [Mode; 3] = [Mode::PerFolio, Mode::Batched, Mode::Merged];

/// Both ways, and what they are called.
pub(super) const WAYS: [(Direction, &str); 2] =
    [(Direction::HostToDevice, "Host -> device"), (Direction::DeviceToHost, "Device -> host")];

/// What came of the benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Migrated {
    /// Bytes migrated in each iteration of a row: each of these has rows.
    sizes_bytes: Vec<u64>,
    warm_ups: usize,
    /// At the least; a row that varies too much may have more.
    iterations: usize,
    wrong_words: u64,
    /// Said in the head.
    #[serde(skip)]
    coverage: Coverage,
    /// Times that the device itself summed what it held, and how many of these sums were wrong.
    pub(super) device_sums: u64,
    pub(super) wrong_sums: u64,
    leaked_pages: u64,
    /// Rows that nobody asked for and that would have taken too long.
    left_out: Vec<LeftOut>,
    pub(super) rows: Vec<Row>,
}

/// An order of a size that was not sent one by one.
#[derive(Clone, Debug, Serialize)]
struct LeftOut {
    bytes: u64,
    order: u32,
    mode: Mode,
    folios: u64,
}

impl Migrated {
    pub(super) fn new(migrate: &Migrate, measured: &Measured, leaked_pages: u64) -> Migrated {
        let left_out = migrate.series.iter().filter(|series| !series.one_by_one);
        let left_out = left_out.map(|series| {
            let Series { bytes, order, .. } = *series;
            LeftOut { bytes, order: order.get(), mode: Mode::PerFolio, folios: series.folios() }
        });
        let mut sizes_bytes: Vec<u64> = migrate.series.iter().map(|series| series.bytes).collect();
        sizes_bytes.dedup();
        Migrated {
            sizes_bytes,
            warm_ups: 1,
            iterations: migrate.iterations,
            wrong_words: measured.wrong_words,
            coverage: measured.coverage,
            device_sums: measured.sums,
            wrong_sums: measured.wrong_sums,
            leaked_pages,
            left_out: left_out.collect(),
            rows: rows(measured),
        }
    }

    fn rows(&self, direction: Direction, bytes: u64) -> impl Iterator<Item = &Row> + Clone {
        self.rows.iter().filter(move |row| (row.direction, row.bytes) == (direction, bytes))
    }

    /// What there is to say of one size, one way.
    fn table(&self, direction: Direction, bytes: u64, width: Option<usize>) -> String {
        // With what is left out first where there is no room for all of it.
        const SPARE: [usize; 11] = [13, 12, 11, 14, 6, 8, 9, 10, 7, 3, 1];
        let header = [
            "order",
            "folio",
            "mode",
            "ms",
            "GB/s",
            "middle half",
            "",
            "of bulk, %",
            "us/folio",
            "p50",
            "p99",
            "allocator",
            "recording",
            "planning",
            "device",
        ];
        let mut table = report::table(&header);
        let rows = self.rows(direction, bytes);
        let most = rows.clone().map(|row| row.gb_per_s).fold(0.0, f64::max);
        let some = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
        for row in rows {
            table.add_row([
                row.order.to_string(),
                Bytes(row.folio_bytes).to_string(),
                mode_name(row.mode).to_owned(),
                format!("{:.3}", row.ms),
                format!("{:.2}", row.gb_per_s),
                format!("{:.2} to {:.2}{}", row.gb_per_s_low, row.gb_per_s_high, if row.varies { " !" } else { "  " }),
                "\u{2588}".repeat((row.gb_per_s / most * BAR).round() as usize),
                format!("{:.0} ({:.0} to {:.0})", row.of_bulk_percent, row.of_bulk_low_percent, row.of_bulk_high_percent),
                format!("{:.2}", row.us_per_folio),
                some(row.p50_us),
                some(row.p99_us),
                format!("{:.1} %", row.allocator_percent),
                format!("{:.3}", row.recording_ms),
                format!("{:.3}", row.planning_ms),
                some(row.copying_ms),
            ]);
        }
        report::align_right(&mut table, [0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14]);
        report::fitted(table, width, &SPARE)
    }

    /// GB/s of every size and order one way, so that they can be seen at one glance: in one table where there is room for it.
    fn overviews(&self, direction: Direction, width: Option<usize>) -> String {
        let of = |sizes: usize| self.sizes_bytes.chunks(sizes).map(|some| self.overview(direction, some)).collect::<Vec<_>>();
        let fits = |tables: &Vec<comfy_table::Table>| tables.iter().all(|table| report::fits(table, width));
        let tables = (1..=self.sizes_bytes.len()).rev().map(of).find(fits).unwrap_or_else(|| of(1));
        tables.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    fn overview(&self, direction: Direction, sizes: &[u64]) -> comfy_table::Table {
        let columns = sizes.iter().flat_map(|bytes| SENT.map(|mode| (*bytes, mode)));
        let heads = columns.clone().map(|(bytes, mode)| format!("{}\n{}", Bytes(bytes), mode_name(mode)));
        let header: Vec<String> = ["order", "folio"].map(String::from).into_iter().chain(heads).collect();
        let mut table = report::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
        let rows = || self.rows.iter().filter(|row| row.direction == direction);
        let mut orders: Vec<(u32, u64)> =
            rows().filter(|row| row.mode != Mode::Bulk).map(|row| (row.order, row.folio_bytes)).collect();
        orders.sort_unstable();
        orders.dedup();
        let cell = |found: Option<&Row>| found.map_or("-".into(), |row| format!("{:.2}", row.gb_per_s));
        for (order, folio_bytes) in orders {
            let of_one = |(bytes, mode)| cell(rows().find(|row| (row.order, row.bytes, row.mode) == (order, bytes, mode)));
            table.add_row([order.to_string(), Bytes(folio_bytes).to_string()].into_iter().chain(columns.clone().map(of_one)));
        }
        // What bounds them all stands below the merged ones.
        let ceiling = |(bytes, mode)| match mode {
            Mode::Merged => cell(rows().find(|row| (row.bytes, row.mode) == (bytes, Mode::Bulk))),
            _ => String::new(),
        };
        table.add_row(["bulk".into(), "all".into()].into_iter().chain(columns.clone().map(ceiling)));
        report::align_right(&mut table, 0..header.len());
        table
    }

    /// How many rows vary too much, although they were measured longer; nothing if none does.
    fn unsteady(&self) -> String {
        let unsteady = self.rows.iter().filter(|row| row.varies).count();
        let most = self.rows.iter().filter(|row| row.mode != Mode::Bulk).map(|row| row.iterations).max().unwrap_or(0);
        match unsteady {
            0 => String::new(),
            _ => format!(
                "\n! {unsteady} of {} rows vary too much: after up to {most} iterations the middle half is wider than {TOO_WIDE} % of \
                 the median\n",
                self.rows.len()
            ),
        }
    }

    fn sizes(&self) -> String {
        let sizes: Vec<String> = self.sizes_bytes.iter().map(|bytes| Bytes(*bytes).to_string()).collect();
        sizes.join(", ")
    }

    /// What was left out, a size at a time; nothing if all is there.
    fn left_out(&self) -> String {
        let of_one_size = self.left_out.chunk_by(|a, b| a.bytes == b.bytes);
        let sizes: Vec<String> = of_one_size
            .map(|rows| {
                let orders: Vec<String> = rows.iter().map(|row| row.order.to_string()).collect();
                format!("{} at order {}", Bytes(rows[0].bytes), orders.join(", "))
            })
            .collect();
        match sizes[..] {
            [] => String::new(),
            _ => format!("\nleft out, as it takes long: {} folio by folio; --sizes leaves nothing out\n", sizes.join(", ")),
        }
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Bulk => "bulk copy",
        Mode::PerFolio => "per folio",
        Mode::Batched => "batched",
        Mode::Merged => "merged",
    }
}

impl Outcome for Migrated {
    const SCHEMA: &'static str = "vk-demo/migrate/3";
    const RESULTS: &'static [&'static str] = &["gb_per_s", "of_bulk_percent"];
    const SETTINGS: &'static [&'static str] = &["sizes_bytes", "iterations"];
    type Line = Row;

    fn is_good(&self) -> bool {
        self.wrong_words == 0 && self.wrong_sums == 0 && self.leaked_pages == 0
    }

    fn coverage(&self) -> Coverage {
        self.coverage
    }

    fn verdict(&self) -> String {
        let mut text = format!("every byte that was timed was compared, {} wrong words, ", self.wrong_words);
        if self.device_sums > 0 {
            text += &format!("{} sums by the device, {} wrong, ", self.device_sums, self.wrong_sums);
        }
        text + &format!("{} leaked pages", self.leaked_pages)
    }

    fn text(&self, head: &Head) -> String {
        let mut text = format!(
            "{}, median of {} after a warm-up, without our own planning; p50 and p99 in us, the parts and the device's clock in ms\n",
            self.sizes(),
            self.iterations
        );
        for bytes in &self.sizes_bytes {
            for (direction, name) in WAYS {
                text += &format!("\n{name}, {}\n{}\n", Bytes(*bytes), self.table(direction, *bytes, head.width));
            }
        }
        if self.sizes_bytes.len() > 1 {
            for (direction, name) in WAYS {
                text += &format!("\n{name}, GB/s\n{}\n", self.overviews(direction, head.width));
            }
        }
        text + &self.unsteady() + &self.left_out()
    }

    fn lines(&self) -> Vec<Row> {
        self.rows.clone()
    }

    /// The curve of both directions.
    fn picture(&self, _: &Head) -> Picture<'_> {
        let ends = if self.sizes_bytes.len() > 1 { ", each line ends in one folio of everything" } else { "" };
        let subtitle = format!("{}, median and middle half of {}{ends}", self.sizes(), self.iterations);
        Picture { title: "What folio order buys for migration".into(), subtitle, map: None, charts: curve::charts(&self.rows) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pgmap_alloc::Order;

    use super::*;
    use crate::heap::PAGE;
    use crate::migrate::bench::Sample;

    fn samples(milliseconds: [u64; 5]) -> Vec<[Sample; 2]> {
        milliseconds.map(|time| [Sample { waiting: Duration::from_millis(time), ..Sample::default() }; 2]).to_vec()
    }

    fn migrate(series: Vec<Series>) -> Migrate {
        Migrate { series, iterations: 5, longer: true, seed: 1 }
    }

    fn series(order: Order, pages: u64, one_by_one: bool) -> Series {
        Series { bytes: pages * PAGE, order, one_by_one, largest: Order::MAX }
    }

    #[test]
    fn batched_is_compared_with_the_bulk_copy_of_its_own_iteration() {
        let order = Order::PMD;
        let mut measured = Measured::new(&migrate(vec![series(order, order.pages(), true)]));
        measured.series[0].bulk = samples([10, 30, 20, 30, 10]);
        measured.series[0].batched = samples([10, 60, 10, 30, 40]);
        let rows = rows(&measured);
        let modes: Vec<Mode> = rows.iter().map(|row| row.mode).collect();
        assert_eq!(modes, [Mode::Bulk, Mode::Batched, Mode::Bulk, Mode::Batched], "what was not measured has no row");
        for batched in [&rows[1], &rows[3]] {
            assert_eq!((batched.of_bulk_low_percent, batched.of_bulk_percent, batched.of_bulk_high_percent), (50.0, 100.0, 100.0));
            assert_eq!(batched.ms, 30.0, "a ratio of medians would be 67 %");
        }
        assert_eq!((rows[0].ms, rows[0].of_bulk_percent), (20.0, 100.0));
    }

    #[test]
    fn sizes_are_kept_apart_and_what_is_left_out_is_said() {
        let migrate = migrate(vec![series(Order::ZERO, 1, true), series(Order::ZERO, 8, false)]);
        let mut measured = Measured::new(&migrate);
        for (samples_of, time) in measured.series.iter_mut().zip([1, 4]) {
            samples_of.bulk = samples([time; 5]);
            samples_of.batched = samples([2 * time; 5]);
        }
        measured.series[0].per_folio = samples([4; 5]);
        measured.series[1].merged = samples([5; 5]);
        let migrated = Migrated::new(&migrate, &measured, 0);
        assert_eq!(migrated.sizes_bytes, [PAGE, 8 * PAGE]);
        let of = |bytes: u64| migrated.rows(Direction::HostToDevice, bytes).map(|row| (row.mode, row.ms)).collect::<Vec<_>>();
        assert_eq!(of(PAGE), [(Mode::Bulk, 1.0), (Mode::PerFolio, 4.0), (Mode::Batched, 2.0)]);
        assert_eq!(of(8 * PAGE), [(Mode::Bulk, 4.0), (Mode::Batched, 8.0), (Mode::Merged, 5.0)]);
        assert_eq!(migrated.left_out.iter().map(|row| (row.bytes, row.order, row.folios)).collect::<Vec<_>>(), [(8 * PAGE, 0, 8)]);
        assert!(migrated.left_out().contains("32 KiB at order 0 folio by folio"), "{}", migrated.left_out());
        let overview = migrated.overviews(Direction::DeviceToHost, None);
        assert!(overview.contains("32 KiB") && overview.contains("bulk") && overview.matches("bulk").count() == 1, "{overview}");
        assert!(migrated.unsteady().is_empty());
        for width in [30, 60, 80, 200] {
            let narrow = [
                migrated.overviews(Direction::DeviceToHost, Some(width)),
                migrated.table(Direction::DeviceToHost, 8 * PAGE, Some(width)),
            ];
            let widest = narrow.iter().flat_map(|text| text.lines()).map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.max(50)), "{width}: {}", narrow.join("\n"));
        }
    }
}
