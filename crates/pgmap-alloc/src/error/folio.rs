//! Counting on a folio in service.

use core::fmt;

use crate::memory_type::MemoryType;
use crate::order::Order;

errors! {
    /// Why no reference was taken.
    GetError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// No folio in service starts here.
        NotInService => "no folio in service starts here",
        /// The folio is frozen: no new reference until it is thawed.
        Frozen => "the folio is frozen",
        /// It has 2^24 references that are no mappings.
        TooMany => "the folio has as many references as can be counted",
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
        /// It would be the last put, and the folio is frozen: it ends after it has been thawed.
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
        /// It has 2^28 - 1 mappings.
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
        /// The folio is frozen: no new reference until it is thawed.
        Frozen => "the folio is frozen",
        /// It has 2^24 references that are no mappings.
        TooMany => "the folio has as many references as can be counted",
        /// Somebody waits until the folio is idle or can be frozen.
        Closed => "the folio is closed to new references",
        /// The folio's range is being taken away.
        Leaving => "the folio's range is being taken away",
        /// The pgmap has been killed.
        Dying => "the pgmap is dying",
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
        /// Its references are no longer counted, so it can never be frozen.
        Saturated => "the folio has more references than can be counted",
        /// The memory type does not allow its contents to move.
        NotAllowed { memory_type: MemoryType } => "{memory_type} memory cannot be migrated",
        /// The time is up before the references were as expected.
        TimedOut => "the time is up",
        /// The caller was interrupted before the references were as expected.
        Interrupted => "the wait was interrupted",
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
        /// Its references are no longer counted.
        Saturated => "the folio has more references than can be counted",
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
