//! The same words as numbers that are only added to (`pool::runs`). Each stands for itself, so they need no ordering.

use super::Table;
use crate::sync::Ordering;

impl<const WORDS: usize> Table<WORDS> {
    /// How many bits the digit of a word has.
    pub(crate) const DIGIT: u32 = if WORDS <= 8 { 8 } else { 64 / WORDS as u32 };

    /// Adds 1 to the digits of `count` words of another table from `first` on, or takes 1 away; says which words have a digit of 1
    /// before and after, a bit each. All digits are in the first word, so each addition knows what it has changed.
    pub(crate) fn add_digits(&self, first: usize, count: usize, up: bool) -> (u64, u64) {
        let ones = (first..first + count).fold(0, |ones: u64, index| ones | 1 << (index as u32 * Self::DIGIT));
        let add = if up { ones } else { ones.wrapping_neg() };
        // Relaxed: a number, nothing hangs on it.
        let before = self.word(0).fetch_add(add, Ordering::Relaxed);
        (Self::raised(before), Self::raised(before.wrapping_add(add)))
    }

    /// The digits that are 1 or more: between two additions that belong together one may be -1 or 2.
    fn raised(digits: u64) -> u64 {
        let (mask, bias) = (!0 >> (64 - Self::DIGIT), (1 << (Self::DIGIT - 1)) >> 1);
        let all = (0..WORDS as u32).fold(0, |all: u64, index| all | bias << (index * Self::DIGIT));
        let digits = digits.wrapping_add(all);
        (0..WORDS as u32).fold(0, |raised, index| {
            let digit = digits >> (index * Self::DIGIT) & mask;
            raised | u64::from(digit > bias) << index
        })
    }

    /// Adds to a number.
    pub(crate) fn add(&self, index: usize, number: i64) {
        // Relaxed: as above.
        self.word(index).fetch_add(number as u64, Ordering::Relaxed);
    }

    /// A number.
    pub(crate) fn number(&self, index: usize) -> i64 {
        // Relaxed: as above.
        self.word(index).load(Ordering::Relaxed) as i64
    }
}
