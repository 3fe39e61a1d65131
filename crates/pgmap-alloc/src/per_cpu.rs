//! Handles that all share, one for each CPU: the speed of a handle for who has none of his own.
//!
//! # Protocol
//!
//! 1. Each CPU has a handle behind a lock of its own, which is tried and never waited for. Who finds it taken (it has been
//!    interrupted, or another runs under the same number) takes the next CPU's, and if all are taken the shared path. So each call
//!    ends after a bounded number of steps before the pool's own begin.
//! 2. The number of the CPU is a hint. A wrong one costs the travel of a line and nothing else.
//! 3. What the handles have at hand looks taken to everyone else. Here nobody is refused before all of them that are not in use just
//!    then have been drained.
//! 4. What is at hand is taken, and a run had at hand, by a short path that enters, does no more than that, and leaves. All else enters
//!    anew.
//! 5. A put counts on the folio's word first. The last one calls `folio_free`, and enters only then, for the run: so `folio_free` finds
//!    the handle free.

use core::fmt;

use crate::error::{AllocError, PutError, Refused};
use crate::folio::Folio;
use crate::handles::Handles;
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::pool::{GenPool, Taken};
use crate::references::Put;
use crate::sync::{Held, Tried, this_caller};

/// A [`Pgmap`] or a [`GenPool`] that any thread uses through the handle of the CPU that it runs on.
///
/// A call takes one locked instruction, for the lock of the handle, beside what the handle itself takes ([`Local`](crate::Local):
/// most often none), and one more where what is at hand will not do; a put that is not the last takes none. It is lock-free as the
/// shared path is: a lock that is taken is passed by. It may be called from interrupts, and from a driver's `folio_free`, which runs
/// before the handle is entered. It allocates no host memory; a handle is made when its CPU is first used. All of them lie within this
/// value, 5 KiB each, so it is better kept in one place than moved about. Where no handle is left, calls take the shared path.
///
/// What holds for pages at hand is said at [`Local`](crate::Local). Before a call is refused, all handles that are not in use just
/// then are drained. Before a range is taken away, or a pool is asked how much is idle, call [`PerCpu::drain`].
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use pgmap_alloc::{Order, Params, PerCpu, Pgmap, Phys, PhysRange};
///
/// let pgmap = Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 1 << 20 }]), ()).expect("one sound range");
/// let vram = PerCpu::new(&pgmap);
///
/// let folio = vram.here().alloc_folio(Order::PMD)?; // on whichever CPU this thread runs
/// vram.on(3).put(folio).expect("from this pgmap"); // a kernel knows which
/// # }
/// # Ok::<(), pgmap_alloc::AllocError>(())
/// ```
pub struct PerCpu<'p, P: Handles<'p>, const CPUS: usize = 16> {
    owner: &'p P,
    handles: [Tried<Option<P::Handle>>; CPUS],
}

impl<'p, P: Handles<'p>> PerCpu<'p, P> {
    /// Handles for 16 CPUs, or that many threads; more than those share them.
    pub fn new(owner: &'p P) -> Self {
        PerCpu::with_cpus(owner)
    }
}

impl<'p, P: Handles<'p>, const CPUS: usize> PerCpu<'p, P, CPUS> {
    /// Handles for as many CPUs as the type says.
    pub fn with_cpus(owner: &'p P) -> Self {
        const { assert!(CPUS > 0, "at least one CPU") };
        PerCpu { owner, handles: Tried::none() }
    }

    /// What the handles are on.
    pub fn owner(&self) -> &'p P {
        self.owner
    }

    /// As the CPU of this number, from 0, which in a kernel is the caller's own. Any number will do: those from `CPUS` on begin
    /// anew.
    #[inline]
    pub fn on(&self, cpu: usize) -> OnCpu<'_, 'p, P, CPUS> {
        OnCpu { handles: self, cpu }
    }

    /// As a CPU whose number this thread keeps. Threads are numbered in the order in which they first come, so as many as there are
    /// CPUs, one after another, do not meet. Without the feature `std` two may meet sooner: there the number is guessed from where
    /// the stack lies.
    #[inline]
    pub fn here(&self) -> OnCpu<'_, 'p, P, CPUS> {
        self.on(this_caller())
    }

    /// Has all handles that are not in use just now give back what they have at hand.
    #[cold]
    pub fn drain(&self) {
        for mut handle in self.handles.iter().filter_map(Tried::try_lock) {
            handle.as_mut().map(P::drain);
        }
    }
}

impl<'p, P: Handles<'p>, const CPUS: usize> fmt::Debug for PerCpu<'p, P, CPUS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerCpu").field("cpus", &CPUS).finish_non_exhaustive()
    }
}

