//! The folio word as a plain value: its fields, and what each transition makes of it.
//!
//! Everything here is pure. [`Word`](super::Word) does it atomically.

use crate::order::Order;

const STATE: u64 = 7;
/// The next put tells those who wait to freeze the folio (rule 10).
const AWAITED: u64 = 1 << 3;
/// The page is bad (rule 8). The only bit of a word that says something about one page and not about what starts there.
pub(super) const BAD: u64 = 1 << 4;
const ORDER_AT: u32 = 5;
const MAPS_AT: u32 = 11;
const PINS_AT: u32 = 39;
const ONE_MAP: u64 = 1 << MAPS_AT;
const ONE_PIN: u64 = 1 << PINS_AT;

const _: () = assert!(Order::MAX.get() < 1 << (MAPS_AT - ORDER_AT));

/// The most mappings that a folio can have.
pub(super) const MAX_MAPPINGS: u32 = (1 << (PINS_AT - MAPS_AT)) - 1;

/// So many pins are no longer counted: the folio stays in service for ever (rule 5).
pub(super) const SATURATED: u32 = (1 << (u64::BITS - PINS_AT)) - 1;

/// The most pins that a verb which can refuse goes up to: half of what can be counted. The other half is for clones.
pub(super) const MAX_PINS: u32 = SATURATED.div_ceil(2);

// A 1 GiB folio, mapped page by page by a thousand processes; and all references fit in their type.
const _: () = assert!(MAX_MAPPINGS >= 1000 << 18 && SATURATED.checked_add(MAX_MAPPINGS).is_some());

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
    /// Others hold references to this folio of this order, and somebody waits for them to go: tell them (rule 10).
    Awaited(Order),
    /// Give the run back. If the end is heard, first call `folio_free`, and then [`Word::finish_free`](super::Word::finish_free) or
    /// [`Word::finish_free_chained`](super::Word::finish_free_chained): until then the word is `Freeing` and the caller's alone.
    LastPut(Order),
}

/// What a last put does where the folio is frozen (rule 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfFrozen {
    /// It is refused, and the caller keeps the reference.
    Refuse,
    /// It leaves the end of the folio to whoever thaws it: for callers that cannot keep the reference.
    Leave,
}

/// What a clone has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Cloned {
    /// One more reference.
    Counted,
    /// This one is the first that cannot be counted any more.
    Saturated,
    /// There is no reference of which it could be a clone.
    NotInService,
}

/// Why no reference was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GetFault {
    /// The word is in another state than `InService`.
    State(State),
    /// As many as can be counted ([`MAX_PINS`], [`MAX_MAPPINGS`]).
    TooMany,
}

