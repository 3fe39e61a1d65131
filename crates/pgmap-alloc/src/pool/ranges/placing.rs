//! Which offsets a physical range gets.
//!
//! A range starts at an offset that agrees with its physical page number in as many low bits as the largest run in the range can need,
//! as long as it may come to be. So every run that is aligned in offset space is aligned in physical space too, at every order.
//! Where two neighbours would complete an aligned run between them, the second one moves on: so no idle run ever crosses from one
//! range into the next, and no search has to look.
//!
//! Behind another range it starts after no more pages than its largest run has: so it takes no more than twice its own pages
//! ([`most_offsets`]).

use crate::error::BuildError;
use crate::offset::{Offset, Phys, PhysRange};
use crate::order::Order;

/// A physical range and the offsets that it has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedRange {
    /// The offset of its first page.
    pub first: Offset,
    /// Its length in pages.
    pub pages: u64,
    /// The physical address of its first byte.
    pub phys: Phys,
    /// The number that the caller gave it when it was added ([`NewRange::tagged`]); 0 without one. The pool only keeps it.
    pub tag: u64,
}

impl PlacedRange {
    /// The first offset after it.
    pub const fn end(&self) -> Offset {
        Offset::new(self.first.get() + self.pages)
    }

    /// Whether an aligned run could lie across the border between this range and the next one.
    pub(super) fn joins(&self, next: &PlacedRange) -> bool {
        if self.end() != next.first || next.first.get() == 0 {
            return false;
        }
        // The smallest aligned run across the border has it in the middle.
        let half = next.first.get() & next.first.get().wrapping_neg();
        self.pages >= half && next.pages >= half
    }

    /// Whether its offsets agree with its addresses in as many bits as it needs.
    pub(super) fn agrees(&self, page_shift: u32) -> bool {
        let step = Order::fitting(self.pages).map_or(1, Order::pages);
        (self.phys.0 >> page_shift).wrapping_sub(self.first.get()) & (step - 1) == 0
    }

    /// Whether it can stand between these two, or before `limit` if there is none after it.
    pub(super) fn stands_between(&self, before: Option<PlacedRange>, next: Option<PlacedRange>, limit: u64) -> bool {
        before.is_none_or(|before| before.end() <= self.first && !before.joins(self))
            && match next {
                Some(next) => self.end() <= next.first && !self.joins(&next),
                None => self.end().get() <= limit,
            }
    }
}

/// A range that is to be added, with the caller's tag and room to grow. A [`PhysRange`] converts into one that has neither.
///
/// ```
/// # use pgmap_alloc::{NewRange, Phys, PhysRange};
/// // 2 MiB now; up to 1 GiB may follow in the same addresses.
/// let range = PhysRange { start: Phys(1 << 32), pages: 512 };
/// let range = NewRange::new(range).tagged(7).growing_to(1 << 18);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRange {
    /// Where it is in memory, and how long.
    pub range: PhysRange,
    /// The caller's own number for it ([`PlacedRange::tag`]).
    pub tag: u64,
    /// How many pages it may grow to ([`GenPool::grow_range`](crate::GenPool::grow_range)); that many offsets are kept for it. A number
    /// below its present length counts as that length.
    pub grows_to: u64,
}

impl NewRange {
    /// This range, with tag 0 and no room to grow.
    pub const fn new(range: PhysRange) -> NewRange {
        NewRange { range, tag: 0, grows_to: range.pages }
    }

    /// With the caller's own number for it.
    #[must_use]
    pub const fn tagged(self, tag: u64) -> NewRange {
        NewRange { tag, ..self }
    }

    /// With offsets kept for `pages` pages in all, those that it has now included.
    #[must_use]
    pub const fn growing_to(self, pages: u64) -> NewRange {
        NewRange { grows_to: pages, ..self }
    }

    /// How many pages it may come to have.
    pub(super) fn room(&self) -> u64 {
        self.grows_to.max(self.range.pages)
    }
}

impl From<PhysRange> for NewRange {
    fn from(range: PhysRange) -> NewRange {
        NewRange::new(range)
    }
}

/// Why a range is unsound by itself.
pub(in crate::pool) enum Unsound {
    Empty,
    Misaligned,
    TooLarge,
}

/// A range's bytes, once it is known to be sound.
pub(in crate::pool) fn bytes_of(range: &PhysRange, page_shift: u32) -> Result<core::ops::Range<u64>, Unsound> {
    if range.pages == 0 {
        return Err(Unsound::Empty);
    }
    if range.start.0 & ((1 << page_shift) - 1) != 0 {
        return Err(Unsound::Misaligned);
    }
    let bytes = range.pages.checked_mul(1 << page_shift).ok_or(Unsound::TooLarge)?;
    let end = range.start.0.checked_add(bytes).ok_or(Unsound::TooLarge)?;
    Ok(range.start.0..end)
}

/// The lowest place for a range behind `before`, both with all the pages that they may come to have; `None` when it would end beyond
/// the largest offset.
pub(in crate::pool) fn place_behind(before: Option<PlacedRange>, new: &NewRange, page_shift: u32) -> Option<PlacedRange> {
    let step = Order::fitting(new.room())?.pages();
    let low = before.map_or(0, |before| before.end().get());
    let page = new.range.start.0 >> page_shift;
    let first = low.checked_add(page.wrapping_sub(low) & (step - 1))?;
    let mut placed = PlacedRange { first: Offset::new(first), pages: new.room(), phys: new.range.start, tag: new.tag };
    if before.is_some_and(|before| before.joins(&placed)) {
        placed.first = Offset::new(first.checked_add(step)?);
    }
    let end = placed.first.get().checked_add(placed.pages)?;
    (end <= Order::MAX.pages()).then_some(placed)
}

/// How many offsets a range of up to so many pages takes behind another, wherever it lies in memory.
pub(in crate::pool) fn most_offsets(pages: u64) -> Option<u64> {
    pages.checked_add(Order::fitting(pages)?.pages())
}

/// What is unsound about the range with this index.
pub(in crate::pool) fn unsound(unsound: &Unsound, index: usize) -> BuildError {
    match unsound {
        Unsound::Empty => BuildError::EmptyRange { index },
        Unsound::Misaligned => BuildError::Misaligned { index },
        Unsound::TooLarge => BuildError::TooLarge { index },
    }
}
