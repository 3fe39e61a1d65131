//! What a mover has to pass: the story of TTM's own unit tests, told to any mover, with every byte compared.
//!
//! A driver's mover is the one thing that this crate cannot test. Implement [`Subject`] for it, make a [`Rig`] over a pgmap whose
//! memory it moves, and run each case of [`mover_cases!`](crate::mover_cases):
//!
//! ```
//! # #[cfg(feature = "host")] {
//! use pgmap_alloc::{Params, Pgmap, Phys, PhysRange};
//! use pgmap_ttm::conformance::{Rig, SWAP, cases};
//! use pgmap_ttm::{ByObject, HostMover};
//!
//! macro_rules! run {
//!     ($($case:ident($vram:literal, $host:literal))*) => {$(
//!         // In a real test: `#[test] fn $case()`.
//!         let ranges = [PhysRange { start: Phys(1 << 30), pages: $vram }];
//!         let pgmap = Pgmap::new(&Params { page_shift: 9, ..Params::new(&ranges) }, ByObject).unwrap();
//!         let mut mover = HostMover::new(9, 0);
//!         [$vram, $host, SWAP].into_iter().for_each(|pages| mover.add(pages).unwrap());
//!         cases::$case(Rig::new(&pgmap, mover, $host));
//!     )*};
//! }
//! pgmap_ttm::mover_cases!(run);
//! # }
//! ```
//!
//! Nothing here is for use outside of tests: what is wrong is said by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod cases;
mod rig;

use alloc::boxed::Box;

use crate::mover::Mover;
use crate::piece::Piece;
use crate::place::MemoryType;

pub use rig::{OWNERS, Rig, SWAP, assert_idle, check, check_resident, contents, fill, settle};

/// A mover that can be looked behind.
pub trait Subject: Mover {
    /// Bytes of a page: a multiple of eight.
    fn page_bytes(&self) -> usize;

    /// Puts bytes into a piece that no copy is at, and returns when they are there.
    fn write_piece(&mut self, piece: Piece, bytes: &[u8]);

    /// Takes the bytes of a piece that no copy is about to write.
    fn read_piece(&mut self, piece: Piece, into: &mut [u8]);

    /// No copy that is started from now on ends until what is returned is called, from whichever thread: a fence that has not
    /// signalled. A wait for such a copy lasts until then.
    fn hold(&mut self) -> Box<dyn FnOnce() + Send>;

    /// From now on there is no direct way between `from` and `to`, only one through `via`: the device memory, the swap, the host.
    fn detour(&mut self, from: MemoryType, to: MemoryType, via: MemoryType);
}

/// Calls a macro with all cases, each with the pages of the device's and of the host's memory that it wants:
/// `name(device, host) ...`. Each name is a function in [`conformance::cases`](crate::conformance::cases).
#[macro_export]
macro_rules! mover_cases {
    ($with:ident) => {
        $with! {
            req_53_basic(64, 64)
            req_53_invalid_placement_changes_nothing(16, 64)
            req_53_same_placement_does_nothing(64, 64)
            req_53_failed_allocation_leaves_the_object(64, 64)
            req_53_pinned_is_refused(64, 64)
            req_53_busy_placement_leads_to_the_next(16, 64)
            req_53_multihop_bounces(64, 64)
            req_53_multihop_in_parts(64, 6)
            req_53_multihop_failing_half_way_goes_back(64, 64)
            req_55_move_fence_not_signalled_is_waited_for(16, 64)
            req_55_move_fence_signalled_costs_no_wait(16, 64)
            req_53_happy_evict(16, 64)
            req_53_all_pinned_is_no_space(16, 64)
            req_53_allowed_only(16, 64)
            req_53_deleted_goes_before_the_living(16, 64)
            req_53_busy_domain_leaves_everyone(16, 16)
            req_53_gutting(16, 64)
            req_53_no_placement_takes_the_pages_at_once_when_nothing_is_under_way(64, 64)
            req_53_no_placement_keeps_the_pages_until_the_copy_has_signalled(64, 64)
            req_53_recursive_evict(16, 16)
            req_53_swapout(16, 32)
        }
    };
}
