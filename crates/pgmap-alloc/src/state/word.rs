//! The folio word, atomically: each transition with its orderings.

use super::snapshot::{AfterPut, BAD, Condemned, Ending, Expect, FreezeFault, PutFault, Snapshot, State};
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering, const_outside_models, metadata, order_after_write, overwrite};

metadata! {
    /// The folio word of one page; callers only provide them as storage.
    #[derive(Debug)]
    #[cfg_attr(all(feature = "huge-pages", not(loom)), derive(bytemuck::TransparentWrapper))]
    #[repr(transparent)]
    pub struct Word {
        pub(super) bits: AtomicU64,
    }
}

impl Word {
    const_outside_models! {
        /// The word of an idle page.
        pub fn new() -> Self {
            Word { bits: AtomicU64::new(0) }
        }
    }

    pub(crate) fn all_words(&self) -> &[AtomicU64] {
        core::slice::from_ref(&self.bits)
    }

    /// The word at this moment.
    #[inline]
    pub(crate) fn snapshot(&self) -> Snapshot {
        // SeqCst: Acquire pairs with `publish`, so what is seen in service is set up; the total order is rule 4's, for a drain.
        Snapshot(self.bits.load(Ordering::SeqCst))
    }

    /// The word at this moment, joined to the chain of its changes: whoever changes it by a read-modify-write later sees what the
    /// caller has written before (`lifetime`, rules 2 and 3). `Building` and `Freeing` end in a plain store, which breaks the chain.
    pub(crate) fn touch(&self) -> Snapshot {
        // SeqCst: Acquire and Release pair with `put` and every other change before and after; the total order is for whoever begins
        // a folio here after the chain was broken (`lifetime`, rule 3).
        Snapshot(self.bits.fetch_or(0, Ordering::SeqCst))
    }

    /// The one compare-exchange loop: goes from what is seen to what `step` makes of it. Lock-free.
    #[inline]
    fn update<T, E>(&self, success: Ordering, step: impl Fn(Snapshot) -> Result<(Snapshot, T), E>) -> Result<T, E> {
        // Relaxed: only an idea of the word; the compare-exchange decides.
        let mut seen = Snapshot(self.bits.load(Ordering::Relaxed));
        loop {
            let (next, answer) = step(seen)?;
            // Relaxed on failure: tried again with what was found.
            match self.bits.compare_exchange_weak(seen.0, next.0, success, Ordering::Relaxed) {
                Ok(_) => return Ok(answer),
                Err(now) => seen = Snapshot(now),
            }
        }
    }
}

