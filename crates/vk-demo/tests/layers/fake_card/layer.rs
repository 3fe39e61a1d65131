//! A Vulkan layer that makes a card out of whatever stands behind it, and goes wrong on purpose.
//!
//! `FAKE_CARD=nvidia` (or another of `card.rs`) tells heaps, types of memory, families of queues, limits and a sparse granule as that
//! card's driver does, and holds the program to them: what it must not do is said on the standard error, in a line that begins with
//! `fake card: violation`. Memory that the card has not coherent is not coherent here. Without the variable nothing is pretended.
//!
//! `FAULT=drop FAULT_AT=7` (or another of `fault.rs`) makes one mistake, at the seventh chance or the first one after it that makes a
//! difference, and says so in a line that begins with `fake card: fault`.
//!
//! ```text
//! card    what there is to pretend     pretend   telling it, and holding the program to it     memory   the same of memory
//! fault   when to make mistakes        spoil     making them of regions
//! scratch reading and writing what is in buffers behind the program's back
//! ```

// To find a function and to call it is one thing here.
#![allow(clippy::multiple_unsafe_ops_per_block, clippy::expect_used, unreachable_pub)]

#[path = "../chain.rs"]
mod chain;

mod card;
mod fault;
mod memory;
mod pretend;
mod scratch;
mod spoil;

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock};

use ash::vk;

use card::Card;
use chain::{DEVICE_LINK, FAILED, INSTANCE_LINK, Negotiation, next_layer, pointer};
use fault::Faults;

/// What stands behind this layer, of the one instance that a program makes.
pub(crate) struct Behind {
    functions: vk::PFN_vkGetInstanceProcAddr,
    pub(crate) instance: ash::Instance,
}

static BEHIND: OnceLock<Behind> = OnceLock::new();

/// What is known of the one device that is open at a time.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) card: Option<&'static Card>,
    /// The device behind this layer, and its functions by name.
    pub(crate) device: Option<Arc<ash::Device>>,
    functions: Option<vk::PFN_vkGetDeviceProcAddr>,
    pub(crate) physical: vk::PhysicalDevice,
    /// Bytes taken from each heap.
    pub(crate) used: [u64; 16],
    pub(crate) memory: HashMap<vk::DeviceMemory, memory::Memory>,
    pub(crate) buffers: HashMap<vk::Buffer, pretend::Buffer>,
    /// Families.
    pub(crate) pools: HashMap<vk::CommandPool, u32>,
    pub(crate) commands: HashMap<vk::CommandBuffer, pretend::Commands>,
    pub(crate) faults: Faults,
}

static STATE: LazyLock<Mutex<State>> =
    LazyLock::new(|| Mutex::new(State { card: Card::wanted(), faults: Faults::wanted(), ..State::default() }));

/// The state; nothing is called upwards while it is held.
pub(crate) fn state() -> MutexGuard<'static, State> {
    STATE.lock().expect("no hook panics")
}

/// The instance behind this layer.
pub(crate) fn instance() -> &'static ash::Instance {
    &BEHIND.get().expect("an instance has been made").instance
}

impl State {
    /// The device behind this layer.
    pub(crate) fn device(&self) -> Arc<ash::Device> {
        Arc::clone(self.device.as_ref().expect("a device has been opened"))
    }
}

