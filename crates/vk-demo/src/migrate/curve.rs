//! The curve: throughput of migration over folio order, one chart for each direction.

use std::path::Path;

use serde::Deserialize;

use super::report::{Row, SCHEMA};
use super::{Direction, Mode};
use crate::failure::Failure;
use crate::heap::PAGE;
use crate::picture::{Axis, Chart, Line, Stroke};
use crate::report::Saved;
use crate::size::Bytes;

/// The charts of a saved result.
pub(crate) fn saved_charts(path: &Path) -> Result<Vec<Chart>, Failure> {
    #[derive(Deserialize)]
    struct Rows {
        rows: Vec<Row>,
    }
    let saved: Rows = Saved::read(path, SCHEMA)?.parse()?;
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
    let orders = rows.iter().filter(|row| row.mode != Mode::Bulk).map(|row| row.order);
    let (first, last) = (orders.clone().min().unwrap_or(0), orders.max().unwrap_or(0));
    let rows = || rows.iter().filter(|row| row.direction == direction);
    let curve = |name: &str, mode, stroke| {
        let mine = rows().filter(|row| row.mode == mode);
        Line { name: name.into(), stroke, points: mine.map(|row| (f64::from(row.order), row.gb_per_s)).collect() }
    };
    let mut lines = vec![curve("batched", Mode::Batched, Stroke::Dashed), curve("one by one", Mode::PerFolio, Stroke::Solid)];
    if let Some(bulk) = rows().find(|row| row.mode == Mode::Bulk) {
        let points = [first, last.max(first + 1)].map(|order| (f64::from(order), bulk.gb_per_s)).to_vec();
        lines.push(Line { name: "bulk copy".into(), stroke: Stroke::Dotted, points });
    }
    let tick = |order: u32| (f64::from(order), order.to_string());
    Chart {
        title: title.into(),
        x: Axis {
            label: format!("folio order (0 is {}, 9 is {})", Bytes(PAGE), Bytes(PAGE << 9)),
            from: f64::from(first),
            to: f64::from(last.max(first + 1)),
            logarithmic: false,
            ticks: (first..=last).map(tick).collect(),
        },
        y,
        lines,
    }
}
