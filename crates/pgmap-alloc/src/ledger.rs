//! The books: who has what, how much, how often he was refused and why.
//!
//! Kept beside a pool or a pgmap by who wants them (`accounted`, `charging`); who does not pays nothing.
//!
//! # Protocol
//!
//! 1. The owner is charged first, then the watermark's gate is passed, then pages are taken. What comes after a refusal is undone
//!    in the opposite order, and is in no record of the most that ever was.
//! 2. What may still be undone is in motion: a refusal that such pages are the reason of is tried again, until it is the same
//!    though nothing was in motion and nothing came back meanwhile (`pool::motion`). So an owner's refusal and the watermark's are
//!    as true as the pool's; if that cannot be shown the answer is [`AllocError::Contended`].
//! 3. A try without hope changes nothing, so that those who are refused do not keep each other from a proof.
//! 4. A page that is idle no more is counted once, whoever took it and for whatever reason: an owner's before it is taken (rule 1),
//!    any other when it has been ([`Ledger::count_in`]). It is counted until it is idle again, and no less long
//!    ([`Ledger::count_out`] comes after the release). So what is not counted can be had, but for what handles have at hand.
//!
//! # What it costs to keep and to read
//!
//! A pair pays for the owner's stock and the pool's ([`Tally`]), both on the caller's own lines, and for counters and a motion
//! there. No line is written by all callers with each operation, but owners of little meet at their counter (`owners`). Everything in
//! [`Account`] is read in O(1): so many loads, whatever the size of the pool. Idle runs by order are in it if the pool counts them
//! ([`Params::counting_runs`](crate::Params::counting_runs)), which every allocation and free of that pool pays for.

use crate::charge::{Charge, Owner};
use crate::error::{AccountedError, AllocError, ChargeError, RequestError};
use crate::order::Order;
use crate::pool::{GenPool, IdleRuns, Motion};
use crate::sync::{AtomicU64, Ordering, caller_slot, in_models, relax};
use crate::tally::{Tally, Took};

/// Lines among which concurrent callers are spread.
const SLOTS: usize = in_models(1, 8);
/// Orders that are counted one by one.
const ORDERS: usize = Order::MAX.get() as usize + 1;
/// How often a refusal is tried to be proved.
const TRIES: u32 = 64;

/// Whether an allocation may use the pages that the watermark reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It may not.
    Normal,
    /// Those of a caller that must not fail: it may use the reserve.
    Critical,
}

/// Why allocations were refused, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Refusals {
    /// The pool never holds a run of this order, or not at this place.
    pub too_large: u64,
    /// Not enough pages were idle, or not those.
    pub no_space: u64,
    /// Enough pages were idle, but no run was large enough.
    pub fragmented: u64,
    /// No proof could be had.
    pub contended: u64,
    /// The rest was reserved for the critical.
    pub watermark: u64,
    /// The owner was at his limit, or there was no such owner.
    pub owner: u64,
    /// The pgmap had been killed.
    pub dying: u64,
}

/// The account at one moment; numbers that belong together may be an operation apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Account {
    /// All pages.
    pub size: u64,
    /// Pages that are not idle. Of a pgmap that is all of them, whoever has them and whether anybody pays: folios, blocks, special,
    /// retired and closing pages. Of a pool it is what was taken through its account.
    pub used: u64,
    /// The most pages that were not idle at any moment; never too low. It may be too high: in pools of 256 MiB and more by less than a
    /// thousandth of the pages, and with a watermark by the pages of an allocation that the pool was refusing just then.
    pub high_water: u64,
    /// Pages that per-CPU handles have at hand: idle, but only for their handle.
    pub cached: u64,
    /// Runs that somebody pays for, by order: in a pgmap as they are, in a pool as they were taken, even if they come back in parts.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_list"))]
    pub taken: [u64; ORDERS],
    /// Allocations that somebody paid for so far, by order.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_list"))]
    pub allocated: [u64; ORDERS],
    /// Refusals so far, by cause.
    pub refusals: Refusals,
    /// Idle runs, by order, if the pool counts them.
    pub idle: Option<IdleRuns>,
    /// The order of the largest idle run, as far as is known without a search.
    pub largest_idle: Option<u32>,
    /// 0: the idle pages could not lie better; towards 1000: they are scattered. Each order that the largest idle run is smaller than it
    /// could be halves what is left to 1000. What [`IdleRuns::unusable`] says of one order is finer.
    pub fragmentation: u64,
}

