//! How few runs, or words, some pages come in: who says that a list is too short counts them (`motion`).
//!
//! A call in bulk takes what is to be had soon, and pieces come and go while it does. So a list that has become full says nothing of the
//! pool. What was taken goes back then, and all that is idle is counted: either it would do, and is taken, or the refusal holds.

use core::ops::ControlFlow;

use super::GenPool;
use super::clear::Wish;
use super::fit::Side;
use super::notes::Contents;
use super::shape::{Place, WORD};
use super::walk::Trail;
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::page_word::PageWord;

/// Which words some pages come in, if in as few as can be.
pub(super) struct Plan {
    /// How many words.
    pub(super) words: usize,
    /// None of them has fewer idle pages than this.
    least: u64,
    /// How many of them have just as many.
    of_least: usize,
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// The fewest runs of `least` or more in a window that make up so many pages; `None` if none do. For cleared pages only those that
    /// are count. O(gaps).
    pub(super) fn fewest_runs(&self, wanted: u64, least: Order, window: Extent, wish: Wish) -> Option<usize> {
        let mut pages = [0; Order::MAX.get() as usize + 1];
        let mut count = |gap: Extent| {
            for run in gap.runs(self.largest_entry()) {
                if let Some(pages) = pages.get_mut(run.order().get() as usize) {
                    *pages += run.pages();
                }
            }
            ControlFlow::Continue(())
        };
        let _ = if wish == Wish::Cleared {
            self.stretches(window, least, Contents::Cleared, &mut count)
        } else {
            self.gaps(&Trail { window, order: least, from: Side::Bottom }, &mut count)
        };
        // Larger runs can be cut, and each order is a multiple of the next: the largest first is the fewest.
        let (mut left, mut runs, mut idle) = (wanted, 0, 0);
        for (order, pages) in pages.into_iter().enumerate().skip(least.get() as usize).rev() {
            idle += pages;
            let taken = left.min(idle) >> order;
            (left, idle, runs) = (left - (taken << order), idle - (taken << order), runs + taken);
        }
        if left == 0 { usize::try_from(runs).ok() } else { None }
    }

    /// The fewest words that so many pages come in; `None` if fewer are idle. O(tables with idle pages).
    pub(super) fn fewest_words(&self, pages: u64) -> Option<Plan> {
        // How many words have so many idle pages.
        let mut counts = [0; PageWord::MOST as usize + 1];
        let _ = self.idle_words(&mut |word, count| {
            if let Some(counted) = counts.get_mut(word.pages() as usize) {
                *counted += count;
            }
            ControlFlow::Continue(())
        });
        let (mut left, mut words) = (pages, 0);
        for (least, count) in counts.into_iter().enumerate().skip(1).rev() {
            let least = least as u64;
            let of_least = left.div_ceil(least).min(count);
            words += of_least;
            left = left.saturating_sub(of_least * least);
            if left == 0 {
                return Some(Plan { words: usize::try_from(words).ok()?, least, of_least: usize::try_from(of_least).ok()? });
            }
        }
        None
    }

    /// Takes pages as planned, if they are still there. The list has room for all words; `Err` says how many of it are to be given back,
    /// because others were faster.
    pub(super) fn take_planned(&self, plan: &Plan, pages: u64, out: &mut [PageWord]) -> Result<(), usize> {
        let out = out.get_mut(..plan.words).ok_or(0usize)?;
        let (mut places, mut of_least) = (out.iter_mut(), plan.of_least);
        let flow = self.idle_words(&mut |word, count| {
            let mut bases = (word.base().get()..).step_by(PageWord::MOST as usize).take(count as usize);
            while word.pages() > plan.least || word.pages() == plan.least && of_least > 0 {
                let Some(base) = bases.next() else { break };
                let Some(place) = places.next() else { return ControlFlow::Break(()) };
                *place = PageWord::around(base, word.mask());
                of_least -= usize::from(word.pages() == plan.least);
            }
            ControlFlow::Continue(())
        });
        // More or fewer than were counted.
        if flow.is_break() || places.next().is_some() {
            return Err(0);
        }
        let mut left = pages;
        for (index, place) in out.iter_mut().enumerate() {
            let wanted = left.min(place.pages());
            *place = self.take_of_word(*place, wanted);
            left -= place.pages();
            if place.pages() < wanted {
                return Err(index + 1);
            }
        }
        if left == 0 { Ok(()) } else { Err(out.len()) }
    }

    /// Takes the lowest so many idle pages of a word, or as many as there are.
    fn take_of_word(&self, word: PageWord, wanted: u64) -> PageWord {
        let (table, entry) = self.shape.entry(word.base(), 0);
        if let Some((taken, before)) = self.table(0, table).claim_in_word((entry / 64) as usize, wanted as u32) {
            self.tell_word(Place { level: 0, table, entry, order: 0 }, before, before & !taken);
            return PageWord::around(word.base().get(), taken);
        }
        // It was seen as a part of something larger. What is not wanted of it goes back.
        let _moving = self.motion.begin();
        if !word.is_whole() || !self.claim_run(Run::around(word.base().get(), WORD)) {
            return PageWord::EMPTY;
        }
        let taken = !0 >> (PageWord::MOST - wanted);
        if taken != !0 {
            // Claimed by us a moment ago.
            let _ = self.put_back_word(word.base().get(), !taken);
        }
        PageWord::around(word.base().get(), taken)
    }

    /// Shows `see` each word with idle pages, and of words that are wholly idle how many follow each other.
    fn idle_words(&self, see: &mut dyn FnMut(PageWord, u64) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut pending = PageWord::EMPTY;
        self.walk(&Trail { window: Extent::ALL, order: Order::ZERO, from: Side::Bottom }, &mut |level, idle| {
            let start = idle.start().get();
            let base = start & !(PageWord::MOST - 1);
            if level == 0 && pending.base() == Offset::new(base) {
                pending = PageWord::around(base, pending.mask() | part(start - base, idle.pages()));
                return ControlFlow::Continue(());
            }
            let before = core::mem::take(&mut pending);
            if !before.is_empty() {
                see(before, 1)?;
            }
            if level > 0 {
                return see(PageWord::around(base, !0), idle.pages() / PageWord::MOST);
            }
            pending = PageWord::around(base, part(start - base, idle.pages()));
            ControlFlow::Continue(())
        })?;
        if pending.is_empty() { ControlFlow::Continue(()) } else { see(pending, 1) }
    }
}

/// `pages` bits of a word, from one on; at least one.
const fn part(from: u64, pages: u64) -> u64 {
    !0 >> (PageWord::MOST - pages) << from
}
