//! The slow calls: the time that one call in a thousand exceeds.

use std::time::Instant;

use crate::peer::Peer;
use crate::sample::{Budget, Outcome, Skip};
use crate::trace::{Slots, Trace};

/// The 99.9th percentile of single allocations and frees during churn, the reading of the clock included.
pub fn tail<P: Peer>(pages: u64, trace: &Trace, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let mut slots = Slots::new(trace.slots);
    budget.prepare(&trace.fill, |step| slots.apply(&mut hand, *step))?;
    let (mut allocs, mut frees) = (Vec::with_capacity(trace.churn.len()), Vec::with_capacity(trace.churn.len()));
    trace.warm();
    let start = Instant::now();
    for step in &trace.churn {
        let before = Instant::now();
        slots.apply(&mut hand, *step);
        let after = Instant::now();
        let times = if step.is_alloc() { &mut allocs } else { &mut frees };
        times.push((after - before).as_nanos() as u64);
        if after - start >= budget.measure {
            break;
        }
    }
    Ok(vec![percentile(&mut allocs)?, percentile(&mut frees)?])
}

/// Too few calls to have a thousandth means that each took very long.
fn percentile(times: &mut [u64]) -> Result<f64, Skip> {
    if times.len() < 1000 {
        return Err(Skip::TooSlow);
    }
    let rank = times.len() - 1 - times.len() / 1000;
    Ok(*times.select_nth_unstable(rank).1 as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_thousand_is_above_the_percentile() {
        let mut times: Vec<u64> = (1..=10_000).rev().collect();
        assert_eq!(percentile(&mut times), Ok(9_990.0));
        assert_eq!(percentile(&mut times[..999]), Err(Skip::TooSlow));
    }
}
