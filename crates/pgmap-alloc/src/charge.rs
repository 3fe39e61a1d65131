//! Who pays for pages: the hook, and owners with limits as in the dmem cgroup.
//!
//! Owners stand side by side; a hierarchy of them is the caller's, who implements [`Charge`] for it.

use crate::error::ChargeError;
use crate::sync::{AtomicU64, Ordering};

/// One of those who pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// Charged before pages are taken, uncharged after they have come back.
pub trait Charge {
    /// Makes the owner pay for so many pages, or refuses.
    fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError>;

    /// Takes that back; refuses, and changes nothing, where the owner has not paid for so many.
    fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError>;
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
}

/// What an owner is promised, and what he may have, in pages. Sound if `min <= low <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Limits {
    /// So many are never taken from him.
    pub min: u64,
    /// So many are taken from him only when nobody else has anything to give.
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

/// One owner; 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
struct Account {
    pages: AtomicU64,
    high_water: AtomicU64,
    refused: AtomicU64,
    min: AtomicU64,
    low: AtomicU64,
    max: AtomicU64,
}

/// `N` owners, each with a line of its own.
pub struct Owners<const N: usize> {
    accounts: [Account; N],
}

impl<const N: usize> Default for Owners<N> {
    fn default() -> Self {
        Owners::new()
    }
}

impl<const N: usize> Owners<N> {
    /// Owners 0 to `N - 1`, without limits.
    pub fn new() -> Owners<N> {
        let zero = || AtomicU64::new(0);
        Owners {
            accounts: core::array::from_fn(|_| Account {
                pages: zero(),
                high_water: zero(),
                refused: zero(),
                min: zero(),
                low: zero(),
                max: AtomicU64::new(u64::MAX),
            }),
        }
    }

    fn account(&self, owner: Owner) -> Result<&Account, ChargeError> {
        self.accounts.get(owner.0 as usize).ok_or(ChargeError::UnknownOwner { owner: owner.0 })
    }

    /// Changes an owner's limits; what he has above a new maximum stays his until he gives it back.
    pub fn set_limits(&self, owner: Owner, limits: Limits) -> Result<(), ChargeError> {
        let account = self.account(owner)?;
        let Limits { min, low, max } = limits;
        if min > low || low > max {
            return Err(ChargeError::LimitsCross { min, low, max });
        }
        // Relaxed, here and below: each number stands for itself; who charges at this moment gets the old limit or the new one.
        account.min.store(min, Ordering::Relaxed);
        account.low.store(low, Ordering::Relaxed);
        account.max.store(max, Ordering::Relaxed);
        Ok(())
    }

    /// What an owner has. O(1).
    pub fn usage(&self, owner: Owner) -> Result<Usage, ChargeError> {
        let account = self.account(owner)?;
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let limits = Limits { min: read(&account.min), low: read(&account.low), max: read(&account.max) };
        let (pages, high_water) = (read(&account.pages), read(&account.high_water));
        Ok(Usage { pages, high_water, refused: read(&account.refused), limits })
    }

    /// How much an owner's pages are protected at this moment. O(1).
    pub fn protection(&self, owner: Owner) -> Result<Protection, ChargeError> {
        let Usage { pages, limits, .. } = self.usage(owner)?;
        Ok(match pages {
            _ if pages <= limits.min => Protection::Min,
            _ if pages <= limits.low => Protection::Low,
            _ => Protection::None,
        })
    }
}

impl<const N: usize> Charge for Owners<N> {
    fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        let account = self.account(owner)?;
        // Relaxed throughout: a number, nothing hangs on it.
        let mut has = account.pages.load(Ordering::Relaxed);
        loop {
            let max = account.max.load(Ordering::Relaxed);
            let Some(sum) = has.checked_add(pages).filter(|&sum| sum <= max) else {
                account.refused.fetch_add(1, Ordering::Relaxed);
                return Err(ChargeError::OverLimit { owner: owner.0, has, max });
            };
            match account.pages.compare_exchange_weak(has, sum, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    account.high_water.fetch_max(sum, Ordering::Relaxed);
                    return Ok(());
                }
                Err(now) => has = now,
            }
        }
    }

    fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        let account = self.account(owner)?;
        // Relaxed throughout: as in `try_charge`.
        let mut has = account.pages.load(Ordering::Relaxed);
        loop {
            let left = has.checked_sub(pages).ok_or(ChargeError::NotCharged { owner: owner.0, has })?;
            match account.pages.compare_exchange_weak(has, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => has = now,
            }
        }
    }
}
