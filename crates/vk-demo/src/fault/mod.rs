//! The fault scenario: an access trace over a space larger than the heap, at several folio orders and with several policies.
//!
//! ```text
//! trace   which pages are used     pager   how they come and go     report   what each order and policy cost
//! ```
//! The same trace runs at order 0 too, so that each row can say what its order buys.

mod pager;
mod report;
mod trace;

use std::time::Instant;

use pgmap_alloc::Order;

use crate::cli::{FaultOptions, JobOptions};
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::{self, Heap, PAGE};
use crate::job::Job;
use crate::report::Moment;
use crate::{interrupt, progress};

pub(crate) use pager::Policy;
pub(crate) use trace::Trace;

use pager::Pager;
use report::{Faulted, Row};

/// Bytes of the heap by default: a trace says the same over a small one, sooner.
const HEAP: u64 = 8 << 20;
/// By default the largest order is one of which the heap holds this many folios.
const FOLIOS: u64 = 16;
/// Orders by default, up to that one.
const ORDER_STEP: usize = 2;
/// Accesses by default, for each page of the space.
const PASSES: u64 = 8;
/// Accesses between two looks at whether to stop.
const STEP: usize = 256;

/// The scenario.
pub(crate) struct Fault {
    /// Pages of the virtual space: whole folios of every order.
    pages: u64,
    /// Pages of host memory for what is not in the heap.
    host_pages: u64,
    orders: Vec<Order>,
    floor: Option<Order>,
    policies: Vec<Policy>,
    trace: Trace,
    accesses: u64,
    seed: u64,
}

impl Job for Fault {
    type Options = FaultOptions;
    type Outcome = Faulted;

    const HEAP: Option<u64> = Some(HEAP);

    fn plan(job: &JobOptions, options: &FaultOptions, _: &DeviceInfo, layout: &mut Layout) -> Result<Fault, Failure> {
        let heap_pages = layout.objects.iter().sum::<u64>() / PAGE;
        let possible = heap::largest_order(layout);
        let orders = match options.order {
            // Order 0 is there to compare with.
            Some(order) => {
                let mut orders = vec![Order::ZERO, heap::order_within("--order", order, possible)?];
                orders.dedup();
                orders
            }
            None => {
                let most = Order::fitting(heap_pages / FOLIOS).map_or(Order::ZERO, |order| order.min(possible));
                most.up_to().step_by(ORDER_STEP).collect()
            }
        };
        let largest = orders.iter().max().copied().unwrap_or(Order::ZERO);
        let floor = options.floor.map(|floor| floor_within(floor, largest)).transpose()?;
        // Whole folios, and at least one more than the heap holds.
        let pages = ((heap_pages as f64 * options.load.oversub) as u64).max(heap_pages + 1).next_multiple_of(largest.pages());
        // Beside the space itself, room for copies that are still under way.
        let host_pages = pages + heap_pages / 4 + 4 * largest.pages();
        layout.staging = (host_pages + 2 * largest.pages()) * PAGE;
        let policies = options.policy.map_or(vec![Policy::Lru, Policy::Fifo, Policy::Random], |policy| vec![policy]);
        let accesses = options.accesses.unwrap_or(PASSES.saturating_mul(pages));
        let (trace, seed) = (options.trace, job.seed);
        Ok(Fault { pages, host_pages, orders, floor, policies, trace, accesses, seed })
    }

    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Faulted), Failure> {
        let mut rows = Vec::new();
        let ended = Ending::of(every_case(device, self, quiet, &mut rows))?;
        Ok((ended, Faulted::new(self, rows)))
    }
}

/// A fault falls back from its own order, never to a larger one.
fn floor_within(floor: u32, largest: Order) -> Result<Order, Failure> {
    match Order::new(floor) {
        Ok(floor) if floor <= largest => Ok(floor),
        _ => Err(Failure::Usage(format!("--floor: order {floor} is above the largest order of a fault, {largest} (--order)"))),
    }
}

/// A row for each policy and order, or as many as there is time for.
fn every_case(device: &mut dyn Device, fault: &Fault, quiet: bool, rows: &mut Vec<Row>) -> Result<Ending, Failure> {
    let cases: Vec<(Policy, Order)> =
        fault.policies.iter().flat_map(|policy| fault.orders.iter().map(|order| (*policy, *order))).collect();
    let bar = progress::bar("fault", cases.len() as u64, quiet);
    for (policy, order) in cases {
        rows.push(case(device, fault, policy, order)?);
        bar.inc(1);
    }
    bar.finish();
    Ok(Ending::Complete)
}

