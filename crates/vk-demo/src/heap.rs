//! The heap: a pgmap whose ranges are the device's memory objects. Only here does an offset become an address.

use std::sync::atomic::{AtomicU64, Ordering};

use pgmap_alloc::{AfterFree, Folio, Freed, Offset, Order, Params, Pgmap, PgmapOps, Phys, PhysRange};

use crate::cli::HeapOptions;
use crate::device::{Device, DeviceInfo, Kind, Layout};
use crate::failure::Failure;
use crate::host;
use crate::pieces::{Memory, Piece};
use crate::size::{self, Bytes};

/// Bytes of a page.
pub(crate) const PAGE: u64 = 1 << 12;

/// What a heap is by default where its memory is the host's.
const MODERATE: u64 = 256 << 20;
/// By default a hardware GPU gives one part in this many of its budget, and no more than this many bytes.
const HARDWARE_SHARE: u64 = 4;
const HARDWARE_MOST: u64 = 2 << 30;

/// Each memory object has 2^48 bytes of the pgmap's physical addresses for itself: the high bits say which one it is.
const OBJECT_SHIFT: u32 = 48;

/// A folio of the heap.
pub(crate) type HeapFolio<'h> = Folio<'h, HeapOps>;

/// What the heap says to its pgmap: each folio carries the key of its buffer object, and is counted when it leaves service.
#[derive(Debug)]
pub(crate) struct HeapOps {
    /// By order.
    left: [AtomicU64; Order::MAX.get() as usize + 1],
}

impl PgmapOps for HeapOps {
    type Data = usize;

    fn folio_free(&self, folio: Freed<usize>) -> AfterFree {
        self.left[folio.order.get() as usize].fetch_add(1, Ordering::Relaxed);
        AfterFree::ByType
    }
}

/// How large the heap is where nobody says.
pub(crate) fn by_default(info: &DeviceInfo) -> u64 {
    let budget = info.heap.budget_bytes;
    match info.kind {
        Kind::Hardware => (budget / HARDWARE_SHARE).min(HARDWARE_MOST),
        Kind::Software | Kind::Host => MODERATE.min(budget / 2),
    }
}

/// How many bytes each memory object has in a heap of so many, or why it cannot be; how much staging there is to be is left to the
/// caller. All objects are of one size, a power of two, but for what is left over in the last.
pub(crate) fn plan(wanted: u64, options: &HeapOptions, info: &DeviceInfo) -> Result<Layout, Failure> {
    let budget = info.heap.budget_bytes;
    if wanted > budget {
        let (wanted, budget) = size::apart(wanted, budget);
        return Err(Failure::TooLarge(format!(
            "a heap of {wanted} is more than {} may give: {budget} of {} ({})",
            info.name,
            Bytes(info.heap.bytes),
            info.heap.budget_from,
        )));
    }
    let heap = wanted / PAGE * PAGE;
    if heap == 0 {
        return Err(Failure::Usage(format!("a heap of {} is less than one page of {}", Bytes(wanted), Bytes(PAGE))));
    }
    let most = options.object.unwrap_or(u64::MAX).min(info.max_object_bytes);
    if most < PAGE {
        return Err(Failure::Usage(format!("a memory object of {} is less than one page", Bytes(most))));
    }
    let object = 1 << most.ilog2();
    if heap.div_ceil(object) > MOST_OBJECTS {
        let text = format!("{} in objects of {} is more than {MOST_OBJECTS} objects", Bytes(heap), Bytes(object));
        return Err(Failure::Usage(text));
    }
    let objects = (0..heap).step_by(object as usize).map(|start| object.min(heap - start)).collect();
    Ok(Layout { objects, staging: 0, views: false })
}

/// Whether there is room for all of it: the heap in its place, and the staging memory in its own or beside the heap.
pub(crate) fn fits(layout: &Layout, info: &DeviceInfo) -> Result<(), Failure> {
    host::room_for(layout.staging)?;
    let Some(staging) = info.staging_type(layout.staging) else { return Ok(()) };
    let heap: u64 = layout.objects.iter().sum();
    let (both, budget) = (heap + layout.staging, info.heap.budget_bytes);
    if staging.map_err(Failure::TooLarge)?.heap == info.heap.index && both > budget {
        let (both, budget) = size::apart(both, budget);
        let (heap, staging) = (Bytes(heap), Bytes(layout.staging));
        return Err(Failure::TooLarge(format!(
            "a heap of {heap} and {staging} for copies, which {} has in one place, are {both}: more than it may give, {budget}",
            info.name
        )));
    }
    Ok(())
}

/// Drivers bound the number of memory objects in the low thousands.
const MOST_OBJECTS: u64 = 1024;

/// The largest order that the largest of these objects holds.
pub(crate) fn largest_order(layout: &Layout) -> Order {
    layout.objects.iter().filter_map(|bytes| Order::fitting(bytes / PAGE)).max().unwrap_or(Order::ZERO)
}

/// An order that the user gave by this option, if such a folio is possible at all.
pub(crate) fn order_within(option: &str, order: u32, possible: Order) -> Result<Order, Failure> {
    match Order::new(order) {
        Ok(order) if order <= possible => Ok(order),
        _ => Err(Failure::Usage(format!("{option}: order {order} is beyond the largest that is possible here, {possible}"))),
    }
}

