//! Who was used when: a plain least-recently-used order of buffers.

use std::collections::BTreeMap;

/// Buffers by the time of their last use.
#[derive(Default)]
pub(super) struct Lru {
    by_use: BTreeMap<u64, usize>,
    last_use: Vec<Option<u64>>,
    now: u64,
}

impl Lru {
    /// Makes a buffer the most recently used, whether it was listed or not.
    pub(super) fn touch(&mut self, buffer: usize) {
        self.remove(buffer);
        if self.last_use.len() <= buffer {
            self.last_use.resize(buffer + 1, None);
        }
        self.now += 1;
        self.last_use[buffer] = Some(self.now);
        self.by_use.insert(self.now, buffer);
    }

    /// Takes a buffer off the list, so that it cannot be evicted.
    pub(super) fn remove(&mut self, buffer: usize) {
        if let Some(used) = self.last_use.get_mut(buffer).and_then(Option::take) {
            self.by_use.remove(&used);
        }
    }

    /// Takes the least recently used buffer off the list.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let (_, buffer) = self.by_use.pop_first()?;
        self.last_use[buffer] = None;
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut lru = Lru::default();
        for buffer in [0, 1, 2, 0, 3] {
            lru.touch(buffer);
        }
        lru.remove(2);
        lru.remove(9);
        assert_eq!([lru.pop(), lru.pop(), lru.pop(), lru.pop()], [Some(1), Some(0), Some(3), None]);
    }
}
