//! The targets P1 to P11: what each asks of which row, and whether a run meets it.

use serde::Serialize;

use crate::peer::Peer;
use crate::peers::floor::Floor;
use crate::peers::nothing::Nothing;
use crate::peers::ours::{FolioHandle, Folios, Pool, PoolHandle, Tight};
use crate::peers::per_cpu::{FoliosPerCpu, PoolPerCpu};
use crate::report::Row;
use crate::works::packing::PERCENTS;
use crate::works::{BUILT, CYCLE_ORDERS, HOT_ORDERS, MUTEXED, Scale, TAIL_PERCENTS, churn_row, size};

/// One demand on one figure of ours.
pub struct Target {
    id: &'static str,
    work: String,
    by: &'static str,
    limit: Limit,
}

/// What is asked.
enum Limit {
    /// The figure itself. A time is one on the machine that the targets were set on.
    Itself(f64),
    /// To be this many times better than the best of all peers.
    Best(f64),
    /// To be this many times better than this peer.
    Peer(f64, &'static str),
    /// To be this many times better than the best of the peers that threads can share.
    ThreadSafe(f64),
    /// To be at most this much above the harness alone.
    OverHarness(f64),
    /// To be at most this many times our own figure for another work.
    Within(f64, String),
    /// To have grown since this smaller work by no more than this floor: the harness alone, or with the least that an allocator
    /// can do.
    GrownAs(&'static str, String),
}

/// A target beside what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// P1 to P11.
    pub id: &'static str,
    /// The row.
    pub work: String,
    /// Which of ours.
    pub by: &'static str,
    /// Our median.
    pub figure: f64,
    /// What is asked, in words.
    pub target: String,
    /// The best peer in this run, if another can do this at all.
    pub rival: Option<&'static str>,
    /// How many times better than that peer ours is.
    pub times_better: Option<f64>,
    /// Whether the target is met.
    pub met: bool,
}

const HANDLE: &str = PoolHandle::NAME;
const SHARED: &str = Pool::NAME;
/// The same, built to pack as tightly as it can.
const TIGHT: &str = Tight::NAME;
const PER_CPU: &str = PoolPerCpu::NAME;
/// What any thread can do at any time.
const ANY_THREAD: [&str; 2] = [PER_CPU, SHARED];
const FOLIO: &str = FolioHandle::NAME;
/// Who is no rival.
const OURS: [&str; 9] = [HANDLE, PER_CPU, SHARED, TIGHT, FOLIO, FoliosPerCpu::NAME, Folios::NAME, Floor::NAME, Nothing::NAME];

/// Every target, for a run of this scale.
pub fn all(scale: &Scale) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut ask = |id, work: &str, by, limit| targets.push(Target { id, work: work.into(), by, limit });
    let here = size(scale.pages);
    let hot = |order| format!("hot pair, order {order}, {here}");
    for order in HOT_ORDERS {
        ask("P1", &hot(order), HANDLE, Limit::Itself(2.0));
        ask("P1", &hot(order), HANDLE, Limit::Peer(5.0, "offset-allocator"));
    }
    for by in ANY_THREAD {
        for order in HOT_ORDERS {
            ask("P2", &hot(order), by, Limit::Itself(20.0));
            ask("P2", &hot(order), by, Limit::ThreadSafe(1.0));
        }
    }
    let churn = |pages| churn_row(80, pages);
    ask("P3", &churn(scale.pages), HANDLE, Limit::Itself(15.0));
    ask("P3", &churn(scale.pages), HANDLE, Limit::Best(1.0));
    for by in ANY_THREAD {
        ask("P3", &churn(scale.pages), by, Limit::Itself(40.0));
        ask("P3", &churn(scale.pages), by, Limit::ThreadSafe(1.0));
    }
    for (work, limit) in [(format!("fill {here} with order 0"), 2.0), (format!("free {here} in random order"), 8.0)] {
        ask("P4", &work, HANDLE, Limit::Itself(limit));
        for by in ANY_THREAD {
            ask("P4", &work, by, Limit::ThreadSafe(2.0));
        }
    }
    for (work, limit) in [("churn on 2 threads", 150.0), ("free on another thread", 100.0)] {
        ask("P5", work, HANDLE, Limit::Itself(limit));
        ask("P5", work, HANDLE, Limit::Best(4.0));
    }
    ask("P5", "churn on 2 threads, against 1", HANDLE, Limit::Itself(1.7));
    for (percent, (shared, handle)) in PERCENTS.into_iter().zip([(95.0, 93.0), (91.0, 89.0), (90.0, 88.0)]) {
        let work = format!("2 MiB left at {percent} %, churned there");
        for by in [SHARED, TIGHT] {
            ask("P6", &work, by, Limit::Itself(shared));
            ask("P6", &work, by, Limit::Best(1.0));
        }
        for by in [HANDLE, PER_CPU] {
            ask("P6", &work, by, Limit::Itself(handle));
        }
    }
    for way in ["alloc", "free"] {
        for form in ["", " by the word"] {
            for by in [HANDLE, SHARED] {
                ask("P7", &format!("bulk 512 pages{form}, {way}"), by, Limit::Itself(0.6));
            }
        }
    }
    for &pages in &scale.large {
        ask("P8", &format!("hot pair, order 0, {}", size(pages)), HANDLE, Limit::Within(1.2, hot(0)));
        for by in [HANDLE, PER_CPU, SHARED] {
            for floor in [Nothing::NAME, Floor::NAME] {
                ask("P8", &churn(pages), by, Limit::GrownAs(floor, churn(scale.pages)));
            }
        }
    }
    // What every pool has, however small: the top level, and what is not tables.
    let fixed = 64.0 * 1024.0;
    let full = |per_page: f64| Limit::Itself(((per_page + fixed / scale.pages as f64) * 1e3).round() / 1e3);
    for by in [HANDLE, SHARED] {
        ask("P9", &format!("metadata, {} just built", size(BUILT)), by, Limit::Itself(fixed / 1024.0));
        ask("P9", "metadata, full of order 0", by, full(0.14));
    }
    // The words, and the tables; of a part also the last page of each array.
    ask("P9", "metadata, full of order 0", FOLIO, full(8.14));
    ask("P9", "metadata, for a sixteenth in order 0", FOLIO, Limit::Itself(8.2));
    let cycle = |order| format!("folio cycle, order {order}");
    ask("P10", &cycle(CYCLE_ORDERS[0]), FOLIO, Limit::Itself(30.0));
    for order in &CYCLE_ORDERS[1..] {
        ask("P10", &cycle(*order), FOLIO, Limit::Within(1.2, cycle(CYCLE_ORDERS[0])));
    }
    for (call, limit) in [("alloc", 150.0), ("free", 200.0)] {
        let tail = |percent| format!("p99.9 of one {call} at {percent} %");
        for percent in TAIL_PERCENTS {
            ask("P11", &tail(percent), HANDLE, Limit::OverHarness(limit));
        }
        ask("P11", &tail(TAIL_PERCENTS[3]), HANDLE, Limit::Within(1.5, tail(TAIL_PERCENTS[0])));
    }
    targets
}

