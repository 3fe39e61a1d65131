//! The migration benchmark: the same bytes to the device and back in folios of each order, and in one piece as the ceiling.
//!
//! ```text
//! sizes   how many bytes       bench   there and back, timed       row   the numbers of a row
//! report  the tables           curve   throughput over order and size
//! ```
//! For each of several sizes, one warm-up, then five iterations by default; in each one the bytes go up and come down, and are
//! compared with what was sent; in the first and the last the device also sums what it holds. What is timed is what a driver does
//! for a migration: take the folios, record the copy, wait for it (up); record, wait, put the folios (down). Each of the three is
//! timed by itself, and the copy by the device's own clock where it has one. What this program does for itself, making lists of
//! regions and checking them, is timed too, and is no part of the migration's time. The host's side is the staging memory, as
//! the device reads system memory directly.
//!
//! A row whose middle half is wider than a fifth of its median varies too much. Where nobody says how often to measure, it is
//! measured again, with all that is compared with it, until it is steadier; at the most three times as often as the others, and for
//! no longer than all of them together took. If it is not steady then, it is marked.
//!
//! *Per folio* waits for each folio's copy before the next is begun, as page faults do;
//! *batched* sends all folios in one submission, as a prefetch does. There each folio is a region of its own, even next to its
//! neighbour: what is measured is the price of the order, not the luck of the placement. *Merged* is the same submission as a good
//! driver would send it: which folio takes which of the bytes is its choice, so it sorts them by offset and makes one region of
//! neighbours. The heap is idle when it is measured, so most are neighbours, and what is left of the order is the price of taking folios.

mod bench;
mod curve;
mod report;
mod row;
mod sizes;

use std::time::Instant;

use indicatif::ProgressBar;
use pgmap_alloc::Order;

use crate::cli::{JobOptions, MigrateOptions};
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::{self, Heap, PAGE};
use crate::job::Job;
use crate::pattern::Pattern;
use crate::report::Coverage;
use crate::size::Bytes;
use crate::{host, interrupt, progress};

pub(crate) use curve::saved_charts;
pub(crate) use sizes::Sizes;

use bench::{Bench, Mode, Sample};
use report::Migrated;

/// Sizes by default, as far as the heap holds them; under validation, where each region takes its time, up to the second.
const SIZES: [u64; 4] = [512 << 10, 4 << 20, 32 << 20, 256 << 20];
const SIZES_UNDER_VALIDATION: usize = 2;
/// Of the sizes by default, rows that would wait for more folios than this one by one are left out.
const MOST_ONE_BY_ONE: u64 = 8192;
/// The largest order that has rows of its own by default.
const LAST_ORDER: u32 = 10;
/// Timed repetitions where nobody says how many, and how many times as many of what varies too much.
const ITERATIONS: u16 = 5;
const MOST_TIMES: usize = 3;
/// Contents are written and compared in steps of this many bytes.
const STEP: u64 = 1 << 20;

/// The benchmark.
pub(crate) struct Migrate {
    /// By size, then by order.
    series: Vec<Series>,
    /// Timed repetitions, after one that is not.
    iterations: usize,
    /// Whether what varies too much is measured longer.
    longer: bool,
    seed: u64,
}

/// One size in folios of one order, and in one piece beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Series {
    bytes: u64,
    order: Order,
    /// Whether its folios are sent one by one, too.
    one_by_one: bool,
    /// The largest folio that there can be.
    largest: Order,
}

impl Series {
    /// The order of the folio that holds all of the bytes, or of the few that do where no memory object holds them all.
    fn bulk(self) -> Order {
        Order::fitting(self.bytes / PAGE).unwrap_or(Order::ZERO).min(self.largest)
    }

    fn folios(self) -> u64 {
        self.bytes / PAGE / self.order.pages()
    }

    fn has(self, mode: Mode) -> bool {
        mode != Mode::PerFolio || self.one_by_one
    }
}

