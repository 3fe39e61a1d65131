//! Draws what an allocation and its free cost against the size of the pool and against its occupancy.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use std::{fs, iter};

use benches::entry;
use benches::machine::Machine;
use benches::picture::{Panel, svg};
use benches::run::interleaved;
use benches::sample::Budget;
use benches::trace::Trace;
use benches::works::{By, GIB, Kind, Work, churn_row, size};
use clap::Parser;

/// Measures the churn of orders 0 to 9 by pgmap-alloc and its peers, and writes the curves as an SVG.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to write the picture.
    #[arg(short, long, value_name = "FILE", default_value = "docs/curves.svg")]
    output: PathBuf,
    /// Where to write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Less of everything: pools up to 64 GiB, for a look.
    #[arg(long)]
    quick: bool,
    /// Repetitions, each of which goes through all works and all peers.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: u32,
}

/// The pool whose occupancy grows.
const FIXED: u64 = 16 * GIB;
/// The occupancy of the pools that grow.
const PERCENT: u64 = 80;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let entries = entry::all();
    entries.iter().try_for_each(entry::Entry::check)?;
    let (largest, steps, budget) = if args.quick {
        (64, 50_000, Budget { measure: Duration::from_millis(10), prepare: Duration::from_millis(400) })
    } else {
        (4096, 2_000_000, Budget { measure: Duration::from_millis(300), prepare: Duration::from_secs(20) })
    };
    let sizes: Vec<u64> = iter::successors(Some(1), |gib| Some(gib * 4)).take_while(|&gib| gib <= largest).collect();
    // At none at all there would be nothing to free.
    let percents: Vec<u64> = [1].into_iter().chain((10..100).step_by(10)).chain([95]).collect();

    let work = |percent: u64, pages: u64| {
        let trace = Trace::churn(pages * percent / 100, steps, 8);
        Work { pages, kind: Kind::Churn(percent, Rc::new(trace)), by: By::All }
    };
    let by_size = sizes.iter().map(|gib| work(PERCENT, gib * GIB));
    let by_percent = percents.iter().filter(|&&percent| percent != PERCENT).map(|&percent| work(percent, FIXED));
    let works: Vec<Work> = by_size.chain(by_percent).collect();
    let report = interleaved(&works, &entries, args.reps, budget).report(&[], Machine::here());

    let panels = [
        Panel {
            title: format!("{PERCENT} % full, orders 0 to 9"),
            axis: "size of the pool",
            rows: sizes.iter().map(|&gib| (gib as f64, churn_row(PERCENT, gib * GIB))).collect(),
            log: true,
        },
        Panel {
            title: format!("{}, orders 0 to 9", size(FIXED)),
            axis: "occupancy",
            rows: percents.iter().map(|&percent| (percent as f64, churn_row(percent, FIXED))).collect(),
            log: false,
        },
    ];
    let peers: Vec<_> = entries.iter().map(|entry| entry.name).collect();
    fs::write(&args.output, svg(&report, &panels, &peers)?)?;
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    println!("{}", args.output.display());
    Ok(())
}
