//! A reference to a folio in service, and the verbs that give one.

use core::fmt;

use crate::error::{AllocError, PinError, PutError, Refused, RequestError};
use crate::memory_type::Capability;
use crate::offset::{Offset, Phys};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::references::{Counts, Put};
use crate::state::Cloned;
use crate::trace::Event;

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Puts idle pages into service as a folio of `order`, wherever they fit best. O(levels), the same for every order.
    #[inline]
    pub fn alloc_folio(&self, order: Order) -> Result<Folio<'_, O, WORDS>, AllocError>
    where
        O::Data: Default,
    {
        self.alloc_folio_with(order, O::Data::default())
    }

    /// [`Pgmap::alloc_folio`], with what the driver keeps with the folio.
    #[inline]
    pub fn alloc_folio_with(&self, order: Order, data: O::Data) -> Result<Folio<'_, O, WORDS>, AllocError> {
        self.alloc_folio_raw(order, data).map(|head| Folio::adopt(self, head))
    }

    /// Puts exactly these pages into service as one folio, if all of them are idle. O(levels), the same for every order.
    ///
    /// This is the `pgmap_request_folio()` that the Linux memory-management list discussed in October 2022, for drivers that
    /// pick offsets themselves. The order is chosen here, whatever orders the pages have had before.
    pub fn request_folio(&self, offset: Offset, order: Order) -> Result<Folio<'_, O, WORDS>, RequestError>
    where
        O::Data: Default,
    {
        self.request_folio_with(offset, order, O::Data::default())
    }

    /// [`Pgmap::request_folio`], with what the driver keeps with the folio.
    pub fn request_folio_with(&self, offset: Offset, order: Order, data: O::Data) -> Result<Folio<'_, O, WORDS>, RequestError> {
        self.request_folio_raw(offset, order, data)?;
        Ok(Folio::adopt(self, offset))
    }

    /// A reference to the folio in service that covers `offset`, if there is one and finders are let to it. As [`Pgmap::try_get_raw`].
    pub fn try_get(&self, offset: Offset) -> Option<Folio<'_, O, WORDS>> {
        self.try_get_raw(offset).map(|head| Folio::adopt(self, head))
    }

    /// A reference to keep for as long as one likes, if the memory type allows that: such a folio cannot be migrated meanwhile.
    ///
    /// As [`Pgmap::try_get`], and says why there is none.
    pub fn pin(&self, offset: Offset) -> Result<Folio<'_, O, WORDS>, PinError> {
        if !self.pool.has_offset(offset) {
            return Err(PinError::OutOfRange);
        }
        let memory_type = self.ops().memory_type();
        if !memory_type.allows(Capability::Pin) {
            return Err(PinError::NotAllowed { memory_type });
        }
        Ok(Folio::adopt(self, self.find(offset)?))
    }

    /// Puts a folio that must be this pgmap's own; a foreign one comes back with [`PutError::Foreign`], the last reference to a frozen
    /// one with [`PutError::Frozen`].
    pub fn put<'f>(&self, folio: Folio<'f, O, WORDS>) -> Result<Put, Refused<PutError, Folio<'f, O, WORDS>>> {
        folio.put_by(self, |head| self.put_refs(head, 1))
    }
}

/// One reference to a folio in service: clone is get, drop is put.
///
/// It borrows its pgmap, so a pgmap cannot go away under a folio. Clone and drop touch only the folio's own word; the drop of
/// the last one calls [`PgmapOps::folio_free`]. Both are lock-free and may happen in any context. The last one that is dropped while
/// somebody has the folio frozen leaves its end to the thaw.
///
/// Clones are counted up to 2^25 - 2 references that are no mappings. One more saturates the count: the folio stays in service for
/// ever. That is told ([`Event::Saturated`]), and a drain names the folio ([`Holdout`](crate::Holdout)).
pub struct Folio<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    head: Offset,
}

impl<'p, O: PgmapOps, const WORDS: usize> Folio<'p, O, WORDS> {
    /// Takes over one reference.
    #[inline]
    pub(crate) fn adopt(pgmap: &'p Pgmap<'_, O, WORDS>, head: Offset) -> Self {
        Folio { pgmap, head }
    }

    /// Takes over one reference that [`Folio::into_raw`], [`Pgmap::alloc_folio_raw`] or [`Pgmap::get_raw`] left; `None` if no
    /// folio in service starts at `head`.
    ///
    /// No finder's verb: the reference is there already, so no gate stands in the way. Taking over more references than were left
    /// ends other holders' service early; every later put is then refused.
    pub fn from_raw(pgmap: &'p Pgmap<'_, O, WORDS>, head: Offset) -> Option<Self> {
        pgmap.folios.word(head).snapshot().is_counted().then(|| Folio::adopt(pgmap, head))
    }

    /// Gives the reference to `put` if the folio is of `pgmap`; comes back if either says no.
    #[inline]
    pub(crate) fn put_by<E: Into<PutError>>(
        self,
        pgmap: &Pgmap<'_, O, WORDS>,
        put: impl FnOnce(Offset) -> Result<Put, E>,
    ) -> Result<Put, Refused<PutError, Self>> {
        if !core::ptr::addr_eq(self.pgmap, pgmap) {
            return Err(Refused { error: PutError::Foreign, value: self });
        }
        let (own, head) = (self.pgmap, self.into_raw());
        put(head).map_err(|fault| Refused { error: fault.into(), value: Folio::adopt(own, head) })
    }

    /// Gives up the type and keeps the reference: put it with [`Pgmap::put_raw`] or take it over with [`Folio::from_raw`].
    pub fn into_raw(self) -> Offset {
        let head = self.head;
        core::mem::forget(self);
        head
    }

    /// Its pgmap.
    pub fn pgmap(&self) -> &'p Pgmap<'p, O, WORDS> {
        self.pgmap
    }

    /// Its first page.
    pub fn offset(&self) -> Offset {
        self.head
    }

    /// Its order.
    pub fn order(&self) -> Order {
        self.pgmap.folios.word(self.head).snapshot().order()
    }

    /// How many references there are at this moment, this one included.
    pub fn refs(&self) -> u32 {
        self.pgmap.folios.word(self.head).snapshot().refs()
    }

    /// How it is held at this moment, this reference included.
    pub fn counts(&self) -> Counts {
        Counts::of(self.pgmap.folios.word(self.head).snapshot())
    }

    /// What the driver keeps with it.
    pub fn data(&self) -> O::Data {
        self.pgmap.folios.data(self.head)
    }

    /// The physical address of its first page; its pages are contiguous and naturally aligned there too.
    pub fn phys(&self) -> Option<Phys> {
        self.pgmap.phys(self.head)
    }
}

impl<O: PgmapOps, const WORDS: usize> Clone for Folio<'_, O, WORDS> {
    #[inline]
    fn clone(&self) -> Self {
        // Refused only if this folio's reference was put behind its back, through the raw forms; then its drop is refused too.
        if self.pgmap.folios.word(self.head).get() == Cloned::Saturated {
            self.pgmap.ops().trace(Event::Saturated { offset: self.head });
        }
        Folio::adopt(self.pgmap, self.head)
    }
}

impl<O: PgmapOps, const WORDS: usize> Drop for Folio<'_, O, WORDS> {
    #[inline]
    fn drop(&mut self) {
        self.pgmap.drop_reference(self.head);
    }
}

impl<O: PgmapOps, const WORDS: usize> fmt::Debug for Folio<'_, O, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, order, refs) = (self.offset(), self.order(), self.refs());
        f.debug_struct("Folio").field("offset", &offset).field("order", &order).field("refs", &refs).finish()
    }
}