/// What is migrated on such a heap.
fn series(job: &JobOptions, options: &MigrateOptions, layout: &Layout) -> Result<Vec<Series>, Failure> {
    let possible = heap::largest_order(layout);
    let most = possible.pages() * PAGE;
    // Who asks for more than one memory object holds has it in several folios.
    let whole_objects = layout.objects.iter().filter(|bytes| **bytes >= most).sum::<u64>();
    let has_order = |bytes| options.order.is_none_or(|order| Order::fitting(bytes / PAGE).is_some_and(|bulk| order <= bulk.get()));
    let by_default = if job.device.validate { &SIZES[..SIZES_UNDER_VALIDATION] } else { &SIZES };
    let sizes: Vec<u64> = match &options.sizes {
        Some(sizes) => sizes.bytes().to_vec(),
        None => by_default
            .iter()
            .copied()
            .filter(|bytes| *bytes <= most && has_order(*bytes) && host::room_for(2 * bytes).is_ok())
            .collect(),
    };
    // A heap that holds none of them is migrated as a whole.
    let sizes = if sizes.is_empty() { vec![most] } else { sizes };
    let mut series = Vec::new();
    for bytes in sizes {
        if !bytes.is_power_of_two() || !(PAGE..=whole_objects).contains(&bytes) {
            let (bytes, most) = (Bytes(bytes), Bytes(1 << whole_objects.max(1).ilog2()));
            return Err(Failure::Usage(format!("--sizes: {bytes} is no power of two between {} and {most}", Bytes(PAGE))));
        }
        let whole = Series { bytes, order: Order::ZERO, one_by_one: true, largest: possible };
        let orders: Vec<Order> = match options.order {
            Some(order) => vec![heap::order_within("--order", order, whole.bulk())?],
            None => whole.bulk().up_to().filter(|order| order.get() <= LAST_ORDER).collect(),
        };
        series.extend(orders.into_iter().map(|order| {
            let one = Series { order, ..whole };
            let everything = options.sizes.is_some() || options.order.is_some();
            Series { one_by_one: everything || one.folios() <= MOST_ONE_BY_ONE, ..one }
        }));
    }
    Ok(series)
}

impl Job for Migrate {
    type Options = MigrateOptions;
    type Outcome = Migrated;

    fn plan(job: &JobOptions, options: &MigrateOptions, _: &DeviceInfo, layout: &mut Layout) -> Result<Migrate, Failure> {
        let series = series(job, options, layout)?;
        layout.staging = 2 * series.iter().map(|one| one.bytes).max().unwrap_or(PAGE);
        let iterations = usize::from(options.iterations.unwrap_or(ITERATIONS));
        // Under the validation layer times mean little, and more of them no more.
        let longer = options.iterations.is_none() && !job.device.validate;
        Ok(Migrate { series, iterations, longer, seed: job.seed })
    }

    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Migrated), Failure> {
        let heap = Heap::new(device)?;
        let mut measured = Measured::new(self);
        let ended = Ending::of(measure(&heap, device, self, &mut measured, quiet))?;
        let leaked_pages = heap.pages_in_service()?;
        Ok((ended, Migrated::new(self, &measured, leaked_pages)))
    }
}

/// What was measured, and what was wrong in any of it.
struct Measured {
    series: Vec<Samples>,
    wrong_words: u64,
    coverage: Coverage,
    /// How often the device summed what it held, and how often that was not the sum of what had been sent.
    sums: u64,
    wrong_sums: u64,
}

/// The timed iterations of one series, and of the bulk copies beside it: up and down.
struct Samples {
    series: Series,
    bulk: Vec<[Sample; 2]>,
    per_folio: Vec<[Sample; 2]>,
    batched: Vec<[Sample; 2]>,
    merged: Vec<[Sample; 2]>,
}

impl Measured {
    fn new(migrate: &Migrate) -> Measured {
        let samples =
            |&series| Samples { series, bulk: Vec::new(), per_folio: Vec::new(), batched: Vec::new(), merged: Vec::new() };
        Measured {
            series: migrate.series.iter().map(samples).collect(),
            wrong_words: 0,
            coverage: Coverage::default(),
            sums: 0,
            wrong_sums: 0,
        }
    }
}

impl Samples {
    fn of(&mut self, mode: Mode) -> &mut Vec<[Sample; 2]> {
        match mode {
            Mode::Bulk => &mut self.bulk,
            Mode::PerFolio => &mut self.per_folio,
            Mode::Batched => &mut self.batched,
            Mode::Merged => &mut self.merged,
        }
    }

    /// Whether any row of it varies too much.
    fn is_restless(&self) -> bool {
        [&self.bulk, &self.per_folio, &self.batched, &self.merged].into_iter().any(|samples| {
            (0..2).any(|way| {
                let seconds: Vec<f64> = samples.iter().map(|sample| sample[way].time().as_secs_f64()).collect();
                row::varies(&seconds)
            })
        })
    }
}

