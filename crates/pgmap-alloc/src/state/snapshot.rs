//! The folio word as a plain value: its fields, and what each transition makes of it.
//!
//! Everything here is pure. [`Word`](super::Word) does it atomically.

use crate::order::Order;

const REFS: u64 = 0xFFFF_FFFF;
const MAPS_AT: u32 = 32;
const ORDER_AT: u32 = 52;
const STATE_AT: u32 = 58;
const BAD_AT: u32 = 61;
const ONE_MAP: u64 = 1 << MAPS_AT;

/// The page is bad (rule 8). The only bit of a word that says something about one page and not about what starts there.
pub(super) const BAD: u64 = 1 << BAD_AT;

const _: () = assert!(Order::MAX.get() < 1 << (STATE_AT - ORDER_AT));

/// A reference count that is no longer counted.
pub(super) const SATURATED: u32 = u32::MAX;

/// The most mappings that a folio can have.
pub(super) const MAX_MAPPINGS: u32 = (1 << (ORDER_AT - MAPS_AT)) - 1;

/// What a word says about the page that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No folio starts here.
    Idle,
    /// A folio is being set up.
    Building,
    /// A folio is in service.
    InService,
    /// The driver's `folio_free` is running.
    Freeing,
    /// A folio is in service and cannot be found.
    Frozen,
    /// The page is bad.
    Retired,
    /// A run without a folio.
    Special,
}

/// What stands between the last reference and the idle word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// `folio_free`: the word is `Freeing` until it has returned.
    Heard,
    /// Nothing: the driver neither hears of it nor keeps anything with its folios (rule 9).
    Silent,
}

/// What a put leaves its caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum AfterPut {
    /// Nothing: others hold references.
    InService,
    /// Give the run back. If the end is heard, first call `folio_free`, and then [`Word::finish_free`](super::Word::finish_free) or
    /// [`Word::finish_free_chained`](super::Word::finish_free_chained): until then the word is `Freeing` and the caller's alone.
    LastPut(Order),
}

/// Why a put changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// The word is neither `InService` nor `Frozen`.
    NotInService,
    /// More references than there are, mappings apart.
    TooMany {
        /// How many there are.
        held: u32,
    },
    /// It would be the last put, and the folio is frozen.
    Frozen,
    /// There is no mapping to take away.
    NotMapped,
}

/// Which references a freeze expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Exactly so many references, mappings included.
    Refs(u32),
    /// Any number of mappings and no other reference: what migration and eviction wait for.
    NoPins,
}

/// Why a word was not frozen, or a frozen one not made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FreezeFault {
    /// The word is not `InService`.
    NotInService,
    /// Somebody else has frozen it.
    Frozen,
    /// Not the expected references.
    Stray {
        /// How many there are.
        held: u32,
    },
    /// References that are no mappings.
    Pinned {
        /// How many there are.
        pins: u32,
    },
}

/// What became of the attempt to say that a page is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Condemned {
    /// It is said.
    Now,
    /// It has been said before.
    Already,
    /// The page is retired.
    Retired,
    /// A folio starts here that is being set up or freed: that ends in a plain store, so nothing can be said here now.
    Unsettled,
}

/// What became of the attempt to take back that a page is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Pardoned {
    /// It is said no more.
    Now,
    /// It was not said.
    NotBad,
    /// The page is retired.
    Retired,
    /// The folio that starts here is being freed: that ends in a plain store, which would say it again.
    Unsettled,
}

/// A word as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(pub(super) u64);

impl Snapshot {
    #[inline]
    pub(super) const fn new(state: State, order: Order, refs: u32) -> Snapshot {
        Snapshot((state as u64) << STATE_AT | (order.get() as u64) << ORDER_AT | refs as u64)
    }

    /// The same with the field that holds mappings, or a special range's reason.
    pub(super) const fn with_field(self, field: u32) -> Snapshot {
        Snapshot(self.0 & !((MAX_MAPPINGS as u64) << MAPS_AT) | ((field & MAX_MAPPINGS) as u64) << MAPS_AT)
    }

    #[inline]
    pub(crate) const fn state(self) -> State {
        match self.0 >> STATE_AT & 7 {
            0 => State::Idle,
            1 => State::Building,
            2 => State::InService,
            3 => State::Freeing,
            4 => State::Frozen,
            5 => State::Retired,
            // The other value is never written.
            _ => State::Special,
        }
    }

    #[inline]
    pub(crate) const fn order(self) -> Order {
        Order::clamped((self.0 >> ORDER_AT) as u32 & 63)
    }

    #[inline]
    pub(crate) const fn refs(self) -> u32 {
        (self.0 & REFS) as u32
    }

    /// How many of the references are mappings.
    #[inline]
    pub(crate) const fn mappings(self) -> u32 {
        (self.0 >> MAPS_AT) as u32 & MAX_MAPPINGS
    }

