//! The only file that names core's atomics or loom: the same code runs on the machine and in the model checker. (`recorded` is its
//! part for unit tests.)
//!
//! Two of our protocols are of the shape "write mine, then read yours" (a release against a refusal, a request against a
//! kill). They need one total order over the four accesses, so both sides use `SeqCst` accesses, which cost nothing extra on
//! x86 and are the plain acquire and release forms on Arm. loom treats a `SeqCst` access as acquire-release and models only
//! the fence; [`order_after_write`] is that fence there and nothing on the machine.

#[cfg(all(test, not(loom)))]
pub(crate) mod recorded;

/// What models of one protocol by itself share; they stand beside the code that they check. The models of the whole are in `tests`.
#[cfg(all(test, loom))]
#[allow(clippy::expect_used)]
pub(crate) mod models {
    use loom::sync::Arc;
    use loom::thread;

    /// Runs `one` against `other`, each of them as the thread that begins.
    pub(crate) fn race<S: Send + Sync + 'static>(set_up: fn() -> S, one: fn(&S), other: fn(&S)) {
        for (first, second) in [(one, other), (other, one)] {
            let mut builder = loom::model::Builder::new();
            builder.preemption_bound = builder.preemption_bound.or(Some(3));
            builder.check(move || {
                let shared = Arc::new(set_up());
                let theirs = shared.clone();
                let thread = thread::spawn(move || second(&theirs));
                first(&shared);
                thread.join().expect("it panics in the model");
            });
        }
    }

    /// Runs `main` against two others, which have ended when it has called for that.
    pub(crate) fn against_two<S: Send + Sync + 'static>(set_up: fn() -> S, others: [fn(&S); 2], main: fn(&S, &mut dyn FnMut())) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(3));
        builder.check(move || {
            let shared = Arc::new(set_up());
            let mut threads = others.map(|other| {
                let shared = shared.clone();
                Some(thread::spawn(move || other(&shared)))
            });
            main(&shared, &mut || {
                let all = threads.iter_mut().filter_map(Option::take);
                all.for_each(|thread| thread.join().expect("it panics in the model"));
            });
        });
    }
}

#[cfg(not(any(loom, test)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
// Unit tests count what travels between CPUs.
#[cfg(all(test, not(loom)))]
pub(crate) use recorded::{AtomicU32, AtomicU64, Ordering};
#[cfg(all(test, not(loom)))]
use recorded::{SpinMutex, SpinMutexGuard};
#[cfg(not(any(loom, test)))]
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// A plain store by the only one who may change the value, where others may still do read-modify-writes that change nothing.
///
/// Such a read-modify-write comes before the store, because it found the value from before. loom does not draw that conclusion
/// and lets either be the last; a swap tells it.
#[inline(always)]
pub(crate) fn overwrite(word: &AtomicU64, value: u64, order: Ordering) {
    #[cfg(not(loom))]
    word.store(value, order);
    #[cfg(loom)]
    word.swap(value, order);
}

/// A `SeqCst` load that must not miss a `SeqCst` write before it in their total order.
///
/// loom has no such order and would let it be too old. There it is a read-modify-write that changes nothing, which never is.
#[inline(always)]
pub(crate) fn load_latest(word: &AtomicU64) -> u64 {
    #[cfg(not(loom))]
    {
        word.load(Ordering::SeqCst)
    }
    #[cfg(loom)]
    {
        word.fetch_add(0, Ordering::AcqRel)
    }
}

/// A size that is smaller in models, which would otherwise not end.
pub(crate) const fn in_models(few: usize, many: usize) -> usize {
    if cfg!(loom) { few } else { many }
}

/// Stands between a `SeqCst` write and the `SeqCst` read that must not pass it.
#[inline(always)]
pub(crate) fn order_after_write() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// Orders all that stands before it against all that follows, plain relaxed reads too: for cold paths that judge what a hot one
/// has read.
pub(crate) fn full_fence() {
    #[cfg(all(test, not(loom)))]
    recorded::note_fence();
    #[cfg(not(loom))]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// A lock that is only tried; models see it.
///
/// Who finds it taken leaves what is to be done to whoever has it: each says so, has a [`full_fence`] between that and the attempt, and
/// whoever has had the lock looks for it after another.
pub(crate) struct TryLock<T>(
    #[cfg(not(loom))] SpinMutex<T>,
    #[cfg(loom)] loom::sync::Mutex<T>,
    // The checker lets others in only at an access, and only where accesses clash: here each attempt is one, and each end.
    #[cfg(loom)] AtomicU32,
);

/// A [`TryLock`] for data that CPUs hand on. 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
pub(crate) struct Tried<T>(TryLock<T>);

/// What a [`TryLock`] gives.
#[cfg(loom)]
pub(crate) struct Held<'a, T> {
    data: loom::sync::MutexGuard<'a, T>,
    accesses: &'a AtomicU32,
}

