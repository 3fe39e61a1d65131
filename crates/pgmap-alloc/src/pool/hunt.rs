//! Searching for runs by what they hold, through hints, and what such a search costs.
//!
//! | where a caller looks | cost |
//! |---|---|
//! | the word in which it found such a run last, and others of that table that had some then | a word of a table and of its notes each |
//! | the words of that table that hold other things too | one table and its notes |
//! | what came back to its places a moment ago (`fresh`) | seven looks |
//! | the rest of that table | nothing more |
//! | a few of the listed tables, from where it has come round to on | a table and its notes each |
//! | idle entries above, of which one has to be split | a table and its notes each |
//! | all the way round the listed tables | a table and its notes each |
//! | tables and entries once more, after tables have been merged and all places listed | the same |
//!
//! So a caller that uses up the cleared pages of one table after another does not look at all that it has left behind each time it needs the next
//! table, and one that lives on what comes back finds holes before it splits what is whole. How many tables are a few depends on what the
//! caller has met with: [`FEW`], and fewer each time that none of them had what it looked for, down to one for every [`FEW`] times. So where
//! the split tables hold next to nothing of it, a split does not cost several such looks, and they are all come round to even so.
//!
//! All of it is a hint. What a word and its notes said may have changed by the time of the claim: a caller that insists
//! looks at the notes of what it has claimed, and puts it back if they say otherwise; any other keeps the run. Where nothing is found
//! nothing is proved (`clear` does that). Where the last search found nothing is remembered by order (`notes`, *barren*).

use super::GenPool;
use super::fresh::{SLOTS, slot_of};
use super::notes::{Contents, Sight};
use super::prove::Try;
use super::shape::{LEVELS, Place};
use super::tables::{CALLERS, Tables};
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
    /// The table in which a run was found last, and its words that have more.
    last: AtomicU64,
    /// The table up to which the search has come round.
    round: AtomicU64,
    /// How often in a row the few listed tables had none.
    vain: AtomicU64,
    /// The order whose places all held something else, and how many were filled.
    passed: AtomicU64,
}

/// A table, and a bit for each of its words in which something was seen; in one word: 0 for none.
#[derive(Clone, Copy)]
struct Last(u64);

impl Last {
    /// A table has no more words ([`Table::RADIX`]).
    const WORDS: u64 = 0xFFFF;

    fn new(table: usize, words: u64) -> Last {
        Last((table as u64 + 1) << 16 | words)
    }

    #[inline(always)]
    fn table(self) -> Option<usize> {
        ((self.0 >> 16) as usize).checked_sub(1)
    }

    #[inline(always)]
    fn words(self) -> u64 {
        self.0 & Last::WORDS
    }
}

impl Finds {
    pub(super) fn new() -> Finds {
        let zero = || AtomicU64::new(0);
        let find = |_| Find { last: zero(), round: zero(), vain: zero(), passed: zero() };
        Finds(core::array::from_fn(|_| Line(core::array::from_fn(|_| core::array::from_fn(find)))))
    }

    #[inline]
    fn of(&self, quarry: Quarry, level: u32) -> Option<&Find> {
        self.0[slot_of(quarry.caller)].0[usize::from(quarry.contents == Contents::Cleared)].get(level as usize)
    }

    fn last(&self, quarry: Quarry, level: u32) -> Option<Last> {
        // Relaxed: a hint.
        self.of(quarry, level).map(|find| Last(find.last.load(Ordering::Relaxed)))
    }

    fn set_last(&self, quarry: Quarry, level: u32, last: Last) {
        if let Some(find) = self.of(quarry, level) {
            // Relaxed: a hint.
            find.last.store(last.0, Ordering::Relaxed);
        }
    }

    /// How many listed tables are a few.
    fn few(&self, quarry: Quarry, level: u32) -> u32 {
        // Relaxed: a hint.
        let vain = self.of(quarry, level).map_or(0, |find| find.vain.load(Ordering::Relaxed));
        // One for each time at first, then one for each few times.
        FEW.checked_shr(vain as u32).filter(|&few| few > 0).unwrap_or(u32::from(vain.is_multiple_of(u64::from(FEW))))
    }

