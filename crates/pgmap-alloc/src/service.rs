//! The walk of one folio: into service and out of it, as verbs on offsets.
//!
//! # The walk of one folio
//!
//! 1. [`Pgmap::alloc_folio_raw`] asks the pool for a run; the pool proposes and claims it. ([`Pgmap::request_folio_raw`] claims the
//!    run that the caller names.) From here the pages are ours alone.
//! 2. The driver's data is written, and the folio word goes `Idle` -> `Building`.
//! 3. Is the pgmap dying, or has a page of the run gone bad? Then the word goes back, the run goes back, and the caller is told.
//! 4. The word goes to `InService` with one reference: the folio can be found.
//! 5. [`Pgmap::get_raw`] and [`Pgmap::put_raw`] count on that word alone (`references`). [`Folio`](crate::Folio) is this walk as a
//!    type.
//! 6. The put that takes the last reference turns the word to `Freeing` and calls [`PgmapOps::folio_free`].
//! 7. The word goes to `Idle`, and the run back to the pool: the pages can be claimed again, at any order. Where the driver hears
//!    nothing of it the put itself turns the word to `Idle`, and step 6 is empty.
//! 8. Does anyone wait for these pages, or is one of them bad? Only then is there more to do.

use crate::charge::{Charged, Owner};
use crate::data::DriverData;
use crate::error::{AllocError, FreeError, RequestError};
use crate::memory_type::FreeRule;
use crate::offset::{Offset, Run};
use crate::ops::{AfterFree, Entry, Freed, PgmapOps};
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::state::{Ending, State};
use crate::trace::Event;

