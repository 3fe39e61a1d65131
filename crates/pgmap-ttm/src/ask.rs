//! What is asked of a memory type: room for some pages of an object, in some shape.

use pgmap_alloc::{Order, Owner};

use crate::failure::Failure;
use crate::place::{Flags, Place};
use crate::segment::Pages;

/// Room for these pages of an object.
pub(crate) struct Ask<'a> {
    pub(crate) key: usize,
    pub(crate) place: &'a Place,
    /// One run, unless they may be scattered.
    pub(crate) runs: &'a [Pages],
    pub(crate) shape: Shape,
}

/// How the pages must lie.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// In as few folios as there are, none larger than this.
    Scattered { largest: Order },
    /// Side by side, in folios of any order.
    OneRun,
    /// In one folio, so there must be a power of two of them.
    OneFolio,
}

/// A refusal.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    /// How many pages were missing when the search gave up.
    pub(crate) missing: u64,
    /// How many idle pages caches hold.
    pub(crate) cached: u64,
}

impl Short {
    /// So many pages are missing, and no cache has any.
    pub(crate) fn of(missing: u64) -> Short {
        Short { missing, cached: 0 }
    }
}

/// Why room was not to be had.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    pub(crate) why: Failure,
    /// How many pages were missing.
    pub(crate) missing: u64,
    /// Whose limit it was, if it was one: the owner's, or that of a parent.
    pub(crate) limit_of: Option<Owner>,
}

impl Shape {
    pub(crate) fn of(place: &Place, largest: Order) -> Shape {
        if place.flags.contains(Flags::CONTIGUOUS) { Shape::OneRun } else { Shape::Scattered { largest } }
    }

    /// Whether `pages` pages in this shape fit into stretches that are idle from end to end.
    pub(crate) fn fits(self, pages: u64, mut stretches: impl Iterator<Item = Pages>) -> bool {
        match self {
            Shape::Scattered { .. } => stretches.map(|stretch| stretch.end.saturating_sub(stretch.start)).sum::<u64>() >= pages,
            Shape::OneRun => stretches.any(|stretch| stretch.end.saturating_sub(stretch.start) >= pages),
            Shape::OneFolio => stretches.any(|stretch| stretch.start.div_ceil(pages) < stretch.end / pages),
        }
    }
}

impl Ask<'_> {
    pub(crate) fn pages(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}
