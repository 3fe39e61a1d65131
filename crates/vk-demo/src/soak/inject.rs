//! Steps of the manager that fail on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgmap_ttm::Step;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// One step in this many fails.
const ONE_IN: u32 = 24;

/// How often which step was made to fail.
#[derive(Clone, Default)]
pub(super) struct Injected(Arc<[AtomicU64; 4]>);

impl Injected {
    /// Fails steps at random, in the same order for the same seed.
    pub(super) fn hook(&self, seed: u64) -> impl FnMut(Step) -> bool + Send + 'static {
        let counts = Arc::clone(&self.0);
        // Another stream than that of the story.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(!seed);
        move |step| {
            let fails = random.random_range(0..ONE_IN) == 0;
            if fails {
                counts[index(step)].fetch_add(1, Ordering::Relaxed);
            }
            fails
        }
    }

    /// How often this step was made to fail.
    pub(super) fn count(&self, step: Step) -> u64 {
        self.0[index(step)].load(Ordering::Relaxed)
    }
}

fn index(step: Step) -> usize {
    match step {
        Step::Charge => 0,
        Step::Allocate => 1,
        Step::Copy => 2,
        Step::Fence => 3,
    }
}