#[cfg(feature = "serde")]
fn as_list<S: serde::Serializer>(numbers: &[u64; ORDERS], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers)
}

/// One caller slot.
#[repr(align(128))]
struct Stripe {
    allocated: [AtomicU64; ORDERS],
    freed: [AtomicU64; ORDERS],
    refused: [AtomicU64; 7],
}

/// What is asked for, and of how many pages.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'p, const WORDS: usize> {
    pub(crate) pool: &'p GenPool<'p, WORDS>,
    pub(crate) order: Order,
    pub(crate) owner: Owner,
    pub(crate) urgency: Urgency,
}

/// The books.
pub(crate) struct Ledger<C> {
    charge: C,
    /// So many idle pages are kept for the critical.
    watermark: u64,
    tally: Tally,
    motion: Motion,
    stripes: [Stripe; SLOTS],
}

impl<C: Charge> Ledger<C> {
    pub(crate) fn new(charge: C, watermark: u64, size: u64) -> Ledger<C> {
        let zero = |_: usize| AtomicU64::new(0);
        let stripe = |_| Stripe {
            allocated: core::array::from_fn(zero),
            freed: core::array::from_fn(zero),
            refused: core::array::from_fn(zero),
        };
        let stripes = core::array::from_fn(stripe);
        Ledger { charge, watermark, tally: Tally::new(size), motion: Motion::new(), stripes }
    }

    pub(crate) fn charge(&self) -> &C {
        &self.charge
    }

    /// Takes pages that an owner pays for. A refusal leaves no trace but its count.
    pub(crate) fn take<T, const WORDS: usize>(
        &self,
        ask: &Ask<'_, WORDS>,
        mut take: impl FnMut() -> Result<T, AccountedError>,
    ) -> Result<T, AccountedError> {
        let mut attempt = || self.attempt(ask, &mut take);
        let result = match attempt() {
            Err(error) if needs_proof(error) => self.prove(attempt),
            done => done,
        };
        match &result {
            Ok(_) => self.count(|stripe| stripe.allocated.get(ask.order.get() as usize)),
            Err(error) => {
                self.count(|stripe| stripe.refused.get(cause(*error)));
                if let AccountedError::Owner { error: ChargeError::OverLimit { owner, .. } } = error {
                    self.charge.refused(Owner(*owner));
                }
            }
        }
        result
    }

    /// Rule 2.
    #[cold]
    fn prove<T>(&self, mut attempt: impl FnMut() -> Result<T, AccountedError>) -> Result<T, AccountedError> {
        let watch = self.motion.watch();
        for _ in 0..TRIES {
            let notes = watch.notes();
            match attempt() {
                Err(error) if needs_proof(error) => {
                    if watch.nothing_since(notes) {
                        return Err(error);
                    }
                    relax();
                }
                done => return done,
            }
        }
        Err(AccountedError::Pool { error: AllocError::Contended })
    }

