//! What contiguous pages are asked for.

use super::clear::Wish;
use super::fit::{Fit, Side, Want};
use crate::extent::Extent;
use crate::offset::Offset;
use crate::order::Order;

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
    /// How many gaps in which there is a place are compared before the best of them is taken; 0 counts as 1.
    pub compare: u32,
    /// What the pages should hold. [`Wish::DontCare`] takes what the mode chooses, and does not look.
    pub wish: Wish,
}

impl ExtentParams {
    /// So many pages, anywhere.
    pub const fn new(pages: u64) -> ExtentParams {
        let (base, window) = (Offset::new(0), Extent::ALL);
        ExtentParams { pages, align: 1, base, window, mode: Mode::Simple, compare: u32::MAX, wish: Wish::DontCare }
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

    /// With the best place in the first so many gaps that have one, from the end where the mode begins. [`Mode::Simple`] compares no
    /// more than 64 in any case.
    #[must_use]
    pub const fn comparing(self, gaps: u32) -> ExtentParams {
        ExtentParams { compare: gaps, ..self }
    }

    /// With pages that hold this, if that is to be had; [`GenPool::contents_of`](crate::GenPool::contents_of) says what they hold.
    #[must_use]
    pub const fn wishing(self, wish: Wish) -> ExtentParams {
        ExtentParams { wish, ..self }
    }
}

impl ExtentParams {
    pub(super) fn want(&self) -> Want {
        Want { pages: self.pages, align: self.align, base: self.base, from: self.mode.from() }
    }

    /// How far the base is from the last multiple of the alignment.
    pub(super) fn base_within_align(&self) -> u64 {
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

/// An aligned run of this order lies in every extent that is asked for, wherever it is.
pub(super) fn order_inside(params: &ExtentParams) -> Order {
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
pub(super) fn order_around(params: &ExtentParams) -> Option<Order> {
    let slack =
        if params.base_within_align() == 0 { params.pages.max(params.align) } else { params.pages.checked_add(params.align)? };
    Order::covering(slack)
}
