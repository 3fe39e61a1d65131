//! The physical ranges behind the offsets: who owns which offset, and the only place where an offset meets an address.
//!
//! Each range has a slot, which it keeps as long as it is there. Two trees name the slots in order, one by offset and one by address.
//! So to look a page up, either way, to add a range and to take one away is O(log n) in the number of ranges.
//!
//! | | file |
//! |---|---|
//! | which offsets a range gets | `placing` |
//! | room for one range, and what is below it in the trees | `slot` |
//! | the trees | `tree` |
//! | free slots, gaps, largest runs: for the writer | `book` |
//! | a range that comes, grows or goes | `change` |
//!
//! # Protocol
//!
//! There are two copies of the trees, and a word that says which one holds.
//!
//! 1. Readers read the word, then the copy that it names and the slots that they find there, then the word again: if it is the same,
//!    what they read is one table. They never wait: the writer writes the other copy, and a reader starts over only
//!    after a change.
//! 2. One caller at a time changes the ranges, the *writer*; a second one is refused. The writer changes the copy that does not hold,
//!    then the word, and then the other copy, on which no reader relies any more. So both are the same between two changes.
//! 3. A slot is written while it is in neither copy. Only a range that grows is written while it can be found: its length, in one word.

mod placing;
mod slot;
mod tree;
mod book;
mod change;
#[cfg(all(test, feature = "alloc", not(loom)))]
mod tests;

use book::Book;
pub(crate) use change::Change;
pub use placing::{NewRange, PlacedRange};
pub(super) use placing::{bytes_of, most_offsets, place_behind, unsound};
pub use slot::RangeSlot;
use slot::{By, Name};
use tree::{Tree, slot};

use crate::memory::Memory;
use crate::offset::{Offset, Phys};
use crate::order::Order;
use crate::sync::{AtomicU32, AtomicU64, Ordering, TryLock};

/// Says that there is but one range, and that it is in another slot than the first.
const ELSEWHERE: u64 = 1 << 31;

/// The ranges of a pool.
pub(crate) struct Ranges<'s> {
    slots: Memory<'s, RangeSlot>,
    /// Changes so far (the lowest bit names the copy that holds) << 32 | how many ranges, and [`ELSEWHERE`].
    table: AtomicU64,
    /// Of each copy: the root of the tree by offset << 32 | the root of the tree by address.
    roots: [AtomicU64; 2],
    /// How many pages all ranges have.
    pages: AtomicU64,
    /// The order of the largest run in any range. Never too low: raised before a range's first page is idle, lowered after its
    /// last one is gone.
    largest: AtomicU32,
    book: TryLock<Book>,
    /// No run is larger than this one: the tables end there.
    limit: Order,
    page_shift: u32,
}

/// One of the two copies, as its word and its roots say.
#[derive(Clone, Copy)]
struct Copied<'r> {
    slots: &'r Memory<'r, RangeSlot>,
    table: u64,
    roots: u64,
}

impl<'r> Copied<'r> {
    fn tree(&self, by: By) -> Tree<'r> {
        Tree { slots: self.slots, by, copy: (self.table >> 32) as usize & 1 }
    }

    fn root(&self, by: By) -> Name {
        if by == By::Offset { (self.roots >> 32) as Name } else { self.roots as Name }
    }

    fn count(&self) -> u32 {
        (self.table & (ELSEWHERE - 1)) as u32
    }

    /// The first range, in this order, of which `is_past` holds.
    #[inline]
    fn first(&self, by: By, is_past: impl Fn(&RangeSlot) -> bool) -> Name {
        self.tree(by).first(self.root(by), self.count(), is_past)
    }

    /// The last range, in this order, of which `is_before` holds.
    #[inline]
    fn last(&self, by: By, is_before: impl Fn(&RangeSlot) -> bool) -> Name {
        self.tree(by).last(self.root(by), self.count(), is_before)
    }

    /// The range that `offset` belongs to, or the next one.
    #[inline]
    fn at_or_after(&self, offset: Offset) -> Option<&'r RangeSlot> {
        slot(self.slots, self.first(By::Offset, |slot| slot.bounds().1 > offset.get()))
    }
}

