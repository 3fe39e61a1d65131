//! Which of some extents would have to go to make room: an eviction is decided before anything is moved.
//!
//! As in drm_mm's scan the caller names candidates, those that he would miss least first, until a place appears; then only those
//! that lie in that place need to be evicted.

use super::GenPool;
use super::asked::ExtentParams;
use crate::extent::Extent;
use crate::offset::Offset;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The place where `params` would fit if `candidates`, in this order and no more than needed, were idle too; and how many of
    /// them it took. Those that [`Extent::common`] finds in the place are to be evicted, the others can stay.
    ///
    /// Takes the lowest place that the last candidate opens, or the highest for a search from the top. O(candidates squared).
    /// `None` too where no eviction can help: for parameters that [`GenPool::alloc_extent`] refuses whatever is idle. The pool is
    /// not changed: what is idle may be gone when the eviction is done.
    pub fn scan_eviction(&self, params: &ExtentParams, candidates: &[Extent]) -> Option<(Extent, usize)> {
        self.check(params).ok()?;
        let asked = self.asked(params);
        candidates.iter().enumerate().find_map(|(index, opened)| {
            let named = candidates.get(..=index)?;
            let gap = self.gap_with(*opened, params.window, named)?;
            let place = Extent::new(self.want_in(gap, &asked).place_aligned(gap, params.align)?, params.pages).ok()?;
            Some((place, index + 1))
        })
    }

    /// The pages side by side around an extent that are idle or named.
    fn gap_with(&self, opened: Extent, window: Extent, named: &[Extent]) -> Option<Extent> {
        let range = self.ranges.of(opened.start())?;
        let part = Extent::between(range.first, range.end()).ok()?.common(window)?;
        let opened = opened.common(part)?;
        let (mut low, mut high) = (opened.start().get(), opened.end().get());
        loop {
            let (was_low, was_high) = (low, high);
            low = self.idle_since(low, part.start().get());
            high = self.idle_until(high, part.end().get());
            for extent in named.iter().filter_map(|extent| extent.common(part)) {
                if extent.start().get() < low && extent.end().get() >= low {
                    low = extent.start().get();
                }
                if extent.start().get() <= high && extent.end().get() > high {
                    high = extent.end().get();
                }
            }
            if (low, high) == (was_low, was_high) {
                return Extent::between(Offset::new(low), Offset::new(high)).ok();
            }
        }
    }
}
