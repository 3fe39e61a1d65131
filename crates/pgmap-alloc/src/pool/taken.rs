//! An allocated run as a value: what handles give out, since they cannot see a run that is given back twice.

use core::num::NonZeroUsize;

use super::GenPool;
use crate::error::AllocError;
use crate::offset::{Offset, Run};
use crate::order::Order;

/// The bits of an address of a pool in which an order can stand.
const ORDER: usize = 63;

/// An allocated run, as a value that can be given back once and only to the pool that it came from.
#[derive(Debug)]
#[must_use = "a run that is not freed stays taken"]
pub struct Taken<'p> {
    /// The pool's address, which tells pools apart and is never followed; where its alignment leaves bits, the order of the run. So values
    /// that hold one stay small.
    mark: NonZeroUsize,
    start: Offset,
    _pool: core::marker::PhantomData<&'p ()>,
}

impl Taken<'_> {
    /// Its first page.
    pub fn offset(&self) -> Offset {
        self.start
    }

    /// Its order.
    pub fn order(&self) -> Order {
        Order::known((self.mark.get() & ORDER) as u8)
    }

    /// Its pages.
    pub fn run(&self) -> Run {
        Run::aligned(self.start.get(), self.order())
    }

    /// Gives up the type and keeps the pages: give them back with [`GenPool::free`].
    pub fn into_raw(self) -> Run {
        self.run()
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    #[inline]
    fn identity(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// The value for an owned run.
    #[inline]
    pub(crate) fn value_of<'p>(&'p self, run: Run) -> Taken<'p> {
        const { assert!(align_of::<Self>() > ORDER && Order::MAX.get() as usize <= ORDER) };
        let mark = NonZeroUsize::new(self.identity() | run.order().get() as usize).unwrap_or(NonZeroUsize::MIN);
        Taken { mark, start: run.start(), _pool: core::marker::PhantomData }
    }

    /// The owned run that a value stands for; one of another pool comes back as the error.
    #[inline]
    pub(super) fn run_of<'p>(&self, taken: Taken<'p>) -> Result<Run, Taken<'p>> {
        if taken.mark.get() & !ORDER == self.identity() { Ok(taken.run()) } else { Err(taken) }
    }

    /// `LocalPool::alloc` without a handle.
    pub(crate) fn alloc_taken(&self, order: Order) -> Result<Taken<'_>, AllocError> {
        self.take(order).map(|run| self.value_of(run))
    }

    /// `LocalPool::free` without a handle.
    pub(crate) fn free_taken<'p>(&self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        // Owned, so it cannot be idle.
        let _ = self.give_back(self.run_of(taken)?);
        Ok(())
    }
}
