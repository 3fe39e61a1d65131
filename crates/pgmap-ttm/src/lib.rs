//! Buffer objects over device memory that a [`Pgmap`](pgmap_alloc::Pgmap) hands out in folios.
//!
//! An object ([`Bo`]) is a number of pages with contents. A [`Manager`] keeps them in memory types in the order of preference
//! that a [`Placement`] gives, pushes the least recently used ones out when room is short, and brings them back when there is
//! room again. It never touches a byte itself: everything that moves, moves through one trait, [`Mover`].
//!
//! # One move, step by step
//! 1. [`validate`](Manager::validate) compares where the object stands with its placement, and returns if they agree.
//! 2. The first pass asks each place for room without disturbing other objects. The second finds out which objects would have to
//!    leave, and pushes them out if that helps. Purgeable ones leave first, then the least recently used of the lowest priority.
//! 3. Room is charged to the object's owner first, then taken: folios of a pgmap, or pages of the host.
//! 4. The mover is given the pieces and returns a [`Ticket`]. From here on the object stands in its new place.
//! 5. The old folios stay in service as a *ghost* until the ticket has signalled, and are put only then.
//! 6. If the copy fails, now or later, the ghost's folios are the object's again: it stands where it was.
//! 7. What someone else still holds when it is given up stays charged until the last put.
//!
//! ```
//! # #[cfg(feature = "host")] {
//! use pgmap_alloc::{Params, Pgmap, Phys, PhysRange};
//! use pgmap_ttm::{ByObject, HostMover, Manager, ObjectParams, Place, ResourceManager};
//!
//! let vram = [PhysRange { start: Phys(0x1_0000_0000), pages: 512 }];
//! let pgmap = Pgmap::new(&Params::new(&vram), ByObject).expect("one sound range");
//!
//! // A mover without a device: two arrays of bytes, in the order in which the manager gets its memory.
//! let mut mover = HostMover::new(12, 0);
//! mover.add(512).expect("2 MiB");
//! mover.add(2048).expect("8 MiB");
//! let mut manager = Manager::new(mover, 12);
//! let device = Place::new(manager.add(ResourceManager::device(&pgmap)).expect("the same page size"));
//! let host = Place::new(manager.add(ResourceManager::host(2048)).expect("not empty"));
//!
//! // Two objects that do not fit together: the second pushes the first out, and what was in it comes along.
//! let first = manager.create(ObjectParams::new(400).evict_to(host)).expect("not larger than everything");
//! manager.validate(first, &device.into()).expect("an empty device has room");
//! let second = manager.create(ObjectParams::new(300).evict_to(host)).expect("not larger than everything");
//! manager.validate(second, &device.into()).expect("the first can go");
//! assert_eq!(manager.home(first), Ok(Some(host.memory)));
//!
//! // Room again: it comes back.
//! manager.free(second).expect("not pinned");
//! assert_eq!(manager.promote(u64::MAX).map(|promoted| promoted.objects), Ok(1));
//! assert_eq!(manager.home(first), Ok(Some(device.memory)));
//! # }
//! ```
//!
//! # What to know before use
//! * A manager is used through `&mut self`; to share one, put it behind one lock.
//! * A manager borrows its pgmaps (`&'p Pgmap`), so a pgmap cannot go away under an object.
//! * The bytes of a page that was never written are not defined. Write to an object, or read it, after
//!   [`wait`](Manager::wait), and [`pin`](Manager::pin) it for as long as something else uses its pieces.
//! * A mover of your own can be put through named cases, the story of TTM's own unit tests, by the feature `conformance`.
//! * Nothing here is on the hot path of the pgmap, so plain maps and trees are good enough.
#![no_std]
// `forbid` would be the word, but the adapter macro of intrusive-collections brings its own `allow`, and the compiler refuses
// any `allow` under a `forbid`. No file of this crate lifts the `deny`.
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(feature = "conformance")]
extern crate std;

// Layers: a file uses only files of the layers above it, and a test says in which order those of one layer stand.

// Words: plain values.
mod bo;
mod error;
mod failure;
mod mover;
mod piece;
mod place;

// Mechanism: each file keeps one book, or does one thing, and knows no manager.
mod account;
mod ask;
mod caches;
mod carve;
mod folios;
mod host_pages;
mod job;
mod lru;
mod object;
mod pick;
mod resource;
mod segment;
mod sketch;
mod windows;

// Composition: the manager, and its verbs, a few to a file.
mod manager;

mod audit;
mod device;
mod evict;
mod fault;
mod bounce;
mod cost;
mod ghost;
mod keep;
mod lists;
mod owner;
mod pin;
mod plan;
mod promote;
mod relocate;
mod unplug;
mod validate;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "host")]
mod host;

pub use account::Accounts;
pub use audit::{Audit, Inconsistency};
pub use bo::{Bo, ByObject, Candidate, Keeping, ObjectInfo, ObjectParams, Priority};
pub use caches::Caches;
pub use cost::Cost;
pub use device::Holder;
pub use error::{
    AddError, BulkError, CarveError, CopyError, CreateError, EvictError, FaultError, FenceError, FreeError, LookupError,
    OwnerError, PinError, Stale, UnknownMemory, UnpinError, UnplugError, ValidateError, WaitError,
};
pub use fault::Faulted;
#[cfg(feature = "host")]
pub use host::HostMover;
pub use keep::Retained;
pub use lists::{Bulk, LruCursor};
pub use manager::{Counters, Manager, Step};
pub use mover::Mover;
pub use pgmap_alloc::Owner;
pub use piece::{Piece, Ticket};
pub use place::{Flags, MemoryType, Pass, Place, Placement, Window};
pub use promote::Promoted;
pub use resource::{MemoryUsage, ResourceManager};
