//! Folios and blocks by what their pages hold; needs a pool that tracks it ([`Params::tracking_clear`](crate::Params::tracking_clear)).
//!
//! The driver says what pages hold when they come back: [`AfterFree::ReleaseCleared`](crate::AfterFree::ReleaseCleared),
//! [`Block::release_cleared`]. Everything else is dirty.

use crate::block::Block;
use crate::error::{AllocError, ForgetError};
use crate::extent::Extent;
use crate::folio::Folio;
use crate::offset::Run;
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::pool::{Contents, DirtyRun, Wish};
use crate::service::Refusal;
use crate::trace::Event;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// [`Pgmap::alloc_folio_with`] by what pages hold; says what they hold. Costs what
    /// [`GenPool::alloc_wishing`](crate::GenPool::alloc_wishing) costs.
    pub fn alloc_folio_wishing(
        &self,
        order: Order,
        wish: Wish,
        data: O::Data,
    ) -> Result<(Folio<'_, O, WORDS>, Contents), AllocError> {
        loop {
            let taken = if self.is_dying() { Err(AllocError::Dying) } else { self.pool.take_wishing(order, wish) };
            let run = taken.inspect_err(|_| self.ops().trace(Event::Refused { order }))?;
            self.count_in(None, run.pages());
            let contents = self.pool.contents(run);
            let Err(refusal) = self.enter_service(None, run, data) else {
                self.ops().trace(Event::Alloc { offset: run.start(), order });
                return Ok((Folio::adopt(self, run.start()), contents));
            };
            // Giving an unfit run back takes it out of the pool, so the next run is another.
            self.release_refused(None, run, refusal);
            if refusal == Refusal::Dying {
                return Err(AllocError::Dying);
            }
        }
    }

    /// How many idle pages of a window are cleared. O(tables in it with idle pages); exact at a quiet moment.
    pub fn avail_cleared(&self, window: Extent) -> u64 {
        self.pool.avail_cleared(window)
    }

    /// Nothing is known any more about what the idle pages of a window hold: after a reset, or when power was lost. See
    /// [`GenPool::forget_clear`](crate::GenPool::forget_clear).
    pub fn forget_clear(&self, window: Extent) -> Result<(), ForgetError> {
        let forgotten = self.pool.forget_clear(window);
        // Whoever wanted pages while they were hidden has left a mark instead.
        self.attend_all();
        forgotten
    }

    /// Takes idle dirty pages as blocks of `at_most` or less, in rising order of offset, one whenever the iterator is asked: for a
    /// background clearer, who gives each back with [`Block::release_cleared`].
    pub fn dirty_blocks(&self, window: Extent, at_most: Order) -> impl Iterator<Item = Block<'_, O, WORDS>> {
        let runs = self.pool.dirty_runs(window, at_most).map(DirtyRun::into_run);
        let blocks = runs.map(|run| {
            self.count_in(None, run.pages());
            self.ops().trace(Event::Alloc { offset: run.start(), order: run.order() });
            Block::adopt(self, run)
        });
        blocks.take_while(|_| !self.is_dying())
    }
}

impl<O: PgmapOps, const WORDS: usize> Block<'_, O, WORDS> {
    /// What its pages held when they were taken.
    pub fn contents(&self) -> Contents {
        self.pgmap().pool.contents_of(Extent::from(Run::around(self.offset().get(), self.order())))
    }

    /// Gives it back, all zero.
    pub fn release_cleared(self) {
        let pgmap = self.pgmap();
        pgmap.ops().trace(Event::Free { offset: self.offset(), order: self.order() });
        pgmap.release_cleared(self.into_raw());
    }
}
