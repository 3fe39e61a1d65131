//! Who pays for pages, and what may be taken from whom.
//!
//! The accounts are the pgmap's: its charge hook, and whoever implements it, keep the only count of what an owner has. Pages are
//! charged before they are taken and uncharged after they have been given back, so pages of a ghost still count.

use pgmap_alloc::{Charge, ChargeError, Limits, Owner, Owners, Protection, Usage};

/// Parents that are looked at above one owner; accounts whose parents go round end there.
const GENERATIONS: usize = 64;

/// A charge hook that also says what an owner has and is promised, so that a manager can honour that.
pub trait Accounts: Charge {
    /// What an owner has and is promised; none if nobody keeps an account for it.
    fn usage(&self, owner: Owner) -> Option<Usage>;

    /// Whose account the owner's pages count for, too; none at the top. Everyone is, by default.
    fn parent(&self, owner: Owner) -> Option<Owner> {
        let _ = owner;
        None
    }
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

    fn parent(&self, owner: Owner) -> Option<Owner> {
        Owners::parent(self, owner)
    }
}

/// An owner, its parent, and so on up.
pub(crate) fn lineage(accounts: &dyn Accounts, owner: Owner) -> impl Iterator<Item = Owner> {
    core::iter::successors(Some(owner), |owner| accounts.parent(*owner)).take(GENERATIONS)
}

/// Whether what `owner` gives up is taken off the account of `above`.
pub(crate) fn is_under(accounts: &dyn Accounts, owner: Owner, above: Owner) -> bool {
    lineage(accounts, owner).any(|owner| owner == above)
}

/// What stands against taking pages from `owner` for `asking`; `going` says how many pages of an account are about to go, those
/// included. What it would be left with counts, so that nobody else's need ever takes it below its minimum, however large the
/// object and however many go at once.
///
/// What its parents are promised protects it, too, and what it is promised protects it no further than its parents are promised
/// as much. Neither matters from the first on that both owners stand under: what moves from one to the other stays there.
pub(crate) fn protection(accounts: &dyn Accounts, owner: Owner, asking: Owner, going: impl Fn(Owner) -> u64) -> Protection {
    let below = || lineage(accounts, owner).take_while(|owner| !is_under(accounts, asking, *owner));
    let of_one = |(generation, payer)| {
        let Some(Usage { pages: has, limits, .. }) = accounts.usage(payer) else { return Protection::None };
        if limits.low.max(limits.min) == 0 {
            return Protection::None;
        }
        let promised = |what: fn(&Limits) -> u64| {
            let above = below().skip(generation).filter_map(|owner| accounts.usage(owner));
            above.map(|usage| what(&usage.limits)).min().unwrap_or(0)
        };
        match has.saturating_sub(going(payer)) {
            left if left < promised(|limits| limits.min) => Protection::Min,
            left if left < promised(|limits| limits.low) => Protection::Low,
            _ => Protection::None,
        }
    };
    below().enumerate().map(of_one).max().unwrap_or(Protection::None)
}

/// Whether someone keeps an account for this owner: to pay for nothing is refused only where nobody does.
pub(crate) fn has_account(accounts: &dyn Accounts, owner: Owner) -> bool {
    !matches!(accounts.try_charge(owner, 0), Err(ChargeError::UnknownOwner { .. }))
}