    /// Rule 1.
    fn attempt<T, const WORDS: usize>(
        &self,
        ask: &Ask<'_, WORDS>,
        take: &mut impl FnMut() -> Result<T, AccountedError>,
    ) -> Result<T, AccountedError> {
        let pages = ask.order.pages();
        let limit = self.limit(ask)?;
        let moving = self.motion.begin();
        match self.charge.try_charge(ask.owner, pages) {
            Ok(()) => {}
            // Some of it was charged, and undone: that is what the motion's note is for.
            Err(error @ ChargeError::Contended) => return Err(AccountedError::Owner { error }),
            Err(error) => {
                moving.nothing_hidden();
                return Err(AccountedError::Owner { error });
            }
        }
        let gate = limit.map(|limit| self.tally.take(pages, limit, &self.motion));
        let refused = if gate == Some(Took::Nothing) {
            self.below_watermark(ask)
        } else {
            match take() {
                Ok(taken) => {
                    if gate.is_none() {
                        let _ = self.tally.take(pages, u64::MAX, &self.motion);
                    }
                    self.tally.keep_high_water();
                    moving.nothing_hidden();
                    return Ok(taken);
                }
                Err(error) => {
                    if gate.is_some() {
                        self.tally.give(pages, &self.motion);
                    }
                    self.scattered(ask, error)
                }
            }
        };
        self.charge.cancel(ask.owner, None, pages);
        Err(refused)
    }

    /// How many pages may be in use afterwards, where that is for the watermark to say; refuses where there is no hope (rule 3).
    fn limit<const WORDS: usize>(&self, ask: &Ask<'_, WORDS>) -> Result<Option<u64>, AccountedError> {
        if ask.urgency == Urgency::Critical || self.watermark == 0 || ask.order > ask.pool.largest_order() {
            return Ok(None);
        }
        let limit = ask.pool.size().saturating_sub(self.watermark);
        let sum = self.tally.used().saturating_add(ask.order.pages());
        if sum <= limit { Ok(Some(limit)) } else { Err(self.below_watermark(ask)) }
    }

    fn below_watermark<const WORDS: usize>(&self, ask: &Ask<'_, WORDS>) -> AccountedError {
        AccountedError::Watermark { idle: self.idle(ask.pool), watermark: self.watermark }
    }

    /// How many pages can be had by anybody.
    fn idle<const WORDS: usize>(&self, pool: &GenPool<'_, WORDS>) -> u64 {
        pool.size().saturating_sub(self.tally.used()).saturating_sub(pool.cached())
    }

    /// The pool's word that its idle pages lie in the wrong places, with how many the account says there are.
    fn scattered<const WORDS: usize>(&self, ask: &Ask<'_, WORDS>, error: AccountedError) -> AccountedError {
        let AccountedError::Pool { error: AllocError::Fragmented { .. } } = error else { return error };
        AccountedError::Fragmented { idle: self.idle(ask.pool) }
    }

    /// Counts pages that are idle no more, and that no owner pays for (rule 4).
    pub(crate) fn count_in(&self, pages: u64) {
        let _ = self.tally.take(pages, u64::MAX, &self.motion);
        self.tally.keep_high_water();
    }

    /// Counts pages that are idle again (rule 4).
    pub(crate) fn count_out(&self, pages: u64) {
        self.tally.give(pages, &self.motion);
    }

    /// Writes down that an owner does not pay for a run any more, or refuses if he has not paid for so many.
    pub(crate) fn uncharge(&self, order: Order, owner: Owner) -> Result<(), ChargeError> {
        self.charge.uncharge(owner, order.pages())?;
        // What he may have more may be the reason of somebody's refusal.
        self.motion.note();
        self.count(|stripe| stripe.freed.get(order.get() as usize));
        Ok(())
    }

