//! The atomics of unit tests: core's own, which write down who touches which cache line while somebody asks (`scaling`).
//!
//! Everything that CPUs share is an atomic, because the crate has no unsafe code; so what is written down here is all that can
//! travel between them, but for plain fields that are only read once they are built.

extern crate std;

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
    CPU.get().map(|cpu| 0x7F00_0000_0000 - cpu * ((8 << 20) + 4096))
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
