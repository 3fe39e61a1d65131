//! Who is to be woken: a task, or a thread that is parked. Neither takes memory from the host.

use core::task::Waker;

#[cfg(feature = "std")]
extern crate std;

/// One who waits, as whoever wakes him knows him.
#[derive(Clone, Debug)]
pub(crate) enum Wakee {
    Task(Waker),
    #[cfg(feature = "std")]
    Thread(std::thread::Thread),
}

impl Wakee {
    /// Takes no lock of ours, allocates nothing; whatever else the waker of a task does is its executor's business.
    pub(crate) fn wake(&self) {
        match self {
            Wakee::Task(waker) => waker.wake_by_ref(),
            #[cfg(feature = "std")]
            Wakee::Thread(thread) => thread.unpark(),
        }
    }

    /// Whether waking the one wakes the other; `false` if that cannot be told.
    pub(crate) fn is(&self, other: &Wakee) -> bool {
        match (self, other) {
            (Wakee::Task(one), Wakee::Task(other)) => one.will_wake(other),
            #[cfg(feature = "std")]
            (Wakee::Thread(one), Wakee::Thread(other)) => one.id() == other.id(),
            #[cfg(feature = "std")]
            _ => false,
        }
    }
}
