//! Single pages by the word: 64 of them cost one write.

use super::GenPool;
use super::pieces::{Found, Piece};
use super::prove::TRIES;
use super::shape::WORD;
use crate::error::{AllocError, FreeError, FreeManyError, ScatterError};
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::page_word::PageWord;

/// Allocation.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes exactly `pages` single pages in few words, or none; says in which. In the worst case each word has one idle page, and
    /// `out` must be as long as `pages`; where the pool is not riddled, a 64th of that and one more will do. Where the list becomes full,
    /// all words are counted, and the fewest that do are taken if they fit: O(tables with idle pages).
    ///
    /// Whole entries of 2 MiB and more come first, then whole words from the fullest tables, then what each word has left.
    /// Lock-free; one claim for each of these, however many pages it is. A refusal is true as for [`GenPool::alloc`]: there was a
    /// moment at which no page was idle but those that this call had taken, and those are given back. Nothing is said of what the
    /// pages hold.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use pgmap_alloc::{GenPool, PageWord, Params, Phys, PhysRange};
    ///
    /// let pool = GenPool::new(&Params::new(&[PhysRange { start: Phys(0), pages: 1 << 20 }])).expect("one sound range");
    /// let mut out = [PageWord::EMPTY; 9];
    /// let words = pool.alloc_words(512, &mut out).expect("an empty pool");
    /// assert_eq!(words.iter().map(|word| word.pages()).sum::<u64>(), 512);
    /// pool.free_words(words).expect("taken above");
    /// # }
    /// ```
    pub fn alloc_words<'o>(&self, pages: u64, out: &'o mut [PageWord]) -> Result<&'o [PageWord], ScatterError> {
        self.check_words(pages)?;
        let taken = self.take_words(pages, out, |left, found| self.next_piece(left, Order::ZERO, found));
        let words = self.words_or_why(pages, out, taken)?;
        Ok(out.get(..words).unwrap_or_default())
    }

    /// Takes up to `pages` single pages, as many as there are and as fit into the words of `out`; says in which.
    pub fn alloc_some_words<'o>(&self, pages: u64, out: &'o mut [PageWord]) -> &'o [PageWord] {
        let taken = self.take_words(pages, out, |left, found| self.next_piece(left, Order::ZERO, found));
        out.get(..taken.words).unwrap_or_default()
    }

    pub(super) fn check_words(&self, pages: u64) -> Result<(), ScatterError> {
        match pages {
            0 => Err(ScatterError::NoPages),
            pages if pages > self.size() => Err(ScatterError::TooLarge { pages }),
            _ => Ok(()),
        }
    }

    /// Takes pieces until there are `pages`, `out` is full or none is to be had.
    pub(super) fn take_words(
        &self,
        pages: u64,
        out: &mut [PageWord],
        mut next: impl FnMut(u64, &mut Found) -> Result<Piece, AllocError>,
    ) -> TakenWords {
        let (mut left, mut words, mut found) = (pages, 0, self.nothing_found());
        while left > 0 {
            let room = out.get_mut(words..).unwrap_or_default();
            if room.is_empty() {
                return TakenWords { words, refused: Some(Refusal::ListFull) };
            }
            let piece = match next(left.min(room.len() as u64 * PageWord::MOST), &mut found) {
                Ok(piece) => piece,
                Err(error) => return TakenWords { words, refused: Some(Refusal::Pool(error)) },
            };
            let taken = match piece {
                Piece::Run(run) => write_run(run, room),
                Piece::Word(word) => write_word(word, room),
            };
            words += taken.0;
            left = left.saturating_sub(taken.1);
        }
        TakenWords { words, refused: None }
    }

    /// How many words the pages came in; or gives them back, looks further, and says why they could not be had.
    #[inline]
    pub(super) fn words_or_why(&self, pages: u64, out: &mut [PageWord], taken: TakenWords) -> Result<usize, ScatterError> {
        let Some(refusal) = taken.refused else { return Ok(taken.words) };
        self.undo_words(out.get(..taken.words).unwrap_or_default());
        match refusal {
            Refusal::ListFull => self.words_or_prove(pages, out),
            Refusal::Pool(AllocError::NoSpace { cached } | AllocError::Fragmented { cached }) => {
                Err(ScatterError::NoSpace { idle: self.avail(), cached })
            }
            Refusal::Pool(_) => Err(ScatterError::Contended),
        }
    }

    /// Takes pages in the fewest words there are, or shows that those are too many, or the pages too few.
    #[cold]
    fn words_or_prove(&self, pages: u64, out: &mut [PageWord]) -> Result<usize, ScatterError> {
        let room = out.len();
        let shown = self.until_shown(self.shape.top, TRIES, |holds| match self.fewest_words(pages) {
            Some(plan) if plan.words <= room => match self.take_planned(&plan, pages, out) {
                Ok(()) => Some(Ok(plan.words)),
                Err(taken) => {
                    self.undo_words(out.get(..taken).unwrap_or_default());
                    None
                }
            },
            Some(_) if holds() => Some(Err(ScatterError::ListFull { room, cached: self.handles.press() })),
            None if holds() => Some(Err(ScatterError::NoSpace { idle: self.avail(), cached: self.handles.press() })),
            _ => None,
        });
        shown.unwrap_or(Err(ScatterError::Contended))
    }

    /// Gives back what was taken of what could not be whole.
    #[cold]
    pub(super) fn undo_words(&self, taken: &[PageWord]) {
        // Taken by us a moment ago. The notes of what they hold stand where the larger runs were that they were cut from, so
        // they come back as dirty.
        let _ = self.free_words(taken);
    }
}

