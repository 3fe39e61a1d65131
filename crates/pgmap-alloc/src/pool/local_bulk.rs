//! Many pages in one call through a per-CPU handle.
//!
//! Whole 2 MiB entries come from the pool, in one claim however many pages that is; words of pages come from the table in which
//! the handle works, where no other CPU writes. What comes back goes into the tables, not to hand: so it is found by everyone, and
//! a page that is freed twice is refused.

use super::GenPool;
use super::local::{Local, LocalPool};
use super::pieces::{Found, Piece};
use super::shape::{Place, WORD};
use crate::error::{AllocError, FreeManyError, ScatterError};
use crate::offset::Offset;
use crate::order::Order;
use crate::page_word::PageWord;

impl<const WORDS: usize> Local<'_, WORDS> {
    /// [`GenPool::next_piece`], with what the handle has.
    fn next_piece(&mut self, left: u64, floor: Order, found: &mut Found) -> Result<Piece, AllocError> {
        let whole = GenPool::<WORDS>::RADIX;
        if floor == Order::ZERO
            && (left < 1 << whole || found.at_most.get() < whole)
            && let Some(word) = self.own_word(left)
        {
            return Ok(Piece::Word(word));
        }
        match self.pool.next_piece(left, floor, found) {
            // What is at hand here is not to be asked for elsewhere.
            Err(AllocError::NoSpace { .. } | AllocError::Fragmented { .. }) if self.cached() > 0 => {
                self.drain();
                self.pool.next_piece(left, floor, found)
            }
            result => result,
        }
    }

    /// Takes up to `left` pages of one word of an own table, or of one that becomes its own; `None` if that word would have less
    /// than half of what it could.
    fn own_word(&mut self, left: u64) -> Option<PageWord> {
        let order = Order::fitting(left)?.min(WORD);
        let has_run = |table: &usize| self.pool.table(0, *table).has(order.get());
        let table = match self.own_table().filter(has_run) {
            Some(table) => table,
            None => {
                self.leave_table();
                self.own_new_table(order)?
            }
        };
        let (index, mask, before) = self.pool.table(0, table).claim_word_for(left.min(PageWord::MOST) as u32)?;
        self.pool.tell_word(Place { level: 0, table, entry: index as u32 * 64, order: 0 }, before, before & !mask);
        Some(PageWord::around(((table as u64) << GenPool::<WORDS>::RADIX) + index as u64 * PageWord::MOST, mask))
    }

    fn alloc_many(&mut self, order: Order, out: &mut [Offset]) -> (usize, Option<AllocError>) {
        self.pool.fill(order, out, |left, found| self.next_piece(left, order, found))
    }

    /// Gives all back if somebody was refused meanwhile, as a free of a single run does.
    fn heed(&mut self) {
        if self.is_pressed() {
            self.drain();
        }
    }
}

impl<const WORDS: usize> LocalPool<'_, WORDS> {
    /// [`GenPool::alloc_many`] through this handle. The runs have no type of their own: give them back with
    /// [`LocalPool::free_many`] or [`GenPool::free`].
    pub fn alloc_many(&mut self, order: Order, out: &mut [Offset]) -> Result<(), AllocError> {
        let (done, error) = self.0.alloc_many(order, out);
        error.map_or(Ok(()), |error| Err(self.0.pool.undo_many(order, out, done, error)))
    }

    /// [`GenPool::alloc_some`] through this handle.
    pub fn alloc_some(&mut self, order: Order, out: &mut [Offset]) -> usize {
        self.0.alloc_many(order, out).0
    }

    /// [`GenPool::free_many`], and what is at hand as well if somebody was refused.
    pub fn free_many(&mut self, order: Order, starts: &[Offset]) -> Result<(), FreeManyError> {
        self.0.heed();
        self.0.pool.free_many(order, starts)
    }

    /// [`GenPool::alloc_words`] through this handle.
    pub fn alloc_words<'o>(&mut self, pages: u64, out: &'o mut [PageWord]) -> Result<&'o [PageWord], ScatterError> {
        let local = &mut self.0;
        local.pool.check_words(pages)?;
        let taken = local.pool.take_words(pages, out, |left, found| local.next_piece(left, Order::ZERO, found));
        if taken.refused.is_some() {
            // What is at hand here is not to be missing elsewhere.
            local.drain();
        }
        let words = local.pool.words_or_why(pages, out, taken)?;
        Ok(out.get(..words).unwrap_or_default())
    }

    /// [`GenPool::alloc_some_words`] through this handle.
    pub fn alloc_some_words<'o>(&mut self, pages: u64, out: &'o mut [PageWord]) -> &'o [PageWord] {
        let local = &mut self.0;
        let taken = local.pool.take_words(pages, out, |left, found| local.next_piece(left, Order::ZERO, found));
        out.get(..taken.words).unwrap_or_default()
    }

    /// [`GenPool::free_words`], and what is at hand as well if somebody was refused.
    pub fn free_words(&mut self, words: &[PageWord]) -> Result<(), FreeManyError> {
        self.0.heed();
        self.0.pool.free_words(words)
    }
}
