//! Counting on a folio in service, for drivers that keep offsets; [`Folio`](crate::Folio) is the same as a type.
//!
//! Every verb touches only the folio's own word, unless it is the last put.

use crate::error::{GetError, MapError, PutError};
use crate::memory_type::Capability;
use crate::offset::Offset;
use crate::ops::PgmapOps;
use crate::pgmap::Pgmap;
use crate::service::GoesTo;
use crate::state::{AfterPut, PutFault, State};
use crate::trace::Event;

/// What a put left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Others hold references.
    InService,
    /// It was the last one: `folio_free` has been called.
    Freed,
}

/// How a folio in service is held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All references.
    pub refs: u32,
    /// Those that are mappings.
    pub mappings: u32,
    /// Those that are not: `refs - mappings`. Migration and eviction go ahead only when there is none.
    pub pins: u32,
}

impl From<PutFault> for PutError {
    fn from(fault: PutFault) -> PutError {
        match fault {
            PutFault::NotInService => PutError::NotInService,
            PutFault::TooMany { held } => PutError::TooMany { held },
            PutFault::Frozen => PutError::Frozen,
            PutFault::NotMapped => PutError::NotMapped,
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A reference to the folio in service that covers `offset`: its head, if there is one that is not frozen.
    ///
    /// Lock-free; one probe per order at most, and again if the folio is split or freed meanwhile. Never takes a count from 0
    /// to 1.
    pub fn try_get_raw(&self, offset: Offset) -> Option<Offset> {
        loop {
            let head = self.covering(offset)?.head;
            match self.folios.word(head).try_get() {
                Ok(now) if offset.align_down(now.order()) == head => return Some(head),
                // Between the probe and the reference the folio has made place for a smaller one.
                Ok(_) => _ = self.put_refs(head, 1),
                Err(State::Idle) => {}
                Err(_) => return None,
            }
        }
    }

    /// Takes one more reference to the folio in service at `head`. Touches only its word; lock-free.
    pub fn get_raw(&self, head: Offset) -> Result<(), GetError> {
        if !self.pool.has_offset(head) {
            return Err(GetError::OutOfRange);
        }
        match self.folios.word(head).try_get() {
            Ok(_) => Ok(()),
            Err(State::Frozen) => Err(GetError::Frozen),
            Err(_) => Err(GetError::NotInService),
        }
    }

    /// Puts `n` references to the folio in service at `head`; more than there are is refused and changes nothing.
    ///
    /// Touches only its word unless it is the last; lock-free. References that are mappings are not put but unmapped.
    pub fn put_raw(&self, head: Offset, n: u32) -> Result<Put, PutError> {
        if !self.pool.has_offset(head) {
            return Err(PutError::OutOfRange);
        }
        Ok(self.put_refs(head, n)?)
    }

    /// Takes a reference that is a mapping: an entry in a page table. Touches only the folio's word; lock-free.
    pub fn map_raw(&self, head: Offset) -> Result<(), MapError> {
        if !self.pool.has_offset(head) {
            return Err(MapError::OutOfRange);
        }
        let memory_type = self.ops().memory_type();
        if !memory_type.allows(Capability::Map) {
            return Err(MapError::NotAllowed { memory_type });
        }
        self.folios.word(head).map().map_err(|state| match state {
            None => MapError::TooMany,
            Some(State::Frozen) => MapError::Frozen,
            Some(_) => MapError::NotInService,
        })
    }

    /// Gives back a reference that is a mapping; it may be the last. Otherwise as [`Pgmap::put_raw`].
    pub fn unmap_raw(&self, head: Offset) -> Result<Put, PutError> {
        if !self.pool.has_offset(head) {
            return Err(PutError::OutOfRange);
        }
        let after = self.folios.word(head).unmap(Self::ENDING)?;
        Ok(self.after_put(head, after))
    }

    /// How the folio in service at `head` is held.
    pub fn counts_raw(&self, head: Offset) -> Result<Counts, GetError> {
        if !self.pool.has_offset(head) {
            return Err(GetError::OutOfRange);
        }
        let word = self.folios.word(head).snapshot();
        match word.state() {
            State::InService | State::Frozen => Ok(Counts { refs: word.refs(), mappings: word.mappings(), pins: word.pins() }),
            _ => Err(GetError::NotInService),
        }
    }

    #[inline]
    pub(crate) fn put_refs(&self, head: Offset, n: u32) -> Result<Put, PutFault> {
        let after = self.folios.word(head).put(n, Self::ENDING)?;
        self.ops().trace(Event::Put { offset: head, count: n });
        Ok(self.after_put(head, after))
    }

    #[inline]
    fn after_put(&self, head: Offset, after: AfterPut) -> Put {
        match after {
            AfterPut::InService => Put::InService,
            AfterPut::LastPut(order) => {
                if let Some(run) = self.leave_service(head, order, GoesTo::Tables) {
                    self.release(run);
                }
                Put::Freed
            }
        }
    }
}
