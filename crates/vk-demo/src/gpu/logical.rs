//! The opened device and everything made from it, destroyed together and in reverse.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ash::{ext, vk};

use super::clock::Ticks;
use super::instance::Instance;
use super::physical::Physical;
use super::{call, error};
use crate::device::{DeviceError, Roles};

/// Priority of the heap's memory: the last to be moved out. All other memory has the driver's default, which is lower.
const HIGHEST: f32 = 1.0;

/// A device, its queues, and the list of what it owns.
pub(super) struct Logical {
    pub(super) raw: ash::Device,
    pub(super) queue: vk::Queue,
    /// Its family.
    pub(super) copying: u32,
    /// Sums what the device holds, and its family; the one that copies where it can.
    pub(super) summing: Option<(vk::Queue, u32)>,
    /// Binds sparse buffers; the one that copies where it can. None where the device has no sparse binding.
    pub(super) binding: Option<vk::Queue>,
    /// The families of the queues that touch what is in buffers.
    sharing: Vec<u32>,
    /// The clock of the queue that copies, where it has one.
    pub(super) ticks: Option<Ticks>,
    /// Whether memory has priorities.
    prioritised: bool,
    owned: RefCell<Vec<Owned>>,
    /// Set when the device has stopped answering: then nothing may be destroyed, because it may still be in use.
    abandoned: Cell<bool>,
    /// Keeps the instance alive under the device.
    _instance: Rc<Instance>,
}

/// Something made from the device.
pub(super) enum Owned {
    Buffer(vk::Buffer),
    Memory(vk::DeviceMemory),
    Semaphore(vk::Semaphore),
    CommandPool(vk::CommandPool),
    Shader(vk::ShaderModule),
    SetLayout(vk::DescriptorSetLayout),
    PipelineLayout(vk::PipelineLayout),
    Pipeline(vk::Pipeline),
    DescriptorPool(vk::DescriptorPool),
    QueryPool(vk::QueryPool),
}

impl Logical {
    /// Opens the device with a queue of each family that has a part, timeline semaphores, and sparse binding where a family binds.
    pub(super) fn open(physical: &Physical) -> Result<Logical, DeviceError> {
        let Roles { copying, summing, binding } = physical.roles;
        let mut families = vec![copying];
        families.extend(summing);
        families.extend(binding);
        families.sort_unstable();
        families.dedup();
        let priorities = [1.0];
        let queue = |family: &u32| vk::DeviceQueueCreateInfo::default().queue_family_index(*family).queue_priorities(&priorities);
        let queues: Vec<_> = families.iter().map(queue).collect();

        let sparse = vk::PhysicalDeviceFeatures::default()
            .sparse_binding(binding.is_some())
            .sparse_residency_buffer(binding.is_some())
            .sparse_residency_aliased(binding.is_some());
        let mut timeline =
            vk::PhysicalDeviceVulkan12Features::default().timeline_semaphore(true).host_query_reset(physical.ticks.is_some());
        let mut priority = vk::PhysicalDeviceMemoryPriorityFeaturesEXT::default().memory_priority(true);
        let mut extensions = Vec::new();
        let mut info =
            vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_features(&sparse).push_next(&mut timeline);
        let prioritised = physical.info.features.memory_priority;
        if prioritised {
            extensions.push(ext::memory_priority::NAME.as_ptr());
            info = info.push_next(&mut priority);
        }
        let info = info.enabled_extension_names(&extensions);
        // SAFETY: every pointer in `info` is to a local that outlives the call; families, features and the extension were found
        // on this device.
        let raw = unsafe { physical.instance.raw.create_device(physical.raw, &info, None) }.map_err(call("opening the device"))?;
        // SAFETY: the device was made with one queue of each of these families.
        let queue = |family| unsafe { raw.get_device_queue(family, 0) };
        let mut sharing = vec![copying];
        sharing.extend(summing.filter(|family| *family != copying));
        Ok(Logical {
            queue: queue(copying),
            copying,
            summing: summing.map(|family| (queue(family), family)),
            binding: binding.map(queue),
            sharing,
            raw,
            ticks: physical.ticks,
            prioritised,
            owned: RefCell::default(),
            abandoned: Cell::new(false),
            _instance: Rc::clone(&physical.instance),
        })
    }

