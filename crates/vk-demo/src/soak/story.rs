//! Which operations there are, and how often each comes.

use pgmap_alloc::{Limits, Order};
use pgmap_ttm::{
    Bo, CreateError, EvictError, FaultError, Flags, FreeError, MemoryType, ObjectParams, Owner, Place, Placement, Priority,
    UnpinError, ValidateError, Window,
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::model::Model;
use crate::failure::Failure;

/// Objects at a time, at most.
const OBJECTS: usize = 64;
/// Pages of the largest object: this part of the heap, and no fewer than so many, unless the heap has fewer itself.
const SHARE: u64 = 16;
const LARGEST: u64 = 16;
pub(super) const OWNERS: u32 = 3;
/// The owner that all others stand under, and that has objects of its own, too.
pub(super) const PARENT: Owner = Owner(0);
/// Bad pages are rare.
const RETIRE_ONE_IN: u32 = 8;
/// Carve-outs at a time, at most.
const CARVE_OUTS: usize = 3;

fn largest(heap: u64) -> u64 {
    (heap / SHARE).max(LARGEST).min(heap)
}

/// Scratch for the contents of two of the largest pieces.
pub(super) fn scratch_pages(heap: u64) -> u64 {
    2 * largest(heap).next_power_of_two()
}

/// The random course of things.
pub(super) struct Story {
    random: Xoshiro256PlusPlus,
}

impl Story {
    pub(super) fn new(seed: u64) -> Story {
        Story { random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// One operation.
    pub(super) fn step(&mut self, model: &mut Model<'_, '_>) -> Result<(), Failure> {
        let heap = model.heap.pgmap().pages();
        model.verify_vanishing()?;
        let dice = self.random.random_range(0..100);
        if model.items.is_empty() || dice < 8 && model.items.len() < OBJECTS {
            let pages = self.object_pages(heap);
            model.create(pages, Owner(self.below(OWNERS)), self.below(10) == 0);
            return Ok(());
        }
        let item = self.below(model.items.len() as u32) as usize;
        let bo = model.items[item].bo;
        match dice {
            0..14 => model.free(item)?,
            14..26 => model.write(item, self.below(1 << 16) as usize)?,
            26..46 => self.validate(model, item)?,
            46..54 => model.verify(item)?,
            54..60 => {
                let done = model.manager.evict(bo);
                evicted(model, "evict", done);
            }
            60..62 => {
                let pages = self.random.random_range(0..heap);
                let pushed = model.manager.evict_pages(model.vram, pages);
                evicted(model, "evict_pages", pushed.map(drop));
            }
            62..65 => {
                let pages = self.random.random_range(0..heap);
                let pushed = model.manager.swapout(model.host, model.swap, pages);
                evicted(model, "swapout", pushed.map(drop));
            }
            65..78 => self.fault(model, item),
            78..81 => {
                if model.manager.pin(bo).is_ok() {
                    model.items[item].pins += 1;
                }
            }
            81..86 => self.unpin(model, item),
            86..89 => {
                let _ = model.manager.touch(bo);
            }
            89..91 => {
                if let Err(why) = model.manager.promote(self.random.random_range(0..heap)) {
                    model.refused("promote", &why, Some(why), true);
                }
            }
            91..93 => {
                let priority = [Priority::Low, Priority::Normal, Priority::High, Priority::Kernel][self.below(4) as usize];
                let _ = model.manager.set_priority(bo, priority);
            }
            93..95 => self.bulk(model, bo),
            95 => self.shares(model),
            96 => self.carve(model),
            97 => model.manager.reap(),
            98 if self.below(RETIRE_ONE_IN) == 0 => {
                let page = self.random.random_range(0..heap);
                model.retire(page);
            }
            _ => self.mistake(model, item),
        }
        model.forget_vanished();
        model.manager.mover().trouble()?;
        Ok(())
    }

    /// A few pages, doubled as often as chance has it: small objects and large ones, and enough of the large ones to fill the heap.
    fn object_pages(&mut self, heap: u64) -> u64 {
        let doublings = (largest(heap) / LARGEST).max(1).ilog2();
        let doublings = self.below(doublings + 1).max(self.below(doublings + 1));
        self.random.random_range(1..=LARGEST.min(heap)) << doublings
    }

    fn below(&mut self, end: u32) -> u32 {
        self.random.random_range(0..end)
    }

    fn place(&mut self, model: &Model<'_, '_>, memory: MemoryType) -> Place {
        let flags = match self.below(8) {
            0 => Flags::CONTIGUOUS,
            1 => Flags::TOP_DOWN,
            2 => Flags::CONTIGUOUS | Flags::TOP_DOWN,
            3 => Flags::TEMPORARY,
            _ => Flags::empty(),
        };
        let place = Place::new(memory).with(flags);
        let place = match self.below(6) {
            0 => place.desired(),
            1 => place.fallback(),
            _ => place,
        };
        let end = model.manager.memory_usage(memory).map_or(1, |usage| usage.end);
        if self.below(6) == 0 {
            let first = self.random.random_range(0..end);
            return place.within(first, first + self.random.random_range(1..=end));
        }
        place
    }

    fn validate(&mut self, model: &mut Model<'_, '_>, item: usize) -> Result<(), Failure> {
        let bo = model.items[item].bo;
        let count = [1, 1, 1, 1, 1, 2, 2, 2, 3, 0][self.below(10) as usize];
        let memories = [model.vram, model.vram, model.host, model.swap];
        let places: Vec<Place> = (0..count)
            .map(|_| {
                let memory = memories[self.below(4) as usize];
                self.place(model, memory)
            })
            .collect();
        if places.is_empty() {
            // What it holds is about to be thrown away.
            model.verify(item)?;
        }
        match model.manager.validate(bo, &Placement::new(&places)) {
            Ok(_) if places.is_empty() => model.forget(item),
            Ok(_) => {}
            Err(why) => {
                let copy = if let ValidateError::Copy(copy) = why { Some(copy) } else { None };
                let pinned = why != ValidateError::Pinned || model.items[item].pins > 0;
                let known = !matches!(why, ValidateError::Stale | ValidateError::UnknownMemory { .. } | ValidateError::Busy);
                model.refused("validate", &why, copy, pinned && known);
            }
        }
        Ok(())
    }

    fn fault(&mut self, model: &mut Model<'_, '_>, item: usize) {
        let bo = model.items[item].bo;
        let pages = model.items[item].pages.len() as u32;
        let order = Order::new(self.below(5)).unwrap_or(Order::ZERO);
        let place = Place::new(model.vram);
        let page = u64::from(self.below(pages));
        if let Err(why) = model.manager.fault(bo, page, &place, order, Order::ZERO) {
            let copy = if let FaultError::Copy(copy) = why { Some(copy) } else { None };
            let known = !matches!(why, FaultError::Stale | FaultError::OutOfRange { .. } | FaultError::Busy);
            model.refused("fault", &why, copy, known);
        }
    }

    fn unpin(&mut self, model: &mut Model<'_, '_>, item: usize) {
        let unpinned = model.manager.unpin(model.items[item].bo);
        match (unpinned, model.items[item].pins) {
            (Ok(()), 1..) => model.items[item].pins -= 1,
            (Err(UnpinError::NotPinned), 0) => model.findings.refused += 1,
            (other, pins) => model.findings.problem(format!("unpin of an object with {pins} pins: {other:?}")),
        }
    }

    fn bulk(&mut self, model: &mut Model<'_, '_>, bo: Bo) {
        let bulk = model.bulk;
        let done = match self.below(3) {
            0 => model.manager.bulk_move(bulk),
            1 => model.manager.set_bulk(bo, None),
            _ => model.manager.set_bulk(bo, Some(bulk)),
        };
        if let Err(why) = done {
            model.findings.problem(format!("bulk: {why}"));
        }
    }

    fn shares(&mut self, model: &mut Model<'_, '_>) {
        let heap = model.heap.pgmap().pages();
        let owner = Owner(self.below(OWNERS));
        let min = self.random.random_range(0..=heap / 8);
        let limits = match self.below(2) {
            0 => Limits::NONE,
            _ => Limits { min, low: 2 * min, max: 2 * min + self.random.random_range(largest(heap)..=largest(heap) + heap) },
        };
        if let Err(why) = model.owners.set_limits(owner, limits) {
            model.findings.problem(format!("shares: {why}"));
        }
    }

    fn carve(&mut self, model: &mut Model<'_, '_>) {
        if model.carved.len() == CARVE_OUTS || !model.carved.is_empty() && self.below(2) == 0 {
            let page = model.carved.swap_remove(self.below(model.carved.len() as u32) as usize);
            if let Err(why) = model.manager.give_back(model.vram, page) {
                model.findings.problem(format!("giving back a carve-out: {why}"));
            }
            return;
        }
        let first = self.random.random_range(0..model.heap.pgmap().pages());
        let window = Window { first, last: first + u64::from(self.below(4)) + 1 };
        match model.manager.carve_out(model.vram, window, 1) {
            Ok(()) => model.carved.push(first),
            Err(_) => model.findings.refused += 1,
        }
    }

    /// What a careless caller does: a precise refusal, and nothing changes.
    fn mistake(&mut self, model: &mut Model<'_, '_>, item: usize) {
        let (bo, pages) = (model.items[item].bo, model.items[item].pages.len() as u64);
        let place = Place::new(model.vram);
        let (zero, one) = (Order::ZERO, Order::covering(2).unwrap_or(Order::MAX));
        let manager = &mut model.manager;
        let good = match (self.below(7), model.stale) {
            (0, Some(stale)) => manager.validate(stale, &place.into()) == Err(ValidateError::Stale),
            (1, Some(stale)) => manager.free(stale) == Err(FreeError::Stale),
            (2, Some(stale)) => manager.evict(stale) == Err(EvictError::Stale),
            (3, _) => manager.create(ObjectParams::new(0)) == Err(CreateError::NoPages),
            (4, _) => matches!(manager.create(ObjectParams::new(u64::MAX)), Err(CreateError::TooLarge { .. })),
            (5, _) => manager.fault(bo, pages, &place, zero, zero) == Err(FaultError::OutOfRange { pages }),
            (6, _) => manager.fault(bo, 0, &place, zero, one) == Err(FaultError::FloorAboveOrder),
            _ => true,
        };
        match good {
            true => model.findings.refused += 1,
            false => model.findings.problem("a careless call was not refused as it should be".into()),
        }
    }
}

fn evicted(model: &mut Model<'_, '_>, what: &str, done: Result<(), EvictError>) {
    if let Err(why) = done {
        let copy = if let EvictError::Copy(copy) = why { Some(copy) } else { None };
        let known = !matches!(why, EvictError::Stale | EvictError::UnknownMemory(_) | EvictError::Busy);
        model.refused(what, &why, copy, known);
    }
}
