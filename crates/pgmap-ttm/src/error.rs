//! One small `Copy` error per verb, with a variant for each thing a caller can act on.
//!
//! After any of them every object is readable and nothing is lost. Nobody else is moved for what is then refused for want of room.
//! Where others were pushed out before a copy was refused or a stop turned out to be full, they stay pushed out; and of an object
//! that goes in parts, those that have arrived stay there.

use thiserror::Error;

use crate::bo::Bo;
use crate::place::MemoryType;

/// The object was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no such object")]
pub struct Stale;

/// The manager has no such memory type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the manager has no {memory}")]
pub struct UnknownMemory {
    /// What was named.
    pub memory: MemoryType,
}

/// Why a copy was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// There is no direct way: stop in this memory type and go on from there.
    #[error("there is no direct way, only one through {0}")]
    Via(MemoryType),
    /// The copy could not be started.
    #[error("the copy could not be started")]
    Failed,
    /// The device is lost.
    #[error("the device is lost")]
    Lost,
}

/// Why a ticket will never signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FenceError {
    /// The copy went wrong.
    #[error("the copy failed")]
    Failed,
    /// The device is lost.
    #[error("the device is lost")]
    Lost,
}

/// Why a memory type was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddError {
    /// The manager has as many as it can have.
    #[error("a manager has at most {} memory types", MemoryType::MAX)]
    TooMany,
    /// No pages.
    #[error("a memory type needs at least one page")]
    NoPages,
    /// The host has no memory for it.
    #[error("the host has no memory for it")]
    OutOfMemory,
    /// The pgmap's pages are of another size than the manager's.
    #[error("the pgmap's pages are of 2^{pgmap} bytes, the manager's of 2^{manager}")]
    PageShift {
        /// Of the pgmap.
        pgmap: u32,
        /// Of the manager.
        manager: u32,
    },
}

/// Why an object was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// No pages.
    #[error("an object needs at least one page")]
    NoPages,
    /// Larger than every memory type.
    #[error("the object is larger than the largest memory type, which has {largest} pages")]
    TooLarge {
        /// The size of the largest.
        largest: u64,
    },
    /// Its eviction placement names a memory type that the manager lacks.
    #[error("the eviction placement names {0}, which the manager lacks")]
    UnknownMemory(MemoryType),
}

/// Why an object was not freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FreeError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// It is pinned.
    #[error("the object is pinned")]
    Pinned,
}

/// Why an object is not where its placement wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// A place names a memory type that the manager lacks.
    #[error("place {place} names {memory}, which the manager lacks")]
    UnknownMemory {
        /// Its index in the placement.
        place: usize,
        /// What it names.
        memory: MemoryType,
    },
    /// A place's window has no page.
    #[error("the window of place {place} has no page")]
    EmptyWindow {
        /// Its index in the placement.
        place: usize,
    },
    /// The object fits in none of the places, even if they were empty.
    #[error("the object fits in none of the places, even if they were empty")]
    TooLarge,
    /// The object would have to move, and is pinned.
    #[error("the object would have to move, and is pinned")]
    Pinned,
    /// Someone else holds a reference to one of its folios, so it cannot move.
    #[error("someone else holds a reference to one of the object's folios")]
    Busy,
    /// There is no room, and no one could be pushed out.
    #[error("there is no room, and no one to push out for it")]
    NoSpace,
    /// There is no direct way, and no room at the stop on it: not for one page, or not for as many as have to go together.
    #[error("there is no direct way, and no room in {0}, the stop on the way")]
    StopFull(MemoryType),
    /// The owner is at its limit in every place that has room.
    #[error("the object's owner is at its limit")]
    OverLimit,
    /// The owner has no account in a place that would have done.
    #[error("the object's owner has no account in one of the places")]
    NoAccount,
    /// The mover refused.
    #[error("the object was not copied: {0}")]
    Copy(CopyError),
}

/// Why an object, or as much as was asked for, was not pushed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvictError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// No such memory type.
    #[error("the manager has no {0}")]
    UnknownMemory(MemoryType),
    /// The object is pinned.
    #[error("the object is pinned")]
    Pinned,
    /// Someone else holds a reference to one of its folios.
    #[error("someone else holds a reference to one of the object's folios")]
    Busy,
    /// There is no room where it should go.
    #[error("there is no room where the object should go")]
    NoSpace,
    /// There is no direct way, and no room at the stop on it: not for one page, or not for as many as have to go together.
    #[error("there is no direct way, and no room in {0}, the stop on the way")]
    StopFull(MemoryType),
    /// The owner is at its limit where it should go.
    #[error("the object's owner is at its limit where the object should go")]
    OverLimit,
    /// The owner has no account where it should go.
    #[error("the object's owner has no account where the object should go")]
    NoAccount,
    /// The mover refused.
    #[error("the object was not copied: {0}")]
    Copy(CopyError),
}

