//! The main job: more buffers than the heap holds, in and out of it, every byte verified.

mod buffers;
mod report;
mod stats;

use std::time::{Duration, Instant};

use pgmap_alloc::Order;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Verdict;
use crate::choose::Devices;
use crate::cli::RunOptions;
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::{self, Heap, PAGE};
use crate::report::{Baseline, HeatMap, Output, Timeline};
use crate::views::{self, Choice, Views};
use crate::{host, interrupt, migrate, picture, progress};

use buffers::{Buffers, Closed};
use report::Report;

/// A buffer takes at most this part of the heap, and no more than this many bytes.
const BUFFER_SHARE: u64 = 32;
const LARGEST_BUFFER: u64 = 16 << 20;
/// Contents on their way to the heap or back take at most this many of the largest buffers.
const STAGED_BUFFERS: u64 = 4;
/// Host memory for what the heap does not hold, and beside it for one part in this many of what it does hold: room for copies
/// that are still under way.
const UNDER_WAY: u64 = 4;

/// Runs the command.
pub(crate) fn command(options: &RunOptions) -> Result<Verdict, Failure> {
    let devices = Devices::find(options.device.validate)?;
    let candidate = devices.choose(options.device.device.as_deref())?;
    let plan = Plan::new(options, candidate.info())?;
    let mut output = Output::open(&options.output)?;
    let mut picture = picture::Files::open(&options.picture)?;
    let curve = options.curve.as_deref().map(migrate::saved_charts).transpose()?;
    let baseline = options.baseline.as_deref().map(|path| Baseline::read(path, report::SCHEMA)).transpose()?;

    let mut device = candidate.open(&plan.layout)?;
    interrupt::watch();
    let mut report = run(device.as_mut(), &plan, options.output.quiet)?;
    // What the validation layer says while the device is closed counts too.
    drop(device);
    report.count_messages(devices.messages.as_ref());
    report.write(&mut output, baseline.as_ref())?;
    picture.write(|| report.picture(curve.unwrap_or_default()))?;
    report.ended.clone().into_result()?;
    Ok(Verdict::of(report.verified, report.validation_messages))
}

/// A run, checked against the device before anything is done.
struct Plan {
    layout: Layout,
    largest_order: Order,
    /// Whether buffers are used through views.
    sparse: Choice,
    /// Pages of all buffers together.
    pages: u64,
    largest_buffer: u64,
    /// Pages of host memory for what is not in the heap.
    host_pages: u64,
    ops: u64,
    seed: u64,
    oversub: f64,
}

impl Plan {
    fn new(options: &RunOptions, info: &DeviceInfo) -> Result<Plan, Failure> {
        let mut layout = heap::plan(&options.device.heap, info, 0)?;
        let sparse = views::choose(options.sparse, info)?;
        layout.views = sparse.is_ok();
        let heap_pages = layout.objects.iter().sum::<u64>() / PAGE;
        let largest_buffer = (heap_pages / BUFFER_SHARE).clamp(1, LARGEST_BUFFER / PAGE);
        let possible = heap::largest_order(&layout);
        let largest_order = match options.order {
            None => possible,
            Some(order) => heap::order_within(order, possible)?,
        };
        let pages = ((heap_pages as f64 * options.oversub) as u64).max(1);
        let host_pages = pages.saturating_sub(heap_pages) + heap_pages / UNDER_WAY + largest_buffer * STAGED_BUFFERS;
        layout.staging = (host_pages + largest_buffer * STAGED_BUFFERS) * PAGE;
        host::room_for(layout.staging)?;
        let (ops, seed, oversub) = (options.ops, options.seed, options.oversub);
        Ok(Plan { layout, largest_order, sparse, pages, largest_buffer, host_pages, ops, seed, oversub })
    }

