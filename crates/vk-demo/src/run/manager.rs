//! Buffers that live in folios of the heap or, when there is no room, in host memory.
//!
//! Rules:
//! 1. A buffer's folios are put only when the last copy that touches them has been reached.
//! 2. What comes back from the device is compared with what was written, every byte, and kept as it came.
//! 3. A buffer that is being worked on is off the LRU list, so it cannot be evicted under its own feet.

use std::collections::VecDeque;
use std::time::Instant;

use pgmap_alloc::{AllocError, Order};

use super::lru::Lru;
use super::ring::Ring;
use super::stats::Stats;
use crate::device::{Device, Ticket};
use crate::failure::Failure;
use crate::heap::{Heap, HeapFolio, PAGE};
use crate::pattern::Pattern;
use crate::pieces::{Piece, total};

/// How many mismatches are described; the rest are only counted.
const DESCRIBED: u64 = 5;

/// All buffers of a run, and the device they move to and from.
pub(super) struct Manager<'h, 'd> {
    heap: &'h Heap,
    device: &'d mut dyn Device,
    largest: Order,
    seed: u64,
    buffers: Vec<Buffer<'h>>,
    lru: Lru,
    ring: Ring,
    /// Pages in no folio.
    idle: u64,
    leaving: VecDeque<Leaving<'h>>,
    scratch: Vec<u8>,
    pub(super) stats: Stats,
}

struct Buffer<'h> {
    pages: u64,
    /// How often its contents have been written.
    version: u64,
    home: Home<'h>,
}

/// Where a buffer's bytes are.
enum Home<'h> {
    /// Not written yet, or on the way from one place to another.
    Nowhere,
    /// In folios of the heap; the ticket is that of the last copy that touches them.
    Heap(Vec<HeapFolio<'h>>, Ticket),
    /// In host memory, as they came back from the heap.
    Host(Vec<u8>),
}

/// Folios that nobody needs once a ticket is reached.
struct Leaving<'h> {
    folios: Vec<HeapFolio<'h>>,
    pages: u64,
    after: Ticket,
}

/// A buffer that is being copied out.
struct Evicted<'h> {
    buffer: usize,
    folios: Vec<HeapFolio<'h>>,
    staged: u64,
}

impl<'h, 'd> Manager<'h, 'd> {
    /// No buffers yet; folios will be no larger than `largest`.
    pub(super) fn new(heap: &'h Heap, device: &'d mut dyn Device, largest: Order, seed: u64) -> Manager<'h, 'd> {
        let ring = Ring::new(device.staging_bytes());
        Manager {
            heap,
            device,
            largest,
            seed,
            buffers: Vec::new(),
            lru: Lru::default(),
            ring,
            idle: heap.pgmap().pages(),
            leaving: VecDeque::new(),
            scratch: Vec::new(),
            stats: Stats { folios: vec![0; largest.get() as usize + 1], ..Stats::default() },
        }
    }

    /// How many buffers there are.
    pub(super) fn len(&self) -> usize {
        self.buffers.len()
    }

    /// How many pages a buffer has.
    pub(super) fn pages(&self, buffer: usize) -> u64 {
        self.buffers[buffer].pages
    }

    /// Makes a buffer and writes it.
    pub(super) fn create(&mut self, pages: u64) -> Result<(), Failure> {
        self.buffers.push(Buffer { pages, version: 0, home: Home::Nowhere });
        self.write(self.buffers.len() - 1)
    }

    /// Gives a buffer up and writes another one in its stead.
    pub(super) fn replace(&mut self, buffer: usize, pages: u64) -> Result<(), Failure> {
        self.discard(buffer);
        self.buffers[buffer].pages = pages;
        self.stats.did.replacements += 1;
        self.write(buffer)
    }

    /// Writes new contents into a buffer, in the heap.
    pub(super) fn write(&mut self, buffer: usize) -> Result<(), Failure> {
        self.lru.remove(buffer);
        let home = std::mem::replace(&mut self.buffers[buffer].home, Home::Nowhere);
        let folios = match home {
            Home::Heap(folios, _) => folios,
            // What was in host memory is overwritten as a whole, so it need not be brought in.
            Home::Host(_) | Home::Nowhere => self.place(self.buffers[buffer].pages)?,
        };
        self.buffers[buffer].version += 1;
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.resize((self.buffers[buffer].pages * PAGE) as usize, 0);
        self.pattern(buffer).fill(0, &mut bytes);
        let sent = self.upload(buffer, folios, &bytes);
        self.scratch = bytes;
        self.stats.did.writes += 1;
        sent
    }

