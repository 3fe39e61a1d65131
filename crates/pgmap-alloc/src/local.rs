//! The per-CPU handle over folios: into service and out of it without a shared atomic but the folio's own word.

use core::fmt;

use crate::error::{AllocError, PutError};
use crate::folio::Folio;
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
        if self.pgmap.is_dying() {
            self.runs.drain();
            return Err(AllocError::Dying);
        }
        loop {
            let ops = self.pgmap.ops();
            let run = self.runs.take(order).inspect_err(|_| ops.trace(Event::Refused { order }))?;
            let Err(refusal) = self.pgmap.enter_service(run, data) else {
                ops.trace(Event::Alloc { offset: run.start(), order });
                return Ok(Folio::adopt(self.pgmap, run.start()));
            };
            // Not onto the stack: giving an unfit run back to the pgmap takes it out of the pool.
            self.pgmap.release_refused(run, refusal);
            if refusal == Refusal::Dying {
                self.runs.drain();
                return Err(AllocError::Dying);
            }
        }
    }

    /// Puts a folio of this handle's pgmap; if it was the last reference, its pages are at hand afterwards. A folio of another
    /// pgmap comes back with [`PutError::Foreign`].
    #[inline]
    pub fn put(&mut self, folio: Folio<'p, O, WORDS>) -> Result<Put, (PutError, Folio<'p, O, WORDS>)> {
        if !core::ptr::addr_eq(folio.pgmap(), self.pgmap) {
            return Err((PutError::Foreign, folio));
        }
        let head = folio.into_raw();
        // The folio held a reference, so there is one to put.
        let after = self.pgmap.folios.word(head).put(1, Pgmap::<O, WORDS>::ENDING);
        self.pgmap.ops().trace(Event::Put { offset: head, count: 1 });
        let Ok(AfterPut::LastPut(order)) = after else { return Ok(Put::InService) };
        if let Some(run) = self.pgmap.leave_service(head, order, GoesTo::Handle) {
            if self.pgmap.is_calm_after() {
                self.runs.give_back(run);
            } else {
                self.pgmap.release(run);
                self.leave_closed_ranges();
            }
        }
        Ok(Put::Freed)
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
