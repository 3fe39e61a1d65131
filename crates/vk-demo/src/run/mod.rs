//! The main job: more buffers than the heap holds, in and out of it, every byte verified.

mod buffers;
mod report;
mod stats;

use std::time::{Duration, Instant};

use pgmap_alloc::Order;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::cli::{JobOptions, RunOptions};
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::{self, Heap, PAGE};
use crate::job::Job;
use crate::report::{HeatMap, Timeline};
use crate::views::{self, Choice, Views};
use crate::{interrupt, migrate, picture, progress};

use buffers::{Buffers, Closed};
use report::Ran;

/// A buffer takes at most this part of the heap, and no more than this many bytes.
const BUFFER_SHARE: u64 = 32;
const LARGEST_BUFFER: u64 = 16 << 20;
/// Contents on their way to the heap or back take at most this many of the largest buffers.
const STAGED_BUFFERS: u64 = 4;
/// Host memory for what the heap does not hold, and beside it for one part in this many of what it does hold: room for copies
/// that are still under way.
const UNDER_WAY: u64 = 4;

/// The main job.
pub(crate) struct Run {
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
    /// Charts of a saved `migrate`.
    curve: Vec<picture::Chart>,
}

impl Job for Run {
    type Options = RunOptions;
    type Outcome = Ran;

    fn plan(job: &JobOptions, options: &RunOptions, info: &DeviceInfo, layout: &mut Layout) -> Result<Run, Failure> {
        let sparse = views::choose(options.sparse, info)?;
        layout.views = sparse.is_ok();
        let heap_pages = layout.objects.iter().sum::<u64>() / PAGE;
        let largest_buffer = (heap_pages / BUFFER_SHARE).clamp(1, LARGEST_BUFFER / PAGE);
        let possible = heap::largest_order(layout);
        let largest_order = match options.order {
            None => possible,
            Some(order) => heap::order_within("--order", order, possible)?,
        };
        let oversub = options.load.oversub;
        let pages = ((heap_pages as f64 * oversub) as u64).max(1);
        let host_pages = pages.saturating_sub(heap_pages) + heap_pages / UNDER_WAY + largest_buffer * STAGED_BUFFERS;
        layout.staging = (host_pages + largest_buffer * STAGED_BUFFERS) * PAGE;
        let curve = options.curve.as_deref().map(|path| migrate::saved_charts(path, info)).transpose()?.unwrap_or_default();
        let (ops, seed) = (options.ops, job.seed);
        Ok(Run { largest_order, sparse, pages, largest_buffer, host_pages, ops, seed, oversub, curve })
    }

    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Ran), Failure> {
        let heap = Heap::new(device)?;
        let start = Instant::now();
        let views = self.sparse.as_ref().ok().map(|granule| Views::new(*granule));
        let mut buffers = Buffers::new(&heap, device, self.host_pages, self.largest_order, self.seed, views)?;
        let mut timeline = Timeline::new(self.ops);
        let ending = Ending::of(drive(&mut buffers, self, quiet, |op| timeline.step(op, heap.pgmap())))?;
        let elapsed = start.elapsed();

        let (count, map) = (buffers.len(), HeatMap::of(heap.pgmap()));
        let closed = buffers.close()?;
        let leaked_pages = heap.pages_in_service()?;
        let folios_by_order = heap.folios_by_order();
        let ended = Ended { closed, buffers: count, leaked_pages, folios_by_order, elapsed, map, timeline };
        Ok((ending, Ran::new(device, self, ended)))
    }
}

impl Run {
    /// Log-uniform, as buffers of real programs are: many small ones, most bytes in large ones.
    fn buffer_pages(&self, random: &mut impl Rng, most: u64) -> u64 {
        let scale = (self.largest_buffer as f64).ln() * random.random::<f64>();
        let (pages, granule) = (scale.exp() as u64, self.sparse.as_ref().map_or(1, |bytes| bytes.div_ceil(PAGE)));
        // In whole granules, so that folios are no smaller than one because of the buffer's size; but small buffers stay small, and are met
        // piece by piece, so that there are folios of every order.
        let pages = if pages < granule { pages } else { pages.next_multiple_of(granule) };
        pages.clamp(1, most)
    }
}

/// What is known at the end of a run.
struct Ended {
    closed: Closed,
    buffers: usize,
    leaked_pages: u64,
    folios_by_order: Vec<u64>,
    elapsed: Duration,
    map: HeatMap,
    timeline: Timeline,
}

/// All phases, or as many as there is time for.
fn drive(buffers: &mut Buffers<'_, '_>, run: &Run, quiet: bool, look: impl FnMut(u64)) -> Result<Ending, Failure> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(run.seed);
    fill(buffers, run, &mut random, quiet)?;
    work(buffers, run, &mut random, quiet, look)?;
    check(buffers, quiet)?;
    Ok(if interrupt::wanted() { Ending::Interrupted } else { Ending::Complete })
}

