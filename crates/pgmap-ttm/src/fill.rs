//! Room for an object: folios of a pgmap, or pages of the host, all that is asked for or nothing.

use alloc::vec::Vec;
use core::ops::Range;

use pgmap_alloc::{Order, Pgmap, PgmapOps};
use rangemap::RangeSet;

use crate::pick::Search;
use crate::piece::Piece;
use crate::place::{Flags, MemoryType, Place};
use crate::segment::{Pages, Segment, Segments};

/// What is asked of a memory type: room for these pages of an object.
pub(crate) struct Ask<'a> {
    pub(crate) key: usize,
    pub(crate) place: &'a Place,
    pub(crate) runs: &'a [Pages],
    pub(crate) largest: Order,
}

/// A refusal, with how many pages were missing when the search gave up.
pub(crate) struct Short(pub(crate) u64);

impl Ask<'_> {
    pub(crate) fn pages(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    pub(crate) fn contiguous(&self) -> bool {
        self.place.flags.contains(Flags::CONTIGUOUS)
    }
}

/// Takes folios as large as allowed and possible, until the ask is met; what was taken before a refusal is put by its drop.
pub(crate) fn take_folios<'p, O: PgmapOps<Data = usize>>(
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
        let folio = Search::new(end, ask.place, order).next(pgmap, ask.key).ok_or(Short(order.pages()))?;
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
                Some(folio) => {
                    let piece = Piece { memory, first: folio.offset().get(), pages: order.pages() };
                    taken.push((page, Segment { piece, temporary, folio: Some(folio) }));
                    page += order.pages();
                    left -= order.pages();
                }
                // No run of this order is idle, so none of a larger one either: go on with half.
                None => match order.get().checked_sub(1).and_then(|lower| Order::new(lower).ok()) {
                    Some(lower) => largest = lower,
                    None => return Err(Short(left)),
                },
            }
        }
    }
    Ok(taken)
}

/// Takes free host pages, first fit, until the ask is met.
pub(crate) fn take_host_pages<'p, O: PgmapOps<Data = usize>>(
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
