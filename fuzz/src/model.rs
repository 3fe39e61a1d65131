//! The pgmap as it should be, slow and obvious: which pages are taken by what, and the references of each folio.

use std::collections::BTreeMap;
use std::ops::Range;

use pgmap_alloc::{Census, FreeError, Offset, Order, PlacedRange, RequestError, Run};
use rangemap::RangeMap;

/// What a taken page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The folio with this head.
    Folio(u64),
    /// The driver, without a folio.
    Block,
}

/// A folio in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folio {
    /// Its order.
    pub order: Order,
    /// Its references; never 0.
    pub refs: u32,
    /// What the driver keeps with it.
    pub data: u64,
}

/// The state of a pgmap.
#[derive(Debug)]
pub struct Model {
    ranges: Vec<PlacedRange>,
    taken: RangeMap<u64, Owner>,
    folios: BTreeMap<u64, Folio>,
    /// Nothing new comes into service.
    pub dying: bool,
}

impl Model {
    /// All pages of these ranges idle.
    pub fn new(ranges: Vec<PlacedRange>) -> Model {
        Model { ranges, taken: RangeMap::new(), folios: BTreeMap::new(), dying: false }
    }

    /// Its ranges lie elsewhere now; nothing that is taken does.
    pub fn place(&mut self, ranges: Vec<PlacedRange>) {
        self.ranges = ranges;
    }

    /// The offset after the last one.
    pub fn end(&self) -> u64 {
        self.ranges.iter().map(|range| range.end().get()).max().unwrap_or(0)
    }

    /// Whether a range holds this page.
    pub fn has(&self, page: u64) -> bool {
        self.range(page).is_some()
    }

    fn range(&self, page: u64) -> Option<&PlacedRange> {
        self.ranges.iter().find(|range| (range.first.get()..range.end().get()).contains(&page))
    }

    /// Who has this page; `None` if it is idle or outside.
    pub fn owner(&self, page: u64) -> Option<Owner> {
        self.taken.get(&page).copied()
    }

    /// The folio whose head this is.
    pub fn folio(&self, head: u64) -> Option<Folio> {
        self.folios.get(&head).copied()
    }

    /// Every folio in service, by head.
    pub fn folios(&self) -> impl DoubleEndedIterator<Item = (u64, Folio)> + '_ {
        self.folios.iter().map(|(head, folio)| (*head, *folio))
    }

    /// The first page and the length of everything that is taken: each folio, and each piece that blocks cover.
    pub fn taken(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.taken.iter().map(|(pages, _)| (pages.start, pages.end - pages.start))
    }

    /// Whether none of these pages is taken.
    pub fn is_untaken(&self, pages: Range<u64>) -> bool {
        !self.taken.overlaps(&pages)
    }

    /// Whether blocks cover all of these pages.
    pub fn is_block(&self, pages: Range<u64>) -> bool {
        self.taken.get_key_value(&pages.start).is_some_and(|(piece, owner)| *owner == Owner::Block && piece.end >= pages.end)
    }

    /// The first page that the driver has without a folio.
    pub fn first_block(&self) -> Option<u64> {
        self.taken.iter().find(|(_, owner)| **owner == Owner::Block).map(|(pages, _)| pages.start)
    }

    /// The largest order at which a block could be freed at `page`.
    pub fn largest_block(&self, page: u64) -> Order {
        let fits = |order: &Order| Run::new(Offset::new(page), *order).is_ok_and(|run| self.is_block(pages(run)));
        Order::MAX.up_to().take_while(fits).last().unwrap_or(Order::ZERO)
    }

    /// Why this run cannot be taken now, or that it can be.
    pub fn check_request(&self, offset: Offset, order: Order) -> Result<(), RequestError> {
        let run = Run::new(offset, order)?;
        let range = self.range(offset.get()).ok_or(RequestError::OutOfRange)?;
        if run.end() > range.end() {
            return Err(RequestError::CrossesRange);
        }
        if self.is_untaken(pages(run)) { Ok(()) } else { Err(RequestError::Busy) }
    }

    /// Why this run cannot be freed as a block, or that it can be.
    ///
    /// Where a run is wrong in two ways either answer is right; this is one of them, and [`Model::confirms`] knows the other.
    pub fn check_free(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        let range = self.range(offset.get()).ok_or(FreeError::OutOfRange)?;
        if run.end() > range.end() {
            return Err(FreeError::CrossesRange);
        }
        for page in pages(run) {
            match self.owner(page) {
                Some(Owner::Block) => {}
                Some(Owner::Folio(head)) => return Err(FreeError::InService { head: Offset::new(head) }),
                None => return Err(FreeError::DoubleFree { page: Offset::new(page) }),
            }
        }
        Ok(())
    }

    /// Whether an error that names a page names one that is wrong in just that way.
    pub fn confirms(&self, run: Run, error: FreeError) -> bool {
        match error {
            FreeError::DoubleFree { page } => run.contains(page) && self.owner(page.get()).is_none(),
            FreeError::InService { head } => {
                self.taken.overlapping(pages(run)).any(|(_, owner)| *owner == Owner::Folio(head.get()))
            }
            _ => false,
        }
    }

    /// Whether any idle run of this order exists.
    pub fn has_idle_run(&self, order: Order) -> bool {
        self.ranges.iter().any(|range| {
            let first = range.first.get().next_multiple_of(order.pages());
            let starts = (first..range.end().get()).step_by(order.pages() as usize);
            starts
                .take_while(|start| start + order.pages() <= range.end().get())
                .any(|start| !self.taken.overlaps(&(start..start + order.pages())))
        })
    }

    /// A folio comes into service with one reference.
    pub fn add_folio(&mut self, head: u64, order: Order, data: u64) {
        self.taken.insert(head..head + order.pages(), Owner::Folio(head));
        self.folios.insert(head, Folio { order, refs: 1, data });
    }

    /// Its count changes by so much; at 0 it leaves service, and its pages stay taken if `keep` says so.
    pub fn count(&mut self, head: u64, change: i64, keep: impl FnOnce(u64) -> bool) -> Option<Folio> {
        let folio = self.folios.get_mut(&head)?;
        folio.refs = u32::try_from(i64::from(folio.refs) + change).ok()?;
        if folio.refs > 0 {
            return None;
        }
        let folio = self.folios.remove(&head)?;
        let pages = head..head + folio.order.pages();
        if keep(folio.data) {
            self.taken.insert(pages, Owner::Block)
        } else {
            self.taken.remove(pages)
        }
        Some(folio)
    }

    /// The driver takes a run.
    pub fn add_block(&mut self, run: Run) {
        self.taken.insert(pages(run), Owner::Block);
    }

    /// The driver gives it back.
    pub fn remove_block(&mut self, run: Run) {
        self.taken.remove(pages(run));
    }

    /// How many pages are what.
    pub fn census(&self) -> Census {
        let pages = self.ranges.iter().map(|range| range.pages).sum();
        let of = |wanted: fn(&Owner) -> bool| {
            self.taken.iter().filter(|(_, owner)| wanted(owner)).map(|(pages, _)| pages.end - pages.start).sum::<u64>()
        };
        let (in_service, block) = (of(|owner| *owner != Owner::Block), of(|owner| *owner == Owner::Block));
        let folios = self.folios.len() as u64;
        Census { pages, idle: pages - in_service - block, in_service, block, folios, ..Census::default() }
    }
}

fn pages(run: Run) -> Range<u64> {
    run.start().get()..run.end().get()
}
