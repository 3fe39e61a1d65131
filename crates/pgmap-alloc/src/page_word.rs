//! Single pages by the word: 64 neighbours and a bit for each, as the tables keep them.

use core::fmt;
use core::iter::FusedIterator;

use crate::offset::{Offset, Run};
use crate::order::Order;

/// The order of the pages that one word can name.
const WHOLE: u32 = 6;

/// A base that no word of pages can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageWordError {
    /// The base is no multiple of 64 pages.
    Misaligned,
    /// The last page would lie beyond the last offset that can be named.
    Overflow,
}

impl fmt::Display for PageWordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PageWordError::Misaligned => "the base is not a multiple of 64 pages",
            PageWordError::Overflow => "base plus 64 pages overflows",
        })
    }
}

impl core::error::Error for PageWordError {}

/// Some of the 64 pages from a multiple of 64 on: bit `n` of the mask stands for page `base + n`.
///
/// What many single pages are passed around as where the number of calls, of instructions or of bytes counts: 16 bytes name up to
/// 64 pages. It may name none.
///
/// Holding one proves that the base is aligned and that no page of it overflows; it does not prove that any pool holds them.
///
/// ```
/// use pgmap_alloc::{Offset, PageWord};
///
/// let word = PageWord::new(Offset::new(128), 0b1011)?;
/// assert_eq!(word.pages(), 3);
/// assert!(word.iter().map(Offset::get).eq([128, 129, 131]));
/// # Ok::<(), pgmap_alloc::PageWordError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageWord {
    base: u64,
    mask: u64,
}

impl PageWord {
    /// No pages: what a list of words is made of before it is filled.
    pub const EMPTY: PageWord = PageWord { base: 0, mask: 0 };

    /// How many pages it names at most.
    pub const MOST: u64 = 1 << WHOLE;

    /// Checks alignment and overflow of `base`; any mask will do.
    pub const fn new(base: Offset, mask: u64) -> Result<PageWord, PageWordError> {
        if !base.get().is_multiple_of(PageWord::MOST) {
            return Err(PageWordError::Misaligned);
        }
        match base.checked_add(PageWord::MOST) {
            Some(_) => Ok(PageWord { base: base.get(), mask }),
            None => Err(PageWordError::Overflow),
        }
    }

    /// The pages of a run; `None` if they are more than a word names.
    pub const fn of(run: Run) -> Option<PageWord> {
        if run.order().get() > WHOLE {
            return None;
        }
        let bit = run.start().get() % PageWord::MOST;
        Some(PageWord { base: run.start().get() - bit, mask: (!0 >> (PageWord::MOST - run.pages())) << bit })
    }

    /// The word that `page` lies in, with these bits of it: for offsets that are known to belong to a pool.
    #[inline]
    pub(crate) const fn around(page: u64, mask: u64) -> PageWord {
        PageWord { base: page & !(PageWord::MOST - 1), mask }
    }

    /// The page that bit 0 stands for.
    pub const fn base(self) -> Offset {
        Offset::new(self.base)
    }

    /// A one for each page.
    pub const fn mask(self) -> u64 {
        self.mask
    }

    /// How many pages it names.
    pub const fn pages(self) -> u64 {
        self.mask.count_ones() as u64
    }

    /// Whether it names none.
    pub const fn is_empty(self) -> bool {
        self.mask == 0
    }

    /// Whether it names all 64.
    pub const fn is_whole(self) -> bool {
        self.mask == !0
    }

    /// Whether it names `page`.
    pub const fn contains(self, page: Offset) -> bool {
        page.get() & !(PageWord::MOST - 1) == self.base && self.mask >> (page.get() % PageWord::MOST) & 1 != 0
    }

    /// The lowest page.
    #[inline]
    pub const fn first(self) -> Option<Offset> {
        if self.mask == 0 { None } else { Some(Offset::new(self.base + self.mask.trailing_zeros() as u64)) }
    }

    /// The highest page.
    #[inline]
    pub(crate) const fn last(self) -> Option<Offset> {
        if self.mask == 0 { None } else { Some(Offset::new(self.base + 63 - self.mask.leading_zeros() as u64)) }
    }

    /// Its pages, in rising order.
    pub fn iter(self) -> Pages {
        Pages(self)
    }

    /// The largest aligned runs that it consists of, in rising order.
    pub fn runs(self) -> impl Iterator<Item = Run> {
        let mut left = self.mask;
        core::iter::from_fn(move || {
            let bit = left.trailing_zeros();
            if bit == u64::BITS {
                return None;
            }
            let aligned = if bit == 0 { WHOLE } else { bit.trailing_zeros() };
            let order = aligned.min((left >> bit).trailing_ones().checked_ilog2().unwrap_or(0));
            left &= !(!0 >> (u64::BITS - (1 << order)) << bit);
            Some(Run::aligned(self.base + u64::from(bit), Order::clamped(order)))
        })
    }
}

impl IntoIterator for PageWord {
    type Item = Offset;
    type IntoIter = Pages;

    fn into_iter(self) -> Pages {
        self.iter()
    }
}

impl fmt::Display for PageWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:#x}", self.base, self.mask)
    }
}

/// The pages of a [`PageWord`], in rising order.
#[derive(Clone, Debug)]
pub struct Pages(PageWord);

impl Iterator for Pages {
    type Item = Offset;

    #[inline]
    fn next(&mut self) -> Option<Offset> {
        let page = self.0.first()?;
        self.0.mask &= self.0.mask - 1;
        Some(page)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.mask.count_ones() as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Pages {}

impl FusedIterator for Pages {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_42_a_word_names_the_pages_of_its_mask() {
        for mask in [0, 1, 0b1011, 1 << 63, !0, 0xFF00_0000_0000_F0F1] {
            let word = PageWord::new(Offset::new(640), mask).unwrap();
            let pages: [bool; 64] = core::array::from_fn(|bit| word.contains(Offset::new(640 + bit as u64)));
            assert!(word.iter().eq((640..704).filter(|page| pages[*page as usize - 640]).map(Offset::new)));
            assert_eq!((word.iter().len() as u64, word.is_empty()), (word.pages(), mask == 0));
            assert_eq!((word.first(), word.last()), (word.iter().min(), word.iter().max()));
            assert_eq!(word.runs().fold(0, |seen, run| seen + run.pages()), word.pages());
            assert!(word.runs().all(|run| (run.start().get()..run.end().get()).all(|page| word.contains(Offset::new(page)))));
            assert!(!word.contains(Offset::new(639)) && !word.contains(Offset::new(704)));
        }
        let whole = PageWord::new(Offset::new(64), !0).unwrap();
        assert!(whole.is_whole() && whole.runs().map(Run::order).eq([Order::clamped(6)]));
        assert!(PageWord::new(Offset::new(0), 0b1110).unwrap().runs().map(Run::pages).eq([1, 2]));
    }

    #[test]
    fn req_04_a_word_has_an_aligned_base_and_does_not_overflow() {
        assert_eq!(PageWord::new(Offset::new(63), 0), Err(PageWordError::Misaligned));
        assert_eq!(PageWord::new(Offset::new(!63), 0), Err(PageWordError::Overflow));
        assert!(PageWord::new(Offset::new(!127), !0).is_ok());
        for order in 0..8 {
            for start in (0..256u64).step_by(1 << order) {
                let run = Run::new(Offset::new(start), Order::clamped(order)).unwrap();
                let word = PageWord::of(run);
                assert_eq!(word.is_some(), order <= 6);
                assert!(word.is_none_or(|word| word.runs().eq([run])), "{run}");
            }
        }
    }
}
