//! What a run says of itself.

use serde::Serialize;

use super::buffers::Closed;
use super::stats::Did;
use super::{Ended, Run};
use crate::device::{Device, Work};
use crate::mover::Moved;
use crate::picture::{self, Picture};
use crate::report::{self, Coverage, Head, HeatMap, Outcome, Timeline};
use crate::size::Bytes;
use crate::views::Counts;

/// What came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Ran {
    objects_bytes: Vec<u64>,
    oversub: f64,
    largest_order: u32,
    ops: u64,
    buffers: usize,
    buffers_bytes: u64,
    checked_bytes: u64,
    pub(super) wrong_words: u64,
    /// Said in the head.
    #[serde(skip)]
    coverage: Coverage,
    /// How often the device itself summed what had come into the heap, of how many bytes, and how many of these sums were wrong.
    pub(super) device_sums: u64,
    summed_bytes: u64,
    pub(super) wrong_sums: u64,
    pub(super) leaked_pages: u64,
    did: Did,
    /// Buffers moved out to make room.
    evictions: u64,
    /// Times that the manager had to wait for a copy.
    waits: u64,
    moved: Moved,
    work: Work,
    pub(super) sparse: Sparse,
    seconds: Seconds,
    manager_percent: f64,
    /// Folios put into service, by order.
    pub(super) folios_by_order: Vec<u64>,
    heat_map: HeatMap,
    /// How full and how fragmented the heap was, over the operations.
    timeline: Timeline,
    /// Drawn beside it.
    #[serde(skip)]
    curve: Vec<picture::Chart>,
}

/// Where the time went.
#[derive(Debug, Serialize)]
struct Seconds {
    total: f64,
    /// The manager's bookkeeping, taking and putting folios included.
    manager: f64,
    /// Submitting copies and waiting for them.
    device: f64,
    /// Reading back, comparing, asking for sums.
    checking: f64,
    /// The rest: making contents.
    host: f64,
}

/// Buffers used through contiguous addresses.
#[derive(Debug, Serialize)]
pub(crate) struct Sparse {
    pub(super) used: bool,
    granule_bytes: Option<u64>,
    /// Why they were not used, or not always.
    pub(super) note: Option<String>,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

impl Sparse {
    fn new(run: &Run, counts: Option<Counts>) -> Sparse {
        let counts = counts.unwrap_or_default();
        let (granule_bytes, note) = match &run.sparse {
            Err(why) => (None, Some(format!("no sparse binding: {why}"))),
            Ok(granule) => (Some(*granule), (counts.in_pieces > 0).then(|| in_pieces(*granule, &counts))),
        };
        Sparse { used: counts.through_views > 0, granule_bytes, note, counts }
    }

    /// What is to be said of views that were not always used.
    fn shortcoming(&self) -> Option<&str> {
        self.note.as_deref().filter(|_| self.granule_bytes.is_some())
    }

    fn row(&self) -> (String, String) {
        let Counts { through_views, binds, bind_calls, most_runs, .. } = self.counts;
        match self.granule_bytes {
            None => ("no".into(), self.note.clone().unwrap_or_default()),
            Some(granule) => {
                let granule = Bytes(granule);
                let more = format!("{binds} binds in {bind_calls} calls, granule {granule}\n{most_runs} runs in one");
                (format!("{through_views} uses"), more)
            }
        }
    }
}

/// Folios that are smaller than a granule, or addresses that are used up.
fn in_pieces(granule: u64, counts: &Counts) -> String {
    let all = counts.in_pieces + counts.through_views;
    format!(
        "{} of {all} uses went piece by piece: buffers or folios smaller than the granule of {}, or no addresses left",
        counts.in_pieces,
        Bytes(granule)
    )
}

impl Ran {
    pub(super) fn new(device: &dyn Device, run: &Run, ended: Ended) -> Ran {
        let Closed { stats, sums, counters, moved, views } = &ended.closed;
        let (total, manager) = (ended.elapsed.as_secs_f64(), stats.manager.as_secs_f64());
        let (on_device, checking) = (stats.device.as_secs_f64(), stats.checking.as_secs_f64());
        Ran {
            objects_bytes: device.objects().to_vec(),
            oversub: run.oversub,
            largest_order: run.largest_order.get(),
            ops: run.ops,
            buffers: ended.buffers,
            buffers_bytes: run.pages * crate::heap::PAGE,
            checked_bytes: stats.checked_bytes,
            wrong_words: stats.wrong_words,
            coverage: Coverage { written_bytes: stats.written_bytes, compared_bytes: stats.proven_bytes },
            device_sums: sums.sums,
            summed_bytes: sums.bytes,
            wrong_sums: sums.wrong,
            leaked_pages: ended.leaked_pages,
            did: stats.did,
            evictions: counters.evicted,
            waits: counters.waits,
            moved: *moved,
            work: device.work(),
            sparse: Sparse::new(run, *views),
            seconds: Seconds {
                total,
                manager,
                device: on_device,
                checking,
                host: (total - manager - on_device - checking).max(0.0),
            },
            manager_percent: 100.0 * manager / total,
            folios_by_order: ended.folios_by_order,
            heat_map: ended.map,
            timeline: ended.timeline,
            curve: run.curve.clone(),
        }
    }

