//! One measurement: its budget of time, its result, and why there may be none.

use std::fmt;
use std::time::{Duration, Instant};

/// The figures of one work in one repetition, in the order of [`Work::rows`](crate::works::Work::rows).
pub type Outcome = Result<Vec<f64>, Skip>;

/// Why a peer has no figure in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The peer cannot do this at all: too large a pool, no reference counts.
    Unsupported,
    /// The preparation alone used up the time allowed for it.
    TooSlow,
    /// The peer refused more than one allocation in a hundred, so its time is not for the same work.
    Refused,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::Unsupported => "-",
            Skip::TooSlow => "cut off",
            Skip::Refused => "refuses",
        })
    }
}

/// How long one measurement may take.
#[derive(Clone, Copy)]
pub struct Budget {
    /// For the measured part; what was done until then counts.
    pub measure: Duration,
    /// For bringing the pool into the state that is measured; beyond it the peer is [`Skip::TooSlow`].
    pub prepare: Duration,
}

impl Budget {
    /// Calls `batch`, which says how many units it did, until the time is used up or it did none; nanoseconds per unit.
    pub fn ns_per_unit(&self, mut batch: impl FnMut() -> u64) -> f64 {
        let start = Instant::now();
        let mut units = 0;
        loop {
            let done = batch();
            units += done;
            let elapsed = start.elapsed();
            if done == 0 || elapsed >= self.measure {
                return elapsed.as_nanos() as f64 / units.max(1) as f64;
            }
        }
    }

    /// Calls `step` for every item in batches, and gives up when the time for preparation is used up.
    pub fn prepare<T>(&self, items: &[T], mut step: impl FnMut(&T)) -> Result<(), Skip> {
        let start = Instant::now();
        for batch in items.chunks(64) {
            batch.iter().for_each(&mut step);
            if start.elapsed() > self.prepare {
                return Err(Skip::TooSlow);
            }
        }
        Ok(())
    }
}
