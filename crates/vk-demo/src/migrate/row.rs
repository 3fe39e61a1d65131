//! The numbers of a row: one size, one order, one mode, one direction.

use std::time::Duration;

use pgmap_alloc::Order;
use serde::{Deserialize, Serialize};

use super::bench::{Direction, Latency, Mode, Sample};
use super::{Measured, Samples, Series};
use crate::heap::PAGE;
use crate::report::{median, quantile};

/// A row whose middle half is wider than this share of its median, in percent, varies too much.
pub(super) const TOO_WIDE: f64 = 20.0;

/// What is known of a row. All that is timed is a median over the iterations, and the parts are medians of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Migrated in each iteration.
    pub(super) bytes: u64,
    pub(super) order: u32,
    pub(super) folio_bytes: u64,
    pub(super) direction: Direction,
    pub(super) mode: Mode,
    /// Times that it was measured.
    pub(super) iterations: usize,
    /// Allocator, recording and waiting; and what a quarter of the iterations is below and above.
    pub(super) ms: f64,
    pub(super) ms_low: f64,
    pub(super) ms_high: f64,
    pub(super) gb_per_s: f64,
    pub(super) gb_per_s_low: f64,
    pub(super) gb_per_s_high: f64,
    /// Coefficient of variation over the iterations, and the width of the middle half beside the median; one alone has none.
    pub(super) cv_percent: Option<f64>,
    pub(super) spread_percent: Option<f64>,
    pub(super) varies: bool,
    /// What the time went to.
    pub(super) allocator_ms: f64,
    pub(super) recording_ms: f64,
    pub(super) waiting_ms: f64,
    /// Inside waiting, by the device's own clock, where it has one.
    pub(super) copying_ms: Option<f64>,
    /// Not in the time: what this program did for itself.
    pub(super) planning_ms: f64,
    /// Processor time of the whole program in an iteration, planning included: threads of a software device count too.
    pub(super) cpu_ms: f64,
    /// Of a single folio, where each is waited for: medians over the iterations of what half of them and 99 of 100 do not exceed.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    /// Throughput beside the bulk copy of the same bytes that was made just before or after, in the same direction: the median
    /// over the iterations, and what a quarter of them is below and above.
    pub(super) of_bulk_percent: f64,
    pub(super) of_bulk_low_percent: f64,
    pub(super) of_bulk_high_percent: f64,
    /// Page faults that it stands for: one for each folio that is waited for.
    pub(super) faults: u64,
    pub(super) folios: u64,
    pub(super) regions: u64,
    pub(super) submits: u64,
    /// Median time for one folio, everything included.
    pub(super) us_per_folio: f64,
    /// The allocator's part of the median's iterations.
    pub(super) allocator_percent: f64,
    pub(super) allocator_ns_per_folio: f64,
}

impl Row {
    /// None where there are no samples.
    fn new(bytes: u64, (mode, order): (Mode, Order), direction: Direction, samples: &[Pair]) -> Option<Row> {
        let first = samples.first()?;
        let column = |value: fn(&Sample) -> Duration| -> Vec<f64> {
            samples.iter().map(|(sample, _)| value(sample).as_secs_f64()).collect()
        };
        let some = |value: &dyn Fn(&Sample) -> Option<Duration>| -> Option<f64> {
            let values: Vec<f64> = samples.iter().filter_map(|(sample, _)| value(sample)).map(|time| time.as_secs_f64()).collect();
            (values.len() == samples.len()).then(|| median(&values))
        };
        let latency = |part: fn(Latency) -> Duration| some(&|sample| sample.latency.map(part)).map(|time| time * 1e6);
        let (seconds, in_allocator) = (column(Sample::time), median(&column(|sample| sample.allocator)));
        let of_bulk: Vec<f64> =
            samples.iter().map(|(sample, bulk)| 100.0 * bulk.time().as_secs_f64() / sample.time().as_secs_f64()).collect();
        let time = median(&seconds);
        let [low, high] = quarters(&seconds);
        let speed = |time: f64| bytes as f64 / time / 1e9;
        let folio_bytes = order.pages() * PAGE;
        let folios = bytes / folio_bytes;
        Some(Row {
            bytes,
            order: order.get(),
            folio_bytes,
            direction,
            mode,
            iterations: samples.len(),
            ms: time * 1e3,
            ms_low: low * 1e3,
            ms_high: high * 1e3,
            gb_per_s: speed(time),
            gb_per_s_low: speed(high),
            gb_per_s_high: speed(low),
            cv_percent: variation(&seconds).map(|variation| variation * 100.0),
            spread_percent: spread_percent(&seconds),
            varies: varies(&seconds),
            allocator_ms: in_allocator * 1e3,
            recording_ms: median(&column(|sample| sample.recording)) * 1e3,
            waiting_ms: median(&column(|sample| sample.waiting)) * 1e3,
            copying_ms: some(&|sample| sample.copying).map(|time| time * 1e3),
            planning_ms: median(&column(|sample| sample.planning)) * 1e3,
            cpu_ms: median(&column(|sample| sample.cpu)) * 1e3,
            p50_us: latency(|latency| latency.p50),
            p99_us: latency(|latency| latency.p99),
            of_bulk_percent: median(&of_bulk),
            of_bulk_low_percent: quantile(&of_bulk, 0.25),
            of_bulk_high_percent: quantile(&of_bulk, 0.75),
            faults: if mode == Mode::PerFolio { folios } else { 0 },
            folios,
            regions: first.0.work.regions,
            submits: first.0.work.submits,
            us_per_folio: time * 1e6 / folios as f64,
            allocator_percent: 100.0 * in_allocator / time,
            allocator_ns_per_folio: in_allocator * 1e9 / folios as f64,
        })
    }
}

