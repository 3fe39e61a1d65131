//! The device sums its own memory: a compute shader over the pages of a copy, so that what the device holds is checked where it
//! is, and not only after it has travelled back.
//!
//! What is summed is named by memory object and byte, not by any view: a copy that put pages where others belong is seen even if
//! every other copy makes the same mistake. The queue is the one that copies, if it computes, or another beside it. Nothing waits for
//! a sum that is under way: each has a slot of its own for what comes of it.

use std::rc::Rc;

use ash::vk;

use super::call;
use super::commands::Commands;
use super::logical::{Logical, Owned};
use super::memory::Memories;
use super::physical::Physical;
use super::staging::Staging;
use crate::device::{DeviceError, SUMS_AT_ONCE, Sum, Ticket};
use crate::pieces::{Memory, Piece};

/// Invocations of one workgroup; the shader says so too.
const GROUP: u32 = 64;
/// Workgroups of one dispatch: each invocation walks over several words.
const MOST_GROUPS: u32 = 1024;
/// A buffer is seen through windows of at most this many bytes; smaller where the device asks for it.
const WINDOW: u64 = 64 << 20;
/// Bytes of a word.
const WORD: u64 = 4;

/// The shader, ready to be run over any part of the memory objects.
pub(super) struct Summer {
    device: Rc<Logical>,
    queue: vk::Queue,
    pipeline: vk::Pipeline,
    layout: vk::PipelineLayout,
    /// Of each memory object, window by window.
    sets: Vec<Vec<vk::DescriptorSet>>,
    window: u64,
    /// A word for each slot.
    sums: Staging,
    slots: Vec<Slot>,
}

struct Slot {
    commands: vk::CommandBuffer,
    /// The submission whose sum nobody has read yet.
    under_way: Option<Ticket>,
}

/// One dispatch.
struct Span {
    set: vk::DescriptorSet,
    /// As the shader reads it: first word in the window, words, place of the first in the whole.
    constants: [u32; 3],
    groups: u32,
}

impl Summer {
    /// Builds the pipeline and a view of every window; none where no queue computes.
    pub(super) fn new(device: &Rc<Logical>, physical: &Physical, memories: &Memories) -> Result<Option<Summer>, DeviceError> {
        let Some((queue, family)) = device.summing else { return Ok(None) };
        let set_layout = set_layout(device)?;
        let layout = pipeline_layout(device, set_layout)?;
        let pipeline = pipeline(device, layout)?;
        let bytes = SUMS_AT_ONCE as u64 * WORD;
        let sums = Staging::new(device, physical, bytes)?;
        let all = sums.buffer(Piece::staging(0, bytes)).ok_or(DeviceError::OutOfBounds)?;
        let most = u64::from(physical.limits.max_storage_buffer_range);
        let window = WINDOW.min(most / WINDOW_STEP * WINDOW_STEP);
        if window == 0 {
            return Err(DeviceError::Vulkan { call: "making windows", result: "storage buffers are too small".into() });
        }
        let count: u64 = memories.sizes.iter().map(|bytes| bytes.div_ceil(window)).sum();
        let pool = pool(device, count as u32)?;
        let mut sets = Vec::new();
        for object in &memories.objects {
            let mut windows = Vec::new();
            for at in (0..object.bytes).step_by(window as usize) {
                let set = descriptor_set(device, pool, set_layout)?;
                fill(device, set, 0, (object.buffer, at, window.min(object.bytes - at)));
                fill(device, set, 1, (all.0, all.1, bytes));
                windows.push(set);
            }
            sets.push(windows);
        }
        let commands = device.command_buffers(family, SUMS_AT_ONCE as u32)?;
        let slots = commands.into_iter().map(|commands| Slot { commands, under_way: None }).collect();
        Ok(Some(Summer { device: Rc::clone(device), queue, pipeline, layout, sets, window, sums, slots }))
    }

    /// Sends the dispatches that sum these pieces, of memory objects, as one row of words: after everything that was submitted before.
    pub(super) fn begin(&mut self, commands: &mut Commands, pieces: &[Piece]) -> Result<Sum, DeviceError> {
        let spans = self.spans(pieces)?;
        let free = self.slots.iter().position(|slot| slot.under_way.is_none());
        let slot = free.ok_or(DeviceError::Vulkan { call: "summing", result: "too many sums at a time".into() })?;
        self.record(slot, &spans)?;
        // SAFETY: the command buffer was just recorded, from a pool of this queue's family, and its last submission has been waited for.
        let ticket = unsafe { commands.beside(self.queue, self.slots[slot].commands) }?;
        self.slots[slot].under_way = Some(ticket);
        Ok(Sum(slot))
    }

