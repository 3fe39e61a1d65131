//! Random operations on a manager over a device, with injected failures, against a model that knows every byte.
//!
//! ```text
//! story   which operations, how often     model   the objects, and what each page of them holds
//! inject  steps that fail on purpose      report  what came of it
//! ```
//! Every so many operations there is a quiet point: all copies are waited for, every byte is compared, the manager audits its
//! books and the pgmap its own, and the two must agree.

mod inject;
mod model;
mod report;
mod story;

use std::time::{Duration, Instant};

use crate::Verdict;
use crate::choose::Devices;
use crate::cli::SoakOptions;
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::{self, Heap, PAGE};
use crate::report::Output;
use crate::{host, interrupt, progress};

use inject::Injected;
use model::{Model, Payers};
use report::{Ended, Report};
use story::Story;

/// Bytes of the heap by default: small enough that everything is always in everything else's way.
const HEAP: u64 = 1 << 20;
/// Operations by default.
const OPS: u64 = 100_000;
/// Operations between two quiet points.
const QUIET: u64 = 1024;

/// Runs the command.
pub(crate) fn command(options: &SoakOptions) -> Result<Verdict, Failure> {
    let devices = Devices::find(options.device.validate)?;
    let candidate = devices.choose(options.device.device.as_deref())?;
    let plan = Plan::new(options, candidate.info())?;
    let mut output = Output::open(&options.output)?;

    let mut device = candidate.open(&plan.layout)?;
    interrupt::watch();
    let mut report = run(device.as_mut(), &plan, options.output.quiet)?;
    // What the validation layer says while the device is closed counts too.
    drop(device);
    report.count_messages(devices.messages.as_ref());
    report.write(&mut output)?;
    report.ended.clone().into_result()?;
    Ok(Verdict::of(report.verified, report.validation_messages))
}

/// A soak, checked against the device before anything is done.
struct Plan {
    layout: Layout,
    /// Pages of the host's memory, and of the swap.
    hosts: [u64; 2],
    /// How many operations, at most.
    ops: u64,
    /// How long, at most.
    time: Option<Duration>,
    inject: bool,
    seed: u64,
}

impl Plan {
    fn new(options: &SoakOptions, info: &DeviceInfo) -> Result<Plan, Failure> {
        let mut wanted = options.device.heap.clone();
        wanted.heap = wanted.heap.or(Some(HEAP));
        let mut layout = heap::plan(&wanted, info, 0)?;
        let pages = layout.objects.iter().sum::<u64>() / PAGE;
        let hosts = [pages, 2 * pages];
        layout.staging = (hosts.iter().sum::<u64>() + story::scratch_pages(pages)) * PAGE;
        host::room_for(layout.staging)?;
        let time = options.time.map(Duration::from_secs);
        let ops = options.ops.unwrap_or(if time.is_some() { u64::MAX } else { OPS });
        Ok(Plan { layout, hosts, ops, time, inject: options.inject, seed: options.seed })
    }
}

/// Runs the plan on an open device. A device that gives up in the middle, or Ctrl-C, leaves a report of what was done.
fn run(device: &mut dyn Device, plan: &Plan, quiet: bool) -> Result<Report, Failure> {
    let heap = Heap::new(device)?;
    let start = Instant::now();
    let injected = Injected::default();
    let owners = Payers::new();
    let mut model = Model::new(&heap, &owners, device, plan.hosts, plan.seed, plan.inject)?;
    if plan.inject {
        model.manager.set_fault_hook(injected.hook(plan.seed));
    }
    let ended = Ending::of(drive(&mut model, plan, start, quiet))?;
    model.manager.clear_fault_hook();
    let (mut findings, counters) = model.close()?;
    findings.leaks += heap.pages_in_service()?;
    Ok(Report::new(device, plan, Ended { ended, findings, counters, injected, elapsed: start.elapsed() }))
}

fn drive(model: &mut Model<'_, '_>, plan: &Plan, start: Instant, quiet: bool) -> Result<Ending, Failure> {
    // Without a number of operations, the bar counts those that there were.
    let bar = progress::bar("soak", if plan.ops == u64::MAX { 0 } else { plan.ops }, quiet);
    let mut story = Story::new(plan.seed);
    let mut ended = Ending::Complete;
    while model.findings.ops < plan.ops {
        story.step(model)?;
        model.findings.ops += 1;
        if model.findings.ops.is_multiple_of(QUIET) {
            model.quiet_point()?;
            bar.set_position(model.findings.ops);
            if interrupt::wanted() {
                ended = Ending::Interrupted;
                break;
            }
            if plan.time.is_some_and(|time| start.elapsed() >= time) {
                break;
            }
        }
    }
    model.quiet_point()?;
    bar.finish();
    Ok(ended)
}

#[cfg(test)]
mod tests;
