//! Device-memory allocation for GPU drivers: pgmap offsets in folios of any order, truly linked to `folio_free`.
//!
//! A *pgmap* is a set of device-memory ranges. It hands out *offsets* (page indices, never page frame numbers), puts runs of
//! `2^order` pages *in service* as *folios* with one zero-based reference count each, calls the driver's `folio_free` at the
//! last put, and only then lets the pages be allocated again, at any order. It ends its life safely: kill, drain, tear down.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use pgmap_alloc::{Offset, Order, Params, Pgmap, Phys, PhysRange};
//!
//! let vram = [PhysRange { start: Phys(0x1_0000_0000), pages: 1 << 20 }];
//! let pgmap = Pgmap::new(&Params::new(&vram), ()).expect("one sound range");
//!
//! let folio = pgmap.alloc_folio(Order::PMD).expect("an empty pgmap has 2 MiB");
//! assert_eq!(folio.refs(), 1);
//! let head = folio.offset();
//! drop(folio); // the last put: folio_free, then idle
//!
//! let page = pgmap.request_folio(head, Order::ZERO).expect("any order over the same pages");
//! drop(page);
//! pgmap.kill().drain(|_| ()).teardown();
//! # }
//! ```
//!
//! # Principles
//!
//! - Two truths: the tables say what is idle, the folio word says everything about the folio that starts at a page. Everything
//!   else is a hint and says so.
//! - Request, get, put and free are lock-free, allocate nothing, never sleep and cost the same for every order.
//! - A caller's mistake is a precise error that changes nothing; it never panics.
//! - The memory that is managed is never touched; the metadata only where it is used.
//! - No unsafe code: integers are handed out, not pointers.
//!
//! # Layers
//!
//! A file uses only what stands above it here; a test proves it.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;

// Words: plain values, no atomics.
mod order;
mod offset;
mod page_word;
mod extent;
mod memory_type;
mod error;
mod standing;
mod trace;

// Mechanism.
mod sync;
mod memory;
mod table;
mod pool;
mod charge;
mod owners;
mod tally;
mod ledger;
mod state;
mod data;
mod ops;
mod folios;
mod lifetime;
mod marks;
mod wakee;
mod queue;
mod leaving;
mod waiters;

// Composition.
mod pgmap;
#[cfg(all(feature = "huge-pages", not(any(loom, test))))]
mod huge_pages;
mod service;
mod references;
mod folio;
mod lookup;
mod block;
mod clearing;
mod frozen;
mod share;
mod report;
mod retire;
mod special;
mod idle;
mod hotplug;
mod ending;
mod local;
mod handles;
mod per_cpu;
#[cfg(feature = "std")]
mod per_thread;
mod accounted;
mod charging;
#[cfg(all(test, feature = "alloc", not(loom)))]
mod scaling;

pub use accounted::{Accounted, OwnedRun};
pub use block::{Block, Blocks};
pub use charge::{Charge, Limits, Owner, Protection, Usage};
pub use charging::{Charging, OwnedBlock};
pub use data::{DataCell, DriverData};
pub use ending::{Drain, Drained, Holdout, Killed, UntilDrained};
pub use error::{
    AccessError, AccountedError, AddRangeError, AllocError, AllocExtentError, BlockError, BuildError, ChargeError, DrainError,
    ForgetError, FreeError, FreeManyError, FreezeError, GetError, Inconsistency, LookupError, MapError, PinError, PutError,
    RechargeError, RemoveRangeError, RequestError, ReserveError, RetireError, ReturnError, ScatterError, ShareError, SpecialError,
    SplitError, WaitError,
};
pub use extent::{Extent, ExtentError};
pub use folio::Folio;
pub use frozen::{Frozen, Parts};
pub use handles::Handles;
pub use hotplug::{Closed, Removal, UntilRemoved};
#[cfg(all(feature = "huge-pages", not(any(loom, test))))]
pub use huge_pages::HugePages;
pub use idle::UntilIdle;
pub use ledger::{Account, Refusals, Urgency};
pub use local::Local;
pub use memory_type::{Capability, FreeRule, MemoryType, Rules};
pub use offset::{Offset, Phys, PhysRange, Run, RunError};
pub use ops::{AfterFree, Failure, Freed, PgmapOps};
pub use order::{Order, OrderError};
pub use owners::Owners;
pub use page_word::{PageWord, PageWordError, Pages};
pub use per_cpu::{OnCpu, PerCpu};
#[cfg(feature = "std")]
pub use per_thread::PerThread;
pub use pgmap::{Pgmap, Storage, StorageNeeded, storage_needed};
pub use pool::fit::{self, Fit};
pub use pool::{
    ClearState, Contents, DirtyRun, DirtyRuns, ExtentParams, GenPool, IdleRuns, LocalPool, Mode, Params, Partition, PlacedRange,
    PoolNeeds, RangeSlot, Reservation, Reservations, Reuse, RunCounts, ScatterParams, Taken, Wish,
};
pub use references::{Counts, Put};
pub use report::{Census, RunState, Snapshot, SnapshotRun};
pub use retire::Retirement;
pub use share::Shared;
pub use special::SpecialSize;
pub use standing::{Lookup, Reason};
pub use state::{Expect, Word};
pub use table::Table;
#[cfg(feature = "tracing")]
pub use trace::ToTracing;
pub use trace::{Event, Trace};
pub use waiters::WaitSlot;
