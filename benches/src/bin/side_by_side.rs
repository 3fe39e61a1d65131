//! Prints one table: `pgmap-alloc` and its peers doing the same work in the same run.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use benches::entry::{self, Entry};
use benches::machine::Machine;
use benches::report::{Collector, Report};
use benches::run::interleaved;
use benches::sample::Budget;
use benches::targets;
use benches::works::{Scale, Work};
use clap::{Parser, ValueEnum};

/// Measures pgmap-alloc and its peers side by side: the same precomputed work for each, repetitions interleaved.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Less of everything: under a minute, for a look.
    #[arg(long)]
    quick: bool,
    /// Repetitions, each of which goes through all works and all peers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: Option<u32>,
    /// Only rows whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the result to a file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Measure one peer's host memory in this process, and print nothing else.
    #[arg(long, value_name = "PAGES:STATE:PEER", hide = true)]
    metadata_of: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

/// Wrong usage, as clap's own exit code says it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(what) = &args.metadata_of {
        return metadata_of(what);
    }
    let entries = entry::all();
    for entry in &entries {
        if let Err(fault) = entry.check() {
            eprintln!("wrong answers, so nothing is timed: {fault}");
            return ExitCode::FAILURE;
        }
    }
    let scale = if args.quick { Scale::quick() } else { Scale::full() };
    let works = wanted(&scale, &args);
    if works.is_empty() {
        eprintln!("no row's name contains {:?}", args.only.unwrap_or_default());
        return ExitCode::from(USAGE);
    }
    let report = measure(&works, &entries, &args).report(&targets::all(&scale), Machine::here());
    let peers: Vec<_> = entries.iter().map(|entry| entry.name).collect();
    let written = render(&report, args.format, &peers).and_then(|text| match &args.output {
        Some(path) => fs::write(path, text),
        None => io::stdout().write_all(text.as_bytes()),
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the result cannot be written: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn wanted(scale: &Scale, args: &Args) -> Vec<Work> {
    let mut works = scale.works();
    if let Some(text) = &args.only {
        works.retain(|work| work.rows().iter().any(|(name, _)| name.contains(text.as_str())));
    }
    works
}

fn measure(works: &[Work], entries: &[Entry], args: &Args) -> Collector {
    let (reps, budget) = if args.quick {
        (3, Budget { measure: Duration::from_millis(25), prepare: Duration::from_millis(400) })
    } else {
        (5, Budget { measure: Duration::from_millis(150), prepare: Duration::from_secs(3) })
    };
    interleaved(works, entries, args.reps.unwrap_or(reps), budget)
}

fn render(report: &Report, format: Format, peers: &[&'static str]) -> io::Result<String> {
    match format {
        Format::Table => Ok(report.text(peers)),
        Format::Json => Ok(serde_json::to_string_pretty(report)? + "\n"),
        Format::Csv => Ok(report.csv()),
    }
}

/// The other end of `works::metadata::in_child`.
fn metadata_of(what: &str) -> ExitCode {
    match entry::metadata_of(what) {
        Some(figure) => {
            println!("{figure}");
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}
