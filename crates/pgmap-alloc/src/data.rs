//! What a driver keeps with each folio: anything that fits in a word, or nothing.

use crate::charge::Charged;
use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata};

/// Something that a driver keeps with a folio: a table index, a key, a handle.
///
/// `()` costs nothing: no cells are needed for it.
pub trait DriverData: Copy {
    /// Whether there is anything to store.
    const STORED: bool = true;

    /// How many of the 64 bits it needs, from the lowest on.
    const BITS: u32 = 64;

    /// As plain bits.
    fn to_bits(self) -> u64;

    /// From the bits that [`DriverData::to_bits`] gave, or from 0.
    fn from_bits(bits: u64) -> Self;
}

impl DriverData for () {
    const STORED: bool = false;
    const BITS: u32 = 0;

    fn to_bits(self) -> u64 {
        0
    }

    fn from_bits(_: u64) {}
}

/// Beside the data, in a cell of its own (`folios`).
impl DriverData for Charged {
    fn to_bits(self) -> u64 {
        Charged::to_bits(self)
    }

    fn from_bits(bits: u64) -> Charged {
        Charged::from_bits(bits)
    }
}

macro_rules! unsigned {
    ($($ty:ty),+) => {
        $(impl DriverData for $ty {
            const BITS: u32 = <$ty>::BITS;

            fn to_bits(self) -> u64 {
                self as u64
            }

            fn from_bits(bits: u64) -> $ty {
                bits as $ty
            }
        })+
    };
}

unsigned!(u32, u64, usize);

metadata! {
    /// The driver's data of one folio; callers only provide them as storage.
    ///
    /// Only the page at the head of a folio uses its cell. It is written while the folio word is `Building` or `Freeing` and read
    /// while it is `InService` or `Freeing`, so the word's orderings cover it.
    #[derive(Debug)]
    #[cfg_attr(all(feature = "huge-pages", not(loom)), derive(bytemuck::TransparentWrapper))]
    #[repr(transparent)]
    pub struct DataCell {
        bits: AtomicU64,
    }
}

impl DataCell {
    const_outside_models! {
        /// A cell without data.
        pub fn new() -> Self {
            DataCell { bits: AtomicU64::new(0) }
        }
    }

    pub(crate) fn all_words(&self) -> &[AtomicU64] {
        core::slice::from_ref(&self.bits)
    }

    /// Writes the data of a folio that the caller alone can see.
    #[inline]
    pub(crate) fn set<D: DriverData>(&self, data: D) {
        // Relaxed: published by the folio word (`Word::publish`, `Word::finish_free`).
        self.bits.store(data.to_bits(), Ordering::Relaxed);
    }

    /// Changes the data of a folio to which the caller holds a reference, unless `change` refuses. Lock-free.
    pub(crate) fn update<D: DriverData, E>(&self, change: impl Fn(D) -> Result<D, E>) -> Result<D, E> {
        // Relaxed, throughout: the folio word's orderings cover the first value and the last; between them only counts change, and
        // nothing else hangs on those.
        let mut seen = self.bits.load(Ordering::Relaxed);
        loop {
            let next = change(D::from_bits(seen))?;
            match self.bits.compare_exchange_weak(seen, next.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(next),
                Err(now) => seen = now,
            }
        }
    }

    /// Changes the data from exactly this to exactly that; `false` if it was another. For whoever has a reference.
    pub(crate) fn replace<D: DriverData>(&self, from: D, to: D) -> bool {
        // Relaxed, both: as in `update`.
        self.bits.compare_exchange(from.to_bits(), to.to_bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Reads the data of a folio to which the caller holds a reference, or the last put's right.
    #[inline]
    pub(crate) fn get<D: DriverData>(&self) -> D {
        // Relaxed: acquired through the folio word (`Word::try_get`, `Word::put`).
        D::from_bits(self.bits.load(Ordering::Relaxed))
    }
}
