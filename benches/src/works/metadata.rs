//! Host memory that a peer needs for a pool full of single pages, as the operating system sees it.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::peer::{Hand, Peer};
use crate::sample::{Outcome, Skip};

/// A peer that needs longer than this to fill the pool has no figure.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of touched host memory per page; to be called in a process of its own, where nothing else has been allocated and freed.
pub fn bytes_per_page<P: Peer>(pages: u64) -> Result<f64, Skip> {
    let count = usize::try_from(pages).map_err(|_| Skip::Unsupported)?;
    // Here, so that it outlives what it hands out.
    let mut peer = None;
    let mut blocks: Vec<Option<<P::Hand<'_> as Hand>::Block>> = (0..count).map(|_| None).collect();
    let before = resident().ok_or(Skip::Unsupported)?;
    let mut hand = peer.insert(P::build(pages).ok_or(Skip::Unsupported)?).hand();
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
    if filled * 100 < pages * 99 {
        return Err(Skip::Refused);
    }
    Ok(after.saturating_sub(before) as f64 / filled as f64)
}

/// Resident bytes of this process; `None` where there is no `/proc`.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok().map(|kib: u64| kib * 1024)
}

/// The option by which a program that measures starts itself once more to call [`bytes_per_page`].
pub const CHILD_OPTION: &str = "--metadata-of";

/// Starts this program once more for one peer and reads the figure from its output.
pub fn in_child(peer: &str, pages: u64) -> Outcome {
    let program = env::current_exe().map_err(|_| Skip::Unsupported)?;
    let child = Command::new(program).arg(CHILD_OPTION).arg(format!("{pages}:{peer}")).output();
    let output = child.map_err(|_| Skip::Unsupported)?;
    let figure = String::from_utf8(output.stdout).ok().and_then(|text| text.trim().parse().ok());
    figure.filter(|_| output.status.success()).map(|figure| vec![figure]).ok_or(Skip::Unsupported)
}
