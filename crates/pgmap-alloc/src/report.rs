//! What stands where: the snapshot, and the proof that it is consistent.

use crate::error::Inconsistency;
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::pool::Fault;
use crate::standing::Reason;
use crate::state::State;

/// Pages of one range that stand side by side in the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SnapshotRun {
    /// The first page.
    pub start: Offset,
    /// How many pages.
    pub pages: u64,
    /// What they are.
    pub state: RunState,
}

/// What pages can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum RunState {
    /// Allocatable.
    Idle,
    /// One folio; no references while it is being set up or freed.
    Folio {
        /// Its order.
        order: Order,
        /// Its references.
        refs: u32,
    },
    /// Taken by the driver, without a folio.
    Block,
    /// One special range.
    Special {
        /// Its order.
        order: Order,
        /// Why.
        reason: Reason,
    },
    /// Bad: not handed out unless it is pardoned ([`Pgmap::pardon`]).
    Retired,
}

/// All pages of a pgmap, in rising order of offset: each idle run, folio and block. Allocates nothing.
///
/// A walk over a pgmap in use sees each page at the moment it comes by.
pub struct Snapshot<'p, O: PgmapOps, const WORDS: usize = 8> {
    pgmap: &'p Pgmap<'p, O, WORDS>,
    at: Offset,
}

impl<O: PgmapOps, const WORDS: usize> Snapshot<'_, O, WORDS> {
    /// What stands at the cursor, without joining neighbours, and where its range ends; skips holes.
    fn piece(&mut self) -> Option<(SnapshotRun, Offset)> {
        let range = self.pgmap.pool.range_from(self.at)?;
        self.at = self.at.max(range.first);
        let (start, left) = (self.at, range.end().get() - self.at.get());
        let word = self.pgmap.folios.word(start).snapshot();
        let (order, refs) = (word.order(), word.refs());
        let (pages, state) = if word.state() == State::Retired {
            (1, RunState::Retired)
        } else if word.state() == State::Special {
            (order.pages(), RunState::Special { order, reason: Reason::from_bits(word.reason()) })
        } else if word.state() != State::Idle {
            (order.pages(), RunState::Folio { order, refs })
        } else if let Some(idle) = self.pgmap.pool.idle_run(start) {
            (idle.end().get() - start.get(), RunState::Idle)
        } else {
            (1, RunState::Block)
        };
        Some((SnapshotRun { start, pages: pages.min(left), state }, range.end()))
    }

    fn pass(&mut self, run: &SnapshotRun) {
        self.at = Offset::new(run.start.get() + run.pages);
    }
}

impl<O: PgmapOps, const WORDS: usize> Iterator for Snapshot<'_, O, WORDS> {
    type Item = SnapshotRun;

    fn next(&mut self) -> Option<SnapshotRun> {
        let (mut run, end) = self.piece()?;
        self.pass(&run);
        // Never into the next range: neighbours in offset space need not be neighbours in memory, and each range goes by itself.
        while !matches!(run.state, RunState::Folio { .. } | RunState::Special { .. })
            && self.at < end
            && let Some((more, _)) = self.piece()
            && more.state == run.state
            && more.start.get() == run.start.get() + run.pages
        {
            run.pages += more.pages;
            self.pass(&more);
        }
        Some(run)
    }
}

/// How many pages are what. Idle, in service, block, special and retired add up to all pages: they partition the offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Census {
    /// All pages.
    pub pages: u64,
    /// Allocatable pages.
    pub idle: u64,
    /// Pages of folios in service.
    pub in_service: u64,
    /// Pages that the driver has taken without a folio.
    pub block: u64,
    /// Pages of special ranges.
    pub special: u64,
    /// Retired pages.
    pub retired: u64,
    /// Folios in service.
    pub folios: u64,
}

