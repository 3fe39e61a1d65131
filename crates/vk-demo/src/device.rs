//! What a device is to the rest of the program: memory objects, a staging memory, copies between them, views, and tickets.
//!
//! There are two: [`gpu`](crate::gpu) (Vulkan) and [`host`](crate::host) (this process). Nothing outside them knows which.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::memory_types::{Chosen, Need, Properties, choose};
use crate::peers::Peers;
use crate::pieces::{Memory, Piece};
use crate::size;

/// A device whose memory objects are the ranges of one pgmap.
///
/// Copies are recorded, sent by `submit`, and take effect in the order of the calls. A ticket is reached when everything
/// submitted up to it is done; an error of the device ends the run and is never waited for without limit.
pub(crate) trait Device: Peers {
    /// Bytes of each memory object, in the order of the pgmap's ranges.
    fn objects(&self) -> &[u64];

    /// Bytes of the staging memory, which host and device both reach.
    fn staging_bytes(&self) -> u64;

    /// Puts bytes into the staging memory, once the copies that touch that part are done (they are submitted if need be).
    fn write_staging(&mut self, at: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Takes bytes from the staging memory, once the copies that touch that part are done (they are submitted if need be).
    fn read_staging(&mut self, at: u64, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Records a copy of as many bytes as both sides have, cut into regions wherever a piece of either side ends.
    fn copy(&mut self, from: &[Piece], to: &[Piece]) -> Result<(), DeviceError>;

    /// Sends what has been recorded.
    fn submit(&mut self) -> Result<Ticket, DeviceError>;

    /// Makes a view: contiguous addresses, so many bytes, with nothing behind them yet. None where the layout asked for no views,
    /// or no addresses are left.
    fn make_view(&mut self, _bytes: u64) -> Result<Option<View>, DeviceError> {
        Ok(None)
    }

    /// Gives a view up, once everything that was recorded is done with it.
    fn drop_view(&mut self, _view: View) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Puts pieces of memory objects behind parts of views, or nothing: after everything that was recorded before, and before
    /// everything that is recorded later. All parts and pieces are whole granules.
    fn bind(&mut self, _binds: &[Bind]) -> Result<(), DeviceError> {
        Err(DeviceError::OutOfBounds)
    }

    /// Has the device itself sum these pieces of its memory objects, as [`checksum::add`](crate::checksum::add) would: after
    /// everything that was recorded before, and before everything that is recorded later. None where it cannot. There are at most
    /// [`SUMS_AT_ONCE`] that have been begun and not ended.
    fn begin_sum(&mut self, pieces: &[Piece]) -> Result<Option<Sum>, DeviceError>;

    /// What came of a sum; waits for it.
    fn end_sum(&mut self, sum: Sum) -> Result<u32, DeviceError>;

    /// Begins a sum and waits for it.
    fn checksum(&mut self, pieces: &[Piece]) -> Result<Option<u32>, DeviceError> {
        self.begin_sum(pieces)?.map(|sum| self.end_sum(sum)).transpose()
    }

    /// Whether a ticket has been reached.
    fn is_reached(&mut self, ticket: Ticket) -> Result<bool, DeviceError>;

    /// Waits until a ticket has been reached.
    fn wait(&mut self, ticket: Ticket) -> Result<(), DeviceError>;

    /// What was asked of it so far.
    fn work(&self) -> Work;

    /// For tests: nothing that is submitted from now on begins until what is returned is called, from whichever thread; before
    /// the device is closed, if at all.
    #[cfg(test)]
    fn hold(&mut self) -> Box<dyn FnOnce() + Send> {
        panic!("this device cannot be held");
    }
}

/// A point in the order of submissions: a value of the device's one timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// A sum that the device was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sum(pub(crate) usize);

/// Copies that are under way at the same time are so many bytes apart in the staging memory: what a host that is not coherent flushes
/// or reads anew together is no larger on any device.
pub(crate) const ATOM: u64 = 256;

/// How many sums can be under way.
pub(crate) const SUMS_AT_ONCE: usize = 64;

/// Contiguous addresses of a device, with scattered pieces of its memory objects behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View(pub(crate) usize);

impl View {
    /// Its first so many bytes.
    pub(crate) fn piece(self, bytes: u64) -> Piece {
        Piece { memory: Memory::View(self.0), start: 0, bytes }
    }
}

/// What is to stand behind a part of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    /// Of which view.
    pub(crate) view: View,
    /// The first byte of the part.
    pub(crate) at: u64,
    /// Its length.
    pub(crate) bytes: u64,
    /// The memory object and the byte of it that the part begins with; none for nothing.
    pub(crate) to: Option<(usize, u64)>,
}

/// Counts of what a device was asked to do.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Work {
    /// Contiguous regions copied.
    pub(crate) regions: u64,
    /// Submissions made.
    pub(crate) submits: u64,
    /// Time spent checking pieces and cutting them into regions, before anything was recorded: ours, and no driver's.
    #[serde(skip)]
    pub(crate) planning: Duration,
    /// What copies that were waited for took by the device's own clock; none where its queue has none.
    #[serde(skip)]
    pub(crate) copying: Option<Duration>,
}

