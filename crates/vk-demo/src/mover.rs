//! What moves a manager's bytes: its memory types are the heap and parts of the staging memory, its tickets the device's own.
//!
//! Memory 0 is the heap. The memories after it lie one after another in the staging memory, which host and device both reach.
//! What is left of the staging memory behind them is *scratch*: contents go to the heap, and come back from it, through there.
//! The last memory may be a [swap](crate::swap), which the device does not reach.
//!
//! Nothing here waits for the device unless it was asked to: a copy is one submission, and its ticket a value of the timeline.
//! Only what the processor copies to the swap or from it has to wait for copies that are still at the host's pages.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pgmap_alloc::Offset;
use pgmap_ttm::{Bo, CopyError, FenceError, Manager, MemoryType, Mover, Piece as Pages, Ticket};

use crate::device::{self, Device, DeviceError};
use crate::heap::{Heap, HeapOps, PAGE};
use crate::pieces::{Piece, push_merged};
use crate::ring::Ring;
use crate::sums::{Found, Sums};
use crate::swap::Swap;
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
    swap: Option<Swap>,
    /// Where objects have contiguous addresses.
    pub(crate) views: Option<Views>,
    /// The last copy that was sent.
    last: device::Ticket,
    /// Objects that have moved since they were last asked for.
    arrivals: BTreeSet<Bo>,
    /// What the device sums at this moment.
    sums: Sums,
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
    /// From device to host, only to be looked at: in no other number.
    pub(crate) looked_at_bytes: u64,
}

