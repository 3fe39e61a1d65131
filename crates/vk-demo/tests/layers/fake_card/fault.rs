//! Mistakes, one at a time. `FAULT` says which, `FAULT_AT` at which chance: the first one from there on that makes a difference.
//!
//! | `FAULT` | what goes wrong | a chance is |
//! |---|---|---|
//! | `drop` | a region is not copied: its target keeps what it held | a region |
//! | `short` | the last four bytes of a region are not copied | a region |
//! | `shift` | a region lands one page away from its target | a region |
//! | `exchange` | two regions of one length land in each other's targets | a region that is followed by one of its length |
//! | `both-ways` | pairs of regions of one length stand exchanged in the device's memory, in each copy there and back | a copy |
//! | `bind` | a part of a sparse buffer is not bound | a bind |
//! | `dispatch` | a dispatch is not done | a dispatch |
//! | `fence` | a wait ends, and what it waited for has not been done and never will be | a wait |
//! | `count` | nothing: how many chances of each kind there were is said at the end | |
//!
//! What a region should have done is done, and looked at; then its target is given what the mistake would have left there. So a mistake
//! that would leave the same bytes is known, and not made: the next region is taken instead.

use ash::vk;

use crate::pretend::{Region, must_compute};
use crate::scratch::Scratch;
use crate::spoil::At;
use crate::{State, state, violation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Drop,
    Short,
    Shift,
    Exchange,
    BothWays,
    Bind,
    Dispatch,
    Fence,
    Count,
}

/// What is to go wrong, and how many chances there were.
#[derive(Default)]
pub(crate) struct Faults {
    kind: Option<Kind>,
    at: u64,
    is_made: bool,
    regions: u64,
    binds: u64,
    dispatches: u64,
    waits: u64,
    /// Of `fence`: what was submitted last, and has not been sent on.
    held: Option<Held>,
    scratch: Option<Scratch>,
}

struct Held {
    queue: vk::Queue,
    commands: vk::CommandBuffer,
    awaits: Vec<(vk::Semaphore, u64)>,
    signals: Vec<(vk::Semaphore, u64)>,
}

impl Faults {
    /// What the environment asks for.
    pub(crate) fn wanted() -> Faults {
        let Ok(name) = std::env::var("FAULT") else { return Faults::default() };
        let kind = match name.as_str() {
            "drop" => Kind::Drop,
            "short" => Kind::Short,
            "shift" => Kind::Shift,
            "exchange" => Kind::Exchange,
            "both-ways" => Kind::BothWays,
            "bind" => Kind::Bind,
            "dispatch" => Kind::Dispatch,
            "fence" => Kind::Fence,
            _ => Kind::Count,
        };
        let at = std::env::var("FAULT_AT").ok().and_then(|at| at.parse().ok()).unwrap_or(0);
        Faults { kind: Some(kind), at, ..Faults::default() }
    }

    /// Says what there was; nothing is left of the device.
    pub(crate) fn close(&mut self, device: &ash::Device) {
        if let Some(scratch) = self.scratch.take() {
            scratch.destroy(device);
        }
        if self.kind == Some(Kind::Count) {
            let Faults { regions, binds, dispatches, waits, .. } = self;
            eprintln!("fake card: chances: {regions} regions, {binds} binds, {dispatches} dispatches, {waits} waits");
        }
    }

    fn is(&self, kind: Kind) -> bool {
        self.kind == Some(kind) && !self.is_made
    }

    fn made(&mut self, what: &str) {
        self.is_made = true;
        eprintln!("fake card: fault: {what}");
    }
}

/// Whether a buffer is one that the host sees.
fn is_staging(state: &State, buffer: vk::Buffer) -> bool {
    let memory = state.buffers.get(&buffer).map(|known| known.memory);
    memory.and_then(|memory| state.memory.get(&memory)).is_some_and(|memory| memory.is_mapped)
}

