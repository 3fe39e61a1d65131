//! What the logical CPUs do: one step of one of them after another, the same in every run.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::offset::{Phys, PhysRange, Run};
use crate::order::Order;
use crate::per_cpu::PerCpu;
use crate::pool::{GenPool, Local, Params, Taken};

/// 16 GiB of 4 KiB pages.
const PAGES: u64 = 1 << 22;
/// Pages on their way from one CPU to another.
const TRAVELLING: usize = 100;

pub(super) fn pool() -> GenPool<'static> {
    GenPool::new(&Params::new(&[PhysRange { start: Phys(0), pages: PAGES }])).unwrap()
}

/// Which way all CPUs get at the pool.
#[derive(Clone, Copy)]
pub(super) enum Path {
    /// Each has a handle.
    Handle,
    /// Each uses the handle of its number, of those that all share.
    PerCpu,
    /// No handles.
    Shared,
}

/// As many handles as a pool can have.
const HANDLES: usize = 64;

/// How one CPU gets at the pool.
pub(super) enum Hand<'p> {
    Handle(Box<Local<'p, 8>>),
    PerCpu(Rc<PerCpu<'p, GenPool<'p>, HANDLES>>, usize),
    Shared(&'p GenPool<'p>),
}

/// One for each CPU; `None` where there are more CPUs than handles. Two CPUs behind one lock would hand on what lies behind it too,
/// and that is not recorded.
pub(super) fn hands<'p>(pool: &'p GenPool<'p>, cpus: usize, path: Path) -> Option<Vec<Hand<'p>>> {
    let all = 0..cpus;
    match path {
        Path::Handle => all.map(|_| Local::new(pool).map(Box::new).map(Hand::Handle)).collect(),
        Path::PerCpu => {
            let shared = Rc::new(PerCpu::with_cpus(pool));
            all.map(|cpu| (cpu < HANDLES).then(|| Hand::PerCpu(Rc::clone(&shared), cpu))).collect()
        }
        Path::Shared => Some(all.map(|_| Hand::Shared(pool)).collect()),
    }
}

impl Hand<'_> {
    fn alloc(&mut self, order: Order) -> Run {
        match self {
            Hand::Handle(local) => local.take(order),
            Hand::PerCpu(cpus, cpu) => cpus.on(*cpu).alloc(order).map(Taken::into_raw),
            Hand::Shared(pool) => pool.take(order),
        }
        .unwrap()
    }

    fn free(&mut self, run: Run) {
        match self {
            Hand::Handle(local) => local.give_back(run),
            Hand::PerCpu(cpus, cpu) => cpus.on(*cpu).free(cpus.owner().value_of(run)).unwrap(),
            Hand::Shared(pool) => pool.give_back(run).unwrap(),
        }
    }
}

/// A piece of work, cut into steps that each CPU does in turn.
pub(super) trait Work {
    /// How many allocations and frees `cpu` did in this step; `None` if it cannot be done by as many CPUs as there are.
    fn step(&mut self, cpu: usize, hand: &mut Hand<'_>) -> Option<u64>;

    /// Whether from now on each step costs about the same.
    fn is_steady(&self) -> bool;
}

/// A single page, taken and given back.
#[derive(Default)]
pub(super) struct HotPair {
    pairs: u64,
}

impl Work for HotPair {
    fn step(&mut self, _cpu: usize, hand: &mut Hand<'_>) -> Option<u64> {
        let run = hand.alloc(Order::ZERO);
        hand.free(run);
        self.pairs += 1;
        Some(2)
    }

    fn is_steady(&self) -> bool {
        self.pairs > 1_000
    }
}

/// Orders 0 to 9 at random; all CPUs together hold four fifths of the pool.
pub(super) struct Churn {
    cpus: Vec<Holding>,
    frees: u64,
}

struct Holding {
    random: u64,
    /// The order of its next allocation: it frees until that fits.
    next: u32,
    live: Vec<Run>,
    room: u64,
}

impl Churn {
    pub(super) fn new(cpus: usize) -> Churn {
        let holding = |cpu| Holding { random: cpu as u64 + 1, next: 0, live: Vec::new(), room: PAGES / 5 * 4 / cpus as u64 };
        Churn { cpus: (0..cpus).map(holding).collect(), frees: 0 }
    }
}

impl Work for Churn {
    fn step(&mut self, cpu: usize, hand: &mut Hand<'_>) -> Option<u64> {
        let Holding { random, next, live, room } = &mut self.cpus[cpu];
        // Knuth's linear congruential generator; its upper bits are the random ones.
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (*random >> 33) as usize;
        let order = Order::clamped(*next);
        if order.pages() <= *room {
            *room -= order.pages();
            live.push(hand.alloc(order));
            *next = dice as u32 % 10;
        } else {
            let run = live.swap_remove(dice % live.len());
            *room += run.pages();
            hand.free(run);
            self.frees += 1;
        }
        Some(1)
    }

    fn is_steady(&self) -> bool {
        self.frees > 5_000
    }
}

/// Every other CPU allocates single pages, and its neighbour frees them.
pub(super) struct CrossFree {
    cpus: usize,
    pairs: Vec<VecDeque<Run>>,
    frees: u64,
}

impl CrossFree {
    pub(super) fn new(cpus: usize) -> CrossFree {
        CrossFree { cpus, pairs: (0..cpus.div_ceil(2)).map(|_| VecDeque::new()).collect(), frees: 0 }
    }
}

impl Work for CrossFree {
    fn step(&mut self, cpu: usize, hand: &mut Hand<'_>) -> Option<u64> {
        if self.cpus < 2 {
            return None;
        }
        let travelling = &mut self.pairs[cpu / 2];
        if cpu.is_multiple_of(2) {
            travelling.push_back(hand.alloc(Order::ZERO));
        } else if travelling.len() > TRAVELLING
            && let Some(run) = travelling.pop_front()
        {
            self.frees += 1;
            hand.free(run);
        } else {
            return Some(0);
        }
        Some(1)
    }

    fn is_steady(&self) -> bool {
        self.frees > 5_000
    }
}
