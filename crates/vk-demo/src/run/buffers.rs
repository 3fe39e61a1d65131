//! Buffers that a manager keeps in the heap or, when there is no room, in host memory.
//!
//! What a buffer holds is written through the mover's timeline, on which all copies take effect in order, so nothing here waits
//! for a move. No byte that was written goes out of sight unseen:
//!
//! 1. What a buffer holds is read back and compared before it is written anew, before the buffer is given up, before it comes back
//!    into the heap, and at the end.
//! 2. Whenever something has come into the heap, written or moved, the device sums it where it is, before anything can move it on.
//!    That sees what reading back alone does not: a mistake that is made in the same way there and back.

use std::time::{Duration, Instant};

use pgmap_alloc::Order;
use pgmap_ttm::{
    Bo, Counters, Manager, MemoryType, ObjectParams, Piece, Place, Placement, ResourceManager, ValidateError, WaitError,
};

use super::stats::Stats;
use crate::checksum;
use crate::device::Device;
use crate::failure::Failure;
use crate::heap::{Heap, PAGE};
use crate::mover::{DeviceManager, DeviceMover, Moved};
use crate::pattern::Pattern;
use crate::sums::Found;
use crate::views::{Counts, Views};

/// How many mismatches are described; the rest are only counted.
const DESCRIBED: u64 = 5;

/// Parts of the heap that buffers are moved between: a search in a window is linear in it.
const PARTS: u64 = 8;

/// All buffers of a run, and the manager that moves them.
pub(super) struct Buffers<'h, 'd> {
    manager: DeviceManager<'h, 'd>,
    vram: MemoryType,
    host: MemoryType,
    largest: Order,
    seed: u64,
    list: Vec<Buffer>,
    bytes: Vec<u8>,
    pub(super) stats: Stats,
}

/// What is known when all buffers have been given up.
pub(super) struct Closed {
    pub(super) stats: Stats,
    pub(super) sums: Found,
    pub(super) counters: Counters,
    pub(super) moved: Moved,
    /// Where there were views.
    pub(super) views: Option<Counts>,
}

struct Buffer {
    bo: Bo,
    pages: u64,
    /// How often its contents have been written.
    version: u64,
    /// What the device's sum of them must be.
    sum: u32,
    /// Whether these contents have been compared since they were written.
    compared: bool,
}

impl<'h, 'd> Buffers<'h, 'd> {
    /// No buffers yet; there are `host_pages` pages for what is not in the heap, and folios will be no larger than `largest`.
    /// With `views`, each buffer in the heap is used through contiguous addresses.
    pub(super) fn new(
        heap: &'h Heap,
        device: &'d mut dyn Device,
        host_pages: u64,
        largest: Order,
        seed: u64,
        views: Option<Views>,
    ) -> Result<Buffers<'h, 'd>, Failure> {
        let mut mover = DeviceMover::new(heap, device, &[host_pages]);
        mover.views = views;
        let mut manager = Manager::new(mover, PAGE.trailing_zeros());
        let vram = manager.add(ResourceManager::device(heap.pgmap())).map_err(refused)?;
        let host = manager.add(ResourceManager::host(host_pages)).map_err(refused)?;
        Ok(Buffers { manager, vram, host, largest, seed, list: Vec::new(), bytes: Vec::new(), stats: Stats::default() })
    }

    /// How many buffers there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many pages a buffer has.
    pub(super) fn pages(&self, buffer: usize) -> u64 {
        self.list[buffer].pages
    }

    /// Makes a buffer and writes it.
    pub(super) fn create(&mut self, pages: u64) -> Result<(), Failure> {
        let bo = self.object(pages)?;
        self.list.push(Buffer { bo, pages, version: 0, sum: 0, compared: true });
        self.write(self.list.len() - 1)
    }

    /// Gives a buffer up and writes another one in its stead.
    pub(super) fn replace(&mut self, buffer: usize, pages: u64) -> Result<(), Failure> {
        self.check(buffer)?;
        let old = self.list[buffer].bo;
        self.manager.free(old).map_err(refused)?;
        self.manager.mover_mut().hide(old)?;
        let bo = self.object(pages)?;
        self.list[buffer] = Buffer { bo, pages, version: self.list[buffer].version, sum: 0, compared: true };
        self.stats.did.replacements += 1;
        self.write(buffer)
    }

