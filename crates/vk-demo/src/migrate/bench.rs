//! One case at work: the same bytes to the device and back, in folios of one order.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use pgmap_alloc::Order;
use serde::{Deserialize, Serialize};

use super::STEP;
use crate::checksum;
use crate::device::{Device, Work};
use crate::failure::Failure;
use crate::heap::{Heap, HeapFolio, PAGE};
use crate::pattern::Pattern;
use crate::pieces::{Memory, Piece, push_merged};

/// How the folios of a case are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// Everything in one folio: the ceiling.
    Bulk,
    /// Each folio waits for the one before.
    PerFolio,
    /// All folios in one submission, each a region of its own.
    Batched,
    /// The same, with the folios in the order of their offsets, and neighbours in one region.
    Merged,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Direction {
    HostToDevice,
    DeviceToHost,
}

/// One timed migration of all bytes, by what the time went to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Taking folios, or putting them.
    pub(super) allocator: Duration,
    /// Making lists of regions, and checking them: what this program does for itself. Not in `time`.
    pub(super) planning: Duration,
    /// Telling the driver.
    pub(super) recording: Duration,
    /// From the submission until the copy was done.
    pub(super) waiting: Duration,
    /// What copying took by the device's own clock, where it has one.
    pub(super) copying: Option<Duration>,
    /// Processor time of the whole program, planning included.
    pub(super) cpu: Duration,
    /// Of single folios, where they are waited for one by one.
    pub(super) latency: Option<Latency>,
    pub(super) work: Work,
}

impl Sample {
    /// What a driver would take for it.
    pub(super) fn time(&self) -> Duration {
        self.allocator + self.recording + self.waiting
    }
}

/// How long one folio took: half of them no longer than the one, 99 of 100 no longer than the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Latency {
    fn of(mut folios: Vec<Duration>) -> Option<Latency> {
        folios.sort_unstable();
        let at = |percent: usize| folios.get((folios.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Latency { p50: at(50)?, p99: at(99)? })
    }
}

/// A clock that says how long it is since it was last asked.
struct Laps(Instant);

impl Laps {
    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.0, Instant::now());
        self.0 - before
    }
}

/// One case at work. The first so many bytes of the staging memory are what is sent, the next what comes back.
pub(super) struct Bench<'h, 'd> {
    pub(super) heap: &'h Heap,
    pub(super) device: &'d mut dyn Device,
    pub(super) bytes: u64,
    /// Of each folio.
    pub(super) order: Order,
    pub(super) mode: Mode,
    /// Whether the device is asked for the sum of what it holds.
    pub(super) sums: bool,
}

