//! Single pages in bulk, as the pools of `pgmap-alloc` hand them out: as a list of offsets, or by the word.

use pgmap_alloc::{Offset, Order, PageWord};

use crate::peer::Peer;
use crate::peers::ours::{Pool, PoolHandle, Tight};
use crate::peers::per_cpu::PoolPerCpu;

/// A peer with bulk calls of its own. They say whether they did it.
pub trait InBulk: Peer {
    /// A page for each place of `out`.
    fn alloc_many(hand: &mut Self::Hand<'_>, out: &mut [Offset]) -> bool;

    /// All of them back.
    fn free_many(hand: &mut Self::Hand<'_>, pages: &[Offset]) -> bool;

    /// Exactly `pages` pages; in how many words.
    fn alloc_words(hand: &mut Self::Hand<'_>, pages: u64, out: &mut [PageWord]) -> Option<usize>;

    /// All of them back.
    fn free_words(hand: &mut Self::Hand<'_>, words: &[PageWord]) -> bool;
}

/// The verbs have the same names on a pool and on a handle.
macro_rules! in_bulk {
    ($peer:ty, $hand:ident => $calls:expr) => {
        impl InBulk for $peer {
            fn alloc_many($hand: &mut Self::Hand<'_>, out: &mut [Offset]) -> bool {
                $calls.alloc_many(Order::ZERO, out).is_ok()
            }

            fn free_many($hand: &mut Self::Hand<'_>, pages: &[Offset]) -> bool {
                $calls.free_many(Order::ZERO, pages).is_ok()
            }

            fn alloc_words($hand: &mut Self::Hand<'_>, pages: u64, out: &mut [PageWord]) -> Option<usize> {
                $calls.alloc_words(pages, out).ok().map(<[PageWord]>::len)
            }

            fn free_words($hand: &mut Self::Hand<'_>, words: &[PageWord]) -> bool {
                $calls.free_words(words).is_ok()
            }
        }
    };
}

in_bulk!(PoolHandle, hand => hand);
in_bulk!(PoolPerCpu, hand => hand.pool());
in_bulk!(Pool, hand => hand.pool());
in_bulk!(Tight, hand => hand.pool());