/// What a run says to the targets; those whose rows it has not are left out.
pub fn verdicts(targets: &[Target], rows: &[Row]) -> Vec<Verdict> {
    targets.iter().filter_map(|target| target.verdict(&Rows(rows))).collect()
}

impl Target {
    fn verdict(&self, rows: &Rows<'_>) -> Option<Verdict> {
        let ours = rows.find(&self.work, self.by)?;
        let mutexed = format!("{}{MUTEXED}", self.work);
        let rival = match self.limit {
            Limit::Peer(_, peer) => Some(rows.find(&self.work, peer)?),
            // Where there is no such row, the row itself is one of several threads.
            Limit::ThreadSafe(_) => rows.best(&mutexed).or_else(|| rows.best(&self.work)),
            _ => rows.best(&self.work),
        };
        let times_better = rival.map(|rival| times_better(ours, rival));
        let (target, met) = self.judge(ours, times_better, rows)?;
        let (id, work, by) = (self.id, self.work.clone(), self.by);
        Some(Verdict { id, work, by, figure: ours.median, target, rival: rival.map(|rival| rival.peer), times_better, met })
    }

    /// The target in words, and whether it is met; `None` if the run has not what it needs.
    fn judge(&self, ours: &Row, times_better: Option<f64>, rows: &Rows<'_>) -> Option<(String, bool)> {
        let figure = ours.median;
        Some(match &self.limit {
            Limit::Itself(limit) if more_is_better(ours) => (format!("at least {limit}"), figure >= *limit),
            Limit::Itself(limit) => (format!("at most {limit}"), figure <= *limit),
            Limit::Best(times) => (format!("{times} x the best"), times_better? >= *times),
            Limit::Peer(times, peer) => (format!("{times} x {peer}"), times_better? >= *times),
            Limit::ThreadSafe(times) => (format!("{times} x the best for threads"), times_better? >= *times),
            Limit::OverHarness(limit) => {
                let over = figure - rows.find(&self.work, Nothing::NAME)?.median;
                (format!("at most {limit} over the harness: is {over:.0}"), over <= *limit)
            }
            Limit::Within(times, other) => {
                let other = rows.find(other, self.by)?;
                (format!("at most {times} x {}: is {:.2}", other.work, figure / other.median), figure <= times * other.median)
            }
            Limit::GrownAs(floor, small) => {
                let grown = |by| Some(rows.find(&self.work, by)?.median - rows.find(small, by)?.median);
                let (ours, floors) = (grown(self.by)?, grown(floor)?);
                (format!("grown at most as {floor}, {floors:.1}: is {ours:.1}"), ours <= floors)
            }
        })
    }
}