/// Modes by turns, so that each stands in turn before and behind its neighbours.
const TURNS: [[Mode; 4]; 2] =
    [[Mode::PerFolio, Mode::Merged, Mode::Bulk, Mode::Batched], [Mode::Batched, Mode::Bulk, Mode::Merged, Mode::PerFolio]];

/// Round by round, so that a moment at which the machine is slow does not fall on one row alone. Each series has a bulk copy
/// of its own in each round, between its batched and its merged one, which stand in turn before and behind it: they are compared
/// pair by pair.
fn measure(
    heap: &Heap,
    device: &mut dyn Device,
    migrate: &Migrate,
    measured: &mut Measured,
    quiet: bool,
) -> Result<Ending, Failure> {
    let all: Vec<usize> = (0..migrate.series.len()).collect();
    let rounds = migrate.iterations + 1;
    let bar = progress::bar("migrate", (rounds * cases(migrate, &all, 0).count()) as u64, quiet);
    bench::touch(device)?;
    measured.coverage.written_bytes = device.objects().iter().sum();
    let start = Instant::now();
    for round in 0..rounds {
        if !measure_round(heap, device, migrate, measured, (round, &all), &bar)? {
            return Ok(Ending::Interrupted);
        }
    }
    let (patience, start) = (start.elapsed(), Instant::now());
    for round in rounds..=MOST_TIMES * migrate.iterations {
        let restless: Vec<usize> = all.iter().copied().filter(|index| measured.series[*index].is_restless()).collect();
        if !migrate.longer || restless.is_empty() || start.elapsed() > patience {
            break;
        }
        bar.inc_length(cases(migrate, &restless, round).count() as u64);
        if !measure_round(heap, device, migrate, measured, (round, &restless), &bar)? {
            return Ok(Ending::Interrupted);
        }
    }
    bar.finish();
    Ok(Ending::Complete)
}

/// What is measured of these series in one round, in this order.
fn cases(migrate: &Migrate, which: &[usize], round: usize) -> impl Iterator<Item = (usize, Mode)> {
    let turns = move |index: &usize| {
        let (index, series) = (*index, migrate.series[*index]);
        TURNS[round % TURNS.len()].into_iter().filter(move |mode| series.has(*mode)).map(move |mode| (index, mode))
    };
    which.iter().flat_map(turns)
}