/// The whole trace at one order with one policy.
fn case(device: &mut dyn Device, fault: &Fault, policy: Policy, order: Order) -> Result<Row, Failure> {
    let heap = Heap::new(device)?;
    let floor = fault.floor.map_or(order, |floor| floor.min(order));
    let mut pager = Pager::new(&heap, device, (fault.pages, fault.host_pages), (order, floor), policy, fault.seed)?;
    let start = Instant::now();
    for (at, page) in fault.trace.pages(fault.pages, fault.accesses, fault.seed).enumerate() {
        if at.is_multiple_of(STEP) && interrupt::wanted() {
            return Err(Failure::Interrupted);
        }
        pager.access(page)?;
    }
    pager.finish()?;
    let elapsed = start.elapsed();
    let (counters, moved) = pager.done();
    let moment = Moment::of(0, heap.pgmap());
    let wrong_words = pager.wrong_words()?;
    let sums = pager.sums()?;
    let (faults, hits) = (pager.faults, pager.hits);
    drop(pager);
    let leaked_pages = heap.pages_in_service()?;
    Ok(Row {
        policy,
        order: order.get(),
        floor: floor.get(),
        accesses: fault.accesses,
        faults,
        hit_percent: 100.0 * hits as f64 / (fault.accesses as f64).max(1.0),
        evictions: counters.evicted,
        moved_bytes: moved.total(),
        fragmentation_percent: moment.fragmentation_percent,
        ms: elapsed.as_secs_f64() * 1e3,
        us_per_fault: elapsed.as_secs_f64() * 1e6 / (faults as f64).max(1.0),
        times_order_0: 0.0,
        wrong_words,
        device_sums: sums.sums,
        wrong_sums: sums.wrong,
        leaked_pages,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::DeviceError;
    use crate::faulty::{self, Fault as Wrong};
    use crate::report::Outcome;

    fn on_host(arguments: &str) -> Faulted {
        faulty::run::<Fault>(arguments, Wrong::None).unwrap().1
    }

    #[test]
    fn every_trace_policy_and_shape_of_heap_is_verified() {
        for trace in ["stream", "random", "zipf", "two-phase"] {
            for shape in ["--heap 256KiB", "--heap 256KiB --order 3 --floor 0", "--heap 4KiB", "--heap 100KiB --object 36KiB"] {
                let faulted = on_host(&format!("--trace {trace} {shape} --accesses 500"));
                assert!(faulted.is_good(), "{trace} {shape}: {:?}", faulted.rows);
            }
        }
    }

    #[test]
    fn policies_differ_as_their_names_say() {
        let faults = |trace: &str, policy: &str| {
            let faulted = on_host(&format!("--heap 256KiB --order 0 --accesses 4000 --trace {trace} --policy {policy}"));
            faulted.rows[0].faults
        };
        assert_eq!(faults("stream", "lru"), 4000, "a stream never finds what it left");
        assert!(faults("stream", "random") < 3500, "unless chance kept it");
        assert!(faults("zipf", "lru") < faults("zipf", "fifo"), "what is hot is worth keeping");
    }

    #[test]
    fn a_larger_order_takes_fewer_faults_where_neighbours_are_used() {
        let faulted = on_host("--heap 1MiB --trace stream --policy lru --order 4");
        assert_eq!(faulted.rows[0].faults, 16 * faulted.rows[1].faults);
    }

    #[test]
    fn a_wrong_bit_is_seen_and_a_lost_device_leaves_a_report() {
        let on_faulty = |wrong| faulty::run::<Fault>("--heap 64KiB --accesses 200 --order 1", wrong).unwrap();
        assert!(!on_faulty(Wrong::FlippedBit).1.is_good());
        assert!(!on_faulty(Wrong::LostCopies).1.is_good());
        for submit in 0..50 {
            assert_eq!(on_faulty(Wrong::DeviceLost(submit)).0, Ending::Device(DeviceError::Lost), "at submit {submit}");
        }
    }
}
