//! Promotion: what was pushed out comes back when there is room again.

use alloc::vec::Vec;

use pgmap_alloc::PgmapOps;

use crate::bo::Priority;
use crate::error::CopyError;
use crate::failure::Failure;
use crate::job::{Job, Part, Shut};
use crate::manager::Manager;
use crate::mover::Mover;

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promoted {
    /// Objects.
    pub objects: u64,
    /// Their pages.
    pub pages: u64,
}

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Brings objects back that were pushed out of where their last placement wanted them, as far as there is room, at most
    /// `pages` pages of them: those of a higher priority first, then those that were pushed out last.
    ///
    /// Nobody is pushed out for it. The copies are under way when this returns. If the mover refuses one, the error is returned
    /// and that object is tried again next time.
    pub fn promote(&mut self, pages: u64) -> Result<Promoted, CopyError> {
        self.reap();
        let mut promoted = Promoted::default();
        let queue: Vec<(Priority, u64, usize)> = self.pushed_out.iter().rev().copied().collect();
        for (_, _, key) in queue {
            let object = &self.objects[key];
            if object.pins > 0 || promoted.pages + object.pages > pages {
                continue;
            }
            match self.bring_back(key) {
                Ok(moved) => {
                    self.forget_pushed_out(key);
                    if moved {
                        promoted.objects += 1;
                        promoted.pages += self.objects[key].pages;
                        self.counters.promoted += 1;
                    }
                }
                Err(Failure::Copy(why)) => return Err(why),
                Err(_) => {}
            }
        }
        Ok(promoted)
    }

    /// Tries the places that the object's last placement prefers to where it stands, without disturbing anyone.
    fn bring_back(&mut self, key: usize) -> Result<bool, Failure> {
        self.finish(key);
        let object = &mut self.objects[key];
        let wanted = object.wanted.clone();
        let stands = wanted.places().iter().position(|place| object.pages_not_at(place).is_empty());
        let better = &wanted.places()[..stands.unwrap_or(wanted.places().len())];
        if better.is_empty() {
            return Ok(false);
        }
        object.at_work = true;
        let job = Job { key, part: Part::Misplaced, places: better, shut: Shut::default() };
        let brought = self.try_places(&job, false);
        self.objects[key].at_work = false;
        brought.map(|()| true)
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
