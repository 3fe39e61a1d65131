//! What is asked of every allocator: the same objects in the same order, known before anyone is asked.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The smallest object; all are whole words of this program's patterns.
const SMALLEST: u64 = 256;
/// The largest object has this part of the heap, and no more than so many bytes: a quarter of the largest block of any allocator.
const SHARE: u64 = 32;
const LARGEST: u64 = 64 << 20;

/// Bytes of the largest object in a heap of so many.
pub(super) fn largest(heap: u64) -> u64 {
    (heap / SHARE).clamp(SMALLEST, LARGEST)
}

/// One step; objects are numbered in the order in which they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Asks for an object of so many bytes and writes it.
    Take { object: usize, bytes: u64 },
    /// Writes an object anew.
    Write { object: usize },
    /// Compares an object with what was written.
    Check { object: usize },
    /// Compares an object a last time and gives it back.
    Put { object: usize },
}

/// All steps, and those after them that give back what is left.
pub(super) struct Trace {
    pub(super) ops: Vec<Op>,
    pub(super) last: Vec<Op>,
    /// How many objects there are in all.
    pub(super) objects: usize,
    /// Bytes of the largest object that can be.
    pub(super) largest: u64,
}

impl Trace {
    /// So many steps, which keep objects alive that add up to nearly `full` bytes of a heap.
    pub(super) fn new(heap: u64, full: u64, steps: u64, seed: u64) -> Trace {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let largest = largest(heap);
        let (mut ops, mut alive, mut asked, mut objects) = (Vec::new(), Vec::new(), 0, 0);
        while (ops.len() as u64) < steps {
            let bytes = object_bytes(random.random(), largest);
            let dice = random.random_range(0..100);
            if alive.is_empty() || dice < 50 && asked + bytes <= full {
                alive.push((objects, bytes));
                asked += bytes;
                ops.push(Op::Take { object: objects, bytes });
                objects += 1;
                continue;
            }
            let which = random.random_range(0..alive.len());
            let (object, bytes) = alive[which];
            ops.push(match dice {
                ..75 => {
                    alive.swap_remove(which);
                    asked -= bytes;
                    Op::Put { object }
                }
                75..90 => Op::Write { object },
                _ => Op::Check { object },
            });
        }
        let last = alive.into_iter().map(|(object, _)| Op::Put { object }).collect();
        Trace { ops, last, objects, largest }
    }
}

/// Log-uniform, as buffers of real programs are: many small ones, most bytes in large ones.
fn object_bytes(random: f64, largest: u64) -> u64 {
    let (small, large) = ((SMALLEST as f64).ln(), (largest as f64).ln());
    ((small + (large - small) * random).exp() as u64).next_multiple_of(8).clamp(SMALLEST, largest)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_trace_follows_from_its_seed_and_stays_within_what_is_full() {
        let (heap, full) = (64 << 20, 57 << 20);
        let trace = Trace::new(heap, full, 5000, 7);
        assert_eq!(trace.ops, Trace::new(heap, full, 5000, 7).ops);
        assert_ne!(trace.ops, Trace::new(heap, full, 5000, 8).ops);
        let (mut alive, mut most) = (HashMap::new(), 0);
        for op in trace.ops.iter().chain(&trace.last) {
            match *op {
                Op::Take { object, bytes } => assert!(bytes <= trace.largest && alive.insert(object, bytes).is_none()),
                Op::Put { object } => assert!(alive.remove(&object).is_some()),
                Op::Write { object } | Op::Check { object } => assert!(alive.contains_key(&object)),
            }
            most = alive.values().sum::<u64>().max(most);
        }
        assert!(alive.is_empty() && most <= full && most > full * 9 / 10, "{most}");
    }
}
