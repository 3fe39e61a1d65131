//! 512 single pages in one go: what a driver does for a 2 MiB buffer that need not be contiguous.
//!
//! Two forms. As a *list*, each page by itself, which each peer makes in the best way that it has: a verb for it, or one
//! contiguous run if its pages may come back one by one, else page by page. By the *word*, 64 neighbours and a bit for each: only
//! ours has that.
//!
//! Twice: in a pool of which one page is taken, where whole 2 MiB entries are at hand, and in one that has been churned at an
//! occupancy, where pages come from what is left between others.

use std::time::{Duration, Instant};

use pgmap_alloc::{Offset, PageWord};

use crate::peer::{Hand, Peer};
use crate::peers::in_bulk::InBulk;
use crate::sample::{Budget, Outcome, Skip};
use crate::trace::{Slots, Trace};

const PAGES: usize = 512;
/// Steps of the churn before: about three for each run that is taken.
const CHURN: usize = 100_000;

/// Nanoseconds per page of a list, each way, by the verbs that every peer has.
pub fn list<P: Peer>(pages: u64, trace: Option<&Trace>, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let blocks = Vec::with_capacity(PAGES);
    there_and_back(peer.hand(), trace, blocks, |hand, blocks| hand.alloc_bulk(PAGES, blocks), Hand::free_bulk, budget)
}

/// The same by verbs for it.
pub fn own_list<P: InBulk>(pages: u64, trace: Option<&Trace>, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let list = [Offset::new(0); PAGES];
    there_and_back(
        peer.hand(),
        trace,
        list,
        |hand, list| P::alloc_many(hand, list),
        |hand, list| _ = P::free_many(hand, list),
        budget,
    )
}

/// The same by the word.
pub fn by_word<P: InBulk>(pages: u64, trace: Option<&Trace>, budget: Budget) -> Outcome {
    let mut peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let alloc = |hand: &mut P::Hand<'_>, (words, count): &mut ([PageWord; PAGES], usize)| {
        *count = P::alloc_words(hand, PAGES as u64, words).unwrap_or(0);
        *count > 0
    };
    let free = |hand: &mut P::Hand<'_>, (words, count): &mut ([PageWord; PAGES], usize)| _ = P::free_words(hand, &words[..*count]);
    there_and_back(peer.hand(), trace, ([PageWord::EMPTY; PAGES], 0), alloc, free, budget)
}

/// Times both ways apart until the time is used up.
fn there_and_back<H: Hand, T>(
    mut hand: H,
    trace: Option<&Trace>,
    mut taken: T,
    mut alloc: impl FnMut(&mut H, &mut T) -> bool,
    mut free: impl FnMut(&mut H, &mut T),
    budget: Budget,
) -> Outcome {
    // A pool that is never wholly idle is the usual one.
    let _kept = hand.alloc(0).ok_or(Skip::Refused)?;
    let mut slots = Slots::new(trace.map_or(0, |trace| trace.slots));
    if let Some(Trace { fill, churn, .. }) = trace {
        budget.prepare(fill, |step| slots.apply(&mut hand, *step))?;
        budget.prepare(churn.get(..CHURN).unwrap_or(churn), |step| slots.apply(&mut hand, *step))?;
    }
    let (mut there, mut back, mut rounds) = (Duration::ZERO, Duration::ZERO, 0u32);
    let start = Instant::now();
    while start.elapsed() < budget.measure {
        let before = Instant::now();
        if !alloc(&mut hand, &mut taken) {
            return Err(Skip::Refused);
        }
        let between = Instant::now();
        free(&mut hand, &mut taken);
        back += between.elapsed();
        there += between - before;
        rounds += 1;
    }
    let per_page = |time: Duration| time.as_nanos() as f64 / (f64::from(rounds.max(1)) * PAGES as f64);
    Ok(vec![per_page(there), per_page(back)])
}