/// A [`PerCpu`] as one CPU uses it. A number and a reference: make one whenever it is needed.
pub struct OnCpu<'a, 'p, P: Handles<'p>, const CPUS: usize = 16> {
    handles: &'a PerCpu<'p, P, CPUS>,
    cpu: usize,
}

impl<'a, 'p, P: Handles<'p>, const CPUS: usize> OnCpu<'a, 'p, P, CPUS> {
    /// Does `work` with this CPU's handle, or with that of another if it is in use; with `None` if all are, or none is left.
    pub fn with<R>(self, work: impl FnOnce(Option<&mut P::Handle>) -> R) -> R {
        work(handle_in(&mut self.enter()))
    }

    #[inline(always)]
    fn enter(self) -> Entered<'a, P::Handle> {
        match self.lock(self.cpu) {
            Some(handle) if handle.is_some() => Some(handle),
            other => {
                drop(other);
                self.lock(self.another()?)
            }
        }
    }

    #[inline(always)]
    fn lock(self, cpu: usize) -> Entered<'a, P::Handle> {
        self.handles.handles[cpu % CPUS].try_lock()
    }

    /// The CPU's handle is in use, or has not been made yet: the next one that is free, with a handle if there is one left.
    #[cold]
    fn another(self) -> Option<usize> {
        (0..CPUS).map(|step| self.cpu.wrapping_add(step)).find(|&cpu| {
            let Some(mut handle) = self.lock(cpu) else { return false };
            if handle.is_none() {
                *handle = self.handles.owner.handle();
            }
            true
        })
    }

    /// Drains the handles if the refusal was for want of pages; says whether another attempt is worth it.
    fn make_room(self, refusal: AllocError) -> bool {
        let for_want_of_pages = matches!(refusal, AllocError::NoSpace { .. } | AllocError::Fragmented { .. });
        if for_want_of_pages {
            self.handles.drain();
        }
        for_want_of_pages
    }
}

/// A CPU's handle, entered: `None` if all were in use, nothing in it if there is none left.
type Entered<'a, H> = Option<Held<'a, Option<H>>>;

#[inline(always)]
fn handle_in<'e, H>(entered: &'e mut Entered<'_, H>) -> Option<&'e mut H> {
    entered.as_deref_mut().and_then(Option::as_mut)
}

impl<'p, const WORDS: usize, const CPUS: usize> OnCpu<'_, 'p, GenPool<'p, WORDS>, CPUS> {
    /// Takes a run of `order`. Lock-free.
    #[inline]
    pub fn alloc(self, order: Order) -> Result<Taken<'p>, AllocError> {
        match self.alloc_at_hand(order) {
            Some(taken) => Ok(taken),
            None => self.alloc_anyhow(order),
        }
    }

    /// What is at hand, if the CPU's handle is not in use.
    #[inline(always)]
    fn alloc_at_hand(self, order: Order) -> Option<Taken<'p>> {
        self.lock(self.cpu)?.as_mut()?.alloc_at_hand(order)
    }

    #[inline(never)]
    fn alloc_anyhow(self, order: Order) -> Result<Taken<'p>, AllocError> {
        self.attempt(order).or_else(|refusal| self.insist(order, refusal))
    }

    #[cold]
    fn insist(self, order: Order, refusal: AllocError) -> Result<Taken<'p>, AllocError> {
        if self.make_room(refusal) { self.attempt(order) } else { Err(refusal) }
    }

    fn attempt(self, order: Order) -> Result<Taken<'p>, AllocError> {
        match handle_in(&mut self.enter()) {
            Some(local) => local.alloc(order),
            None => self.handles.owner.alloc_taken(order),
        }
    }

    /// Gives a run back; one of another pool comes back as the error. Lock-free.
    #[inline]
    pub fn free(self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        // There it would only enter twice.
        if self.handles.owner.tracks_clear() {
            return self.free_anyhow(taken);
        }
        self.free_at_hand(taken).or_else(|taken| self.free_anyhow(taken))
    }

    /// Has a run at hand afterwards, if the CPU's handle is not in use and has room.
    #[inline(always)]
    fn free_at_hand(self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        match self.lock(self.cpu).as_deref_mut() {
            Some(Some(local)) => local.free_at_hand(taken),
            _ => Err(taken),
        }
    }

    #[inline(never)]
    fn free_anyhow(self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        match handle_in(&mut self.enter()) {
            Some(local) => local.free(taken),
            None => self.handles.owner.free_taken(taken),
        }
    }
}

