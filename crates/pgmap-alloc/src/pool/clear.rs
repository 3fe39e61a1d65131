//! Allocation by what pages hold, and the background clearer. What is known of that stands in `notes`.

use core::fmt;
use core::ops::ControlFlow;

use super::GenPool;
use super::fit::Side;
use super::hunt::{Caught, Quarry};
use super::notes::{Contents, Forgotten};
use super::prove::{Try, Unproved};
use super::walk::Trail;
use crate::error::{AllocError, ForgetError, FreeError};
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;

/// How many tables a caller who only prefers what they hold looks at.
const LOOKS: u32 = 64;

/// What an allocation wants its pages to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Anything. Dirty pages if such are found soon, so that cleared ones are left for those who want them.
    DontCare,
    /// Cleared if such pages are found soon, anything otherwise.
    PreferCleared,
    /// Cleared, or the allocation is refused.
    Cleared,
}

/// Allocation and free.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a run of `order`, and says what it holds. [`GenPool::free_cleared`] says what a run holds that comes back.
    ///
    /// Lock-free. Costs about what [`GenPool::alloc`] costs, while such runs are found where the caller found the last one, or in a
    /// table near it; else O(tables with idle runs as large), but for a wish that is no condition no more than 64 looks at tables. That
    /// there are none is remembered, until one comes back.
    pub fn alloc_wishing(&self, order: Order, wish: Wish) -> Result<(Offset, Contents), AllocError> {
        self.take_wishing(order, wish).map(|(run, contents)| (run.start(), contents))
    }

    pub(crate) fn take_wishing(&self, order: Order, wish: Wish) -> Result<(Run, Contents), AllocError> {
        let preferred = match wish {
            // Where nothing is cleared all is dirty.
            Wish::DontCare if self.clear.is_barren(Contents::Cleared, Order::ZERO) => None,
            Wish::DontCare => self.prefer(order, Contents::Dirty),
            Wish::PreferCleared => self.prefer(order, Contents::Cleared),
            Wish::Cleared => return self.take_cleared(order).map(|run| (run, Contents::Cleared)),
        };
        if let Some(Caught { run, contents }) = preferred {
            return Ok((run, contents));
        }
        let run = self.take(order)?;
        Ok((run, self.contents(run)))
    }

    fn take_cleared(&self, order: Order) -> Result<Run, AllocError> {
        if order > self.largest_order() {
            return Err(AllocError::TooLarge);
        }
        if self.tracks_clear() {
            let quarry = Quarry::new(order, Contents::Cleared, true);
            if let Try::Got(caught) = self.hunt(quarry, u32::MAX) {
                return Ok(caught.run);
            }
        }
        let found = self.until_proved(self.shape.top, || self.take_holding(order, Contents::Cleared));
        found.map_err(|unproved| match unproved {
            Unproved::Nothing => AllocError::NoneCleared,
            Unproved::Contended => AllocError::Contended,
        })
    }

    /// What pages that the caller has taken held when it got them, all of a run or any part: dirty if not all of them are known to have
    /// been cleared. Says nothing of pages that are idle or somebody else's.
    ///
    /// O(levels) for each aligned run that they consist of, and one table's notes for each table below with cleared and dirty pages.
    pub fn contents_of(&self, extent: Extent) -> Contents {
        let cleared = extent.runs(self.largest_entry()).all(|run| self.is_all(run, Contents::Cleared));
        if cleared { Contents::Cleared } else { Contents::Dirty }
    }

    /// [`GenPool::free`] of a run that is all zero.
    pub fn free_cleared(&self, offset: Offset, order: Order) -> Result<(), FreeError> {
        let run = Run::new(offset, order)?;
        self.check_inside(run)?;
        self.check_taken(run)?;
        if let Some(page) = self.idle_page_in(run) {
            return Err(FreeError::DoubleFree { page });
        }
        self.give_back_cleared(run)
    }

    /// Makes an owned run idle that is all zero.
    pub(crate) fn give_back_cleared(&self, run: Run) -> Result<(), FreeError> {
        self.mark(run, Contents::Cleared);
        self.put_back(run)
    }

    #[inline]
    fn prefer(&self, order: Order, contents: Contents) -> Option<Caught> {
        if !self.clear.is_tracked() || self.clear.is_barren(contents, order) {
            return None;
        }
        match self.hunt(Quarry::new(order, contents, false), LOOKS) {
            Try::Got(caught) => Some(caught),
            Try::Lost => None,
            Try::Nothing => {
                self.clear.set_barren(contents, order);
                None
            }
        }
    }

    /// The first run that holds this, wherever it is: what a refusal is proved by.
    fn take_holding(&self, order: Order, contents: Contents) -> Try<Run> {
        let mut found = None;
        let _ = self.stretches(Extent::ALL, order, contents, &mut |stretch| {
            found = first_run(stretch, order).filter(|run| self.check_inside(*run).is_ok());
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let Some(run) = found else { return Try::Nothing };
        // What it holds can be told only now, and it may go back.
        let _moving = self.motion.begin();
        if !self.claim_run(run) {
            return Try::Lost;
        }
        if self.is_all(run, contents) {
            return Try::Got(run);
        }
        // Somebody had it meanwhile and left it otherwise.
        let _ = self.put_back(run);
        Try::Lost
    }

    /// How many idle pages of a window are cleared. O(tables in it with idle pages); exact at a quiet moment.
    pub fn avail_cleared(&self, window: Extent) -> u64 {
        let mut pages = 0;
        let _ = self.stretches(window, Order::ZERO, Contents::Cleared, &mut |stretch| {
            pages += stretch.pages();
            ControlFlow::Continue(())
        });
        pages
    }

    /// Nothing is known any more about the idle pages of a window: after a reset, or when power was lost.
    ///
    /// Pages that are taken are their owners' to judge; those that a reservation, a handle or a call that is under way has taken and
    /// gives back unused are dirty then too, in the whole pool. Idle pages are hidden for a moment, one run after another.
    /// O(cleared idle pages), a few times while others allocate and free; meant for a moment when few do.
    pub fn forget_clear(&self, window: Extent) -> Result<(), ForgetError> {
        if !self.clear.is_tracked() {
            return Ok(());
        }
        let look = || if self.forget_what_is_idle(window) { Try::<()>::Lost } else { Try::Nothing };
        match self.clear.forgetting(|| self.until_proved(0, look)) {
            Err(Unproved::Contended) => Err(ForgetError::Contended),
            Err(Unproved::Nothing) | Ok(()) => Ok(()),
        }
    }

    /// Makes what is seen to be cleared dirty; whether there was any.
    fn forget_what_is_idle(&self, window: Extent) -> bool {
        let (mut left, mut any) = (Some(window), false);
        while let Some(stretch) = left.and_then(|part| self.first_stretch(part, Contents::Cleared)) {
            stretch.runs(self.largest_entry()).for_each(|run| self.forget_run(run));
            left = Extent::between(stretch.end(), window.end()).ok();
            any = true;
        }
        any
    }

    /// A run that was idle a moment ago: as a whole, or what is left of it, or what has not been merged yet, in halves.
    fn forget_run(&self, run: Run) {
        let moving = self.motion.begin();
        if self.claim_run(run) {
            // Claimed by us a moment ago.
            let _ = self.give_back(run);
            return;
        }
        drop(moving);
        if let Some(half) = run.order().get().checked_sub(1) {
            let half = Order::clamped(half);
            self.forget_run(Run::around(run.start().get(), half));
            self.forget_run(Run::around(run.start().get() + half.pages(), half));
        }
    }

    /// Takes idle dirty runs of `at_most` or less, one after another in rising order of offset: for a background clearer, which
    /// says of each that it is cleared now.
    pub fn dirty_runs(&self, window: Extent, at_most: Order) -> DirtyRuns<'_, WORDS> {
        DirtyRuns { pool: self, left: Some(window), at_most }
    }
}

