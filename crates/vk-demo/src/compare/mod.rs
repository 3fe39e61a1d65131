//! The same workload on the same device, with its memory managed by pgmap-alloc and by others.
//!
//! ```text
//! trace   what is asked, made beforehand     store   who is asked     round   asking     report   what came of it
//! ```
//! Everyone may have as much memory as the heap has. The rounds of all of them follow each other in turn, so that a moment at which
//! the machine is slow does not fall on one alone. Every object is written, compared before it is given back, and now and then in
//! between: two objects that share a byte are seen.

mod report;
mod round;
mod store;
mod trace;

use std::time::Duration;

use crate::cli::{CompareOptions, JobOptions};
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::Heap;
use crate::job::Job;
use crate::peers::Peer;
use crate::progress;
use crate::size::{self, Bytes};

use report::Compared;
use round::{Round, Work};
use store::{Folios, Lent, Runs};
use trace::Trace;

/// Bytes of the heap by default.
const HEAP: u64 = 64 << 20;
/// gpu-allocator takes memory in blocks of a multiple of this many bytes, and no larger ones than that. A heap is one block of
/// every allocator here, or several of the largest.
const BLOCK_STEP: u64 = 4 << 20;
const LARGEST_BLOCK: u64 = 256 << 20;
/// Contents on their way take at most this many of the largest objects.
const STAGED: u64 = 4;
/// Timed rounds.
const ROUNDS: usize = 3;

/// Who manages the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allocator {
    /// Folios of the pgmap.
    Folios,
    /// Runs of the pgmap's pool.
    Runs,
    /// Someone else.
    Peer(Peer),
}

const ALLOCATORS: [Allocator; 5] = [
    Allocator::Folios,
    Allocator::Runs,
    Allocator::Peer(Peer::GpuAllocator),
    Allocator::Peer(Peer::Vma),
    Allocator::Peer(Peer::ObjectPerBuffer),
];

impl Allocator {
    fn name(self) -> &'static str {
        match self {
            Allocator::Folios => "pgmap-alloc, folios",
            Allocator::Runs => "pgmap-alloc, contiguous",
            Allocator::Peer(Peer::GpuAllocator) => "gpu-allocator",
            Allocator::Peer(Peer::Vma) => "VMA",
            Allocator::Peer(Peer::ObjectPerBuffer) => "a memory object per buffer",
        }
    }
}

/// The comparison.
pub(crate) struct Compare {
    heap_bytes: u64,
    /// Bytes that lie next to each other, whoever manages them.
    block_bytes: u64,
    full_percent: u64,
    ops: u64,
    seed: u64,
}

impl Job for Compare {
    type Options = CompareOptions;
    type Outcome = Compared;

    const HEAP: Option<u64> = Some(HEAP);

    fn plan(job: &JobOptions, options: &CompareOptions, info: &DeviceInfo, layout: &mut Layout) -> Result<Compare, Failure> {
        let heap_bytes = job.device.heap.heap.unwrap_or(layout.objects.iter().sum());
        let most = LARGEST_BLOCK.min(info.max_object_bytes / BLOCK_STEP * BLOCK_STEP);
        if info.max_object_bytes < BLOCK_STEP {
            let (step, most) = (Bytes(BLOCK_STEP), Bytes(info.max_object_bytes));
            return Err(Failure::Usage(format!("a block of {step} is more than {} gives at a time: {most}", info.name)));
        }
        let block_bytes = heap_bytes.min(most);
        if !heap_bytes.is_multiple_of(BLOCK_STEP) || !heap_bytes.is_multiple_of(block_bytes) {
            let (heap, step, most) = (Bytes(heap_bytes), Bytes(BLOCK_STEP), Bytes(most));
            return Err(Failure::Usage(format!(
                "--heap: {heap} is no multiple of {step} up to {most}, as one block of every allocator here must be, nor of {most}"
            )));
        }
        if layout.objects.first().is_some_and(|object| *object > block_bytes) {
            layout.objects = vec![block_bytes; (heap_bytes / block_bytes) as usize];
        }
        layout.staging = STAGED * trace::largest(heap_bytes);
        // The pgmap's memory stays while another allocator takes as much, perhaps beside the staging memory.
        let staging = info.staging_type(layout.staging).and_then(Result::ok).filter(|staging| staging.heap == info.heap.index);
        let all = heap_bytes.saturating_mul(2).saturating_add(staging.map_or(0, |_| layout.staging));
        let budget = info.heap.budget_bytes;
        if all > budget {
            let (twice, budget) = size::apart(all, budget);
            return Err(Failure::TooLarge(format!(
                "two heaps of that size, and what goes with them, are {twice}: more than {} may give, {budget}",
                info.name
            )));
        }
        Ok(Compare { heap_bytes, block_bytes, full_percent: options.full, ops: options.ops, seed: job.seed })
    }

    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Compared), Failure> {
        let heap = Heap::new(device)?;
        let trace = Trace::new(self.heap_bytes, self.heap_bytes / 100 * self.full_percent, self.ops, self.seed);
        let mut measured: Vec<Measured> = ALLOCATORS.map(Measured::new).into();
        let ended = Ending::of(self.every_round(&heap, device, &trace, &mut measured, quiet))?;
        device.end();
        for Measured { allocator, left_out, .. } in &measured {
            if let Some(why) = left_out {
                eprintln!("left out: {}: {why}", allocator.name());
            }
        }
        Ok((ended, Compared::new(self, &trace, measured)))
    }
}

