//! Random operations on a manager over a device, with injected failures, against a model that knows every byte.
//!
//! ```text
//! story   which operations, how often     model   the objects, and what each page of them holds
//! inject  steps that fail on purpose      report  what came of it
//! closing the end of it                   findings  what was found
//! ```
//! Every so many operations there is a quiet point: all copies are waited for, every byte is compared, the manager audits its
//! books and the pgmap its own, and the two must agree. At the end the heap is unplugged under its objects.

mod closing;
mod findings;
mod inject;
mod model;
mod report;
mod story;

use std::time::{Duration, Instant};

use crate::cli::{JobOptions, SoakOptions};
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::heap::{Heap, PAGE};
use crate::job::Job;
use crate::report::{HeatMap, Timeline};
use crate::{host, interrupt, progress};

use inject::Injected;
use model::Model;
use report::Soaked;
use story::Story;

/// Operations by default: this many pages of the heap for each, within these bounds. On a larger heap each moves more.
const OPS_PAGES: u64 = 1 << 25;
const OPS: std::ops::RangeInclusive<u64> = 2_000..=100_000;
/// Operations between two quiet points.
const QUIET: u64 = 1024;

/// Random operations.
pub(crate) struct Soak {
    /// Pages of the host's memory, and of the swap, which the device does not reach.
    hosts: [u64; 2],
    /// How many operations, at most.
    ops: u64,
    /// How long, at most.
    time: Option<Duration>,
    inject: bool,
    seed: u64,
}

impl Job for Soak {
    type Options = SoakOptions;
    type Outcome = Soaked;

    fn plan(job: &JobOptions, options: &SoakOptions, _: &DeviceInfo, layout: &mut Layout) -> Result<Soak, Failure> {
        let pages = layout.objects.iter().sum::<u64>() / PAGE;
        let hosts = [pages, 2 * pages];
        let [host, swap] = hosts;
        layout.staging = (host + story::scratch_pages(pages)) * PAGE;
        host::room_for(layout.staging + swap * PAGE)?;
        let time = options.time.map(Duration::from_secs);
        let by_default = (OPS_PAGES / pages).clamp(*OPS.start(), *OPS.end());
        let ops = options.ops.unwrap_or(if time.is_some() { u64::MAX } else { by_default });
        Ok(Soak { hosts, ops, time, inject: options.inject, seed: job.seed })
    }

    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Soaked), Failure> {
        let heap = Heap::new(device)?;
        let start = Instant::now();
        let injected = Injected::default();
        let owners = model::payers()?;
        let mut model = Model::new(&heap, &owners, device, self.hosts, self.seed, self.inject)?;
        if self.inject {
            model.manager.set_fault_hook(injected.hook(self.seed));
        }
        let mut timeline = Timeline::growing();
        let ended = Ending::of(drive(&mut model, self, start, quiet, &mut timeline))?;
        model.manager.clear_fault_hook();
        let heat_map = HeatMap::of(heap.pgmap());
        let ended = match ended {
            lost @ Ending::Device(_) => lost,
            ended => Ending::of(model.unplug().map(|()| ended))?,
        };
        let (findings, counters) = model.close()?;
        let known = report::Ended { counters, injected, elapsed: start.elapsed(), heat_map, timeline };
        Ok((ended, Soaked::new(self.inject, findings, known)))
    }
}

fn drive(model: &mut Model<'_, '_>, soak: &Soak, start: Instant, quiet: bool, timeline: &mut Timeline) -> Result<Ending, Failure> {
    // Without a number of operations, the bar counts those that there were.
    let bar = progress::bar("soak", if soak.ops == u64::MAX { 0 } else { soak.ops }, quiet);
    let mut story = Story::new(soak.seed);
    let mut ended = Ending::Complete;
    while model.findings.ops < soak.ops {
        story.step(model)?;
        model.sum_arrivals()?;
        timeline.step(model.findings.ops, model.heap.pgmap());
        model.findings.ops += 1;
        if model.findings.ops.is_multiple_of(QUIET) {
            model.quiet_point()?;
            bar.set_position(model.findings.ops);
            if interrupt::wanted() {
                ended = Ending::Interrupted;
                break;
            }
            if soak.time.is_some_and(|time| start.elapsed() >= time) {
                break;
            }
        }
    }
    model.quiet_point()?;
    bar.finish();
    Ok(ended)
}

#[cfg(test)]
mod tests;
