//! A number of pages with a limit, raised and lowered by many callers who do not meet each time.
//!
//! # Protocol
//!
//! `drawn` counts the pages in use and those in stock: every caller slot has a stock of pages that are drawn and not in use.
//!
//! 1. Who wants pages takes them from his stock if no more are drawn than his limit; else he draws them, and a batch more for the
//!    next time if the limit allows and less is in stock.
//! 2. Who gives pages back puts them into his stock, and draws what is more than two batches back.
//! 3. Who may not draw collects all stocks first.
//!
//! So nobody makes it more pages in use than his limit. What has been drawn and is not in a stock yet, or
//! taken out of one and not given back yet, is hidden for a moment: that is marked as a motion (`pool::motion`), so that a refusal
//! can be proved (`ledger`).
//!
//! A batch is so small beside the limit that the stocks together are less than a thousandth of the pages; in small pools it is
//! nothing, and every caller draws.

use crate::pool::Motion;
use crate::sync::{AtomicU64, Ordering, caller_slot, in_models, load_latest};

/// Lines among which concurrent callers are spread.
const SLOTS: usize = in_models(1, 8);

/// A number on lines of its own; 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
struct Alone(AtomicU64);

/// Where pages came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Took {
    /// From the caller's stock.
    FromStock,
    /// They were drawn.
    Drawn,
    /// They would have been too many.
    Nothing,
}

/// What is drawn, and the most that ever was: both are read together.
#[repr(align(128))]
struct Drawn {
    now: AtomicU64,
    most: AtomicU64,
}

/// The number.
pub(crate) struct Tally {
    drawn: Drawn,
    stocks: [Alone; SLOTS],
    batch: u64,
}

impl Tally {
    /// Nothing is in use of `pages`.
    pub(crate) fn new(pages: u64) -> Tally {
        let zero = || Alone(AtomicU64::new(0));
        let batch = if cfg!(loom) { 1 } else { (pages >> 16).min(64) };
        let drawn = Drawn { now: AtomicU64::new(0), most: AtomicU64::new(0) };
        Tally { drawn, stocks: core::array::from_fn(|_| zero()), batch }
    }

    fn stock(&self) -> &AtomicU64 {
        &self.stocks[caller_slot(SLOTS) & (SLOTS - 1)].0
    }

    /// How many pages are in use. O(1); while others take and give it may be what never was at one moment.
    pub(crate) fn used(&self) -> u64 {
        // SeqCst, all: the read half of "give, then note" (`ledger`).
        let in_stock = self.stocks.iter().map(|stock| load_latest(&stock.0)).fold(0, u64::wrapping_add);
        load_latest(&self.drawn.now).saturating_sub(in_stock)
    }

    /// The most that [`Tally::keep_high_water`] saw: pages in use, and what the stocks held.
    pub(crate) fn high_water(&self) -> u64 {
        // Relaxed: a number, nothing hangs on it.
        self.drawn.most.load(Ordering::Relaxed)
    }

    /// Takes pages unless more than `limit` would be in use then. Lock-free; the caller is in motion.
    pub(crate) fn take(&self, pages: u64, limit: u64, motion: &Motion) -> Took {
        // SeqCst, here and below, wherever pages may become takeable: the write half of "give, then note" (`ledger`). Relaxed on
        // failure: tried again with what was found.
        let stocked = |now: u64| now.checked_sub(pages);
        if self.batch > 0
            && self.drawn.now.load(Ordering::SeqCst) <= limit
            && self.stock().fetch_update(Ordering::SeqCst, Ordering::Relaxed, stocked).is_ok()
        {
            return Took::FromStock;
        }
        // Relaxed: whoever takes what is too much for the stock would else fill it without end.
        let batch = if self.stock().load(Ordering::Relaxed) < self.batch { self.batch } else { 0 };
        loop {
            let more = |drawn: u64| {
                let spare = limit.checked_sub(drawn)?.checked_sub(pages)?;
                Some(pages.saturating_add(spare.min(batch)))
            };
            let sum = |drawn: u64| drawn.checked_add(more(drawn)?);
            if let Ok(before) = self.drawn.now.fetch_update(Ordering::SeqCst, Ordering::Relaxed, sum) {
                let more = more(before).unwrap_or(pages);
                if more > pages {
                    self.stock().fetch_add(more - pages, Ordering::SeqCst);
                    motion.note();
                }
                return Took::Drawn;
            }
            if self.collect(motion) == 0 {
                return Took::Nothing;
            }
        }
    }

    /// After each take, once it is settled that the pages stay in use; from stock too, because what is in stock may have been drawn
    /// for somebody who was refused.
    pub(crate) fn keep_high_water(&self) {
        // Relaxed: as in `high_water`. Looked at first, because the line is everybody's.
        let drawn = self.drawn.now.load(Ordering::Relaxed);
        if self.drawn.most.load(Ordering::Relaxed) < drawn {
            self.drawn.most.fetch_max(drawn, Ordering::Relaxed);
        }
    }

