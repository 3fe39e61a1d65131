//! Metadata on huge pages: aligned to 2 MiB, and the operating system advised so.
//!
//! A random access to a large pool misses the TLB as well as the cache; with huge pages only the cache. The price is that memory
//! is touched 2 MiB at a time, which is why one asks for it.

extern crate std;

use alloc::boxed::Box;

use bytemuck::TransparentWrapper;
use memmap2::{MmapMut, MmapOptions};
use zerocopy::FromBytes;

use crate::data::DataCell;
use crate::error::BuildError;
use crate::pgmap::{Storage, StorageNeeded};
use crate::pool::RangeSlot;
use crate::state::Word;
use crate::sync::AtomicU64;
use crate::table::Table;

/// The size of a huge page, and its alignment.
const HUGE: usize = 2 << 20;
/// The size of a word.
const WORD: usize = 8;

/// Zeroed metadata for one pgmap, to be lent to [`Pgmap::with_zeroed_storage`](crate::Pgmap::with_zeroed_storage).
///
/// Aligned to 2 MiB, touched only where it is used, and advised to be backed by huge pages where the operating system knows such
/// advice; elsewhere it works as well, on ordinary pages.
///
/// ```
/// use pgmap_alloc::{HugePages, Order, Params, Pgmap, Phys, PhysRange, storage_needed};
///
/// let vram = [PhysRange { start: Phys(0), pages: 1 << 22 }];
/// let params = Params::new(&vram);
/// let mut metadata: HugePages = HugePages::new(storage_needed::<(), 8>(&params)?)?;
/// let storage = metadata.storage().expect("it has not been lent before");
/// let pgmap = Pgmap::with_zeroed_storage(&params, storage, ())?;
/// assert!(pgmap.alloc_folio(Order::PMD).is_ok());
/// # Ok::<(), pgmap_alloc::BuildError>(())
/// ```
pub struct HugePages<const WORDS: usize = 8> {
    bytes: MmapMut,
    ranges: Box<[RangeSlot]>,
    needed: StorageNeeded,
    advised: bool,
    /// Whether it may have been written.
    lent: bool,
}

impl<const WORDS: usize> HugePages<WORDS> {
    /// Room for what [`storage_needed`](crate::storage_needed) says, with the same `WORDS`.
    ///
    /// [`BuildError::OutOfMemory`] where the operating system refuses that much; none of it is touched or promised yet.
    pub fn new(needed: StorageNeeded) -> Result<Self, BuildError> {
        let words = needed.tables.checked_mul(WORDS).and_then(|words| words.checked_add(needed.words)?.checked_add(needed.data));
        let length = words.and_then(|words| words.checked_mul(WORD)?.checked_add(HUGE)).ok_or(BuildError::OutOfMemory)?;
        // No reserve: what is never touched needs no memory behind it, however much it is.
        let bytes = MmapOptions::new().len(length).no_reserve_swap().map_anon().map_err(|_| BuildError::OutOfMemory)?;
        let ranges = (0..needed.ranges).map(|_| RangeSlot::default()).collect();
        let advised = advise(&bytes);
        Ok(HugePages { bytes, ranges, needed, advised, lent: false })
    }

    /// Whether the operating system took the advice; whether it follows it is its own affair.
    pub fn is_advised(&self) -> bool {
        self.advised
    }

    /// The metadata, once: afterwards it is no longer zero, so `None`.
    pub fn storage(&mut self) -> Option<Storage<'_, WORDS>> {
        if core::mem::replace(&mut self.lent, true) {
            return None;
        }
        let past = self.bytes.as_ptr().addr() % HUGE;
        let aligned = self.bytes.get_mut((HUGE - past) % HUGE..)?;
        let (tables, rest) = words(aligned, self.needed.tables * WORDS)?;
        let (folios, rest) = words(rest, self.needed.words)?;
        let (data, _) = words(rest, self.needed.data)?;
        Some(Storage {
            tables: Table::wrap_slice_mut(tables.as_chunks_mut().0),
            ranges: &mut self.ranges,
            words: Word::wrap_slice_mut(folios),
            data: DataCell::wrap_slice_mut(data),
        })
    }
}

/// The first `count` words, and the bytes after them.
fn words(bytes: &mut [u8], count: usize) -> Option<(&mut [AtomicU64], &mut [u8])> {
    let (first, rest) = bytes.split_at_mut_checked(count.checked_mul(WORD)?)?;
    Some((<[AtomicU64]>::mut_from_bytes(first).ok()?, rest))
}

/// Whether the advice was taken.
fn advise(bytes: &MmapMut) -> bool {
    #[cfg(target_os = "linux")]
    return bytes.advise(memmap2::Advice::HugePage).is_ok();
    #[cfg(not(target_os = "linux"))]
    {
        let _ = bytes;
        false
    }
}
