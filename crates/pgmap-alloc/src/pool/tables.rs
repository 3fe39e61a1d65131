//! All tables of a pool as they stand in its one array, with what stands beside them.

use super::GenPool;
use super::shape::Shape;
use crate::sync::in_models;
use crate::table::Table;

/// Callers that the pool tells apart, by [`crate::sync::caller_slot`] or as the slots of handles.
pub(super) const CALLERS: usize = in_models(1, 32);

/// The array and its geometry, held in registers by the hot paths: an access costs one comparison.
#[derive(Clone, Copy)]
pub(super) struct Tables<'p, const WORDS: usize> {
    all: &'p [Table<WORDS>],
    /// Stands for a table that the shape does not have, in which nothing is ever idle: spares every access a panic.
    outside: &'p Table<WORDS>,
    shape: &'p Shape<WORDS>,
}

impl<'p, const WORDS: usize> Tables<'p, WORDS> {
    #[inline(always)]
    pub(super) fn get(self, index: usize) -> &'p Table<WORDS> {
        self.all.get(index).unwrap_or(self.outside)
    }

    /// A table of a level.
    #[inline(always)]
    pub(super) fn table(self, level: u32, table: usize) -> &'p Table<WORDS> {
        self.get(self.shape.table(level, table))
    }

    /// How a table of a level below the top is listed: where that stands, and which class it is there (`listing`).
    #[inline(always)]
    pub(super) fn class(self, level: u32, table: usize) -> (&'p Table<WORDS>, u32) {
        (self.get(self.shape.class(level, table)), table as u32 % Table::<WORDS>::CLASSES)
    }

    /// In which groups of entries of a table of `level >= 1` tables are listed at an order of theirs: where that stands, and the
    /// word there (`listing`).
    #[inline(always)]
    pub(super) fn groups(self, level: u32, table: usize, order: u32) -> (&'p Table<WORDS>, u32) {
        (self.get(self.shape.groups(level, table, order)), order % WORDS as u32)
    }

    /// Below which entries of a table of `level >= 2`, two levels down or more, tables are listed at `class` (`listing`).
    #[inline(always)]
    pub(super) fn list(self, level: u32, table: usize, class: u32) -> &'p Table<WORDS> {
        self.get(self.shape.list(level, table, class))
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The tables; asked for once by each verb that needs several.
    #[inline(always)]
    pub(super) fn tables(&self) -> Tables<'_, WORDS> {
        Tables { all: self.metadata.all(), outside: &self.outside, shape: &self.shape }
    }

    /// A table of a level.
    #[inline(always)]
    pub(super) fn table(&self, level: u32, table: usize) -> &Table<WORDS> {
        self.tables().table(level, table)
    }

    /// What stands at an index of the array.
    #[inline(always)]
    pub(super) fn metadata(&self, index: usize) -> &Table<WORDS> {
        self.tables().get(index)
    }
}
