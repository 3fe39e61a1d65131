//! Where objects are kept: in folios of the pgmap, in runs of its pool, or with a peer.

use std::time::{Duration, Instant};

use pgmap_alloc::fit::best_fit;
use pgmap_alloc::{Extent, ExtentParams, GenPool, Mode, Order, Params, RunState};

use crate::device::Device;
use crate::failure::Failure;
use crate::heap::{self, Heap, HeapFolio, PAGE};
use crate::peers::Holding;
use crate::pieces::{Memory, Piece, push_merged};
use crate::report::Gaps;

/// Idle memory is scattered where it has no such length, aligned.
const LARGE: u64 = PAGE << Order::PMD.get();

/// A way to keep objects.
pub(super) trait Store {
    /// An object that is kept.
    type Object;

    /// Room for so many bytes; none where it refuses.
    fn take(&mut self, device: &mut dyn Device, bytes: u64) -> Result<Option<Self::Object>, Failure>;

    /// Where the bytes of an object are: so many of them.
    fn pieces(&self, object: &Self::Object, bytes: u64) -> Result<Vec<Piece>, Failure>;

    /// Gives an object back; nothing touches it any more.
    fn put(&mut self, device: &mut dyn Device, object: Self::Object) -> Result<(), Failure>;

    /// What it has at this moment.
    fn holding(&self, device: &dyn Device) -> Result<Kept, Failure>;

    /// Time spent inside the allocator so far.
    fn time(&self, device: &dyn Device) -> Duration;
}

/// What a store has.
pub(super) struct Kept {
    /// Taken from the device.
    pub(super) held_bytes: u64,
    /// Given to objects, with what is rounded up.
    pub(super) placed_bytes: u64,
    /// What is idle of the memory that objects share; none where each has memory of its own.
    pub(super) gaps: Option<Gaps>,
}

/// Folios of the pgmap: as few as it takes, scattered where it must be.
pub(super) struct Folios<'h> {
    pub(super) heap: &'h Heap,
    pub(super) time: Duration,
}

impl<'h> Folios<'h> {
    fn folios(&self, bytes: u64) -> Option<Vec<HeapFolio<'h>>> {
        let mut folios = Vec::new();
        let (mut left, mut most) = (bytes.div_ceil(PAGE), Order::MAX);
        while left > 0 {
            let order = Order::fitting(left)?.min(most);
            match self.heap.pgmap().alloc_folio(order) {
                Ok(folio) => {
                    left -= order.pages();
                    folios.push(folio);
                }
                // Something smaller may do; if not even a page is idle, the folios that were taken are put.
                Err(_) => most = Order::new(order.get().checked_sub(1)?).ok()?,
            }
        }
        Some(folios)
    }
}

impl<'h> Store for Folios<'h> {
    type Object = Vec<HeapFolio<'h>>;

    fn take(&mut self, _: &mut dyn Device, bytes: u64) -> Result<Option<Self::Object>, Failure> {
        let start = Instant::now();
        let folios = self.folios(bytes);
        self.time += start.elapsed();
        Ok(folios)
    }

    fn pieces(&self, object: &Self::Object, bytes: u64) -> Result<Vec<Piece>, Failure> {
        let mut pieces = Vec::new();
        let mut left = bytes;
        for folio in object {
            let piece = self.heap.piece(folio)?;
            let bytes = piece.bytes.min(left);
            push_merged(&mut pieces, Piece { bytes, ..piece });
            left -= bytes;
        }
        Ok(pieces)
    }

    fn put(&mut self, _: &mut dyn Device, object: Self::Object) -> Result<(), Failure> {
        let start = Instant::now();
        drop(object);
        self.time += start.elapsed();
        Ok(())
    }

    fn holding(&self, _: &dyn Device) -> Result<Kept, Failure> {
        let pgmap = self.heap.pgmap();
        let idle = pgmap.snapshot().filter(|run| run.state == RunState::Idle);
        Ok(kept(pgmap.pages(), idle.map(|run| (run.start.get(), run.pages))))
    }

    fn time(&self, _: &dyn Device) -> Duration {
        self.time
    }
}

/// Contiguous runs of the pool under the pgmap, without folios, each in the smallest gap that holds it: as the peers do.
pub(super) struct Runs<'h> {
    heap: &'h Heap,
    pool: GenPool<'static>,
    time: Duration,
}

impl<'h> Runs<'h> {
    pub(super) fn new(heap: &'h Heap, device: &dyn Device) -> Result<Runs<'h>, Failure> {
        // The same ranges in the same order: its offsets are the pgmap's.
        let pool = GenPool::new(&Params::new(&heap::ranges(device))).map_err(|error| Failure::Heap(error.to_string()))?;
        Ok(Runs { heap, pool, time: Duration::ZERO })
    }
}

impl Store for Runs<'_> {
    type Object = Extent;

