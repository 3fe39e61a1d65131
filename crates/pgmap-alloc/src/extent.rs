//! Pages side by side, any number of them: what a run is without its power of two.

use core::fmt;

use crate::offset::{Offset, Run};
use crate::order::Order;

/// Two offsets that enclose no extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtentError {
    /// There is no page in it.
    Empty,
    /// It would end beyond the last offset that can be named.
    Overflow,
}

impl fmt::Display for ExtentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExtentError::Empty => "an extent has at least one page",
            ExtentError::Overflow => "offset plus length overflows",
        })
    }
}

impl core::error::Error for ExtentError {}

/// At least one page, and all pages up to an end that is not part of it: `[start, end)`. Also used for windows.
///
/// Holding one proves that it is not empty and that its end does not overflow; it does not prove that any pool holds it. So a window
/// without a page cannot be written:
///
/// ```compile_fail,E0451
/// use pgmap_alloc::{Extent, Offset};
/// let empty = Extent { start: Offset::new(0), pages: 0 };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    start: Offset,
    pages: u64,
}

impl Extent {
    /// All offsets.
    pub const ALL: Extent = Extent { start: Offset::new(0), pages: u64::MAX };

    /// `pages` pages from `start` on.
    pub const fn new(start: Offset, pages: u64) -> Result<Extent, ExtentError> {
        if pages == 0 {
            return Err(ExtentError::Empty);
        }
        if start.checked_add(pages).is_none() {
            return Err(ExtentError::Overflow);
        }
        Ok(Extent { start, pages })
    }

    /// The pages from `start` up to `end`, which is not part of it.
    pub const fn between(start: Offset, end: Offset) -> Result<Extent, ExtentError> {
        match end.get().checked_sub(start.get()) {
            Some(pages) => Extent::new(start, pages),
            None => Err(ExtentError::Empty),
        }
    }

    /// Its first page.
    pub const fn start(self) -> Offset {
        self.start
    }

    /// The first page after it.
    pub const fn end(self) -> Offset {
        Offset::new(self.start.get() + self.pages)
    }

    /// Its length in pages.
    pub const fn pages(self) -> u64 {
        self.pages
    }

    /// Whether `page` is one of its pages.
    pub const fn contains(self, page: Offset) -> bool {
        page.get() >= self.start.get() && page.get() < self.end().get()
    }

    /// What it has in common with another one.
    pub fn common(self, other: Extent) -> Option<Extent> {
        Extent::between(self.start.max(other.start), self.end().min(other.end())).ok()
    }

    /// The largest aligned runs that it consists of, in rising order: few, and none larger than `limit`.
    pub fn runs(self, limit: Order) -> impl Iterator<Item = Run> {
        let (mut at, end) = (self.start.get(), self.end().get());
        core::iter::from_fn(move || {
            let fitting = Order::fitting(end.checked_sub(at)?)?.get();
            let aligned = if at == 0 { fitting } else { at.trailing_zeros() };
            let run = Run::around(at, Order::clamped(fitting.min(aligned).min(limit.get())));
            at = run.end().get();
            Some(run)
        })
    }
}

impl From<Run> for Extent {
    fn from(run: Run) -> Extent {
        Extent { start: run.start(), pages: run.pages() }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_41_an_extent_is_cut_into_few_aligned_runs() {
        for start in 0..40 {
            for pages in 1..80 {
                let extent = Extent::new(Offset::new(start), pages).unwrap();
                let mut at = start;
                let mut count = 0;
                for run in extent.runs(Order::MAX) {
                    assert_eq!(run.start().get(), at);
                    at = run.end().get();
                    count += 1;
                }
                assert_eq!(at, start + pages);
                assert!(count <= 2 * (pages.ilog2() + 1), "{extent} in {count} runs");
            }
        }
        assert_eq!(Extent::new(Offset::new(1), 0), Err(ExtentError::Empty));
        assert_eq!(Extent::new(Offset::new(1), u64::MAX), Err(ExtentError::Overflow));
        assert_eq!(Extent::between(Offset::new(5), Offset::new(5)), Err(ExtentError::Empty));
        assert_eq!(Extent::between(Offset::new(5), Offset::new(4)), Err(ExtentError::Empty));
    }
}
