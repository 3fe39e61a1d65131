//! Where metadata lives: lent by the caller, or owned in zeroed boxes that the operating system fills in when first touched.

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};

use crate::sync::{AtomicU64, Ordering};

/// A type whose all-zero value is its fresh value.
pub(crate) trait Metadata: Sized + Default {
    /// All of it.
    fn words(&self) -> &[AtomicU64];

    /// Whether it is as new.
    fn is_fresh(&self) -> bool {
        // Relaxed: the caller has it alone, or a use of it at the same time is what is to be found out.
        self.words().iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Many of them, zeroed and untouched as far as the allocator can help it.
    #[cfg(feature = "alloc")]
    type Owned;

    /// `None` when the host has no memory.
    #[cfg(feature = "alloc")]
    fn boxed(count: usize) -> Option<Self::Owned>;

    /// The value at `index`, unless there is none.
    #[cfg(feature = "alloc")]
    fn at(owned: &Self::Owned, index: usize) -> Option<&Self>;
}

/// Makes lent values as new, whatever they were used for. O(values): each is read, and written if it is not zero, so memory that the
/// operating system has yet to provide is looked at and not asked for.
pub(crate) fn refresh<T: Metadata>(values: &mut [T]) {
    values.iter_mut().filter(|value| !value.is_fresh()).for_each(|value| *value = T::default());
}

/// Whether lent values may be as new, of which only the first few are looked at.
pub(crate) fn look_fresh<T: Metadata>(values: &[T]) -> bool {
    values.iter().take(64).all(T::is_fresh)
}

/// Metadata that is owned in one piece.
pub(crate) trait OnePiece: Metadata {
    /// All of it.
    #[cfg(feature = "alloc")]
    fn all(owned: &Self::Owned) -> &[Self];
}

/// `count` zeroed values of `T`.
pub(crate) enum Memory<'s, T: Metadata> {
    /// The caller's.
    Lent(&'s [T]),
    /// Ours.
    #[cfg(feature = "alloc")]
    Owned(T::Owned),
}

impl<T: Metadata> Memory<'_, T> {
    /// Asks the host for `count` values.
    #[cfg(feature = "alloc")]
    pub(crate) fn boxed(count: usize) -> Option<Self> {
        T::boxed(count).map(Memory::Owned)
    }

    /// The value at `index`, unless there is none.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        match self {
            Memory::Lent(values) => values.get(index),
            #[cfg(feature = "alloc")]
            Memory::Owned(owned) => T::at(owned, index),
        }
    }
}

impl<T: OnePiece> Memory<'_, T> {
    /// All values.
    #[inline(always)]
    pub(crate) fn all(&self) -> &[T] {
        match self {
            Memory::Lent(values) => values,
            #[cfg(feature = "alloc")]
            Memory::Owned(owned) => T::all(owned),
        }
    }
}

/// A long array in boxes of 128 MiB: systems that refuse one promise larger than their memory accept several smaller ones.
#[cfg(feature = "alloc")]
pub(crate) struct Pieces<T>(Box<[Box<[T]>]>);

#[cfg(feature = "alloc")]
impl<T> Pieces<T> {
    /// Values per piece; a power of two, as the sizes of all metadata types are.
    const LENGTH: usize = {
        assert!(size_of::<T>().is_power_of_two());
        (128 << 20) / size_of::<T>()
    };

    pub(crate) fn new(count: usize, zeroed: impl Fn(usize) -> Option<Box<[T]>>) -> Option<Self> {
        let mut pieces = Vec::new();
        pieces.try_reserve_exact(count.div_ceil(Self::LENGTH)).ok()?;
        let mut left = count;
        while left > 0 {
            let piece = left.min(Self::LENGTH);
            pieces.push(zeroed(piece)?);
            left -= piece;
        }
        Some(Pieces(pieces.into_boxed_slice()))
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / Self::LENGTH)?.get(index % Self::LENGTH)
    }
}

/// Groups of words, each on cache lines of its own; the model checker has no lines.
///
/// Allocators zero lazily only what needs no more alignment than they give to everything, so the alignment is made here: the
/// first word on a line boundary is the first word used.
#[cfg(feature = "alloc")]
#[cfg_attr(loom, allow(dead_code))]
pub(crate) struct Lines {
    words: Box<[AtomicU64]>,
    first: usize,
}

#[cfg(feature = "alloc")]
#[cfg_attr(loom, allow(dead_code))]
impl Lines {
    /// Words of a line, and so at most this many minus one before the first that is used.
    const LINE: usize = 8;

    pub(crate) fn new(words: usize, zeroed: impl Fn(usize) -> Option<Box<[AtomicU64]>>) -> Option<Self> {
        let words = zeroed(words.checked_add(Self::LINE)?)?;
        let past = words.as_ptr().addr() % (Self::LINE * 8);
        let first = (Self::LINE * 8 - past) / 8 % Self::LINE;
        Some(Lines { words, first })
    }

    /// All groups of `WORDS` words.
    #[inline(always)]
    pub(crate) fn all<const WORDS: usize>(&self) -> &[[AtomicU64; WORDS]] {
        self.words.get(self.first..).unwrap_or_default().as_chunks().0
    }
}
