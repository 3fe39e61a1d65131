//! The hot paths as fixed pieces of work: the same steps in every run, so that a changed count is a changed path.

use std::hint::black_box;

use pgmap_alloc::{Offset, Order, PageWord};

use crate::peer::{Hand, Peer, SyncPeer};
use crate::peers::in_bulk::InBulk;
use crate::peers::nothing::Nothing;
use crate::peers::ours::{Counted, FolioHandle, Folios, Pool, PoolHandle, Tight};
use crate::peers::per_cpu::{FoliosPerCpu, PoolPerCpu};
use crate::trace::{Slots, Trace, shuffled};
use crate::works::GIB;

/// The pool of most cases, as in the table of times.
const POOL: u64 = 16 * GIB;
/// The pool that is filled page by page: callgrind is slow, and a page costs the same in every pool.
const SMALL: u64 = GIB / 4;
/// Pairs and cycles per case: enough that entering it does not show.
const ROUNDS: u64 = 2_000;
/// Steps of the churn before those that are counted, and of those.
const STEPS: usize = 40_000;
/// Pages of a bulk call, and pages that travel together from one handle to another.
const PARCEL: usize = 512;
/// Parcels per case.
const PARCELS: u64 = 32;

/// One hot path by one way through the allocator.
pub struct Case {
    /// What is done.
    pub work: String,
    /// Who does it.
    pub path: &'static str,
    /// What a count is for.
    pub unit: &'static str,
    /// How many units a run does.
    pub units: u64,
    prepare: Box<dyn FnOnce() -> Ready>,
}

/// A case whose pool has been brought into the state from which it is counted.
pub struct Ready(Box<dyn FnMut()>);

impl Case {
    /// All that is not counted.
    pub fn prepare(self) -> Ready {
        (self.prepare)()
    }
}

impl Ready {
    /// The counted part. What it returns holds the pool's users: they are to go uncounted.
    pub fn run(mut self) -> Ready {
        (self.0)();
        self
    }
}

/// Every case, in the order of the table.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for order in [0, 4, 9, 18] {
        cases.extend([hot_pair::<PoolHandle>(order), hot_pair::<PoolPerCpu>(order), hot_pair::<Pool>(order)]);
    }
    for order in [0, 9, 18] {
        cases.extend([cycle::<FolioHandle>(order), cycle::<FoliosPerCpu>(order), cycle::<Folios>(order)]);
    }
    cases.extend([churn::<PoolHandle>(), churn::<PoolPerCpu>(), churn::<Pool>(), churn::<Tight>(), churn::<Nothing>()]);
    cases.extend([fill::<PoolHandle>(), fill::<PoolPerCpu>(), fill::<Pool>(), fill::<Nothing>()]);
    cases.extend([free::<PoolHandle>(), free::<PoolPerCpu>(), free::<Pool>(), free::<Nothing>()]);
    cases.extend([bulk_list::<PoolHandle>(), bulk_list::<Pool>(), bulk_words::<PoolHandle>(), bulk_words::<Pool>()]);
    cases.extend([cross_free::<PoolHandle>(), cross_free::<Pool>(), cross_free::<Nothing>()]);
    cases
}

/// A run taken and given back, over and over, in a pool of which one page stays taken.
fn hot_pair<P: Peer + 'static>(order: u32) -> Case {
    case(format!("hot pair, order {order}"), "pair", ROUNDS, POOL, move |peer: &'static mut P| {
        let mut hand = peer.hand();
        let kept = hand.alloc(0);
        let pairs = move || {
            black_box(&kept);
            for _ in 0..ROUNDS {
                if let Some(block) = hand.alloc(black_box(order)) {
                    hand.free(black_box(block), order);
                }
            }
        };
        warmed(pairs)
    })
}

/// A folio's whole life.
fn cycle<C: Counted + 'static>(order: u32) -> Case {
    case(format!("folio cycle, order {order}"), "cycle", ROUNDS, POOL, move |peer: &'static mut C| {
        let mut hand = peer.hand();
        let order = Order::new(order).unwrap_or_default();
        warmed(move || {
            for _ in 0..ROUNDS {
                black_box(C::cycle(&mut hand, black_box(order)));
            }
        })
    })
}

