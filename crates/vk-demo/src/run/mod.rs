//! The main job: more buffers than the heap holds, in and out of it, every byte verified.

mod lru;
mod manager;
mod report;
mod ring;
mod stats;

use std::time::{Duration, Instant};

use pgmap_alloc::Order;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Verdict;
use crate::choose::Devices;
use crate::cli::RunOptions;
use crate::device::{Device, DeviceInfo, Layout};
use crate::failure::Failure;
use crate::heap::{self, Heap, PAGE};
use crate::report::{HeatMap, Output, Timeline};
use crate::{host, migrate, picture, progress};

use manager::Manager;
use report::Report;
use stats::Stats;

/// A buffer takes at most this part of the heap, and no more than this many bytes.
const BUFFER_SHARE: u64 = 32;
const LARGEST_BUFFER: u64 = 16 << 20;
/// The staging memory holds this many of the largest buffers: those being evicted and the one being brought in.
const STAGED_BUFFERS: u64 = 4;

/// Runs the command.
pub(crate) fn command(options: &RunOptions) -> Result<Verdict, Failure> {
    let devices = Devices::find(options.device.validate)?;
    let candidate = devices.choose(options.device.device.as_deref())?;
    let plan = Plan::new(options, candidate.info())?;
    let mut output = Output::open(&options.output)?;
    let mut picture = picture::Files::open(&options.picture)?;
    let curve = options.curve.as_deref().map(migrate::saved_charts).transpose()?;

    let mut device = candidate.open(&plan.layout)?;
    let mut report = run(device.as_mut(), &plan, options.output.quiet)?;
    // What the validation layer says while the device is closed counts too.
    drop(device);
    report.count_messages(devices.messages.as_ref());
    report.write(&mut output)?;
    picture.write(|| report.picture(curve.unwrap_or_default()))?;
    Ok(Verdict::of(report.verified, report.validation_messages))
}

/// A run, checked against the device before anything is done.
struct Plan {
    layout: Layout,
    largest_order: Order,
    /// Pages of all buffers together.
    pages: u64,
    largest_buffer: u64,
    ops: u64,
    seed: u64,
    oversub: f64,
}

impl Plan {
    fn new(options: &RunOptions, info: &DeviceInfo) -> Result<Plan, Failure> {
        let mut layout = heap::plan(&options.device.heap, info, 0)?;
        let heap_pages = layout.objects.iter().sum::<u64>() / PAGE;
        let largest_buffer = (heap_pages / BUFFER_SHARE).clamp(1, LARGEST_BUFFER / PAGE);
        layout.staging = largest_buffer * PAGE * STAGED_BUFFERS;
        let possible = heap::largest_order(&layout);
        let largest_order = match options.order {
            None => possible,
            Some(order) => heap::order_within(order, possible)?,
        };
        let pages = ((heap_pages as f64 * options.oversub) as u64).max(1);
        host::room_for(pages.saturating_sub(heap_pages) * PAGE + layout.staging)?;
        let (ops, seed, oversub) = (options.ops, options.seed, options.oversub);
        Ok(Plan { layout, largest_order, pages, largest_buffer, ops, seed, oversub })
    }

    /// Log-uniform, as buffers of real programs are: many small ones, most bytes in large ones.
    fn buffer_pages(&self, random: &mut impl Rng, most: u64) -> u64 {
        let scale = (self.largest_buffer as f64).ln() * random.random::<f64>();
        (scale.exp() as u64).clamp(1, most)
    }
}

/// Runs the plan on an open device.
fn run(device: &mut dyn Device, plan: &Plan, quiet: bool) -> Result<Report, Failure> {
    let heap = Heap::new(device)?;
    let start = Instant::now();
    let mut manager = Manager::new(&heap, device, plan.largest_order, plan.seed);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(plan.seed);
    fill(&mut manager, plan, &mut random, quiet)?;
    let timeline = work(&mut manager, &heap, plan, &mut random, quiet)?;
    check(&mut manager, quiet)?;
    let elapsed = start.elapsed();

    let (buffers, map) = (manager.len(), HeatMap::of(heap.pgmap()));
    let stats = manager.close()?;
    let leaked_pages = heap.pages_in_service()?;
    Ok(Report::new(device, plan, &Ended { stats, buffers, leaked_pages, elapsed, map, timeline }))
}

