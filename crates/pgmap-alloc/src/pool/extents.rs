//! Contiguous pages of any number: in a window, from either end, at any alignment, chosen by any fit.

use core::ops::ControlFlow;

use super::GenPool;
use super::asked::{ExtentParams, Mode};
use super::choose::Holding;
use super::clear::Wish;
use super::fit::Side;
use super::notes::Contents;
use super::prove::{Try, Unproved};
use super::walk::Trail;
use crate::error::{AllocExtentError, FreeError};
use crate::extent::Extent;
use crate::order::Order;

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes contiguous pages. Give them back with [`GenPool::free_extent`], or in aligned parts with [`GenPool::free`].
    ///
    /// Lock-free. What it costs, where *gaps that could do* are those in the window that hold an aligned run of about a quarter of
    /// the size or more; no search looks at smaller ones, or at taken pages, whatever the size of the pool:
    ///
    /// | mode | |
    /// |---|---|
    /// | `Simple`, in the whole pool | O(levels), and 16 looks at gaps for each order between a quarter of the size and the next power of two (of the size, or of the alignment if that is larger), while such a run is idle |
    /// | `Simple`, in a window | 64 looks at gaps, while such a run is idle in the window, or one of the first 64 gaps that could do does |
    /// | `Simple`, otherwise; a refusal, in any mode | O(gaps that could do) |
    /// | with a fit that stops at the first | O(gaps that could do and lie before the place) |
    /// | with [`best_fit`](super::fit::best_fit) | O(gaps that could do), unless one fits without remainder |
    /// | with any fit, [comparing](ExtentParams::comparing) n | O(gaps that could do and lie before the n-th that does) |
    ///
    /// Extents stand side by side: whatever their sizes, none is refused before the pool is nearly full, 99 % where nothing has been freed
    /// yet. An extent that is an aligned run (its alignment is its size) is taken as [`GenPool::alloc`] takes one.
    ///
    /// A refusal is true, as for [`GenPool::alloc`].
    pub fn alloc_extent(&self, params: &ExtentParams) -> Result<Extent, AllocExtentError> {
        self.check(params)?;
        match params.wish {
            Wish::Cleared => return self.extent_holding(params, Holding::Cleared),
            Wish::PreferCleared => {
                if let Some(extent) = self.prefer_extent(params) {
                    return Ok(extent);
                }
            }
            Wish::DontCare => {}
        }
        if let (Mode::Simple, Extent::ALL) = (params.mode, params.window)
            && let Some(extent) = self.take_quickly(params)
        {
            return Ok(extent);
        }
        self.extent_holding(params, Holding::Anything)
    }

    fn extent_holding(&self, params: &ExtentParams, holding: Holding) -> Result<Extent, AllocExtentError> {
        let mut bad = None;
        let found = self.until_proved(self.shape.top, || match self.choose_place(params, holding, Some) {
            Ok(Some(extent)) => {
                if self.claim_holding(extent, holding) {
                    Try::Got(Some(extent))
                } else {
                    Try::Lost
                }
            }
            Ok(None) => Try::Nothing,
            Err(start) => {
                bad = Some(start);
                Try::Got(None)
            }
        });
        match (found, bad) {
            (Ok(Some(extent)), _) => Ok(extent),
            (_, Some(start)) => Err(AllocExtentError::BadFit { start }),
            (Err(Unproved::Contended) | Ok(None), None) => Err(AllocExtentError::Contended),
            (Err(Unproved::Nothing), None) if holding == Holding::Cleared => Err(AllocExtentError::NoneCleared),
            (Err(Unproved::Nothing), None) => Err(self.explain(params)),
        }
    }

    /// An extent that is cleared, if there is one at once.
    fn prefer_extent(&self, params: &ExtentParams) -> Option<Extent> {
        if !self.tracks_clear() || self.clear.is_barren(Contents::Cleared, self.asked(params).order_inside()) {
            return None;
        }
        let place = self.choose_place(params, Holding::ClearedSoon, Some).ok().flatten();
        place.filter(|extent| self.claim_holding(*extent, Holding::ClearedSoon))
    }

    /// Gives contiguous pages back, taken together or not, if none of them is idle; otherwise nothing changes.
    pub fn free_extent(&self, extent: Extent) -> Result<(), FreeError> {
        let range = self.ranges.of(extent.start()).ok_or(FreeError::OutOfRange)?;
        if extent.end() > range.end() {
            return Err(FreeError::CrossesRange);
        }
        let runs = || extent.runs(self.largest_entry());
        runs().try_for_each(|run| {
            self.check_taken(run)?;
            self.idle_page_in(run).map_or(Ok(()), |page| Err(FreeError::DoubleFree { page }))
        })?;
        runs().try_for_each(|run| self.give_back(run))
    }

    pub(super) fn check(&self, params: &ExtentParams) -> Result<(), AllocExtentError> {
        if params.pages == 0 {
            return Err(AllocExtentError::NoPages);
        }
        if !params.align.is_power_of_two() {
            return Err(AllocExtentError::Alignment { align: params.align });
        }
        if let Some(base) = params.base.filter(|&base| !self.has_offset(base)) {
            return Err(AllocExtentError::BaseOutside { base });
        }
        if params.pages > params.window.pages() {
            return Err(AllocExtentError::LargerThanWindow { pages: params.pages });
        }
        let inside = |start| self.ranges.at_or_after(start).filter(|range| range.first < params.window.end());
        let mut range = inside(params.window.start()).ok_or(AllocExtentError::WindowOutside)?;
        loop {
            if params.pages <= range.pages {
                return Ok(());
            }
            range = inside(range.end()).ok_or(AllocExtentError::TooLarge { pages: params.pages })?;
        }
    }

    /// The quick way: beside what is taken, or as a run where that is what was asked for.
    fn take_quickly(&self, params: &ExtentParams) -> Option<Extent> {
        let asked = self.asked(params);
        if asked.is_run() {
            return Extent::new(self.attempt(asked.order_around()?)?.start(), params.pages).ok();
        }
        let place = self.place_nearby(&asked);
        if let Some(place) = place {
            if self.claim_extent(place) {
                return Some(place);
            }
            // Somebody was faster, or the place lies in tables that have not been merged yet.
            self.merge_spares(self.shape.top);
            if self.claim_extent(place) {
                return Some(place);
            }
        }
        self.take_and_trim(params)
    }

    /// Where others are faster, or nothing is listed: a run of the next power of two, of which the end is given back.
    #[cold]
    fn take_and_trim(&self, params: &ExtentParams) -> Option<Extent> {
        if params.base.is_some() {
            return None;
        }
        let order = Order::covering(params.pages.max(params.align))?;
        let extent = |start| Extent::new(start, params.pages).ok();
        if order.pages() == params.pages {
            return extent(self.attempt(order)?.start());
        }
        // Until the end has been given back it is hidden.
        let _moving = self.motion.begin();
        let run = self.attempt(order)?;
        let extent = extent(run.start())?;
        let tail = Extent::between(extent.end(), run.end()).ok()?;
        self.push_notes(run, extent);
        self.push_notes(run, tail);
        for part in tail.runs(self.largest_entry()) {
            // Ours, and never used.
            let _ = self.put_back(part);
        }
        Some(extent)
    }

    /// Claims all pages of an extent that lies in a range, or none; the undo stands beside the do.
    pub(super) fn claim_extent(&self, extent: Extent) -> bool {
        // What is undone was hidden for a while.
        let _moving = self.motion.begin();
        let runs = || extent.runs(self.largest_entry());
        let Some(stuck) = runs().find(|run| !self.claim_run(*run)) else { return true };
        for run in runs().take_while(|run| *run != stuck) {
            // Claimed by us a moment ago.
            let _ = self.put_back(run);
        }
        false
    }

    /// [`GenPool::claim_extent`], if it still holds what it was chosen for.
    pub(super) fn claim_holding(&self, extent: Extent, holding: Holding) -> bool {
        if holding == Holding::Anything {
            return self.claim_extent(extent);
        }
        // What it holds can be told only when it is ours, and then it may go back.
        let _moving = self.motion.begin();
        if !self.claim_extent(extent) {
            return false;
        }
        let cleared = self.contents_of(extent) == Contents::Cleared;
        if !cleared {
            // Somebody had it meanwhile and left it otherwise.
            extent.runs(self.largest_entry()).for_each(|run| _ = self.put_back(run));
        }
        cleared
    }

    /// Why there was nothing: too few idle pages, or none of them side by side.
    #[cold]
    pub(super) fn explain(&self, params: &ExtentParams) -> AllocExtentError {
        let idle = self.idle_up_to(params.pages, params.window);
        let cached = self.handles.press();
        if idle >= params.pages { AllocExtentError::Fragmented { cached } } else { AllocExtentError::NoSpace { idle, cached } }
    }

    /// How many pages of a window are idle. O(tables in it with idle pages); exact at a quiet moment.
    pub fn avail_in(&self, window: Extent) -> u64 {
        let mut idle = 0;
        let _ = self.walk(&Trail { window, order: Order::ZERO, from: Side::Bottom }, &mut |_, seen| {
            idle += seen.pages();
            ControlFlow::Continue(())
        });
        idle
    }

    /// How many pages are idle. O(tables with idle pages); exact at a quiet moment.
    pub fn avail(&self) -> u64 {
        self.avail_in(Extent::ALL)
    }

    /// How many idle runs there are of each order, every gap cut into the largest: what a buddy allocator's free lists would hold.
    /// A snapshot: O(gaps); exact at a quiet moment. Allocates nothing.
    pub fn idle_runs(&self) -> [u64; Order::MAX.get() as usize + 1] {
        let mut runs = [0; Order::MAX.get() as usize + 1];
        for run in self.gaps_in(Extent::ALL).flat_map(|gap| gap.runs(self.largest_entry())) {
            if let Some(count) = runs.get_mut(run.order().get() as usize) {
                *count += 1;
            }
        }
        runs
    }

    /// The first gap of a window: idle pages side by side.
    pub fn first_gap(&self, window: Extent) -> Option<Extent> {
        let mut found = None;
        let _ = self.gaps(&Trail { window, order: Order::ZERO, from: Side::Bottom }, &mut |gap| {
            found = Some(gap);
            ControlFlow::Break(())
        });
        found
    }

    /// All gaps of a window in rising order of offset; each as it is when the iterator comes by. Allocates nothing.
    pub fn gaps_in(&self, window: Extent) -> impl Iterator<Item = Extent> {
        let mut left = Some(window);
        core::iter::from_fn(move || {
            let gap = self.first_gap(left?)?;
            left = Extent::between(gap.end(), window.end()).ok();
            Some(gap)
        })
    }
}
