//! The validator: every book, compared with every other.

use alloc::collections::BTreeMap;

use pgmap_alloc::{Lookup, Offset, Owner, PgmapOps};
use thiserror::Error;

use crate::bo::Bo;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::piece::Piece;
use crate::place::MemoryType;
use crate::resource::Kind;

/// What an audit counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Objects.
    pub objects: u64,
    /// Pages that are taken for objects.
    pub pages: u64,
    /// Pages of ghosts, as well.
    pub leaving: u64,
    /// Pages that others hold, as well.
    pub held: u64,
}

/// Two books that do not agree: a bug in this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Inconsistency {
    /// A memory type counts other pages than objects and ghosts have there, and others hold that objects gave up.
    #[error("{memory} counts {counted} pages, objects, ghosts and others have {found}")]
    Used {
        /// Which.
        memory: MemoryType,
        /// By its own count.
        counted: u64,
        /// By what they have.
        found: u64,
    },
    /// An owner is charged for fewer pages than it has; for more is in order, for others may charge the same account.
    #[error("{owner:?} is charged {charged} pages of {memory}, and has {found}")]
    Charged {
        /// Who.
        owner: Owner,
        /// Where.
        memory: MemoryType,
        /// For how many.
        charged: u64,
        /// And has how many.
        found: u64,
    },
    /// An object is listed where it has no pages, or the other way round.
    #[error("an object is listed in {1} where it should not be, or not listed where it should")]
    Listed(Bo, MemoryType),
    /// A walk along a list does not meet what the objects say is listed.
    #[error("a walk along {memory} meets {walked} objects, {listed} are listed")]
    Walk {
        /// Along which.
        memory: MemoryType,
        /// How many it meets.
        walked: u64,
        /// How many there are.
        listed: u64,
    },
    /// A folio of an object is not in service in the pgmap.
    #[error("page {1} of {0} holds an object and is in no folio")]
    NotInService(MemoryType, u64),
}

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Compares every book with every other; linear in all that there is.
    pub fn audit(&self) -> Result<Audit, Inconsistency> {
        let mut audit = Audit { objects: self.objects.len() as u64, ..Audit::default() };
        for index in 0..self.memories.len() {
            let memory = MemoryType(index as u8);
            let resident: u64 = self.objects.iter().map(|(_, object)| object.resident_in(memory)).sum();
            let leaving: u64 = self.ghosts.iter().map(|ghost| ghost.pages_in(memory)).sum();
            let held: u64 = self.held.iter().map(|(_, s)| s.piece).filter(|p| p.memory == memory).map(|p| p.pages).sum();
            let (counted, found) = (self.memories[index].used, resident + leaving + held);
            if counted != found || leaving != self.leaving(memory) || held != self.memories[index].held {
                return Err(Inconsistency::Used { memory, counted, found });
            }
            audit.pages += resident;
            audit.leaving += leaving;
            audit.held += held;
            self.audit_accounts(memory)?;
            self.audit_lists(memory)?;
            self.audit_folios(memory)?;
        }
        Ok(audit)
    }

    fn audit_accounts(&self, memory: MemoryType) -> Result<(), Inconsistency> {
        let mut has: BTreeMap<Owner, u64> = BTreeMap::new();
        for (_, object) in &self.objects {
            *has.entry(object.owner).or_default() += object.resident_in(memory);
        }
        for ghost in &self.ghosts {
            *has.entry(ghost.owner).or_default() += ghost.pages_in(memory);
        }
        for (owner, segment) in self.held.iter().filter(|(_, segment)| segment.piece.memory == memory) {
            *has.entry(*owner).or_default() += segment.piece.pages;
        }
        let accounts = self.memories[memory.index()].accounts;
        for (owner, found) in has {
            let charged = accounts.usage(owner).map_or(found, |usage| usage.pages);
            if charged < found {
                return Err(Inconsistency::Charged { owner, memory, charged, found });
            }
        }
        Ok(())
    }

    fn audit_lists(&self, memory: MemoryType) -> Result<(), Inconsistency> {
        let mut listed = 0;
        for (key, object) in &self.objects {
            let is = object.ages.contains_key(&memory);
            let should = object.pins == 0 && object.resident_in(memory) > 0;
            if is != should {
                return Err(Inconsistency::Listed(self.bo(key), memory));
            }
            listed += u64::from(is);
        }
        let (mut cursor, mut walked) = (self.lru.cursor(memory), 0);
        while let Some(key) = self.lru.next(&mut cursor) {
            if !self.objects.get(key).is_some_and(|object| object.ages.contains_key(&memory)) {
                return Err(Inconsistency::Walk { memory, walked, listed });
            }
            walked += 1;
        }
        if walked == listed { Ok(()) } else { Err(Inconsistency::Walk { memory, walked, listed }) }
    }

    fn audit_folios(&self, memory: MemoryType) -> Result<(), Inconsistency> {
        let Kind::Device { pgmap, holders, .. } = &self.memories[memory.index()].kind else { return Ok(()) };
        for (key, object) in &self.objects {
            for (page, segment) in object.segments().filter(|(_, segment)| segment.piece.memory == memory) {
                let Piece { first, .. } = segment.piece;
                let head = Offset::new(first);
                let in_service = matches!(pgmap.lookup(head), Ok(Lookup::Folio { head: at, .. }) if at == head);
                if !in_service || holders.get(&first) != Some(&(key, page)) {
                    return Err(Inconsistency::NotInService(memory, first));
                }
            }
        }
        Ok(())
    }
}
