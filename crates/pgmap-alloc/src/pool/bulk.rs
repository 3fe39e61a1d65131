//! Many runs in one call.

use super::GenPool;
use super::asked::{ExtentParams, Mode};
use super::choose::Holding;
use super::clear::Wish;
use super::prove::{Try, Unproved};
use super::shape::Place;
use crate::error::{AllocError, AllocExtentError, FreeError, FreeManyError, ScatterError};
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;

/// What pages in several runs are asked for.
#[derive(Clone, Copy, Debug)]
pub struct ScatterParams {
    /// How many pages, a multiple of the smallest run.
    pub pages: u64,
    /// No run is smaller than this one.
    pub min_block: Order,
    /// The offsets to look in.
    pub window: Extent,
    /// How the place for each run is chosen.
    pub mode: Mode,
    /// What the pages should hold. A run that does not is taken rather than two smaller ones that do.
    pub wish: Wish,
}

impl ScatterParams {
    /// So many pages, anywhere, in runs of any size.
    pub const fn new(pages: u64) -> ScatterParams {
        ScatterParams { pages, min_block: Order::ZERO, window: Extent::ALL, mode: Mode::Simple, wish: Wish::DontCare }
    }

    /// With no run smaller than this one.
    #[must_use]
    pub const fn in_blocks_of(self, min_block: Order) -> ScatterParams {
        ScatterParams { min_block, ..self }
    }

    /// Only in these offsets.
    #[must_use]
    pub const fn within(self, window: Extent) -> ScatterParams {
        ScatterParams { window, ..self }
    }

    /// With the place for each run chosen in this way.
    #[must_use]
    pub const fn by(self, mode: Mode) -> ScatterParams {
        ScatterParams { mode, ..self }
    }

    /// With pages that hold this, if that is to be had; [`GenPool::contents_of`] says of each run what it holds.
    #[must_use]
    pub const fn wishing(self, wish: Wish) -> ScatterParams {
        ScatterParams { wish, ..self }
    }

    /// What each run must hold, one after another.
    fn holding(&self) -> &'static [Holding] {
        match self.wish {
            Wish::DontCare => &[Holding::Anything],
            Wish::PreferCleared => &[Holding::ClearedSoon, Holding::Anything],
            Wish::Cleared => &[Holding::Cleared],
        }
    }

    fn extent(&self, order: Order) -> ExtentParams {
        ExtentParams::new(order.pages()).aligned(order.pages()).within(self.window).by(self.mode)
    }
}

