//! What contiguous pages are asked for.

use super::GenPool;
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
    /// Of how many pages the physical address of the first one must be a multiple, counted from `base`; a power of two. May be larger
    /// than `pages`, and larger than what the offsets of a range are aligned to.
    pub align: u64,
    /// The page of the pool from whose address alignment counts; without one it counts from address 0.
    pub base: Option<Offset>,
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
        let (base, window) = (None, Extent::ALL);
        ExtentParams { pages, align: 1, base, window, mode: Mode::Simple, compare: u32::MAX, wish: Wish::DontCare }
    }

    /// At a physical address that is a multiple of `align` pages.
    #[must_use]
    pub const fn aligned(self, align: u64) -> ExtentParams {
        ExtentParams { align, ..self }
    }

    /// At a physical address that is a multiple of `align` pages from that of page `base`, which must be one of the pool, above or below.
    #[must_use]
    pub const fn aligned_from(self, align: u64, base: Offset) -> ExtentParams {
        ExtentParams { align, base: Some(base), ..self }
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
    /// more than 64 in any case, and outside a window a few, whatever is said here.
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
    /// As the pool likes: quickly, at the low end of a gap that is tight, so that large runs stay whole.
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

/// What is asked for, with what alignment counts from.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) pages: u64,
    align: u64,
    /// The number of the page of physical memory from which alignment counts.
    from: u64,
    side: Side,
}

impl Asked {
    /// An aligned run of this order lies in every extent that is asked for, wherever it is.
    ///
    /// A range's offsets are aligned as its addresses are, up to the largest run that it could hold, so nothing need be known of the
    /// ranges.
    pub(super) fn order_inside(&self) -> Order {
        let anywhere = Order::fitting(self.pages.saturating_add(1)).map_or(0, |order| order.get().saturating_sub(1));
        // Counted from a crooked base, a place is aligned only as the base is.
        let align = match self.crooked() {
            0 => self.align,
            crooked => 1 << crooked.trailing_zeros(),
        };
        let aligned = Order::fitting(self.pages.min(align)).map_or(0, Order::get);
        Order::clamped(anywhere.max(aligned))
    }

    /// Wherever an aligned run of this order is idle, there is a place for what is asked for; `None` if no order says so.
    pub(super) fn order_around(&self) -> Option<Order> {
        let slack = if self.crooked() == 0 { self.pages.max(self.align) } else { self.pages.checked_add(self.align)? };
        Order::covering(slack)
    }

    /// Whether it is an aligned run.
    pub(super) fn is_run(&self) -> bool {
        self.align > 1 && self.align == self.pages && self.crooked() == 0
    }

    /// How far the base is from the last multiple of the alignment.
    fn crooked(&self) -> u64 {
        self.from & (self.align - 1)
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// What these parameters ask for, which have been checked.
    pub(super) fn asked(&self, params: &ExtentParams) -> Asked {
        let of = |base| Some(self.ranges.ahead(&self.ranges.of(base)?).wrapping_add(base.get()));
        let from = params.base.and_then(of).unwrap_or(0);
        Asked { pages: params.pages, align: params.align, from, side: params.mode.from() }
    }

    /// What a fit is to find a place for in a gap: alignment counts by address, and gaps are shown by offset.
    pub(super) fn want_in(&self, gap: Extent, asked: &Asked) -> Want {
        let Asked { pages, align, from, side } = *asked;
        // A gap lies in one range. Its fit may align more than was asked for.
        let base = self.ranges.of(gap.start()).map_or(0, |range| from.wrapping_sub(self.ranges.ahead(&range)));
        Want { pages, align, base: Offset::new(base), from: side }
    }
}
