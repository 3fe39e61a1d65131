//! Counting on a folio in service, for drivers that keep offsets; [`Folio`](crate::Folio) is the same as a type.
//!
//! A *finder* has an offset and takes a reference to whatever folio is there; a *holder* has a reference already. Gates (`gates`) are
//! closed to finders only. Holders' verbs touch only the folio's own word, unless it is the last put.

use crate::error::{GetError, MapError, PinError, PutError};
use crate::folios::Found;
use crate::gates::AtGates;
use crate::memory_type::Capability;
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::service::GoesTo;
use crate::state::{AfterPut, GetFault, IfFrozen, PutFault, Snapshot, State};
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
    /// The pins have reached 2^25 - 1 and are no longer counted: the folio stays in service for ever.
    pub saturated: bool,
}

/// Why a finder got no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    NotInService,
    Frozen,
    TooMany,
    /// Somebody waits until the folio is idle or can be frozen.
    Closed,
    /// Its range is being taken away.
    Leaving,
    /// The pgmap has been killed.
    Dying,
}

impl From<GetFault> for NotFound {
    fn from(fault: GetFault) -> NotFound {
        match fault {
            GetFault::State(State::Frozen) => NotFound::Frozen,
            GetFault::State(_) => NotFound::NotInService,
            GetFault::TooMany => NotFound::TooMany,
        }
    }
}

impl From<NotFound> for PinError {
    fn from(why: NotFound) -> PinError {
        match why {
            NotFound::NotInService => PinError::NotInService,
            NotFound::Frozen => PinError::Frozen,
            NotFound::TooMany => PinError::TooMany,
            NotFound::Closed => PinError::Closed,
            NotFound::Leaving => PinError::Leaving,
            NotFound::Dying => PinError::Dying,
        }
    }
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

/// Finders.
impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// A reference to the folio in service that covers `offset`: its head. `None` if there is none, or finders are not let to it: it is
    /// frozen, somebody waits for it ([`Pgmap::until_idle`], [`Pgmap::until_frozen`], [`Pgmap::gate`]), its range is being taken
    /// away, the pgmap has been killed, or it has 2^24 references that are no mappings.
    ///
    /// Lock-free; one probe per order at most, and again if the folio is split or freed meanwhile. While any folio is waited for or
    /// any range is being taken away it also looks whether it is this one, O(waits and ranges). Never takes a count from 0 to 1.
    pub fn try_get_raw(&self, offset: Offset) -> Option<Offset> {
        self.find(offset).ok()
    }

    #[inline]
    pub(crate) fn find(&self, offset: Offset) -> Result<Offset, NotFound> {
        self.take_covering(offset, |gates, found| if gates.are_open() { Ok(()) } else { self.pass_gates(gates, found.run()) })
    }

    /// A reference to the folio that covers `offset`, for a moment, whatever gates are closed.
    pub(crate) fn hold(&self, offset: Offset) -> Option<Offset> {
        self.take_covering(offset, |_, _| Ok(())).ok()
    }

    #[inline]
    fn take_covering(&self, offset: Offset, may: impl Fn(AtGates, Found) -> Result<(), NotFound>) -> Result<Offset, NotFound> {
        loop {
            let (found, gates) = self.folios.covering_at_gates(offset, self.largest_order());
            let found = found.ok_or(NotFound::NotInService)?;
            may(gates, found)?;
            let head = found.head;
            match self.folios.word(head).try_get() {
                Ok(now) if offset.align_down(now.order()) == head => return Ok(head),
                // Between the probe and the reference the folio has made place for a smaller one.
                Ok(_) => self.drop_reference(head),
                Err(GetFault::State(State::Idle)) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// Whether no gate is closed before the folio of `run`, where one is closed somewhere (`gates`, rule 2).
    #[cold]
    fn pass_gates(&self, gates: AtGates, run: Run) -> Result<(), NotFound> {
        if gates.is_dying() {
            Err(NotFound::Dying)
        } else if self.leaving.within(run).is_some() {
            Err(NotFound::Leaving)
        } else if self.waiters.wait_within(run) {
            Err(NotFound::Closed)
        } else {
            Ok(())
        }
    }
}

/// Holders.
impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Takes one more reference to the folio in service at `head`, for a caller that has one: no gate stands in its way, but a freeze
    /// does. Touches only the folio's word; lock-free.
    ///
    /// Refused when the folio has 2^24 references that are no mappings.
    pub fn get_raw(&self, head: Offset) -> Result<(), GetError> {
        if !self.pool.has_offset(head) {
            return Err(GetError::OutOfRange);
        }
        match self.folios.word(head).try_get() {
            Ok(_) => Ok(()),
            Err(GetFault::State(State::Frozen)) => Err(GetError::Frozen),
            Err(GetFault::State(_)) => Err(GetError::NotInService),
            Err(GetFault::TooMany) => Err(GetError::TooMany),
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

    /// Takes a reference that is a mapping, an entry in a page table, for a caller that holds one: as in [`Pgmap::get_raw`] a freeze
    /// stands in its way and no gate. A folio can have 2^28 - 1 of them. Touches only the folio's word; lock-free.
    pub fn map_raw(&self, head: Offset) -> Result<(), MapError> {
        if !self.pool.has_offset(head) {
            return Err(MapError::OutOfRange);
        }
        let memory_type = self.ops().memory_type();
        if !memory_type.allows(Capability::Map) {
            return Err(MapError::NotAllowed { memory_type });
        }
        self.folios.word(head).map().map_err(|fault| match fault {
            GetFault::State(State::Frozen) => MapError::Frozen,
            GetFault::State(_) => MapError::NotInService,
            GetFault::TooMany => MapError::TooMany,
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
        if word.is_counted() { Ok(Counts::of(word)) } else { Err(GetError::NotInService) }
    }

    /// Puts `n` references. Refused where it would be the last put of a frozen folio.
    #[inline]
    pub(crate) fn put_refs(&self, head: Offset, n: u32) -> Result<Put, PutFault> {
        let after = self.folios.word(head).put(n, Self::ENDING, IfFrozen::Refuse)?;
        self.ops().trace(Event::Put { offset: head, count: n });
        Ok(self.after_put(head, after))
    }

    /// Puts a reference for a caller that cannot keep it: the end of a frozen folio is left to whoever thaws it.
    #[inline]
    pub(crate) fn drop_reference(&self, head: Offset) {
        // Refused only if the reference was put behind the caller's back, through the raw forms.
        if let Ok(after) = self.folios.word(head).put(1, Self::ENDING, IfFrozen::Leave) {
            self.ops().trace(Event::Put { offset: head, count: 1 });
            self.after_put(head, after);
        }
    }

    #[inline]
    pub(crate) fn after_put(&self, head: Offset, after: AfterPut) -> Put {
        match after {
            AfterPut::InService => Put::InService,
            AfterPut::Awaited(order) => {
                self.tell(head, order);
                Put::InService
            }
            AfterPut::LastPut(order) => {
                if let Some(run) = self.leave_service(head, order, GoesTo::Tables) {
                    self.release(run);
                }
                Put::Freed
            }
        }
    }

    /// Wakes those who wait to freeze the folio at `head` (`state`, rule 10).
    #[cold]
    pub(crate) fn tell(&self, head: Offset, order: Order) {
        self.waiters.tell(Run::around(head.get(), order));
    }
}

impl Counts {
    pub(crate) fn of(word: Snapshot) -> Counts {
        Counts { refs: word.refs(), mappings: word.mappings(), pins: word.pins(), saturated: word.is_saturated() }
    }
}
