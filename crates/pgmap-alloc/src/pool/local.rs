//! The per-CPU handle: idle runs at hand, so that a pair of allocation and free needs no atomic instruction.
//!
//! A handle keeps, for each order, a short stack of runs that it has claimed and that nobody uses, and a table of its own to take
//! single pages from, a word at a time. A table that a handle works in is taken off the lists, so that two handles do not meet in
//! it; frees from elsewhere still land there. Who finds nothing in the lists may claim in handles' tables too. Larger runs come from
//! the pool one by one, where what handles have given back is found first (`fresh`), or by four where a larger one has to be cut up.
//!
//! A full stack gives back its oldest few runs: the fuller the stacks stay, the rarer they run empty, and no call takes long. Only for
//! who does nothing but free that is no use, and half of the stack goes at once. Neighbours within a word go back in one write, so what one
//! CPU allocates in a row and another frees costs little.
//!
//! Runs at hand are not the ones that would fit most tightly, and while they are out their neighbours do not merge: the stacks of
//! larger runs are short, so that handles pack nearly as well as the pool.
//!
//! What a handle has at hand looks taken to everyone else. So a search that fails *presses* every handle that has something: it
//! looks at that flag with each free and gives all back. The refusal says how many pages handles had.
//!
//! There are no thread-locals here: a handle belongs to whoever has it, moves with him, and is not shared. In a kernel it is
//! per-CPU data, used with preemption off.

use super::GenPool;
use super::handles::{ORDERS, Public};
use super::notes::{Contents, Forgotten};
use super::shape::{Place, WORD};
use super::tables::CALLERS;
use super::taken::Taken;
use crate::error::AllocError;
use crate::offset::Run;
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering};

/// Bits of a caller's slot.
const SLOT_BITS: u32 = CALLERS.trailing_zeros();
/// Room in a stack.
const ROOM: usize = 32;
/// How many runs of each order are kept.
const KEEP: [u32; ORDERS] = [32, 32, 32, 32, 32, 32, 24, 14, 10, 12, 4, 4, 4, 4, 4, 4, 4, 4, 4];
/// How many pages are fetched at once, at most.
const FETCH: u32 = 64;
/// How many words a full stack writes at most when it gives back its oldest runs.
const SPILL: usize = 4;
/// How often a stack must have done nothing but grow between two spills before more goes back at once.
const GROWN: u32 = 2;
/// A larger run that is cut up makes two to the power of so many.
const CUT: u32 = 2;

/// A place in a stack, and what stands there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Settled {
    order: usize,
    at: usize,
    start: u64,
}

/// The inside of a handle, for [`LocalPool`] and for the handle over folios.
pub(crate) struct Local<'p, const WORDS: usize> {
    pub(super) pool: &'p GenPool<'p, WORDS>,
    public: &'p Public,
    /// Where `public` is.
    place: usize,
    /// Its slot among callers: those of a few handles differ, and lie far apart.
    caller: usize,
    /// For each order the starts of idle runs; how many, stands in `public`.
    stacks: [[u64; ROOM]; ORDERS],
    /// The first page of the word of which `public` says which pages are at hand.
    base: u64,
    /// What came first after a stack gave back, and where: as long as it stands there, nothing has been taken since.
    settled: Settled,
    /// How often that was so in a row.
    grown: u32,
    /// None of them was taken before this was read: what was fetched and not used goes back as it was.
    since: Forgotten,
    /// Whether the pool has notes of what pages hold.
    tracks_clear: bool,
}

impl<'p, const WORDS: usize> Local<'p, WORDS> {
    /// A handle on `pool`; `None` when it has as many as it can.
    pub(crate) fn new(pool: &'p GenPool<'_, WORDS>) -> Option<Self> {
        let (place, public) = pool.handles.enter()?;
        let caller = (place as u32).reverse_bits().rotate_left(SLOT_BITS) as usize;
        Some(Local {
            pool,
            public,
            place,
            caller,
            stacks: [[0; ROOM]; ORDERS],
            base: 0,
            settled: Settled::default(),
            grown: 0,
            since: pool.forgotten(),
            tracks_clear: pool.tracks_clear(),
        })
    }