    /// Uses a buffer: it is in the heap afterwards, and the most recently used.
    pub(super) fn touch(&mut self, buffer: usize) -> Result<(), Failure> {
        self.lru.remove(buffer);
        match std::mem::replace(&mut self.buffers[buffer].home, Home::Nowhere) {
            Home::Host(bytes) => {
                self.stats.did.faults += 1;
                let folios = self.place(self.buffers[buffer].pages)?;
                self.upload(buffer, folios, &bytes)
            }
            home => {
                self.stats.did.hits += 1;
                self.settle(buffer, home);
                Ok(())
            }
        }
    }

    /// Compares a buffer with what was last written into it, wherever it is.
    pub(super) fn check(&mut self, buffer: usize) -> Result<(), Failure> {
        match &self.buffers[buffer].home {
            Home::Nowhere => self.stats.wrong_words += self.buffers[buffer].pages * PAGE / 8,
            // Compared when it came back, and compared again here: host memory is part of the story too.
            Home::Host(bytes) => {
                let mismatch = self.pattern(buffer).check(0, bytes);
                self.stats.wrong_words += mismatch.map_or(0, |mismatch| mismatch.words);
            }
            Home::Heap(folios, _) => {
                let from = self.heap.pieces(folios)?;
                let staged = self.ring.take(total(&from));
                self.device.copy(&from, &[Piece::staging(staged, total(&from))])?;
                let ticket = self.submit()?;
                if let Home::Heap(_, busy) = &mut self.buffers[buffer].home {
                    *busy = ticket;
                }
                self.stats.did.reads += 1;
                self.fetch(buffer, staged, ticket)?;
            }
        }
        Ok(())
    }

    /// Moves a buffer to other folios of the heap; one that is not there, or has no room beside itself, stays as it is.
    pub(super) fn relocate(&mut self, buffer: usize) -> Result<(), Failure> {
        let pages = self.buffers[buffer].pages;
        let home = &mut self.buffers[buffer].home;
        if !matches!(home, Home::Heap(..)) || 2 * pages > self.heap.pgmap().pages() {
            return Ok(());
        }
        let Home::Heap(old, busy) = std::mem::replace(home, Home::Nowhere) else { return Ok(()) };
        self.lru.remove(buffer);
        let new = self.place(pages)?;
        let (from, to) = (self.heap.pieces(&old)?, self.heap.pieces(&new)?);
        self.device.copy(&from, &to)?;
        let after = self.submit()?;
        debug_assert!(busy < after, "tickets rise");
        self.leaving.push_back(Leaving { folios: old, pages, after });
        self.settle(buffer, Home::Heap(new, after));
        self.stats.did.moves += 1;
        self.stats.moved.within_device_bytes += pages * PAGE;
        Ok(())
    }

    /// Gives every buffer up and waits until all folios have been put.
    pub(super) fn close(mut self) -> Result<Stats, Failure> {
        for buffer in 0..self.buffers.len() {
            self.discard(buffer);
        }
        while let Some(leaving) = self.leaving.pop_front() {
            self.device.wait(leaving.after)?;
            self.put(leaving.folios, leaving.pages);
        }
        Ok(self.stats)
    }

    fn discard(&mut self, buffer: usize) {
        self.lru.remove(buffer);
        let home = std::mem::replace(&mut self.buffers[buffer].home, Home::Nowhere);
        if let Home::Heap(folios, after) = home {
            self.leaving.push_back(Leaving { folios, pages: self.buffers[buffer].pages, after });
        }
    }

