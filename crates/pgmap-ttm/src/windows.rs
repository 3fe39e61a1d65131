//! Where a run could be made free: every window of a stretch that others could be moved out of, the cheapest first.
//!
//! A window has a price: whether anyone in it has a low share, the highest rank of those in it, how many pages they have to move, how
//! many they are, and last how lately one of them was used. So a window is taken from objects of low priority before one is taken from objects of high priority, whatever their
//! number, as in the lists.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::bo::Rank;
use crate::segment::Pages;

/// Consecutive pages that are free, or will be, or that an object could leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) span: Pages,
    /// Who has to go first; none if nobody.
    pub(crate) holder: Option<usize>,
}

impl Cell {
    /// The part of it that lies in a stretch.
    pub(crate) fn within(&self, stretch: &Pages) -> Option<Cell> {
        let span = self.span.start.max(stretch.start)..self.span.end.min(stretch.end);
        (!span.is_empty()).then_some(Cell { span, ..*self })
    }

    pub(crate) fn meets(&self, window: &Pages) -> bool {
        self.span.start < window.end && window.start < self.span.end
    }
}

/// What it takes to move an object away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Toll {
    pub(crate) low_share: bool,
    pub(crate) rank: Rank,
    /// Pages to copy.
    pub(crate) pages: u64,
    /// When it was used last.
    pub(crate) used: u64,
}

/// What it takes to empty a window; the order is that of preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Price {
    low_share: bool,
    /// One more than the highest rank; 0 if nobody has to go.
    rank: usize,
    pages: u64,
    objects: usize,
    /// When the last of them was used.
    used: u64,
}

/// What those in a window add up to, as it slides along.
#[derive(Default)]
struct Sum {
    /// How many cells of each object are in the window.
    cells: BTreeMap<usize, usize>,
    low_shares: usize,
    ranks: [usize; Rank::LEVELS],
    pages: u64,
    /// When each was used last, and by which key.
    used: BTreeSet<(u64, usize)>,
}

impl Sum {
    fn enter(&mut self, holder: Option<usize>, tolls: &BTreeMap<usize, Toll>) {
        let Some((key, toll)) = holder.and_then(|key| Some((key, tolls.get(&key)?))) else { return };
        let cells = self.cells.entry(key).or_default();
        *cells += 1;
        if *cells == 1 {
            self.low_shares += usize::from(toll.low_share);
            self.ranks[toll.rank.index()] += 1;
            self.pages += toll.pages;
            self.used.insert((toll.used, key));
        }
    }

    fn leave(&mut self, holder: Option<usize>, tolls: &BTreeMap<usize, Toll>) {
        let Some((key, toll)) = holder.and_then(|key| Some((key, tolls.get(&key)?))) else { return };
        let Some(cells) = self.cells.get_mut(&key) else { return };
        *cells -= 1;
        if *cells == 0 {
            self.cells.remove(&key);
            self.low_shares -= usize::from(toll.low_share);
            self.ranks[toll.rank.index()] -= 1;
            self.pages -= toll.pages;
            self.used.remove(&(toll.used, key));
        }
    }

    fn price(&self) -> Price {
        let rank = self.ranks.iter().rposition(|objects| *objects > 0).map_or(0, |rank| rank + 1);
        let used = self.used.last().map_or(0, |(used, _)| *used);
        Price { low_share: self.low_shares > 0, rank, pages: self.pages, objects: self.cells.len(), used }
    }
}

/// The windows of `pages` pages that can be emptied, with where they begin, the cheapest first; every place where a cheapest one
/// can begin is among them. With `aligned`, those that begin at a multiple of their length.
///
/// The cells come in order and do not overlap; a window never reaches across a hole between them. O(n log n) for n cells, and with
/// `aligned` for n cells and windows.
pub(crate) fn cheapest(cells: &[Cell], pages: u64, aligned: bool, tolls: &BTreeMap<usize, Toll>) -> Vec<(Price, u64)> {
    let mut found = Vec::new();
    for island in cells.chunk_by(|before, cell| before.span.end == cell.span.start) {
        let (Some(first), Some(last)) = (island.first(), island.last()) else { continue };
        let shore = first.span.start..last.span.end;
        let mut sum = Sum::default();
        let (mut entered, mut left) = (0, 0);
        for start in starts(island, &shore, pages, aligned) {
            while let Some(cell) = island.get(entered).filter(|cell| cell.span.start < start + pages) {
                sum.enter(cell.holder, tolls);
                entered += 1;
            }
            while let Some(cell) = island.get(left).filter(|cell| cell.span.end <= start) {
                sum.leave(cell.holder, tolls);
                left += 1;
            }
            found.push((sum.price(), start));
        }
    }
    found.sort_unstable();
    found
}

