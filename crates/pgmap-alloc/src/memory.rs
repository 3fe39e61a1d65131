//! Where metadata lives: lent by the caller, or owned in zeroed boxes that the operating system fills in when first touched.

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};

/// A type whose all-zero value is its fresh value.
pub(crate) trait Metadata: Sized {
    /// A zeroed slice, untouched if the allocator can help it; `None` when there is no memory.
    #[cfg(feature = "alloc")]
    fn boxed(count: usize) -> Option<Box<[Self]>>;
}

/// Owned metadata comes in pieces of this many bytes: systems that refuse one promise larger than their memory accept several.
#[cfg(feature = "alloc")]
const PIECE: usize = 256 << 20;

/// `count` zeroed values of `T`.
pub(crate) enum Memory<'s, T> {
    /// The caller's.
    Lent(&'s [T]),
    /// Ours, in pieces of a power of two of values each.
    #[cfg(feature = "alloc")]
    Owned(Box<[Box<[T]>]>),
}

impl<'s, T: Metadata> Memory<'s, T> {
    /// Asks the host for `count` values.
    #[cfg(feature = "alloc")]
    pub(crate) fn boxed(count: usize) -> Option<Memory<'s, T>> {
        let mut pieces = Vec::new();
        pieces.try_reserve_exact(count.div_ceil(Self::PER_PIECE)).ok()?;
        let mut left = count;
        while left > 0 {
            let piece = left.min(Self::PER_PIECE);
            pieces.push(T::boxed(piece)?);
            left -= piece;
        }
        Some(Memory::Owned(pieces.into_boxed_slice()))
    }

    /// Values per owned piece; a power of two because the sizes of all metadata types are.
    #[cfg(feature = "alloc")]
    const PER_PIECE: usize = {
        assert!(size_of::<T>().is_power_of_two());
        PIECE / size_of::<T>()
    };

    /// The value at `index`, unless there is none.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        match self {
            Memory::Lent(values) => values.get(index),
            #[cfg(feature = "alloc")]
            Memory::Owned(pieces) => pieces.get(index / Self::PER_PIECE)?.get(index % Self::PER_PIECE),
        }
    }
}
