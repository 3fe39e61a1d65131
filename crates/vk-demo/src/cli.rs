//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::device::{Choices, QueueWanted};
use crate::fault::{Policy, Trace};
use crate::migrate::Sizes;
use crate::size;
use crate::views::Wanted;

/// Folios on a real device heap: does the allocator work here, and what does folio order buy?
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Exit codes: 0 good, 1 not verified (or a validation message, or worse than --fail-on), 2 wrong usage, 3 no such device, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Asked<RunOptions>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Move buffers into and out of an oversubscribed heap and verify every byte (the default)
    Run(Asked<RunOptions>),
    /// Measure migration host -> device and device -> host, folio order by folio order
    Migrate(Asked<MigrateOptions>),
    /// Random operations with injected failures, every byte and every book checked, for a count or a time
    Soak(Asked<SoakOptions>),
    /// Run an access trace over a space larger than the heap, at several folio orders and with several policies
    Fault(Asked<FaultOptions>),
    /// The same workload with the heap managed by pgmap-alloc, gpu-allocator and VMA, side by side
    Compare(Asked<CompareOptions>),
    /// List devices, heaps, budgets and the features that will be used
    List(OutputOptions),
    /// Draw a saved JSON result anew, to the standard output or as --svg and --png say
    Draw(DrawOptions),
}

impl Cli {
    /// The command; `run` where none is given.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

/// What a command that runs on a device takes: what every such command does, and its own.
#[derive(Clone, Debug, Args)]
pub(crate) struct Asked<O: Args> {
    #[command(flatten)]
    pub(crate) job: JobOptions,
    #[command(flatten)]
    pub(crate) own: O,
}

/// What every command that runs on a device takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct JobOptions {
    #[command(flatten)]
    pub(crate) device: DeviceOptions,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    pub(crate) picture: PictureOptions,
    /// A saved JSON result of the same command to compare with
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// End with 1 if a result is worse than the baseline's by more than both of them vary, and by more than so many percent
    #[arg(long, value_name = "PERCENT", requires = "baseline", value_parser = percent, allow_negative_numbers = true)]
    pub(crate) fail_on: Option<f64>,
}

/// Which device, how much of it.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeviceOptions {
    /// Device by index or part of its name (see `list`); the best one by default
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) device: Option<String>,
    /// Memory heap that folios come from, by its number in `list`; the largest of the device's own by default
    #[arg(long, value_name = "N")]
    pub(crate) memory_heap: Option<u32>,
    /// Family of queues that copies: copy (one that does nothing else), compute, graphics, or its number in `list`; one that only
    /// copies by default, where there is one
    #[arg(long, value_name = "copy|compute|graphics|INDEX")]
    pub(crate) queue: Option<QueueWanted>,
    /// Run under the Khronos validation layer; any message is a failure
    #[arg(long)]
    pub(crate) validate: bool,
    #[command(flatten)]
    pub(crate) heap: HeapOptions,
}

impl DeviceOptions {
    /// How the device is to be used.
    pub(crate) fn choices(&self) -> Choices {
        Choices { memory_heap: self.memory_heap, queue: self.queue }
    }
}

/// How large the heap is.
#[derive(Clone, Debug, Args)]
pub(crate) struct HeapOptions {
    /// Size of the heap, such as 256MiB; a share of the device's budget by default
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) heap: Option<u64>,
    /// Largest memory object, rounded down to a power of two; the heap becomes as many ranges as it takes
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) object: Option<u64>,
}

/// How much more there is than the heap holds.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadOptions {
    /// Bytes of buffers (`fault`: of the virtual space) for each byte of the heap
    #[arg(long, value_name = "FACTOR", default_value = "1.5", value_parser = oversub, allow_negative_numbers = true)]
    pub(crate) oversub: f64,
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    /// Largest folio order to place buffers with; what fits by default
    #[arg(long, value_name = "N")]
    pub(crate) order: Option<u32>,
    /// Bind each buffer's folios to contiguous addresses and use it through them (sparse binding)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Wanted::Auto)]
    pub(crate) sparse: Wanted,
    /// Operations after the buffers have been made
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) ops: u64,
    /// A saved JSON result of `migrate`, whose curve is drawn into the picture too
    #[arg(long, value_name = "FILE")]
    pub(crate) curve: Option<PathBuf>,
}

/// Options of `soak`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SoakOptions {
    /// Operations; 2000 to 100000 by default, the fewer the larger the heap, and without end where a time is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) ops: Option<u64>,
    /// Seconds after which it ends
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<u64>,
    /// Make steps of the manager fail at random: charges, allocations, copies and fences
    #[arg(long)]
    pub(crate) inject: bool,
}

/// Options of `fault`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FaultOptions {
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    /// Which pages are used
    #[arg(long, value_enum, default_value_t = Trace::Zipf)]
    pub(crate) trace: Trace,
    /// Who leaves when there is no room; each in turn by default
    #[arg(long, value_enum)]
    pub(crate) policy: Option<Policy>,
    /// Folio order of a fault, beside order 0; several by default
    #[arg(long, value_name = "N")]
    pub(crate) order: Option<u32>,
    /// Smallest order that a fault falls back to before anyone is pushed out for it; the fault's own by default
    #[arg(long, value_name = "N")]
    pub(crate) floor: Option<u32>,
    /// Accesses in the trace; eight times the pages of the space by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) accesses: Option<u64>,
}

/// Options of `compare`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareOptions {
    /// How full the objects that are asked for make the heap at the most, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 92, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) full: u64,
    /// Steps of the trace, which is made before anyone is asked
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) ops: u64,
}

/// Options of `migrate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MigrateOptions {
    /// Sizes to migrate, powers of two: a list (512KiB,4MiB) or a range (512KiB..256MiB, each twice the one before). By default
    /// 512 KiB, 4 MiB, 32 MiB and 256 MiB as far as the heap holds them (4 MiB under --validate), without the longest rows
    #[arg(long, alias = "bytes", value_name = "SIZES", value_parser = Sizes::parse)]
    pub(crate) sizes: Option<Sizes>,
    /// Only this folio order; 0 to 10 by default
    #[arg(long, value_name = "N")]
    pub(crate) order: Option<u32>,
    /// Timed iterations, after one warm-up; by default 5, and up to 15 where a row varies too much
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) iterations: Option<u16>,
}

/// Options of `draw`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrawOptions {
    /// A result of any command but `list`, saved with --format json
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) picture: PictureOptions,
}

/// Where the picture is written.
#[derive(Clone, Debug, Args)]
pub(crate) struct PictureOptions {
    /// Draw the result as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Draw the result as PNG (in builds with the feature png)
    #[arg(long, value_name = "FILE")]
    pub(crate) png: Option<PathBuf>,
}

/// How and where the result is written.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputOptions {
    /// Form of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Write the result to a file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// No progress on the standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Forms of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs; the schema is named in it
    Json,
    /// For spreadsheets
    Csv,
}

/// Reads a share of what was before.
fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|error| format!("{error}"))?;
    // Written so that NaN is refused too.
    if percent >= 0.0 && percent.is_finite() { Ok(percent) } else { Err("must be a number of percent, 0 or more".into()) }
}

/// Reads an oversubscription factor.
fn oversub(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|error| format!("{error}"))?;
    // Written so that NaN is refused too.
    if factor > 0.0 && factor <= 16.0 { Ok(factor) } else { Err("must be above 0 and at most 16".into()) }
}
