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
    let report = Report::new(Circumstances { device: &info, layout, seed, messages, no_vulkan }, ended, outcome);
    report.write(&mut output, baseline.as_ref())?;
    picture.write(|| report.picture())?;
    report.head.ended.clone().into_result()?;
    Ok(Verdict::of(report.head.verified, report.head.validation_messages))
}
