//! Which Vulkan devices there are, what each can do, and how much of its memory may be taken.

use std::ffi::CStr;
use std::rc::Rc;

use ash::{ext, vk};

use super::clock::Ticks;
use super::heaps::Heaps;
use super::instance::Instance;
use super::queues::Queues;
use super::sparse::{self, Ability};
use crate::device::{Choices, DeviceInfo, Features, Kind, Roles, Sparse};

/// A Vulkan device that has not been opened.
#[derive(Clone)]
pub(crate) struct Physical {
    pub(super) instance: Rc<Instance>,
    pub(super) raw: vk::PhysicalDevice,
    pub(super) info: DeviceInfo,
    pub(super) limits: vk::PhysicalDeviceLimits,
    /// Who does what; a device without roles is unusable.
    pub(super) roles: Roles,
    /// The clock of the family that copies, where there is one that can be used.
    pub(super) ticks: Option<Ticks>,
    /// What views need to know, once the device is open and has told.
    pub(super) sparse: Option<Ability>,
    /// Best first within its kind.
    rank: u32,
}

/// Every Vulkan device, best first.
pub(crate) fn enumerate(instance: &Rc<Instance>) -> Result<Vec<Physical>, String> {
    // SAFETY: the instance lives.
    let found = unsafe { instance.raw.enumerate_physical_devices() };
    let found = found.map_err(|error| format!("a Vulkan loader, but its devices cannot be listed ({error})"))?;
    let by_default = Choices::default();
    let mut devices: Vec<Physical> =
        found.into_iter().map(|raw| Physical::look_at(instance, raw, &by_default)).collect::<Result<_, _>>()?;
    devices.sort_by_key(|device| (device.info.unusable.is_some(), device.info.kind, device.rank));
    Ok(devices)
}

impl Physical {
    /// What it is.
    pub(crate) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// The same device, used as the user wants it; says what there is where that cannot be.
    pub(crate) fn with(&self, choices: &Choices) -> Result<Physical, String> {
        Physical::look_at(&self.instance, self.raw, choices)
    }

    fn look_at(instance: &Rc<Instance>, raw: vk::PhysicalDevice, choices: &Choices) -> Result<Physical, String> {
        let properties = Properties::of(instance, raw);
        let has_budget = has_extension(instance, raw, ext::memory_budget::NAME);
        let mut heaps = Heaps::of(instance, raw, has_budget);
        if let Some(heap) = choices.memory_heap {
            heaps.take_from(heap).map_err(|why| format!("--memory-heap: {why}"))?;
        }
        let heap = heaps.info();
        let queues = Queues::of(instance, raw);
        let roles = queues.roles(choices.queue).map_err(|why| format!("--queue: {why}"))?;
        let has_priority = has_extension(instance, raw, ext::memory_priority::NAME);
        let (timeline_semaphore, memory_priority, clock) = features(instance, raw, properties.used, has_priority);
        let unusable = unusable(properties.used, timeline_semaphore, roles, heap.bytes);
        let (kind, rank) = kind(properties.device_type);
        let missing = match (&unusable, roles) {
            (None, Some(roles)) => sparse::missing(instance, raw, roles.binding),
            _ => Some("the device cannot be used"),
        };
        let roles = roles.map(|roles| Roles { binding: roles.binding.filter(|_| missing.is_none()), ..roles });
        let bits = roles.filter(|_| clock).map_or(0, |roles| queues.clock_bits(roles.copying));
        Ok(Physical {
            instance: Rc::clone(instance),
            raw,
            ticks: Ticks::new(properties.limits.timestamp_period, bits),
            info: DeviceInfo {
                name: properties.name,
                driver: properties.driver,
                kind,
                api: Some(version_text(properties.api)),
                heap,
                max_object_bytes: properties.max_object_bytes,
                heaps: heaps.details(),
                queues: queues.details(),
                roles,
                buffer_types: u32::MAX,
                view_types: u32::MAX,
                features: Features {
                    timeline_semaphore,
                    memory_budget: heaps.is_told(),
                    memory_priority,
                    transfer_queue: roles.is_some_and(|roles| queues.is_copy_engine(roles.copying)),
                    sparse_binding: false,
                },
                sparse: Sparse::Missing { missing: missing.unwrap_or("the device has not been opened").into() },
                unusable,
            },
            limits: properties.limits,
            roles: roles.unwrap_or(Roles { copying: 0, summing: None, binding: None }),
            sparse: None,
            rank,
        })
    }
}

