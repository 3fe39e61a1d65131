//! Looking, waiting, and the end.

use core::fmt;

use crate::offset::Offset;

errors! {
    /// Why a lookup has no answer.
    LookupError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
    }
}

errors! {
    /// Why a gate was not closed.
    GateError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// There are as many gates and waits as there is room for.
        NoSlot => "there are as many gates and waits as there is room for",
    }
}

errors! {
    /// Why a wait ended without the page being idle.
    WaitError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// The folio belongs to another pgmap.
        Foreign => "the folio belongs to another pgmap",
        /// It would be the last put, and the folio is frozen.
        Frozen => "the folio is frozen, and this would be its last put",
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
    /// What a validation found wrong. At a quiet moment none of these can be: each is a bug, here or in memory that was written
    /// behind the pgmap's back.
    Inconsistency {
        /// A page is idle at two levels of the tables.
        IdleTwice { page: Offset } => "page {page} is idle at two levels",
        /// A page outside every range is idle.
        IdleOutside { page: Offset } => "page {page} is idle but in no range",
        /// A table with an idle run is in no list that a search for that run would look at, or its entry is not marked as split.
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