/// The first run of `order` in a stretch.
fn first_run(stretch: Extent, order: Order) -> Option<Run> {
    let start = stretch.start().get().checked_add(order.pages() - 1)? & !(order.pages() - 1);
    let run = Run::new(Offset::new(start), order).ok()?;
    (run.end() <= stretch.end()).then_some(run)
}

/// Search.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    fn first_stretch(&self, window: Extent, contents: Contents) -> Option<Extent> {
        let mut found = None;
        let _ = self.stretches(window, Order::ZERO, contents, &mut |stretch| {
            found = Some(stretch);
            ControlFlow::Break(())
        });
        found
    }

    /// Shows `see` the stretches of idle pages that hold this, from the bottom, as long as they are; looks only into tables with
    /// idle runs of `order`.
    pub(super) fn stretches(
        &self,
        window: Extent,
        order: Order,
        contents: Contents,
        see: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut pending: Option<Extent> = None;
        self.walk(&Trail { window, order, from: Side::Bottom }, &mut |level, idle| {
            // All of it lies in one word of a table.
            let (table, _) = self.shape.entry(idle.start(), level);
            let cleared = self.stands_for_cleared(level, table);
            self.refine((level, cleared), idle, contents, &mut |piece| {
                let joined = pending.filter(|before| before.end() == piece.start());
                if let Some(before) = joined {
                    pending = Extent::between(before.start(), piece.end()).ok();
                    return ControlFlow::Continue(());
                }
                match pending.replace(piece) {
                    Some(before) => see(before),
                    None => ControlFlow::Continue(()),
                }
            })
        })?;
        pending.map_or(ControlFlow::Continue(()), see)
    }

    /// Shows `see` what of some idle entries of a level holds this; given is whether the entry above their table stands for cleared pages.
    fn refine(
        &self,
        (level, above): (u32, bool),
        idle: Extent,
        contents: Contents,
        see: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let scale = level * Self::RADIX;
        let end = (idle.end().get() - 1) >> scale;
        let mut at = idle.start().get() >> scale;
        while at <= end {
            let (table, entry) = self.shape.entry(Offset::new(at << scale), level);
            let (flips, mixed) = match self.notes(level, table) {
                Some((flips, mixed)) => (flips.note_word(entry), mixed.map_or(0, |mixed| mixed.note_word(entry))),
                None => (0, 0),
            };
            let bit = entry % 64;
            let (clear, mixed) = ((if above { !flips } else { flips }) >> bit, mixed >> bit);
            let cleared = clear & 1 != 0;
            let (count, same) = if mixed & 1 != 0 {
                (1, None)
            } else if cleared {
                ((clear & !mixed).trailing_ones(), Some(Contents::Cleared))
            } else {
                ((clear | mixed).trailing_zeros(), Some(Contents::Dirty))
            };
            let next = at + u64::from(count.min(64 - bit)).max(1);
            let piece = Extent::between(Offset::new(at << scale), Offset::new(next << scale)).ok().and_then(|it| it.common(idle));
            match (piece, same) {
                (Some(piece), Some(same)) if same == contents => see(piece)?,
                (Some(piece), None) => self.refine((level.saturating_sub(1), cleared), piece, contents, see)?,
                _ => {}
            }
            at = next;
        }
        ControlFlow::Continue(())
    }
}

