//! Who has to go, found before anyone goes.
//!
//! 1. What is asked for is compared with what there is: what is free, what is on its way out, and what would leave. A lack is made
//!    up by those who may go (`may_go`) and could (`could_leave`), in the order of the lists; low shares only when nothing else is
//!    left.
//! 2. Who goes has to fit where it goes: that is asked in the same way, one level further down. A memory type in which room is
//!    being made is shut to those below, so this ends.
//! 3. If more would go than is missing, those that are not needed stay, the youngest first.
//! 4. A run is asked for as a window: the cheapest that can be emptied (`windows`), and nobody else's pages help.
//! 5. If the lack cannot be made up, nobody goes. So a request that cannot be met disturbs nobody.
//!
//! A plan never says no where the move itself would have found room. It says yes in vain where only the move can tell: the mover
//! refuses, a stop on the way is full, someone outside of the manager takes the room, or pages are free where they go but
//! scattered.
//!
//! It costs O(those who go), each with one more plan where there is no room for it at once; a run, or a refusal, costs O(n log n)
//! in the objects of the memory type and its free gaps.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use pgmap_alloc::{Owner, PgmapOps, Protection};

use crate::account::{has_account, is_under, lineage, protection};
use crate::ask::{Ask, Shape};
use crate::bo::Candidate;
use crate::failure::Failure;
use crate::job::{Job, Part, Shut};
use crate::manager::Manager;
use crate::mover::Mover;
use crate::object::Object;
use crate::place::{MemoryType, Place, Placement};
use crate::resource::Kind;
use crate::segment::Pages;
use crate::sketch::{Out, Sketch};
use crate::windows::{Cell, Toll, cheapest};

/// Who has to go, and from where, before a job can be done.
pub(crate) struct Going {
    pub(crate) memory: MemoryType,
    pub(crate) victims: Vec<usize>,
}

