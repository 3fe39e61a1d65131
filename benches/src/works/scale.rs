//! How large the works are, and which there are.

use std::rc::Rc;

use super::alternating::{self, Wanted};
use super::metadata::State;
use super::{By, GIB, Kind, Work, packing, wishing};
use crate::trace::{Descent, Trace, Way, shuffled};

/// How large the works are.
pub struct Scale {
    /// The pool of most works.
    pub pages: u64,
    /// Further pools to churn in.
    pub large: Vec<u64>,
    /// Steps of each churn.
    pub steps: usize,
}

/// The orders of the hot pair: a page, 64 KiB, 2 MiB, 1 GiB.
pub(crate) const HOT_ORDERS: [u32; 4] = [0, 4, 9, 18];
/// The orders of the folio cycle.
pub(crate) const CYCLE_ORDERS: [u32; 3] = [0, 9, 18];
/// The occupancies at which the tail is measured.
pub(crate) const TAIL_PERCENTS: [u64; 4] = [1, 50, 80, 95];
/// The pool whose construction is measured.
pub(crate) const BUILT: u64 = 16 * 1024 * GIB;

impl Scale {
    /// For figures that are to be kept.
    pub fn full() -> Scale {
        Scale { pages: 16 * GIB, large: vec![256 * GIB, 4096 * GIB], steps: 4_000_000 }
    }

    /// For a look, within a minute.
    pub fn quick() -> Scale {
        Scale { pages: 16 * GIB, large: vec![256 * GIB], steps: 400_000 }
    }

    /// Every row of the table, in its order.
    pub fn works(&self) -> Vec<Work> {
        let pages = self.pages;
        let share = |pages: u64, percent: u64, seed: u64| Trace::churn(pages * percent / 100, self.steps, seed);
        let mut works = Vec::new();
        let mut add = |by, pages, kind| works.push(Work { pages, kind, by });

        let (churn, order) = (Rc::new(share(pages, 80, 1)), Rc::from(shuffled(pages as u32, 2)));
        for by in [By::All, By::Mutexed] {
            HOT_ORDERS.into_iter().for_each(|order| add(by, pages, Kind::HotPair(order)));
            add(by, pages, Kind::Churn(80, Rc::clone(&churn)));
            add(by, pages, Kind::Fill(Rc::clone(&order)));
        }
        for trace in [None, Some(churn)] {
            add(By::All, pages, Kind::Bulk(trace.clone()));
            add(By::All, pages, Kind::BulkWords(trace));
        }
        for wanted in [Wanted::Whole, Wanted::Pieces, Wanted::ClearedFirst] {
            add(By::All, alternating::PAGES, Kind::Alternating(wanted));
        }
        for order in wishing::ORDERS {
            wishing::PERCENTS.into_iter().for_each(|percent| add(By::All, GIB << (order / 2), Kind::Wishing(order, percent)));
        }
        add(By::All, pages, Kind::Threads(Box::new([share(pages, 40, 3), share(pages, 40, 4)])));
        add(By::All, pages, Kind::CrossFree);
        for way in [Way::Churned, Way::Emptied] {
            let descents = packing::SEEDS.map(|seed| Descent::new(pages, &packing::PERCENTS, way, self.steps, seed));
            add(By::All, pages, Kind::Packing(descents.into()));
        }
        TAIL_PERCENTS.into_iter().for_each(|percent| add(By::All, pages, Kind::Tail(percent, share(pages, percent, 6))));
        CYCLE_ORDERS.into_iter().for_each(|order| add(By::All, pages, Kind::Cycle(order)));
        add(By::All, pages, Kind::Metadata(State::Full));
        add(By::All, pages, Kind::Metadata(State::Part));
        for &pages in &self.large {
            add(By::All, pages, Kind::HotPair(0));
            add(By::All, pages, Kind::Churn(80, Rc::new(share(pages, 80, 7))));
        }
        add(By::All, BUILT, Kind::Build);
        add(By::All, BUILT, Kind::Metadata(State::Built));
        works
    }
}
