//! Searching for runs by what they hold, through hints, and what such a search costs.
//!
//! | where a caller looks | cost |
//! |---|---|
//! | the word in which it found such a run last | one word of a table and of its notes |
//! | the rest of that table | one table and its notes |
//! | what came back to its places a moment ago (`fresh`) | seven looks |
//! | the listed tables after that one, in order of offset, and then those before it | a table and its notes each |
//! | idle entries above, of which one has to be split | a table and its notes each |
//! | once more, after tables have been merged and all places listed | the same |
//!
//! All of it is a hint. What a word and its notes said may have changed by the time of the claim: a caller that insists
//! looks at the notes of what it has claimed, and puts it back if they say otherwise; any other keeps the run. Where nothing is found
//! nothing is proved (`clear` does that). Where the last search found nothing is remembered by order (`notes`, *barren*).

use super::GenPool;
use super::fresh::slot_of;
use super::notes::Contents;
use super::prove::Try;
use super::shape::{LEVELS, Place};
use super::tables::CALLERS;
use crate::offset::Run;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, caller_slot, in_models};
use crate::table::Table;

/// Lines among which concurrent callers are spread.
const SLOTS: usize = in_models(1, 8);

/// Where callers found runs last: for each of the contents and each level the number of a word, counted over all tables, plus one; 0 = none.
///
/// Only hints: another caller of the slot may have gone on elsewhere, and the table may have been merged.
pub(super) struct Finds([Line; SLOTS]);

/// One caller slot. 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
struct Line([[AtomicU64; LEVELS]; 2]);

impl Finds {
    pub(super) fn new() -> Finds {
        Finds(core::array::from_fn(|_| Line(core::array::from_fn(|_| core::array::from_fn(|_| AtomicU64::new(0))))))
    }

    #[inline]
    fn mine(&self, contents: Contents, level: u32) -> Option<&AtomicU64> {
        self.0[caller_slot(SLOTS) & (SLOTS - 1)].0[usize::from(contents == Contents::Cleared)].get(level as usize)
    }
}

/// What is hunted for.
#[derive(Clone, Copy)]
pub(super) struct Quarry {
    pub(super) order: Order,
    pub(super) contents: Contents,
    /// Whether a run that turns out to hold something else is put back.
    pub(super) insists: bool,
}

