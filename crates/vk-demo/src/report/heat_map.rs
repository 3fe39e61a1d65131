//! Where the memory stands: one cell for each 2 MiB of the heap, and what is inside each cell.

use pgmap_alloc::{Order, Pgmap, PgmapOps, RunState};
use serde::{Deserialize, Serialize};

use super::saved_map::SavedMap;
use crate::heap::PAGE;
use crate::size::Bytes;

/// Cells in a line of text.
const WIDTH: usize = 64;
/// A larger heap gets larger cells instead of more.
pub(super) const MOST_CELLS: u64 = 1024;
/// Parts of a cell that the picture tells apart: the pages of a cell of 2 MiB.
pub(crate) const UNITS: usize = 512;

/// The state of every cell, range by range.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "SavedMap", try_from = "SavedMap")]
pub(crate) struct HeatMap {
    pub(crate) cell_bytes: u64,
    pub(crate) ranges: Vec<Cells>,
    /// Bytes in each state.
    pub(crate) totals: Vec<(State, u64)>,
}

/// The cells of one range.
#[derive(Clone, Debug)]
pub(crate) struct Cells(pub(crate) Vec<Cell>);

/// What a page can be, as the picture shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Allocatable.
    #[default]
    Idle,
    /// In service, in a folio of this order.
    Folio(Order),
    /// In a folio that is being set up or freed.
    Pending,
    /// Taken by the driver, without a folio.
    Block,
    /// Declared special.
    Special,
    /// Bad, and never handed out again.
    Retired,
}

impl State {
    /// As it is saved: a word, or `o` and the order.
    pub(super) fn word(self) -> String {
        match self {
            State::Idle => "idle".into(),
            State::Folio(order) => format!("o{}", order.get()),
            State::Pending => "pending".into(),
            State::Block => "block".into(),
            State::Special => "special".into(),
            State::Retired => "retired".into(),
        }
    }

    pub(super) fn of_word(word: &str) -> Option<State> {
        match word {
            "idle" => Some(State::Idle),
            "pending" => Some(State::Pending),
            "block" => Some(State::Block),
            "special" => Some(State::Special),
            "retired" => Some(State::Retired),
            other => Order::new(other.strip_prefix('o')?.parse().ok()?).ok().map(State::Folio),
        }
    }
}

impl From<RunState> for State {
    fn from(state: RunState) -> State {
        match state {
            RunState::Folio { refs: 0, .. } => State::Pending,
            RunState::Folio { order, .. } => State::Folio(order),
            RunState::Block => State::Block,
            RunState::Special { .. } => State::Special,
            RunState::Retired => State::Retired,
            _ => State::Idle,
        }
    }
}

/// One cell: how many pages it has, how many are taken, and what each of its units mostly is.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pages: u64,
    taken: u64,
    units: Box<[Unit; UNITS]>,
    /// Pages of a unit.
    unit_pages: u64,
    cell: Order,
}

/// The run that has the most pages in a unit gives it its state.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    state: State,
    pages: u64,
}

impl HeatMap {
    /// How it looks at this moment.
    pub(crate) fn of<O: PgmapOps>(pgmap: &Pgmap<'_, O>) -> HeatMap {
        let mut order = Order::PMD;
        while pgmap.pages() / order.pages() > MOST_CELLS {
            order = Order::covering(order.pages() + 1).unwrap_or(Order::MAX);
        }
        let mut totals: Vec<(State, u64)> = Vec::new();
        let mut runs = pgmap.snapshot().peekable();
        let mut ranges = Vec::new();
        for range in pgmap.ranges() {
            let (first, cell_pages) = (range.first.get(), order.pages());
            let cell = |start: u64| Cell::new(cell_pages.min(range.pages - start), order);
            let mut cells: Vec<Cell> = (0..range.pages).step_by(cell_pages as usize).map(cell).collect();
            // Idle pages of two ranges that touch are one run: each range takes its part of it.
            while let Some(run) = runs.peek() {
                let (start, end) = (run.start.get().max(first), run.start.get() + run.pages);
                let inside = end.min(range.end().get()).saturating_sub(start);
                let state = State::from(run.state);
                for_each_part(start - first, inside, cell_pages, |cell, at, pages| cells[cell].add(state, at, pages));
                match totals.iter_mut().find(|(known, _)| *known == state) {
                    Some((_, bytes)) => *bytes += inside * PAGE,
                    None => totals.push((state, inside * PAGE)),
                }
                if end > range.end().get() {
                    break;
                }
                runs.next();
            }
            ranges.push(Cells(cells));
        }
        totals.sort_unstable();
        HeatMap { cell_bytes: order.pages() * PAGE, ranges, totals }
    }

    /// The picture in characters, with a legend.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("The heap before the end, one cell for {}:\n", Bytes(self.cell_bytes));
        for range in &self.ranges {
            for line in range.0.chunks(WIDTH) {
                text += "  ";
                text.extend(line.iter().map(Cell::letter));
                text += "\n";
            }
        }
        text +=
            "  \u{b7} idle   \u{2581}\u{2583}\u{2585}\u{2587} split, by how full   \u{2593} split and full   \u{2588} one folio";
        text += "   B block   p pending   s special   x retired\n";
        text
    }
}