    /// Takes a run of `order`. What is at hand is taken wait-free, without an atomic read-modify-write.
    #[inline]
    pub(crate) fn take(&mut self, order: Order) -> Result<Run, AllocError> {
        if let Some(run) = self.take_at_hand(order) {
            return Ok(run);
        }
        // Taken apart and put together, so that what is at hand need not go through memory.
        match self.refill(order) {
            Ok(run) => Ok(run),
            Err(error) => Err(error),
        }
    }

    /// Takes a run of `order` that is at hand.
    #[inline(always)]
    pub(crate) fn take_at_hand(&mut self, order: Order) -> Option<Run> {
        if self.tracks_clear && self.since != self.pool.forgotten() {
            // Notes of what has not been used say what is forgotten.
            return None;
        }
        let start = match self.pop(order.get() as usize) {
            None if order == Order::ZERO => self.pop_page()?,
            start => start?,
        };
        Some(Run::aligned(start, order))
    }

    /// Gives an owned run back. Onto the stack it is wait-free, without an atomic read-modify-write.
    #[inline]
    pub(crate) fn give_back(&mut self, run: Run) {
        let order = run.order().get() as usize;
        if self.has_room(order) {
            self.keep(order, run);
        } else {
            self.spill(run);
        }
    }

    /// Whether another run of an order may be kept.
    #[inline(always)]
    fn has_room(&self, order: usize) -> bool {
        KEEP.get(order).is_some_and(|&most| self.at_hand(order) < most) && !self.is_pressed()
    }

    /// Takes the lowest page of the word that is at hand.
    #[inline]
    fn pop_page(&mut self) -> Option<u64> {
        // Relaxed, both: as the counts in `at_hand`.
        let pages = self.public.pages.load(Ordering::Relaxed);
        let rest = pages & pages.checked_sub(1)?;
        self.public.pages.store(rest, Ordering::Relaxed);
        Some(self.base + u64::from(pages.trailing_zeros()))
    }

    /// Gives a run back to the tables.
    #[inline(never)]
    fn let_go(&mut self, run: Run) {
        // Owned, so it cannot be idle.
        let _ = self.pool.give_back(run);
    }

    /// Whether somebody was refused since the last drain.
    #[inline(always)]
    pub(super) fn is_pressed(&self) -> bool {
        // Relaxed: as in `Handles::press`.
        self.public.pressed.load(Ordering::Relaxed) != 0
    }

