//! Pages that the driver has taken and that carry no folio.

use core::fmt;

use crate::error::{AllocError, RequestError};
use crate::folio::Folio;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::pgmap::{Pgmap, PgmapOps};

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Takes idle pages without a folio, wherever they fit best. As [`Pgmap::alloc_folio_raw`].
    pub fn alloc_block(&self, order: Order) -> Result<Block<'_, O, WORDS>, AllocError> {
        Ok(Block::adopt(self, self.take_run(order)?))
    }

    /// Takes exactly these idle pages without a folio. As [`Pgmap::request_folio_raw`].
    pub fn request_block(&self, offset: Offset, order: Order) -> Result<Block<'_, O, WORDS>, RequestError> {
        Ok(Block::adopt(self, self.take_run_at(offset, order)?))
    }
}

/// A run of pages that the driver owns, without a reference count: a buffer, firmware, a page table. Drop gives it back.
pub struct Block<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    run: Run,
}

impl<'p, O: PgmapOps, const WORDS: usize> Block<'p, O, WORDS> {
    /// Takes over an owned run.
    pub(crate) fn adopt(pgmap: &'p Pgmap<'_, O, WORDS>, run: Run) -> Self {
        Block { pgmap, run }
    }

    /// Its first page.
    pub fn offset(&self) -> Offset {
        self.run.start()
    }

    /// Its order.
    pub fn order(&self) -> Order {
        self.run.order()
    }

    /// Puts its pages into service as one folio; the block comes back if the pgmap is dying.
    pub fn into_folio(self, data: O::Data) -> Result<Folio<'p, O, WORDS>, (RequestError, Self)> {
        if self.pgmap.enter_service(self.run, data) {
            let pgmap = self.pgmap;
            Ok(Folio::adopt(pgmap, self.into_raw().start()))
        } else {
            Err((RequestError::Dying, self))
        }
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
        self.pgmap.release(self.run);
    }
}

impl<O: PgmapOps, const WORDS: usize> fmt::Debug for Block<'_, O, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(&self.run).finish()
    }
}
