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

/// How many gaps a search without a fit looks at before it takes the best of them.
const LOOKS: u32 = 64;

/// How gaps are looked through.
struct Look {
    trail: Trail,
    fit: Fit,
    /// No more gaps than these are looked at, whether they fit or not.
    most: u32,
    /// No more gaps than these are compared, all of which fit.
    enough: u32,
}

/// What came of it.
#[derive(Clone, Copy)]
struct Looked {
    best: Option<Extent>,
    /// Whether all gaps were looked at that could do.
    all: bool,
}

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

/// How the place for an extent is chosen: in one way. From both ends, by a fit without an end, or simply and by a fit, cannot be
/// written:
///
/// ```compile_fail,E0618
/// use pgmap_alloc::{ExtentParams, Mode, fit};
/// let simply = ExtentParams::new(5).by(Mode::Simple(fit::best_fit));
/// ```
///
/// ```compile_fail,E0308
/// use pgmap_alloc::{ExtentParams, Mode};
/// let without_a_fit = ExtentParams::new(5).by(Mode::TopDown);
/// ```
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
    /// Lock-free. What it costs, where *gaps that could do* are those in the window that hold an aligned run of about a quarter of
    /// the size or more; no search looks at smaller ones, or at taken pages, whatever the size of the pool:
    ///
    /// | mode | |
    /// |---|---|
    /// | `Simple`, in the whole pool | O(levels), while a run of the next power of two (of the size, or of the alignment if that is larger) is idle |
    /// | `Simple` | 64 looks at gaps, while such a run is idle in the window, or one of the first 64 gaps that could do does |
    /// | `Simple`, otherwise; a refusal, in any mode | O(gaps that could do) |
    /// | with a fit that stops at the first | O(gaps that could do and lie before the place) |
    /// | with [`best_fit`] | O(gaps that could do), unless one fits without remainder |
    ///
    /// A refusal is true, as for [`GenPool::alloc`].
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
        let fit = match params.mode {
            Mode::Simple => best_fit,
            Mode::BottomUp(fit) | Mode::TopDown(fit) => {
                let all = Look { trail, fit, most: u32::MAX, enough: u32::MAX };
                return self.look(&all, &want, &trim).map(|looked| looked.best);
            }
        };
        let few = self.look(&Look { trail, fit, most: LOOKS, enough: LOOKS }, &want, &trim)?;
        if few.best.is_some() || few.all {
            return Ok(few.best);
        }
        // None of the first ones does; but wherever such a run is idle there is a place.
        if let Some(order) = order_around(params) {
            let sure = Look { trail: Trail { order, ..trail }, fit, most: LOOKS, enough: 1 };
            let found = self.look(&sure, &want, &trim)?;
            if found.best.is_some() {
                return Ok(found.best);
            }
        }
        self.look(&Look { trail, fit, most: u32::MAX, enough: LOOKS }, &want, &trim).map(|looked| looked.best)
    }

    /// The best place in some gaps.
    fn look(&self, look: &Look, want: &Want, trim: &impl Fn(Extent) -> Option<Extent>) -> Result<Looked, Offset> {
        let (mut best, mut bad, mut most, mut enough) = (None, None, look.most, look.enough);
        let aligned = |extent: &Extent| extent.start().get().wrapping_sub(want.base.get()) & (want.align - 1) == 0;
        let flow = self.gaps(&look.trail, &mut |gap| {
            if most == 0 {
                return ControlFlow::Break(());
            }
            most -= 1;
            let Some(gap) = trim(gap) else { return ControlFlow::Continue(()) };
            let Some(offer) = (look.fit)(gap, want) else { return ControlFlow::Continue(()) };
            let placed = Extent::new(offer.start, want.pages).ok().filter(|extent| gap.common(*extent) == Some(*extent));
            let Some(extent) = placed.filter(aligned) else {
                bad = Some(offer.start);
                return ControlFlow::Break(());
            };
            if best.is_none_or(|(cost, _)| offer.cost < cost) {
                best = Some((offer.cost, extent));
            }
            enough -= 1;
            if offer.cost == 0 || enough == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match bad {
            Some(start) => Err(start),
            None => Ok(Looked { best: best.map(|(_, extent)| extent), all: flow.is_continue() }),
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

/// Wherever an aligned run of this order is idle, there is a place for what is asked for; `None` if no order says so.
fn order_around(params: &ExtentParams) -> Option<Order> {
    let slack =
        if params.base_within_align() == 0 { params.pages.max(params.align) } else { params.pages.checked_add(params.align)? };
    Order::covering(slack)
}

#[cfg(all(test, feature = "alloc", not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::offset::{Phys, PhysRange, Run};
    use crate::pool::Params;
    use crate::sync::recorded::record;

    /// A pool in which of every eight pages the first `idle` are, and eight side by side at the very end.
    fn combed(pages: u64, idle: u64) -> GenPool<'static> {
        let pool = GenPool::new(&Params::new(&[PhysRange { start: Phys(0), pages }])).unwrap();
        let all = Extent::new(Offset::new(0), pages).unwrap();
        all.runs(Order::MAX).for_each(|run| pool.alloc_at(run.start(), run.order()).unwrap());
        for start in (0..pages - 8).step_by(8) {
            pool.free_extent(Extent::new(Offset::new(start), idle).unwrap()).unwrap();
        }
        pool
    }

    fn free_the_last(pool: &GenPool<'_>) {
        let last = Run::around(pool.size() - 8, Order::clamped(3));
        pool.free(last.start(), last.order()).unwrap();
    }

    /// How many times shared memory is looked at by an allocation that succeeds, in two pools of which one is 16 times as large.
    fn looks(idle: u64, last: bool, ask: ExtentParams) -> [usize; 2] {
        [1 << 14, 1 << 18].map(|pages| {
            let pool = combed(pages, idle);
            if last {
                free_the_last(&pool);
            }
            let (got, accesses) = record(0, || pool.alloc_extent(&ask));
            assert!(got.unwrap().pages() == ask.pages);
            accesses.len()
        })
    }

    #[track_caller]
    fn same_at_every_size([small, large]: [usize; 2]) {
        // The lists of a larger pool have more levels.
        assert!(large <= small + 600, "{small} looks in a small pool, {large} in a large one");
        assert!(large < 2000, "{large} looks");
    }

    #[test]
    fn req_41_the_simple_mode_looks_as_often_in_a_large_pool_as_in_a_small_one() {
        let window = Extent::between(Offset::new(1), Offset::new(u64::MAX)).unwrap();
        let five = ExtentParams::new(5);
        // A run of the next power of two is idle, at the very end of all gaps that are too small.
        same_at_every_size(looks(4, true, five));
        same_at_every_size(looks(4, true, five.within(window)));
        same_at_every_size(looks(4, true, ExtentParams::new(3).aligned(8).within(window)));
        // None is, but gaps do.
        same_at_every_size(looks(6, false, five));
        same_at_every_size(looks(6, false, five.within(window)));
        // What the fits cost that compare all gaps, so that this test can fail.
        let [small, large] = looks(6, false, five.by(Mode::BottomUp(best_fit)));
        assert!(large > 10 * small, "{small} and {large} looks for an exact best fit");
    }

    #[test]
    fn req_41_gaps_that_are_too_small_are_not_looked_at() {
        // Of thousands of gaps one has an aligned run of a quarter of the size; it lies where the search comes by last.
        same_at_every_size(looks(1, true, ExtentParams::new(8).by(Mode::BottomUp(best_fit))));
    }
}