    /// How many runs of an order are at hand.
    #[inline]
    fn at_hand(&self, order: usize) -> u32 {
        // Relaxed, here and below: nobody else writes the counts, and who reads them is only told what is refused.
        self.public.counts.get(order).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    #[inline]
    fn pop(&mut self, order: usize) -> Option<u64> {
        let (count, stack) = (self.public.counts.get(order)?, self.stacks.get(order)?);
        // Relaxed, both: as in `at_hand`.
        let below = count.load(Ordering::Relaxed).checked_sub(1)?;
        count.store(below, Ordering::Relaxed);
        Some(stack[below as usize & (ROOM - 1)])
    }

    /// The caller has made sure that there is room.
    #[inline]
    fn push(&mut self, order: usize, start: u64) {
        if let (Some(count), Some(stack)) = (self.public.counts.get(order), self.stacks.get_mut(order)) {
            // Relaxed, both: as in `at_hand`.
            let at = count.load(Ordering::Relaxed);
            stack[at as usize & (ROOM - 1)] = start;
            count.store(at + 1, Ordering::Relaxed);
        }
    }

    /// As `push`, for a run that was used: from now on its notes say what it holds (`notes`).
    #[inline]
    fn keep(&mut self, order: usize, run: Run) {
        self.pool.mark(run, Contents::Dirty);
        self.push(order, run.start().get());
    }

    /// How many pages it has at hand.
    pub(crate) fn cached(&self) -> u64 {
        self.public.cached()
    }

    /// What was read before any of its runs was taken.
    #[inline]
    pub(crate) fn since(&self) -> Forgotten {
        self.since
    }

    /// Gives back all that it has at hand, and its tables.
    #[cold]
    pub(crate) fn drain(&mut self) {
        // Relaxed: as in `Handles::press`.
        self.public.pressed.store(0, Ordering::Relaxed);
        if self.cached() > 0 {
            let unused = self.pool.unused(self.since);
            for order in 0..ORDERS {
                while let Some(start) = self.pop(order) {
                    // Owned, so it cannot be idle.
                    let _ = unused.put_back(Run::around(start, Order::clamped(order as u32)));
                }
            }
            while let Some(page) = self.pop_page() {
                let _ = unused.put_back(Run::aligned(page, Order::ZERO));
            }
        }
        self.leave_table();
    }

    /// Takes a run from the tables: pages from its own, or one that it makes its own, else wherever there is one.
    #[cold]
    fn refill(&mut self, order: Order) -> Result<Run, AllocError> {
        if self.since != self.pool.forgotten() {
            self.drain();
            self.since = self.pool.forgotten();
        }
        if order == Order::ZERO
            && let Some(run) = self.fetch_pages()
        {
            return Ok(run);
        }
        if let Some(run) = self.cut(order) {
            return Ok(run);
        }
        match self.pool.take_as(self.caller, order) {
            Err(AllocError::NoSpace { .. } | AllocError::Fragmented { .. }) if self.cached() > 0 => {
                self.drain();
                self.pool.take_as(self.caller, order)
            }
            result => result,
        }
    }

    /// Where a larger run would be cut up anyway: takes what makes a few of `order`, and has the others at hand.
    fn cut(&mut self, order: Order) -> Option<Run> {
        let (radix, small, large) = (GenPool::<WORDS>::RADIX, order.get(), order.get() + CUT);
        // Within a word, where the claim is one write; so within a level too, where the pieces of what is taken are taken. Pages come by
        // the word.
        let within = small / radix == large / radix && large % radix <= WORD.get();
        let fits = small > 0 && within && large < ORDERS as u32;
        if !fits || self.pool.lowest_listed(order) < large {
            return None;
        }
        if small < radix
            && let Some(run) = self.pool.take_fresh(self.caller, order)
        {
            return Some(run);
        }
        let start = self.pool.attempt_as(self.caller, Order::clamped(large))?.get();
        for piece in (1..1 << CUT).rev() {
            self.push(small as usize, start + (piece << small));
        }
        Some(Run::aligned(start, order))
    }

    pub(super) fn own_table(&self) -> Option<usize> {
        // Relaxed, here and in `leave_table`: only this handle writes its own table.
        (self.public.own.load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    pub(super) fn leave_table(&mut self) {
        if let Some(table) = self.own_table() {
            self.pool.disown_table(table);
            // Relaxed: who still looks there finds a table like any other.
            self.public.own.store(0, Ordering::Relaxed);
        }
    }

    /// Makes a table with a run of `order` its own; says which.
    pub(super) fn own_new_table(&self, order: Order) -> Option<usize> {
        if self.pool.own_table(self.caller, order, &self.public.own) { self.own_table() } else { None }
    }

    /// Takes a page, and has more of its word at hand: a hole that came back a moment ago, then the tightest word, wherever that is.
    fn fetch_pages(&mut self) -> Option<Run> {
        if let Some(page) = self.pool.take_fresh(self.caller, Order::ZERO) {
            return Some(page);
        }
        // A larger run is not cut in its own table while the lists have a table with a tighter one.
        let tighter = self.pool.lowest_listed(Order::ZERO);
        let own = |at_most| self.own_table().and_then(|table| self.pool.take_pages(table, FETCH, at_most));
        let found = own(tighter).or_else(|| self.pool.take_hole(self.caller, FETCH)).or_else(|| own(u32::MAX));
        let (base, pages) = found.or_else(|| {
            self.leave_table();
            self.pool.take_pages(self.own_new_table(Order::ZERO)?, FETCH, u32::MAX)
        })?;
        self.base = base;
        // Relaxed: as the counts in `at_hand`.
        self.public.pages.store(pages, Ordering::Relaxed);
        self.pop_page().map(|page| Run::aligned(page, Order::ZERO))
    }

    /// Gives a run back to the tables; where its stack is full, the oldest runs of the stack instead.
    #[cold]
    fn spill(&mut self, run: Run) {
        let (order, index) = (run.order(), run.order().get() as usize);
        // Relaxed, all: as in `give_back` and `at_hand`.
        if self.public.pressed.load(Ordering::Relaxed) != 0 {
            self.drain();
        } else if let (Some(count), Some(stack)) = (self.public.counts.get(index), self.stacks.get_mut(index)) {
            let at = (count.load(Ordering::Relaxed) as usize).min(ROOM);
            let here = Settled { order: index, start: stack[self.settled.at & (ROOM - 1)], ..self.settled };
            self.grown = if here == self.settled { self.grown.saturating_add(1) } else { 0 };
            // Who only frees gives back more at once: so that what he has to wait for himself is not waited for each time.
            let most = if self.grown > GROWN { at / 2 } else { SPILL.min(at / 2) };
            let unused = self.pool.unused(self.since);
            let gone = unused.put_back_first(self.caller, &stack[..at], order, most.max(1)).min(at);
            drop(unused);
            stack.copy_within(gone..at, 0);
            count.store((at - gone) as u32, Ordering::Relaxed);
            if gone > 0 {
                self.settled = Settled { order: index, at: at - gone, start: run.start().get() };
                return self.keep(index, run);
            }
        }
        self.let_go(run);
    }
}

impl<const WORDS: usize> Drop for Local<'_, WORDS> {
    fn drop(&mut self) {
        self.drain();
        self.pool.handles.leave(self.place);
    }
}

/// Tables that belong to handles.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a table with an idle run of `order` off the lists, or makes one from an idle entry above, and puts it where others
    /// can see it; the caller's until [`GenPool::disown_table`]. `false` if there is none.
    fn own_table(&self, caller: usize, order: Order, place: &AtomicU64) -> bool {
        // Release: pairs with the Acquire in `tables`: the table is filled before others are pointed at it.
        let publish = |table| place.store(table as u64 + 1, Ordering::Release);
        if self.shape.top == 0 {
            return false;
        }
        while let Some((table, class)) = self.propose(caller, order.get()).filter(|&(_, class)| class < Self::RADIX) {
            let _moving = self.motion.begin();
            // Whoever was faster has changed the class.
            if !self.own_listed(table, class) {
                continue;
            }
            if self.table(0, table).has(order.get()) {
                publish(table);
                return true;
            }
            self.disown(table);
        }
        let _moving = self.motion.begin();
        let Some(whole) = self.search_as(caller, self.shape.entry_order(1)) else { return false };
        let (table, _) = self.shape.entry(whole.start(), 0);
        self.own_whole(table);
        self.table(0, table).fill(self.tell_odd(0, table));
        self.tell_filled(0, table);
        publish(table);
        true
    }

    /// Gives a table back to the lists.
    fn disown_table(&self, table: usize) {
        let _moving = self.motion.begin();
        self.disown(table);
        if self.table(0, table).largest() == Some(Self::RADIX) {
            self.keep(0, table);
        }
    }

    /// Takes up to `most` pages of one word of a table, the word with the fewest idle pages: its first offset and a bit each.
    ///
    /// None if the table has a larger run than `at_most`.
    fn take_pages(&self, table: usize, most: u32, at_most: u32) -> Option<(u64, u64)> {
        if at_most < Self::RADIX && self.table(0, table).has(at_most + 1) {
            return None;
        }
        self.claim_pages(table, most)
    }

    /// Takes up to `most` pages of one word of a listed table, if there is one in which no whole word is idle: not worth owning.
    fn take_hole(&self, caller: usize, most: u32) -> Option<(u64, u64)> {
        while let Some((table, class)) = self.propose(caller, 0).filter(|&(_, class)| class < WORD.get()) {
            let found = self.claim_pages(table, most);
            // The listing promised something that was not there, or is not any more.
            self.relist(0, table, class);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn claim_pages(&self, table: usize, most: u32) -> Option<(u64, u64)> {
        let (index, pages, before) = self.table(0, table).claim_some(most)?;
        let place = Place { level: 0, table, entry: index * 64, order: 0 };
        self.tell_word(place, before, before & !pages);
        Some((self.shape.run(place).start().get(), pages))
    }
}

/// A handle on a [`GenPool`]: runs at hand for one CPU or thread.
///
/// The hot pair of [`LocalPool::alloc`] and [`LocalPool::free`] is wait-free and has no atomic instruction that others could
/// contend for. Dropping it gives back all that it has at hand.
pub struct LocalPool<'p, const WORDS: usize = 8>(pub(super) Local<'p, WORDS>);

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// A handle for one CPU or thread; `None` when 64 are out already.
    pub fn local(&self) -> Option<LocalPool<'_, WORDS>> {
        Local::new(self).map(LocalPool)
    }
}

