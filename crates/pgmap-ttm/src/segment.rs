//! Segments: what the pages of objects and ghosts stand in.

use alloc::vec::Vec;
use core::ops::Range;

use pgmap_alloc::{Folio, Order, Owner, PgmapOps};

use crate::piece::{Piece, Ticket};
use crate::place::{MemoryType, Place};

/// A run of an object's pages.
pub(crate) type Pages = Range<u64>;

/// Segments, each with the object's page that it starts at.
pub(crate) type Segments<'p, O> = Vec<(u64, Segment<'p, O>)>;

/// Consecutive pages of an object that stand in consecutive pages of one memory type: in one whole folio, if it is device memory.
pub(crate) struct Segment<'p, O: PgmapOps<Data = usize>> {
    pub(crate) piece: Piece,
    pub(crate) temporary: bool,
    pub(crate) folio: Option<Folio<'p, O, 8>>,
}

impl<O: PgmapOps<Data = usize>> Segment<'_, O> {
    /// Whether it may stay where it is for an object that belongs at `place`.
    pub(crate) fn suits(&self, place: &Place) -> bool {
        let Piece { memory, first, pages } = self.piece;
        !self.temporary && memory == place.memory && place.window.contains(first, pages)
    }

    /// Whether someone else holds a reference to its folio: then its pages are in use and must not move.
    pub(crate) fn is_shared(&self) -> bool {
        self.folio.as_ref().is_some_and(|folio| folio.refs() > 1)
    }

    /// Whether it begins where `before` ends; as an address, too, for neighbours as offsets may lie in ranges far apart.
    pub(crate) fn follows(&self, before: &Self) -> bool {
        let Piece { memory, first, pages } = before.piece;
        let joins = self.piece.memory == memory && self.piece.first == first + pages;
        let bytes = |from: &Folio<'_, O>, to: &Folio<'_, O>| to.phys()?.0.checked_sub(from.phys()?.0);
        match (&before.folio, &self.folio) {
            (Some(from), Some(to)) => joins && bytes(from, to) == Some(pages << from.pgmap().page_shift()),
            _ => joins,
        }
    }

    /// Cuts it in two, a folio in halves and host pages after the first `pages`; refuses where someone else holds a reference to
    /// the folio.
    pub(crate) fn cut(mut self, pages: u64) -> Result<[Self; 2], Self> {
        let Piece { memory, first, pages: all } = self.piece;
        let temporary = self.temporary;
        let part = |first, pages, folio| Segment { piece: Piece { memory, first, pages }, temporary, folio };
        let Some(folio) = self.folio.take() else { return Ok([part(first, pages, None), part(first + pages, all - pages, None)]) };
        let half = Order::fitting(all / 2).unwrap_or(Order::ZERO);
        match folio.split(half, 1) {
            Ok(mut halves) => Ok([part(first, all / 2, halves.next()), part(first + all / 2, all / 2, halves.next())]),
            Err(refused) => Err(part(first, all, Some(refused.value))),
        }
    }
}

/// What an object left behind, until the copy out of it has signalled.
pub(crate) struct Ghost<'p, O: PgmapOps<Data = usize>> {
    /// The object that goes back to `old` if the copy failed; none if nobody wants it back.
    pub(crate) home: Option<usize>,
    pub(crate) owner: Owner,
    pub(crate) ticket: Ticket,
    /// The object's pages that moved.
    pub(crate) moved: Vec<Pages>,
    /// Where they stood.
    pub(crate) old: Segments<'p, O>,
}

impl<O: PgmapOps<Data = usize>> Ghost<'_, O> {
    pub(crate) fn pages_in(&self, memory: MemoryType) -> u64 {
        self.old.iter().filter(|(_, s)| s.piece.memory == memory).map(|(_, s)| s.piece.pages).sum()
    }
}

/// Joins runs that touch; they come in order.
pub(crate) fn merge(runs: impl Iterator<Item = Pages>) -> Vec<Pages> {
    let mut merged: Vec<Pages> = Vec::new();
    for run in runs {
        match merged.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => merged.push(run),
        }
    }
    merged
}
