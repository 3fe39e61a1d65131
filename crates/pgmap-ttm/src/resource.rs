//! One memory type: the folios of a pgmap, or pages of the host, and the segments of objects that are made of them.

use alloc::vec::Vec;

use hashbrown::HashMap;
use pgmap_alloc::{Extent, Folio, Offset, Pgmap, PgmapOps, Put};
use rangemap::RangeSet;

use crate::account::Accounts;
use crate::ask::{Ask, Shape, Short};
use crate::caches::Caches;
use crate::carve::CarveOuts;
use crate::folios::take_folios;
use crate::host_pages::take_host_pages;
use crate::piece::Piece;
use crate::place::{MemoryType, Place, Window};
use crate::segment::{Pages, Segment, Segments};

/// How full a memory type is, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryUsage {
    /// All of it.
    pub pages: u64,
    /// The first page beyond the last: more than `pages` where a pgmap has holes between its ranges.
    pub end: u64,
    /// Taken for objects; includes `leaving` and `held`.
    pub used: u64,
    /// Of those, held by ghosts: free once the copies out of them have signalled.
    pub leaving: u64,
    /// Of those, given up by their objects while someone else held a reference to their folio: free after the last put.
    pub held: u64,
    /// Carved out.
    pub carved: u64,
}

/// A memory type as it is given to a manager.
pub struct ResourceManager<'p, O: PgmapOps<Data = usize>> {
    pub(crate) kind: Kind<'p, O>,
    pub(crate) accounts: &'p (dyn Accounts + Sync),
    pub(crate) caches: &'p (dyn Caches + Sync),
    pub(crate) used: u64,
    /// Of those, held by ghosts.
    pub(crate) leaving: u64,
    /// Of those, held by others.
    pub(crate) held: u64,
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
        pages: u64,
        free: RangeSet<u64>,
    },
}

