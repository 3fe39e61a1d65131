//! Where in a pgmap the folios of an object go: the only file that says so to the pgmap.
//!
//! Without a wish, the pgmap chooses; in a window, or from the high end, its pool searches.

use alloc::vec::Vec;

use pgmap_alloc::{AllocError, AllocExtentError, Extent, ExtentParams, Folio, Mode, Offset, Order, Pgmap, PgmapOps, fit};

use crate::place::{Flags, Place};

/// The pages of one pgmap that an object may use.
pub(crate) struct Room<'p, O: PgmapOps<Data = usize>> {
    pgmap: &'p Pgmap<'p, O>,
    key: usize,
    /// None for an empty window.
    wish: Option<ExtentParams>,
    /// What caches held at the last refusal.
    cached: u64,
}

impl<'p, O: PgmapOps<Data = usize>> Room<'p, O> {
    /// Room for the object of this key at this place.
    pub(crate) fn new(pgmap: &'p Pgmap<'p, O>, place: &Place, key: usize) -> Self {
        let anywhere = pgmap.ranges().all(|range| place.window.contains(range.first.get(), range.pages));
        let (first, last) = (Offset::new(place.window.first), Offset::new(place.window.last));
        let window = if anywhere { Some(Extent::ALL) } else { Extent::between(first, last).ok() };
        let mode = match place.flags.contains(Flags::TOP_DOWN) {
            true => Mode::TopDown(fit::first_fit_align),
            false if anywhere => Mode::Simple,
            false => Mode::BottomUp(fit::first_fit_align),
        };
        Room { pgmap, key, wish: window.map(|window| ExtentParams::new(1).within(window).by(mode)), cached: 0 }
    }

    /// The next folio of this order, if there is one.
    pub(crate) fn folio(&mut self, order: Order) -> Option<Folio<'p, O>> {
        let wish = self.wish?;
        if let (Mode::Simple, Extent::ALL) = (wish.mode, wish.window) {
            let folio = self.pgmap.alloc_folio_with(order, self.key);
            return folio.inspect_err(|refusal| self.cached = cached_of(*refusal)).ok();
        }
        let params = ExtentParams { pages: order.pages(), ..wish }.aligned(order.pages());
        self.extent(&params)?.pop()
    }

    /// Folios side by side with `pages` pages together, if there is a gap for them.
    pub(crate) fn run(&mut self, pages: u64) -> Option<Vec<Folio<'p, O>>> {
        self.extent(&ExtentParams { pages, ..self.wish? })
    }

    /// How many idle pages caches held at the last refusal.
    pub(crate) fn cached(&self) -> u64 {
        self.cached
    }

    /// All of its blocks as folios, or none.
    fn extent(&mut self, params: &ExtentParams) -> Option<Vec<Folio<'p, O>>> {
        match self.pgmap.alloc_extent(params) {
            Ok(blocks) => blocks.map(|block| block.into_folio(self.key).ok()).collect(),
            Err(refusal) => {
                self.cached = cached_in(refusal);
                None
            }
        }
    }
}

fn cached_of(refusal: AllocError) -> u64 {
    match refusal {
        AllocError::NoSpace { cached } | AllocError::Fragmented { cached } => cached,
        _ => 0,
    }
}

fn cached_in(refusal: AllocExtentError) -> u64 {
    match refusal {
        AllocExtentError::NoSpace { cached, .. } | AllocExtentError::Fragmented { cached } => cached,
        _ => 0,
    }
}