    /// References that are no mappings (rule 6).
    #[inline]
    pub(crate) const fn pins(self) -> u32 {
        self.refs().saturating_sub(self.mappings())
    }

    /// Why a run is special.
    pub(crate) const fn reason(self) -> u32 {
        (self.0 >> MAPS_AT) as u32 & MAX_MAPPINGS
    }

    /// Whether the page is to be retired as soon as it is idle.
    #[inline]
    pub(crate) const fn is_bad(self) -> bool {
        self.0 & BAD != 0
    }

    /// The page as good or bad as in `other`.
    #[inline]
    const fn bad_as(self, other: Snapshot) -> Snapshot {
        Snapshot(self.0 & !BAD | other.0 & BAD)
    }

    /// Nothing starts here any more; the page stays as good or bad as it is.
    #[inline]
    pub(super) const fn ended_up(self) -> Snapshot {
        Snapshot(self.0 & BAD)
    }

    /// The same counts and order in another state.
    pub(super) const fn with_state(self, state: State) -> Snapshot {
        Snapshot(self.0 & !(7 << STATE_AT) | (state as u64) << STATE_AT)
    }

    /// The same counts and state at another order.
    pub(super) const fn with_order(self, order: Order) -> Snapshot {
        Snapshot(self.0 & !(63 << ORDER_AT) | (order.get() as u64) << ORDER_AT)
    }

    #[inline]
    const fn is_counted(self) -> bool {
        matches!(self.state(), State::InService | State::Frozen)
    }

    #[inline]
    const fn unreferenced(self, ending: Ending) -> Snapshot {
        match ending {
            Ending::Heard => Snapshot::new(State::Freeing, self.order(), 0).bad_as(self),
            Ending::Silent => self.ended_up(),
        }
    }

    /// The word after the last reference is gone, or why it cannot go.
    #[inline]
    const fn ended(self, ending: Ending) -> Result<(Snapshot, AfterPut), PutFault> {
        match self.state() {
            State::Frozen => Err(PutFault::Frozen),
            _ => Ok((self.unreferenced(ending), AfterPut::LastPut(self.order()))),
        }
    }
}

/// Counting: each gives the next word and the answer, or why there is none.
impl Snapshot {
    /// One more reference, if the folio can be found.
    #[inline]
    pub(super) const fn found(self) -> Result<(Snapshot, Snapshot), State> {
        match self.state() {
            State::InService if self.refs() == SATURATED => Ok((self, self)),
            State::InService => Ok((Snapshot(self.0 + 1), Snapshot(self.0 + 1))),
            other => Err(other),
        }
    }

    /// One more reference, where there is one.
    #[inline]
    pub(super) const fn cloned(self) -> Result<(Snapshot, ()), ()> {
        match self.is_counted() {
            true if self.refs() == SATURATED => Ok((self, ())),
            true => Ok((Snapshot(self.0 + 1), ())),
            false => Err(()),
        }
    }

    /// `n` references fewer.
    #[inline]
    pub(super) const fn put(self, n: u32, ending: Ending) -> Result<(Snapshot, AfterPut), PutFault> {
        if !self.is_counted() {
            return Err(PutFault::NotInService);
        }
        if self.refs() == SATURATED {
            return Ok((self, AfterPut::InService));
        }
        if n > self.pins() {
            return Err(PutFault::TooMany { held: self.pins() });
        }
        if n == self.refs() { self.ended(ending) } else { Ok((Snapshot(self.0 - n as u64), AfterPut::InService)) }
    }

    /// The only reference gone; nothing if there are others.
    pub(super) const fn put_alone(self, ending: Ending) -> Result<(Snapshot, Order), ()> {
        match (self.state(), self.refs(), self.mappings()) {
            (State::InService, 1, 0) => Ok((self.unreferenced(ending), self.order())),
            _ => Err(()),
        }
    }

    /// One more mapping; `Err(None)` when there are as many as can be counted.
    pub(super) const fn mapped(self) -> Result<(Snapshot, ()), Option<State>> {
        match self.state() {
            State::InService if self.mappings() == MAX_MAPPINGS => Err(None),
            State::InService if self.refs() == SATURATED => Ok((Snapshot(self.0 + ONE_MAP), ())),
            State::InService => Ok((Snapshot(self.0 + ONE_MAP + 1), ())),
            other => Err(Some(other)),
        }
    }

    /// One mapping fewer.
    pub(super) const fn unmapped(self, ending: Ending) -> Result<(Snapshot, AfterPut), PutFault> {
        if !self.is_counted() {
            return Err(PutFault::NotInService);
        }
        if self.mappings() == 0 {
            return Err(PutFault::NotMapped);
        }
        match self.refs() {
            SATURATED => Ok((Snapshot(self.0 - ONE_MAP), AfterPut::InService)),
            1 => self.ended(ending),
            _ => Ok((Snapshot(self.0 - ONE_MAP - 1), AfterPut::InService)),
        }
    }
}

