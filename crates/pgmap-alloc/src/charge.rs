//! Who pays for pages: the hook, and the words for limits as in the dmem cgroup.

use crate::error::ChargeError;

/// One of those who pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// Charged before pages are taken, uncharged when they come back. Called in any context: must not sleep.
pub trait Charge {
    /// Makes the owner pay for so many pages, or refuses and changes nothing.
    fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError>;

    /// Takes that back; refuses, and changes nothing, where the owner has not paid for so many. Whoever is told that he has more
    /// than he may relies on a sequentially consistent write here.
    fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError>;

    /// Makes the owner pay for pages that he turned out to have still, whatever his limit.
    fn charge_anyway(&self, owner: Owner, pages: u64) {
        let _ = self.try_charge(owner, pages);
    }

    /// Told once of each allocation that was refused because this owner had too much.
    fn refused(&self, owner: Owner) {
        let _ = owner;
    }
}

/// Nobody pays.
impl Charge for () {
    fn try_charge(&self, _: Owner, _: u64) -> Result<(), ChargeError> {
        Ok(())
    }

    fn uncharge(&self, _: Owner, _: u64) -> Result<(), ChargeError> {
        Ok(())
    }
}

impl<C: Charge> Charge for &C {
    fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        (**self).try_charge(owner, pages)
    }

    fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        (**self).uncharge(owner, pages)
    }

    fn charge_anyway(&self, owner: Owner, pages: u64) {
        (**self).charge_anyway(owner, pages);
    }

    fn refused(&self, owner: Owner) {
        (**self).refused(owner);
    }
}

/// What an owner is promised, and what he may have, in pages. Sound if `min <= low <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Limits {
    /// So many are never taken from him, as far as his parents are promised as many.
    pub min: u64,
    /// So many are taken from him only when nobody else has anything to give; his parents as above.
    pub low: u64,
    /// He never gets more.
    pub max: u64,
}

impl Limits {
    /// Nothing is promised, nothing refused.
    pub const NONE: Limits = Limits { min: 0, low: 0, max: u64::MAX };
}

/// What an owner has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Usage {
    /// Pages now.
    pub pages: u64,
    /// The most pages he ever had.
    pub high_water: u64,
    /// How often his limit refused him.
    pub refused: u64,
    /// His limits.
    pub limits: Limits,
}

/// How much an owner's pages are protected from eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Not at all.
    None,
    /// They go only when nobody has unprotected ones.
    Low,
    /// They stay.
    Min,
}
