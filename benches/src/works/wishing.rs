//! What a wish for cleared pages costs beside an allocation that does not care, at several mixtures.
//!
//! All runs of a pool that tracks contents are taken and given back, a share of them cleared, chosen by chance. Then some are taken: by wish, cleared
//! ones first, and from a second pool just like it by the plain verb. Only that is timed. Where none is cleared the wish finds nothing.

use std::time::{Duration, Instant};

use crate::peer::{Hand, Peer};
use crate::sample::{Budget, Outcome, Skip};
use crate::trace::shuffled;

/// The orders that are asked for: a page, 64 KiB, 2 MiB.
pub const ORDERS: [u32; 3] = [0, 4, 9];
/// How many runs in a hundred are cleared.
pub const PERCENTS: [u64; 5] = [0, 10, 50, 90, 100];
/// No more are taken, and no more than half of those that are cleared.
const MOST: u64 = 4000;

/// How many times what a plain allocation takes a wish takes.
pub fn wishing<P: Peer>(pages: u64, order: u32, percent: u64, budget: Budget) -> Outcome {
    if !P::TRACKS {
        return Err(Skip::Unsupported);
    }
    let (mut wish, mut plain) = (Duration::ZERO, Duration::ZERO);
    let start = Instant::now();
    // The first pair is not timed: it finds the machine cold.
    for round in 0.. {
        let wished = taking::<P>(pages, order, percent, Asks::Cleared)?;
        let taken = taking::<P>(pages, order, percent, Asks::Anything)?;
        if round > 0 {
            (wish, plain) = (wish + wished, plain + taken);
            if start.elapsed() >= budget.measure {
                break;
            }
        }
    }
    Ok(vec![wish.as_nanos() as f64 / plain.as_nanos() as f64])
}

/// What the timed allocations ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Cleared,
    Anything,
}

fn taking<P: Peer>(pages: u64, order: u32, percent: u64, asks: Asks) -> Result<Duration, Skip> {
    let mut peer = P::build_tracking(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let runs = pages >> order;
    let all: Option<Vec<_>> = (0..runs).map(|_| hand.alloc(order)).collect();
    let cleared = runs * percent / 100;
    for (block, chance) in all.ok_or(Skip::Refused)?.into_iter().zip(shuffled(runs as u32, 3)) {
        if u64::from(chance) < cleared { hand.free_cleared(block, order) } else { hand.free(block, order) }
    }
    let count = MOST.min(if cleared == 0 { runs } else { cleared } / 2);
    let mut taken = Vec::with_capacity(count as usize);
    let start = Instant::now();
    for _ in 0..count {
        let block = if asks == Asks::Cleared { hand.alloc_cleared_first(order) } else { hand.alloc(order) };
        taken.push(block.ok_or(Skip::Refused)?);
    }
    Ok(start.elapsed())
}
