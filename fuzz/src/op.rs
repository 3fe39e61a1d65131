//! What a fuzzer may ask for.

use arbitrary::Arbitrary;
use pgmap_alloc::{Phys, PhysRange};

/// A pgmap and what is done to it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    /// What the pgmap is made of.
    pub shape: Shape,
    /// What is done, in this order.
    pub ops: Vec<Op>,
}

/// A small pgmap with edges: several ranges, holes, sizes that are no power of two.
#[derive(Arbitrary, Debug)]
pub struct Shape {
    /// Tables of 64 entries instead of 512, so that a few thousand pages have three levels.
    pub small_tables: bool,
    /// The first range.
    pub first: RangeShape,
    /// Up to two more.
    pub more: [Option<RangeShape>; 2],
}

/// One range.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct RangeShape {
    /// Pages between the last range and this one.
    pub gap: u16,
    /// Its length in pages, less one.
    pub pages: u16,
}

impl Shape {
    /// Enough for every level, little enough for a slow model.
    const MOST_PAGES: u64 = 6_000;

    /// The ranges as a driver would give them; sound by construction.
    pub fn ranges(&self) -> Vec<PhysRange> {
        let mut end = 0;
        let shapes = [Some(self.first), self.more[0], self.more[1]];
        shapes
            .into_iter()
            .flatten()
            .map(|shape| {
                let start = end + u64::from(shape.gap);
                let pages = u64::from(shape.pages) % Shape::MOST_PAGES + 1;
                end = start + pages;
                PhysRange { start: Phys(start << 12), pages }
            })
            .collect()
    }
}

/// One call. Numbers are what they are: most are made to fit by [`Place`], some are wild on purpose.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Op {
    /// The pgmap picks the offset of a folio.
    AllocFolio(Size, Fate),
    /// The caller picks it.
    RequestFolio(Place, Size, Fate),
    /// The pgmap picks the offset of a block.
    AllocBlock(Size),
    /// The caller picks it.
    RequestBlock(Place, Size),
    /// One more reference to the folio at this head, if one is there.
    Get(Place),
    /// One more reference to the folio that covers this page.
    TryGet(Place),
    /// So many references less.
    Put(Place, u8),
    /// The block, or a part of one, comes back.
    FreeBlock(Place, Size),
    /// As `AllocFolio`, through one of the handles.
    LocalAlloc(bool, Size, Fate),
    /// One reference less, through one of the handles.
    LocalPut(bool, Place),
    /// A handle gives back all that it has at hand.
    LocalDrain(bool),
    /// What stands there?
    Lookup(Place),
    /// From now on nothing new.
    Kill,
    /// As far as a drain comes now.
    PollDrain,
    /// The whole state is compared, not only the answer.
    Validate,
}

/// A page.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    /// The head of what was taken as number `n`, modulo how much is taken.
    Taken(u8),
    /// A page of it behind its head.
    Tail(u8, u8),
    /// A page of the pgmap or of a hole, aligned to what is asked for.
    Aligned(u16),
    /// A page of the pgmap or of a hole.
    Page(u16),
    /// Any number at all.
    Wild(u64),
}

/// An order.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One that a small pgmap has.
    Small(u8),
    /// The order of what stands at the place, so that most frees fit.
    Same,
    /// Any order that can be named.
    Any(u8),
}

/// What the driver answers when the folio's last reference has been put.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its pages become idle.
    Release,
    /// They stay taken, as a block.
    Keep,
}
