//! What moves a manager's bytes: its memory types are the heap and parts of the staging memory, its tickets the device's own.
//!
//! Memory 0 is the heap. The memories after it lie one after another in the staging memory, which host and device both reach.
//! What is left of the staging memory behind them is *scratch*: contents go to the heap, and come back from it, through there.
//!
//! Nothing here waits for the device unless it was asked to: a copy is one submission, and its ticket a value of the timeline.

use std::time::{Duration, Instant};

use pgmap_alloc::Offset;
use pgmap_ttm::{Bo, CopyError, FenceError, Manager, Mover, Piece as Pages, Ticket};

use crate::device::{self, Device, DeviceError};
use crate::heap::{Heap, HeapOps, PAGE};
use crate::pieces::{Piece, push_merged};
use crate::views::Views;

/// Index of the heap among the memory types.
pub(crate) const HEAP: usize = 0;

/// A manager over the heap of a device.
pub(crate) type DeviceManager<'h, 'd> = Manager<'h, DeviceMover<'h, 'd>, HeapOps>;

/// The bridge from a manager to a device.
pub(crate) struct DeviceMover<'h, 'd> {
    heap: &'h Heap,
    device: &'d mut dyn Device,
    /// Where in the staging memory each memory type but the heap begins.
    hosts: Vec<u64>,
    scratch: Ring,
    /// Where objects have contiguous addresses.
    pub(crate) views: Option<Views>,
    /// What the device said first when it went wrong: a manager only learns that it did.
    wrong: Option<DeviceError>,
    pub(crate) moved: Moved,
    /// Time spent recording and submitting copies, and waiting for them.
    pub(crate) time: Duration,
}

/// Bytes copied, by direction.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Moved {
    /// Host to device.
    pub(crate) to_device_bytes: u64,
    /// Device to host.
    pub(crate) to_host_bytes: u64,
    /// From one place of the heap to another.
    pub(crate) within_device_bytes: u64,
    /// From one part of the host's memory to another.
    pub(crate) within_host_bytes: u64,
}

impl Moved {
    /// In all directions together.
    pub(crate) fn total(self) -> u64 {
        self.to_device_bytes + self.to_host_bytes + self.within_device_bytes + self.within_host_bytes
    }
}

impl<'h, 'd> DeviceMover<'h, 'd> {
    /// Moves between the heap and these many pages of each memory type after it. There must be staging memory left behind them.
    pub(crate) fn new(heap: &'h Heap, device: &'d mut dyn Device, hosts: &[u64]) -> DeviceMover<'h, 'd> {
        let mut starts = Vec::new();
        let mut end = 0;
        for pages in hosts {
            starts.push(end);
            end += pages * PAGE;
        }
        let scratch = Ring::new(end, device.staging_bytes());
        DeviceMover {
            heap,
            device,
            hosts: starts,
            scratch,
            views: None,
            wrong: None,
            moved: Moved::default(),
            time: Duration::ZERO,
        }
    }

    /// What went wrong with the device, if anything did.
    pub(crate) fn trouble(&self) -> Result<(), DeviceError> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    /// Gives an object that stands nowhere yet a view, if objects have views.
    pub(crate) fn show(&mut self, bo: Bo, pages: u64) -> Result<(), DeviceError> {
        let Some(views) = &mut self.views else { return Ok(()) };
        views.make(self.device, bo, pages * PAGE)
    }

    /// Gives the view of an object up that has been freed.
    pub(crate) fn hide(&mut self, bo: Bo) -> Result<(), DeviceError> {
        let Some(views) = &mut self.views else { return Ok(()) };
        views.give_up(self.device, bo)
    }

    /// Writes contents into an object that stands in the heap as a whole, through its view where it can be seen through it;
    /// otherwise as [`write`](DeviceMover::write).
    pub(crate) fn write_object(&mut self, bo: Bo, to: &[Pages], bytes: &[u8]) -> Result<Option<Ticket>, DeviceError> {
        match self.view(bo)? {
            Some(view) => self.upload(&[view], bytes).map(Some),
            None => self.write(to, bytes),
        }
    }

