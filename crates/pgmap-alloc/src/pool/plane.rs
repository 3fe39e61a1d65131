//! A plane of bits beside the tables: one for each entry, and above the lowest level a second one.
//!
//! What the bits mean is for who asked for the plane to say (`held`, `notes`). All zeros is where everybody begins, so a plane is
//! touched only where it is used.

use super::GenPool;
use super::shape::{LEVELS, Shape};
use super::tables::Tables;
use crate::table::Table;

/// Where the bits of each level stand in the array of tables.
#[derive(Clone, Copy)]
pub(super) struct Plane([usize; 8]);

impl Plane {
    /// Appends a plane to an array of `tables`; `None` when that is more than can be counted.
    pub(super) fn append<const WORDS: usize>(shape: &Shape<WORDS>, tables: &mut usize) -> Option<Plane> {
        let mut bases = [0; 8];
        for (base, level) in bases.iter_mut().zip(0..=shape.top) {
            *base = *tables;
            let each = if level == 0 { 1 } else { 2 };
            *tables = tables.checked_add(shape.tables(level)?.checked_mul(each)?)?;
        }
        Some(Plane(bases))
    }

    /// Where in the array the bits beside a table stand; above the lowest level the second ones follow.
    #[inline(always)]
    pub(super) fn index(&self, level: u32, table: usize) -> usize {
        self.0[level as usize & 7] + if level == 0 { table } else { 2 * table }
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The bits beside a table, and above the lowest level the second ones.
    #[inline]
    pub(super) fn beside(&self, plane: &Plane, level: u32, table: usize) -> Option<(&Table<WORDS>, Option<&Table<WORDS>>)> {
        if level as usize >= LEVELS { None } else { Some(self.tables().beside(plane, level, table)) }
    }
}

impl<'p, const WORDS: usize> Tables<'p, WORDS> {
    /// [`GenPool::beside`] a table that there is.
    #[inline(always)]
    pub(super) fn beside(self, plane: &Plane, level: u32, table: usize) -> (&'p Table<WORDS>, Option<&'p Table<WORDS>>) {
        let index = plane.index(level, table);
        (self.get(index), if level > 0 { Some(self.get(index + 1)) } else { None })
    }
}
