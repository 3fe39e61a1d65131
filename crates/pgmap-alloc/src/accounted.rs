//! A pool with an account: who has what, how much, how often it was refused and why.
//!
//! A type around the pool, so that the bare pool pays nothing. What this one pays for each pair: one shared counter, which the
//! watermark and the high water need, the owner's counter, and counters on the caller's own line. Pages that somebody takes from
//! the bare pool are not in the account.

use crate::charge::{Charge, Owner};
use crate::error::{AccountedError, AllocError, ReturnError};
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::pool::GenPool;
use crate::sync::{AtomicU64, Ordering, caller_slot};
use crate::trace::{Event, Trace};

/// Lines among which concurrent callers are spread.
const SLOTS: usize = 8;
/// Orders that are counted one by one.
const ORDERS: usize = Order::MAX.get() as usize + 1;

/// Whose pages they are going to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Anybody's: the watermark's reserve is not for them.
    Normal,
    /// Those of somebody who must not fail: he may use the reserve.
    Critical,
}

/// Why allocations were refused, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Refusals {
    /// The pool never holds a run of this order.
    pub too_large: u64,
    /// Not enough pages were idle.
    pub no_space: u64,
    /// Enough pages were idle, but no run was large enough.
    pub fragmented: u64,
    /// No proof could be had.
    pub contended: u64,
    /// The rest was reserved for the critical.
    pub watermark: u64,
    /// The owner was at his limit, or there was no such owner.
    pub owner: u64,
}

/// The account at one moment; numbers that belong together may be an operation apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Account {
    /// All pages of the pool.
    pub size: u64,
    /// Pages that are taken.
    pub used: u64,
    /// The most pages that ever were.
    pub high_water: u64,
    /// Runs that are taken, by order.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_list"))]
    pub taken: [u64; ORDERS],
    /// Allocations so far, by order.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_list"))]
    pub allocated: [u64; ORDERS],
    /// Refusals so far, by cause.
    pub refusals: Refusals,
    /// The order of the largest idle run, as far as is known without a search.
    pub largest_idle: Option<u32>,
    /// 0: the idle pages could not lie better; towards 1000: they are scattered.
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
    refused: [AtomicU64; 6],
}

/// A number on lines of its own.
#[repr(align(128))]
struct Alone(AtomicU64);

/// A pool with an account.
pub struct Accounted<'p, C: Charge = (), T: Trace = (), const WORDS: usize = 8> {
    pool: &'p GenPool<'p, WORDS>,
    charge: C,
    trace: T,
    /// So many idle pages are kept for the critical.
    watermark: u64,
    used: Alone,
    high_water: Alone,
    stripes: [Stripe; SLOTS],
}

impl<'p, C: Charge, T: Trace, const WORDS: usize> Accounted<'p, C, T, WORDS> {
    /// Opens an account for a pool of which nothing is taken. The last `watermark` pages are for the critical.
    pub fn new(pool: &'p GenPool<'_, WORDS>, charge: C, trace: T, watermark: u64) -> Self {
        let zero = |_: usize| AtomicU64::new(0);
        let stripe = |_| Stripe {
            allocated: core::array::from_fn(zero),
            freed: core::array::from_fn(zero),
            refused: core::array::from_fn(zero),
        };
        let (used, high_water) = (Alone(zero(0)), Alone(zero(0)));
        Accounted { pool, charge, trace, watermark, used, high_water, stripes: core::array::from_fn(stripe) }
    }

    /// The pool below.
    pub fn pool(&self) -> &'p GenPool<'p, WORDS> {
        self.pool
    }

    /// Who pays.
    pub fn charge(&self) -> &C {
        &self.charge
    }

    /// Takes a run of `order` that `owner` pays for. A refusal leaves no trace but its count, and says whose it is.
    pub fn alloc(&self, order: Order, owner: Owner, urgency: Urgency) -> Result<Offset, AccountedError> {
        let result = self.try_alloc(order, owner, urgency);
        match result {
            Ok(offset) => {
                self.count(|stripe| stripe.allocated.get(order.get() as usize));
                self.trace.trace(Event::Alloc { offset, order });
            }
            Err(error) => {
                self.count(|stripe| stripe.refused.get(cause(error)));
                self.trace.trace(Event::Refused { order });
            }
        }
        result
    }

