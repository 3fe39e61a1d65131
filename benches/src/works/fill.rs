//! A whole pool taken page by page, and given back in random order.

use std::time::Instant;

use crate::peer::{Hand, Peer};
use crate::sample::{Budget, Outcome, Skip};

const BATCH: usize = 1024;

/// Nanoseconds per page for both halves; `order` is a random order of at least all pages.
///
/// What was filled until the time was up is what is then freed.
pub fn fill_and_free<P: Peer>(pages: u64, order: &[u32], budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let count = usize::try_from(pages).map_err(|_| Skip::Unsupported)?;
    let mut blocks: Vec<Option<_>> = (0..count).map(|_| None).collect();

    let mut filled = 0;
    let fill = budget.ns_per_unit(|| {
        let before = filled;
        for slot in blocks[filled..].iter_mut().take(BATCH) {
            *slot = hand.alloc(0);
            if slot.is_none() {
                break;
            }
            filled += 1;
        }
        (filled - before) as u64
    });
    if filled == 0 {
        return Err(Skip::Refused);
    }

    let mut order = order.iter().filter(|&&page| (page as usize) < filled);
    let mut freed = 0u64;
    let start = Instant::now();
    'all: loop {
        for _ in 0..BATCH {
            let Some(&page) = order.next() else {
                break 'all;
            };
            if let Some(block) = blocks[page as usize].take() {
                hand.free(block, 0);
                freed += 1;
            }
        }
        if start.elapsed() >= budget.measure {
            break;
        }
    }
    let free = start.elapsed().as_nanos() as f64 / freed.max(1) as f64;
    Ok(vec![fill, free])
}
