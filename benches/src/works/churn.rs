//! Allocations and frees of mixed orders in a pool that is four fifths full.

use crate::peer::Peer;
use crate::sample::{Budget, Outcome, Skip};
use crate::trace::{Slots, Trace};

/// Steps between two looks at the clock.
pub(super) const BATCH: usize = 256;

/// Nanoseconds for an allocation and a free at the trace's occupancy.
pub fn churn<P: Peer>(pages: u64, trace: &Trace, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let mut slots = Slots::new(trace.slots);
    budget.prepare(&trace.fill, |step| slots.apply(&mut hand, *step))?;
    slots.refused = 0;
    trace.warm();
    let mut steps = 0;
    let mut batches = trace.churn.chunks(BATCH);
    let ns_per_step = budget.ns_per_unit(|| {
        let batch = batches.next().unwrap_or_default();
        for step in batch {
            slots.apply(&mut hand, *step);
        }
        steps += batch.len() as u64;
        batch.len() as u64
    });
    if slots.refused * 100 > steps / 2 {
        return Err(Skip::Refused);
    }
    Ok(vec![2.0 * ns_per_step])
}
