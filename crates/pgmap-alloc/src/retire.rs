//! Bad memory: pages that are not handed out again, unless they are pardoned.
//!
//! A page is retired at once if it is idle. Otherwise it is marked (`marks`) and retired when it next becomes idle, whoever has it
//! until then: a folio, a block, or a request that has claimed it and has no folio yet. A page that has been repaired, as by a
//! write that cleared the error, is pardoned.

use crate::error::{PardonError, RetireError};
use crate::marks::Marked;
use crate::offset::{Offset, Run};
use crate::ops::{Failure, PgmapOps};
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::report::RunState;
use crate::standing::Lookup;
use crate::state::{Condemned, Pardoned, State};
use crate::sync::full_fence;
use crate::trace::Event;

/// How far a page has come on its way out, or had come when it was pardoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It is retired.
    Done,
    /// Somebody has it: it is retired when it comes back.
    Pending,
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Takes a bad page out of use, until it is [pardoned](Pgmap::pardon): at once if it is idle, else as soon as it comes back. Any
    /// number of pages may be pending.
    ///
    /// Tells the driver ([`PgmapOps::memory_failure`]). Survives kill and drain, but not the removal of its range
    /// ([`Pgmap::close_range`]). Asking again for a page that is pending answers `Pending` again, without telling again.
    ///
    /// Lock-free. While pages are pending, every request and last put asks whether one of them may be in its run, O(1) up to 2 MiB and
    /// O(2 MiB pieces) beyond, and reads the folio words of 2 MiB around one if so. Refused as [`RetireError::OutOfRange`], as
    /// [`RetireError::AlreadyRetired`], or as [`RetireError::Unsettled`]: while a folio that starts with this page is being set up or
    /// freed and 128 other pages were found bad in such moments.
    pub fn retire(&self, offset: Offset) -> Result<Retirement, RetireError> {
        let owner = self.lookup(offset).map_err(|_| RetireError::OutOfRange)?;
        if owner == Lookup::Retired {
            return Err(RetireError::AlreadyRetired);
        }
        if self.is_retiring(offset) {
            return Ok(Retirement::Pending);
        }
        match self.mark(offset) {
            Marked::Now => {}
            Marked::Already => return Ok(Retirement::Pending),
            Marked::Retired => return Err(RetireError::AlreadyRetired),
            Marked::Unsettled => return Err(RetireError::Unsettled),
        }
        // Mark, then look whether the page is still there; whoever takes its range away does that, then takes the marks away.
        full_fence();
        if !self.pool.has_offset(offset) {
            self.unmark(offset);
            return Err(RetireError::OutOfRange);
        }
        let data = self.data_of(offset);
        self.folios.touch_above(offset, self.largest_order());
        self.pool.meet(Run::around(offset.get(), Order::ZERO));
        let retirement =
            if self.try_to_retire(offset) || self.was_retired(offset) { Retirement::Done } else { Retirement::Pending };
        self.ops().trace(Event::Retire { offset });
        self.ops().memory_failure(Failure { offset, owner, data });
        Ok(retirement)
    }

    /// Undoes [`Pgmap::retire`] for a page that has been repaired: it is as good as any other again. [`Retirement::Done`] says that it was
    /// retired and is idle now, [`Retirement::Pending`] that it was still in use, and stays with its owner.
    ///
    /// It comes wholly before or wholly after a concurrent last put or retirement of the page. Lock-free, O(levels), never waits. One
    /// caller at a time, and not while ranges change: [`PardonError::Changing`]. A retired page of a range that is being removed goes
    /// with it: [`PardonError::Leaving`]. [`PardonError::Unsettled`] while the folio that starts with this page is being freed, so inside
    /// that folio's `folio_free` too. [`PardonError::NotBad`] for any other page.
    pub fn pardon(&self, offset: Offset) -> Result<Retirement, PardonError> {
        // Rule 4 of `marks`.
        let change = self.pool.change_ranges().ok_or(PardonError::Changing)?;
        if !self.pool.has_offset(offset) {
            return Err(PardonError::OutOfRange);
        }
        let was_noted = self.take_notes(offset);
        let was = match self.folios.word(offset).pardon() {
            Pardoned::Now => {
                self.uncount(offset);
                Retirement::Pending
            }
            Pardoned::Retired => {
                let page = Run::around(offset.get(), Order::ZERO);
                if self.leaving.within(page).is_some() {
                    return Err(PardonError::Leaving);
                }
                if !self.folios.word(offset).unretire() {
                    return Err(PardonError::NotBad);
                }
                // Ours since then.
                if self.pool.give_back(page).is_ok() {
                    self.count_out(1);
                }
                drop(change);
                // A caller that has marked it again meanwhile found it taken.
                if !self.is_calm_after() {
                    self.attend(page);
                }
                Retirement::Done
            }
            Pardoned::NotBad | Pardoned::Unsettled if was_noted => Retirement::Pending,
            Pardoned::NotBad => return Err(PardonError::NotBad),
            Pardoned::Unsettled => return Err(PardonError::Unsettled),
        };
        self.ops().trace(Event::Pardon { offset });
        Ok(was)
    }

    /// For tests: the walk that a machine-check handler makes, from the physical address of the page at `offset` to
    /// [`Pgmap::retire`].
    pub fn inject_memory_failure(&self, offset: Offset) -> Result<Retirement, RetireError> {
        let page = self.phys(offset).and_then(|phys| self.offset_of(phys));
        self.retire(page.ok_or(RetireError::OutOfRange)?)
    }

    /// Whether a page is pending. Retires it if it can be had by now.
    pub fn is_retiring(&self, offset: Offset) -> bool {
        self.marks.has(&self.folios, offset) && !self.try_to_retire(offset)
    }

    /// The pages that are pending. O(2 MiB pieces of the pgmap), and their pages where there may be any.
    pub fn retiring(&self) -> impl Iterator<Item = Offset> {
        let ranges = self.ranges().filter(|_| self.lifetime.now().is_marked());
        ranges.flat_map(|range| self.marks.between(&self.folios, range.first, range.end()))
    }

    /// The retired pages, in rising order: to be saved, with [`Pgmap::retiring`], and given to [`Pgmap::restore_retired`] at the
    /// next start. O(pages that are not idle).
    pub fn retired(&self) -> impl Iterator<Item = Offset> {
        let retired = self.snapshot().filter(|run| run.state == RunState::Retired);
        retired.flat_map(|run| (run.start.get()..run.start.get() + run.pages).map(Offset::new))
    }

    /// Retires the pages of a saved list; the driver is told of each. Returns how many records name a page that is retired or pending now.
    ///
    /// A record that is refused stops nothing: `refused` is called with it and the reason, and the others are retired. A page that is
    /// named twice is retired once, counted twice and no mistake. One [`Pgmap::retire`] for each record.
    ///
    /// Offsets name the same memory only in a pgmap with the same ranges. Where those may differ, save addresses ([`Pgmap::phys`])
    /// and turn them back ([`Pgmap::offset_of`]).
    pub fn restore_retired(&self, pages: impl IntoIterator<Item = Offset>, mut refused: impl FnMut(Offset, RetireError)) -> u64 {
        let retire = |page| match self.retire(page) {
            Ok(_) | Err(RetireError::AlreadyRetired) => true,
            Err(error) => {
                refused(page, error);
                false
            }
        };
        pages.into_iter().map(retire).map(u64::from).sum()
    }

    /// Retires a marked page if it is idle; `false` if it is taken, or it has been pardoned.
    pub(crate) fn try_to_retire(&self, page: Offset) -> bool {
        let run = Run::around(page.get(), Order::ZERO);
        while self.pool.take_at(run).is_ok() {
            match self.retire_owned(page) {
                Owned::Retired => return true,
                Owned::Occupied => return false,
                Owned::Pardoned => {}
            }
            // Rule 3 of `marks`: taken by us a moment ago, and as good as any other.
            let _ = self.pool.give_back(run);
            full_fence();
            if !self.marks.has(&self.folios, page) {
                self.attend_leaving(run);
                return false;
            }
        }
        false
    }

    /// Retires an owned page if it is still marked (`marks`, rule 2).
    fn retire_owned(&self, page: Offset) -> Owned {
        let word = self.folios.word(page);
        match word.retire_bad() {
            Ok(()) => self.uncount(page),
            Err(State::Idle) if self.marks.take_note(page) => {
                self.uncount(page);
                if word.retire() == Some(true) {
                    self.uncount(page);
                }
            }
            Err(State::Idle) => return Owned::Pardoned,
            Err(_) => {
                debug_assert!(false, "an owned page has a folio");
                return Owned::Occupied;
            }
        }
        self.count_in(None, 1);
        self.take_notes(page);
        Owned::Retired
    }

    /// The marked pages of a run.
    pub(crate) fn marked_in(&self, run: Run) -> impl Iterator<Item = Offset> {
        self.marks.within(&self.folios, run)
    }

    /// Takes every mark of a page away whose range is gone.
    pub(crate) fn unmark(&self, page: Offset) {
        if self.folios.word(page).pardon() == Pardoned::Now {
            self.uncount(page);
        }
        self.take_notes(page);
    }

    /// Counts and marks a page (`marks`, rule 1).
    fn mark(&self, page: Offset) -> Marked {
        self.count(page);
        let mut marked = self.marks.set(&self.folios, page);
        if marked == Marked::Unsettled {
            self.settle_notes();
            marked = self.marks.set(&self.folios, page);
        }
        if marked != Marked::Now {
            self.uncount(page);
        }
        marked
    }

    /// Moves notes to the words of their pages, where those have settled.
    #[cold]
    fn settle_notes(&self) {
        // Rule 4 of `marks`. If another caller has the right, the page is to be tried again.
        let Some(_change) = self.pool.change_ranges() else { return };
        for page in self.marks.notes() {
            self.count(page);
            match self.folios.word(page).condemn() {
                Condemned::Now => _ = self.take_notes(page),
                Condemned::Unsettled => self.uncount(page),
                Condemned::Already | Condemned::Retired => {
                    self.uncount(page);
                    self.take_notes(page);
                }
            }
            if !self.pool.has_offset(page) {
                self.unmark(page);
            }
        }
    }

    fn count(&self, page: Offset) {
        self.marks.count(page);
        self.lifetime.add_mark();
    }

    pub(crate) fn uncount(&self, page: Offset) {
        self.lifetime.remove_mark();
        self.marks.uncount(page);
    }

    /// Takes all notes of a page away; whether there was one.
    fn take_notes(&self, page: Offset) -> bool {
        let mut any = false;
        while self.marks.take_note(page) {
            self.uncount(page);
            any = true;
        }
        any
    }

    /// Whether somebody else has retired a page that we noted meanwhile; then our note goes.
    fn was_retired(&self, page: Offset) -> bool {
        let retired = self.folios.word(page).snapshot().state() == State::Retired;
        if retired {
            self.take_notes(page);
        }
        retired
    }

    /// What the driver keeps with the folio in service at `offset`.
    fn data_of(&self, offset: Offset) -> Option<O::Data> {
        let head = self.hold(offset)?;
        let data = self.folios.data(head);
        self.drop_reference(head);
        Some(data)
    }
}

/// What became of an owned page that was marked.
enum Owned {
    Retired,
    /// It has been pardoned meanwhile: it is to go back.
    Pardoned,
    /// There is a folio: its pages were given back while it was in service, through the raw forms.
    Occupied,
}
