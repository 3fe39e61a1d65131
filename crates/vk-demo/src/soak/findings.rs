//! What a soak finds.

use serde::Serialize;

use crate::report::Coverage;

/// How many problems are described; the rest are only counted.
const DESCRIBED: usize = 8;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Findings {
    /// Operations.
    pub(super) ops: u64,
    /// Of those, refused as they should be.
    pub(super) refused: u64,
    /// Quiet points.
    pub(super) quiet_points: u64,
    /// Bytes written, and those of them that were compared before they were overwritten, freed or allowed to vanish.
    #[serde(skip)]
    pub(super) coverage: Coverage,
    /// Bytes that were compared with what had been written.
    pub(super) checked_bytes: u64,
    /// Words of them that were wrong.
    pub(super) wrong_words: u64,
    /// How often the device itself summed what had come into the heap, of how many bytes, and how many of these sums were wrong.
    pub(super) device_sums: u64,
    pub(super) summed_bytes: u64,
    pub(super) wrong_sums: u64,
    /// Pages that were written and stand nowhere.
    pub(super) lost_pages: u64,
    /// Pages of the heap that were retired.
    pub(super) retired_pages: u64,
    /// The heap was unplugged at the end: everything pushed out and still whole, its pgmap killed and drained.
    pub(super) unplugged: bool,
    /// Pages that are not free at the end.
    pub(super) leaks: u64,
    /// Refusals without a reason and books that do not agree, the first few in words.
    pub(super) problems: Vec<String>,
    /// All of them.
    pub(super) problem_count: u64,
}

impl Findings {
    /// Whether nothing is wrong.
    pub(super) fn are_good(&self) -> bool {
        self.wrong_words == 0 && self.wrong_sums == 0 && self.lost_pages == 0 && self.leaks == 0 && self.problem_count == 0
    }

    pub(super) fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < DESCRIBED {
            self.problems.push(format!("operation {}: {text}", self.ops));
        }
    }
}