impl<O: PgmapOps, const WORDS: usize> Pgmap<'_, O, WORDS> {
    /// Every idle run, folio and block.
    pub fn snapshot(&self) -> Snapshot<'_, O, WORDS> {
        self.snapshot_from(Offset::new(0))
    }

    /// [`Pgmap::snapshot`], with what the driver keeps with each folio.
    pub fn snapshot_with_data(&self) -> impl Iterator<Item = (SnapshotRun, Option<O::Data>)> {
        self.snapshot().map(|run| {
            let is_folio = matches!(run.state, RunState::Folio { .. });
            (run, is_folio.then(|| self.folios.data(run.start)))
        })
    }

    /// How many pages of a window are idle, as [`GenPool::avail_in`](crate::GenPool::avail_in) counts them. O(tables in it with
    /// idle pages); exact at a quiet moment.
    pub fn avail_in(&self, window: Extent) -> u64 {
        self.pool.avail_in(window)
    }

    /// The gaps of a window: idle pages side by side, in rising order of offset, each as it is when the iterator comes by.
    /// Allocates nothing. O(tables in it with idle pages) for each.
    pub fn gaps_in(&self, window: Extent) -> impl Iterator<Item = Extent> {
        self.pool.gaps_in(window)
    }

    pub(crate) fn snapshot_from(&self, at: Offset) -> Snapshot<'_, O, WORDS> {
        Snapshot { pgmap: self, at }
    }

    /// Proves that idle pages, folios and blocks partition the offsets, and that every idle run can be found.
    ///
    /// Meant for a quiet moment: while others use the pgmap it may report what is only in between. O(pages that are not idle).
    ///
    /// Of the words of an idle run, and of the other pages of a folio, all of which must be 0, it reads the first 4096: the rest
    /// may lie in memory that has never been touched. [`Pgmap::validate_every_word`] reads them all.
    pub fn validate(&self) -> Result<Census, Inconsistency> {
        self.validate_words(4096)
    }

    /// [`Pgmap::validate`], with every word of every page. O(pages).
    pub fn validate_every_word(&self) -> Result<Census, Inconsistency> {
        self.validate_words(u64::MAX)
    }

    fn validate_words(&self, most: u64) -> Result<Census, Inconsistency> {
        self.pool.audit().map_err(|fault| match fault {
            Fault::IdleTwice(page) => Inconsistency::IdleTwice { page },
            Fault::IdleOutside(page) => Inconsistency::IdleOutside { page },
            Fault::Unlisted(page) => Inconsistency::Unlisted { page },
        })?;
        let mut census = Census { pages: self.pages(), ..Census::default() };
        for run in self.snapshot() {
            match run.state {
                RunState::Idle => {
                    self.check_no_folio(run.start.get(), run.pages.min(most))?;
                    census.idle += run.pages;
                }
                RunState::Block => census.block += run.pages,
                RunState::Retired => {
                    self.check_not_idle(run.start, Order::ZERO, most)?;
                    census.retired += run.pages;
                }
                RunState::Special { order, .. } => {
                    self.check_not_idle(run.start, order, most)?;
                    census.special += run.pages;
                }
                RunState::Folio { order, refs } => {
                    self.check_folio(run.start, order, refs, most)?;
                    census.in_service += run.pages;
                    census.folios += 1;
                }
            }
        }
        Ok(census)
    }

    fn check_folio(&self, head: Offset, order: Order, refs: u32, most: u64) -> Result<(), Inconsistency> {
        if refs == 0 {
            return Err(Inconsistency::Unsettled { page: head });
        }
        self.check_not_idle(head, order, most)
    }

    /// What starts at `head` is where it can be, and the tables and the words of its other pages agree.
    fn check_not_idle(&self, head: Offset, order: Order, most: u64) -> Result<(), Inconsistency> {
        let misplaced = Inconsistency::Misplaced { page: head };
        let run = Run::new(head, order).map_err(|_| misplaced)?;
        self.pool.check_inside(run).map_err(|_| misplaced)?;
        if let Some(page) = self.pool.idle_page_in(run) {
            return Err(Inconsistency::IdleInService { page });
        }
        self.check_no_folio(head.get() + 1, (run.pages() - 1).min(most))
    }

    /// The words of idle pages and of tails are 0.
    fn check_no_folio(&self, start: u64, pages: u64) -> Result<(), Inconsistency> {
        let nested = |page: &Offset| self.folios.word(*page).snapshot().state() != State::Idle;
        match (start..start + pages).map(Offset::new).find(nested) {
            Some(page) => Err(Inconsistency::Nested { page }),
            None => Ok(()),
        }
    }
}
