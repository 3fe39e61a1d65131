//! Hot-unplug: every object leaves the device, or loses what it has there, and then the pgmap is killed.

use alloc::vec::Vec;

use pgmap_alloc::{Killed, Pgmap, PgmapOps};

use crate::error::UnplugError;
use crate::job::{Part, Shut};
use crate::manager::Manager;
use crate::mover::Mover;
use crate::place::MemoryType;
use crate::resource::{Kind, ResourceManager};
use crate::sketch::Sketch;

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Pushes every object out of a device memory type, waits for the copies, gives its carve-outs back, and kills its pgmap.
    ///
    /// What is left to the caller is to drain and tear down: nothing of this manager is in service there any more. If an object
    /// cannot leave, the device stays in use; those that left before stay out until they are promoted.
    pub fn unplug(&mut self, memory: MemoryType) -> Result<Killed<'p, O, 8>, UnplugError> {
        let pgmap = self.plugged(memory)?;
        self.memories[memory.index()].gone = true;
        if let Err(why) = self.leave_device(memory) {
            self.memories[memory.index()].gone = false;
            return Err(why);
        }
        Ok(self.retire_device(memory, pgmap))
    }

    /// Unplugs a device memory type whose device is gone already: what stands there is lost, pinned or not, and nothing is copied.
    ///
    /// Copies that were under way are waited for. One that the mover says has failed is undone, so an object that was on its way
    /// here is back where it came from, and one that was on its way out is lost; [`info`](Manager::info) says how many pages an
    /// object has left. Pins stay counted. Draining and tearing down are left to the caller, as for [`unplug`](Manager::unplug).
    pub fn unplug_lost(&mut self, memory: MemoryType) -> Result<Killed<'p, O, 8>, UnplugError> {
        let pgmap = self.plugged(memory)?;
        self.memories[memory.index()].gone = true;
        self.wait_all();
        for key in self.keys_in(memory) {
            self.gut_in(key, memory);
        }
        // What the device used until a ticket is free when the mover has given that up.
        self.wait_all();
        Ok(self.retire_device(memory, pgmap))
    }

    /// The pgmap of a device memory type that was not unplugged yet.
    fn plugged(&self, memory: MemoryType) -> Result<&'p Pgmap<'p, O>, UnplugError> {
        match self.memories.get(memory.index()) {
            Some(ResourceManager { gone: false, kind: Kind::Device { pgmap, .. }, .. }) => Ok(pgmap),
            Some(ResourceManager { gone: false, .. }) => Err(UnplugError::NotDevice(memory)),
            _ => Err(UnplugError::UnknownMemory(memory)),
        }
    }

    fn retire_device(&mut self, memory: MemoryType, pgmap: &'p Pgmap<'p, O>) -> Killed<'p, O, 8> {
        if let Kind::Device { carved, .. } = &mut self.memories[memory.index()].kind {
            carved.clear();
        }
        self.let_go(memory);
        pgmap.kill()
    }

    fn leave_device(&mut self, memory: MemoryType) -> Result<(), UnplugError> {
        let there = self.keys_in(memory);
        if let Some(key) = there.iter().find(|key| self.objects[**key].pins > 0) {
            return Err(UnplugError::Pinned(self.bo(*key)));
        }
        // If one of them cannot leave, nobody does.
        let mut sketch = Sketch::default();
        for key in &there {
            let possible = self.could_leave_to(&mut sketch, *key, memory, &self.objects[*key].evict_to, Shut::default());
            possible.map_err(|why| UnplugError::Evict(self.bo(*key), why.into()))?;
        }
        for key in there {
            let evict_to = self.objects[key].evict_to.clone();
            let bo = self.bo(key);
            self.push_out(key, Part::In(memory), &evict_to, Shut::default()).map_err(|why| UnplugError::Evict(bo, why.into()))?;
        }
        self.wait_all();
        match self.keys_in(memory).first() {
            Some(key) => Err(UnplugError::CopyFailed(self.bo(*key))),
            None => Ok(()),
        }
    }

    /// Takes an object's pages in one memory type, and with them what was in them.
    fn gut_in(&mut self, key: usize, memory: MemoryType) {
        let object = &mut self.objects[key];
        let old = object.pages_in(memory).into_iter().flat_map(|run| object.take(run)).collect();
        self.leave_for_nobody(key, old, self.objects[key].used_until);
        if self.objects[key].resident() == 0 {
            self.forget_pushed_out(key);
        }
        self.counters.gutted += 1;
    }

    /// The objects with pages in `memory`.
    fn keys_in(&self, memory: MemoryType) -> Vec<usize> {
        self.objects.iter().filter(|(_, object)| object.resident_in(memory) > 0).map(|(key, _)| key).collect()
    }
}
