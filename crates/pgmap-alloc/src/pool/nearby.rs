//! A place for contiguous pages through the lists: in a gap that is tight, at the cost of a search for a run.
//!
//! A run of the next power of two, of which the rest is given back, leaves that rest beside every extent: what such rests have
//! together is soon a quarter of the pool. So an extent is put at the end of a gap, beside what is taken already. The lists say where
//! the runs are from which gaps are made, from the tightest on; a gap that is long enough need not have a run of the next power of two.

use super::GenPool;
use super::asked::Asked;
use super::fit::best_fit;
use super::walk::{bits, holds_run};
use crate::extent::Extent;
use crate::offset::Offset;

/// How many gaps of a table are compared.
const GAPS: u32 = 16;
/// How many listings that promise too much are put right before the lists are left alone.
const STALE: u32 = 4;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// A place at the low end of a gap. Of each order that could do one table is looked at, and no more than [`GAPS`] gaps of it; so
    /// `None` says nothing.
    pub(super) fn place_nearby(&self, asked: &Asked) -> Option<Extent> {
        let (mut class, mut stale) = (asked.order_inside().get(), 0);
        // All callers from the lowest table on: what is left idle is less scattered.
        while let Some((table, listed)) = self.propose(0, class) {
            let (level, order) = (listed / Self::RADIX, listed % Self::RADIX);
            let place = self.place_in(level, table, asked);
            if place.is_some() {
                return place;
            }
            class = listed + 1;
            if stale < STALE && !self.table(level, table).has(order) {
                // Another one may stand there.
                self.relist(level, table, listed);
                (class, stale) = (listed, stale + 1);
            }
        }
        self.place_in(self.shape.top, 0, asked)
    }

    /// The tightest place in the first few gaps that have an entry in a table.
    fn place_in(&self, level: u32, table: usize, asked: &Asked) -> Option<Extent> {
        let scale = level * Self::RADIX;
        let least = asked.order_inside().get().saturating_sub(scale);
        let (mut best, mut looks, mut shown) = (None::<(u64, Extent)>, GAPS, 0);
        for (index, word) in self.table(level, table).seen().into_iter().enumerate() {
            let (first, mut left) = ((table as u64) << Self::RADIX | index as u64 * 64, word);
            while left != 0 {
                let at = left.trailing_zeros();
                let count = (!(left >> at)).trailing_zeros().min(64 - at);
                left &= !bits(at, count);
                if !holds_run(at, count, least) {
                    continue;
                }
                let (start, end) = ((first + u64::from(at)) << scale, (first + u64::from(at + count)) << scale);
                let mut page = start.max(shown);
                // A stretch may lie across the border of two ranges.
                while page < end {
                    // Somebody may have taken the page since.
                    let Some(gap) = self.gap_around(Offset::new(page), Extent::ALL) else { break };
                    (page, shown) = (gap.end().get(), gap.end().get());
                    let want = self.want_in(gap, asked);
                    if let Some(offer) = best_fit(gap, &want)
                        && best.is_none_or(|(cost, _)| offer.cost < cost)
                    {
                        best = Extent::new(offer.start, want.pages).ok().map(|place| (offer.cost, place));
                    }
                    looks -= 1;
                    if looks == 0 || best.is_some_and(|(cost, _)| cost == 0) {
                        return best.map(|(_, place)| place);
                    }
                }
            }
        }
        best.map(|(_, place)| place)
    }
}
