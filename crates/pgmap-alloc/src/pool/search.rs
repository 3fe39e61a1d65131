//! Taking a run wherever it fits best: search proposes, claim decides.

use super::GenPool;
use super::prove::{Try, Unproved};
use super::shape::{LEVELS, Place};
use crate::error::AllocError;
use crate::offset::Run;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, caller_slot, in_models};
use crate::table::Miss;

/// Lines among which concurrent callers are spread.
const SLOTS: usize = in_models(1, 32);

/// Where each caller cut a run of each order last: looked at before the lists.
///
/// Only hints: the run may have been taken by others, or its table have been merged; then the claim fails, the rest of the table
/// is looked at, and then the lists. A hint remembers up to where the larger run reaches that it is cutting up, and at which
/// order the table was listed: no larger run is cut than that, so that a caller who stays with a table does not break what the
/// lists would have kept whole.
pub(super) struct Hints {
    lines: [Line; SLOTS],
}

/// Orders of runs within one word.
const IN_WORD: u32 = 7;

/// One caller slot: a hint for each level and order. 128 bytes because lines are fetched in pairs.
#[repr(align(128))]
struct Line([AtomicU64; LEVELS * IN_WORD as usize]);

/// The next run to try.
#[derive(Clone, Copy)]
struct Hint {
    table: usize,
    entry: u32,
    /// The order of the run that is being cut up.
    from: u32,
    /// The order of the largest run in the table that may be cut.
    at_most: u32,
    /// Whether the table had more than that run.
    more: bool,
}

impl Hint {
    /// The hint after a claim of a run of `order` at its entry.
    #[inline]
    fn after(self, order: u32) -> Hint {
        let next = self.entry + (1 << order);
        // At the end of the larger run it stays where it is: that may come back.
        let done = next & ((1 << self.from) - 1) == 0;
        Hint { entry: if done { self.entry } else { next }, ..self }
    }
}

impl Hints {
    pub(super) fn new() -> Hints {
        Hints { lines: core::array::from_fn(|_| Line(core::array::from_fn(|_| AtomicU64::new(0)))) }
    }

    #[inline]
    fn slot(&self, level: u32, order: u32) -> Option<&AtomicU64> {
        self.lines[caller_slot(SLOTS) & (SLOTS - 1)].0.get((level * IN_WORD + order) as usize).filter(|_| order < IN_WORD)
    }

    #[inline]
    fn last(slot: &AtomicU64) -> Option<Hint> {
        // Relaxed: a hint; the claim decides.
        let hint = slot.load(Ordering::Relaxed);
        let table = ((hint >> 24) as usize).checked_sub(1)?;
        let (more, entry) = (hint & 1 << 23 != 0, hint as u32 >> 8 & 0x7FFF);
        Some(Hint { table, entry, from: hint as u32 >> 4 & 0xF, at_most: hint as u32 & 0xF, more })
    }

    #[inline]
    fn remember(slot: &AtomicU64, Hint { table, entry, from, at_most, more }: Hint) {
        let run = u32::from(more) << 23 | entry << 8 | from << 4 | at_most;
        // Relaxed: as in `last`.
        slot.store((table as u64 + 1) << 24 | u64::from(run), Ordering::Relaxed);
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a run of `order`.
    #[inline]
    pub(crate) fn take(&self, order: Order) -> Result<Run, AllocError> {
        match self.attempt(order) {
            Some(run) => Ok(run),
            None => self.search_or_prove(order),
        }
    }

    /// Takes a run of `order` if one is found at once.
    #[inline]
    pub(super) fn attempt(&self, order: Order) -> Option<Run> {
        // By far most runs are pages or a few, and the tables of those are the easiest to find.
        if order.get() < Self::RADIX { self.attempt_at(0, order) } else { self.attempt_at(order.get() / Self::RADIX, order) }
    }

    #[inline(always)]
    fn attempt_at(&self, level: u32, order: Order) -> Option<Run> {
        let wanted = order.get() - level * Self::RADIX;
        if let Some(slot) = self.hints.slot(level, wanted)
            && let Some(hint) = Hints::last(slot)
        {
            // The table may now be listed too high; the next search that comes by puts that right.
            if self.table(level, hint.table).claim_at(hint.entry, wanted) {
                Hints::remember(slot, hint.after(wanted));
                return Some(self.shape.run(Place { level, table: hint.table, entry: hint.entry, order: wanted }));
            }
            if hint.more {
                return self.attempt_in(slot, level, hint, order);
            }
        }
        self.search(order)
    }

    /// Takes a run of `order` from the table of a hint that has failed, else from the lists.
    fn attempt_in(&self, slot: &AtomicU64, level: u32, hint: Hint, order: Order) -> Option<Run> {
        let wanted = order.get() - level * Self::RADIX;
        let Ok(fit) = self.table(level, hint.table).claim_tightest(wanted, hint.at_most) else {
            Hints::remember(slot, Hint { more: false, ..hint });
            return self.search(order);
        };
        Hints::remember(slot, Hint { entry: fit.entry, from: fit.from, ..hint }.after(wanted));
        Some(self.shape.run(Place { level, table: hint.table, entry: fit.entry, order: wanted }))
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
            Unproved::Nothing => AllocError::NoSpace { cached: self.handles.press() },
            Unproved::Contended => AllocError::Contended,
        })
    }

    /// The lowest list that has a table for `order`, the tightest run in it; at last the table on top.
    pub(super) fn search(&self, order: Order) -> Option<Run> {
        while let Some((table, class)) = self.propose(order.get()) {
            let (level, listed) = (class / Self::RADIX, class % Self::RADIX);
            if let Some(run) = self.take_from(level, table, listed, order) {
                return Some(run);
            }
        }
        if order > self.largest_order() {
            return None;
        }
        self.take_from(self.shape.top, 0, Self::RADIX, order)
    }

    /// Takes a run from a table that is listed at `listed`; if there is none, the listing has been put right.
    #[inline]
    fn take_from(&self, level: u32, table: usize, listed: u32, order: Order) -> Option<Run> {
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
        let fit = if hopeful { here.claim_tightest(wanted, at_most) } else { Err(Miss::None) };
        let Ok(fit) = fit else {
            if self.relist(level, table, level * Self::RADIX + listed) == Some(Self::RADIX) {
                // Our claim of several words may have hidden from the last release that the table is whole.
                self.keep(level, table);
            }
            return None;
        };
        let more = !fit.last || fit.from < listed;
        if !more {
            // Nothing is left of what the listing promises.
            self.relist(level, table, level * Self::RADIX + listed);
        }
        if at == level
            && let Some(slot) = self.hints.slot(level, wanted)
        {
            Hints::remember(slot, Hint { table, entry: fit.entry, from: fit.from, at_most, more }.after(wanted));
        }
        let place = Place { level, table, entry: fit.entry, order: wanted };
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
            self.split_notes(level, table);
            self.table(level, table).fill_except(path, order);
            // At least one half of the table is wholly idle.
            self.ensure_listed(self.tables(), level, table, Self::RADIX - 1);
        }
        run
    }
}
