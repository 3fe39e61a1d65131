//! The story of TTM's own unit tests on the host mover, case by case; `vk-demo` has the same on Vulkan.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;

use pgmap_ttm::conformance::cases;
use support::{pgmap, rig};

macro_rules! on_host {
    ($($case:ident($vram:literal, $host:literal))*) => {
        $(
            #[test]
            fn $case() {
                let pgmap = pgmap($vram);
                cases::$case(rig(&pgmap, $host));
            }
        )*

        const LISTED: &[&str] = &[$(stringify!($case)),*];
    };
}
pgmap_ttm::mover_cases!(on_host);

#[test]
fn every_case_is_in_the_list() {
    let text = include_str!("../src/conformance/cases.rs");
    let written: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub fn ")).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(written, LISTED.iter().copied().collect());
}