    /// The ticket to wait for before this sum is read.
    pub(super) fn ticket(&self, sum: &Sum) -> Option<Ticket> {
        self.slots.get(sum.0)?.under_way
    }

    /// What has been summed.
    ///
    /// # Safety
    /// Its ticket has been reached.
    pub(super) unsafe fn end(&mut self, sum: Sum) -> Result<u32, DeviceError> {
        let mut bytes = [0; WORD as usize];
        // SAFETY: by this function's contract; other sums have other words.
        unsafe { self.sums.read(&self.device, sum.0 as u64 * WORD, &mut bytes) }?;
        self.slots[sum.0].under_way = None;
        Ok(u32::from_le_bytes(bytes))
    }

    fn spans(&self, pieces: &[Piece]) -> Result<Vec<Span>, DeviceError> {
        let mut spans = Vec::new();
        let mut place = 0;
        for piece in pieces {
            let Memory::Object(index) = piece.memory else { return Err(DeviceError::OutOfBounds) };
            let windows = self.sets.get(index).ok_or(DeviceError::OutOfBounds)?;
            let mut at = piece.start;
            while at < piece.end() {
                let set = *windows.get((at / self.window) as usize).ok_or(DeviceError::OutOfBounds)?;
                let end = piece.end().min((at / self.window + 1) * self.window);
                let words = ((end - at) / WORD) as u32;
                let constants = [(at % self.window / WORD) as u32, words, place];
                spans.push(Span { set, constants, groups: words.div_ceil(GROUP).min(MOST_GROUPS) });
                place = place.wrapping_add(words);
                at = end;
            }
        }
        Ok(spans)
    }

    /// Clears the slot's word, adds to it, and lets the host read it.
    fn record(&self, slot: usize, spans: &[Span]) -> Result<(), DeviceError> {
        use vk::AccessFlags as Access;
        use vk::PipelineStageFlags as Stage;
        let (device, commands) = (&self.device.raw, self.slots[slot].commands);
        let word = slot as u64 * WORD;
        let (sums, at) = self.sums.buffer(Piece::staging(word, WORD)).ok_or(DeviceError::OutOfBounds)?;
        let info = vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: its last submission has been waited for, as the slot was free; its pool allows it to be begun anew.
        unsafe { device.begin_command_buffer(commands, &info) }.map_err(call("beginning a sum"))?;
        // SAFETY: the word lies inside the buffer, and queues that compute can fill.
        unsafe { device.cmd_fill_buffer(commands, sums, at, WORD, 0) };
        let barrier = |before: (Stage, Access), after: (Stage, Access)| {
            let memory = [vk::MemoryBarrier::default().src_access_mask(before.1).dst_access_mask(after.1)];
            let none = vk::DependencyFlags::empty();
            // SAFETY: the command buffer is being recorded, and queues that compute have these stages.
            unsafe { device.cmd_pipeline_barrier(commands, before.0, after.0, none, &memory, &[], &[]) };
        };
        let shader = (Stage::COMPUTE_SHADER, Access::SHADER_READ | Access::SHADER_WRITE);
        barrier((Stage::TRANSFER, Access::TRANSFER_WRITE), shader);
        // SAFETY: the pipeline is this device's.
        unsafe { device.cmd_bind_pipeline(commands, vk::PipelineBindPoint::COMPUTE, self.pipeline) };
        for span in spans {
            let (stage, sets) = (vk::ShaderStageFlags::COMPUTE, [span.set]);
            let [first, words, place] = span.constants;
            let bytes = [first, words, place, slot as u32].map(u32::to_ne_bytes);
            // SAFETY: set and layout are of this device, and of each other's form.
            unsafe { device.cmd_bind_descriptor_sets(commands, vk::PipelineBindPoint::COMPUTE, self.layout, 0, &sets, &[]) };
            // SAFETY: as many bytes as the layout has.
            unsafe { device.cmd_push_constants(commands, self.layout, stage, 0, bytes.as_flattened()) };
            // SAFETY: pipeline, set and constants are bound; the span lies inside its window.
            unsafe { device.cmd_dispatch(commands, span.groups, 1, 1) };
        }
        barrier((Stage::COMPUTE_SHADER, Access::SHADER_WRITE), (Stage::HOST, Access::HOST_READ));
        // SAFETY: it is being recorded.
        unsafe { device.end_command_buffer(commands) }.map_err(call("ending a sum"))
    }
}

/// Windows begin at multiples of this, which every device's alignment divides.
const WINDOW_STEP: u64 = 1 << 20;

