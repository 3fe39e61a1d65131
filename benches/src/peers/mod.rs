//! One adapter per peer, each a page long: how the peer is built and how its own calls map to [`Hand`](crate::peer::Hand).

pub mod bitmap;
pub mod buddy_system;
pub mod floor;
pub mod gpu_alloc;
pub mod in_bulk;
pub mod nothing;
pub mod offset_allocator;
pub mod ours;
pub mod per_cpu;
#[cfg(feature = "vma")]
pub mod vma;
