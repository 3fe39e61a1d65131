//! What every command that runs on a device has in common: from its options to its exit code.

use crate::Verdict;
use crate::choose::Devices;
use crate::cli::{Asked, JobOptions};
use crate::device::{Device, DeviceInfo, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::report::{Baseline, Outcome, Output, Report};
use crate::{interrupt, picture};

/// Work on a device, checked against it before anything is done.
pub(crate) trait Job: Sized {
    /// What the command takes beside what every such command takes.
    type Options: clap::Args;
    /// What came of it.
    type Outcome: Outcome;

    /// The work and the memory that it needs; refuses what cannot be done on such a device.
    fn plan(job: &JobOptions, options: &Self::Options, info: &DeviceInfo) -> Result<(Self, Layout), Failure>;

    /// Does it. A device that gives up in the middle, or Ctrl-C, leaves an outcome of what was done until then.
    fn run(&self, device: &mut dyn Device, quiet: bool) -> Result<(Ending, Self::Outcome), Failure>;
}

/// Carries a command out. Everything that can be refused is, before the device is opened and any file is touched.
pub(crate) fn carry_out<J: Job>(asked: &Asked<J::Options>) -> Result<Verdict, Failure> {
    let Asked { job: common, own } = asked;
    let devices = Devices::find(common.device.validate)?;
    let candidate = devices.choose(common.device.device.as_deref())?;
    let (job, layout) = J::plan(common, own, candidate.info())?;
    let mut output = Output::open(&common.output)?;
    let mut picture = picture::Files::open(&common.picture)?;
    let baseline = common.baseline.as_deref().map(|path| Baseline::read(path, J::Outcome::SCHEMA)).transpose()?;

    interrupt::watch();
    let mut device = candidate.open(&layout)?;
    let (ended, outcome) = job.run(device.as_mut(), common.output.quiet)?;
    // What the validation layer says while the device is closed counts too.
    drop(device);
    let report = Report::new(candidate.info(), &layout, common.seed, devices.messages.as_ref(), ended, outcome);
    report.write(&mut output, baseline.as_ref())?;
    picture.write(|| report.picture())?;
    report.head.ended.clone().into_result()?;
    Ok(Verdict::of(report.head.verified, report.head.validation_messages))
}