/// Mixed orders at 80 %; the first half of the steps is not counted.
fn churn<P: Peer + 'static>() -> Case {
    case("churn at 80 %, orders 0-9".into(), "pair", STEPS as u64 / 2, POOL, |peer: &'static mut P| {
        let mut hand = peer.hand();
        let trace = Trace::churn(POOL * 80 / 100, 2 * STEPS, 1);
        let mut slots = Slots::new(trace.slots);
        let (warm, counted) = trace.churn.split_at(STEPS);
        trace.fill.iter().chain(warm).for_each(|step| slots.apply(&mut hand, *step));
        let counted = counted.to_vec();
        Box::new(move || counted.iter().for_each(|step| slots.apply(&mut hand, *step)))
    })
}

/// A pool taken page by page.
fn fill<P: Peer + 'static>() -> Case {
    case("fill with order 0".into(), "page", SMALL, SMALL, |peer: &'static mut P| {
        let mut hand = peer.hand();
        let mut blocks = Vec::with_capacity(SMALL as usize);
        Box::new(move || blocks.extend((0..SMALL).map(|_| hand.alloc(0))))
    })
}

/// A pool that is full of single pages, given back in random order.
fn free<P: Peer + 'static>() -> Case {
    case("free in random order".into(), "page", SMALL, SMALL, |peer: &'static mut P| {
        let mut hand = peer.hand();
        let mut blocks: Vec<_> = (0..SMALL).map(|_| hand.alloc(0)).collect();
        let order = shuffled(SMALL as u32, 2);
        Box::new(move || {
            for &page in &order {
                if let Some(block) = blocks[page as usize].take() {
                    hand.free(block, 0);
                }
            }
        })
    })
}

/// 512 single pages at once as a list, and all of them back.
fn bulk_list<P: InBulk + 'static>() -> Case {
    case("bulk 512 pages, there and back".into(), "page", PARCELS * PARCEL as u64, POOL, |peer: &'static mut P| {
        let mut hand = peer.hand();
        let mut pages = [Offset::new(0); PARCEL];
        let kept = hand.alloc(0);
        warmed(move || {
            black_box(&kept);
            for _ in 0..PARCELS {
                P::alloc_many(&mut hand, &mut pages);
                P::free_many(&mut hand, black_box(&pages));
            }
        })
    })
}

/// The same by the word.
fn bulk_words<P: InBulk + 'static>() -> Case {
    case("bulk 512 pages by the word".into(), "page", PARCELS * PARCEL as u64, POOL, |peer: &'static mut P| {
        let mut hand = peer.hand();
        let mut words = [PageWord::EMPTY; PARCEL];
        let kept = hand.alloc(0);
        warmed(move || {
            black_box(&kept);
            for _ in 0..PARCELS {
                let count = P::alloc_words(&mut hand, PARCEL as u64, &mut words).unwrap_or(0);
                P::free_words(&mut hand, black_box(&words[..count]));
            }
        })
    })
}

/// Single pages allocated by one hand and freed by another: what a thread pays that frees for others, without the transfers.
fn cross_free<S: SyncPeer + 'static>() -> Case {
    case("freed by another, order 0".into(), "page", PARCELS * PARCEL as u64, POOL, |peer: &'static mut S| {
        let peer: &'static S = peer;
        let (mut from, mut to) = (peer.share(), peer.share());
        let mut parcel = Vec::with_capacity(PARCEL);
        warmed(move || {
            for _ in 0..PARCELS {
                parcel.extend((0..PARCEL).filter_map(|_| from.alloc(0)));
                parcel.drain(..).for_each(|block| to.free(block, 0));
            }
        })
    })
}

/// Work that is done once before it is counted: the first time is another path.
fn warmed(mut work: impl FnMut() + 'static) -> Box<dyn FnMut()> {
    work();
    Box::new(work)
}

/// A case of `P` in a pool of `pages`; `prepare` brings the pool into its state and says what is counted.
fn case<P: Peer + 'static>(
    work: String,
    unit: &'static str,
    units: u64,
    pages: u64,
    prepare: impl FnOnce(&'static mut P) -> Box<dyn FnMut()> + 'static,
) -> Case {
    let prepare = move || {
        let peer = P::build(pages).unwrap_or_else(|| unreachable!("the sizes are fixed, and within everyone's reach"));
        // The process ends with its case, and a pool that stays lets its users be kept beside it.
        Ready(prepare(Box::leak(Box::new(peer))))
    };
    Case { work, path: P::NAME, unit, units, prepare: Box::new(prepare) }
}
