//! Searching for runs by what they hold, through hints, and what such a search costs.
//!
//! | where a caller looks | cost |
//! |---|---|
//! | the word in which it found such a run last | one word of a table and of its notes |
//! | the rest of that table | one table and its notes |
//! | what came back to its places a moment ago (`fresh`) | seven looks |
//! | a few of the listed tables, from where it has come round to on | a table and its notes each |
//! | idle entries above, of which one has to be split | a table and its notes each |
//! | all the way round the listed tables | a table and its notes each |
//! | tables and entries once more, after tables have been merged and all places listed | the same |
//!
//! So a caller that uses up the cleared pages of one table after another does not look at all that it has left behind each time it needs the next
//! table, and one that lives on what comes back finds holes before it splits what is whole.
//!
//! All of it is a hint. What a word and its notes said may have changed by the time of the claim: a caller that insists
//! looks at the notes of what it has claimed, and puts it back if they say otherwise; any other keeps the run. Where nothing is found
//! nothing is proved (`clear` does that). Where the last search found nothing is remembered by order (`notes`, *barren*).

use super::GenPool;
use super::fresh::{SLOTS, slot_of};
use super::notes::{Contents, held_in};
use super::prove::Try;
use super::shape::{LEVELS, Place};
use super::tables::CALLERS;
use crate::offset::Run;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, caller_slot};
use crate::table::Table;

/// Where callers look for runs that hold one or the other, by level.
///
/// Only hints: another caller of the slot may have gone on elsewhere, and a table may have been merged. A stale one costs a look.
pub(super) struct Finds([Line; SLOTS]);

/// One caller slot. 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
struct Line([[Find; LEVELS]; 2]);

struct Find {
    /// The word in which a run was found last, counted over all tables, plus one; 0 = none.
    last: AtomicU64,
    /// The table up to which the search has come round.
    round: AtomicU64,
}

impl Finds {
    pub(super) fn new() -> Finds {
        let find = |_| Find { last: AtomicU64::new(0), round: AtomicU64::new(0) };
        Finds(core::array::from_fn(|_| Line(core::array::from_fn(|_| core::array::from_fn(find)))))
    }

    #[inline]
    fn of(&self, quarry: Quarry, level: u32) -> Option<&Find> {
        self.0[slot_of(quarry.caller)].0[usize::from(quarry.contents == Contents::Cleared)].get(level as usize)
    }

    fn round(&self, quarry: Quarry, level: u32) -> usize {
        // Relaxed: a hint.
        self.of(quarry, level).map_or(0, |find| find.round.load(Ordering::Relaxed) as usize)
    }

    fn set_round(&self, quarry: Quarry, level: u32, table: usize) {
        if let Some(find) = self.of(quarry, level) {
            // Relaxed: a hint.
            find.round.store(table as u64, Ordering::Relaxed);
        }
    }
}

/// What is hunted for.
#[derive(Clone, Copy)]
pub(super) struct Quarry {
    pub(super) order: Order,
    pub(super) contents: Contents,
    /// Whether a run that turns out to hold something else is put back.
    pub(super) insists: bool,
    /// The caller's slot, found out once: it is where the caller's stack lies, which may reach from one slot into the next.
    caller: usize,
}

impl Quarry {
    #[inline]
    pub(super) fn new(order: Order, contents: Contents, insists: bool) -> Quarry {
        Quarry { order, contents, insists, caller: caller_slot(CALLERS) }
    }
}

/// How many listed tables are looked at before something whole is split.
const FEW: u32 = 4;

