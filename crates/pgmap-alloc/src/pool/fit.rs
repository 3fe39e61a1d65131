//! Where in a gap to put an extent: plain functions of one signature.
//!
//! The pool shows a fit one gap after another, from the end of the window that the caller named; the fit offers a place in it,
//! and what choosing it would cost. The pool takes the cheapest offer, and the first one that costs nothing at once.

use crate::extent::Extent;
use crate::offset::Offset;

/// From which end gaps are shown and filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Lowest offsets first.
    Bottom,
    /// Highest offsets first.
    Top,
}

/// What a fit is to find a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// How many pages.
    pub pages: u64,
    /// A multiple of how many pages it must start at; a power of two.
    pub align: u64,
    /// From which end to fill a gap.
    pub from: Side,
}

impl Want {
    /// The outermost place in `gap`, aligned to `align` pages.
    pub fn place(&self, gap: Extent, align: u64) -> Option<Offset> {
        let (low, high) = (gap.start().get(), gap.end().get());
        let mask = align.checked_sub(1)?;
        let start = match self.from {
            Side::Bottom => low.checked_add(mask)? & !mask,
            Side::Top => high.checked_sub(self.pages)? & !mask,
        };
        let end = start.checked_add(self.pages)?;
        (low <= start && end <= high).then_some(Offset::new(start))
    }
}

/// A place in a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where the extent would start.
    pub start: Offset,
    /// What is lost by putting it there; the pool looks for the least.
    pub cost: u64,
}

/// A place in a gap of idle pages for what is wanted, if there is one.
///
/// Called while the pool searches: must not call the pool, and should be quick.
pub type Fit = fn(gap: Extent, want: &Want) -> Option<Offer>;

/// The first gap that will do, the alignment that is wanted taken into account (gen_pool's `first_fit` and `first_fit_align`).
pub fn first_fit(gap: Extent, want: &Want) -> Option<Offer> {
    Some(Offer { start: want.place(gap, want.align)?, cost: 0 })
}

/// The first gap that will do at a multiple of the length, rounded up to a power of two.
pub fn order_align(gap: Extent, want: &Want) -> Option<Offer> {
    let align = want.pages.checked_next_power_of_two()?.max(want.align);
    Some(Offer { start: want.place(gap, align)?, cost: 0 })
}

/// The smallest gap that will do. Looks at every gap that could, unless one fits exactly.
pub fn best_fit(gap: Extent, want: &Want) -> Option<Offer> {
    Some(Offer { start: want.place(gap, want.align)?, cost: gap.pages() - want.pages })
}
