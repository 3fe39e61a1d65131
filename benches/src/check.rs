//! Are a peer's answers right? Proved before anything is timed: a fast wrong answer is worth nothing.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgmap_alloc::{Offset, PageWord};

use crate::peer::{Hand, Peer, SyncPeer};
use crate::peers::in_bulk::InBulk;
use crate::trace::{Slots, Step, Trace};

/// A pool of 64 MiB: small enough for the linear peers, large enough for every order of the churn.
const PAGES: u64 = 1 << 14;
/// Steps of the churn; each is checked page by page.
const STEPS: usize = 5_000;
/// Pages of a bulk call.
const BULK: usize = 512;
/// No thread may take more than this, so that even an unaligned peer seldom refuses.
const PERCENT: u64 = 60;

/// What a peer did wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    peer: &'static str,
    what: &'static str,
    page: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at page {}", self.peer, self.what, self.page)
    }
}

impl std::error::Error for Fault {}

/// A churn on one thread; afterwards everything is freed and both halves of the pool can be had whole.
pub fn alone<P: Peer>() -> Result<(), Fault> {
    let taken = Taken::<P>::new();
    let mut peer = P::build(PAGES).ok_or_else(|| taken.fault("cannot be built", 0))?;
    let mut hand = peer.hand();
    let trace = Trace::churn(PAGES * PERCENT / 100, STEPS, 11);
    taken.replay(&mut hand, &trace)?;
    let half = PAGES.ilog2() - 1;
    let halves = [hand.alloc(half), hand.alloc(half)];
    if halves.iter().any(Option::is_none) {
        return Err(taken.fault("pages are lost after everything was freed", 0));
    }
    for block in halves.into_iter().flatten() {
        hand.free(block, half);
    }
    // In bulk, by the verb that every peer has.
    let mut blocks = Vec::new();
    let kept = hand.alloc(0);
    if !hand.alloc_bulk(BULK, &mut blocks) || blocks.len() != BULK {
        return Err(taken.fault("refuses pages in bulk", 0));
    }
    let again = Taken::<P>::new();
    blocks.iter().chain(&kept).try_for_each(|block| again.take(P::Hand::page(block), 0))?;
    hand.free_bulk(&mut blocks);
    kept.into_iter().for_each(|block| hand.free(block, 0));
    let halves = [hand.alloc(half), hand.alloc(half)];
    if halves.iter().any(Option::is_none) {
        return Err(taken.fault("pages are lost in bulk", 0));
    }
    halves.into_iter().flatten().for_each(|block| hand.free(block, half));
    Ok(())
}

/// Two churns at once on one pool: no page may ever belong to both.
pub fn together<S: SyncPeer>() -> Result<(), Fault> {
    let taken = Taken::<S>::new();
    let peer = S::build(PAGES).ok_or_else(|| taken.fault("cannot be built", 0))?;
    thread::scope(|scope| {
        let threads = [12, 13].map(|seed| {
            let (peer, taken) = (&peer, &taken);
            scope.spawn(move || taken.replay(&mut peer.share(), &Trace::churn(PAGES * PERCENT / 200, STEPS, seed)))
        });
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(taken.fault("panicked", 0))))
    })
}

/// Bulk calls beside a churn: lists and words of pages that nobody else has, and all of them come back.
pub fn in_bulk<P: InBulk>() -> Result<(), Fault> {
    let taken = Taken::<P>::new();
    let mut peer = P::build(PAGES).ok_or_else(|| taken.fault("cannot be built", 0))?;
    let mut hand = peer.hand();
    let (mut lists, mut words) = (vec![[Offset::new(0); 300]; 8], vec![[PageWord::EMPTY; 300]; 8]);
    let singles: Vec<_> = (0..40).filter_map(|order| hand.alloc(order % 4).map(|block| (block, order % 4))).collect();
    for (block, order) in &singles {
        taken.take(P::Hand::page(block), *order)?;
    }
    let mut counts = Vec::new();
    for (list, words) in lists.iter_mut().zip(&mut words) {
        if !P::alloc_many(&mut hand, list) {
            return Err(taken.fault("refuses a list", 0));
        }
        let count = P::alloc_words(&mut hand, 300, words).ok_or_else(|| taken.fault("refuses words", 0))?;
        let in_words = || words.iter().take(count).flat_map(|word| word.iter());
        if in_words().count() != 300 {
            return Err(taken.fault("words do not name as many pages as were wanted", 0));
        }
        list.iter().copied().chain(in_words()).try_for_each(|page| taken.take(page.get(), 0))?;
        counts.push(count);
    }
    for ((list, words), count) in lists.iter().zip(&words).zip(counts) {
        if !P::free_many(&mut hand, list) || !P::free_words(&mut hand, &words[..count]) {
            return Err(taken.fault("refuses pages that it handed out", list[0].get()));
        }
    }
    for (block, order) in singles {
        hand.free(block, order);
    }
    let whole = PAGES.ilog2();
    hand.alloc(whole).map(|block| hand.free(block, whole)).ok_or_else(|| taken.fault("pages are lost in bulk", 0))
}

