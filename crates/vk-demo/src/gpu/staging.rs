//! The staging memory: one row of bytes that both sides reach, mapped for good, in as many memory objects as it takes.
//!
//! Where the memory is not coherent, what the host writes is flushed at once, and what it reads is invalidated before. The device
//! is then not in the bytes that are touched, but it may be in their neighbours: callers keep what is under way
//! [`ATOM`](crate::device::ATOM) bytes apart.

use std::ops::Range;

use ash::vk;

use super::call;
use super::logical::Logical;
use super::physical::Physical;
use crate::device::DeviceError;
use crate::memory_types::{Need, Properties, choose};
use crate::pieces::Piece;

/// The largest part: no limit of the device is nearer for any that is known, and no driver has more bytes to copy in one region.
const LARGEST: u64 = 1 << 30;

/// All of it.
pub(super) struct Staging {
    pub(super) bytes: u64,
    /// Of each part but the last.
    part_bytes: u64,
    parts: Vec<Part>,
    /// Where the memory is not coherent: the multiple of bytes that is flushed.
    atom: Option<u64>,
}

struct Part {
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    /// Of the memory, which may be more than of the buffer.
    bytes: u64,
    mapped: *mut u8,
}

impl Staging {
    /// Takes and maps it.
    pub(super) fn new(device: &Logical, physical: &Physical, bytes: u64) -> Result<Staging, DeviceError> {
        let most = physical.info.max_object_bytes.clamp(1, LARGEST);
        let part_bytes = 1 << most.ilog2();
        let allowed = physical.info.buffer_types;
        let chosen = choose(&physical.info.heaps, allowed, Need::Staging, bytes).ok_or(DeviceError::OutOfHostMemory)?;
        let atom = physical.limits.non_coherent_atom_size.max(1);
        let mut staging = Staging {
            bytes,
            part_bytes,
            parts: Vec::new(),
            atom: (!chosen.properties.has(Properties::HOST_COHERENT)).then_some(atom),
        };
        for start in (0..bytes).step_by(part_bytes as usize) {
            staging.parts.push(Part::new(device, part_bytes.min(bytes - start), chosen.index)?);
        }
        Ok(staging)
    }

    /// Whether `bytes` bytes at `at` lie inside.
    pub(super) fn span(&self, at: u64, bytes: usize) -> Result<Range<u64>, DeviceError> {
        let end = at.checked_add(bytes as u64).ok_or(DeviceError::OutOfBounds)?;
        if end > self.bytes { Err(DeviceError::OutOfBounds) } else { Ok(at..end) }
    }

    /// How many bytes from here on lie in one part.
    pub(super) fn in_one_part(&self, at: u64) -> u64 {
        self.part_bytes - at % self.part_bytes
    }

    /// The buffer that a piece lies in, and where in it; the piece must lie in one part.
    pub(super) fn buffer(&self, piece: Piece) -> Option<(vk::Buffer, u64)> {
        let part = self.parts.get((piece.start / self.part_bytes) as usize)?;
        Some((part.buffer, piece.start % self.part_bytes))
    }

    /// Copies `bytes` in.
    ///
    /// # Safety
    /// No copy of the device that is under way touches this span, and the device still lives.
    pub(super) unsafe fn write(&mut self, device: &Logical, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let span = self.span(at, bytes.len())?;
        for (part, inside) in self.cut(&span) {
            let bytes = &bytes[inside.clone()];
            let start = (span.start + inside.start as u64) % self.part_bytes;
            // SAFETY: `cut` keeps to the part, which is mapped as a whole.
            let to = unsafe { part.mapped.add(start as usize) };
            // SAFETY: both sides are `bytes.len()` long and cannot overlap, as the mapping is the driver's; the caller says that
            // the device is not in it.
            unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            if let Some(atom) = self.atom {
                let range = [part.range(start, bytes.len() as u64, atom)];
                // SAFETY: the memory is mapped, and the range is one of whole atoms in it.
                unsafe { device.raw.flush_mapped_memory_ranges(&range) }.map_err(call("flushing the staging memory"))?;
            }
        }
        Ok(())
    }

    /// Copies bytes out.
    ///
    /// # Safety
    /// No copy of the device that is under way writes this span, and the device still lives.
    pub(super) unsafe fn read(&self, device: &Logical, at: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        let span = self.span(at, into.len())?;
        for (part, inside) in self.cut(&span) {
            let into = &mut into[inside.clone()];
            let start = (span.start + inside.start as u64) % self.part_bytes;
            if let Some(atom) = self.atom {
                let range = [part.range(start, into.len() as u64, atom)];
                // SAFETY: the memory is mapped, and the range is one of whole atoms in it.
                unsafe { device.raw.invalidate_mapped_memory_ranges(&range) }.map_err(call("reading the staging memory"))?;
            }
            // SAFETY: `cut` keeps to the part, which is mapped as a whole.
            let from = unsafe { part.mapped.add(start as usize) };
            // SAFETY: both sides are `into.len()` long and cannot overlap, as the mapping is the driver's; its memory is always
            // initialised as far as Rust is concerned, being shared with a device; the caller says that the device is not in it.
            unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
        }
        Ok(())
    }

    /// Part by part, which of the bytes of a span lie in it.
    fn cut(&self, span: &Range<u64>) -> impl Iterator<Item = (&Part, Range<usize>)> {
        let Range { start, end } = *span;
        let parts = start / self.part_bytes..end.div_ceil(self.part_bytes);
        parts.zip(self.parts.iter().skip((start / self.part_bytes) as usize)).map(move |(index, part)| {
            let (first, last) = ((index * self.part_bytes).max(start), ((index + 1) * self.part_bytes).min(end));
            (part, (first - start) as usize..(last - start) as usize)
        })
    }
}

impl Part {
    fn new(device: &Logical, bytes: u64, memory_type: u32) -> Result<Part, DeviceError> {
        let buffer = device.buffer(bytes)?;
        let needs = device.needs_of(buffer);
        let memory = device.memory_for(buffer, needs.size, memory_type, false)?;
        // SAFETY: the type is host-visible, and this memory is mapped only here.
        let mapped = unsafe { device.raw.map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty()) }
            .map_err(call("mapping the staging memory"))?;
        Ok(Part { buffer, memory, bytes: needs.size, mapped: mapped.cast() })
    }

    /// The atoms that hold these bytes.
    fn range(&self, start: u64, bytes: u64, atom: u64) -> vk::MappedMemoryRange<'static> {
        let first = start / atom * atom;
        let end = (start + bytes).next_multiple_of(atom);
        let bytes = if end >= self.bytes { vk::WHOLE_SIZE } else { end - first };
        vk::MappedMemoryRange::default().memory(self.memory).offset(first).size(bytes)
    }
}
