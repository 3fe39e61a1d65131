//! Taking a run wherever it fits best: search proposes, claim decides.

use super::GenPool;
use super::prove::{Try, Unproved};
use super::shape::{LEVELS, Place};
use super::tables::{CALLERS, Tables};
use crate::error::AllocError;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, caller_slot};
use crate::table::{Fit, Miss};

/// Where each caller cut a run of each order last: looked at before the lists.
///
/// Only hints: the run may have been taken by others, or its table have been merged; then the claim fails, the rest of the table
/// is looked at, and then the lists. A hint remembers up to where the larger run reaches that it is cutting up, and at which
/// order the table was listed: no larger run is cut than that, so that a caller who stays with a table does not break what the
/// lists would have kept whole. A table that is cut through a hint may be listed too high; whoever leaves the hint puts that right.
pub(super) struct Hints {
    lines: [Line; CALLERS],
}

/// Orders of runs within one word.
const IN_WORD: u32 = 7;

/// One caller slot: a hint for each level and order. 128 bytes because lines are fetched in pairs.
#[repr(align(128))]
struct Line([AtomicU64; LEVELS * IN_WORD as usize]);

/// The next run to try, in one word: 0 for none.
#[derive(Clone, Copy)]
struct Hint(u64);

impl Hint {
    /// Whether a run was cut through this hint.
    const USED: u64 = 1 << 22;
    /// Whether the table had more than that run.
    const MORE: u64 = 1 << 23;

    /// For a run in a table that is being cut up from an entry on.
    fn new(table: usize, Fit { entry, from, .. }: Fit, at_most: u32, more: bool) -> Hint {
        let more = if more { Hint::MORE } else { 0 };
        Hint((table as u64 + 1) << 24 | more | u64::from(entry) << 8 | u64::from(from) << 4 | u64::from(at_most))
    }

    #[inline(always)]
    fn table(self) -> Option<usize> {
        ((self.0 >> 24) as usize).checked_sub(1)
    }

    #[inline(always)]
    fn entry(self) -> u32 {
        (self.0 >> 8) as u32 & 0x3FFF
    }

    /// The order of the largest run in the table that may be cut.
    fn at_most(self) -> u32 {
        self.0 as u32 & 0xF
    }

    /// The hint after a claim of a run of `order` at its entry.
    #[inline(always)]
    fn after(self, order: u32) -> Hint {
        let next = self.entry() + (1 << order);
        // At the end of the larger run it stays where it is: that may come back.
        let done = next & ((1 << (self.0 >> 4 & 0xF)) - 1) == 0;
        Hint(if done { self.0 } else { self.0 + (1 << (8 + order)) })
    }
}

impl Hints {
    pub(super) fn new() -> Hints {
        Hints { lines: core::array::from_fn(|_| Line(core::array::from_fn(|_| AtomicU64::new(0)))) }
    }

    #[inline(always)]
    fn of(&self, caller: usize, level: u32, order: u32) -> Option<&AtomicU64> {
        self.lines[caller & (CALLERS - 1)].0.get((level * IN_WORD + order) as usize).filter(|_| order < IN_WORD)
    }