    fn set_vain(&self, quarry: Quarry, level: u32, vain: bool) {
        if let Some(find) = self.of(quarry, level) {
            // Relaxed, both: a hint.
            let before = find.vain.load(Ordering::Relaxed);
            let now = if vain { before + 1 } else { 0 };
            if now != before {
                find.vain.store(now, Ordering::Relaxed);
            }
        }
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

/// A run that was claimed, and what it holds.
#[derive(Clone, Copy)]
pub(super) struct Caught {
    pub(super) run: Run,
    pub(super) contents: Contents,
}

/// A run below an idle entry, and the words of its table that have such runs, if that was looked at.
#[derive(Clone, Copy)]
struct Found {
    run: Run,
    words: Option<u64>,
}

/// How many listed tables are looked at before something whole is split, by who found what was looked for in the last few.
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
    pub(super) fn hunt(&self, quarry: Quarry, looks: u32) -> Try<Caught> {
        match self.hunt_where_last(quarry) {
            Some(caught) => Try::Got(caught),
            None => self.hunt_elsewhere(quarry, looks),
        }
    }

    /// In the words of the table in which one was found last that had some then.
    #[inline(always)]
    fn hunt_where_last(&self, quarry: Quarry) -> Option<Caught> {
        let (level, wanted) = self.level_of(quarry);
        let find = self.finds.of(quarry, level)?;
        // Relaxed, here and below: a hint.
        let last = Last(find.last.load(Ordering::Relaxed));
        let (table, mut left) = (last.table()?, last.words());
        if wanted > 6 || left == 0 {
            return None;
        }
        let tables = self.tables();
        let sight = self.sight(tables, level, table, quarry.contents);
        while left != 0 {
            let first = left.trailing_zeros() * 64;
            let idle = sight.idle(first);
            if idle != 0
                && let Some(bit) = Table::<WORDS>::first_in_word(idle, wanted)
            {
                if left != last.words() {
                    find.last.store(Last::new(table, left).0, Ordering::Relaxed);
                }
                return self.claim_seen_in(tables, Place { level, table, entry: first + bit, order: wanted }, &sight, quarry);
            }
            left &= left - 1;
        }
        find.last.store(Last::new(table, 0).0, Ordering::Relaxed);
        None
    }

    #[inline(never)]
    fn hunt_elsewhere(&self, quarry: Quarry, looks: u32) -> Try<Caught> {
        let (level, _) = self.level_of(quarry);
        if level > self.shape.top {
            return Try::Nothing;
        }
        if let Some(caught) = self.hunt_near(quarry) {
            return Try::Got(caught);
        }
        for reach in [Reach::Few, Reach::Round, Reach::All] {
            if reach == Reach::All {
                // As in every search: runs of this order may stand in tables that have not been merged yet.
                self.merge_spares(level);
                self.list_fresh();
            }
            let mut few = if reach == Reach::Few { looks.min(self.finds.few(quarry, level)) } else { looks };
            let found = if few == 0 { Try::Lost } else { self.hunt_in_tables(quarry, reach, &mut few) };
            if reach == Reach::Few {
                self.finds.set_vain(quarry, level, !matches!(found, Try::Got(_)));
            }
            match found {
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
            && let Some(caught) = self.handles.tables().find_map(|table| self.hunt_in(quarry, table))
        {
            return Try::Got(caught);
        }
        Try::Nothing
    }

    /// In the table in which one was found last, and in the caller's places: in what is whole last.
    fn hunt_near(&self, quarry: Quarry) -> Option<Caught> {
        let (level, wanted) = self.level_of(quarry);
        let seen = self.finds.last(quarry, level)?.table().and_then(|table| {
            let sight = self.sight(self.tables(), level, table, quarry.contents);
            let (entry, words) = sight.first_idle(wanted)?;
            let place = Place { level, table, entry, order: wanted };
            Some((place, words, sight))
        });
        if level == 0
            && seen.as_ref().is_none_or(|(place, _, sight)| sight.idle(place.entry) == !0)
            && let Some(caught) = self.hunt_in_places(quarry)
        {
            return Some(caught);
        }
        let (place, words, sight) = seen?;
        let caught = self.claim_seen(place, &sight, quarry)?;
        self.finds.set_last(quarry, level, Last::new(place.table, words));
        Some(caught)
    }

    fn level_of(&self, quarry: Quarry) -> (u32, u32) {
        (quarry.order.get() / Self::RADIX, quarry.order.get() % Self::RADIX)
    }

    /// Claims entries that were seen to hold what is wanted.
    fn claim_seen(&self, place: Place, sight: &Sight<'_, WORDS>, quarry: Quarry) -> Option<Caught> {
        self.claim_seen_in(self.tables(), place, sight, quarry)
    }

    #[inline(always)]
    fn claim_seen_in(&self, tables: Tables<'_, WORDS>, place: Place, sight: &Sight<'_, WORDS>, quarry: Quarry) -> Option<Caught> {
        let Place { level, table, entry, order } = place;
        // What it holds can be told only now, and then it may go back.
        let _moving = (quarry.insists || order > 6).then(|| self.motion.begin());
        let Some(before) = sight.here.claim_at(entry, order, self.tell_odd(level, table)) else {
            if order > 6 {
                self.after_undo(level, table);
            }
            return None;
        };
        self.tell_taken(place, before);
        self.keep_or_put_back(tables, place, sight, quarry)
    }

    /// A run that has just been claimed, unless somebody had it meanwhile and left it otherwise. The caller has marked the motion.
    #[inline(always)]
    fn keep_or_put_back(
        &self,
        tables: Tables<'_, WORDS>,
        place: Place,
        sight: &Sight<'_, WORDS>,
        quarry: Quarry,
    ) -> Option<Caught> {
        let run = self.shape.run(place);
        if self.holds(tables, place, sight, quarry.contents) {
            return Some(Caught { run, contents: quarry.contents });
        }
        self.not_as_seen(run, quarry)
    }

    #[cold]
    fn not_as_seen(&self, run: Run, quarry: Quarry) -> Option<Caught> {
        if !quarry.insists {
            return Some(Caught { run, contents: self.contents(run) });
        }
        let _ = self.put_back(run);
        None
    }

    /// A run of a table, in a word that holds other things too if there is one; such words are where the next one is looked for first.
    fn hunt_in(&self, quarry: Quarry, table: usize) -> Option<Caught> {
        let (level, wanted) = self.level_of(quarry);
        let sight = self.sight(self.tables(), level, table, quarry.contents);
        let (entry, words) = sight.first_idle(wanted)?;
        let caught = self.claim_seen(Place { level, table, entry, order: wanted }, &sight, quarry)?;
        self.finds.set_last(quarry, level, Last::new(table, words));
        Some(caught)
    }

    /// In the tables of the run's own level, once round; `Lost` when the looks were used up.
    fn hunt_in_tables(&self, quarry: Quarry, reach: Reach, looks: &mut u32) -> Try<Caught> {
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
                if let Some(caught) = self.hunt_in(quarry, table) {
                    return Try::Got(caught);
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
    fn hunt_above(&self, quarry: Quarry, above: u32, looks: &mut u32) -> Try<Caught> {
        let from = if above == self.shape.top { 0 } else { self.finds.round(quarry, above) };
        let there = self.shape.tables(above).is_some_and(|tables| from < tables);
        for (at, end) in [(from, usize::MAX), (0, from)] {
            // Where one was split last the next one stands most often, and the one on top is in no list. Rounds of the level's own end
            // behind a table, which may be the last one.
            let mut next = if at == from && there { Some(from) } else { self.next_listed(above, at, 0) };
            while let Some(table) = next.filter(|&table| table < end) {
                if let Some(found) = self.find_above(quarry, above, table, looks) {
                    self.finds.set_round(quarry, above, table);
                    return self.claim_found(found, quarry).map_or(Try::Lost, Try::Got);
                }
                *looks = looks.saturating_sub(1);
                if *looks == 0 {
                    return Try::Lost;
                }
                next = if above < self.shape.top { self.next_listed(above, table + 1, 0) } else { None };
            }
        }
        Try::Nothing
    }

    /// A run in an idle entry of a table of a level above.
    fn find_above(&self, quarry: Quarry, above: u32, table: usize, looks: &mut u32) -> Option<Found> {
        let sight = self.sight(self.tables(), above, table, quarry.contents);
        let pure = sight.first_idle(0).map(|(entry, _)| self.head_of(quarry, above, table, entry));
        pure.or_else(|| self.find_in_mixed(quarry, above, table, &sight, false, looks))
    }

    /// Claims a run below an idle entry, and goes on there next time.
    fn claim_found(&self, Found { run, words }: Found, quarry: Quarry) -> Option<Caught> {
        // As in `claim_seen`; the split says itself what it hides.
        let _moving = quarry.insists.then(|| self.motion.begin());
        let place = self.shape.place(run);
        let (tables, claimed) = (self.tables(), self.claim_run(run));
        let sight = self.sight(tables, place.level, place.table, quarry.contents);
        let taken = if claimed { self.keep_or_put_back(tables, place, &sight, quarry) } else { None };
        self.finds.set_last(quarry, place.level, Last::new(place.table, words.unwrap_or(1 << (place.entry / 64))));
        taken
    }

    fn head_of(&self, quarry: Quarry, level: u32, table: usize, entry: u32) -> Found {
        let run = Run::around(self.shape.start(Place { level, table, entry, order: 0 }).get(), quarry.order);
        Found { run, words: None }
    }

    /// A run below one of the idle entries of a table that are mixed, or of all that are mixed where all of it is idle.
    fn find_in_mixed(
        &self,
        quarry: Quarry,
        level: u32,
        table: usize,
        sight: &Sight<'_, WORDS>,
        all_idle: bool,
        looks: &mut u32,
    ) -> Option<Found> {
        let below = level.checked_sub(1)?;
        let tables = self.tables();
        for first in (0..WORDS as u32 * 64).step_by(64) {
            let mut left = sight.mixed(first) & if all_idle { !0 } else { sight.here.note_word(first) };
            while left != 0 {
                let entry = first + left.trailing_zeros();
                let child = self.shape.child(table, entry);
                left &= left - 1;
                let inner = self.sight_below(tables, below, child, (sight, entry));
                let (at, wanted) = self.level_of(quarry);
                let found = match inner.first_held(if at == below { wanted } else { 0 }) {
                    Some((entry, words)) => {
                        let head = self.head_of(quarry, below, child, entry);
                        Some(Found { words: (at == below).then_some(words), ..head })
                    }
                    None if at < below => self.find_in_mixed(quarry, below, child, &inner, true, looks),
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
    fn hunt_in_places(&self, quarry: Quarry) -> Option<Caught> {
        let line = self.fresh_line(self.tables(), slot_of(quarry.caller), quarry.order.get())?;
        let find = self.finds.of(quarry, 0)?;
        let (filled, order) = (line.filled(), quarry.order.get());
        // What comes back is the uppermost: where there are as many as when all held something else, the others still do. Relaxed, here
        // and below: a hint.
        let state = (filled as u64) << 8 | u64::from(order);
        let passed = find.passed.load(Ordering::Relaxed) == state;
        for place in (1..=filled).rev().take(if passed { 1 } else { filled }) {
            let Some(start) = line.get(place) else { continue };
            let (table, entry) = self.shape.entry(start, 0);
            if !self.table(0, table).is_idle(entry, order.min(6)) {
                continue;
            }
            let sight = self.sight(self.tables(), 0, table, quarry.contents);
            let words = (0..1 << order.saturating_sub(6)).map(|word| entry + word * 64);
            if !words.into_iter().all(|entry| Table::<WORDS>::is_within(entry, order.min(6), sight.idle(entry))) {
                continue;
            }
            if let Some(caught) = self.claim_seen(Place { level: 0, table, entry, order }, &sight, quarry) {
                // As in `take_from_places`; a place that is emptied below others costs a look.
                line.empty(place, start);
                return Some(caught);
            }
        }
        if !passed {
            find.passed.store(state, Ordering::Relaxed);
        }
        None
    }
}
