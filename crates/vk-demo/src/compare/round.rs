//! One allocator is asked everything once.

use std::time::{Duration, Instant};

use super::store::Store;
use super::trace::{Op, Trace};
use crate::checksum;
use crate::device::{Device, Ticket};
use crate::failure::Failure;
use crate::interrupt;
use crate::pattern::Pattern;
use crate::pieces::{Memory, Piece};
use crate::report::{Coverage, Gaps};
use crate::ring::Ring;

/// Steps between two looks at what the store has.
const LOOK: usize = 64;

/// What is to be done.
pub(super) struct Work<'t> {
    pub(super) trace: &'t Trace,
    /// Of the contents.
    pub(super) seed: u64,
}

/// A look at a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Steps done.
    pub(super) step: u64,
    /// Idle memory, where objects share memory.
    pub(super) gaps: Option<Gaps>,
    /// Objects refused until then.
    pub(super) refused: u64,
}

/// What came of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) asked: u64,
    pub(super) refused: u64,
    pub(super) put: u64,
    /// Contiguous pieces of all objects that were taken.
    pub(super) pieces: u64,
    /// At the most, of the objects that were alive.
    pub(super) peak_asked_bytes: u64,
    pub(super) peak_placed_bytes: u64,
    pub(super) peak_held_bytes: u64,
    /// Inside the allocator: for objects that were taken, and for those that were given back.
    pub(super) take_time: Duration,
    pub(super) put_time: Duration,
    /// Copying and waiting for it.
    pub(super) device_time: Duration,
    /// All of it but making and comparing contents.
    pub(super) time: Duration,
    pub(super) checked_bytes: u64,
    pub(super) wrong_words: u64,
    /// Bytes written, and those of them that were compared before they were overwritten or given back.
    pub(super) coverage: Coverage,
    /// How often the device itself summed what it held, and how many of these sums were wrong.
    pub(super) device_sums: u64,
    pub(super) wrong_sums: u64,
    /// Bytes that the store still has for objects when all have been given back.
    pub(super) leaked_bytes: u64,
    /// Now and then while the trace ran.
    pub(super) moments: Vec<Moment>,
}

impl Work<'_> {
    /// Asks a store everything.
    pub(super) fn with<S: Store>(&self, device: &mut dyn Device, store: S) -> Result<Round, Failure> {
        let objects = std::iter::repeat_with(|| None).take(self.trace.objects).collect();
        let staging = Ring::new(0, device.staging_bytes());
        let (alive_bytes, bytes) = (0, Vec::new());
        let mut at = AtWork { work: self, store, device, objects, staging, alive_bytes, bytes, round: Round::default() };
        for (step, op) in self.trace.ops.iter().enumerate() {
            if step.is_multiple_of(LOOK) {
                if interrupt::wanted() {
                    return Err(Failure::Interrupted);
                }
                at.look(step as u64)?;
            }
            at.step(*op)?;
        }
        at.look(self.trace.ops.len() as u64)?;
        for op in &self.trace.last {
            at.step(*op)?;
        }
        at.round.leaked_bytes = at.store.holding(at.device)?.placed_bytes;
        Ok(at.round)
    }
}

/// A round under way.
struct AtWork<'w, 'd, S: Store> {
    work: &'w Work<'w>,
    store: S,
    device: &'d mut dyn Device,
    /// By number; none before an object is taken, where it was refused, and after it was given back.
    objects: Vec<Option<Alive<S::Object>>>,
    staging: Ring,
    alive_bytes: u64,
    bytes: Vec<u8>,
    round: Round,
}

/// An object that is alive.
struct Alive<O> {
    object: O,
    pieces: Vec<Piece>,
    bytes: u64,
    version: u64,
    /// Whether this version has been compared.
    compared: bool,
    /// Its last copy.
    until: Ticket,
}

