//! Ghosts: what an object left behind, kept until the copy out of it has signalled.
//!
//! A ghost is both a promise to the mover (nothing it reads or writes is handed to someone else) and the way back: if the copy
//! failed, the object gets its old segments again. An object moves only when its last move has ended, so at most the two legs
//! of a bounce are ever undone together.

use alloc::vec::Vec;

use pgmap_alloc::{Owner, PgmapOps};

use crate::account::is_under;
use crate::bo::Bo;
use crate::error::{FenceError, WaitError};
use crate::manager::{Manager, Step};
use crate::mover::Mover;
use crate::piece::Ticket;
use crate::place::{MemoryType, Place, Window};
use crate::segment::{Ghost, Segments};

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Waits until no copy into the object is under way. After that its pieces hold its bytes.
    ///
    /// `CopyFailed` says that a copy failed since the last wait. The object is back where it was, and readable there.
    pub fn wait(&mut self, bo: Bo) -> Result<(), WaitError> {
        let key = self.find(bo)?;
        self.finish(key);
        match core::mem::take(&mut self.objects[key].undone) {
            true => Err(WaitError::CopyFailed),
            false => Ok(()),
        }
    }

    /// Waits until every copy that was started has ended, and everything that was left behind is free, but for what others hold.
    pub fn wait_all(&mut self) {
        while self.finish_oldest() {}
        self.release_held();
    }

    /// Frees what copies that have ended left behind, and what others held and have put, without waiting; the other verbs do this
    /// by the way.
    pub fn reap(&mut self) {
        self.release_held();
        while let Some(ghost) = self.ghosts.front() {
            let ended = match self.mover.is_signalled(ghost.ticket) {
                Ok(false) => return,
                Ok(true) => Ok(()),
                Err(why) => Err(why),
            };
            self.end_oldest(ended);
        }
    }

    /// Adds the youngest ghost.
    pub(crate) fn leave_ghost(&mut self, ghost: Ghost<'p, O>) {
        for (_, segment) in &ghost.old {
            self.memories[segment.piece.memory.index()].leaving += segment.piece.pages;
        }
        self.ghosts.push_back(ghost);
    }

    fn count_out(&mut self, ghost: &Ghost<'p, O>) {
        for (_, segment) in &ghost.old {
            self.memories[segment.piece.memory.index()].leaving -= segment.piece.pages;
        }
    }

    /// How many pages of `memory` are on their way out.
    pub(crate) fn leaving(&self, memory: MemoryType) -> u64 {
        self.memories[memory.index()].leaving
    }

    /// How many pages of a place are on their way out.
    pub(crate) fn leaving_at(&self, place: &Place) -> u64 {
        if place.window == Window::ALL {
            return self.leaving(place.memory);
        }
        let pieces = self.ghosts.iter().flat_map(|ghost| &ghost.old).map(|(_, s)| s.piece).filter(|p| p.memory == place.memory);
        pieces.map(|piece| place.window.meeting(piece.first, piece.pages)).sum()
    }

    /// Of those in a memory type, the ones that will be taken off this owner's account, if an owner is named.
    pub(crate) fn leaving_of(&self, memory: MemoryType, owner: Option<Owner>) -> u64 {
        let Some(owner) = owner else { return self.leaving(memory) };
        let accounts = self.memories[memory.index()].accounts;
        let ghosts = self.ghosts.iter().filter(|ghost| is_under(accounts, ghost.owner, owner));
        ghosts.map(|ghost| ghost.pages_in(memory)).sum()
    }

    /// Waits until `pages` of these pages are free, or none is left.
    pub(crate) fn wait_leaving(&mut self, memory: MemoryType, owner: Option<Owner>, pages: u64) {
        let enough = self.leaving_of(memory, owner).saturating_sub(pages);
        while self.leaving_of(memory, owner) > enough && self.finish_oldest() {}
    }

    /// Waits until no copy out of or into the object is under way.
    pub(crate) fn finish(&mut self, key: usize) {
        while self.ghosts.iter().any(|ghost| ghost.home == Some(key)) {
            self.finish_oldest();
        }
    }

    pub(crate) fn finish_oldest(&mut self) -> bool {
        let Some(ticket) = self.ghosts.front().map(|ghost| ghost.ticket) else { return false };
        self.counters.waits += 1;
        let ended = self.mover.wait(ticket);
        self.end_oldest(ended);
        true
    }

    fn end_oldest(&mut self, ended: Result<(), FenceError>) {
        let Some(ghost) = self.ghosts.pop_front() else { return };
        self.count_out(&ghost);
        match ghost.home {
            Some(key) if ended.is_err() || self.injected(Step::Fence) => {
                // What started out of the failed copy copied nothing of value: undo that first.
                while self.undo_newest(key) {}
                self.undo(key, ghost);
                self.objects[key].undone = true;
                self.counters.undone += 1;
            }
            _ => self.release(ghost.owner, ghost.old),
        }
    }

    /// Undoes the object's newest move that has not ended; false if there is none.
    pub(crate) fn undo_newest(&mut self, key: usize) -> bool {
        let newest = self.ghosts.iter().rposition(|ghost| ghost.home == Some(key));
        let Some(ghost) = newest.and_then(|index| self.ghosts.remove(index)) else { return false };
        self.count_out(&ghost);
        self.undo(key, ghost);
        true
    }

    /// Puts the object back where it was. Where it went may still be written to: that becomes a ghost nobody wants back.
    fn undo(&mut self, key: usize, ghost: Ghost<'p, O>) {
        let object = &mut self.objects[key];
        let mut left = Segments::new();
        for run in ghost.moved {
            left.extend(object.take(run));
        }
        object.put(ghost.old);
        let used_until = object.used_until;
        self.notify(key);
        let ticket = used_until.unwrap_or_default().max(self.last_ticket);
        self.leave_ghost(Ghost { home: None, owner: ghost.owner, ticket, moved: Vec::new(), old: left });
        self.relist(key, false);
    }

    /// Takes all pages from an object. They are free once nothing that was started uses them any more.
    pub(crate) fn drop_pages(&mut self, key: usize) {
        let object = &mut self.objects[key];
        let mut until = object.used_until;
        for ghost in self.ghosts.iter_mut().filter(|ghost| ghost.home == Some(key)) {
            ghost.home = None;
            until = until.max(Some(ghost.ticket));
        }
        let old = object.take(object.whole());
        self.leave_for_nobody(key, old, until);
    }

    /// Frees what an object has just lost, once nothing that was started uses it any more.
    pub(crate) fn leave_for_nobody(&mut self, key: usize, old: Segments<'p, O>, until: Option<Ticket>) {
        let owner = self.objects[key].owner;
        self.notify(key);
        self.relist(key, false);
        match until {
            Some(ticket) => self.leave_ghost(Ghost { home: None, owner, ticket, moved: Vec::new(), old }),
            None => self.release(owner, old),
        }
    }
}
