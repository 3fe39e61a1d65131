//! Who pays for pages: the hook, and owners with limits as in the dmem cgroup.
//!
//! Owners may have parents: what an owner has, his parent has too, and so on up; the limit of each holds. Those who pay as one
//! owner, or under one parent, meet at its counter, as in the cgroup.

use crate::error::ChargeError;
use crate::sync::{AtomicU64, Ordering};

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
    parents: [Option<Owner>; N],
}

impl<const N: usize> Default for Owners<N> {
    fn default() -> Self {
        Owners::new()
    }
}

impl<const N: usize> Owners<N> {
    /// Owners 0 to `N - 1`, without limits, side by side.
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
            parents: [None; N],
        }
    }

    /// Owners 0 to `N - 1`, without limits, each with the parent of its place. A parent comes before its children.
    pub fn with_parents(parents: [Option<Owner>; N]) -> Result<Owners<N>, ChargeError> {
        for (owner, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent.filter(|parent| parent.0 as usize >= owner) {
                return Err(ChargeError::Parent { owner: owner as u32, parent: parent.0 });
            }
        }
        Ok(Owners { parents, ..Owners::new() })
    }

    /// Whose account an owner's pages count for, too; none at the top. O(1).
    pub fn parent(&self, owner: Owner) -> Option<Owner> {
        self.parents.get(owner.0 as usize).copied().flatten()
    }

    fn account(&self, owner: Owner) -> Result<&Account, ChargeError> {
        self.accounts.get(owner.0 as usize).ok_or(ChargeError::UnknownOwner { owner: owner.0 })
    }

    /// An owner, his parent, and so on up.
    fn lineage(&self, owner: Owner) -> impl Iterator<Item = (Owner, &Account)> {
        core::iter::successors(Some(owner), |owner| self.parent(*owner))
            .filter_map(|owner| Some((owner, self.accounts.get(owner.0 as usize)?)))
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

    /// What an owner has, his children's included. O(1).
    pub fn usage(&self, owner: Owner) -> Result<Usage, ChargeError> {
        let account = self.account(owner)?;
        // Relaxed: each number stands for itself.
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let limits = Limits { min: read(&account.min), low: read(&account.low), max: read(&account.max) };
        let (pages, high_water) = (read(&account.pages), read(&account.high_water));
        Ok(Usage { pages, high_water, refused: read(&account.refused), limits })
    }

    /// How much an owner's pages are protected at this moment: by what he is promised, but no more than each of his parents is.
    /// O(parents). What children are promised together may be more than their parent is; that is not shared out.
    pub fn protection(&self, owner: Owner) -> Result<Protection, ChargeError> {
        let Usage { pages, .. } = self.usage(owner)?;
        let least = |of: fn(&Account) -> &AtomicU64| {
            // Relaxed: as in `usage`.
            self.lineage(owner).map(|(_, account)| of(account).load(Ordering::Relaxed)).min().unwrap_or(0)
        };
        Ok(match pages {
            _ if pages <= least(|account| &account.min) => Protection::Min,
            _ if pages <= least(|account| &account.low) => Protection::Low,
            _ => Protection::None,
        })
    }
}

impl Account {
    /// Raises what the owner has, as far as his limit goes.
    fn raise(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        // Relaxed throughout: a number, nothing hangs on it.
        let mut has = self.pages.load(Ordering::Relaxed);
        loop {
            let sum = self.room(owner, has, pages)?;
            match self.pages.compare_exchange_weak(has, sum, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.high_water.fetch_max(sum, Ordering::Relaxed);
                    return Ok(());
                }
                Err(now) => has = now,
            }
        }
    }

    /// What the owner would have.
    fn room(&self, owner: Owner, has: u64, pages: u64) -> Result<u64, ChargeError> {
        // Relaxed: a limit that has just changed holds for the next who charges.
        let max = self.max.load(Ordering::Relaxed);
        has.checked_add(pages).filter(|&sum| sum <= max).ok_or(ChargeError::OverLimit { owner: owner.0, has, max })
    }

    /// Lowers what the owner has; `Err` with that if it is less.
    fn lower(&self, pages: u64) -> Result<(), u64> {
        // SeqCst: the write half of "uncharge, then note" (`ledger`). Relaxed on failure: tried again with what was found.
        self.pages.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |has| has.checked_sub(pages)).map(|_| ())
    }
}

/// Lock-free; O(parents).
impl<const N: usize> Charge for Owners<N> {
    fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        self.account(owner)?;
        // Looked at first: who cannot be charged anyway must not be in others' way by charging and undoing it.
        for (owner, account) in self.lineage(owner) {
            // SeqCst: the read half of "uncharge, then note" (`ledger`).
            account.room(owner, account.pages.load(Ordering::SeqCst), pages)?;
        }
        for (done, (payer, account)) in self.lineage(owner).enumerate() {
            if let Err(error) = account.raise(payer, pages) {
                // Raised a moment ago.
                self.lineage(owner).take(done).for_each(|(_, account)| _ = account.lower(pages));
                return Err(if done == 0 { error } else { ChargeError::Contended });
            }
        }
        Ok(())
    }

    fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        let account = self.account(owner)?;
        account.lower(pages).map_err(|has| ChargeError::NotCharged { owner: owner.0, has })?;
        // They have what their children have.
        self.lineage(owner).skip(1).for_each(|(_, account)| _ = account.lower(pages));
        Ok(())
    }

    fn charge_anyway(&self, owner: Owner, pages: u64) {
        // Relaxed: as in `raise`.
        self.lineage(owner).for_each(|(_, account)| _ = account.pages.fetch_add(pages, Ordering::Relaxed));
    }

    fn refused(&self, owner: Owner) {
        if let Ok(account) = self.account(owner) {
            // Relaxed: as in `raise`.
            account.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}
