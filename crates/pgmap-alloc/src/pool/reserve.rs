//! Two phases: a reservation may fail, what it holds can then be used without failing.
//!
//! For paths that must go through, such as those that signal a fence: reserve before, commit inside. A commit allocates nothing,
//! waits for nobody and cannot fail.

use core::fmt;

use super::GenPool;
use super::notes::Forgotten;
use crate::error::ReserveError;
use crate::offset::{Offset, Run};
use crate::order::Order;

/// Runs that are set aside, and where they start. [`Reservation::commit`] makes them the caller's; drop cancels.
pub struct Reservation<'p, 'b, const WORDS: usize = 8> {
    pool: &'p GenPool<'p, WORDS>,
    order: Order,
    starts: &'b mut [Offset],
    /// Those before this one have been handed out.
    next: usize,
    /// When they were taken, for what is known of what they hold.
    since: Forgotten,
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Sets aside as many runs of `order` as `room` has places, or none. Until they are committed a free of one is refused.
    ///
    /// Lock-free; O(levels) for each run. Needs [`Params::taking_reservations`](super::Params::taking_reservations).
    pub fn reserve<'b>(&self, order: Order, room: &'b mut [Offset]) -> Result<Reservation<'_, 'b, WORDS>, ReserveError> {
        if room.is_empty() {
            return Err(ReserveError::NoRuns);
        }
        if !self.held.enter() {
            return Err(ReserveError::NotTaken);
        }
        // What is held when this is dropped early goes back.
        let mut reserved = Reservation { pool: self, order, starts: &mut [], next: 0, since: self.forgotten() };
        let mut done = 0;
        for place in room.iter_mut() {
            match self.take(order) {
                Ok(run) => {
                    self.hold(run);
                    *place = run.start();
                    done += 1;
                }
                Err(error) => {
                    let runs = room.len();
                    reserved.starts = room.get_mut(..done).unwrap_or_default();
                    drop(reserved);
                    return Err(ReserveError::Refused { error: self.explain_all(order, runs, error) });
                }
            }
        }
        reserved.starts = room;
        Ok(reserved)
    }
}

impl<'b, const WORDS: usize> Reservation<'_, 'b, WORDS> {
    /// The order of its runs.
    pub fn order(&self) -> Order {
        self.order
    }

    /// How many runs it still holds.
    pub fn left(&self) -> usize {
        self.starts.len().saturating_sub(self.next)
    }

    /// Makes one of its runs the caller's; `None` when all are. O(1); never sleeps.
    pub fn commit_one(&mut self) -> Option<Offset> {
        let start = *self.starts.get(self.next)?;
        self.next += 1;
        self.pool.unhold(Run::around(start.get(), self.order));
        Some(start)
    }

    /// Makes all runs that it still holds the caller's. O(number of runs); never sleeps; cannot fail.
    ///
    /// There is no second time:
    ///
    /// ```compile_fail,E0382
    /// # use pgmap_alloc::{GenPool, Offset, Order, Params, Phys, PhysRange};
    /// # let ranges = [PhysRange { start: Phys(0), pages: 64 }];
    /// # let pool = GenPool::new(&Params::new(&ranges).taking_reservations()).unwrap();
    /// # let mut room = [Offset::new(0)];
    /// let reserved = pool.reserve(Order::ZERO, &mut room).unwrap();
    /// reserved.commit();
    /// reserved.commit();
    /// ```
    pub fn commit(mut self) -> &'b [Offset] {
        let first = self.next;
        while self.commit_one().is_some() {}
        core::mem::take(&mut self.starts).get(first..).unwrap_or_default()
    }
}

impl<const WORDS: usize> Drop for Reservation<'_, '_, WORDS> {
    /// Cancels: what was not committed becomes idle again.
    fn drop(&mut self) {
        let pool = self.pool;
        if self.left() > 0 {
            let unused = pool.unused(self.since);
            while let Some(start) = self.commit_one() {
                // Held until now.
                let _ = unused.put_back(Run::around(start.get(), self.order));
            }
        }
        pool.held.leave();
    }
}

impl<const WORDS: usize> fmt::Debug for Reservation<'_, '_, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("order", &self.order).field("left", &self.left()).finish()
    }
}
