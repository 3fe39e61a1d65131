//! Every case of `benches::counts` under callgrind; `.ci/counts` compares what comes out with the table in the tree.

// What the macros make has no documentation.
#![allow(missing_docs)]

use benches::counts::{Case, Ready, cases};
use gungraun::{library_benchmark, library_benchmark_group, main};

// One case, all that prepares it left out.
#[library_benchmark]
#[benches::number(iter = cases(), setup = Case::prepare)]
fn count(case: Ready) -> Ready {
    case.run()
}

library_benchmark_group!(name = paths, benchmarks = count);
main!(library_benchmark_groups = paths);
