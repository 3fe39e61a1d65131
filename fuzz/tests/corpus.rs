//! The seed corpus and some random bytes, without a fuzzer: what a stable toolchain can do.

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use pgmap_fuzz::{bulk, driver, op, per_cpu};

/// A target by its name, and what it does with some bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 6] = [
    ("request", |bytes| replay(bytes, |input: &op::Input| driver::run(driver::Target::Request, input))),
    ("free", |bytes| replay(bytes, |input: &op::Input| driver::run(driver::Target::Free, input))),
    ("lifecycle", |bytes| replay(bytes, |input: &op::Input| driver::run(driver::Target::Lifecycle, input))),
    ("handle", |bytes| replay(bytes, |input: &op::Input| driver::run(driver::Target::Handle, input))),
    ("bulk", |bytes| replay(bytes, |input: &bulk::Input| bulk::run(input))),
    ("per_cpu", |bytes| replay(bytes, |input: &per_cpu::Input| per_cpu::run(input))),
];

#[test]
fn every_seed_agrees_with_the_model() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let seeds: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(seeds.len() >= 8, "{name} has only {} seeds", seeds.len());
        for seed in seeds {
            println!("{}", seed.display());
            target(&fs::read(&seed).unwrap());
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
            target(&bytes);
        }
    }
}

/// As libfuzzer would.
fn replay<I: for<'b> Arbitrary<'b>>(bytes: &[u8], run: impl Fn(&I)) {
    if let Ok(input) = I::arbitrary_take_rest(Unstructured::new(bytes)) {
        run(&input);
    }
}