impl Moved {
    /// In all directions together, but for what was only looked at.
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
            swap: None,
            views: None,
            last: device::Ticket::default(),
            arrivals: BTreeSet::new(),
            sums: Sums::default(),
            wrong: None,
            moved: Moved::default(),
            time: Duration::ZERO,
        }
    }

    /// One more memory type, which the device does not reach: what moves between it and the heap stops in `via`.
    pub(crate) fn add_swap(&mut self, pages: u64, via: MemoryType) -> Result<(), DeviceError> {
        self.swap = Some(Swap::new(HEAP + 1 + self.hosts.len(), pages, via)?);
        Ok(())
    }

    /// As [`Device::hold`] says.
    #[cfg(test)]
    pub(crate) fn hold_device(&mut self) -> Box<dyn FnOnce() + Send> {
        self.device.hold()
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
        for pages in self.by_reach(to) {
            if let Some(swap) = self.swap.as_mut().filter(|swap| swap.has(pages[0])) {
                for piece in pages {
                    let bytes = swap.bytes_mut(*piece)?;
                    bytes.copy_from_slice(split(&mut left, bytes.len() as u64)?);
                }
                continue;
            }
            for piece in self.pieces(pages)? {
                self.device.write_staging(piece.start, split(&mut left, piece.bytes)?)?;
            }
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
        for pages in self.by_reach(from) {
            if let Some(swap) = self.swap.as_ref().filter(|swap| swap.has(pages[0])) {
                for piece in pages {
                    let bytes = swap.bytes(*piece)?;
                    split_mut(&mut left, bytes.len() as u64)?.copy_from_slice(bytes);
                }
                continue;
            }
            for piece in self.pieces(pages)? {
                let part = split_mut(&mut left, piece.bytes)?;
                self.timed(|device| device.read_staging(piece.start, part))?;
            }
        }
        Ok(())
    }

    /// Cuts a list where what the device reaches gives way to what it does not, or the other way round.
    fn by_reach<'a>(&self, pages: &'a [Pages]) -> Vec<&'a [Pages]> {
        let apart = |piece: Pages| self.swap.as_ref().is_some_and(|swap| swap.has(piece));
        pages.chunk_by(|a, b| apart(*a) == apart(*b)).collect()
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
        self.moved.looked_at_bytes += bytes.len() as u64;
        self.send(from, &[Piece::staging(staged, bytes.len() as u64)])?;
        // Waits for that copy and no other.
        self.timed(|device| device.read_staging(staged, bytes))
    }

    /// Has the device sum pages of the heap, by where they are and not through any view, once everything that was asked before is
    /// done; nothing waits for it.
    pub(crate) fn begin_sum(&mut self, pages: &[Pages], expected: u32) -> Result<(), DeviceError> {
        let pieces = self.pieces(pages)?;
        self.sums.begin(self.device, &pieces, expected)
    }

    /// Objects that have moved since this was last asked.
    pub(crate) fn take_arrivals(&mut self) -> BTreeSet<Bo> {
        std::mem::take(&mut self.arrivals)
    }

    /// What came of the sums that have been waited for.
    pub(crate) fn found(&self) -> Found {
        self.sums.found
    }

    /// Waits for every copy that has been sent.
    pub(crate) fn finish(&mut self) -> Result<(), DeviceError> {
        let last = self.last;
        self.timed(|device| device.wait(last))
    }

    /// Waits for all sums.
    pub(crate) fn end_sums(&mut self) -> Result<Found, DeviceError> {
        self.sums.end(self.device)?;
        Ok(self.sums.found)
    }

    /// Where the bytes of a manager's pieces are; neighbours become one.
    fn pieces(&self, pages: &[Pages]) -> Result<Vec<Piece>, DeviceError> {
        let mut pieces = Vec::new();
        for piece in pages {
            let found = match piece.memory.index() {
                HEAP => self.heap.piece_at(Offset::new(piece.first), piece.pages),
                _ => self.staged(*piece).map(|start| Piece::staging(start, piece.pages * PAGE)),
            };
            push_merged(&mut pieces, found.ok_or(DeviceError::OutOfBounds)?);
        }
        Ok(pieces)
    }

    /// Has the processor copy what the device does not reach, here and now, and the device the rest, in one submission.
    fn start(&mut self, from: &[Pages], to: &[Pages]) -> Result<device::Ticket, DeviceError> {
        let (mut source, mut target) = (Vec::new(), Vec::new());
        for (from, to) in from.iter().zip(to) {
            if !self.carry(*from, *to)? {
                source.push(*from);
                target.push(*to);
            }
        }
        let (source, target) = (self.pieces(&source)?, self.pieces(&target)?);
        self.send(&source, &target)
    }

    /// Copies pages to the swap or from it, once the device is done with the host's pages on the other side. False where the
    /// swap has no part in it.
    fn carry(&mut self, from: Pages, to: Pages) -> Result<bool, DeviceError> {
        let start = Instant::now();
        let (source, target) = (self.staged(from), self.staged(to));
        let Some(swap) = &mut self.swap else { return Ok(false) };
        match (swap.has(from), swap.has(to)) {
            (false, false) => return Ok(false),
            (true, true) => swap.copy_within(from, to)?,
            (true, false) => self.device.write_staging(target.ok_or(DeviceError::OutOfBounds)?, swap.bytes(from)?)?,
            (false, true) => self.device.read_staging(source.ok_or(DeviceError::OutOfBounds)?, swap.bytes_mut(to)?)?,
        }
        self.time += start.elapsed();
        Ok(true)
    }

    /// Where in the staging memory host pages begin.
    fn staged(&self, piece: Pages) -> Option<u64> {
        Some(self.hosts.get(piece.memory.index().checked_sub(HEAP + 1)?)? + piece.first * PAGE)
    }

    fn send(&mut self, from: &[Piece], to: &[Piece]) -> Result<device::Ticket, DeviceError> {
        let sent = self.timed(|device| {
            device.copy(from, to)?;
            device.submit()
        });
        self.last = sent.clone().unwrap_or(self.last);
        sent
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
        if let Some(via) = self.swap.as_ref().and_then(|swap| swap.detour(from, to, HEAP)) {
            return Err(CopyError::Via(via));
        }
        match self.start(from, to) {
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
        self.arrivals.insert(bo);
        let (Some(views), heap) = (&mut self.views, self.heap) else { return };
        let in_heap = pieces.filter(|(_, piece)| piece.memory.index() == HEAP);
        let parts = in_heap.filter_map(|(page, piece)| Some((page * PAGE, heap.piece_at(Offset::new(piece.first), piece.pages)?)));
        views.moved(bo, parts);
    }
}

/// Takes the first so many bytes off.
fn split<'a>(left: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], DeviceError> {
    left.split_off(..bytes as usize).ok_or(DeviceError::OutOfBounds)
}

/// Takes the first so many bytes off, to write to.
fn split_mut<'a>(left: &mut &'a mut [u8], bytes: u64) -> Result<&'a mut [u8], DeviceError> {
    left.split_off_mut(..bytes as usize).ok_or(DeviceError::OutOfBounds)
}
