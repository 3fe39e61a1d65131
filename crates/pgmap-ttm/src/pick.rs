//! Where in a pgmap the next folio of an object goes: the only file that chooses offsets.
//!
//! Without a wish, the pgmap chooses. With a window or a direction, aligned offsets are requested one after another, which is
//! linear in the window; a pool that searches windows itself can replace [`Search::request`] and nothing else.

use pgmap_alloc::{Folio, Offset, Order, Pgmap, PgmapOps, RequestError};

use crate::place::{Flags, Place, Window};

/// The search for folios of one order for one object at one place.
///
/// It goes on where the last folio was found: what lies before was busy.
pub(crate) struct Search {
    order: Order,
    /// The offsets that may be used.
    first: u64,
    last: u64,
    top_down: bool,
    anywhere: bool,
}

impl Search {
    pub(crate) fn new(end: u64, place: &Place, order: Order) -> Search {
        let top_down = place.flags.contains(Flags::TOP_DOWN);
        let whole = Window { first: place.window.first, last: place.window.last.min(end) };
        Search {
            order,
            first: whole.first,
            last: whole.last,
            top_down,
            anywhere: !top_down && whole.first == 0 && whole.last == end,
        }
    }

    /// The next folio, carrying the object's key; none if there is no more, or the pgmap is dying.
    pub(crate) fn next<'p, O: PgmapOps<Data = usize>>(&mut self, pgmap: &'p Pgmap<'p, O>, key: usize) -> Option<Folio<'p, O, 8>> {
        if self.anywhere { pgmap.alloc_folio_with(self.order, key).ok() } else { self.request(pgmap, key) }
    }

    fn request<'p, O: PgmapOps<Data = usize>>(&mut self, pgmap: &'p Pgmap<'p, O>, key: usize) -> Option<Folio<'p, O, 8>> {
        while let Some(offset) = self.candidate() {
            match pgmap.request_folio_with(offset, self.order, key) {
                Ok(folio) => return Some(folio),
                Err(RequestError::Dying) => return None,
                // Busy, in motion, or across the end of a range: the next one may do.
                Err(_) => {}
            }
        }
        None
    }

    /// The next aligned offset in the window, which is thereby used up.
    fn candidate(&mut self) -> Option<Offset> {
        let pages = self.order.pages();
        let up = self.first.checked_next_multiple_of(pages)?;
        let end = up.checked_add(pages).filter(|end| *end <= self.last)?;
        if self.top_down {
            self.last = Offset::new(self.last - pages).align_down(self.order).get();
            Some(Offset::new(self.last))
        } else {
            self.first = end;
            Some(Offset::new(up))
        }
    }
}
