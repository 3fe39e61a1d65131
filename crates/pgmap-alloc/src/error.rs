//! One small `Copy` error per verb, with a variant for each thing a caller can act on. After any of them nothing has changed.

use core::fmt;

use crate::memory_type::MemoryType;
use crate::offset::{Offset, RunError};
use crate::order::Order;

/// Declares an error enum whose `Display` text stands beside each variant.
macro_rules! errors {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident $({ $($field:ident: $ty:ty),+ })? => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $doc])+ $variant $({ $(#[allow(missing_docs)] $field: $ty),+ })?,)+
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($name::$variant $({ $($field),+ })? => write!(f, $text),)+
                }
            }
        }

        impl core::error::Error for $name {}
    };
}

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
        /// Nowhere below the pool's last offset is there place for it.
        NoRoom { pages: u64 } => "no {pages} offsets in a row are left for the range",
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
        /// Somebody else is changing the ranges at this moment.
        Changing => "the ranges are being changed by somebody else",
    }
}

errors! {
    /// Why no run was allocated.
    AllocError {
        /// No run of this order exists in the pool even when it is empty.
        TooLarge => "the pool never holds a run of this order",
        /// No idle run of this order or larger was found. Per-CPU handles hold `cached` idle pages; they have been asked to give
        /// them back, so if it is not 0 another try soon may succeed.
        NoSpace { cached: u64 } => "no idle run is large enough ({cached} idle pages in handles)",
        /// No idle run of this order is known to be cleared.
        NoneCleared => "no idle run of this order is known to be cleared",
        /// Runs were in motion (split, merged, given back) at each of several searches, so that a refusal could not be proved.
        Contended => "runs were in motion during every search",
        /// The pgmap has been killed.
        Dying => "the pgmap is dying",
    }
}

errors! {
    /// Why contiguous pages were not allocated.
    AllocExtentError {
        /// None were asked for.
        NoPages => "no pages were asked for",
        /// The alignment is no power of two.
        Alignment { align: u64 } => "an alignment of {align} pages is no power of two",
        /// More pages than the window has.
        LargerThanWindow { pages: u64 } => "the window has fewer than {pages} pages",
        /// No page of the window belongs to the pool.
        WindowOutside => "the window lies outside the pool",
        /// No range in the window has so many pages.
        TooLarge { pages: u64 } => "no range has {pages} pages",
        /// Not enough pages of the window are idle; handles have `cached` more at hand and were asked to give them back.
        NoSpace { idle: u64, cached: u64 } => "only {idle} pages are idle, and {cached} cached by handles",
        /// Enough pages of the window are idle, but not side by side, or not where they would be aligned; `cached` as above.
        Fragmented { cached: u64 } => "the idle pages are scattered, and {cached} cached by handles",
        /// Runs were in motion (split, merged, given back) at each of several searches, so that a refusal could not be proved.
        Contended => "runs were in motion during every search",
        /// The caller's fit offered a place that is not in the gap that it was shown, or not aligned as wanted.
        BadFit { start: Offset } => "the fit offered page {start}, which it may not",
    }
}

errors! {
    /// Why pages were not allocated in several runs.
    ScatterError {
        /// None were asked for.
        NoPages => "no pages were asked for",
        /// The smallest run that is wanted is larger than all pages together.
        MinBlockTooLarge { pages: u64 } => "the smallest run is larger than {pages} pages",
        /// The pages are no multiple of the smallest run that is wanted.
        NoMultiple { pages: u64 } => "{pages} pages are no multiple of the smallest run",
        /// More pages than the window has.
        LargerThanWindow { pages: u64 } => "the window has fewer than {pages} pages",
        /// No page of the window belongs to the pool.
        WindowOutside => "the window lies outside the pool",
        /// No range in the window ever holds a run of the smallest size that is wanted.
        TooLarge { pages: u64 } => "the pool never holds {pages} pages in runs of that size",
        /// Not enough pages of the window are idle; handles have `cached` more at hand and were asked to give them back.
        NoSpace { idle: u64, cached: u64 } => "only {idle} pages are idle, and {cached} cached by handles",
        /// Enough pages of the window are idle, but not in runs of the smallest size that is wanted; `cached` as above.
        Fragmented { cached: u64 } => "the idle runs are too small, and {cached} pages cached by handles",
        /// The runs did not fit in the caller's list.
        ListFull { room: usize } => "the pages come in more than {room} runs",
        /// Runs were in motion (split, merged, given back) at each of several searches, so that a refusal could not be proved.
        Contended => "runs were in motion during every search",
        /// The caller's fit offered a place that is not in the gap that it was shown, or not aligned as wanted.
        BadFit { start: Offset } => "the fit offered page {start}, which it may not",
    }
}

