//! Memory that the host device lends object by object: the plain way, without an allocator of the device's own.

use std::time::{Duration, Instant};

use crate::device::DeviceError;
use crate::host::zeroed;
use crate::peers::Holding;

/// The objects that were lent.
#[derive(Default)]
pub(crate) struct Lent {
    /// Empty where there is none at this moment.
    objects: Vec<Vec<u8>>,
    limit: u64,
    held: u64,
    time: Duration,
}

impl Lent {
    /// Begins anew; so many bytes may be lent at a time.
    pub(crate) fn with_limit(limit: u64) -> Lent {
        Lent { limit, ..Lent::default() }
    }

    /// Its length; none where there is no such object.
    pub(crate) fn size(&self, object: usize) -> Option<u64> {
        self.objects.get(object).filter(|object| !object.is_empty()).map(|object| object.len() as u64)
    }

    /// Its bytes; `object` must be one.
    pub(crate) fn bytes(&mut self, object: usize) -> &mut Vec<u8> {
        &mut self.objects[object]
    }

    /// Lends an object.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<Option<usize>, DeviceError> {
        if self.held + bytes > self.limit {
            return Ok(None);
        }
        let start = Instant::now();
        let memory = zeroed(bytes)?;
        self.time += start.elapsed();
        self.held += bytes;
        let free = self.objects.iter().position(Vec::is_empty).unwrap_or(self.objects.len());
        if free == self.objects.len() {
            self.objects.push(memory);
        } else {
            self.objects[free] = memory;
        }
        Ok(Some(free))
    }

    /// Takes an object back.
    pub(crate) fn put(&mut self, object: usize) -> Result<(), DeviceError> {
        self.held -= self.size(object).ok_or(DeviceError::OutOfBounds)?;
        let start = Instant::now();
        self.objects[object] = Vec::new();
        self.time += start.elapsed();
        Ok(())
    }

    /// What is lent.
    pub(crate) fn holding(&self) -> Holding {
        Holding { held_bytes: self.held, placed_bytes: self.held, spans: None }
    }

    /// Time spent in the process's own allocator.
    pub(crate) fn time(&self) -> Duration {
        self.time
    }
}