    fn take(&mut self, _: &mut dyn Device, bytes: u64) -> Result<Option<Extent>, Failure> {
        let start = Instant::now();
        let extent = self.pool.alloc_extent(&ExtentParams::new(bytes.div_ceil(PAGE)).by(Mode::BottomUp(best_fit)));
        self.time += start.elapsed();
        Ok(extent.ok())
    }

    fn pieces(&self, object: &Extent, bytes: u64) -> Result<Vec<Piece>, Failure> {
        let piece = self.heap.piece_at(object.start(), object.pages());
        let piece = piece.ok_or_else(|| Failure::Heap("an extent without an address".into()))?;
        Ok(vec![Piece { bytes, ..piece }])
    }

    fn put(&mut self, _: &mut dyn Device, object: Extent) -> Result<(), Failure> {
        let start = Instant::now();
        let freed = self.pool.free_extent(object);
        self.time += start.elapsed();
        freed.map_err(|error| Failure::Heap(error.to_string()))
    }

    fn holding(&self, _: &dyn Device) -> Result<Kept, Failure> {
        Ok(kept(self.pool.size(), self.pool.gaps_in(Extent::ALL).map(|gap| (gap.start().get(), gap.pages()))))
    }

    fn time(&self, _: &dyn Device) -> Duration {
        self.time
    }
}

/// Of so many pages, with these idle ones: where each gap begins, and how long it is.
fn kept(pages: u64, gaps: impl Iterator<Item = (u64, u64)>) -> Kept {
    let gaps = Gaps::of(gaps.map(|(first, pages)| first * PAGE..(first + pages) * PAGE), LARGE);
    Kept { held_bytes: pages * PAGE, placed_bytes: pages * PAGE - gaps.idle, gaps: Some(gaps) }
}

/// Buffers that a peer has made room for: the device knows them.
pub(super) struct Lent {
    /// Bytes of the blocks that they share, where they do: all of them together, and each.
    pub(super) heap: u64,
    pub(super) block: u64,
}

impl Store for Lent {
    type Object = usize;

    fn take(&mut self, device: &mut dyn Device, bytes: u64) -> Result<Option<usize>, Failure> {
        Ok(device.take(bytes)?)
    }

    fn pieces(&self, object: &usize, bytes: u64) -> Result<Vec<Piece>, Failure> {
        Ok(vec![Piece { memory: Memory::Lent(*object), start: 0, bytes }])
    }

    fn put(&mut self, device: &mut dyn Device, object: usize) -> Result<(), Failure> {
        Ok(device.put(object)?)
    }

    fn holding(&self, device: &dyn Device) -> Result<Kept, Failure> {
        let Holding { held_bytes, placed_bytes, spans } = device.holding();
        let gaps = spans.map(|spans| Gaps::between(spans, self.heap, self.block, LARGE));
        Ok(Kept { held_bytes, placed_bytes, gaps })
    }

    fn time(&self, device: &dyn Device) -> Duration {
        device.allocator_time()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::Layout;
    use crate::host::Host;

    #[test]
    fn folios_are_scattered_where_they_must_be_and_refused_only_where_there_are_no_pages() {
        let mut device = Host::open(&Layout { objects: vec![8 * PAGE], staging: PAGE, views: false }).unwrap();
        let heap = Heap::new(&device).unwrap();
        let mut store = Folios { heap: &heap, time: Duration::ZERO };
        let mut pages: Vec<_> = (0..8).map(|_| store.take(&mut device, PAGE).unwrap().unwrap()).collect();
        pages.sort_by_key(|folios| folios[0].offset());
        for page in [6, 4, 2, 0] {
            store.put(&mut device, pages.swap_remove(page)).unwrap();
        }
        assert!(store.take(&mut device, 4 * PAGE + 1).unwrap().is_none());
        assert_eq!(store.holding(&device).unwrap().placed_bytes, 4 * PAGE, "what was refused has left nothing behind");
        let scattered = store.take(&mut device, 3 * PAGE + 1).unwrap().unwrap();
        let pieces = store.pieces(&scattered, 3 * PAGE + 1).unwrap();
        assert_eq!(pieces.iter().map(|piece| piece.bytes).collect::<Vec<_>>(), [PAGE, PAGE, PAGE, 1]);
        assert_eq!(store.holding(&device).unwrap().gaps.unwrap().idle, 0);
    }
}
