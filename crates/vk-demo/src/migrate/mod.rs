//! The migration benchmark: the same bytes to the device and back in folios of each order, and in one piece as the ceiling.
//!
//! One warm-up, then five iterations by default; in each one the bytes go up and come down, and are compared with what was sent. What is timed
//! is what a driver does for a migration: take the folios, copy, wait (up); copy, wait, put the folios (down). The host's side
//! is the staging memory, as the device reads system memory directly. *Per folio* waits for each folio's copy before
//! the next is begun, as page faults do; *batched* sends all folios in one submission, as a prefetch does. Each folio is a
//! region of its own, even next to its neighbour: what is measured is the price of the order, not the luck of the placement.

mod curve;
mod report;

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use pgmap_alloc::Order;
use serde::{Deserialize, Serialize};

use crate::checksum;
use crate::cli::{JobOptions, MigrateOptions};
use crate::device::{Device, DeviceInfo, Layout, Work};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::{self, Heap, HeapFolio, PAGE};
use crate::job::Job;
use crate::pattern::Pattern;
use crate::pieces::{Piece, push_merged};
use crate::size::Bytes;
use crate::{interrupt, progress};

pub(crate) use curve::saved_charts;
use report::Migrated;

/// Bytes for each row by default; less under validation, where each region takes its time.
const BYTES: u64 = 64 << 20;
const BYTES_UNDER_VALIDATION: u64 = 8 << 20;
/// The largest order that has rows of its own by default.
const LAST_ORDER: u32 = 10;
/// Contents are written and compared in steps of this many bytes.
const STEP: u64 = 1 << 20;

/// The benchmark.
pub(crate) struct Migrate {
    layout: Layout,
    bytes: u64,
    /// Of the folio that holds all of the bytes.
    bulk: Order,
    orders: Vec<Order>,
    /// Timed repetitions, after one that is not.
    iterations: usize,
    seed: u64,
}

impl Job for Migrate {
    type Options = MigrateOptions;
    type Outcome = Migrated;

    fn common(options: &MigrateOptions) -> &JobOptions {
        &options.job
    }

    fn plan(options: &MigrateOptions, info: &DeviceInfo) -> Result<Migrate, Failure> {
        let mut layout = heap::plan(&options.job.device.heap, info, None)?;
        let possible = heap::largest_order(&layout).pages() * PAGE;
        let by_default = if options.job.device.validate { BYTES_UNDER_VALIDATION } else { BYTES };
        let bytes = options.bytes.unwrap_or(by_default.min(possible));
        if !bytes.is_power_of_two() || !(PAGE..=possible).contains(&bytes) {
            let (bytes, most) = (Bytes(bytes), Bytes(possible));
            return Err(Failure::Usage(format!("--bytes: {bytes} is no power of two between {} and {most}", Bytes(PAGE))));
        }
        layout.staging = 2 * bytes;
        crate::host::room_for(layout.staging)?;
        let bulk = Order::fitting(bytes / PAGE).unwrap_or(Order::ZERO);
        let orders = match options.order {
            Some(order) => vec![heap::order_within(order, bulk)?],
            None => bulk.up_to().filter(|order| order.get() <= LAST_ORDER).collect(),
        };
        let (iterations, seed) = (usize::from(options.iterations), options.job.seed);
        Ok(Migrate { layout, bytes, bulk, orders, iterations, seed })
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Migrated), Failure> {
        let heap = Heap::new(device)?;
        let mut measured = Measured::new(self);
        let ended = Ending::of(measure(&heap, device, self, &mut measured, quiet))?;
        let leaked_pages = heap.pages_in_service()?;
        Ok((ended, Migrated::new(self, &measured, leaked_pages)))
    }
}

/// How the folios of a case are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Everything in one folio: the ceiling.
    Bulk,
    /// Each folio waits for the one before.
    PerFolio,
    /// All folios in one submission.
    Batched,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Direction {
    HostToDevice,
    DeviceToHost,
}

/// One timed migration of all bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    time: Duration,
    allocator: Duration,
    /// Processor time of the whole program.
    cpu: Duration,
    work: Work,
}

/// What was measured, and what was wrong in any of it.
struct Measured {
    orders: Vec<Samples>,
    wrong_words: u64,
    /// How often the device summed what it held, and how often that was not the sum of what had been sent.
    sums: u64,
    wrong_sums: u64,
}

