//! The largest run that is to be had.
//!
//! To say that a run is the largest is to refuse all larger ones, so it is proved as a refusal is (`motion`): the look that finds no larger
//! run takes nothing, and what is taken after it may be called the largest if nothing came or moved meanwhile.

use super::GenPool;
use super::prove::{Try, Unproved};
use crate::error::AllocError;
use crate::offset::Run;
use crate::order::Order;

/// How often it is tried to show that there is no larger run before the largest is taken that can be found.
const LOOKS: u32 = 8;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes the largest run that is to be had, of `order` at most and of `floor` at least; a floor above `order` counts as it.
    ///
    /// Lock-free; O(levels), and a look at each stale listing that it meets and puts right. The run is the largest, and a refusal is true,
    /// as for [`GenPool::alloc`]: there was a moment during the call without a larger one. While others move runs during each of eight looks,
    /// it is the largest that was found.
    pub fn alloc_up_to(&self, order: Order, floor: Order) -> Result<Run, AllocError> {
        let floor = floor.min(order);
        let order = order.min(self.largest_order()).max(floor);
        match self.attempt(order) {
            Some(run) => Ok(run),
            None => self.largest_or_prove(order, floor),
        }
    }

    #[cold]
    fn largest_or_prove(&self, order: Order, floor: Order) -> Result<Run, AllocError> {
        if floor > self.largest_order() {
            return Err(AllocError::TooLarge);
        }
        let level = order.get() / Self::RADIX;
        let shown = self.until_shown(level, LOOKS, |holds| {
            let largest = self.largest_found().map(|largest| largest.min(order)).filter(|&largest| largest >= floor);
            match largest {
                Some(largest) if largest == order || holds() => self.take_found(largest).map(Some),
                None if holds() => Some(None),
                _ => None,
            }
        });
        match shown {
            Some(Some(run)) => return Ok(run),
            Some(None) => return Err(self.explain_runs(floor, 1)),
            None => {}
        }
        let attempt = || {
            let largest = (floor.get()..=order.get()).rev().find_map(|order| self.take_found(Order::clamped(order)));
            largest.map_or(Try::Nothing, Try::Got)
        };
        self.until_proved(level, attempt).map_err(|unproved| match unproved {
            Unproved::Nothing => self.explain_runs(floor, 1),
            Unproved::Contended => AllocError::Contended,
        })
    }

    /// Takes a run from wherever one may be found.
    fn take_found(&self, order: Order) -> Option<Run> {
        self.search(order).or_else(|| self.take_from_handles(order))
    }

    /// The order of the largest idle run. O(levels), and one look at each stale listing that it meets and puts right.
    ///
    /// Exact at a quiet moment. What handles have at hand is not idle; what lies in the tables that they work in is.
    pub fn largest_idle(&self) -> Option<Order> {
        self.merge_spares(self.shape.top);
        self.list_fresh();
        self.largest_found()
    }

    /// The order of the largest run that is listed, on top, or in a table that a handle works in.
    fn largest_found(&self) -> Option<Order> {
        // Those first: one that is listed meanwhile is found below.
        let owned = self.handles.tables().filter_map(|table| self.table(0, table).largest()).max();
        let listed = match self.table(self.shape.top, 0).largest() {
            Some(order) => Some(self.shape.top * Self::RADIX + order),
            None => self.largest_listed(),
        };
        owned.max(listed).map(Order::clamped)
    }

    fn largest_listed(&self) -> Option<u32> {
        let mut class = self.highest_listed()?;
        // More than enough at a quiet moment; at any other the last listing is as good an answer.
        for _ in 0..1 << Self::RADIX {
            if let Some(table) = self.listed(0, class) {
                let (level, listed) = (class / Self::RADIX, class % Self::RADIX);
                if self.table(level, table).has(listed) {
                    break;
                }
                self.relist(level, table, class);
            }
            class = self.highest_listed()?;
        }
        Some(class)
    }
}
