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
    /// Hands an object to another owner, which pays from now on for the pages it has, in every memory type; or changes nothing.
    ///
    /// No object is pushed out for it: an owner without room is refused ([`OwnerError::OverLimit`]). Common parents of both owners are
    /// not charged again. Pages that the object gave up before, and that others still hold, stay charged to the old owner. Waits
    /// until no copy into the object is under way, so not for interrupts. O(memory types and the object's pieces).
    pub fn set_owner(&mut self, bo: Bo, owner: Owner) -> Result<(), OwnerError> {
        let key = self.find(bo)?;
        // A copy that failed gives the object back what its old owner pays for.
        self.finish(key);
        let old = self.objects[key].owner;
        if old == owner {
            return Ok(());
        }
        let charges: Vec<(MemoryType, u64)> = (0..)
            .map(MemoryType)
            .take(self.memories.len())
            .map(|memory| (memory, self.objects[key].resident_in(memory)))
            .filter(|(_, pages)| *pages > 0)
            .collect();
        // Charged everywhere first, uncharged then: until then it can be undone.
        for (done, (memory, pages)) in charges.iter().enumerate() {
            if let Err(why) = charge_in_place_of(self.memories[memory.index()].accounts, old, owner, *pages) {
                for (memory, pages) in &charges[..done] {
                    self.memories[memory.index()].accounts.cancel(owner, Some(old), *pages);
                }
                return Err(match why {
                    ChargeError::UnknownOwner { .. } => OwnerError::NoAccount(*memory),
                    _ => OwnerError::OverLimit(*memory),
                });
            }
        }
        for (memory, pages) in charges {
            // Refused only if someone else uncharged what this manager had charged; the audit finds that.
            let _ = self.memories[memory.index()].accounts.uncharge_in_favour_of(owner, old, pages);
        }
        self.objects[key].owner = owner;
        Ok(())
    }
}

/// Charges one owner for what another pays for until then.
fn charge_in_place_of(accounts: &dyn Accounts, old: Owner, new: Owner, pages: u64) -> Result<(), ChargeError> {
    for _ in 1..CHARGES {
        match accounts.try_charge_in_place_of(old, new, pages) {
            Err(ChargeError::Contended) => {}
            done => return done,
        }
    }
    accounts.try_charge_in_place_of(old, new, pages)
}