#[cfg(loom)]
impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // Relaxed: it orders nothing.
        self.accesses.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(loom)]
impl<T> core::ops::Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

#[cfg(loom)]
impl<T> core::ops::DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

/// What a [`TryLock`] gives.
#[cfg(not(loom))]
pub(crate) type Held<'a, T> = SpinMutexGuard<'a, T>;

impl<T> TryLock<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
        TryLock(SpinMutex::new(value))
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        TryLock(loom::sync::Mutex::new(value), AtomicU32::new(0))
    }

    /// The data, for whoever comes while nobody else has it. Acquire; Release when it is given up.
    #[inline(always)]
    pub(crate) fn try_lock(&self) -> Option<Held<'_, T>> {
        #[cfg(not(loom))]
        {
            self.0.try_lock()
        }
        #[cfg(loom)]
        {
            // Relaxed: it orders nothing.
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.try_lock().ok().map(|data| Held { data, accesses: &self.1 })
        }
    }
}

impl<T> Tried<T> {
    /// As [`TryLock::try_lock`].
    #[inline(always)]
    pub(crate) fn try_lock(&self) -> Option<Held<'_, T>> {
        self.0.try_lock()
    }
}

impl<T> Tried<Option<T>> {
    /// So many, with nothing in them.
    pub(crate) fn none<const COUNT: usize>() -> [Self; COUNT] {
        #[cfg(not(loom))]
        {
            [const { Tried(TryLock::new(None)) }; COUNT]
        }
        #[cfg(loom)]
        {
            core::array::from_fn(|_| Tried(TryLock::new(None)))
        }
    }
}

/// Gives way for a moment to whoever is being waited for.
#[inline]
pub(crate) fn relax() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}

/// A small number that tends to differ between callers that run at the same time, `0..slots`.
///
/// It is only a hint: callers with the same number share a line, nothing else. It is taken from where the caller's stack lies,
/// so it needs no thread-local and works in a kernel.
#[inline]
pub(crate) fn caller_slot(slots: usize) -> usize {
    #[cfg(loom)]
    {
        // A model must not depend on addresses.
        let _ = slots;
        0
    }
    #[cfg(not(loom))]
    {
        let here = 0u8;
        let address = core::ptr::from_ref(core::hint::black_box(&here)).addr();
        #[cfg(test)]
        let address = recorded::stack().unwrap_or(address);
        // Stacks are many pages apart; Fibonacci hashing spreads what is left.
        ((address >> 16) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> (usize::BITS - 16) & (slots - 1)
    }
}

/// A number for whoever calls, as good as that of the CPU that he runs on: threads have one each, one after another; without std it
/// is taken from where the stack lies.
#[inline]
pub(crate) fn this_caller() -> usize {
    #[cfg(all(feature = "std", not(loom)))]
    {
        per_thread::ordinal()
    }
    #[cfg(not(all(feature = "std", not(loom))))]
    {
        caller_slot(1 << 16)
    }
}

#[cfg(all(feature = "std", not(loom)))]
mod per_thread {
    extern crate std;

    use core::cell::Cell;
    use core::sync::atomic::{AtomicUsize, Ordering};

    static THREADS: AtomicUsize = AtomicUsize::new(0);

    std::thread_local! {
        /// The number plus one; 0 = none yet. It needs no destructor, so it can be read while a thread ends too.
        static ORDINAL: Cell<usize> = const { Cell::new(0) };
    }

    #[inline]
    pub(super) fn ordinal() -> usize {
        ORDINAL.with(|mine| if mine.get() == 0 { number(mine) } else { mine.get() - 1 })
    }

    #[cold]
    fn number(mine: &Cell<usize>) -> usize {
        // Relaxed: numbers that differ, nothing more.
        let number = THREADS.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1);
        mine.set(number + 1);
        number
    }
}

