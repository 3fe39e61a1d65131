//! The device sums its own memory: a compute shader over the pages of a copy, so that what the device holds is checked where it
//! is, and not only after it has travelled back.

use std::rc::Rc;

use ash::vk;

use super::call;
use super::logical::{Logical, Owned};
use super::memory::{Memories, Object, Staging};
use super::physical::Physical;
use super::views::Shown;
use crate::device::DeviceError;
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
    pub(super) pipeline: vk::Pipeline,
    pub(super) layout: vk::PipelineLayout,
    /// Of each memory object, window by window.
    sets: Vec<Vec<vk::DescriptorSet>>,
    /// Of views: they come and go, so these are written anew for each sum.
    spare: Vec<vk::DescriptorSet>,
    set_layout: vk::DescriptorSetLayout,
    window: u64,
    sum: Staging,
}

/// One dispatch.
pub(super) struct Span {
    pub(super) set: vk::DescriptorSet,
    /// As the shader reads it: first word in the window, words, place of the first in the whole.
    pub(super) constants: [u32; 3],
    pub(super) groups: u32,
}

impl Summer {
    /// Builds the pipeline and a view of every window.
    pub(super) fn new(device: &Rc<Logical>, physical: &Physical, memories: &Memories) -> Result<Summer, DeviceError> {
        let set_layout = set_layout(device)?;
        let layout = pipeline_layout(device, set_layout)?;
        let pipeline = pipeline(device, layout)?;
        let sum = Staging::new(device, physical, WORD)?;
        let most = u64::from(physical.limits().max_storage_buffer_range);
        let window = WINDOW.min(most / WINDOW_STEP * WINDOW_STEP);
        if window == 0 {
            return Err(DeviceError::Vulkan { call: "making windows", result: "storage buffers are too small".into() });
        }
        let count: u64 = memories.sizes.iter().map(|bytes| bytes.div_ceil(window)).sum();
        let pool = pool(device, count as u32)?;
        let mut sets = Vec::new();
        for &Object { buffer, bytes, .. } in &memories.objects {
            let mut windows = Vec::new();
            for at in (0..bytes).step_by(window as usize) {
                let set = descriptor_set(device, pool, set_layout)?;
                fill(device, set, 0, (buffer, at, window.min(bytes - at)));
                fill(device, set, 1, (sum.buffer, 0, WORD));
                windows.push(set);
            }
            sets.push(windows);
        }
        Ok(Summer { pipeline, layout, sets, spare: Vec::new(), set_layout, window, sum })
    }

    /// The dispatches that sum these pieces, of memory objects and views, as one row of words.
    ///
    /// # Safety
    /// No dispatch is under way; the device is the one that this was made from, and so are the buffers of the views.
    pub(super) unsafe fn spans(
        &mut self,
        device: &Logical,
        pieces: &[Piece],
        view: impl Fn(usize) -> Option<Shown>,
    ) -> Result<Vec<Span>, DeviceError> {
        let mut spans = Vec::new();
        let mut place = 0;
        let mut spares = 0;
        for piece in pieces {
            let windows = match piece.memory {
                Memory::Staging | Memory::Lent(_) => return Err(DeviceError::OutOfBounds),
                Memory::Object(index) => self.sets.get(index).ok_or(DeviceError::OutOfBounds)?.as_slice(),
                Memory::View(index) => {
                    let shown = view(index).ok_or(DeviceError::OutOfBounds)?;
                    let first = spares;
                    for at in (0..shown.bytes).step_by(self.window as usize) {
                        let set = self.spare_set(device, spares)?;
                        fill(device, set, 0, (shown.buffer, at, self.window.min(shown.bytes - at)));
                        spares += 1;
                    }
                    self.spare.get(first..spares).ok_or(DeviceError::OutOfBounds)?
                }
            };
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

    /// A set whose window can be written anew.
    fn spare_set(&mut self, device: &Logical, index: usize) -> Result<vk::DescriptorSet, DeviceError> {
        if let Some(set) = self.spare.get(index) {
            return Ok(*set);
        }
        let set = descriptor_set(device, pool(device, 1)?, self.set_layout)?;
        fill(device, set, 1, (self.sum.buffer, 0, WORD));
        self.spare.push(set);
        Ok(set)
    }

    /// Starts at zero.
    ///
    /// # Safety
    /// No dispatch is under way.
    pub(super) unsafe fn clear(&mut self) -> Result<(), DeviceError> {
        // SAFETY: by this function's contract.
        unsafe { self.sum.write(0, &[0; 4]) }
    }

    /// What has been summed.
    ///
    /// # Safety
    /// No dispatch is under way.
    pub(super) unsafe fn read(&self) -> Result<u32, DeviceError> {
        let mut bytes = [0; 4];
        // SAFETY: by this function's contract.
        unsafe { self.sum.read(0, &mut bytes) }?;
        Ok(u32::from_le_bytes(bytes))
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
    let constants = [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(12)];
    let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(&constants);
    // SAFETY: the set layout belongs to this device; 12 bytes are fewer than every device has.
    let made = unsafe { device.raw.create_pipeline_layout(&info, None) }.map_err(call("making a pipeline layout"))?;
    device.own(Owned::PipelineLayout(made));
    Ok(made)
}

fn pipeline(device: &Logical, layout: vk::PipelineLayout) -> Result<vk::Pipeline, DeviceError> {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/checksum.spv"));
    let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let info = vk::ShaderModuleCreateInfo::default().code(&words);
    // SAFETY: the words are a module that naga has validated.
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
