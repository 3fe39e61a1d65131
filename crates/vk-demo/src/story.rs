//! The cases that every mover has to pass, on this program's: through Vulkan under the validation layer, of which not one message
//! is allowed, and through a host device on every machine. `pgmap-ttm` has the same cases on its own host mover.
//!
//! Without Vulkan or its validation layer those of them are skipped, unless `PGMAP_REQUIRE_VULKAN=1`.

use pgmap_ttm::conformance::{Rig, SWAP, Subject};
use pgmap_ttm::{MemoryType, Piece as Pages};

use crate::choose::Devices;
use crate::device::{Choices, Device, Layout};
use crate::faulty::{Fault, Faulty};
use crate::heap::{Heap, HeapOps, PAGE};
use crate::mover::{DeviceMover, HEAP};

/// Scratch: the cases write and read page by page.
const SCRATCH: u64 = 4;

fn layout(vram: u64, host: u64) -> Layout {
    Layout { objects: vec![vram * PAGE], staging: (host + SCRATCH) * PAGE, views: false }
}

fn on(device: &mut dyn Device, host: u64, case: impl FnOnce(Rig<'_, DeviceMover<'_, '_>, HeapOps>)) {
    let heap = Heap::new(device).unwrap();
    let mut rig = Rig::new(heap.pgmap(), DeviceMover::new(&heap, device, &[host]), host);
    let via = rig.host;
    rig.m.mover_mut().add_swap(SWAP, via).unwrap();
    case(rig);
}

impl Subject for DeviceMover<'_, '_> {
    fn page_bytes(&self) -> usize {
        PAGE as usize
    }

    fn write_piece(&mut self, piece: Pages, bytes: &[u8]) {
        let written = self.write(&[piece], bytes).unwrap();
        written.into_iter().for_each(|ticket| pgmap_ttm::Mover::wait(self, ticket).unwrap());
    }

    fn read_piece(&mut self, piece: Pages, into: &mut [u8]) {
        self.read(&[piece], into).unwrap();
    }

    fn hold(&mut self) -> Box<dyn FnOnce() + Send> {
        self.hold_device()
    }

    /// There is none between heap and swap by nature.
    fn detour(&mut self, from: MemoryType, to: MemoryType, via: MemoryType) {
        let mut ends = [from.index(), to.index()];
        ends.sort_unstable();
        assert_eq!((ends, via.index()), ([HEAP, HEAP + 2], HEAP + 1));
    }
}

mod on_vulkan {
    use super::*;

    fn skip(why: &str) {
        assert!(std::env::var_os("PGMAP_REQUIRE_VULKAN").is_none_or(|value| value != "1"), "Vulkan is required: {why}");
        println!("skipped: no Vulkan device under validation: {why}");
    }

    fn run(vram: u64, host: u64, case: impl FnOnce(Rig<'_, DeviceMover<'_, '_>, HeapOps>)) {
        let devices = match Devices::find(true) {
            Ok(devices) => devices,
            Err(why) => return skip(&why.to_string()),
        };
        // With validation, the host device is refused.
        let candidate = match devices.choose(None) {
            Ok(candidate) => candidate,
            Err(why) => return skip(&why.to_string()),
        };
        let mut device = candidate.open(&Choices::default()).unwrap().furnish(&layout(vram, host)).unwrap();
        on(device.as_mut(), host, case);
        // What is said while it is closed counts too.
        drop(device);
        let messages = devices.messages.clone().unwrap();
        drop(devices);
        assert_eq!(messages.count(), 0, "the validation layer spoke");
    }

    macro_rules! run_each {
        ($($case:ident($vram:literal, $host:literal))*) => {$(
            #[test]
            fn $case() {
                run($vram, $host, |rig| pgmap_ttm::conformance::cases::$case(rig));
            }
        )*};
    }
    pgmap_ttm::mover_cases!(run_each);
}

mod on_a_host_device {
    use super::*;

    macro_rules! run_each {
        ($($case:ident($vram:literal, $host:literal))*) => {$(
            #[test]
            fn $case() {
                let mut device = Faulty::open(&layout($vram, $host), Fault::None).unwrap();
                on(&mut device, $host, |rig| pgmap_ttm::conformance::cases::$case(rig));
            }
        )*};
    }
    pgmap_ttm::mover_cases!(run_each);
}