/// Declares a function `const` wherever the atomics allow it, which is everywhere but in the model checker.
macro_rules! const_outside_models {
    ($(#[$meta:meta])* $vis:vis fn $name:ident() -> $ret:ty $body:block) => {
        #[cfg(not(loom))]
        $(#[$meta])*
        $vis const fn $name() -> $ret $body

        #[cfg(loom)]
        $(#[$meta])*
        $vis fn $name() -> $ret $body
    };
}
pub(crate) use const_outside_models;

/// Declares a metadata type: one that is valid when all its bytes are zero, so that it can be asked for as zeroed memory.
macro_rules! metadata {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($body:tt)* }) => {
        #[cfg_attr(all(feature = "alloc", not(loom)), derive(bytemuck::Zeroable))]
        $(#[$meta])*
        $vis struct $name { $($body)* }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $crate::memory::Metadata for $name {
            fn words(&self) -> &[$crate::sync::AtomicU64] {
                self.all_words()
            }

            #[cfg(feature = "alloc")]
            type Owned = $crate::memory::Pieces<Self>;

            #[cfg(feature = "alloc")]
            fn boxed(count: usize) -> Option<Self::Owned> {
                #[cfg(not(loom))]
                let zeroed = |count| bytemuck::allocation::try_zeroed_slice_box(count).ok();
                #[cfg(loom)]
                let zeroed = |count| Some((0..count).map(|_| Self::new()).collect());
                $crate::memory::Pieces::new(count, zeroed)
            }

            #[cfg(feature = "alloc")]
            #[inline]
            fn at(owned: &Self::Owned, index: usize) -> Option<&Self> {
                owned.get(index)
            }
        }
    };
}
pub(crate) use metadata;

/// Declares a metadata type that is nothing but an array of words, and is to stand on cache lines of its own.
macro_rules! metadata_lines {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<const $n:ident: usize = $default:literal>;) => {
        // The model checker's words are not plain memory: there a line is a boxed value of its own.
        #[cfg_attr(all(feature = "alloc", not(loom)), derive(bytemuck::TransparentWrapper))]
        $(#[$meta])*
        #[repr(transparent)]
        $vis struct $name<const $n: usize = $default>([$crate::sync::AtomicU64; $n]);

        impl<const $n: usize> Default for $name<$n> {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<const $n: usize> $crate::memory::Metadata for $name<$n> {
            fn words(&self) -> &[$crate::sync::AtomicU64] {
                &self.0
            }

            #[cfg(all(feature = "alloc", not(loom)))]
            type Owned = $crate::memory::Lines;

            #[cfg(all(feature = "alloc", not(loom)))]
            fn boxed(count: usize) -> Option<Self::Owned> {
                let zeroed = |count| bytemuck::allocation::try_zeroed_slice_box(count).ok();
                $crate::memory::Lines::new(count.checked_mul($n)?, zeroed)
            }

            #[cfg(all(feature = "alloc", not(loom)))]
            #[inline]
            fn at(owned: &Self::Owned, index: usize) -> Option<&Self> {
                <Self as $crate::memory::OnePiece>::all(owned).get(index)
            }

            #[cfg(all(feature = "alloc", loom))]
            type Owned = alloc::boxed::Box<[Self]>;

            #[cfg(all(feature = "alloc", loom))]
            fn boxed(count: usize) -> Option<Self::Owned> {
                Some((0..count).map(|_| Self::new()).collect())
            }

            #[cfg(all(feature = "alloc", loom))]
            fn at(owned: &Self::Owned, index: usize) -> Option<&Self> {
                owned.get(index)
            }
        }

        impl<const $n: usize> $crate::memory::OnePiece for $name<$n> {
            #[cfg(all(feature = "alloc", not(loom)))]
            #[inline(always)]
            fn all(owned: &Self::Owned) -> &[Self] {
                bytemuck::TransparentWrapper::wrap_slice(owned.all())
            }

            #[cfg(all(feature = "alloc", loom))]
            fn all(owned: &Self::Owned) -> &[Self] {
                owned
            }
        }
    };
}
pub(crate) use metadata_lines;

/// An array of zero words.
#[cfg(not(loom))]
macro_rules! zero_words {
    () => {
        [const { $crate::sync::AtomicU64::new(0) }; _]
    };
}
#[cfg(not(loom))]
pub(crate) use zero_words;

#[cfg(loom)]
macro_rules! zero_words_loom {
    () => {
        core::array::from_fn(|_| $crate::sync::AtomicU64::new(0))
    };
}
#[cfg(loom)]
pub(crate) use zero_words_loom as zero_words;
