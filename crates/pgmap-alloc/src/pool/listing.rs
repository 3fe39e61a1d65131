//! Lists of partial tables, by the order of their largest idle run.
//!
//! Every table above the lowest level has, beside its bits, one list (a bit per entry) for each order that the tables below it
//! can hold: "below this entry there is a table whose largest idle run has this order". A search for an order takes the lowest
//! list that is not empty and follows it down; it never looks at a table without a reason.
//!
//! Lists are hints:
//! - A table may be listed too high, or in several lists, or though it has been merged; whoever comes by such a listing and
//!   fails puts it right ([`GenPool::relist`]). That costs him one look at the table.
//! - A table is never listed too low: whoever makes a run of some order idle sees to it that the table is listed at that order
//!   or higher before its call returns.
//! - Taking a listing away comes before a look at the table that says where it belongs, and the whole is a motion
//!   (`pool::motion`), so that a release that relied on the listing is not lost.
//! - A list may be marked as having members when it is empty; whoever takes its last member away, or is misled, takes the mark away.
//! - A table that a handle works in (`pool::local`) is in no list but marked as owned; the handle lists it when it leaves.
//! - Beside its lists a table has a set of the entries that are split, so that a free of whole entries knows at once that no
//!   page below them is idle. It may name too many entries, never too few: who splits an entry or lists the table below marks
//!   it, who merges it takes the mark away.
//! - A table whose entries are all idle but which has not been merged yet is listed at the highest order below that of the
//!   whole table.

use super::GenPool;
use super::shape::Place;
use super::tables::Tables;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, order_after_write};
use crate::table::Table;

/// Which lists of the table on top have a member: one bit per order. A hint like the lists, with the same rules.
///
/// 128 bytes because neighbouring lines are fetched in pairs, and this one is read by every search.
#[repr(align(128))]
pub(super) struct Summary(AtomicU64);

impl Summary {
    pub(super) fn new() -> Summary {
        Summary(AtomicU64::new(0))
    }

    /// The lowest order from `class` on whose list may have a member.
    #[inline]
    fn next(&self, class: u32) -> Option<u32> {
        // SeqCst: as the lists themselves.
        let from = self.0.load(Ordering::SeqCst) & (!0 << class);
        (from != 0).then(|| from.trailing_zeros())
    }

    /// The highest order whose list may have a member.
    fn highest(&self) -> Option<u32> {
        // SeqCst: as the lists themselves.
        self.0.load(Ordering::SeqCst).checked_ilog2()
    }

    fn insert(&self, class: u32) {
        if self.0.load(Ordering::SeqCst) & 1 << class == 0 {
            self.0.fetch_or(1 << class, Ordering::SeqCst);
        }
    }

