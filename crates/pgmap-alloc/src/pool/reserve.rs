//! Two phases: a reservation may fail, what it holds can then be used without failing.
//!
//! For paths that must go through, such as those that signal a fence: reserve before, commit inside. A commit allocates nothing,
//! waits for nobody and cannot fail.

use core::fmt;

use super::GenPool;
use crate::error::ReserveError;
use crate::offset::{Offset, Run};
use crate::order::Order;

/// Room for one run of a reservation, and then that run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldRun {
    start: Offset,
    slot: u32,
}

impl HeldRun {
    /// An empty place.
    pub const fn new() -> HeldRun {
        HeldRun { start: Offset::new(0), slot: 0 }
    }

    /// The first page of the run.
    pub const fn start(&self) -> Offset {
        self.start
    }
}

/// Runs that are set aside. [`Reservation::commit`] makes them the caller's; drop cancels.
pub struct Reservation<'p, 'b, const WORDS: usize = 8> {
    pool: &'p GenPool<'p, WORDS>,
    order: Order,
    runs: &'b mut [HeldRun],
    /// Those before this one have been handed out.
    next: usize,
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Sets aside as many runs of `order` as `room` has places, or none. Until they are committed a free of one is refused.
    ///
    /// O(number of held runs) for each run.
    pub fn reserve<'b>(&self, order: Order, room: &'b mut [HeldRun]) -> Result<Reservation<'_, 'b, WORDS>, ReserveError> {
        if room.is_empty() {
            return Err(ReserveError::NoRuns);
        }
        let wanted = room.len();
        // What is held when this is dropped early goes back.
        let mut reserved = Reservation { pool: self, order, runs: &mut [], next: 0 };
        for done in 0..wanted {
            let taken = self.take(order).map_err(|error| ReserveError::Refused { error });
            let slot = taken.and_then(|run| {
                self.hold(run).map(|slot| HeldRun { start: run.start(), slot }).ok_or_else(|| {
                    // Taken by us a moment ago.
                    let _ = self.put_back(run);
                    ReserveError::NoSlot { slots: self.held_slots() }
                })
            });
            match (slot, room.get_mut(done)) {
                (Ok(held), Some(place)) => *place = held,
                (Err(error), _) => {
                    reserved.runs = room.get_mut(..done).unwrap_or_default();
                    return Err(error);
                }
                (Ok(_), None) => {}
            }
        }
        reserved.runs = room;
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
        self.runs.len() - self.next
    }

    /// Makes one of its runs the caller's; `None` when all are. O(1); never sleeps.
    pub fn commit_one(&mut self) -> Option<Offset> {
        let held = *self.runs.get(self.next)?;
        self.next += 1;
        self.pool.unhold(held.slot, Run::around(held.start.get(), self.order));
        Some(held.start)
    }

    /// Makes all runs that it still holds the caller's. O(number of runs); never sleeps; cannot fail.
    pub fn commit(mut self) -> &'b [HeldRun] {
        let first = self.next;
        while self.commit_one().is_some() {}
        core::mem::take(&mut self.runs).get(first..).unwrap_or_default()
    }
}

impl<const WORDS: usize> Drop for Reservation<'_, '_, WORDS> {
    /// Cancels: what was not committed becomes idle again.
    fn drop(&mut self) {
        while let Some(start) = self.commit_one() {
            // Held until now, and never used.
            let _ = self.pool.put_back(Run::around(start.get(), self.order));
        }
    }
}

impl<const WORDS: usize> fmt::Debug for Reservation<'_, '_, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("order", &self.order).field("left", &self.left()).finish()
    }
}