pub(crate) unsafe extern "system" fn copy(
    commands: vk::CommandBuffer,
    from: vk::Buffer,
    to: vk::Buffer,
    count: u32,
    regions: *const vk::BufferCopy,
) {
    let mut state = state();
    // SAFETY: the caller's list, of so many.
    let mut copies = unsafe { std::slice::from_raw_parts(regions, count as usize) }.to_vec();
    if copies.iter().any(|copy| copy.size > i32::MAX as u64) {
        violation("a region of 2 GiB or more");
    }
    if state.faults.kind == Some(Kind::BothWays) {
        let (up, down) = (is_staging(&state, from) && !is_staging(&state, to), is_staging(&state, to) && !is_staging(&state, from));
        for pair in copies.chunks_exact_mut(2).filter(|pair| pair[0].size == pair[1].size && (up || down)) {
            let [one, other] = pair else { continue };
            let swapped =
                if up { (&mut one.dst_offset, &mut other.dst_offset) } else { (&mut one.src_offset, &mut other.src_offset) };
            std::mem::swap(swapped.0, swapped.1);
            if !state.faults.is_made {
                state.faults.made("pairs of regions stand exchanged in the device's memory, there and back");
            }
        }
    }
    if let Some(known) = state.commands.get_mut(&commands) {
        known.regions.extend(copies.iter().map(|copy| Region { from, to, copy: *copy }));
    }
    // SAFETY: handed on as it came, but for the mistakes.
    unsafe { state.device().cmd_copy_buffer(commands, from, to, &copies) };
}

pub(crate) unsafe extern "system" fn dispatch(commands: vk::CommandBuffer, x: u32, y: u32, z: u32) {
    must_compute(commands, "a dispatch");
    let mut state = state();
    state.faults.dispatches += 1;
    if state.faults.is(Kind::Dispatch) && state.faults.dispatches > state.faults.at {
        state.faults.made("a dispatch is not done");
        return;
    }
    // SAFETY: handed on as it came.
    unsafe { state.device().cmd_dispatch(commands, x, y, z) };
}