    /// A buffer that copies and shaders may read and write.
    pub(super) fn buffer(&self, bytes: u64) -> Result<vk::Buffer, DeviceError> {
        let buffer = self.loose_buffer(bytes)?;
        self.own(Owned::Buffer(buffer));
        Ok(buffer)
    }

    /// The same, to be destroyed by the caller before the device is.
    pub(super) fn loose_buffer(&self, bytes: u64) -> Result<vk::Buffer, DeviceError> {
        self.new_buffer(bytes, vk::BufferCreateFlags::empty())
    }

    /// The same over addresses that memory is bound to part by part, and that may be seen elsewhere too.
    pub(super) fn loose_sparse_buffer(&self, bytes: u64) -> Result<vk::Buffer, DeviceError> {
        use vk::BufferCreateFlags as Flags;
        self.new_buffer(bytes, Flags::SPARSE_BINDING | Flags::SPARSE_RESIDENCY | Flags::SPARSE_ALIASED)
    }

    fn new_buffer(&self, bytes: u64, flags: vk::BufferCreateFlags) -> Result<vk::Buffer, DeviceError> {
        use vk::BufferUsageFlags as Usage;
        let usage = Usage::TRANSFER_SRC | Usage::TRANSFER_DST | Usage::STORAGE_BUFFER;
        let info = vk::BufferCreateInfo::default().flags(flags).size(bytes).usage(usage);
        // Several families would otherwise have to hand each buffer over, with a barrier on either side.
        let info = match self.sharing[..] {
            [_] => info.sharing_mode(vk::SharingMode::EXCLUSIVE),
            _ => info.sharing_mode(vk::SharingMode::CONCURRENT).queue_family_indices(&self.sharing),
        };
        // SAFETY: the size is not zero and within the device's largest buffer, which the layout was cut to; sparse buffers are
        // made only where their features are enabled, and within the addresses there are.
        unsafe { self.raw.create_buffer(&info, None) }.map_err(call("making a buffer"))
    }

    /// What a buffer of this device needs.
    pub(super) fn needs_of(&self, buffer: vk::Buffer) -> vk::MemoryRequirements {
        // SAFETY: every buffer that is handed here was made from this device.
        unsafe { self.raw.get_buffer_memory_requirements(buffer) }
    }

    /// Memory of one type, bound to all of `buffer`; that of the heap goes before all other where memory has priorities.
    pub(super) fn memory_for(
        &self,
        buffer: vk::Buffer,
        bytes: u64,
        memory_type: u32,
        is_heap: bool,
    ) -> Result<vk::DeviceMemory, DeviceError> {
        let mut highest = vk::MemoryPriorityAllocateInfoEXT::default().priority(HIGHEST);
        let mut info = vk::MemoryAllocateInfo::default().allocation_size(bytes).memory_type_index(memory_type);
        if is_heap && self.prioritised {
            info = info.push_next(&mut highest);
        }
        // SAFETY: the type is one of this device's, the extension in the chain is enabled; a size beyond its limits is refused,
        // not undefined, under the heap check.
        let memory = unsafe { self.raw.allocate_memory(&info, None) }.map_err(call("taking device memory"))?;
        self.own(Owned::Memory(memory));
        // SAFETY: the buffer has no memory yet; type and size are those that it asked for; offset 0 is aligned.
        unsafe { self.raw.bind_buffer_memory(buffer, memory, 0) }.map_err(call("binding a buffer"))?;
        Ok(memory)
    }