struct Rows<'r>(&'r [Row]);

impl<'r> Rows<'r> {
    fn find(&self, work: &str, peer: &str) -> Option<&'r Row> {
        self.0.iter().find(|row| row.work == work && row.peer == peer)
    }

    /// The best figure that is not ours.
    fn best(&self, work: &str) -> Option<&'r Row> {
        let theirs = self.0.iter().filter(|row| row.work == work && !OURS.contains(&row.peer));
        theirs.reduce(|best, row| if times_better(row, best) > 1.0 { row } else { best })
    }
}

fn times_better(row: &Row, than: &Row) -> f64 {
    if more_is_better(row) { row.median / than.median } else { than.median / row.median }
}

fn more_is_better(row: &Row) -> bool {
    matches!(row.unit, "Mop/s" | "x" | "% of ideal")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(work: &str, unit: &'static str, peer: &'static str, median: f64) -> Row {
        Row { work: work.into(), unit, peer, min: median, median, reps: 1 }
    }

    fn met(limit: Limit, rows: &[Row]) -> Option<bool> {
        let target = Target { id: "P0", work: "w".into(), by: HANDLE, limit };
        target.verdict(&Rows(rows)).map(|verdict| verdict.met)
    }

    #[test]
    fn every_target_names_rows_that_a_run_has() {
        let scale = Scale { pages: crate::works::GIB, large: vec![2 * crate::works::GIB], steps: 10 };
        let rows: Vec<Row> = scale
            .works()
            .iter()
            .flat_map(crate::works::Work::rows)
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|(work, unit)| {
                [HANDLE, PER_CPU, SHARED, TIGHT, FOLIO, Floor::NAME, Nothing::NAME, "offset-allocator"]
                    .map(|peer| row(&work, unit, peer, 1.0))
            })
            .collect();
        let targets = all(&scale);
        assert_eq!(verdicts(&targets, &rows).len(), targets.len());
        assert!((1..=11).all(|number| targets.iter().any(|target| target.id == format!("P{number}"))));
    }

    #[test]
    fn a_limit_is_met_or_missed() {
        let ns = |peer, median| row("w", "ns/pair", peer, median);
        let ours = [ns(HANDLE, 10.0), ns("a", 40.0), ns("b", 30.0), ns(Nothing::NAME, 4.0), row("v", "ns/pair", HANDLE, 9.0)];
        assert_eq!(met(Limit::Itself(10.0), &ours), Some(true));
        assert_eq!(met(Limit::Itself(9.9), &ours), Some(false));
        assert_eq!(met(Limit::Best(3.0), &ours), Some(true));
        assert_eq!(met(Limit::Best(3.1), &ours), Some(false), "b is the best, not a");
        assert_eq!(met(Limit::Peer(4.0, "a"), &ours), Some(true));
        assert_eq!(met(Limit::Peer(4.0, "c"), &ours), None, "not in this run");
        assert_eq!(met(Limit::OverHarness(6.0), &ours), Some(true));
        assert_eq!(met(Limit::OverHarness(5.9), &ours), Some(false));
        assert_eq!(met(Limit::Within(1.2, "v".into()), &ours), Some(true));
        assert_eq!(met(Limit::Within(1.1, "v".into()), &ours), Some(false));
    }

    #[test]
    fn threads_share_a_peer_behind_its_mutex() {
        let rows =
            [row("w", "ns/pair", HANDLE, 10.0), row("w", "ns/pair", "a", 8.0), row("w, behind a mutex", "ns/pair", "a", 20.0)];
        assert_eq!(met(Limit::ThreadSafe(2.0), &rows), Some(true));
        assert_eq!(met(Limit::ThreadSafe(2.1), &rows), Some(false));
        assert_eq!(met(Limit::Best(1.0), &rows), Some(false));
    }

    #[test]
    fn more_is_better_where_it_is_a_rate() {
        let rows = [row("w", "Mop/s", HANDLE, 100.0), row("w", "Mop/s", "a", 25.0)];
        assert_eq!((met(Limit::Best(4.0), &rows), met(Limit::Itself(101.0), &rows)), (Some(true), Some(false)));
    }

    #[test]
    fn growth_is_held_against_the_harness() {
        let ns = |work: &str, peer, median| row(work, "ns/pair", peer, median);
        let mut rows =
            vec![ns("w", HANDLE, 30.0), ns("v", HANDLE, 20.0), ns("w", Nothing::NAME, 15.0), ns("v", Nothing::NAME, 5.0)];
        assert_eq!(met(Limit::GrownAs(Nothing::NAME, "v".into()), &rows), Some(true));
        rows[0].median = 30.1;
        assert_eq!(met(Limit::GrownAs(Nothing::NAME, "v".into()), &rows), Some(false));
    }
}
