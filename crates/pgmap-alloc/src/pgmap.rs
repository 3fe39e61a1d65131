//! A pgmap: device memory whose pages are idle, or in service as folios of any order.

use crate::data::{DataCell, DriverData};
use crate::error::BuildError;
use crate::folios::Folios;
use crate::leaving::Leaving;
use crate::lifetime::Lifetime;
use crate::marks::Marks;
use crate::memory::{Memory, look_fresh, refresh};
use crate::offset::{Offset, Phys};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pool::{GenPool, Params, PlacedRange, PoolNeeds, RangeSlot};
use crate::state::Word;
use crate::table::Table;
use crate::waiters::{WaitSlot, Waiters};

/// How much metadata a pgmap needs, in elements of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageNeeded {
    /// Tables; see [`PoolNeeds::tables`].
    pub tables: usize,
    /// Range slots.
    pub ranges: usize,
    /// Folio words: one for each offset, touched only where a folio has started.
    pub words: usize,
    /// Data cells: one for each offset, none if the driver keeps nothing; one more for each with [`Charging`](crate::Charging).
    pub data: usize,
}

/// How much metadata a pgmap with these parameters and this driver needs.
pub fn storage_needed<O: PgmapOps, const WORDS: usize>(params: &Params<'_>) -> Result<StorageNeeded, BuildError> {
    let needs = PoolNeeds::of::<WORDS>(params)?;
    let pages = usize::try_from(needs.pages).map_err(|_| BuildError::Unaddressable)?;
    let kinds = usize::from(O::Data::STORED) + usize::from(O::KEEPS_BOOKS);
    let data = pages.checked_mul(kinds).ok_or(BuildError::Unaddressable)?;
    Ok(StorageNeeded { tables: needs.tables, ranges: needs.ranges, words: pages, data })
}

/// Where the cells begin that say who pays.
fn charges<O: PgmapOps>(needed: &StorageNeeded) -> usize {
    if O::Data::STORED { needed.words } else { 0 }
}

/// Metadata that the caller lends to a pgmap.
///
/// [`Pgmap::with_storage`] makes it as new. All-zero memory is as new, so [`Pgmap::with_zeroed_storage`] need not touch memory that the
/// operating system zeroes when it is first touched.
pub struct Storage<'s, const WORDS: usize = 8> {
    /// See [`StorageNeeded::tables`].
    pub tables: &'s mut [Table<WORDS>],
    /// See [`StorageNeeded::ranges`].
    pub ranges: &'s mut [RangeSlot],
    /// See [`StorageNeeded::words`].
    pub words: &'s mut [Word],
    /// See [`StorageNeeded::data`].
    pub data: &'s mut [DataCell],
}

/// A set of device-memory ranges, its pages idle or in service.
///
/// Every verb takes `&self`. Unless it says otherwise it is lock-free, allocates nothing, never sleeps and may be called from
/// any context, interrupts included.
pub struct Pgmap<'s, O: PgmapOps, const WORDS: usize = 8> {
    pub(crate) pool: GenPool<'s, WORDS>,
    pub(crate) folios: Folios<'s>,
    pub(crate) lifetime: Lifetime,
    pub(crate) marks: Marks,
    pub(crate) leaving: Leaving,
    pub(crate) waiters: Waiters<'s>,
    ops: O,
    page_shift: u32,
}

#[cfg(feature = "alloc")]
impl<O: PgmapOps> Pgmap<'static, O> {
    /// Builds a pgmap that owns its metadata: 1 bit and 8 bytes per page (8 more with driver data), of which only what is used
    /// is ever touched.
    pub fn new(params: &Params<'_>, ops: O) -> Result<Self, BuildError> {
        Self::boxed(params, ops)
    }
}

impl<'s, O: PgmapOps, const WORDS: usize> Pgmap<'s, O, WORDS> {
    /// Builds a pgmap over metadata that the caller lends, whatever it was used for before. Needs no allocator.
    ///
    /// O(metadata): all that is needed is read, 8 bytes per page and more, and written where it is not zero.
    /// [`Pgmap::with_zeroed_storage`] is for large pgmaps.
    pub fn with_storage(params: &Params<'_>, storage: Storage<'s, WORDS>, ops: O) -> Result<Self, BuildError> {
        let (needed, Storage { tables, ranges, words, data }) = Self::check_storage(params, storage)?;
        let pool = GenPool::with_storage(params, tables, ranges)?;
        refresh(words);
        refresh(data);
        let folios = Folios::new(Memory::Lent(words), Memory::Lent(data), charges::<O>(&needed));
        Ok(Self::assemble(pool, folios, ops, params.page_shift))
    }

