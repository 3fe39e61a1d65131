//! Many runs of one order in one call.

use super::GenPool;
use super::notes::Forgotten;
use super::pieces::{Found, Piece};
use crate::error::{AllocError, FreeManyError};
use crate::extent::Extent;
use crate::offset::{Offset, Run, RunError};
use crate::order::Order;
use crate::page_word::PageWord;

/// Offsets that are looked at together: the pages of a word.
const CHUNK: usize = PageWord::MOST as usize;

/// Allocation.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a run of `order` for each place of `out`, or none.
    ///
    /// As [`GenPool::alloc_words`] takes them; what comes in one piece is written side by side, so that it costs little to give
    /// back. Lock-free; a refusal is true as there.
    pub fn alloc_many(&self, order: Order, out: &mut [Offset]) -> Result<(), AllocError> {
        let since = self.forgotten();
        let (done, error) = self.fill(order, out, |left, found| self.next_piece(left, order, found));
        error.map_or(Ok(()), |error| Err(self.undo_many(since, order, out.get(..done).unwrap_or_default(), out.len(), error)))
    }

    /// Takes a run of `order` for as many places of `out` as there are runs, from the first on; says how many.
    pub fn alloc_some(&self, order: Order, out: &mut [Offset]) -> usize {
        self.fill(order, out, |left, found| self.next_piece(left, order, found)).0
    }

    /// Fills `out` from its start, with pieces of which each is as large as it can be.
    pub(super) fn fill(
        &self,
        order: Order,
        out: &mut [Offset],
        mut next: impl FnMut(u64, &mut Found) -> Result<Piece, AllocError>,
    ) -> (usize, Option<AllocError>) {
        let (mut done, mut found) = (0, self.nothing_found());
        while let Some(room) = out.get_mut(done..).filter(|room| !room.is_empty()) {
            // As many as can be named: beyond that there is no run in any case.
            let left = (room.len() as u64).saturating_mul(order.pages());
            match next(left, &mut found) {
                Ok(Piece::Run(run)) => done += write_run(run, order, room),
                Ok(Piece::Word(word)) => done += write_word(word, room),
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Gives back the runs of a list of `wanted` that could not be filled, as they were; says why it could not.
    #[cold]
    pub(super) fn undo_many(
        &self,
        since: Forgotten,
        order: Order,
        taken: &[Offset],
        wanted: usize,
        error: AllocError,
    ) -> AllocError {
        let unused = self.unused(since);
        let mut left = taken;
        while let Some(first) = left.first() {
            let row = row(order, left);
            let done = match (Extent::new(*first, (row as u64) << order.get()), word_of(order, left)) {
                (Ok(whole), _) if row > 0 => {
                    unused.put_back_row(whole);
                    row
                }
                (_, Ok((word, count))) if !word.is_empty() => {
                    unused.put_back_word(word);
                    count
                }
                _ => {
                    // Owned, so it cannot be idle.
                    let _ = unused.put_back(Run::around(first.get(), order));
                    1
                }
            };
            left = left.get(done..).unwrap_or_default();
        }
        drop(unused);
        self.explain_all(order, wanted, error)
    }
}

/// Writes the runs of `order` that a larger one consists of; says how many.
#[inline]
fn write_run(run: Run, order: Order, room: &mut [Offset]) -> usize {
    let places = room.get_mut(..(run.pages() >> order.get()) as usize).unwrap_or_default();
    let mut start = run.start().get();
    for place in places.iter_mut() {
        *place = Offset::new(start);
        start += order.pages();
    }
    places.len()
}

fn write_word(word: PageWord, room: &mut [Offset]) -> usize {
    room.iter_mut().zip(word).map(|(place, page)| *place = page).count()
}

/// Free.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Gives runs of `order` back; those before one that is refused, and none after it.
    ///
    /// Neighbours in the list that lie in the same word of a table cost one write together, and long rows that follow each other
    /// one for each large run.
    pub fn free_many(&self, order: Order, starts: &[Offset]) -> Result<(), FreeManyError> {
        let mut index = 0;
        while let Some(rest) = starts.get(index..).filter(|rest| !rest.is_empty()) {
            let row = row(order, rest);
            // Where the tables name no run of this order, none of the list is one.
            if row > 0 && order <= self.largest_entry() {
                // A row whose end is no longer an offset is refused one by one.
                let freed = rest.first().map_or(0, |first| self.free_row(*first, (row as u64) << order.get()));
                index += (freed >> order.get()) as usize;
                if freed >> order.get() == row as u64 {
                    continue;
                }
            }
            index += self
                .free_next(order, starts.get(index..).unwrap_or_default())
                .map_err(|(at, error)| FreeManyError::Refused { index: index + at, error })?;
        }
        Ok(())
    }

    /// Frees the first few runs of a list that lie in one word, or the first one; says how many. `Err` with which was refused.
    fn free_next(&self, order: Order, starts: &[Offset]) -> Result<usize, (usize, crate::error::FreeError)> {
        let (word, count) = word_of(order, starts).map_err(|error| (0, error.into()))?;
        if count > 1 && self.free_word(word).is_ok() {
            return Ok(count);
        }
        for (at, start) in starts.iter().take(count).enumerate() {
            self.free(*start, order).map_err(|error| (at, error))?;
        }
        Ok(count)
    }
}

/// How many of the first runs follow each other without a gap, counted in whole chunks: each is one pass without a branch. None if
/// they are no runs because they are not aligned.
fn row(order: Order, starts: &[Offset]) -> usize {
    let Some(first) = starts.first().filter(|first| first.is_aligned(order)) else { return 0 };
    let mut expected = first.get();
    let in_a_row = |chunk: &&[Offset; CHUNK]| {
        let mut differences = 0;
        for start in *chunk {
            differences |= start.get() ^ expected;
            expected = expected.wrapping_add(order.pages());
        }
        differences == 0
    };
    starts.as_chunks().0.iter().take_while(in_a_row).count() * CHUNK
}

/// The pages of the first runs of a list that lie in one word, and how many runs; one if it is larger than a word.
fn word_of(order: Order, starts: &[Offset]) -> Result<(PageWord, usize), RunError> {
    let Some(first) = starts.first() else { return Ok((PageWord::EMPTY, 0)) };
    let Some(word) = PageWord::of(Run::new(*first, order)?) else { return Ok((PageWord::EMPTY, 1)) };
    let (base, bits) = (word.base().get(), !0 >> (PageWord::MOST - order.pages()));
    let (mut mask, mut count) = (0u64, 0);
    for start in starts {
        let bit = start.get().wrapping_sub(base);
        if bit >= PageWord::MOST || !start.is_aligned(order) || mask >> bit & 1 != 0 {
            break;
        }
        mask |= bits << bit;
        count += 1;
    }
    Ok((PageWord::around(base, mask), count))
}
