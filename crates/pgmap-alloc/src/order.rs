//! The size of a naturally aligned run of pages, as a power of two.

use core::fmt;

/// A number that is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderError {
    /// Larger than [`Order::MAX`].
    TooLarge {
        /// What was asked for.
        order: u32,
    },
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OrderError::TooLarge { order } = self;
        write!(f, "order {order} is larger than {}", Order::MAX)
    }
}

impl core::error::Error for OrderError {}

/// The base-2 logarithm of a folio's size in pages: order 0 is one page, order 9 is 2 MiB of 4 KiB pages, order 18 is 1 GiB.
///
/// Holding one proves that `1 << order` pages fit in an offset; it does not prove that any pool is that large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Order(u8);

impl Order {
    /// One page.
    pub const ZERO: Order = Order(0);
    /// The largest order that can be named: 2^44 pages, 64 PiB of 4 KiB pages. A pool may have as many, but no run is larger than
    /// half of them: the tables end there.
    pub const MAX: Order = Order(44);
    /// 2 MiB of 4 KiB pages: one entry of a PMD table.
    pub const PMD: Order = Order(9);
    /// 1 GiB of 4 KiB pages: one entry of a PUD table.
    pub const PUD: Order = Order(18);

    /// Checks `order` against [`Order::MAX`].
    pub const fn new(order: u32) -> Result<Order, OrderError> {
        if order <= Order::MAX.0 as u32 { Ok(Order(order as u8)) } else { Err(OrderError::TooLarge { order }) }
    }

    /// The smallest order whose run holds `pages` pages; `None` for zero pages or more than the largest order holds.
    pub const fn covering(pages: u64) -> Option<Order> {
        if pages == 0 || pages > Order::MAX.pages() {
            return None;
        }
        Some(Order(pages.next_power_of_two().trailing_zeros() as u8))
    }

    /// The largest order whose run is no longer than `pages` pages; `None` for zero pages.
    pub const fn fitting(pages: u64) -> Option<Order> {
        if pages == 0 {
            return None;
        }
        let order = pages.ilog2() as u8;
        Some(Order(if order > Order::MAX.0 { Order::MAX.0 } else { order }))
    }

    /// The plain number.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// How many pages a run of this order has.
    pub const fn pages(self) -> u64 {
        1 << self.0
    }

    /// Every order from zero to this one, smallest first.
    pub fn up_to(self) -> impl DoubleEndedIterator<Item = Order> {
        (0..=self.0).map(Order)
    }

    /// The order that a value was built from.
    #[inline(always)]
    pub(crate) const fn known(order: u8) -> Order {
        debug_assert!(order <= Order::MAX.0);
        Order(order)
    }

    /// For callers inside the crate that hold a number already known to be small enough.
    pub(crate) const fn clamped(order: u32) -> Order {
        Order(if order > Order::MAX.0 as u32 { Order::MAX.0 } else { order as u8 })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl TryFrom<u32> for Order {
    type Error = OrderError;

    fn try_from(order: u32) -> Result<Order, OrderError> {
        Order::new(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_04_order_is_checked_by_exhaustion() {
        for order in 0..=u32::from(u8::MAX) {
            match Order::new(order) {
                Ok(o) => assert!(order <= 44 && o.get() == order && o.pages() == 1 << order),
                Err(OrderError::TooLarge { order: given }) => assert!(order > 44 && given == order),
            }
        }
        assert!(Order::new(u32::MAX).is_err());
    }

    #[test]
    fn covering_and_fitting_bracket_a_page_count() {
        assert_eq!(Order::covering(0), None);
        assert_eq!(Order::fitting(0), None);
        for pages in 1..5000u64 {
            let (up, down) = (Order::covering(pages).unwrap(), Order::fitting(pages).unwrap());
            assert!(down.pages() <= pages && pages <= up.pages());
            assert!(up.pages() < 2 * pages && down.pages() * 2 > pages);
        }
        assert_eq!(Order::covering(u64::MAX), None);
    }
}
