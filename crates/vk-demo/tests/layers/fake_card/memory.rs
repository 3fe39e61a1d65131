//! Memory objects: of which heap they are, and what of them the host sees.

use std::ffi::c_void;

use ash::vk;

use crate::{state, violation};

/// A memory object.
pub(crate) struct Memory {
    bytes: u64,
    heap: usize,
    index: u32,
    /// Of memory that is not coherent: what the host sees. What the device sees is at the other address.
    apart: Option<(Vec<u8>, usize)>,
    pub(crate) is_mapped: bool,
}

pub(crate) unsafe extern "system" fn allocate(
    _: vk::Device,
    info: *const vk::MemoryAllocateInfo<'_>,
    _: *const vk::AllocationCallbacks<'_>,
    memory: *mut vk::DeviceMemory,
) -> vk::Result {
    let mut state = state();
    // SAFETY: the caller's structure.
    let mut info = unsafe { *info };
    let (index, bytes, mut heap) = (info.memory_type_index, info.allocation_size, 0);
    if let Some(card) = state.card {
        heap = card.types[index as usize].1 as usize;
        if card.is_guarded(index) {
            violation(&format!("memory type {index} is of a feature that is off"));
        }
        if bytes > card.largest_allocation {
            violation(&format!("an allocation of {bytes} bytes, more than {}", card.largest_allocation));
            return vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
        }
        if state.used[heap] + bytes > card.heaps[heap].0 {
            violation(&format!("heap {heap} is full: {bytes} bytes beside {}", state.used[heap]));
            return vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
        }
        info.memory_type_index = 0;
    }
    // SAFETY: handed on as it came, but for the type.
    match unsafe { state.device().allocate_memory(&info, None) } {
        Ok(made) => {
            state.used[heap] += bytes;
            state.memory.insert(made, Memory { bytes, heap, index, apart: None, is_mapped: false });
            // SAFETY: the caller's place for it.
            unsafe { *memory = made };
            vk::Result::SUCCESS
        }
        Err(result) => result,
    }
}

pub(crate) unsafe extern "system" fn free(_: vk::Device, memory: vk::DeviceMemory, _: *const vk::AllocationCallbacks<'_>) {
    let mut state = state();
    if let Some(known) = state.memory.remove(&memory) {
        state.used[known.heap] -= known.bytes;
    }
    // SAFETY: handed on as it came.
    unsafe { state.device().free_memory(memory, None) };
}

pub(crate) unsafe extern "system" fn map(
    _: vk::Device,
    memory: vk::DeviceMemory,
    at: u64,
    bytes: u64,
    flags: vk::MemoryMapFlags,
    mapped: *mut *mut c_void,
) -> vk::Result {
    let mut state = state();
    // SAFETY: handed on as it came.
    let real = match unsafe { state.device().map_memory(memory, at, bytes, flags) } {
        Ok(real) => real,
        Err(result) => return result,
    };
    let card = state.card;
    // SAFETY: the caller's place for it.
    unsafe { *mapped = real };
    let Some(known) = state.memory.get_mut(&memory) else { return vk::Result::SUCCESS };
    known.is_mapped = true;
    let Some(card) = card else { return vk::Result::SUCCESS };
    if !card.is_visible(known.index) {
        violation(&format!("memory type {} is mapped, which the host does not see", known.index));
    }
    if !card.is_coherent(known.index) {
        if at != 0 || bytes != vk::WHOLE_SIZE {
            violation("this layer keeps memory apart only as a whole");
        }
        // Nothing in it is what the device has until it is read anew.
        let mut apart = vec![0xcc; known.bytes as usize];
        // SAFETY: the caller's place for it; the bytes stay where they are as long as the memory is known.
        unsafe { *mapped = apart.as_mut_ptr().cast() };
        known.apart = Some((apart, real as usize));
    }
    vk::Result::SUCCESS
}

/// Copies whole atoms between what the host and what the device sees.
unsafe fn synchronise(count: u32, ranges: *const vk::MappedMemoryRange<'_>, to_device: bool) -> vk::Result {
    const ATOM: u64 = 64;
    let mut state = state();
    for index in 0..count as usize {
        // SAFETY: the caller's list, of so many.
        let range = unsafe { &*ranges.add(index) };
        let Some(known) = state.memory.get_mut(&range.memory) else { continue };
        let end = if range.size == vk::WHOLE_SIZE { known.bytes } else { range.offset + range.size };
        if !range.offset.is_multiple_of(ATOM) || end > known.bytes || end != known.bytes && !end.is_multiple_of(ATOM) {
            violation(&format!("{}..{end} of {} bytes are no whole atoms", range.offset, known.bytes));
            continue;
        }
        let Some((apart, real)) = &mut known.apart else { continue };
        let host = &mut apart[range.offset as usize..end as usize];
        let device = (*real + range.offset as usize) as *mut u8;
        // SAFETY: the driver's mapping is as long as the memory, and apart from the vector.
        unsafe {
            if to_device {
                device.copy_from_nonoverlapping(host.as_ptr(), host.len());
            } else {
                device.copy_to_nonoverlapping(host.as_mut_ptr(), host.len());
            }
        }
    }
    vk::Result::SUCCESS
}

pub(crate) unsafe extern "system" fn flush(_: vk::Device, count: u32, ranges: *const vk::MappedMemoryRange<'_>) -> vk::Result {
    // SAFETY: the caller's list.
    unsafe { synchronise(count, ranges, true) }
}

pub(crate) unsafe extern "system" fn invalidate(_: vk::Device, count: u32, ranges: *const vk::MappedMemoryRange<'_>) -> vk::Result {
    // SAFETY: the caller's list.
    unsafe { synchronise(count, ranges, false) }
}
