//! Bad memory: pages that are never handed out again.
//!
//! A page is retired at once if it is idle. Otherwise it is marked (`marks`) and retired when it next becomes idle, whoever has it
//! until then: a folio, a block, or a request that has claimed it and has no folio yet.

use crate::error::RetireError;
use crate::marks::Marked;
use crate::offset::{Offset, Run};
use crate::ops::{Failure, PgmapOps};
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::report::RunState;
use crate::standing::Lookup;
use crate::state::{Condemned, State};
use crate::sync::full_fence;
use crate::trace::Event;

/// How far a page has come on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It is retired.
    Done,
    /// Somebody has it: it is retired when it comes back.
    Pending,
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Takes a bad page out of use for ever: at once if it is idle, else as soon as it comes back. Any number of pages may be pending.
    ///
    /// Tells the driver ([`PgmapOps::memory_failure`]). Survives kill and drain, but not the removal of its range
    /// ([`Pgmap::close_range`]). Asking again for a page that is pending answers `Pending` again, without telling again.
    ///
    /// Lock-free. While pages are pending, every request and last put asks whether one of them may be in its run, O(1) up to 2 MiB and
    /// O(2 MiB pieces) beyond, and reads the folio words of 2 MiB around one if so. Refused as [`RetireError::Unsettled`] when a folio
    /// that starts with this page is just being set up or freed, and so are those of 128 other pages found bad in such a moment.
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

    /// Retires pages that were retired in an earlier life; the driver is told of each. Stops at the first that is refused, and
    /// says which; one that is retired already is no reason to stop.
    pub fn restore_retired(&self, pages: impl IntoIterator<Item = Offset>) -> Result<(), (Offset, RetireError)> {
        pages.into_iter().try_for_each(|page| match self.retire(page) {
            Ok(_) | Err(RetireError::AlreadyRetired) => Ok(()),
            Err(error) => Err((page, error)),
        })
    }

    /// Retires a marked page if it is idle; `false` if somebody has it.
    pub(crate) fn try_to_retire(&self, page: Offset) -> bool {
        if self.pool.take_at(Run::around(page.get(), Order::ZERO)).is_err() {
            return false;
        }
        self.count_in(None, 1);
        self.marks.note_retired();
        let retired = self.folios.word(page).retire();
        debug_assert!(retired.is_some(), "an owned page has a folio");
        if retired == Some(true) {
            self.uncount(page);
        }
        self.take_notes(page);
        retired.is_some()
    }

    /// The marked pages of a run.
    pub(crate) fn marked_in(&self, run: Run) -> impl Iterator<Item = Offset> {
        self.marks.within(&self.folios, run)
    }

    /// Takes every mark of a page away whose range is gone.
    pub(crate) fn unmark(&self, page: Offset) {
        if self.folios.word(page).pardon() {
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
        for page in self.marks.notes() {
            self.count(page);
            match self.folios.word(page).condemn() {
                Condemned::Now => self.take_notes(page),
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

    fn take_notes(&self, page: Offset) {
        while self.marks.take_note(page) {
            self.uncount(page);
        }
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
        let head = self.try_get_raw(offset)?;
        let data = self.folios.data(head);
        // Ours, so it is there to be put.
        let _ = self.put_refs(head, 1);
        Some(data)
    }
}
