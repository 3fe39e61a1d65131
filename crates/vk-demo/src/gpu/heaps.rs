//! The memory heaps of a device: which one the pgmap's ranges come from, how much of it may be taken, and what else there is.

use ash::vk;

use super::instance::Instance;
use crate::device::{HeapDetails, HeapInfo, TypeDetails};

/// Without `VK_EXT_memory_budget` this share of the heap is taken to be free; the rest is for everyone else.
const SHARE: (u64, u64) = (3, 4);

/// What the driver says of its memory.
pub(super) struct Heaps {
    pub(super) memory: vk::PhysicalDeviceMemoryProperties,
    /// Of each heap, what this program may have and has; where the driver tells.
    budgets: Option<Vec<(u64, u64)>>,
    /// The heap that is used: the largest that is the device's own.
    pub(super) used: u32,
}

impl Heaps {
    /// Asks the driver; of budgets only where `has_budget` says that it knows.
    pub(super) fn of(instance: &Instance, raw: vk::PhysicalDevice, has_budget: bool) -> Heaps {
        let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
        let mut all = vk::PhysicalDeviceMemoryProperties2::default();
        if has_budget {
            all = all.push_next(&mut budget);
        }
        // SAFETY: `raw` came from this instance; the budget is chained only where its extension is offered.
        unsafe { instance.raw.get_physical_device_memory_properties2(raw, &mut all) };
        let memory = all.memory_properties;
        let budgets = has_budget.then(|| budget.heap_budget.into_iter().zip(budget.heap_usage).collect());
        Heaps { used: largest_local(&memory), memory, budgets }
    }

    /// The heap that is used.
    pub(super) fn info(&self) -> HeapInfo {
        let bytes = self.memory.memory_heaps_as_slice().get(self.used as usize).map_or(0, |heap| heap.size);
        match self.budget(self.used as usize) {
            Some((budget, usage)) => {
                HeapInfo { bytes, budget_bytes: budget.saturating_sub(usage).min(bytes), budget_from: "VK_EXT_memory_budget" }
            }
            None => HeapInfo { bytes, budget_bytes: bytes / SHARE.1 * SHARE.0, budget_from: "3/4 of the heap" },
        }
    }

    /// All of them.
    pub(super) fn details(&self) -> Vec<HeapDetails> {
        let heaps = self.memory.memory_heaps_as_slice().iter().enumerate();
        let details = heaps.map(|(index, heap)| HeapDetails {
            bytes: heap.size,
            budget_bytes: self.budget(index).map(|(budget, _)| budget),
            usage_bytes: self.budget(index).map(|(_, usage)| usage),
            device_local: heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL),
            used: index == self.used as usize,
            types: self.types(index as u32),
        });
        details.collect()
    }

    fn types(&self, heap: u32) -> Vec<TypeDetails> {
        let all = (0..).zip(self.memory.memory_types_as_slice());
        all.filter(|(_, kind)| kind.heap_index == heap)
            .map(|(index, kind)| TypeDetails { index, properties: words(kind.property_flags) })
            .collect()
    }

    fn budget(&self, heap: usize) -> Option<(u64, u64)> {
        self.budgets.as_ref()?.get(heap).copied()
    }
}

fn largest_local(memory: &vk::PhysicalDeviceMemoryProperties) -> u32 {
    let local = |heap: &vk::MemoryHeap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL);
    let heaps = (0..).zip(memory.memory_heaps_as_slice()).filter(|(_, heap)| local(heap));
    heaps.max_by_key(|(_, heap)| heap.size).map_or(0, |(index, _)| index)
}

/// Vulkan's words for what memory can do.
fn words(flags: vk::MemoryPropertyFlags) -> Vec<&'static str> {
    use vk::MemoryPropertyFlags as Flags;
    let words = [
        (Flags::DEVICE_LOCAL, "device-local"),
        (Flags::HOST_VISIBLE, "host-visible"),
        (Flags::HOST_COHERENT, "host-coherent"),
        (Flags::HOST_CACHED, "host-cached"),
        (Flags::LAZILY_ALLOCATED, "lazily-allocated"),
        (Flags::PROTECTED, "protected"),
        (Flags::DEVICE_COHERENT_AMD, "device-coherent"),
        (Flags::DEVICE_UNCACHED_AMD, "device-uncached"),
        (Flags::RDMA_CAPABLE_NV, "rdma-capable"),
    ];
    words.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| word).collect()
}
