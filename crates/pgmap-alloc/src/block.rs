//! Pages that the driver has taken and that carry no folio.

use core::fmt;

use crate::charge::Owner;
use crate::error::{AllocError, AllocExtentError, BlockError, Refused, RequestError};
use crate::folio::Folio;
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::pool::ExtentParams;
use crate::service::{GoesTo, Refusal};
use crate::trace::Event;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Takes idle pages without a folio, wherever they fit best. As [`Pgmap::alloc_folio_raw`].
    pub fn alloc_block(&self, order: Order) -> Result<Block<'_, O, WORDS>, AllocError> {
        self.block_paid_by(None, order)
    }

    /// [`Pgmap::alloc_block`] for an owner who has paid, if there is one.
    pub(crate) fn block_paid_by(&self, payer: Option<Owner>, order: Order) -> Result<Block<'_, O, WORDS>, AllocError> {
        loop {
            // Where nothing is pending no run goes back.
            let since = if self.lifetime.now().is_calm() { None } else { Some(self.pool.forgotten()) };
            let run = self.take_run(payer, order).inspect_err(|_| self.ops().trace(Event::Refused { order }))?;
            if self.unfit(run).is_none() {
                self.ops().trace(Event::Alloc { offset: run.start(), order });
                return Ok(Block::adopt(self, run));
            }
            // Giving an unfit run back takes it out of the pool, so the next run is another.
            self.release_refused(payer, run, Refusal::Bad, since);
        }
    }

    /// Takes exactly these idle pages without a folio. As [`Pgmap::request_folio_raw`].
    pub fn request_block(&self, offset: Offset, order: Order) -> Result<Block<'_, O, WORDS>, RequestError> {
        let since = self.pool.forgotten();
        let run = self.take_run_at(None, offset, order)?;
        if let Some(refusal) = self.unfit(run) {
            self.release_unused(None, run, Some(since));
            return Err(refusal.into());
        }
        self.ops().trace(Event::Request { offset, order });
        Ok(Block::adopt(self, run))
    }

    /// Takes idle pages side by side without a folio, as many and where the parameters say, as few blocks.
    ///
    /// As [`GenPool::alloc_extent`](crate::GenPool::alloc_extent).
    pub fn alloc_extent(&self, params: &ExtentParams) -> Result<Blocks<'_, O, WORDS>, AllocExtentError> {
        loop {
            let since = self.pool.forgotten();
            let taken = if self.is_dying() { Err(AllocExtentError::Dying) } else { self.pool.alloc_extent(params) };
            let extent = taken.inspect_err(|_| {
                let order = Order::covering(params.pages).unwrap_or(Order::MAX);
                self.ops().trace(Event::Refused { order });
            })?;
            self.count_in(None, extent.pages());
            if extent.runs(Order::MAX).all(|run| self.unfit(run).is_none()) {
                extent.runs(Order::MAX).for_each(|run| self.ops().trace(Event::Alloc { offset: run.start(), order: run.order() }));
                return Ok(Blocks { pgmap: self, at: extent.start(), end: extent.end(), largest: Order::MAX });
            }
            // Giving unfit runs back takes them out of the pool, so the next extent is another.
            extent.runs(Order::MAX).for_each(|run| self.release_unused(None, run, Some(since)));
        }
    }
}

/// A run of pages that the driver owns, without a reference count: a buffer, firmware, a page table. Drop gives it back.
pub struct Block<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    run: Run,
}

impl<'p, O: PgmapOps, const WORDS: usize> Block<'p, O, WORDS> {
    /// Takes over pages that [`Block::into_raw`] or a kept folio left ([`AfterFree::Keep`](crate::AfterFree::Keep)).
    ///
    /// Refuses pages that are idle, or under a folio. To be sure of that it reads the run's folio words: O(2^order). Taking over
    /// pages of which somebody else has a block gives them two owners; the second free is then refused.
    pub fn from_raw(pgmap: &'p Pgmap<'_, O, WORDS>, run: Run) -> Result<Self, BlockError> {
        pgmap.pool.check_inside(run).map_err(|_| BlockError::NoSuchRun)?;
        let folio = pgmap.folio_in(run).map(|found| found.head);
        match folio.or_else(|| pgmap.pool.idle_page_in(run)) {
            Some(page) => Err(BlockError::NotTaken { page }),
            None => Ok(Block::adopt(pgmap, run)),
        }
    }

    /// Takes over an owned run.
    pub(crate) fn adopt(pgmap: &'p Pgmap<'_, O, WORDS>, run: Run) -> Self {
        Block { pgmap, run }
    }

