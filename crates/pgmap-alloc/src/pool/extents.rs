//! Contiguous pages of any number: in a window, from either end, at any alignment, chosen by any fit.

use core::ops::ControlFlow;

use super::GenPool;
use super::fit::{Fit, Side, Want, best_fit};
use super::prove::{Try, Unproved};
use super::walk::Trail;
use crate::error::{AllocExtentError, FreeError};
use crate::extent::Extent;
use crate::offset::Offset;
use crate::order::Order;

/// How many gaps a search without a fit compares before it takes the best of them.
const LOOKS: u32 = 64;

/// What contiguous pages are asked for.
///
/// Every combination makes sense: where to look, from which end and by which fit do not depend on each other.
#[derive(Clone, Copy, Debug)]
pub struct ExtentParams {
    /// How many pages; need not be a power of two.
    pub pages: u64,
    /// A multiple of how many pages the first one must be from `base`, a power of two; may be larger than `pages`.
    pub align: u64,
    /// The page from which alignment counts: 0 is that of the addresses themselves, as far as the ranges are aligned to it.
    pub base: Offset,
    /// The offsets to look in.
    pub window: Extent,
    /// How the place is chosen.
    pub mode: Mode,
}

impl ExtentParams {
    /// So many pages, anywhere.
    pub const fn new(pages: u64) -> ExtentParams {
        ExtentParams { pages, align: 1, base: Offset::new(0), window: Extent::ALL, mode: Mode::Simple }
    }

    /// At a multiple of `align` pages.
    #[must_use]
    pub const fn aligned(self, align: u64) -> ExtentParams {
        ExtentParams { align, ..self }
    }

    /// At a multiple of `align` pages from page `base`.
    #[must_use]
    pub const fn aligned_from(self, align: u64, base: Offset) -> ExtentParams {
        ExtentParams { align, base, ..self }
    }

    /// Only in these offsets.
    #[must_use]
    pub const fn within(self, window: Extent) -> ExtentParams {
        ExtentParams { window, ..self }
    }

    /// With the place chosen in this way.
    #[must_use]
    pub const fn by(self, mode: Mode) -> ExtentParams {
        ExtentParams { mode, ..self }
    }
}

impl ExtentParams {
    pub(super) fn want(&self) -> Want {
        Want { pages: self.pages, align: self.align, base: self.base, from: self.mode.from() }
    }

    /// How far the base is from the last multiple of the alignment.
    fn base_within_align(&self) -> u64 {
        self.base.get() & (self.align - 1)
    }
}

/// How the place for an extent is chosen.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// As the pool likes: quickly, and so that large runs stay whole.
    Simple,
    /// By this fit, gaps at low offsets first.
    BottomUp(Fit),
    /// By this fit, gaps at high offsets first.
    TopDown(Fit),
}

impl Mode {
    pub(super) fn from(&self) -> Side {
        if let Mode::TopDown(_) = self { Side::Top } else { Side::Bottom }
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes contiguous pages. Give them back with [`GenPool::free_extent`], or in aligned parts with [`GenPool::free`].
    ///
    /// Lock-free. `Simple` in the whole pool takes O(levels) while a run of the next power of two is idle; otherwise, and in the
    /// other modes, the cost grows with the gaps that hold an aligned run of about a quarter of the size or more, never with the
    /// size of the pool. A refusal is true, as for [`GenPool::alloc`].
    pub fn alloc_extent(&self, params: &ExtentParams) -> Result<Extent, AllocExtentError> {
        self.check(params)?;
        if let (Mode::Simple, Extent::ALL) = (params.mode, params.window)
            && let Some(extent) = self.take_and_trim(params)
        {
            return Ok(extent);
        }
        let mut bad = None;
        let found = self.until_proved(self.shape.top, || match self.choose_place(params, Some) {
            Ok(Some(extent)) => {
                if self.claim_extent(extent) {
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
            (Err(Unproved::Nothing), None) => Err(self.explain(params)),
        }
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

    /// The quick way: a run of the next power of two, of which the end is given back.
    fn take_and_trim(&self, params: &ExtentParams) -> Option<Extent> {
        if params.base_within_align() != 0 {
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

    /// The place that the mode chooses; `Err` when a fit offered one that is not in its gap. The fit is shown what `trim` leaves of
    /// each gap.
    pub(super) fn choose_place(
        &self,
        params: &ExtentParams,
        trim: impl Fn(Extent) -> Option<Extent>,
    ) -> Result<Option<Extent>, Offset> {
        let want = params.want();
        let trail = Trail { window: params.window, order: order_inside(params), from: want.from };
        let (fit, mut looks) = match params.mode {
            Mode::Simple => (best_fit as Fit, LOOKS),
            Mode::BottomUp(fit) | Mode::TopDown(fit) => (fit, u32::MAX),
        };
        let (mut best, mut bad) = (None, None);
        let _ = self.gaps(&trail, &mut |gap| {
            let Some(gap) = trim(gap) else { return ControlFlow::Continue(()) };
            let Some(offer) = fit(gap, &want) else { return ControlFlow::Continue(()) };
            let placed = Extent::new(offer.start, want.pages).ok().filter(|extent| gap.common(*extent) == Some(*extent));
            let aligned = |extent: &Extent| extent.start().get().wrapping_sub(want.base.get()) & (want.align - 1) == 0;
            let Some(extent) = placed.filter(aligned) else {
                bad = Some(offer.start);
                return ControlFlow::Break(());
            };
            if best.is_none_or(|(cost, _)| offer.cost < cost) {
                best = Some((offer.cost, extent));
            }
            looks -= 1;
            if offer.cost == 0 || looks == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match bad {
            Some(start) => Err(start),
            None => Ok(best.map(|(_, extent)| extent)),
        }
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

    /// Why there was nothing: too few idle pages, or none of them side by side.
    #[cold]
    pub(super) fn explain(&self, params: &ExtentParams) -> AllocExtentError {
        let mut idle = 0;
        let trail = Trail { window: params.window, order: Order::ZERO, from: Side::Bottom };
        let _ = self.walk(&trail, &mut |_, seen| {
            idle += seen.pages();
            if idle >= params.pages { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
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

/// An aligned run of this order lies in every extent that is asked for, wherever it is.
fn order_inside(params: &ExtentParams) -> Order {
    let anywhere = Order::fitting(params.pages.saturating_add(1)).map_or(0, |order| order.get().saturating_sub(1));
    // Counted from a crooked base, a place is aligned only as the base is.
    let align = match params.base_within_align() {
        0 => params.align,
        crooked => 1 << crooked.trailing_zeros(),
    };
    let aligned = Order::fitting(params.pages.min(align)).map_or(0, Order::get);
    Order::clamped(anywhere.max(aligned))
}
