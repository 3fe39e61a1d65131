//! Where to search: tables by the order of their largest idle run.
//!
//! # Protocol
//!
//! Above the lowest level each entry of a table has a *class*, four bits that say how the table below it is listed:
//!
//! | class | the table below the entry |
//! |---|---|
//! | 0 whole | is not in use: the entry is idle, taken, or outside |
//! | 1 split | may be in use, and has no idle run that must be found |
//! | 2 + order | is listed: its largest idle run has this order |
//! | 15 owned | is worked in by a handle (`pool::local`), and in no list; the handle lists it when it leaves |
//!
//! Sixteen entries share a word and make a *group*. For each order a word says which groups have an entry of that class, for each
//! order of the levels further down a *list* (a bit per entry) says below which entries there is such a table, and the summary says
//! of which orders there is one at all. A search for an order takes the lowest one that is not empty from the summary and follows it
//! down; it never looks at a table without a reason.
//!
//! All of this is a hint:
//! 1. A class is never too low: whoever makes a run idle sees to it, before his call returns, that the class of its table is that
//!    order or higher. Who raises a class sees to it that it can be found from the summary.
//! 2. It may be too high, or stand though the table has been merged. Whoever is misled looks at the table, lowers the class
//!    ([`GenPool::relist`]), and looks again: a release that relied on the class is seen then, or raises it itself.
//! 3. Groups, lists and the summary may name what is no longer there. Who lowers a class takes away what names it, if that was the last
//!    one there, and looks again, likewise; so does whoever is misled.
//! 4. Between taking away and looking again something may be hidden, and so it is between raising a class, which others rely on at
//!    once, and naming it: both are motions (`pool::motion`).
//! 5. Class 0 is never wrong about what is in use: who splits an entry, or gives pages below it back, raises its class, on all levels
//!    above too, and only who has claimed the whole table below sets it to 0, before the entry can be claimed. So a free of whole
//!    entries need not look below those of class 0. Another class may be wrong about it, which costs a look.
//! 6. A table whose entries are all idle but which has not been merged yet is listed at the highest order below that of the whole
//!    table.

use super::GenPool;
use super::shape::Place;
use super::tables::{CALLERS, Tables};
use crate::offset::Offset;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, order_after_write};
use crate::table::Table;

/// Not in use.
pub(super) const WHOLE: u8 = 0;
/// In use, and not listed.
pub(super) const SPLIT: u8 = 1;
/// Listed at order 0; one more for each order.
const LISTED: u8 = 2;
/// Worked in by a handle.
pub(super) const OWNED: u8 = 15;

/// Entries in a group.
pub(super) const GROUP: u32 = 16;

/// Which orders have a table listed: one bit each. A hint with the same rules as the lists.
///
/// 128 bytes because neighbouring lines are fetched in pairs, and this one is read by every search.
#[repr(align(128))]
pub(super) struct Summary(AtomicU64);

impl Summary {
    pub(super) fn new() -> Summary {
        Summary(AtomicU64::new(0))
    }

    /// The lowest order from `class` on that may have a table.
    #[inline(always)]
    fn next(&self, class: u32) -> Option<u32> {
        // SeqCst: as the lists themselves, `Table::insert` and `Table::remove` (rules 1 and 3).
        let from = self.0.load(Ordering::SeqCst) & (!0 << class);
        (from != 0).then(|| from.trailing_zeros())
    }

    /// The highest order that may have a table.
    fn highest(&self) -> Option<u32> {
        // SeqCst: as the lists themselves, `Table::insert` and `Table::remove` (rules 1 and 3).
        self.0.load(Ordering::SeqCst).checked_ilog2()
    }

    #[inline(always)]
    fn contains(&self, class: u32) -> bool {
        // SeqCst: as the lists themselves, `Table::insert` and `Table::remove` (rules 1 and 3).
        self.0.load(Ordering::SeqCst) & 1 << class != 0
    }

    fn insert(&self, class: u32) {
        // SeqCst: as the lists themselves, `Table::insert` and `Table::remove` (rules 1 and 3).
        self.0.fetch_or(1 << class, Ordering::SeqCst);
    }

    fn remove(&self, class: u32) {
        // SeqCst: as the lists themselves, `Table::insert` and `Table::remove` (rules 1 and 3).
        self.0.fetch_and(!(1 << class), Ordering::SeqCst);
        order_after_write();
    }
}