    /// A timeline semaphore at zero.
    pub(super) fn timeline(&self) -> Result<vk::Semaphore, DeviceError> {
        let mut kind = vk::SemaphoreTypeCreateInfo::default().semaphore_type(vk::SemaphoreType::TIMELINE);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut kind);
        // SAFETY: the feature is enabled and the chain outlives the call.
        let semaphore = unsafe { self.raw.create_semaphore(&info, None) }.map_err(call("making a semaphore"))?;
        self.own(Owned::Semaphore(semaphore));
        Ok(semaphore)
    }

    /// Command buffers that can be recorded again and again.
    pub(super) fn command_buffers(&self, family: u32, count: u32) -> Result<Vec<vk::CommandBuffer>, DeviceError> {
        let info =
            vk::CommandPoolCreateInfo::default().queue_family_index(family).flags(vk::CommandPoolCreateFlags::RESET_COMMAND_BUFFER);
        // SAFETY: the family is the one that the device was opened with.
        let pool = unsafe { self.raw.create_command_pool(&info, None) }.map_err(call("making a command pool"))?;
        self.own(Owned::CommandPool(pool));
        let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(count);
        // SAFETY: the pool is alive and nobody else uses it.
        unsafe { self.raw.allocate_command_buffers(&info) }.map_err(call("making command buffers"))
    }

    /// Leaves everything as it is for ever; for a device that no longer answers.
    pub(super) fn abandon(&self) {
        self.abandoned.set(true);
    }

    /// Waits until the device is idle or lost; false where what it uses may not be destroyed.
    pub(super) fn is_at_rest(&self) -> bool {
        // SAFETY: the device lives, and only this thread uses its queue.
        let idle = || unsafe { self.raw.device_wait_idle() };
        !self.abandoned.get() && !idle().is_err_and(|result| error("closing the device", result) != DeviceError::Lost)
    }

    /// Takes it into the list of what is destroyed with the device.
    pub(super) fn own(&self, thing: Owned) {
        self.owned.borrow_mut().push(thing);
    }
}

impl Drop for Logical {
    fn drop(&mut self) {
        if !self.is_at_rest() {
            return;
        }
        for thing in self.owned.take().into_iter().rev() {
            match thing {
                // SAFETY: made from this device, destroyed once, and idle (or lost, when nothing is in use any more).
                Owned::Buffer(buffer) => unsafe { self.raw.destroy_buffer(buffer, None) },
                // SAFETY: as above; mappings end with the memory, and their owner is gone.
                Owned::Memory(memory) => unsafe { self.raw.free_memory(memory, None) },
                // SAFETY: as for the buffer.
                Owned::Semaphore(semaphore) => unsafe { self.raw.destroy_semaphore(semaphore, None) },
                // SAFETY: as for the buffer; its command buffers go with it.
                Owned::CommandPool(pool) => unsafe { self.raw.destroy_command_pool(pool, None) },
                // SAFETY: as for the buffer.
                Owned::Shader(shader) => unsafe { self.raw.destroy_shader_module(shader, None) },
                // SAFETY: as for the buffer.
                Owned::SetLayout(layout) => unsafe { self.raw.destroy_descriptor_set_layout(layout, None) },
                // SAFETY: as for the buffer.
                Owned::PipelineLayout(layout) => unsafe { self.raw.destroy_pipeline_layout(layout, None) },
                // SAFETY: as for the buffer.
                Owned::Pipeline(pipeline) => unsafe { self.raw.destroy_pipeline(pipeline, None) },
                // SAFETY: as for the buffer; its sets go with it.
                Owned::DescriptorPool(pool) => unsafe { self.raw.destroy_descriptor_pool(pool, None) },
                // SAFETY: as for the buffer.
                Owned::QueryPool(pool) => unsafe { self.raw.destroy_query_pool(pool, None) },
            }
        }
        // SAFETY: everything made from it is destroyed.
        unsafe { self.raw.destroy_device(None) };
    }
}
