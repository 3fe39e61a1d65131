//! The move itself: take room, start the copy, switch the object over, leave a ghost.

use alloc::vec::Vec;

use pgmap_alloc::{ChargeError, Owner, PgmapOps};

use crate::account::lineage;
use crate::ask::{Ask, Refused, Short};
use crate::error::CopyError;
use crate::failure::Failure;
use crate::job::Shut;
use crate::manager::{Manager, Step};
use crate::mover::Mover;
use crate::object::Object;
use crate::piece::{Piece, Ticket};
use crate::place::MemoryType;
use crate::segment::{Ghost, Pages, Segments};

/// How often a charge is tried that someone else's charge of the same parent stood in the way of.
const CHARGES: u32 = 16;

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Refuses an ask that could not be met with everybody else out of the way.
    pub(crate) fn possible(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let resources = &self.memories[ask.place.memory.index()];
        if resources.gone || !resources.could_hold(ask.place, ask.pages(), ask.shape) {
            return Err(Failure::NoSpace);
        }
        let pays = |owner: Owner| resources.accounts.usage(owner).is_none_or(|usage| ask.pages() <= usage.limits.max);
        if lineage(resources.accounts, self.objects[ask.key].owner).all(pays) { Ok(()) } else { Err(Failure::OverLimit) }
    }

    /// Charges the object's owner, then takes the room, without disturbing anyone.
    pub(crate) fn try_allocate(&mut self, ask: &Ask<'_>) -> Result<Segments<'p, O>, Refused> {
        let (owner, pages) = (self.objects[ask.key].owner, ask.pages());
        self.possible(ask).map_err(|why| Refused { why, missing: pages, limit_of: None })?;
        self.charge(ask.place.memory, owner, pages)?;
        let taken = match self.injected(Step::Allocate) {
            true => Err(Short::of(pages)),
            false => self.memories[ask.place.memory.index()].allocate(ask.place.memory, ask),
        };
        taken.map_err(|Short { missing, .. }| {
            self.memories[ask.place.memory.index()].accounts.cancel(owner, None, pages);
            Refused { why: Failure::NoSpace, missing, limit_of: None }
        })
    }

    fn charge(&mut self, memory: MemoryType, owner: Owner, pages: u64) -> Result<(), Refused> {
        let over = |owner: Owner, missing| Err(Refused { why: Failure::OverLimit, missing, limit_of: Some(owner) });
        if self.injected(Step::Charge) {
            return over(owner, pages);
        }
        let accounts = self.memories[memory.index()].accounts;
        for _ in 0..CHARGES {
            return match accounts.try_charge(owner, pages) {
                Ok(()) => Ok(()),
                // A parent was charged by someone else at the same moment.
                Err(ChargeError::Contended) => continue,
                Err(ChargeError::OverLimit { owner, has, max }) => {
                    accounts.refused(Owner(owner));
                    over(Owner(owner), has.saturating_add(pages).saturating_sub(max).max(1))
                }
                Err(_) => Err(Refused { why: Failure::NoAccount, missing: pages, limit_of: None }),
            };
        }
        over(owner, pages)
    }

    /// Moves the pages that were asked for into `new`, which covers them exactly. After a failure the object stands where it stood;
    /// if it had to go in parts, those that have arrived stay there.
    pub(crate) fn relocate(&mut self, ask: &Ask<'_>, new: Segments<'p, O>, shut: Shut) -> Result<(), Failure> {
        match self.start_copy(ask.key, &new) {
            Ok(ticket) => {
                self.switch(ask.key, ask.runs, new, ticket);
                Ok(())
            }
            Err(CopyError::Via(stop)) => self.bounce(ask, stop, new, shut),
            Err(why) => {
                self.release(self.objects[ask.key].owner, new);
                Err(Failure::Copy(why))
            }
        }
    }

    /// Starts copying from where the object stands into `new`; no ticket if none of those pages stands anywhere.
    pub(crate) fn start_copy(&mut self, key: usize, new: &Segments<'p, O>) -> Result<Option<Ticket>, CopyError> {
        let (from, to) = pieces_to_copy(&self.objects[key], new);
        if from.is_empty() {
            return Ok(None);
        }
        if self.injected(Step::Copy) {
            return Err(CopyError::Failed);
        }
        let pages: u64 = from.iter().map(|piece| piece.pages).sum();
        let ticket = self.mover.copy(&from, &to, self.bytes(pages))?;
        self.last_ticket = ticket;
        self.counters.copies += 1;
        self.counters.pages_copied += pages;
        self.counters.pieces_copied += from.len() as u64;
        Ok(Some(ticket))
    }

    /// From now on the object stands in `new`; where it stood becomes a ghost until `ticket`.
    pub(crate) fn switch(&mut self, key: usize, runs: &[Pages], new: Segments<'p, O>, ticket: Option<Ticket>) {
        let object = &mut self.objects[key];
        let mut old = Segments::new();
        for run in runs {
            old.extend(object.take(run.clone()));
        }
        object.put(new);
        let owner = object.owner;
        self.notify(key);
        match ticket {
            Some(ticket) => {
                self.objects[key].moved_at = Some(ticket);
                self.leave_ghost(Ghost { home: Some(key), owner, ticket, moved: runs.to_vec(), old });
            }
            None => self.release(owner, old),
        }
        self.relist(key, true);
    }
}

/// What to copy: the parts of each new segment whose pages stand somewhere, cut where either side is cut.
fn pieces_to_copy<O: PgmapOps<Data = usize>>(object: &Object<'_, O>, new: &Segments<'_, O>) -> (Vec<Piece>, Vec<Piece>) {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for (page, target) in new {
        let end = page + target.piece.pages;
        for (first, source) in object.segments_in(*page..end) {
            let start = first.max(*page);
            let pages = end.min(first + source.piece.pages) - start;
            from.push(Piece { first: source.piece.first + (start - first), pages, ..source.piece });
            to.push(Piece { first: target.piece.first + (start - page), pages, ..target.piece });
        }
    }
    (from, to)
}
