//! The ranges in order, by offset or by address: a treap over their slots.
//!
//! A slot stands above another if its rank is higher, a hash of its number: so the tree is as deep as a random one, O(log n) in the
//! expectation, whatever the order in which ranges come and go. There are two copies of it (`ranges`): readers see one that
//! is not being changed, or throw away what they found. They take no more steps than there are ranges, so they come to an end in
//! any case.

use super::slot::{By, NONE, Name, RangeSlot};
use crate::memory::Memory;

/// The tree below a root in one of the two copies.
#[derive(Clone, Copy)]
pub(super) struct Tree<'r> {
    pub(super) slots: &'r Memory<'r, RangeSlot>,
    pub(super) by: By,
    pub(super) copy: usize,
}

/// Where the name of a subtree stands.
#[derive(Clone, Copy)]
enum Hook {
    Root,
    Left(Name),
    Right(Name),
}

/// The slot with a name.
#[inline]
pub(super) fn slot<'r>(slots: &'r Memory<'_, RangeSlot>, name: Name) -> Option<&'r RangeSlot> {
    slots.get(name.checked_sub(1)? as usize)
}

/// Where a slot stands in relation to others: two rounds of Fibonacci hashing, no two names alike.
const fn rank(name: Name) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let once = (name as u64).wrapping_mul(GOLDEN);
    (once ^ once >> 32).wrapping_mul(GOLDEN)
}

impl<'r> Tree<'r> {
    #[inline]
    fn slot(&self, name: Name) -> Option<&'r RangeSlot> {
        slot(self.slots, name)
    }

    fn key(&self, name: Name) -> u64 {
        self.slot(name).map_or(0, |slot| slot.key(self.by))
    }

    fn links(&self, name: Name) -> (Name, Name) {
        self.slot(name).map_or((NONE, NONE), |slot| slot.links(self.by, self.copy))
    }

    /// The first range of which `is_past` holds, which holds of all after it too. Looks at no more than `most`.
    #[inline]
    pub(super) fn first(&self, root: Name, most: u32, is_past: impl Fn(&RangeSlot) -> bool) -> Name {
        let (mut found, mut at) = (NONE, root);
        for _ in 0..most {
            let Some(slot) = self.slot(at) else { break };
            let (left, right) = slot.links(self.by, self.copy);
            at = if is_past(slot) {
                found = at;
                left
            } else {
                right
            };
        }
        found
    }

    /// The last range of which `is_before` holds, which holds of all before it too. Looks at no more than `most`.
    #[inline]
    pub(super) fn last(&self, root: Name, most: u32, is_before: impl Fn(&RangeSlot) -> bool) -> Name {
        let (mut found, mut at) = (NONE, root);
        for _ in 0..most {
            let Some(slot) = self.slot(at) else { break };
            let (left, right) = slot.links(self.by, self.copy);
            at = if is_before(slot) {
                found = at;
                right
            } else {
                left
            };
        }
        found
    }

    fn hang(&self, root: &mut Name, hook: Hook, name: Name) {
        let (above, links) = match hook {
            Hook::Root => return *root = name,
            Hook::Left(above) => (above, (name, self.links(above).1)),
            Hook::Right(above) => (above, (self.links(above).0, name)),
        };
        if let Some(slot) = self.slot(above) {
            slot.set_links(self.by, self.copy, links);
        }
    }

    /// Puts a slot in. The caller is the writer, and no reader relies on this copy.
    pub(super) fn insert(&self, root: &mut Name, new: Name) {
        let key = self.key(new);
        let (mut hook, mut at) = (Hook::Root, *root);
        while at != NONE && rank(at) > rank(new) {
            let (left, right) = self.links(at);
            (hook, at) = if key < self.key(at) { (Hook::Left(at), left) } else { (Hook::Right(at), right) };
        }
        self.hang(root, hook, new);
        // What stood here is below it now, cut in two at its key.
        let (mut low, mut high) = (Hook::Left(new), Hook::Right(new));
        while at != NONE {
            let (left, right) = self.links(at);
            if self.key(at) < key {
                self.hang(root, low, at);
                (low, at) = (Hook::Right(at), right);
            } else {
                self.hang(root, high, at);
                (high, at) = (Hook::Left(at), left);
            }
        }
        self.hang(root, low, NONE);
        self.hang(root, high, NONE);
    }

    /// Takes a slot out; as [`Tree::insert`].
    pub(super) fn remove(&self, root: &mut Name, old: Name) {
        let key = self.key(old);
        let (mut hook, mut at) = (Hook::Root, *root);
        while at != NONE && at != old {
            let (left, right) = self.links(at);
            (hook, at) = if key < self.key(at) { (Hook::Left(at), left) } else { (Hook::Right(at), right) };
        }
        // What stood below it takes its place, as one.
        let (mut left, mut right) = self.links(old);
        while left != NONE && right != NONE {
            if rank(left) > rank(right) {
                self.hang(root, hook, left);
                (hook, left) = (Hook::Right(left), self.links(left).1);
            } else {
                self.hang(root, hook, right);
                (hook, right) = (Hook::Left(right), self.links(right).0);
            }
        }
        self.hang(root, hook, left.max(right));
    }
}