    /// Draws all stocks back; says how many pages that were.
    #[cold]
    fn collect(&self, motion: &Motion) -> u64 {
        // SeqCst: the look pairs with whoever puts pages into a stock and then notes it (`take`, `give`); what is taken out here is
        // findable again once it is drawn back, which is noted too. Nobody else can draw what one of several swaps has got.
        let of = |stock: &Alone| if stock.0.load(Ordering::SeqCst) == 0 { 0 } else { stock.0.swap(0, Ordering::SeqCst) };
        let found: u64 = self.stocks.iter().map(of).sum();
        if found > 0 {
            self.drawn.now.fetch_sub(found, Ordering::SeqCst);
            motion.note();
        }
        found
    }

    /// Gives pages back that are in use. Lock-free.
    pub(crate) fn give(&self, pages: u64, motion: &Motion) {
        // SeqCst, all that makes pages takeable: the write half of "give, then note", pairs with `used` and `take`. Relaxed on failure:
        // somebody else has taken what was too much.
        let most = 2 * self.batch;
        if pages > most {
            self.drawn.now.fetch_sub(pages, Ordering::SeqCst);
        } else if self.stock().fetch_add(pages, Ordering::SeqCst) + pages > most {
            // What is taken out of the stock is hidden until it is drawn back.
            let _moving = motion.begin();
            let over = |now: u64| if now > most { Some(self.batch) } else { None };
            if let Ok(before) = self.stock().fetch_update(Ordering::SeqCst, Ordering::Relaxed, over) {
                self.drawn.now.fetch_sub(before - self.batch, Ordering::SeqCst);
            }
        }
        motion.note();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use crate::sync::recorded::{Kind, record};
    use std::collections::BTreeSet;

    #[test]
    fn req_48_two_cpus_write_no_line_in_common() {
        let (tally, motion) = (Tally::new(1 << 20), Motion::new());
        let slot = |cpu| record(cpu, || caller_slot(SLOTS)).0;
        let other = (1..64).find(|&cpu| slot(cpu) != slot(0)).expect("not all in one slot");
        let pair = |pages| {
            if tally.take(pages, u64::MAX, &motion) == Took::Drawn {
                tally.keep_high_water();
            }
            tally.give(pages, &motion);
        };
        let written = |cpu, pages| -> BTreeSet<usize> {
            // Once for the stock.
            record(cpu, || pair(pages));
            let accesses = record(cpu, || (0..100).for_each(|_| pair(pages))).1;
            accesses.iter().filter(|access| matches!(access.kind, Kind::Write | Kind::Locked)).map(|access| access.line).collect()
        };
        for pages in [1, 16] {
            let [mine, theirs] = [0, other].map(|cpu| written(cpu, pages));
            assert!(!mine.is_empty() && mine.is_disjoint(&theirs), "{pages} pages: {mine:?} {theirs:?}");
        }
    }

    #[test]
    fn req_48_a_caller_that_takes_page_by_page_draws_once_a_batch() {
        let (tally, motion) = (Tally::new(1 << 20), Motion::new());
        let took = (0..170).map(|_| tally.take(1, u64::MAX, &motion)).filter(|took| *took == Took::Drawn).count();
        assert_eq!((tally.batch, took), (16, 10));
    }

    #[test]
    fn a_stock_never_holds_more_than_two_batches() {
        let (tally, motion) = (Tally::new(1 << 20), Motion::new());
        assert_eq!(tally.take(1000, u64::MAX, &motion), Took::Drawn);
        let is_full = || tally.stock().load(Ordering::Relaxed) > 2 * tally.batch;
        for pages in (1..40).chain([200]) {
            tally.give(pages, &motion);
            assert!(!is_full(), "{pages} came back");
        }
        assert_eq!(tally.used(), 1000 - (1..40).sum::<u64>() - 200);
        for _ in 0..10 {
            assert_eq!(tally.take(1 << 12, u64::MAX, &motion), Took::Drawn);
            assert!(!is_full(), "large ones were taken");
            tally.give(1 << 12, &motion);
        }
    }

    #[test]
    fn stocks_are_collected_before_anybody_is_refused() {
        let (tally, motion) = (Tally::new(1 << 20), Motion::new());
        assert_eq!(tally.take(1, 20, &motion), Took::Drawn);
        assert_eq!((tally.used(), tally.batch), (1, 16));
        assert_eq!(tally.take(19, 20, &motion), Took::Drawn, "16 of them were in stock");
        assert_eq!((tally.used(), tally.take(1, 20, &motion)), (20, Took::Nothing));
        tally.give(20, &motion);
        assert_eq!(tally.used(), 0);
        assert_ne!(tally.take(20, 20, &motion), Took::Nothing, "they are in stock, or not drawn");
    }

    #[test]
    fn a_stock_that_others_may_have_is_not_taken_beyond_the_limit() {
        let (tally, motion) = (Tally::new(1 << 20), Motion::new());
        assert_eq!(tally.take(1, u64::MAX, &motion), Took::Drawn);
        assert_eq!(tally.take(1, 1, &motion), Took::Nothing);
        assert_eq!((tally.used(), tally.take(1, 2, &motion)), (1, Took::Drawn));
    }
}

#[cfg(all(test, loom))]
mod models {
    extern crate std;

