//! Allocating from a pool, and who pays.

use core::fmt;

use super::{FreeError, RequestError};
use crate::offset::Offset;

errors! {
    /// Why no run was allocated.
    AllocError {
        /// No run of this order exists in the pool even when it is empty.
        TooLarge => "the pool never holds a run of this order",
        /// Fewer pages are idle than were asked for. Per-CPU handles hold `cached` idle pages; they have been asked to give
        /// them back, so if it is not 0 another try soon may succeed.
        NoSpace { cached: u64 } => "not enough pages are idle ({cached} more in handles)",
        /// Enough pages are idle, but they are scattered over smaller runs; `cached` as above. Eviction of a neighbour may help.
        Fragmented { cached: u64 } => "enough pages are idle, but no run is large enough ({cached} more in handles)",
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
        /// The page from which alignment should count belongs to no range, so it has no address.
        BaseOutside { base: Offset } => "page {base}, from which alignment should count, lies outside the pool",
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
        /// No place in the window is known to be cleared.
        NoneCleared => "no place is known to be cleared",
        /// Runs were in motion (split, merged, given back) at each of several searches, so that a refusal could not be proved.
        Contended => "runs were in motion during every search",
        /// The pgmap has been killed.
        Dying => "the pgmap is dying",
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
        /// The pages come in more runs, or words, than the caller's list has room for; `cached` as above.
        ListFull { room: usize, cached: u64 } => "the pages come in more than {room} parts ({cached} pages more in handles)",
        /// Not enough pages of the window are known to be cleared, in runs of the smallest size that is wanted.
        NoneCleared => "not enough pages are known to be cleared",
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
    /// Why it is not certain that nothing is known any more of what idle pages hold.
    ForgetError {
        /// Runs were in motion (split, merged, given back) each time that idle pages were looked at: some of them may still count as
        /// cleared. What was found has been forgotten; another try may prove it.
        Contended => "runs were in motion during every look",
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
        /// An owner's parent must come before him.
        Parent { owner: u32, parent: u32 } => "owner {parent} cannot be the parent of owner {owner}",
        /// The owner or one of his parents was charged by others at the same moment; nothing has changed.
        Contended => "the owner's parents were charged by others during the call",
    }
}

errors! {
    /// Why a pool or a pgmap with an account allocated nothing.
    AccountedError {
        /// The owner was not charged.
        Owner { error: ChargeError } => "{error}",
        /// What is left is for critical users.
        Watermark { idle: u64, watermark: u64 } => "the last {watermark} pages are for critical users, {idle} are idle",
        /// Enough pages are idle, but no run is large enough.
        Fragmented { idle: u64 } => "{idle} pages are idle, but scattered",
        /// The pool refused.
        Pool { error: AllocError } => "{error}",
        /// The pgmap refused these pages.
        Request { error: RequestError } => "{error}",
    }
}

errors! {
    /// Why the charge of folios was not handed to another owner: all of it is where it was.
    RechargeError {
        /// No folio in service starts here, or it is frozen.
        NotInService { head: Offset } => "no folio in service that can be held starts at {head}",
        /// The owner does not pay for this folio, or the list names the folio twice.
        NotCharged { head: Offset, owner: u32 } => "owner {owner} does not pay for the folio at {head}",
        /// The new owner was not charged.
        Owner { error: ChargeError } => "{error}",
        /// One of the folios was split at the same moment: try again.
        Changed => "a folio was split during the call",
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
