//! Ranges that come and go while the pool is in use.
//!
//! A range that comes is known first and idle then; one that goes is taken first, all of it, and forgotten then. So nobody ever
//! gets a page that no range holds, and what is taken cannot be lost.

use super::ranges::{Change, NewRange, PlacedRange};
use super::{GenPool, runs_of};
use crate::error::{AddRangeError, RemoveRangeError, RequestError};
use crate::offset::{Offset, PhysRange, Run};

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Adds a range, with a tag or with room to grow if it is a [`NewRange`]: its pages become idle. Room for it was asked for by
    /// [`Params::with_room`](super::Params::with_room).
    ///
    /// It gets offsets that suit its alignment: in a gap about as large as it is, such as a removed range leaves, else behind all ranges.
    ///
    /// One caller at a time changes ranges, and never waits: another is refused with [`AddRangeError::Changing`]. Allocations and frees
    /// are not held up. O(log n) in the number of ranges, and the tables at its edges; O(n) before a refusal, or where only gaps
    /// of its own length are left. Any context. After an error nothing has changed.
    pub fn add_range(&self, range: impl Into<NewRange>) -> Result<PlacedRange, AddRangeError> {
        let mut change = self.ranges.change().ok_or(AddRangeError::Changing)?;
        let placed = change.add(&range.into(), self.shape.pages)?;
        self.seed(placed.first, placed.end());
        Ok(placed)
    }

    /// Makes the range that starts at offset `first` longer by `by`, memory that starts at the address where the range ends. It is one
    /// range from then on: runs and extents may cross the seam, and it can be removed only as a whole. Returns the longer range.
    ///
    /// Up to the size that it was added with room for ([`NewRange::growing_to`], [`Params::growing_to`](super::Params::growing_to)) the
    /// offsets are there. Beyond that it grows only if the offsets behind it are free, which takes them from ranges still to be added
    /// ([`AddRangeError::NoRoom`]), and if its own suit the larger size. Cost, callers and context as for [`GenPool::add_range`].
    pub fn grow_range(&self, first: Offset, by: PhysRange) -> Result<PlacedRange, AddRangeError> {
        self.grow_range_if(first, by, || true)
    }

    /// [`GenPool::grow_range`], if `stays` says that the range is not leaving; no range is closed meanwhile.
    pub(crate) fn grow_range_if(
        &self,
        first: Offset,
        by: PhysRange,
        stays: impl FnOnce() -> bool,
    ) -> Result<PlacedRange, AddRangeError> {
        let mut change = self.ranges.change().ok_or(AddRangeError::Changing)?;
        if !stays() {
            return Err(AddRangeError::Leaving);
        }
        let (before, grown) = change.grow(first, &by, self.shape.pages)?;
        self.seed(before.end(), grown.end());
        Ok(grown)
    }

    /// Makes the pages from `first` up to `end`, all of one range, idle, as the largest runs there are.
    pub(super) fn seed(&self, first: Offset, end: Offset) {
        for run in self.runs_between(first, end) {
            // The pages were outside until now, so nobody can have freed them.
            let _ = self.give_back(run);
        }
    }

    /// Takes the range that starts at `first` away, if all of it is idle; otherwise nothing changes.
    ///
    /// One caller at a time ([`RemoveRangeError::Changing`]), never waits; the rest of the pool is not held up, but may find the pages of
    /// this range taken for a moment.
    pub fn remove_range(&self, first: Offset) -> Result<PlacedRange, RemoveRangeError> {
        let mut change = self.ranges.change().ok_or(RemoveRangeError::Changing)?;
        let range = self.ranges.of(first).filter(|range| range.first == first).ok_or(RemoveRangeError::Unknown)?;
        let since = self.forgotten();
        let Some((stuck, error)) = self.runs_in(range).find_map(|run| Some((run, self.take_at(run).err()?))) else {
            change.remove(&range);
            return Ok(range);
        };
        let unused = self.unused(since);
        for run in self.runs_in(range).take_while(|run| *run != stuck) {
            // They were taken a moment ago, by us.
            let _ = unused.put_back(run);
        }
        drop(unused);
        Err(match error {
            RequestError::Contended => RemoveRangeError::Contended,
            _ => RemoveRangeError::InUse { page: self.taken_page_in(stuck).unwrap_or(stuck.start()) },
        })
    }

    /// The right to change the ranges, unless another caller has it: no range comes, goes or grows until it is dropped.
    pub(crate) fn change_ranges(&self) -> Option<Change<'_>> {
        self.ranges.change()
    }

    /// Forgets the range that starts at `first`, all of whose pages the caller owns: they are idle at no moment. Calls `then` when
    /// nobody finds them any more, and before their offsets can be another range's.
    pub(crate) fn forget_range(&self, first: Offset, then: impl FnOnce()) -> Result<PlacedRange, RemoveRangeError> {
        let mut change = self.ranges.change().ok_or(RemoveRangeError::Changing)?;
        let range = self.ranges.of(first).filter(|range| range.first == first).ok_or(RemoveRangeError::Unknown)?;
        change.remove(&range);
        then();
        Ok(range)
    }

    /// The largest aligned runs of a range.
    fn runs_in(&self, range: PlacedRange) -> impl Iterator<Item = Run> + use<WORDS> {
        self.runs_between(range.first, range.end())
    }

    fn runs_between(&self, first: Offset, end: Offset) -> impl Iterator<Item = Run> + use<WORDS> {
        runs_of(first.get(), end.get(), self.shape.entry_order(self.shape.top + 1))
    }

    /// The first page of `run` that is not idle, if one is not by now.
    pub(crate) fn taken_page_in(&self, run: Run) -> Option<Offset> {
        let page = self.idle_until(run.start().get(), run.end().get());
        (page < run.end().get()).then(|| Offset::new(page))
    }
}
