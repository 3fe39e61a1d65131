//! A number of pages with a limit, raised and lowered by many callers who do not meet each time.
//!
//! # Protocol
//!
//! `drawn` counts the pages in use and those in stock: every caller slot has a stock of pages that are drawn and not in use.
//!
//! 1. Who wants pages takes them from his stock if no more are drawn than his limit; else he draws them, and a batch more for the
//!    next time if the limit allows.
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
use crate::sync::{AtomicU64, Ordering, caller_slot, in_models};

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
        let stocks = self.stocks.iter().map(|stock| stock.0.load(Ordering::SeqCst));
        let in_stock = stocks.fold(0, u64::wrapping_add);
        self.drawn.now.load(Ordering::SeqCst).saturating_sub(in_stock)
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
        loop {
            // Relaxed: how much more is worth while. Else those who draw and are refused by the pool fill the stock without end.
            let batch = self.batch.saturating_sub(self.stock().load(Ordering::Relaxed));
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
    use super::*;

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
