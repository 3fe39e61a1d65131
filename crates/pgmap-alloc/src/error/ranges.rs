//! Building a pgmap, and ranges that come and go.

use core::fmt;

use crate::offset::Offset;

errors! {
    /// Why a pool or a pgmap could not be built.
    BuildError {
        /// There is no range at all.
        NoRange => "a pgmap needs at least one range",
        /// More ranges than the pgmap was given slots for.
        TooManyRanges { given: usize, slots: usize } => "{given} ranges, but only {slots} range slots",
        /// A range of zero pages.
        EmptyRange { index: usize } => "range {index} has no pages",
        /// A range's physical start is no multiple of the page size.
        Misaligned { index: usize } => "range {index} does not start on a page boundary",
        /// A range's end, in bytes, does not fit in a physical address, or the offsets do not fit in an order.
        TooLarge { index: usize } => "range {index} ends beyond what can be addressed",
        /// Two ranges share physical memory.
        Overlap { first: usize, second: usize } => "ranges {first} and {second} overlap",
        /// The page size is no power of two between 512 bytes and 1 GiB.
        PageShift { shift: u32 } => "a page of 2^{shift} bytes is not supported",
        /// The caller's slice of tables is too short.
        TableStorage { needed: usize, given: usize } => "{needed} tables are needed, {given} were given",
        /// The caller's slice of folio words is too short.
        WordStorage { needed: usize, given: usize } => "{needed} folio words are needed, {given} were given",
        /// The caller's slice of driver-data cells is too short.
        DataStorage { needed: usize, given: usize } => "{needed} data cells are needed, {given} were given",
        /// Storage that is said to be zero is not: it was used before.
        UsedStorage => "the storage is not zero",
        /// Room was asked for more offsets than there can be.
        TooManyOffsets { offsets: u64 } => "{offsets} offsets are more than there can be",
        /// The host has no memory for the metadata.
        OutOfMemory => "the host has no memory for the metadata",
        /// The metadata is larger than this machine can address.
        Unaddressable => "the metadata is larger than this machine can address",
    }
}

errors! {
    /// Why a range was not added.
    AddRangeError {
        /// It has no pages.
        Empty => "the range has no pages",
        /// Its physical start is no multiple of the page size.
        Misaligned => "the range does not start on a page boundary",
        /// Its end, in bytes, does not fit in a physical address.
        TooLarge => "the range ends beyond what can be addressed",
        /// It shares physical memory with the range at `first`.
        Overlap { first: Offset } => "the range overlaps the one at offset {first}",
        /// All slots are used; room for more is asked for when the pool is built.
        NoSlot { slots: usize } => "all {slots} range slots are used",
        /// There is no place below the pool's last offset for all pages that it may grow to; or the offsets behind the range that is to
        /// grow are taken. More offsets can be asked for only when the pool is built ([`Params::with_room_for`](crate::Params::with_room_for)).
        NoRoom { pages: u64 } => "no {pages} offsets in a row are left for the range",
        /// No range starts at the offset of the one that is to grow.
        Unknown => "no range starts at this offset",
        /// It does not start where the range ends that is to grow.
        NotAdjacent => "it does not start where the range ends in memory",
        /// The larger range would hold runs for which its offsets are not aligned as its addresses are. Add it with room to grow
        /// ([`NewRange::growing_to`](crate::NewRange::growing_to)).
        Misplaced => "the range's offsets do not suit its larger size",
        /// The range that is to grow is being taken away.
        Leaving => "the range is being taken away",
        /// Somebody else is changing the ranges at this moment.
        Changing => "the ranges are being changed by somebody else",
    }
}

errors! {
    /// Why a range was not taken away.
    RemoveRangeError {
        /// No range starts at this offset.
        Unknown => "no range starts at this offset",
        /// A page of the range is in use.
        InUse { page: Offset } => "page {page} of the range is in use",
        /// Pages of the range were in motion (split, merged, given back) at each of several tries.
        Contended => "pages of the range were in motion during every try",
        /// It is being taken away already.
        AlreadyLeaving => "the range is being taken away already",
        /// As many ranges as can be are being taken away at this moment.
        TooManyLeaving { leaving: usize } => "{leaving} ranges are being taken away, and no more can",
        /// Somebody else is changing the ranges at this moment.
        Changing => "the ranges are being changed by somebody else",
    }
}
