//! What scaling costs: lines that travel and instructions that lock, per call, as CPUs are added.
//!
//! Logical CPUs take turns on one thread, a call each; every access to shared memory goes into a [`Directory`]. So nobody loses
//! a race here, retries are not counted, and caches are never too small. The [`Model`] says what must come out, and
//! ARCHITECTURE.md quotes the model.

#![allow(clippy::unwrap_used)]

extern crate std;

mod directory;
mod works;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use crate::sync::recorded::record;
use directory::Directory;
use works::{Churn, CrossFree, HotPair, Path, Work};

const CPUS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Lines among which the pool spreads its callers.
const SLOTS: usize = 8;
/// Lines among which it spreads their hints.
const HINTS: usize = 32;
/// Calls that are counted, all CPUs together.
const CALLS: u64 = 4_000;

/// Work for so many CPUs.
type NewWork = fn(usize) -> Box<dyn Work>;

/// What one call costs, as a function of the number of CPUs.
struct Model {
    name: &'static str,
    path: Path,
    work: NewWork,
    /// Locked instructions, however many CPUs there are.
    locked: f64,
    /// Transfers of lines that another CPU has just written, whenever there is another.
    handed_over: f64,
    /// Transfers of lines that all CPUs use: each finds one at home with a chance of one in as many as there are CPUs.
    common: f64,
    /// Transfers of lines of a caller slot: at home while there are slots for all.
    slot: f64,
    /// Transfers of lines of hints.
    hint: f64,
}

const MODELS: [Model; 9] = [
    Model {
        name: "hot pair, handle",
        path: Path::Handle,
        work: hot_pair,
        locked: 0.0,
        handed_over: 0.0,
        common: 0.0,
        slot: 0.0,
        hint: 0.0,
    },
    Model {
        name: "churn at 80 %, handle",
        path: Path::Handle,
        work: churn,
        locked: 0.4,
        handed_over: 0.0,
        common: 0.3,
        slot: 0.3,
        hint: 0.8,
    },
    Model {
        name: "free elsewhere, handle",
        path: Path::Handle,
        work: elsewhere,
        locked: 0.02,
        handed_over: 0.03,
        common: 0.0,
        slot: 0.0,
        hint: 0.0,
    },
    Model {
        name: "hot pair, per CPU",
        path: Path::PerCpu,
        work: hot_pair,
        locked: 1.0,
        handed_over: 0.0,
        common: 0.0,
        slot: 0.0,
        hint: 0.0,
    },
    Model {
        name: "churn at 80 %, per CPU",
        path: Path::PerCpu,
        work: churn,
        locked: 1.4,
        handed_over: 0.0,
        common: 0.3,
        slot: 0.3,
        hint: 0.8,
    },
    Model {
        name: "free elsewhere, per CPU",
        path: Path::PerCpu,
        work: elsewhere,
        locked: 1.02,
        handed_over: 0.03,
        common: 0.0,
        slot: 0.0,
        hint: 0.0,
    },
    Model {
        name: "hot pair, shared",
        path: Path::Shared,
        work: hot_pair,
        locked: 1.0,
        handed_over: 1.0,
        common: 0.0,
        slot: 0.0,
        hint: 1.0,
    },
    Model {
        name: "churn at 80 %, shared",
        path: Path::Shared,
        work: churn,
        locked: 3.0,
        handed_over: 0.0,
        common: 2.9,
        slot: 2.2,
        hint: 1.0,
    },
    Model {
        name: "free elsewhere, shared",
        path: Path::Shared,
        work: elsewhere,
        locked: 1.0,
        handed_over: 2.0,
        common: 0.0,
        slot: 0.5,
        hint: 2.0,
    },
];

fn hot_pair(_: usize) -> Box<dyn Work> {
    Box::new(HotPair::default())
}

fn churn(cpus: usize) -> Box<dyn Work> {
    Box::new(Churn::new(cpus))
}

fn elsewhere(cpus: usize) -> Box<dyn Work> {
    Box::new(CrossFree::new(cpus))
}

/// Locked instructions and transfers per call.
#[derive(Clone, Copy, Debug)]
struct Cost {
    locked: f64,
    transfers: f64,
}

impl Model {
    fn cost(&self, cpus: usize) -> Cost {
        let others = if cpus > 1 { 1.0 } else { 0.0 };
        let away = |homes: usize| 1.0 - (homes as f64 / cpus as f64).min(1.0);
        let transfers = self.handed_over * others + self.common * away(1) + self.slot * away(SLOTS) + self.hint * away(HINTS);
        Cost { locked: self.locked, transfers }
    }
}

/// `None` where the pool has not that many handles, or the work needs another CPU.
fn simulate(work: NewWork, path: Path, cpus: usize) -> Option<Cost> {
    let mut work = work(cpus);
    let pool = works::pool();
    let mut hands = works::hands(&pool, cpus, path)?;
    let mut directory = Directory::default();
    let mut calls = 0;
    let mut steady = false;
    while calls < CALLS {
        for (cpu, hand) in hands.iter_mut().enumerate() {
            let (more, accesses) = record(cpu, || work.step(cpu, hand));
            directory.apply(cpu, &accesses);
            calls += more?;
        }
        if !steady {
            steady = work.is_steady();
            calls = 0;
            directory.forget();
        }
    }
    let per_call = |count: u64| count as f64 / calls as f64;
    Some(Cost { locked: per_call(directory.seen.locked), transfers: per_call(directory.seen.transfers) })
}

/// Within a fifth of each other, or too small to matter; but nothing is nothing.
fn agree(seen: f64, model: f64) -> bool {
    if model == 0.0 { seen == 0.0 } else { (seen - model).abs() <= model / 5.0 + 0.2 }
}

/// Prints what it saw when it fails: that is what a new model is to be made of.
#[test]
fn the_model_is_what_the_simulation_sees_and_what_is_written() {
    let mut wrong = String::new();
    let mut table = String::new();
    for model in &MODELS {
        let mut cells = String::new();
        for cpus in CPUS {
            let Some(seen) = simulate(model.work, model.path, cpus) else {
                cells += " - |";
                continue;
            };
            let cost = model.cost(cpus);
            cells += &format!(" {:.2} |", cost.transfers);
            if !agree(seen.locked, cost.locked) || !agree(seen.transfers, cost.transfers) {
                wrong += &format!("{}, {cpus} CPUs: {seen:.2?}, the model says {cost:.2?}\n", model.name);
            }
        }
        table += &format!("| {} | {:.2} |{cells}\n", model.name, model.locked);
    }
    assert!(wrong.is_empty(), "{wrong}");
    let written = include_str!("../../../../ARCHITECTURE.md");
    assert!(written.contains(&table), "ARCHITECTURE.md should say\n{table}");
}

/// What handles that all share cost beside handles of one's own: the lock, once more for the few calls that need more than what is
/// at hand, and no line.
#[test]
fn a_call_through_handles_that_all_share_locks_once_more() {
    for (work, seldom) in [(hot_pair as NewWork, 0.0), (churn, 0.05), (elsewhere, 0.05)] {
        let [own, shared] = [Path::Handle, Path::PerCpu].map(|path| simulate(work, path, 4).unwrap());
        let (least, rounding) = (own.locked + 1.0, 1.0 / CALLS as f64 / 2.0);
        let locks = least - rounding..least + seldom + rounding;
        assert!(locks.contains(&shared.locked) && (own.transfers - shared.transfers).abs() < rounding, "{own:?}, {shared:?}");
    }
}
