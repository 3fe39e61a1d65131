//! Which Vulkan devices there are, what each can do, and how much of its memory may be taken.

use std::ffi::CStr;
use std::rc::Rc;

use ash::{ext, vk};

use super::instance::Instance;
use crate::device::{DeviceInfo, Features, HeapInfo, Kind};

/// Without `VK_EXT_memory_budget` this share of the heap is taken to be free; the rest is for everyone else.
const SHARE: (u64, u64) = (3, 4);

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
        // SAFETY: `raw` came from this instance, which lives.
        let families = unsafe { self.instance.raw.get_physical_device_queue_family_properties(self.raw) };
        families.get(self.queue_family as usize).is_some_and(|family| family.queue_flags.contains(vk::QueueFlags::COMPUTE))
    }

    /// The most bytes that a shader sees of one buffer.
    pub(super) fn max_storage_bytes(&self) -> u64 {
        // SAFETY: `raw` came from this instance, which lives.
        let properties = unsafe { self.instance.raw.get_physical_device_properties(self.raw) };
        u64::from(properties.limits.max_storage_buffer_range)
    }

    fn look_at(instance: &Rc<Instance>, raw: vk::PhysicalDevice) -> Physical {
        let properties = Properties::of(instance, raw);
        let has_budget = has_extension(instance, raw, ext::memory_budget::NAME);
        let (memory, budget, usage) = memory(instance, raw, has_budget);
        let heap = largest_local_heap(&memory);
        let bytes = memory.memory_heaps.get(heap as usize).map_or(0, |heap| heap.size);
        let (budget_bytes, budget_from) = if has_budget {
            let slot = heap as usize;
            (budget[slot].saturating_sub(usage[slot]).min(bytes), "VK_EXT_memory_budget")
        } else {
            (bytes / SHARE.1 * SHARE.0, "3/4 of the heap")
        };
        let queue = queue_family(instance, raw);
        let (timeline_semaphore, sparse_binding) = features(instance, raw, properties.api);
        let unusable = unusable(properties.api, timeline_semaphore, queue, bytes);
        let (kind, rank) = kind(properties.device_type);
        Physical {
            instance: Rc::clone(instance),
            raw,
            info: DeviceInfo {
                name: properties.name,
                driver: properties.driver,
                kind,
                api: Some(version_text(properties.api)),
                heap: HeapInfo { bytes, budget_bytes, budget_from },
                max_object_bytes: properties.max_object_bytes,
                features: Features {
                    timeline_semaphore,
                    memory_budget: has_budget,
                    transfer_queue: queue.is_some_and(|(_, dedicated)| dedicated),
                    sparse_binding,
                },
                unusable,
            },
            memory,
            queue_family: queue.map_or(0, |(family, _)| family),
            heap,
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

type PerHeap = [u64; vk::MAX_MEMORY_HEAPS];

fn memory(
    instance: &Instance,
    raw: vk::PhysicalDevice,
    has_budget: bool,
) -> (vk::PhysicalDeviceMemoryProperties, PerHeap, PerHeap) {
    let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
    let mut all = vk::PhysicalDeviceMemoryProperties2::default();
    if has_budget {
        all = all.push_next(&mut budget);
    }
    // SAFETY: `raw` came from this instance; the budget is chained only where its extension is offered.
    unsafe { instance.raw.get_physical_device_memory_properties2(raw, &mut all) };
    let memory = all.memory_properties;
    (memory, budget.heap_budget, budget.heap_usage)
}

fn largest_local_heap(memory: &vk::PhysicalDeviceMemoryProperties) -> u32 {
    let heaps = &memory.memory_heaps[..memory.memory_heap_count as usize];
    let local = |heap: &vk::MemoryHeap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL);
    (0..memory.memory_heap_count)
        .filter(|&index| local(&heaps[index as usize]))
        .max_by_key(|&index| heaps[index as usize].size)
        .unwrap_or(0)
}

/// The family to copy on, and whether it does nothing else: a copy engine works beside the others.
fn queue_family(instance: &Instance, raw: vk::PhysicalDevice) -> Option<(u32, bool)> {
    use vk::QueueFlags as Q;
    // SAFETY: `raw` came from this instance, which lives.
    let families = unsafe { instance.raw.get_physical_device_queue_family_properties(raw) };
    let first = |wanted: fn(Q) -> bool| families.iter().position(|family| wanted(family.queue_flags));
    let dedicated = first(|flags| flags.contains(Q::TRANSFER) && !flags.intersects(Q::GRAPHICS | Q::COMPUTE));
    // A family with graphics or compute copies too, whether it says so or not.
    let any = first(|flags| flags.intersects(Q::TRANSFER | Q::COMPUTE | Q::GRAPHICS));
    dedicated.map(|family| (family as u32, true)).or(any.map(|family| (family as u32, false)))
}

/// Timeline semaphores and sparse binding.
fn features(instance: &Instance, raw: vk::PhysicalDevice, api: u32) -> (bool, bool) {
    let mut core12 = vk::PhysicalDeviceVulkan12Features::default();
    let mut all = vk::PhysicalDeviceFeatures2::default();
    if api >= vk::API_VERSION_1_2 {
        all = all.push_next(&mut core12);
    }
    // SAFETY: `raw` came from this instance; the struct in the chain is core in the version that was checked.
    unsafe { instance.raw.get_physical_device_features2(raw, &mut all) };
    let sparse = all.features.sparse_binding == vk::TRUE;
    (core12.timeline_semaphore == vk::TRUE, sparse)
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