/// Into service and out of it: each has one owner.
impl Word {
    /// `Idle` -> `Building`; `false` if the word was not idle or the page is bad, and then nothing has changed.
    #[inline]
    pub(crate) fn begin(&self, order: Order) -> bool {
        let building = Snapshot::new(State::Building, order, 0).0;
        // SeqCst: the write half of rule 4. Acquire would not be needed, the claim in the tables was that.
        self.bits.compare_exchange(0, building, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// `Building` -> `InService` with one reference. The caller is the request that began it.
    #[inline]
    pub(crate) fn publish(&self, order: Order) {
        // Release: pairs with the Acquire of `try_get` and `snapshot`; driver data is written before.
        overwrite(&self.bits, Snapshot::new(State::InService, order, 1).0, Ordering::Release);
    }

    /// `Building` -> `Idle`. The caller is the request that began it.
    #[inline]
    pub(crate) fn abandon(&self) {
        // Release: pairs with a drain's `snapshot`, which must see the request's writes before it calls the pgmap drained.
        overwrite(&self.bits, 0, Ordering::Release);
    }

    /// `Freeing` -> `Idle`. The caller is the put that got [`AfterPut::LastPut`], after `folio_free` has returned.
    #[inline]
    pub(crate) fn finish_free(&self) {
        // Relaxed: what the put has written itself; nobody changes a word that is `Freeing`.
        let ended = Snapshot(self.bits.load(Ordering::Relaxed)).ended_up();
        // Release: pairs with a drain's `snapshot`: the callback has returned once the word is seen idle.
        overwrite(&self.bits, ended.0, Ordering::Release);
    }

    /// [`Word::finish_free`] where the pages go into a handle, which changes no table: the chain of the word's changes is not broken.
    #[inline]
    pub(crate) fn finish_free_chained(&self) {
        // AcqRel: Release as above; Acquire pairs with `touch`: who has found the word `Freeing` is seen by what follows (`lifetime`,
        // rule 2).
        self.bits.fetch_and(BAD, Ordering::AcqRel);
    }

    /// `Idle` -> `Retired`: whether the page was known to be bad; `None` if the word was not idle. The caller owns the page.
    pub(crate) fn retire(&self) -> Option<bool> {
        // SeqCst: the write half of "retire, then take the marks away" (`marks`).
        let done = self.update(Ordering::SeqCst, Snapshot::retired).ok();
        order_after_write();
        done
    }

    /// Says that the page is bad (rule 8). Lock-free.
    pub(crate) fn condemn(&self) -> Condemned {
        // SeqCst: the write half of `lifetime`'s rule 3; pairs with `begin`, which then looks for bad pages.
        let condemned = self.update(Ordering::SeqCst, Snapshot::condemned).unwrap_or_else(|why| why);
        order_after_write();
        condemned
    }

    /// Takes that back, for a page that does not exist; `false` if it was not said, or somebody else took it back.
    pub(crate) fn pardon(&self) -> bool {
        // Relaxed: nothing else hangs on it, and one caller finds the bit.
        self.bits.fetch_and(!BAD, Ordering::Relaxed) & BAD != 0
    }

    /// `Idle` -> `Special`; `false` if the word was not idle. The caller owns the run.
    pub(crate) fn declare(&self, order: Order, reason: u32) -> bool {
        // AcqRel: pairs with `undeclare`.
        self.update(Ordering::AcqRel, |seen| seen.declared(order, reason)).is_ok()
    }

    /// `Special` of this order -> `Idle`; `false` if it is something else. The one caller who succeeds owns the run.
    pub(crate) fn undeclare(&self, order: Order) -> bool {
        // AcqRel: pairs with `declare`.
        self.update(Ordering::AcqRel, |seen| seen.undeclared(order)).is_ok()
    }

    /// `Retired` or `Special` -> `Idle`, for pages of a range that is gone: nobody can look here any more. What it was.
    pub(crate) fn forget(&self) -> Snapshot {
        // Relaxed: whoever gives these offsets to another range comes after the change of ranges that took them away.
        Snapshot(self.bits.swap(0, Ordering::Relaxed))
    }
}

/// Counting.
impl Word {
    /// Takes a reference if the folio is in service, else says what it is.
    #[inline]
    pub(crate) fn try_get(&self) -> Result<Snapshot, State> {
        // Acquire: pairs with `publish`.
        self.update(Ordering::Acquire, Snapshot::found)
    }

    /// Takes one more reference where the caller holds one, so that a freeze does not stand in the way.
    #[inline]
    pub(crate) fn get(&self) -> bool {
        // Acquire: as in `try_get`.
        self.update(Ordering::Acquire, Snapshot::cloned).is_ok()
    }

    /// Gives `n` references back.
    #[inline]
    pub(crate) fn put(&self, n: u32, ending: Ending) -> Result<AfterPut, PutFault> {
        self.give_back(|seen| seen.put(n, ending))
    }

    /// A change that may take the last reference.
    #[inline]
    fn give_back<T, E>(&self, step: impl Fn(Snapshot) -> Result<(Snapshot, T), E>) -> Result<T, E> {
        // SeqCst: Release hands this holder's accesses to the last put, which acquires those of all holders before it calls
        // `folio_free`; the total order is the write half of `lifetime`'s rule 2, pairs with `touch`. Models have no such order; in
        // them the chain of the word's changes, which `overwrite` does not break there, stands for it.
        self.update(Ordering::SeqCst, step)
    }

    /// Gives the only reference back, and nothing if there are others.
    pub(crate) fn end_alone(&self, ending: Ending) -> Option<Order> {
        self.give_back(|seen| seen.put_alone(ending)).ok()
    }

    /// Takes a reference that is a mapping; `Err(None)` when there are as many as can be counted.
    pub(crate) fn map(&self) -> Result<(), Option<State>> {
        // Acquire: as in `try_get`.
        self.update(Ordering::Acquire, Snapshot::mapped)
    }

    /// Gives back a reference that is a mapping.
    pub(crate) fn unmap(&self, ending: Ending) -> Result<AfterPut, PutFault> {
        self.give_back(|seen| seen.unmapped(ending))
    }
}

/// Frozen: still counted, but not to be found.
impl Word {
    /// `InService` -> `Frozen`, if the references are as expected; as it was before.
    pub(crate) fn freeze(&self, expect: Expect) -> Result<Snapshot, FreezeFault> {
        // AcqRel: Acquire pairs with the puts of those who are gone; Release keeps their chain for the last put.
        self.update(Ordering::AcqRel, |seen| seen.frozen(expect))
    }

    /// `Frozen` -> `InService`. The caller froze it.
    pub(crate) fn thaw(&self) {
        // Release: pairs with `try_get`; what was changed while it was frozen is seen.
        let thawed = self.update(Ordering::Release, Snapshot::thawed);
        debug_assert!(thawed.is_ok(), "thawed what was not frozen");
    }

    /// The end of a frozen folio, if all its references are mappings. The caller froze it.
    pub(crate) fn end_frozen(&self, ending: Ending) -> Option<Order> {
        self.give_back(|seen| seen.evicted(ending)).ok()
    }

    /// `Idle` -> `Frozen` with one reference: a part of the frozen folio that covers this page (rule 7).
    pub(crate) fn begin_part(&self, order: Order) -> bool {
        // Release: pairs with the `snapshot` of a lookup.
        self.update(Ordering::Release, |seen| seen.part(order)).is_ok()
    }

    /// `Frozen` -> `Idle`: the part that the caller has begun is none after all.
    pub(crate) fn abandon_part(&self) {
        // Release: pairs with the `snapshot` of a lookup. And-ing keeps what somebody says of the page meanwhile.
        self.bits.fetch_and(BAD, Ordering::Release);
    }

    /// Makes the frozen folio smaller, if it still has exactly `refs` references (rule 7). The caller froze it.
    pub(crate) fn shrink(&self, order: Order, refs: u32) -> Result<(), FreezeFault> {
        // AcqRel: Release pairs with the `snapshot` of a lookup: who sees the smaller order sees the words of the parts. Acquire:
        // hands a waiter's `touch` of the whole on to the parts.
        self.update(Ordering::AcqRel, |seen| seen.shrunk(order, refs))
    }
}
