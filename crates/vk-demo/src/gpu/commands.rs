//! Command buffers in a ring, and the one timeline semaphore that says how far the device has come.

use std::rc::Rc;
use std::time::Duration;

use ash::vk;

use super::call;
use super::clock::Clock;
use super::logical::Logical;
use super::views::BufferBinds;
use crate::device::{DeviceError, Ticket};

/// How many submissions can be under way; more wait for the oldest.
const SLOTS: u32 = 16;

/// A device that has not moved for this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ring and the timeline.
pub(super) struct Commands {
    device: Rc<Logical>,
    timeline: vk::Semaphore,
    slots: Vec<Slot>,
    /// Where the queue has one.
    clock: Option<Clock>,
    /// The slot that is recorded into or will be next.
    current: usize,
    recording: bool,
    /// The last value submitted.
    submitted: Ticket,
    /// The last value that a bind or another queue signals, if no copy has been submitted since: the next one waits for it.
    bound: Option<Ticket>,
    /// What submissions wait for, so that a test can hold them back.
    gate: Option<Gate>,
    /// The highest value seen reached.
    reached: Ticket,
}

/// A timeline that submissions wait for to leave zero.
struct Gate {
    timeline: vk::Semaphore,
    /// The last submission that does not wait for it.
    #[cfg(test)]
    before: Ticket,
    /// Says when to open it.
    #[cfg(test)]
    key: std::sync::mpsc::Receiver<()>,
}

struct Slot {
    buffer: vk::CommandBuffer,
    /// The submission that last used it.
    used: Ticket,
}

impl Commands {
    pub(super) fn new(device: &Rc<Logical>) -> Result<Commands, DeviceError> {
        let buffers = device.command_buffers(device.copying, SLOTS)?;
        Ok(Commands {
            device: Rc::clone(device),
            timeline: device.timeline()?,
            clock: device.ticks.map(|ticks| Clock::new(device, ticks, SLOTS)).transpose()?,
            slots: buffers.into_iter().map(|buffer| Slot { buffer, used: Ticket(0) }).collect(),
            current: 0,
            recording: false,
            submitted: Ticket(0),
            bound: None,
            gate: None,
            reached: Ticket(0),
        })
    }

    /// The highest ticket known to be reached.
    pub(super) fn known_reached(&self) -> Ticket {
        self.reached
    }

    /// What all copies that have been waited for took by the device's own clock, where it has one.
    pub(super) fn copying(&self) -> Option<Duration> {
        self.clock.as_ref().map(|clock| clock.total)
    }

    /// Reads the times of submissions that are done.
    fn read_clock(&mut self) {
        if let Some(clock) = &mut self.clock {
            let done = self.slots.iter().enumerate().filter(|(_, slot)| slot.used <= self.reached);
            done.for_each(|(index, _)| clock.read(index));
        }
    }

    /// The last value submitted.
    pub(super) fn submitted(&self) -> Ticket {
        self.submitted
    }

    /// Whether anything has been recorded that is not submitted.
    pub(super) fn is_recording(&self) -> bool {
        self.recording
    }

    /// Records a copy between two buffers, after everything recorded or submitted before it.
    ///
    /// # Safety
    /// The buffers belong to this device and the regions lie inside them and do not overlap.
    pub(super) unsafe fn copy(&mut self, from: vk::Buffer, to: vk::Buffer, regions: &[vk::BufferCopy]) -> Result<(), DeviceError> {
        let buffer = self.recorder()?;
        // SAFETY: the command buffer is being recorded; buffers and regions are good by this function's contract.
        unsafe { self.device.raw.cmd_copy_buffer(buffer, from, to, regions) };
        Ok(())
    }

    /// Makes later copies see earlier ones, in this submission and in all before it.
    pub(super) fn order(&mut self) -> Result<(), DeviceError> {
        use vk::AccessFlags as Access;
        let copies = (vk::PipelineStageFlags::TRANSFER, Access::TRANSFER_READ | Access::TRANSFER_WRITE);
        self.barrier(copies, copies)
    }