/// What is known at the end of a run.
struct Ended {
    stats: Stats,
    buffers: usize,
    leaked_pages: u64,
    elapsed: Duration,
    map: HeatMap,
    timeline: Timeline,
}

/// Makes buffers until they are as many times the heap as was asked for.
fn fill(manager: &mut Manager<'_, '_>, plan: &Plan, random: &mut impl Rng, quiet: bool) -> Result<(), Failure> {
    let bar = progress::bar("fill", plan.pages, quiet);
    let mut left = plan.pages;
    while left > 0 {
        let pages = plan.buffer_pages(random, left);
        manager.create(pages)?;
        left -= pages;
        bar.inc(pages);
    }
    bar.finish();
    Ok(())
}

/// Uses them as a program would: mostly the same few, now and then all kinds of things.
fn work(manager: &mut Manager<'_, '_>, heap: &Heap, plan: &Plan, random: &mut impl Rng, quiet: bool) -> Result<Timeline, Failure> {
    let mut timeline = Timeline::new(plan.ops);
    let bar = progress::bar("work", plan.ops, quiet);
    // What replaced buffers have left free for later ones, so that the load stays as heavy as it was.
    let mut slack = 0;
    for op in 0..plan.ops {
        // Squaring favours the low numbers: a quarter of the buffers gets half of the uses.
        let buffer = (random.random::<f64>().powi(2) * manager.len() as f64) as usize;
        match random.random_range(0..100) {
            0..60 => manager.touch(buffer)?,
            60..75 => manager.write(buffer)?,
            75..85 => manager.check(buffer)?,
            85..95 => manager.relocate(buffer)?,
            _ => {
                let most = manager.pages(buffer) + slack;
                let pages = plan.buffer_pages(random, most);
                manager.replace(buffer, pages)?;
                slack = most - pages;
            }
        }
        timeline.step(op, heap.pgmap());
        bar.inc(1);
    }
    bar.finish();
    Ok(timeline)
}

/// Compares every buffer a last time, wherever it is.
fn check(manager: &mut Manager<'_, '_>, quiet: bool) -> Result<(), Failure> {
    let bar = progress::bar("check", manager.len() as u64, quiet);
    for buffer in 0..manager.len() {
        manager.check(buffer)?;
        bar.inc(1);
    }
    bar.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::device::DeviceError;
    use crate::faulty::{Fault, Faulty};
    use crate::host::Host;

    fn plan(arguments: &[&str]) -> Plan {
        let Command::Run(options) = Cli::parse_from(["vk-demo", "run"].iter().chain(arguments)).command() else {
            unreachable!("the command was given");
        };
        Plan::new(&options, &host::describe()).unwrap()
    }

    fn on_faulty(fault: Fault) -> Result<Report, Failure> {
        let plan = plan(&["--heap", "2MiB", "--ops", "100"]);
        run(&mut Faulty::open(&plan.layout, fault).unwrap(), &plan, true)
    }

    #[test]
    fn every_shape_of_heap_and_load_is_verified() {
        let shapes: &[&[&str]] = &[
            &["--heap", "4KiB"],
            &["--heap", "8KiB", "--oversub", "16"],
            &["--heap", "2MiB", "--object", "12KiB"],
            &["--heap", "3MiB", "--oversub", "0.5"],
            &["--heap", "2MiB", "--oversub", "4", "--order", "0"],
            &["--heap", "2MiB", "--order", "2", "--seed", "7"],
        ];
        for shape in shapes {
            let plan = plan(&[shape, &["--ops", "400"][..]].concat());
            let mut device = Host::open(host::describe(), &plan.layout).unwrap();
            assert!(run(&mut device, &plan, true).unwrap().verified, "{shape:?}");
        }
    }

    #[test]
    fn a_wrong_bit_and_stale_bytes_are_seen() {
        assert!(!on_faulty(Fault::FlippedBit).unwrap().verified);
        assert!(!on_faulty(Fault::LostCopies).unwrap().verified);
    }

    #[test]
    fn a_device_that_is_lost_ends_the_run_wherever_it_happens() {
        for submit in 0..100 {
            let lost = on_faulty(Fault::DeviceLost(submit));
            assert!(matches!(lost, Err(Failure::Device(DeviceError::Lost))), "at submit {submit}");
        }
    }
}
