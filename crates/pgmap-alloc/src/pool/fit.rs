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
    /// Its distance from `base` must be a multiple of so many pages; a power of two.
    pub align: u64,
    /// The offset from which alignment counts in the gap that is shown, so that physical addresses are aligned. Another one in each
    /// range; most often none of its pages, and maybe beyond all offsets, for multiples are counted around the end.
    pub base: Offset,
    /// From which end to fill a gap.
    pub from: Side,
}

impl Want {
    /// The outermost place in `gap`.
    pub fn place(&self, gap: Extent) -> Option<Offset> {
        self.place_aligned(gap, 1)
    }

    /// The outermost place in `gap` at a multiple of `align` pages, a power of two, from the base.
    pub fn place_aligned(&self, gap: Extent, align: u64) -> Option<Offset> {
        let (low, high, base) = (gap.start().get(), gap.end().get(), self.base.get());
        let mask = align.checked_sub(1)?;
        let start = match self.from {
            Side::Bottom => low.checked_add(base.wrapping_sub(low) & mask)?,
            Side::Top => {
                let last = high.checked_sub(self.pages)?;
                last.checked_sub(last.wrapping_sub(base) & mask)?
            }
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

/// The first gap that is long enough, at its very end (gen_pool's `first_fit`).
///
/// Knows of no alignment. Where the caller asked for one, the pool refuses an offer that misses it:
/// [`AllocExtentError::BadFit`](crate::AllocExtentError::BadFit); that is what [`first_fit_align`] is for.
pub fn first_fit(gap: Extent, want: &Want) -> Option<Offer> {
    Some(Offer { start: want.place(gap)?, cost: 0 })
}

/// The first gap with a place at the alignment, counted from the base (gen_pool's `first_fit_align`, where it counts
/// from address 0).
pub fn first_fit_align(gap: Extent, want: &Want) -> Option<Offer> {
    Some(Offer { start: want.place_aligned(gap, want.align)?, cost: 0 })
}

/// The first gap with a place at a multiple of the length, rounded up to a power of two (gen_pool's `first_fit_order_align`).
pub fn order_align(gap: Extent, want: &Want) -> Option<Offer> {
    let align = want.pages.checked_next_power_of_two()?.max(want.align);
    Some(Offer { start: want.place_aligned(gap, align)?, cost: 0 })
}

/// The smallest gap with a place at the alignment.
///
/// Exact, and so it looks at every gap that could do, unless one fits without remainder: linear in the gaps that hold an aligned
/// run of about a quarter of the length or more, whatever the size of the pool. It cannot be less: the tables list where the
/// largest runs are, and the tightest gap may lie beside one; an index of gaps by their length would be a third truth.
/// [`Mode::Simple`](crate::Mode::Simple) compares the first 64 of them, [`ExtentParams::comparing`](crate::ExtentParams::comparing)
/// as many as the caller can afford.
pub fn best_fit(gap: Extent, want: &Want) -> Option<Offer> {
    Some(Offer { start: want.place_aligned(gap, want.align)?, cost: gap.pages() - want.pages })
}