impl<'p, const WORDS: usize> LocalPool<'p, WORDS> {
    /// Takes a run of `order`.
    #[inline]
    pub fn alloc(&mut self, order: Order) -> Result<Taken<'p>, AllocError> {
        match self.alloc_at_hand(order) {
            Some(taken) => Ok(taken),
            None => self.fetch(order),
        }
    }

    /// [`LocalPool::alloc`] of what is at hand.
    #[inline(always)]
    pub(crate) fn alloc_at_hand(&mut self, order: Order) -> Option<Taken<'p>> {
        let run = self.0.take_at_hand(order)?;
        Some(self.0.pool.value_of(run))
    }

    /// [`LocalPool::alloc`] where nothing is at hand.
    #[inline(never)]
    fn fetch(&mut self, order: Order) -> Result<Taken<'p>, AllocError> {
        let run = self.0.refill(order)?;
        Ok(self.0.pool.value_of(run))
    }

    /// Gives a run back; one of another pool comes back as the error.
    #[inline]
    pub fn free(&mut self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        if self.0.pool.tracks_clear() {
            self.give_back(taken)
        } else {
            self.free_at_hand(taken).or_else(|taken| self.give_back(taken))
        }
    }

    /// [`LocalPool::free`] where that takes no more than to have the run at hand; else it comes back. Not where a pool tracks what pages
    /// hold: there the notes must be written.
    #[inline(always)]
    pub(crate) fn free_at_hand(&mut self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        let order = taken.order().get() as usize;
        if !self.0.has_room(order) {
            return Err(taken);
        }
        let run = self.0.pool.run_of(taken)?;
        self.0.push(order, run.start().get());
        Ok(())
    }

    /// [`LocalPool::free`] where that may take more.
    #[inline(never)]
    fn give_back(&mut self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        self.0.give_back(self.0.pool.run_of(taken)?);
        Ok(())
    }

    /// Gives back all that it has at hand.
    pub fn drain(&mut self) {
        self.0.drain();
    }

    /// How many pages it has at hand.
    pub fn cached(&self) -> u64 {
        self.0.cached()
    }
}