/// Into service.
impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Puts idle pages into service as a folio of `order`, wherever they fit best, with one reference that the caller owns and
    /// puts with [`Pgmap::put_raw`]. O(levels), the same for every order.
    ///
    /// For drivers that keep offsets in their own structures; [`Pgmap::alloc_folio`] keeps the reference in a type.
    #[inline]
    pub fn alloc_folio_raw(&self, order: Order, data: O::Data) -> Result<Offset, AllocError> {
        self.alloc_paid_by(None, order, data)
    }

    /// [`Pgmap::alloc_folio_raw`] for an owner who has paid, if there is one.
    #[inline]
    pub(crate) fn alloc_paid_by(&self, payer: Option<Owner>, order: Order, data: O::Data) -> Result<Offset, AllocError> {
        match self.alloc_at_once(payer, order, data) {
            Some(head) => Ok(head),
            None => self.alloc_anyhow(payer, order, data),
        }
    }

    /// [`Pgmap::alloc_folio_raw`] where a run is found at once and nothing stands in the way.
    #[inline]
    fn alloc_at_once(&self, payer: Option<Owner>, order: Order, data: O::Data) -> Option<Offset> {
        if self.lifetime.now().is_dying() {
            return None;
        }
        let run = self.pool.attempt(order)?;
        self.count_in(payer, run.pages());
        self.start(payer, run, data).ok()
    }

    #[inline(never)]
    fn alloc_anyhow(&self, payer: Option<Owner>, order: Order, data: O::Data) -> Result<Offset, AllocError> {
        loop {
            let run = self.take_run(payer, order).inspect_err(|_| self.ops().trace(Event::Refused { order }))?;
            match self.start(payer, run, data) {
                Ok(head) => return Ok(head),
                Err(Refusal::Dying) => return Err(AllocError::Dying),
                Err(_) => {}
            }
        }
    }

    /// Steps 2 to 4 of the walk of a run that the pool picked; after a refusal it has gone back.
    #[inline]
    pub(crate) fn start(&self, payer: Option<Owner>, run: Run, data: O::Data) -> Result<Offset, Refusal> {
        match self.enter_service(payer, run, data) {
            Ok(()) => {
                self.ops().trace(Event::Alloc { offset: run.start(), order: run.order() });
                Ok(run.start())
            }
            Err(refusal) => {
                // Giving an unfit run back takes it out of the pool, so the next run is another.
                self.release_refused(payer, run, refusal);
                Err(refusal)
            }
        }
    }

    /// Puts exactly these pages into service as one folio, if all of them are idle, with one reference that the caller owns and
    /// puts with [`Pgmap::put_raw`]. O(levels), the same for every order; to say [`RequestError::Retired`] of a run that is not idle
    /// it reads the run's folio words, once any page has been retired.
    pub fn request_folio_raw(&self, offset: Offset, order: Order, data: O::Data) -> Result<(), RequestError> {
        self.request_paid_by(None, offset, order, data)
    }

    /// [`Pgmap::request_folio_raw`] for an owner who has paid, if there is one.
    pub(crate) fn request_paid_by(
        &self,
        payer: Option<Owner>,
        offset: Offset,
        order: Order,
        data: O::Data,
    ) -> Result<(), RequestError> {
        let run = self.take_run_at(payer, offset, order)?;
        self.enter_service(payer, run, data).map_err(|refusal| {
            self.release_refused(payer, run, refusal);
            RequestError::from(refusal)
        })?;
        self.ops().trace(Event::Request { offset, order });
        Ok(())
    }

    /// Step 1 of the walk where the pool picks the run.
    #[inline]
    pub(crate) fn take_run(&self, payer: Option<Owner>, order: Order) -> Result<Run, AllocError> {
        if self.lifetime.now().is_dying() {
            return Err(AllocError::Dying);
        }
        let run = self.pool.take(order)?;
        self.count_in(payer, order.pages());
        Ok(run)
    }

    /// Step 1 of the walk where the caller picks the run: checked, and claimed from the pool.
    pub(crate) fn take_run_at(&self, payer: Option<Owner>, offset: Offset, order: Order) -> Result<Run, RequestError> {
        if self.lifetime.now().is_dying() {
            return Err(RequestError::Dying);
        }
        let run = Run::new(offset, order)?;
        self.pool.check_inside(run)?;
        self.pool.take_at(run).map_err(|error| self.why_not_taken(run, error))?;
        self.count_in(payer, run.pages());
        Ok(run)
    }

    /// Whoever waits until the run is idle waits for ever if a page of it is retired.
    #[cold]
    fn why_not_taken(&self, run: Run, error: RequestError) -> RequestError {
        let retired = error == RequestError::Busy && self.marks.any_retired() && self.folios.has_retired(run);
        if retired { RequestError::Retired } else { error }
    }

    /// Tells the books, if there are any, of pages that have been taken; those of an owner have been counted before (`ledger`, rule 4).
    #[inline(always)]
    pub(crate) fn count_in(&self, payer: Option<Owner>, pages: u64) {
        if O::KEEPS_BOOKS && payer.is_none() {
            self.ops().enter(Entry::Taken(pages));
        }
    }

    /// Tells the books, if there are any, of pages that are idle again.
    #[inline(always)]
    pub(crate) fn count_out(&self, pages: u64) {
        if O::KEEPS_BOOKS {
            self.ops().enter(Entry::Back(pages));
        }
    }

    /// Steps 2 to 4 of the walk for an owned run; after a refusal the word is as before and the run still owned.
    #[inline]
    pub(crate) fn enter_service(&self, payer: Option<Owner>, run: Run, data: O::Data) -> Result<(), Refusal> {
        let word = self.folios.word(run.start());
        if !word.begin(run.order()) {
            return Err(self.why_not_begun(run));
        }
        if !self.lifetime.now().is_calm()
            && let Err(refusal) = self.check_calm(run)
        {
            word.abandon();
            self.attend_abandoned(run);
            return Err(refusal);
        }
        self.folios.set_data(run.start(), data);
        if O::KEEPS_BOOKS {
            self.folios.charge(run.start()).set(payer.map_or(Charged::NOBODY, |owner| Charged::to(owner, run.order())));
        }
        word.publish(run.order());
        Ok(())
    }

    /// Why the word of an owned run is not idle.
    #[cold]
    fn why_not_begun(&self, run: Run) -> Refusal {
        let word = self.folios.word(run.start()).snapshot();
        if word.state() == State::Idle && word.is_bad() { Refusal::Bad } else { Refusal::Occupied }
    }

    /// Gives a run back that did not enter service; where a folio stands on it already it stays taken, as it should have been.
    pub(crate) fn release_refused(&self, payer: Option<Owner>, run: Run, refusal: Refusal) {
        if refusal != Refusal::Occupied {
            self.release_unused(payer, run);
        }
    }

    /// Gives back a run that was taken for an owner, if there is one, whose count stays.
    pub(crate) fn release_unused(&self, payer: Option<Owner>, run: Run) {
        if payer.is_some() {
            self.count_in(None, run.pages());
        }
        self.release(run);
    }

    /// Step 3 of the walk when there is something to look at.
    #[cold]
    pub(crate) fn check_calm(&self, run: Run) -> Result<(), Refusal> {
        let now = self.lifetime.now();
        if now.is_dying() {
            return Err(Refusal::Dying);
        }
        self.unfit(run).map_or(Ok(()), Err)
    }

    /// Why a run must not be used: a page is to be retired, or its range is leaving.
    pub(crate) fn unfit(&self, run: Run) -> Option<Refusal> {
        if !self.lifetime.now().is_marked() {
            None
        } else if self.leaving.within(run).is_some() {
            Some(Refusal::Leaving)
        } else {
            self.marked_in(run).next().map(|_| Refusal::Bad)
        }
    }
}

