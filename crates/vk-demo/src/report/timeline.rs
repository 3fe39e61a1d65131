//! How the heap changed over a run: what was in service, and how much of the idle rest was of use.

use pgmap_alloc::{Order, Pgmap, PgmapOps, RunState};
use serde::Serialize;

use super::Gaps;

/// Moments that are kept of one run; up to twice as many where nobody knows how long it will take.
const MOMENTS: u64 = 120;

/// Samples of a heap, evenly over the steps of a run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Timeline {
    #[serde(skip)]
    every: u64,
    moments: Vec<Moment>,
}

/// The heap at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Moment {
    /// Steps done.
    pub(crate) step: u64,
    /// Share of all pages that is not idle.
    pub(crate) taken_percent: f64,
    /// Share of the idle pages that no folio of 2 MiB could use: 0 is best.
    pub(crate) fragmentation_percent: f64,
}

impl Timeline {
    /// For a run of so many steps.
    pub(crate) fn new(steps: u64) -> Timeline {
        Timeline { every: steps.div_ceil(MOMENTS).max(1), moments: Vec::new() }
    }

    /// For a run of which nobody knows how long it will take: when there are too many moments, every second one goes.
    pub(crate) fn growing() -> Timeline {
        Timeline { every: 1, moments: Vec::new() }
    }

    /// To be called after each step; looks at the heap now and then.
    pub(crate) fn step<O: PgmapOps>(&mut self, step: u64, pgmap: &Pgmap<'_, O>) {
        if self.moments.len() as u64 == 2 * MOMENTS {
            self.every *= 2;
            self.moments.retain(|moment| moment.step.is_multiple_of(self.every));
        }
        if step.is_multiple_of(self.every) {
            self.moments.push(Moment::of(step, pgmap));
        }
    }

    /// What was seen.
    pub(crate) fn moments(&self) -> &[Moment] {
        &self.moments
    }
}

impl Moment {
    /// How it looks now.
    pub(crate) fn of<O: PgmapOps>(step: u64, pgmap: &Pgmap<'_, O>) -> Moment {
        let idle = pgmap.snapshot().filter(|run| run.state == RunState::Idle);
        let gaps = Gaps::of(idle.map(|run| run.start.get()..run.start.get() + run.pages), Order::PMD.pages());
        let taken_percent = 100.0 * (pgmap.pages() - gaps.idle) as f64 / pgmap.pages() as f64;
        Moment { step, taken_percent, fragmentation_percent: gaps.fragmentation_percent() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pgmap_alloc::{Offset, Params, Phys, PhysRange};

    use super::*;

    #[test]
    fn one_page_in_the_middle_costs_a_whole_entry() {
        let pgmap = Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 2048 }]), ()).unwrap();
        assert_eq!(Moment::of(0, &pgmap), Moment { step: 0, taken_percent: 0.0, fragmentation_percent: 0.0 });
        let _page = pgmap.request_folio(Offset::new(700), Order::ZERO).unwrap();
        let moment = Moment::of(1, &pgmap);
        assert_eq!(moment.taken_percent, 100.0 / 2048.0);
        assert_eq!(moment.fragmentation_percent, 100.0 * 511.0 / 2047.0);
    }

    #[test]
    fn moments_are_spread_over_the_run() {
        let pgmap = Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 1 }]), ()).unwrap();
        let mut timeline = Timeline::new(20_000);
        (0..20_000).for_each(|step| timeline.step(step, &pgmap));
        assert_eq!((timeline.moments().len(), timeline.moments()[1].step), (120, 167));

        let mut timeline = Timeline::growing();
        (0..10_000).for_each(|step| timeline.step(step, &pgmap));
        let (count, steps) = (timeline.moments().len(), timeline.moments().windows(2));
        assert!((120..=240).contains(&count), "{count}");
        assert!(steps.into_iter().all(|pair| pair[1].step - pair[0].step == 64));
    }
}
