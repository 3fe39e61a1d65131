//! Faults: bring one page of an object in, and as much around it as one folio of the order asked for holds.
//!
//! What does not come stays where it is: a larger folio that only a part comes out of is split, at most into one part per order.

use alloc::vec::Vec;

use pgmap_alloc::{Order, PgmapOps};

use crate::ask::{Ask, Shape};
use crate::bo::Bo;
use crate::error::FaultError;
use crate::failure::Failure;
use crate::job::Shut;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::place::Place;
use crate::segment::Pages;

/// What a fault brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulted {
    /// The object's first page that came.
    pub first: u64,
    /// How many came, as an order; none if the page was there already.
    pub order: Option<Order>,
}

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Brings `page` of an object to `place`, with the naturally aligned run of 2^`order` pages around it in one folio.
    ///
    /// Where the object ends too early, where pages of the run are there already, or where there is no room for so large a
    /// folio without pushing someone out, smaller orders are tried down to `floor`; then the same again pushing others out.
    /// The rest of the object stays where it is; a folio that it shares with the run is split, and stays split if the copy fails.
    pub fn fault(&mut self, bo: Bo, page: u64, place: &Place, order: Order, floor: Order) -> Result<Faulted, FaultError> {
        let key = self.find(bo)?;
        let object = &self.objects[key];
        if page >= object.pages {
            return Err(FaultError::OutOfRange { pages: object.pages });
        }
        self.known(place.memory).map_err(|_| FaultError::UnknownMemory(place.memory))?;
        if floor > order {
            return Err(FaultError::FloorAboveOrder);
        }
        if place.window.first >= place.window.last {
            return Err(FaultError::EmptyWindow);
        }
        self.reap();
        if self.is_at(key, page, place) {
            self.relist(key, true);
            return Ok(Faulted { first: page, order: None });
        }
        if self.objects[key].pins > 0 {
            return Err(FaultError::Pinned);
        }
        self.finish(key);
        self.objects[key].at_work = true;
        let faulted = self.fault_at_work(key, page, place, order, floor);
        self.objects[key].at_work = false;
        faulted
    }

    fn is_at(&self, key: usize, page: u64, place: &Place) -> bool {
        self.objects[key].segment_at(page).is_some_and(|(_, segment)| segment.suits(place))
    }

    fn fault_at_work(&mut self, key: usize, page: u64, place: &Place, order: Order, floor: Order) -> Result<Faulted, FaultError> {
        let runs: Vec<(Order, Pages)> = order
            .up_to()
            .rev()
            .take_while(|order| *order >= floor)
            .map(|order| (order, run_around(page, order)))
            .filter(|(_, run)| self.can_come(key, run, place))
            .collect();
        let mut refusal = FaultError::NoRun;
        for evicting in [false, true] {
            for (order, run) in &runs {
                match self.bring_run(key, run, place, evicting) {
                    Ok(()) => {
                        self.counters.faults += 1;
                        return Ok(Faulted { first: run.start, order: Some(*order) });
                    }
                    Err(why) if why.is_of_place() => refusal = why.into(),
                    Err(why) => return Err(why.into()),
                }
            }
        }
        Err(refusal)
    }

    /// Whether the run lies inside the object and none of it is at `place`.
    fn can_come(&self, key: usize, run: &Pages, place: &Place) -> bool {
        let object = &self.objects[key];
        run.end <= object.pages && object.segments_in(run.clone()).all(|(_, segment)| !segment.suits(place))
    }

    fn bring_run(&mut self, key: usize, run: &Pages, place: &Place, evicting: bool) -> Result<(), Failure> {
        let runs = [run.clone()];
        if self.objects[key].is_shared(&runs) {
            return Err(Failure::Busy);
        }
        // One page fits anywhere: the lists know who goes.
        let shape = if run.end - run.start == 1 { Shape::Scattered { largest: Order::ZERO } } else { Shape::OneFolio };
        let ask = Ask { key, place, runs: &runs, shape };
        let new = match evicting {
            true => self.allocate_evicting(&ask, Shut::default())?,
            false => self.try_allocate(&ask).map_err(|refused| refused.why)?,
        };
        if let Err(why) = self.cut_out(key, run) {
            self.release(self.objects[key].owner, new);
            return Err(why);
        }
        self.relocate(&ask, new, Shut::default())
    }

    /// Splits what reaches across the borders of the run.
    pub(crate) fn cut_out(&mut self, key: usize, run: &Pages) -> Result<(), Failure> {
        for border in [run.start, run.end] {
            while let Some(parts) = self.objects[key].cut_towards(border)? {
                for (page, piece) in parts {
                    self.memories[piece.memory.index()].note_holder(piece.first, key, page);
                }
            }
        }
        Ok(())
    }
}

/// The naturally aligned run of `order` that holds `page`.
fn run_around(page: u64, order: Order) -> Pages {
    let first = page & !(order.pages() - 1);
    first..first + order.pages()
}
