//! Pages of device memory by their offset: who has one, and which nobody may have.

use pgmap_alloc::{Lookup, Offset, PgmapOps};

use crate::bo::Bo;
use crate::error::{CarveError, LookupError};
use crate::manager::Manager;
use crate::mover::Mover;
use crate::piece::Piece;
use crate::place::{MemoryType, Window};
use crate::resource::Kind;

/// Who has a page of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// This page of an object stands here.
    Object {
        /// The object.
        bo: Bo,
        /// The object's page.
        page: u64,
    },
    /// Something that left, or was freed, and whose copy has not signalled, or that others still hold.
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

    /// Takes the pages of `window` out of use for objects, all or none; `tag` says what for.
    pub fn carve_out(&mut self, memory: MemoryType, window: Window, tag: u32) -> Result<(), CarveError> {
        let index = self.known(memory).map_err(|_| CarveError::UnknownMemory(memory))?;
        if window.first >= window.last {
            return Err(CarveError::EmptyWindow);
        }
        self.reap();
        let caches = self.memories[index].caches;
        match &mut self.memories[index].kind {
            Kind::Device { pgmap, carved, .. } => carved.carve(pgmap, window, tag).or_else(|_| {
                // What lies in caches is not in use.
                caches.drain();
                carved.carve(pgmap, window, tag)
            }),
            Kind::Host { .. } => Err(CarveError::NotDevice(memory)),
        }
    }

    /// Gives the carve-out that `page` lies in back.
    pub fn give_back(&mut self, memory: MemoryType, page: u64) -> Result<(), CarveError> {
        let index = self.known(memory).map_err(|_| CarveError::UnknownMemory(memory))?;
        let Kind::Device { carved, .. } = &mut self.memories[index].kind else {
            return Err(CarveError::NotDevice(memory));
        };
        let (range, first) = match carved.tags.get_key_value(&page) {
            Some((range, (_, first))) => (range.clone(), *first),
            None => return Err(CarveError::NotCarved),
        };
        carved.tags.remove(range);
        carved.blocks.remove(&first);
        Ok(())
    }
}