/// The rounds of one allocator, or why there are none.
struct Measured {
    allocator: Allocator,
    rounds: Vec<Round>,
    left_out: Option<String>,
}

impl Measured {
    fn new(allocator: Allocator) -> Measured {
        Measured { allocator, rounds: Vec::new(), left_out: None }
    }
}

impl Compare {
    fn every_round(
        &self,
        heap: &Heap,
        device: &mut dyn Device,
        trace: &Trace,
        measured: &mut [Measured],
        quiet: bool,
    ) -> Result<Ending, Failure> {
        let bar = progress::bar("compare", (ROUNDS * measured.len()) as u64, quiet);
        for index in 0..ROUNDS {
            for Measured { allocator, rounds, left_out } in measured.iter_mut() {
                let seed = self.seed.wrapping_add(index as u64);
                rounds.extend(self.round(*allocator, heap, device, &Work { trace, seed }, left_out)?);
                bar.inc(1);
            }
        }
        bar.finish();
        Ok(Ending::Complete)
    }

    /// None where the allocator cannot be had here.
    fn round(
        &self,
        allocator: Allocator,
        heap: &Heap,
        device: &mut dyn Device,
        work: &Work<'_>,
        left_out: &mut Option<String>,
    ) -> Result<Option<Round>, Failure> {
        let round = match allocator {
            Allocator::Folios => work.with(device, Folios { heap, time: Duration::ZERO }),
            Allocator::Runs => {
                let runs = Runs::new(heap, device)?;
                work.with(device, runs)
            }
            Allocator::Peer(peer) => match device.begin(peer, self.heap_bytes, self.block_bytes)? {
                Ok(()) => work.with(device, Lent { heap: self.heap_bytes, block: self.block_bytes }),
                Err(why) => {
                    *left_out = Some(why);
                    return Ok(None);
                }
            },
        };
        round.map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::DeviceError;
    use crate::faulty::{self, Fault};
    use crate::report::Outcome;

    fn on_faulty(arguments: &str, fault: Fault) -> (Ending, Compared) {
        let ops = if arguments.contains("--ops") { "" } else { "--ops 600" };
        faulty::run::<Compare>(&format!("--heap 4MiB {ops} {arguments}"), fault).unwrap()
    }

    #[test]
    fn everyone_here_is_asked_the_same_and_verified() {
        for arguments in ["", "--full 100", "--full 1", "--object 2MiB --seed 5"] {
            let (ended, compared) = on_faulty(arguments, Fault::None);
            assert!(ended.is_complete() && compared.is_good(), "{arguments}: {:?}", compared.rows);
            let names: Vec<&str> = compared.rows.iter().map(|row| row.allocator).collect();
            assert_eq!(names, ["pgmap-alloc, folios", "pgmap-alloc, contiguous", "a memory object per buffer"]);
            assert!(compared.rows.iter().all(|row| row.asked == compared.rows[0].asked && row.asked > 0));
            assert_eq!(compared.left_out.len(), 2);
        }
    }

    #[test]
    fn folios_refuse_only_what_there_are_no_pages_for() {
        // Nine tenths in objects of whole numbers of bytes are less than all pages.
        let (_, compared) = on_faulty("--full 90", Fault::None);
        assert_eq!(compared.rows[0].refused, 0, "scattered pages do");
        let (_, compared) = on_faulty("--full 100 --ops 5000", Fault::None);
        assert!(compared.rows[0].refused > 0, "what is rounded up does not fit");
    }

    #[test]
    fn a_wrong_bit_and_stale_bytes_are_seen_and_a_lost_device_leaves_a_report() {
        for fault in [Fault::FlippedBit, Fault::LostCopies] {
            let (_, compared) = on_faulty("", fault);
            assert!(!compared.is_good() && compared.rows.iter().all(|row| row.wrong_words > 0), "{fault:?}");
        }
        for submit in (0..3000).step_by(301) {
            let (ended, compared) = on_faulty("", Fault::DeviceLost(submit));
            assert_eq!(ended, Ending::Device(DeviceError::Lost), "at submit {submit}");
            assert!(compared.is_good(), "what was done until then was good");
        }
    }
}