impl<'s> Ranges<'s> {
    /// No ranges yet.
    pub(crate) fn new(slots: Memory<'s, RangeSlot>, page_shift: u32, limit: Order) -> Self {
        Ranges {
            slots,
            table: AtomicU64::new(0),
            roots: [AtomicU64::new(0), AtomicU64::new(0)],
            pages: AtomicU64::new(0),
            largest: AtomicU32::new(0),
            book: TryLock::new(Book::new()),
            limit,
            page_shift,
        }
    }

    /// Reads one table (rule 1). Lock-free: starts over only after a change.
    #[inline]
    fn read<T>(&self, read: impl Fn(Copied<'_>) -> T) -> T {
        self.read_named(|table| read(self.copied(table)))
    }

    /// [`Ranges::read`] of the table that a word names.
    #[inline(always)]
    fn read_named<T>(&self, read: impl Fn(u64) -> T) -> T {
        // Acquire: pairs with `Ranges::relink`, whose copy is complete once its word is seen.
        let mut seen = self.table.load(Ordering::Acquire);
        loop {
            let found = read(seen);
            // Acquire: only to start over with; that it comes after the fields is the Acquire of `RangeSlot::load`.
            let now = self.table.load(Ordering::Acquire);
            if now == seen {
                return found;
            }
            seen = now;
        }
    }

    fn copied(&self, table: u64) -> Copied<'_> {
        // Acquire: as in `RangeSlot::load`.
        let roots = self.roots[(table >> 32) as usize & 1].load(Ordering::Acquire);
        Copied { slots: &self.slots, table, roots }
    }

    /// The order of the largest run in any range.
    #[inline]
    pub(crate) fn largest(&self) -> Order {
        // Relaxed: a bound, not a promise; see `largest`.
        Order::clamped(self.largest.load(Ordering::Relaxed))
    }

    /// All ranges, in rising order of offset; one that comes or goes meanwhile may be missed. O(log n) for each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PlacedRange> {
        core::iter::successors(self.at_or_after(Offset::new(0)), |range| self.at_or_after(range.end()))
    }

    /// How many pages they have together.
    pub(crate) fn pages(&self) -> u64 {
        // Relaxed: a number, nothing hangs on it.
        self.pages.load(Ordering::Relaxed)
    }

    /// The range that `offset` belongs to.
    #[inline]
    pub(crate) fn of(&self, offset: Offset) -> Option<PlacedRange> {
        self.at_or_after(offset).filter(|range| range.first <= offset)
    }

    /// Whether there is but one range, as in most pools, and these pages lie in it.
    #[inline(always)]
    pub(super) fn is_in_the_only_one(&self, first: Offset, end: Offset) -> bool {
        // Acquire, both: as in `read_named`.
        let table = self.table.load(Ordering::Acquire);
        let bounds = if table as u32 == 1 { self.slots.get(0).map(RangeSlot::bounds) } else { None };
        bounds.is_some_and(|bounds| bounds.0 <= first.get() && end.get() <= bounds.1) && self.table.load(Ordering::Acquire) == table
    }

    /// The first offset after the range that `offset` belongs to.
    #[inline]
    pub(crate) fn end_of(&self, offset: Offset) -> Option<Offset> {
        let bounds = self.read_named(|table| {
            // Most pools have one range.
            if table as u32 == 1 { self.slots.get(0).map(RangeSlot::bounds) } else { self.bounds_among(table, offset) }
        });
        bounds.filter(|&(first, end)| first <= offset.get() && offset.get() < end).map(|(_, end)| Offset::new(end))
    }

    #[inline(never)]
    fn bounds_among(&self, table: u64, offset: Offset) -> Option<(u64, u64)> {
        self.copied(table).at_or_after(offset).map(RangeSlot::bounds)
    }

    /// The range that `offset` belongs to, or the next one.
    #[inline]
    pub(crate) fn at_or_after(&self, offset: Offset) -> Option<PlacedRange> {
        self.read(|ranges| ranges.at_or_after(offset).map(RangeSlot::range))
    }

    /// The physical address of a page.
    pub(crate) fn phys(&self, offset: Offset) -> Option<Phys> {
        let range = self.of(offset)?;
        Some(Phys(range.phys.0 + ((offset.get() - range.first.get()) << self.page_shift)))
    }

    /// How much larger the numbers of a range's pages of physical memory are than its offsets; wraps around.
    pub(super) fn ahead(&self, range: &PlacedRange) -> u64 {
        (range.phys.0 >> self.page_shift).wrapping_sub(range.first.get())
    }

    /// The page that a physical address lies in.
    pub(crate) fn offset_of(&self, phys: Phys) -> Option<Offset> {
        let range = self.read(|ranges| {
            let name = ranges.last(By::Phys, |slot| slot.key(By::Phys) <= phys.0);
            slot(ranges.slots, name).map(RangeSlot::range)
        })?;
        let page = phys.0.checked_sub(range.phys.0)? >> self.page_shift;
        (page < range.pages).then(|| Offset::new(range.first.get() + page))
    }

    /// Becomes the writer, unless there is one.
    pub(crate) fn change(&self) -> Option<Change<'_>> {
        Some(Change { ranges: self, book: self.book.try_lock()? })
    }
}

