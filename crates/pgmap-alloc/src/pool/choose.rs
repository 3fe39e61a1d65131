//! Choosing a place for contiguous pages: gaps are looked at, a fit says where in them and what that costs.

use core::ops::ControlFlow;

use super::GenPool;
use super::asked::{Asked, ExtentParams, Mode};
use super::fit::{Fit, Side, Want, best_fit};
use super::notes::Contents;
use super::walk::Trail;
use crate::extent::Extent;
use crate::offset::Offset;
use crate::order::Order;

/// What a place must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// Idle pages.
    Anything,
    /// Cleared ones.
    Cleared,
    /// Cleared ones, if they are found soon.
    ClearedSoon,
}

/// A place, and what it costs.
#[derive(Clone, Copy)]
struct Offered {
    cost: u64,
    place: Extent,
}

/// How many gaps a search without a fit looks at before it takes the best of them.
const LOOKS: u32 = 64;

/// How gaps are looked through.
struct Look {
    trail: Trail,
    fit: Fit,
    holding: Holding,
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

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The place that the mode chooses; `Err` when a fit offered one that is not in its gap. The fit is shown what `trim` leaves of
    /// each gap, or of each part of it that holds what is wished for.
    pub(super) fn choose_place(
        &self,
        params: &ExtentParams,
        holding: Holding,
        trim: impl Fn(Extent) -> Option<Extent>,
    ) -> Result<Option<Extent>, Offset> {
        let asked = self.asked(params);
        let trail = Trail { window: params.window, order: asked.order_inside(), from: params.mode.from() };
        let fit = match params.mode {
            Mode::Simple => best_fit,
            Mode::BottomUp(fit) | Mode::TopDown(fit) => {
                let all = Look { trail, fit, holding, most: u32::MAX, enough: params.compare.max(1) };
                return self.look(&all, &asked, &trim).map(|looked| looked.best);
            }
        };
        let enough = params.compare.clamp(1, LOOKS);
        let few = self.look(&Look { trail, fit, holding, most: LOOKS, enough }, &asked, &trim)?;
        if few.best.is_some() || few.all || holding == Holding::ClearedSoon {
            return Ok(few.best);
        }
        // None of the first ones does; but wherever such a run is idle there is a place.
        if holding == Holding::Anything
            && let Some(order) = asked.order_around()
        {
            let sure = Look { trail: Trail { order, ..trail }, fit, holding, most: LOOKS, enough: 1 };
            let found = self.look(&sure, &asked, &trim)?;
            if found.best.is_some() {
                return Ok(found.best);
            }
        }
        self.look(&Look { trail, fit, holding, most: u32::MAX, enough }, &asked, &trim).map(|looked| looked.best)
    }

    /// The best place in some gaps.
    fn look(&self, look: &Look, asked: &Asked, trim: &impl Fn(Extent) -> Option<Extent>) -> Result<Looked, Offset> {
        let (mut best, mut bad, mut most, mut enough) = (None::<Offered>, None, look.most, look.enough);
        let flow = self.gaps(&look.trail, &mut |gap| {
            if most == 0 {
                return ControlFlow::Break(());
            }
            most -= 1;
            let Some(offered) = self.best_in(gap, look, &self.want_in(gap, asked), trim).unwrap_or_else(|start| {
                bad = Some(start);
                None
            }) else {
                return if bad.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            };
            if best.is_none_or(|best| offered.cost < best.cost) {
                best = Some(offered);
            }
            enough -= 1;
            if offered.cost == 0 || enough == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match bad {
            Some(start) => Err(start),
            None => Ok(Looked { best: best.map(|best| best.place), all: flow.is_continue() }),
        }
    }

    /// The best place in a gap.
    fn best_in(
        &self,
        gap: Extent,
        look: &Look,
        want: &Want,
        trim: &impl Fn(Extent) -> Option<Extent>,
    ) -> Result<Option<Offered>, Offset> {
        if look.holding == Holding::Anything {
            return trim(gap).map_or(Ok(None), |gap| offered(look.fit, gap, want));
        }
        let (mut best, mut bad) = (None::<Offered>, None);
        // They come from the bottom; from the top the last of those that cost the same is the first.
        let better = |best: Offered, it: Offered| it.cost < best.cost || it.cost == best.cost && want.from == Side::Top;
        // All of the gap is looked at, wherever in the tables its ends stand.
        let _ = self.stretches(gap, Order::ZERO, Contents::Cleared, &mut |part| {
            match trim(part).map_or(Ok(None), |part| offered(look.fit, part, want)) {
                Ok(Some(it)) if best.is_none_or(|best| better(best, it)) => best = Some(it),
                Ok(_) => {}
                Err(start) => bad = Some(start),
            }
            let done = bad.is_some() || want.from == Side::Bottom && best.is_some_and(|best| best.cost == 0);
            if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bad.map_or(Ok(best), Err)
    }
}

/// What a fit offers in a gap; `Err` if it may not.
fn offered(fit: Fit, gap: Extent, want: &Want) -> Result<Option<Offered>, Offset> {
    let Some(offer) = fit(gap, want) else { return Ok(None) };
    let placed = Extent::new(offer.start, want.pages).ok().filter(|extent| gap.common(*extent) == Some(*extent));
    let aligned = |extent: &Extent| extent.start().get().wrapping_sub(want.base.get()) & (want.align - 1) == 0;
    let place = placed.filter(aligned).ok_or(offer.start)?;
    Ok(Some(Offered { cost: offer.cost, place }))
}

#[cfg(all(test, feature = "alloc", not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::offset::{Phys, PhysRange, Run};
    use crate::pool::Params;
    use crate::pool::fit::first_fit_align;
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
        // Each walk first looks at the places for what came back a moment ago (`fresh`): 504 looks. Each gap that is offered asks which
        // range it lies in.
        assert!(large < 5000, "{large} looks");
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
        let exact = five.by(Mode::BottomUp(best_fit));
        let [small, large] = looks(6, false, exact);
        assert!(large > 10 * small, "{small} and {large} looks for an exact best fit");
        // Who wants the best of a few pays for a few, whatever the fit.
        same_at_every_size(looks(6, false, exact.comparing(64)));
        same_at_every_size(looks(6, false, five.by(Mode::TopDown(best_fit)).comparing(64)));
    }

    /// What an extent was claimed from stays listed until somebody comes by.
    #[test]
    fn req_41_tables_that_extents_have_filled_are_not_looked_at_again() {
        for mode in [Mode::Simple, Mode::BottomUp(first_fit_align), Mode::BottomUp(best_fit)] {
            same_at_every_size([1 << 14, 1 << 18].map(|pages| {
                let pool = GenPool::new(&Params::new(&[PhysRange { start: Phys(0), pages }])).unwrap();
                let ask = ExtentParams::new(300).by(mode);
                let looks = || record(0, || pool.alloc_extent(&ask).unwrap()).1.len();
                for _ in 0..pages / 300 - 2 {
                    looks();
                }
                looks()
            }));
        }
    }

    #[test]
    fn req_41_gaps_that_are_too_small_are_not_looked_at() {
        // Of thousands of gaps one has an aligned run of a quarter of the size; it lies where the search comes by last.
        same_at_every_size(looks(1, true, ExtentParams::new(8).by(Mode::BottomUp(best_fit))));
    }
}
