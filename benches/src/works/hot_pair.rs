//! One run taken and given back, over and over: the shortest way through an allocator.

use std::hint::black_box;

use crate::peer::{Hand, Peer};
use crate::sample::{Budget, Outcome, Skip};

/// Pairs between two looks at the clock, unless they are so slow that fewer will do.
const PAIRS: u64 = 1000;

/// Nanoseconds for an allocation and its free.
pub fn hot_pair<P: Peer>(pages: u64, order: u32, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    // One page stays taken: a pool that is never wholly idle is the usual one, and some peers fetch it anew when it is.
    let kept = hand.alloc(0).ok_or(Skip::Refused)?;
    let mut refused = false;
    let mut pairs = 1;
    let ns = budget.ns_per_unit(|| {
        for _ in 0..pairs {
            match hand.alloc(black_box(order)) {
                Some(block) => hand.free(black_box(block), order),
                None => refused = true,
            }
        }
        let done = pairs;
        pairs = (2 * pairs).min(PAIRS);
        done
    });
    hand.free(kept, 0);
    if refused { Err(Skip::Refused) } else { Ok(vec![ns]) }
}
