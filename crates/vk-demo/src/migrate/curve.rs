//! The curve: throughput of migration over folio order, one chart for each direction.

use std::path::Path;

use serde::Deserialize;

use super::report::{Migrated, Row};
use super::{Direction, Mode};
use crate::failure::Failure;
use crate::picture::{Axis, Chart, Line, Stroke};
use crate::report::{Outcome, Saved};

/// The charts of a saved result.
pub(crate) fn saved_charts(path: &Path) -> Result<Vec<Chart>, Failure> {
    #[derive(Deserialize)]
    struct Rows {
        rows: Vec<Row>,
    }
    let saved: Rows = Saved::read(path, Migrated::SCHEMA)?.parse()?;
    Ok(charts(&saved.rows))
}

/// Host to device, and device to host.
pub(super) fn charts(rows: &[Row]) -> Vec<Chart> {
    let shown = [(Direction::HostToDevice, "Migration, host to device"), (Direction::DeviceToHost, "Migration, device to host")];
    shown.map(|(direction, title)| chart(rows, direction, title)).into()
}

fn chart(rows: &[Row], direction: Direction, title: &str) -> Chart {
    // One scale for both directions, so that the charts can be compared.
    let y = Axis::decades("GB/s", rows.iter().map(|row| row.gb_per_s));
    let x = Axis::orders(rows.iter().filter(|row| row.mode != Mode::Bulk).map(|row| row.order));
    let rows = || rows.iter().filter(|row| row.direction == direction);
    let curve = |name: &str, mode, stroke| {
        let mine = rows().filter(|row| row.mode == mode);
        Line { name: name.into(), stroke, points: mine.map(|row| (f64::from(row.order), row.gb_per_s)).collect() }
    };
    let mut lines = vec![curve("batched", Mode::Batched, Stroke::Dashed), curve("one by one", Mode::PerFolio, Stroke::Solid)];
    if let Some(bulk) = rows().find(|row| row.mode == Mode::Bulk) {
        let points = [x.from, x.to].map(|order| (order, bulk.gb_per_s)).to_vec();
        lines.push(Line { name: "bulk copy".into(), stroke: Stroke::Dotted, points });
    }
    Chart { title: title.into(), x, y, lines }
}
