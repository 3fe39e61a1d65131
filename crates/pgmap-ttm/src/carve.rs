//! Carve-outs: device pages that no object ever stands in, such as firmware or what the display scans out.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use pgmap_alloc::{Block, Offset, Order, Pgmap, PgmapOps, RequestError};
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
        // A block that would cross from one physical range into the next is tried in halves.
        let mut largest = Order::MAX;
        while page < window.last {
            let order = largest_run(page, window.last).min(largest);
            match pgmap.request_block(Offset::new(page), order) {
                Ok(block) => {
                    blocks.push(block);
                    page += order.pages();
                    largest = Order::MAX;
                }
                Err(RequestError::CrossesRange) if order > Order::ZERO => {
                    largest = Order::fitting(order.pages() / 2).unwrap_or(Order::ZERO);
                }
                Err(RequestError::OutOfRange | RequestError::CrossesRange | RequestError::Overflow) => {
                    return Err(CarveError::OutOfRange { page });
                }
                Err(_) => return Err(CarveError::InUse { page }),
            }
        }
        self.tags.insert(window.first..window.last, (tag, window.first));
        self.blocks.insert(window.first, blocks);
        Ok(())
    }
}

/// The largest naturally aligned run that starts at `page` and ends at or before `last`.
fn largest_run(page: u64, last: u64) -> Order {
    let fitting = Order::fitting(last - page).unwrap_or(Order::ZERO);
    let aligned = Order::new(page.trailing_zeros()).unwrap_or(Order::MAX);
    fitting.min(aligned)
}
