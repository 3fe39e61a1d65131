//! Many pages in one call, by the list and by the word, on the shared path and through handles.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgmap_fuzz::bulk::{Input, run};

fuzz_target!(|input: Input| run(&input));
