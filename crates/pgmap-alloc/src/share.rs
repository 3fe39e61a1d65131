//! Share counts: one folio mapped by several files.
//!
//! They live where the driver's data lives, so a pgmap that shares nothing pays nothing for them.

use crate::data::DriverData;
use crate::error::ShareError;
use crate::folio::Folio;
use crate::memory_type::Capability;
use crate::ops::PgmapOps;
use crate::order::Order;

/// Driver data with a share count beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// The driver's own.
    pub key: u32,
    shares: u32,
}

impl Shared {
    /// This key, shared by nobody.
    pub const fn new(key: u32) -> Shared {
        Shared { key, shares: 0 }
    }

    /// How many files share the folio.
    pub const fn shares(self) -> u32 {
        self.shares
    }
}

impl DriverData for Shared {
    fn to_bits(self) -> u64 {
        u64::from(self.shares) << 32 | u64::from(self.key)
    }

    fn from_bits(bits: u64) -> Shared {
        Shared { key: bits as u32, shares: (bits >> 32) as u32 }
    }
}

impl<O: PgmapOps<Data = Shared>, const WORDS: usize> Folio<'_, O, WORDS> {
    /// One more file shares the folio, which the caller takes to be of `order`; says how many do now. Lock-free.
    pub fn share(&self, order: Order) -> Result<u32, ShareError> {
        self.change_shares(order, |shares| shares.checked_add(1).ok_or(ShareError::TooMany))
    }

    /// One file fewer shares the folio; says how many still do. Lock-free.
    pub fn unshare(&self, order: Order) -> Result<u32, ShareError> {
        self.change_shares(order, |shares| shares.checked_sub(1).ok_or(ShareError::NotShared))
    }

    fn change_shares(&self, order: Order, change: impl Fn(u32) -> Result<u32, ShareError>) -> Result<u32, ShareError> {
        let memory_type = self.pgmap().ops().memory_type();
        if !memory_type.allows(Capability::Share) {
            return Err(ShareError::NotAllowed { memory_type });
        }
        if order != self.order() {
            return Err(ShareError::OrderMismatch { order: self.order() });
        }
        let cell = self.pgmap().folios.cell(self.offset());
        cell.update(|data: Shared| Ok(Shared { shares: change(data.shares)?, ..data })).map(Shared::shares)
    }
}
