//! The works: what the rows of the table are called, what each needs, and one file per kind with the measurement itself.

pub mod bulk;
pub mod churn;
pub mod fill;
pub mod folio;
pub mod hot_pair;
pub mod metadata;
pub mod packing;
pub mod tail;
pub mod threads;

use crate::trace::{Descent, Trace, Way, shuffled};

/// Pages of 4 KiB in a GiB.
pub const GIB: u64 = 1 << 18;

/// One measurement with everything it needs worked out beforehand.
pub struct Work {
    /// The size of the pool.
    pub pages: u64,
    /// What is done in it.
    pub kind: Kind,
}

/// What can be measured.
pub enum Kind {
    /// One run of this order taken and given back.
    HotPair(u32),
    /// Mixed orders at 80 %.
    Churn(Trace),
    /// Page by page until full, then freed in this order.
    Fill(Vec<u32>),
    /// 512 pages at once.
    Bulk,
    /// Each thread its own churn.
    Threads(Box<[Trace; 2]>),
    /// One thread frees what the other allocates.
    CrossFree,
    /// Whole 2 MiB folios left after churn at [`packing::PERCENTS`].
    Packing(Descent),
    /// The slow calls of churn.
    Tail(Trace),
    /// The whole life of a folio of this order.
    Cycle(u32),
    /// Construction.
    Build,
    /// Host memory when full of single pages.
    Metadata,
}

/// How large the works are.
pub struct Scale {
    /// The pool of most works.
    pub pages: u64,
    /// Further pools to churn in.
    pub large: Vec<u64>,
    /// Steps of each churn.
    pub steps: usize,
}

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
        let mut kinds = Vec::new();
        kinds.extend([0, 4, 9, 18].map(Kind::HotPair));
        kinds.push(Kind::Churn(share(pages, 80, 1)));
        kinds.push(Kind::Fill(shuffled(pages as u32, 2)));
        kinds.push(Kind::Bulk);
        kinds.push(Kind::Threads(Box::new([share(pages, 40, 3), share(pages, 40, 4)])));
        kinds.push(Kind::CrossFree);
        let descent = |way| Descent::new(pages, &packing::PERCENTS, way, self.steps, 5);
        kinds.extend([Way::Churned, Way::Emptied].map(|way| Kind::Packing(descent(way))));
        kinds.push(Kind::Tail(share(pages, 80, 6)));
        kinds.extend([0, 9, 18].map(Kind::Cycle));
        kinds.push(Kind::Metadata);
        let mut works: Vec<Work> = kinds.into_iter().map(|kind| Work { pages, kind }).collect();
        works.extend(self.large.iter().map(|&pages| Work { pages, kind: Kind::Churn(share(pages, 80, 7)) }));
        works.push(Work { pages: 16 * 1024 * GIB, kind: Kind::Build });
        works
    }
}

impl Work {
    /// The name and the unit of each figure that this work yields.
    pub fn rows(&self) -> Vec<(String, &'static str)> {
        let size = size(self.pages);
        match &self.kind {
            Kind::HotPair(order) => vec![(format!("hot pair, order {order}"), "ns/pair")],
            Kind::Churn(_) => vec![(format!("churn at 80 %, orders 0-9, {size}"), "ns/pair")],
            Kind::Fill(_) => {
                vec![(format!("fill {size} with order 0"), "ns/page"), (format!("free {size} in random order"), "ns/page")]
            }
            Kind::Bulk => {
                vec![("bulk 512 pages, alloc".into(), "ns/page"), ("bulk 512 pages, free".into(), "ns/page")]
            }
            Kind::Threads(_) => {
                vec![("churn on 2 threads".into(), "Mop/s"), ("churn on 2 threads, against 1".into(), "x")]
            }
            Kind::CrossFree => vec![("free on another thread".into(), "Mop/s")],
            Kind::Packing(trace) => packing::PERCENTS.map(|percent| packing_row(percent, trace.way)).into(),
            Kind::Tail(_) => vec![("p99.9 of one alloc".into(), "ns"), ("p99.9 of one free".into(), "ns")],
            Kind::Cycle(order) => vec![(format!("folio cycle, order {order}"), "ns")],
            Kind::Build => vec![(format!("build {size}"), "ms")],
            Kind::Metadata => vec![("metadata, full of order 0".into(), "B/page")],
        }
    }

    /// Whether a second repetition would tell nothing new: a count that the seed fixes.
    pub fn once(&self) -> bool {
        matches!(self.kind, Kind::Packing(_) | Kind::Metadata)
    }

    /// Whether the harness without an allocator has a meaningful figure here.
    pub fn is_timing(&self) -> bool {
        !matches!(self.kind, Kind::Packing(_) | Kind::Metadata | Kind::Build | Kind::Cycle(_))
    }
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
