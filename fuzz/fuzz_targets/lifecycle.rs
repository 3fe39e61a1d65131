//! The same operations on a pgmap that may be killed and drained at any point.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgmap_fuzz::driver::{Target, run};
use pgmap_fuzz::op::Input;

fuzz_target!(|input: Input| run(Target::Lifecycle, &input));
