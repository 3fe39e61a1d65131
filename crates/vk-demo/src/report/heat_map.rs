//! Where the memory stands: one cell for each 2 MiB of the heap.

use pgmap_alloc::{Order, Pgmap, PgmapOps, RunState};
use serde::{Serialize, Serializer};

use crate::heap::PAGE;
use crate::size::Bytes;

/// Cells in a line of text.
const WIDTH: usize = 64;
/// A larger heap gets larger cells instead of more.
const MOST_CELLS: u64 = 1024;

/// The state of every cell, range by range.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeatMap {
    cell_bytes: u64,
    ranges: Vec<Cells>,
}

/// The cells of one range.
#[derive(Clone, Debug)]
struct Cells(Vec<Cell>);

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.iter().map(|cell| cell.letter()).collect::<String>())
    }
}

/// Pages of one cell, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    pages: u64,
    /// In folios that fill the cell.
    whole: u64,
    /// In smaller folios.
    split: u64,
    block: u64,
}

impl HeatMap {
    /// How it looks at this moment.
    pub(crate) fn of<O: PgmapOps>(pgmap: &Pgmap<'_, O>) -> HeatMap {
        let mut order = Order::PMD;
        while pgmap.pages() / order.pages() > MOST_CELLS {
            order = Order::covering(order.pages() + 1).unwrap_or(Order::MAX);
        }
        let mut runs = pgmap.snapshot().peekable();
        let mut ranges = Vec::new();
        for range in pgmap.ranges() {
            let (first, cell_pages) = (range.first.get(), order.pages());
            let size = |start: u64| Cell { pages: cell_pages.min(range.pages - start), ..Cell::default() };
            let mut cells: Vec<Cell> = (0..range.pages).step_by(cell_pages as usize).map(size).collect();
            // Idle pages of two ranges that touch are one run: each range takes its part of it.
            while let Some(run) = runs.peek() {
                let (start, end) = (run.start.get().max(first), run.start.get() + run.pages);
                let inside = end.min(range.end().get()).saturating_sub(start);
                for_each_cell(start - first, inside, cell_pages, |cell, pages| cells[cell].add(run.state, pages, order));
                if end > range.end().get() {
                    break;
                }
                runs.next();
            }
            ranges.push(Cells(cells));
        }
        HeatMap { cell_bytes: order.pages() * PAGE, ranges }
    }

    /// The picture in characters, with a legend.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("The heap before the end, one cell for {}:\n", Bytes(self.cell_bytes));
        for range in &self.ranges {
            for line in range.0.chunks(WIDTH) {
                text += "  ";
                text.extend(line.iter().map(|cell| cell.letter()));
                text += "\n";
            }
        }
        text + "  \u{b7} idle   \u{2581}\u{2583}\u{2585}\u{2587} split, by how full   \u{2593} split and full   \u{2588} one folio   B block\n"
    }
}

/// Calls `each` with every cell that a run touches and the pages it has there.
fn for_each_cell(start: u64, pages: u64, cell_pages: u64, mut each: impl FnMut(usize, u64)) {
    let (mut at, end) = (start, start + pages);
    while at < end {
        let cell_end = (at / cell_pages + 1) * cell_pages;
        each((at / cell_pages) as usize, cell_end.min(end) - at);
        at = cell_end.min(end);
    }
}

impl Cell {
    fn add(&mut self, state: RunState, pages: u64, cell: Order) {
        match state {
            RunState::Folio { order, .. } if order >= cell => self.whole += pages,
            RunState::Folio { .. } => self.split += pages,
            RunState::Block => self.block += pages,
            _ => {}
        }
    }

    fn letter(self) -> char {
        const LEVELS: [char; 7] = ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}'];
        match self {
            Cell { whole: 1.., .. } => '\u{2588}',
            Cell { block: 1.., .. } => 'B',
            Cell { split: 0, .. } => '\u{b7}',
            Cell { split, pages, .. } if split == pages => '\u{2593}',
            Cell { split, pages, .. } => LEVELS[(split * LEVELS.len() as u64 / pages) as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pgmap_alloc::{Offset, Params, Phys, PhysRange};

    use super::*;

    #[test]
    fn each_state_has_its_letter() {
        let ranges = [PhysRange { start: Phys(0), pages: 5 * 512 }, PhysRange { start: Phys(1 << 40), pages: 100 }];
        let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
        let at = |page, order| pgmap.request_folio(Offset::new(page), Order::new(order).unwrap()).unwrap();
        let _folios = [at(512, 9), at(1024, 8), at(1280, 8), at(1536, 8), at(2048, 0)];
        let map = HeatMap::of(&pgmap);
        let lines: Vec<String> = map.ranges.iter().map(|range| range.0.iter().map(|cell| cell.letter()).collect()).collect();
        assert_eq!(lines, ["\u{b7}\u{2588}\u{2593}\u{2584}\u{2581}", "\u{b7}"]);
        assert_eq!(map.cell_bytes, 2 << 20);
    }

    #[test]
    fn a_large_heap_gets_larger_cells() {
        let ranges = [PhysRange { start: Phys(0), pages: 1 << 22 }];
        let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
        let map = HeatMap::of(&pgmap);
        assert_eq!((map.cell_bytes, map.ranges[0].0.len()), (16 << 20, 1024));
    }
}
