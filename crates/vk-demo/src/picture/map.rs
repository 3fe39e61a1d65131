//! The map of memory: one tile for each cell, and inside it every folio as a rectangle with the area of its memory.
//!
//! Pages follow each other along a Z curve (the bits of the page number go to x and y in turn), on which an aligned run of
//! 2^n pages is a square, or two squares side by side. A tile is 32 units wide and 16 high.

use std::collections::BTreeMap;
use std::fmt::Write;

use svg::node::element::{Group, Path, Rectangle};

use super::{ink, right};
use crate::report::{Cell, Cells, HeatMap, State, UNITS};
use crate::size::Bytes;

const UNITS_WIDE: f64 = 32.0;
const UNITS_HIGH: f64 = 16.0;
/// Between two tiles.
const GAP: f64 = 3.0;
/// For the offsets on the left.
const GUTTER: f64 = 62.0;
const LEGEND_COLUMNS: usize = 6;

/// Draws the map and its legend; returns how high they are.
pub(super) fn draw(map: &HeatMap, x: f64, y: f64, width: f64) -> (Group, f64) {
    let cells: usize = map.ranges.iter().map(|range| range.0.len()).sum();
    let columns = match cells {
        0..=32 => 8,
        33..=256 => 16,
        _ => 32,
    };
    let pitch = (width - GUTTER + GAP) / columns as f64;
    let mut sheet = Sheet { unit: (pitch - GAP) / UNITS_WIDE, pitch, x: x + GUTTER, y, columns, areas: BTreeMap::new() };
    let mut group = Group::new();
    for (index, range) in map.ranges.iter().enumerate() {
        for (row, first) in (0..range.0.len()).step_by(columns).enumerate() {
            let offset = Bytes(first as u64 * map.cell_bytes);
            let label = match (row, map.ranges.len()) {
                (0, 2..) => format!("object {index}"),
                _ => offset.to_string(),
            };
            let middle = sheet.y + row as f64 * sheet.row() + UNITS_HIGH / 2.0 * sheet.unit + 4.0;
            group = group.add(right(x + GUTTER - 8.0, middle, &label).set("font-size", 11).set("fill", ink::QUIET));
        }
        sheet.draw_range(range);
    }
    for (state, path) in &sheet.areas {
        group = group.add(Path::new().set("d", path.as_str()).set("fill", ink::fill(*state)));
    }
    let (legend, height) = legend(map, x, sheet.y + 8.0);
    (group.add(legend), sheet.y + 8.0 + height - y)
}

/// Where tiles are, and what has been drawn so far: one path for each state.
struct Sheet {
    /// Pixels of a unit.
    unit: f64,
    /// From one tile to the next.
    pitch: f64,
    x: f64,
    /// Where the next range begins.
    y: f64,
    columns: usize,
    areas: BTreeMap<State, String>,
}

impl Sheet {
    /// From one row to the next.
    fn row(&self) -> f64 {
        UNITS_HIGH * self.unit + GAP
    }

    fn draw_range(&mut self, range: &Cells) {
        for (index, cell) in range.0.iter().enumerate() {
            let x = self.x + (index % self.columns) as f64 * self.pitch;
            let y = self.y + (index / self.columns) as f64 * self.row();
            let last_of_row = index % self.columns == self.columns - 1;
            self.draw_cell(cell, x, y, if last_of_row { None } else { cell.joined(index) });
        }
        self.y += range.0.len().div_ceil(self.columns) as f64 * self.row();
    }

    /// Draws a cell; a folio that goes on in the next one closes the gap to it.
    fn draw_cell(&mut self, cell: &Cell, x: f64, y: f64, goes_on: Option<State>) {
        let mut unit = 0;
        while unit < cell.units_inside() {
            let (state, order) = cell.square(unit);
            let (across, down) = z_curve(unit);
            let (wide, high) = (1u32 << order.div_ceil(2), 1u32 << (order / 2));
            // A hair between neighbours, where they are large enough to spare it.
            let hair = if state != State::Idle && order >= 2 && order < UNITS.ilog2() { 0.25 * self.unit } else { 0.0 };
            let extra = if goes_on == Some(state) { GAP + 0.2 } else { 0.0 };
            let area = self.areas.entry(state).or_default();
            let (left, top) = (x + across * self.unit, y + down * self.unit);
            let (wide, high) = (f64::from(wide) * self.unit - hair + extra, f64::from(high) * self.unit - hair);
            // Writing into a string cannot fail.
            let _ = write!(area, "M{left:.1} {top:.1}h{wide:.1}v{high:.1}h-{wide:.1}z");
            unit += 1 << order;
        }
    }
}

