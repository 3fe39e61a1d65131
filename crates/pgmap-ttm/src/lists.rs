//! The lists as a caller sees them: touching an object, moving many at once, walking along.

use pgmap_alloc::PgmapOps;

use crate::bo::{Bo, Priority};
use crate::error::{BulkError, Stale, UnknownMemory};
use crate::lru::Cursor;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::object::Object;
use crate::place::MemoryType;

/// Objects that are used together, and so become the youngest together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bulk(u64);

/// A position in the lists of one memory type. It borrows nothing, and no change to the lists can invalidate it: a walk meets
/// every object that stays where it is once, and none that was touched after the walk began.
#[derive(Clone, Copy, Debug)]
pub struct LruCursor(Cursor);

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Makes an object the youngest.
    pub fn touch(&mut self, bo: Bo) -> Result<(), Stale> {
        let key = self.find(bo)?;
        self.relist(key, true);
        Ok(())
    }

    /// Changes how much an object is worth keeping.
    pub fn set_priority(&mut self, bo: Bo, priority: Priority) -> Result<(), Stale> {
        let key = self.find(bo)?;
        self.relist_as(key, |object| object.priority = priority);
        Ok(())
    }

    /// Makes a bulk without members.
    pub fn create_bulk(&mut self) -> Bulk {
        self.last_serial += 1;
        self.bulks.insert(self.last_serial, 0);
        Bulk(self.last_serial)
    }

    /// Forgets a bulk without members.
    pub fn free_bulk(&mut self, bulk: Bulk) -> Result<(), BulkError> {
        match self.bulks.get(&bulk.0) {
            None => Err(BulkError::StaleBulk),
            Some(0) => {
                self.bulks.remove(&bulk.0);
                Ok(())
            }
            Some(_) => Err(BulkError::NotEmpty),
        }
    }

    /// Makes an object a member of `bulk` instead of any other, as the youngest of its members; of none with `None`.
    pub fn set_bulk(&mut self, bo: Bo, bulk: Option<Bulk>) -> Result<(), BulkError> {
        let key = self.find(bo)?;
        if let Some(bulk) = bulk {
            *self.bulks.get_mut(&bulk.0).ok_or(BulkError::StaleBulk)? += 1;
        }
        self.leave(key);
        self.relist_as(key, |object| object.bulk = bulk.map(|bulk| bulk.0));
        Ok(())
    }

    /// Makes all members of a bulk the youngest of their lists, in their order, at the cost of one.
    pub fn bulk_move(&mut self, bulk: Bulk) -> Result<(), BulkError> {
        if !self.bulks.contains_key(&bulk.0) {
            return Err(BulkError::StaleBulk);
        }
        self.lru.touch_bulk(bulk.0);
        Ok(())
    }

    /// A cursor before the object of `memory` that would be pushed out first.
    pub fn lru_cursor(&self, memory: MemoryType) -> Result<LruCursor, UnknownMemory> {
        self.known(memory)?;
        Ok(LruCursor(self.lru.cursor(memory)))
    }

    /// The next object in the order in which they would be pushed out.
    pub fn lru_next(&self, cursor: &mut LruCursor) -> Option<Bo> {
        self.lru.next(&mut cursor.0).map(|key| self.bo(key))
    }

    /// Counts an object out of its bulk.
    pub(crate) fn leave(&mut self, key: usize) {
        if let Some(members) = self.objects[key].bulk.and_then(|bulk| self.bulks.get_mut(&bulk)) {
            *members -= 1;
        }
    }

    /// Takes an object off its lists, changes what decides in which lists it stands, and lists it anew.
    pub(crate) fn relist_as(&mut self, key: usize, change: impl FnOnce(&mut Object<'p, O>)) {
        let object = &mut self.objects[key];
        for (memory, age) in core::mem::take(&mut object.ages) {
            self.lru.remove(memory, object.rank(), object.bulk, age);
        }
        change(object);
        self.relist(key, false);
    }
}