/// A sample, and the bulk copy beside it.
type Pair = (Sample, Sample);

/// Size by size, both directions of every mode and order, each beside its bulk copies; those of all orders make one row.
pub(super) fn rows(measured: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    for of_one_size in measured.series.chunk_by(|a, b| a.series.bytes == b.series.bytes) {
        for (way, (direction, _)) in super::report::WAYS.into_iter().enumerate() {
            let pairs = |samples: &[[Sample; 2]], bulk: &[[Sample; 2]]| -> Vec<Pair> {
                samples.iter().zip(bulk).map(|(sample, bulk)| (sample[way], bulk[way])).collect()
            };
            let Series { bytes, .. } = of_one_size[0].series;
            let all: Vec<Pair> = of_one_size.iter().flat_map(|samples| pairs(&samples.bulk, &samples.bulk)).collect();
            rows.extend(Row::new(bytes, (Mode::Bulk, of_one_size[0].series.bulk()), direction, &all));
            for Samples { series, bulk, per_folio, batched, merged } in of_one_size {
                for (mode, mine) in [(Mode::PerFolio, per_folio), (Mode::Batched, batched), (Mode::Merged, merged)] {
                    rows.extend(Row::new(bytes, (mode, series.order), direction, &pairs(mine, bulk)));
                }
            }
        }
    }
    rows
}

/// Whether the middle half of these is too wide.
pub(super) fn varies(seconds: &[f64]) -> bool {
    spread_percent(seconds).is_some_and(|spread| spread > TOO_WIDE)
}

/// The width of the middle half beside the median; none of a single value.
fn spread_percent(values: &[f64]) -> Option<f64> {
    let [low, high] = quarters(values);
    (values.len() > 1).then(|| 100.0 * (high - low) / median(values))
}

/// What a quarter of the values is below and above.
fn quarters(values: &[f64]) -> [f64; 2] {
    [0.25, 0.75].map(|share| quantile(values, share))
}

/// Standard deviation of a sample over its mean; none of a single value.
fn variation(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt() / mean)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn variation_is_that_of_a_sample() {
        assert_eq!(variation(&[2.0, 2.0, 2.0]), Some(0.0));
        assert!(variation(&[1.0, 2.0, 3.0]).is_some_and(|variation| (variation - 0.5).abs() < 1e-12));
        assert_eq!(variation(&[2.0]), None);
    }

    #[test]
    fn req_82_the_middle_half_says_whether_a_row_varies_too_much() {
        assert_eq!(spread_percent(&[10.0]), None);
        assert!(!varies(&[10.0]), "nobody knows");
        assert_eq!(spread_percent(&[10.0, 10.0, 20.0, 20.0, 90.0]), Some(50.0));
        assert!(!varies(&[10.0, 10.0, 10.0, 12.0, 90.0]) && varies(&[10.0, 10.0, 10.0, 12.1, 90.0]));
    }

    #[test]
    fn req_82_planning_is_no_part_of_the_time_and_the_parts_are_told() {
        let ms = Duration::from_millis;
        let sample = |waiting| Sample {
            allocator: ms(1),
            planning: ms(1000),
            recording: ms(2),
            waiting: ms(waiting),
            copying: Some(ms(3)),
            latency: Some(Latency { p50: ms(4), p99: ms(5) }),
            ..Sample::default()
        };
        let samples: Vec<Pair> = [7, 17, 27, 37, 47].map(|waiting| (sample(waiting), sample(7))).to_vec();
        let row = Row::new(PAGE, (Mode::PerFolio, Order::ZERO), Direction::HostToDevice, &samples).unwrap();
        assert_eq!((row.ms_low, row.ms, row.ms_high, row.iterations), (20.0, 30.0, 40.0, 5));
        assert_eq!((row.planning_ms, row.allocator_ms, row.recording_ms, row.waiting_ms), (1000.0, 1.0, 2.0, 27.0));
        assert_eq!((row.copying_ms, row.p50_us, row.p99_us), (Some(3.0), Some(4000.0), Some(5000.0)));
        assert!(row.varies && row.gb_per_s_low < row.gb_per_s && row.gb_per_s < row.gb_per_s_high);
        assert_eq!(row.gb_per_s_low, PAGE as f64 / 0.040 / 1e9, "the slowest quarter is the longest");
    }
}
