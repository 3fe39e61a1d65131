//! Who pays for pages, and what may be taken from whom.
//!
//! The accounts are the pgmap's: its charge hook, and whoever implements it, keep the only count of what an owner has. Pages are
//! charged before they are taken and uncharged after they have been given back, so pages of a ghost still count.

use pgmap_alloc::{Charge, Owner, Owners, Protection, Usage};

/// A charge hook that also says what an owner has and is promised, so that a manager can honour that.
pub trait Accounts: Charge {
    /// What an owner has and is promised; none if nobody keeps an account for it.
    fn usage(&self, owner: Owner) -> Option<Usage>;
}

/// Nobody pays, and nothing is promised.
impl Accounts for () {
    fn usage(&self, _: Owner) -> Option<Usage> {
        None
    }
}

impl<const N: usize> Accounts for Owners<N> {
    fn usage(&self, owner: Owner) -> Option<Usage> {
        Owners::usage(self, owner).ok()
    }
}

/// What stands against taking `pages` from an owner for someone else. What it would be left with counts, so that nobody else's
/// need ever takes it below its minimum, however large the object.
pub(crate) fn protection(usage: Option<Usage>, pages: u64) -> Protection {
    let Some(Usage { pages: has, limits, .. }) = usage else { return Protection::None };
    match has.saturating_sub(pages) {
        left if left < limits.min => Protection::Min,
        left if left < limits.low => Protection::Low,
        _ => Protection::None,
    }
}