/// Idle dirty runs, each taken when the iterator comes by.
pub struct DirtyRuns<'p, const WORDS: usize = 8> {
    pool: &'p GenPool<'p, WORDS>,
    left: Option<Extent>,
    at_most: Order,
}

impl<'p, const WORDS: usize> Iterator for DirtyRuns<'p, WORDS> {
    type Item = DirtyRun<'p, WORDS>;

    fn next(&mut self) -> Option<DirtyRun<'p, WORDS>> {
        // Runs of several tables can be claimed only when these are merged.
        self.pool.merge_spares(self.pool.shape.top);
        loop {
            let window = self.left?;
            let stretch = self.pool.first_stretch(window, Contents::Dirty)?;
            let run = stretch.runs(self.at_most.min(self.pool.largest_entry())).next()?;
            self.left = Extent::between(run.end(), window.end()).ok();
            let since = self.pool.forgotten();
            if self.pool.claim_run(run) {
                return Some(DirtyRun { pool: self.pool, run, since });
            }
        }
    }
}

/// A dirty run that was idle and is now the clearer's. Drop gives it back as it was.
pub struct DirtyRun<'p, const WORDS: usize = 8> {
    pool: &'p GenPool<'p, WORDS>,
    run: Run,
    /// When it was taken: it may have been cleared by others in the moment before.
    since: Forgotten,
}

impl<const WORDS: usize> DirtyRun<'_, WORDS> {
    /// Which pages.
    pub fn run(&self) -> Run {
        self.run
    }

    /// Gives it back: it is all zero now.
    pub fn cleared(self) {
        let (pool, run) = (self.pool, self.into_run());
        // Ours since the iterator claimed it.
        let _ = pool.give_back_cleared(run);
    }

    /// Gives up the type and keeps the pages.
    pub(crate) fn into_run(self) -> Run {
        let run = self.run;
        core::mem::forget(self);
        run
    }
}

impl<const WORDS: usize> Drop for DirtyRun<'_, WORDS> {
    fn drop(&mut self) {
        // As in `cleared`.
        let _ = self.pool.unused(self.since).put_back(self.run);
    }
}

impl<const WORDS: usize> fmt::Debug for DirtyRun<'_, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirtyRun").field(&self.run).finish()
    }
}
