//! A Vulkan layer that makes a device fail at a given moment, as no driver does when it is asked to.
//!
//! `LOSE_AT_SUBMIT=n` loses the device at the n-th submission: from then on every call that can says so. `NO_HOST_MEMORY_AT=n`
//! and `NO_DEVICE_MEMORY_AT=n` refuse the n-th allocation of device memory. `MISUSE_AT_SUBMIT=n` makes a harmless call at the n-th
//! submission that Vulkan forbids. The tests load it in front of the driver, or of the validation layer.

// To find a function and to call it is one thing here.
#![allow(clippy::multiple_unsafe_ops_per_block, unreachable_pub)]

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ash::vk;

#[path = "chain.rs"]
mod chain;

use chain::{DEVICE_LINK, FAILED, INSTANCE_LINK, Negotiation, next_layer, pointer};

/// What stands behind this layer: of the one instance, and the one device, that a program makes.
static INSTANCE: OnceLock<(vk::PFN_vkGetInstanceProcAddr, vk::Instance)> = OnceLock::new();
static DEVICE: OnceLock<(vk::PFN_vkGetDeviceProcAddr, vk::Device)> = OnceLock::new();
static SUBMITS: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicBool = AtomicBool::new(false);

fn asked_for(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Where the loader starts.
///
/// # Safety
/// The loader calls it, with a structure of its own.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkNegotiateLoaderLayerInterfaceVersion(negotiation: *mut Negotiation) -> vk::Result {
    // SAFETY: by this function's contract.
    unsafe { chain::negotiate(negotiation, instance_function, device_function) }
}

unsafe extern "system" fn instance_function(instance: vk::Instance, name: *const c_char) -> vk::PFN_vkVoidFunction {
    // SAFETY: the loader gives a name that ends with a zero.
    match unsafe { chain::name(name) }.to_bytes() {
        b"vkGetInstanceProcAddr" => pointer!(instance_function as vk::PFN_vkGetInstanceProcAddr),
        b"vkGetDeviceProcAddr" => pointer!(device_function as vk::PFN_vkGetDeviceProcAddr),
        b"vkCreateInstance" => pointer!(create_instance as vk::PFN_vkCreateInstance),
        b"vkCreateDevice" => pointer!(create_device as vk::PFN_vkCreateDevice),
        // SAFETY: handed on as it came.
        _ => INSTANCE.get().and_then(|(next, _)| unsafe { next(instance, name) }),
    }
}

unsafe extern "system" fn device_function(device: vk::Device, name: *const c_char) -> vk::PFN_vkVoidFunction {
    // SAFETY: the loader gives a name that ends with a zero.
    match unsafe { chain::name(name) }.to_bytes() {
        b"vkGetDeviceProcAddr" => pointer!(device_function as vk::PFN_vkGetDeviceProcAddr),
        b"vkQueueSubmit" => pointer!(queue_submit as vk::PFN_vkQueueSubmit),
        b"vkWaitSemaphores" => pointer!(wait_semaphores as vk::PFN_vkWaitSemaphores),
        b"vkGetSemaphoreCounterValue" => pointer!(semaphore_value as vk::PFN_vkGetSemaphoreCounterValue),
        b"vkDeviceWaitIdle" => pointer!(wait_idle as vk::PFN_vkDeviceWaitIdle),
        b"vkAllocateMemory" => pointer!(allocate_memory as vk::PFN_vkAllocateMemory),
        // SAFETY: handed on as it came.
        _ => DEVICE.get().and_then(|(next, _)| unsafe { next(device, name) }),
    }
}

unsafe extern "system" fn create_instance(
    info: *const vk::InstanceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    instance: *mut vk::Instance,
) -> vk::Result {
    // SAFETY: the loader's own chain.
    let Some(next) = (unsafe { next_layer((*info).p_next, INSTANCE_LINK) }) else { return FAILED };
    // SAFETY: handed on as it came.
    let result = unsafe { chain::create_instance(next, info, allocator, instance) };
    if result == vk::Result::SUCCESS {
        // SAFETY: made just now. A second instance would be one too many for this layer; the first stays.
        let _ = INSTANCE.set((next.instance_functions, unsafe { *instance }));
    }
    result
}

unsafe extern "system" fn create_device(
    physical: vk::PhysicalDevice,
    info: *const vk::DeviceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    device: *mut vk::Device,
) -> vk::Result {
    // SAFETY: the loader's own chain.
    let Some(next) = (unsafe { next_layer((*info).p_next, DEVICE_LINK) }) else { return FAILED };
    let Some((_, instance)) = INSTANCE.get() else { return FAILED };
    // SAFETY: handed on as it came.
    let result = unsafe { chain::create_device(next, *instance, physical, info, allocator, device) };
    if result == vk::Result::SUCCESS {
        // SAFETY: made just now.
        let _ = DEVICE.set((next.device_functions, unsafe { *device }));
    }
    result
}

