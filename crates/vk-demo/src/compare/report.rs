//! What came of the comparison, and what of it cannot be compared.

use std::time::Duration;

use serde::Serialize;

use super::round::{Moment, Round};
use super::trace::Trace;
use super::{Allocator, Compare, Measured, Peer, ROUNDS};
use crate::picture::{Axis, Chart, Line, Picture, Stroke};
use crate::report::{self, Coverage, Gaps, Head, Outcome};
use crate::size::Bytes;

/// What the columns do not say by themselves.
const NOT_COMPARABLE: [&str; 5] = [
    "Folios of one object may be scattered: it is refused only if too few pages are idle, and its copies have a region for each piece. \
     Everyone else must find contiguous room.",
    "pgmap-alloc counts in pages of 4 KiB, the others in bytes at the driver's alignment: that is the difference between asked and placed.",
    "pgmap-alloc takes its whole heap when it begins and never asks the driver again. Others hold what they have asked the driver for: \
     here blocks as large as those of the heap, or a memory object per buffer.",
    "take and put are the time inside the allocator; for a memory object per buffer that is the driver's, or the C library's on the host \
     device. Making and binding a VkBuffer for each object, which pgmap-alloc does not need here, is in the total only.",
    "pgmap-alloc is lock-free and shared between threads as it stands, and its folios are counted by reference; gpu-allocator, and VMA as \
     it is used here, need a lock around them. One thread is all that this measures.",
];

/// What came of the comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    ops: u64,
    full_percent: u64,
    largest_object_bytes: u64,
    rounds: usize,
    pub(super) rows: Vec<Row>,
    /// Who could not be asked, and why.
    pub(super) left_out: Vec<LeftOut>,
    not_comparable: [&'static str; 5],
    /// Drawn over the steps.
    #[serde(skip)]
    lines: Vec<[Line; 2]>,
}

/// One allocator.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(super) allocator: &'static str,
    /// Objects, in one round; the first one's counts.
    pub(super) asked: u64,
    pub(super) refused: u64,
    /// Contiguous pieces of an object that was taken, on average.
    pieces_per_object: f64,
    peak_asked_bytes: u64,
    peak_placed_bytes: u64,
    peak_held_bytes: u64,
    /// Of the idle memory after the last step: the share that is not in its longest piece, and that piece. None where objects share
    /// no memory.
    scattered_percent: Option<f64>,
    largest_idle_bytes: Option<u64>,
    /// Time inside the allocator for one object; median over the rounds, as all times.
    take_ns: f64,
    put_ns: f64,
    device_ms: f64,
    total_ms: f64,
    /// In all rounds.
    checked_bytes: u64,
    pub(super) wrong_words: u64,
    #[serde(skip)]
    coverage: Coverage,
    device_sums: u64,
    wrong_sums: u64,
    leaked_bytes: u64,
}

/// An allocator that is not here.
#[derive(Debug, Serialize)]
pub(super) struct LeftOut {
    allocator: &'static str,
    why: String,
}

impl Row {
    fn new(allocator: Allocator, rounds: &[Round]) -> Option<Row> {
        let first = rounds.first()?;
        let last = first.moments.last().and_then(|moment| moment.gaps);
        let median = |value: &dyn Fn(&Round) -> f64| report::median(&rounds.iter().map(value).collect::<Vec<_>>());
        let each = |time: Duration, count: u64| time.as_secs_f64() * 1e9 / (count as f64).max(1.0);
        let sum = |value: fn(&Round) -> u64| rounds.iter().map(value).sum();
        Some(Row {
            allocator: allocator.name(),
            asked: first.asked,
            refused: first.refused,
            pieces_per_object: first.pieces as f64 / ((first.asked - first.refused) as f64).max(1.0),
            peak_asked_bytes: first.peak_asked_bytes,
            peak_placed_bytes: first.peak_placed_bytes,
            peak_held_bytes: first.peak_held_bytes,
            scattered_percent: last.map(Gaps::scattered_percent),
            largest_idle_bytes: last.map(|gaps| gaps.largest),
            take_ns: median(&|round| each(round.take_time, round.asked - round.refused)),
            put_ns: median(&|round| each(round.put_time, round.put)),
            device_ms: median(&|round| round.device_time.as_secs_f64() * 1e3),
            total_ms: median(&|round| round.time.as_secs_f64() * 1e3),
            checked_bytes: sum(|round| round.checked_bytes),
            wrong_words: sum(|round| round.wrong_words),
            coverage: Coverage {
                written_bytes: sum(|round| round.coverage.written_bytes),
                compared_bytes: sum(|round| round.coverage.compared_bytes),
            },
            device_sums: sum(|round| round.device_sums),
            wrong_sums: sum(|round| round.wrong_sums),
            leaked_bytes: sum(|round| round.leaked_bytes),
        })
    }
}

impl Compared {
    pub(super) fn new(compare: &Compare, trace: &Trace, measured: Vec<Measured>) -> Compared {
        let rows = measured.iter().filter_map(|one| Row::new(one.allocator, &one.rounds)).collect();
        let lines = measured.iter().filter_map(|one| lines(one.allocator, one.rounds.first()?)).collect();
        let left_out = measured.into_iter().filter_map(|one| Some(LeftOut { allocator: one.allocator.name(), why: one.left_out? }));
        Compared {
            ops: compare.ops,
            full_percent: compare.full_percent,
            largest_object_bytes: trace.largest,
            rounds: ROUNDS,
            rows,
            left_out: left_out.collect(),
            not_comparable: NOT_COMPARABLE,
            lines,
        }
    }
}