errors! {
    /// Why not all runs of a list were freed: those before `index` were, the others are as they were.
    FreeManyError {
        /// The run at `index` was refused.
        Refused { index: usize, error: FreeError } => "run {index}: {error}",
    }
}

errors! {
    /// Why runs were not reserved.
    ReserveError {
        /// None were asked for.
        NoRuns => "no runs were asked for",
        /// The pool was built without room for reservations.
        NotTaken => "the pool takes no reservations",
        /// They could not be allocated.
        Refused { error: AllocError } => "{error}",
    }
}

errors! {
    /// Why an owner was not charged, or not uncharged.
    ChargeError {
        /// There is no such owner.
        UnknownOwner { owner: u32 } => "there is no owner {owner}",
        /// The owner would have more than he may.
        OverLimit { owner: u32, has: u64, max: u64 } => "owner {owner} has {has} pages and may have {max}",
        /// The owner has not paid for so many.
        NotCharged { owner: u32, has: u64 } => "owner {owner} has only {has} pages",
        /// Limits that contradict each other.
        LimitsCross { min: u64, low: u64, max: u64 } => "min {min}, low {low} and max {max} are not in rising order",
    }
}

errors! {
    /// Why a pool with an account allocated nothing.
    AccountedError {
        /// The owner was not charged.
        Owner { error: ChargeError } => "{error}",
        /// What is left is for critical users.
        Watermark { idle: u64, watermark: u64 } => "the last {watermark} pages are for critical users, {idle} are idle",
        /// Enough pages are idle, but no run is large enough.
        Fragmented { idle: u64 } => "{idle} pages are idle, but scattered",
        /// The pool refused.
        Pool { error: AllocError } => "{error}",
    }
}

errors! {
    /// Why a run was not given back to a pool with an account.
    ReturnError {
        /// The owner has not paid for it.
        Owner { error: ChargeError } => "{error}",
        /// The pool refused.
        Refused { error: FreeError } => "{error}",
    }
}

errors! {
    /// Why a run at a given offset was not taken.
    RequestError {
        /// The offset is no multiple of the folio's length.
        Misaligned => "the offset is not a multiple of the folio's length",
        /// Offset plus length overflows.
        Overflow => "offset plus length overflows",
        /// The run lies outside every range.
        OutOfRange => "the run is outside the pgmap",
        /// The run starts in a range and ends beyond it.
        CrossesRange => "the run crosses the end of its physical range",
        /// A page of the run is not idle.
        Busy => "a page of the run is not idle",
        /// Pages of the run were in motion (split, merged, given back) at each of several tries.
        Contended => "pages of the run were in motion during every try",
        /// The pgmap has been killed.
        Dying => "the pgmap is dying",
        /// A page of the run is bad and is being retired, or its range is being taken away.
        Retired => "a page of the run is being taken out of use",
    }
}

impl From<RunError> for RequestError {
    fn from(error: RunError) -> RequestError {
        match error {
            RunError::Misaligned => RequestError::Misaligned,
            RunError::Overflow => RequestError::Overflow,
        }
    }
}