    /// Sends what was recorded.
    pub(super) fn submit(&mut self) -> Result<Ticket, DeviceError> {
        use vk::AccessFlags as Access;
        use vk::PipelineStageFlags as Stage;
        // The host reads what the copies wrote once it has seen the timeline's value.
        self.barrier((Stage::TRANSFER, Access::TRANSFER_WRITE), (Stage::HOST, Access::HOST_READ))?;
        if let Some(clock) = &mut self.clock {
            // SAFETY: the command buffer is being recorded, as the barrier saw to, and `recorder` began the slot.
            unsafe { clock.end(self.current, self.slots[self.current].buffer) };
        }
        let slot = &mut self.slots[self.current];
        // SAFETY: the command buffer is being recorded, as the barrier saw to.
        unsafe { self.device.raw.end_command_buffer(slot.buffer) }.map_err(call("ending commands"))?;
        self.recording = false;

        let ticket = Ticket(self.submitted.0 + 1);
        let (buffers, semaphores, values) = ([slot.buffer], [self.timeline], [ticket.0]);
        let waits =
            self.bound.map(|bound| (self.timeline, bound.0)).into_iter().chain(self.gate.iter().map(|gate| (gate.timeline, 1)));
        let (awaited, awaited_values): (Vec<_>, Vec<_>) = waits.unzip();
        let stages = [Stage::ALL_COMMANDS; 2];
        let mut timeline =
            vk::TimelineSemaphoreSubmitInfo::default().wait_semaphore_values(&awaited_values).signal_semaphore_values(&values);
        let info = vk::SubmitInfo::default()
            .command_buffers(&buffers)
            .wait_semaphores(&awaited)
            .wait_dst_stage_mask(&stages[..awaited.len()])
            .signal_semaphores(&semaphores);
        let info = info.push_next(&mut timeline);
        // SAFETY: all handles belong to this device, the value is higher than any before it, and only this thread uses the queue.
        unsafe { self.device.raw.queue_submit(self.device.queue, &[info], vk::Fence::null()) }
            .map_err(call("submitting copies"))?;
        slot.used = ticket;
        self.submitted = ticket;
        self.bound = None;
        self.current = (self.current + 1) % self.slots.len();
        Ok(ticket)
    }

    /// Submits other commands than copies, perhaps to another queue: after everything submitted before, and before everything
    /// submitted later. What has been recorded must have been submitted.
    ///
    /// # Safety
    /// The command buffer has been recorded, of a pool of this queue's family, and is not in use.
    pub(super) unsafe fn beside(&mut self, queue: vk::Queue, commands: vk::CommandBuffer) -> Result<Ticket, DeviceError> {
        let ticket = Ticket(self.submitted.0 + 1);
        let (buffers, semaphores, stages) = ([commands], [self.timeline], [vk::PipelineStageFlags::ALL_COMMANDS]);
        let (before, after) = ([self.submitted.0], [ticket.0]);
        let mut timeline =
            vk::TimelineSemaphoreSubmitInfo::default().wait_semaphore_values(&before).signal_semaphore_values(&after);
        let info = vk::SubmitInfo::default()
            .command_buffers(&buffers)
            .wait_semaphores(&semaphores)
            .wait_dst_stage_mask(&stages)
            .signal_semaphores(&semaphores)
            .push_next(&mut timeline);
        // SAFETY: by this function's contract; the value is higher than any before it, and only this thread uses the queue.
        unsafe { self.device.raw.queue_submit(queue, &[info], vk::Fence::null()) }.map_err(call("submitting a sum"))?;
        (self.submitted, self.bound) = (ticket, Some(ticket));
        Ok(ticket)
    }

    /// Binds memory to sparse buffers, after everything submitted before and before everything submitted later. What has been
    /// recorded must have been submitted: binds are no commands.
    ///
    /// # Safety
    /// The buffers are sparse and belong to this device; the binds are whole granules inside buffer and memory.
    pub(super) unsafe fn bind(&mut self, plan: &[BufferBinds]) -> Result<(), DeviceError> {
        let Some(queue) = self.device.binding else { return Err(DeviceError::OutOfBounds) };
        let buffers: Vec<_> =
            plan.iter().map(|(buffer, binds)| vk::SparseBufferMemoryBindInfo::default().buffer(*buffer).binds(binds)).collect();
        let ticket = Ticket(self.submitted.0 + 1);
        let (semaphores, before, after) = ([self.timeline], [self.submitted.0], [ticket.0]);
        let mut timeline =
            vk::TimelineSemaphoreSubmitInfo::default().wait_semaphore_values(&before).signal_semaphore_values(&after);
        let info = vk::BindSparseInfo::default()
            .wait_semaphores(&semaphores)
            .signal_semaphores(&semaphores)
            .buffer_binds(&buffers)
            .push_next(&mut timeline);
        // SAFETY: by this function's contract; the queue's family binds, the value is higher than any before it, and only this
        // thread uses the queue.
        unsafe { self.device.raw.queue_bind_sparse(queue, &[info], vk::Fence::null()) }.map_err(call("binding folios"))?;
        (self.submitted, self.bound) = (ticket, Some(ticket));
        Ok(())
    }

    /// Whether a ticket is reached.
    pub(super) fn is_reached(&mut self, ticket: Ticket) -> Result<bool, DeviceError> {
        #[cfg(test)]
        self.pass_gate(ticket, false)?;
        if ticket > self.reached {
            // SAFETY: the semaphore belongs to this device.
            let value = unsafe { self.device.raw.get_semaphore_counter_value(self.timeline) };
            self.reached = Ticket(value.map_err(call("reading the timeline"))?);
        }
        Ok(ticket <= self.reached)
    }