impl<'p, O: PgmapOps, const WORDS: usize, const CPUS: usize> OnCpu<'_, 'p, Pgmap<'p, O, WORDS>, CPUS> {
    /// [`Pgmap::alloc_folio`], from what is at hand if it can be. Lock-free.
    #[inline]
    pub fn alloc_folio(self, order: Order) -> Result<Folio<'p, O, WORDS>, AllocError>
    where
        O::Data: Default,
    {
        self.alloc_folio_with(order, O::Data::default())
    }

    /// [`OnCpu::alloc_folio`], with what the driver keeps with the folio.
    #[inline]
    pub fn alloc_folio_with(self, order: Order, data: O::Data) -> Result<Folio<'p, O, WORDS>, AllocError> {
        match self.alloc_folio_at_hand(order, data) {
            Some(folio) => Ok(folio),
            None => self.alloc_folio_anyhow(order, data),
        }
    }

    /// From what is at hand, if the CPU's handle is not in use.
    #[inline]
    fn alloc_folio_at_hand(self, order: Order, data: O::Data) -> Option<Folio<'p, O, WORDS>> {
        self.lock(self.cpu)?.as_mut()?.alloc_at_hand(order, data)
    }

    #[inline(never)]
    fn alloc_folio_anyhow(self, order: Order, data: O::Data) -> Result<Folio<'p, O, WORDS>, AllocError> {
        self.attempt_folio(order, data)
            .or_else(|refusal| if self.make_room(refusal) { self.attempt_folio(order, data) } else { Err(refusal) })
    }

    fn attempt_folio(self, order: Order, data: O::Data) -> Result<Folio<'p, O, WORDS>, AllocError> {
        match handle_in(&mut self.enter()) {
            Some(local) => local.alloc_folio_with(order, data),
            None => self.handles.owner.alloc_folio_with(order, data),
        }
    }

    /// Puts a folio; if it was the last reference, its pages are at hand afterwards. Otherwise as [`Pgmap::put`]. Lock-free.
    ///
    /// The handle is entered after `folio_free`, which may use it, and only by the last put.
    #[inline]
    pub fn put(self, folio: Folio<'p, O, WORDS>) -> Result<Put, Refused<PutError, Folio<'p, O, WORDS>>> {
        let owner = self.handles.owner;
        folio.put_by(owner, |head| {
            owner.put_folio(head, |run| match handle_in(&mut self.enter()) {
                Some(local) => local.keep(run),
                None => owner.release(run),
            })
        })
    }
}

impl<'p, P: Handles<'p>, const CPUS: usize> Clone for OnCpu<'_, 'p, P, CPUS> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'p, P: Handles<'p>, const CPUS: usize> Copy for OnCpu<'_, 'p, P, CPUS> {}

#[cfg(all(test, feature = "alloc", not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::offset::{Phys, PhysRange};
    use crate::pool::Params;
    use crate::sync::recorded::{Access, Kind, record};

    /// A put that is not the last changes the folio's word, and that is all: no handle is entered for it.
    #[test]
    fn a_put_that_is_not_the_last_enters_no_handle() {
        let pgmap: Pgmap<'_, ()> = Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 1 << 10 }]), ()).unwrap();
        let cpus = PerCpu::<'_, _, 2>::with_cpus(&pgmap);
        let folio = cpus.on(0).alloc_folio(Order::ZERO).unwrap();
        let locked = |folio| {
            let (put, accesses) = record(0, || cpus.on(0).put(folio).unwrap());
            (put, accesses.iter().filter(|access| access.kind == Kind::Locked).count())
        };
        assert_eq!(locked(folio.clone()), (Put::InService, 1));
        assert_eq!(locked(folio), (Put::Freed, 2));
    }

    /// A pool that tracks what pages hold has notes to write: the handle is entered once for that too.
    #[test]
    fn a_free_enters_a_handle_once() {
        let range = [PhysRange { start: Phys(0), pages: 1 << 10 }];
        for params in [Params::new(&range), Params::new(&range).tracking_clear()] {
            let pool: GenPool<'_> = GenPool::new(&params).unwrap();
            let (mut handle, cpus) = (pool.local().unwrap(), PerCpu::<'_, _, 2>::with_cpus(&pool));
            let (own, shared) = (handle.alloc(Order::ZERO).unwrap(), cpus.on(0).alloc(Order::ZERO).unwrap());
            let locked = |accesses: &[Access]| accesses.iter().filter(|access| access.kind == Kind::Locked).count();
            let ((), alone) = record(0, || handle.free(own).unwrap());
            let ((), entered) = record(0, || cpus.on(0).free(shared).unwrap());
            assert_eq!(locked(&entered), locked(&alone) + 1);
        }
    }
}
