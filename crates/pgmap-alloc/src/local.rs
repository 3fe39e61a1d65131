//! The per-CPU handle over folios: into service and out of it without a shared atomic but the folio's own word.

use core::fmt;

use crate::charge::Owner;
use crate::error::{AllocError, PutError};
use crate::folio::Folio;
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::pool;
use crate::references::Put;
use crate::service::{GoesTo, Refusal};
use crate::state::AfterPut;
use crate::trace::Event;

/// A handle on a [`Pgmap`] for one CPU or thread, with idle runs of each order at hand.
///
/// `Send`, not shared: whoever has it has it alone. In a kernel it is per-CPU data, used with preemption off. A folio from it is
/// an ordinary folio: it may be cloned and dropped anywhere. Dropped elsewhere it goes back to the pgmap; put here it is at hand
/// for the next allocation.
///
/// What it has at hand looks taken to everyone else, as a block does, until it is drained: by [`Local::drain`], by dropping it,
/// or at its next put after somebody was refused ([`AllocError::NoSpace`] says how many pages handles hold).
pub struct Local<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    runs: pool::Local<'p, WORDS>,
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A handle for one CPU or thread; `None` when 64 are out already. About 5 KiB, wherever the caller keeps it.
    pub fn local(&self) -> Option<Local<'_, O, WORDS>> {
        let runs = pool::Local::new(&self.pool)?;
        Some(Local { pgmap: self, runs })
    }
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Puts the reference that was a folio's; if it was the last, `keep` gets the run, unless the driver keeps it.
    #[inline]
    pub(crate) fn put_folio(&self, head: Offset, keep: impl FnOnce(Run)) -> Put {
        // The folio held a reference, so there is one to put.
        let after = self.folios.word(head).put(1, Self::ENDING);
        self.ops().trace(Event::Put { offset: head, count: 1 });
        let Ok(AfterPut::LastPut(order)) = after else { return Put::InService };
        if let Some(run) = self.leave_service(head, order, GoesTo::Handle) {
            keep(run);
        }
        Put::Freed
    }
}

impl<'p, O: PgmapOps, const WORDS: usize> Local<'p, O, WORDS> {
    /// [`Pgmap::alloc_folio`] from what is at hand.
    ///
    /// Wait-free while a run of this order is at hand, lock-free else.
    #[inline]
    pub fn alloc_folio(&mut self, order: Order) -> Result<Folio<'p, O, WORDS>, AllocError>
    where
        O::Data: Default,
    {
        self.alloc_folio_with(order, O::Data::default())
    }

    /// [`Local::alloc_folio`], with what the driver keeps with the folio.
    #[inline]
    pub fn alloc_folio_with(&mut self, order: Order, data: O::Data) -> Result<Folio<'p, O, WORDS>, AllocError> {
        self.alloc_paid_by(None, order, data)
    }

    /// [`Local::alloc_folio_with`] for an owner who has paid, if there is one.
    #[inline]
    pub(crate) fn alloc_paid_by(
        &mut self,
        payer: Option<Owner>,
        order: Order,
        data: O::Data,
    ) -> Result<Folio<'p, O, WORDS>, AllocError> {
        match self.paid_at_hand(payer, order, data) {
            Some(folio) => Ok(folio),
            None => self.alloc_anyhow(payer, order, data),
        }
    }

    /// [`Local::alloc_folio_with`] of what is at hand, if nothing stands in the way.
    #[inline]
    pub(crate) fn alloc_at_hand(&mut self, order: Order, data: O::Data) -> Option<Folio<'p, O, WORDS>> {
        self.paid_at_hand(None, order, data)
    }

    #[inline]
    fn paid_at_hand(&mut self, payer: Option<Owner>, order: Order, data: O::Data) -> Option<Folio<'p, O, WORDS>> {
        if self.pgmap.is_dying() {
            return None;
        }
        let run = self.runs.take_at_hand(order)?;
        self.pgmap.count_in(payer, run.pages());
        // Not onto the stack after a refusal: giving an unfit run back to the pgmap takes it out of the pool.
        self.pgmap.start(payer, run, data).ok().map(|head| Folio::adopt(self.pgmap, head))
    }

    #[inline(never)]
    fn alloc_anyhow(&mut self, payer: Option<Owner>, order: Order, data: O::Data) -> Result<Folio<'p, O, WORDS>, AllocError> {
        if self.pgmap.is_dying() {
            self.runs.drain();
            return Err(AllocError::Dying);
        }
        loop {
            let run = self.runs.take(order).inspect_err(|_| self.pgmap.ops().trace(Event::Refused { order }))?;
            self.pgmap.count_in(payer, run.pages());
            match self.pgmap.start(payer, run, data) {
                Ok(head) => return Ok(Folio::adopt(self.pgmap, head)),
                Err(Refusal::Dying) => {
                    self.runs.drain();
                    return Err(AllocError::Dying);
                }
                Err(_) => {}
            }
        }
    }

    /// Puts a folio of this handle's pgmap; if it was the last reference, its pages are at hand afterwards. A folio of another
    /// pgmap comes back with [`PutError::Foreign`].
    #[inline]
    pub fn put(&mut self, folio: Folio<'p, O, WORDS>) -> Result<Put, (PutError, Folio<'p, O, WORDS>)> {
        if core::ptr::addr_eq(folio.pgmap(), self.pgmap) {
            Ok(self.put_own(folio.into_raw()))
        } else {
            Err((PutError::Foreign, folio))
        }
    }

    /// Puts the reference that was a folio's of this pgmap.
    fn put_own(&mut self, head: Offset) -> Put {
        let pgmap = self.pgmap;
        pgmap.put_folio(head, |run| self.keep(run))
    }

    /// Has a run at hand that a folio has left.
    #[inline]
    pub(crate) fn keep(&mut self, run: Run) {
        if self.pgmap.is_calm_after() {
            self.runs.give_back(run);
            self.pgmap.count_out(run.pages());
        } else {
            self.pgmap.release(run);
            self.leave_closed_ranges();
        }
    }

    /// Gives back all that is at hand.
    pub fn drain(&mut self) {
        self.runs.drain();
        self.pgmap.attend_all();
    }

    /// Gives back all that is at hand if a range is being taken away: it may be of that one.
    #[cold]
    fn leave_closed_ranges(&mut self) {
        if self.pgmap.leaving.is_any() {
            self.drain();
        }
    }

    /// How many pages are at hand.
    pub fn cached(&self) -> u64 {
        self.runs.cached()
    }

    /// Its pgmap.
    pub fn pgmap(&self) -> &'p Pgmap<'p, O, WORDS> {
        self.pgmap
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Local<'_, O, WORDS> {
    fn drop(&mut self) {
        self.drain();
    }
}

impl<O: PgmapOps, const WORDS: usize> fmt::Debug for Local<'_, O, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("cached", &self.cached()).finish()
    }
}
