//! Telling what the card has, and holding the program to it.

use std::ffi::c_char;

use ash::vk;

use crate::{instance, state, violation};

/// A buffer.
pub(crate) struct Buffer {
    pub(crate) bytes: u64,
    is_sparse: bool,
    pub(crate) memory: vk::DeviceMemory,
}

/// A command buffer.
#[derive(Clone, Default)]
pub(crate) struct Commands {
    family: u32,
    /// What it copies.
    pub(crate) regions: Vec<Region>,
}

/// One region of a copy.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    pub(crate) from: vk::Buffer,
    pub(crate) to: vk::Buffer,
    pub(crate) copy: vk::BufferCopy,
}

const MIB: u64 = 1 << 20;

fn limits(properties: &mut vk::PhysicalDeviceProperties) {
    let Some(card) = state().card else { return };
    properties.device_type = card.kind;
    let name = format!("Fake {}\0", card.name);
    for (to, from) in properties.device_name.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    properties.limits.non_coherent_atom_size = 64;
    properties.limits.min_storage_buffer_offset_alignment = 16;
}

pub(crate) unsafe extern "system" fn properties(physical: vk::PhysicalDevice, told: *mut vk::PhysicalDeviceProperties) {
    // SAFETY: the caller's own device and structure.
    unsafe { *told = instance().get_physical_device_properties(physical) };
    // SAFETY: as above.
    limits(unsafe { &mut *told });
}