    fn try_alloc(&self, order: Order, owner: Owner, urgency: Urgency) -> Result<Offset, AccountedError> {
        let pages = order.pages();
        self.charge.try_charge(owner, pages).map_err(|error| AccountedError::Owner { error })?;
        let taken = self.use_pages(pages, urgency).and_then(|()| {
            self.pool.alloc(order).map_err(|error| {
                // Relaxed: as in `use_pages`.
                let used = self.used.0.fetch_sub(pages, Ordering::Relaxed) - pages;
                let idle = self.pool.size().saturating_sub(used);
                match error {
                    AllocError::NoSpace { cached } if idle >= pages + cached => AccountedError::Fragmented { idle },
                    error => AccountedError::Pool { error },
                }
            })
        });
        taken.inspect_err(|_| {
            // Charged a moment ago.
            let _ = self.charge.uncharge(owner, pages);
        })
    }

    fn use_pages(&self, pages: u64, urgency: Urgency) -> Result<(), AccountedError> {
        // Relaxed throughout: numbers, nothing hangs on them.
        let used = self.used.0.fetch_add(pages, Ordering::Relaxed) + pages;
        let size = self.pool.size();
        if urgency == Urgency::Normal && used > size.saturating_sub(self.watermark) && used <= size {
            self.used.0.fetch_sub(pages, Ordering::Relaxed);
            return Err(AccountedError::Watermark { idle: size - (used - pages), watermark: self.watermark });
        }
        if used <= size && self.high_water.0.load(Ordering::Relaxed) < used {
            self.high_water.0.fetch_max(used, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives a run, or an aligned part of one, back to the pool and to the owner who paid for it.
    pub fn free(&self, offset: Offset, order: Order, owner: Owner) -> Result<(), ReturnError> {
        Run::new(offset, order).map_err(|error| ReturnError::Refused { error: error.into() })?;
        self.charge.uncharge(owner, order.pages()).map_err(|error| ReturnError::Owner { error })?;
        if let Err(error) = self.pool.free(offset, order) {
            // He had paid for as many a moment ago.
            let _ = self.charge.try_charge(owner, order.pages());
            return Err(ReturnError::Refused { error });
        }
        // Relaxed: as in `use_pages`.
        self.used.0.fetch_sub(order.pages(), Ordering::Relaxed);
        self.count(|stripe| stripe.freed.get(order.get() as usize));
        self.trace.trace(Event::FolioFree { offset, order });
        Ok(())
    }

    fn count<'a>(&'a self, number: impl Fn(&'a Stripe) -> Option<&'a AtomicU64>) {
        if let Some(number) = self.stripes.get(caller_slot(SLOTS) & (SLOTS - 1)).and_then(number) {
            // Relaxed: as in `use_pages`.
            number.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The account. O(1): a fixed number of loads, whatever the pool's size.
    ///
    /// A run that was freed in parts counts as taken once at its own order, and as freed at those of its parts.
    pub fn account(&self) -> Account {
        // Relaxed throughout: as in `use_pages`.
        let sum = |pick: &dyn Fn(&Stripe) -> Option<&AtomicU64>| -> u64 {
            self.stripes.iter().filter_map(pick).map(|number| number.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        let allocated: [u64; ORDERS] = core::array::from_fn(|order| sum(&|stripe| stripe.allocated.get(order)));
        let freed: [u64; ORDERS] = core::array::from_fn(|order| sum(&|stripe| stripe.freed.get(order)));
        let both = allocated.iter().zip(freed);
        let mut taken = [0; ORDERS];
        taken.iter_mut().zip(both).for_each(|(taken, (allocated, freed))| *taken = allocated.saturating_sub(freed));
        let refused = |cause: usize| sum(&|stripe| stripe.refused.get(cause));
        let (size, used) = (self.pool.size(), self.used.0.load(Ordering::Relaxed));
        let largest_idle = self.pool.largest_idle();
        let could_be = Order::fitting(size.saturating_sub(used)).map(|order| order.min(self.pool.largest_order()));
        let fragmentation = match (could_be, largest_idle) {
            (Some(could_be), Some(is)) => 1000 - (1000 >> could_be.get().saturating_sub(is.get()).min(63)),
            _ => 0,
        };
        Account {
            size,
            used,
            high_water: self.high_water.0.load(Ordering::Relaxed),
            taken,
            allocated,
            refusals: Refusals {
                too_large: refused(0),
                no_space: refused(1),
                fragmented: refused(2),
                contended: refused(3),
                watermark: refused(4),
                owner: refused(5),
            },
            largest_idle: largest_idle.map(Order::get),
            fragmentation,
        }
    }
}

/// The place of a refusal's count.
fn cause(error: AccountedError) -> usize {
    match error {
        AccountedError::Pool { error: AllocError::TooLarge } => 0,
        AccountedError::Pool { error: AllocError::Contended } => 3,
        AccountedError::Pool { .. } => 1,
        AccountedError::Fragmented { .. } => 2,
        AccountedError::Watermark { .. } => 4,
        AccountedError::Owner { .. } => 5,
    }
}
