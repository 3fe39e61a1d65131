//! Another owner for an object: its charge goes along.

use alloc::vec::Vec;

use pgmap_alloc::{ChargeError, Owner, PgmapOps};

use crate::account::Accounts;
use crate::bo::Bo;
use crate::error::OwnerError;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::place::MemoryType;

/// How often a charge is tried that someone else's charge of the same parent stood in the way of.
const CHARGES: u32 = 16;

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Hands an object to another owner, who pays from now on for the pages it has, wherever they stand; or changes nothing.
    ///
    /// Nobody is pushed out for it. What the object left behind before, and others still hold, stays with whom it was charged to.
    /// Waits until no copy into the object is under way.
    pub fn set_owner(&mut self, bo: Bo, owner: Owner) -> Result<(), OwnerError> {
        let key = self.find(bo)?;
        // A copy that failed gives the object back what its old owner pays for.
        self.finish(key);
        let old = self.objects[key].owner;
        let mut moved: Vec<(MemoryType, u64)> = Vec::new();
        for memory in (0..).map(MemoryType).take(self.memories.len()) {
            let pages = self.objects[key].resident_in(memory);
            if pages == 0 || old == owner {
                continue;
            }
            if let Err(why) = hand_over(self.memories[memory.index()].accounts, old, owner, pages) {
                for (memory, pages) in moved {
                    // The old owner had them a moment ago.
                    let accounts = self.memories[memory.index()].accounts;
                    let _ = accounts.uncharge(owner, pages);
                    accounts.charge_anyway(old, pages);
                }
                return Err(match why {
                    ChargeError::UnknownOwner { .. } => OwnerError::NoAccount(memory),
                    _ => OwnerError::OverLimit(memory),
                });
            }
            moved.push((memory, pages));
        }
        self.objects[key].owner = owner;
        Ok(())
    }
}

/// Charges one owner for what another has paid for, or changes nothing. A parent of both is not charged twice meanwhile.
fn hand_over(accounts: &dyn Accounts, old: Owner, new: Owner, pages: u64) -> Result<(), ChargeError> {
    accounts.uncharge(old, pages)?;
    let mut refusal = Ok(());
    for _ in 0..CHARGES {
        refusal = accounts.try_charge(new, pages);
        if !matches!(refusal, Err(ChargeError::Contended)) {
            break;
        }
    }
    if refusal.is_err() {
        accounts.charge_anyway(old, pages);
    }
    refusal
}