impl Work {
    /// What was added since `earlier`.
    pub(crate) fn since(self, earlier: Work) -> Work {
        Work {
            regions: self.regions - earlier.regions,
            submits: self.submits - earlier.submits,
            planning: self.planning.saturating_sub(earlier.planning),
            copying: self.copying.map(|copying| copying.saturating_sub(earlier.copying.unwrap_or_default())),
        }
    }
}

/// What to allocate when a device is opened.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Bytes of each memory object.
    pub(crate) objects: Vec<u64>,
    /// Bytes of the staging memory.
    pub(crate) staging: u64,
    /// Whether there will be views: only where the device's `sparse` is a granule.
    pub(crate) views: bool,
}

/// The three kinds of device, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A GPU.
    Hardware,
    /// A Vulkan driver that computes on the CPU.
    Software,
    /// No Vulkan: this process plays the device.
    Host,
}

impl Kind {
    /// The kind in plain words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Kind::Hardware => "hardware GPU",
            Kind::Software => "software Vulkan",
            Kind::Host => "host device (no Vulkan, the CPU copies)",
        }
    }
}

/// What is known of a device before it is opened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeviceInfo {
    /// Name as the driver gives it.
    pub(crate) name: String,
    /// Driver and its version.
    pub(crate) driver: String,
    /// Which of the three kinds.
    pub(crate) kind: Kind,
    /// Vulkan version of the device; none on the host device.
    pub(crate) api: Option<String>,
    /// The heap that the pgmap's ranges come from.
    pub(crate) heap: HeapInfo,
    /// The largest memory object the device gives.
    pub(crate) max_object_bytes: u64,
    /// All memory heaps, and the types of memory in each.
    pub(crate) heaps: Vec<HeapDetails>,
    /// All families of queues.
    pub(crate) queues: Vec<QueueDetails>,
    /// Which of them does what; none on the host device.
    pub(crate) roles: Option<Roles>,
    /// The types of memory that the driver takes for buffers; all of them as long as the device is not open.
    #[serde(skip)]
    pub(crate) buffer_types: u32,
    /// Those that it takes for views.
    #[serde(skip)]
    pub(crate) view_types: u32,
    /// What will be used where it is there.
    pub(crate) features: Features,
    /// Whether a scattered object can have contiguous addresses.
    pub(crate) sparse: Sparse,
    /// Why this device cannot be used, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unusable: Option<String>,
}

impl DeviceInfo {
    /// The type of memory for so many bytes of staging, or what stands in the way; none on the host device.
    pub(crate) fn staging_type(&self, bytes: u64) -> Option<Result<Chosen, String>> {
        if self.kind == Kind::Host {
            return None;
        }
        let chosen = choose(&self.heaps, self.buffer_types, Need::Staging, bytes);
        Some(chosen.ok_or_else(|| {
            let visible =
                self.heaps.iter().filter(|heap| heap.types.iter().any(|kind| kind.properties.has(Properties::HOST_VISIBLE)));
            let most = visible.map(HeapDetails::may_take).max().unwrap_or(0);
            let (wanted, most) = size::apart(bytes, most);
            format!("{wanted} of memory that host and device both reach are more than any heap of {} may give: {most}", self.name)
        }))
    }

    /// The type of memory that folios are of in such a layout; none on the host device, and where there is none.
    pub(crate) fn folio_type(&self, layout: &Layout) -> Option<Chosen> {
        let bytes = layout.objects.iter().copied().max().unwrap_or(0);
        let allowed = if layout.views { self.buffer_types & self.view_types } else { self.buffer_types };
        choose(&self.heaps, allowed, Need::Folios { heap: self.heap.index }, bytes)
    }
}

/// The memory heap that is used.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeapInfo {
    /// As the driver numbers it.
    pub(crate) index: u32,
    /// Its size.
    pub(crate) bytes: u64,
    /// How much of it this program may take.
    pub(crate) budget_bytes: u64,
    /// Where the budget comes from.
    pub(crate) budget_from: &'static str,
}

/// One memory heap, as the driver describes it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeapDetails {
    /// Its size.
    pub(crate) bytes: u64,
    /// What the driver says this program may have of it, and has; none where the driver says nothing.
    pub(crate) budget_bytes: Option<u64>,
    pub(crate) usage_bytes: Option<u64>,
    /// Whether it is the device's own.
    pub(crate) device_local: bool,
    /// Whether the pgmap's ranges come from it.
    pub(crate) used: bool,
    /// The types of memory in it.
    pub(crate) types: Vec<TypeDetails>,
}

