//! A buffer object: pages with contents, and the segments of memory that hold them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use pgmap_alloc::{Order, Owner, PgmapOps};

use crate::bo::{Keeping, ObjectParams, Priority, Rank};
use crate::failure::Failure;
use crate::piece::{Piece, Ticket};
use crate::place::{Flags, MemoryType, Place, Placement, Window};
use crate::segment::{Pages, Segment, Segments, merge};

pub(crate) struct Object<'p, O: PgmapOps<Data = usize>> {
    pub(crate) serial: u64,
    pub(crate) pages: u64,
    pub(crate) owner: Owner,
    pub(crate) priority: Priority,
    pub(crate) keeping: Keeping,
    pub(crate) largest: Order,
    pub(crate) evict_to: Placement,
    /// The last placement that the caller validated it into: where promotion brings it back to.
    pub(crate) wanted: Placement,
    /// Its segments by the first page of each; pages between them stand nowhere.
    backing: BTreeMap<u64, Segment<'p, O>>,
    /// Its age in the list of each memory type where it is listed.
    pub(crate) ages: BTreeMap<MemoryType, u64>,
    pub(crate) bulk: Option<u64>,
    pub(crate) pins: u32,
    /// A verb is at work on it: it must not be pushed out by what that verb does.
    pub(crate) at_work: bool,
    /// A copy failed and was undone since the last wait.
    pub(crate) undone: bool,
    /// Its place in the queue of those that were pushed out.
    pub(crate) pushed_out: Option<(Priority, u64)>,
    pub(crate) moved_at: Option<Ticket>,
    /// The device uses its pages until this ticket.
    pub(crate) used_until: Option<Ticket>,
}

impl<'p, O: PgmapOps<Data = usize>> Object<'p, O> {
    pub(crate) fn new(serial: u64, params: ObjectParams) -> Object<'p, O> {
        Object {
            serial,
            pages: params.pages,
            owner: params.owner,
            priority: params.priority,
            keeping: Keeping::Needed,
            largest: params.largest,
            evict_to: params.evict_to,
            wanted: Placement::nowhere(),
            backing: BTreeMap::new(),
            ages: BTreeMap::new(),
            bulk: None,
            pins: 0,
            at_work: false,
            undone: false,
            pushed_out: None,
            moved_at: None,
            used_until: None,
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, &Segment<'p, O>)> {
        self.backing.iter().map(|(page, segment)| (*page, segment))
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank::of(self.priority, self.keeping)
    }

    /// Whether it is to lose what it holds, rather than take it along, when it is pushed out to `placement`.
    pub(crate) fn is_lost_at(&self, placement: &Placement) -> bool {
        self.keeping != Keeping::Needed || placement.places().is_empty()
    }

    /// All its pages, wherever they stand.
    pub(crate) fn whole(&self) -> Pages {
        0..self.pages
    }

    pub(crate) fn resident(&self) -> u64 {
        self.segments().map(|(_, segment)| segment.piece.pages).sum()
    }

    /// The segment that holds `page`, and the page it starts at.
    pub(crate) fn segment_at(&self, page: u64) -> Option<(u64, &Segment<'p, O>)> {
        let (first, segment) = self.backing.range(..=page).next_back()?;
        (page - first < segment.piece.pages).then_some((*first, segment))
    }

    /// The segments with a page in `pages`.
    pub(crate) fn segments_in(&self, pages: Pages) -> impl Iterator<Item = (u64, &Segment<'p, O>)> {
        let first = self.segment_at(pages.start).map_or(pages.start, |(first, _)| first);
        self.backing.range(first..pages.end).map(|(page, segment)| (*page, segment))
    }

    /// Its pages in `memory`, as runs.
    pub(crate) fn pages_in(&self, memory: MemoryType) -> Vec<Pages> {
        merge(self.segments().filter(|(_, s)| s.piece.memory == memory).map(|(page, s)| page..page + s.piece.pages))
    }

    /// Of the pages of `runs`, those that stand outside `memory`, as runs.
    pub(crate) fn runs_outside(&self, memory: MemoryType, runs: &[Pages]) -> Vec<Pages> {
        merge(runs.iter().flat_map(|run| {
            let outside = self.segments_in(run.clone()).filter(|(_, s)| s.piece.memory != memory);
            outside.map(|(page, s)| page.max(run.start)..run.end.min(page + s.piece.pages))
        }))
    }

    /// How many of its pages stand in `memory`.
    pub(crate) fn resident_in(&self, memory: MemoryType) -> u64 {
        self.segments().filter(|(_, s)| s.piece.memory == memory).map(|(_, s)| s.piece.pages).sum()
    }

