//! A peer tied to every work, so that a table can walk over peers of different types.

use crate::check::{self, Fault};
use crate::peer::{Hand, Mutexed, Peer, SyncPeer};
use crate::peers::bitmap::Bitmap;
use crate::peers::buddy_system::BuddySystem;
use crate::peers::floor::Floor;
use crate::peers::gpu_alloc::GpuAlloc;
use crate::peers::in_bulk::InBulk;
use crate::peers::nothing::Nothing;
use crate::peers::offset_allocator::OffsetAllocator;
use crate::peers::ours::{Counted, FolioHandle, Folios, Pool, PoolHandle, Tight};
use crate::peers::per_cpu::{FoliosPerCpu, PoolPerCpu};
use crate::sample::{Budget, Outcome, Skip};
use crate::trace::Trace;
use crate::works::metadata::State;
use crate::works::{By, Kind, Work, alternating, bulk, churn, fill, folio, hot_pair, metadata, packing, tail, threads, wishing};

/// One column of the table.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    check: fn() -> Result<(), Fault>,
    measure: fn(&Work, Budget) -> Outcome,
    /// Where it takes a mutex to share it between threads.
    mutexed: Option<fn(&Work, Budget) -> Outcome>,
    metadata: fn(u64, State) -> Result<f64, Skip>,
    own: Own,
}

/// A work in bulk, in a pool of so many pages that has been churned like this.
type Bulk = fn(u64, Option<&Trace>, Budget) -> Outcome;

/// What only some can do.
#[derive(Clone, Copy, Default)]
struct Own {
    /// A folio's life, with its counts.
    cycle: Option<fn(u64, u32, Budget) -> Outcome>,
    /// Bulk by verbs for it: as a list, and by the word.
    bulk: Option<[Bulk; 2]>,
    /// Nothing: no allocator, but what the harness costs. Nothing to check, nothing but time to measure.
    harness: bool,
}

/// Every peer that this build knows, ours first.
pub fn all() -> Vec<Entry> {
    vec![
        Entry::in_bulk::<PoolHandle>(),
        Entry::in_bulk::<PoolPerCpu>(),
        Entry::in_bulk::<Pool>(),
        Entry::in_bulk::<Tight>(),
        Entry::counted::<FolioHandle>(),
        Entry::counted::<FoliosPerCpu>(),
        Entry::counted::<Folios>(),
        Entry::single::<OffsetAllocator>(),
        Entry::single::<GpuAlloc>(),
        Entry::single::<BuddySystem>(),
        Entry::single::<Bitmap>(),
        #[cfg(feature = "vma")]
        Entry::single::<crate::peers::vma::Vma>(),
        Entry::harness::<Floor>(),
        Entry::harness::<Nothing>(),
    ]
}

/// What the child is asked for that [`metadata::in_child`] starts.
pub fn metadata_of(what: &str) -> Option<f64> {
    let (pages, state, peer) = metadata::asked(what)?;
    let entry = all().into_iter().find(|entry| entry.name == peer)?;
    (entry.metadata)(pages, state).ok()
}

impl Entry {
    /// A pool of ours.
    fn in_bulk<P: SyncPeer + InBulk>() -> Entry {
        let check = || {
            check::alone::<P>()?;
            check::together::<P>()?;
            check::in_bulk::<P>()
        };
        let own = Own { bulk: Some([bulk::own_list::<P>, bulk::by_word::<P>]), ..Own::default() };
        Entry { check, own, ..Entry::of::<P, P>() }
    }

    /// A pgmap of ours.
    fn counted<P: SyncPeer + Counted>() -> Entry {
        Entry { own: Own { cycle: Some(folio::cycle::<P>), ..Own::default() }, ..Entry::of::<P, P>() }
    }

    /// A peer that needs a mutex where threads are involved, and only there.
    fn single<P: Peer + Hand + Send>() -> Entry {
        Entry { mutexed: Some(measure::<Mutexed<P>, Mutexed<P>>), ..Entry::of::<P, Mutexed<P>>() }
    }

    /// No allocator.
    fn harness<P: SyncPeer>() -> Entry {
        Entry { check: || Ok(()), own: Own { harness: true, ..Own::default() }, ..Entry::of::<P, P>() }
    }

    fn of<P: Peer, S: SyncPeer>() -> Entry {
        Entry {
            name: P::NAME,
            check: || {
                check::alone::<P>()?;
                check::together::<S>()
            },
            measure: measure::<P, S>,
            mutexed: None,
            metadata: metadata::measure::<P>,
            own: Own::default(),
        }
    }

    /// Overlap, alignment, range, and that everything comes back: before any timing.
    pub fn check(&self) -> Result<(), Fault> {
        (self.check)()
    }

    /// One repetition of one work.
    pub fn measure(&self, work: &Work, budget: Budget) -> Outcome {
        if work.by == By::Mutexed {
            return self.mutexed.map_or(Err(Skip::Unsupported), |measure| measure(work, budget));
        }
        match (&work.kind, self.own) {
            (Kind::Cycle(order), own) => own.cycle.map_or(Err(Skip::Unsupported), |cycle| cycle(work.pages, *order, budget)),
            (Kind::Bulk(trace), Own { bulk: Some([list, _]), .. }) => list(work.pages, trace.as_deref(), budget),
            (Kind::BulkWords(trace), own) => {
                own.bulk.map_or(Err(Skip::Unsupported), |[_, by_word]| by_word(work.pages, trace.as_deref(), budget))
            }
            (_, Own { harness: true, .. }) if !work.is_timing() => Err(Skip::Unsupported),
            (Kind::Metadata(state), _) => metadata::in_child(self.name, *state, work.pages),
            _ => (self.measure)(work, budget),
        }
    }
}

fn measure<P: Peer, S: SyncPeer>(work: &Work, budget: Budget) -> Outcome {
    let pages = work.pages;
    match &work.kind {
        Kind::HotPair(order) => hot_pair::hot_pair::<P>(pages, *order, budget),
        Kind::Churn(_, trace) => churn::churn::<P>(pages, trace, budget),
        Kind::Fill(order) => fill::fill_and_free::<P>(pages, order, budget),
        Kind::Bulk(trace) => bulk::list::<P>(pages, trace.as_deref(), budget),
        Kind::Alternating(wanted) => alternating::alternating::<P>(*wanted, budget),
        Kind::Wishing(order, percent) => wishing::wishing::<P>(pages, *order, *percent, budget),
        Kind::Threads(traces) => threads::churn::<S>(pages, traces, budget),
        Kind::CrossFree => threads::cross_free::<S>(pages, budget),
        Kind::Packing(trace) => packing::packing::<P>(pages, trace, budget),
        Kind::Tail(_, trace) => tail::tail::<P>(pages, trace, budget),
        Kind::Build => folio::build::<P>(pages),
        Kind::Cycle(_) | Kind::BulkWords(_) | Kind::Metadata(_) => Err(Skip::Unsupported),
    }
}