/// Where windows begin, in order: a window that begins and ends in the middle of cells can be pushed along to the border of one
/// without meeting anyone else.
fn starts(island: &[Cell], shore: &Pages, pages: u64, aligned: bool) -> Vec<u64> {
    let fits = |start: &u64| shore.start <= *start && start.checked_add(pages).is_some_and(|end| end <= shore.end);
    if aligned {
        let first = shore.start.div_ceil(pages);
        return (first..shore.end / pages).map(|n| n * pages).collect();
    }
    let borders = island.iter().flat_map(|cell| [Some(cell.span.start), cell.span.end.checked_sub(pages)]);
    let mut starts: Vec<u64> = borders.flatten().filter(fits).collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bo::{Keeping, Priority};

    fn toll(priority: Priority, pages: u64) -> Toll {
        Toll { low_share: false, rank: Rank::of(priority, Keeping::Needed), pages, used: 0 }
    }

    #[test]
    fn req_54_of_windows_that_cost_the_same_the_one_used_least_lately_is_emptied() {
        let cells: Vec<Cell> = (0..4).map(|key| Cell { span: key as u64 * 4..key as u64 * 4 + 4, holder: Some(key) }).collect();
        let used = [7, 3, 9, 5];
        let tolls = (0..4).map(|key| (key, Toll { used: used[key], ..toll(Priority::Normal, 4) })).collect();
        let order: Vec<u64> = cheapest(&cells, 4, true, &tolls).into_iter().map(|(_, first)| first / 4).collect();
        assert_eq!(order, [1, 3, 0, 2]);
    }

    /// Against the slowest search there is: every start, every cell.
    #[test]
    fn req_74_the_cheapest_window_is_the_cheapest() {
        let mut random = 1u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for _ in 0..2000 {
            let (mut cells, mut at) = (Vec::new(), 0);
            for _ in 0..next(12) {
                let (hole, length) = (next(3).saturating_sub(1), 1 + next(6));
                let holder = (next(4) > 0).then(|| next(6) as usize);
                cells.push(Cell { span: at + hole..at + hole + length, holder });
                at += hole + length;
            }
            let priorities = [Priority::Low, Priority::Normal, Priority::High];
            let tolls: BTreeMap<usize, Toll> =
                (0..6).map(|key| (key, Toll { low_share: next(5) == 0, ..toll(priorities[next(3) as usize], next(9)) })).collect();
            let pages = 1 << next(4);
            for aligned in [false, true] {
                let slow = |start: u64| {
                    let page = |page: u64| cells.iter().find(|cell| cell.span.contains(&page));
                    let holders: Option<Vec<_>> = (start..start + pages).map(|p| page(p).map(|cell| cell.holder)).collect();
                    let mut keys: Vec<usize> = holders?.into_iter().flatten().collect();
                    keys.sort_unstable();
                    keys.dedup();
                    let mut sum = Sum::default();
                    keys.iter().for_each(|key| sum.enter(Some(*key), &tolls));
                    Some(sum.price())
                };
                let starts = (0..at).filter(|start| !aligned || start % pages == 0);
                let best = starts.filter_map(slow).min();
                let found = cheapest(&cells, pages, aligned, &tolls);
                assert_eq!(found.first().map(|(price, _)| *price), best, "{cells:?} {pages} {aligned}");
                assert!(found.iter().all(|(price, start)| slow(*start) == Some(*price)));
            }
        }
    }

    #[test]
    fn req_74_a_low_priority_goes_before_a_high_one_whatever_its_size() {
        let cells = [Cell { span: 0..8, holder: Some(1) }, Cell { span: 9..17, holder: Some(2) }];
        let tolls = BTreeMap::from([(1, toll(Priority::High, 8)), (2, toll(Priority::Low, 500))]);
        assert_eq!(cheapest(&cells, 8, false, &tolls)[0].1, 9);
    }
}
