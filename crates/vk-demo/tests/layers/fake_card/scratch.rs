//! Reading and writing what is in buffers, behind the program's back: with a command buffer and memory of this layer's own, and
//! nothing else under way.

use ash::vk;

use crate::instance;
use crate::pretend::Region;

/// Made when it is first needed.
pub(crate) struct Scratch {
    queue: vk::Queue,
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    room: Option<Room>,
}

struct Room {
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    mapped: *mut u8,
    bytes: u64,
}

// Whoever holds the state uses it, and nobody else.
// SAFETY: the mapping is the driver's, of no thread.
unsafe impl Send for Room {}

impl Scratch {
    pub(crate) fn new(device: &ash::Device, queue: vk::Queue) -> Scratch {
        let info = vk::CommandPoolCreateInfo::default().flags(vk::CommandPoolCreateFlags::RESET_COMMAND_BUFFER);
        // SAFETY: the device is open, with family 0.
        let pool = unsafe { device.create_command_pool(&info, None) }.expect("a pool");
        let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
        // SAFETY: the pool was just made.
        let commands = unsafe { device.allocate_command_buffers(&info) }.expect("a command buffer")[0];
        Scratch { queue, pool, commands, room: None }
    }

    /// What stands at both ends of a region, one after the other: source, target.
    pub(crate) fn ends(&mut self, device: &ash::Device, physical: vk::PhysicalDevice, region: &Region) -> [Vec<u8>; 2] {
        let vk::BufferCopy { src_offset, dst_offset, size } = region.copy;
        [(region.from, src_offset), (region.to, dst_offset)].map(|(buffer, at)| self.read(device, physical, buffer, at, size))
    }

    pub(crate) fn read(
        &mut self,
        device: &ash::Device,
        physical: vk::PhysicalDevice,
        buffer: vk::Buffer,
        at: u64,
        bytes: u64,
    ) -> Vec<u8> {
        let (room, mapped) = self.room(device, physical, bytes);
        self.copy(device, buffer, room, vk::BufferCopy { src_offset: at, dst_offset: 0, size: bytes });
        // SAFETY: the room is that long, mapped, and nothing is under way.
        unsafe { std::slice::from_raw_parts(mapped, bytes as usize) }.to_vec()
    }

    pub(crate) fn write(&mut self, device: &ash::Device, physical: vk::PhysicalDevice, buffer: vk::Buffer, at: u64, bytes: &[u8]) {
        let (room, mapped) = self.room(device, physical, bytes.len() as u64);
        // SAFETY: the room is that long, mapped, and nothing is under way.
        unsafe { mapped.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.copy(device, room, buffer, vk::BufferCopy { src_offset: 0, dst_offset: at, size: bytes.len() as u64 });
    }

    pub(crate) fn destroy(mut self, device: &ash::Device) {
        self.leave(device);
        // SAFETY: nothing is under way, and it is destroyed once.
        unsafe { device.destroy_command_pool(self.pool, None) };
    }

    fn copy(&self, device: &ash::Device, from: vk::Buffer, to: vk::Buffer, copy: vk::BufferCopy) {
        let (commands, queue) = (self.commands, self.queue);
        // SAFETY: everything is of this device; nothing is under way, and nobody else is at the queue.
        unsafe {
            device.queue_wait_idle(queue).expect("an idle queue");
            device.begin_command_buffer(commands, &vk::CommandBufferBeginInfo::default()).expect("commands");
            device.cmd_copy_buffer(commands, from, to, &[copy]);
            device.end_command_buffer(commands).expect("commands");
            device
                .queue_submit(queue, &[vk::SubmitInfo::default().command_buffers(&[commands])], vk::Fence::null())
                .expect("a copy");
            device.queue_wait_idle(queue).expect("an idle queue");
        }
    }

    fn leave(&mut self, device: &ash::Device) {
        if let Some(Room { buffer, memory, .. }) = self.room.take() {
            // SAFETY: nothing is under way, and it is destroyed once.
            unsafe { device.destroy_buffer(buffer, None) };
            // SAFETY: as above.
            unsafe { device.free_memory(memory, None) };
        }
    }

    fn room(&mut self, device: &ash::Device, physical: vk::PhysicalDevice, bytes: u64) -> (vk::Buffer, *mut u8) {
        if self.room.as_ref().is_none_or(|room| room.bytes < bytes) {
            self.leave(device);
            let usage = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
            // SAFETY: the driver's own list of types.
            let types = unsafe { instance().get_physical_device_memory_properties(physical) };
            let seen = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
            let index = types.memory_types_as_slice().iter().position(|kind| kind.property_flags.contains(seen)).expect("a type");
            // SAFETY: a buffer and memory of this device, made for each other.
            let room = unsafe {
                let info = vk::BufferCreateInfo::default().size(bytes).usage(usage);
                let buffer = device.create_buffer(&info, None).expect("a buffer");
                let needs = device.get_buffer_memory_requirements(buffer);
                let info = vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(index as u32);
                let memory = device.allocate_memory(&info, None).expect("memory");
                device.bind_buffer_memory(buffer, memory, 0).expect("a bound buffer");
                let mapped = device.map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty()).expect("a mapping");
                Room { buffer, memory, mapped: mapped.cast(), bytes }
            };
            self.room = Some(room);
        }
        let room = self.room.as_ref().expect("made just now");
        (room.buffer, room.mapped)
    }
}
