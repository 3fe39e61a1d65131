//! How well each peer packs (P6): `cargo bench -p benches --bench packing`. A share, not a time, so criterion has no part in it.

use std::time::Duration;

use benches::entry;
use benches::sample::Budget;
use benches::trace::{Descent, Way};
use benches::works::{By, GIB, Kind, Work, packing};

fn main() {
    // `cargo bench -- --test` asks every bench for one short run.
    let short = std::env::args().any(|argument| argument == "--test");
    let (pages, steps) = if short { (GIB, 10_000) } else { (16 * GIB, 4_000_000) };
    let budget = Budget { measure: Duration::ZERO, prepare: Duration::from_secs(10) };
    for way in [Way::Churned, Way::Emptied] {
        let work = Work { pages, by: By::All, kind: Kind::Packing(Descent::new(pages, &packing::PERCENTS, way, steps, 5)) };
        for entry in entry::all() {
            let outcome = entry.measure(&work, budget);
            for (row, (name, unit)) in work.rows().into_iter().enumerate() {
                match &outcome {
                    Ok(shares) => println!("{name}/{}: {:.1} {unit}", entry.name, shares[row]),
                    Err(skip) => println!("{name}/{}: {skip}", entry.name),
                }
            }
        }
    }
}