    /// Reads the contents of an object that stands in the heap as a whole, through its view where it can be seen through it;
    /// otherwise as [`read`](DeviceMover::read).
    pub(crate) fn read_object(&mut self, bo: Bo, from: &[Pages], bytes: &mut [u8]) -> Result<(), DeviceError> {
        match self.view(bo)? {
            Some(view) => self.download(&[view], bytes),
            None => self.read(from, bytes),
        }
    }

    fn view(&mut self, bo: Bo) -> Result<Option<Piece>, DeviceError> {
        let Some(views) = &mut self.views else { return Ok(None) };
        let start = Instant::now();
        let piece = views.piece(self.device, bo);
        self.time += start.elapsed();
        piece
    }

    /// Writes contents into pages that nothing else is about to move; says until when the device is at it.
    pub(crate) fn write(&mut self, to: &[Pages], bytes: &[u8]) -> Result<Option<Ticket>, DeviceError> {
        if to.iter().any(|piece| piece.memory.index() == HEAP) {
            let to = self.pieces(to)?;
            return self.upload(&to, bytes).map(Some);
        }
        let mut left = bytes;
        for piece in self.pieces(to)? {
            let (part, rest) = left.split_at_checked(piece.bytes as usize).ok_or(DeviceError::OutOfBounds)?;
            self.device.write_staging(piece.start, part)?;
            left = rest;
        }
        Ok(None)
    }

    /// Reads the contents of pages that nothing is about to move.
    pub(crate) fn read(&mut self, from: &[Pages], bytes: &mut [u8]) -> Result<(), DeviceError> {
        if from.iter().any(|piece| piece.memory.index() == HEAP) {
            let from = self.pieces(from)?;
            return self.download(&from, bytes);
        }
        let mut left = bytes;
        for piece in self.pieces(from)? {
            let (part, rest) = left.split_at_mut_checked(piece.bytes as usize).ok_or(DeviceError::OutOfBounds)?;
            self.timed(|device| device.read_staging(piece.start, part))?;
            left = rest;
        }
        Ok(())
    }

    fn upload(&mut self, to: &[Piece], bytes: &[u8]) -> Result<Ticket, DeviceError> {
        let staged = self.scratch.take(bytes.len() as u64)?;
        self.device.write_staging(staged, bytes)?;
        self.moved.to_device_bytes += bytes.len() as u64;
        let ticket = self.send(&[Piece::staging(staged, bytes.len() as u64)], to)?;
        Ok(Ticket(ticket.0))
    }

    fn download(&mut self, from: &[Piece], bytes: &mut [u8]) -> Result<(), DeviceError> {
        let staged = self.scratch.take(bytes.len() as u64)?;
        self.moved.to_host_bytes += bytes.len() as u64;
        self.send(from, &[Piece::staging(staged, bytes.len() as u64)])?;
        // Waits for that copy and no other.
        self.timed(|device| device.read_staging(staged, bytes))
    }

    /// What the device makes of an object that stands in the heap as a whole, as [`Device::checksum`] says: through its view
    /// where it can be seen through it.
    pub(crate) fn sum_object(&mut self, bo: Bo, pages: &[Pages]) -> Result<Option<u32>, DeviceError> {
        let pieces = match self.view(bo)? {
            Some(view) => vec![view],
            None => self.pieces(pages)?,
        };
        self.timed(|device| device.checksum(&pieces))
    }

    /// Where the bytes of a manager's pieces are; neighbours become one.
    fn pieces(&self, pages: &[Pages]) -> Result<Vec<Piece>, DeviceError> {
        let mut pieces = Vec::new();
        for piece in pages {
            let found = match piece.memory.index().checked_sub(HEAP + 1) {
                None => self.heap.piece_at(Offset::new(piece.first), piece.pages),
                Some(host) => self.hosts.get(host).map(|start| Piece::staging(start + piece.first * PAGE, piece.pages * PAGE)),
            };
            push_merged(&mut pieces, found.ok_or(DeviceError::OutOfBounds)?);
        }
        Ok(pieces)
    }