/// Searching.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// A table with an idle run of `order` or more, and the order that it is listed at: the lowest that can be had.
    #[inline]
    pub(super) fn propose(&self, caller: usize, order: u32) -> Option<(usize, u32)> {
        loop {
            let class = self.summary.next(order)?;
            if let Some(table) = self.listed(caller, class) {
                return Some((table, class));
            }
        }
    }

    /// The highest order at which a table may be listed.
    pub(super) fn highest_listed(&self) -> Option<u32> {
        self.summary.highest()
    }

    /// The lowest order from `order` on at which a table may be listed; beyond every order if none is.
    pub(super) fn lowest_listed(&self, order: Order) -> u32 {
        // A table that is wholly idle is listed one order lower than it could be (rule 6).
        self.summary.next(order.get()).filter(|class| class + 1 < Self::RADIX).unwrap_or(u32::MAX)
    }

    /// A table that is listed at `class`; `None` if there was only a stale name, which has been taken away.
    #[inline]
    pub(super) fn listed(&self, caller: usize, class: u32) -> Option<usize> {
        let tables = self.tables();
        let (level, order) = (class / Self::RADIX, class % Self::RADIX);
        // Each caller goes out from another entry on top, and from there upwards, so that they meet as late as can be; where packing counts
        // for more, all of them go out from the lowest.
        let caller = if self.fresh.has_places() { caller & (CALLERS - 1) } else { 0 };
        let (mut table, mut outset) = (0, self.shape.outset(caller, CALLERS));
        for above in (level + 2..=self.shape.top).rev() {
            let Some(entry) = tables.list(above, table, class).first_from(outset) else {
                return self.unlist_misleading(above, table, class);
            };
            table = self.shape.child(table, entry);
            outset = (Table::<WORDS>::ENTRIES as usize * caller / CALLERS) as u32;
        }
        let (groups, word) = tables.groups(level + 1, table, order);
        while let Some(group) = groups.first_in_from(word, outset / GROUP) {
            if let Some(entry) = self.in_group(tables, level + 1, table, group, order) {
                return Some(self.shape.child(table, entry));
            }
            self.leave_misleading(level + 1, table, group, class);
        }
        self.unlist_misleading(level + 1, table, class)
    }

    /// An entry of a group whose table is listed at an order of its level.
    #[inline(always)]
    fn in_group(&self, tables: Tables<'_, WORDS>, level: u32, table: usize, group: u32, order: u32) -> Option<u32> {
        let first = group * GROUP;
        let (classes, at) = tables.class(level - 1, self.shape.child(table, first));
        classes.find_class(at / GROUP, LISTED + order as u8).map(|entry| first + entry)
    }

    /// The entries of a table below which a table is listed with a run of `order` or more, or is worked in by a handle.
    pub(super) fn listed_below(&self, level: u32, table: usize, order: Order) -> [u64; WORDS] {
        let (tables, Some(under)) = (self.tables(), level.checked_sub(1)) else { return [0; WORDS] };
        let least = order.get().saturating_sub(under * Self::RADIX).min(u32::from(OWNED - LISTED));
        let mut below = core::array::from_fn(|word| {
            let groups = word as u32 * 4..word as u32 * 4 + 4;
            groups.rev().fold(0, |mask, group| {
                let (classes, at) = tables.class(under, self.shape.child(table, group * GROUP));
                mask << GROUP | classes.classes_from(at / GROUP, LISTED + least as u8)
            })
        });
        for class in order.get()..under * Self::RADIX {
            for (below, listed) in below.iter_mut().zip(tables.list(level, table, class).seen()) {
                *below |= listed;
            }
        }
        below
    }
}

/// Searching by something else than how tightly a run fits.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The first table of a level below the top, from one on, that is listed with a run of `order` (in its entries) or more.
    pub(super) fn next_listed(&self, level: u32, from: usize, order: u32) -> Option<usize> {
        let (tables, end) = (self.tables(), self.shape.tables(level + 1)?);
        let (mut above, mut first) = self.shape.parent(from);
        while above < end {
            let groups = |order| {
                let (groups, word) = tables.groups(level + 1, above, order);
                groups.note_word(word * 64)
            };
            let named = (order..Self::RADIX).fold(0, |any, order| any | groups(order));
            if named == 0 && level + 2 <= self.shape.top {
                // 64 tables above at a time.
                let (up, entry) = self.shape.parent(above);
                let list = |order| tables.list(level + 2, up, level * Self::RADIX + order).note_word(entry);
                let listed = (order..Self::RADIX).fold(0, |any, order| any | list(order)) >> (entry % 64) & !1;
                (above, first) = (above + listed.trailing_zeros().min(64 - entry % 64) as usize, 0);
                continue;
            }
            let mut left = named & !0 << (first / GROUP);
            while left != 0 {
                let group = left.trailing_zeros();
                left &= left - 1;
                let (classes, at) = tables.class(level, self.shape.child(above, group * GROUP));
                let mut listed = classes.classes_from(at / GROUP, LISTED + order as u8);
                if group == first / GROUP {
                    listed &= !0 << (first % GROUP);
                }
                while listed != 0 {
                    let entry = listed.trailing_zeros();
                    listed &= listed - 1;
                    if classes.class(at / GROUP * GROUP + entry) != OWNED {
                        return Some(self.shape.child(above, group * GROUP + entry));
                    }
                }
            }
            (above, first) = (above + 1, 0);
        }
        None
    }
}