impl<'h> Bench<'h, '_> {
    /// Both ways, and whether the device's own checksum was right, where it was asked for and can compute one.
    pub(super) fn there_and_back(&mut self, pattern: Pattern) -> Result<([Sample; 2], Option<bool>), Failure> {
        self.warm()?;
        let sent = self.write(pattern)?;
        let (folios, up) = self.up()?;
        // It does not care what is whose.
        let held = if self.sums { self.device.checksum(&self.merged(&folios)?)? } else { None };
        let down = self.down(folios)?;
        Ok(([up, down], held.map(|held| held == sent)))
    }

    /// Takes the folios and writes them once, before anything is timed: what is in some cache or other then is the same for every
    /// mode, whoever had this part of the heap before. What is written is what an earlier case left, never what is sent next.
    fn warm(&mut self) -> Result<(), Failure> {
        let folios = (0..self.folios()).map(|_| self.take()).collect::<Result<Vec<_>, _>>()?;
        let to = self.merged(&folios)?;
        self.send(&[Piece::staging(0, self.bytes)], &to)
    }

    /// Host to device: takes the folios and copies into them.
    fn up(&mut self) -> Result<(Vec<HeapFolio<'h>>, Sample), Failure> {
        let (bytes, count) = (self.folio_bytes(), self.folios());
        let mut folios = Vec::with_capacity(count as usize);
        let mut each = Vec::with_capacity(if self.mode == Mode::PerFolio { count as usize } else { 0 });
        let mut sample = Sample::default();
        let (work, cpu, mut laps) = (self.device.work(), cpu_time(), Laps(Instant::now()));
        if self.mode == Mode::PerFolio {
            for index in 0..count {
                let before = sample.time();
                let folio = self.take()?;
                sample.allocator += laps.lap();
                let to = [self.heap.piece(&folio)?];
                self.timed(&[Piece::staging(index * bytes, bytes)], &to, &mut sample, &mut laps)?;
                each.push(sample.time() - before);
                folios.push(folio);
            }
        } else {
            for _ in 0..count {
                folios.push(self.take()?);
            }
            sample.allocator = laps.lap();
            if self.mode == Mode::Merged {
                folios.sort_unstable_by_key(HeapFolio::offset);
            }
            let to = self.sent(&folios)?;
            self.timed(&[Piece::staging(0, self.bytes)], &to, &mut sample, &mut laps)?;
        }
        Ok((folios, self.sample(sample, each, work, cpu)))
    }

    /// Device to host: copies out of the folios and puts them.
    fn down(&mut self, folios: Vec<HeapFolio<'h>>) -> Result<Sample, Failure> {
        let bytes = self.folio_bytes();
        let mut each = Vec::with_capacity(if self.mode == Mode::PerFolio { folios.len() } else { 0 });
        let mut sample = Sample::default();
        let (work, cpu, mut laps) = (self.device.work(), cpu_time(), Laps(Instant::now()));
        if self.mode == Mode::PerFolio {
            for (index, folio) in (0..).zip(folios) {
                let before = sample.time();
                let from = [self.heap.piece(&folio)?];
                self.timed(&from, &[Piece::staging(self.bytes + index * bytes, bytes)], &mut sample, &mut laps)?;
                drop(folio);
                sample.allocator += laps.lap();
                each.push(sample.time() - before);
            }
        } else {
            let from = self.sent(&folios)?;
            self.timed(&from, &[Piece::staging(self.bytes, self.bytes)], &mut sample, &mut laps)?;
            drop(folios);
            sample.allocator = laps.lap();
        }
        Ok(self.sample(sample, each, work, cpu))
    }

    /// Copies, and waits for it. What the clock has shown since it was last asked was planning, and so is what the device needs to
    /// cut the lists into regions.
    fn timed(&mut self, from: &[Piece], to: &[Piece], sample: &mut Sample, laps: &mut Laps) -> Result<(), Failure> {
        sample.planning += laps.lap();
        let before = self.device.work().planning;
        self.device.copy(from, to)?;
        let planned = self.device.work().planning.saturating_sub(before);
        sample.planning += planned;
        sample.recording += laps.lap().saturating_sub(planned);
        let ticket = self.device.submit()?;
        self.device.wait(ticket)?;
        sample.waiting += laps.lap();
        Ok(())
    }

    /// With what is only known at the end.
    fn sample(&self, sample: Sample, each: Vec<Duration>, work: Work, cpu: Duration) -> Sample {
        let (cpu, work) = (cpu_time().saturating_sub(cpu), self.device.work().since(work));
        Sample { cpu, work, copying: work.copying, latency: Latency::of(each), ..sample }
    }

    fn folio_bytes(&self) -> u64 {
        self.order.pages() * PAGE
    }

    fn folios(&self) -> u64 {
        self.bytes / self.folio_bytes()
    }

    fn take(&self) -> Result<HeapFolio<'h>, Failure> {
        self.heap.pgmap().alloc_folio(self.order).map_err(|error| Failure::Heap(error.to_string()))
    }

    /// What one submission of all of them names.
    fn sent(&self, folios: &[HeapFolio<'h>]) -> Result<Vec<Piece>, Failure> {
        if self.mode == Mode::Merged { self.merged(folios) } else { self.pieces(folios) }
    }

    /// Neighbours as one piece.
    fn merged(&self, folios: &[HeapFolio<'h>]) -> Result<Vec<Piece>, Failure> {
        let mut merged = Vec::new();
        for piece in self.pieces(folios)? {
            push_merged(&mut merged, piece);
        }
        Ok(merged)
    }

    /// One piece for each folio.
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

    pub(super) fn wrong_words(&mut self, pattern: Pattern) -> Result<u64, Failure> {
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

/// Writes every page of the heap once. A driver may back memory only when it is touched, and that is not what is measured.
pub(super) fn touch(device: &mut dyn Device) -> Result<(), Failure> {
    let most = device.staging_bytes();
    for (object, all) in device.objects().to_vec().into_iter().enumerate() {
        for start in (0..all).step_by(most as usize) {
            let bytes = most.min(all - start);
            device.copy(&[Piece::staging(0, bytes)], &[Piece { memory: Memory::Object(object), start, bytes }])?;
            let ticket = device.submit()?;
            device.wait(ticket)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn req_82_latency_is_of_a_folio_that_there_was() {
        let of = |times: &[u64]| Latency::of(times.iter().map(|time| Duration::from_nanos(*time)).collect());
        let is = |p50, p99| Some(Latency { p50: Duration::from_nanos(p50), p99: Duration::from_nanos(p99) });
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), is(7, 7));
        assert_eq!(of(&[4, 1, 3, 2]), is(2, 4));
        assert_eq!(of(&(1..=1000).collect::<Vec<_>>()), is(500, 990));
    }
}
