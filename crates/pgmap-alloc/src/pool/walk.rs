//! Idle pages in order of offset, without looking where there are none.
//!
//! The walk goes down from the table on top, only into tables that are listed with a run as large as is looked for: so it costs
//! what the tables that it visits cost, however large the pool is. A table that was listed with such a run and has none is listed as it
//! should be, so it is visited once (rule 2 of `listing`). What it reports is what it saw: a claim decides.

use core::ops::ControlFlow;

use super::GenPool;
use super::fit::Side;
use super::shape::Place;
use crate::extent::Extent;
use crate::offset::Offset;
use crate::order::Order;

/// What a walk looks for.
#[derive(Clone, Copy)]
pub(super) struct Trail {
    /// Where.
    pub(super) window: Extent,
    /// Only tables with an idle run of this order are visited, and of what is idle in them only what holds such a run is shown.
    pub(super) order: Order,
    /// From which end.
    pub(super) from: Side,
}

/// Whether `count` bits from bit `from` of a word on hold an aligned run of `order`; all of the word, for runs of several.
pub(super) const fn holds_run(from: u32, count: u32, order: u32) -> bool {
    if order > 6 {
        return count == 64;
    }
    let size = 1 << order;
    from.next_multiple_of(size) + size <= from + count
}

/// The entries of a run of bits of a word.
pub(super) const fn bits(from: u32, count: u32) -> u64 {
    if count == 0 { 0 } else { (!0 >> (64 - count)) << from }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Shows `see` the idle stretches in a window, one after another; a stretch ends where its word in a table
    /// ends. Also told is the level of that table.
    pub(super) fn walk(&self, trail: &Trail, see: &mut dyn FnMut(u32, Extent) -> ControlFlow<()>) -> ControlFlow<()> {
        let end = Offset::new(self.shape.pages.max(1));
        let Some(window) = Extent::between(Offset::new(0), end).ok().and_then(|all| all.common(trail.window)) else {
            return ControlFlow::Continue(());
        };
        self.list_fresh();
        self.walk_table(self.shape.top, 0, &Trail { window, ..*trail }, see)
    }

    fn walk_table(
        &self,
        level: u32,
        table: usize,
        trail: &Trail,
        see: &mut dyn FnMut(u32, Extent) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let whole = self.shape.run(Place { level, table, entry: 0, order: Self::RADIX });
        let Some(part) = Extent::from(whole).common(trail.window) else { return ControlFlow::Continue(()) };
        let scale = level * Self::RADIX;
        let low = (part.start().get() - whole.start().get()) >> scale;
        let high = (part.end().get() - 1 - whole.start().get()) >> scale;
        let idle = self.table(level, table).seen();
        let (mut below, mut misled) = (self.listed_below(level, table, trail.order), Extent::from(whole) == part);
        if level > 1 {
            self.add_owned(level, table, &mut below);
        }
        for step in 0..WORDS {
            let index = if trail.from == Side::Bottom { step } else { WORDS - 1 - step };
            let (first, last) = (index as u64 * 64, index as u64 * 64 + 63);
            if last < low || first > high {
                continue;
            }
            let inside = bits(low.saturating_sub(first) as u32, (high.min(last) - low.max(first) + 1) as u32);
            let (idle, below) = (idle.get(index).copied().unwrap_or(0), below.get(index).copied().unwrap_or(0));
            let mut left = (idle | below) & inside;
            while left != 0 {
                let at = if trail.from == Side::Bottom { left.trailing_zeros() } else { 63 - left.leading_zeros() };
                let entry = index as u32 * 64 + at;
                if idle >> at & 1 == 0 {
                    (left, misled) = (left & !bits(at, 1), false);
                    self.walk_table(level.saturating_sub(1), self.shape.child(table, entry), trail, see)?;
                    continue;
                }
                let stretch = match trail.from {
                    Side::Bottom => bits(at, (!(idle >> at)).trailing_zeros().min(64 - at)),
                    Side::Top => {
                        let count = (!(idle << (63 - at))).leading_zeros().min(at + 1);
                        bits(at + 1 - count, count)
                    }
                };
                left &= !stretch;
                if !holds_run(stretch.trailing_zeros(), stretch.count_ones(), trail.order.get().saturating_sub(scale)) {
                    continue;
                }
                let base = whole.start().get() + (((index as u64) * 64 + u64::from(stretch.trailing_zeros())) << scale);
                let pages = u64::from(stretch.count_ones()) << scale;
                let seen = Extent::new(Offset::new(base), pages).ok().and_then(|seen| seen.common(trail.window));
                if let Some(seen) = seen {
                    misled = false;
                    see(level, seen)?;
                }
            }
        }
        if misled {
            self.settle(level, table);
        }
        ControlFlow::Continue(())
    }

    /// Adds the entries of a table two levels up or more below which a handle works: what it works in is in no list, and all else
    /// below an entry may be taken.
    fn add_owned(&self, level: u32, table: usize, below: &mut [u64; WORDS]) {
        for owned in self.handles.tables() {
            let (above, entry) = self.shape.entry(Offset::new((owned as u64) << Self::RADIX), level);
            if let Some(word) = below.get_mut((entry / 64) as usize).filter(|_| above == table) {
                *word |= 1 << (entry % 64);
            }
        }
    }

    /// The first page from `at` on, but not beyond `limit`, that is not idle.
    pub(super) fn idle_until(&self, mut at: u64, limit: u64) -> u64 {
        while at < limit {
            let next = (0..=self.shape.top).rev().find_map(|level| {
                let (table, entry) = self.shape.entry(Offset::new(at), level);
                let count = self.table(level, table).idle_from(entry);
                (count > 0).then(|| ((at >> (level * Self::RADIX)) + u64::from(count)) << (level * Self::RADIX))
            });
            match next {
                Some(next) => at = next,
                None => return at,
            }
        }
        limit
    }

    /// The lowest page, but not below `limit`, from which on all pages up to `at` are idle.
    pub(super) fn idle_since(&self, mut at: u64, limit: u64) -> u64 {
        while at > limit {
            let next = (0..=self.shape.top).rev().find_map(|level| {
                let last = at - 1;
                let (table, entry) = self.shape.entry(Offset::new(last), level);
                let count = self.table(level, table).idle_to(entry);
                (count > 0).then(|| ((last >> (level * Self::RADIX)) + 1 - u64::from(count)) << (level * Self::RADIX))
            });
            match next {
                Some(next) => at = next,
                None => return at,
            }
        }
        limit
    }

    /// Shows `see` every gap in a window: idle pages that are as many side by side as their range and the window allow. Gaps
    /// without an aligned run of the trail's order may be missing.
    pub(super) fn gaps(&self, trail: &Trail, see: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> ControlFlow<()> {
        // What has been shown so far reaches up to here (from the bottom), or down to here (from the top).
        let mut shown = if trail.from == Side::Bottom { 0 } else { u64::MAX };
        self.walk(trail, &mut |_, seen| {
            loop {
                // A stretch may lie across the border of two ranges; then it is part of two gaps.
                let page = match trail.from {
                    Side::Bottom => seen.start().get().max(shown),
                    Side::Top => seen.end().get().min(shown).wrapping_sub(1),
                };
                if !seen.contains(Offset::new(page)) {
                    return ControlFlow::Continue(());
                }
                // Somebody may have taken the page since the stretch was seen: on to the next one of it.
                let gap = self.gap_around(Offset::new(page), trail.window).filter(|gap| gap.contains(Offset::new(page)));
                let past = gap.map_or((page + 1, page), |gap| (gap.end().get(), gap.start().get()));
                shown = if trail.from == Side::Bottom { past.0 } else { past.1 };
                if let Some(gap) = gap {
                    see(gap)?;
                }
            }
        })
    }

    /// The idle pages side by side around an idle page, within its range and a window.
    pub(super) fn gap_around(&self, page: Offset, window: Extent) -> Option<Extent> {
        let range = self.ranges.of(page)?;
        let part = Extent::between(range.first, range.end()).ok()?.common(window)?;
        let low = self.idle_since(page.get(), part.start().get());
        let high = self.idle_until(page.get(), part.end().get());
        Extent::between(Offset::new(low), Offset::new(high)).ok()
    }
}