    /// Writes new contents into a buffer, in the heap.
    pub(super) fn write(&mut self, buffer: usize) -> Result<(), Failure> {
        let bo = self.list[buffer].bo;
        if !self.pieces(buffer)?.is_empty() {
            self.check(buffer)?;
            if !self.is_in_heap(buffer)? {
                // What is in host memory is overwritten as a whole, so it need not be brought in.
                self.place(buffer, &Placement::nowhere())?;
            }
        }
        self.place(buffer, &Place::new(self.vram).into())?;
        self.list[buffer].version += 1;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize((self.list[buffer].pages * PAGE) as usize, 0);
        self.pattern(buffer).fill(0, &mut bytes);
        (self.list[buffer].sum, self.list[buffer].compared) = (checksum::add(0, 0, &bytes), false);
        let pieces = self.pieces(buffer)?;
        let written = self.manager.mover_mut().write_object(bo, &pieces, &bytes);
        self.stats.written_bytes += bytes.len() as u64;
        self.bytes = bytes;
        if let Some(ticket) = written? {
            self.manager.used_until(bo, ticket).map_err(refused)?;
        }
        self.stats.did.writes += 1;
        self.sum(buffer)
    }

    /// Uses a buffer: it is in the heap afterwards, and the most recently used.
    pub(super) fn touch(&mut self, buffer: usize) -> Result<(), Failure> {
        if self.is_in_heap(buffer)? {
            self.stats.did.hits += 1;
        } else {
            self.check(buffer)?;
            self.stats.did.faults += 1;
        }
        if self.place(buffer, &Place::new(self.vram).into())? { self.sum(buffer) } else { Ok(()) }
    }

    /// Compares a buffer with what was last written into it, wherever it is. The time that this takes is counted by itself, without what
    /// copies take that were sent before.
    pub(super) fn check(&mut self, buffer: usize) -> Result<(), Failure> {
        self.manager.mover_mut().finish()?;
        let (start, device) = (Instant::now(), self.manager.mover().time);
        let checked = self.read_back(buffer);
        self.stats.checking += start.elapsed();
        self.stats.device_checking += self.manager.mover().time.saturating_sub(device);
        checked
    }

    fn read_back(&mut self, buffer: usize) -> Result<(), Failure> {
        let bo = self.list[buffer].bo;
        match self.manager.wait(bo) {
            Ok(()) => {}
            Err(WaitError::CopyFailed) => self.manager.mover().trouble()?,
            Err(stale) => return Err(refused(stale)),
        }
        let pieces = self.pieces(buffer)?;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.resize((self.list[buffer].pages * PAGE) as usize, 0);
        let resident = pieces.iter().map(|piece| piece.pages).sum::<u64>();
        let (in_heap, mover) = (self.is_in_heap(buffer)?, self.manager.mover_mut());
        let read = match resident == self.list[buffer].pages {
            true if in_heap => mover.read_object(bo, &pieces, &mut bytes),
            true => mover.read(&pieces, &mut bytes),
            false => Ok(()),
        };
        if read.is_ok() {
            self.compare(buffer, &bytes);
        }
        self.bytes = bytes;
        self.stats.did.reads += 1;
        Ok(read?)
    }

    /// Has the device sum a buffer where it stands, if that is in the heap and the device can; does not wait for it.
    pub(super) fn sum(&mut self, buffer: usize) -> Result<(), Failure> {
        if !self.is_in_heap(buffer)? {
            return Ok(());
        }
        let start = Instant::now();
        let pieces = self.pieces(buffer)?;
        self.manager.mover_mut().begin_sum(&pieces, self.list[buffer].sum)?;
        self.stats.checking += start.elapsed();
        Ok(())
    }

    /// Waits for every sum.
    pub(super) fn end_sums(&mut self) -> Result<(), Failure> {
        Ok(self.manager.mover_mut().end_sums().map(drop)?)
    }

