//! One memory type: the folios of a pgmap, or pages of the host, and the segments of objects that are made of them.

use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;
use pgmap_alloc::{Folio, Order, Pgmap, PgmapOps};
use rangemap::RangeSet;

use crate::carve::CarveOuts;
use crate::mover::Piece;
use crate::object::{Pages, Segments};
use crate::pick::Search;
use crate::place::{Flags, MemoryType, Place};

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

/// Consecutive pages of an object that stand in consecutive pages of one memory type.
pub(crate) struct Segment<'p, O: PgmapOps<Data = usize>> {
    pub(crate) piece: Piece,
    temporary: bool,
    folio: Option<Folio<'p, O, 8>>,
}

/// What is asked of a memory type: room for these pages of an object.
pub(crate) struct Ask<'a> {
    pub(crate) key: usize,
    pub(crate) place: &'a Place,
    pub(crate) runs: &'a [Pages],
    pub(crate) largest: Order,
}

/// A refusal, with how many pages were missing when the search gave up.
pub(crate) struct Short(pub(crate) u64);

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

/// Takes folios as large as allowed and possible, until the ask is met; what was taken before a refusal is put by its drop.
fn take_folios<'p, O: PgmapOps<Data = usize>>(
    pgmap: &'p Pgmap<'p, O>,
    end: u64,
    memory: MemoryType,
    ask: &Ask<'_>,
) -> Result<Segments<'p, O>, Short> {
    let mut taken = Segments::new();
    let temporary = ask.place.flags.contains(Flags::TEMPORARY);
    if ask.contiguous() {
        // One folio that covers it all, until the pool can trim.
        let order = Order::covering(ask.pages()).filter(|_| ask.runs.len() == 1).ok_or(Short(ask.pages()))?;
        let folio = Search::new(end, ask.place, order).next(pgmap, ask.key).map_err(|_| Short(order.pages()))?;
        let piece = Piece { memory, first: folio.offset().get(), pages: ask.pages() };
        taken.extend(ask.runs.first().map(|run| (run.start, Segment { piece, temporary, folio: Some(folio) })));
        return Ok(taken);
    }
    let mut left = ask.pages();
    let mut largest = ask.largest.min(pgmap.largest_order());
    let mut search: Option<(Order, Search)> = None;
    for run in ask.runs {
        let mut page = run.start;
        while page < run.end {
            let order = Order::fitting(run.end - page).map_or(Order::ZERO, |fitting| fitting.min(largest));
            let (_, from) = match &mut search {
                Some(going) if going.0 == order => going,
                other => other.insert((order, Search::new(end, ask.place, order))),
            };
            match from.next(pgmap, ask.key) {
                Ok(folio) => {
                    let piece = Piece { memory, first: folio.offset().get(), pages: order.pages() };
                    taken.push((page, Segment { piece, temporary, folio: Some(folio) }));
                    page += order.pages();
                    left -= order.pages();
                }
                // No run of this order is idle, so none of a larger one either: go on with half.
                Err(_) => match order.get().checked_sub(1).and_then(|lower| Order::new(lower).ok()) {
                    Some(lower) => largest = lower,
                    None => return Err(Short(left)),
                },
            }
        }
    }
    Ok(taken)
}

fn take_host_pages<'p, O: PgmapOps<Data = usize>>(
    free: &mut RangeSet<u64>,
    memory: MemoryType,
    ask: &Ask<'_>,
) -> Result<Segments<'p, O>, Short> {
    let parts = host_parts(free, ask)?;
    let temporary = ask.place.flags.contains(Flags::TEMPORARY);
    let mut taken = Segments::new();
    let mut parts = parts.into_iter();
    let mut part = parts.next().unwrap_or_default();
    for run in ask.runs {
        let mut page = run.start;
        while page < run.end {
            if part.is_empty() {
                part = parts.next().ok_or(Short(run.end - page))?;
            }
            let pages = (run.end - page).min(part.end - part.start);
            let piece = Piece { memory, first: part.start, pages };
            taken.push((page, Segment { piece, temporary, folio: None }));
            part.start += pages;
            page += pages;
        }
    }
    for (_, segment) in &taken {
        free.remove(segment.piece.first..segment.piece.first + segment.piece.pages);
    }
    Ok(taken)
}

/// The free ranges to use, first fit, together exactly as long as the ask.
fn host_parts(free: &RangeSet<u64>, ask: &Ask<'_>) -> Result<Vec<Range<u64>>, Short> {
    let window = ask.place.window;
    let mut inside: Vec<Range<u64>> =
        free.iter().map(|r| r.start.max(window.first)..r.end.min(window.last)).filter(|r| !r.is_empty()).collect();
    let top_down = ask.place.flags.contains(Flags::TOP_DOWN);
    if top_down {
        inside.reverse();
    }
    let mut left = ask.pages();
    let mut parts = Vec::new();
    for range in inside {
        let length = range.end - range.start;
        if left == 0 || ask.contiguous() && length < left {
            continue;
        }
        let pages = length.min(left);
        parts.push(if top_down { range.end - pages..range.end } else { range.start..range.start + pages });
        left -= pages;
    }
    if left == 0 { Ok(parts) } else { Err(Short(left)) }
}

impl Ask<'_> {
    pub(crate) fn pages(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    fn contiguous(&self) -> bool {
        self.place.flags.contains(Flags::CONTIGUOUS)
    }
}

impl<O: PgmapOps<Data = usize>> Segment<'_, O> {
    /// The pages that it takes, which are more than it holds where one folio covers a contiguous object.
    pub(crate) fn cost(&self) -> u64 {
        self.folio.as_ref().map_or(self.piece.pages, |folio| folio.order().pages())
    }

    /// Whether it may stay where it is for an object that belongs at `place`.
    pub(crate) fn suits(&self, place: &Place) -> bool {
        let Piece { memory, first, pages } = self.piece;
        !self.temporary && memory == place.memory && place.window.contains(first, pages)
    }

    pub(crate) fn is_folio(&self) -> bool {
        self.folio.is_some()
    }

    /// Whether someone else holds a reference to its folio: then its pages are in use and must not move.
    pub(crate) fn is_shared(&self) -> bool {
        self.folio.as_ref().is_some_and(|folio| folio.refs() > 1)
    }

    /// Cuts host pages in two and returns the second part; a folio stays whole.
    pub(crate) fn cut(&mut self, pages: u64) -> Option<Self> {
        let Piece { memory, first, pages: all } = self.piece;
        if self.is_folio() || pages == 0 || pages >= all {
            return None;
        }
        self.piece.pages = pages;
        let piece = Piece { memory, first: first + pages, pages: all - pages };
        Some(Segment { piece, temporary: self.temporary, folio: None })
    }
}
