//! The same operations on a pgmap through per-CPU handles and without them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgmap_fuzz::driver::{Target, run};
use pgmap_fuzz::op::Input;

fuzz_target!(|input: Input| run(Target::Handle, &input));
