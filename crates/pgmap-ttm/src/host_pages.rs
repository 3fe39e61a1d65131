//! Host pages for an object: all that is asked for, or nothing; first fit.

use alloc::vec::Vec;

use pgmap_alloc::PgmapOps;
use rangemap::RangeSet;

use crate::ask::{Ask, Shape, Short};
use crate::piece::Piece;
use crate::place::{Flags, MemoryType};
use crate::segment::{Pages, Segment, Segments};

/// Takes free host pages until the ask is met. O(number of free stretches that are used or too short).
pub(crate) fn take_host_pages<'p, O: PgmapOps<Data = usize>>(
    free: &mut RangeSet<u64>,
    memory: MemoryType,
    ask: &Ask<'_>,
) -> Result<Segments<'p, O>, Short> {
    let window = ask.place.window;
    let inside = free.overlapping(window.first..window.last).map(|free| free.start.max(window.first)..free.end.min(window.last));
    let parts = if ask.place.flags.contains(Flags::TOP_DOWN) {
        choose(inside.rev(), ask, |free, pages| free.end - pages..free.end)
    } else {
        choose(inside, ask, |free, pages| free.start..free.start + pages)
    }?;
    parts.iter().for_each(|part| free.remove(part.clone()));
    Ok(segments(memory, ask, parts))
}

/// Parts of the free stretches, together exactly as long as the ask; `cut` takes the part of a stretch.
fn choose(stretches: impl Iterator<Item = Pages>, ask: &Ask<'_>, cut: fn(Pages, u64) -> Pages) -> Result<Vec<Pages>, Short> {
    let scattered = matches!(ask.shape, Shape::Scattered { .. });
    let mut left = ask.pages();
    let mut parts = Vec::new();
    for free in stretches {
        let length = free.end - free.start;
        if scattered || length >= left {
            let pages = length.min(left);
            parts.push(cut(free, pages));
            left -= pages;
        }
        if left == 0 {
            return Ok(parts);
        }
    }
    Err(Short::of(left))
}

/// The parts in the order of the pages that are to stand in them, cut where a run of those ends.
fn segments<'p, O: PgmapOps<Data = usize>>(memory: MemoryType, ask: &Ask<'_>, parts: Vec<Pages>) -> Segments<'p, O> {
    let temporary = ask.place.flags.contains(Flags::TEMPORARY);
    let mut segments = Segments::new();
    let mut runs = ask.runs.iter().cloned();
    let mut run = runs.next().unwrap_or_default();
    for mut part in parts {
        while !part.is_empty() {
            if run.is_empty() {
                run = runs.next().unwrap_or(0..part.end - part.start);
            }
            let pages = (run.end - run.start).min(part.end - part.start);
            let piece = Piece { memory, first: part.start, pages };
            segments.push((run.start, Segment { piece, temporary, folio: None }));
            part.start += pages;
            run.start += pages;
        }
    }
    segments
}
