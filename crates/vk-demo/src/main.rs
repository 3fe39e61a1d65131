//! Drives folios of a pgmap on a device heap: Vulkan where there is any, a host device where there is none.
//!
//! ```text
//! cli       what was asked for         choose   which device            device   what a device is; gpu and host are the two
//! heap      a pgmap over the device's memory objects: folio -> piece    pieces   contiguous stretches, regions of a copy
//! job       what every command on a device has in common, from its options to its exit code
//! memory_types   which type of memory meets a need                      sums     what the device makes of what it holds
//! mover     what moves a manager's bytes: from pgmap-ttm to a device    views    contiguous addresses for each object
//! swap      memory that the device does not reach
//! fault     access traces over a space larger than the heap
//! compare   the same workload with other allocators beside the pgmap; peers says what those are to a device
//! soak      random operations with injected failures
//! run       the main job               migrate  the benchmark           list     what there is
//! report    results as table, JSON or CSV; what is where in the heap    picture  the same drawn, as SVG or PNG
//! ```

mod checksum;
mod choose;
mod cli;
mod compare;
mod device;
mod draw;
mod ending;
mod failure;
mod fault;
#[cfg(test)]
mod faulty;
mod gpu;
mod heap;
mod host;
mod interrupt;
mod job;
mod lent;
mod list;
mod memory_types;
mod migrate;
mod mover;
mod pattern;
mod peers;
mod picture;
mod pieces;
mod progress;
mod report;
mod ring;
mod run;
mod size;
mod soak;
#[cfg(test)]
mod story;
mod sums;
mod swap;
mod views;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::NOT_VERIFIED;

fn main() -> ExitCode {
    let done = match Cli::parse().command() {
        Command::Run(options) => job::carry_out::<run::Run>(&options),
        Command::Migrate(options) => job::carry_out::<migrate::Migrate>(&options),
        Command::Soak(options) => job::carry_out::<soak::Soak>(&options),
        Command::Fault(options) => job::carry_out::<fault::Fault>(&options),
        Command::Compare(options) => job::carry_out::<compare::Compare>(&options),
        Command::List(options) => list::command(&options),
        Command::Draw(options) => draw::command(&options),
    };
    match done {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::NotGood) => ExitCode::from(NOT_VERIFIED),
        Err(failure) => {
            eprintln!("vk-demo: {failure}");
            failure.exit_code()
        }
    }
}

/// What a command found.
enum Verdict {
    /// Everything as it should be.
    Good,
    /// Bytes were wrong, pages were lost, the validation layer spoke, or a result is worse than `--fail-on` allows.
    NotGood,
}

impl Verdict {
    fn of(good: bool, validation_messages: u64) -> Verdict {
        if good && validation_messages == 0 { Verdict::Good } else { Verdict::NotGood }
    }
}