impl Cell {
    /// The largest aligned piece from `unit` on that is to be drawn as one, as the logarithm of its units.
    fn square(&self, unit: usize) -> (State, u32) {
        let state = self.unit(unit);
        // Single pages are too small for edges of their own; a folio of its own shows its edges.
        let most = match state {
            State::Folio(order) if order.get() >= self.unit_order().get() + 2 => order.get() - self.unit_order().get(),
            _ => UNITS.ilog2(),
        };
        let fits = |order: &u32| {
            let end = unit + (1 << order);
            unit.is_multiple_of(1 << order) && end <= self.units_inside() && (unit..end).all(|other| self.unit(other) == state)
        };
        (state, (0..=most.min(UNITS.ilog2())).rev().find(fits).unwrap_or(0))
    }

    /// The state of a folio that fills this cell and reaches into the next one of the range.
    fn joined(&self, index: usize) -> Option<State> {
        let state = self.unit(0);
        let State::Folio(order) = state else { return None };
        let cells = 1usize.checked_shl(order.get().checked_sub(self.unit_order().get() + UNITS.ilog2())?)?;
        (!(index + 1).is_multiple_of(cells)).then_some(state)
    }
}

/// Where a unit is in its tile: even bits of its number go across, odd ones down.
fn z_curve(unit: usize) -> (f64, f64) {
    let bits = |from: usize| (0..5).map(|bit| (unit >> (2 * bit + from) & 1) << bit).sum::<usize>() as f64;
    (bits(0), bits(1))
}

/// What the fillings mean and how much there is of each.
fn legend(map: &HeatMap, x: f64, y: f64) -> (Group, f64) {
    let all: u64 = map.totals.iter().map(|(_, bytes)| bytes).sum();
    let mut group = Group::new();
    let column = (super::WIDTH - 2.0 * super::MARGIN) / LEGEND_COLUMNS as f64;
    for (index, (state, bytes)) in map.totals.iter().enumerate() {
        let left = x + (index % LEGEND_COLUMNS) as f64 * column;
        let top = y + (index / LEGEND_COLUMNS) as f64 * 22.0;
        let swatch = Rectangle::new().set("x", left).set("y", top).set("width", 26).set("height", 14);
        let percent = 100.0 * *bytes as f64 / all.max(1) as f64;
        let label = format!("{}: {percent:.1} %", name(*state));
        group = group.add(swatch.set("fill", ink::fill(*state)).set("stroke", ink::QUIET).set("stroke-width", 0.6));
        group = group.add(ink::text(left + 34.0, top + 11.5, &label));
    }
    let lines = map.totals.len().div_ceil(LEGEND_COLUMNS) as f64;
    let tile = Bytes(map.cell_bytes);
    let how =
        format!("Each tile is {tile}. Inside it pages follow a Z curve: every folio is a rectangle with the area of its memory.");
    let said = ink::text(x, y + lines * 22.0 + 12.0, &how).set("fill", ink::QUIET);
    (group.add(said), lines * 22.0 + 20.0)
}

fn name(state: State) -> String {
    match state {
        State::Idle => "idle".into(),
        State::Folio(order) => format!("order {}", order.get()),
        State::Pending => "pending".into(),
        State::Block => "block".into(),
        State::Special => "special".into(),
        State::Retired => "retired".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aligned_run_is_a_rectangle() {
        for order in 0..=UNITS.ilog2() {
            for start in (0..UNITS).step_by(1 << order) {
                let (x, y) = z_curve(start);
                let (wide, high) = ((1 << order.div_ceil(2)) as f64, (1 << (order / 2)) as f64);
                for unit in start..start + (1 << order) {
                    let (across, down) = z_curve(unit);
                    assert!((x..x + wide).contains(&across) && (y..y + high).contains(&down), "{unit} of {order} at {start}");
                }
            }
        }
    }
}