/// Why a page is still not where it was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// The object has no such page.
    #[error("the object has only {pages} pages")]
    OutOfRange {
        /// How many it has.
        pages: u64,
    },
    /// No such memory type.
    #[error("the manager has no {0}")]
    UnknownMemory(MemoryType),
    /// The floor is above the order asked for.
    #[error("the floor is above the order asked for")]
    FloorAboveOrder,
    /// The window has no page.
    #[error("the window has no page")]
    EmptyWindow,
    /// The object is pinned.
    #[error("the object is pinned")]
    Pinned,
    /// Down to the floor, every run around this page reaches beyond the object or holds pages that are there already.
    #[error("no run down to the floor lies inside the object and holds only pages that are not there yet")]
    NoRun,
    /// There is no room, and no one could be pushed out.
    #[error("there is no room, and no one to push out for it")]
    NoSpace,
    /// There is no direct way, and no room at the stop on it: not for one page, or not for as many as have to go together.
    #[error("there is no direct way, and no room in {0}, the stop on the way")]
    StopFull(MemoryType),
    /// The owner is at its limit.
    #[error("the object's owner is at its limit")]
    OverLimit,
    /// Someone else holds a reference to one of its folios.
    #[error("someone else holds a reference to one of the object's folios")]
    Busy,
    /// The owner has no account there.
    #[error("the object's owner has no account there")]
    NoAccount,
    /// The mover refused.
    #[error("the pages were not copied: {0}")]
    Copy(CopyError),
}

/// Why an object was not pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PinError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// Some of its pages stand nowhere.
    #[error("the object is not wholly resident")]
    NotResident,
    /// The copy that should have brought it here failed: it is back where it was.
    #[error("a copy failed: the object is back where it was")]
    CopyFailed,
    /// The count of pins is at its end.
    #[error("too many pins")]
    TooMany,
}

/// Why an object was not unpinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnpinError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// It was not pinned.
    #[error("the object is not pinned")]
    NotPinned,
}

/// Why an object was not handed to another owner: it is the old one's as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// The new owner, or a parent of it, would be over its limit here.
    #[error("the new owner would be over its limit in {0}")]
    OverLimit(MemoryType),
    /// The new owner has no account here.
    #[error("the new owner has no account in {0}")]
    NoAccount(MemoryType),
}

/// What a wait found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// A copy failed since the last wait: the object is back where it was, and readable there.
    #[error("a copy failed: the object is back where it was")]
    CopyFailed,
}

/// Why a bulk was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BulkError {
    /// No such object.
    #[error("no such object")]
    Stale,
    /// No such bulk.
    #[error("no such bulk")]
    StaleBulk,
    /// The bulk has members.
    #[error("the bulk still has members")]
    NotEmpty,
}

/// Why pages were not carved out, or not given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CarveError {
    /// No such memory type, or it was unplugged.
    #[error("the manager has no {0}")]
    UnknownMemory(MemoryType),
    /// The window has no page.
    #[error("the window has no page")]
    EmptyWindow,
    /// A page is outside the memory type.
    #[error("page {page} is outside the memory type")]
    OutOfRange {
        /// That page.
        page: u64,
    },
    /// A page is in use.
    #[error("a page of the run at {page} is in use")]
    InUse {
        /// The first page of the run that was refused.
        page: u64,
    },
    /// Host memory has no carve-outs.
    #[error("{0} is no device memory")]
    NotDevice(MemoryType),
    /// Nothing is carved out here.
    #[error("nothing is carved out here")]
    NotCarved,
}

/// Why a lookup has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// No such memory type.
    #[error("the manager has no {0}")]
    UnknownMemory(MemoryType),
    /// Host pages are in no pgmap.
    #[error("{0} is no device memory")]
    NotDevice(MemoryType),
    /// The memory type has no such page.
    #[error("the memory type has no page {page}")]
    OutOfRange {
        /// That page.
        page: u64,
    },
}

/// Why a device was not unplugged. It can be used as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnplugError {
    /// No such memory type, or it was unplugged already.
    #[error("the manager has no {0}")]
    UnknownMemory(MemoryType),
    /// Host memory cannot be unplugged.
    #[error("{0} is no device memory")]
    NotDevice(MemoryType),
    /// This object is pinned there.
    #[error("an object is pinned there")]
    Pinned(Bo),
    /// This object could not be pushed out.
    #[error("an object could not be pushed out: {1}")]
    Evict(Bo, EvictError),
    /// The copy of this object failed: it is back on the device.
    #[error("the copy of an object failed: it is back on the device")]
    CopyFailed(Bo),
}

macro_rules! from_stale {
    ($($error:ident),+) => {$(
        impl From<Stale> for $error {
            fn from(_: Stale) -> $error {
                $error::Stale
            }
        }
    )+};
}

from_stale!(OwnerError, FreeError, ValidateError, EvictError, FaultError, PinError, UnpinError, WaitError, BulkError);