    /// Log-uniform, as buffers of real programs are: many small ones, most bytes in large ones.
    fn buffer_pages(&self, random: &mut impl Rng, most: u64) -> u64 {
        let scale = (self.largest_buffer as f64).ln() * random.random::<f64>();
        // In whole granules, so that folios are no smaller than one because of the buffer's size.
        let granule = self.sparse.as_ref().map_or(1, |bytes| bytes.div_ceil(PAGE));
        (scale.exp() as u64).next_multiple_of(granule).clamp(1, most)
    }
}

/// Runs the plan on an open device. A device that gives up in the middle, or Ctrl-C, leaves a report of what was done.
fn run(device: &mut dyn Device, plan: &Plan, quiet: bool) -> Result<Report, Failure> {
    let heap = Heap::new(device)?;
    let start = Instant::now();
    let views = plan.sparse.as_ref().ok().map(|granule| Views::new(*granule));
    let mut buffers = Buffers::new(&heap, device, plan.host_pages, plan.largest_order, plan.seed, views)?;
    let mut timeline = Timeline::new(plan.ops);
    let ended = Ending::of(drive(&mut buffers, plan, quiet, |op| timeline.step(op, heap.pgmap())))?;
    let elapsed = start.elapsed();

    let (count, map) = (buffers.len(), HeatMap::of(heap.pgmap()));
    let closed = buffers.close()?;
    let leaked_pages = heap.pages_in_service()?;
    let folios_by_order = heap.folios_by_order();
    let ended = Ended { ended, closed, buffers: count, leaked_pages, folios_by_order, elapsed, map, timeline };
    Ok(Report::new(device, plan, &ended))
}

/// What is known at the end of a run.
struct Ended {
    ended: Ending,
    closed: Closed,
    buffers: usize,
    leaked_pages: u64,
    folios_by_order: Vec<u64>,
    elapsed: Duration,
    map: HeatMap,
    timeline: Timeline,
}

/// All phases, or as many as there is time for.
fn drive(buffers: &mut Buffers<'_, '_>, plan: &Plan, quiet: bool, look: impl FnMut(u64)) -> Result<Ending, Failure> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(plan.seed);
    fill(buffers, plan, &mut random, quiet)?;
    work(buffers, plan, &mut random, quiet, look)?;
    check(buffers, quiet)?;
    Ok(if interrupt::wanted() { Ending::Interrupted } else { Ending::Complete })
}

/// Makes buffers until they are as many times the heap as was asked for.
fn fill(buffers: &mut Buffers<'_, '_>, plan: &Plan, random: &mut impl Rng, quiet: bool) -> Result<(), Failure> {
    let bar = progress::bar("fill", plan.pages, quiet);
    let mut left = plan.pages;
    while left > 0 && !interrupt::wanted() {
        let pages = plan.buffer_pages(random, left);
        buffers.create(pages)?;
        left -= pages;
        bar.inc(pages);
    }
    bar.finish();
    Ok(())
}

/// Uses them as a program would: mostly the same few, now and then all kinds of things. Calls `look` after each.
fn work(
    buffers: &mut Buffers<'_, '_>,
    plan: &Plan,
    random: &mut impl Rng,
    quiet: bool,
    mut look: impl FnMut(u64),
) -> Result<(), Failure> {
    let bar = progress::bar("work", plan.ops, quiet);
    // What replaced buffers have left free for later ones, so that the load stays as heavy as it was.
    let mut slack = 0;
    for op in 0..plan.ops {
        if interrupt::wanted() {
            break;
        }
        // Squaring favours the low numbers: a quarter of the buffers gets half of the uses.
        let buffer = (random.random::<f64>().powi(2) * buffers.len() as f64) as usize;
        match random.random_range(0..100) {
            0..60 => buffers.touch(buffer)?,
            60..75 => buffers.write(buffer)?,
            75..85 => buffers.check(buffer)?,
            85..95 => buffers.relocate(buffer)?,
            _ => {
                let most = buffers.pages(buffer) + slack;
                let pages = plan.buffer_pages(random, most);
                buffers.replace(buffer, pages)?;
                slack = most - pages;
            }
        }
        buffers.stats.did.ops += 1;
        look(op);
        bar.inc(1);
    }
    bar.finish();
    Ok(())
}