/// Calls `each` with the number of every part that a run touches, where in it the run begins, and the pages it has there.
pub(super) fn for_each_part(start: u64, pages: u64, part_pages: u64, mut each: impl FnMut(usize, u64, u64)) {
    let (mut at, end) = (start, start + pages);
    while at < end {
        let part_end = (at / part_pages + 1) * part_pages;
        each((at / part_pages) as usize, at % part_pages, part_end.min(end) - at);
        at = part_end.min(end);
    }
}

impl Cell {
    pub(super) fn new(pages: u64, cell: Order) -> Cell {
        let unit_pages = cell.pages() / UNITS as u64;
        Cell { pages, taken: 0, units: Box::new([Unit::default(); UNITS]), unit_pages, cell }
    }

    pub(super) fn add(&mut self, state: State, at: u64, pages: u64) {
        if state != State::Idle {
            self.taken += pages;
        }
        let units = &mut self.units;
        for_each_part(at, pages, self.unit_pages, |unit, _, pages| {
            if pages > units[unit].pages {
                units[unit] = Unit { state, pages };
            }
        });
    }

    /// How many of its units lie in the range: the last cell of a range may be cut short.
    pub(crate) fn units_inside(&self) -> usize {
        self.pages.div_ceil(self.unit_pages) as usize
    }

    /// What a unit mostly is.
    pub(crate) fn unit(&self, unit: usize) -> State {
        self.units[unit].state
    }

    /// The order of a unit.
    pub(crate) fn unit_order(&self) -> Order {
        Order::fitting(self.unit_pages).unwrap_or(Order::ZERO)
    }

    fn holds(&self, wanted: impl Fn(State) -> bool) -> bool {
        self.units.iter().any(|unit| wanted(unit.state))
    }

    /// Its pages, as far as they lie in the range, and those of a unit.
    pub(super) fn pages(&self) -> (u64, u64) {
        (self.pages, self.unit_pages)
    }

    pub(super) fn letter(&self) -> char {
        const LEVELS: [char; 7] = ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}'];
        let marks = [(State::Retired, 'x'), (State::Block, 'B'), (State::Special, 's'), (State::Pending, 'p')];
        if let Some((_, mark)) = marks.iter().find(|(state, _)| self.holds(|unit| unit == *state)) {
            return *mark;
        }
        match self.taken {
            0 => '\u{b7}',
            _ if self.holds(|unit| matches!(unit, State::Folio(order) if order >= self.cell)) => '\u{2588}',
            full if full == self.pages => '\u{2593}',
            taken => LEVELS[(taken * LEVELS.len() as u64 / self.pages) as usize],
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
        let ranges = [PhysRange { start: Phys(0), pages: 6 * 512 }, PhysRange { start: Phys(1 << 40), pages: 100 }];
        let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
        let at = |page, order| pgmap.request_folio(Offset::new(page), Order::new(order).unwrap()).unwrap();
        let _folios = [at(512, 9), at(1024, 8), at(1280, 8), at(1536, 8), at(2048, 0)];
        let _block = pgmap.request_block(Offset::new(2560), Order::ZERO).unwrap();
        let map = HeatMap::of(&pgmap);
        let lines: Vec<String> = map.ranges.iter().map(|range| range.0.iter().map(Cell::letter).collect()).collect();
        assert_eq!(lines, ["\u{b7}\u{2588}\u{2593}\u{2584}\u{2581}B", "\u{b7}"]);
        assert_eq!(map.cell_bytes, 2 << 20);
    }

    #[test]
    fn states_add_up_to_the_heap_and_units_show_each_folio() {
        let ranges = [PhysRange { start: Phys(0), pages: 1024 }, PhysRange { start: Phys(1 << 40), pages: 100 }];
        let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
        let order = |order| Order::new(order).unwrap();
        let _folio = pgmap.request_folio(Offset::new(512 + 8), order(3)).unwrap();
        let map = HeatMap::of(&pgmap);
        assert_eq!(map.totals, [(State::Idle, 1116 * PAGE), (State::Folio(order(3)), 8 * PAGE)]);
        let cell = &map.ranges[0].0[1];
        let taken: Vec<usize> = (0..UNITS).filter(|&unit| cell.unit(unit) != State::Idle).collect();
        assert_eq!(taken, (8..16).collect::<Vec<_>>());
        assert_eq!(map.ranges[1].0[0].units_inside(), 100);
    }

    #[test]
    fn a_large_heap_gets_larger_cells() {
        let ranges = [PhysRange { start: Phys(0), pages: 1 << 22 }];
        let pgmap = Pgmap::new(&Params::new(&ranges), ()).unwrap();
        let map = HeatMap::of(&pgmap);
        assert_eq!((map.cell_bytes, map.ranges[0].0.len()), (16 << 20, 1024));
    }
}