    #[inline(always)]
    fn last(slot: &AtomicU64) -> Hint {
        // Relaxed: a hint; the claim decides.
        Hint(slot.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn remember(slot: &AtomicU64, hint: Hint) {
        // Relaxed: as in `last`.
        slot.store(hint.0, Ordering::Relaxed);
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a run of `order`.
    #[inline]
    pub(crate) fn take(&self, order: Order) -> Result<Run, AllocError> {
        self.take_as(caller_slot(CALLERS), order)
    }

    /// [`GenPool::take`] for a caller who knows his slot.
    #[inline(always)]
    pub(super) fn take_as(&self, caller: usize, order: Order) -> Result<Run, AllocError> {
        match self.attempt_as(caller, order) {
            Some(start) => Ok(Run::aligned(start.get(), order)),
            // Taken apart and put together, so that what is found at once need not go through memory.
            None => match self.search_or_prove(order) {
                Ok(run) => Ok(run),
                Err(error) => Err(error),
            },
        }
    }

    /// Takes a run of `order` if one is found at once.
    #[inline]
    pub(crate) fn attempt(&self, order: Order) -> Option<Run> {
        self.attempt_as(caller_slot(CALLERS), order).map(|start| Run::aligned(start.get(), order))
    }

    /// [`GenPool::attempt`] for a caller who knows his slot; says where the run starts, which registers can hold.
    #[inline(never)]
    pub(super) fn attempt_as(&self, caller: usize, order: Order) -> Option<Offset> {
        // By far most runs are pages or a few, and the tables of those are the easiest to find.
        let tables = self.tables();
        if order.get() >= Self::RADIX {
            self.attempt_at(tables, caller, order.get() / Self::RADIX, order)
        } else if self.may_have_fresh(tables, caller, order) {
            self.take_from_places(caller, order).map(Run::start).or_else(|| self.attempt_at(tables, caller, 0, order))
        } else {
            self.attempt_at(tables, caller, 0, order)
        }
    }

    /// Takes a run of an order of the lowest level that came back a moment ago, if there is one.
    pub(super) fn take_fresh(&self, caller: usize, order: Order) -> Option<Run> {
        if self.may_have_fresh(self.tables(), caller, order) { self.take_from_places(caller, order) } else { None }
    }

    #[inline(always)]
    fn attempt_at(&self, tables: Tables<'_, WORDS>, caller: usize, level: u32, order: Order) -> Option<Offset> {
        let wanted = order.get() - level * Self::RADIX;
        let Some(slot) = self.hints.of(caller, level, wanted) else { return self.search_as(caller, order).map(Run::start) };
        let hint = Hints::last(slot);
        let Some(table) = hint.table() else { return self.search_as(caller, order).map(Run::start) };
        // The table may now be listed too high; whoever leaves the hint puts that right.
        let Some(before) = tables.table(level, table).claim_within(hint.entry(), wanted) else {
            return self.attempt_in(slot, level, hint, caller, order).map(Run::start);
        };
        let place = Place { level, table, entry: hint.entry(), order: wanted };
        self.tell_taken(place, before);
        let next = Hint(hint.after(wanted).0 | Hint::USED);
        if next.0 != hint.0 {
            Hints::remember(slot, next);
        }
        Some(self.shape.start(place))
    }

    /// Takes a run of `order` from the table of a hint that has failed, else from the lists.
    #[inline(never)]
    fn attempt_in(&self, slot: &AtomicU64, level: u32, hint: Hint, caller: usize, order: Order) -> Option<Run> {
        let (table, wanted) = (hint.table()?, order.get() - level * Self::RADIX);
        if hint.0 & Hint::MORE != 0 {
            if let Ok(fit) = self.table(level, table).claim_tightest(wanted, hint.at_most(), self.tell_odd(level, table)) {
                let place = Place { level, table, entry: fit.entry, order: wanted };
                self.tell_taken(place, fit.before);
                let next = Hint::new(table, fit, hint.at_most(), true).after(wanted);
                Hints::remember(slot, Hint(next.0 | Hint::USED));
                return Some(self.shape.run(place));
            }
            Hints::remember(slot, Hint(hint.0 & !Hint::MORE));
        }
        if hint.0 & Hint::USED != 0 {
            Hints::remember(slot, Hint(hint.0 & !(Hint::MORE | Hint::USED)));
            self.settle(level, table);
        }
        self.search_as(caller, order)
    }

    /// Searches again until there is a run or a proof that there is none.
    #[cold]
    fn search_or_prove(&self, order: Order) -> Result<Run, AllocError> {
        if order > self.largest_order() {
            return Err(AllocError::TooLarge);
        }
        // Tables that are wholly idle but not merged are findable only for orders below their own.
        let level = order.get() / Self::RADIX;
        let attempt = || self.search(order).or_else(|| self.take_from_handles(order)).map_or(Try::Nothing, Try::Got);
        self.until_proved(level, attempt).map_err(|unproved| match unproved {
            Unproved::Nothing => self.explain_runs(order, 1),
            Unproved::Contended => AllocError::Contended,
        })
    }

    /// The lowest list that has a table for `order`, the tightest run in it; at last the table on top.
    pub(super) fn search(&self, order: Order) -> Option<Run> {
        self.search_as(caller_slot(CALLERS), order)
    }

    /// [`GenPool::search`] for a caller who has found out already which slot is his.
    pub(super) fn search_as(&self, caller: usize, order: Order) -> Option<Run> {
        loop {
            let proposed = self.propose(caller, order.get()).map(|proposed| self.past_spare(caller, order, proposed));
            // What came back a moment ago may fit more tightly.
            if let Some(run) = self.search_fresh(caller, order, proposed.map_or(Self::RADIX, |(_, class)| class)) {
                return Some(run);
            }
            let Some((table, class)) = proposed else { break };
            if let Some(run) = self.take_from(caller, class / Self::RADIX, table, class % Self::RADIX, order) {
                return Some(run);
            }
        }
        if order > self.largest_order() {
            return None;
        }
        self.take_from(caller, self.shape.top, 0, Self::RADIX, order)
    }

    /// Another table than a proposed one that is wholly idle, if one is listed as high: half used is fuller than not used, and what is
    /// whole may be merged.
    #[inline(always)]
    fn past_spare(&self, caller: usize, order: Order, (table, class): (usize, u32)) -> (usize, u32) {
        let (level, listed) = (class / Self::RADIX, class % Self::RADIX);
        if listed + 1 < Self::RADIX || !self.is_whole(level, table) {
            return (table, class);
        }
        self.past_whole(caller, order, (table, class))
    }

    /// [`GenPool::past_spare`], which is one.
    #[cold]
    fn past_whole(&self, caller: usize, order: Order, spare: (usize, u32)) -> (usize, u32) {
        self.without(spare, || self.propose(caller, order.get()).filter(|&(_, class)| class <= spare.1)).unwrap_or(spare)
    }

    /// Takes a run from a larger one that came back a moment ago, but not from one of order `below` or more.
    fn search_fresh(&self, caller: usize, order: Order, below: u32) -> Option<Run> {
        let (run, from) = self.cut_fresh(caller, order, below)?;
        if let Some(slot) = self.hints.of(caller, 0, order.get()) {
            let (table, entry) = self.shape.entry(run.start(), 0);
            let hint = Hint::new(table, Fit { entry, from, last: true, before: 0 }, from, false);
            Hints::remember(slot, hint.after(order.get()));
        }
        Some(run)
    }

    /// Takes a run from a table that is listed at `listed`; if there is none, the listing has been put right.
    #[inline]
    fn take_from(&self, caller: usize, level: u32, table: usize, listed: u32, order: Order) -> Option<Run> {
        let at = order.get() / Self::RADIX;
        let wanted = if at == level { order.get() % Self::RADIX } else { 0 };
        let here = self.table(level, table);
        // A split hides what it leaves over until the tables below are filled, a claim of several words what it gives back.
        let hides = at < level || wanted > 6;
        // Looking first: a hopeless try must not itself be the motion that keeps a refusal from being proved.
        let hopeful = !hides || here.has(wanted);
        let _moving = (hides && hopeful).then(|| self.motion.begin());
        // A table that is wholly idle is listed one order lower than it could be.
        let at_most = if listed + 1 == Self::RADIX { Self::RADIX } else { listed };
        let fit = if hopeful { here.claim_tightest(wanted, at_most, self.tell_odd(level, table)) } else { Err(Miss::None) };
        let Ok(fit) = fit else {
            if self.relist(level, table, level * Self::RADIX + listed) == Some(Self::RADIX) {
                // Our claim of several words may have hidden from the last release that the table is whole.
                self.keep(level, table);
            }
            return None;
        };
        let place = Place { level, table, entry: fit.entry, order: wanted };
        self.tell_taken(place, fit.before);
        let more = !fit.last || fit.from < listed;
        if !more {
            // Nothing is left of what the listing promises.
            self.relist(level, table, level * Self::RADIX + listed);
        }
        if at == level
            && let Some(slot) = self.hints.of(caller, level, wanted)
        {
            Hints::remember(slot, Hint::new(table, fit, at_most, more).after(wanted));
        }
        Some(if at < level { self.split(place, order) } else { self.shape.run(place) })
    }

    /// Splits an owned entry down to a run of `order` at its start; the rest becomes idle.
    fn split(&self, entry: Place, order: Order) -> Run {
        let run = Run::around(self.shape.run(entry).start().get(), order);
        self.split_to(entry, run)
    }

    /// Splits an owned entry down to `run`, which lies in it; the rest becomes idle. The caller has marked the motion.
    pub(super) fn split_to(&self, entry: Place, run: Run) -> Run {
        let target = self.shape.place(run);
        for level in (target.level..entry.level).rev() {
            let (table, path) = self.shape.entry(run.start(), level);
            let order = if level == target.level { target.order } else { 0 };
            self.table(level, table).fill_except(path, order, self.tell_odd(level, table));
            self.tell_filled(level, table);
            self.tell_taken(Place { level, table, entry: path, order }, !0);
            // At least one half of the table is wholly idle.
            self.list_split(level, table);
        }
        run
    }
}
