//! The cards: heaps, types of memory, families of queues and limits as their drivers tell them.

use ash::vk;

/// What a card has.
pub(crate) struct Card {
    pub(crate) name: &'static str,
    pub(crate) kind: vk::PhysicalDeviceType,
    /// Sizes, and whether it is the device's own.
    pub(crate) heaps: &'static [(u64, bool)],
    /// Properties and heap of each type.
    pub(crate) types: &'static [(u32, u32)],
    pub(crate) families: &'static [u32],
    pub(crate) largest_allocation: u64,
    pub(crate) largest_buffer: u64,
    pub(crate) granule: u64,
    /// Whether the driver tells of a budget, where there is the extension.
    pub(crate) tells_budget: bool,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const LOCAL: u32 = 1;
const VISIBLE: u32 = 1 << 1;
const COHERENT: u32 = 1 << 2;
const CACHED: u32 = 1 << 3;
const LAZY: u32 = 1 << 4;
const PROTECTED: u32 = 1 << 5;
/// Device-coherent and uncached: what AMD's extension has, which nobody turns on.
const AMD: u32 = 1 << 6 | 1 << 7;
const SEEN: u32 = VISIBLE | COHERENT;
/// Types that only a feature makes usable.
const GUARDED: u32 = LAZY | PROTECTED | AMD;

const DRAW: u32 = 1;
const COMPUTE: u32 = 1 << 1;
const COPY: u32 = 1 << 2;
const BIND: u32 = 1 << 3;
const DECODE: u32 = 1 << 5;

impl Card {
    /// The one that the environment asks for.
    pub(crate) fn wanted() -> Option<&'static Card> {
        let name = std::env::var("FAKE_CARD").ok()?;
        CARDS.iter().find(|card| card.name == name)
    }

    pub(crate) fn is_coherent(&self, index: u32) -> bool {
        self.types[index as usize].0 & COHERENT != 0
    }

    pub(crate) fn is_visible(&self, index: u32) -> bool {
        self.types[index as usize].0 & VISIBLE != 0
    }

    /// Whether a type is of a feature that is off.
    pub(crate) fn is_guarded(&self, index: u32) -> bool {
        self.types[index as usize].0 & GUARDED != 0
    }

    /// The types that a buffer takes. Those of features are among them, as drivers have it: nobody should fall for them.
    pub(crate) fn buffer_types(&self, sparse: bool) -> u32 {
        let takes = |flags: u32| flags != 0 && !(sparse && self.granule > 4096 && flags & VISIBLE != 0);
        (0..).zip(self.types).filter(|(_, kind)| takes(kind.0)).fold(0, |bits, (index, _)| bits | 1 << index)
    }

    pub(crate) fn computes(&self, family: u32) -> bool {
        self.families[family as usize] & COMPUTE != 0
    }
}

const DISCRETE: vk::PhysicalDeviceType = vk::PhysicalDeviceType::DISCRETE_GPU;

pub(crate) static CARDS: [Card; 8] = [
    Card {
        name: "nvidia",
        kind: DISCRETE,
        heaps: &[(140 * GIB, true), (96 * GIB, false), (246 * MIB, true)],
        types: &[(0, 1), (LOCAL, 0), (SEEN, 1), (SEEN | CACHED, 1), (LOCAL | SEEN, 2)],
        families: &[DRAW | COMPUTE | COPY | BIND, COPY | BIND, COMPUTE | COPY | BIND, COPY | BIND | DECODE],
        largest_allocation: 4_292_870_144,
        largest_buffer: 1 << 40,
        granule: 64 << 10,
        tells_budget: true,
    },
    Card {
        name: "amd",
        kind: DISCRETE,
        heaps: &[(16 * GIB - 256 * MIB, true), (12 * GIB, false), (256 * MIB, true)],
        types: &[
            (LOCAL | AMD, 0),
            (LOCAL, 0),
            (SEEN, 1),
            (LOCAL | SEEN, 2),
            (SEEN | CACHED | AMD, 1),
            (SEEN | CACHED, 1),
            (LOCAL | SEEN | AMD, 2),
        ],
        families: &[DRAW | COMPUTE | COPY, COMPUTE | COPY, COPY, BIND],
        largest_allocation: 0xffff_fffc,
        largest_buffer: 0xffff_fffc << 2,
        granule: 4096,
        tells_budget: true,
    },
    Card {
        name: "amd-large-bar",
        kind: DISCRETE,
        heaps: &[(16 * GIB, true), (12 * GIB, false)],
        types: &[(LOCAL, 0), (SEEN, 1), (LOCAL | SEEN, 0), (SEEN | CACHED, 1)],
        families: &[DRAW | COMPUTE | COPY, COMPUTE | COPY, BIND],
        largest_allocation: 0xffff_fffc,
        largest_buffer: 0xffff_fffc << 2,
        granule: 4096,
        tells_budget: true,
    },
    Card {
        name: "arc",
        kind: DISCRETE,
        heaps: &[(16 * GIB, true), (12 * GIB, false)],
        types: &[(LOCAL | PROTECTED, 0), (LOCAL | LAZY, 0), (LOCAL, 0), (SEEN | CACHED, 1), (LOCAL | SEEN, 0)],
        families: &[DRAW | COMPUTE | COPY | BIND, COMPUTE | COPY | BIND, COPY | BIND],
        largest_allocation: 0xffff_ffff,
        largest_buffer: 0xffff_ffff,
        granule: 64 << 10,
        tells_budget: false,
    },
    Card {
        name: "integrated",
        kind: vk::PhysicalDeviceType::INTEGRATED_GPU,
        heaps: &[(12 * GIB, true)],
        types: &[(LOCAL | SEEN, 0), (LOCAL | SEEN | CACHED, 0)],
        families: &[DRAW | COMPUTE | COPY | BIND],
        largest_allocation: 4 * GIB - 1,
        largest_buffer: 4 * GIB - 1,
        granule: 4096,
        tells_budget: true,
    },
    Card {
        name: "non-coherent",
        kind: DISCRETE,
        heaps: &[(8 * GIB, true), (12 * GIB, false)],
        types: &[(LOCAL, 0), (SEEN, 1), (VISIBLE | CACHED, 1)],
        families: &[DRAW | COMPUTE | COPY | BIND, COPY | BIND],
        largest_allocation: 2 * GIB,
        largest_buffer: 4 * GIB - 1,
        granule: 4096,
        tells_budget: true,
    },
    Card {
        name: "uncached",
        kind: DISCRETE,
        heaps: &[(8 * GIB, true), (12 * GIB, false)],
        // What is cached is of a feature that is off.
        types: &[(LOCAL, 0), (SEEN, 1), (SEEN | CACHED | AMD, 1)],
        families: &[COMPUTE | COPY | BIND],
        // Small, so that staging memory is made of parts.
        largest_allocation: 5 * MIB,
        largest_buffer: 4 * GIB - 1,
        granule: 4096,
        tells_budget: true,
    },
    Card {
        name: "copy-only",
        kind: DISCRETE,
        heaps: &[(8 * GIB, true), (12 * GIB, false)],
        types: &[(LOCAL, 0), (SEEN | CACHED, 1)],
        families: &[COPY | BIND],
        largest_allocation: 2 * GIB,
        largest_buffer: 4 * GIB - 1,
        granule: 4096,
        tells_budget: true,
    },
];
