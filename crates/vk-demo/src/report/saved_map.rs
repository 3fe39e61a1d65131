//! A heat map as it is saved: for people a character for each cell, and for a picture that is drawn anew what each part of it is.

use pgmap_alloc::Order;
use serde::{Deserialize, Serialize};

use super::heat_map::{MOST_CELLS, for_each_part};
use super::{Cell, Cells, HeatMap, State};
use crate::heap::PAGE;

/// In JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedMap {
    cell_bytes: u64,
    /// A character for each cell.
    ranges: Vec<String>,
    /// Runs of one state one after another, as `state:pages`, as finely as the picture shows them.
    runs: Vec<String>,
    totals: Vec<Total>,
}

#[derive(Serialize, Deserialize)]
struct Total {
    state: String,
    bytes: u64,
}

impl From<HeatMap> for SavedMap {
    fn from(map: HeatMap) -> SavedMap {
        let HeatMap { cell_bytes, ranges, totals } = map;
        SavedMap {
            cell_bytes,
            ranges: ranges.iter().map(|range| range.0.iter().map(Cell::letter).collect()).collect(),
            runs: ranges.iter().map(runs).collect(),
            totals: totals.into_iter().map(|(state, bytes)| Total { state: state.word(), bytes }).collect(),
        }
    }
}

/// The runs of a range.
fn runs(range: &Cells) -> String {
    let mut runs: Vec<(State, u64)> = Vec::new();
    for cell in &range.0 {
        let (pages, of_unit) = cell.pages();
        for unit in 0..cell.units_inside() {
            let (state, pages) = (cell.unit(unit), of_unit.min(pages - unit as u64 * of_unit));
            match runs.last_mut() {
                Some((last, so_far)) if *last == state => *so_far += pages,
                _ => runs.push((state, pages)),
            }
        }
    }
    runs.into_iter().map(|(state, pages)| format!("{}:{pages}", state.word())).collect::<Vec<_>>().join(" ")
}

impl TryFrom<SavedMap> for HeatMap {
    type Error = String;

    fn try_from(saved: SavedMap) -> Result<HeatMap, String> {
        let SavedMap { cell_bytes, runs, totals, .. } = saved;
        let order = Order::fitting(cell_bytes / PAGE).filter(|order| order.pages() * PAGE == cell_bytes && *order >= Order::PMD);
        let order = order.ok_or("a cell has a size that no cell has")?;
        // One cell more for each range that ends in the middle of one.
        let mut left = 2 * MOST_CELLS;
        let ranges = runs.iter().map(|runs| cells(runs, order, &mut left)).collect::<Result<_, _>>()?;
        let state = |word: &str| State::of_word(word).ok_or(format!("{word:?} is no state of memory"));
        let totals = totals.iter().map(|total| Ok((state(&total.state)?, total.bytes))).collect::<Result<_, String>>()?;
        Ok(HeatMap { cell_bytes, ranges, totals })
    }
}

/// The cells of a range of these runs; `left` is how many there may be.
fn cells(runs: &str, order: Order, left: &mut u64) -> Result<Cells, String> {
    let read = |run: &str| {
        let (state, pages) = run.split_once(':')?;
        Some((State::of_word(state)?, pages.parse::<u64>().ok()?))
    };
    let runs: Vec<(State, u64)> =
        runs.split_whitespace().map(|run| read(run).ok_or(format!("{run:?} is no run of memory"))).collect::<Result<_, _>>()?;
    let pages = runs.iter().try_fold(0u64, |sum, (_, pages)| sum.checked_add(*pages)).ok_or("too many pages")?;
    *left = left.checked_sub(pages.div_ceil(order.pages())).ok_or("too many cells")?;
    let cell = |start: u64| Cell::new(order.pages().min(pages - start), order);
    let mut cells: Vec<Cell> = (0..pages).step_by(order.pages() as usize).map(cell).collect();
    let mut at = 0;
    for (state, pages) in runs {
        for_each_part(at, pages, order.pages(), |cell, at, pages| cells[cell].add(state, at, pages));
        at += pages;
    }
    Ok(Cells(cells))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pgmap_alloc::{Offset, Params, Pgmap, Phys, PhysRange};

    use super::*;

    #[test]
    fn req_82_a_map_that_was_saved_is_the_same_when_it_is_read() {
        let ranges = [PhysRange { start: Phys(0), pages: 3 * 512 }, PhysRange { start: Phys(1 << 40), pages: 100 }];
        let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
        let _folios = [(512, 9), (8, 3), (16, 0)]
            .map(|(page, order)| pgmap.request_folio(Offset::new(page), Order::new(order).unwrap()).unwrap());
        let _block = pgmap.request_block(Offset::new(1024), Order::ZERO).unwrap();
        let map = HeatMap::of(&pgmap);
        let saved = serde_json::to_value(&map).unwrap();
        assert_eq!(saved["runs"][0], "idle:8 o3:8 o0:1 idle:495 o9:512 block:1 idle:511");
        assert_eq!(saved["totals"][0], serde_json::json!({"state": "idle", "bytes": (8 + 495 + 511 + 100) * PAGE}));
        let read: HeatMap = serde_json::from_value(saved.clone()).unwrap();
        assert_eq!((serde_json::to_value(&read).unwrap(), read.totals), (saved, map.totals));
    }

    #[test]
    fn req_82_a_map_that_cannot_be_is_refused() {
        let read = |cell_bytes: u64, run: &str| {
            let saved = serde_json::json!({"cell_bytes": cell_bytes, "ranges": [], "runs": [run], "totals": []});
            serde_json::from_value::<HeatMap>(saved).map_err(|error| error.to_string())
        };
        assert!(read(2 << 20, "idle:5").is_ok());
        let many = format!("idle:{}", u64::MAX);
        for (cell_bytes, run, why) in [
            (2 << 20, "idle", "no run"),
            (2 << 20, "o99:4", "no run"),
            (2 << 20, "idle:-1", "no run"),
            (2 << 20, many.as_str(), "too many cells"),
            (3 << 20, "idle:5", "no cell has"),
            (4096, "idle:5", "no cell has"),
        ] {
            assert!(read(cell_bytes, run).unwrap_err().contains(why), "{run}");
        }
    }
}
