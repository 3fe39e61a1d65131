//! Where in a pgmap the folios of an object go: the only file that chooses offsets.
//!
//! Without a wish, the pgmap chooses. The pgmap itself does not search in windows or from the high end, so for such a wish its
//! idle pages are listed first, in one walk over what stands in it (O(runs below the window's end)), and then taken from the
//! list. A list may be old by the time it is used: a request decides, and one that is refused leads to the next place.

use alloc::vec::Vec;
use core::ops::Range;

use pgmap_alloc::fit::{Side, Want};
use pgmap_alloc::{Block, Extent, Folio, Offset, Order, Pgmap, PgmapOps, RequestError, RunState};
use rangemap::RangeMap;

use crate::place::{Flags, Place};

/// The pages of one pgmap that an object may use.
pub(crate) struct Room<'p, O: PgmapOps<Data = usize>> {
    pgmap: &'p Pgmap<'p, O>,
    key: usize,
    gaps: Option<Gaps>,
}

impl<'p, O: PgmapOps<Data = usize>> Room<'p, O> {
    /// Room for the object of this key at this place.
    pub(crate) fn new(pgmap: &'p Pgmap<'p, O>, place: &Place, key: usize) -> Self {
        let bottom_up = !place.flags.contains(Flags::TOP_DOWN);
        let anywhere = pgmap.ranges().all(|range| place.window.contains(range.first.get(), range.pages));
        let gaps = if anywhere && bottom_up { None } else { Some(Gaps::new(pgmap, place)) };
        Room { pgmap, key, gaps }
    }

    /// The next folio of this order, if there is one.
    pub(crate) fn folio(&mut self, order: Order) -> Option<Folio<'p, O>> {
        let Some(gaps) = &mut self.gaps else { return self.pgmap.alloc_folio_with(order, self.key).ok() };
        while let Some(extent) = gaps.next(order.pages(), order.pages()) {
            match self.pgmap.request_folio_with(extent.start(), order, self.key) {
                Ok(folio) => return Some(folio),
                Err(RequestError::Dying) => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// Folios side by side with `pages` pages together, if there is a gap for them.
    pub(crate) fn run(&mut self, place: &Place, pages: u64) -> Option<Vec<Folio<'p, O>>> {
        if self.gaps.is_none()
            && let Some(block) = Order::covering(pages).and_then(|order| self.pgmap.alloc_block(order).ok())
        {
            return self.serve(block.trim(pages));
        }
        // No aligned run holds them all, but a gap may.
        let gaps = self.gaps.get_or_insert_with(|| Gaps::new(self.pgmap, place));
        while let Some(extent) = gaps.next(pages, 1) {
            let runs = extent.runs(self.pgmap.largest_order());
            let blocks: Result<Vec<Block<'p, O>>, RequestError> =
                runs.map(|run| self.pgmap.request_block(run.start(), run.order())).collect();
            match blocks {
                Ok(blocks) => return self.serve(blocks),
                Err(RequestError::Dying) => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// All of the blocks as folios, or none.
    fn serve(&self, blocks: impl IntoIterator<Item = Block<'p, O>>) -> Option<Vec<Folio<'p, O>>> {
        blocks.into_iter().map(|block| block.into_folio(self.key).ok()).collect()
    }
}

/// What was idle in a window when it was looked at.
struct Gaps {
    /// The idle stretches, each with the first page of its range, which keeps the ends of neighbouring ranges apart.
    idle: RangeMap<u64, u64>,
    from: Side,
    window: Range<u64>,
    /// Where a run as long as the last one may still be found.
    left: Range<u64>,
    last: u64,
}

impl Gaps {
    fn new<O: PgmapOps<Data = usize>>(pgmap: &Pgmap<'_, O>, place: &Place) -> Gaps {
        let window = place.window.first..place.window.last;
        let mut idle = RangeMap::new();
        let runs = pgmap.snapshot().take_while(|run| run.start.get() < window.end);
        for run in runs.filter(|run| run.state == RunState::Idle) {
            for range in pgmap.ranges() {
                let (first, end) = (range.first.get(), range.first.get() + range.pages);
                let start = run.start.get().max(first).max(window.start);
                let end = (run.start.get() + run.pages).min(end).min(window.end);
                if start < end {
                    idle.insert(start..end, first);
                }
            }
        }
        let from = if place.flags.contains(Flags::TOP_DOWN) { Side::Top } else { Side::Bottom };
        Gaps { idle, from, left: window.clone(), window, last: u64::MAX }
    }

    /// The next run of this length and alignment, which is thereby used up.
    fn next(&mut self, pages: u64, align: u64) -> Option<Extent> {
        if pages < self.last {
            // What was passed over may hold a shorter one.
            self.left = self.window.clone();
        }
        self.last = pages;
        let want = Want { pages, align, base: Offset::new(0), from: self.from };
        let place = |(stretch, _): (&Range<u64>, &u64)| {
            let (start, end) = (stretch.start.max(self.left.start), stretch.end.min(self.left.end));
            let gap = Extent::between(Offset::new(start), Offset::new(end)).ok()?;
            Extent::new(want.place_aligned(gap, align)?, pages).ok()
        };
        let mut gaps = self.idle.overlapping(&self.left);
        let found = match self.from {
            Side::Bottom => gaps.find_map(place),
            Side::Top => gaps.rev().find_map(place),
        };
        let extent = found?;
        match self.from {
            Side::Bottom => self.left.start = extent.end().get(),
            Side::Top => self.left.end = extent.start().get(),
        }
        self.idle.remove(extent.start().get()..extent.end().get());
        Some(extent)
    }
}