    /// Undoes [`Ledger::uncharge`] for a run that did not come back after all, whatever the limits say: it is the owner's still.
    #[cold]
    pub(crate) fn charge_again(&self, order: Order, owner: Owner) {
        // What is drawn beyond these pages is hidden until it is in stock (`tally`).
        let _moving = self.motion.begin();
        self.charge.charge_anyway(owner, order.pages());
        // Relaxed: as in `count`.
        if let Some(freed) = self.stripe().and_then(|stripe| stripe.freed.get(order.get() as usize)) {
            freed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts a paid run as the parts that it consists of from now on. They will end one by one, and nobody has allocated them: so they are
    /// counted as ends that are taken back.
    #[cold]
    pub(crate) fn count_split(&self, whole: Order, part: Order) {
        self.count(|stripe| stripe.freed.get(whole.get() as usize));
        let parts = whole.pages() / part.pages();
        // Relaxed: as in `count`. It may wrap, as the sum does.
        if let Some(freed) = self.stripe().and_then(|stripe| stripe.freed.get(part.get() as usize)) {
            freed.fetch_sub(parts, Ordering::Relaxed);
        }
    }

    fn stripe(&self) -> Option<&Stripe> {
        self.stripes.get(caller_slot(SLOTS) & (SLOTS - 1))
    }

    fn count<'a>(&'a self, number: impl Fn(&'a Stripe) -> Option<&'a AtomicU64>) {
        if let Some(number) = self.stripe().and_then(number) {
            // Relaxed: a number, nothing hangs on it.
            number.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything at once. O(1).
    pub(crate) fn account<const WORDS: usize>(&self, pool: &GenPool<'_, WORDS>) -> Account {
        let (size, largest_idle, idle, cached) = (pool.size(), pool.largest_idle(), pool.counted_runs(), pool.cached());
        // Relaxed throughout: as in `count`.
        let sum = |pick: &dyn Fn(&Stripe) -> Option<&AtomicU64>| -> u64 {
            self.stripes.iter().filter_map(pick).map(|number| number.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        let allocated: [u64; ORDERS] = core::array::from_fn(|order| sum(&|stripe| stripe.allocated.get(order)));
        let freed: [u64; ORDERS] = core::array::from_fn(|order| sum(&|stripe| stripe.freed.get(order)));
        let mut taken = [0; ORDERS];
        let both = allocated.iter().zip(freed);
        taken.iter_mut().zip(both).for_each(|(taken, (allocated, freed))| *taken = still_taken(*allocated, freed));
        let refused = |cause: usize| sum(&|stripe| stripe.refused.get(cause));
        let used = self.tally.used();
        let could_be =
            Order::fitting(size.saturating_sub(used).saturating_sub(cached)).map(|order| order.min(pool.largest_order()));
        let fragmentation = match (could_be, largest_idle) {
            (Some(could_be), Some(is)) => 1000 - (1000 >> could_be.get().saturating_sub(is.get()).min(63)),
            _ => 0,
        };
        Account {
            size,
            used,
            high_water: self.tally.high_water(),
            cached,
            taken,
            allocated,
            refusals: Refusals {
                too_large: refused(0),
                no_space: refused(1),
                fragmented: refused(2),
                contended: refused(3),
                watermark: refused(4),
                owner: refused(5),
                dying: refused(6),
            },
            idle,
            largest_idle: largest_idle.map(Order::get),
            fragmentation,
        }
    }
}

/// How many of those that were allocated are left, or have come by a split: then fewer than none have ended. Numbers that were read an
/// operation apart make none.
fn still_taken(allocated: u64, freed: u64) -> u64 {
    let taken = allocated.wrapping_sub(freed);
    if taken > u64::MAX / 2 { 0 } else { taken }
}

/// Whether pages that somebody else may give back in the next moment can be the reason of a refusal.
fn needs_proof(error: AccountedError) -> bool {
    match error {
        AccountedError::Watermark { .. } => true,
        AccountedError::Owner { error } => matches!(error, ChargeError::OverLimit { .. } | ChargeError::Contended),
        _ => false,
    }
}

/// The place of a refusal's count.
fn cause(error: AccountedError) -> usize {
    match error {
        AccountedError::Pool { error } => match error {
            AllocError::TooLarge => 0,
            AllocError::Contended => 3,
            AllocError::Dying => 6,
            _ => 1,
        },
        AccountedError::Request { error } => match error {
            RequestError::Busy | RequestError::Retired | RequestError::Special => 1,
            RequestError::Contended => 3,
            RequestError::Dying => 6,
            _ => 0,
        },
        AccountedError::Fragmented { .. } => 2,
        AccountedError::Watermark { .. } => 4,
        AccountedError::Owner { .. } => 5,
    }
}
