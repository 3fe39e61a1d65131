//! A folio's whole life, which only an allocator with reference counts has, and building a pool.

use std::time::Instant;

use pgmap_alloc::Order;

use crate::peer::Peer;
use crate::peers::ours::Counted;
use crate::sample::{Budget, Outcome, Skip};

const CYCLES: u64 = 1000;

/// Nanoseconds for allocation into service, one more reference, both put, idle again.
pub fn cycle<C: Counted>(pages: u64, order: u32, budget: Budget) -> Outcome {
    let mut peer = C::build(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let order = Order::new(order).map_err(|_| Skip::Unsupported)?;
    let mut refused = 0;
    let ns = budget.ns_per_unit(|| {
        refused += (0..CYCLES).filter(|_| !C::cycle(&mut hand, order)).count();
        CYCLES
    });
    if refused > 0 { Err(Skip::Refused) } else { Ok(vec![ns]) }
}

/// Milliseconds from parameters to a pool that can be used.
pub fn build<P: Peer>(pages: u64) -> Outcome {
    let start = Instant::now();
    let peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let time = start.elapsed();
    drop(peer);
    Ok(vec![time.as_secs_f64() * 1e3])
}
