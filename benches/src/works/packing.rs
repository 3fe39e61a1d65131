//! How many whole 2 MiB folios are left in a pool that has been churned.
//!
//! # Protocol
//!
//! 1. An idle pool is filled to 80 % with runs of orders 0 to 9, each order equally likely, so that half the pages are in runs of
//!    2 MiB. Then it is churned there: while there is room for the next run it is allocated, else a random one is freed.
//! 2. Random runs are freed until 75 % are taken, and it is counted; then until 50 %, and 25 %.
//! 3. Two ways down, because they ask different things. *Emptied*: frees and nothing else, so what is left idle shows how runs had
//!    been packed beside each other. *Churned*: after each descent a churn as long as the first, at the new occupancy, so that the
//!    peer may mend its packing.
//! 4. Handles stay in use all the while, and are counted as if drained: what is not live in the harness's own books is idle, and
//!    that is just what a drain would leave idle. A drain at each count would let handles start anew with fresh tables, which
//!    nobody's handle does.
//! 5. The count: idle aligned pieces of 2 MiB, as a share of what the idle pages would make if they lay side by side. It is made at
//!    sixteen moments of the second half of each churn, or once where there is none, for six seeds; the figure is the mean of all.
//!
//! Steps are worked out beforehand and name slots, so every peer does the same with the same seed; where a peer refuses more than
//! one run in a hundred it has no figure.

use crate::peer::{Hand, Peer};
use crate::sample::{Budget, Outcome, Skip};
use crate::trace::{Descent, Slots};

/// Pages of a 2 MiB folio.
const WHOLE: u64 = 512;

/// The occupancies at which they are counted.
pub const PERCENTS: [u64; 3] = [75, 50, 25];

/// How often it is counted while a pool is churned at an occupancy: one moment is chance.
const MOMENTS: usize = 16;

/// Chance decides what is churned, so it is done several times, each from another seed.
pub const SEEDS: [u64; 6] = [1, 2, 3, 4, 5, 6];

/// In percent of the most that the idle pages could make, at each occupancy in turn: the mean of all counts of all descents.
///
/// Counted from what the harness holds, not from what the peer says: the same count for every peer, and pages that a handle
/// keeps back for its next caller are idle here, as they are once it is drained.
pub fn packing<P: Peer>(pages: u64, descents: &[Descent], budget: Budget) -> Outcome {
    let mut sums = vec![0.0; PERCENTS.len()];
    for descent in descents {
        for (sum, share) in sums.iter_mut().zip(descend::<P>(pages, descent, budget)?) {
            *sum += share / descents.len() as f64;
        }
    }
    Ok(sums)
}

fn descend<P: Peer>(pages: u64, trace: &Descent, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let mut slots = Slots::new(trace.slots);
    budget.prepare(&trace.fill, |step| slots.apply(&mut hand, *step))?;
    if slots.refused * 100 > trace.fill.len() as u64 {
        return Err(Skip::Refused);
    }
    let shares = trace.phases.iter().map(|phase| {
        budget.prepare(&phase.down, |step| slots.apply(&mut hand, *step))?;
        // Where nothing is watched there is one moment, and no step before it.
        let moments = if phase.watched.is_empty() { 1 } else { MOMENTS };
        let mut sum = 0.0;
        for moment in 0..moments {
            let [from, to] = [moment, moment + 1].map(|moment| phase.watched.len() * moment / moments);
            budget.prepare(&phase.watched[from..to], |step| slots.apply(&mut hand, *step))?;
            sum += share_left(pages, slots.live().map(|(block, order)| (P::Hand::page(block), 1 << order)));
        }
        Ok(100.0 * sum / moments as f64)
    });
    shares.collect()
}

/// Whole idle aligned 2 MiB pieces, as a share of what the idle pages could make at best.
fn share_left(pages: u64, live: impl Iterator<Item = (u64, u64)>) -> f64 {
    let mut touched = vec![false; pages.div_ceil(WHOLE) as usize];
    let mut used = 0;
    for (first, length) in live {
        used += length;
        touched[(first / WHOLE) as usize..=((first + length - 1) / WHOLE) as usize].fill(true);
    }
    let left = touched.iter().filter(|&&touched| !touched).count() as f64;
    left / ((pages - used) / WHOLE).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_left_counts_whole_idle_pieces_only() {
        let close = |share: f64, wanted: f64| (share - wanted).abs() < 1e-9;
        assert!(close(share_left(2048, [(0, 512)].into_iter()), 1.0));
        // One page more, at the end of the second piece: two of the two that would be possible at best are left.
        assert!(close(share_left(2048, [(0, 512), (1023, 1)].into_iter()), 1.0));
        // One page at each end of the pool: half of what would be possible.
        assert!(close(share_left(2048, [(0, 1), (2047, 1)].into_iter()), 2.0 / 3.0));
        // A run that is not aligned spoils two pieces.
        assert!(close(share_left(2048, [(256, 512)].into_iter()), 2.0 / 3.0));
    }
}