impl<'p, O: PgmapOps<Data = usize>> ResourceManager<'p, O> {
    /// The device memory of `pgmap`.
    pub fn device(pgmap: &'p Pgmap<'p, O>) -> ResourceManager<'p, O> {
        ResourceManager::of(Kind::Device { pgmap, holders: HashMap::new(), carved: CarveOuts::default() })
    }

    /// `pages` pages of the host, numbered from 0; what they are is the mover's business.
    pub fn host(pages: u64) -> ResourceManager<'p, O> {
        let mut free = RangeSet::new();
        if pages > 0 {
            free.insert(0..pages);
        }
        ResourceManager::of(Kind::Host { pages, free })
    }

    fn of(kind: Kind<'p, O>) -> ResourceManager<'p, O> {
        ResourceManager { kind, accounts: &(), caches: &(), used: 0, leaving: 0, held: 0, gone: false }
    }

    /// The same memory, with the accounts that its pages are charged to, such as
    /// [`Owners`](pgmap_alloc::Owners). They may be charged by others too: what an owner is promised and limited to then holds
    /// for all of it together. Without accounts nobody pays, and nothing is promised.
    #[must_use]
    pub fn charged_to(self, accounts: &'p (dyn Accounts + Sync)) -> ResourceManager<'p, O> {
        ResourceManager { accounts, ..self }
    }

    /// The same memory, with the caches through which others allocate from it, such as [`PerCpu`](pgmap_alloc::PerCpu). Their pages
    /// are idle: all caches that are not in use are drained before an object is pushed out and before a request is refused.
    #[must_use]
    pub fn cached_by(self, caches: &'p (dyn Caches + Sync)) -> ResourceManager<'p, O> {
        ResourceManager { caches, ..self }
    }

    /// All its pages.
    pub(crate) fn pages(&self) -> u64 {
        match &self.kind {
            Kind::Device { pgmap, .. } => pgmap.pages(),
            Kind::Host { pages, .. } => *pages,
        }
    }

    /// How full it is.
    pub(crate) fn usage(&self) -> MemoryUsage {
        let (end, carved) = match &self.kind {
            Kind::Device { pgmap, carved, .. } => {
                (pgmap.ranges().map(|range| range.end().get()).max().unwrap_or(0), carved.pages())
            }
            Kind::Host { pages, .. } => (*pages, 0),
        };
        MemoryUsage { pages: self.pages(), end, used: self.used, leaving: self.leaving, held: self.held, carved }
    }

    /// Whether `pages` pages of this shape could stand at `place` if nothing else did; carve-outs are not looked at.
    pub(crate) fn could_hold(&self, place: &Place, pages: u64, shape: Shape) -> bool {
        let shape = if matches!(self.kind, Kind::Host { .. }) { Shape::OneRun } else { shape };
        shape.fits(pages, self.stretches(place).into_iter())
    }

    /// The pages of a place, cut where what lies side by side as pages does not as memory.
    pub(crate) fn stretches(&self, place: &Place) -> Vec<Pages> {
        let inside = |first: u64, end: u64| first.max(place.window.first)..end.min(place.window.last);
        match &self.kind {
            Kind::Host { pages, .. } => Vec::from([inside(0, *pages)]),
            Kind::Device { pgmap, .. } => pgmap.ranges().map(|range| inside(range.first.get(), range.end().get())).collect(),
        }
    }

    /// How many pages of a place are free.
    pub(crate) fn free_at(&self, place: &Place) -> u64 {
        match &self.kind {
            Kind::Device { pgmap, .. } => window_of(place).map_or(0, |window| pgmap.avail_in(window)),
            Kind::Host { pages, .. } if place.window == Window::ALL => pages - self.used,
            Kind::Host { .. } => self.gaps(place).iter().map(|gap| gap.end - gap.start).sum(),
        }
    }

    /// Free pages side by side, in order, as far as they lie in a place.
    pub(crate) fn gaps(&self, place: &Place) -> Vec<Pages> {
        let Window { first, last } = place.window;
        match &self.kind {
            Kind::Device { pgmap, .. } => {
                let gaps = window_of(place).into_iter().flat_map(|window| pgmap.gaps_in(window));
                gaps.map(|gap| gap.start().get()..gap.end().get()).collect()
            }
            Kind::Host { free, .. } => free.overlapping(first..last).map(|gap| gap.start.max(first)..gap.end.min(last)).collect(),
        }
    }

    /// All of what is asked, or nothing.
    pub(crate) fn allocate(&mut self, memory: MemoryType, ask: &Ask<'_>) -> Result<Segments<'p, O>, Short> {
        let taken = self.take(memory, ask).or_else(|short| {
            if short.cached == 0 {
                return Err(short);
            }
            // What lies in caches is idle: nobody has to go for it.
            self.caches.drain();
            self.take(memory, ask)
        })?;
        taken.iter().for_each(|(page, segment)| self.note_holder(segment.piece.first, ask.key, *page));
        self.used += ask.pages();
        Ok(taken)
    }

    fn take(&mut self, memory: MemoryType, ask: &Ask<'_>) -> Result<Segments<'p, O>, Short> {
        match &mut self.kind {
            Kind::Device { pgmap, .. } => take_folios(pgmap, memory, ask),
            Kind::Host { free, .. } => take_host_pages(free, memory, ask),
        }
    }

    /// Notes for whom, and for which page of it, the folio at `head` is.
    pub(crate) fn note_holder(&mut self, head: u64, key: usize, page: u64) {
        if let Kind::Device { holders, .. } = &mut self.kind {
            holders.insert(head, (key, page));
        }
    }

    /// Gives a segment's pages back: puts its folio, or frees its host pages. If someone else holds a reference to the folio it
    /// comes back, for it was not the last one: its pages are in service until then.
    pub(crate) fn release(&mut self, mut segment: Segment<'p, O>) -> Result<(), Segment<'p, O>> {
        let Piece { first, pages, .. } = segment.piece;
        if let Some(folio) = segment.folio.take() {
            match put_last(folio) {
                Ok(()) => {}
                Err(folio) => return Err(Segment { folio: Some(folio), ..segment }),
            }
        }
        self.used -= pages;
        match &mut self.kind {
            Kind::Device { holders, .. } => {
                holders.remove(&first);
            }
            Kind::Host { free, .. } => free.insert(first..first + pages),
        }
        Ok(())
    }
}

/// A place's window, in offsets; none if it is empty.
fn window_of(place: &Place) -> Option<Extent> {
    Extent::between(Offset::new(place.window.first), Offset::new(place.window.last)).ok()
}

/// Puts a folio if that ends its service; if not, it comes back.
fn put_last<O: PgmapOps<Data = usize>>(folio: Folio<'_, O>) -> Result<(), Folio<'_, O>> {
    if folio.refs() > 1 {
        return Err(folio);
    }
    let (pgmap, head, key) = (folio.pgmap(), folio.offset(), folio.data());
    match pgmap.put(folio) {
        Ok(Put::Freed) => Ok(()),
        // Someone looked it up between the two: it may still be there to be looked up again.
        Ok(Put::InService) => match pgmap.try_get(head) {
            Some(folio) if folio.offset() == head && folio.data() == key => Err(folio),
            _ => Ok(()),
        },
        Err(refused) => Err(refused.value),
    }
}