pub(crate) unsafe extern "system" fn submit(
    queue: vk::Queue,
    count: u32,
    submits: *const vk::SubmitInfo<'_>,
    fence: vk::Fence,
) -> vk::Result {
    let mut state = state();
    // SAFETY: the caller's list, of so many; each names one command buffer.
    let infos = unsafe { std::slice::from_raw_parts(submits, count as usize) };
    let regions: Vec<Region> = match infos {
        [one] if one.command_buffer_count == 1 => {
            // SAFETY: as above.
            let commands = unsafe { *one.p_command_buffers };
            state.commands.get(&commands).map(|known| known.regions.clone()).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let before = state.faults.regions;
    state.faults.regions += regions.len() as u64;
    if state.faults.is(Kind::Fence) && infos.len() == 1 && infos[0].command_buffer_count == 1 {
        return hold(&mut state, queue, &infos[0]);
    }
    let regional =
        matches!(state.faults.kind, Some(Kind::Drop | Kind::Short | Kind::Shift | Kind::Exchange)) && !state.faults.is_made;
    let first = state.faults.at.saturating_sub(before) as usize;
    let device = state.device();
    // SAFETY: handed on as it came.
    let send = || unsafe { (device.fp_v1_0().queue_submit)(queue, count, submits, fence) };
    if !regional || first >= regions.len() {
        return send();
    }
    let physical = state.physical;
    let mut scratch = state.faults.scratch.take().unwrap_or_else(|| Scratch::new(&device, queue));
    let olds: Vec<Vec<u8>> = regions.iter().map(|region| scratch.ends(&device, physical, region)[1].clone()).collect();
    let result = send();
    // SAFETY: the queue is this device's.
    let _ = unsafe { device.queue_wait_idle(queue) };
    for index in first..regions.len() {
        let (kind, next) = (state.faults.kind, regions.get(index + 1));
        let bytes = state.buffers.get(&regions[index].to).map_or(0, |buffer| buffer.bytes);
        let mut work = At { device: &device, physical, scratch: &mut scratch, region: regions[index], old: &olds[index], bytes };
        let made = match kind {
            Some(Kind::Drop) => work.leave(0),
            Some(Kind::Short) => work.leave(regions[index].copy.size.saturating_sub(4)),
            Some(Kind::Shift) => work.shift(),
            Some(Kind::Exchange) => next.is_some_and(|next| work.exchange(next)),
            _ => false,
        };
        if made {
            let text = format!("region {} of {} bytes: {kind:?}", before + index as u64, regions[index].copy.size);
            state.faults.made(&text);
            break;
        }
    }
    state.faults.scratch = Some(scratch);
    result
}

pub(crate) unsafe extern "system" fn bind(
    queue: vk::Queue,
    count: u32,
    infos: *const vk::BindSparseInfo<'_>,
    fence: vk::Fence,
) -> vk::Result {
    let mut state = state();
    send_held(&mut state);
    let granule = state.card.map_or(1, |card| card.granule);
    // SAFETY: the caller's list, of so many.
    let infos = unsafe { std::slice::from_raw_parts(infos, count as usize) };
    let mut mine = infos.to_vec();
    let mut lists = Vec::new();
    for info in &mut mine {
        // SAFETY: as above.
        let buffers = unsafe { std::slice::from_raw_parts(info.p_buffer_binds, info.buffer_bind_count as usize) };
        let mut list = Vec::new();
        for buffer in buffers {
            // SAFETY: as above.
            let mut binds = unsafe { std::slice::from_raw_parts(buffer.p_binds, buffer.bind_count as usize) }.to_vec();
            for bind in &binds {
                if [bind.resource_offset, bind.memory_offset, bind.size].iter().any(|number| !number.is_multiple_of(granule)) {
                    violation("a sparse bind of no whole granules");
                }
            }
            let before = state.faults.binds;
            state.faults.binds += binds.len() as u64;
            if state.faults.is(Kind::Bind)
                && state.faults.binds > state.faults.at
                && let Some(lost) = binds
                    .iter()
                    .skip(state.faults.at.saturating_sub(before) as usize)
                    .position(|bind| bind.memory != vk::DeviceMemory::null())
            {
                let _ = binds.remove(lost + state.faults.at.saturating_sub(before) as usize);
                state.faults.made("a part of a sparse buffer is not bound");
            }
            if !binds.is_empty() {
                list.push((buffer.buffer, binds));
            }
        }
        lists.push(list);
    }
    let bound: Vec<Vec<vk::SparseBufferMemoryBindInfo<'_>>> = lists
        .iter()
        .map(|list| {
            list.iter().map(|(buffer, binds)| vk::SparseBufferMemoryBindInfo::default().buffer(*buffer).binds(binds)).collect()
        })
        .collect();
    for (info, bound) in mine.iter_mut().zip(&bound) {
        *info = info.buffer_binds(bound);
    }
    // SAFETY: handed on as it came, but for the mistakes.
    unsafe { state.device().queue_bind_sparse(queue, &mine, fence) }.err().unwrap_or(vk::Result::SUCCESS)
}

/// Keeps a submission back until anything else is asked for, so that a wait for it can end before it is done.
fn hold(state: &mut State, queue: vk::Queue, info: &vk::SubmitInfo<'_>) -> vk::Result {
    send_held(state);
    // SAFETY: the program chains the values of its timeline, and nothing else, to each submission.
    let values = unsafe { &*info.p_next.cast::<vk::TimelineSemaphoreSubmitInfo<'_>>() };
    let pairs = |semaphores: *const vk::Semaphore, values: *const u64, count: u32| {
        // SAFETY: the caller's lists, of so many.
        (0..count as usize).map(|index| unsafe { (*semaphores.add(index), *values.add(index)) }).collect()
    };
    let awaits = pairs(info.p_wait_semaphores, values.p_wait_semaphore_values, info.wait_semaphore_count);
    let signals = pairs(info.p_signal_semaphores, values.p_signal_semaphore_values, info.signal_semaphore_count);
    // SAFETY: there is one command buffer.
    let commands = unsafe { *info.p_command_buffers };
    state.faults.held = Some(Held { queue, commands, awaits, signals });
    vk::Result::SUCCESS
}

/// Sends what was kept back.
fn send_held(state: &mut State) {
    let Some(Held { queue, commands, awaits, signals }) = state.faults.held.take() else { return };
    let (awaited, awaited_values): (Vec<_>, Vec<_>) = awaits.into_iter().unzip();
    let (signalled, signalled_values): (Vec<_>, Vec<_>) = signals.into_iter().unzip();
    let stages = vec![vk::PipelineStageFlags::ALL_COMMANDS; awaited.len()];
    let mut timeline = vk::TimelineSemaphoreSubmitInfo::default()
        .wait_semaphore_values(&awaited_values)
        .signal_semaphore_values(&signalled_values);
    let commands = [commands];
    let info = vk::SubmitInfo::default()
        .command_buffers(&commands)
        .wait_semaphores(&awaited)
        .wait_dst_stage_mask(&stages)
        .signal_semaphores(&signalled)
        .push_next(&mut timeline);
    // SAFETY: what the program submitted, but later.
    let _ = unsafe { state.device().queue_submit(queue, &[info], vk::Fence::null()) };
}

pub(crate) unsafe extern "system" fn wait(_: vk::Device, info: *const vk::SemaphoreWaitInfo<'_>, timeout: u64) -> vk::Result {
    let mut state = state();
    // SAFETY: the caller's structure, of one semaphore.
    let value = unsafe { *(*info).p_values };
    state.faults.waits += 1;
    let is_held = state.faults.held.as_ref().is_some_and(|held| held.signals.iter().any(|(_, signal)| value >= *signal));
    if is_held && state.faults.is(Kind::Fence) && state.faults.waits > state.faults.at && end_too_early(&mut state) {
        return vk::Result::SUCCESS;
    }
    send_held(&mut state);
    let device = state.device();
    drop(state);
    // SAFETY: handed on as it came.
    unsafe { (device.fp_v1_2().wait_semaphores)(device.handle(), info, timeout) }
}

/// Tells the program that what was kept back is done, and forgets it; false if that would make no difference.
fn end_too_early(state: &mut State) -> bool {
    let Some(held) = state.faults.held.as_ref() else { return false };
    let regions = state.commands.get(&held.commands).map(|known| known.regions.clone()).unwrap_or_default();
    let (device, queue, physical) = (state.device(), held.queue, state.physical);
    let mut scratch = state.faults.scratch.take().unwrap_or_else(|| Scratch::new(&device, queue));
    let differs = regions.iter().any(|region| {
        let [source, target] = scratch.ends(&device, physical, region);
        source != target
    });
    state.faults.scratch = Some(scratch);
    if !differs {
        return false;
    }
    for (semaphore, value) in state.faults.held.take().into_iter().flat_map(|held| held.signals) {
        let info = vk::SemaphoreSignalInfo::default().semaphore(semaphore).value(value);
        // SAFETY: the value is the next one, as everything before has been done.
        let _ = unsafe { device.signal_semaphore(&info) };
    }
    state.faults.made("a wait ends, and what it waits for is never done");
    true
}

pub(crate) unsafe extern "system" fn counter(_: vk::Device, semaphore: vk::Semaphore, value: *mut u64) -> vk::Result {
    let mut state = state();
    send_held(&mut state);
    let device = state.device();
    // SAFETY: handed on as it came.
    unsafe { (device.fp_v1_2().get_semaphore_counter_value)(device.handle(), semaphore, value) }
}

pub(crate) unsafe extern "system" fn wait_idle(_: vk::Device) -> vk::Result {
    let mut state = state();
    send_held(&mut state);
    let device = state.device();
    // SAFETY: handed on as it came.
    unsafe { (device.fp_v1_0().device_wait_idle)(device.handle()) }
}