/// How scattered the idle memory was, and how many objects had been refused; none where objects share no memory.
fn lines(allocator: Allocator, round: &Round) -> Option<[Line; 2]> {
    let stroke = match allocator {
        Allocator::Folios => Stroke::Solid,
        Allocator::Runs => Stroke::Dashed,
        Allocator::Peer(Peer::GpuAllocator) => Stroke::Dotted,
        Allocator::Peer(Peer::Vma) => Stroke::DotDashed,
        Allocator::Peer(Peer::ObjectPerBuffer) => return None,
    };
    let line = |value: &dyn Fn(&Moment) -> f64| {
        let points = round.moments.iter().map(|moment| (moment.step as f64, value(moment)));
        // Beside the title there is no need to say whose they are.
        let name = allocator.name().trim_start_matches("pgmap-alloc, ");
        Line::new(name, stroke, points.collect())
    };
    Some([line(&|moment| moment.gaps.map_or(f64::NAN, Gaps::scattered_percent)), line(&|moment| moment.refused as f64)])
}

impl Outcome for Compared {
    const SCHEMA: &'static str = "vk-demo/compare/1";
    const RESULTS: &'static [&'static str] = &[
        "refused",
        "peak_placed_bytes",
        "peak_held_bytes",
        "scattered_percent",
        "largest_idle_bytes",
        "take_ns",
        "put_ns",
        "device_ms",
        "total_ms",
        "wrong_words",
        "wrong_sums",
        "leaked_bytes",
    ];
    const SETTINGS: &'static [&'static str] = &["ops", "full_percent", "rounds"];
    type Line = Row;

    fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.wrong_words == 0 && row.wrong_sums == 0 && row.leaked_bytes == 0)
    }

    fn coverage(&self) -> Coverage {
        let sum = |value: fn(&Row) -> u64| self.rows.iter().map(value).sum();
        Coverage { written_bytes: sum(|row| row.coverage.written_bytes), compared_bytes: sum(|row| row.coverage.compared_bytes) }
    }

    fn verdict(&self) -> String {
        let sum = |value: fn(&Row) -> u64| -> u64 { self.rows.iter().map(value).sum() };
        let (bytes, wrong) = (Bytes(sum(|row| row.checked_bytes)), sum(|row| row.wrong_words));
        let mut text = format!("{bytes} compared, {wrong} wrong words, ");
        let (sums, wrong) = (sum(|row| row.device_sums), sum(|row| row.wrong_sums));
        if sums > 0 {
            text += &format!("{sums} sums by the device, {wrong} wrong, ");
        }
        text + &format!("{} leaked", Bytes(sum(|row| row.leaked_bytes)))
    }

    fn text(&self, head: &Head) -> String {
        let header = [
            "",
            "asked",
            "refused",
            "pieces",
            "placed",
            "held",
            "scattered",
            "longest idle",
            "take ns",
            "put ns",
            "device ms",
            "total ms",
        ];
        let mut table = report::table(&header);
        for row in &self.rows {
            table.add_row([
                row.allocator.to_owned(),
                row.asked.to_string(),
                row.refused.to_string(),
                format!("{:.2}", row.pieces_per_object),
                Bytes(row.peak_placed_bytes).to_string(),
                Bytes(row.peak_held_bytes).to_string(),
                row.scattered_percent.map_or("-".into(), |percent| format!("{percent:.0} %")),
                row.largest_idle_bytes.map_or("-".into(), |bytes| Bytes(bytes).to_string()),
                format!("{:.0}", row.take_ns),
                format!("{:.0}", row.put_ns),
                format!("{:.1}", row.device_ms),
                format!("{:.1}", row.total_ms),
            ]);
        }
        report::align_right(&mut table, 1..header.len());
        let table = report::fitted(table, head.width, &[10, 3, 4, 7]);
        let (heap, largest) = (Bytes(head.heap_bytes), Bytes(self.largest_object_bytes));
        let mut text = format!(
            "{heap} for each, {} steps with objects up to {largest} that fill {} % of it, median of {} rounds\n{table}\n",
            self.ops, self.full_percent, self.rounds
        );
        for LeftOut { allocator, why } in &self.left_out {
            text += &format!("\nleft out: {allocator}: {why}");
        }
        text += "\n\nNot comparable:\n";
        for note in self.not_comparable {
            text += &format!("* {note}\n");
        }
        text
    }

    fn lines(&self) -> Vec<Row> {
        self.rows.clone()
    }

    fn picture(&self, head: &Head) -> Picture<'_> {
        let chart = |title: &str, y, which: usize| Chart {
            title: title.into(),
            x: Axis::steps(self.ops),
            y,
            lines: self.lines.iter().map(|lines| lines[which].clone()).collect(),
        };
        let refused = Axis::counts("objects", self.rows.iter().map(|row| row.refused as f64));
        let charts = vec![chart("Idle, but not in its longest piece", Axis::percent("%"), 0), chart("Refused", refused, 1)];
        let subtitle = format!("{} for each, {} steps, {} % full", Bytes(head.heap_bytes), self.ops, self.full_percent);
        Picture {
            title: "The same workload: folios and contiguous runs of pgmap-alloc beside others".into(),
            subtitle,
            map: None,
            charts,
        }
    }
}
