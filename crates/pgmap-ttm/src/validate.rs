//! Validation: bring an object where its placement wants it, in two passes.

use alloc::vec::Vec;

use pgmap_alloc::PgmapOps;

use crate::ask::{Ask, Shape};
use crate::bo::Bo;
use crate::error::ValidateError;
use crate::failure::Failure;
use crate::job::{Job, Part, Shut};
use crate::manager::Manager;
use crate::mover::Mover;
use crate::object::Object;
use crate::place::{Flags, Place, Placement};
use crate::segment::Pages;

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Brings an object where `placement` wants it, and makes it the youngest; says whether it had to move.
    ///
    /// The places are tried in order, twice: first without disturbing anyone, then pushing other objects out. An object that
    /// stands in one of the places already does not move. A pinned object that would have to is refused. An empty placement
    /// takes the object's pages away, and what was in them.
    ///
    /// Nobody is pushed out unless the request can then be met; whole objects go, together less than one object more than is
    /// missing, and [`cost_of`](Manager::cost_of) tells beforehand which. A place for one run takes the window that costs least. If
    /// there is no direct way and the stop is smaller than the object, it goes in parts, and the call waits for each but the last.
    ///
    /// When this returns, the copy may still be under way: [`wait`](Manager::wait) before you touch the bytes.
    pub fn validate(&mut self, bo: Bo, placement: &Placement) -> Result<bool, ValidateError> {
        let key = self.find(bo)?;
        self.check_placement(key, placement)?;
        self.reap();
        let moved = if placement.places().is_empty() {
            self.empty(key)?
        } else {
            self.settle(&Job { key, part: Part::Misplaced, places: placement.places(), shut: Shut::default() })?
        };
        self.objects[key].wanted = placement.clone();
        self.forget_pushed_out(key);
        if !moved {
            self.relist(key, true);
        }
        Ok(moved)
    }

    pub(crate) fn check_placement(&self, key: usize, placement: &Placement) -> Result<(), ValidateError> {
        for (index, place) in placement.places().iter().enumerate() {
            if self.known(place.memory).is_err() {
                return Err(ValidateError::UnknownMemory { place: index, memory: place.memory });
            }
            if place.window.first >= place.window.last {
                return Err(ValidateError::EmptyWindow { place: index });
            }
        }
        let Object { pages, largest, .. } = self.objects[key];
        let fits = |place: &Place| self.memories[place.memory.index()].could_hold(place, pages, Shape::of(place, largest));
        if placement.places().is_empty() || placement.places().iter().any(fits) { Ok(()) } else { Err(ValidateError::TooLarge) }
    }

    /// Takes an object's pages away.
    fn empty(&mut self, key: usize) -> Result<bool, Failure> {
        let object = &self.objects[key];
        if object.resident() == 0 {
            return Ok(false);
        }
        if object.pins > 0 {
            return Err(Failure::Pinned);
        }
        self.lose(key);
        Ok(true)
    }

    /// The two passes, for a validation as for an eviction; says whether anything moved.
    pub(crate) fn settle(&mut self, job: &Job<'_>) -> Result<bool, Failure> {
        if self.stands_well(job, false) {
            return Ok(false);
        }
        if self.objects[job.key].pins > 0 {
            return if self.stands_well(job, true) { Ok(false) } else { Err(Failure::Pinned) };
        }
        // One move at a time: so a copy that failed can always be undone.
        self.finish(job.key);
        let was_at_work = core::mem::replace(&mut self.objects[job.key].at_work, true);
        let settled = self.settle_at_work(job);
        self.objects[job.key].at_work = was_at_work;
        settled
    }

    fn settle_at_work(&mut self, job: &Job<'_>) -> Result<bool, Failure> {
        let mut refusal = Failure::NoSpace;
        for evicting in [false, true] {
            if self.stands_well(job, evicting) {
                return Ok(false);
            }
            match self.try_places(job, evicting) {
                Ok(()) => return Ok(true),
                Err(why) if why.is_of_place() => refusal = why,
                Err(why) => return Err(why),
            }
        }
        Err(refusal)
    }

    /// One pass: no room in one place leads to the next, anything else ends it.
    pub(crate) fn try_places(&mut self, job: &Job<'_>, evicting: bool) -> Result<(), Failure> {
        let mut refusal = Failure::NoSpace;
        for place in job.places.iter().filter(|place| place.takes_part(evicting)) {
            match self.bring(job, place, evicting) {
                Ok(()) => return Ok(()),
                Err(why) if why.is_of_place() => refusal = why,
                Err(why) => return Err(why),
            }
        }
        Err(refusal)
    }

    /// Whether there is nothing to move.
    pub(crate) fn stands_well(&self, job: &Job<'_>, evicting: bool) -> bool {
        let object = &self.objects[job.key];
        match job.part {
            Part::In(memory) | Part::Some(memory, _) => object.resident_in(memory) == 0,
            Part::Misplaced => {
                job.places.iter().filter(|place| place.takes_part(evicting)).any(|place| object.pages_not_at(place).is_empty())
            }
        }
    }

    /// Moves the job's part to one place.
    fn bring(&mut self, job: &Job<'_>, place: &Place, evicting: bool) -> Result<(), Failure> {
        let runs = self.runs_to_move(job, place);
        let ask = Ask { key: job.key, place, runs: &runs, shape: Shape::of(place, self.objects[job.key].largest) };
        if self.objects[job.key].is_shared(&runs) {
            return Err(Failure::Busy);
        }
        let new = if evicting {
            self.allocate_evicting(&ask, job.shut)?
        } else {
            self.try_allocate(&ask).map_err(|refused| refused.why)?
        };
        self.relocate(&ask, new, job.shut)
    }

    pub(crate) fn runs_to_move(&self, job: &Job<'_>, place: &Place) -> Vec<Pages> {
        let object = &self.objects[job.key];
        match job.part {
            // One run is all or nothing, so what stands elsewhere comes along.
            Part::In(memory) if !place.flags.contains(Flags::CONTIGUOUS) => object.pages_in(memory),
            Part::Some(memory, pages) if !place.flags.contains(Flags::CONTIGUOUS) => object.part_in(memory, pages),
            _ => object.pages_not_at(place),
        }
    }
}
