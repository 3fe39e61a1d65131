//! Requests, gets, puts and frees on a pgmap that is idle at first.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgmap_fuzz::driver::{Target, run};
use pgmap_fuzz::op::Input;

fuzz_target!(|input: Input| run(Target::Request, &input));