/// Says what the program must not do.
pub(crate) fn violation(what: &str) {
    eprintln!("fake card: violation: {what}");
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

unsafe extern "system" fn instance_function(raw: vk::Instance, name: *const c_char) -> vk::PFN_vkVoidFunction {
    // SAFETY: the loader gives a name that ends with a zero.
    match unsafe { chain::name(name) }.to_bytes() {
        b"vkGetInstanceProcAddr" => pointer!(instance_function as vk::PFN_vkGetInstanceProcAddr),
        b"vkGetDeviceProcAddr" => pointer!(device_function as vk::PFN_vkGetDeviceProcAddr),
        b"vkCreateInstance" => pointer!(create_instance as vk::PFN_vkCreateInstance),
        b"vkCreateDevice" => pointer!(create_device as vk::PFN_vkCreateDevice),
        b"vkGetPhysicalDeviceProperties" => pointer!(pretend::properties as vk::PFN_vkGetPhysicalDeviceProperties),
        b"vkGetPhysicalDeviceProperties2" | b"vkGetPhysicalDeviceProperties2KHR" => {
            pointer!(pretend::properties2 as vk::PFN_vkGetPhysicalDeviceProperties2)
        }
        b"vkGetPhysicalDeviceMemoryProperties" => pointer!(pretend::memory as vk::PFN_vkGetPhysicalDeviceMemoryProperties),
        b"vkGetPhysicalDeviceMemoryProperties2" | b"vkGetPhysicalDeviceMemoryProperties2KHR" => {
            pointer!(pretend::memory2 as vk::PFN_vkGetPhysicalDeviceMemoryProperties2)
        }
        b"vkGetPhysicalDeviceQueueFamilyProperties" => {
            pointer!(pretend::families as vk::PFN_vkGetPhysicalDeviceQueueFamilyProperties)
        }
        b"vkGetPhysicalDeviceQueueFamilyProperties2" | b"vkGetPhysicalDeviceQueueFamilyProperties2KHR" => {
            pointer!(pretend::families2 as vk::PFN_vkGetPhysicalDeviceQueueFamilyProperties2)
        }
        // SAFETY: handed on as it came.
        _ => BEHIND.get().and_then(|behind| unsafe { (behind.functions)(raw, name) }),
    }
}

unsafe extern "system" fn device_function(device: vk::Device, name: *const c_char) -> vk::PFN_vkVoidFunction {
    // SAFETY: the loader gives a name that ends with a zero.
    match unsafe { chain::name(name) }.to_bytes() {
        b"vkGetDeviceProcAddr" => pointer!(device_function as vk::PFN_vkGetDeviceProcAddr),
        b"vkDestroyDevice" => pointer!(destroy_device as vk::PFN_vkDestroyDevice),
        b"vkGetDeviceQueue" => pointer!(pretend::queue as vk::PFN_vkGetDeviceQueue),
        b"vkCreateCommandPool" => pointer!(pretend::create_pool as vk::PFN_vkCreateCommandPool),
        b"vkAllocateCommandBuffers" => pointer!(pretend::allocate_commands as vk::PFN_vkAllocateCommandBuffers),
        b"vkBeginCommandBuffer" => pointer!(pretend::begin_commands as vk::PFN_vkBeginCommandBuffer),
        b"vkCreateBuffer" => pointer!(pretend::create_buffer as vk::PFN_vkCreateBuffer),
        b"vkGetBufferMemoryRequirements" => pointer!(pretend::needs as vk::PFN_vkGetBufferMemoryRequirements),
        b"vkBindBufferMemory" => pointer!(pretend::bind_buffer as vk::PFN_vkBindBufferMemory),
        b"vkAllocateMemory" => pointer!(memory::allocate as vk::PFN_vkAllocateMemory),
        b"vkFreeMemory" => pointer!(memory::free as vk::PFN_vkFreeMemory),
        b"vkMapMemory" => pointer!(memory::map as vk::PFN_vkMapMemory),
        b"vkFlushMappedMemoryRanges" => pointer!(memory::flush as vk::PFN_vkFlushMappedMemoryRanges),
        b"vkInvalidateMappedMemoryRanges" => pointer!(memory::invalidate as vk::PFN_vkInvalidateMappedMemoryRanges),
        b"vkCmdPipelineBarrier" => pointer!(pretend::barrier as vk::PFN_vkCmdPipelineBarrier),
        b"vkCmdCopyBuffer" => pointer!(fault::copy as vk::PFN_vkCmdCopyBuffer),
        b"vkCmdDispatch" => pointer!(fault::dispatch as vk::PFN_vkCmdDispatch),
        b"vkQueueSubmit" => pointer!(fault::submit as vk::PFN_vkQueueSubmit),
        b"vkQueueBindSparse" => pointer!(fault::bind as vk::PFN_vkQueueBindSparse),
        b"vkWaitSemaphores" => pointer!(fault::wait as vk::PFN_vkWaitSemaphores),
        b"vkGetSemaphoreCounterValue" => pointer!(fault::counter as vk::PFN_vkGetSemaphoreCounterValue),
        b"vkDeviceWaitIdle" => pointer!(fault::wait_idle as vk::PFN_vkDeviceWaitIdle),
        // SAFETY: handed on as it came.
        _ => state().functions.and_then(|functions| unsafe { functions(device, name) }),
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
        let functions = next.instance_functions;
        // SAFETY: made just now. A second instance would be one too many for this layer; the first stays.
        let raw = unsafe { *instance };
        let find = |name: &CStr| {
            // SAFETY: the functions of that instance.
            unsafe { functions(raw, name.as_ptr()) }.map_or(std::ptr::null(), |found| found as *const c_void)
        };
        // SAFETY: as above.
        let instance = unsafe { ash::Instance::load_with(find, raw) };
        if BEHIND.set(Behind { functions, instance }).is_err() {
            violation("a second instance");
        }
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
    let Some(behind) = BEHIND.get() else { return FAILED };
    // The driver behind has one family that does everything.
    // SAFETY: the caller's structure, for the length of the call.
    let mut one = unsafe { *info };
    let priority = [1.0];
    let queue = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&priority)];
    if state().card.is_some() {
        one = one.queue_create_infos(&queue);
    }
    // SAFETY: handed on as it came, but for the queues.
    let result = unsafe { chain::create_device(next, behind.instance.handle(), physical, &raw const one, allocator, device) };
    if result == vk::Result::SUCCESS {
        let functions = next.device_functions;
        // SAFETY: made just now.
        let raw = unsafe { *device };
        let find = |name: &CStr| {
            // SAFETY: the functions of that device.
            unsafe { functions(raw, name.as_ptr()) }.map_or(std::ptr::null(), |found| found as *const c_void)
        };
        // SAFETY: as above.
        let made = unsafe { ash::Device::load_with(find, raw) };
        let mut state = state();
        if state.functions.is_some() {
            violation("a second device is opened");
        }
        let opened = State { card: state.card, faults: std::mem::take(&mut state.faults), ..State::default() };
        *state = State { device: Some(Arc::new(made)), functions: Some(functions), physical, ..opened };
    }
    result
}

unsafe extern "system" fn destroy_device(_: vk::Device, allocator: *const vk::AllocationCallbacks<'_>) {
    let mut state = state();
    let Some(device) = state.device.take() else { return };
    state.faults.close(&device);
    // SAFETY: the caller's allocator.
    let allocator = unsafe { allocator.as_ref() };
    // SAFETY: by the caller nothing of it is in use; what this layer made is gone.
    unsafe { device.destroy_device(allocator) };
}
