//! Host memory that a peer needs, as the operating system sees it.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::peer::{Hand, Peer};
use crate::sample::{Outcome, Skip};

/// A peer that needs longer than this to fill the pool has no figure.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a pool is like when it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Just built.
    Built,
    /// A sixteenth full of single pages.
    Part,
    /// Full of single pages.
    Full,
}

impl State {
    const ALL: [State; 3] = [State::Built, State::Part, State::Full];

    fn name(self) -> &'static str {
        match self {
            State::Built => "built",
            State::Part => "part",
            State::Full => "full",
        }
    }
}

/// The figure of one state; to be called in a process of its own, where nothing else has been allocated and freed.
///
/// KiB of touched host memory for a pool that has just been built. Bytes per page for a full one, all that it was built with
/// included; bytes per page that is taken for a part, without: what its use has cost.
pub fn measure<P: Peer>(pages: u64, state: State) -> Result<f64, Skip> {
    match state {
        State::Built => kib_when_built::<P>(pages),
        State::Part => bytes_per_page::<P>(pages, pages / 16, false),
        State::Full => bytes_per_page::<P>(pages, pages, true),
    }
}

fn bytes_per_page<P: Peer>(pages: u64, taken: u64, with_building: bool) -> Result<f64, Skip> {
    let count = usize::try_from(taken).map_err(|_| Skip::Unsupported)?;
    // Here, so that it outlives what it hands out.
    let mut peer = None;
    let mut blocks: Vec<Option<<P::Hand<'_> as Hand>::Block>> = (0..count).map(|_| None).collect();
    let empty = resident().ok_or(Skip::Unsupported)?;
    let mut hand = peer.insert(P::build(pages).ok_or(Skip::Unsupported)?).hand();
    let built = resident().ok_or(Skip::Unsupported)?;
    let mut filled = 0u64;
    let start = Instant::now();
    for batch in blocks.chunks_mut(64) {
        for slot in batch {
            *slot = hand.alloc(0);
            filled += u64::from(slot.is_some());
        }
        if start.elapsed() > PATIENCE {
            return Err(Skip::TooSlow);
        }
    }
    let after = resident().ok_or(Skip::Unsupported)?;
    if filled * 100 < taken * 99 {
        return Err(Skip::Refused);
    }
    Ok(after.saturating_sub(if with_building { empty } else { built }) as f64 / filled as f64)
}

fn kib_when_built<P: Peer>(pages: u64) -> Result<f64, Skip> {
    let before = resident().ok_or(Skip::Unsupported)?;
    let peer = P::build(pages).ok_or(Skip::Unsupported)?;
    let after = resident().ok_or(Skip::Unsupported)?;
    drop(peer);
    Ok(after.saturating_sub(before) as f64 / 1024.0)
}

/// Resident bytes of this process that come from no file, so not the program's own text; `None` where there is no `/proc`.
fn resident() -> Option<u64> {
    // The roll-up counts page by page; the summary in `status` may be a quarter of a MiB late on each CPU.
    let text = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok().map(|kib: u64| kib * 1024)
}

/// The option by which a program that measures starts itself once more to call one of the above.
pub const CHILD_OPTION: &str = "--metadata-of";

/// Starts this program once more for one peer and reads the figure from its output.
pub fn in_child(peer: &str, state: State, pages: u64) -> Outcome {
    let program = env::current_exe().map_err(|_| Skip::Unsupported)?;
    let what = format!("{pages}:{}:{peer}", state.name());
    let child = Command::new(program).arg(CHILD_OPTION).arg(what).output();
    let output = child.map_err(|_| Skip::Unsupported)?;
    let figure = String::from_utf8(output.stdout).ok().and_then(|text| text.trim().parse().ok());
    figure.filter(|_| output.status.success()).map(|figure| vec![figure]).ok_or(Skip::Unsupported)
}

/// What the child is asked for: so many pages, in which state, by whom.
pub fn asked(what: &str) -> Option<(u64, State, &str)> {
    let (pages, what) = what.split_once(':')?;
    let (name, peer) = what.split_once(':')?;
    Some((pages.parse().ok()?, State::ALL.into_iter().find(|state| state.name() == name)?, peer))
}