/// The driver's function of this name.
///
/// # Safety
/// `F` is what the name stands for.
unsafe fn driver<F: Copy>(name: &CStr) -> Option<F> {
    let (functions, device) = DEVICE.get()?;
    // SAFETY: the device is alive, for a function of it is called.
    let found = unsafe { functions(*device, name.as_ptr()) }?;
    // SAFETY: by this function's contract; all pointers to functions are as large as each other.
    Some(unsafe { std::mem::transmute_copy::<unsafe extern "system" fn(), F>(&found) })
}

/// What a call answers whose device is lost; otherwise the driver's answer.
fn unless_lost(answer: impl FnOnce() -> Option<vk::Result>) -> vk::Result {
    if LOST.load(Ordering::Relaxed) { vk::Result::ERROR_DEVICE_LOST } else { answer().unwrap_or(FAILED) }
}

unsafe extern "system" fn queue_submit(
    queue: vk::Queue,
    count: u32,
    submits: *const vk::SubmitInfo<'_>,
    fence: vk::Fence,
) -> vk::Result {
    let this = Some(SUBMITS.fetch_add(1, Ordering::Relaxed));
    if asked_for("MISUSE_AT_SUBMIT") == this
        && let Some((_, device)) = DEVICE.get()
    {
        // SAFETY: the driver's function of that name. No fences at all may not be reset, so none are.
        let reset = unsafe { driver::<vk::PFN_vkResetFences>(c"vkResetFences") };
        // SAFETY: there is no fence to be read.
        let _ = reset.map(|reset| unsafe { reset(*device, 0, std::ptr::null()) });
    }
    if asked_for("LOSE_AT_SUBMIT") == this {
        // What was submitted before ends: its memory is about to be freed.
        // SAFETY: the driver's function of that name; nobody else uses the queue.
        let idle = unsafe { driver::<vk::PFN_vkQueueWaitIdle>(c"vkQueueWaitIdle") };
        // SAFETY: handed on as it came.
        let _ = idle.map(|idle| unsafe { idle(queue) });
        LOST.store(true, Ordering::Relaxed);
    }
    // SAFETY: the driver's function of that name, with what it was given.
    unless_lost(|| unsafe { Some(driver::<vk::PFN_vkQueueSubmit>(c"vkQueueSubmit")?(queue, count, submits, fence)) })
}

unsafe extern "system" fn wait_semaphores(device: vk::Device, info: *const vk::SemaphoreWaitInfo<'_>, timeout: u64) -> vk::Result {
    // SAFETY: the driver's function of that name, with what it was given.
    unless_lost(|| unsafe { Some(driver::<vk::PFN_vkWaitSemaphores>(c"vkWaitSemaphores")?(device, info, timeout)) })
}

unsafe extern "system" fn semaphore_value(device: vk::Device, semaphore: vk::Semaphore, value: *mut u64) -> vk::Result {
    let name = c"vkGetSemaphoreCounterValue";
    // SAFETY: the driver's function of that name, with what it was given.
    unless_lost(|| unsafe { Some(driver::<vk::PFN_vkGetSemaphoreCounterValue>(name)?(device, semaphore, value)) })
}

unsafe extern "system" fn wait_idle(device: vk::Device) -> vk::Result {
    // SAFETY: the driver's function of that name, with what it was given.
    unless_lost(|| unsafe { Some(driver::<vk::PFN_vkDeviceWaitIdle>(c"vkDeviceWaitIdle")?(device)) })
}

unsafe extern "system" fn allocate_memory(
    device: vk::Device,
    info: *const vk::MemoryAllocateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    memory: *mut vk::DeviceMemory,
) -> vk::Result {
    let this = ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    for (variable, answer) in [
        ("NO_HOST_MEMORY_AT", vk::Result::ERROR_OUT_OF_HOST_MEMORY),
        ("NO_DEVICE_MEMORY_AT", vk::Result::ERROR_OUT_OF_DEVICE_MEMORY),
    ] {
        if asked_for(variable) == Some(this) {
            return answer;
        }
    }
    // SAFETY: the driver's function of that name, with what it was given.
    unless_lost(|| unsafe { Some(driver::<vk::PFN_vkAllocateMemory>(c"vkAllocateMemory")?(device, info, allocator, memory)) })
}
