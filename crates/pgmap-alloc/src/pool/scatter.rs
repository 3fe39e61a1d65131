//! Pages in as few runs as there are.

use super::GenPool;
use super::asked::{ExtentParams, Mode};
use super::choose::Holding;
use super::clear::Wish;
use super::prove::{TRIES, Try, Unproved};
use crate::error::{AllocError, AllocExtentError, ScatterError};
use crate::extent::Extent;
use crate::offset::{Offset, Run};
use crate::order::Order;

/// How often a list that would do is tried to be filled by the caller's fit.
const FIT_TRIES: u32 = 8;

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

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes pages in as few runs as the pool has them, or none; says in which. The largest come first.
    ///
    /// Lock-free; a search for each run. A refusal is true as for [`GenPool::alloc`]; that the list is too short too, for which all gaps of
    /// the window are counted.
    pub fn alloc_scattered<'o>(&self, params: &ScatterParams, out: &'o mut [Run]) -> Result<&'o [Run], ScatterError> {
        self.check_scatter(params)?;
        let done = match self.scatter(params, out) {
            Err(NoPiece::ListFull) => self.scatter_or_prove(params, out),
            done => done,
        };
        match done {
            Ok(done) => Ok(out.get(..done).unwrap_or_default()),
            Err(no_piece) => Err(self.explain_scatter(params, no_piece, out.len())),
        }
    }

    /// Takes the largest pieces there are one after another, all that are asked for or none; says how many.
    fn scatter(&self, params: &ScatterParams, out: &mut [Run]) -> Result<usize, NoPiece> {
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
                    return Err(no_piece);
                }
            };
            left -= run.pages();
            at_most = run.order();
            done += 1;
        }
        Ok(done)
    }

    /// [`GenPool::scatter`] until it succeeds, or it has been shown that the list is too short, or that there are no such runs at all.
    #[cold]
    fn scatter_or_prove(&self, params: &ScatterParams, out: &mut [Run]) -> Result<usize, NoPiece> {
        // A fit of the caller's own may say no to what would do; then the list has become full, and that is what is said.
        let (tries, at_last) = match params.mode {
            Mode::Simple => (TRIES, NoPiece::Contended),
            Mode::BottomUp(_) | Mode::TopDown(_) => (FIT_TRIES, NoPiece::ListFull),
        };
        let ScatterParams { pages, min_block, window, wish, .. } = *params;
        let shown = self.until_shown(self.shape.top, tries, |holds| match self.fewest_runs(pages, min_block, window, wish) {
            Some(runs) if runs <= out.len() => match self.scatter(params, out) {
                Err(NoPiece::ListFull | NoPiece::Nothing) => None,
                done => Some(done),
            },
            Some(_) if holds() => Some(Err(NoPiece::ListFull)),
            None if holds() => Some(Err(NoPiece::Nothing)),
            _ => None,
        });
        shown.unwrap_or(Err(at_last))
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
            NoPiece::ListFull => ScatterError::ListFull { room, cached: self.handles.press() },
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

/// Why a scattered allocation did not get its next run.
enum NoPiece {
    ListFull,
    Nothing,
    Contended,
    BadFit(Offset),
}

fn scatter_error(error: AllocExtentError) -> ScatterError {
    match error {
        // No base was named.
        AllocExtentError::NoPages | AllocExtentError::Alignment { .. } | AllocExtentError::BaseOutside { .. } => {
            ScatterError::NoPages
        }
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
