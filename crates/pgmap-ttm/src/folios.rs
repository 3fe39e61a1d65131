//! Folios for an object: all that is asked for, or nothing.

use alloc::vec::Vec;

use pgmap_alloc::{Folio, Order, Pgmap, PgmapOps};

use crate::ask::{Ask, Shape, Short};
use crate::pick::Room;
use crate::piece::Piece;
use crate::place::{Flags, MemoryType};
use crate::segment::{Pages, Segment, Segments};

/// Takes folios until the ask is met; what was taken before a refusal is put by its drop.
pub(crate) fn take_folios<'p, O: PgmapOps<Data = usize>>(
    pgmap: &'p Pgmap<'p, O>,
    memory: MemoryType,
    ask: &Ask<'_>,
) -> Result<Segments<'p, O>, Short> {
    let mut room = Room::new(pgmap, ask.place, ask.key);
    let pages = ask.pages();
    let folios = match ask.shape {
        Shape::Scattered { largest } => scatter(&mut room, ask.runs, largest.min(pgmap.largest_order())),
        Shape::OneRun => room.run(pages).ok_or(pages),
        Shape::OneFolio => Order::covering(pages).and_then(|order| room.folio(order)).map(|folio| Vec::from([folio])).ok_or(pages),
    };
    match folios {
        Ok(folios) => Ok(segments(memory, ask, folios)),
        Err(missing) => Err(Short { missing, cached: room.cached() }),
    }
}

/// Folios as large as possible, none of which crosses the end of a run; or how many pages were missing.
fn scatter<'p, O: PgmapOps<Data = usize>>(
    room: &mut Room<'p, O>,
    runs: &[Pages],
    mut largest: Order,
) -> Result<Vec<Folio<'p, O>>, u64> {
    let mut folios = Vec::new();
    let mut missing: u64 = runs.iter().map(|run| run.end - run.start).sum();
    for run in runs {
        let mut left = run.end - run.start;
        while let Some(fitting) = Order::fitting(left) {
            let order = fitting.min(largest);
            match room.folio(order) {
                Some(folio) => {
                    folios.push(folio);
                    left -= order.pages();
                    missing -= order.pages();
                }
                // No run of this order is idle, so none of a larger one either: go on with half.
                None => largest = order.get().checked_sub(1).and_then(|lower| Order::new(lower).ok()).ok_or(missing)?,
            }
        }
    }
    Ok(folios)
}

/// The folios in the order of the pages that are to stand in them.
fn segments<'p, O: PgmapOps<Data = usize>>(memory: MemoryType, ask: &Ask<'_>, folios: Vec<Folio<'p, O>>) -> Segments<'p, O> {
    let temporary = ask.place.flags.contains(Flags::TEMPORARY);
    let mut runs = ask.runs.iter().cloned();
    let mut run = runs.next().unwrap_or_default();
    let segment = |folio: Folio<'p, O>| {
        if run.is_empty() {
            run = runs.next().unwrap_or_default();
        }
        let piece = Piece { memory, first: folio.offset().get(), pages: folio.order().pages() };
        let page = run.start;
        run.start += piece.pages;
        (page, Segment { piece, temporary, folio: Some(folio) })
    };
    folios.into_iter().map(segment).collect()
}