/// Allocation.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes the largest run that is to be had, of `order` at most and of `floor` at least; a floor above `order` counts as it.
    ///
    /// Lock-free; O(levels) for each order in between. A refusal is true as for [`GenPool::alloc`].
    pub fn alloc_up_to(&self, order: Order, floor: Order) -> Result<Run, AllocError> {
        let floor = floor.min(order);
        let order = order.min(self.largest_order()).max(floor);
        match self.attempt(order) {
            Some(run) => Ok(run),
            None => self.largest_or_prove(order, floor),
        }
    }

    #[cold]
    fn largest_or_prove(&self, order: Order, floor: Order) -> Result<Run, AllocError> {
        if floor > self.largest_order() {
            return Err(AllocError::TooLarge);
        }
        let found = self.until_proved(order.get() / Self::RADIX, || {
            let largest = (floor.get()..=order.get()).rev().find_map(|order| self.search(Order::clamped(order)));
            largest.or_else(|| self.take_from_handles(floor)).map_or(Try::Nothing, Try::Got)
        });
        found.map_err(|unproved| match unproved {
            Unproved::Nothing => AllocError::NoSpace { cached: self.handles.press() },
            Unproved::Contended => AllocError::Contended,
        })
    }

    /// Takes a run of `order` for each place of `out`, or none.
    pub fn alloc_many(&self, order: Order, out: &mut [Offset]) -> Result<(), AllocError> {
        let wanted = out.len();
        let (done, error) = self.fill(order, out);
        let Some(error) = error else { return Ok(()) };
        debug_assert!(done < wanted);
        for start in out.iter().take(done) {
            // Taken by us a moment ago. Their notes stand where the larger runs were that they were cut from.
            let _ = self.give_back(Run::around(start.get(), order));
        }
        Err(error)
    }

    /// Takes a run of `order` for as many places of `out` as there are runs, from the first on; says how many.
    pub fn alloc_some(&self, order: Order, out: &mut [Offset]) -> usize {
        self.fill(order, out).0
    }

    /// Fills `out` from its start, with runs cut from larger ones of up to a word of a table.
    fn fill(&self, order: Order, out: &mut [Offset]) -> (usize, Option<AllocError>) {
        let mut done = 0;
        while let Some(room) = out.get_mut(done..)
            && let Some(fitting) = Order::fitting(room.len() as u64)
        {
            let chunk = Order::clamped(order.get() + fitting.get().min(6));
            let run = match self.alloc_up_to(chunk, order) {
                Ok(run) => run,
                Err(error) => return (done, Some(error)),
            };
            let places = room.iter_mut().take((run.pages() >> order.get()) as usize);
            done += places.len();
            for (index, place) in places.enumerate() {
                *place = Offset::new(run.start().get() + ((index as u64) << order.get()));
            }
        }
        (done, None)
    }

    /// Takes pages in as few runs as the pool has them, or none; says in which. The largest come first.
    ///
    /// Lock-free; a search for each run. A refusal is true as for [`GenPool::alloc`].
    pub fn alloc_scattered<'o>(&self, params: &ScatterParams, out: &'o mut [Run]) -> Result<&'o [Run], ScatterError> {
        self.check_scatter(params)?;
        let (mut left, mut done, since) = (params.pages, 0, self.forgotten());
        let mut at_most = self.largest_entry();
        while let Some(fitting) = Order::fitting(left) {
            let order = fitting.min(at_most);
            let found = match out.get_mut(done) {
                Some(place) => self.largest_piece(params, order).inspect(|run| *place = *run),
                None => Err(NoPiece::ListFull),
            };
            let run = match found {
                Ok(run) => run,
                Err(no_piece) => {
                    let unused = self.unused(since);
                    for run in out.iter().take(done) {
                        // Taken by us a moment ago.
                        let _ = unused.put_back(*run);
                    }
                    drop(unused);
                    return Err(self.explain_scatter(params, no_piece, done));
                }
            };
            left -= run.pages();
            at_most = run.order();
            done += 1;
        }
        Ok(out.get(..done).unwrap_or_default())
    }

    fn check_scatter(&self, params: &ScatterParams) -> Result<(), ScatterError> {
        let ScatterParams { pages, min_block, .. } = *params;
        if pages == 0 {
            return Err(ScatterError::NoPages);
        }
        if pages < min_block.pages() {
            return Err(ScatterError::MinBlockTooLarge { pages });
        }
        if pages & (min_block.pages() - 1) != 0 {
            return Err(ScatterError::NoMultiple { pages });
        }
        if pages > params.window.pages() {
            return Err(ScatterError::LargerThanWindow { pages });
        }
        if pages > self.size() {
            return Err(ScatterError::TooLarge { pages });
        }
        self.check(&params.extent(min_block)).map_err(scatter_error)
    }

    /// The largest run that is to be had, of `order` at most.
    fn largest_piece(&self, params: &ScatterParams, order: Order) -> Result<Run, NoPiece> {
        if let (Mode::Simple, Extent::ALL, Wish::DontCare) = (params.mode, params.window, params.wish) {
            return self.alloc_up_to(order, params.min_block).map_err(|error| match error {
                AllocError::Contended => NoPiece::Contended,
                _ => NoPiece::Nothing,
            });
        }
        let found = self.until_proved(self.shape.top, || {
            for order in (params.min_block.get()..=order.get()).rev().map(Order::clamped) {
                for &holding in params.holding() {
                    match self.choose_place(&params.extent(order), holding, |gap| whole_runs(gap, order)) {
                        Ok(None) => {}
                        Ok(Some(extent)) if self.claim_holding(extent, holding) => {
                            return Try::Got(Ok(Run::around(extent.start().get(), order)));
                        }
                        Ok(Some(_)) => return Try::Lost,
                        Err(start) => return Try::Got(Err(NoPiece::BadFit(start))),
                    }
                }
            }
            Try::Nothing
        });
        found.unwrap_or_else(|unproved| match unproved {
            Unproved::Nothing => Err(NoPiece::Nothing),
            Unproved::Contended => Err(NoPiece::Contended),
        })
    }

    #[cold]
    fn explain_scatter(&self, params: &ScatterParams, no_piece: NoPiece, room: usize) -> ScatterError {
        match no_piece {
            NoPiece::ListFull => ScatterError::ListFull { room },
            NoPiece::Contended => ScatterError::Contended,
            NoPiece::BadFit(start) => ScatterError::BadFit { start },
            NoPiece::Nothing if params.wish == Wish::Cleared => ScatterError::NoneCleared,
            NoPiece::Nothing => {
                scatter_error(self.explain(&ExtentParams { pages: params.pages, ..params.extent(params.min_block) }))
            }
        }
    }
}

/// The part of a gap that runs of `order` cut without remainder: so fits that know no alignment place runs too.
fn whole_runs(gap: Extent, order: Order) -> Option<Extent> {
    let start = gap.start().get().checked_add(order.pages() - 1)?;
    Extent::between(Offset::new(start).align_down(order), gap.end().align_down(order)).ok()
}

/// Whether runs follow each other without a gap, from `first` on. Looks at all of them: that is one pass without a branch.
fn in_a_row(first: Run, starts: &[Offset]) -> bool {
    let expected = |index: usize| first.start().get() + ((index as u64) << first.order().get());
    starts.iter().enumerate().fold(true, |all, (index, start)| all & (start.get() == expected(index)))
}

