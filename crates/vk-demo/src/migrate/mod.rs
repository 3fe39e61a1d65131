//! The migration benchmark: the same bytes to the device and back in folios of each order, and in one piece as the ceiling.
//!
//! One warm-up, then five iterations; in each one the bytes go up and come down, and are compared with what was sent. What is timed
//! is what a driver does for a migration: take the folios, copy, wait (up); copy, wait, put the folios (down). The host's side
//! is the staging memory, as the device reads system memory directly. *Per folio* waits for each folio's copy before
//! the next is begun, as page faults do; *batched* sends all folios in one submission, as a prefetch does. Each folio is a
//! region of its own, even next to its neighbour: what is measured is the price of the order, not the luck of the placement.

mod curve;
mod report;

use std::time::{Duration, Instant};

use pgmap_alloc::Order;
use serde::{Deserialize, Serialize};

use crate::Verdict;
use crate::checksum;
use crate::choose::Devices;
use crate::cli::MigrateOptions;
use crate::device::{Device, DeviceInfo, Layout, Work};
use crate::failure::Failure;
use crate::heap::{self, Heap, HeapFolio, PAGE};
use crate::pattern::Pattern;
use crate::picture;
use crate::pieces::{Piece, push_merged};
use crate::progress;
use crate::report::{Baseline, Output};
use crate::size::Bytes;

pub(crate) use curve::saved_charts;
use report::Report;

/// Timed repetitions, after one that is not.
const ITERATIONS: usize = 5;
/// Bytes for each row by default; less under validation, where each region takes its time.
const BYTES: u64 = 64 << 20;
const BYTES_UNDER_VALIDATION: u64 = 8 << 20;
/// The largest order that has rows of its own by default.
const LAST_ORDER: u32 = 10;
/// Contents are written and compared in steps of this many bytes.
const STEP: u64 = 1 << 20;

/// Runs the command.
pub(crate) fn command(options: &MigrateOptions) -> Result<Verdict, Failure> {
    let devices = Devices::find(options.device.validate)?;
    let candidate = devices.choose(options.device.device.as_deref())?;
    let plan = Plan::new(options, candidate.info())?;
    let mut output = Output::open(&options.output)?;
    let mut picture = picture::Files::open(&options.picture)?;
    let baseline = options.baseline.as_deref().map(|path| Baseline::read(path, report::SCHEMA)).transpose()?;

    let mut device = candidate.open(&plan.layout)?;
    let mut report = run(device.as_mut(), &plan, options.output.quiet)?;
    // What the validation layer says while the device is closed counts too.
    drop(device);
    report.count_messages(devices.messages.as_ref());
    report.write(&mut output, baseline.as_ref())?;
    picture.write(|| report.picture())?;
    Ok(Verdict::of(report.verified, report.validation_messages))
}

/// A benchmark, checked against the device before anything is done.
struct Plan {
    layout: Layout,
    bytes: u64,
    cases: Vec<Case>,
    seed: u64,
}

impl Plan {
    fn new(options: &MigrateOptions, info: &DeviceInfo) -> Result<Plan, Failure> {
        let mut layout = heap::plan(&options.device.heap, info, 0)?;
        let possible = heap::largest_order(&layout).pages() * PAGE;
        let by_default = if options.device.validate { BYTES_UNDER_VALIDATION } else { BYTES };
        let bytes = options.bytes.unwrap_or(by_default.min(possible));
        if !bytes.is_power_of_two() || !(PAGE..=possible).contains(&bytes) {
            let (bytes, most) = (Bytes(bytes), Bytes(possible));
            return Err(Failure::Usage(format!("--bytes: {bytes} is no power of two between {} and {most}", Bytes(PAGE))));
        }
        layout.staging = 2 * bytes;
        crate::host::room_for(layout.staging)?;
        let bulk = Order::fitting(bytes / PAGE).unwrap_or(Order::ZERO);
        let orders: Vec<Order> = match options.order {
            Some(order) => vec![heap::order_within(order, bulk)?],
            None => bulk.up_to().filter(|order| order.get() <= LAST_ORDER).collect(),
        };
        let folios = orders.into_iter().flat_map(|order| [Mode::PerFolio, Mode::Batched].map(|mode| Case { order, mode }));
        let cases = std::iter::once(Case { order: bulk, mode: Mode::Bulk }).chain(folios).collect();
        Ok(Plan { layout, bytes, cases, seed: options.seed })
    }
}

