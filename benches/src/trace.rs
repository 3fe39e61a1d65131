//! What is done, worked out beforehand from a seed: every peer gets the same steps.

use crate::peer::Hand;

/// One call: a run of `2^order` pages comes into a slot, or the run in a slot is freed.
#[derive(Clone, Copy)]
pub struct Step {
    slot: u32,
    order: u8,
    alloc: bool,
}

/// A pool brought to an occupancy and then kept there.
pub struct Trace {
    /// How many slots the steps name.
    pub slots: usize,
    /// From an idle pool to the wanted occupancy; allocations only.
    pub fill: Vec<Step>,
    /// Allocations and frees at that occupancy.
    pub churn: Vec<Step>,
}

impl Trace {
    /// Fills to `wanted` pages, then `steps` more.
    pub fn churn(wanted: u64, steps: usize, seed: u64) -> Trace {
        let mut sim = Sim::new(seed);
        let fill = sim.fill(wanted);
        let churn = sim.churn(wanted, steps);
        Trace { slots: sim.slots as usize, fill, churn }
    }

    /// Reads all steps of the churn: so that the first peer of a row does not find them further away than the others do.
    pub fn warm(&self) {
        let allocs = self.churn.iter().filter(|step| step.is_alloc()).count();
        std::hint::black_box(allocs);
    }
}

/// A pool that is churned and then goes down to one occupancy after another.
pub struct Descent {
    /// How it goes down.
    pub way: Way,
    /// How many slots the steps name.
    pub slots: usize,
    /// From an idle pool to four fifths, and a churn there.
    pub fill: Vec<Step>,
    /// Down to each occupancy in turn.
    pub phases: Vec<Phase>,
}

/// One occupancy of a descent.
pub struct Phase {
    /// Down to it, and the first half of the churn there.
    pub down: Vec<Step>,
    /// The second half, while which packing is watched.
    pub watched: Vec<Step>,
}

/// How a pool's occupancy goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Random frees and nothing else: what is left idle shows how runs were packed beside each other.
    Emptied,
    /// Random frees, then a churn at the new occupancy: the peer may mend its packing.
    Churned,
}

impl Descent {
    /// `steps` steps of churn at 80 %, then down to each of `percents`.
    pub fn new(pages: u64, percents: &[u64], way: Way, steps: usize, seed: u64) -> Descent {
        let mut sim = Sim::new(seed);
        let full = pages * 80 / 100;
        let mut fill = sim.fill(full);
        fill.extend(sim.churn(full, steps));
        let phases = percents.iter().map(|percent| {
            let wanted = pages * percent / 100;
            let mut phase = Phase { down: sim.empty(wanted), watched: vec![] };
            if way == Way::Churned {
                phase.down.extend(sim.churn(wanted, steps / 2));
                phase.watched = sim.churn(wanted, steps / 2);
            }
            phase
        });
        Descent { way, phases: phases.collect(), slots: sim.slots as usize, fill }
    }
}

/// Orders that churn mixes: each of 0 to 9 equally often, so that half the pages are in 2 MiB folios.
const ORDERS: std::ops::RangeInclusive<u8> = 0..=9;

/// Which slots are taken, without any allocator.
struct Sim {
    rng: fastrand::Rng,
    /// The order of the next allocation.
    next: u8,
    used: u64,
    slots: u32,
    unused: Vec<u32>,
    live: Vec<(u32, u8)>,
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut rng = fastrand::Rng::with_seed(seed);
        let next = rng.u8(ORDERS);
        Sim { rng, next, used: 0, slots: 0, unused: Vec::new(), live: Vec::new() }
    }

    /// Allocations until `wanted` pages are taken.
    fn fill(&mut self, wanted: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.fits(wanted) {
            steps.push(self.alloc());
        }
        steps
    }

    /// While there is room the next run comes in, else a random one goes.
    fn churn(&mut self, wanted: u64, steps: usize) -> Vec<Step> {
        (0..steps).map(|_| if self.fits(wanted) { self.alloc() } else { self.free() }).collect()
    }

    /// Random runs go until no more than `wanted` pages are taken.
    fn empty(&mut self, wanted: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.used > wanted {
            steps.push(self.free());
        }
        steps
    }

    fn fits(&self, wanted: u64) -> bool {
        self.used + (1 << self.next) <= wanted
    }

    fn alloc(&mut self) -> Step {
        let order = self.next;
        self.next = self.rng.u8(ORDERS);
        let slot = self.unused.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.live.push((slot, order));
        self.used += 1 << order;
        Step { slot, order, alloc: true }
    }

    fn free(&mut self) -> Step {
        let victim = self.rng.usize(..self.live.len());
        let (slot, order) = self.live.swap_remove(victim);
        self.unused.push(slot);
        self.used -= 1 << order;
        Step { slot, order, alloc: false }
    }
}

/// A random order in which `0..count` are visited once each.
pub fn shuffled(count: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    order
}

/// Where a replay keeps what it was handed.
pub struct Slots<B> {
    slots: Vec<Option<(B, u8)>>,
    /// How many allocations the peer refused; their slots stay empty and their frees do nothing.
    pub refused: u64,
}

impl<B> Slots<B> {
    /// As many as the trace names, written once so that no measurement meets their first touch.
    pub fn new(count: usize) -> Slots<B> {
        Slots { slots: (0..count).map(|_| None).collect(), refused: 0 }
    }

    /// Carries out one step.
    #[inline]
    pub fn apply(&mut self, hand: &mut impl Hand<Block = B>, step: Step) {
        let slot = &mut self.slots[step.slot as usize];
        if step.alloc {
            let block = hand.alloc(u32::from(step.order));
            self.refused += u64::from(block.is_none());
            *slot = block.map(|block| (block, step.order));
        } else if let Some((block, order)) = slot.take() {
            hand.free(block, u32::from(order));
        }
    }

    /// Every run that is taken now, with its order.
    pub fn live(&self) -> impl Iterator<Item = (&B, u8)> {
        self.slots.iter().flatten().map(|(block, order)| (block, *order))
    }

    /// Frees every run.
    pub fn drain(&mut self, hand: &mut impl Hand<Block = B>) {
        for (block, order) in self.slots.iter_mut().filter_map(Option::take) {
            hand.free(block, u32::from(order));
        }
    }
}

impl Step {
    /// Whether this step allocates.
    pub fn is_alloc(self) -> bool {
        self.alloc
    }
}
