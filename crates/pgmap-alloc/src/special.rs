//! Special ranges: pages without a folio, by declaration.

use crate::error::{RequestError, SpecialError};
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::standing::{Lookup, Reason};

/// How large a special range is: an entry of a page table, at one of its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialSize {
    /// One page.
    Page,
    /// 2 MiB.
    Pmd,
    /// 1 GiB.
    Pud,
}

impl SpecialSize {
    /// Its order, where a page has `1 << page_shift` bytes; `None` if a page is larger.
    const fn order(self, page_shift: u32) -> Option<Order> {
        let bytes = match self {
            SpecialSize::Page => return Some(Order::ZERO),
            SpecialSize::Pmd => 21_u32,
            SpecialSize::Pud => 30,
        };
        match bytes.checked_sub(page_shift) {
            Some(order) => Some(Order::clamped(order)),
            None => None,
        }
    }
}

impl From<RequestError> for SpecialError {
    fn from(error: RequestError) -> SpecialError {
        match error {
            RequestError::Misaligned => SpecialError::Misaligned,
            RequestError::Overflow => SpecialError::Overflow,
            RequestError::OutOfRange => SpecialError::OutOfRange,
            RequestError::CrossesRange => SpecialError::CrossesRange,
            RequestError::Contended => SpecialError::Contended,
            RequestError::Dying => SpecialError::Dying,
            RequestError::Busy | RequestError::Retired | RequestError::Leaving => SpecialError::Busy,
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Declares idle pages special: no folio stands behind them, and none ever will until it is taken back. O(levels); a refusal
    /// may look at the folio words of the run.
    pub fn declare_special(&self, offset: Offset, size: SpecialSize, reason: Reason) -> Result<(), SpecialError> {
        let run = self.special_run(offset, size)?;
        self.take_run_at(None, offset, run.order()).map_err(|error| self.why_not_special(run, error))?;
        let declared = self.folios.word(offset).declare(run.order(), reason.to_bits());
        debug_assert!(declared, "an owned run has a folio");
        Ok(())
    }

    /// Makes a special range idle again.
    pub fn undeclare_special(&self, offset: Offset, size: SpecialSize) -> Result<(), SpecialError> {
        let run = self.special_run(offset, size)?;
        if matches!(self.lookup(offset), Ok(Lookup::Special { reason: Reason::Leaving, .. })) {
            return Err(SpecialError::NotSpecial);
        }
        if !self.folios.word(offset).undeclare(run.order()) {
            return Err(SpecialError::NotSpecial);
        }
        self.release(run);
        Ok(())
    }

    fn special_run(&self, offset: Offset, size: SpecialSize) -> Result<Run, SpecialError> {
        let order = size.order(self.page_shift()).ok_or(SpecialError::SmallerThanPage)?;
        let run = Run::new(offset, order).map_err(RequestError::from)?;
        self.pool.check_inside(run).map_err(RequestError::from)?;
        Ok(run)
    }

    fn why_not_special(&self, run: Run, error: RequestError) -> SpecialError {
        let folio = if error == RequestError::Busy { self.folio_in(run) } else { None };
        match folio.map(|found| self.lookup(found.head)) {
            Some(Ok(Lookup::Folio { head, .. })) => SpecialError::InService { head },
            _ => error.into(),
        }
    }
}
