//! Views: sparse buffers, each with scattered pieces of the memory objects behind its addresses.

use std::collections::VecDeque;
use std::rc::Rc;

use ash::vk;

use super::logical::Logical;
use super::memory::Object;
use super::sparse::Ability;
use crate::device::{Bind, DeviceError, Ticket, View};

/// The views of a device.
pub(super) struct Views {
    device: Rc<Logical>,
    ability: Ability,
    list: Vec<Option<Shown>>,
    /// Addresses that are taken, by views that were given up and not yet destroyed too.
    taken: u64,
    /// Given up; destroyed once the device has come so far.
    dropped: VecDeque<(Ticket, Shown)>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub(super) buffer: vk::Buffer,
    pub(super) bytes: u64,
    /// Addresses: whole granules.
    span: u64,
}

/// What `vkQueueBindSparse` is told of one buffer.
pub(super) type BufferBinds = (vk::Buffer, Vec<vk::SparseMemoryBind>);

impl Views {
    pub(super) fn new(device: &Rc<Logical>, ability: Ability) -> Views {
        Views { device: Rc::clone(device), ability, list: Vec::new(), taken: 0, dropped: VecDeque::new() }
    }

    /// Makes one; none where no addresses are left.
    pub(super) fn make(&mut self, bytes: u64) -> Result<Option<View>, DeviceError> {
        let span = bytes.max(1).next_multiple_of(self.ability.granule);
        if span > self.ability.address_bytes - self.taken {
            return Ok(None);
        }
        let shown = Shown { buffer: self.device.loose_sparse_buffer(span)?, bytes, span };
        self.taken += span;
        let free = self.list.iter().position(Option::is_none).unwrap_or(self.list.len());
        if free == self.list.len() {
            self.list.push(None);
        }
        self.list[free] = Some(shown);
        Ok(Some(View(free)))
    }

    /// The view of this index.
    pub(super) fn get(&self, index: usize) -> Option<Shown> {
        *self.list.get(index)?
    }

    /// Gives one up; its buffer is destroyed once `ticket` is reached.
    pub(super) fn give_up(&mut self, view: View, ticket: Ticket) {
        if let Some(shown) = self.list.get_mut(view.0).and_then(Option::take) {
            self.dropped.push_back((ticket, shown));
        }
    }

    /// Destroys what was given up and is no longer in use.
    pub(super) fn reached(&mut self, ticket: Ticket) {
        while self.dropped.front().is_some_and(|(until, _)| *until <= ticket) {
            let Some((_, shown)) = self.dropped.pop_front() else { return };
            // SAFETY: made from this device, in no list any more, and every submission with it has been reached.
            unsafe { self.device.raw.destroy_buffer(shown.buffer, None) };
            self.taken -= shown.span;
        }
    }

    /// The binds in Vulkan's words, buffer by buffer; refused whole if any of them is not made of whole granules inside its
    /// view and its memory object.
    pub(super) fn plan(&self, binds: &[Bind], objects: &[Object]) -> Result<Vec<BufferBinds>, DeviceError> {
        let mut plan = Vec::new();
        for of_one in binds.chunk_by(|a, b| a.view == b.view) {
            let view = self.get(of_one[0].view.0).ok_or(DeviceError::OutOfBounds)?;
            let binds = of_one.iter().map(|bind| self.bind(view, bind, objects)).collect::<Result<_, _>>()?;
            plan.push((view.buffer, binds));
        }
        Ok(plan)
    }

    fn all(&mut self) -> impl Iterator<Item = Shown> {
        let dropped = self.dropped.drain(..).map(|(_, shown)| shown);
        self.list.drain(..).flatten().chain(dropped)
    }

    fn bind(&self, view: Shown, bind: &Bind, objects: &[Object]) -> Result<vk::SparseMemoryBind, DeviceError> {
        let raw = vk::SparseMemoryBind::default().resource_offset(bind.at).size(bind.bytes);
        let (raw, size) = match bind.to {
            None => (raw, u64::MAX),
            Some((index, at)) => {
                let object = objects.get(index).ok_or(DeviceError::OutOfBounds)?;
                (raw.memory(object.memory).memory_offset(at), object.bytes)
            }
        };
        let whole = [bind.at, bind.bytes, raw.memory_offset].iter().all(|number| number.is_multiple_of(self.ability.granule));
        let inside = |at: u64, size: u64| at.checked_add(bind.bytes).is_some_and(|end| end <= size);
        if whole && bind.bytes > 0 && inside(bind.at, view.span) && inside(raw.memory_offset, size) {
            Ok(raw)
        } else {
            Err(DeviceError::OutOfBounds)
        }
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        // Nothing may be destroyed under a device that may still use it: it stays for ever.
        if self.device.is_at_rest() {
            let device = Rc::clone(&self.device);
            for shown in self.all() {
                // SAFETY: made from this device, destroyed once, and the device is idle or lost.
                unsafe { device.raw.destroy_buffer(shown.buffer, None) };
            }
        }
    }
}
