//! Which tables a pool of a given size has, and where an offset falls in them.

use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::table::Table;

/// Levels a pool may have; with `WORDS` = 8 five of them hold 2^45 pages.
pub(crate) const LEVELS: usize = 5;

/// The order of the pages that one word of a table names.
pub(super) const WORD: Order = Order::clamped(6);

/// A run of entries in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// 0 for a PTE table, 1 for PMD, ...
    pub(crate) level: u32,
    /// Which table of that level.
    pub(crate) table: usize,
    /// Its first entry.
    pub(crate) entry: u32,
    /// The order of the run in entries.
    pub(crate) order: u32,
}

/// The geometry of a pool.
///
/// All tables stand in one array, level after level. Above the lowest level each table is followed by what says where to search
/// below it (`pool::listing`): the groups in which each class of its entries is to be found, and for each order of the levels further
/// down one table's worth of bits. The classes of all tables of a level stand side by side after these.
#[derive(Debug)]
pub(crate) struct Shape<const WORDS: usize> {
    /// Offsets below this one may belong to a range.
    pub(crate) pages: u64,
    /// The level of the one table on top.
    pub(crate) top: u32,
    base: [usize; 8],
    /// [`Shape::stride`] of each level: to be read, every access would work it out.
    strides: [usize; 8],
    classes: [usize; 8],
    /// How many entries of storage the array needs.
    pub(crate) storage: usize,
}

impl<const WORDS: usize> Shape<WORDS> {
    pub(crate) const RADIX: u32 = Table::<WORDS>::RADIX;

    /// `None` when the offsets, or the array, are too many.
    pub(crate) fn new(pages: u64) -> Option<Self> {
        let mut shape = Shape { pages, top: 0, base: [0; 8], strides: [0; 8], classes: [0; 8], storage: 0 };
        for level in 0..LEVELS {
            let tables = shape.tables(level as u32)?;
            shape.base[level] = shape.storage;
            shape.strides[level] = Self::stride(level as u32);
            shape.storage = shape.storage.checked_add(tables.checked_mul(Self::stride(level as u32))?)?;
            // A pool that fills a table exactly gets one above it, so that its largest run is an entry too.
            if pages >> (Self::RADIX * (level as u32 + 1)) == 0 {
                shape.top = level as u32;
                return shape.with_classes();
            }
        }
        None
    }

    /// Appends the classes.
    fn with_classes(mut self) -> Option<Self> {
        for level in 0..self.top {
            self.classes[level as usize & 7] = self.storage;
            let words = self.tables(level)?.div_ceil(Table::<WORDS>::CLASSES as usize);
            self.storage = self.storage.checked_add(words)?;
        }
        Some(self)
    }

    /// How many tables a level has; `None` when that cannot be counted.
    pub(crate) fn tables(&self, level: u32) -> Option<usize> {
        usize::try_from(self.pages.div_ceil(1 << (Self::RADIX * (level + 1)))).ok()
    }

    /// Array elements per table of a level: the table, and what says where to search below it.
    const fn stride(level: u32) -> usize {
        if level == 0 { 1 } else { Self::LISTS + ((level - 1) * Self::RADIX) as usize }
    }

    /// Where the groups stand after a table: behind its bits.
    const GROUPS: usize = 1;
    /// Where the lists stand after a table: behind the groups, which take a word per order.
    const LISTS: usize = Self::GROUPS + (Self::RADIX as usize).div_ceil(WORDS);

    /// Where in the array a table stands.
    #[inline(always)]
    pub(crate) fn table(&self, level: u32, table: usize) -> usize {
        // Those of the lowest level come first.
        let at = level as usize & 7;
        if level == 0 { table } else { self.base[at] + table * self.strides[at] }
    }

    /// Where in the array the class of a table stands, of a level below the top.
    #[inline(always)]
    pub(crate) fn class(&self, level: u32, table: usize) -> usize {
        self.classes[level as usize & 7] + table / Table::<WORDS>::CLASSES as usize
    }

    /// Where in the array it stands in which groups of entries of a table of `level >= 1` a class is to be found.
    #[inline(always)]
    pub(crate) fn groups(&self, level: u32, table: usize, order: u32) -> usize {
        self.table(level, table) + Self::GROUPS + order as usize / WORDS
    }

    /// Where in the array the list for runs of order `class` stands that belongs to a table of `level >= 2`.
    #[inline(always)]
    pub(crate) fn list(&self, level: u32, table: usize, class: u32) -> usize {
        self.table(level, table) + Self::LISTS + class as usize
    }

    /// The table and the entries that a run consists of.
    #[inline(always)]
    pub(crate) fn place(&self, run: Run) -> Place {
        self.place_at(run.order().get() / Self::RADIX, run)
    }

    /// [`Shape::place`] for a run that is known to be entries of `level`.
    #[inline(always)]
    pub(crate) fn place_at(&self, level: u32, run: Run) -> Place {
        let (table, entry) = self.entry(run.start(), level);
        Place { level, table, entry, order: run.order().get() - level * Self::RADIX }
    }

    /// The table and the entry of `level` that `offset` falls into. It lies in a range, or a window that was cut to the pool, so its table
    /// has been counted ([`Shape::tables`]), and its number is one on every machine.
    #[inline(always)]
    pub(crate) fn entry(&self, offset: Offset, level: u32) -> (usize, u32) {
        let index = offset.get() >> (level * Self::RADIX);
        ((index >> Self::RADIX) as usize, (index & (Table::<WORDS>::ENTRIES - 1)) as u32)
    }

    /// Where the run starts that a place stands for.
    #[inline(always)]
    pub(crate) fn start(&self, place: Place) -> Offset {
        let entry = (place.table as u64) << Self::RADIX | u64::from(place.entry);
        Offset::new(entry << (place.level * Self::RADIX))
    }

    /// The run that a place stands for.
    #[inline(always)]
    pub(crate) fn run(&self, place: Place) -> Run {
        let entry = (place.table as u64) << Self::RADIX | u64::from(place.entry);
        let order = Order::clamped(place.level * Self::RADIX + place.order);
        Run::around(entry << (place.level * Self::RADIX), order)
    }

    /// The entry of the table on top from which one of many callers goes out, so that they meet as late as can be.
    #[inline(always)]
    pub(crate) fn outset(&self, caller: usize, callers: usize) -> u32 {
        // Less than all of its entries: a pool that fills a table exactly has one above it.
        let used = (self.pages >> (self.top * Self::RADIX)) as usize;
        (used * caller / callers) as u32
    }

    /// The table below an entry.
    #[inline(always)]
    pub(crate) fn child(&self, table: usize, entry: u32) -> usize {
        table << Self::RADIX | entry as usize
    }

    /// The table above, and the entry in it.
    #[inline(always)]
    pub(crate) fn parent(&self, table: usize) -> (usize, u32) {
        (table >> Self::RADIX, (table & (Table::<WORDS>::ENTRIES as usize - 1)) as u32)
    }

    /// The order of a whole entry of `level`.
    pub(crate) fn entry_order(&self, level: u32) -> Order {
        Order::clamped(level * Self::RADIX)
    }
}
