//! 512 single pages in one go: what a driver does for a 2 MiB buffer that need not be contiguous.

use std::time::{Duration, Instant};

use crate::peer::{Hand, Peer};
use crate::sample::{Budget, Outcome, Skip};

const PAGES: usize = 512;

/// Nanoseconds per page, each way.
pub fn bulk<P: Peer>(pages: u64, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let kept = hand.alloc(0).ok_or(Skip::Refused)?;
    let mut blocks = Vec::with_capacity(PAGES);
    let (mut alloc, mut free, mut rounds) = (Duration::ZERO, Duration::ZERO, 0u32);
    let start = Instant::now();
    while start.elapsed() < budget.measure {
        let before = Instant::now();
        if !hand.alloc_bulk(PAGES, &mut blocks) {
            return Err(Skip::Refused);
        }
        let between = Instant::now();
        hand.free_bulk(&mut blocks);
        free += between.elapsed();
        alloc += between - before;
        rounds += 1;
    }
    hand.free(kept, 0);
    let per_page = |time: Duration| time.as_nanos() as f64 / (f64::from(rounds.max(1)) * PAGES as f64);
    Ok(vec![per_page(alloc), per_page(free)])
}