/// One round of these series; false where Ctrl-C ended it.
fn measure_round(
    heap: &Heap,
    device: &mut dyn Device,
    migrate: &Migrate,
    measured: &mut Measured,
    (round, which): (usize, &[usize]),
    bar: &ProgressBar,
) -> Result<bool, Failure> {
    for (case, (index, mode)) in cases(migrate, which, round).enumerate() {
        if interrupt::wanted() {
            return Ok(false);
        }
        let samples = &mut measured.series[index];
        let Series { bytes, order, .. } = samples.series;
        let order = if mode == Mode::Bulk { samples.series.bulk() } else { order };
        // Fresh contents each time, so that bytes left over from before are seen.
        let pattern = Pattern::new(migrate.seed, case as u64, round as u64);
        let sums = round == 0 || round == migrate.iterations;
        let mut bench = Bench { heap, device, bytes, order, mode, sums };
        let (sample, sum_is_right) = bench.there_and_back(pattern)?;
        if round > 0 {
            samples.of(mode).push(sample);
        }
        measured.sums += u64::from(sum_is_right.is_some());
        measured.wrong_sums += u64::from(sum_is_right == Some(false));
        measured.wrong_words += bench.wrong_words(pattern)?;
        // Beside what is timed, as much has been written to warm up, and thrown away.
        measured.coverage.written_bytes += 2 * bytes;
        measured.coverage.compared_bytes += bytes;
        bar.inc(1);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::DeviceError;
    use crate::faulty::{self, Fault};
    use crate::report::Outcome;

    /// What would be migrated, as (size, order, whether one by one, too).
    fn planned(arguments: &str) -> Vec<(u64, u32, bool)> {
        let (migrate, _) = faulty::plan::<Migrate>(arguments, &host::describe()).unwrap();
        migrate.series.iter().map(|one| (one.bytes, one.order.get(), one.one_by_one)).collect()
    }

    #[test]
    fn by_default_sizes_are_what_the_heap_holds_and_what_takes_long_is_left_out() {
        let sizes = |arguments: &str| {
            let mut sizes: Vec<u64> = planned(arguments).iter().map(|one| one.0).collect();
            sizes.dedup();
            sizes
        };
        assert_eq!(sizes("--heap 256MiB"), SIZES);
        assert_eq!(sizes("--heap 255MiB"), SIZES[..3]);
        assert_eq!(sizes("--heap 64MiB --object 2MiB"), SIZES[..1], "an object holds no more");
        assert_eq!(sizes("--heap 300KiB"), [256 << 10], "a heap that holds none of them");
        assert_eq!(sizes("--heap 256MiB --validate"), SIZES[..2]);
        assert_eq!(sizes("--heap 256MiB --order 9"), SIZES[1..], "sizes that have such a folio");

        let left_out: Vec<_> = planned("--heap 256MiB").into_iter().filter(|one| !one.2).map(|one| (one.0, one.1)).collect();
        assert_eq!(left_out, [0, 1, 2].map(|order| (256 << 20, order)));
        for asked in ["--sizes 256MiB", "--sizes 512KiB..256MiB", "--order 0"] {
            assert!(planned(&format!("--heap 256MiB {asked}")).iter().all(|one| one.2), "who asks for it has it: {asked}");
        }
        assert_eq!(planned("--heap 256MiB").iter().filter(|one| one.0 == 256 << 20).count(), 11);
    }

    #[test]
    fn req_82_what_varies_too_much_is_measured_longer_and_not_for_ever() {
        let timed = |times: &[u64]| {
            let sample = |time| [Sample { waiting: std::time::Duration::from_millis(time), ..Sample::default() }; 2];
            let (migrate, _) = faulty::plan::<Migrate>("--heap 4KiB", &host::describe()).unwrap();
            let mut measured = Measured::new(&migrate);
            measured.series[0].batched = times.iter().map(|time| sample(*time)).collect();
            measured.series[0].is_restless()
        };
        assert!(timed(&[10, 10, 13, 13, 10]) && !timed(&[10, 10, 10, 11, 90]), "the middle half is what counts");
        let most = |arguments: &str| {
            let (_, migrated) = faulty::run::<Migrate>(arguments, Fault::None).unwrap();
            // The bulk copies of all orders make one row.
            migrated.rows.iter().filter(|row| row.mode != Mode::Bulk).map(|row| row.iterations).max()
        };
        assert!(most("--heap 64KiB") <= Some(usize::from(ITERATIONS) * MOST_TIMES));
        assert_eq!(most("--heap 64KiB --iterations 4"), Some(4), "who says how often has it so");
    }

    #[test]
    fn req_82_each_part_of_the_time_is_measured() {
        let (_, migrated) = faulty::run::<Migrate>("--heap 4MiB --sizes 4MiB --order 0 --iterations 1", Fault::None).unwrap();
        for row in &migrated.rows {
            assert!(row.planning_ms > 0.0 && row.waiting_ms > 0.0 && row.allocator_ms > 0.0, "nothing takes no time: {row:?}");
            let parts = row.allocator_ms + row.recording_ms + row.waiting_ms;
            assert!((parts - row.ms).abs() < 1e-6, "of a single iteration they are all there is: {row:?}");
            assert_eq!((row.p50_us.is_some(), row.p50_us <= row.p99_us), (row.mode == Mode::PerFolio, true));
            assert_eq!(row.copying_ms, None, "the host device has no clock of its own");
        }
    }

    fn on_faulty(fault: Fault) -> (Ending, Migrated) {
        faulty::run::<Migrate>("--heap 64KiB", fault).unwrap()
    }

    #[test]
    fn a_wrong_bit_and_stale_bytes_are_seen() {
        let (_, flipped) = on_faulty(Fault::FlippedBit);
        assert!(!flipped.is_good() && flipped.wrong_sums == 0, "the device held what was sent");
        let (_, lost) = on_faulty(Fault::LostCopies);
        assert!(!lost.is_good() && lost.wrong_sums == lost.device_sums && lost.device_sums > 0, "the device never held it");
    }

    #[test]
    fn a_device_that_is_lost_leaves_the_rows_that_there_are() {
        for submit in 0..200 {
            let (ended, migrated) = on_faulty(Fault::DeviceLost(submit));
            assert_eq!(ended, Ending::Device(DeviceError::Lost), "at submit {submit}");
            assert!(migrated.is_good(), "what was done until then was good");
            // One submission touches the heap, the warm-up is 112; after them come order 0's batched copy, both ways, and the bulk copy.
            assert_eq!(migrated.rows.is_empty(), submit < 119, "at submit {submit}: {:?}", migrated.rows);
        }
    }
}