/// Makes buffers until they are as many times the heap as was asked for.
fn fill(buffers: &mut Buffers<'_, '_>, run: &Run, random: &mut impl Rng, quiet: bool) -> Result<(), Failure> {
    let bar = progress::bar("fill", run.pages, quiet);
    let mut left = run.pages;
    while left > 0 && !interrupt::wanted() {
        let pages = run.buffer_pages(random, left);
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
    run: &Run,
    random: &mut impl Rng,
    quiet: bool,
    mut look: impl FnMut(u64),
) -> Result<(), Failure> {
    let bar = progress::bar("work", run.ops, quiet);
    // What replaced buffers have left free for later ones, so that the load stays as heavy as it was.
    let mut slack = 0;
    for op in 0..run.ops {
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
                let pages = run.buffer_pages(random, most);
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

/// Compares every buffer a last time, wherever it is; those in the heap are summed by the device as well.
fn check(buffers: &mut Buffers<'_, '_>, quiet: bool) -> Result<(), Failure> {
    let bar = progress::bar("check", buffers.len() as u64, quiet);
    for buffer in 0..buffers.len() {
        if interrupt::wanted() {
            break;
        }
        buffers.check(buffer)?;
        buffers.sum(buffer)?;
        bar.inc(1);
    }
    bar.finish();
    buffers.end_sums()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::DeviceError;
    use crate::faulty::{self, Fault, Faulty};
    use crate::report::Outcome;

    fn on_faulty(fault: Fault) -> (Ending, Ran) {
        faulty::run::<Run>("--heap 2MiB --ops 100", fault).unwrap()
    }

    #[test]
    fn every_shape_of_heap_and_load_is_verified() {
        for shape in [
            "--heap 4KiB",
            "--heap 8KiB --oversub 16",
            "--heap 2MiB --object 12KiB",
            "--heap 3MiB --oversub 0.5",
            "--heap 2MiB --oversub 4 --order 0",
            "--heap 2MiB --order 2 --seed 7",
        ] {
            let (ended, ran) = faulty::run::<Run>(&format!("--ops 400 {shape}"), Fault::None).unwrap();
            assert!(ended.is_complete() && ran.is_good(), "{shape}");
            assert!(ran.device_sums > 0, "{shape}");
        }
    }

    /// On a device with views of this granule and as many addresses.
    fn with_views(granule: u64, addresses: u64, fault: Fault, arguments: &str) -> Ran {
        let arguments = format!("--heap 2MiB --ops 300 {arguments}");
        let (ended, ran) = faulty::run_on::<Run>(&Faulty::describe(granule, addresses), &arguments, fault).unwrap();
        assert!(ended.is_complete());
        ran
    }

    #[test]
    fn buffers_are_used_through_their_views_wherever_they_have_moved() {
        let ran = with_views(PAGE, u64::MAX, Fault::None, "--object 300KiB");
        let counts = ran.sparse.counts;
        assert!(ran.is_good() && ran.sparse.used && ran.sparse.note.is_none() && ran.device_sums > 0);
        assert!(counts.through_views > 300 && counts.in_pieces == 0, "{counts:?}");
        assert!(counts.unbinds > 0 && counts.binds > counts.unbinds && counts.most_runs > 1, "{counts:?}");
    }

    #[test]
    fn views_that_are_not_bound_anew_are_seen() {
        let ran = with_views(PAGE, u64::MAX, Fault::LostBinds, "");
        assert!(!ran.is_good() && ran.wrong_words > 0 && ran.wrong_sums > 0);
    }

    #[test]
    fn req_82_under_a_granule_of_64_kib_there_are_folios_of_every_order() {
        let arguments = "--heap 16MiB --ops 300";
        let (_, ran) = faulty::run_on::<Run>(&Faulty::describe(64 << 10, u64::MAX), arguments, Fault::None).unwrap();
        let counts = ran.sparse.counts;
        assert!(ran.is_good() && ran.folios_by_order.iter().take(8).all(|count| *count > 0), "{:?}", ran.folios_by_order);
        assert!(counts.through_views > 0 && counts.in_pieces > 0, "large buffers have views, small ones have none: {counts:?}");
    }

    #[test]
    fn folios_smaller_than_a_granule_are_met_piece_by_piece() {
        let small = with_views(64 << 10, u64::MAX, Fault::None, "--order 2 --object 100KiB");
        assert!(small.is_good() && small.sparse.counts.in_pieces > 0, "{:?}", small.sparse);
        assert!(small.sparse.note.unwrap().contains("folios smaller than the granule of 64 KiB"));
    }

    #[test]
    fn without_addresses_there_are_fewer_views() {
        let ran = with_views(PAGE, 1 << 20, Fault::None, "");
        let counts = ran.sparse.counts;
        assert!(ran.is_good() && counts.in_pieces > 0 && counts.through_views > 0, "{counts:?}");
        let off = with_views(PAGE, u64::MAX, Fault::None, "--sparse off");
        assert!(off.is_good() && !off.sparse.used && off.sparse.counts == Default::default());
        assert!(off.sparse.note.unwrap().contains("--sparse off"));
    }

    #[test]
    fn a_wrong_bit_and_stale_bytes_are_seen() {
        let (_, flipped) = on_faulty(Fault::FlippedBit);
        assert!(flipped.wrong_words > 0 && flipped.wrong_sums == 0, "the device held what was written");
        let (_, lost) = on_faulty(Fault::LostCopies);
        assert!(lost.wrong_words > 0 && lost.wrong_sums == lost.device_sums && lost.device_sums > 0, "it never held it");
        assert!(!flipped.is_good() && !lost.is_good());
    }

    #[test]
    fn a_device_that_is_lost_ends_the_run_wherever_it_happens() {
        for submit in 0..100 {
            let (ended, ran) = on_faulty(Fault::DeviceLost(submit));
            assert_eq!(ended, Ending::Device(DeviceError::Lost), "at submit {submit}");
            assert_eq!((ran.wrong_words, ran.leaked_pages), (0, 0), "what was done until then was good");
        }
    }
}