fn set_layout(device: &Logical) -> Result<vk::DescriptorSetLayout, DeviceError> {
    let binding = |at| {
        vk::DescriptorSetLayoutBinding::default()
            .binding(at)
            .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
            .descriptor_count(1)
            .stage_flags(vk::ShaderStageFlags::COMPUTE)
    };
    let bindings = [binding(0), binding(1)];
    let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
    // SAFETY: the arrays outlive the call.
    let made = unsafe { device.raw.create_descriptor_set_layout(&info, None) }.map_err(call("making a set layout"))?;
    device.own(Owned::SetLayout(made));
    Ok(made)
}

fn pipeline_layout(device: &Logical, set: vk::DescriptorSetLayout) -> Result<vk::PipelineLayout, DeviceError> {
    let sets = [set];
    let constants = [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(16)];
    let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(&constants);
    // SAFETY: the set layout belongs to this device; 16 bytes are fewer than every device has.
    let made = unsafe { device.raw.create_pipeline_layout(&info, None) }.map_err(call("making a pipeline layout"))?;
    device.own(Owned::PipelineLayout(made));
    Ok(made)
}

fn pipeline(device: &Logical, layout: vk::PipelineLayout) -> Result<vk::Pipeline, DeviceError> {
    let bytes = include_bytes!("checksum.spv");
    let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let info = vk::ShaderModuleCreateInfo::default().code(&words);
    // SAFETY: the words are a module that naga has made and validated, as a test sees to.
    let module = unsafe { device.raw.create_shader_module(&info, None) }.map_err(call("loading the checksum shader"))?;
    device.own(Owned::Shader(module));
    let stage = vk::PipelineShaderStageCreateInfo::default().stage(vk::ShaderStageFlags::COMPUTE).module(module).name(c"main");
    let infos = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout)];
    // SAFETY: module and layout belong to this device, and the layout is the shader's.
    let made = unsafe { device.raw.create_compute_pipelines(vk::PipelineCache::null(), &infos, None) };
    let made = made.map_err(|(_, result)| call("making the checksum pipeline")(result))?[0];
    device.own(Owned::Pipeline(made));
    Ok(made)
}

fn pool(device: &Logical, sets: u32) -> Result<vk::DescriptorPool, DeviceError> {
    let sizes = [vk::DescriptorPoolSize::default().ty(vk::DescriptorType::STORAGE_BUFFER).descriptor_count(2 * sets)];
    let info = vk::DescriptorPoolCreateInfo::default().max_sets(sets).pool_sizes(&sizes);
    // SAFETY: the array outlives the call; there is at least one memory object.
    let made = unsafe { device.raw.create_descriptor_pool(&info, None) }.map_err(call("making a descriptor pool"))?;
    device.own(Owned::DescriptorPool(made));
    Ok(made)
}

fn descriptor_set(
    device: &Logical,
    pool: vk::DescriptorPool,
    layout: vk::DescriptorSetLayout,
) -> Result<vk::DescriptorSet, DeviceError> {
    let layouts = [layout];
    let info = vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts);
    // SAFETY: the pool was made for as many sets as are taken, and nobody else uses it.
    let made = unsafe { device.raw.allocate_descriptor_sets(&info) }.map_err(call("taking a descriptor set"))?;
    Ok(made[0])
}

fn fill(device: &Logical, set: vk::DescriptorSet, binding: u32, (buffer, offset, range): (vk::Buffer, u64, u64)) {
    let buffers = [vk::DescriptorBufferInfo::default().buffer(buffer).offset(offset).range(range)];
    let write = vk::WriteDescriptorSet::default()
        .dst_set(set)
        .dst_binding(binding)
        .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
        .buffer_info(&buffers);
    // SAFETY: the set is not in use yet; the span lies inside the buffer and within what the device allows.
    unsafe { device.raw.update_descriptor_sets(&[write], &[]) };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use naga::back::spv;
    use naga::front::wgsl;
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    /// The module that is checked in is the one that naga makes of the shader's source. With `VK_DEMO_MAKE_SPIRV=1` it is made anew.
    #[test]
    fn req_82_the_spirv_that_is_checked_in_is_that_of_the_source() {
        let module = wgsl::parse_str(include_str!("checksum.wgsl")).unwrap();
        let info = Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES).validate(&module).unwrap();
        let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
        let pipeline = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
        let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap();
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        if std::env::var_os("VK_DEMO_MAKE_SPIRV").is_some_and(|value| value == "1") {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/gpu/checksum.spv");
            std::fs::write(path, &bytes).unwrap();
        }
        assert!(
            bytes == include_bytes!("checksum.spv"),
            "checksum.wgsl has changed: VK_DEMO_MAKE_SPIRV=1 cargo test -p vk-demo spirv"
        );
    }
}
