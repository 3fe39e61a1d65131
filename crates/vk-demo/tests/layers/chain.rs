//! What every Vulkan layer begins with: how the loader finds it, and how it finds whoever stands behind it (`vk_layer.h`).

use std::ffi::{CStr, c_char, c_void};

use ash::vk;

/// What the loader puts into the chain of a create info, for each layer to find the next one with.
#[repr(C)]
struct Link {
    s_type: vk::StructureType,
    next: *const c_void,
    function: i32,
    next_layer: *mut NextLayer,
}

/// Whoever stands behind a layer.
#[repr(C)]
pub(crate) struct NextLayer {
    after: *mut NextLayer,
    /// Its functions by name, of an instance.
    pub(crate) instance_functions: vk::PFN_vkGetInstanceProcAddr,
    /// Its functions by name, of a device; in an instance's link this is another function.
    pub(crate) device_functions: vk::PFN_vkGetDeviceProcAddr,
}

/// What the loader and a layer tell each other first.
#[repr(C)]
pub struct Negotiation {
    s_type: i32,
    next: *mut c_void,
    version: u32,
    instance_functions: Option<vk::PFN_vkGetInstanceProcAddr>,
    device_functions: Option<vk::PFN_vkGetDeviceProcAddr>,
    physical_device_functions: Option<vk::PFN_vkGetInstanceProcAddr>,
}

/// The kinds of the two links.
pub(crate) const INSTANCE_LINK: vk::StructureType = vk::StructureType::from_raw(47);
pub(crate) const DEVICE_LINK: vk::StructureType = vk::StructureType::from_raw(48);

/// What a layer answers that cannot do its work.
pub(crate) const FAILED: vk::Result = vk::Result::ERROR_INITIALIZATION_FAILED;

/// Tells the loader where a layer's functions are.
///
/// # Safety
/// The loader's own structure.
pub(crate) unsafe fn negotiate(
    negotiation: *mut Negotiation,
    instance_functions: vk::PFN_vkGetInstanceProcAddr,
    device_functions: vk::PFN_vkGetDeviceProcAddr,
) -> vk::Result {
    // SAFETY: by this function's contract.
    let Some(negotiation) = (unsafe { negotiation.as_mut() }) else { return FAILED };
    negotiation.version = negotiation.version.min(2);
    negotiation.instance_functions = Some(instance_functions);
    negotiation.device_functions = Some(device_functions);
    negotiation.physical_device_functions = None;
    vk::Result::SUCCESS
}

/// The next layer, out of a chain, with the link advanced for it.
///
/// # Safety
/// The chain is one that the loader made.
pub(crate) unsafe fn next_layer<'a>(mut chain: *const c_void, kind: vk::StructureType) -> Option<&'a NextLayer> {
    while !chain.is_null() {
        let link = chain.cast_mut().cast::<Link>();
        // SAFETY: everything in a chain begins with its kind and the next one.
        let (s_type, next) = unsafe { ((*link).s_type, (*link).next) };
        // SAFETY: only a link has this kind.
        if s_type == kind && unsafe { (*link).function } == 0 {
            // SAFETY: the loader's links of function 0 lead to the next layer, and are each layer's to advance.
            let found = unsafe { (*link).next_layer.as_ref() }?;
            // SAFETY: as above.
            unsafe { (*link).next_layer = found.after };
            return Some(found);
        }
        chain = next;
    }
    None
}

/// Makes the instance, by the next layer.
///
/// # Safety
/// What the loader gave to `vkCreateInstance`.
pub(crate) unsafe fn create_instance(
    next: &NextLayer,
    info: *const vk::InstanceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    instance: *mut vk::Instance,
) -> vk::Result {
    // SAFETY: that function exists before there is an instance.
    let create = unsafe { (next.instance_functions)(vk::Instance::null(), c"vkCreateInstance".as_ptr()) };
    let Some(create) = create else { return FAILED };
    // SAFETY: what the name stands for.
    let create = unsafe { std::mem::transmute::<unsafe extern "system" fn(), vk::PFN_vkCreateInstance>(create) };
    // SAFETY: handed on as it came.
    unsafe { create(info, allocator, instance) }
}

/// Makes the device, by the next layer.
///
/// # Safety
/// What the loader gave to `vkCreateDevice`, with the instance that `physical` is of.
pub(crate) unsafe fn create_device(
    next: &NextLayer,
    instance: vk::Instance,
    physical: vk::PhysicalDevice,
    info: *const vk::DeviceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    device: *mut vk::Device,
) -> vk::Result {
    // SAFETY: the instance is alive, for a device of it is made.
    let create = unsafe { (next.instance_functions)(instance, c"vkCreateDevice".as_ptr()) };
    let Some(create) = create else { return FAILED };
    // SAFETY: what the name stands for.
    let create = unsafe { std::mem::transmute::<unsafe extern "system" fn(), vk::PFN_vkCreateDevice>(create) };
    // SAFETY: handed on as it came.
    unsafe { create(physical, info, allocator, device) }
}

/// The name that somebody asks a function by.
///
/// # Safety
/// A name that ends with a zero, and lives as long as what is made of it.
pub(crate) unsafe fn name<'a>(name: *const c_char) -> &'a CStr {
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(name) }
}

/// The pointer of a function of a layer's own, whatever it takes.
macro_rules! pointer {
    ($function:path as $kind:ty) => {
        // SAFETY: pointers to functions are as large as each other; the caller casts it back to what the name stands for.
        Some(unsafe { std::mem::transmute::<$kind, unsafe extern "system" fn()>($function) })
    };
}
pub(crate) use pointer;
