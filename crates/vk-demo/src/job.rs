//! What every command that runs on a device has in common: from its options to its exit code.

use crate::Verdict;
use crate::choose::Devices;
use crate::cli::{Asked, JobOptions};
use crate::device::{Device, DeviceInfo, Kind, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::report::{Baseline, Circumstances, Outcome, Output, Report};
use crate::{heap, interrupt, picture, report};

/// Work on a device, checked against it before anything is done.
pub(crate) trait Job: Sized {
    /// What the command takes beside what every such command takes.
    type Options: clap::Args;
    /// What came of it.
    type Outcome: Outcome;

    /// How large the heap is where nobody says; none for what suits the device.
    const HEAP: Option<u64> = None;

    /// The work on such a device, with the heap laid out; lays out what else it needs, and refuses what cannot be done.
    fn plan(job: &JobOptions, options: &Self::Options, info: &DeviceInfo, layout: &mut Layout) -> Result<Self, Failure>;

    /// Does it. A device that gives up in the middle, or Ctrl-C, leaves an outcome of what was done until then.
    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Self::Outcome), Failure>;
}

/// No heap is made smaller than this to find room for what goes with it.
const SMALLEST: u64 = 1 << 20;

/// Plans the work and lays out all of its memory, without taking any. A heap whose size nobody asked for is halved until what goes
/// with it has room, too.
pub(crate) fn plan<J: Job>(job: &JobOptions, options: &J::Options, info: &DeviceInfo) -> Result<(J, Layout), Failure> {
    let asked = job.device.heap.heap;
    let mut bytes = asked.or(J::HEAP).unwrap_or_else(|| heap::by_default(info));
    loop {
        match plan_with(bytes, job, options, info) {
            Err(Failure::TooLarge(_)) if asked.is_none() && bytes / 2 >= SMALLEST => bytes /= 2,
            other => return other,
        }
    }
}

fn plan_with<J: Job>(bytes: u64, job: &JobOptions, options: &J::Options, info: &DeviceInfo) -> Result<(J, Layout), Failure> {
    let mut layout = heap::plan(bytes, &job.device.heap, info)?;
    let planned = J::plan(job, options, info, &mut layout)?;
    heap::fits(&layout, info)?;
    Ok((planned, layout))
}

/// Carries a command out. Everything that can be refused is, before any memory is taken and any file is touched.
pub(crate) fn carry_out<J: Job>(asked: &Asked<J::Options>) -> Result<Verdict, Failure> {
    let Asked { job: common, own } = asked;
    let devices = Devices::find(common.device.validate)?;
    let candidate = devices.choose(common.device.device.as_deref())?;
    let opened = candidate.open(&common.device.choices())?;
    let info = opened.info().clone();
    let no_vulkan = (info.kind == Kind::Host && common.device.device.is_none()).then(|| devices.why_host());
    if let Some(why) = no_vulkan.as_ref().filter(|_| !common.output.quiet) {
        eprintln!("no Vulkan: {why}; the host device is used instead");
    }
    let (job, layout) = plan::<J>(common, own, &info)?;
    let files = [("-o", &common.output.output), ("--svg", &common.picture.svg), ("--png", &common.picture.png)];
    report::distinct(&files.map(|(option, path)| (option, path.as_deref())))?;
    let mut output = Output::open(&common.output)?;
    let mut picture = picture::Files::open(&common.picture)?;
    let baseline = common.baseline.as_deref().map(|path| Baseline::read(path, J::Outcome::SCHEMA)).transpose()?;

    interrupt::watch();
    let mut device = opened.furnish(&layout)?;
    let (ended, outcome) = job.run(device.as_mut(), common.output.quiet)?;
    // What the validation layer says while the device is closed counts too.
    drop(device);
    let (layout, seed, messages) = (&layout, common.seed, devices.messages.as_ref());
    let width = output.width();
    let report = Report::new(Circumstances { device: &info, layout, seed, messages, no_vulkan, width }, ended, outcome);
    let changes = report.write(&mut output, baseline.as_ref())?;
    picture.write(|| report.picture())?;
    report.head.ended.clone().into_result()?;
    let regression = common.fail_on.zip(changes).and_then(|(percent, changes)| changes.regression(percent));
    if let Some(said) = &regression {
        eprintln!("vk-demo: --fail-on: {said}");
    }
    Ok(Verdict::of(report.head.verified && regression.is_none(), report.head.validation_messages))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::{HeapDetails, HeapInfo, Roles, TypeDetails};
    use crate::memory_types::Properties;
    use crate::{faulty, host};

    const MIB: u64 = 1 << 20;

    /// A card whose one small heap is all the memory that there is.
    fn integrated() -> DeviceInfo {
        let types = vec![TypeDetails { index: 0, properties: Properties(0b1111) }];
        let bytes = 64 * MIB;
        DeviceInfo {
            name: "small".into(),
            kind: Kind::Hardware,
            heap: HeapInfo { index: 0, bytes, budget_bytes: bytes / 4 * 3, budget_from: "3/4 of the heap" },
            heaps: vec![HeapDetails { bytes, budget_bytes: None, usage_bytes: None, device_local: true, used: true, types }],
            roles: Some(Roles { copying: 0, summing: Some(0), binding: None }),
            ..host::describe()
        }
    }

    #[test]
    fn req_82_a_heap_that_nobody_asked_for_leaves_room_for_what_goes_with_it_where_both_are_one() {
        let planned = |arguments: &str| faulty::plan::<crate::compare::Compare>(arguments, &integrated()).map(|(_, layout)| layout);
        let layout = planned("").unwrap();
        // Twice as much, and the staging memory, are in three quarters of 64 MiB.
        assert_eq!(layout.objects, [16 * MIB]);
        assert!(matches!(planned("--heap 64MiB"), Err(Failure::TooLarge(_))), "who asks for it is told");
        let run = |arguments: &str| faulty::plan::<crate::run::Run>(arguments, &integrated()).map(|(_, layout)| layout);
        assert!(matches!(run("--heap 40MiB"), Err(Failure::TooLarge(why)) if why.contains("in one place")));
        let layout = run("--oversub 8").unwrap();
        let heap: u64 = layout.objects.iter().sum();
        assert!(heap + layout.staging <= 48 * MIB && 2 * heap + layout.staging > 24 * MIB, "{layout:?}");
    }
}
