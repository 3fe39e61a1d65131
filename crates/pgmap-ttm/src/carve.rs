//! Carve-outs: device pages that no object ever stands in, such as firmware or what the display scans out.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use pgmap_alloc::{Block, Extent, Offset, Pgmap, PgmapOps};
use rangemap::RangeMap;

use crate::error::CarveError;
use crate::place::Window;

/// The carve-outs of one pgmap: blocks, so that the pgmap itself hands none of their pages out.
pub(crate) struct CarveOuts<'p, O: PgmapOps<Data = usize>> {
    /// The tag of each, and its first page, which keeps neighbours with the same tag apart.
    pub(crate) tags: RangeMap<u64, (u32, u64)>,
    pub(crate) blocks: BTreeMap<u64, Vec<Block<'p, O, 8>>>,
}

impl<O: PgmapOps<Data = usize>> Default for CarveOuts<'_, O> {
    fn default() -> Self {
        CarveOuts { tags: RangeMap::new(), blocks: BTreeMap::new() }
    }
}

impl<'p, O: PgmapOps<Data = usize>> CarveOuts<'p, O> {
    pub(crate) fn pages(&self) -> u64 {
        self.tags.iter().map(|(range, _)| range.end - range.start).sum()
    }

    pub(crate) fn tag(&self, page: u64) -> Option<u32> {
        self.tags.get(&page).map(|(tag, _)| *tag)
    }

    pub(crate) fn clear(&mut self) {
        *self = CarveOuts::default();
    }

    /// Takes all pages of the window, or none: blocks taken before a refusal are freed by their drop.
    pub(crate) fn carve(&mut self, pgmap: &'p Pgmap<'p, O>, window: Window, tag: u32) -> Result<(), CarveError> {
        let mut blocks = Vec::new();
        let mut page = window.first;
        while page < window.last {
            // A window may reach from one range into the next; a block may not.
            let here = Offset::new(page);
            let range = pgmap.ranges().find(|range| (range.first..range.end()).contains(&here));
            let range = range.ok_or(CarveError::OutOfRange { page })?;
            let end = range.end().min(Offset::new(window.last));
            let part = Extent::between(here, end).map_err(|_| CarveError::EmptyWindow)?;
            for run in part.runs(pgmap.largest_order()) {
                let block = pgmap.request_block(run.start(), run.order());
                blocks.push(block.map_err(|_| CarveError::InUse { page: run.start().get() })?);
            }
            page = end.get();
        }
        self.tags.insert(window.first..window.last, (tag, window.first));
        self.blocks.insert(window.first, blocks);
        Ok(())
    }
}