    /// Waits until a ticket is reached; gives up on a device that makes no progress at all.
    pub(super) fn wait(&mut self, ticket: Ticket) -> Result<(), DeviceError> {
        #[cfg(test)]
        self.pass_gate(ticket, true)?;
        while ticket > self.reached {
            let (semaphores, values) = ([self.timeline], [ticket.0]);
            let info = vk::SemaphoreWaitInfo::default().semaphores(&semaphores).values(&values);
            // SAFETY: the semaphore belongs to this device and the arrays outlive the call.
            let waited = unsafe { self.device.raw.wait_semaphores(&info, PATIENCE.as_nanos() as u64) };
            match waited {
                Ok(()) => self.reached = ticket,
                Err(vk::Result::TIMEOUT) => self.judge(ticket)?,
                Err(other) => return Err(call("waiting for the timeline")(other)),
            }
        }
        self.read_clock();
        Ok(())
    }

    /// After a long wait: goes on waiting if anything has moved.
    fn judge(&mut self, ticket: Ticket) -> Result<(), DeviceError> {
        let before = self.reached;
        if !self.is_reached(ticket)? && self.reached == before {
            self.device.abandon();
            return Err(DeviceError::Stalled { seconds: PATIENCE.as_secs() });
        }
        Ok(())
    }

    fn barrier(
        &mut self,
        before: (vk::PipelineStageFlags, vk::AccessFlags),
        after: (vk::PipelineStageFlags, vk::AccessFlags),
    ) -> Result<(), DeviceError> {
        let buffer = self.recorder()?;
        let memory = [vk::MemoryBarrier::default().src_access_mask(before.1).dst_access_mask(after.1)];
        let none = vk::DependencyFlags::empty();
        // SAFETY: the command buffer is being recorded, and every queue that copies has these stages.
        unsafe { self.device.raw.cmd_pipeline_barrier(buffer, before.0, after.0, none, &memory, &[], &[]) };
        Ok(())
    }

    /// The command buffer that is being recorded, begun if need be.
    fn recorder(&mut self) -> Result<vk::CommandBuffer, DeviceError> {
        let Slot { buffer, used } = self.slots[self.current];
        if !self.recording {
            self.wait(used)?;
            let info = vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
            // SAFETY: its last submission has been reached, so the device is done with it; its pool allows it to be begun anew.
            unsafe { self.device.raw.begin_command_buffer(buffer, &info) }.map_err(call("beginning commands"))?;
            self.recording = true;
            if let Some(clock) = &mut self.clock {
                // SAFETY: the command buffer has just been begun, after its last submission was waited for.
                unsafe { clock.begin(self.current, buffer) };
            }
        }
        Ok(buffer)
    }
}

/// The gate. Whoever has the key may be in another thread; what opens the gate is the thread that uses the device, like all calls,
/// when it next asks for a submission behind the gate. (The validation layer does not bear a signal by one thread during a wait by
/// another: its issues 4968 and 8519.)
#[cfg(test)]
impl Commands {
    /// Holds back what is submitted from now on, as [`Device::hold`](crate::device::Device::hold) says.
    pub(super) fn hold(&mut self) -> Result<Box<dyn FnOnce() + Send>, DeviceError> {
        let (turn, key) = std::sync::mpsc::channel();
        self.gate = Some(Gate { timeline: self.device.timeline()?, before: self.submitted, key });
        // Nobody listens any more if the device has been closed.
        Ok(Box::new(move || {
            let _ = turn.send(());
        }))
    }

    /// Opens the gate before a submission behind it is looked at, if the key has been turned; with `wait`, once it has been turned
    /// or thrown away.
    fn pass_gate(&mut self, ticket: Ticket, wait: bool) -> Result<(), DeviceError> {
        let Some(gate) = self.gate.as_ref().filter(|gate| ticket > gate.before) else { return Ok(()) };
        let stays_shut = gate.key.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty);
        if stays_shut && !wait {
            return Ok(());
        }
        if stays_shut {
            let _ = gate.key.recv();
        }
        self.open_gate()
    }

    fn open_gate(&mut self) -> Result<(), DeviceError> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        let info = vk::SemaphoreSignalInfo::default().semaphore(gate.timeline).value(1);
        // SAFETY: the timeline belongs to this device, is at zero, and nothing else raises it.
        unsafe { self.device.raw.signal_semaphore(&info) }.map_err(call("opening a gate"))
    }
}

/// A test that failed must not leave the device waiting for ever.
#[cfg(test)]
impl Drop for Commands {
    fn drop(&mut self) {
        let _ = self.open_gate();
    }
}