/// Why a scattered allocation did not get its next run.
enum NoPiece {
    ListFull,
    Nothing,
    Contended,
    BadFit(Offset),
}

fn scatter_error(error: AllocExtentError) -> ScatterError {
    match error {
        AllocExtentError::NoPages | AllocExtentError::Alignment { .. } => ScatterError::NoPages,
        AllocExtentError::LargerThanWindow { pages } => ScatterError::LargerThanWindow { pages },
        AllocExtentError::WindowOutside => ScatterError::WindowOutside,
        AllocExtentError::TooLarge { pages } => ScatterError::TooLarge { pages },
        AllocExtentError::NoSpace { idle, cached } => ScatterError::NoSpace { idle, cached },
        AllocExtentError::Fragmented { cached } => ScatterError::Fragmented { cached },
        AllocExtentError::NoneCleared => ScatterError::NoneCleared,
        AllocExtentError::Contended | AllocExtentError::Dying => ScatterError::Contended,
        AllocExtentError::BadFit { start } => ScatterError::BadFit { start },
    }
}

/// Free.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Gives runs of `order` back. Neighbours in the list that lie in the same word of a table cost one write together.
    pub fn free_many(&self, order: Order, starts: &[Offset]) -> Result<(), FreeManyError> {
        let refused = |index, error| FreeManyError::Refused { index, error };
        let mut index = 0;
        while let Some(first) = starts.get(index) {
            let run = Run::new(*first, order).map_err(|error| refused(index, error.into()))?;
            self.check_inside(run).map_err(|error| refused(index, error.into()))?;
            let word = self.shape.place(run);
            // Larger runs are whole words or sit above tables that must be looked at one by one.
            let alone = word.level > 0 || word.order > 6 || self.clear.is_tracked() || self.any_held();
            let mates = if alone { 1 } else { self.mates(word, run, starts.get(index..).unwrap_or_default()) };
            if mates == 1 {
                self.free(*first, order).map_err(|error| refused(index, error))?;
            } else if let Some(page) = self.idle_page_around(run) {
                return Err(refused(index, FreeError::DoubleFree { page }));
            } else {
                self.free_in_word(word, starts.get(index..index + mates).unwrap_or_default())
                    .map_err(|(at, page)| refused(index + at, FreeError::DoubleFree { page }))?;
            }
            index += mates;
        }
        Ok(())
    }

    /// How many of the first `starts` are different runs in the same word as the first, in its range.
    fn mates(&self, word: Place, run: Run, starts: &[Offset]) -> usize {
        let Some(range) = self.ranges.of(run.start()) else { return 1 };
        let base = run.start().get() & !63;
        let in_word = ((64 - (word.entry & 63)) >> word.order) as usize;
        let ahead = starts.get(..in_word.min(starts.len())).unwrap_or_default();
        if in_a_row(run, ahead) && run.start().get() + ((ahead.len() as u64) << word.order) <= range.end().get() {
            return ahead.len().max(1);
        }
        let mut seen = 0u64;
        starts
            .iter()
            .take_while(|start| {
                let page = start.get();
                let inside = page & !63 == base && start.is_aligned(run.order()) && *start >= &range.first;
                let bit = 1u64 << (page & 63);
                let fresh = inside && page + run.pages() <= range.end().get() && seen & bit == 0;
                seen |= bit;
                fresh && word.level == 0
            })
            .count()
            .max(1)
    }

    /// Frees runs of one word of a table of the lowest level; `Err` with the place in the list of one that was idle, and nothing
    /// has changed.
    fn free_in_word(&self, word: Place, starts: &[Offset]) -> Result<(), (usize, Offset)> {
        let run = !0u64 >> (64 - (1u32 << word.order));
        let bits = if starts.len() as u64 == 64 >> word.order {
            !0
        } else {
            starts.iter().fold(0, |bits, start| bits | run << (start.get() & 63))
        };
        let table = self.table(word.level, word.table);
        match table.release_some((word.entry / 64) as usize, bits) {
            Ok((grown, before)) => {
                self.tell_word(word, before, before | bits);
                self.released(word.level, word.table, grown);
                self.motion.note();
                Ok(())
            }
            Err(idle) => {
                // Those before the first bad one are freed after all, as the caller is told.
                let bad = starts.iter().position(|start| idle & run << (start.get() & 63) != 0).unwrap_or(0);
                if let Some(good) = starts.get(..bad).filter(|good| !good.is_empty()) {
                    self.free_in_word(word, good)?;
                }
                let start = starts.get(bad).map_or(0, |start| start.get());
                let idle = idle & run << (start & 63);
                Err((bad, Offset::new((start & !63) + u64::from(idle.trailing_zeros()))))
            }
        }
    }
}