    fn send(&mut self, from: &[Piece], to: &[Piece]) -> Result<device::Ticket, DeviceError> {
        self.timed(|device| {
            device.copy(from, to)?;
            device.submit()
        })
    }

    fn timed<T>(&mut self, work: impl FnOnce(&mut dyn Device) -> T) -> T {
        let start = Instant::now();
        let done = work(self.device);
        self.time += start.elapsed();
        done
    }

    fn count(&mut self, from: &[Pages], to: &[Pages]) {
        for (from, to) in from.iter().zip(to) {
            let counter = match (from.memory.index() == HEAP, to.memory.index() == HEAP) {
                (false, true) => &mut self.moved.to_device_bytes,
                (true, false) => &mut self.moved.to_host_bytes,
                (true, true) => &mut self.moved.within_device_bytes,
                (false, false) => &mut self.moved.within_host_bytes,
            };
            *counter += from.pages * PAGE;
        }
    }

    /// Keeps the first thing that went wrong; says whether the device is gone for good.
    fn remember(&mut self, wrong: DeviceError) -> bool {
        let lost = matches!(wrong, DeviceError::Lost | DeviceError::Stalled { .. });
        self.wrong.get_or_insert(wrong);
        lost
    }

    fn fence_error(&mut self, wrong: DeviceError) -> FenceError {
        if self.remember(wrong) { FenceError::Lost } else { FenceError::Failed }
    }
}

impl Mover for DeviceMover<'_, '_> {
    fn copy(&mut self, from: &[Pages], to: &[Pages], _bytes: u64) -> Result<Ticket, CopyError> {
        let sent = match (self.pieces(from), self.pieces(to)) {
            (Ok(source), Ok(target)) => self.send(&source, &target),
            (Err(wrong), _) | (_, Err(wrong)) => Err(wrong),
        };
        match sent {
            Ok(ticket) => {
                self.count(from, to);
                Ok(Ticket(ticket.0))
            }
            Err(wrong) => Err(if self.remember(wrong) { CopyError::Lost } else { CopyError::Failed }),
        }
    }

    fn is_signalled(&mut self, ticket: Ticket) -> Result<bool, FenceError> {
        self.timed(|device| device.is_reached(device::Ticket(ticket.0))).map_err(|wrong| self.fence_error(wrong))
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), FenceError> {
        self.timed(|device| device.wait(device::Ticket(ticket.0))).map_err(|wrong| self.fence_error(wrong))
    }

    fn move_notify(&mut self, bo: Bo, pieces: &mut dyn Iterator<Item = (u64, Pages)>) {
        let (Some(views), heap) = (&mut self.views, self.heap) else { return };
        let in_heap = pieces.filter(|(_, piece)| piece.memory.index() == HEAP);
        let parts = in_heap.filter_map(|(page, piece)| Some((page * PAGE, heap.piece_at(Offset::new(piece.first), piece.pages)?)));
        views.moved(bo, parts);
    }
}

/// Places in the scratch, one after another and round again. Who still needs an old one is looked after by the device, which
/// waits before a place is used anew.
pub(crate) struct Ring {
    start: u64,
    end: u64,
    next: u64,
}

impl Ring {
    /// All of this part of the staging memory.
    pub(crate) fn new(start: u64, end: u64) -> Ring {
        Ring { start, end, next: start }
    }

    /// The next place of so many bytes.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        if bytes > self.end - self.start {
            return Err(DeviceError::OutOfBounds);
        }
        if self.next + bytes > self.end {
            self.next = self.start;
        }
        let at = self.next;
        self.next += bytes;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn places_follow_each_other_and_never_wrap_inside() {
        let mut ring = Ring::new(100, 110);
        assert_eq!([4, 4, 4, 6, 10].map(|bytes| ring.take(bytes).unwrap()), [100, 104, 100, 104, 100]);
        assert_eq!(ring.take(11), Err(DeviceError::OutOfBounds));
    }
}