/// How far a search goes. Tables that are wholly idle are left alone before the last: they may be merged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// [`FEW`] tables, and entries above.
    Few,
    /// All tables.
    Round,
    /// All that can be found.
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

    /// In the word in which one was found last, and in those of its table that hold other things too.
    #[inline]
    fn hunt_where_last(&self, quarry: Quarry) -> Option<Run> {
        let (level, wanted) = self.level_of(quarry);
        let find = self.finds.of(quarry, level)?;
        // Relaxed, both: a hint.
        let word = find.last.load(Ordering::Relaxed).checked_sub(1)?;
        let (table, last) = (word as usize / WORDS, word as usize % WORDS);
        if wanted > 6 {
            return None;
        }
        let (here, notes) = (self.table(level, table), self.notes(level, table));
        let flipped = (quarry.contents == Contents::Cleared) != self.stands_for_cleared(level, table);
        for step in 0..WORDS {
            let index = (last + step) % WORDS;
            let entry = index as u32 * 64;
            let both = here.note_word(entry) & held_in(notes, entry, flipped);
            if step > 0 && both == !0 {
                continue;
            }
            if let Some(bit) = Table::<WORDS>::first_in_word(both, wanted) {
                if step > 0 {
                    find.last.store((table * WORDS + index) as u64 + 1, Ordering::Relaxed);
                }
                return self.claim_seen(Place { level, table, entry: entry + bit, order: wanted }, quarry);
            }
        }
        None
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
        if let Some(run) = self.hunt_in_last(quarry) {
            return Try::Got(run);
        }
        for reach in [Reach::Few, Reach::Round, Reach::All] {
            if reach == Reach::All {
                // As in every search: runs of this order may stand in tables that have not been merged yet.
                self.merge_spares(level);
                self.list_fresh();
            }
            let mut few = looks.min(if reach == Reach::Few { FEW } else { u32::MAX });
            match self.hunt_in_tables(quarry, reach, &mut few) {
                Try::Lost if reach == Reach::Few => {}
                Try::Nothing => {}
                found => return found,
            }
            let mut left = looks;
            for above in (level + 1..=self.shape.top).filter(|_| reach != Reach::Round) {
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
        let flipped = (contents == Contents::Cleared) != self.stands_for_cleared(level, table);
        let (here, notes) = (self.table(level, table), self.notes(level, table));
        let word = |index| held_in(notes, index as u32 * 64, flipped);
        (core::array::from_fn(|index| here.note_word(index as u32 * 64)), core::array::from_fn(word))
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

    /// In the table in which one was found last.
    fn hunt_in_last(&self, quarry: Quarry) -> Option<Run> {
        let (level, _) = self.level_of(quarry);
        // Relaxed: a hint.
        let word = self.finds.of(quarry, level)?.last.load(Ordering::Relaxed).checked_sub(1)?;
        self.hunt_in(quarry, word as usize / WORDS)
    }

    /// A run of a table, in a word that holds other things too if there is one; that word is where the next one is looked for first.
    fn hunt_in(&self, quarry: Quarry, table: usize) -> Option<Run> {
        let (level, wanted) = self.level_of(quarry);
        let (idle, holds) = self.holding(level, table, quarry.contents);
        let both = core::array::from_fn(|index| idle[index] & holds[index]);
        let entry = Table::<WORDS>::first_in_part(&both, wanted)?;
        let run = self.claim_seen(Place { level, table, entry, order: wanted }, quarry)?;
        self.remember(quarry, level, table, entry);
        Some(run)
    }

    fn remember(&self, quarry: Quarry, level: u32, table: usize, entry: u32) {
        if let Some(find) = self.finds.of(quarry, level) {
            // Relaxed: a hint.
            find.last.store((table * WORDS) as u64 + u64::from(entry / 64) + 1, Ordering::Relaxed);
        }
    }

    /// In the tables of the run's own level, once round; `Lost` when the looks were used up.
    fn hunt_in_tables(&self, quarry: Quarry, reach: Reach, looks: &mut u32) -> Try<Run> {
        let (level, wanted) = self.level_of(quarry);
        if level == self.shape.top {
            return self.hunt_in(quarry, 0).map_or(Try::Nothing, Try::Got);
        }
        let from = self.finds.round(quarry, level);
        for (mut at, end) in [(from, usize::MAX), (0, from)] {
            while let Some(table) = self.next_listed(level, at, wanted).filter(|&table| table < end) {
                at = table + 1;
                if reach != Reach::All && self.is_whole(level, table) {
                    continue;
                }
                self.finds.set_round(quarry, level, at);
                if let Some(run) = self.hunt_in(quarry, table) {
                    return Try::Got(run);
                }
                *looks = looks.saturating_sub(1);
                if *looks == 0 {
                    return Try::Lost;
                }
            }
        }
        Try::Nothing
    }

    /// In the idle entries of the tables of a level above: one that holds nothing else, or a part of one.
    fn hunt_above(&self, quarry: Quarry, above: u32, looks: &mut u32) -> Try<Run> {
        let from = if above == self.shape.top { 0 } else { self.finds.round(quarry, above) };
        for (at, end) in [(from, usize::MAX), (0, from)] {
            let mut next = Some(at);
            while let Some(at) = next {
                // The one on top is in no list.
                let listed = if above == self.shape.top { Some(at) } else { self.next_listed(above, at, 0) };
                let Some(table) = listed.filter(|&table| table < end) else { break };
                if let Some(run) = self.find_above(quarry, above, table, looks) {
                    self.finds.set_round(quarry, above, table);
                    return self.claim_found(run, quarry).map_or(Try::Lost, Try::Got);
                }
                *looks = looks.saturating_sub(1);
                if *looks == 0 {
                    return Try::Lost;
                }
                next = (above < self.shape.top).then_some(table + 1);
            }
        }
        Try::Nothing
    }

    /// A run in an idle entry of a table of a level above.
    fn find_above(&self, quarry: Quarry, above: u32, table: usize, looks: &mut u32) -> Option<Run> {
        let (idle, holds) = self.holding(above, table, quarry.contents);
        let pure = core::array::from_fn(|index| idle[index] & holds[index]);
        let entry = Table::<WORDS>::first_in_part(&pure, 0);
        let run = entry.map(|entry| self.head_of(quarry, above, table, entry));
        run.or_else(|| self.find_in_mixed(quarry, above, table, &idle, looks))
    }

    /// Claims a run below an idle entry, and goes on there next time.
    fn claim_found(&self, run: Run, quarry: Quarry) -> Option<Run> {
        let _moving = self.motion.begin();
        let taken = if self.claim_run(run) { self.keep_or_put_back(run, quarry) } else { None };
        let place = self.shape.place(run);
        self.remember(quarry, place.level, place.table, place.entry);
        taken
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
                let entry = Table::<WORDS>::first_in_part(&holds, if at == below { wanted } else { 0 });
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
        let line = self.fresh_line(self.tables(), slot_of(quarry.caller), quarry.order.get())?;
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
