//! Folios that nobody can find for a while: the moment to move one, or to split it.

use crate::charge::Charged;
use crate::error::{FreezeError, Refused, SplitError};
use crate::folio::Folio;
use crate::memory_type::Capability;
use crate::offset::{Offset, Run};
use crate::ops::{Entry, Freed, PgmapOps};
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::service::GoesTo;
use crate::state::{Expect, FreezeFault};
use crate::trace::Event;

impl From<FreezeFault> for FreezeError {
    fn from(fault: FreezeFault) -> FreezeError {
        match fault {
            FreezeFault::NotInService => FreezeError::NotInService,
            FreezeFault::Frozen => FreezeError::Frozen,
            FreezeFault::Stray { held } => FreezeError::StrayReferences { held },
            FreezeFault::Pinned { pins } => FreezeError::Pinned { pins },
            FreezeFault::Saturated => FreezeError::Saturated,
        }
    }
}

impl From<FreezeFault> for SplitError {
    fn from(fault: FreezeFault) -> SplitError {
        match fault {
            FreezeFault::NotInService => SplitError::NotInService,
            FreezeFault::Frozen => SplitError::Frozen,
            FreezeFault::Stray { held } | FreezeFault::Pinned { pins: held } => SplitError::StrayReferences { held },
            FreezeFault::Saturated => SplitError::Saturated,
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Freezes the folio in service at `head` if its references are as expected: until the guard is dropped no lookup gets a
    /// reference and no mapping is added. Lock-free.
    ///
    /// [`Expect::NoPins`] is for migration and eviction, and refused if the memory type does not allow those.
    ///
    /// It tries once. While other threads keep looking the folio up and dropping it, each try may fail; [`Pgmap::until_frozen`] closes the
    /// folio to them and waits.
    pub fn freeze_raw(&self, head: Offset, expect: Expect) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
        self.check_freeze(head, expect)?;
        let order = self.folios.word(head).freeze(expect)?.order();
        Ok(Frozen { pgmap: self, head, order })
    }

    /// Whether a folio may be frozen there like this, whatever its references.
    pub(crate) fn check_freeze(&self, head: Offset, expect: Expect) -> Result<(), FreezeError> {
        if !self.pool.has_offset(head) {
            return Err(FreezeError::OutOfRange);
        }
        let memory_type = self.ops().memory_type();
        if expect == Expect::NoPins && !memory_type.allows(Capability::Migrate) {
            return Err(FreezeError::NotAllowed { memory_type });
        }
        Ok(())
    }

    /// Splits the folio in service at `head`, all of whose `expected_refs` references are the caller's, into folios of `order`.
    ///
    /// The first part keeps the references; each other part gets one, the caller's. A reference too many or too few refuses the
    /// split and leaves the folio whole. So does a mapping, which would not know of which part it is one: unmap, split, and map the
    /// parts, as Linux does. Nobody sees a count of 0 at any moment. [`PgmapOps::folio_split`] is called for each part
    /// but the first and then once at the end. O(number of parts); lock-free.
    pub fn split_raw(&self, head: Offset, order: Order, expected_refs: u32) -> Result<(), SplitError> {
        if !self.pool.has_offset(head) {
            return Err(SplitError::OutOfRange);
        }
        let before = self.folios.word(head).freeze(Expect::Refs(expected_refs))?;
        let whole = Run::around(head.get(), before.order());
        // Thaws, whatever comes.
        let _frozen = Frozen { pgmap: self, head, order: whole.order() };
        if order >= whole.order() {
            return Err(SplitError::NotSmaller { order: whole.order() });
        }
        if before.mappings() > 0 {
            return Err(SplitError::Mapped { mappings: before.mappings() });
        }
        self.cut(whole, order, expected_refs)
    }

    /// Rule 7 of the folio word, and the callbacks.
    fn cut(&self, whole: Run, order: Order, expected_refs: u32) -> Result<(), SplitError> {
        let folio = Freed { offset: whole.start(), order: whole.order(), data: self.folios.data(whole.start()) };
        for part in tails(whole, order) {
            let begun = self.folios.word(part).begin_part(order);
            debug_assert!(begun, "a folio starts inside a folio");
        }
        self.folios.gates.note_split();
        if let Err(stray) = self.folios.word(whole.start()).shrink(order, expected_refs) {
            // Somebody who held one of the references has taken another.
            for part in tails(whole, order) {
                if self.folios.word(part).abandon_part() {
                    self.tell(part, order);
                }
            }
            return Err(stray.into());
        }
        let charged = if O::KEEPS_BOOKS { self.folios.split_charge(whole.start(), order) } else { Charged::NOBODY };
        if O::KEEPS_BOOKS && charged.parts().is_some() {
            self.ops().enter(Entry::Split(whole.order(), order));
        }
        for part in tails(whole, order) {
            if O::KEEPS_BOOKS {
                self.folios.charge(part).set(charged);
            }
            self.folios.set_data(part, self.ops().folio_split(folio, Some(part)));
        }
        self.folios.set_data(whole.start(), self.ops().folio_split(folio, None));
        tails(whole, order).for_each(|part| self.thaw(part));
        self.ops().trace(Event::Split { offset: whole.start(), order });
        Ok(())
    }
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Lets finders to the folio again that the caller has frozen, or ends it if its last reference was dropped meanwhile.
    fn thaw(&self, head: Offset) {
        let after = self.folios.word(head).thaw(Self::ENDING);
        self.after_put(head, after);
    }
}

/// The first pages of the parts of `order` of a run, but for the first part.
fn tails(whole: Run, order: Order) -> impl Iterator<Item = Offset> {
    let parts = 1 << (whole.order().get() - order.get());
    (1..parts).map(move |part: u64| Offset::new(whole.start().get() + part * order.pages()))
}

/// A folio in service that nobody can find. Drop thaws it.
///
/// Holders may still clone their references and put them, but the folio does not end: its last put is refused. A last
/// [`Folio`] that is dropped all the same leaves the end to the thaw, which then calls `folio_free`. One that is frozen through a
/// [`Folio`] borrows it, so that one stays.
///
/// ```compile_fail,E0505
/// # use pgmap_alloc::{Expect, Folio, Pgmap};
/// fn lose(pgmap: &Pgmap<'_, ()>, folio: Folio<'_, ()>) {
///     let frozen = folio.freeze(Expect::Refs(1));
///     let _ = pgmap.put(folio);
///     drop(frozen);
/// }
/// ```
pub struct Frozen<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    head: Offset,
    order: Order,
}

