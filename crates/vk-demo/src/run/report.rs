//! What a run says of itself.

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::buffers::Closed;
use super::stats::Did;
use super::{Ended, Plan};
use crate::device::{Device, DeviceInfo, Work};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::gpu::Messages;
use crate::mover::Moved;
use crate::picture;
use crate::report::{self, Baseline, HeatMap, Output, Timeline};
use crate::size::Bytes;
use crate::views::Counts;

/// The schema of the result.
pub(super) const SCHEMA: &str = "vk-demo/run/2";
/// Its numbers that say how good it was, and those that say of what.
const RESULTS: [&str; 9] =
    ["total", "manager", "device", "host", "manager_percent", "evictions", "waits", "wrong_words", "leaked_pages"];
const SETTINGS: [&str; 7] = ["version", "device.name", "device.driver", "seed", "heap_bytes", "oversub", "ops"];

/// The result of `run`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    version: &'static str,
    device: DeviceInfo,
    /// "complete", "interrupted", or what the device said when it gave up.
    pub(super) ended: Ending,
    /// All was done, every byte that came back was what had been written, and no page was lost.
    pub(super) verified: bool,
    /// Whether the validation layer listened.
    validated: bool,
    pub(super) validation_messages: u64,
    seed: u64,
    heap_bytes: u64,
    objects_bytes: Vec<u64>,
    oversub: f64,
    largest_order: u32,
    ops: u64,
    buffers: usize,
    buffers_bytes: u64,
    checked_bytes: u64,
    pub(super) wrong_words: u64,
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
    folios_by_order: Vec<u64>,
    heat_map: HeatMap,
    /// How full and how fragmented the heap was, over the operations.
    timeline: Timeline,
}

/// Where the time went.
#[derive(Debug, Serialize)]
struct Seconds {
    total: f64,
    /// The manager's bookkeeping, taking and putting folios included.
    manager: f64,
    /// Submitting copies and waiting for them.
    device: f64,
    /// The rest: making and comparing contents.
    host: f64,
}

/// Buffers used through contiguous addresses.
#[derive(Debug, Serialize)]
pub(super) struct Sparse {
    pub(super) used: bool,
    granule_bytes: Option<u64>,
    /// Why they were not used, or not always.
    pub(super) note: Option<String>,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

impl Sparse {
    fn new(plan: &Plan, counts: Option<Counts>) -> Sparse {
        let counts = counts.unwrap_or_default();
        let (granule_bytes, note) = match &plan.sparse {
            Err(why) => (None, Some(format!("no sparse binding: {why}"))),
            Ok(granule) => (Some(*granule), (counts.in_pieces > 0).then(|| in_pieces(*granule, &counts))),
        };
        Sparse { used: counts.through_views > 0, granule_bytes, note, counts }
    }

    fn row(&self) -> (String, String) {
        let Counts { through_views, binds, bind_calls, most_runs, sums, .. } = self.counts;
        match self.granule_bytes {
            None => ("no".into(), self.note.clone().unwrap_or_default()),
            Some(granule) => {
                let granule = Bytes(granule);
                let more = format!("{binds} binds in {bind_calls} calls, granule {granule}\n{most_runs} runs in one, {sums} sums");
                (format!("{through_views} uses"), more)
            }
        }
    }
}

/// Folios that are smaller than a granule, or addresses that are used up.
fn in_pieces(granule: u64, counts: &Counts) -> String {
    let all = counts.in_pieces + counts.through_views;
    format!(
        "{} of {all} uses went piece by piece: folios smaller than the granule of {}, or no addresses left",
        counts.in_pieces,
        Bytes(granule)
    )
}

impl Report {
    pub(super) fn new(device: &dyn Device, plan: &Plan, ended: &Ended) -> Report {
        let Closed { stats, counters, moved, views } = &ended.closed;
        let (total, manager) = (ended.elapsed.as_secs_f64(), stats.manager.as_secs_f64());
        let wrong_sums = views.map_or(0, |views| views.wrong_sums);
        let on_device = stats.device.as_secs_f64();
        Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            device: device.info().clone(),
            ended: ended.ended.clone(),
            verified: ended.ended.is_complete() && stats.wrong_words == 0 && wrong_sums == 0 && ended.leaked_pages == 0,
            validated: false,
            validation_messages: 0,
            seed: plan.seed,
            heap_bytes: device.objects().iter().sum(),
            objects_bytes: device.objects().to_vec(),
            oversub: plan.oversub,
            largest_order: plan.largest_order.get(),
            ops: plan.ops,
            buffers: ended.buffers,
            buffers_bytes: plan.pages * crate::heap::PAGE,
            checked_bytes: stats.checked_bytes,
            wrong_words: stats.wrong_words,
            leaked_pages: ended.leaked_pages,
            did: stats.did,
            evictions: counters.evicted,
            waits: counters.waits,
            moved: *moved,
            work: device.work(),
            sparse: Sparse::new(plan, *views),
            seconds: Seconds { total, manager, device: on_device, host: (total - manager - on_device).max(0.0) },
            manager_percent: 100.0 * manager / total,
            folios_by_order: ended.folios_by_order.clone(),
            heat_map: ended.map.clone(),
            timeline: ended.timeline.clone(),
        }
    }

    /// Takes over what the validation layer has said.
    pub(super) fn count_messages(&mut self, messages: Option<&Messages>) {
        self.validated = messages.is_some();
        self.validation_messages = messages.map_or(0, Messages::count);
    }

    pub(super) fn write(&self, output: &mut Output, baseline: Option<&Baseline>) -> Result<(), Failure> {
        let changes = baseline.map(|baseline| baseline.changes(self, &RESULTS, &SETTINGS)).transpose()?;
        output.result(changes.as_deref(), || self.text(), self, &[Row::from(self)])
    }