/// Which pages are handed out, kept beside the peer.
struct Taken<P> {
    pages: Vec<AtomicBool>,
    peer: std::marker::PhantomData<fn() -> P>,
}

impl<P: Peer> Taken<P> {
    fn new() -> Self {
        Taken { pages: (0..PAGES).map(|_| AtomicBool::new(false)).collect(), peer: std::marker::PhantomData }
    }

    /// Every step of the trace, each run checked as it comes, and everything freed in the end.
    fn replay<H: Hand>(&self, hand: &mut H, trace: &Trace) -> Result<(), Fault> {
        let mut slots = Slots::new(trace.slots);
        let mut watched = Watched { hand, taken: self, fault: None };
        let mut apply = |step: &Step| {
            slots.apply(&mut watched, *step);
            watched.fault.take().map_or(Ok(()), Err)
        };
        trace.fill.iter().chain(&trace.churn).try_for_each(&mut apply)?;
        slots.drain(&mut watched);
        if slots.refused * 20 > trace.churn.len() as u64 { Err(self.fault("refuses too often", 0)) } else { Ok(()) }
    }

    fn take(&self, first: u64, order: u32) -> Result<(), Fault> {
        let end = first + (1 << order);
        if end > PAGES {
            return Err(self.fault("a run ends beyond the pool", first));
        }
        if P::ALIGNED && !first.is_multiple_of(1 << order) {
            return Err(self.fault("a run is not aligned to its length", first));
        }
        // Acquire and Release: a page that came from the other thread was marked idle there before it was freed there.
        match (first..end).find(|&page| self.pages[page as usize].swap(true, Ordering::AcqRel)) {
            Some(page) => Err(self.fault("a page is handed out twice", page)),
            None => Ok(()),
        }
    }

    fn give_back(&self, first: u64, order: u32) {
        let first = first as usize;
        for page in &self.pages[first..first + (1 << order)] {
            // Release: pairs with the swap in `take`.
            page.store(false, Ordering::Release);
        }
    }

    fn fault(&self, what: &'static str, page: u64) -> Fault {
        Fault { peer: P::NAME, what, page }
    }
}

/// A hand whose every run is checked.
struct Watched<'a, P, H> {
    hand: &'a mut H,
    taken: &'a Taken<P>,
    fault: Option<Fault>,
}

impl<P: Peer, H: Hand> Hand for Watched<'_, P, H> {
    type Block = H::Block;

    fn alloc(&mut self, order: u32) -> Option<H::Block> {
        let block = self.hand.alloc(order)?;
        self.fault = self.taken.take(H::page(&block), order).err();
        // A wrong run is not handed on: freeing it could break the peer further and hide the fault.
        if self.fault.is_none() { Some(block) } else { None }
    }

    fn free(&mut self, block: H::Block, order: u32) {
        self.taken.give_back(H::page(&block), order);
        self.hand.free(block, order);
    }

    fn page(block: &H::Block) -> u64 {
        H::page(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry;
    use crate::peers::nothing::Nothing;

    #[test]
    fn every_peer_gives_right_answers() {
        for entry in entry::all() {
            assert_eq!(entry.check(), Ok(()), "{}", entry.name);
        }
    }

    #[test]
    fn an_allocator_that_looks_at_nothing_is_caught() {
        assert!(alone::<Nothing>().is_err());
        assert!(together::<Nothing>().is_err());
    }
}