/// What an attempt to freeze that may wait has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum FreezeOrWait {
    /// Frozen; as it was before.
    Frozen(Snapshot),
    /// References that are still to go, or another freeze: the next change tells (rule 10).
    Wait,
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
    /// Pins that are no longer counted.
    Saturated,
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
    /// A word with `pins` references, none of them a mapping.
    #[inline]
    pub(super) const fn new(state: State, order: Order, pins: u32) -> Snapshot {
        Snapshot(state as u64 | (order.get() as u64) << ORDER_AT | (pins as u64) << PINS_AT)
    }

    /// The same with the field that holds mappings, or a special range's reason.
    pub(super) const fn with_field(self, field: u32) -> Snapshot {
        Snapshot(self.0 & !((MAX_MAPPINGS as u64) << MAPS_AT) | ((field & MAX_MAPPINGS) as u64) << MAPS_AT)
    }

    #[inline]
    pub(crate) const fn state(self) -> State {
        match self.0 & STATE {
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

    /// All references: pins and mappings.
    #[inline]
    pub(crate) const fn refs(self) -> u32 {
        self.pins() + self.mappings()
    }

    /// References that are mappings.
    #[inline]
    pub(crate) const fn mappings(self) -> u32 {
        match self.state() {
            State::Special => 0,
            _ => self.field(),
        }
    }

    /// The field that holds mappings, or a special range's reason.
    #[inline]
    const fn field(self) -> u32 {
        (self.0 >> MAPS_AT) as u32 & MAX_MAPPINGS
    }

    /// References that are no mappings (rule 6).
    #[inline]
    pub(crate) const fn pins(self) -> u32 {
        (self.0 >> PINS_AT) as u32
    }

    /// Whether the pins are no longer counted (rule 5).
    #[inline]
    pub(crate) const fn is_saturated(self) -> bool {
        self.pins() == SATURATED
    }

    /// Why a run is special.
    pub(crate) const fn reason(self) -> u32 {
        self.field()
    }

    /// Whether the page is to be retired as soon as it is idle.
    #[inline]
    pub(crate) const fn is_bad(self) -> bool {
        self.0 & BAD != 0
    }

    /// Whether somebody waits to freeze the folio.
    pub(super) const fn is_awaited(self) -> bool {
        self.0 & AWAITED != 0
    }

    /// Whether there are references to a folio that starts here.
    #[inline]
    pub(crate) const fn is_counted(self) -> bool {
        match self.state() {
            State::InService => true,
            // Rule 11: the last one may be gone.
            State::Frozen => !self.is_unreferenced(),
            _ => false,
        }
    }

    /// Whether there is neither a pin nor a mapping.
    #[inline]
    const fn is_unreferenced(self) -> bool {
        self.0 < ONE_PIN && self.field() == 0
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
        Snapshot(self.0 & !STATE | state as u64)
    }

    /// The same counts and state at another order.
    pub(super) const fn with_order(self, order: Order) -> Snapshot {
        Snapshot(self.0 & !(63 << ORDER_AT) | (order.get() as u64) << ORDER_AT)
    }

    #[inline]
    const fn unreferenced(self, ending: Ending) -> Snapshot {
        match ending {
            Ending::Heard => Snapshot::new(State::Freeing, self.order(), 0).bad_as(self),
            Ending::Silent => self.ended_up(),
        }
    }

    /// What a put makes of the word, which has its new counts, and leaves its caller to do.
    #[inline]
    const fn after_put(self, ending: Ending, if_frozen: IfFrozen) -> Result<(Snapshot, AfterPut), PutFault> {
        if self.is_unreferenced() {
            return match (self.state(), if_frozen) {
                (State::Frozen, IfFrozen::Refuse) => Err(PutFault::Frozen),
                (State::Frozen, IfFrozen::Leave) => Ok((self, AfterPut::InService)),
                _ => Ok((self.unreferenced(ending), AfterPut::LastPut(self.order()))),
            };
        }
        Ok(self.told())
    }

    /// Nobody is to be told any more, and whom the caller is to tell (rule 10).
    #[inline]
    const fn told(self) -> (Snapshot, AfterPut) {
        match self.0 & AWAITED {
            0 => (self, AfterPut::InService),
            _ => (Snapshot(self.0 & !AWAITED), AfterPut::Awaited(self.order())),
        }
    }
}

/// Counting: each gives the next word and the answer, or why there is none.
impl Snapshot {
    /// One more pin, if the folio is in service and not frozen.
    #[inline]
    pub(super) const fn found(self) -> Result<(Snapshot, Snapshot), GetFault> {
        match self.state() {
            State::InService if self.pins() >= MAX_PINS => Err(GetFault::TooMany),
            State::InService => Ok((Snapshot(self.0 + ONE_PIN), Snapshot(self.0 + ONE_PIN))),
            other => Err(GetFault::State(other)),
        }
    }

    /// One more pin, where there is a reference.
    #[inline]
    pub(super) const fn cloned(self) -> Result<(Snapshot, Cloned), Cloned> {
        if !self.is_counted() {
            return Err(Cloned::NotInService);
        }
        match self.pins() {
            SATURATED => Err(Cloned::Counted),
            pins if pins == SATURATED - 1 => Ok((Snapshot(self.0 + ONE_PIN), Cloned::Saturated)),
            _ => Ok((Snapshot(self.0 + ONE_PIN), Cloned::Counted)),
        }
    }

    /// `n` pins fewer.
    #[inline]
    pub(super) const fn put(self, n: u32, ending: Ending, if_frozen: IfFrozen) -> Result<(Snapshot, AfterPut), PutFault> {
        if !self.is_counted() {
            return Err(PutFault::NotInService);
        }
        if self.is_saturated() {
            return Ok((self, AfterPut::InService));
        }
        if n > self.pins() {
            return Err(PutFault::TooMany { held: self.pins() });
        }
        Snapshot(self.0 - ONE_PIN * n as u64).after_put(ending, if_frozen)
    }

    /// The only reference gone; nothing if there are others.
    pub(super) const fn put_alone(self, ending: Ending) -> Result<(Snapshot, Order), ()> {
        match (self.state(), self.pins(), self.mappings()) {
            (State::InService, 1, 0) => Ok((self.unreferenced(ending), self.order())),
            _ => Err(()),
        }
    }

    /// One more mapping.
    pub(super) const fn mapped(self) -> Result<(Snapshot, ()), GetFault> {
        match self.state() {
            State::InService if self.mappings() == MAX_MAPPINGS => Err(GetFault::TooMany),
            State::InService => Ok((Snapshot(self.0 + ONE_MAP), ())),
            other => Err(GetFault::State(other)),
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
        Snapshot(self.0 - ONE_MAP).after_put(ending, IfFrozen::Refuse)
    }
}

/// Freezing.
impl Snapshot {
    /// Frozen, if the references are as expected; and as it was.
    pub(super) fn frozen(self, expect: Expect) -> Result<(Snapshot, Snapshot), FreezeFault> {
        match (self.state(), expect) {
            (State::Frozen, _) => Err(FreezeFault::Frozen),
            (state, _) if state != State::InService => Err(FreezeFault::NotInService),
            _ if self.is_saturated() => Err(FreezeFault::Saturated),
            (_, Expect::Refs(refs)) if refs != self.refs() => Err(FreezeFault::Stray { held: self.refs() }),
            (_, Expect::NoPins) if self.pins() != 0 => Err(FreezeFault::Pinned { pins: self.pins() }),
            _ => Ok((self.with_state(State::Frozen), self)),
        }
    }

    /// Frozen, if the references are as expected; awaited, if they can still come to that (rule 10).
    pub(super) fn frozen_or_awaited(self, expect: Expect) -> Result<(Snapshot, FreezeOrWait), FreezeFault> {
        match (self.frozen(expect), expect) {
            (Ok((frozen, before)), _) => Ok((frozen, FreezeOrWait::Frozen(before))),
            // Only a holder can add some: there is no reason to expect that.
            (Err(FreezeFault::Stray { held }), Expect::Refs(refs)) if held < refs => Err(FreezeFault::Stray { held }),
            (Err(fault @ (FreezeFault::NotInService | FreezeFault::Saturated)), _) => Err(fault),
            (Err(_), _) => Ok((Snapshot(self.0 | AWAITED), FreezeOrWait::Wait)),
        }
    }

    /// In service again, or ended if the last reference has been put meanwhile (rule 11).
    pub(super) const fn thawed(self, ending: Ending) -> Result<(Snapshot, AfterPut), ()> {
        match self.state() {
            State::Frozen if self.is_unreferenced() => Ok((self.unreferenced(ending), AfterPut::LastPut(self.order()))),
            State::Frozen => Ok(self.with_state(State::InService).told()),
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
