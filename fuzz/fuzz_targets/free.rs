//! The same operations on a pgmap that is full at first: most of what happens is a put or a free.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgmap_fuzz::driver::{Target, run};
use pgmap_fuzz::op::Input;

fuzz_target!(|input: Input| run(Target::Free, &input));
