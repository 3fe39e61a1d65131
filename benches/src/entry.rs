//! A peer tied to every work, so that a table can walk over peers of different types.

use crate::check::{self, Fault};
use crate::peer::{Hand, Mutexed, Peer, SyncPeer};
use crate::peers::bitmap::Bitmap;
use crate::peers::buddy_system::BuddySystem;
use crate::peers::gpu_alloc::GpuAlloc;
use crate::peers::nothing::Nothing;
use crate::peers::offset_allocator::OffsetAllocator;
use crate::peers::ours::{FolioHandle, Folios, Pool, PoolHandle};
use crate::sample::{Budget, Outcome, Skip};
use crate::works::{By, Kind, Work, bulk, churn, fill, folio, hot_pair, metadata, packing, tail, threads};

/// One column of the table.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    shape: Shape,
    check: fn() -> Result<(), Fault>,
    measure: fn(&Work, Budget) -> Outcome,
    /// Where it takes a mutex to share it between threads.
    mutexed: Option<fn(&Work, Budget) -> Outcome>,
    metadata: fn(u64, bool) -> Result<f64, Skip>,
}

#[derive(Clone, Copy)]
enum Shape {
    Allocator,
    /// Has a folio's life to measure, too.
    Counted(fn(u64, u32, Budget) -> Outcome),
    /// The harness alone: nothing to check, nothing but time to measure.
    Harness,
}

/// Every peer that this build knows, ours first.
pub fn all() -> Vec<Entry> {
    vec![
        Entry::shared::<PoolHandle>(Shape::Allocator),
        Entry::shared::<Pool>(Shape::Allocator),
        Entry::shared::<FolioHandle>(Shape::Counted(folio::cycle::<FolioHandle>)),
        Entry::shared::<Folios>(Shape::Counted(folio::cycle::<Folios>)),
        Entry::single::<OffsetAllocator>(),
        Entry::single::<GpuAlloc>(),
        Entry::single::<BuddySystem>(),
        Entry::single::<Bitmap>(),
        #[cfg(feature = "vma")]
        Entry::single::<crate::peers::vma::Vma>(),
        Entry::shared::<Nothing>(Shape::Harness),
    ]
}

impl Entry {
    /// A peer that threads may share as it is.
    fn shared<S: SyncPeer>(shape: Shape) -> Entry {
        Entry::of::<S, S>(shape)
    }

    /// A peer that needs a mutex where threads are involved, and only there.
    fn single<P: Peer + Hand + Send>() -> Entry {
        let mutexed = Some(measure::<Mutexed<P>, Mutexed<P>> as fn(&Work, Budget) -> Outcome);
        Entry { mutexed, ..Entry::of::<P, Mutexed<P>>(Shape::Allocator) }
    }

    fn of<P: Peer, S: SyncPeer>(shape: Shape) -> Entry {
        Entry {
            name: P::NAME,
            shape,
            check: || {
                check::alone::<P>()?;
                check::together::<S>()
            },
            measure: measure::<P, S>,
            mutexed: None,
            metadata: |pages, full| {
                if full { metadata::bytes_per_page::<P>(pages) } else { metadata::kib_when_built::<P>(pages) }
            },
        }
    }

    /// Overlap, alignment, range, and that everything comes back: before any timing.
    pub fn check(&self) -> Result<(), Fault> {
        if matches!(self.shape, Shape::Harness) { Ok(()) } else { (self.check)() }
    }

    /// One repetition of one work.
    pub fn measure(&self, work: &Work, budget: Budget) -> Outcome {
        if work.by == By::Mutexed {
            return self.mutexed.map_or(Err(Skip::Unsupported), |measure| measure(work, budget));
        }
        match (&work.kind, self.shape) {
            (Kind::Cycle(order), Shape::Counted(cycle)) => cycle(work.pages, *order, budget),
            (Kind::Cycle(_), _) => Err(Skip::Unsupported),
            (_, Shape::Harness) if !work.is_timing() => Err(Skip::Unsupported),
            (Kind::Metadata, _) => metadata::in_child(self.name, true, work.pages),
            (Kind::Untouched, _) => metadata::in_child(self.name, false, work.pages),
            _ => (self.measure)(work, budget),
        }
    }

    /// Host memory in this process, when `full` of single pages or just built; see [`metadata`].
    pub fn metadata(&self, pages: u64, full: bool) -> Result<f64, Skip> {
        (self.metadata)(pages, full)
    }
}

fn measure<P: Peer, S: SyncPeer>(work: &Work, budget: Budget) -> Outcome {
    let pages = work.pages;
    match &work.kind {
        Kind::HotPair(order) => hot_pair::hot_pair::<P>(pages, *order, budget),
        Kind::Churn(_, trace) => churn::churn::<P>(pages, trace, budget),
        Kind::Fill(order) => fill::fill_and_free::<P>(pages, order, budget),
        Kind::Bulk => bulk::bulk::<P>(pages, budget),
        Kind::Threads(traces) => threads::churn::<S>(pages, traces, budget),
        Kind::CrossFree => threads::cross_free::<S>(pages, budget),
        Kind::Packing(trace) => packing::packing::<P>(pages, trace, budget),
        Kind::Tail(_, trace) => tail::tail::<P>(pages, trace, budget),
        Kind::Build => folio::build::<P>(pages),
        Kind::Cycle(_) | Kind::Metadata | Kind::Untouched => Err(Skip::Unsupported),
    }
}
