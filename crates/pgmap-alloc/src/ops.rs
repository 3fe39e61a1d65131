//! What a driver says to a pgmap, and what it hears.

use crate::charge::Owner;
use crate::data::DriverData;
use crate::memory_type::MemoryType;
use crate::offset::Offset;
use crate::order::Order;
use crate::standing::Lookup;
use crate::trace::Event;

/// What the driver says to a pgmap.
pub trait PgmapOps {
    /// What the driver keeps with each folio; `()` for nothing.
    type Data: DriverData;

    /// Whether [`PgmapOps::folio_free`] is called. A driver that has nothing to do there says `false`; if it keeps nothing with its
    /// folios either, a last put is one atomic step, and its pages are treated as [`AfterFree::ByType`] says.
    const HEARS_FREES: bool = true;

    /// Whether the pgmap keeps books: [`Charging`](crate::Charging) does, and no driver says so itself.
    #[doc(hidden)]
    const KEEPS_BOOKS: bool = false;

    /// What happens to pages, for whoever keeps the books.
    #[doc(hidden)]
    #[inline]
    fn enter(&self, entry: Entry) {
        let _ = entry;
    }

    /// The last reference of a folio is gone.
    ///
    /// Called exactly once per period of service, by whoever put that reference and in that context, which may be an interrupt:
    /// must not sleep, cannot fail. The pages become allocatable after it has returned, never before. It may call the pgmap.
    /// If it panics, the folio is leaked and the pgmap never drains.
    fn folio_free(&self, folio: Freed<Self::Data>) -> AfterFree {
        let _ = folio;
        AfterFree::ByType
    }

    /// A folio is being split: called for each part but the first with the part's first page, then once with `None`.
    ///
    /// The answer is what the driver keeps with that part, or at last with the first one. The parts are in service, but nobody
    /// can find them yet. May be called in any context: must not sleep, cannot fail.
    fn folio_split(&self, whole: Freed<Self::Data>, part: Option<Offset>) -> Self::Data {
        let _ = part;
        whole.data
    }

    /// A page has been found bad, and whose it is. Called by whoever retires it and in that context: once per page, unless two find
    /// it bad at the same moment.
    fn memory_failure(&self, failure: Failure<Self::Data>) {
        let _ = failure;
    }

    /// Something has happened ([`Event`]); costs nothing unless the driver watches. In any context: must not sleep.
    #[inline]
    fn trace(&self, event: Event) {
        let _ = event;
    }

    /// Which line of [`MemoryType::TABLE`] holds for its memory; must always answer the same.
    fn memory_type(&self) -> MemoryType {
        MemoryType::DevicePrivate
    }

    /// The pgmap has been killed and is about to be drained: stop what keeps folios in service. Called once, by the first drain.
    fn quiesce(&self) {}

    /// The last folio is idle, no `folio_free` is running, and [`PgmapOps::quiesce`] has returned. Called once, by
    /// [`Drained::teardown`](crate::Drained::teardown).
    fn teardown(&self) {}
}

/// Nothing to keep, nothing to say.
impl PgmapOps for () {
    type Data = ();

    const HEARS_FREES: bool = false;
}

/// What happens to pages, for whoever keeps the books.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// So many are idle no more, and no owner pays for them.
    Taken(u64),
    /// So many are idle again.
    Back(u64),
    /// A folio that this owner has paid for has ended.
    Ended(Owner, Order),
    /// A folio of the first order that an owner has paid for consists of folios of the second one now, all paid for.
    Split(Order, Order),
}

/// A folio as the driver hears of it: one that has just left service, or is about to be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed<D> {
    /// Its first page.
    pub offset: Offset,
    /// Its order.
    pub order: Order,
    /// What the driver kept with it.
    pub data: D,
}

/// A page that has been found bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<D> {
    /// The page.
    pub offset: Offset,
    /// What stood there.
    pub owner: Lookup,
    /// What the driver kept with the folio, if it was a folio in service.
    pub data: Option<D>,
}

/// What becomes of the pages of a folio that has left service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFree {
    /// What the memory type says ([`MemoryType::TABLE`]).
    ByType,
    /// They are idle: anyone may allocate them. What they hold is not known.
    Release,
    /// The same, and all of them are zero: for a pool that tracks it ([`Params::tracking_clear`](crate::Params::tracking_clear)),
    /// else as `Release`. From a per-CPU handle too they go to the pool at once, which is where clear pages are looked for.
    ReleaseCleared,
    /// They stay with the driver, as a block without a folio ([`Pgmap::free_block_raw`](crate::Pgmap::free_block_raw) gives them back).
    Keep,
}
