//! Types of memory, and which of them meets a need: never out of a heap that is smaller than the need, never a type with a bit
//! that stands for a feature this program does not turn on, and of what is left the one with the fewest surprises.

use serde::{Serialize, Serializer};

use crate::device::{HeapDetails, TypeDetails};

/// What a type of memory can do, in Vulkan's bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties(pub(crate) u32);

impl Properties {
    pub(crate) const DEVICE_LOCAL: Properties = Properties(1);
    pub(crate) const HOST_VISIBLE: Properties = Properties(1 << 1);
    pub(crate) const HOST_COHERENT: Properties = Properties(1 << 2);
    pub(crate) const HOST_CACHED: Properties = Properties(1 << 3);

    /// The bits that any device may be asked for. All others (lazily allocated, protected, device-coherent, device-uncached, and
    /// whatever comes after them) belong to features that are off.
    const PLAIN: u32 = 0b1111;

    /// Every bit that has a name, in Vulkan's words.
    const WORDS: [(u32, &'static str); 9] = [
        (0, "device-local"),
        (1, "host-visible"),
        (2, "host-coherent"),
        (3, "host-cached"),
        (4, "lazily-allocated"),
        (5, "protected"),
        (6, "device-coherent"),
        (7, "device-uncached"),
        (8, "rdma-capable"),
    ];

    /// Whether it can do all of that.
    pub(crate) fn has(self, wanted: Properties) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// In words.
    pub(crate) fn words(self) -> Vec<&'static str> {
        Properties::WORDS.iter().filter(|(bit, _)| self.0 >> bit & 1 != 0).map(|(_, word)| *word).collect()
    }

    fn is_plain(self) -> bool {
        self.0 & !Properties::PLAIN == 0
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.words())
    }
}

/// What memory is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Folios: out of this heap, and out of no other.
    Folios { heap: u32 },
    /// Copies between host and device: whatever the host sees.
    Staging,
}

/// A type that meets a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Chosen {
    /// The type, and its heap, as the driver numbers them.
    #[serde(rename = "type")]
    pub(crate) index: u32,
    pub(crate) heap: u32,
    pub(crate) properties: Properties,
}

/// The type to take so many bytes of, out of those whose bits are set in `allowed`; none where no heap that is large enough has one.
pub(crate) fn choose(heaps: &[HeapDetails], allowed: u32, need: Need, bytes: u64) -> Option<Chosen> {
    let all = (0..).zip(heaps).flat_map(|(heap, details)| details.types.iter().map(move |kind| (heap, details, kind)));
    let fit = all.filter(|(heap, details, kind)| {
        let asked = match need {
            Need::Folios { heap: wanted } => {
                let local = kind.properties.has(Properties::DEVICE_LOCAL) || !details.device_local;
                *heap == wanted && local && bytes <= details.bytes
            }
            Need::Staging => kind.properties.has(Properties::HOST_VISIBLE) && bytes <= details.may_take(),
        };
        asked && allowed >> kind.index & 1 != 0 && kind.properties.is_plain()
    });
    // Of equals the first: drivers list the better type first.
    let best = fit.max_by_key(|(_, _, kind)| (score(need, kind), u32::MAX - kind.index));
    best.map(|(heap, _, kind)| Chosen { index: kind.index, heap, properties: kind.properties })
}

