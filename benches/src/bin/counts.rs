//! Holds callgrind's counts against the record in the tree, or records them: `.ci/counts` pipes them in.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{error, fs};

use benches::counts::{Record, cases};
use clap::{Parser, Subcommand};

/// Reads what `cargo bench -p benches --features counts --bench callgrind -- --output-format=json` prints.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// What `rustc --version` says.
    #[arg(long, value_name = "TEXT")]
    rustc: String,
    /// The record.
    #[arg(long, value_name = "FILE", default_value = "benches/counts.json")]
    record: PathBuf,
    /// The same as a table, to be read.
    #[arg(long, value_name = "FILE", default_value = "docs/counts.md")]
    table: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fails if a count is more than 5 % off, or if the table is not the record's.
    Check,
    /// Writes the record and the table.
    Record,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is as recorded.
fn run(args: &Args) -> Result<bool, Box<dyn error::Error>> {
    let mut output = String::new();
    io::stdin().read_to_string(&mut output)?;
    let now = Record::new(&args.rustc, &cases(), &output)?;
    match args.verb {
        Verb::Record => {
            fs::write(&args.record, serde_json::to_string_pretty(&now)? + "\n")?;
            fs::write(&args.table, page(&now))?;
            print!("{}", now.markdown());
            Ok(true)
        }
        Verb::Check => check(&now, args),
    }
}

fn check(now: &Record, args: &Args) -> Result<bool, Box<dyn error::Error>> {
    let then: Record = serde_json::from_str(&fs::read_to_string(&args.record)?)?;
    if fs::read_to_string(&args.table)? != page(&then) {
        println!("{} is not the table of {}", args.table.display(), args.record.display());
        return Ok(false);
    }
    let changes = then.changes(now);
    changes.iter().for_each(|change| println!("{change}"));
    if changes.is_empty() {
        println!("{} counts are as recorded", then.counts.len());
    } else if then.rustc != now.rustc {
        // Another compiler's code proves nothing about ours.
        println!("only told, not failed: recorded with {}, counted with {}", then.rustc, now.rustc);
        return Ok(true);
    }
    Ok(changes.is_empty())
}

/// The page that the table is printed on.
fn page(record: &Record) -> String {
    format!(
        "# Instructions of the hot paths\n\n\
         Counted by callgrind, written by `bash .ci/counts record`, compiler: {}. The harness's own instructions are included; what\n\
         it costs alone stands beside them where it does more than call. A locked instruction and a missed line count as one each:\n\
         for those see *Scaling* in [ARCHITECTURE.md](../ARCHITECTURE.md).\n\n{}",
        record.rustc,
        record.markdown()
    )
}
