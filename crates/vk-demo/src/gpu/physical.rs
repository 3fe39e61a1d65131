//! Which Vulkan devices there are, what each can do, and how much of its memory may be taken.

use std::ffi::CStr;
use std::rc::Rc;

use ash::{ext, vk};

use super::heaps::Heaps;
use super::instance::Instance;
use super::queues::Queues;
use super::sparse::{self, Ability};
use crate::device::{DeviceInfo, Features, Kind, Sparse};

/// A Vulkan device that has not been opened.
#[derive(Clone)]
pub(crate) struct Physical {
    pub(super) instance: Rc<Instance>,
    pub(super) raw: vk::PhysicalDevice,
    pub(super) info: DeviceInfo,
    pub(super) memory: vk::PhysicalDeviceMemoryProperties,
    pub(super) queue_family: u32,
    /// The memory heap that `info.heap` describes.
    pub(super) heap: u32,
    /// What views need to know, where `info.sparse` says that there can be some.
    pub(super) sparse: Option<Ability>,
    /// Best first within its kind.
    rank: u32,
}

/// Every Vulkan device, best first.
pub(crate) fn enumerate(instance: &Rc<Instance>) -> Vec<Physical> {
    // SAFETY: the instance lives.
    let found = unsafe { instance.raw.enumerate_physical_devices() }.unwrap_or_default();
    let mut devices: Vec<Physical> = found.into_iter().map(|raw| Physical::look_at(instance, raw)).collect();
    devices.sort_by_key(|device| (device.info.unusable.is_some(), device.info.kind, device.rank));
    devices
}

impl Physical {
    /// What it is.
    pub(crate) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Whether the queue that copies also computes.
    pub(super) fn computes(&self) -> bool {
        Queues::of(&self.instance, self.raw).computes(self.queue_family)
    }

    /// Its limits: what a shader sees of a buffer, the addresses of sparse buffers.
    pub(super) fn limits(&self) -> vk::PhysicalDeviceLimits {
        // SAFETY: `raw` came from this instance, which lives.
        unsafe { self.instance.raw.get_physical_device_properties(self.raw) }.limits
    }

    fn look_at(instance: &Rc<Instance>, raw: vk::PhysicalDevice) -> Physical {
        let mut physical = Physical::without_sparse(instance, raw);
        if physical.info.unusable.is_none() {
            match sparse::ability(&physical) {
                Ok(ability) => (physical.info.sparse, physical.sparse) = (ability.info(), Some(ability)),
                Err(missing) => physical.info.sparse = Sparse::Missing { missing },
            }
            physical.info.features.sparse_binding = physical.sparse.is_some();
        }
        physical
    }

    fn without_sparse(instance: &Rc<Instance>, raw: vk::PhysicalDevice) -> Physical {
        let properties = Properties::of(instance, raw);
        let has_budget = has_extension(instance, raw, ext::memory_budget::NAME);
        let heaps = Heaps::of(instance, raw, has_budget);
        let heap = heaps.info();
        let queue = Queues::of(instance, raw).copying();
        let has_priority = has_extension(instance, raw, ext::memory_priority::NAME);
        let (timeline_semaphore, memory_priority) = features(instance, raw, properties.api, has_priority);
        let unusable = unusable(properties.api, timeline_semaphore, queue, heap.bytes);
        let (kind, rank) = kind(properties.device_type);
        Physical {
            instance: Rc::clone(instance),
            raw,
            info: DeviceInfo {
                name: properties.name,
                driver: properties.driver,
                kind,
                api: Some(version_text(properties.api)),
                heap,
                max_object_bytes: properties.max_object_bytes,
                heaps: heaps.details(),
                features: Features {
                    timeline_semaphore,
                    memory_budget: has_budget,
                    memory_priority,
                    transfer_queue: queue.is_some_and(|(_, dedicated)| dedicated),
                    sparse_binding: false,
                },
                sparse: Sparse::Missing { missing: "the device cannot be used".into() },
                unusable,
            },
            memory: heaps.memory,
            queue_family: queue.map_or(0, |(family, _)| family),
            heap: heaps.used,
            sparse: None,
            rank,
        }
    }
}

/// The parts of the device's properties that matter here.
struct Properties {
    name: String,
    driver: String,
    api: u32,
    device_type: vk::PhysicalDeviceType,
    max_object_bytes: u64,
}

impl Properties {
    fn of(instance: &Instance, raw: vk::PhysicalDevice) -> Properties {
        // SAFETY: `raw` came from this instance, which lives.
        let basic = unsafe { instance.raw.get_physical_device_properties(raw) };
        let api = basic.api_version.min(instance.version);
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut maintenance3 = vk::PhysicalDeviceMaintenance3Properties::default();
        let mut maintenance4 = vk::PhysicalDeviceMaintenance4Properties::default().max_buffer_size(u64::MAX);
        let mut all = vk::PhysicalDeviceProperties2::default();
        if api >= vk::API_VERSION_1_2 {
            all = all.push_next(&mut driver).push_next(&mut maintenance3);
        }
        if api >= vk::API_VERSION_1_3 {
            all = all.push_next(&mut maintenance4);
        }
        // SAFETY: `raw` came from this instance; each struct in the chain is core in the version that was checked.
        unsafe { instance.raw.get_physical_device_properties2(raw, &mut all) };
        let device_type = basic.device_type;
        Properties {
            name: text(basic.device_name_as_c_str()),
            driver: format!("{} {}", text(driver.driver_name_as_c_str()), text(driver.driver_info_as_c_str())).trim().to_owned(),
            api,
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

/// Timeline semaphores, and memory priorities where their extension is offered.
fn features(instance: &Instance, raw: vk::PhysicalDevice, api: u32, has_priority: bool) -> (bool, bool) {
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
    (core12.timeline_semaphore == vk::TRUE, priority.memory_priority == vk::TRUE)
}

fn unusable(api: u32, timeline_semaphore: bool, queue: Option<(u32, bool)>, heap_bytes: u64) -> Option<String> {
    if api < vk::API_VERSION_1_2 {
        return Some(format!("Vulkan {} is older than 1.2", version_text(api)));
    }
    if !timeline_semaphore {
        return Some("it has no timeline semaphores".into());
    }
    if queue.is_none() {
        return Some("it has no queue that copies".into());
    }
    (heap_bytes == 0).then(|| "it has no device-local memory".into())
}

fn version_text(version: u32) -> String {
    let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
    format!("{major}.{minor}.{}", vk::api_version_patch(version))
}
