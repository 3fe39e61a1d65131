//! Making room: who goes, in which order, and where to.

use alloc::vec::Vec;

use pgmap_alloc::{Owner, PgmapOps, Protection};

use crate::account::{is_under, protection};
use crate::ask::{Ask, Refused};
use crate::bo::{Bo, Candidate};
use crate::error::EvictError;
use crate::failure::Failure;
use crate::job::{Job, Part, Shut};
use crate::lru::Cursor;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::piece::Piece;
use crate::place::{MemoryType, Place, Placement};
use crate::resource::Kind;
use crate::segment::Segments;

/// A walk over those who might go.
struct Walk {
    /// Against whose limit they are to help; against a lack of room if it is nobody's.
    limit_of: Option<Owner>,
    cursor: Cursor,
    /// Somebody was spared for the sake of its owner's low share.
    spared_low: bool,
    ignore_low: bool,
}

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Pushes an object out of every device memory to where it goes when it is pushed out; if that is nowhere, its contents are lost.
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
                self.push_out(key, memory, &evict_to, Shut::default())?;
            }
        }
        Ok(())
    }

    /// Pushes least recently used objects out of `memory` until `pages` pages are free or on their way out; says how many are.
    ///
    /// Fewer than asked for means that nobody else could go. The copies are under way when this returns.
    pub fn evict_pages(&mut self, memory: MemoryType, pages: u64) -> Result<u64, EvictError> {
        self.known(memory).map_err(|_| EvictError::UnknownMemory(memory))?;
        self.push_out_pages(memory, pages, None)
    }

    /// Moves least recently used objects from `memory` to `swap` until `pages` pages are free or on their way; says how many are.
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
            let to = to.unwrap_or(&self.objects[key].evict_to).clone();
            match self.push_out(key, memory, &to, Shut::default()) {
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

    /// Takes the room that is asked for, pushing others out until it is there.
    ///
    /// As many go as pages are missing before the first of their copies is waited for.
    pub(crate) fn allocate_evicting(&mut self, ask: &Ask<'_>, shut: Shut) -> Result<Segments<'p, O>, Failure> {
        let memory = ask.place.memory;
        // Nobody goes in vain.
        self.possible(ask)?;
        if shut.has(memory) {
            return self.try_allocate(ask).map_err(|refused| refused.why);
        }
        let mut walks: Vec<Walk> = Vec::new();
        loop {
            let refused = match self.try_allocate(ask) {
                Ok(new) => return Ok(new),
                // Nobody else's pages would help.
                Err(Refused { why: why @ (Failure::NoAccount | Failure::OverLimit), limit_of: None, .. }) => return Err(why),
                Err(refused) => refused,
            };
            // Who cannot help against one refusal may be able to against another, so each has a walk of its own.
            let known = walks.iter().position(|walk| walk.limit_of == refused.limit_of);
            let index = known.unwrap_or(walks.len());
            if known.is_none() {
                walks.push(Walk {
                    limit_of: refused.limit_of,
                    cursor: self.lru.cursor(memory),
                    spared_low: false,
                    ignore_low: false,
                });
            }
            let mut going = self.leaving_of(memory, refused.limit_of);
            while going < refused.missing {
                match self.push_out_next(&mut walks[index], ask, shut)? {
                    Some(pages) => going += pages,
                    None => break,
                }
            }
            if going == 0 {
                return Err(refused.why);
            }
            self.wait_leaving(memory, refused.limit_of, refused.missing);
        }
    }

    /// Pushes out the next one that may go and can; the number of its pages, or none if nobody is left.
    fn push_out_next(&mut self, walk: &mut Walk, ask: &Ask<'_>, shut: Shut) -> Result<Option<u64>, Failure> {
        let memory = ask.place.memory;
        loop {
            let Some(key) = self.lru.next(&mut walk.cursor) else {
                if !core::mem::take(&mut walk.spared_low) {
                    return Ok(None);
                }
                // Nobody else is left: now the low shares, too.
                walk.ignore_low = true;
                walk.cursor = self.lru.cursor(memory);
                continue;
            };
            if !self.may_go(key, walk, ask) {
                continue;
            }
            let evict_to = self.objects[key].evict_to.clone();
            match self.push_out(key, memory, &evict_to, shut.and(memory)) {
                Ok(pages) => return Ok(Some(pages)),
                Err(Failure::Copy(why)) => return Err(Failure::Copy(why)),
                // It cannot go: the next one, then.
                Err(_) => {}
            }
        }
    }

    /// Whether an object may be pushed out for what is asked.
    fn may_go(&self, key: usize, walk: &mut Walk, ask: &Ask<'_>) -> bool {
        let object = &self.objects[key];
        let (owner, memory) = (object.owner, ask.place.memory);
        let accounts = self.memories[memory.index()].accounts;
        // Only what is on the account that is full takes it below its limit.
        if object.at_work || walk.limit_of.is_some_and(|full| !is_under(accounts, owner, full)) {
            return false;
        }
        match protection(accounts, owner, self.objects[ask.key].owner, object.resident_in(memory)) {
            Protection::Min => return false,
            Protection::Low if !walk.ignore_low => {
                walk.spared_low = true;
                return false;
            }
            _ => {}
        }
        let in_the_way = |piece: Piece| piece.memory == memory && ask.place.window.meets(piece.first, piece.pages);
        let helps = walk.limit_of.is_some() || object.segments().any(|(_, segment)| in_the_way(segment.piece));
        let candidate = Candidate { bo: self.bo(key), pages: object.pages, owner, priority: object.priority, place: *ask.place };
        helps && self.valuable.as_ref().is_none_or(|valuable| valuable(&candidate))
    }

    /// Moves what an object has in `memory` to one of `places`, and remembers to bring it back; says how many pages went.
    pub(crate) fn push_out(&mut self, key: usize, memory: MemoryType, placement: &Placement, shut: Shut) -> Result<u64, Failure> {
        let object = &self.objects[key];
        if object.at_work || object.pins > 0 {
            return Err(Failure::Busy);
        }
        let going = object.resident_in(memory);
        if placement.places().is_empty() {
            if object.is_shared(&[object.whole()]) {
                return Err(Failure::Busy);
            }
            self.gut(key);
            return Ok(going);
        }
        // Not back into the memory type that it is to leave.
        let elsewhere: Vec<Place> = placement.places().iter().filter(|p| p.memory != memory).copied().collect();
        self.settle(&Job { key, part: Part::In(memory), places: &elsewhere, shut: shut.and(memory) })?;
        self.remember_pushed_out(key);
        self.counters.evicted += 1;
        Ok(going)
    }

    /// Takes an object's pages, and with them its contents.
    pub(crate) fn gut(&mut self, key: usize) {
        self.drop_pages(key);
        self.forget_pushed_out(key);
        self.counters.gutted += 1;
    }
}
