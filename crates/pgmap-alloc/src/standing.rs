//! What can stand at an offset.

use crate::offset::Offset;
use crate::order::Order;

/// Why a range is special. The pgmap only keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Reason {
    /// Firmware lives there.
    Firmware,
    /// Registers, not memory.
    Registers,
    /// A page of zeros that many map.
    Zero,
    /// Taken away from everybody.
    Reserved,
    /// Its range is on its way out ([`Pgmap::close_range`](crate::Pgmap::close_range)). Only the pgmap says so.
    Leaving,
    /// Something that the driver knows.
    Driver(u16),
}

impl Reason {
    /// As the bits that a folio word keeps.
    pub(crate) const fn to_bits(self) -> u32 {
        match self {
            Reason::Firmware => 0,
            Reason::Registers => 1,
            Reason::Zero => 2,
            Reason::Reserved => 3,
            Reason::Leaving => 4,
            Reason::Driver(why) => 1 << 16 | why as u32,
        }
    }

    pub(crate) const fn from_bits(bits: u32) -> Reason {
        match bits {
            0 => Reason::Firmware,
            1 => Reason::Registers,
            2 => Reason::Zero,
            3 => Reason::Reserved,
            4 => Reason::Leaving,
            _ => Reason::Driver(bits as u16),
        }
    }
}

/// What stands at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// A folio in service, or one that is being set up or freed.
    Folio {
        /// Its first page.
        head: Offset,
        /// Its order.
        order: Order,
    },
    /// Nothing: the page can be allocated.
    Idle,
    /// The driver has taken the page, without a folio.
    Block,
    /// No folio stands behind it, by declaration ([`Pgmap::declare_special`](crate::Pgmap::declare_special)).
    Special {
        /// The first page of the special range.
        head: Offset,
        /// The range's order.
        order: Order,
        /// Why.
        reason: Reason,
    },
    /// The page is bad: not handed out unless it is pardoned ([`Pgmap::pardon`](crate::Pgmap::pardon)).
    Retired,
}