    /// Folios for this many pages, as large as they come, once there is room.
    fn place(&mut self, pages: u64) -> Result<Vec<HeapFolio<'h>>, Failure> {
        self.make_room(pages)?;
        let start = Instant::now();
        let folios = self.allocate(pages);
        self.stats.allocator += start.elapsed();
        let folios = folios?;
        for folio in &folios {
            self.stats.folios[folio.order().get() as usize] += 1;
        }
        self.idle -= pages;
        Ok(folios)
    }

    fn allocate(&self, pages: u64) -> Result<Vec<HeapFolio<'h>>, Failure> {
        let mut folios = Vec::new();
        let (mut left, mut largest) = (pages, self.largest);
        while let Some(order) = Order::fitting(left).map(|order| order.min(largest)) {
            match self.heap.pgmap().alloc_folio(order) {
                Ok(folio) => {
                    left -= order.pages();
                    folios.push(folio);
                }
                // There is room, but not in one piece: go on with smaller folios.
                Err(AllocError::NoSpace { .. } | AllocError::TooLarge) if order > Order::ZERO => {
                    largest = Order::fitting(order.pages() - 1).unwrap_or(Order::ZERO);
                }
                Err(error) => {
                    return Err(Failure::Heap(format!("{} pages are idle, but none was given: {error}", self.idle)));
                }
            }
        }
        Ok(folios)
    }

    /// Evicts until this many pages are idle.
    fn make_room(&mut self, pages: u64) -> Result<(), Failure> {
        while let Some(leaving) = self.leaving.front() {
            if !self.device.is_reached(leaving.after)? {
                break;
            }
            self.put_oldest_leaving();
        }
        let mut coming = self.idle + self.leaving.iter().map(|leaving| leaving.pages).sum::<u64>();
        let mut evicted = Vec::new();
        while coming < pages {
            let Some(victim) = self.lru.pop() else {
                return Err(Failure::Heap(format!("nothing is left to evict for {pages} pages")));
            };
            coming += self.buffers[victim].pages;
            evicted.extend(self.start_eviction(victim)?);
        }
        if !evicted.is_empty() {
            // One submission for all of them.
            let ticket = self.submit()?;
            for evicted in evicted {
                self.finish_eviction(evicted, ticket)?;
            }
        }
        while self.idle < pages {
            let Some(leaving) = self.leaving.front() else {
                return Err(Failure::Heap(format!("{} pages are idle where {pages} should be", self.idle)));
            };
            let start = Instant::now();
            self.device.wait(leaving.after)?;
            self.stats.device += start.elapsed();
            self.put_oldest_leaving();
        }
        Ok(())
    }

    fn start_eviction(&mut self, buffer: usize) -> Result<Option<Evicted<'h>>, Failure> {
        let home = std::mem::replace(&mut self.buffers[buffer].home, Home::Nowhere);
        let Home::Heap(folios, _) = home else {
            self.buffers[buffer].home = home;
            return Ok(None);
        };
        let from = self.heap.pieces(&folios)?;
        let staged = self.ring.take(total(&from));
        self.device.copy(&from, &[Piece::staging(staged, total(&from))])?;
        self.stats.did.evictions += 1;
        Ok(Some(Evicted { buffer, folios, staged }))
    }

    fn finish_eviction(&mut self, evicted: Evicted<'h>, ticket: Ticket) -> Result<(), Failure> {
        let bytes = self.fetch(evicted.buffer, evicted.staged, ticket)?;
        self.put(evicted.folios, self.buffers[evicted.buffer].pages);
        self.buffers[evicted.buffer].home = Home::Host(bytes);
        Ok(())
    }

    /// Takes what the device has copied out of a buffer, and compares it.
    fn fetch(&mut self, buffer: usize, staged: u64, ticket: Ticket) -> Result<Vec<u8>, Failure> {
        let start = Instant::now();
        self.device.wait(ticket)?;
        self.stats.device += start.elapsed();
        let mut bytes = vec![0; (self.buffers[buffer].pages * PAGE) as usize];
        self.device.read_staging(staged, &mut bytes)?;
        self.stats.moved.to_host_bytes += bytes.len() as u64;
        self.stats.checked_bytes += bytes.len() as u64;
        if let Some(mismatch) = self.pattern(buffer).check(0, &bytes) {
            if self.stats.wrong_words < DESCRIBED {
                let (version, words) = (self.buffers[buffer].version, mismatch.words);
                let byte = mismatch.first_word * 8;
                eprintln!("buffer {buffer}, version {version}: {words} words are wrong, the first at byte {byte}");
            }
            self.stats.wrong_words += mismatch.words;
        }
        Ok(bytes)
    }

    fn upload(&mut self, buffer: usize, folios: Vec<HeapFolio<'h>>, bytes: &[u8]) -> Result<(), Failure> {
        let to = self.heap.pieces(&folios)?;
        let length = bytes.len() as u64;
        let staged = self.ring.take(length);
        self.device.write_staging(staged, bytes)?;
        self.device.copy(&[Piece::staging(staged, length)], &to)?;
        let ticket = self.submit()?;
        self.stats.moved.to_device_bytes += length;
        self.settle(buffer, Home::Heap(folios, ticket));
        Ok(())
    }

    fn settle(&mut self, buffer: usize, home: Home<'h>) {
        self.buffers[buffer].home = home;
        self.lru.touch(buffer);
    }

    fn submit(&mut self) -> Result<Ticket, Failure> {
        let start = Instant::now();
        let ticket = self.device.submit()?;
        self.stats.device += start.elapsed();
        Ok(ticket)
    }

    fn put_oldest_leaving(&mut self) {
        if let Some(leaving) = self.leaving.pop_front() {
            self.put(leaving.folios, leaving.pages);
        }
    }

    fn put(&mut self, folios: Vec<HeapFolio<'h>>, pages: u64) {
        let start = Instant::now();
        drop(folios);
        self.stats.allocator += start.elapsed();
        self.idle += pages;
    }

    fn pattern(&self, buffer: usize) -> Pattern {
        Pattern::new(self.seed, buffer as u64, self.buffers[buffer].version)
    }
}