    /// Its pgmap.
    pub fn pgmap(&self) -> &'p Pgmap<'p, O, WORDS> {
        self.pgmap
    }

    /// Its first page.
    pub fn offset(&self) -> Offset {
        self.run.start()
    }

    /// Its order.
    pub fn order(&self) -> Order {
        self.run.order()
    }

    /// Puts its pages into service as one folio. The block comes back in the error if the pgmap is dying, its range is being removed or
    /// a page is bad. O(1); lock-free.
    pub fn into_folio(self, data: O::Data) -> Result<Folio<'p, O, WORDS>, Refused<RequestError, Self>> {
        self.into_folio_paid_by(None, data)
    }

    /// [`Block::into_folio`] that an owner pays for, if there is one.
    pub(crate) fn into_folio_paid_by(
        self,
        payer: Option<Owner>,
        data: O::Data,
    ) -> Result<Folio<'p, O, WORDS>, Refused<RequestError, Self>> {
        match self.pgmap.enter_service(payer, self.run, data) {
            Ok(()) => {
                let pgmap = self.pgmap;
                pgmap.ops().trace(Event::Request { offset: self.run.start(), order: self.run.order() });
                Ok(Folio::adopt(pgmap, self.into_raw().start()))
            }
            Err(refusal) => Err(Refused { error: refusal.into(), value: self }),
        }
    }

    /// Cuts it into blocks of `order`; itself if `order` is not smaller. O(1).
    pub fn split(self, order: Order) -> Blocks<'p, O, WORDS> {
        let pgmap = self.pgmap;
        let run = self.into_raw();
        Blocks { pgmap, at: run.start(), end: run.end(), largest: order }
    }

    /// Keeps the first `pages` pages, as the largest blocks there are, and gives the others back. O(number of blocks).
    pub fn trim(self, pages: u64) -> Blocks<'p, O, WORDS> {
        let pgmap = self.pgmap;
        let (run, largest) = (self.into_raw(), Order::MAX);
        let cut = Offset::new(run.start().get() + pages.min(run.pages()));
        drop(Blocks { pgmap, at: cut, end: run.end(), largest });
        Blocks { pgmap, at: run.start(), end: cut, largest }
    }

    /// Whether a page of it is to be retired: it will be when it is given back.
    pub fn is_bad(&self) -> bool {
        let now = self.pgmap.lifetime.now();
        now.is_marked() && self.pgmap.marked_in(self.run).next().is_some()
    }

    /// Gives up the type and keeps the pages: give them back with [`Pgmap::free_block_raw`].
    pub fn into_raw(self) -> Run {
        let run = self.run;
        core::mem::forget(self);
        run
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Block<'_, O, WORDS> {
    fn drop(&mut self) {
        self.pgmap.ops().trace(Event::Free { offset: self.run.start(), order: self.run.order() });
        self.pgmap.release(self.run);
    }
}

impl<O: PgmapOps, const WORDS: usize> fmt::Debug for Block<'_, O, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(&self.run).finish()
    }
}

/// Blocks side by side, in rising order of offset. Drop gives back those that were not taken.
pub struct Blocks<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    at: Offset,
    end: Offset,
    largest: Order,
}

impl<'p, O: PgmapOps, const WORDS: usize> Iterator for Blocks<'p, O, WORDS> {
    type Item = Block<'p, O, WORDS>;

    fn next(&mut self) -> Option<Self::Item> {
        let fitting = Order::fitting(self.end.get().checked_sub(self.at.get())?)?;
        let order = fitting.min(self.largest).min(self.at.alignment());
        let run = Run::around(self.at.get(), order);
        self.at = run.end();
        Some(Block::adopt(self.pgmap, run))
    }
}

impl<O: PgmapOps, const WORDS: usize> fmt::Debug for Blocks<'_, O, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blocks").field(&(self.at..self.end)).finish()
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Blocks<'_, O, WORDS> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl<'p, O: PgmapOps, const WORDS: usize> Folio<'p, O, WORDS> {
    /// Ends its service and keeps its pages as a block, if this is its only reference. Calls `folio_free`, whose answer what to do
    /// with the pages does not count.
    pub fn into_block(self) -> Result<Block<'p, O, WORDS>, Self> {
        let (pgmap, head) = (self.pgmap(), self.offset());
        let Some(order) = pgmap.folios.word(head).end_alone(Pgmap::<O, WORDS>::ENDING) else { return Err(self) };
        self.into_raw();
        let run = Run::around(head.get(), order);
        pgmap.end_folio(run, GoesTo::Tables);
        pgmap.attend_kept(run);
        Ok(Block::adopt(pgmap, run))
    }
}