/// One row up and one row down.
#[derive(Clone, Copy, Debug)]
struct Case {
    order: Order,
    mode: Mode,
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
    work: Work,
}

/// The five timed iterations of a case, both ways, and the words that were wrong in any of them.
struct Measured {
    case: Case,
    up: Vec<Sample>,
    down: Vec<Sample>,
    wrong_words: u64,
    /// How often the device summed what it held, and how often that was not the sum of what had been sent.
    sums: u64,
    wrong_sums: u64,
}

impl Measured {
    fn new(case: Case) -> Measured {
        Measured { case, up: Vec::new(), down: Vec::new(), wrong_words: 0, sums: 0, wrong_sums: 0 }
    }
}

fn run(device: &mut dyn Device, plan: &Plan, quiet: bool) -> Result<Report, Failure> {
    let heap = Heap::new(device)?;
    let rounds = ITERATIONS + 1;
    let bar = progress::bar("migrate", (rounds * plan.cases.len()) as u64, quiet);
    let mut measured: Vec<Measured> = plan.cases.iter().map(|&case| Measured::new(case)).collect();
    for round in 0..rounds {
        // Round by round, so that a moment at which the machine is slow does not fall on one row alone.
        for (index, measured) in measured.iter_mut().enumerate() {
            // Fresh contents each time, so that bytes left over from before are seen.
            let pattern = Pattern::new(plan.seed, index as u64, round as u64);
            let mut bench = Bench { heap: &heap, device, bytes: plan.bytes, case: measured.case };
            let (up, down, sum_is_right) = bench.there_and_back(pattern)?;
            measured.sums += u64::from(sum_is_right.is_some());
            measured.wrong_sums += u64::from(sum_is_right == Some(false));
            measured.wrong_words += bench.wrong_words(pattern)?;
            if round > 0 {
                measured.up.push(up);
                measured.down.push(down);
            }
            bar.inc(1);
        }
    }
    bar.finish();
    let leaked_pages = heap.pages_in_service()?;
    Ok(Report::new(device, plan, &measured, leaked_pages))
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
    fn there_and_back(&mut self, pattern: Pattern) -> Result<(Sample, Sample, Option<bool>), Failure> {
        let sent = self.write(pattern)?;
        let (folios, up) = self.up()?;
        let held = self.device.checksum(&self.merged(&folios)?)?;
        let down = self.down(folios)?;
        Ok((up, down, held.map(|held| held == sent)))
    }

    /// Host to device: takes the folios and copies into them.
    fn up(&mut self) -> Result<(Vec<HeapFolio<'h>>, Sample), Failure> {
        let (bytes, count) = (self.folio_bytes(), self.folios());
        let mut folios = Vec::with_capacity(count as usize);
        let mut sample = Sample::default();
        let (work, start) = (self.device.work(), Instant::now());
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
        sample.work = self.device.work().since(work);
        Ok((folios, sample))
    }

    /// Device to host: copies out of the folios and puts them.
    fn down(&mut self, folios: Vec<HeapFolio<'h>>) -> Result<Sample, Failure> {
        let bytes = self.folio_bytes();
        let mut sample = Sample::default();
        let (work, start) = (self.device.work(), Instant::now());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::device::DeviceError;
    use crate::faulty::{Fault, Faulty};
    use crate::host;

    fn on_faulty(fault: Fault) -> Result<Report, Failure> {
        let arguments = ["vk-demo", "migrate", "--heap", "64KiB"];
        let Command::Migrate(options) = Cli::parse_from(arguments).command() else {
            unreachable!("the command was given");
        };
        let plan = Plan::new(&options, &host::describe()).unwrap();
        run(&mut Faulty::open(&plan.layout, fault).unwrap(), &plan, true)
    }

    #[test]
    fn a_wrong_bit_and_stale_bytes_are_seen() {
        assert!(!on_faulty(Fault::FlippedBit).unwrap().verified);
        assert!(!on_faulty(Fault::LostCopies).unwrap().verified);
        assert_eq!(on_faulty(Fault::FlippedBit).unwrap().wrong_sums, 0, "the device held what was sent");
        let lost = on_faulty(Fault::LostCopies).unwrap();
        assert!(lost.wrong_sums == lost.device_sums && lost.device_sums > 0, "the device never held it");
    }

    #[test]
    fn a_device_that_is_lost_ends_the_benchmark() {
        for submit in 0..40 {
            assert!(matches!(on_faulty(Fault::DeviceLost(submit)), Err(Failure::Device(DeviceError::Lost))));
        }
    }
}
