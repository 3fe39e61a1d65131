//! The idle runs in words, several words at once: each step is the same for every word.

/// The ones of a run of `order` entries in a word, at bit 0; `order` is at most 6.
#[inline]
pub(super) const fn ones(order: u32) -> u64 {
    !0 >> (64 - (1u32 << order))
}

/// The bits at which a run of each order may start. A word has no runs beyond order 6.
const STARTS: [u64; 8] =
    [!0, 0x5555_5555_5555_5555, 0x1111_1111_1111_1111, 0x0101_0101_0101_0101, 0x0001_0001_0001_0001, 0x0000_0001_0000_0001, 1, 0];

/// A run in one of several words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its order.
    pub(super) order: u32,
    /// Which word.
    pub(super) index: usize,
    /// Its start in the word.
    pub(super) bit: u32,
    /// Whether there is no other of the same size.
    pub(super) last: bool,
}

/// The starts of the runs of order `ORDER` that are not part of a larger one.
#[inline(always)]
const fn alone<const ORDER: usize>(stretches: u64) -> u64 {
    let starts = stretches & STARTS[ORDER];
    let larger = starts & starts >> (1 << ORDER) & STARTS[ORDER + 1];
    starts & !(larger | larger << (1 << ORDER))
}

/// Repeats a step for each order below 6, as a constant.
macro_rules! each_order {
    ($step:ident) => {
        $step!(0);
        $step!(1);
        $step!(2);
        $step!(3);
        $step!(4);
        $step!(5);
    };
}

/// A bit for each entry from which on `2^order` are idle, aligned or not; `order` is below 7.
#[inline(always)]
fn stretches(word: u64, order: u32) -> u64 {
    let mut stretches = word;
    macro_rules! step {
        ($order:literal) => {
            if order > $order {
                stretches &= stretches >> (1 << $order);
            }
        };
    }
    each_order!(step);
    stretches
}

/// The start of the first run of `order`, at most 6, in a word.
#[inline]
pub(super) fn first_run(word: u64, order: u32) -> Option<u32> {
    let starts = stretches(word, order) & STARTS[(order & 7) as usize];
    (starts != 0).then(|| starts.trailing_zeros())
}

/// The smallest idle run of at least `order`, but no word that is wholly idle; of those that are equally small, the lowest.
#[inline(always)]
pub(super) fn tightest_part<const N: usize>(words: &[u64; N], order: u32) -> Option<Found> {
    // Most words of a table that is in use are wholly taken.
    let mut parts = [(0, 0); N];
    let mut count = 0;
    for (index, &word) in words.iter().enumerate() {
        if word != 0 && word != !0 {
            let stretches = stretches(word, order);
            if stretches != 0 {
                parts[count & (N - 1)] = (stretches, index);
                count += 1;
            }
        }
    }
    let parts = parts.get_mut(..count)?;
    macro_rules! step {
        ($order:literal) => {
            if order <= $order {
                let mut found: Option<Found> = None;
                for (stretches, index) in parts.iter_mut() {
                    let alone = alone::<$order>(*stretches);
                    *stretches &= *stretches >> (1 << $order);
                    match &mut found {
                        None if alone == 0 => {}
                        None => {
                            let last = alone & (alone - 1) == 0;
                            found = Some(Found { order: $order, index: *index, bit: alone.trailing_zeros(), last });
                        }
                        Some(found) => found.last &= alone == 0,
                    }
                }
                if found.is_some() {
                    return found;
                }
            }
        };
    }
    each_order!(step);
    None
}

/// The smallest idle run of at least `order` in a word.
pub(super) fn tightest(word: u64, order: u32) -> Option<Found> {
    let whole = || (word == !0 && order <= 6).then_some(Found { order: 6, index: 0, bit: 0, last: true });
    tightest_part(&[word], order).or_else(whole)
}

/// The positions that hold the lower one of two neighbouring runs, of each order, in words of [`fold`].
const LOWER: [u64; 6] = [
    0x5555_5555_5555_5555,
    0x3333_3333_3333_3333,
    0x0F0F_0F0F_0F0F_0F0F,
    0x00FF_00FF_00FF_00FF,
    0x0000_FFFF_0000_FFFF,
    0x0000_0000_FFFF_FFFF,
];

/// From bits for the idle runs of order `ORDER` to those of the next order: half as many, so that two words go into one, as long as
/// there are two. A bit then stands for a run of one of the words that were folded; which one, are its lowest digits.
#[inline(always)]
fn fold<const ORDER: usize, const N: usize>(words: &mut [u64; N]) {
    let next = |word: u64| word & word >> (1 << ORDER) & LOWER[ORDER];
    if N >> ORDER > 1 {
        for index in 0..N >> (ORDER + 1) {
            let (even, odd) = ((2 * index) & (N - 1), (2 * index + 1) & (N - 1));
            words[index & (N - 1)] = next(words[even]) | next(words[odd]) << (1 << ORDER);
        }
    } else {
        words[0] = next(words[0]);
    }
}

/// Whether one of the words is not zero that are left after `ORDER` foldings.
#[inline(always)]
fn any_left<const ORDER: usize, const N: usize>(words: &[u64; N]) -> bool {
    words.iter().take((N >> ORDER).max(1)).fold(0, |any, word| any | word) != 0
}

/// Whether there is an idle run of `order`, at most 6.
#[inline]
pub(super) fn has<const N: usize>(mut words: [u64; N], order: u32) -> bool {
    macro_rules! step {
        ($order:literal) => {
            if order == $order {
                return any_left::<$order, N>(&words);
            }
            fold::<$order, N>(&mut words);
        };
    }
    each_order!(step);
    any_left::<6, N>(&words)
}

/// The order of the largest idle run.
#[inline]
pub(super) fn largest<const N: usize>(mut words: [u64; N]) -> Option<u32> {
    macro_rules! step {
        ($order:literal) => {
            if !any_left::<$order, N>(&words) {
                return u32::checked_sub($order, 1);
            }
            fold::<$order, N>(&mut words);
        };
    }
    each_order!(step);
    Some(if any_left::<6, N>(&words) { 6 } else { 5 })
}
