//! What of a device was used: types of memory, families of queues, and what of that is worth a word.

use serde::Serialize;

use crate::device::{DeviceInfo, Layout, Roles};
use crate::memory_types::{Chosen, Properties};

/// Of a Vulkan device.
#[derive(Debug, Serialize)]
pub(crate) struct Used {
    /// The memory that folios are of.
    folios: Option<Chosen>,
    /// The memory that copies go through.
    staging: Option<Chosen>,
    /// The families of queues.
    queues: Roles,
    /// What is unusual.
    notes: Vec<&'static str>,
}

impl Used {
    /// None on the host device.
    pub(crate) fn of(info: &DeviceInfo, layout: &Layout) -> Option<Used> {
        let queues = info.roles?;
        let folios = info.folio_type(layout);
        let staging = info.staging_type(layout.staging).and_then(Result::ok);
        let lacks = |wanted| staging.is_some_and(|chosen| !chosen.properties.has(wanted));
        let notes = [
            (lacks(Properties::HOST_COHERENT), "the memory for copies is not coherent: it is flushed and read anew by hand"),
            (lacks(Properties::HOST_CACHED), "the memory for copies is not cached: the host reads it slowly, and checks with it"),
            (staging.is_some_and(|staging| staging.heap == info.heap.index), "the memory for copies is of the same heap as folios"),
        ];
        let notes = notes.into_iter().filter(|(there, _)| *there).map(|(_, note)| note).collect();
        Some(Used { folios, staging, queues, notes })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let memory = |what: &str, chosen: Option<Chosen>| {
            chosen.map(|Chosen { index, heap, properties }| {
                format!("{what} in memory type {index} of heap {heap} ({})", properties.words().join(", "))
            })
        };
        let Roles { copying, summing, .. } = self.queues;
        let queues = match summing {
            Some(summing) if summing == copying => format!("copies and sums on queue family {copying}"),
            Some(summing) => format!("copies on queue family {copying}, sums on {summing}"),
            None => format!("copies on queue family {copying}, no sums"),
        };
        let parts = [memory("folios", self.folios), memory("copies", self.staging), Some(queues)];
        let mut text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
        for note in &self.notes {
            text += &format!("\n{note}");
        }
        text
    }
}
