//! Handles that all share, on a bare pool and under folios, while some of them are in use.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgmap_fuzz::per_cpu::{Input, run};

fuzz_target!(|input: Input| run(&input));
