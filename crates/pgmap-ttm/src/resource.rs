//! One memory type: the folios of a pgmap, or pages of the host, and the segments of objects that are made of them.

use core::ops::Range;

use hashbrown::HashMap;
use pgmap_alloc::{Order, Pgmap, PgmapOps};
use rangemap::RangeSet;

use crate::carve::CarveOuts;
use crate::fill::{Ask, Short, take_folios, take_host_pages};
use crate::piece::Piece;
use crate::place::{Flags, MemoryType, Place};
use crate::segment::{Segment, Segments};

/// How full a memory type is, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryUsage {
    /// All of it.
    pub pages: u64,
    /// The first page beyond the last: more than `pages` where a pgmap has holes between its ranges.
    pub end: u64,
    /// Taken for objects; includes `leaving`.
    pub used: u64,
    /// Of those, held by ghosts: free once the copies out of them have signalled.
    pub leaving: u64,
    /// Carved out.
    pub carved: u64,
}

/// A memory type as it is given to a manager.
pub struct ResourceManager<'p, O: PgmapOps<Data = usize>> {
    pub(crate) kind: Kind<'p, O>,
    pub(crate) pages: u64,
    /// The first page beyond the last: more than `pages` where a pgmap has holes between its ranges.
    pub(crate) end: u64,
    pub(crate) used: u64,
    /// Of those, held by ghosts.
    pub(crate) leaving: u64,
    /// Unplugged: nothing can be placed here any more.
    pub(crate) gone: bool,
}

pub(crate) enum Kind<'p, O: PgmapOps<Data = usize>> {
    Device {
        pgmap: &'p Pgmap<'p, O>,
        /// From the first page of a folio to the object, and the page of it, that it was taken for.
        holders: HashMap<u64, (usize, u64)>,
        carved: CarveOuts<'p, O>,
    },
    Host {
        free: RangeSet<u64>,
    },
}

impl<'p, O: PgmapOps<Data = usize>> ResourceManager<'p, O> {
    /// The device memory of `pgmap`.
    pub fn device(pgmap: &'p Pgmap<'p, O>) -> ResourceManager<'p, O> {
        let pages = pgmap.pages();
        let end = pgmap.ranges().map(|range| range.first.get() + range.pages).max().unwrap_or(0);
        let kind = Kind::Device { pgmap, holders: HashMap::new(), carved: CarveOuts::default() };
        ResourceManager { kind, pages, end, used: 0, leaving: 0, gone: false }
    }

    /// `pages` pages of the host, numbered from 0; what they are is the mover's business.
    pub fn host(pages: u64) -> ResourceManager<'p, O> {
        let mut free = RangeSet::new();
        if pages > 0 {
            free.insert(0..pages);
        }
        ResourceManager { kind: Kind::Host { free }, pages, end: pages, used: 0, leaving: 0, gone: false }
    }

    /// Whether `pages` pages could stand at `place` if nothing else did; carve-outs are not looked at.
    pub(crate) fn could_hold(&self, place: &Place, pages: u64) -> bool {
        let inside = |first: u64, end: u64| first.max(place.window.first)..end.min(place.window.last);
        match &self.kind {
            Kind::Host { .. } => length(&inside(0, self.end)) >= pages,
            Kind::Device { pgmap, .. } => {
                let mut ranges = pgmap.ranges().map(|range| inside(range.first.get(), range.first.get() + range.pages));
                if !place.flags.contains(Flags::CONTIGUOUS) {
                    return ranges.map(|range| length(&range)).sum::<u64>() >= pages;
                }
                let Some(order) = Order::covering(pages) else { return false };
                ranges.any(|range| range.start.div_ceil(order.pages()) < range.end / order.pages())
            }
        }
    }

    /// How many pages an ask is charged for: a contiguous one takes a whole folio on a device.
    pub(crate) fn cost(&self, ask: &Ask<'_>) -> Option<u64> {
        let pages = ask.pages();
        match &self.kind {
            Kind::Device { .. } if ask.contiguous() => Order::covering(pages).map(Order::pages),
            _ => Some(pages),
        }
    }

    /// All of what is asked, or nothing.
    pub(crate) fn allocate(&mut self, memory: MemoryType, ask: &Ask<'_>) -> Result<Segments<'p, O>, Short> {
        let taken = match &mut self.kind {
            Kind::Device { pgmap, holders, .. } => {
                let taken = take_folios(pgmap, self.end, memory, ask)?;
                holders.extend(taken.iter().map(|(page, segment)| (segment.piece.first, (ask.key, *page))));
                taken
            }
            Kind::Host { free } => take_host_pages(free, memory, ask)?,
        };
        self.used += taken.iter().map(|(_, segment)| segment.cost()).sum::<u64>();
        Ok(taken)
    }

    /// Gives a segment's pages back: puts its folio, or frees its host pages.
    pub(crate) fn release(&mut self, segment: Segment<'p, O>) {
        let Piece { first, pages, .. } = segment.piece;
        self.used -= segment.cost();
        match &mut self.kind {
            Kind::Device { holders, .. } => {
                holders.remove(&first);
            }
            Kind::Host { free } => free.insert(first..first + pages),
        }
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}