    /// Moves a buffer to other folios: into the next of as many parts of the heap.
    pub(super) fn relocate(&mut self, buffer: usize) -> Result<(), Failure> {
        let end = self.manager.memory_usage(self.vram).map_err(refused)?.end;
        let pieces = self.pieces(buffer)?;
        let Some(first) = pieces.iter().find(|piece| piece.memory == self.vram).map(|piece| piece.first) else {
            return Ok(());
        };
        let part = end / PARTS;
        let next = first.checked_div(part).map_or(0, |at| (at + 1) % PARTS);
        let other = Place::new(self.vram).within(next * part, (next + 1) * part);
        match self.verb(|manager, bo| manager.validate(bo, &other.into()), buffer) {
            Ok(false) => {}
            Ok(true) => {
                self.stats.did.moves += 1;
                self.sum(buffer)?;
            }
            // A heap that is too small to have parts that hold it.
            Err(ValidateError::TooLarge | ValidateError::EmptyWindow { .. }) => {}
            Err(why) => return Err(self.trouble_or(why)),
        }
        self.manager.mover().trouble()?;
        Ok(())
    }

    /// Gives every buffer up and waits until all folios have been put.
    pub(super) fn close(mut self) -> Result<Closed, Failure> {
        for buffer in std::mem::take(&mut self.list) {
            self.manager.free(buffer.bo).map_err(refused)?;
        }
        self.manager.wait_all();
        let mover = self.manager.mover();
        self.stats.device = mover.time.saturating_sub(self.stats.device_checking);
        Ok(Closed {
            stats: self.stats.clone(),
            sums: mover.found(),
            counters: self.manager.counters(),
            moved: mover.moved,
            views: mover.views.as_ref().map(|views| views.counts),
        })
    }

    fn object(&mut self, pages: u64) -> Result<Bo, Failure> {
        let params = ObjectParams::new(pages).largest(self.largest).evict_to(Place::new(self.host));
        let bo = self.manager.create(params).map_err(refused)?;
        self.manager.mover_mut().show(bo, pages)?;
        Ok(bo)
    }

    fn is_in_heap(&self, buffer: usize) -> Result<bool, Failure> {
        Ok(self.manager.home(self.list[buffer].bo).map_err(refused)? == Some(self.vram))
    }

    fn pieces(&self, buffer: usize) -> Result<Vec<Piece>, Failure> {
        Ok(self.manager.pieces(self.list[buffer].bo).map_err(refused)?.map(|(_, piece)| piece).collect())
    }

    fn place(&mut self, buffer: usize, placement: &Placement) -> Result<bool, Failure> {
        let moved = self.verb(|manager, bo| manager.validate(bo, placement), buffer).map_err(|why| self.trouble_or(why))?;
        self.manager.mover().trouble()?;
        Ok(moved)
    }

    /// One verb of the manager, timed without what the device takes.
    fn verb<T>(&mut self, verb: impl FnOnce(&mut DeviceManager<'h, 'd>, Bo) -> T, buffer: usize) -> T {
        let (start, device) = (Instant::now(), self.manager.mover().time);
        let done = verb(&mut self.manager, self.list[buffer].bo);
        let on_device = self.manager.mover().time.saturating_sub(device);
        self.stats.manager += start.elapsed().checked_sub(on_device).unwrap_or(Duration::ZERO);
        done
    }

    /// The device's own error where it is the reason.
    fn trouble_or(&self, why: ValidateError) -> Failure {
        self.manager.mover().trouble().err().map_or_else(|| refused(why), Failure::Device)
    }

    fn compare(&mut self, buffer: usize, bytes: &[u8]) {
        self.stats.checked_bytes += bytes.len() as u64;
        if !std::mem::replace(&mut self.list[buffer].compared, true) {
            self.stats.proven_bytes += bytes.len() as u64;
        }
        let Some(mismatch) = self.pattern(buffer).check(0, bytes) else { return };
        if self.stats.wrong_words < DESCRIBED {
            let (version, words) = (self.list[buffer].version, mismatch.words);
            let byte = mismatch.first_word * 8;
            eprintln!("buffer {buffer}, version {version}: {words} words are wrong, the first at byte {byte}");
        }
        self.stats.wrong_words += mismatch.words;
    }

    fn pattern(&self, buffer: usize) -> Pattern {
        Pattern::new(self.seed, buffer as u64, self.list[buffer].version)
    }
}

/// A refusal of the manager where there is no reason for one.
fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::Heap(why.to_string())
}
