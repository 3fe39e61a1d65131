//! Which pages are used, one after another.

use clap::ValueEnum;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

/// Hot pages come in groups of this many neighbours, as data of real programs does.
const GROUP: u64 = 64;
/// The exponent of the zipf trace.
const EXPONENT: f64 = 1.0;

/// Kinds of access trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trace {
    /// Every page in turn, round and round
    Stream,
    /// Every page as likely as any other
    Random,
    /// Few pages very often, most hardly ever
    Zipf,
    /// At random in the first half of the space, then at random in the second
    TwoPhase,
}

impl Trace {
    /// `accesses` pages of a space of `pages`, made one by one: a trace may be longer than memory.
    pub(super) fn pages(self, pages: u64, accesses: u64, seed: u64) -> Box<dyn Iterator<Item = u64>> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        match self {
            Trace::Stream => Box::new((0..accesses).map(move |at| at % pages)),
            Trace::Random => Box::new((0..accesses).map(move |_| random.random_range(0..pages))),
            Trace::Zipf => zipf(pages, accesses, random),
            Trace::TwoPhase => {
                let half = pages.div_ceil(2);
                let phase = move |at: u64| if at < accesses / 2 { 0..half } else { pages - half..pages };
                Box::new((0..accesses).map(move |at| random.random_range(phase(at))))
            }
        }
    }
}

/// Ranks are dealt out to groups of pages, so that what is hot is spread over the space and yet has neighbours.
fn zipf(pages: u64, accesses: u64, mut random: Xoshiro256PlusPlus) -> Box<dyn Iterator<Item = u64>> {
    let mut groups: Vec<u64> = (0..pages.div_ceil(GROUP)).collect();
    groups.shuffle(&mut random);
    let ranked: Vec<u64> = groups.iter().flat_map(|group| group * GROUP..((group + 1) * GROUP).min(pages)).collect();
    match Zipf::new(pages as f64, EXPONENT) {
        Ok(ranks) => {
            let page = move |_| ranked[(ranks.sample(&mut random) as usize - 1).min(ranked.len() - 1)];
            Box::new((0..accesses).map(page))
        }
        // A space of no pages, which the plan does not let through.
        Err(_) => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn all(trace: Trace, pages: u64, accesses: u64) -> Vec<u64> {
        trace.pages(pages, accesses, 7).collect()
    }

    fn share_of_hottest_tenth(trace: Trace) -> f64 {
        let mut uses = vec![0u64; 1000];
        trace.pages(1000, 50_000, 1).for_each(|page| uses[page as usize] += 1);
        uses.sort_unstable_by(|a, b| b.cmp(a));
        uses[..100].iter().sum::<u64>() as f64 / 50_000.0
    }

    #[test]
    fn each_trace_is_what_its_name_says() {
        assert_eq!(all(Trace::Stream, 3, 7), [0, 1, 2, 0, 1, 2, 0]);
        assert!(share_of_hottest_tenth(Trace::Random) < 0.2);
        assert!(share_of_hottest_tenth(Trace::Zipf) > 0.5);
        let phases = all(Trace::TwoPhase, 100, 1000);
        assert!(phases[..500].iter().all(|page| *page < 50) && phases[500..].iter().all(|page| *page >= 50));
    }

    #[test]
    fn a_trace_stays_inside_and_follows_from_its_seed() {
        for trace in [Trace::Stream, Trace::Random, Trace::Zipf, Trace::TwoPhase] {
            for pages in [1, 2, 63, 64, 65, 1000] {
                let once = all(trace, pages, 300);
                assert!(once.len() == 300 && once.iter().all(|page| *page < pages), "{trace:?} {pages}");
                assert_eq!(once, all(trace, pages, 300));
            }
        }
    }
}