/// The more of it, the better; and then the fewer bits that nobody asked for.
fn score(need: Need, kind: &TypeDetails) -> (u32, u32) {
    let has = |wanted| u32::from(kind.properties.has(wanted));
    let wanted = match need {
        // Memory that the host sees through a window is scarce on some cards: that is for others.
        Need::Folios { .. } => 1 - has(Properties::HOST_VISIBLE),
        // Not out of the device's own memory. Cached, because the host reads it as often as it writes, and reading memory that is not
        // takes ages; that copies have to be made visible by hand where it is not coherent costs next to nothing.
        Need::Staging => {
            4 * (1 - has(Properties::DEVICE_LOCAL)) + 2 * has(Properties::HOST_CACHED) + has(Properties::HOST_COHERENT)
        }
    };
    (wanted, u32::BITS - kind.properties.0.count_ones())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;
    // The bits by their first letters: local, visible, coherent, cached.
    const L: u32 = 1;
    const LVC: u32 = 0b111;
    const LVCA: u32 = 0b1111;
    const VC: u32 = 0b110;
    const VCA: u32 = 0b1110;
    const VA: u32 = 0b1010;

    /// Heaps of these sizes, and whether they are the device's own; types as (bits, heap).
    fn card(sizes: &[(u64, bool)], types: &[(u32, u32)]) -> Vec<HeapDetails> {
        let heap = |(number, &(bytes, device_local)): (u32, &(u64, bool))| HeapDetails {
            bytes,
            budget_bytes: None,
            usage_bytes: None,
            device_local,
            used: false,
            types: (0..)
                .zip(types)
                .filter(|(_, kind)| kind.1 == number)
                .map(|(index, kind)| TypeDetails { index, properties: Properties(kind.0) })
                .collect(),
        };
        (0..).zip(sizes).map(heap).collect()
    }

    fn both(card: &[HeapDetails], folios: u64, staging: u64) -> (Option<u32>, Option<u32>) {
        let index = |need, bytes| choose(card, u32::MAX, need, bytes).map(|chosen| chosen.index);
        (index(Need::Folios { heap: 0 }, folios), index(Need::Staging, staging))
    }

    #[test]
    fn req_82_each_kind_of_card_gives_the_type_that_surprises_least() {
        let nvidia =
            card(&[(140 * GIB, true), (96 * GIB, false), (246 * MIB, true)], &[(0, 1), (L, 0), (VC, 1), (VCA, 1), (LVC, 2)]);
        assert_eq!(both(&nvidia, GIB, GIB), (Some(1), Some(3)));
        let amd_bits = [(L, 0), (VC, 1), (LVC, 2), (VCA, 1), (L | 0xc0, 0), (VC | 0xc0, 1), (LVC | 0xc0, 2), (VCA | 0xc0, 1)];
        let amd = card(&[(16 * GIB, true), (12 * GIB, false), (256 * MIB, true)], &amd_bits);
        assert_eq!(both(&amd, GIB, GIB), (Some(0), Some(3)));
        let large_bar = card(&[(16 * GIB, true), (12 * GIB, false)], &[(L, 0), (VC, 1), (LVC, 0), (VCA, 1)]);
        assert_eq!(both(&large_bar, GIB, GIB), (Some(0), Some(3)));
        let protected_first = card(&[(16 * GIB, true), (12 * GIB, false)], &[(L | 32, 0), (L | 16, 0), (L, 0), (VCA, 1), (LVC, 0)]);
        assert_eq!(both(&protected_first, GIB, GIB), (Some(2), Some(3)));
        let integrated = card(&[(8 * GIB, true)], &[(LVC, 0), (LVCA, 0)]);
        assert_eq!(both(&integrated, GIB, GIB), (Some(0), Some(1)));
        let not_coherent = card(&[(8 * GIB, true), (8 * GIB, false)], &[(L, 0), (VC, 1), (VA, 1)]);
        assert_eq!(both(&not_coherent, GIB, GIB), (Some(0), Some(2)));
    }

    #[test]
    fn req_82_a_heap_that_is_too_small_and_a_type_with_an_unknown_bit_are_never_taken() {
        let small = card(&[(16 * GIB, true), (GIB, false), (256 * MIB, true)], &[(L, 0), (VCA, 1), (LVC, 2)]);
        assert_eq!(both(&small, 17 * GIB, 900 * MIB), (None, None), "a quarter of a heap is for others");
        let odd = card(&[(16 * GIB, true), (16 * GIB, false)], &[(L | 1 << 30, 0), (VCA | 64, 1), (VC, 1)]);
        assert_eq!(both(&odd, GIB, GIB), (None, Some(2)));
        assert_eq!(choose(&odd, 0b011, Need::Staging, GIB), None, "the buffer does not take it");
    }

    #[test]
    fn the_users_heap_may_be_the_hosts() {
        let nvidia = card(&[(16 * GIB, true), (96 * GIB, false)], &[(0, 1), (L, 0), (VC, 1), (VCA, 1)]);
        let chosen = |allowed| choose(&nvidia, allowed, Need::Folios { heap: 1 }, GIB).map(|chosen| chosen.index);
        assert_eq!((chosen(u32::MAX), chosen(!1)), (Some(0), Some(2)));
    }
}
