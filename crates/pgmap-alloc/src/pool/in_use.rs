//! What is in use: rule 5 of `listing`, for those who rely on it.

use super::GenPool;
use super::listing::{GROUP, OWNED, SPLIT, WHOLE};
use super::shape::Place;
use super::tables::Tables;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Notes that a table that has been claimed whole, and all that is below it, is in use no more.
    pub(super) fn set_whole(&self, level: u32, table: usize) {
        let (classes, at) = self.tables().class(level, table);
        // Not more often than somebody else changes the class. A handle that takes it for its own at this moment finds nothing, and
        // leaves it.
        while let class @ SPLIT..OWNED = classes.class(at) {
            if classes.change_class(at, class, WHOLE).is_some() {
                break;
            }
        }
        // Somebody who released there before may raise a class only now; then he marks this one after it has been set.
        if level > 0 {
            let below = Place { level, table, entry: 0, order: Self::RADIX };
            self.split_entries(below).for_each(|entry| self.set_whole(level - 1, self.shape.child(table, entry)));
        }
    }

    /// Whether something below a run of entries may be in use. Never wrong where it says no, unless the same entry is being freed at
    /// this moment.
    #[inline(always)]
    pub(super) fn may_be_split(&self, tables: Tables<'_, WORDS>, Place { level, table, entry, order }: Place) -> bool {
        if level == 0 {
            return false;
        }
        let (classes, at) = tables.class(level - 1, self.shape.child(table, entry));
        // Most are within one word.
        classes.any_class(at, order) || order > GROUP.trailing_zeros() && self.may_be_split_beyond(level, table, entry, order)
    }

    /// [`GenPool::may_be_split`] for all but the first group of a run of several.
    #[inline(never)]
    fn may_be_split_beyond(&self, level: u32, table: usize, entry: u32, order: u32) -> bool {
        let tables = self.tables();
        (entry..entry + (1 << order)).step_by(GROUP as usize).skip(1).any(|entry| {
            let (classes, at) = tables.class(level.saturating_sub(1), self.shape.child(table, entry));
            classes.any_class(at, order)
        })
    }

    /// The entries of a run below which something may be in use.
    pub(super) fn split_entries(&self, place: Place) -> impl Iterator<Item = u32> {
        let tables = self.tables();
        let end = place.entry + (1 << place.order);
        (place.entry..end).step_by(GROUP as usize).flat_map(move |first| {
            let (classes, at) = tables.class(place.level - 1, self.shape.child(place.table, first));
            let split = classes.classes_from(at / GROUP, SPLIT);
            let group = first & !(GROUP - 1);
            (first..end.min(group + GROUP)).filter(move |entry| split >> (entry - group) & 1 != 0)
        })
    }
}
