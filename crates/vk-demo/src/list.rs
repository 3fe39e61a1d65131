//! What there is: devices, heaps, types of memory, budgets, and the features that will be used.

use comfy_table::Table;
use serde::Serialize;

use crate::Verdict;
use crate::choose::{Candidate, Devices};
use crate::cli::{Format, OutputOptions};
use crate::device::{Choices, DeviceInfo, HeapDetails, Kind, Sparse};
use crate::failure::Failure;
use crate::report::{self, Output};
use crate::size::Bytes;

/// The result of `list`.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    version: &'static str,
    /// Why there is no Vulkan, where there is none.
    no_vulkan: Option<&'a str>,
    devices: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    index: usize,
    #[serde(flatten)]
    info: &'a DeviceInfo,
}

/// Runs the command.
pub(crate) fn command(options: &OutputOptions) -> Result<Verdict, Failure> {
    let found = Devices::find(false)?;
    let mut output = Output::open(options)?;
    let infos: Vec<DeviceInfo> = found.all().iter().map(told).collect();
    let devices: Vec<Listed<'_>> = infos.iter().enumerate().map(|(index, info)| Listed { index, info }).collect();
    match output.format() {
        Format::Table => output.text(&text(&devices, found.no_vulkan.as_deref(), output.width()))?,
        Format::Csv => output.csv(&devices.iter().map(Row::from).collect::<Vec<_>>())?,
        Format::Json => output.json(&Report {
            schema: "vk-demo/list/1",
            version: env!("CARGO_PKG_VERSION"),
            no_vulkan: found.no_vulkan.as_deref(),
            devices,
        })?,
    }
    Ok(Verdict::Good)
}

/// What a device tells once it is open; one that does not open says why.
fn told(candidate: &Candidate) -> DeviceInfo {
    if candidate.info().unusable.is_some() {
        return candidate.info().clone();
    }
    match candidate.open(&Choices::default()) {
        Ok(open) => open.info().clone(),
        Err(why) => DeviceInfo { unusable: Some(why.to_string()), ..candidate.info().clone() },
    }
}

fn text(devices: &[Listed<'_>], no_vulkan: Option<&str>, width: Option<usize>) -> String {
    let mut table = report::table(&["", "device", "kind", "Vulkan", "heap", "budget", "object", "will be used"]);
    for Listed { index, info } in devices {
        table.add_row([
            index.to_string(),
            format!("{}\n{}", info.name, info.driver),
            info.kind.words().replace(" (", "\n("),
            info.api.clone().unwrap_or_default(),
            Bytes(info.heap.bytes).to_string(),
            format!("{}\n({})", Bytes(info.heap.budget_bytes), info.heap.budget_from),
            format!("up to\n{}", Bytes(info.max_object_bytes)),
            info.unusable.clone().map_or_else(|| used(info), |why| format!("cannot be used: {why}")),
        ]);
    }
    let fitted = |table| report::fitted(table, width, &[]);
    let mut text = fitted(table);
    if devices.iter().any(|listed| !listed.info.heaps.is_empty()) {
        text += &format!("\n\n{}\n\n{}", fitted(heaps(devices)), fitted(queues(devices)));
    }
    if let Some(why) = no_vulkan {
        text += &format!("\nNo Vulkan here: {why}.");
    }
    text
}

/// Every heap of every device.
fn heaps(devices: &[Listed<'_>]) -> Table {
    let mut table = report::table(&["", "heap", "size", "budget", "in use", "", "types of memory"]);
    for Listed { index, info } in devices {
        for (number, heap) in info.heaps.iter().enumerate() {
            let size = |bytes: Option<u64>| bytes.map_or("not told".into(), |bytes| Bytes(bytes).to_string());
            table.add_row([
                index.to_string(),
                number.to_string(),
                Bytes(heap.bytes).to_string(),
                size(heap.budget_bytes),
                size(heap.usage_bytes),
                place(heap).into(),
                heap.types
                    .iter()
                    .map(|kind| format!("{}: {}", kind.index, words(&kind.properties.words())))
                    .collect::<Vec<_>>()
                    .join("\n"),
            ]);
        }
    }
    table
}

/// Every family of queues of every device.
fn queues(devices: &[Listed<'_>]) -> Table {
    let mut table = report::table(&["", "queues", "", "what they do", "used for"]);
    for Listed { index, info } in devices {
        for (family, details) in (0..).zip(&info.queues) {
            let roles = info.roles.map(|roles| {
                [(Some(roles.copying), "copies"), (roles.summing, "sums"), (roles.binding, "binds")]
                    .into_iter()
                    .filter(|(who, _)| *who == Some(family))
                    .map(|(_, what)| what)
                    .collect::<Vec<_>>()
                    .join(", ")
            });
            let row = [index.to_string(), family.to_string(), format!("{}x", details.queues), details.does.join(", ")];
            table.add_row(row.into_iter().chain([roles.unwrap_or_default()]));
        }
    }
    table
}

fn place(heap: &HeapDetails) -> &'static str {
    match (heap.device_local, heap.used) {
        (true, true) => "device-local,\nused for folios",
        (true, false) => "device-local",
        (false, true) => "used for folios",
        (false, false) => "host's",
    }
}

fn words(properties: &[&str]) -> String {
    if properties.is_empty() { "nothing special".into() } else { properties.join(", ") }
}

fn used(info: &DeviceInfo) -> String {
    if info.kind == Kind::Host {
        return "the CPU's copies".into();
    }
    let features = &info.features;
    let names = [
        (features.timeline_semaphore, "timeline semaphore"),
        (features.memory_budget, "memory budget"),
        (features.memory_priority, "memory priority"),
        (features.transfer_queue, "copy queue"),
    ];
    let mut used: Vec<String> = names.iter().filter(|(there, _)| *there).map(|(_, name)| (*name).into()).collect();
    used.push(match &info.sparse {
        Sparse::Granule { granule_bytes, .. } => format!("sparse binding,\ngranule {}", Bytes(*granule_bytes)),
        Sparse::Missing { missing } => format!("(no sparse binding:\n{missing})"),
    });
    used.join("\n")
}

/// One line for a spreadsheet.
#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    name: &'a str,
    driver: &'a str,
    kind: Kind,
    api: Option<&'a str>,
    heap_bytes: u64,
    budget_bytes: u64,
    budget_from: &'a str,
    max_object_bytes: u64,
    timeline_semaphore: bool,
    memory_budget: bool,
    memory_priority: bool,
    transfer_queue: bool,
    sparse_binding: bool,
    sparse_granule_bytes: Option<u64>,
    heaps: usize,
    memory_types: usize,
    unusable: Option<&'a str>,
}

impl<'a> From<&Listed<'a>> for Row<'a> {
    fn from(&Listed { index, info }: &Listed<'a>) -> Row<'a> {
        Row {
            index,
            name: &info.name,
            driver: &info.driver,
            kind: info.kind,
            api: info.api.as_deref(),
            heap_bytes: info.heap.bytes,
            budget_bytes: info.heap.budget_bytes,
            budget_from: info.heap.budget_from,
            max_object_bytes: info.max_object_bytes,
            timeline_semaphore: info.features.timeline_semaphore,
            memory_budget: info.features.memory_budget,
            memory_priority: info.features.memory_priority,
            transfer_queue: info.features.transfer_queue,
            sparse_binding: info.features.sparse_binding,
            sparse_granule_bytes: info.sparse.granule(),
            heaps: info.heaps.len(),
            memory_types: info.heaps.iter().map(|heap| heap.types.len()).sum(),
            unusable: info.unusable.as_deref(),
        }
    }
}
