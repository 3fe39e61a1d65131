//! The same words as four bits for each of sixteen entries: how the tables below the entries of another table are listed. What the
//! numbers mean is for `pool::listing` to say; here they are only compared.

use super::Table;
use crate::sync::{Ordering, order_after_write};

/// Classes in a word.
const EACH: u32 = 16;
/// A one in each class of a word.
const ONES: u64 = 0x1111_1111_1111_1111;

impl<const WORDS: usize> Table<WORDS> {
    /// How many entries have their class here.
    pub(crate) const CLASSES: u32 = EACH * WORDS as u32;

    /// The class of an entry.
    #[inline(always)]
    pub(crate) fn class(&self, at: u32) -> u8 {
        // SeqCst: pairs with `change_class`: the read half of "release, then look how the table is listed".
        of(self.word((at / EACH) as usize).load(Ordering::SeqCst), at)
    }

    /// Raises the class of an entry to `to`, unless it is that or higher; says what it was.
    ///
    /// Lock-free: a retry means that somebody else changed this word.
    #[inline]
    pub(crate) fn raise_class(&self, at: u32, to: u8) -> u8 {
        let word = self.word((at / EACH) as usize);
        // SeqCst: as in `class`, that of a failed exchange too.
        let mut seen = word.load(Ordering::SeqCst);
        loop {
            let class = of(seen, at);
            if class >= to {
                return class;
            }
            // SeqCst: the write half of "list, then search".
            match word.compare_exchange(seen, with(seen, at, to), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return class,
                Err(now) => seen = now,
            }
        }
    }

    /// Changes the class of an entry; `None`, and nothing is changed, if it is not `from`. Else says whether none of those in the word has
    /// that class any more. What is read afterwards comes after it.
    ///
    /// Lock-free: a retry means that somebody else changed this word.
    pub(crate) fn change_class(&self, at: u32, from: u8, to: u8) -> Option<bool> {
        let word = self.word((at / EACH) as usize);
        // SeqCst, all: the write half of "list lower, then look at the table".
        let mut seen = word.load(Ordering::SeqCst);
        while of(seen, at) == from {
            let changed = with(seen, at, to);
            match word.compare_exchange(seen, changed, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    order_after_write();
                    return Some(first(changed, from).is_none());
                }
                Err(now) => seen = now,
            }
        }
        None
    }

    /// The first of the entries in a word that has a class.
    #[inline]
    pub(crate) fn find_class(&self, word: u32, class: u8) -> Option<u32> {
        // SeqCst: the read half of "list, then search".
        first(self.word(word as usize).load(Ordering::SeqCst), class)
    }

    /// A bit for each of the entries in a word whose class is `least` or higher.
    pub(crate) fn classes_from(&self, word: u32, least: u8) -> u64 {
        // SeqCst: as in `find_class`.
        let seen = self.word(word as usize).load(Ordering::SeqCst);
        if seen == 0 && least > 0 {
            return 0;
        }
        from(seen, least)
    }

    /// Whether one of a run of entries, all of them in one word, has another class than zero; or one of all of the word.
    #[inline]
    pub(crate) fn any_class(&self, at: u32, order: u32) -> bool {
        let classes = if order < 4 { ((1 << (4 << order)) - 1) << (at % EACH * 4) } else { !0 };
        // SeqCst: as in `class`.
        self.word((at / EACH) as usize).load(Ordering::SeqCst) & classes != 0
    }
}

/// The first of the entries of a word that has a class.
#[inline(always)]
fn first(word: u64, class: u8) -> Option<u32> {
    let others = word ^ (ONES * u64::from(class));
    let found = !(others | others >> 1 | others >> 2 | others >> 3) & ONES;
    (found != 0).then(|| found.trailing_zeros() / 4)
}

/// A bit for each of the entries of a word whose class is `least` or higher, all at once.
const fn from(word: u64, least: u8) -> u64 {
    let high = word & ONES << 3;
    // The top bit of each class says whether its other three are as many as those of `least`.
    let enough = ((word & (ONES * 7)) | (ONES << 3)) - ONES * (least & 7) as u64;
    let found = if least < 8 { high | enough } else { high & enough };
    // Of each four bits the topmost, moved together.
    let mut found = found >> 3 & ONES;
    found = (found | found >> 3) & 0x0303_0303_0303_0303;
    found = (found | found >> 6) & 0x000F_000F_000F_000F;
    found = (found | found >> 12) & 0x0000_00FF_0000_00FF;
    (found | found >> 24) & 0xFFFF
}

#[inline(always)]
const fn of(word: u64, at: u32) -> u8 {
    (word >> (at % EACH * 4)) as u8 & 0xF
}

#[inline(always)]
const fn with(word: u64, at: u32, class: u8) -> u64 {
    word & !(0xF << (at % EACH * 4)) | (class as u64) << (at % EACH * 4)
}