/// What happens to a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relink {
    In,
    Out,
}

/// For the writer.
impl Ranges<'_> {
    /// The copy that holds.
    fn now(&self) -> Copied<'_> {
        // Relaxed: only the writer writes it.
        self.copied(self.table.load(Ordering::Relaxed))
    }

    /// Puts a slot in, or takes it out (rule 2).
    fn relink(&self, what: Relink, name: Name) {
        let now = self.now();
        let changes = (now.table >> 32).wrapping_add(1);
        let count = if what == Relink::In { now.count() + 1 } else { now.count().saturating_sub(1) };
        let root = self.relink_copy(changes as usize & 1, what, name);
        let elsewhere = if count == 1 && root != 1 { ELSEWHERE } else { 0 };
        // Release: pairs with `read_named`.
        self.table.store(changes << 32 | elsewhere | u64::from(count), Ordering::Release);
        self.relink_copy(!changes as usize & 1, what, name);
    }

    /// Changes one copy; its root by offset.
    fn relink_copy(&self, copy: usize, what: Relink, name: Name) -> Name {
        let word = &self.roots[copy];
        // Relaxed: only the writer writes it.
        let roots = word.load(Ordering::Relaxed);
        let relink = |by, mut root: Name| {
            let tree = Tree { slots: &self.slots, by, copy };
            match what {
                Relink::In => tree.insert(&mut root, name),
                Relink::Out => tree.remove(&mut root, name),
            }
            root
        };
        let (by_offset, by_phys) = (relink(By::Offset, (roots >> 32) as Name), relink(By::Phys, roots as Name));
        // Release: pairs with `copied`.
        word.store(u64::from(by_offset) << 32 | u64::from(by_phys), Ordering::Release);
        by_offset
    }

    /// The order of the largest run in a range.
    fn largest_in(&self, range: &PlacedRange) -> u32 {
        super::runs_of(range.first.get(), range.end().get(), self.limit).map(|run| run.order().get()).max().unwrap_or(0)
    }

    /// So many pages more or fewer, and the order of the largest run now.
    fn set_sizes(&self, largest: u32, pages: u64, comes: bool) {
        // Relaxed, all: numbers, see `largest` and `pages`.
        if comes {
            self.pages.fetch_add(pages, Ordering::Relaxed);
        } else {
            self.pages.fetch_sub(pages, Ordering::Relaxed);
        }
        self.largest.store(largest, Ordering::Relaxed);
    }
}
