//! Making room: pushing out those who have to go. Who that is, is found in `plan`.

use alloc::vec::Vec;

use pgmap_alloc::PgmapOps;

use crate::ask::{Ask, Refused};
use crate::bo::{Bo, Keeping};
use crate::error::EvictError;
use crate::failure::Failure;
use crate::job::{Job, Part, Shut};
use crate::manager::Manager;
use crate::mover::Mover;
use crate::place::{Flags, MemoryType, Place, Placement};
use crate::resource::Kind;
use crate::segment::Segments;
use crate::sketch::Sketch;

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Pushes an object out of every device memory to where it goes when it is pushed out; if that is nowhere, its contents are
    /// lost.
    pub fn evict(&mut self, bo: Bo) -> Result<(), EvictError> {
        let key = self.find(bo)?;
        if self.objects[key].pins > 0 {
            return Err(EvictError::Pinned);
        }
        self.reap();
        let evict_to = self.objects[key].evict_to.clone();
        for memory in (0..).map(MemoryType).take(self.memories.len()) {
            let leaves = matches!(self.memories[memory.index()].kind, Kind::Device { .. })
                && evict_to.places().iter().all(|place| place.memory != memory);
            if leaves && self.objects[key].resident_in(memory) > 0 {
                self.push_out(key, Part::In(memory), &evict_to, Shut::default())?;
            }
        }
        Ok(())
    }

    /// Pushes least recently used objects out of `memory` until `pages` pages are free or on their way out; says how many are.
    ///
    /// Of the last one only as many segments go as are missing, unless it has to be in one run: so no more go than asked for than
    /// one segment has, which is a folio, or a stretch of host pages. Fewer than asked for means that nobody else could go. What
    /// may be purged is purged first. The copies are under way when this returns.
    pub fn evict_pages(&mut self, memory: MemoryType, pages: u64) -> Result<u64, EvictError> {
        self.known(memory).map_err(|_| EvictError::UnknownMemory(memory))?;
        self.push_out_pages(memory, pages, None)
    }

    /// Moves least recently used objects from `memory` to `swap` until `pages` pages are free or on their way, as
    /// [`evict_pages`](Manager::evict_pages) does; says how many are.
    pub fn swapout(&mut self, memory: MemoryType, swap: MemoryType, pages: u64) -> Result<u64, EvictError> {
        self.known(memory).map_err(|_| EvictError::UnknownMemory(memory))?;
        self.known(swap).map_err(|_| EvictError::UnknownMemory(swap))?;
        self.push_out_pages(memory, pages, Some(&Place::new(swap).into()))
    }

    fn push_out_pages(&mut self, memory: MemoryType, pages: u64, to: Option<&Placement>) -> Result<u64, EvictError> {
        self.reap();
        let swapping = to.is_some();
        let mut cursor = self.lru.cursor(memory);
        let mut going = 0;
        while going < pages {
            let Some(key) = self.lru.next(&mut cursor) else { break };
            let object = &self.objects[key];
            let to = to.unwrap_or(&object.evict_to).clone();
            let in_one_run = |place: &Place| place.memory == memory && place.flags.contains(Flags::CONTIGUOUS);
            let part = match object.resident_in(memory) {
                all if all <= pages - going || object.wanted.places().iter().any(in_one_run) => Part::In(memory),
                _ => Part::Some(memory, pages - going),
            };
            match self.push_out(key, part, &to, Shut::default()) {
                Ok(pages) => {
                    going += pages;
                    self.counters.swapped_out += u64::from(swapping);
                }
                Err(Failure::Copy(why)) => return Err(EvictError::Copy(why)),
                Err(_) => {}
            }
        }
        Ok(going)
    }

    /// Takes the room that is asked for, pushing others out until it is there; nobody, if it would not be there then.
    ///
    /// All of them go before the first of their copies is waited for.
    pub(crate) fn allocate_evicting(&mut self, ask: &Ask<'_>, shut: Shut) -> Result<Segments<'p, O>, Failure> {
        let memory = ask.place.memory;
        let mut stuck = Vec::new();
        loop {
            let refused = match self.try_allocate(ask) {
                Ok(new) => return Ok(new),
                // Nobody else's pages would help.
                Err(Refused { why: why @ (Failure::NoAccount | Failure::OverLimit), limit_of: None, .. }) => return Err(why),
                Err(refused) => refused,
            };
            let victims = self.plan(&mut Sketch::without(&stuck), ask, shut)?;
            let tried = stuck.len();
            for key in victims {
                let evict_to = self.objects[key].evict_to.clone();
                match self.push_out(key, Part::In(memory), &evict_to, shut.and(memory)) {
                    Err(Failure::Copy(why)) => return Err(Failure::Copy(why)),
                    // One that could not go after all, or whose copy fails, is not asked again: so this ends.
                    _ => stuck.push(key),
                }
            }
            if self.leaving_of(memory, refused.limit_of) > 0 {
                self.wait_leaving(memory, refused.limit_of, refused.missing);
            } else if stuck.len() == tried {
                // Nobody goes, and nothing is on its way: what was refused is to be had now, or not at all.
                return self.try_allocate(ask).map_err(|refused| refused.why);
            }
        }
    }

    /// Moves a part of what an object has in a memory type to one of `places`, and remembers to bring it back; says how many pages
    /// went. An object that loses what it holds loses all of it.
    pub(crate) fn push_out(&mut self, key: usize, part: Part, placement: &Placement, shut: Shut) -> Result<u64, Failure> {
        let object = &self.objects[key];
        let Some(memory) = part.memory() else { return Err(Failure::Busy) };
        if object.at_work || object.pins > 0 {
            return Err(Failure::Busy);
        }
        let before = object.resident_in(memory);
        if object.is_lost_at(placement) {
            if object.is_shared(&[object.whole()]) {
                return Err(Failure::Busy);
            }
            self.lose(key);
            return Ok(before);
        }
        // Not back into the memory type that it is to leave.
        let elsewhere = placement.outside(memory);
        self.settle(&Job { key, part, places: &elsewhere, shut: shut.and(memory) })?;
        self.remember_pushed_out(key);
        self.counters.evicted += 1;
        Ok(before - self.objects[key].resident_in(memory))
    }

    /// Takes an object's pages, and with them its contents.
    pub(crate) fn lose(&mut self, key: usize) {
        if self.objects[key].keeping == Keeping::Needed {
            self.counters.gutted += 1;
        } else {
            self.counters.purged += 1;
            self.objects[key].keeping = Keeping::Purged;
        }
        self.drop_pages(key);
        self.forget_pushed_out(key);
    }
}