errors! {
    /// Why a run was not freed.
    FreeError {
        /// The offset is no multiple of the run's length.
        Misaligned => "the offset is not a multiple of the run's length",
        /// Offset plus length overflows.
        Overflow => "offset plus length overflows",
        /// The run lies outside every range.
        OutOfRange => "the run is outside the pgmap",
        /// The run starts in a range and ends beyond it.
        CrossesRange => "the run crosses the end of its physical range",
        /// A page of the run is idle already.
        DoubleFree { page: Offset } => "page {page} is idle already",
        /// A page of the run is held by a reservation, which gives it back or commits it.
        Held { page: Offset } => "page {page} is held by a reservation",
        /// A page of the run belongs to a folio: it comes back by its last put, not by a free.
        InService { head: Offset } => "the run belongs to the folio at {head}",
        /// A page of the run has been retired, and never comes back.
        Retired { page: Offset } => "page {page} has been retired",
        /// The run is special: it comes back by `undeclare_special`.
        Special { head: Offset } => "the run belongs to the special range at {head}",
    }
}

impl From<RunError> for FreeError {
    fn from(error: RunError) -> FreeError {
        match error {
            RunError::Misaligned => FreeError::Misaligned,
            RunError::Overflow => FreeError::Overflow,
        }
    }
}

errors! {
    /// Why no reference was taken.
    GetError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service starts here.
        NotInService => "no folio in service starts here",
        /// The folio is frozen: no new reference until it is thawed.
        Frozen => "the folio is frozen",
    }
}

errors! {
    /// Why references were not put.
    PutError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service starts here.
        NotInService => "no folio in service starts here",
        /// More references than the folio has, mappings apart.
        TooMany { held: u32 } => "the folio has only {held} references that are no mappings",
        /// It would be the last put, and the folio is frozen: who froze it has a reference.
        Frozen => "the folio is frozen, and this would be its last put",
        /// The folio has no mapping to take away.
        NotMapped => "the folio is not mapped",
        /// The folio belongs to another pgmap.
        Foreign => "the folio belongs to another pgmap",
    }
}

errors! {
    /// Why a folio was not mapped.
    MapError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service starts here.
        NotInService => "no folio in service starts here",
        /// The folio is frozen: no new mapping until it is thawed.
        Frozen => "the folio is frozen",
        /// It has as many mappings as can be counted.
        TooMany => "the folio has as many mappings as can be counted",
        /// The memory type does not allow it.
        NotAllowed { memory_type: MemoryType } => "{memory_type} memory cannot be mapped",
    }
}

errors! {
    /// Why a folio was not pinned.
    PinError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service covers the offset.
        NotInService => "no folio in service is here",
        /// The memory type does not allow it.
        NotAllowed { memory_type: MemoryType } => "{memory_type} memory cannot be pinned",
    }
}

errors! {
    /// Why something may not be done with an offset.
    AccessError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service covers the offset.
        NotInService => "no folio in service is here",
        /// The offset is special: no folio stands behind it.
        Special => "the page is special, no folio stands behind it",
        /// The page is bad.
        Retired => "the page has been retired",
        /// The memory type does not allow it.
        NotAllowed { memory_type: MemoryType } => "{memory_type} memory does not allow it",
    }
}

errors! {
    /// Why a folio was not frozen.
    FreezeError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service starts here.
        NotInService => "no folio in service starts here",
        /// Somebody else has frozen it.
        Frozen => "the folio is frozen already",
        /// Not as many references as expected.
        StrayReferences { held: u32 } => "the folio has {held} references, not as many as expected",
        /// References that are no mappings.
        Pinned { pins: u32 } => "the folio has {pins} references that are no mappings",
        /// The memory type does not allow its contents to move.
        NotAllowed { memory_type: MemoryType } => "{memory_type} memory cannot be migrated",
    }
}

errors! {
    /// Why a folio was not split.
    SplitError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service starts here.
        NotInService => "no folio in service starts here",
        /// Somebody has frozen it.
        Frozen => "the folio is frozen",
        /// The new order is not smaller than the folio's.
        NotSmaller { order: Order } => "the folio has order {order}, and parts must be smaller",
        /// Not as many references as expected.
        StrayReferences { held: u32 } => "the folio has {held} references, not as many as expected",
        /// The folio is mapped: its mappings would not know which part they are of.
        Mapped { mappings: u32 } => "the folio has {mappings} mappings",
    }
}