/// Freezing.
impl Snapshot {
    /// Frozen, if the references are as expected; and as it was.
    pub(super) fn frozen(self, expect: Expect) -> Result<(Snapshot, Snapshot), FreezeFault> {
        match (self.state(), expect) {
            (State::Frozen, _) => Err(FreezeFault::Frozen),
            (state, _) if state != State::InService => Err(FreezeFault::NotInService),
            (_, Expect::Refs(refs)) if refs != self.refs() || refs == SATURATED => Err(FreezeFault::Stray { held: self.refs() }),
            (_, Expect::NoPins) if self.pins() != 0 => Err(FreezeFault::Pinned { pins: self.pins() }),
            _ => Ok((self.with_state(State::Frozen), self)),
        }
    }

    pub(super) const fn thawed(self) -> Result<(Snapshot, ()), ()> {
        match self.state() {
            State::Frozen => Ok((self.with_state(State::InService), ())),
            _ => Err(()),
        }
    }

    /// Without references, if all of them are mappings.
    pub(super) const fn evicted(self, ending: Ending) -> Result<(Snapshot, Order), ()> {
        match self.state() {
            State::Frozen if self.pins() == 0 => Ok((self.unreferenced(ending), self.order())),
            _ => Err(()),
        }
    }

    /// Smaller, if it still has exactly `refs` references.
    pub(super) const fn shrunk(self, order: Order, refs: u32) -> Result<(Snapshot, ()), FreezeFault> {
        match (self.state(), self.refs()) {
            (State::Frozen, held) if held == refs => Ok((self.with_order(order), ())),
            (State::Frozen, held) => Err(FreezeFault::Stray { held }),
            _ => Err(FreezeFault::NotInService),
        }
    }

    /// Idle again, if it was special of this order.
    pub(super) fn undeclared(self, order: Order) -> Result<(Snapshot, ()), ()> {
        if self.state() == State::Special && self.order() == order { Ok((self.ended_up(), ())) } else { Err(()) }
    }
}

/// From idle to something else, a bad page or not.
impl Snapshot {
    /// A part of the frozen folio that covers the page.
    pub(super) const fn part(self, order: Order) -> Result<(Snapshot, ()), ()> {
        self.leaving_idle(Snapshot::new(State::Frozen, order, 1).bad_as(self))
    }

    /// A run without a folio, and why.
    pub(super) const fn declared(self, order: Order, reason: u32) -> Result<(Snapshot, ()), ()> {
        self.leaving_idle(Snapshot::new(State::Special, order, 0).with_field(reason).bad_as(self))
    }

    const fn leaving_idle(self, next: Snapshot) -> Result<(Snapshot, ()), ()> {
        match self.state() {
            State::Idle => Ok((next, ())),
            _ => Err(()),
        }
    }

    /// Retired, which is more than bad; and whether it was known to be that.
    pub(super) const fn retired(self) -> Result<(Snapshot, bool), ()> {
        match self.state() {
            State::Idle => Ok((Snapshot::new(State::Retired, Order::ZERO, 0), self.is_bad())),
            _ => Err(()),
        }
    }

    /// Retired, if it is idle and known to be bad.
    pub(super) const fn retired_if_bad(self) -> Result<(Snapshot, ()), State> {
        match self.state() {
            State::Idle if self.is_bad() => Ok((Snapshot::new(State::Retired, Order::ZERO, 0), ())),
            state => Err(state),
        }
    }

    /// Idle, if it was retired.
    pub(super) const fn unretired(self) -> Result<(Snapshot, ()), ()> {
        match self.state() {
            State::Retired => Ok((Snapshot(0), ())),
            _ => Err(()),
        }
    }

    /// Bad no more, unless there is nothing to be taken back or this is not the moment to do so.
    pub(super) const fn pardoned(self) -> Result<(Snapshot, Pardoned), Pardoned> {
        match self.state() {
            State::Retired => Err(Pardoned::Retired),
            _ if !self.is_bad() => Err(Pardoned::NotBad),
            State::Building | State::Freeing => Err(Pardoned::Unsettled),
            _ => Ok((Snapshot(self.0 & !BAD), Pardoned::Now)),
        }
    }

    /// Bad, unless there is nothing to be said or this is not the moment to say it.
    pub(super) const fn condemned(self) -> Result<(Snapshot, Condemned), Condemned> {
        match self.state() {
            State::Building | State::Freeing => Err(Condemned::Unsettled),
            State::Retired => Err(Condemned::Retired),
            _ if self.is_bad() => Err(Condemned::Already),
            _ => Ok((Snapshot(self.0 | BAD), Condemned::Now)),
        }
    }
}
