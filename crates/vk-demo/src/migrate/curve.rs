//! The curve: throughput of migration over folio order, for each direction; of one size with its ceiling, or of all sizes. Bars show
//! the middle half of the iterations.

use std::path::Path;

use serde::Deserialize;

use super::bench::{Direction, Mode};
use super::report::Migrated;
use super::row::Row;
use crate::device::DeviceInfo;
use crate::failure::Failure;
use crate::picture::{Axis, Chart, Line, Stroke};
use crate::report::{Outcome, Saved};
use crate::size::Bytes;

const WAYS: [(Direction, &str); 2] = [(Direction::HostToDevice, "host to device"), (Direction::DeviceToHost, "device to host")];

/// The charts of a saved result: those of its largest size of which nothing was left out. Where it is of another device than
/// this one, they say of which.
pub(crate) fn saved_charts(path: &Path, here: &DeviceInfo) -> Result<Vec<Chart>, Failure> {
    #[derive(Deserialize)]
    struct Saw {
        device: Name,
        rows: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    let Saw { device, rows } = Saved::read(path, Migrated::SCHEMA)?.parse()?;
    let count = |bytes: u64, mode| rows.iter().filter(|row| (row.bytes, row.mode) == (bytes, mode)).count();
    let whole = |bytes: &u64| count(*bytes, Mode::PerFolio) == count(*bytes, Mode::Batched);
    let sizes = sizes(&rows);
    let shown = sizes.iter().rev().copied().find(whole).or(sizes.last().copied());
    let mut charts = shown.map(|bytes| of_one_size(&rows, bytes)).unwrap_or_default();
    if device.name != here.name {
        charts.iter_mut().for_each(|chart| chart.title += &format!(" ({})", device.name));
    }
    Ok(charts)
}

/// Both directions: of one size, or of several one by one and batched.
pub(super) fn charts(rows: &[Row]) -> Vec<Chart> {
    match sizes(rows)[..] {
        [] => Vec::new(),
        [bytes] => of_one_size(rows, bytes),
        _ => of_all_sizes(rows),
    }
}

fn sizes(rows: &[Row]) -> Vec<u64> {
    let mut sizes: Vec<u64> = rows.iter().map(|row| row.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// One scale for all charts, so that they can be compared.
fn throughput<'r>(rows: impl Iterator<Item = &'r Row> + Clone) -> Axis {
    Axis::decades("GB/s", rows.flat_map(|row| [row.gb_per_s_low, row.gb_per_s, row.gb_per_s_high]))
}

/// The median, and the middle half around it.
fn point(row: &Row) -> (f64, f64) {
    (f64::from(row.order), row.gb_per_s)
}

fn bar(row: &Row) -> (f64, f64, f64) {
    (f64::from(row.order), row.gb_per_s_low, row.gb_per_s_high)
}

/// A chart for each direction, with every way to send folios and the ceiling.
fn of_one_size(rows: &[Row], bytes: u64) -> Vec<Chart> {
    let of_size = || rows.iter().filter(|row| row.bytes == bytes);
    let chart = |(direction, way): (Direction, &str)| {
        let x = Axis::orders(of_size().filter(|row| row.mode != Mode::Bulk).map(|row| row.order));
        let mine = || of_size().filter(|row| row.direction == direction);
        let curve = |name: &str, mode, stroke| {
            let shown = || mine().filter(|row| row.mode == mode);
            Line::new(name, stroke, shown().map(point).collect()).with_bars(shown().map(bar).collect())
        };
        let mut lines = vec![curve("batched", Mode::Batched, Stroke::Dashed), curve("one by one", Mode::PerFolio, Stroke::Solid)];
        let merged = curve("merged", Mode::Merged, Stroke::DotDashed);
        lines.extend((!merged.points.is_empty()).then_some(merged));
        if let Some(bulk) = mine().find(|row| row.mode == Mode::Bulk) {
            let points = [x.from, x.to].map(|order| (order, bulk.gb_per_s)).to_vec();
            lines.push(Line::new("bulk copy", Stroke::Dotted, points).with_bars(vec![bar(bulk)]));
        }
        Chart { title: format!("Migration of {}, {way}", Bytes(bytes)), x, y: throughput(of_size()), lines }
    };
    WAYS.map(chart).into()
}

/// A chart for each direction and mode, with a line for each size. Each line ends in its bulk copy: one folio of everything.
fn of_all_sizes(rows: &[Row]) -> Vec<Chart> {
    let sizes = sizes(rows);
    let chart = |mode: Mode, how: &str, (direction, way): (Direction, &str)| {
        let line = |(index, bytes): (usize, &u64)| {
            let mine = || rows.iter().filter(|row| (row.direction, row.bytes) == (direction, *bytes));
            let last = mine().filter(|row| row.mode == mode).map(|row| row.order).max();
            let shown =
                || mine().filter(|row| row.mode == mode || row.mode == Mode::Bulk && last.is_none_or(|last| row.order > last));
            let mut points: Vec<(f64, f64)> = shown().map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let line = Line::new(Bytes(*bytes).to_string(), Stroke::Ranked(index, sizes.len()), points);
            line.with_bars(shown().map(bar).collect())
        };
        Chart {
            title: format!("{how}, {way}"),
            x: Axis::orders(rows.iter().map(|row| row.order)),
            y: throughput(rows.iter()),
            lines: sizes.iter().enumerate().map(line).collect(),
        }
    };
    let modes = [(Mode::PerFolio, "Folio by folio"), (Mode::Batched, "Batched")];
    modes.into_iter().flat_map(|(mode, how)| WAYS.map(|way| chart(mode, how, way))).collect()
}