/// Listing.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Sees to it that what was released into a word of a table below the top can be found, which is now `now` (rule 1). Says
    /// whether the whole table is idle.
    #[inline(always)]
    pub(super) fn ensure_found(&self, tables: Tables<'_, WORDS>, caller: impl FnOnce() -> usize, place: Place, now: u64) -> bool {
        if self.is_covered(tables, place, now) {
            return false;
        }
        let Place { level, table, entry, order } = place;
        let grown = tables.table(level, table).grown_to(entry, order, now);
        if level == 0 {
            self.ensure_found_grown(caller(), table, entry, grown);
        } else {
            self.ensure_listed(level, table, grown);
        }
        grown == Self::RADIX
    }

    /// Whether what was released into a word, which is now `now`, can be found by the class that its table has.
    #[inline(always)]
    pub(super) fn is_covered(&self, tables: Tables<'_, WORDS>, Place { level, table, entry, order }: Place, now: u64) -> bool {
        // Release, then look at the class: against "lower the class, then look at the table" in `relist`.
        order_after_write();
        let (classes, at) = tables.class(level, table);
        let class = classes.class(at);
        if now == !0 || class < LISTED + order as u8 || class == OWNED {
            return false;
        }
        // It may have grown to a larger run than the table is listed for. Whoever raised the class marks the motion until all that
        // names it does (rule 4).
        let above = u32::from(class - LISTED) + 1;
        above > 5 || !Table::<WORDS>::is_within(entry, above, now)
    }

    /// Sees to it that the idle run of `grown` that an entry of the lowest level is part of can be found (rule 1).
    #[inline(never)]
    pub(super) fn ensure_found_grown(&self, caller: usize, table: usize, entry: u32, grown: u32) {
        let tables = self.tables();
        let (classes, at) = tables.class(0, table);
        let class = classes.class(at);
        let start = Offset::new((table as u64) << Self::RADIX | u64::from(entry >> grown << grown));
        let fresh = grown < Self::RADIX && class >= SPLIT && class < LISTED + grown as u8;
        if !(fresh && self.keep_fresh(tables, caller, start, grown)) {
            self.ensure_listed(0, table, grown);
        }
    }

    /// Sees to it that a table with an idle run of `order` (in its entries) can be found by a search for that order (rule 1).
    #[inline]
    pub(super) fn ensure_listed(&self, level: u32, table: usize, order: u32) {
        if level == self.shape.top {
            return;
        }
        // As in `ensure_found`.
        order_after_write();
        let (classes, at) = self.tables().class(level, table);
        let class = classes.class(at);
        let wanted = LISTED + order.min(Self::RADIX - 1) as u8;
        if class == OWNED {
            self.mark_split_above(level, table);
        } else if class < wanted {
            self.raise(level, table, wanted);
        }
    }

    /// Lists a table that has just been split off an entry, a half of which is wholly idle. The caller has marked the motion.
    pub(super) fn list_split(&self, level: u32, table: usize) {
        order_after_write();
        self.raise_and_name(level, table, LISTED + Self::RADIX as u8 - 1);
    }

    /// Raises the class of a table, and sees to it that it can be found.
    #[inline(never)]
    fn raise(&self, level: u32, table: usize, wanted: u8) {
        // Others rely on the class from now on (rule 4).
        let _moving = self.motion.begin();
        self.raise_and_name(level, table, wanted);
    }

    /// Raises the class of a table, unless it is high enough, and names it. The caller has marked the motion.
    fn raise_and_name(&self, level: u32, table: usize, wanted: u8) {
        let tables = self.tables();
        let (classes, at) = tables.class(level, table);
        let class = classes.raise_class(at, wanted).max(wanted);
        // Raise, then look at what names it: against "take the name away, then look at the class" in `leave_group`.
        order_after_write();
        self.mark_split_above(level, table);
        if class != OWNED {
            let (above, entry) = self.shape.parent(table);
            self.ensure_named(tables, level + 1, above, entry / GROUP, level * Self::RADIX + u32::from(class - LISTED));
        }
    }

    /// Sees to it that a group that has an entry of a class can be found.
    #[inline(always)]
    fn ensure_named(&self, tables: Tables<'_, WORDS>, level: u32, table: usize, group: u32, class: u32) {
        let (groups, word) = tables.groups(level, table, class % Self::RADIX);
        if !groups.contains(word * 64 + group) {
            groups.insert(word * 64 + group);
            // Insert here, then read above: against "remove above, then look here" in `unlist_empty`.
            order_after_write();
        }
        self.enlist(tables, level, table, class);
    }

    /// Lists what is below a table at `class`, all the way up.
    #[inline(always)]
    fn enlist(&self, tables: Tables<'_, WORDS>, level: u32, mut table: usize, class: u32) {
        for above in level + 1..=self.shape.top {
            let (up, entry) = self.shape.parent(table);
            let list = tables.list(above, up, class);
            if !list.contains(entry) {
                list.insert(entry);
                // As in `ensure_named`.
                order_after_write();
            }
            table = up;
        }
        if !self.summary.contains(class) {
            self.summary.insert(class);
        }
    }

    /// Notes that the tables above a table are in use (rule 5).
    fn mark_split_above(&self, level: u32, mut table: usize) {
        let tables = self.tables();
        for above in level + 1..self.shape.top {
            (table, _) = self.shape.parent(table);
            let (classes, at) = tables.class(above, table);
            if classes.class(at) == WHOLE {
                classes.raise_class(at, SPLIT);
            }
        }
    }

    /// Puts right a listing at `class` that did not hold what it promised; says the order of the largest idle run in the table.
    #[cold]
    pub(super) fn relist(&self, level: u32, table: usize, class: u32) -> Option<u32> {
        if level == self.shape.top {
            return None;
        }
        let here = self.table(level, table);
        let seen = here.seen();
        let largest = Table::largest_in(seen);
        let (from, to) = (LISTED + (class % Self::RADIX) as u8, Self::class_for(largest));
        if to == from {
            return largest;
        }
        // Until the second look a release that relied on the class may be hidden.
        let _moving = self.motion.begin();
        if to < from && self.change(level, table, from, to) && same(here.seen(), seen) {
            return largest;
        }
        // Or else a larger run came back, and a place names it (`fresh`).
        self.list_anew(level, table)
    }

    /// [`GenPool::relist`] at whatever class the table has.
    #[cold]
    pub(super) fn settle(&self, level: u32, table: usize) {
        if level == self.shape.top {
            return;
        }
        let (classes, at) = self.tables().class(level, table);
        if let class @ LISTED..OWNED = classes.class(at) {
            self.relist(level, table, level * Self::RADIX + u32::from(class - LISTED));
        }
    }

    /// Does something while a table is not listed, neither at `class` nor elsewhere: others see that it is in motion. `None` if it was
    /// not listed there.
    pub(super) fn without<T>(&self, (table, class): (usize, u32), look: impl FnOnce() -> Option<T>) -> Option<T> {
        let level = class / Self::RADIX;
        let _moving = self.motion.begin();
        if !self.change(level, table, LISTED + (class % Self::RADIX) as u8, SPLIT) {
            return None;
        }
        let seen = look();
        self.list_anew(level, table);
        seen
    }

    /// Lists a table by what it has; says the order of the largest idle run in it. The caller has marked the motion.
    pub(super) fn list_anew(&self, level: u32, table: usize) -> Option<u32> {
        let largest = self.table(level, table).largest();
        if largest.is_some() {
            self.raise_and_name(level, table, Self::class_for(largest));
        }
        largest
    }

    /// The class of a table whose largest idle run has this order.
    fn class_for(largest: Option<u32>) -> u8 {
        largest.map_or(SPLIT, |largest| LISTED + largest.min(Self::RADIX - 1) as u8)
    }

    /// Changes the class of a table, and what names it; `false` if it is not what it was said to be. What is read afterwards comes
    /// after it. The caller has marked the motion.
    fn change(&self, level: u32, table: usize, from: u8, to: u8) -> bool {
        let tables = self.tables();
        let (classes, at) = tables.class(level, table);
        let Some(last) = classes.change_class(at, from, to) else { return false };
        let (above, entry) = self.shape.parent(table);
        let class = |class: u8| level * Self::RADIX + u32::from(class - LISTED);
        if let LISTED..OWNED = to {
            self.ensure_named(tables, level + 1, above, entry / GROUP, class(to));
        }
        if let LISTED..OWNED = from
            && last
        {
            self.leave_group(level + 1, above, entry / GROUP, class(from));
        }
        true
    }

    /// Takes the name of a group away in which nothing is of a class (rule 3). The caller has marked the motion.
    fn leave_group(&self, level: u32, table: usize, group: u32, class: u32) {
        let tables = self.tables();
        let (groups, word) = tables.groups(level, table, class % Self::RADIX);
        let last = groups.remove_in(word, group);
        if self.in_group(tables, level, table, group, class % Self::RADIX).is_some() {
            self.ensure_named(tables, level, table, group, class);
        } else if last {
            self.unlist_empty(level, table, class);
        }
    }

    /// Takes the name of a group away that misled (rule 3).
    #[cold]
    fn leave_misleading(&self, level: u32, table: usize, group: u32, class: u32) {
        let _moving = self.motion.begin();
        self.leave_group(level, table, group, class);
    }

    /// Says that there is nothing, and takes the names away that said there was.
    #[cold]
    fn unlist_misleading(&self, level: u32, table: usize, class: u32) -> Option<usize> {
        let _moving = self.motion.begin();
        self.unlist_empty(level, table, class);
        None
    }

    /// If nothing below a table is listed at `class`, takes the table's own listing at that class away, and so on up to the summary.
    ///
    /// Each step is followed by a second look: somebody may have listed a table meanwhile and relied on what was above (rule 3).
    fn unlist_empty(&self, mut level: u32, mut table: usize, class: u32) {
        let tables = self.tables();
        let empty = |level, table| {
            if level == class / Self::RADIX + 1 {
                let (groups, word) = tables.groups(level, table, class % Self::RADIX);
                groups.first_in(word).is_none()
            } else {
                tables.list(level, table, class).first().is_none()
            }
        };
        while empty(level, table) {
            if level >= self.shape.top {
                self.summary.remove(class);
                if !empty(level, table) {
                    self.summary.insert(class);
                }
                return;
            }
            let (above, entry) = self.shape.parent(table);
            tables.list(level + 1, above, class).remove(entry);
            if !empty(level, table) {
                return self.enlist(tables, level, table, class);
            }
            (level, table) = (level + 1, above);
        }
    }
}

