//! Into service and out of it, and pages without a folio.

use core::fmt;

use crate::offset::{Offset, RunError};

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
        /// A page of the run is bad: retired, or to be retired when it comes back.
        Retired => "a page of the run is bad",
        /// A page of the run is special.
        Special => "a page of the run is special",
        /// The run's range is being taken away.
        Leaving => "the run's range is being taken away",
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
        /// A page of the run has been retired: only [`Pgmap::pardon`](crate::Pgmap::pardon) makes it idle again.
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
    /// Why pages were not taken over as a block.
    BlockError {
        /// The offset is no multiple of the run's length, overflows, or is not wholly in one range.
        NoSuchRun => "no such run is in the pgmap",
        /// A page of the run is idle, or belongs to a folio, or is retired or special.
        NotTaken { page: Offset } => "page {page} is not taken without a folio",
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
        /// The run's range is being taken away.
        Leaving => "the run's range is being taken away",
        /// Only the pgmap declares pages special for this reason.
        NotYours => "only the pgmap declares pages special for this reason",
        /// No special range of this size starts here.
        NotSpecial => "no special range of this size starts here",
    }
}

errors! {
    /// Why a page was not retired.
    RetireError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// The page was retired before.
        AlreadyRetired => "the page has been retired",
        /// The folio that starts with the page is being set up or freed, and 128 other bad pages wait for such a moment to pass: try
        /// again later.
        Unsettled => "the folio at the page is being set up or freed",
    }
}

errors! {
    /// Why a page was not pardoned.
    PardonError {
        /// The offset is outside the pgmap.
        OutOfRange => "the offset is outside the pgmap",
        /// The page is neither retired nor pending. Also while it is on its way from one to the other, if it was found bad during its
        /// folio's `folio_free`.
        NotBad => "the page is neither retired nor pending",
        /// The folio that starts with the page is being freed at this moment: try again later.
        Unsettled => "the folio at the page is being freed",
        /// The page is retired, and its range is being taken away.
        Leaving => "the page's range is being taken away",
        /// Another caller is pardoning a page or changing the ranges at this moment: try again later.
        Changing => "another page is being pardoned, or the ranges changed",
    }
}