/// What those who go are to help against.
#[derive(Clone, Copy)]
struct Lack {
    /// Whose limit; nobody's for a lack of room.
    limit_of: Option<Owner>,
    pages: u64,
}

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Who has to go before what is asked for can be had, in the order in which they go, with everything that has to be true then
    /// noted in the sketch. After a refusal the sketch is as it was.
    pub(crate) fn plan(&self, sketch: &mut Sketch, ask: &Ask<'_>, shut: Shut) -> Result<Vec<usize>, Failure> {
        let mark = sketch.mark();
        let planned = self.plan_anyhow(sketch, ask, shut);
        if planned.is_err() {
            sketch.back_to(mark);
        }
        planned
    }

    fn plan_anyhow(&self, sketch: &mut Sketch, ask: &Ask<'_>, shut: Shut) -> Result<Vec<usize>, Failure> {
        self.possible(ask)?;
        let (owner, memory) = (self.objects[ask.key].owner, ask.place.memory);
        let accounts = self.memories[memory.index()].accounts;
        if !has_account(accounts, owner) {
            return Err(Failure::NoAccount);
        }
        let mut victims = Vec::new();
        for payer in lineage(accounts, owner) {
            let pages = self.pages_over_limit(sketch, ask, payer);
            self.choose(sketch, ask, shut, Lack { limit_of: Some(payer), pages }, &mut victims)?;
        }
        match ask.shape {
            Shape::Scattered { .. } => {
                let pages = ask.pages().saturating_sub(self.room(sketch, ask.place));
                self.choose(sketch, ask, shut, Lack { limit_of: None, pages }, &mut victims)?;
            }
            Shape::OneRun | Shape::OneFolio => self.choose_window(sketch, ask, shut, &mut victims)?,
        }
        // What nobody needs goes before anything is moved.
        victims.sort_by_key(|key| self.objects[*key].rank().index() > 0);
        sketch.come(ask.place, owner, ask.pages());
        Ok(victims)
    }

    /// Whether what is asked for can be had at once, with nobody's going and no copy's end.
    fn fits_now(&self, sketch: &Sketch, ask: &Ask<'_>) -> bool {
        let (owner, place) = (self.objects[ask.key].owner, ask.place);
        let resources = &self.memories[place.memory.index()];
        let accounts = resources.accounts;
        let is_paid = |payer: Owner| {
            let has = |pages: u64| pages.saturating_add(sketch.coming(place.memory, |owner| is_under(accounts, owner, payer)));
            accounts.usage(payer).is_none_or(|usage| has(usage.pages).saturating_add(ask.pages()) <= usage.limits.max)
        };
        if self.possible(ask).is_err() || !has_account(accounts, owner) || !lineage(accounts, owner).all(is_paid) {
            return false;
        }
        match ask.shape {
            Shape::Scattered { .. } => resources.free_at(place).saturating_sub(sketch.coming_to(place)) >= ask.pages(),
            Shape::OneRun | Shape::OneFolio => ask.shape.fits(ask.pages(), resources.gaps(place).into_iter()),
        }
    }

    /// How many pages of a payer's have to go before it can be charged for what is asked.
    fn pages_over_limit(&self, sketch: &Sketch, ask: &Ask<'_>, payer: Owner) -> u64 {
        let memory = ask.place.memory;
        let accounts = self.memories[memory.index()].accounts;
        let Some(usage) = accounts.usage(payer).filter(|usage| usage.limits.max < u64::MAX) else { return 0 };
        let pays = |owner: Owner| is_under(accounts, owner, payer);
        let has = usage.pages.saturating_add(sketch.coming(memory, pays)).saturating_add(ask.pages());
        has.saturating_sub(self.going(sketch, memory, payer)).saturating_sub(usage.limits.max)
    }

    /// Pages that are about to be taken off a payer's account, or would be.
    fn going(&self, sketch: &Sketch, memory: MemoryType, payer: Owner) -> u64 {
        let accounts = self.memories[memory.index()].accounts;
        self.leaving_of(memory, Some(payer)) + sketch.leaving(memory, |owner| is_under(accounts, owner, payer))
    }

    /// Pages of a place that are free, or will be, and that nobody else is to come to.
    fn room(&self, sketch: &Sketch, place: &Place) -> u64 {
        let free = self.memories[place.memory.index()].free_at(place);
        let outs: u64 = sketch.outs_of(place.memory).map(|out| self.objects[out.key].resident_at(place.memory, place.window)).sum();
        (free + self.leaving_at(place) + outs).saturating_sub(sketch.coming_to(place))
    }

    /// Adds those who go against a lack. Rules 1 and 3.
    fn choose(&self, sketch: &mut Sketch, ask: &Ask<'_>, shut: Shut, lack: Lack, victims: &mut Vec<usize>) -> Result<(), Failure> {
        let memory = ask.place.memory;
        let mark = sketch.mark();
        let (mut going, mut chosen) = (0, Vec::new());
        for low_shares in [false, true] {
            let mut cursor = self.lru.cursor(memory);
            while going < lack.pages && !shut.has(memory) {
                let Some(key) = self.lru.next(&mut cursor) else { break };
                let pages = self.pages_that_help(key, ask, lack.limit_of);
                let last_to_go = || self.share(sketch, key, ask) == Protection::Low;
                if pages > 0
                    && last_to_go() == low_shares
                    && self.may_go(sketch, key, ask)
                    && self.could_leave(sketch, key, memory, shut)
                {
                    going += pages;
                    chosen.push((key, pages));
                }
            }
        }
        if going < lack.pages {
            return Err(if lack.limit_of.is_some() { Failure::OverLimit } else { Failure::NoSpace });
        }
        let all = chosen.len();
        for index in (0..all).rev() {
            let (_, pages) = chosen[index];
            if going - pages >= lack.pages {
                going -= pages;
                chosen.remove(index);
            }
        }
        if chosen.len() < all {
            // Where those would have gone, there is room again.
            sketch.back_to(mark);
            if !chosen.iter().all(|(key, _)| self.could_leave(sketch, *key, memory, shut)) {
                return Err(Failure::NoSpace);
            }
        }
        victims.extend(chosen.into_iter().map(|(key, _)| key));
        Ok(())
    }

    /// How many pages an object's going adds to what is lacking.
    fn pages_that_help(&self, key: usize, ask: &Ask<'_>, limit_of: Option<Owner>) -> u64 {
        let (object, memory) = (&self.objects[key], ask.place.memory);
        match limit_of {
            // Only what is on the account that is full takes it below its limit.
            Some(full) if !is_under(self.memories[memory.index()].accounts, object.owner, full) => 0,
            Some(_) => object.resident_in(memory),
            None => object.resident_at(memory, ask.place.window),
        }
    }

    /// How an object's owner is protected from what is asked. What the owner gave up itself is not.
    fn share(&self, sketch: &Sketch, key: usize, ask: &Ask<'_>) -> Protection {
        let (object, memory) = (&self.objects[key], ask.place.memory);
        if object.rank().index() == 0 {
            return Protection::None;
        }
        let accounts = self.memories[memory.index()].accounts;
        let going = |payer: Owner| self.going(sketch, memory, payer) + object.resident_in(memory);
        protection(accounts, object.owner, self.objects[ask.key].owner, going)
    }

    /// Whether an object may be pushed out for what is asked, low share or not.
    fn may_go(&self, sketch: &Sketch, key: usize, ask: &Ask<'_>) -> bool {
        let object = &self.objects[key];
        if object.at_work || object.pins > 0 || sketch.is_bound(key, ask.place.memory) || key == ask.key {
            return false;
        }
        let Object { owner, priority, pages, .. } = *object;
        let candidate = Candidate { bo: self.bo(key), pages, owner, priority, place: *ask.place };
        self.share(sketch, key, ask) != Protection::Min && self.valuable.as_ref().is_none_or(|valuable| valuable(&candidate))
    }

    /// Whether there is a place for what an object has in `memory` when it is pushed out; notes that it is gone if there is. Rule
    /// 2.
    pub(crate) fn could_leave(&self, sketch: &mut Sketch, key: usize, memory: MemoryType, shut: Shut) -> bool {
        self.could_leave_to(sketch, key, memory, &self.objects[key].evict_to, shut).is_ok()
    }

    /// [`could_leave`](Manager::could_leave) for a placement, and if not, why.
    pub(crate) fn could_leave_to(
        &self,
        sketch: &mut Sketch,
        key: usize,
        memory: MemoryType,
        placement: &Placement,
        shut: Shut,
    ) -> Result<(), Failure> {
        let object = &self.objects[key];
        if object.is_lost_at(placement) {
            if object.is_shared(&[object.whole()]) {
                return Err(Failure::Busy);
            }
            for memory in (0..).map(MemoryType).take(self.memories.len()) {
                let pages = object.resident_in(memory);
                if pages > 0 {
                    sketch.leave(Out { key, memory, owner: object.owner, pages });
                }
            }
            return Ok(());
        }
        let elsewhere = placement.outside(memory);
        let job = Job { key, part: Part::In(memory), places: &elsewhere, shut: shut.and(memory) };
        sketch.moving(key, |sketch| self.could_settle(sketch, &job))?;
        sketch.leave(Out { key, memory, owner: object.owner, pages: object.resident_in(memory) });
        Ok(())
    }

    /// Whether a job could be done: the two passes of `settle`, thought through.
    pub(crate) fn could_settle(&self, sketch: &mut Sketch, job: &Job<'_>) -> Result<Going, Failure> {
        let mut refusal = Failure::NoSpace;
        for evicting in [false, true] {
            for place in job.places.iter().filter(|place| place.takes_part(evicting)) {
                let runs = self.runs_to_move(job, place);
                let object = &self.objects[job.key];
                if object.is_shared(&runs) {
                    return Err(Failure::Busy);
                }
                let ask = Ask { key: job.key, place, runs: &runs, shape: Shape::of(place, object.largest) };
                if !evicting {
                    if self.fits_now(sketch, &ask) {
                        sketch.come(place, object.owner, ask.pages());
                        return Ok(Going { memory: place.memory, victims: Vec::new() });
                    }
                    continue;
                }
                let shut = job.shut;
                if sketch.is_hopeless(place, object.owner, shut, ask.pages()) {
                    continue;
                }
                match self.plan(sketch, &ask, shut) {
                    Ok(victims) => return Ok(Going { memory: place.memory, victims }),
                    Err(why) => refusal = why,
                }
                // What it has there itself could make room for another.
                if object.resident_in(place.memory) == 0 {
                    sketch.give_up(place, object.owner, shut, ask.pages());
                }
            }
        }
        Err(refusal)
    }

    /// Finds the cheapest window for a run, and adds those who stand in it. Rule 4.
    fn choose_window(&self, sketch: &mut Sketch, ask: &Ask<'_>, shut: Shut, victims: &mut Vec<usize>) -> Result<(), Failure> {
        let memory = ask.place.memory;
        let aligned = matches!((ask.shape, &self.memories[memory.index()].kind), (Shape::OneFolio, Kind::Device { .. }));
        let mut tolls = BTreeMap::new();
        let cells = self.cells(sketch, ask, shut, &mut tolls);
        let mut windows: Vec<_> = Vec::new();
        for stretch in self.memories[memory.index()].stretches(ask.place) {
            // What lies beyond the border of a range is no neighbour.
            let inside: Vec<Cell> = cells.iter().filter_map(|cell| cell.within(&stretch)).collect();
            windows.extend(cheapest(&inside, ask.pages(), aligned, &tolls));
        }
        windows.sort_unstable();
        for (_, first) in windows {
            let window = first..first + ask.pages();
            let mark = sketch.mark();
            let mut there: Vec<usize> = cells.iter().filter(|cell| cell.meets(&window)).filter_map(|cell| cell.holder).collect();
            there.sort_unstable_by_key(|key| (self.objects[*key].rank(), self.objects[*key].ages.get(&memory).copied(), *key));
            there.dedup();
            // One by one they could go; together they may find too little room, or take too much from an owner.
            let all_could = there.iter().all(|key| {
                sketch.leaves(*key, memory)
                    || self.share(sketch, *key, ask) != Protection::Min && self.could_leave(sketch, *key, memory, shut)
            });
            if all_could {
                victims.extend(there.into_iter().filter(|key| !victims.contains(key)).collect::<Vec<_>>());
                return Ok(());
            }
            sketch.back_to(mark);
        }
        Err(Failure::NoSpace)
    }

    /// What of a place is free, or will be, or could be made so; with what it takes. In order.
    fn cells(&self, sketch: &mut Sketch, ask: &Ask<'_>, shut: Shut, tolls: &mut BTreeMap<usize, Toll>) -> Vec<Cell> {
        let Place { memory, window, .. } = *ask.place;
        let mut cells: Vec<Cell> = Vec::new();
        let free = |span: Pages| Cell { span, holder: None };
        cells.extend(self.memories[memory.index()].gaps(ask.place).into_iter().map(free));
        let leaving = self.ghosts.iter().flat_map(|ghost| &ghost.old).filter(|(_, s)| s.piece.memory == memory);
        cells.extend(leaving.map(|(_, s)| free(s.piece.first..s.piece.first + s.piece.pages)));
        for (key, object) in &self.objects {
            let pieces = object.segments().map(|(_, s)| s.piece).filter(|p| p.memory == memory && window.meets(p.first, p.pages));
            let mut pieces = pieces.peekable();
            if pieces.peek().is_none() {
                continue;
            }
            let gone = sketch.leaves(key, memory);
            if !gone {
                if shut.has(memory) || !self.may_go(sketch, key, ask) {
                    continue;
                }
                let low_share = self.share(sketch, key, ask) == Protection::Low;
                let mark = sketch.mark();
                let could = self.could_leave(sketch, key, memory, shut);
                sketch.back_to(mark);
                if !could {
                    continue;
                }
                let pages = if object.rank().index() == 0 { 0 } else { object.resident_in(memory) };
                let used = object.ages.get(&memory).copied().unwrap_or(0);
                tolls.insert(key, Toll { low_share, rank: object.rank(), pages, used });
            }
            cells.extend(pieces.map(|p| Cell { span: p.first..p.first + p.pages, holder: (!gone).then_some(key) }));
        }
        cells.sort_unstable_by_key(|cell| cell.span.start);
        cells
    }
}