    fn remove(&self, class: u32) {
        self.0.fetch_and(!(1 << class), Ordering::SeqCst);
        order_after_write();
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// A table with an idle run of `order` or more, and the order that it is listed at: the lowest that can be had.
    #[inline]
    pub(super) fn propose(&self, order: u32) -> Option<(usize, u32)> {
        loop {
            let class = self.summary.next(order)?;
            if let Some(table) = self.listed(class) {
                return Some((table, class));
            }
        }
    }

    /// The order of the largest idle run. O(levels), and one look at each stale listing that it meets and puts right.
    ///
    /// May be too low by what handles work in, and by neighbours that have not been merged yet.
    pub fn largest_idle(&self) -> Option<Order> {
        if let Some(order) = self.table(self.shape.top, 0).largest() {
            return Some(Order::clamped(self.shape.top * Self::RADIX + order));
        }
        let mut class = self.summary.highest()?;
        // More than enough at a quiet moment; at any other the last listing is as good an answer.
        for _ in 0..1 << Self::RADIX {
            if let Some(table) = self.listed(class) {
                let (level, listed) = (class / Self::RADIX, class % Self::RADIX);
                if self.table(level, table).has(listed) {
                    break;
                }
                self.relist(level, table, class);
            }
            class = self.summary.highest()?;
        }
        Some(Order::clamped(class))
    }

    /// The lowest order from `order` on at which a table may be listed; beyond every order if none is.
    pub(super) fn lowest_listed(&self, order: Order) -> u32 {
        // A table that is wholly idle is listed one order lower than it could be.
        self.summary.next(order.get()).filter(|class| class + 1 < Self::RADIX).unwrap_or(u32::MAX)
    }

    /// A table that is listed at `class`; `None` if there was only a stale listing, which has been put right.
    #[inline]
    fn listed(&self, class: u32) -> Option<usize> {
        let tables = self.tables();
        let level = class / Self::RADIX;
        let mut table = 0;
        for above in (level + 1..=self.shape.top).rev() {
            let Some(entry) = tables.list(above, table, class).first() else {
                let _moving = self.motion.begin();
                self.unlist_empty(above, table, class);
                return None;
            };
            table = self.shape.child(table, entry);
        }
        Some(table)
    }

    /// Sees to it that a table with an idle run of `order` (in its entries) can be found by a search for that order.
    #[inline(always)]
    pub(super) fn ensure_listed(&self, tables: Tables<'_, WORDS>, level: u32, table: usize, order: u32) {
        if level == self.shape.top {
            return;
        }
        // Release, then look for the listing: against "unlist, then look at the table" in `relist`.
        order_after_write();
        let (above, entry) = self.shape.parent(table);
        let first = level * Self::RADIX;
        let order = order.min(Self::RADIX - 1);
        for order in order..Self::RADIX {
            if tables.list(level + 1, above, first + order).contains(entry) {
                // Whoever lists the table may not have come to the lists above yet.
                return self.enlist(tables, level + 1, above, first + order);
            }
        }
        self.list_newly(level, table, order);
    }

    #[cold]
    fn list_newly(&self, level: u32, table: usize, order: u32) {
        if level > 0 || !self.is_owned(table) {
            self.enlist(self.tables(), level, table, level * Self::RADIX + order);
        }
    }

    /// Lists a table at `class`, all the way up.
    #[inline]
    fn enlist(&self, tables: Tables<'_, WORDS>, level: u32, mut table: usize, class: u32) {
        for above in level + 1..=self.shape.top {
            let (up, entry) = self.shape.parent(table);
            if !tables.list(above, up, class).contains(entry) {
                self.enlist_in(above, up, entry, class);
            }
            table = up;
        }
        self.summary.insert(class);
    }

    #[cold]
    fn enlist_in(&self, above: u32, up: usize, entry: u32, class: u32) {
        // Before it can be found and after: against "unmark, then look whether it is listed" in `unmark_split`.
        self.mark_split(above, up, entry);
        self.list(above, up, class).insert(entry);
        // Insert here, then read above: against "remove above, then look here" in `unlist_empty`.
        order_after_write();
        self.mark_split(above, up, entry);
    }

    /// Notes that a table's entry is split.
    #[inline]
    pub(super) fn mark_split(&self, level: u32, table: usize, entry: u32) {
        let split = self.tables().split(level, table);
        if !split.contains(entry) {
            split.insert(entry);
        }
    }

    /// Notes that the entry of a table that has been merged is split no more; all of it is the caller's.
    pub(super) fn unmark_split(&self, level: u32, table: usize, entry: u32) {
        self.tables().split(level, table).remove(entry);
        // Somebody who released before the merge may list the table only now; then the mark stays, as the listing does.
        if (0..level * Self::RADIX).any(|class| self.list(level, table, class).contains(entry)) {
            self.mark_split(level, table, entry);
        }
    }

    /// Whether some entry of a run may be split. Never wrong where it says no, unless the same entry is being freed at this
    /// moment.
    #[inline]
    pub(super) fn may_be_split(&self, place: Place) -> bool {
        place.level > 0 && self.tables().split(place.level, place.table).idle_entries(place.entry, place.order) != 0
    }

    /// Puts right a listing at `class` that did not hold what it promised; says the order of the largest idle run in the table.
    #[cold]
    pub(super) fn relist(&self, level: u32, table: usize, class: u32) -> Option<u32> {
        if level == self.shape.top {
            return None;
        }
        // Between the removal and the new listing the table is hidden.
        let _moving = self.motion.begin();
        let (above, entry) = self.shape.parent(table);
        self.list(level + 1, above, class).remove(entry);
        self.unlist_empty(level + 1, above, class);
        // Looked at after the removal: whoever released before, and relied on the listing that is gone, is seen here; whoever
        // releases from now on lists the table himself.
        let largest = self.table(level, table).largest();
        if let Some(largest) = largest {
            self.enlist(self.tables(), level, table, level * Self::RADIX + largest.min(Self::RADIX - 1));
        }
        largest
    }

    /// Takes every listing of a table away; the table is wholly ours.
    pub(super) fn unlist_all(&self, level: u32, table: usize) {
        let (above, entry) = self.shape.parent(table);
        for class in level * Self::RADIX..(level + 1) * Self::RADIX {
            let list = self.list(level + 1, above, class);
            if list.contains(entry) {
                list.remove(entry);
                self.unlist_empty(level + 1, above, class);
            }
        }
    }

    /// If a list of a table is empty, takes the table's own listing at that class away, and so on up to the summary.
    ///
    /// Each step is followed by a second look: somebody may have listed a table meanwhile and relied on what was above.
    fn unlist_empty(&self, mut level: u32, mut table: usize, class: u32) {
        let empty = |level, table| self.list(level, table, class).first().is_none();
        while level < self.shape.top {
            if !empty(level, table) {
                return;
            }
            let (above, entry) = self.shape.parent(table);
            self.list(level + 1, above, class).remove(entry);
            if !empty(level, table) {
                self.enlist(self.tables(), level, table, class);
                return;
            }
            (level, table) = (level + 1, above);
        }
        if empty(level, table) {
            self.summary.remove(class);
            if !empty(level, table) {
                self.summary.insert(class);
            }
        }
    }

    /// Makes a table of the lowest level a handle's; `false` if it is one's already. It is no longer listed by releases.
    pub(super) fn set_owned(&self, table: usize) -> bool {
        let (above, entry) = self.shape.parent(table);
        let won = self.owned(above).insert(entry);
        order_after_write();
        won
    }

    /// Makes a table nobody's; the caller lists it then.
    pub(super) fn clear_owned(&self, table: usize) {
        let (above, entry) = self.shape.parent(table);
        self.owned(above).remove(entry);
    }

    /// Whether a table of the lowest level belongs to a handle.
    pub(super) fn is_owned(&self, table: usize) -> bool {
        let (above, entry) = self.shape.parent(table);
        self.owned(above).contains(entry)
    }

    /// Which of the tables of the lowest level below a table belong to handles.
    pub(super) fn owned(&self, above: usize) -> &Table<WORDS> {
        self.tables().owned(1, above)
    }

    fn list(&self, level: u32, table: usize, class: u32) -> &Table<WORDS> {
        self.tables().list(level, table, class)
    }
}