errors! {
    /// Why a share was not counted.
    ShareError {
        /// The memory type does not allow it.
        NotAllowed { memory_type: MemoryType } => "{memory_type} memory cannot be shared",
        /// The folio has another order.
        OrderMismatch { order: Order } => "the folio has order {order}",
        /// As many shares as can be counted.
        TooMany => "the folio has as many shares as can be counted",
        /// There is no share to take away.
        NotShared => "the folio is not shared",
    }
}

errors! {
    /// Why a page was not retired.
    RetireError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// The page was retired before.
        AlreadyRetired => "the page has been retired",
        /// As many pages as can be marked wait for their last put already.
        TooManyPending { pending: usize } => "{pending} pages wait to be retired, and no more can",
    }
}

errors! {
    /// Why a range was not declared special, or not taken back.
    SpecialError {
        /// The offset is no multiple of the size.
        Misaligned => "the offset is not a multiple of the size",
        /// Offset plus length overflows.
        Overflow => "offset plus length overflows",
        /// The run lies outside every range.
        OutOfRange => "the run is outside the pgmap",
        /// The run starts in a range and ends beyond it.
        CrossesRange => "the run crosses the end of its physical range",
        /// A page is larger than that.
        SmallerThanPage => "a page is larger than that",
        /// A page of the run belongs to a folio.
        InService { head: Offset } => "the run belongs to the folio at {head}",
        /// A page of the run is not idle: a block, retired, or special.
        Busy => "a page of the run is not idle",
        /// Pages of the run were in motion during every try.
        Contended => "pages of the run were in motion during every try",
        /// The pgmap has been killed.
        Dying => "the pgmap is dying",
        /// No special range of this size starts here.
        NotSpecial => "no special range of this size starts here",
    }
}

errors! {
    /// Why a wait ended without the page being idle.
    WaitError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// The folio belongs to another pgmap.
        Foreign => "the folio belongs to another pgmap",
        /// The time is up.
        TimedOut => "the time is up",
        /// The caller was interrupted.
        Interrupted => "the wait was interrupted",
    }
}

errors! {
    /// Why a pgmap is not drained.
    DrainError {
        /// It has not been killed: new folios could come into service for ever.
        NotKilled => "the pgmap has not been killed",
    }
}

errors! {
    /// Why pages were not taken over as a block.
    BlockError {
        /// The offset is no multiple of the run's length, overflows, or is not wholly in one range.
        NoSuchRun => "no such run is in the pgmap",
        /// A page of the run is idle, or belongs to a folio, or is retired or special.
        NotTaken { page: Offset } => "page {page} is not taken without a folio",
    }
}

errors! {
    /// Why a lookup has no answer.
    LookupError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
    }
}

errors! {
    /// What a validation found wrong. At a quiet moment none of these can be: each is a bug, here or in memory that was written
    /// behind the pgmap's back.
    Inconsistency {
        /// A page is idle at two levels of the tables.
        IdleTwice { page: Offset } => "page {page} is idle at two levels",
        /// A page outside every range is idle.
        IdleOutside { page: Offset } => "page {page} is idle but in no range",
        /// A table with an idle run is in no list that a search for that run would look at.
        Unlisted { page: Offset } => "the table of page {page} cannot be found",
        /// A page of a folio in service is idle in the tables.
        IdleInService { page: Offset } => "page {page} is idle but in service",
        /// A folio starts inside another one.
        Nested { page: Offset } => "a folio starts at page {page}, inside another",
        /// A folio's first page is no multiple of its length, or it crosses the end of its range.
        Misplaced { page: Offset } => "the folio at page {page} cannot be there",
        /// A folio is being set up or freed: the moment is not quiet.
        Unsettled { page: Offset } => "the folio at page {page} is being set up or freed",
    }
}
