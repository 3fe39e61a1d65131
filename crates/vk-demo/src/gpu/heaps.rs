//! The memory heaps of a device: which one the pgmap's ranges come from, how much of it may be taken, and what else there is.

use ash::vk;

use super::instance::Instance;
use crate::device::{HeapDetails, HeapInfo, TypeDetails};
use crate::memory_types::Properties;

/// What the driver says of its memory.
pub(super) struct Heaps {
    memory: vk::PhysicalDeviceMemoryProperties,
    /// Of each heap, what this program may have and has; where the driver tells.
    budgets: Option<Vec<(u64, u64)>>,
    /// The heap that is used: the largest that is the device's own, unless the user says.
    used: u32,
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

    /// Uses the heap of this number instead; says what there is where there is none.
    pub(super) fn take_from(&mut self, heap: u32) -> Result<(), String> {
        let count = self.memory.memory_heap_count;
        if heap >= count {
            return Err(format!("there is no heap {heap}; they are numbered 0 to {}", count.saturating_sub(1)));
        }
        self.used = heap;
        Ok(())
    }

    /// Whether the driver tells how much of the heap is free.
    pub(super) fn is_told(&self) -> bool {
        self.budget(self.used as usize).is_some()
    }

    /// The heap that is used.
    pub(super) fn info(&self) -> HeapInfo {
        let details = self.details();
        let used = details.get(self.used as usize);
        HeapInfo {
            index: self.used,
            bytes: used.map_or(0, |heap| heap.bytes),
            budget_bytes: used.map_or(0, HeapDetails::may_take),
            budget_from: match used.and_then(|heap| heap.budget_bytes) {
                Some(_) => "VK_EXT_memory_budget",
                None => "3/4 of the heap",
            },
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
            .map(|(index, kind)| TypeDetails { index, properties: Properties(kind.property_flags.as_raw()) })
            .collect()
    }

    /// A budget of nothing at all is one that the driver does not tell.
    fn budget(&self, heap: usize) -> Option<(u64, u64)> {
        self.budgets.as_ref()?.get(heap).copied().filter(|(budget, _)| *budget > 0)
    }
}

fn largest_local(memory: &vk::PhysicalDeviceMemoryProperties) -> u32 {
    let local = |heap: &vk::MemoryHeap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL);
    let heaps = (0..).zip(memory.memory_heaps_as_slice()).filter(|(_, heap)| local(heap));
    heaps.max_by_key(|(_, heap)| heap.size).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heaps(budgets: Option<Vec<(u64, u64)>>) -> Heaps {
        let mut memory = vk::PhysicalDeviceMemoryProperties { memory_heap_count: 2, ..Default::default() };
        memory.memory_heaps[0] = vk::MemoryHeap { size: 800, flags: vk::MemoryHeapFlags::empty() };
        memory.memory_heaps[1] = vk::MemoryHeap { size: 400, flags: vk::MemoryHeapFlags::DEVICE_LOCAL };
        Heaps { used: largest_local(&memory), memory, budgets }
    }

    #[test]
    fn req_82_a_budget_of_0_is_one_that_the_driver_does_not_tell() {
        let told = heaps(Some(vec![(700, 0), (350, 50)])).info();
        assert_eq!((told.index, told.budget_bytes, told.budget_from), (1, 300, "VK_EXT_memory_budget"));
        for budgets in [None, Some(vec![(0, 0), (0, 0)])] {
            let not_told = heaps(budgets).info();
            assert_eq!((not_told.budget_bytes, not_told.budget_from), (300, "3/4 of the heap"));
        }
    }

    #[test]
    fn req_82_the_user_may_choose_another_heap() {
        let mut heaps = heaps(None);
        assert!(heaps.take_from(2).is_err_and(|why| why.contains("no heap 2; they are numbered 0 to 1")));
        assert_eq!(heaps.take_from(0), Ok(()));
        assert_eq!((heaps.info().bytes, heaps.details()[0].used), (800, true));
    }
}
