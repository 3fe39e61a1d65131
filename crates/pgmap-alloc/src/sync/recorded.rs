//! The atomics of unit tests: core's own, which write down who touches which cache line while somebody asks (`scaling`); and the
//! lock of `Tried`, spin's own, likewise.
//!
//! Everything that CPUs share is an atomic or lies behind a lock, because the crate has no unsafe code. So what is written down here
//! is all that can travel between them, but for plain fields that are only read once they are built, and for what lies behind a lock:
//! that travels only where more than one CPU takes it.

extern crate std;

use core::ops::{Deref, DerefMut};
use core::sync::atomic;
use std::cell::{Cell, RefCell};
use std::thread_local;
use std::vec::Vec;

pub(crate) use core::sync::atomic::Ordering;

/// One access to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The number of the cache line; 0 for a fence.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// What an access needs of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A copy.
    Read,
    /// To have it alone.
    Write,
    /// To have it alone, by an instruction that waits for the line and for all earlier stores.
    Locked,
    /// No line, but the same wait.
    Fence,
}

const LINE: usize = 64;

thread_local! {
    static CPU: Cell<Option<usize>> = const { Cell::new(None) };
    static ACCESSES: RefCell<Vec<Access>> = const { RefCell::new(Vec::new()) };
}

/// Does `work` as logical CPU `cpu` and returns what it touched.
pub(crate) fn record<T>(cpu: usize, work: impl FnOnce() -> T) -> (T, Vec<Access>) {
    CPU.set(Some(cpu));
    let result = work();
    CPU.set(None);
    (result, ACCESSES.take())
}

/// Where the stack of the logical CPU lies, if there is one: as far apart as the C library puts the stacks of threads.
pub(super) fn stack() -> Option<usize> {
    CPU.get().map(|cpu| (0x7F00_0000_0000_u64 as usize).wrapping_sub(cpu * ((8 << 20) + 4096)))
}

fn note(address: usize, kind: Kind) {
    if CPU.get().is_some() {
        ACCESSES.with_borrow_mut(|accesses| accesses.push(Access { line: address / LINE, kind }));
    }
}

/// A full fence costs what a locked instruction costs.
pub(super) fn note_fence() {
    note(0, Kind::Fence);
}

macro_rules! recorded {
    ($name:ident, $value:ty) => {
        #[derive(Debug, Default)]
        #[cfg_attr(feature = "alloc", derive(bytemuck::Zeroable))]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        // Not every method of core's is used on both sizes.
        #[allow(dead_code)]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                $name(atomic::$name::new(value))
            }

            fn note(&self, kind: Kind) {
                note(core::ptr::from_ref(self).addr(), kind);
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.note(Kind::Read);
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                // SeqCst: on x86 such a store is an exchange.
                self.note(if order == Ordering::SeqCst { Kind::Locked } else { Kind::Write });
                self.0.store(value, order);
            }

            pub(crate) fn compare_exchange(&self, old: $value, new: $value, won: Ordering, lost: Ordering) -> Result<$value, $value> {
                self.note(Kind::Locked);
                self.0.compare_exchange(old, new, won, lost)
            }

            pub(crate) fn compare_exchange_weak(&self, old: $value, new: $value, won: Ordering, lost: Ordering) -> Result<$value, $value> {
                self.compare_exchange(old, new, won, lost)
            }

            pub(crate) fn fetch_update(
                &self,
                won: Ordering,
                lost: Ordering,
                step: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.note(Kind::Read);
                self.note(Kind::Locked);
                self.0.fetch_update(won, lost, step)
            }

            recorded!(@locked $value: swap, fetch_add, fetch_sub, fetch_and, fetch_or, fetch_xor, fetch_max, fetch_min);
        }
    };
    (@locked $value:ty: $($verb:ident),*) => {
        $(pub(crate) fn $verb(&self, value: $value, order: Ordering) -> $value {
            self.note(Kind::Locked);
            self.0.$verb(value, order)
        })*
    };
}
recorded!(AtomicU32, u32);
recorded!(AtomicU64, u64);

/// spin's lock: a compare-exchange to take it, won or lost, and a plain store to give it up.
pub(super) struct SpinMutex<T>(spin::mutex::SpinMutex<T>);

impl<T> SpinMutex<T> {
    pub(super) const fn new(value: T) -> Self {
        SpinMutex(spin::mutex::SpinMutex::new(value))
    }

    pub(super) fn try_lock(&self) -> Option<SpinMutexGuard<'_, T>> {
        // Its first line stands for the flag's: no other lock has a flag there.
        let flag = core::ptr::from_ref(self).addr();
        note(flag, Kind::Locked);
        self.0.try_lock().map(|data| SpinMutexGuard { data, flag })
    }
}

/// What is behind the lock.
pub(crate) struct SpinMutexGuard<'a, T> {
    data: spin::mutex::SpinMutexGuard<'a, T>,
    flag: usize,
}

impl<T> Deref for SpinMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for SpinMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T> Drop for SpinMutexGuard<'_, T> {
    fn drop(&mut self) {
        note(self.flag, Kind::Write);
    }
}

#[test]
fn a_lock_is_one_locked_instruction_and_one_store() {
    let lock = SpinMutex::new(7);
    let (seen, accesses) = record(0, || {
        let held = lock.try_lock();
        assert!(lock.try_lock().is_none(), "it is taken");
        held.as_deref().copied()
    });
    assert_eq!(seen, Some(7));
    let line = core::ptr::from_ref(&lock).addr() / LINE;
    assert_eq!(accesses, [Kind::Locked, Kind::Locked, Kind::Write].map(|kind| Access { line, kind }));
}
