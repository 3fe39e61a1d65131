//! A whole result: what every command says of its work, and what came of the work itself.

use serde::Serialize;

use super::used::Used;
use super::{Baseline, Changes, Coverage, Output, headline};
use crate::device::{DeviceInfo, Kind, Layout};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::gpu::Messages;
use crate::picture::{Drawing, Picture};

/// Fields of every result that should be the same in a baseline.
const SETTINGS: [&str; 5] = ["version", "device.name", "device.driver", "seed", "heap_bytes"];

/// What came of one command's work.
pub(crate) trait Outcome: Serialize {
    /// The schema of the result.
    const SCHEMA: &'static str;
    /// Its numbers that say how good it was: what a baseline is compared by.
    const RESULTS: &'static [&'static str];
    /// Fields of its own that should be the same in a baseline.
    const SETTINGS: &'static [&'static str];
    /// A row for a spreadsheet: plain values only.
    type Line: Serialize;

    /// No byte was wrong and no page was lost.
    fn is_good(&self) -> bool;

    /// How much of what was written was compared.
    fn coverage(&self) -> Coverage;

    /// What was compared, and how much of it was wrong, in a few words.
    fn verdict(&self) -> String;

    /// The result for people.
    fn text(&self, head: &Head) -> String;

    /// The result for spreadsheets.
    fn lines(&self) -> Vec<Self::Line>;

    /// The result as a picture.
    fn picture(&self, head: &Head) -> Picture<'_>;
}

/// What every result begins with.
#[derive(Debug, Serialize)]
pub(crate) struct Head {
    schema: &'static str,
    version: &'static str,
    pub(crate) device: DeviceInfo,
    /// What of it was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<Used>,
    /// Why the host device was used although nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_vulkan: Option<String>,
    /// "complete", "interrupted", or what the device said when it gave up.
    pub(crate) ended: Ending,
    /// All was done, something was compared, every byte of it was what had been written, and no page was lost.
    pub(crate) verified: bool,
    pub(crate) coverage: Coverage,
    /// What was not checked, in words.
    not_checked: Vec<String>,
    /// Whether the validation layer listened.
    validated: bool,
    pub(crate) validation_messages: u64,
    seed: u64,
    pub(crate) heap_bytes: u64,
    /// Characters in a line of what shows the result; none where nothing limits it.
    #[serde(skip)]
    pub(crate) width: Option<usize>,
}

/// What a command ran on, and how.
pub(crate) struct Circumstances<'a> {
    pub(crate) device: &'a DeviceInfo,
    pub(crate) layout: &'a Layout,
    pub(crate) seed: u64,
    /// What the validation layer said, where it was asked to.
    pub(crate) messages: Option<&'a Messages>,
    /// Why the host device was used although nobody asked for it.
    pub(crate) no_vulkan: Option<String>,
    /// Characters in a line of what shows the result; none where nothing limits it.
    pub(crate) width: Option<usize>,
}

/// A result as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct Report<T> {
    #[serde(flatten)]
    pub(crate) head: Head,
    #[serde(flatten)]
    pub(crate) outcome: T,
    /// To be drawn anew.
    picture: Drawing,
}

impl<T: Outcome> Report<T> {
    /// Puts both together.
    pub(crate) fn new(circumstances: Circumstances<'_>, ended: Ending, outcome: T) -> Report<T> {
        let Circumstances { device, layout, seed, messages, no_vulkan, width } = circumstances;
        let coverage = outcome.coverage();
        let no_sums = device.roles.is_some_and(|roles| roles.summing.is_none());
        let no_sums = no_sums.then(|| "no queue of this device computes, so it did not sum what it holds".to_owned());
        let head = Head {
            schema: T::SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            device: device.clone(),
            used: Used::of(device, layout),
            no_vulkan,
            verified: ended.is_complete() && outcome.is_good() && coverage.is_something(),
            coverage,
            not_checked: coverage.gap().into_iter().chain(no_sums).collect(),
            ended,
            validated: messages.is_some(),
            validation_messages: messages.map_or(0, Messages::count),
            seed,
            heap_bytes: layout.objects.iter().sum(),
            width,
        };
        let picture = picture(&head, &outcome).into();
        Report { head, outcome, picture }
    }

    /// Writes it in the form that was asked for, beside what a baseline says, which is returned.
    pub(crate) fn write(&self, output: &mut Output, baseline: Option<&Baseline>) -> Result<Option<Changes>, Failure> {
        let settings = [&SETTINGS, T::SETTINGS].concat();
        let changes = baseline.map(|baseline| baseline.changes(self, T::RESULTS, &settings, self.head.width)).transpose()?;
        let lines: Vec<_> = self.outcome.lines().into_iter().map(|line| (self.head.line(), line)).collect();
        output.result(changes.as_ref().map(|changes| changes.text.as_str()), || self.text(), self, &lines)?;
        Ok(changes)
    }

    /// The result as a picture, as SVG.
    pub(crate) fn picture(&self) -> String {
        picture(&self.head, &self.outcome).svg()
    }

    fn text(&self) -> String {
        let Head { device, ended, used, no_vulkan, not_checked, .. } = &self.head;
        let mut text = format!("{}\n{} ({})\n", headline(device), device.name, device.driver);
        let more = [used.as_ref().map(Used::text), no_vulkan.as_ref().map(|why| format!("No Vulkan: {why}."))];
        more.into_iter().flatten().for_each(|line| text += &format!("{line}\n"));
        text.push('\n');
        text += &format!("{}\n\n", self.outcome.text(&self.head).trim_end());
        if let Some(note) = ended.note() {
            text += &format!("{note}\n");
        }
        text += &format!("{}: {} (seed {})", self.head.word(), self.outcome.verdict(), self.head.seed);
        not_checked.iter().for_each(|what| text += &format!("\nnot checked: {what}"));
        if self.head.validated {
            text += &format!("\nvalidation layer: {} messages", self.head.validation_messages);
        }
        text
    }
}

/// What the work shows, with what every result says below its title.
fn picture<'a, T: Outcome>(head: &Head, outcome: &'a T) -> Picture<'a> {
    let mut picture = outcome.picture(head);
    let verified = match head.verified {
        true if head.coverage.is_everything() => "every byte verified",
        _ => head.word(),
    };
    let device = match head.device.kind {
        Kind::Host => Kind::Host.words().to_owned(),
        kind => format!("{} ({})", head.device.name, kind.words()),
    };
    picture.subtitle = format!("{}; {device}, {verified}, seed {}", picture.subtitle, head.seed);
    picture
}

impl Head {
    /// What may be said of it in a word.
    fn word(&self) -> &'static str {
        match (self.verified, self.ended.is_complete() && !self.coverage.is_something()) {
            (true, _) => "verified",
            (false, true) => "NOTHING CHECKED",
            (false, false) => "NOT VERIFIED",
        }
    }

    fn line(&self) -> HeadLine<'_> {
        HeadLine {
            device: &self.device.name,
            driver: &self.device.driver,
            kind: self.device.kind,
            ended: &self.ended,
            verified: self.verified,
            validation_messages: self.validation_messages,
            seed: self.seed,
            heap_bytes: self.heap_bytes,
        }
    }
}

/// The head's columns in a spreadsheet.
#[derive(Serialize)]
struct HeadLine<'a> {
    device: &'a str,
    driver: &'a str,
    kind: Kind,
    ended: &'a Ending,
    verified: bool,
    validation_messages: u64,
    seed: u64,
    heap_bytes: u64,
}
