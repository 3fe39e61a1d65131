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

    // What is measured is the allocator and not the gathering of names from all over memory, so they are put in order before.
    let names: Vec<_> = order.iter().filter_map(|&page| blocks.get_mut(page as usize)?.take()).collect();
    drop(blocks);
    let mut names = names.into_iter();
    let mut freed = 0u64;
    let start = Instant::now();
    while start.elapsed() < budget.measure && names.len() > 0 {
        for block in names.by_ref().take(BATCH) {
            hand.free(block, 0);
            freed += 1;
        }
    }
    let free = start.elapsed().as_nanos() as f64 / freed.max(1) as f64;
    Ok(vec![fill, free])
}
