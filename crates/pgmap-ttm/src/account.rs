//! Who uses how much of what, and what may be taken from whom.
//!
//! Pages are charged before they are taken and uncharged after they have been given back, so pages of a ghost still count.

use hashbrown::HashMap;

use crate::bo::Owner;
use crate::place::MemoryType;

/// An owner's protected shares and limit in one memory type, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shares {
    /// Nobody else's need ever takes the owner below this.
    pub min: u64,
    /// Nobody else's need takes the owner below this while there is something else to take.
    pub low: u64,
    /// The owner never has more than this.
    pub max: u64,
}

impl Default for Shares {
    /// No protection, no limit.
    fn default() -> Shares {
        Shares { min: 0, low: 0, max: u64::MAX }
    }
}

/// What an owner has of one memory type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Pages charged now.
    pub pages: u64,
    /// The most that ever were.
    pub peak: u64,
    /// The owner's shares.
    pub shares: Shares,
}

/// How well an owner's pages are protected against the need of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    None,
    Low,
    Min,
}

#[derive(Default)]
pub(crate) struct Accounts {
    usage: HashMap<(Owner, MemoryType), Usage>,
}

impl Accounts {
    pub(crate) fn usage(&self, owner: Owner, memory: MemoryType) -> Usage {
        self.usage.get(&(owner, memory)).copied().unwrap_or_default()
    }

    /// Every owner that has pages in `memory` or ever had.
    pub(crate) fn owners(&self, memory: MemoryType) -> impl Iterator<Item = (Owner, Usage)> {
        self.usage.iter().filter(move |((_, m), _)| *m == memory).map(|((owner, _), usage)| (*owner, *usage))
    }

    pub(crate) fn set_shares(&mut self, owner: Owner, memory: MemoryType, shares: Shares) {
        self.usage.entry((owner, memory)).or_default().shares = shares;
    }

    pub(crate) fn forget(&mut self, owner: Owner) {
        self.usage.retain(|(of, _), usage| *of != owner || usage.pages > 0);
        for (_, usage) in self.usage.iter_mut().filter(|((of, _), _)| *of == owner) {
            *usage = Usage { pages: usage.pages, peak: usage.pages, shares: Shares::default() };
        }
    }

    /// Charges all of `pages`, or says by how many the owner would be over its limit.
    pub(crate) fn try_charge(&mut self, owner: Owner, memory: MemoryType, pages: u64) -> Result<(), u64> {
        let usage = self.usage.entry((owner, memory)).or_default();
        let after = usage.pages.saturating_add(pages);
        if after > usage.shares.max {
            return Err(after - usage.shares.max);
        }
        usage.pages = after;
        usage.peak = usage.peak.max(after);
        Ok(())
    }

    pub(crate) fn uncharge(&mut self, owner: Owner, memory: MemoryType, pages: u64) {
        let usage = self.usage.entry((owner, memory)).or_default();
        debug_assert!(usage.pages >= pages, "more uncharged than charged");
        usage.pages = usage.pages.saturating_sub(pages);
    }

    /// What stands against taking `pages` from this owner for someone else.
    pub(crate) fn protection(&self, owner: Owner, memory: MemoryType, pages: u64) -> Protection {
        let Usage { pages: used, shares, .. } = self.usage(owner, memory);
        match used.saturating_sub(pages) {
            left if left < shares.min => Protection::Min,
            left if left < shares.low => Protection::Low,
            _ => Protection::None,
        }
    }
}