/// Compares every buffer a last time, wherever it is.
fn check(buffers: &mut Buffers<'_, '_>, quiet: bool) -> Result<(), Failure> {
    let bar = progress::bar("check", buffers.len() as u64, quiet);
    for buffer in 0..buffers.len() {
        if interrupt::wanted() {
            break;
        }
        buffers.check(buffer)?;
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
        plan_for(arguments, &host::describe())
    }

    fn plan_for(arguments: &[&str], info: &DeviceInfo) -> Plan {
        let Command::Run(options) = Cli::parse_from(["vk-demo", "run"].iter().chain(arguments)).command() else {
            unreachable!("the command was given");
        };
        Plan::new(&options, info).unwrap()
    }

    /// On a device with views of this granule and as many addresses.
    fn with_views(granule: u64, addresses: u64, fault: Fault, arguments: &[&str]) -> Report {
        let info = Faulty::describe(granule, addresses);
        let plan = plan_for(&[&["--heap", "2MiB", "--ops", "300"], arguments].concat(), &info);
        run(&mut Faulty::with_views(info, &plan.layout, fault).unwrap(), &plan, true).unwrap()
    }

    #[test]
    fn buffers_are_used_through_their_views_wherever_they_have_moved() {
        let report = with_views(PAGE, u64::MAX, Fault::Nothing, &["--object", "300KiB"]);
        let counts = report.sparse.counts;
        assert!(report.verified && report.sparse.used && report.sparse.note.is_none());
        assert!(counts.through_views > 300 && counts.in_pieces == 0, "{counts:?}");
        assert!(counts.unbinds > 0 && counts.binds > counts.unbinds && counts.most_runs > 1, "{counts:?}");
        assert!(counts.sums > 0 && counts.wrong_sums == 0, "{counts:?}");
    }

    #[test]
    fn views_that_are_not_bound_anew_are_seen() {
        let report = with_views(PAGE, u64::MAX, Fault::LostBinds, &[]);
        assert!(!report.verified && report.wrong_words > 0);
    }

    #[test]
    fn folios_smaller_than_a_granule_are_met_piece_by_piece() {
        let large = with_views(64 << 10, u64::MAX, Fault::Nothing, &[]);
        assert!(large.verified && large.sparse.counts.through_views > 0, "{:?}", large.sparse);
        assert_eq!(large.sparse.counts.in_pieces, 0, "buffers are whole granules, and so are their folios");
        let small = with_views(64 << 10, u64::MAX, Fault::Nothing, &["--order", "2", "--object", "100KiB"]);
        assert!(small.verified && small.sparse.counts.in_pieces > 0, "{:?}", small.sparse);
        assert!(small.sparse.note.unwrap().contains("smaller than the granule of 64 KiB"));
    }

    #[test]
    fn without_addresses_there_are_fewer_views() {
        let report = with_views(PAGE, 1 << 20, Fault::Nothing, &[]);
        let counts = report.sparse.counts;
        assert!(report.verified && counts.in_pieces > 0 && counts.through_views > 0, "{counts:?}");
        let off = with_views(PAGE, u64::MAX, Fault::Nothing, &["--sparse", "off"]);
        assert!(off.verified && !off.sparse.used && off.sparse.counts == Default::default());
        assert!(off.sparse.note.unwrap().contains("--sparse off"));
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
            let report = on_faulty(Fault::DeviceLost(submit)).unwrap();
            assert_eq!(report.ended, Ending::Device(DeviceError::Lost), "at submit {submit}");
            assert!(!report.verified);
            assert_eq!((report.wrong_words, report.leaked_pages), (0, 0), "what was done until then was good");
        }
    }
}
