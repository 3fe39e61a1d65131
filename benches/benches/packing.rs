//! How well each peer packs (P6): `cargo bench -p benches --bench packing`. A share, not a time, so criterion has no part in it.
//!
//! The protocol stands in `benches::works::packing`. Chance decides what is churned, so it is done with several seeds, and every
//! peer gets the same ones; printed are the median and the extremes. Handles are in use throughout and counted as drained.

use std::time::Duration;

use benches::entry::{self, Entry};
use benches::sample::{Budget, Outcome, Skip};
use benches::trace::{Descent, Way};
use benches::works::{By, GIB, Kind, Work, packing};

fn main() {
    // `cargo bench -- --test` asks every bench for one short run.
    let short = std::env::args().any(|argument| argument == "--test");
    let (pages, steps, seeds) = if short { (GIB, 10_000, 1..=2) } else { (16 * GIB, 4_000_000, 1..=5) };
    let entries = entry::all();
    for way in [Way::Churned, Way::Emptied] {
        let mut rows = vec![];
        let mut outcomes = vec![vec![]; entries.len()];
        for seed in seeds.clone() {
            let descent = Descent::new(pages, &packing::PERCENTS, way, steps, seed);
            let work = Work { pages, kind: Kind::Packing([descent].into()), by: By::All };
            rows = work.rows();
            for (entry, outcomes) in entries.iter().zip(&mut outcomes) {
                outcomes.push(measured(entry, &work));
            }
        }
        for (entry, outcomes) in entries.iter().zip(outcomes) {
            for (row, (name, unit)) in rows.iter().enumerate() {
                println!("{name}/{}: {}", entry.name, summary(&outcomes, row, unit));
            }
        }
    }
}

fn measured(entry: &Entry, work: &Work) -> Outcome {
    entry.measure(work, Budget { measure: Duration::ZERO, prepare: Duration::from_secs(10) })
}

/// The median of one row over all seeds, its extremes, and of how many seeds there is none.
fn summary(outcomes: &[Outcome], row: usize, unit: &str) -> String {
    let mut shares: Vec<f64> = outcomes.iter().flatten().filter_map(|shares| shares.get(row).copied()).collect();
    shares.sort_by(f64::total_cmp);
    let skip = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    let (Some(least), Some(most)) = (shares.first(), shares.last()) else {
        return skip.map_or_else(String::new, Skip::to_string);
    };
    let median = shares[shares.len() / 2];
    let some =
        skip.map_or_else(String::new, |skip| format!(", {} of {} seeds: {skip}", outcomes.len() - shares.len(), outcomes.len()));
    format!("{median:.1} {unit} ({least:.1} to {most:.1}{some})")
}
