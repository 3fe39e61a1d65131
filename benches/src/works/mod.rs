//! The works: what the rows of the table are called, what each needs, and one file per kind with the measurement itself.

pub mod alternating;
pub mod bulk;
pub mod churn;
pub mod fill;
pub mod folio;
pub mod hot_pair;
pub mod metadata;
pub mod packing;
mod scale;
pub mod tail;
pub mod threads;
pub mod wishing;

use std::rc::Rc;

pub use scale::Scale;
pub(crate) use scale::{BUILT, CYCLE_ORDERS, HOT_ORDERS, TAIL_PERCENTS};

use crate::trace::{Descent, Trace, Way};
use alternating::Wanted;
use metadata::State;

/// Pages of 4 KiB in a GiB.
pub const GIB: u64 = 1 << 18;

/// What the names of rows end in that only the peers behind a mutex have.
pub const MUTEXED: &str = ", behind a mutex";

/// One measurement with everything it needs worked out beforehand.
pub struct Work {
    /// The size of the pool.
    pub pages: u64,
    /// What is done in it.
    pub kind: Kind,
    /// Who does it.
    pub by: By,
}

/// Who does a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Everyone; the unsynchronised peers take their mutex only where the work has several threads.
    All,
    /// Only the unsynchronised peers, behind the mutex that they need among threads, though nobody else is there.
    Mutexed,
}

/// What can be measured.
pub enum Kind {
    /// One run of this order taken and given back.
    HotPair(u32),
    /// Mixed orders at an occupancy in percent.
    Churn(u64, Rc<Trace>),
    /// Page by page until full, then freed in this order.
    Fill(Rc<[u32]>),
    /// 512 pages at once as a list, in a pool with a page taken, or after a churn at 80 %.
    Bulk(Option<Rc<Trace>>),
    /// The same by the word.
    BulkWords(Option<Rc<Trace>>),
    /// 4 GiB that came back half cleared, half dirty, and then this.
    Alternating(Wanted),
    /// Runs of this order wished for, where so many in a hundred are cleared.
    Wishing(u32, u64),
    /// Each thread its own churn.
    Threads(Box<[Trace; 2]>),
    /// One thread frees what the other allocates.
    CrossFree,
    /// Whole 2 MiB folios left after churn at [`packing::PERCENTS`].
    Packing(Box<[Descent]>),
    /// The slow calls of churn at an occupancy in percent.
    Tail(u64, Trace),
    /// The whole life of a folio of this order.
    Cycle(u32),
    /// Construction.
    Build,
    /// Host memory in this state.
    Metadata(State),
}

impl Work {
    /// The name and the unit of each figure that this work yields.
    pub fn rows(&self) -> Vec<(String, &'static str)> {
        let mut rows = self.kind.rows(self.pages);
        if self.by == By::Mutexed {
            rows.iter_mut().for_each(|(name, _)| name.push_str(MUTEXED));
        }
        rows
    }

    /// Whether a second repetition would tell nothing new: a count that the seed fixes.
    pub fn once(&self) -> bool {
        matches!(self.kind, Kind::Packing(_) | Kind::Metadata(_))
    }

    /// Whether the harness without an allocator has a meaningful figure here.
    pub fn is_timing(&self) -> bool {
        !self.once() && !matches!(self.kind, Kind::Build | Kind::Cycle(_))
    }
}

impl Kind {
    fn rows(&self, pages: u64) -> Vec<(String, &'static str)> {
        let size = size(pages);
        match self {
            Kind::HotPair(order) => vec![(format!("hot pair, order {order}, {size}"), "ns/pair")],
            Kind::Churn(percent, _) => vec![(churn_row(*percent, pages), "ns/pair")],
            Kind::Fill(_) => {
                vec![(format!("fill {size} with order 0"), "ns/page"), (format!("free {size} in random order"), "ns/page")]
            }
            Kind::Bulk(trace) => bulk_rows("", trace.is_some()),
            Kind::BulkWords(trace) => bulk_rows(" by the word", trace.is_some()),
            Kind::Alternating(wanted) => alternating_rows(*wanted),
            Kind::Wishing(order, percent) => vec![(format!("cleared wished for, order {order}, {percent} % are"), "x plain")],
            Kind::Threads(_) => {
                vec![("churn on 2 threads".into(), "Mop/s"), ("churn on 2 threads, against 1".into(), "x")]
            }
            Kind::CrossFree => vec![("free on another thread".into(), "Mop/s")],
            Kind::Packing(descents) => {
                let way = descents.first().map_or(Way::Emptied, |descent| descent.way);
                packing::PERCENTS.map(|percent| packing_row(percent, way)).into()
            }
            Kind::Tail(percent, _) => ["alloc", "free"].map(|call| (format!("p99.9 of one {call} at {percent} %"), "ns")).into(),
            Kind::Cycle(order) => vec![(format!("folio cycle, order {order}"), "ns")],
            Kind::Build => vec![(format!("build {size}"), "ms")],
            Kind::Metadata(State::Full) => vec![("metadata, full of order 0".into(), "B/page")],
            Kind::Metadata(State::Part) => vec![("metadata, for a sixteenth in order 0".into(), "B/page taken")],
            Kind::Metadata(State::Built) => vec![(format!("metadata, {size} just built"), "KiB")],
        }
    }
}

fn bulk_rows(form: &str, churned: bool) -> Vec<(String, &'static str)> {
    let place = if churned { " in a churned pool" } else { "" };
    ["alloc", "free"].map(|way| (format!("bulk 512 pages{form}{place}, {way}"), "ns/page")).into()
}

fn alternating_rows(wanted: Wanted) -> Vec<(String, &'static str)> {
    let pieces = match wanted {
        Wanted::Whole => return vec![("4 GiB alternating clear/dirty: one of 4 GiB".into(), "ns")],
        Wanted::Pieces => "16384 x 256 KiB",
        Wanted::ClearedFirst => "16384 x 256 KiB, cleared first",
    };
    ["alloc", "free"].map(|way| (format!("4 GiB alternating clear/dirty: {pieces}, {way}"), "ns/piece")).into()
}

/// What the row of a churn is called.
pub fn churn_row(percent: u64, pages: u64) -> String {
    format!("churn at {percent} %, orders 0-9, {}", size(pages))
}

fn packing_row(percent: u64, way: Way) -> (String, &'static str) {
    let how = match way {
        Way::Churned => "churned there",
        Way::Emptied => "emptied from 80 %",
    };
    (format!("2 MiB left at {percent} %, {how}"), "% of ideal")
}

/// A pool's size for the name of a row.
pub fn size(pages: u64) -> String {
    if pages.is_multiple_of(GIB << 10) { format!("{} TiB", pages / (GIB << 10)) } else { format!("{} GiB", pages / GIB) }
}
