//! What stands at an offset: the one function that decides.

use crate::error::{AccessError, LookupError};
use crate::folios::Found;
use crate::memory_type::Capability;
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::pgmap::Pgmap;
use crate::standing::{Lookup, Reason};
use crate::state::State;

/// What a word says.
fn standing(found: Found) -> Lookup {
    let (head, order) = (found.head, found.word.order());
    match found.word.state() {
        State::Retired => Lookup::Retired,
        State::Special => Lookup::Special { head, order, reason: Reason::from_bits(found.word.reason()) },
        _ => Lookup::Folio { head, order },
    }
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// What stands at `offset`. One probe per order at most; by the time it is read the answer may be old.
    ///
    /// `Block` is whatever is taken and carries no folio: pages that a request has claimed a moment ago and pages at hand in a
    /// per-CPU handle too, and an idle page that others were moving at each of several looks.
    pub fn lookup(&self, offset: Offset) -> Result<Lookup, LookupError> {
        if !self.pool.has_offset(offset) {
            return Err(LookupError::OutOfRange);
        }
        Ok(match self.covering(offset) {
            Some(found) => standing(found),
            None if self.pool.is_taken(offset) == Some(false) => Lookup::Idle,
            None => Lookup::Block,
        })
    }

    /// Whether no reference to `offset` exists: a count of 0 and nothing else, so true for a block as well.
    pub fn is_idle(&self, offset: Offset) -> bool {
        self.covering(offset).is_none_or(|found| found.word.refs() == 0)
    }

    /// Whether `capability` may be used on the page at `offset`: its memory type allows it, and a folio in service stands there.
    ///
    /// So a copy on write over a special page, for one, is refused by name.
    pub fn check_access(&self, offset: Offset, capability: Capability) -> Result<(), AccessError> {
        match self.lookup(offset) {
            Err(_) => Err(AccessError::OutOfRange),
            Ok(Lookup::Special { .. }) => Err(AccessError::Special),
            Ok(Lookup::Retired) => Err(AccessError::Retired),
            Ok(Lookup::Idle | Lookup::Block) => Err(AccessError::NotInService),
            Ok(Lookup::Folio { .. }) => {
                let memory_type = self.ops().memory_type();
                if memory_type.allows(capability) { Ok(()) } else { Err(AccessError::NotAllowed { memory_type }) }
            }
        }
    }

    /// The word that speaks for a page, unless the page is idle or in a block.
    pub(crate) fn covering(&self, page: Offset) -> Option<Found> {
        self.folios.covering(page, self.largest_order())
    }

    /// A word that speaks for a page of `run`, if there is one. O(2^order).
    pub(crate) fn folio_in(&self, run: Run) -> Option<Found> {
        let largest = self.largest_order();
        self.folios.covering(run.start(), largest).or_else(|| self.folios.starting_in(run))
    }
}