    use super::*;
    use crate::sync::models::race;

    /// A tally of which two pages are in use, nothing is in stock, and `spare` more may be drawn.
    struct Shared {
        tally: Tally,
        motion: Motion,
        limit: u64,
        /// How many are in use for sure. Nothing that the checker sees.
        in_use: std::sync::atomic::AtomicU64,
    }

    /// At the end the tally says what is in use, and no more than the limit is drawn.
    impl Drop for Shared {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                assert_eq!(self.tally.used(), *self.in_use.get_mut());
                assert!(load_latest(&self.tally.drawn.now) <= self.limit);
            }
        }
    }

    impl Shared {
        fn new(spare: u64) -> Shared {
            let (tally, motion) = (Tally::new(1), Motion::new());
            // One is drawn, and one put in stock; that is the second's.
            [2, 2].into_iter().for_each(|limit| assert_ne!(tally.take(1, limit, &motion), Took::Nothing));
            assert_eq!((tally.used(), tally.stock().load(Ordering::Relaxed)), (2, 0));
            Shared { tally, motion, limit: 2 + spare, in_use: 2.into() }
        }

        /// As the ledger does it. Without a proof it may find nothing.
        fn take(&self, pages: u64) -> Took {
            let moving = self.motion.begin();
            let took = self.tally.take(pages, self.limit, &self.motion);
            moving.nothing_hidden();
            if took != Took::Nothing {
                self.in_use.fetch_add(pages, Ordering::Relaxed);
            }
            took
        }

        fn give(&self, pages: u64) {
            self.in_use.fetch_sub(pages, Ordering::Relaxed);
            self.tally.give(pages, &self.motion);
        }

        /// There is room for so many pages at every moment: a caller that finds less must not get a proof.
        fn looks_for<const PAGES: u64>(&self) {
            let watch = self.motion.watch();
            let notes = watch.notes();
            if self.tally.used() + PAGES > self.limit {
                assert!(!watch.nothing_since(notes), "there was room at every moment");
            }
        }

        /// The same for a caller that takes them.
        fn takes<const PAGES: u64>(&self) {
            let watch = self.motion.watch();
            let notes = watch.notes();
            if self.take(PAGES) == Took::Nothing {
                assert!(!watch.nothing_since(notes), "there was room at every moment");
            }
        }
    }

    #[test]
    fn req_68_refusal_against_a_stock_that_is_being_filled() {
        fn one(shared: &Shared) {
            let _ = shared.take(1);
        }
        race(|| Shared::new(2), one, Shared::looks_for::<1>);
        race(|| Shared::new(2), one, Shared::takes::<1>);
    }

    /// Room goes from what may be drawn into a stock.
    #[test]
    fn req_68_refusal_against_a_free_and_a_request() {
        fn both(shared: &Shared) {
            shared.give(1);
            let _ = shared.take(2);
        }
        race(|| Shared::new(2), both, Shared::looks_for::<1>);
        race(|| Shared::new(2), both, Shared::takes::<1>);
    }

    /// And back: what is taken out of a full stock is hidden until it is drawn back.
    #[test]
    fn req_68_refusal_against_a_stock_that_is_drawn_back() {
        fn set_up() -> Shared {
            let shared = Shared::new(2);
            [1, 1].into_iter().for_each(|pages| assert_ne!(shared.take(pages), Took::Nothing));
            [1, 1].into_iter().for_each(|pages| shared.give(pages));
            assert_eq!((shared.tally.used(), shared.tally.stock().load(Ordering::Relaxed)), (2, 2));
            shared
        }
        race(set_up, |shared| shared.give(1), Shared::looks_for::<2>);
        race(set_up, |shared| shared.give(1), Shared::takes::<2>);
    }

    /// A caller that collects all stocks hides what it has found until it is drawn back.
    #[test]
    fn req_68_refusal_against_a_caller_that_collects() {
        fn collects(shared: &Shared) {
            let _ = shared.take(2);
        }
        fn set_up() -> Shared {
            let shared = Shared::new(0);
            shared.give(1);
            shared
        }
        race(set_up, collects, Shared::looks_for::<1>);
    }

    /// A stock from which another takes while it is too full.
    #[test]
    fn a_full_stock_is_looked_at_again_before_it_is_drawn_back() {
        fn set_up() -> Shared {
            let mut shared = Shared::new(6);
            shared.tally.batch = 2;
            assert_ne!(shared.take(4), Took::Nothing);
            shared.give(2);
            assert_eq!(shared.tally.stock().load(Ordering::Relaxed), 4);
            shared
        }
        fn takes(shared: &Shared) {
            let _ = shared.take(4);
        }
        race(set_up, |shared| shared.give(1), takes);
    }

    /// Two who want all that is left: one has it.
    #[test]
    fn req_68_two_that_want_the_last_page() {
        fn both(shared: &Shared) {
            if shared.take(1) != Took::Nothing {
                let used = shared.tally.drawn.now.load(Ordering::Relaxed);
                assert!(used <= shared.limit, "{used} of {}", shared.limit);
            }
        }
        race(|| Shared::new(1), both, both);
    }
}