/// How far an allocation of words came.
pub(super) struct TakenWords {
    /// How many words were written.
    pub(super) words: usize,
    /// Why there are not as many pages as were wanted.
    pub(super) refused: Option<Refusal>,
}

/// Why the next piece was not taken.
pub(super) enum Refusal {
    ListFull,
    Pool(AllocError),
}

/// How many words a run was written to, and how many pages they name.
fn write_run(run: Run, room: &mut [PageWord]) -> (usize, u64) {
    if let Some(word) = PageWord::of(run) {
        return write_word(word, room);
    }
    let bases = (run.start().get()..run.end().get()).step_by(PageWord::MOST as usize);
    let written = room.iter_mut().zip(bases).map(|(place, base)| *place = PageWord::around(base, !0)).count();
    (written, run.pages())
}

fn write_word(word: PageWord, room: &mut [PageWord]) -> (usize, u64) {
    let written = room.iter_mut().take(1).map(|place| *place = word).count();
    (written, word.pages())
}

/// Free.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Gives single pages back, whether they were taken by the word or not; where contents are tracked, as dirty.
    ///
    /// Of a word of which a page is refused none is freed, nor any of the words after it; those before it are. That check is
    /// as exact as that of [`GenPool::free`]. Lock-free; one write for each word, and one for each whole entry of 2 MiB or more
    /// where words of 64 pages follow each other.
    pub fn free_words(&self, words: &[PageWord]) -> Result<(), FreeManyError> {
        let mut index = 0;
        while let Some(word) = words.get(index) {
            let row = words.get(index..).map_or(0, whole_row);
            let freed = if row > 1 { self.free_row(word.base(), row as u64 * PageWord::MOST) } else { 0 };
            index += (freed / PageWord::MOST) as usize;
            // The rest of the row is not as it should be: that is found word by word.
            for word in words.get(index..).unwrap_or_default().iter().take(row.max(1) - (freed / PageWord::MOST) as usize) {
                self.free_word(*word).map_err(|error| FreeManyError::Refused { index, error })?;
                index += 1;
            }
        }
        Ok(())
    }

    /// Frees contiguous pages in runs that are as large as can be, until one is refused; says how many pages were freed, a multiple
    /// of 64 if `start` and `pages` are.
    pub(super) fn free_row(&self, start: Offset, pages: u64) -> u64 {
        let Ok(extent) = Extent::new(start, pages) else { return 0 };
        // Not in smaller pieces than words: of a word all pages are freed, or none.
        extent
            .runs(self.largest_entry().max(WORD))
            .map_while(|run| self.free(run.start(), run.order()).ok().map(|()| run.pages()))
            .sum()
    }

    /// Frees the pages of a word, all or none.
    pub(super) fn free_word(&self, word: PageWord) -> Result<(), FreeError> {
        let (Some(first), Some(last)) = (word.first(), word.last()) else { return Ok(()) };
        let inside = self.ranges.end_of(first).is_some_and(|end| last < end) || word.iter().all(|page| self.has_offset(page));
        if !inside {
            return Err(FreeError::OutOfRange);
        }
        // Marks and notes are kept by the run.
        if self.clear.is_tracked() || self.any_held() {
            return self.free_runs_of(word);
        }
        let page = Run::around(first.get(), Order::ZERO);
        if let Some(page) = self.idle_page_around(self.tables(), page, self.shape.place_at(0, page)) {
            return Err(FreeError::DoubleFree { page });
        }
        self.put_back_word(word.base().get(), word.mask())
    }

    fn free_runs_of(&self, word: PageWord) -> Result<(), FreeError> {
        word.runs().try_for_each(|run| {
            self.check_taken(run)?;
            self.idle_page_in(run).map_or(Ok(()), |page| Err(FreeError::DoubleFree { page }))
        })?;
        word.runs().try_for_each(|run| self.give_back(run))
    }
}

/// How many of the first words name all their pages and follow each other.
fn whole_row(words: &[PageWord]) -> usize {
    let first = words.first().map_or(0, |word| word.base().get());
    let expected = (first..).step_by(PageWord::MOST as usize);
    words.iter().zip(expected).take_while(|(word, base)| word.is_whole() && word.base().get() == *base).count()
}
