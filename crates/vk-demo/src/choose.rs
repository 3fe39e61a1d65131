//! Which device: hardware first, then software Vulkan, then the host device, unless the user says.

use std::rc::Rc;

use crate::device::{Device, DeviceError, DeviceInfo, Kind, Layout};
use crate::failure::Failure;
use crate::gpu::{self, Gpu, Instance, Messages, NoInstance, Physical};
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
    Host(DeviceInfo),
}

impl Candidate {
    /// What it is.
    pub(crate) fn info(&self) -> &DeviceInfo {
        match self {
            Candidate::Vulkan(physical) => physical.info(),
            Candidate::Host(info) => info,
        }
    }

    /// Opens it and takes the memory.
    pub(crate) fn open(&self, layout: &Layout) -> Result<Box<dyn Device>, DeviceError> {
        Ok(match self {
            Candidate::Vulkan(physical) => Box::new(Gpu::open(physical, layout)?),
            Candidate::Host(_) => Box::new(Host::open(layout)?),
        })
    }
}

impl Devices {
    /// Looks for devices; with `validate`, through the validation layer.
    pub(crate) fn find(validate: bool) -> Result<Devices, Failure> {
        let messages = validate.then(Messages::default);
        let mut devices = Devices { list: Vec::new(), no_vulkan: None, messages };
        match Instance::new(devices.messages.as_ref()) {
            Ok(instance) => {
                let found = gpu::enumerate(&Rc::new(instance));
                if found.is_empty() {
                    devices.no_vulkan = Some("a Vulkan loader but no device".into());
                }
                devices.list.extend(found.into_iter().map(Box::new).map(Candidate::Vulkan));
            }
            Err(NoInstance::NoVulkan(why)) => devices.no_vulkan = Some(why),
            Err(missing @ NoInstance::NoValidationLayer) => return Err(Failure::Usage(format!("--validate: {missing}"))),
        }
        devices.list.push(Candidate::Host(host::describe()));
        // A device that cannot be used stands behind those that can.
        devices.list.sort_by_key(|candidate| candidate.info().unusable.is_some());
        Ok(devices)
    }

    /// All of them; the position is the index that `--device` takes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &DeviceInfo> {
        self.list.iter().map(Candidate::info)
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
            let names: Vec<String> = self.all().enumerate().map(|(index, info)| format!("{index}: {}", info.name)).collect();
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
