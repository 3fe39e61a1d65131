//! Contents that can be checked: every word of a buffer follows from the seed, the buffer, its version and the word's place.

/// What one version of one buffer is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(u64);

impl Pattern {
    /// The pattern of `version` of `buffer` in the run of `seed`.
    pub(crate) fn new(seed: u64, buffer: u64, version: u64) -> Pattern {
        Pattern(scatter(scatter(scatter(seed) ^ buffer) ^ version))
    }

    /// Fills `bytes`, a whole number of words, as the words from `first_word` on.
    pub(crate) fn fill(self, first_word: u64, bytes: &mut [u8]) {
        for (word, place) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(first_word..) {
            *word = self.word(place).to_le_bytes();
        }
    }

    /// How many words of `bytes` are not what [`fill`](Self::fill) wrote, and the index of the first of them.
    pub(crate) fn check(self, first_word: u64, bytes: &[u8]) -> Option<Mismatch> {
        let wrong = |(word, place): (&[u8; 8], u64)| (u64::from_le_bytes(*word) != self.word(place)).then_some(place);
        let words = || bytes.as_chunks::<8>().0.iter().zip(first_word..);
        // Counting first keeps the good path free of branches.
        let count = words().filter(|&(word, place)| u64::from_le_bytes(*word) != self.word(place)).count() as u64;
        if count == 0 { None } else { words().find_map(wrong).map(|first_word| Mismatch { words: count, first_word }) }
    }

    /// No word appears twice in a pattern, and two patterns differ in every word, so bytes that are stale or out of place are seen.
    fn word(self, place: u64) -> u64 {
        scatter(self.0 ^ place)
    }
}

/// Words that are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// How many of them.
    pub(crate) words: u64,
    /// The first one's place in its buffer.
    pub(crate) first_word: u64,
}

/// A bijection on words: an odd factor, then the high half over the low.
fn scatter(word: u64) -> u64 {
    let product = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_checks() {
        let pattern = Pattern::new(1, 2, 3);
        let mut bytes = vec![0; 8192];
        pattern.fill(0, &mut bytes);
        assert_eq!(pattern.check(0, &bytes), None);
        assert_eq!(pattern.check(512, &bytes[4096..]), None);
    }

    #[test]
    fn one_wrong_bit_a_stale_version_and_a_shifted_page_are_seen() {
        let pattern = Pattern::new(1, 2, 3);
        let mut bytes = vec![0; 4096];
        pattern.fill(0, &mut bytes);
        for other in [Pattern::new(2, 2, 3), Pattern::new(1, 3, 3), Pattern::new(1, 2, 4)] {
            assert_eq!(other.check(0, &bytes), Some(Mismatch { words: 512, first_word: 0 }));
        }
        assert_eq!(pattern.check(512, &bytes), Some(Mismatch { words: 512, first_word: 512 }));
        bytes[4095] ^= 0x80;
        assert_eq!(pattern.check(0, &bytes), Some(Mismatch { words: 1, first_word: 511 }));
    }
}
