//! A virtual space larger than the heap, whose pages come into it when they are used and leave it by policy.
//!
//! The space is cut into objects of one folio each, so that what comes and what goes is a folio of the order asked for.

use clap::ValueEnum;
use pgmap_alloc::Order;
use pgmap_ttm::{Bo, Counters, Manager, MemoryType, ObjectParams, Piece, Place, ResourceManager, WaitError};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

use crate::checksum;
use crate::device::Device;
use crate::failure::Failure;
use crate::heap::{Heap, PAGE};
use crate::mover::{DeviceManager, DeviceMover, Moved};
use crate::pattern::Pattern;
use crate::sums::Found;

/// Who leaves the heap when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    /// Who was used least recently
    Lru,
    /// Who came first
    Fifo,
    /// Anyone
    Random,
}

/// A virtual space and its part in the heap.
pub(super) struct Pager<'h, 'd> {
    manager: DeviceManager<'h, 'd>,
    vram: MemoryType,
    objects: Vec<Bo>,
    order: Order,
    floor: Order,
    policy: Policy,
    random: Xoshiro256PlusPlus,
    /// Objects that may be in the heap, for the random policy to choose from; each at most once for each time that it came.
    came: Vec<usize>,
    seed: u64,
    pub(super) faults: u64,
    pub(super) hits: u64,
}

impl<'h, 'd> Pager<'h, 'd> {
    /// A space of `pages` pages, all in host memory and written.
    pub(super) fn new(
        heap: &'h Heap,
        device: &'d mut dyn Device,
        (pages, host_pages): (u64, u64),
        (order, floor): (Order, Order),
        policy: Policy,
        seed: u64,
    ) -> Result<Pager<'h, 'd>, Failure> {
        let mut manager = Manager::new(DeviceMover::new(heap, device, &[host_pages]), PAGE.trailing_zeros());
        let vram = manager.add(ResourceManager::device(heap.pgmap())).map_err(refused)?;
        let host = Place::new(manager.add(ResourceManager::host(host_pages)).map_err(refused)?);
        let mut objects = Vec::new();
        for _ in 0..pages >> order.get() {
            let bo = manager.create(ObjectParams::new(order.pages()).evict_to(host)).map_err(refused)?;
            manager.validate(bo, &host.into()).map_err(refused)?;
            objects.push(bo);
        }
        let random = Xoshiro256PlusPlus::seed_from_u64(!seed);
        let mut pager = Pager { manager, vram, objects, order, floor, policy, random, came: Vec::new(), seed, faults: 0, hits: 0 };
        let mut bytes = vec![0; (order.pages() * PAGE) as usize];
        for object in 0..pager.objects.len() {
            pager.pattern(object).fill(0, &mut bytes);
            let pieces = pager.pieces(object)?;
            pager.manager.mover_mut().write(&pieces, &bytes)?;
        }
        Ok(pager)
    }

    /// Uses a page: it is in the heap afterwards.
    pub(super) fn access(&mut self, page: u64) -> Result<(), Failure> {
        let (object, page) = ((page >> self.order.get()) as usize, page & (self.order.pages() - 1));
        let bo = self.objects[object];
        if self.is_in_heap(bo, page)? {
            self.hits += 1;
            if self.policy == Policy::Lru {
                self.manager.touch(bo).map_err(refused)?;
            }
            return Ok(());
        }
        if self.policy == Policy::Random {
            self.make_room(object)?;
            self.came.push(object);
        }
        self.faults += 1;
        let faulted = self.manager.fault(bo, page, &Place::new(self.vram), self.order, self.floor);
        faulted.map_err(|why| self.trouble_or(why))?;
        Ok(self.manager.mover().trouble()?)
    }

    /// Waits for all copies: what they cost belongs to the trace.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.manager.wait_all();
        Ok(self.manager.mover().trouble()?)
    }

    /// Compares the whole space with what was written, and has the device sum what is in the heap; how many words are wrong.
    pub(super) fn wrong_words(&mut self) -> Result<u64, Failure> {
        let mut bytes = vec![0; (self.order.pages() * PAGE) as usize];
        let mut wrong = 0;
        for object in 0..self.objects.len() {
            match self.manager.wait(self.objects[object]) {
                Ok(()) | Err(WaitError::CopyFailed) => self.manager.mover().trouble()?,
                Err(stale) => return Err(refused(stale)),
            }
            let pieces = self.pieces(object)?;
            bytes.fill(0);
            if pieces.iter().map(|piece| piece.pages).sum::<u64>() == self.order.pages() {
                self.manager.mover_mut().read(&pieces, &mut bytes)?;
            }
            wrong += self.pattern(object).check(0, &bytes).map_or(0, |mismatch| mismatch.words);
            if pieces.iter().all(|piece| piece.memory == self.vram) {
                self.pattern(object).fill(0, &mut bytes);
                self.manager.mover_mut().begin_sum(&pieces, checksum::add(0, 0, &bytes))?;
            }
        }
        Ok(wrong)
    }

    /// What the device made of what is in the heap.
    pub(super) fn sums(&mut self) -> Result<Found, Failure> {
        Ok(self.manager.mover_mut().end_sums()?)
    }

    /// What the manager did, and what moved.
    pub(super) fn done(&self) -> (Counters, Moved) {
        (self.manager.counters(), self.manager.mover().moved)
    }

    /// Pushes out whom chance picks, until there is room for a folio or nobody is left.
    fn make_room(&mut self, coming: usize) -> Result<(), Failure> {
        loop {
            let usage = self.manager.memory_usage(self.vram).map_err(refused)?;
            if usage.pages - usage.used + usage.leaving >= self.order.pages() || self.came.is_empty() {
                return Ok(());
            }
            let pick = self.random.random_range(0..self.came.len());
            let victim = self.came.swap_remove(pick);
            if victim == coming {
                continue;
            }
            self.manager.evict(self.objects[victim]).map_err(|why| self.trouble_or(why))?;
        }
    }

    fn is_in_heap(&self, bo: Bo, page: u64) -> Result<bool, Failure> {
        let mut pieces = self.manager.pieces(bo).map_err(refused)?;
        Ok(pieces.any(|(first, piece)| piece.memory == self.vram && (first..first + piece.pages).contains(&page)))
    }

    fn pieces(&self, object: usize) -> Result<Vec<Piece>, Failure> {
        Ok(self.manager.pieces(self.objects[object]).map_err(refused)?.map(|(_, piece)| piece).collect())
    }

    /// The device's own error where it is the reason.
    fn trouble_or(&self, why: impl std::fmt::Display) -> Failure {
        self.manager.mover().trouble().err().map_or_else(|| refused(why), Failure::Device)
    }

    fn pattern(&self, object: usize) -> Pattern {
        Pattern::new(self.seed, object as u64, u64::from(self.order.get()))
    }
}

/// A refusal of the manager where there is no reason for one.
fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::Heap(why.to_string())
}
