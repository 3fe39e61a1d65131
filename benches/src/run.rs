//! One run: repetitions of all works by all peers.

use crate::entry::Entry;
use crate::report::Collector;
use crate::sample::Budget;
use crate::works::Work;

/// All works by all peers, then all again: a slow spell of the machine hits everyone.
pub fn interleaved(works: &[Work], entries: &[Entry], reps: u32, budget: Budget) -> Collector {
    let mut collector = Collector::default();
    let mut skipped = vec![vec![false; entries.len()]; works.len()];
    for rep in 0..reps {
        for (number, work) in works.iter().enumerate() {
            if rep > 0 && work.once() {
                continue;
            }
            for (peer, entry) in entries.iter().enumerate() {
                if skipped[number][peer] {
                    continue;
                }
                let outcome = entry.measure(work, budget);
                skipped[number][peer] = outcome.is_err();
                collector.add(number, &work.rows(), (peer, entry.name), outcome);
            }
        }
    }
    collector
}