impl HeapDetails {
    /// Where the driver does not tell, this share of a heap is taken to be free; the rest is for everyone else.
    const SHARE: (u64, u64) = (3, 4);

    /// How much of it this program may take.
    pub(crate) fn may_take(&self) -> u64 {
        match (self.budget_bytes, self.usage_bytes) {
            (Some(budget), usage) => budget.saturating_sub(usage.unwrap_or(0)).min(self.bytes),
            (None, _) => self.bytes / HeapDetails::SHARE.1 * HeapDetails::SHARE.0,
        }
    }
}

/// One type of memory.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TypeDetails {
    /// As the driver numbers it.
    pub(crate) index: u32,
    /// What it can do.
    pub(crate) properties: Properties,
}

/// One family of queues.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QueueDetails {
    /// How many queues it has.
    pub(crate) queues: u32,
    /// What they do, in Vulkan's words.
    pub(crate) does: Vec<&'static str>,
}

/// The family of queues that the user wants to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueWanted {
    /// One that only copies.
    Copy,
    /// One that computes, and does not draw if there is a choice.
    Compute,
    /// One that draws.
    Graphics,
    /// The one of this number.
    Index(u32),
}

impl FromStr for QueueWanted {
    type Err = String;

    fn from_str(text: &str) -> Result<QueueWanted, String> {
        match text {
            "copy" => Ok(QueueWanted::Copy),
            "compute" => Ok(QueueWanted::Compute),
            "graphics" => Ok(QueueWanted::Graphics),
            number => {
                number.parse().map(QueueWanted::Index).map_err(|_| "it is copy, compute, graphics or a family's number".into())
            }
        }
    }
}

/// What the user wants of a device instead of what it would do by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    /// The heap that folios come from.
    pub(crate) memory_heap: Option<u32>,
    /// The family of queues that copies.
    pub(crate) queue: Option<QueueWanted>,
}

/// Which families of queues do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Roles {
    /// Copies.
    pub(crate) copying: u32,
    /// Sums what the device holds; none where no family computes.
    pub(crate) summing: Option<u32>,
    /// Binds sparse buffers; none where no family does.
    pub(crate) binding: Option<u32>,
}

/// Sparse binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Sparse {
    /// The device has it.
    Granule {
        /// Addresses are bound in whole granules.
        granule_bytes: u64,
        /// All views together have at most as many.
        address_bytes: u64,
    },
    /// The device has it not.
    Missing {
        /// What is missing.
        missing: String,
    },
}

impl Sparse {
    /// The granule, where there is one.
    pub(crate) fn granule(&self) -> Option<u64> {
        match self {
            Sparse::Granule { granule_bytes, .. } => Some(*granule_bytes),
            Sparse::Missing { .. } => None,
        }
    }
}

/// Abilities of a device that the demo uses where it finds them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Features {
    /// One timeline orders all work.
    pub(crate) timeline_semaphore: bool,
    /// The driver says how much of the heap is free.
    pub(crate) memory_budget: bool,
    /// The heap's memory is the last that the driver moves out when there is too little for everyone.
    pub(crate) memory_priority: bool,
    /// A queue family that only copies.
    pub(crate) transfer_queue: bool,
    /// Buffers bound to scattered folios.
    pub(crate) sparse_binding: bool,
}

/// What can go wrong on a device once it has been chosen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum DeviceError {
    /// `VK_ERROR_DEVICE_LOST`.
    #[error("the device is lost (VK_ERROR_DEVICE_LOST)")]
    Lost,
    /// No answer for a long time.
    #[error("the device has made no progress for {seconds} s")]
    Stalled {
        /// How long was waited.
        seconds: u64,
    },
    /// The heap is full.
    #[error("the device is out of memory")]
    OutOfDeviceMemory,
    /// The host is full.
    #[error("the host is out of memory")]
    OutOfHostMemory,
    /// A piece reaches beyond its memory.
    #[error("a piece reaches beyond its memory")]
    OutOfBounds,
    /// The two sides of a copy differ in length.
    #[error("the two sides of a copy differ in length: {from} and {to} bytes")]
    Uneven {
        /// Bytes to read.
        from: u64,
        /// Bytes to write.
        to: u64,
    },
    /// A region would be copied onto itself.
    #[error("the two sides of a copy overlap")]
    Overlap,
    /// Any other refusal by Vulkan.
    #[error("{call}: {result}")]
    Vulkan {
        /// What was being done.
        call: &'static str,
        /// The result's name.
        result: String,
    },
}