impl<'p, O: PgmapOps, const WORDS: usize> Frozen<'p, O, WORDS> {
    /// Takes over a freeze.
    pub(crate) fn adopt(pgmap: &'p Pgmap<'_, O, WORDS>, head: Offset, order: Order) -> Self {
        Frozen { pgmap, head, order }
    }

    /// Its first page.
    pub fn offset(&self) -> Offset {
        self.head
    }

    /// Its order.
    pub fn order(&self) -> Order {
        self.order
    }

    /// What the driver keeps with it.
    pub fn data(&self) -> O::Data {
        self.pgmap.folios.data(self.head)
    }

    /// Changes what the driver keeps with it.
    pub fn set_data(&mut self, data: O::Data) {
        self.pgmap.folios.set_data(self.head, data);
    }

    /// Ends its service although it is mapped: the contents are elsewhere, and every mapping is gone or about to go. Calls
    /// `folio_free` in the caller's context. Comes back if a reference is held that is no mapping. O(1); lock-free.
    pub fn free(self) -> Result<(), Self> {
        match self.pgmap.folios.word(self.head).end_frozen(Pgmap::<O, WORDS>::ENDING) {
            Some(order) => {
                let (pgmap, head) = (self.pgmap, self.head);
                core::mem::forget(self);
                if let Some(run) = pgmap.leave_service(head, order, GoesTo::Tables) {
                    pgmap.release(run);
                }
                Ok(())
            }
            None => Err(self),
        }
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Frozen<'_, O, WORDS> {
    fn drop(&mut self) {
        self.pgmap.thaw(self.head);
    }
}

impl<'p, O: PgmapOps, const WORDS: usize> Folio<'p, O, WORDS> {
    /// Freezes it if its references are as expected, this one included; until it is thawed this reference cannot be put or dropped.
    pub fn freeze(&self, expect: Expect) -> Result<Frozen<'_, O, WORDS>, FreezeError> {
        self.pgmap().freeze_raw(self.offset(), expect)
    }

    /// Splits it into folios of `order`; all of its `expected_refs` references must be the caller's. See [`Pgmap::split_raw`].
    ///
    /// Gives one reference to each part; the other references stay with the first part. A refused split gives the folio back.
    pub fn split(self, order: Order, expected_refs: u32) -> Result<Parts<'p, O, WORDS>, Refused<SplitError, Self>> {
        let whole = Run::around(self.offset().get(), self.order());
        match self.pgmap().split_raw(whole.start(), order, expected_refs) {
            Ok(()) => {
                let pgmap = self.pgmap();
                Ok(Parts { pgmap, at: self.into_raw(), end: whole.end(), order })
            }
            Err(error) => Err(Refused { error, value: self }),
        }
    }
}

/// The parts of a folio that was split, in rising order of offset. Drop puts those that were not taken.
pub struct Parts<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    at: Offset,
    end: Offset,
    order: Order,
}

impl<'p, O: PgmapOps, const WORDS: usize> Iterator for Parts<'p, O, WORDS> {
    type Item = Folio<'p, O, WORDS>;

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.at;
        (head < self.end).then(|| {
            self.at = Offset::new(head.get() + self.order.pages());
            Folio::adopt(self.pgmap, head)
        })
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Parts<'_, O, WORDS> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