    /// How many of its pages stand in `memory` at this window.
    pub(crate) fn resident_at(&self, memory: MemoryType, window: Window) -> u64 {
        let pieces = self.segments().map(|(_, s)| s.piece).filter(|piece| piece.memory == memory);
        pieces.map(|piece| window.meeting(piece.first, piece.pages)).sum()
    }

    /// Parts of what it has in `memory`, as runs: at least `pages` pages, and no more than it takes in whole segments.
    pub(crate) fn part_in(&self, memory: MemoryType, pages: u64) -> Vec<Pages> {
        let mut segments: Vec<Pages> =
            self.segments().filter(|(_, s)| s.piece.memory == memory).map(|(page, s)| page..page + s.piece.pages).collect();
        segments.sort_unstable_by_key(|run| (run.end - run.start, run.start));
        let (mut parts, mut missing) = (Vec::new(), pages);
        while missing > 0 && !segments.is_empty() {
            // The smallest that is enough by itself, else the largest.
            let enough = segments.partition_point(|run| run.end - run.start < missing).min(segments.len() - 1);
            let run = segments.remove(enough);
            missing = missing.saturating_sub(run.end - run.start);
            parts.push(run);
        }
        parts.sort_unstable_by_key(|run| run.start);
        merge(parts.into_iter())
    }

    /// Its pages that a move to `place` would have to bring there, as runs: none if it stands there already.
    pub(crate) fn pages_not_at(&self, place: &Place) -> Vec<Pages> {
        if place.flags.contains(Flags::CONTIGUOUS) {
            return if self.stands_in_one_run(place) { Vec::new() } else { Vec::from([self.whole()]) };
        }
        let mut runs = Vec::new();
        let mut next = 0;
        for (page, segment) in self.segments().filter(|(_, segment)| segment.suits(place)) {
            runs.push(next..page);
            next = page + segment.piece.pages;
        }
        runs.push(next..self.pages);
        merge(runs.into_iter().filter(|run| !run.is_empty()))
    }

    /// How many of the places that it is wanted at, the best first, are worth moving to: those before the one that all of it may
    /// stay at, or the places before it; and none behind the first where some of it stands.
    pub(crate) fn better_places(&self) -> usize {
        let places = self.wanted.places();
        let stands = |place: &Place| self.pages_not_at(place).is_empty();
        let at = |page_of: &Segment<'p, O>| places.iter().position(|place| page_of.suits(place));
        let best = self.segments().filter_map(|(_, segment)| at(segment)).min();
        let worst = match places.iter().position(stands) {
            Some(place) => place,
            None if self.resident() < self.pages || places.iter().any(|place| place.flags.contains(Flags::CONTIGUOUS)) => {
                places.len()
            }
            None => self.segments().map(|(_, segment)| at(segment).unwrap_or(places.len())).max().unwrap_or(places.len()),
        };
        worst.min(best.map_or(places.len(), |best| best + 1))
    }

    fn stands_in_one_run(&self, place: &Place) -> bool {
        let mut neighbours = self.segments().zip(self.segments().skip(1));
        neighbours.all(|((_, before), (_, segment))| segment.follows(before))
            && self.segments().all(|(_, segment)| segment.suits(place))
            && self.resident() == self.pages
    }

    /// Whether someone else holds a reference to one of its folios in `pages`.
    pub(crate) fn is_shared(&self, pages: &[Pages]) -> bool {
        pages.iter().any(|run| self.segments_in(run.clone()).any(|(_, segment)| segment.is_shared()))
    }

    /// Cuts the segment in two that crosses the border before `page`, and says where its parts stand; none if there is no such
    /// segment. A folio is cut in halves, so to be asked again; refused where someone else holds a reference to it.
    pub(crate) fn cut_towards(&mut self, page: u64) -> Result<Option<[(u64, Piece); 2]>, Failure> {
        let crossing = self.segment_at(page).map(|(first, _)| first).filter(|first| *first < page);
        let Some((first, segment)) = crossing.and_then(|first| self.backing.remove_entry(&first)) else { return Ok(None) };
        match segment.cut(page - first) {
            Ok([low, high]) => {
                let middle = first + low.piece.pages;
                let parts = [(first, low.piece), (middle, high.piece)];
                self.backing.extend([(first, low), (middle, high)]);
                Ok(Some(parts))
            }
            Err(whole) => {
                self.backing.insert(first, whole);
                Err(Failure::Busy)
            }
        }
    }

    /// Takes out the segments that start in `pages`.
    pub(crate) fn take(&mut self, pages: Pages) -> Segments<'p, O> {
        let firsts: Vec<u64> = self.backing.range(pages).map(|(page, _)| *page).collect();
        firsts.into_iter().filter_map(|page| self.backing.remove_entry(&page)).collect()
    }

    pub(crate) fn put(&mut self, segments: Segments<'p, O>) {
        self.backing.extend(segments);
    }
}