impl<S: Store> AtWork<'_, '_, S> {
    fn step(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Take { object, bytes } => {
                if self.take(object, bytes)? {
                    self.write(object)?;
                }
                Ok(())
            }
            Op::Write { object } => {
                self.check(object)?;
                self.write(object)
            }
            Op::Check { object } => self.check(object),
            Op::Put { object } => {
                self.check(object)?;
                self.put(object)
            }
        }
    }

    /// Whether there was room.
    fn take(&mut self, number: usize, bytes: u64) -> Result<bool, Failure> {
        self.round.asked += 1;
        let (start, inside) = (Instant::now(), self.store.time(self.device));
        let taken = self.store.take(self.device, bytes)?;
        self.round.time += start.elapsed();
        let Some(object) = taken else {
            self.round.refused += 1;
            return Ok(false);
        };
        self.round.take_time += self.store.time(self.device) - inside;
        let pieces = self.store.pieces(&object, bytes)?;
        self.round.pieces += pieces.len() as u64;
        self.alive_bytes += bytes;
        self.round.peak_asked_bytes = self.round.peak_asked_bytes.max(self.alive_bytes);
        self.objects[number] = Some(Alive { object, pieces, bytes, version: 0, compared: true, until: Ticket::default() });
        Ok(true)
    }

    fn write(&mut self, number: usize) -> Result<(), Failure> {
        let Some(alive) = &mut self.objects[number] else { return Ok(()) };
        alive.version += 1;
        alive.compared = false;
        self.round.coverage.written_bytes += alive.bytes;
        self.bytes.resize(alive.bytes as usize, 0);
        Pattern::new(self.work.seed, number as u64, alive.version).fill(0, &mut self.bytes);
        let start = Instant::now();
        let staged = self.staging.take(alive.bytes)?;
        self.device.write_staging(staged, &self.bytes)?;
        self.device.copy(&[Piece::staging(staged, alive.bytes)], &alive.pieces)?;
        alive.until = self.device.submit()?;
        self.spent(start);
        Ok(())
    }

    fn check(&mut self, number: usize) -> Result<(), Failure> {
        let Some(alive) = &mut self.objects[number] else { return Ok(()) };
        self.bytes.clear();
        self.bytes.resize(alive.bytes as usize, 0);
        let start = Instant::now();
        let staged = self.staging.take(alive.bytes)?;
        self.device.copy(&alive.pieces, &[Piece::staging(staged, alive.bytes)])?;
        alive.until = self.device.submit()?;
        self.device.read_staging(staged, &mut self.bytes)?;
        let pattern = Pattern::new(self.work.seed, number as u64, alive.version);
        let is_first = !std::mem::replace(&mut alive.compared, true);
        self.spent(start);
        let bytes = self.bytes.len() as u64;
        self.round.checked_bytes += bytes;
        self.round.coverage.compared_bytes += if is_first { bytes } else { 0 };
        match pattern.check(0, &self.bytes) {
            Some(mismatch) => self.round.wrong_words += mismatch.words,
            None => self.sum(number)?,
        }
        Ok(())
    }

    /// Has the device sum an object whose bytes have just come back right, by where it is: pieces that are exchanged in the same way there
    /// and back are seen. Not what a peer has: that is one piece.
    fn sum(&mut self, number: usize) -> Result<(), Failure> {
        let Some(alive) = &self.objects[number] else { return Ok(()) };
        if alive.pieces.iter().all(|piece| matches!(piece.memory, Memory::Object(_)))
            && let Some(sum) = self.device.checksum(&alive.pieces)?
        {
            self.round.device_sums += 1;
            self.round.wrong_sums += u64::from(sum != checksum::add(0, 0, &self.bytes));
        }
        Ok(())
    }

    fn put(&mut self, number: usize) -> Result<(), Failure> {
        let Some(alive) = self.objects[number].take() else { return Ok(()) };
        let start = Instant::now();
        self.device.wait(alive.until)?;
        self.spent(start);
        let (start, inside) = (Instant::now(), self.store.time(self.device));
        self.store.put(self.device, alive.object)?;
        self.round.time += start.elapsed();
        self.round.put_time += self.store.time(self.device) - inside;
        self.round.put += 1;
        self.alive_bytes -= alive.bytes;
        Ok(())
    }

    /// Counts time with the device.
    fn spent(&mut self, start: Instant) {
        let time = start.elapsed();
        self.round.device_time += time;
        self.round.time += time;
    }

    fn look(&mut self, step: u64) -> Result<(), Failure> {
        let kept = self.store.holding(self.device)?;
        self.round.peak_placed_bytes = self.round.peak_placed_bytes.max(kept.placed_bytes);
        self.round.peak_held_bytes = self.round.peak_held_bytes.max(kept.held_bytes);
        self.round.moments.push(Moment { step, gaps: kept.gaps, refused: self.round.refused });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::store::Kept;
    use super::*;
    use crate::device::Layout;
    use crate::host::Host;

    /// Gives everyone the same place.
    struct Careless;

    impl Store for Careless {
        type Object = ();

        fn take(&mut self, _: &mut dyn Device, _: u64) -> Result<Option<()>, Failure> {
            Ok(Some(()))
        }

        fn pieces(&self, (): &(), bytes: u64) -> Result<Vec<Piece>, Failure> {
            Ok(vec![Piece { memory: Memory::Object(0), start: 0, bytes }])
        }

        fn put(&mut self, _: &mut dyn Device, (): ()) -> Result<(), Failure> {
            Ok(())
        }

        fn holding(&self, _: &dyn Device) -> Result<Kept, Failure> {
            Ok(Kept { held_bytes: 0, placed_bytes: 7, gaps: None })
        }

        fn time(&self, _: &dyn Device) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn objects_that_share_a_byte_and_memory_that_is_not_given_back_are_seen() {
        let trace = Trace::new(1 << 20, 1 << 19, 200, 1);
        let layout = Layout { objects: vec![1 << 20], staging: 4 * trace.largest, views: false };
        let mut device = Host::open(&layout).unwrap();
        let round = Work { trace: &trace, seed: 1 }.with(&mut device, Careless).unwrap();
        assert!(round.wrong_words > 0);
        assert_eq!(round.leaked_bytes, 7);
    }
}