/// The parts of the device's properties that matter here.
struct Properties {
    name: String,
    driver: String,
    /// The version that the device has, and the one that it is used by.
    api: u32,
    used: u32,
    limits: vk::PhysicalDeviceLimits,
    device_type: vk::PhysicalDeviceType,
    max_object_bytes: u64,
}

impl Properties {
    fn of(instance: &Instance, raw: vk::PhysicalDevice) -> Properties {
        // SAFETY: `raw` came from this instance, which lives.
        let basic = unsafe { instance.raw.get_physical_device_properties(raw) };
        let used = basic.api_version.min(instance.version);
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut maintenance3 = vk::PhysicalDeviceMaintenance3Properties::default();
        let mut maintenance4 = vk::PhysicalDeviceMaintenance4Properties::default().max_buffer_size(u64::MAX);
        let mut all = vk::PhysicalDeviceProperties2::default();
        if used >= vk::API_VERSION_1_2 {
            all = all.push_next(&mut driver).push_next(&mut maintenance3);
        }
        if used >= vk::API_VERSION_1_3 {
            all = all.push_next(&mut maintenance4);
        }
        // SAFETY: `raw` came from this instance; each struct in the chain is core in the version that was checked.
        unsafe { instance.raw.get_physical_device_properties2(raw, &mut all) };
        let device_type = basic.device_type;
        Properties {
            name: text(basic.device_name_as_c_str()),
            driver: format!("{} {}", text(driver.driver_name_as_c_str()), text(driver.driver_info_as_c_str())).trim().to_owned(),
            api: basic.api_version,
            used,
            limits: basic.limits,
            device_type,
            max_object_bytes: maintenance3.max_memory_allocation_size.min(maintenance4.max_buffer_size),
        }
    }
}

fn text(name: Result<&CStr, std::ffi::FromBytesUntilNulError>) -> String {
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn kind(device_type: vk::PhysicalDeviceType) -> (Kind, u32) {
    match device_type {
        vk::PhysicalDeviceType::DISCRETE_GPU => (Kind::Hardware, 0),
        vk::PhysicalDeviceType::INTEGRATED_GPU => (Kind::Hardware, 1),
        vk::PhysicalDeviceType::VIRTUAL_GPU => (Kind::Hardware, 2),
        vk::PhysicalDeviceType::CPU => (Kind::Software, 0),
        _ => (Kind::Hardware, 3),
    }
}

fn has_extension(instance: &Instance, raw: vk::PhysicalDevice, name: &CStr) -> bool {
    // SAFETY: `raw` came from this instance, which lives.
    let offered = unsafe { instance.raw.enumerate_device_extension_properties(raw) }.unwrap_or_default();
    offered.iter().any(|offer| offer.extension_name_as_c_str() == Ok(name))
}

/// Timeline semaphores, memory priorities where their extension is offered, and clocks that the host can clear.
fn features(instance: &Instance, raw: vk::PhysicalDevice, api: u32, has_priority: bool) -> (bool, bool, bool) {
    let mut core12 = vk::PhysicalDeviceVulkan12Features::default();
    let mut priority = vk::PhysicalDeviceMemoryPriorityFeaturesEXT::default();
    let mut all = vk::PhysicalDeviceFeatures2::default();
    if api >= vk::API_VERSION_1_2 {
        all = all.push_next(&mut core12);
    }
    if has_priority {
        all = all.push_next(&mut priority);
    }
    // SAFETY: `raw` came from this instance; each struct in the chain is core in the version that was checked, or its
    // extension is offered.
    unsafe { instance.raw.get_physical_device_features2(raw, &mut all) };
    (core12.timeline_semaphore == vk::TRUE, priority.memory_priority == vk::TRUE, core12.host_query_reset == vk::TRUE)
}

fn unusable(api: u32, timeline_semaphore: bool, roles: Option<Roles>, heap_bytes: u64) -> Option<String> {
    if api < vk::API_VERSION_1_2 {
        return Some(format!("Vulkan {} is older than 1.2", version_text(api)));
    }
    if !timeline_semaphore {
        return Some("it has no timeline semaphores".into());
    }
    if roles.is_none() {
        return Some("it has no queue that copies".into());
    }
    (heap_bytes == 0).then(|| "it has no device-local memory".into())
}

fn version_text(version: u32) -> String {
    let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
    format!("{major}.{minor}.{}", vk::api_version_patch(version))
}