/// Why an owned run does not enter service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The pgmap has been killed.
    Dying,
    /// A page is to be retired.
    Bad,
    /// Its range is being taken away.
    Leaving,
    /// There is a folio already: its pages were given back while it was in service, through the raw forms.
    Occupied,
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> RequestError {
        match refusal {
            Refusal::Dying => RequestError::Dying,
            Refusal::Bad => RequestError::Retired,
            Refusal::Leaving => RequestError::Leaving,
            Refusal::Occupied => RequestError::Busy,
        }
    }
}

/// Where the pages of a folio go after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoesTo {
    /// To the tables, or they stay with the driver: the tables are changed or met before step 8.
    Tables,
    /// Into a per-CPU handle, which changes no table.
    Handle,
}

/// Out of service.
impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// What stands between the last reference and the idle word.
    pub(crate) const ENDING: Ending =
        if O::HEARS_FREES || O::Data::STORED || O::KEEPS_BOOKS { Ending::Heard } else { Ending::Silent };

    /// Steps 6 and 7 of the walk; the last reference was ours. Says which run is to go back to the pool; whoever gives it back
    /// does step 8.
    #[inline]
    pub(crate) fn leave_service(&self, head: Offset, order: Order, goes_to: GoesTo) -> Option<Run> {
        let run = Run::around(head.get(), order);
        match self.end_folio(run, goes_to) {
            AfterFree::Release => return Some(run),
            AfterFree::ReleaseCleared => self.release_cleared(run),
            AfterFree::Keep | AfterFree::ByType => self.attend_kept(run),
        }
        None
    }

    /// Step 6 of the walk, and half of 7: afterwards the word is idle and the run the caller's. Says what the driver wants, never `ByType`.
    #[inline]
    pub(crate) fn end_folio(&self, run: Run, goes_to: GoesTo) -> AfterFree {
        let (head, order) = (run.start(), run.order());
        self.ops().trace(Event::FolioFree { offset: head, order });
        let mut after = AfterFree::ByType;
        if O::HEARS_FREES {
            after = self.ops().folio_free(Freed { offset: head, order, data: self.folios.data(head) });
        }
        if O::KEEPS_BOOKS {
            let charge = self.folios.charge(head);
            if let Some((owner, order)) = charge.get::<Charged>().parts() {
                charge.set(Charged::NOBODY);
                self.ops().enter(Entry::Ended(owner, order));
            }
        }
        if Self::ENDING == Ending::Heard {
            self.folios.set_data(head, O::Data::from_bits(0));
            match goes_to {
                GoesTo::Tables => self.folios.word(head).finish_free(),
                GoesTo::Handle => self.folios.word(head).finish_free_chained(),
            }
        }
        match after {
            AfterFree::ByType if self.ops().memory_type().rules().free == FreeRule::Keep => AfterFree::Keep,
            AfterFree::ByType => AfterFree::Release,
            AfterFree::ReleaseCleared if !self.pool.tracks_clear() => AfterFree::Release,
            after => after,
        }
    }

    /// Steps 7 and 8 of the walk: gives an owned run, whose word is idle, back to the pool.
    #[inline]
    pub(crate) fn release(&self, run: Run) {
        // Refused only if pages were given back behind the owner's back, through the raw forms: they are idle already.
        if self.pool.give_back(run).is_ok() {
            self.count_out(run.pages());
        }
        if !self.is_calm_after() {
            self.attend(run);
        }
    }

    /// [`Pgmap::release`] of pages that are all zero.
    #[cold]
    pub(crate) fn release_cleared(&self, run: Run) {
        // As in `release`.
        if self.pool.give_back_cleared(run).is_ok() {
            self.count_out(run.pages());
        }
        if !self.is_calm_after() {
            self.attend(run);
        }
    }

    /// Whether step 8 of the walk is empty; asked by whoever has ended a folio or released a run.
    #[inline]
    pub(crate) fn is_calm_after(&self) -> bool {
        self.lifetime.afterwards().is_calm()
    }

    /// Step 8 of the walk: retires the bad pages of a run that has just become idle, takes those whose range is leaving, and wakes
    /// whoever waits for it.
    #[cold]
    pub(crate) fn attend(&self, run: Run) {
        let now = self.lifetime.afterwards();
        if now.is_marked() {
            for page in self.marked_in(run) {
                self.try_to_retire(page);
            }
            if let Some((first, end)) = self.leaving.within(run) {
                self.take_leaving(first, end);
                self.leaving.call(run);
            }
        }
        if now.is_awaited() {
            self.waiters.fire(run);
        }
    }

    /// Step 8 of the walk where the driver keeps the pages of a folio that has ended.
    #[cold]
    pub(crate) fn attend_kept(&self, run: Run) {
        // In the place of the change in the tables that other last puts make before they look (`waiters`, rule 1).
        self.pool.meet(run);
        self.attend(run);
    }

    /// Step 8 of the walk where a request has undone itself: a waiter may have found it being set up.
    #[cold]
    fn attend_abandoned(&self, run: Run) {
        // As in `attend_kept`.
        self.pool.meet(run);
        if self.lifetime.afterwards().is_awaited() {
            self.waiters.fire(run);
        }
    }

    /// Step 8 of the walk for pages that came back by another way: from a handle, which gives back to the pool alone.
    #[cold]
    pub(crate) fn attend_all(&self) {
        if !self.lifetime.afterwards().is_marked() {
            return;
        }
        for page in self.retiring() {
            self.try_to_retire(page);
        }
        for (first, end) in self.leaving.all() {
            self.take_leaving(first, end);
        }
        self.leaving.call_all();
    }

    /// Gives back a block, or an aligned part of one, that the driver knows only as offset and order.
    ///
    /// Refuses pages that are idle or belong to a folio. To be sure of that it reads the run's folio words: O(2^order); a
    /// [`Block`](crate::Block) does without. Pages at hand in a per-CPU handle look like a block: a driver that frees those by
    /// mistake is not told.
    pub fn free_block_raw(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        self.pool.check_inside(run)?;
        if let Some(found) = self.folio_in(run) {
            return Err(match found.word.state() {
                State::Retired => FreeError::Retired { page: found.head },
                State::Special => FreeError::Special { head: found.head },
                _ => FreeError::InService { head: found.head },
            });
        }
        self.pool.free(offset, order)?;
        self.count_out(run.pages());
        self.ops().trace(Event::Free { offset, order });
        if !self.is_calm_after() {
            self.attend(run);
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "alloc", not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use crate::offset::{Phys, PhysRange};
    use crate::pool::Params;
    use crate::sync::recorded::record;

    /// How often a folio's whole life touches shared memory, once what it needs is at hand.
    #[test]
    fn req_10_a_folio_costs_the_same_at_every_order() {
        let ranges = [PhysRange { start: Phys(0), pages: 1 << 19 }];
        let pgmap: Pgmap<'_, ()> = Pgmap::new(&Params::new(&ranges), ()).unwrap();
        let accesses = |order| {
            let order = Order::clamped(order);
            let life = || {
                pgmap.request_folio_raw(Offset::new(0), order, ()).unwrap();
                pgmap.get_raw(Offset::new(0)).unwrap();
                pgmap.put_raw(Offset::new(0), 2).unwrap();
            };
            life();
            record(0, life).1.len()
        };
        let all: std::vec::Vec<_> = (0..=18).map(accesses).collect();
        assert!(all.iter().all(|&count| (16..64).contains(&count)), "{all:?}");
    }
}
