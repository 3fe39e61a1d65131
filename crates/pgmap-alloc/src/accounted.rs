//! A pool with an account: what `ledger` keeps, around the bare pool.
//!
//! A type around the pool, so that the bare pool pays nothing. Pages that somebody takes from the bare pool are not in the account.

use core::fmt;

use crate::charge::{Charge, Owner};
use crate::error::{AccountedError, ReturnError};
use crate::ledger::{Account, Ask, Ledger, Urgency};
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::pool::GenPool;
use crate::trace::{Event, Trace};

/// A pool with an account.
pub struct Accounted<'p, C: Charge = (), T: Trace = (), const WORDS: usize = 8> {
    pool: &'p GenPool<'p, WORDS>,
    ledger: Ledger<C>,
    trace: T,
}

impl<'p, C: Charge, T: Trace, const WORDS: usize> Accounted<'p, C, T, WORDS> {
    /// Opens an account for a pool of which nothing is taken. The last `watermark` pages are for the critical.
    pub fn new(pool: &'p GenPool<'_, WORDS>, charge: C, trace: T, watermark: u64) -> Self {
        Accounted { pool, ledger: Ledger::new(charge, watermark, pool.size()), trace }
    }

    /// The pool below.
    pub fn pool(&self) -> &'p GenPool<'p, WORDS> {
        self.pool
    }

    /// Who pays.
    pub fn charge(&self) -> &C {
        self.ledger.charge()
    }

    /// Takes a run of `order` that `owner` pays for. A refusal is true, leaves no trace but its count, and says whose it is.
    pub fn alloc(&self, order: Order, owner: Owner, urgency: Urgency) -> Result<Offset, AccountedError> {
        let ask = Ask { pool: self.pool, order, owner, urgency };
        let taken = self.ledger.take(&ask, || self.pool.alloc(order).map_err(|error| AccountedError::Pool { error }));
        self.trace.trace(match taken {
            Ok(offset) => Event::Alloc { offset, order },
            Err(_) => Event::Refused { order },
        });
        taken
    }

    /// [`Accounted::alloc`] as a value that knows its owner, so that whoever frees it need not. Drop gives it back.
    pub fn alloc_run(&self, order: Order, owner: Owner, urgency: Urgency) -> Result<OwnedRun<'_, C, T, WORDS>, AccountedError> {
        let start = self.alloc(order, owner, urgency)?;
        Ok(OwnedRun { books: self, run: Run::around(start.get(), order), owner })
    }

    /// Gives a run, or an aligned part of one, back to the pool and to the owner who paid for it.
    pub fn free(&self, offset: Offset, order: Order, owner: Owner) -> Result<(), ReturnError> {
        let refused = |error| ReturnError::Refused { error };
        // Looked at first: what is refused anyway must not be uncharged and charged again.
        self.pool.check_free(offset, order).map_err(refused)?;
        self.ledger.uncharge(order, owner).map_err(|error| ReturnError::Owner { error })?;
        self.pool.free(offset, order).map_err(|error| {
            self.ledger.charge_again(order, owner);
            refused(error)
        })?;
        self.ledger.count_out(order.pages());
        self.trace.trace(Event::Free { offset, order });
        Ok(())
    }

    /// The account. O(1): a fixed number of loads, whatever the pool's size.
    ///
    /// A run that was freed in parts counts as taken once at its own order, and as freed at those of its parts.
    pub fn account(&self) -> Account {
        self.ledger.account(self.pool)
    }
}

/// A run and who pays for it. Drop gives it back.
pub struct OwnedRun<'a, C: Charge = (), T: Trace = (), const WORDS: usize = 8> {
    books: &'a Accounted<'a, C, T, WORDS>,
    run: Run,
    owner: Owner,
}

impl<C: Charge, T: Trace, const WORDS: usize> OwnedRun<'_, C, T, WORDS> {
    /// Its pages.
    pub fn run(&self) -> Run {
        self.run
    }

    /// Who pays.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Gives up the type and keeps the pages and their owner: give them back with [`Accounted::free`].
    pub fn into_raw(self) -> (Run, Owner) {
        let raw = (self.run, self.owner);
        core::mem::forget(self);
        raw
    }
}

impl<C: Charge, T: Trace, const WORDS: usize> Drop for OwnedRun<'_, C, T, WORDS> {
    fn drop(&mut self) {
        // Refused only if the pages were given back behind its back, through the raw forms.
        let _ = self.books.free(self.run.start(), self.run.order(), self.owner);
    }
}

impl<C: Charge, T: Trace, const WORDS: usize> fmt::Debug for OwnedRun<'_, C, T, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRun").field("run", &self.run).field("owner", &self.owner).finish()
    }
}