/// The ranges that a device's memory objects are.
pub(crate) fn ranges(device: &dyn Device) -> Vec<PhysRange> {
    let range = |(index, bytes): (usize, &u64)| PhysRange { start: Phys((index as u64) << OBJECT_SHIFT), pages: bytes / PAGE };
    device.objects().iter().enumerate().map(range).collect()
}

/// The pgmap over a device's memory objects.
pub(crate) struct Heap {
    pgmap: Pgmap<'static, HeapOps>,
}

impl Heap {
    /// Makes the pgmap: range `n` is memory object `n`.
    pub(crate) fn new(device: &dyn Device) -> Result<Heap, Failure> {
        let ranges = ranges(device);
        let ops = HeapOps { left: [const { AtomicU64::new(0) }; _] };
        let pgmap = Pgmap::new(&Params::new(&ranges), ops).map_err(|error| Failure::Heap(error.to_string()))?;
        Ok(Heap { pgmap })
    }

    /// The allocator itself.
    pub(crate) fn pgmap(&self) -> &Pgmap<'static, HeapOps> {
        &self.pgmap
    }

    /// Where a folio's bytes are.
    pub(crate) fn piece(&self, folio: &HeapFolio<'_>) -> Result<Piece, Failure> {
        self.piece_at(folio.offset(), folio.order().pages()).ok_or_else(|| Failure::Heap("a folio without an address".into()))
    }

    /// Where the bytes of these pages are, which lie in one folio: the only place where an offset becomes an address.
    pub(crate) fn piece_at(&self, first: Offset, pages: u64) -> Option<Piece> {
        let Phys(address) = self.pgmap.phys(first)?;
        let (object, start) = (address >> OBJECT_SHIFT, address & ((1 << OBJECT_SHIFT) - 1));
        Some(Piece { memory: Memory::Object(object as usize), start, bytes: pages * PAGE })
    }

    /// How many folios have left service, by order up to the largest that there was.
    pub(crate) fn folios_by_order(&self) -> Vec<u64> {
        let left: Vec<u64> = self.pgmap.ops().left.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let orders = left.iter().rposition(|&count| count > 0).map_or(0, |largest| largest + 1);
        left[..orders].to_vec()
    }

    /// How many pages are not idle; the books are checked on the way.
    pub(crate) fn pages_in_service(&self) -> Result<u64, Failure> {
        let census = self.pgmap.validate().map_err(|error| Failure::Heap(error.to_string()))?;
        Ok(self.pgmap.pages() - census.idle)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::HeapInfo;
    use crate::host::Host;

    fn planned(heap: u64, object: Option<u64>, info: &DeviceInfo) -> Result<Layout, Failure> {
        plan(heap, &HeapOptions { heap: Some(heap), object }, info)
    }

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn req_82_a_heap_is_cut_into_memory_objects_of_one_power_of_two() {
        let info = host::describe();
        let layout = planned(10 * MIB, Some(5 * MIB), &info).unwrap();
        assert_eq!(layout.objects, [4 * MIB, 4 * MIB, 2 * MIB]);
        assert_eq!(largest_order(&layout).get(), 10);
        assert_eq!(planned(PAGE + 1, None, &info).unwrap().objects, [PAGE]);
        let mut card = DeviceInfo { max_object_bytes: 4_292_870_144, ..info };
        card.heap.budget_bytes = 100 * GIB;
        assert_eq!(planned(8 * GIB, None, &card).unwrap().objects, [2 * GIB; 4]);
    }

    #[test]
    fn a_heap_that_cannot_be_is_refused() {
        let info = host::describe();
        for (heap, object) in [(1, None), (PAGE, Some(1)), (4 << 30, Some(PAGE))] {
            let refused = planned(
                heap,
                object,
                &DeviceInfo { heap: HeapInfo { budget_bytes: 8 << 30, ..info.heap.clone() }, ..info.clone() },
            );
            assert!(matches!(refused, Err(Failure::Usage(_))), "{heap} in {object:?}");
        }
        assert!(matches!(planned(u64::MAX, None, &info), Err(Failure::TooLarge(_))));
    }

    #[test]
    fn every_folio_lies_inside_one_object_and_no_two_share_a_byte() {
        let layout = Layout { objects: vec![3 * PAGE, 8 * PAGE, PAGE], staging: PAGE, views: false };
        let device = Host::open(&layout).unwrap();
        let heap = Heap::new(&device).unwrap();
        let mut folios = Vec::new();
        for order in [2, 1, 0, 0, 0, 0, 0, 0, 0, 0] {
            folios.extend(heap.pgmap().alloc_folio(Order::new(order).unwrap()));
        }
        let mut seen = vec![vec![0; 3], vec![0; 8], vec![0; 1]];
        for folio in &folios {
            let piece = heap.piece(folio).unwrap();
            let Memory::Object(object) = piece.memory else { unreachable!() };
            for page in piece.start / PAGE..piece.end() / PAGE {
                seen[object][page as usize] += 1;
            }
        }
        assert!(seen.iter().flatten().all(|&times| times == 1), "{seen:?}");
        assert_eq!(heap.pages_in_service().unwrap(), 12);
        drop(folios);
        assert_eq!(heap.pages_in_service().unwrap(), 0);
    }
}