    /// Builds a pgmap over lent metadata that the caller knows to be zero, such as fresh memory from the operating system. Only the
    /// tables at the edges of ranges and what is checked are touched. Needs no allocator.
    ///
    /// Refused with [`BuildError::UsedStorage`] as by [`GenPool::with_zeroed_storage`], or if one of the first 64 words or data cells is
    /// not zero. The range slots give away the storage of an earlier pgmap. The rest is trusted: if it is not zero, pages may be
    /// handed out twice.
    pub fn with_zeroed_storage(params: &Params<'_>, storage: Storage<'s, WORDS>, ops: O) -> Result<Self, BuildError> {
        let (needed, Storage { tables, ranges, words, data }) = Self::check_storage(params, storage)?;
        if !look_fresh(words) || !look_fresh(data) {
            return Err(BuildError::UsedStorage);
        }
        let pool = GenPool::with_zeroed_storage(params, tables, ranges)?;
        let folios = Folios::new(Memory::Lent(words), Memory::Lent(data), charges::<O>(&needed));
        Ok(Self::assemble(pool, folios, ops, params.page_shift))
    }

    /// As much of the caller's words and cells as is needed, if it is enough: what lies beyond is nobody's.
    fn check_storage(params: &Params<'_>, storage: Storage<'s, WORDS>) -> Result<(StorageNeeded, Storage<'s, WORDS>), BuildError> {
        let needed = storage_needed::<O, WORDS>(params)?;
        let Storage { tables, ranges, words, data } = storage;
        let given = (words.len(), data.len());
        let words = words.get_mut(..needed.words).ok_or(BuildError::WordStorage { needed: needed.words, given: given.0 })?;
        let data = data.get_mut(..needed.data).ok_or(BuildError::DataStorage { needed: needed.data, given: given.1 })?;
        Ok((needed, Storage { tables, ranges, words, data }))
    }

    /// [`Pgmap::new`] for tables of any size: models and exhaustive tests want tiny ones.
    #[cfg(feature = "alloc")]
    pub fn boxed(params: &Params<'_>, ops: O) -> Result<Self, BuildError> {
        let needed = storage_needed::<O, WORDS>(params)?;
        let words = Memory::boxed(needed.words).ok_or(BuildError::OutOfMemory)?;
        let data = Memory::boxed(needed.data).ok_or(BuildError::OutOfMemory)?;
        let pool = GenPool::boxed(params)?;
        let folios = Folios::new(words, data, charges::<O>(&needed));
        Ok(Self::assemble(pool, folios, ops, params.page_shift))
    }

    fn assemble(pool: GenPool<'s, WORDS>, folios: Folios<'s>, ops: O, page_shift: u32) -> Self {
        Pgmap {
            pool,
            folios,
            lifetime: Lifetime::new(),
            marks: Marks::new(),
            leaving: Leaving::new(),
            waiters: Waiters::new(),
            ops,
            page_shift,
        }
    }

    /// Adds wait slots to the 64 that are built in. Each serves one wait ([`Pgmap::until_idle`], [`Pgmap::until_frozen`]) or one closed
    /// gate ([`Pgmap::gate`]) at a time. Replaces slots that were lent before.
    #[must_use]
    pub fn lend_wait_slots(mut self, slots: &'s mut [WaitSlot]) -> Self {
        // Whoever waited in them before waits for another pgmap, or never gave them back.
        slots.iter_mut().for_each(|slot| *slot = WaitSlot::new());
        self.waiters.lend(slots);
        self
    }

    /// The driver's side.
    pub fn ops(&self) -> &O {
        &self.ops
    }

    /// Whether it has been killed.
    pub fn is_dying(&self) -> bool {
        self.lifetime.now().is_dying()
    }

    /// How many pages it has, idle or not. O(number of ranges).
    pub fn pages(&self) -> u64 {
        self.pool.size()
    }

    /// The base-2 logarithm of the page size in bytes.
    pub fn page_shift(&self) -> u32 {
        self.page_shift
    }

    /// The largest order that it holds when empty.
    pub fn largest_order(&self) -> Order {
        self.pool.largest_order()
    }

    /// Its physical ranges and the offsets that they were given, in rising order of offset.
    pub fn ranges(&self) -> impl Iterator<Item = PlacedRange> {
        self.pool.ranges()
    }

    /// The physical address of a page: for programming hardware. O(log n) in the number of ranges.
    pub fn phys(&self, offset: Offset) -> Option<Phys> {
        self.pool.phys(offset)
    }

    /// The page that a physical address lies in: for fault handlers and diagnostics. O(log n) in the number of ranges.
    pub fn offset_of(&self, phys: Phys) -> Option<Offset> {
        self.pool.offset_of(phys)
    }
}