/// How far a search goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Tables that are wholly idle are left alone: they may be merged.
    Partial,
    /// Those too, and those that handles work in.
    All,
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a run that holds what is wanted, as far as hints say; looks at no more than `looks` tables twice. `Lost` says that
    /// there may be one: somebody else was faster, or the looks were used up.
    #[inline]
    pub(super) fn hunt(&self, quarry: Quarry, looks: u32) -> Try<Run> {
        match self.hunt_where_last(quarry) {
            Some(run) => Try::Got(run),
            None => self.hunt_elsewhere(quarry, looks),
        }
    }

    /// In the word in which one was found last.
    #[inline]
    fn hunt_where_last(&self, quarry: Quarry) -> Option<Run> {
        let (level, wanted) = self.level_of(quarry);
        // Relaxed: a hint.
        let word = self.finds.mine(quarry.contents, level)?.load(Ordering::Relaxed).checked_sub(1)?;
        let (table, index) = (word as usize / WORDS, word as usize % WORDS);
        if wanted > 6 {
            return None;
        }
        let (idle, holds) = self.holding_in(level, table, index, quarry.contents);
        let bit = Table::<WORDS>::first_in_word(idle & holds, wanted)?;
        self.claim_seen(Place { level, table, entry: index as u32 * 64 + bit, order: wanted }, quarry)
    }

    #[inline(never)]
    fn hunt_elsewhere(&self, quarry: Quarry, looks: u32) -> Try<Run> {
        let (level, _) = self.level_of(quarry);
        if level > self.shape.top {
            return Try::Nothing;
        }
        if level == 0
            && let Some(run) = self.hunt_in_places(quarry)
        {
            return Try::Got(run);
        }
        for reach in [Reach::Partial, Reach::All] {
            if reach == Reach::All {
                // As in every search: runs of this order may stand in tables that have not been merged yet.
                self.merge_spares(level);
                self.list_fresh();
            }
            let mut left = looks;
            match self.hunt_in_tables(quarry, reach, &mut left) {
                Try::Nothing => {}
                found => return found,
            }
            for above in level + 1..=self.shape.top {
                match self.hunt_above(quarry, above, &mut left) {
                    Try::Nothing => {}
                    found => return found,
                }
            }
        }
        if level == 0
            && let Some(run) = self.handles.tables().find_map(|table| self.hunt_in(quarry, table))
        {
            return Try::Got(run);
        }
        Try::Nothing
    }

    fn level_of(&self, quarry: Quarry) -> (u32, u32) {
        (quarry.order.get() / Self::RADIX, quarry.order.get() % Self::RADIX)
    }

    /// The words of a table, and the entries in them all of whose pages hold this.
    fn holding(&self, level: u32, table: usize, contents: Contents) -> ([u64; WORDS], [u64; WORDS]) {
        let mut both = ([0; WORDS], [0; WORDS]);
        for (index, (idle, holds)) in both.0.iter_mut().zip(both.1.iter_mut()).enumerate() {
            (*idle, *holds) = self.holding_in(level, table, index, contents);
        }
        both
    }

    /// Claims entries that were seen to hold what is wanted.
    #[inline]
    fn claim_seen(&self, place: Place, quarry: Quarry) -> Option<Run> {
        let Place { level, table, entry, order } = place;
        // What it holds can be told only now, and then it may go back.
        let _moving = (quarry.insists || order > 6).then(|| self.motion.begin());
        let Some(before) = self.table(level, table).claim_at(entry, order, self.tell_odd(level, table)) else {
            if order > 6 {
                self.after_undo(level, table);
            }
            return None;
        };
        self.tell_taken(place, before);
        self.keep_or_put_back(self.shape.run(place), quarry)
    }

    /// A run that has just been claimed, unless somebody had it meanwhile and left it otherwise. The caller has marked the motion.
    #[inline]
    fn keep_or_put_back(&self, run: Run, quarry: Quarry) -> Option<Run> {
        if !quarry.insists || self.is_all(run, quarry.contents) {
            return Some(run);
        }
        let _ = self.put_back(run);
        None
    }

    /// The tightest run of a table, which is where the next one is looked for first.
    fn hunt_in(&self, quarry: Quarry, table: usize) -> Option<Run> {
        let (level, wanted) = self.level_of(quarry);
        let (idle, holds) = self.holding(level, table, quarry.contents);
        let both = core::array::from_fn(|index| idle[index] & holds[index]);
        let entry = Table::<WORDS>::tightest_in(&both, wanted)?;
        let run = self.claim_seen(Place { level, table, entry, order: wanted }, quarry)?;
        self.remember(quarry, level, table, entry);
        Some(run)
    }

    fn remember(&self, quarry: Quarry, level: u32, table: usize, entry: u32) {
        if let Some(find) = self.finds.mine(quarry.contents, level) {
            // Relaxed: a hint.
            find.store((table * WORDS) as u64 + u64::from(entry / 64) + 1, Ordering::Relaxed);
        }
    }

    /// In the tables of the run's own level, from that of the last find on.
    fn hunt_in_tables(&self, quarry: Quarry, reach: Reach, looks: &mut u32) -> Try<Run> {
        let (level, wanted) = self.level_of(quarry);
        if level == self.shape.top {
            return self.hunt_in(quarry, 0).map_or(Try::Nothing, Try::Got);
        }
        // Relaxed: a hint.
        let last = self.finds.mine(quarry.contents, level).and_then(|find| find.load(Ordering::Relaxed).checked_sub(1));
        let last = last.map_or(0, |word| word as usize / WORDS);
        for (mut at, end) in [(last, usize::MAX), (0, last)] {
            while let Some(table) = self.next_listed(level, at, wanted).filter(|&table| table < end) {
                at = table + 1;
                if reach == Reach::Partial && self.is_whole(level, table) {
                    continue;
                }
                if let Some(run) = self.hunt_in(quarry, table) {
                    return Try::Got(run);
                }
                *looks = looks.saturating_sub(1);
                if *looks == 0 {
                    // The next search goes on from here.
                    self.remember(quarry, level, table, 0);
                    return Try::Lost;
                }
            }
        }
        Try::Nothing
    }

    /// In the idle entries of the tables of a level above: one that holds nothing else, or a part of one.
    fn hunt_above(&self, quarry: Quarry, above: u32, looks: &mut u32) -> Try<Run> {
        let mut next = if above == self.shape.top { Some(0) } else { self.next_listed(above, 0, 0) };
        while let Some(table) = next {
            let (idle, holds) = self.holding(above, table, quarry.contents);
            let pure = core::array::from_fn(|index| idle[index] & holds[index]);
            let pure = Table::<WORDS>::tightest_in(&pure, 0);
            let part = pure.map(|entry| self.head_of(quarry, above, table, entry));
            if let Some(run) = part.or_else(|| self.find_in_mixed(quarry, above, table, &idle, looks)) {
                let _moving = self.motion.begin();
                let taken = if self.claim_run(run) { self.keep_or_put_back(run, quarry) } else { None };
                let place = self.shape.place(run);
                self.remember(quarry, place.level, place.table, place.entry);
                return taken.map_or(Try::Lost, Try::Got);
            }
            *looks = looks.saturating_sub(1);
            if *looks == 0 {
                return Try::Lost;
            }
            next = if above == self.shape.top { None } else { self.next_listed(above, table + 1, 0) };
        }
        Try::Nothing
    }

    fn head_of(&self, quarry: Quarry, level: u32, table: usize, entry: u32) -> Run {
        Run::around(self.shape.start(Place { level, table, entry, order: 0 }).get(), quarry.order)
    }

    /// A run below one of those entries of a table that are given and mixed: all of it is idle.
    fn find_in_mixed(&self, quarry: Quarry, level: u32, table: usize, idle: &[u64; WORDS], looks: &mut u32) -> Option<Run> {
        let (_, mixed) = self.notes(level, table)?;
        let (mixed, below) = (mixed?, level.checked_sub(1)?);
        for (index, idle) in idle.iter().enumerate() {
            let mut left = idle & mixed.note_word(index as u32 * 64);
            while left != 0 {
                let child = self.shape.child(table, index as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
                let (_, holds) = self.holding(below, child, quarry.contents);
                let (at, wanted) = self.level_of(quarry);
                let entry = Table::<WORDS>::tightest_in(&holds, if at == below { wanted } else { 0 });
                let found = match entry {
                    Some(entry) => Some(self.head_of(quarry, below, child, entry)),
                    None if at < below => self.find_in_mixed(quarry, below, child, &[!0; WORDS], looks),
                    None => None,
                };
                if found.is_some() {
                    return found;
                }
                *looks = looks.saturating_sub(1);
                if *looks == 0 {
                    return None;
                }
            }
        }
        None
    }

    /// A run of just this order that came back to the caller's places a moment ago.
    fn hunt_in_places(&self, quarry: Quarry) -> Option<Run> {
        let line = self.fresh_line(self.tables(), slot_of(caller_slot(CALLERS)), quarry.order.get())?;
        for place in (1..=line.filled()).rev() {
            let Some(start) = line.get(place) else { continue };
            let (table, entry) = self.shape.entry(start, 0);
            let order = quarry.order.get();
            let all = (0..1 << order.saturating_sub(6)).all(|word| {
                let (idle, holds) = self.holding_in(0, table, (entry / 64) as usize + word, quarry.contents);
                Table::<WORDS>::is_within(entry, order.min(6), idle & holds)
            });
            if !all {
                continue;
            }
            if let Some(run) = self.claim_seen(Place { level: 0, table, entry, order }, quarry) {
                // As in `take_from_places`; a place that is emptied below others costs a look.
                line.empty(place, start);
                return Some(run);
            }
        }
        None
    }
}
