//! The seed corpus and some random bytes, without a fuzzer: what a stable toolchain can do.

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use pgmap_fuzz::driver::{Target, run};
use pgmap_fuzz::op::Input;

const TARGETS: [(&str, Target); 4] =
    [("request", Target::Request), ("free", Target::Free), ("lifecycle", Target::Lifecycle), ("handle", Target::Handle)];

#[test]
fn every_seed_agrees_with_the_model() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let seeds: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(seeds.len() >= 8, "{name} has only {} seeds", seeds.len());
        for seed in seeds {
            println!("{}", seed.display());
            replay(target, &fs::read(&seed).unwrap());
        }
    }
}

#[test]
fn random_inputs_agree_with_the_model() {
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..60 {
        let bytes: Vec<u8> = (0..rng.usize(16..2048)).map(|_| rng.u8(..)).collect();
        for (name, target) in TARGETS {
            println!("round {round}, {name}");
            replay(target, &bytes);
        }
    }
}

/// As libfuzzer would.
fn replay(target: Target, bytes: &[u8]) {
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) {
        run(target, &input);
    }
}