    /// The heap before the end, and how it came to be so; beside it whatever else is to be seen.
    pub(super) fn picture(&self, curve: Vec<picture::Chart>) -> String {
        let device = &self.device;
        let verified = if self.verified { "every byte verified" } else { "NOT VERIFIED" };
        let subtitle = format!(
            "{} on {} ({}), buffers {} times its size, {} operations, {verified}, seed {}",
            Bytes(self.heap_bytes),
            device.name,
            device.kind.words(),
            self.oversub,
            self.did.ops,
            self.seed
        );
        let mut charts = vec![picture::over_time(&self.timeline, self.ops)];
        charts.extend(curve);
        picture::Picture { title: "Device memory in folios".into(), subtitle, map: Some(&self.heat_map), charts }.svg()
    }

    fn text(&self) -> String {
        let device = &self.device;
        let mut text = format!("{}\n{} ({})\n\n", report::headline(device), device.name, device.driver);
        text += &self.table().to_string();
        text += &format!("\n\n{}\n", self.heat_map.text());
        if let (Some(_), Some(note)) = (self.sparse.granule_bytes, &self.sparse.note) {
            text += &format!("{note}\n");
        }
        if let Some(note) = self.ended.note() {
            text += &format!("{note}\n");
        }
        text += &self.verdict();
        text
    }

    fn table(&self) -> Table {
        let mut table = report::table(&["", "", ""]);
        let (did, moved, seconds) = (&self.did, &self.moved, &self.seconds);
        let objects = match self.objects_bytes.len() {
            1 => "one memory object".to_owned(),
            many => format!("{many} memory objects"),
        };
        let (sparse, sparse_more) = self.sparse.row();
        let rows = [
            ("heap", Bytes(self.heap_bytes).to_string(), objects),
            ("buffers", Bytes(self.buffers_bytes).to_string(), format!("{} at {}x", self.buffers, self.oversub)),
            ("uses", (did.hits + did.faults).to_string(), format!("{} hits, {} faults", did.hits, did.faults)),
            ("evictions", self.evictions.to_string(), format!("{} waits for a copy", self.waits)),
            ("writes", did.writes.to_string(), format!("{} reads, {} moves", did.reads, did.moves)),
            ("to device", Bytes(moved.to_device_bytes).to_string(), self.rate(moved.to_device_bytes)),
            ("to host", Bytes(moved.to_host_bytes).to_string(), self.rate(moved.to_host_bytes)),
            ("within", Bytes(moved.within_device_bytes).to_string(), self.rate(moved.within_device_bytes)),
            ("submits", self.work.submits.to_string(), format!("{} regions", self.work.regions)),
            ("sparse", sparse, sparse_more),
            ("time", format!("{:.2} s", seconds.total), format!("{:.2} s device, {:.2} s host", seconds.device, seconds.host)),
            ("manager", format!("{:.2} ms", seconds.manager * 1e3), format!("{:.2} % of the time", self.manager_percent)),
            ("folios", self.folios_by_order.iter().sum::<u64>().to_string(), report::by_order(&self.folios_by_order)),
        ];
        for (what, value, more) in rows {
            table.add_row([what.to_owned(), value, more]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn rate(&self, bytes: u64) -> String {
        format!("{:.2} GB/s over the whole run", bytes as f64 / self.seconds.total / 1e9)
    }

    fn verdict(&self) -> String {
        let bytes = Bytes(self.checked_bytes);
        let mut text = match self.verified {
            _ if !self.ended.is_complete() => {
                format!("not verified: {} wrong words in {bytes} until then (seed {})", self.wrong_words, self.seed)
            }
            true => format!("verified: all {bytes} that came back are what was written, no page leaked (seed {})", self.seed),
            false => format!(
                "NOT VERIFIED: {} wrong words in {bytes}, {} wrong sums, {} pages leaked (seed {})",
                self.wrong_words, self.sparse.counts.wrong_sums, self.leaked_pages, self.seed
            ),
        };
        if self.validated {
            text += &format!("\nvalidation layer: {} messages", self.validation_messages);
        }
        text
    }
}

/// One line for a spreadsheet.
#[derive(Serialize)]
struct Row<'a> {
    device: &'a str,
    driver: &'a str,
    kind: crate::device::Kind,
    ended: &'a Ending,
    verified: bool,
    validation_messages: u64,
    seed: u64,
    heap_bytes: u64,
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
    leaked_pages: u64,
    regions: u64,
    submits: u64,
    sparse_uses: u64,
    binds: u64,
    seconds: f64,
    manager_percent: f64,
}

impl<'a> From<&'a Report> for Row<'a> {
    fn from(report: &'a Report) -> Row<'a> {
        Row {
            device: &report.device.name,
            driver: &report.device.driver,
            kind: report.device.kind,
            ended: &report.ended,
            verified: report.verified,
            validation_messages: report.validation_messages,
            seed: report.seed,
            heap_bytes: report.heap_bytes,
            oversub: report.oversub,
            largest_order: report.largest_order,
            ops: report.ops,
            buffers: report.buffers,
            hits: report.did.hits,
            faults: report.did.faults,
            evictions: report.evictions,
            moved_bytes: report.moved.total(),
            checked_bytes: report.checked_bytes,
            wrong_words: report.wrong_words,
            leaked_pages: report.leaked_pages,
            regions: report.work.regions,
            submits: report.work.submits,
            sparse_uses: report.sparse.counts.through_views,
            binds: report.sparse.counts.binds,
            seconds: report.seconds.total,
            manager_percent: report.manager_percent,
        }
    }
}
