//! Hot-unplug: every object leaves the device, then its pgmap is killed.

use alloc::vec::Vec;

use pgmap_alloc::{Killed, PgmapOps};

use crate::error::UnplugError;
use crate::job::Shut;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::place::MemoryType;
use crate::resource::Kind;

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Pushes every object out of a device memory type, waits for the copies, gives its carve-outs back, and kills its pgmap.
    ///
    /// What is left to the caller is to drain and tear down: nothing of this manager is in service there any more. If an object
    /// cannot leave, the device stays in use; those that left before stay out until they are promoted.
    pub fn unplug(&mut self, memory: MemoryType) -> Result<Killed<'p, O, 8>, UnplugError> {
        let index = self.known(memory).map_err(|_| UnplugError::UnknownMemory(memory))?;
        let Kind::Device { pgmap, .. } = &self.memories[index].kind else {
            return Err(UnplugError::NotDevice(memory));
        };
        let pgmap = *pgmap;
        if self.memories[index].gone {
            return Err(UnplugError::UnknownMemory(memory));
        }
        self.memories[index].gone = true;
        if let Err(why) = self.leave_device(memory) {
            self.memories[index].gone = false;
            return Err(why);
        }
        if let Kind::Device { carved, .. } = &mut self.memories[index].kind {
            carved.clear();
        }
        Ok(pgmap.kill())
    }

    fn leave_device(&mut self, memory: MemoryType) -> Result<(), UnplugError> {
        let there = self.keys_in(memory);
        if let Some(key) = there.iter().find(|key| self.objects[**key].pins > 0) {
            return Err(UnplugError::Pinned(self.bo(*key)));
        }
        for key in there {
            let evict_to = self.objects[key].evict_to.clone();
            let bo = self.bo(key);
            self.push_out(key, memory, &evict_to, Shut::default()).map_err(|why| UnplugError::Evict(bo, why.into()))?;
        }
        self.wait_all();
        match self.keys_in(memory).first() {
            Some(key) => Err(UnplugError::CopyFailed(self.bo(*key))),
            None => Ok(()),
        }
    }

    /// The objects with pages in `memory`.
    fn keys_in(&self, memory: MemoryType) -> Vec<usize> {
        self.objects.iter().filter(|(_, object)| object.cost_in(memory) > 0).map(|(key, _)| key).collect()
    }
}
