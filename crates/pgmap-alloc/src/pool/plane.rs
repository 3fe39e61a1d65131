//! A plane of bits beside the tables: one for each entry, and above the lowest level a second one.
//!
//! What the bits mean is for who asked for the plane to say (`held`, `notes`). All zeros is where everybody begins, so a plane is
//! touched only where it is used.

use super::GenPool;
use super::shape::{LEVELS, Shape};
use crate::table::Table;

/// Where the bits of each level stand in the array of tables.
#[derive(Clone, Copy)]
pub(super) struct Plane([usize; LEVELS]);

impl Plane {
    /// Appends a plane to an array of `tables`; `None` when that is more than can be counted.
    pub(super) fn append<const WORDS: usize>(shape: &Shape<WORDS>, tables: &mut usize) -> Option<Plane> {
        let mut bases = [0; LEVELS];
        for (base, level) in bases.iter_mut().zip(0..=shape.top) {
            *base = *tables;
            let each = if level == 0 { 1 } else { 2 };
            *tables = tables.checked_add(shape.tables(level)?.checked_mul(each)?)?;
        }
        Some(Plane(bases))
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The bits beside a table, and above the lowest level the second ones.
    #[inline]
    pub(super) fn beside(&self, plane: &Plane, level: u32, table: usize) -> Option<(&Table<WORDS>, Option<&Table<WORDS>>)> {
        let base = *plane.0.get(level as usize)?;
        if level == 0 {
            return Some((self.metadata(base + table), None));
        }
        Some((self.metadata(base + 2 * table), Some(self.metadata(base + 2 * table + 1))))
    }
}