    fn rate(&self, bytes: u64) -> String {
        format!("{:.2} GB/s without the time for checking", bytes as f64 / (self.seconds.total - self.seconds.checking) / 1e9)
    }
}

impl Outcome for Ran {
    const SCHEMA: &'static str = "vk-demo/run/3";
    const RESULTS: &'static [&'static str] = &[
        "total",
        "manager",
        "device",
        "host",
        "checking",
        "manager_percent",
        "evictions",
        "waits",
        "wrong_words",
        "wrong_sums",
        "leaked_pages",
    ];
    const SETTINGS: &'static [&'static str] = &["oversub", "ops"];
    type Line = Row;

    fn is_good(&self) -> bool {
        self.wrong_words == 0 && self.wrong_sums == 0 && self.leaked_pages == 0
    }

    fn coverage(&self) -> Coverage {
        self.coverage
    }

    fn verdict(&self) -> String {
        let mut text = format!("{} came back, {} wrong words, ", Bytes(self.checked_bytes), self.wrong_words);
        if self.device_sums > 0 {
            let (sums, bytes, wrong) = (self.device_sums, Bytes(self.summed_bytes), self.wrong_sums);
            text += &format!("{sums} sums of {bytes} by the device, {wrong} wrong, ");
        }
        text + &format!("{} leaked pages", self.leaked_pages)
    }

    fn text(&self, head: &Head) -> String {
        let (did, moved, seconds) = (&self.did, &self.moved, &self.seconds);
        let objects = match self.objects_bytes.len() {
            1 => "one memory object".to_owned(),
            many => format!("{many} memory objects"),
        };
        let (sparse, sparse_more) = self.sparse.row();
        let times = format!("{:.2} s device, {:.2} s host,\n{:.2} s checking", seconds.device, seconds.host, seconds.checking);
        let facts = report::facts([
            ("heap", Bytes(head.heap_bytes).to_string(), objects),
            ("buffers", Bytes(self.buffers_bytes).to_string(), format!("{} at {}x", self.buffers, self.oversub)),
            ("uses", (did.hits + did.faults).to_string(), format!("{} hits, {} faults", did.hits, did.faults)),
            ("evictions", self.evictions.to_string(), format!("{} waits for a copy", self.waits)),
            ("writes", did.writes.to_string(), format!("{} reads, {} moves", did.reads, did.moves)),
            ("to device", Bytes(moved.to_device_bytes).to_string(), self.rate(moved.to_device_bytes)),
            ("to host", Bytes(moved.to_host_bytes).to_string(), self.rate(moved.to_host_bytes)),
            ("within", Bytes(moved.within_device_bytes).to_string(), self.rate(moved.within_device_bytes)),
            ("submits", self.work.submits.to_string(), format!("{} regions", self.work.regions)),
            ("sparse", sparse, sparse_more),
            ("time", format!("{:.2} s", seconds.total), times),
            ("manager", format!("{:.2} ms", seconds.manager * 1e3), format!("{:.2} % of the time", self.manager_percent)),
            ("folios", self.folios_by_order.iter().sum::<u64>().to_string(), report::by_order(&self.folios_by_order)),
        ]);
        let table = report::fitted(facts, head.width, &[]);
        let note = self.sparse.shortcoming().map_or(String::new(), |note| format!("\n{note}"));
        format!("{table}\n\n{}{note}", self.heat_map.text())
    }

    fn lines(&self) -> Vec<Row> {
        let row = Row {
            oversub: self.oversub,
            largest_order: self.largest_order,
            ops: self.ops,
            buffers: self.buffers,
            hits: self.did.hits,
            faults: self.did.faults,
            evictions: self.evictions,
            moved_bytes: self.moved.total(),
            checked_bytes: self.checked_bytes,
            wrong_words: self.wrong_words,
            device_sums: self.device_sums,
            wrong_sums: self.wrong_sums,
            leaked_pages: self.leaked_pages,
            regions: self.work.regions,
            submits: self.work.submits,
            sparse_uses: self.sparse.counts.through_views,
            binds: self.sparse.counts.binds,
            seconds: self.seconds.total,
            manager_percent: self.manager_percent,
        };
        vec![row]
    }

    /// The heap before the end, and how it came to be so; beside it whatever else is to be seen.
    fn picture(&self, head: &Head) -> Picture<'_> {
        let heap = Bytes(head.heap_bytes);
        let subtitle = format!("{heap}, buffers {} times its size, {} operations", self.oversub, self.did.ops);
        let mut charts = vec![picture::over_time(&self.timeline, self.ops)];
        charts.extend(self.curve.iter().cloned());
        Picture { title: "Device memory in folios".into(), subtitle, map: Some(&self.heat_map), charts }
    }
}

/// What a spreadsheet has of it.
#[derive(Serialize)]
pub(crate) struct Row {
    oversub: f64,
    largest_order: u32,
    ops: u64,
    buffers: usize,
    hits: u64,
    faults: u64,
    evictions: u64,
    moved_bytes: u64,
    checked_bytes: u64,
    wrong_words: u64,
    device_sums: u64,
    wrong_sums: u64,
    leaked_pages: u64,
    regions: u64,
    submits: u64,
    sparse_uses: u64,
    binds: u64,
    seconds: f64,
    manager_percent: f64,
}