/// Tables of the lowest level that handles work in.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Makes a table that is listed at `class` a handle's; `false` if it is not listed there any more. Releases no longer list it.
    pub(super) fn own_listed(&self, table: usize, class: u32) -> bool {
        self.change(0, table, LISTED + class as u8, OWNED)
    }

    /// Makes a table a handle's whose entry above is the caller's.
    pub(super) fn own_whole(&self, table: usize) {
        self.raise(0, table, OWNED);
    }

    /// Makes a table nobody's, and lists it by what it has. The caller has marked the motion.
    pub(super) fn disown(&self, table: usize) {
        self.change(0, table, OWNED, Self::class_for(self.table(0, table).largest()));
        self.list_anew(0, table);
    }

    /// Whether a table of the lowest level belongs to a handle.
    pub(super) fn is_owned(&self, table: usize) -> bool {
        let (classes, at) = self.tables().class(0, table);
        classes.class(at) == OWNED
    }
}

/// Whether all words are the same.
#[inline(always)]
fn same<const WORDS: usize>(one: [u64; WORDS], other: [u64; WORDS]) -> bool {
    one.iter().zip(&other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

/// For the audit.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Whether a search for `order` (in the entries of the table) finds a table, or a handle answers for it.
    pub(super) fn can_be_found(&self, level: u32, table: usize, order: u32) -> bool {
        let (tables, (above, entry)) = (self.tables(), self.shape.parent(table));
        let (classes, at) = tables.class(level, table);
        let class = classes.class(at);
        if class == OWNED {
            return level == 0;
        }
        let Some(listed) = class.checked_sub(LISTED).map(u32::from).filter(|&listed| listed >= order.min(Self::RADIX - 1)) else {
            return false;
        };
        let class = level * Self::RADIX + listed;
        let (groups, word) = tables.groups(level + 1, above, listed);
        let mut here = above;
        groups.contains(word * 64 + entry / GROUP)
            && self.summary.contains(class)
            && (level + 2..=self.shape.top).all(|at| {
                let (up, entry) = self.shape.parent(here);
                here = up;
                tables.list(at, up, class).contains(entry)
            })
    }
}

const _: () = assert!(LISTED as u32 + Table::<16>::RADIX <= OWNED as u32);
