//! Those rows of the side-by-side table that need a pool in a certain state, in criterion's words:
//! `cargo bench -p benches --bench table`.
//!
//! Churn, two threads, bulk, the slow calls, the kernel's two workloads, metadata. A sample is one repetition of what
//! `side_by_side --quick` does, so that both mean the same by a row's name; its figure counts for every iteration that criterion asks
//! for. The hot pair, fill, random free, the folio's cycle and building are in `alloc`, growth is in `scale`, packing in `packing`.

use std::time::Duration;
use std::{env, process};

use benches::entry::{self, Entry};
use benches::sample::Budget;
use benches::works::metadata::CHILD_OPTION;
use benches::works::{By, Kind, Scale, Work};
use criterion::{Criterion, criterion_group};

const BUDGET: Budget = Budget { measure: Duration::from_millis(25), prepare: Duration::from_millis(400) };

fn table(criterion: &mut Criterion) {
    let entries = entry::all();
    let works = Scale { large: Vec::new(), ..Scale::quick() }.works();
    for work in works.iter().filter(|work| work.by == By::All) {
        match work.kind {
            Kind::Churn(..)
            | Kind::Bulk(_)
            | Kind::BulkWords(_)
            | Kind::Alternating(_)
            | Kind::Threads(_)
            | Kind::CrossFree
            | Kind::Tail(..) => {
                times(criterion, work, &entries);
            }
            Kind::Metadata(_) => sizes(work, &entries),
            Kind::HotPair(_) | Kind::Fill(_) | Kind::Packing(_) | Kind::Wishing(..) | Kind::Cycle(_) | Kind::Build => {}
        }
    }
}

/// A group for each row that is a time.
fn times(criterion: &mut Criterion, work: &Work, entries: &[Entry]) {
    for (row, (name, unit)) in work.rows().into_iter().enumerate() {
        // Of rates the time of a call is told; how much faster two threads are than one is no time.
        let in_ns: fn(f64) -> f64 = match unit {
            "x" => continue,
            "Mop/s" => |rate| 1e3 / rate,
            _ => |ns| ns,
        };
        let mut group = criterion.benchmark_group(format!("table/{name}"));
        group.sample_size(10);
        for entry in entries {
            let figure = || entry.measure(work, BUDGET).ok()?.get(row).copied().map(in_ns);
            // Whoever cannot do it, or not in time, is left out.
            if figure().is_none() {
                continue;
            }
            group.bench_function(entry.name, |bencher| {
                bencher.iter_custom(|iterations| Duration::from_secs_f64(figure().unwrap_or(0.0) * 1e-9 * iterations as f64));
            });
        }
    }
}

/// No time, so criterion has no part in it.
fn sizes(work: &Work, entries: &[Entry]) {
    for entry in entries {
        let figures = entry.measure(work, BUDGET).unwrap_or_default();
        for ((name, unit), figure) in work.rows().into_iter().zip(figures) {
            println!("table/{name}/{}: {figure:.2} {unit}", entry.name);
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = table
}

fn main() {
    // Host memory is measured in a process of its own: this program, started once more.
    let mut arguments = env::args().skip_while(|argument| argument != CHILD_OPTION).skip(1);
    match arguments.next() {
        Some(what) => entry::metadata_of(&what).map_or_else(|| process::exit(1), |figure| println!("{figure}")),
        None => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
