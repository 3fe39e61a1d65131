//! Two threads on one pool: each churning for itself, and one freeing what the other allocated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::{Hand, SyncPeer};
use crate::sample::{Budget, Outcome, Skip};
use crate::trace::{Slots, Trace};
use crate::works::churn::BATCH;

/// Million calls a second of two threads together, and how many times one thread's that is. One trace per thread.
pub fn churn<S: SyncPeer>(pages: u64, traces: &[Trace; 2], budget: Budget) -> Outcome {
    let one = throughput::<S>(pages, &traces[..1], budget)?;
    let two = throughput::<S>(pages, traces, budget)?;
    Ok(vec![two, two / one])
}

/// Million calls a second, summed over one thread per trace.
fn throughput<S: SyncPeer>(pages: u64, traces: &[Trace], budget: Budget) -> Result<f64, Skip> {
    let peer = S::build(pages).ok_or(Skip::Unsupported)?;
    let start = Barrier::new(traces.len());
    // The first thread that is done stops the others: nobody is measured while alone.
    let stop = AtomicBool::new(false);
    let rates: Vec<Result<f64, Skip>> = thread::scope(|scope| {
        let threads: Vec<_> =
            traces.iter().map(|trace| scope.spawn(|| replay(peer.share(), trace, &start, &stop, budget))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Skip::Refused))).collect()
    });
    rates.into_iter().sum()
}

fn replay<H: Hand>(mut hand: H, trace: &Trace, start: &Barrier, stop: &AtomicBool, budget: Budget) -> Result<f64, Skip> {
    let mut slots = Slots::new(trace.slots);
    let prepared = budget.prepare(&trace.fill, |step| slots.apply(&mut hand, *step));
    trace.warm();
    start.wait();
    prepared?;
    let begin = Instant::now();
    let mut steps = 0;
    for batch in trace.churn.chunks(BATCH) {
        for step in batch {
            slots.apply(&mut hand, *step);
        }
        steps += batch.len();
        // Relaxed: the flag carries no data; a batch more or less does not matter.
        if begin.elapsed() >= budget.measure || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let elapsed = begin.elapsed();
    stop.store(true, Ordering::Relaxed);
    Ok(mega_per_second(steps as u64, elapsed))
}

/// Blocks that travel together, so that the channel is not what is measured.
const PARCEL: usize = 512;

/// Million calls a second when one thread allocates single pages and the other frees them.
pub fn cross_free<S: SyncPeer>(pages: u64, budget: Budget) -> Outcome {
    let peer = S::build(pages).ok_or(Skip::Unsupported)?;
    let (send_full, full) = mpsc::sync_channel::<Vec<<S::Hand<'_> as Hand>::Block>>(8);
    let (send_empty, empty) = mpsc::sync_channel(8);
    for _ in 0..8 {
        // There is room for all eight.
        let _ = send_empty.send(Vec::with_capacity(PARCEL));
    }
    let start = Instant::now();
    let calls = thread::scope(|scope| {
        let peer = &peer;
        scope.spawn(move || {
            let mut hand = peer.share();
            for mut parcel in full {
                for block in parcel.drain(..) {
                    hand.free(block, 0);
                }
                // The allocating thread may be done and gone; the parcel is empty then.
                let _ = send_empty.send(parcel);
            }
        });
        let mut hand = peer.share();
        let mut calls = 0;
        while start.elapsed() < budget.measure {
            let Ok(mut parcel) = empty.recv() else { break };
            while parcel.len() < PARCEL {
                parcel.push(hand.alloc(0).ok_or(Skip::Refused)?);
            }
            if send_full.send(parcel).is_err() {
                break;
            }
            calls += 2 * PARCEL as u64;
        }
        drop(send_full);
        Ok(calls)
    })?;
    Ok(vec![mega_per_second(calls, start.elapsed())])
}

fn mega_per_second(calls: u64, time: Duration) -> f64 {
    calls as f64 / time.as_secs_f64() / 1e6
}