/// The timed iterations of one order and of the bulk copies beside it: up and down.
struct Samples {
    order: Order,
    bulk: Vec<[Sample; 2]>,
    per_folio: Vec<[Sample; 2]>,
    batched: Vec<[Sample; 2]>,
}

impl Measured {
    fn new(migrate: &Migrate) -> Measured {
        let samples = |&order| Samples { order, bulk: Vec::new(), per_folio: Vec::new(), batched: Vec::new() };
        Measured { orders: migrate.orders.iter().map(samples).collect(), wrong_words: 0, sums: 0, wrong_sums: 0 }
    }
}

impl Samples {
    fn of(&mut self, mode: Mode) -> &mut Vec<[Sample; 2]> {
        match mode {
            Mode::Bulk => &mut self.bulk,
            Mode::PerFolio => &mut self.per_folio,
            Mode::Batched => &mut self.batched,
        }
    }
}

/// Round by round, so that a moment at which the machine is slow does not fall on one order alone. Each order has a bulk copy
/// of its own in each round, next to its batched one and in turn before and behind it: the two are compared pair by pair.
fn measure(
    heap: &Heap,
    device: &mut dyn Device,
    migrate: &Migrate,
    measured: &mut Measured,
    quiet: bool,
) -> Result<Ending, Failure> {
    const TURNS: [[Mode; 3]; 2] = [[Mode::PerFolio, Mode::Bulk, Mode::Batched], [Mode::Batched, Mode::Bulk, Mode::PerFolio]];
    let (rounds, cases) = (migrate.iterations + 1, migrate.orders.len() * TURNS[0].len());
    let bar = progress::bar("migrate", (rounds * cases) as u64, quiet);
    for round in 0..rounds {
        for index in 0..cases {
            if interrupt::wanted() {
                return Ok(Ending::Interrupted);
            }
            let samples = &mut measured.orders[index / TURNS[0].len()];
            let mode = TURNS[round % TURNS.len()][index % TURNS[0].len()];
            let order = if mode == Mode::Bulk { migrate.bulk } else { samples.order };
            // Fresh contents each time, so that bytes left over from before are seen.
            let pattern = Pattern::new(migrate.seed, index as u64, round as u64);
            let mut bench = Bench { heap, device, bytes: migrate.bytes, case: Case { order, mode } };
            let (sample, sum_is_right) = bench.there_and_back(pattern)?;
            if round > 0 {
                samples.of(mode).push(sample);
            }
            measured.sums += u64::from(sum_is_right.is_some());
            measured.wrong_sums += u64::from(sum_is_right == Some(false));
            measured.wrong_words += bench.wrong_words(pattern)?;
            bar.inc(1);
        }
    }
    bar.finish();
    Ok(Ending::Complete)
}

/// How many bytes go there and back at a time.
#[derive(Clone, Copy, Debug)]
struct Case {
    order: Order,
    mode: Mode,
}

/// One case at work. The lower half of the staging memory is what is sent, the upper half what comes back.
struct Bench<'h, 'd> {
    heap: &'h Heap,
    device: &'d mut dyn Device,
    bytes: u64,
    case: Case,
}

