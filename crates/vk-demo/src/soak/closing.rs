//! The end of a soak: the heap is unplugged under its objects, and everything is freed.

use pgmap_alloc::{Drain, Killed, Order};
use pgmap_ttm::{Audit, Counters, EvictError, UnplugError};

use super::findings::Findings;
use super::model::{Item, Model};
use crate::failure::Failure;
use crate::heap::HeapOps;

impl<'h> Model<'h, '_> {
    /// Frees everything, and counts what is then not free. A heap that could not be unplugged before can be now, if the device lives.
    pub(super) fn close(mut self) -> Result<(Findings, Counters), Failure> {
        for item in std::mem::take(&mut self.items) {
            for _ in 0..item.pins {
                // An unpin that fails shows in the free below.
                let _ = self.manager.unpin(item.bo);
            }
            if let Err(why) = self.manager.free(item.bo) {
                self.findings.problem(format!("free at the end: {why}"));
            }
        }
        if self.manager.mover().trouble().is_ok() && !self.findings.unplugged {
            match self.manager.unplug(self.vram) {
                Ok(killed) => self.drain(killed),
                Err(why) => self.findings.problem(format!("unplug of an empty heap: {why}")),
            }
        }
        for page in std::mem::take(&mut self.carved) {
            if let Err(why) = self.manager.give_back(self.vram, page) {
                self.findings.problem(format!("giving back a carve-out at the end: {why}"));
            }
        }
        self.manager.wait_all();
        match self.manager.audit() {
            Ok(audit) if audit == Audit::default() => {}
            other => self.findings.problem(format!("at the end: {other:?}")),
        }
        let used = |memory| self.manager.memory_usage(memory).map_or(0, |usage| usage.used + usage.carved);
        // The heap's own pages are counted by its pgmap.
        self.findings.retired_pages = self.heap.pgmap().retired().count() as u64;
        self.findings.leaks = used(self.host) + used(self.swap) + self.heap.pages_in_service()? - self.findings.retired_pages;
        Ok((self.findings.clone(), self.manager.counters()))
    }

    /// Unplugs the heap under its objects, if the rest of the memory holds them: a pinned one keeps it plugged, without pins everything
    /// leaves it, and every byte is there afterwards.
    pub(super) fn unplug(&mut self) -> Result<(), Failure> {
        let stands_there =
            |item: &Item| self.manager.pieces(item.bo).is_ok_and(|mut all| all.any(|(_, piece)| piece.memory == self.vram));
        if self.items.iter().any(|item| item.pins > 0 && stands_there(item)) {
            match self.manager.unplug(self.vram) {
                Err(UnplugError::Pinned(_)) => self.findings.refused += 1,
                other => self.findings.problem(format!("unplug under a pinned object: {:?}", other.err())),
            }
        }
        for item in &mut self.items {
            for _ in 0..std::mem::take(&mut item.pins) {
                if let Err(why) = self.manager.unpin(item.bo) {
                    self.findings.problem(format!("unpin at the end: {why}"));
                }
            }
        }
        self.verify_vanishing()?;
        let unplugged = self.manager.unplug(self.vram);
        self.manager.mover().trouble()?;
        match unplugged {
            Ok(killed) => {
                self.carved.clear();
                self.drain(killed);
            }
            // The host and the swap may be too full to take everything in.
            Err(UnplugError::Evict(_, why)) => {
                let copy = if let EvictError::Copy(copy) = why { Some(copy) } else { None };
                self.refused("unplug", &why, copy, true);
            }
            Err(why) => self.findings.problem(format!("unplug: {why}")),
        }
        self.forget_vanished();
        for item in 0..self.items.len() {
            self.verify(item)?;
        }
        self.end_sums()
    }

    /// Nothing of the manager is left there: there is nobody to wait for.
    fn drain(&mut self, killed: Killed<'h, HeapOps>) {
        match killed.poll_drain() {
            Drain::Done(drained) => drained.teardown(),
            Drain::Waiting(_, holdout) => self.findings.problem(format!("an unplugged heap has a folio in service: {holdout:?}")),
        }
        if self.heap.pgmap().alloc_folio(Order::ZERO).is_ok() {
            self.findings.problem("an unplugged heap still gives folios".into());
        }
        self.findings.unplugged = true;
    }
}