pub(crate) unsafe extern "system" fn properties2(physical: vk::PhysicalDevice, told: *mut vk::PhysicalDeviceProperties2<'_>) {
    // SAFETY: the caller's own device and structure.
    unsafe { (instance().fp_v1_1().get_physical_device_properties2)(physical, told) };
    // SAFETY: as above.
    limits(unsafe { &mut (*told).properties });
    let Some(card) = state().card else { return };
    // SAFETY: as above.
    let mut next = unsafe { (*told).p_next }.cast::<vk::BaseOutStructure<'_>>();
    while !next.is_null() {
        // SAFETY: everything in a chain begins with its kind and the next one.
        let (kind, after) = unsafe { ((*next).s_type, (*next).p_next) };
        if kind == vk::StructureType::PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES {
            // SAFETY: only this structure has this kind.
            unsafe {
                (*next.cast::<vk::PhysicalDeviceMaintenance3Properties<'_>>()).max_memory_allocation_size = card.largest_allocation;
            };
        }
        if kind == vk::StructureType::PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES {
            // SAFETY: only this structure has this kind.
            unsafe { (*next.cast::<vk::PhysicalDeviceMaintenance4Properties<'_>>()).max_buffer_size = card.largest_buffer };
        }
        next = after;
    }
}

fn memories(told: &mut vk::PhysicalDeviceMemoryProperties) {
    let Some(card) = state().card else { return };
    *told = vk::PhysicalDeviceMemoryProperties::default();
    (told.memory_type_count, told.memory_heap_count) = (card.types.len() as u32, card.heaps.len() as u32);
    for (to, &(flags, heap)) in told.memory_types.iter_mut().zip(card.types) {
        *to = vk::MemoryType { property_flags: vk::MemoryPropertyFlags::from_raw(flags), heap_index: heap };
    }
    for (to, &(size, local)) in told.memory_heaps.iter_mut().zip(card.heaps) {
        let flags = if local { vk::MemoryHeapFlags::DEVICE_LOCAL } else { vk::MemoryHeapFlags::empty() };
        *to = vk::MemoryHeap { size, flags };
    }
}

pub(crate) unsafe extern "system" fn memory(physical: vk::PhysicalDevice, told: *mut vk::PhysicalDeviceMemoryProperties) {
    // SAFETY: the caller's own device and structure.
    unsafe { *told = instance().get_physical_device_memory_properties(physical) };
    // SAFETY: as above.
    memories(unsafe { &mut *told });
}

pub(crate) unsafe extern "system" fn memory2(physical: vk::PhysicalDevice, told: *mut vk::PhysicalDeviceMemoryProperties2<'_>) {
    // SAFETY: the caller's own device and structure.
    unsafe { (instance().fp_v1_1().get_physical_device_memory_properties2)(physical, told) };
    // SAFETY: as above.
    memories(unsafe { &mut (*told).memory_properties });
    let Some(card) = state().card else { return };
    // SAFETY: as above.
    let mut next = unsafe { (*told).p_next }.cast::<vk::BaseOutStructure<'_>>();
    while !next.is_null() {
        // SAFETY: everything in a chain begins with its kind and the next one.
        let (kind, after) = unsafe { ((*next).s_type, (*next).p_next) };
        if kind == vk::StructureType::PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT {
            // SAFETY: only this structure has this kind.
            let budget = unsafe { &mut *next.cast::<vk::PhysicalDeviceMemoryBudgetPropertiesEXT<'_>>() };
            for (index, &(size, _)) in card.heaps.iter().enumerate() {
                budget.heap_budget[index] = if card.tells_budget { size / 10 * 9 } else { 0 };
                budget.heap_usage[index] = if card.tells_budget { 5 * MIB } else { 0 };
            }
        }
        next = after;
    }
}

/// Fills in as many families as there is room for.
unsafe fn tell_families(count: *mut u32, mut fill: impl FnMut(usize, vk::QueueFamilyProperties), has_room: bool) {
    let families = state().card.map_or(&[][..], |card| card.families);
    let properties = |flags: u32| vk::QueueFamilyProperties {
        queue_flags: vk::QueueFlags::from_raw(flags),
        queue_count: 1,
        timestamp_valid_bits: 64,
        min_image_transfer_granularity: vk::Extent3D { width: 1, height: 1, depth: 1 },
    };
    // SAFETY: the caller's number.
    let room = if has_room { unsafe { *count as usize } } else { families.len() };
    for (index, flags) in families.iter().take(room).enumerate() {
        if has_room {
            fill(index, properties(*flags));
        }
    }
    // SAFETY: as above.
    unsafe { *count = families.len().min(room) as u32 };
}

pub(crate) unsafe extern "system" fn families(physical: vk::PhysicalDevice, count: *mut u32, told: *mut vk::QueueFamilyProperties) {
    if state().card.is_none() {
        // SAFETY: handed on as it came.
        unsafe { (instance().fp_v1_0().get_physical_device_queue_family_properties)(physical, count, told) };
        return;
    }
    // SAFETY: the caller's list, which has room for so many.
    unsafe { tell_families(count, |index, family| *told.add(index) = family, !told.is_null()) };
}

pub(crate) unsafe extern "system" fn families2(
    physical: vk::PhysicalDevice,
    count: *mut u32,
    told: *mut vk::QueueFamilyProperties2<'_>,
) {
    if state().card.is_none() {
        // SAFETY: handed on as it came.
        unsafe { (instance().fp_v1_1().get_physical_device_queue_family_properties2)(physical, count, told) };
        return;
    }
    // SAFETY: the caller's list, which has room for so many.
    unsafe { tell_families(count, |index, family| (*told.add(index)).queue_family_properties = family, !told.is_null()) };
}

/// The one queue that there is stands for all.
pub(crate) unsafe extern "system" fn queue(_: vk::Device, family: u32, index: u32, queue: *mut vk::Queue) {
    let state = state();
    let family = if state.card.is_some() { 0 } else { family };
    // SAFETY: the device was opened with it.
    unsafe { *queue = state.device().get_device_queue(family, index) };
}

pub(crate) unsafe extern "system" fn create_pool(
    _: vk::Device,
    info: *const vk::CommandPoolCreateInfo<'_>,
    _: *const vk::AllocationCallbacks<'_>,
    pool: *mut vk::CommandPool,
) -> vk::Result {
    let mut state = state();
    // SAFETY: the caller's structure.
    let mut info = unsafe { *info };
    let family = info.queue_family_index;
    if state.card.is_some() {
        info.queue_family_index = 0;
    }
    // SAFETY: handed on as it came, but for the family.
    match unsafe { state.device().create_command_pool(&info, None) } {
        Ok(made) => {
            state.pools.insert(made, family);
            // SAFETY: the caller's place for it.
            unsafe { *pool = made };
            vk::Result::SUCCESS
        }
        Err(result) => result,
    }
}

pub(crate) unsafe extern "system" fn allocate_commands(
    _: vk::Device,
    info: *const vk::CommandBufferAllocateInfo<'_>,
    commands: *mut vk::CommandBuffer,
) -> vk::Result {
    let mut state = state();
    // SAFETY: the caller's structure.
    let info = unsafe { &*info };
    let device = state.device();
    // SAFETY: handed on as it came.
    let result = unsafe { (device.fp_v1_0().allocate_command_buffers)(device.handle(), info, commands) };
    if result == vk::Result::SUCCESS {
        let family = state.pools.get(&info.command_pool).copied().unwrap_or(0);
        for index in 0..info.command_buffer_count as usize {
            // SAFETY: as many as were asked for.
            let made = unsafe { *commands.add(index) };
            state.commands.insert(made, Commands { family, regions: Vec::new() });
        }
    }
    result
}

pub(crate) unsafe extern "system" fn begin_commands(
    commands: vk::CommandBuffer,
    info: *const vk::CommandBufferBeginInfo<'_>,
) -> vk::Result {
    let mut state = state();
    if let Some(known) = state.commands.get_mut(&commands) {
        known.regions.clear();
    }
    // SAFETY: handed on as it came.
    unsafe { (state.device().fp_v1_0().begin_command_buffer)(commands, info) }
}

/// Whether what is recorded there may compute.
pub(crate) fn must_compute(commands: vk::CommandBuffer, what: &str) {
    let state = state();
    let (Some(card), Some(known)) = (state.card, state.commands.get(&commands)) else { return };
    if !card.computes(known.family) {
        violation(&format!("{what} on queue family {}, which does not compute", known.family));
    }
}

pub(crate) unsafe extern "system" fn barrier(
    commands: vk::CommandBuffer,
    before: vk::PipelineStageFlags,
    after: vk::PipelineStageFlags,
    flags: vk::DependencyFlags,
    memory_count: u32,
    memory: *const vk::MemoryBarrier<'_>,
    buffer_count: u32,
    buffer: *const vk::BufferMemoryBarrier<'_>,
    image_count: u32,
    image: *const vk::ImageMemoryBarrier<'_>,
) {
    if (before | after).contains(vk::PipelineStageFlags::COMPUTE_SHADER) {
        must_compute(commands, "a barrier for shaders");
    }
    let device = state().device();
    // SAFETY: handed on as it came.
    unsafe {
        (device.fp_v1_0().cmd_pipeline_barrier)(
            commands,
            before,
            after,
            flags,
            memory_count,
            memory,
            buffer_count,
            buffer,
            image_count,
            image,
        );
    }
}

pub(crate) unsafe extern "system" fn create_buffer(
    _: vk::Device,
    info: *const vk::BufferCreateInfo<'_>,
    _: *const vk::AllocationCallbacks<'_>,
    buffer: *mut vk::Buffer,
) -> vk::Result {
    let mut state = state();
    // SAFETY: the caller's structure.
    let info = unsafe { *info };
    if let Some(card) = state.card.filter(|card| info.size > card.largest_buffer) {
        violation(&format!("a buffer of {} bytes, more than {}", info.size, card.largest_buffer));
    }
    // The families that share it are not there.
    let one = if state.card.is_some() { info.sharing_mode(vk::SharingMode::EXCLUSIVE).queue_family_indices(&[]) } else { info };
    // SAFETY: handed on as it came, but for the families.
    match unsafe { state.device().create_buffer(&one, None) } {
        Ok(made) => {
            let is_sparse = info.flags.contains(vk::BufferCreateFlags::SPARSE_BINDING);
            state.buffers.insert(made, Buffer { bytes: info.size, is_sparse, memory: vk::DeviceMemory::null() });
            // SAFETY: the caller's place for it.
            unsafe { *buffer = made };
            vk::Result::SUCCESS
        }
        Err(result) => result,
    }
}

pub(crate) unsafe extern "system" fn needs(_: vk::Device, buffer: vk::Buffer, told: *mut vk::MemoryRequirements) {
    let state = state();
    // SAFETY: the caller's buffer.
    let mut needs = unsafe { state.device().get_buffer_memory_requirements(buffer) };
    if let (Some(card), Some(known)) = (state.card, state.buffers.get(&buffer)) {
        needs.memory_type_bits = card.buffer_types(known.is_sparse);
        if known.is_sparse {
            needs.alignment = card.granule;
            needs.size = needs.size.next_multiple_of(card.granule);
        }
    }
    // SAFETY: the caller's place for it.
    unsafe { *told = needs };
}

pub(crate) unsafe extern "system" fn bind_buffer(
    _: vk::Device,
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    at: u64,
) -> vk::Result {
    let mut state = state();
    if let Some(known) = state.buffers.get_mut(&buffer) {
        known.memory = memory;
    }
    // SAFETY: handed on as it came.
    let bound = unsafe { state.device().bind_buffer_memory(buffer, memory, at) };
    bound.err().unwrap_or(vk::Result::SUCCESS)
}
