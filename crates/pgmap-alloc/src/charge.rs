//! Who pays for pages: the hook, and the words for limits as in the dmem cgroup.

use crate::error::ChargeError;
use crate::order::Order;

/// One of those who pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// What stands beside a folio's data: who pays for it, and for how large a run.
///
/// ```text
/// bits 0..6   the order
/// bits 6..39  the owner plus one; 0 = nobody pays
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charged(u64);

impl Charged {
    const OWNER_AT: u32 = 6;

    /// Nobody pays.
    pub(crate) const NOBODY: Charged = Charged(0);

    /// `owner` pays for a run of `order`.
    pub(crate) const fn to(owner: Owner, order: Order) -> Charged {
        Charged((owner.0 as u64 + 1) << Self::OWNER_AT | order.get() as u64)
    }

    pub(crate) const fn from_bits(bits: u64) -> Charged {
        Charged(bits)
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// Who pays, and for how large a run.
    pub(crate) fn parts(self) -> Option<(Owner, Order)> {
        let owner = (self.0 >> Self::OWNER_AT).checked_sub(1)?;
        Some((Owner(owner as u32), Order::clamped((self.0 & ((1 << Self::OWNER_AT) - 1)) as u32)))
    }

    /// The same for a part of the run.
    pub(crate) fn of_part(self, order: Order) -> Charged {
        self.parts().map_or(Charged::NOBODY, |(owner, _)| Charged::to(owner, order))
    }
}

const _: () = assert!(Order::MAX.get() < 1 << Charged::OWNER_AT);

/// Charged before pages are taken, uncharged when they come back. Called in any context: must not sleep.
pub trait Charge {
    /// Makes the owner pay for so many pages, or refuses and changes nothing.
    fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError>;

    /// Takes that back; refuses, and changes nothing, where the owner has not paid for that many. The write must be sequentially
    /// consistent: the proof that an owner is over its limit relies on it.
    fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError>;

    /// [`Charge::try_charge`] for pages that `payer` pays for now and will be uncharged for at once: an owner above both, such as a common
    /// parent, is not charged again. A hook without parents need not override it, nor the next one.
    fn try_charge_in_place_of(&self, payer: Owner, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        let _ = payer;
        self.try_charge(owner, pages)
    }

    /// The second half: uncharges `payer`, now that `owner` pays in its place. Owners above both stay as they are.
    fn uncharge_in_favour_of(&self, owner: Owner, payer: Owner, pages: u64) -> Result<(), ChargeError> {
        let _ = owner;
        self.uncharge(payer, pages)
    }

    /// Undoes a recent charge whose pages could not be had; one by [`Charge::try_charge_in_place_of`] if there is a `payer`. The owner
    /// never had those pages: a hook that records a high water overrides this, so that they are not in it.
    fn cancel(&self, owner: Owner, payer: Option<Owner>, pages: u64) {
        let _ = match payer {
            Some(payer) => self.uncharge_in_favour_of(payer, owner, pages),
            None => self.uncharge(owner, pages),
        };
    }

    /// Makes the owner pay for pages that it turned out to have still, whatever its limit.
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

    fn cancel(&self, owner: Owner, payer: Option<Owner>, pages: u64) {
        (**self).cancel(owner, payer, pages);
    }

    fn try_charge_in_place_of(&self, payer: Owner, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        (**self).try_charge_in_place_of(payer, owner, pages)
    }

    fn uncharge_in_favour_of(&self, owner: Owner, payer: Owner, pages: u64) -> Result<(), ChargeError> {
        (**self).uncharge_in_favour_of(owner, payer, pages)
    }

    fn charge_anyway(&self, owner: Owner, pages: u64) {
        (**self).charge_anyway(owner, pages);
    }

    fn refused(&self, owner: Owner) {
        (**self).refused(owner);
    }
}

/// What an owner is promised, and what it may have, in pages. Sound if `min <= low <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Limits {
    /// That many are never taken from it, as far as its parents are promised as many.
    pub min: u64,
    /// That many are taken from it only when no other owner has unprotected pages; its parents as above.
    pub low: u64,
    /// It never gets more.
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
    /// The most pages it ever had; never too low ([`Owners::usage`](crate::Owners::usage) says how much too high).
    pub high_water: u64,
    /// How often its limit refused an allocation.
    pub refused: u64,
    /// Its limits.
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
