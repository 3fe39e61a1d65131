//! Promotion: what was pushed out comes back when there is room again.

use alloc::vec::Vec;

use pgmap_alloc::PgmapOps;

use crate::ask::{Ask, Shape};
use crate::bo::{Keeping, Priority};
use crate::error::CopyError;
use crate::failure::Failure;
use crate::job::Shut;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::place::{Flags, Place};
use crate::segment::Pages;

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promoted {
    /// Objects that are wholly back.
    pub objects: u64,
    /// Pages that were moved.
    pub pages: u64,
}

/// How far an object came, in pages.
enum Back {
    All(u64),
    Part(u64),
    /// Not now, but in a call that begins with it.
    Later,
    /// Not now, but when enough pages have been left unused for it.
    AsAWhole,
}

/// How many pages may move.
#[derive(Clone, Copy)]
struct Budget {
    /// In one call.
    all: u64,
    /// In what is left of it.
    left: u64,
}

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Brings objects back that were pushed out of where their last placement wanted them, as far as there is room, at most
    /// `pages` pages of them: those of a higher priority first, then those that were pushed out last.
    ///
    /// An object that lacks more pages than that comes in parts, in this call and the next ones, as long as there is room for all
    /// of it; so its folios are no larger than what one call may move. One that is wanted in one run comes as a whole, and then
    /// more pages move than `pages`: once the calls that had to leave it where it was have left as many unused.
    ///
    /// Nobody is pushed out for it. The copies are under way when this returns. If the mover refuses one, the error is returned
    /// and that object is tried again next time.
    pub fn promote(&mut self, pages: u64) -> Result<Promoted, CopyError> {
        self.reap();
        let mut promoted = Promoted::default();
        let mut waits_for_more = false;
        let queue: Vec<(Priority, u64, usize)> = self.pushed_out.iter().rev().copied().collect();
        for (_, _, key) in queue {
            let object = &self.objects[key];
            let left = pages.saturating_sub(promoted.pages);
            if object.pins > 0 || object.keeping != Keeping::Needed || left == 0 {
                continue;
            }
            match self.bring_back(key, Budget { left, all: pages }) {
                Ok(Back::All(moved)) => {
                    self.forget_pushed_out(key);
                    promoted.objects += u64::from(moved > 0);
                    promoted.pages += moved;
                    self.counters.promoted += u64::from(moved > 0);
                    self.unused_budget = self.unused_budget.saturating_sub(moved.saturating_sub(left));
                }
                Ok(Back::Part(moved)) => promoted.pages += moved,
                Ok(Back::AsAWhole) => waits_for_more = true,
                Ok(Back::Later) => {}
                Err(Failure::Copy(why)) => return Err(why),
                Err(_) => {}
            }
        }
        if waits_for_more {
            self.unused_budget = self.unused_budget.saturating_add(pages.saturating_sub(promoted.pages));
        } else if self.pushed_out.is_empty() {
            self.unused_budget = 0;
        }
        Ok(promoted)
    }

    /// Tries the places that the object's last placement prefers to where it stands, without disturbing anyone.
    fn bring_back(&mut self, key: usize, budget: Budget) -> Result<Back, Failure> {
        self.finish(key);
        let wanted = self.objects[key].wanted.clone();
        let better = &wanted.places()[..self.objects[key].better_places()];
        let mut refusal = Failure::NoSpace;
        for place in better.iter().filter(|place| place.takes_part(false)) {
            match self.bring_back_to(key, place, budget) {
                Ok(back) => return Ok(back),
                Err(why) if why.is_of_place() => refusal = why,
                Err(why) => return Err(why),
            }
        }
        if better.is_empty() { Ok(Back::All(0)) } else { Err(refusal) }
    }

    fn bring_back_to(&mut self, key: usize, place: &Place, budget: Budget) -> Result<Back, Failure> {
        let object = &mut self.objects[key];
        let runs = object.pages_not_at(place);
        if object.is_shared(&runs) {
            return Err(Failure::Busy);
        }
        let missing: u64 = runs.iter().map(|run| run.end - run.start).sum();
        let one_run = place.flags.contains(Flags::CONTIGUOUS);
        let at_most = match missing {
            _ if missing <= budget.left => None,
            _ if missing <= budget.all => return Ok(Back::Later),
            _ if one_run && missing > budget.left.saturating_add(self.unused_budget) => return Ok(Back::AsAWhole),
            _ if one_run => None,
            _ => Some(budget.left),
        };
        let shape = Shape::of(place, object.largest);
        object.at_work = true;
        let brought = self.bring_part(&Ask { key, place, runs: &runs, shape }, at_most);
        self.objects[key].at_work = false;
        let moved = brought?;
        Ok(if moved == missing { Back::All(moved) } else { Back::Part(moved) })
    }

    /// Moves the first `at_most` of the pages that are asked for, if there is room for all of them; says how many that were.
    fn bring_part(&mut self, ask: &Ask<'_>, at_most: Option<u64>) -> Result<u64, Failure> {
        let all = self.try_allocate(ask).map_err(|refused| refused.why)?;
        let Some(at_most) = at_most else {
            return self.relocate(ask, all, Shut::default()).map(|()| ask.pages());
        };
        let owner = self.objects[ask.key].owner;
        self.release(owner, all);
        let runs = first_pages(ask.runs, at_most);
        let part = Ask { runs: &runs, ..*ask };
        let new = self.try_allocate(&part).map_err(|refused| refused.why)?;
        if let Err(why) = runs.iter().try_for_each(|run| self.cut_out(ask.key, run)) {
            self.release(owner, new);
            return Err(why);
        }
        self.relocate(&part, new, Shut::default()).map(|()| at_most)
    }

    pub(crate) fn remember_pushed_out(&mut self, key: usize) {
        self.forget_pushed_out(key);
        if self.objects[key].wanted.places().is_empty() {
            return;
        }
        self.last_serial += 1;
        self.pushed_out.insert((self.objects[key].priority, self.last_serial, key));
        self.objects[key].pushed_out = Some((self.objects[key].priority, self.last_serial));
    }

    pub(crate) fn forget_pushed_out(&mut self, key: usize) {
        if let Some((priority, when)) = self.objects[key].pushed_out.take() {
            self.pushed_out.remove(&(priority, when, key));
        }
    }
}

/// The first so many pages of runs.
fn first_pages(runs: &[Pages], pages: u64) -> Vec<Pages> {
    let mut left = pages;
    let part = |run: &Pages| {
        let taken = left.min(run.end - run.start);
        left -= taken;
        run.start..run.start + taken
    };
    runs.iter().map(part).filter(|run| !run.is_empty()).collect()
}