impl<'h> Bench<'h, '_> {
    /// Both ways, and whether the device's own checksum was right, where it can compute one.
    fn there_and_back(&mut self, pattern: Pattern) -> Result<([Sample; 2], Option<bool>), Failure> {
        let sent = self.write(pattern)?;
        let (folios, up) = self.up()?;
        let held = self.device.checksum(&self.merged(&folios)?)?;
        let down = self.down(folios)?;
        Ok(([up, down], held.map(|held| held == sent)))
    }

    /// Host to device: takes the folios and copies into them.
    fn up(&mut self) -> Result<(Vec<HeapFolio<'h>>, Sample), Failure> {
        let (bytes, count) = (self.folio_bytes(), self.folios());
        let mut folios = Vec::with_capacity(count as usize);
        let mut sample = Sample::default();
        let (work, cpu, start) = (self.device.work(), cpu_time(), Instant::now());
        if self.case.mode == Mode::PerFolio {
            for index in 0..count {
                let taking = Instant::now();
                let folio = self.take()?;
                sample.allocator += taking.elapsed();
                self.send(&[Piece::staging(index * bytes, bytes)], &[self.heap.piece(&folio)?])?;
                folios.push(folio);
            }
        } else {
            for _ in 0..count {
                folios.push(self.take()?);
            }
            sample.allocator = start.elapsed();
            let to = self.pieces(&folios)?;
            self.send(&[Piece::staging(0, self.bytes)], &to)?;
        }
        sample.time = start.elapsed();
        sample.cpu = cpu_time().saturating_sub(cpu);
        sample.work = self.device.work().since(work);
        Ok((folios, sample))
    }

    /// Device to host: copies out of the folios and puts them.
    fn down(&mut self, folios: Vec<HeapFolio<'h>>) -> Result<Sample, Failure> {
        let bytes = self.folio_bytes();
        let mut sample = Sample::default();
        let (work, cpu, start) = (self.device.work(), cpu_time(), Instant::now());
        if self.case.mode == Mode::PerFolio {
            for (index, folio) in (0..).zip(folios) {
                self.send(&[self.heap.piece(&folio)?], &[Piece::staging(self.bytes + index * bytes, bytes)])?;
                let putting = Instant::now();
                drop(folio);
                sample.allocator += putting.elapsed();
            }
        } else {
            let from = self.pieces(&folios)?;
            self.send(&from, &[Piece::staging(self.bytes, self.bytes)])?;
            let putting = Instant::now();
            drop(folios);
            sample.allocator = putting.elapsed();
        }
        sample.time = start.elapsed();
        sample.cpu = cpu_time().saturating_sub(cpu);
        sample.work = self.device.work().since(work);
        Ok(sample)
    }

    fn folio_bytes(&self) -> u64 {
        self.case.order.pages() * PAGE
    }

    fn folios(&self) -> u64 {
        self.bytes / self.folio_bytes()
    }

    fn take(&self) -> Result<HeapFolio<'h>, Failure> {
        self.heap.pgmap().alloc_folio(self.case.order).map_err(|error| Failure::Heap(error.to_string()))
    }

    /// Neighbours as one piece: a sum does not care.
    fn merged(&self, folios: &[HeapFolio<'h>]) -> Result<Vec<Piece>, Failure> {
        let mut merged = Vec::new();
        for piece in self.pieces(folios)? {
            push_merged(&mut merged, piece);
        }
        Ok(merged)
    }

    /// One piece for each folio, on purpose not merged.
    fn pieces(&self, folios: &[HeapFolio<'h>]) -> Result<Vec<Piece>, Failure> {
        folios.iter().map(|folio| self.heap.piece(folio)).collect()
    }

    fn send(&mut self, from: &[Piece], to: &[Piece]) -> Result<(), Failure> {
        self.device.copy(from, to)?;
        let ticket = self.device.submit()?;
        Ok(self.device.wait(ticket)?)
    }

    /// Puts contents into what is sent; returns their checksum.
    fn write(&mut self, pattern: Pattern) -> Result<u32, Failure> {
        let mut sum = 0;
        let mut step = vec![0; STEP.min(self.bytes) as usize];
        for at in (0..self.bytes).step_by(step.len()) {
            pattern.fill(at / 8, &mut step);
            self.device.write_staging(at, &step)?;
            sum = checksum::add(sum, at / 4, &step);
        }
        Ok(sum)
    }

    fn wrong_words(&mut self, pattern: Pattern) -> Result<u64, Failure> {
        let mut step = vec![0; STEP.min(self.bytes) as usize];
        let mut wrong = 0;
        for at in (0..self.bytes).step_by(step.len()) {
            self.device.read_staging(self.bytes + at, &mut step)?;
            wrong += pattern.check(at / 8, &step).map_or(0, |mismatch| mismatch.words);
        }
        Ok(wrong)
    }
}

/// Processor time of this program so far; none where the system does not say.
fn cpu_time() -> Duration {
    ProcessTime::try_now().map_or(Duration::ZERO, |now| now.as_duration())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::DeviceError;
    use crate::faulty::{self, Fault};
    use crate::report::Outcome;

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
            // The warm-up is 82 submissions; after it come order 0's batched copy, both ways, and the bulk copy.
            assert_eq!(migrated.rows.is_empty(), submit < 86, "at submit {submit}: {:?}", migrated.rows);
        }
    }
}
