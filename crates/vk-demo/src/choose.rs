//! Which device: hardware first, then software Vulkan, then the host device, unless the user says.

use std::rc::Rc;

use crate::device::{Choices, Device, DeviceError, DeviceInfo, Kind, Layout};
use crate::failure::Failure;
use crate::gpu::{self, Instance, Messages, NoInstance, Opened, Physical};
use crate::host::{self, Host};

/// Every device of this machine, best first; the host device is always the last.
pub(crate) struct Devices {
    list: Vec<Candidate>,
    /// Why there is no Vulkan, where there is none.
    pub(crate) no_vulkan: Option<String>,
    /// What the validation layer says, where it was asked for.
    pub(crate) messages: Option<Messages>,
}

/// A device that has not been opened.
pub(crate) enum Candidate {
    /// Through Vulkan.
    Vulkan(Box<Physical>),
    /// In this process.
    Host(Box<DeviceInfo>),
}

impl Candidate {
    /// What it is.
    pub(crate) fn info(&self) -> &DeviceInfo {
        match self {
            Candidate::Vulkan(physical) => physical.info(),
            Candidate::Host(info) => info,
        }
    }

    /// Opens it, to be used as the user wants it.
    pub(crate) fn open(&self, choices: &Choices) -> Result<Open, Failure> {
        match self {
            Candidate::Vulkan(physical) => {
                let physical = physical.with(choices).map_err(Failure::Usage)?;
                if let Some(why) = &physical.info().unusable {
                    return Err(Failure::Usage(format!("{} cannot be used like that: {why}", physical.info().name)));
                }
                Ok(Open::Vulkan(Box::new(Opened::new(physical)?)))
            }
            Candidate::Host(info) => {
                let asked = [("--memory-heap", choices.memory_heap.is_some()), ("--queue", choices.queue.is_some())];
                match asked.iter().find(|(_, asked)| *asked) {
                    Some((option, _)) => Err(Failure::Usage(format!("{option}: the host device has none to choose from"))),
                    None => Ok(Open::Host(info.clone())),
                }
            }
        }
    }
}

/// An open device, of which no memory has been taken.
pub(crate) enum Open {
    /// Through Vulkan.
    Vulkan(Box<Opened>),
    /// In this process.
    Host(Box<DeviceInfo>),
}

impl Open {
    /// What it is.
    pub(crate) fn info(&self) -> &DeviceInfo {
        match self {
            Open::Vulkan(opened) => opened.info(),
            Open::Host(info) => info,
        }
    }

    /// Takes the memory.
    pub(crate) fn furnish(self, layout: &Layout) -> Result<Box<dyn Device>, DeviceError> {
        Ok(match self {
            Open::Vulkan(opened) => Box::new(opened.furnish(layout)?),
            Open::Host(_) => Box::new(Host::open(layout)?),
        })
    }
}

impl Devices {
    /// Looks for devices; with `validate`, through the validation layer.
    pub(crate) fn find(validate: bool) -> Result<Devices, Failure> {
        let messages = validate.then(Messages::default);
        let mut devices = Devices { list: Vec::new(), no_vulkan: None, messages };
        match Instance::new(devices.messages.as_ref()) {
            Ok(instance) => match gpu::enumerate(&Rc::new(instance)) {
                Ok(found) if found.is_empty() => devices.no_vulkan = Some("a Vulkan loader but no device".into()),
                Ok(found) => devices.list.extend(found.into_iter().map(Box::new).map(Candidate::Vulkan)),
                Err(why) => devices.no_vulkan = Some(why),
            },
            Err(NoInstance::NoVulkan(why)) => devices.no_vulkan = Some(why),
            Err(missing @ NoInstance::NoValidationLayer) => return Err(Failure::Usage(format!("--validate: {missing}"))),
        }
        devices.list.push(Candidate::Host(Box::new(host::describe())));
        // A device that cannot be used stands behind those that can.
        devices.list.sort_by_key(|candidate| candidate.info().unusable.is_some());
        Ok(devices)
    }

    /// All of them; the position is the index that `--device` takes.
    pub(crate) fn all(&self) -> &[Candidate] {
        &self.list
    }

    /// Why the host device is the best there is: what stands in the way of every other.
    pub(crate) fn why_host(&self) -> String {
        let unusable = self.list.iter().filter_map(|candidate| {
            let info = candidate.info();
            info.unusable.as_ref().map(|why| format!("{} cannot be used: {why}", info.name))
        });
        let reasons: Vec<String> = self.no_vulkan.iter().cloned().chain(unusable).collect();
        reasons.join("; ")
    }

    /// The device that `wanted` names by index or by part of its name; without it, the best.
    pub(crate) fn choose(&self, wanted: Option<&str>) -> Result<&Candidate, Failure> {
        let chosen = match wanted {
            None => self.list.first().ok_or_else(|| Failure::NoSuchDevice("there is no device at all".into()))?,
            Some(wanted) => self.named(wanted)?,
        };
        let info = chosen.info();
        if let Some(why) = &info.unusable {
            return Err(Failure::NoSuchDevice(format!("{} cannot be used: {why}", info.name)));
        }
        if self.messages.is_some() && info.kind == Kind::Host {
            let why = self.no_vulkan.as_deref().unwrap_or("the host device was chosen");
            return Err(Failure::Usage(format!("--validate needs a Vulkan device: {why}")));
        }
        Ok(chosen)
    }

    fn named(&self, wanted: &str) -> Result<&Candidate, Failure> {
        let known = || {
            let names = self.list.iter().enumerate().map(|(index, candidate)| format!("{index}: {}", candidate.info().name));
            let names: Vec<String> = names.collect();
            names.join(", ")
        };
        if let Ok(index) = wanted.parse::<usize>() {
            let found = self.list.get(index);
            return found.ok_or_else(|| Failure::NoSuchDevice(format!("no device {index}; there are {}", known())));
        }
        let lower = wanted.to_lowercase();
        let matches = |candidate: &&Candidate| candidate.info().name.to_lowercase().contains(&lower);
        let found: Vec<&Candidate> = self.list.iter().filter(matches).collect();
        match found[..] {
            _ if lower.is_empty() => Err(Failure::NoSuchDevice(format!("a device needs a name; there are {}", known()))),
            [one] => Ok(one),
            [] => Err(Failure::NoSuchDevice(format!("no device is called {wanted:?}; there are {}", known()))),
            _ => Err(Failure::NoSuchDevice(format!("{wanted:?} names several devices; there are {}", known()))),
        }
    }
}
