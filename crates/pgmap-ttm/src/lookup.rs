//! From a page of device memory back to whoever has it, for eviction from outside and for memory failures.

use pgmap_alloc::{Lookup, Offset, PgmapOps};

use crate::error::LookupError;
use crate::manager::Manager;
use crate::mover::{Mover, Piece};
use crate::object::Bo;
use crate::place::MemoryType;
use crate::resource::Kind;

/// Who has a page of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// This page of an object stands here.
    Object {
        /// The object.
        bo: Bo,
        /// The object's page; beyond its end where a folio is larger than the object.
        page: u64,
    },
    /// Something that left, or was freed, and whose copy has not signalled.
    Ghost,
    /// A carve-out, with its tag.
    CarveOut(u32),
    /// Nobody.
    Idle,
    /// Someone who took it from the pgmap without this manager.
    Other,
}

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// Who has `page` of a device memory type.
    pub fn holder(&self, memory: MemoryType, page: u64) -> Result<Holder, LookupError> {
        let index = self.known(memory).map_err(|_| LookupError::UnknownMemory(memory))?;
        let Kind::Device { pgmap, holders, carved } = &self.memories[index].kind else {
            return Err(LookupError::NotDevice(memory));
        };
        let head = match pgmap.lookup(Offset::new(page)).map_err(|_| LookupError::OutOfRange { page })? {
            Lookup::Folio { head, .. } => head.get(),
            Lookup::Idle => return Ok(Holder::Idle),
            _ => return Ok(carved.tag(page).map_or(Holder::Other, Holder::CarveOut)),
        };
        let Some(&(key, first)) = holders.get(&head) else { return Ok(Holder::Other) };
        // The folio names the object that it was taken for; only that object can say whether it still stands there.
        let stands = |piece: Piece| piece.memory == memory && piece.first == head;
        match self.objects.get(key).and_then(|object| object.segment_at(first)) {
            Some((_, segment)) if stands(segment.piece) => Ok(Holder::Object { bo: self.bo(key), page: first + (page - head) }),
            _ => Ok(Holder::Ghost),
        }
    }
}
