//! The two workloads of the kernel's performance case for its gpu_buddy: 4 GiB in pieces of 256 KiB that come back alternately
//! cleared and dirty; then 4 GiB in one piece, or the 16,384 pieces again.
//!
//! A buddy that keeps cleared and dirty apart cannot merge across them, and has to do so when somebody wants all. Peers that know
//! nothing of contents do the same allocations and frees, without that burden and without its use; ours on the shared path tracks
//! contents, and is the only one that can be asked for cleared pieces first.

use std::time::{Duration, Instant};

use crate::peer::{Hand, Peer};
use crate::sample::{Budget, Outcome, Skip};

/// 4 GiB of 4 KiB pages.
pub const PAGES: u64 = 1 << 20;
/// 256 KiB.
const PIECE: u32 = 6;
const PIECES: usize = (PAGES >> PIECE) as usize;

/// What is asked for once the pieces have come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// 4 GiB at once.
    Whole,
    /// The pieces, whatever they hold.
    Pieces,
    /// The pieces, cleared ones first.
    ClearedFirst,
}

/// Nanoseconds for the whole; for each piece, and for each that comes back.
pub fn alternating<P: Peer>(wanted: Wanted, budget: Budget) -> Outcome {
    if wanted == Wanted::ClearedFirst && !P::TRACKS {
        return Err(Skip::Unsupported);
    }
    let mut peer = P::build_tracking(PAGES).ok_or(Skip::Unsupported)?;
    let mut hand = peer.hand();
    let mut pieces = Vec::with_capacity(PIECES);
    let mut times = Times::default();
    let start = Instant::now();
    // The first fill is of a pool that nobody has used, and does not count.
    fill(&mut hand, Wanted::Pieces, &mut pieces, budget)?;
    give_back(&mut hand, &mut pieces);
    loop {
        match wanted {
            Wanted::Whole => {
                let before = Instant::now();
                let whole = hand.alloc(PAGES.ilog2()).ok_or(Skip::Refused)?;
                times.there += before.elapsed();
                hand.free(whole, PAGES.ilog2());
                fill(&mut hand, Wanted::Pieces, &mut pieces, budget)?;
                give_back(&mut hand, &mut pieces);
            }
            Wanted::Pieces | Wanted::ClearedFirst => {
                times.there += fill(&mut hand, wanted, &mut pieces, budget)?;
                times.back += give_back(&mut hand, &mut pieces);
            }
        }
        times.rounds += 1;
        if start.elapsed() >= budget.measure {
            return Ok(times.figures(wanted));
        }
    }
}

#[derive(Default)]
struct Times {
    there: Duration,
    back: Duration,
    rounds: u32,
}

impl Times {
    fn figures(&self, wanted: Wanted) -> Vec<f64> {
        let per = |time: Duration, units: usize| time.as_nanos() as f64 / (f64::from(self.rounds) * units as f64);
        match wanted {
            Wanted::Whole => vec![per(self.there, 1)],
            Wanted::Pieces | Wanted::ClearedFirst => vec![per(self.there, PIECES), per(self.back, PIECES)],
        }
    }
}

/// Takes all pieces; says how long that took.
fn fill<H: Hand>(hand: &mut H, wanted: Wanted, pieces: &mut Vec<H::Block>, budget: Budget) -> Result<Duration, Skip> {
    let start = Instant::now();
    while pieces.len() < PIECES {
        for _ in 0..64 {
            let piece = if wanted == Wanted::ClearedFirst { hand.alloc_cleared_first(PIECE) } else { hand.alloc(PIECE) };
            pieces.push(piece.ok_or(Skip::Refused)?);
        }
        if start.elapsed() > budget.prepare {
            return Err(Skip::TooSlow);
        }
    }
    Ok(start.elapsed())
}

/// Every other one cleared.
fn give_back<H: Hand>(hand: &mut H, pieces: &mut Vec<H::Block>) -> Duration {
    let start = Instant::now();
    for (index, piece) in pieces.drain(..).enumerate() {
        if index % 2 == 0 { hand.free_cleared(piece, PIECE) } else { hand.free(piece, PIECE) }
    }
    start.elapsed()
}
