//! The per-CPU handle: idle runs at hand, so that a pair of allocation and free needs no atomic instruction.
//!
//! A handle keeps, for each order, a short stack of runs that it has claimed and that nobody uses, and for each of three groups
//! of orders a table of its own to refill from. A table that a handle works in is taken off the lists, so that two handles do
//! not meet in it; frees from elsewhere still land there. Who finds nothing in the lists may claim in handles' tables too.
//!
//! What a handle has at hand looks taken to everyone else. So a search that fails raises the *pressure*: every handle looks at
//! that number with each free and gives all it has back when it has changed. The refusal says how many pages handles had.
//!
//! There are no thread-locals here: a handle belongs to whoever has it, moves with him, and is not shared. In a kernel it is
//! per-CPU data, used with preemption off.

use super::GenPool;
use super::handles::{GROUPS, Padded, Public};
use crate::error::AllocError;
use crate::offset::{Offset, Run};
use crate::order::Order;
use crate::sync::{AtomicU64, Ordering};

/// Orders with a stack.
const ORDERS: usize = 19;
/// Room in a stack.
const ROOM: usize = 32;
/// How many runs of each order are kept.
const KEEP: [u8; ORDERS] = [32, 16, 16, 16, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4];
/// How many pages are fetched at once: not all that fit, so that a free right after finds room.
const FETCH: u32 = 24;
/// A stack of the starts of idle runs of one order.
struct Stack {
    count: usize,
    starts: [u64; ROOM],
}

impl Stack {
    #[inline]
    fn pop(&mut self) -> Option<u64> {
        self.count = self.count.checked_sub(1)?;
        Some(self.starts[self.count & (ROOM - 1)])
    }

    #[inline]
    fn push(&mut self, start: u64) {
        self.starts[self.count & (ROOM - 1)] = start;
        self.count += 1;
    }
}

/// The inside of a handle, for [`LocalPool`] and for the handle over folios.
pub(crate) struct Local<'p, const WORDS: usize> {
    pool: &'p GenPool<'p, WORDS>,
    public: &'p Public,
    /// Pages in the stacks.
    cached: u64,
    pressure: u64,
    stacks: [Stack; ORDERS],
}

impl<'p, const WORDS: usize> Local<'p, WORDS> {
    /// A handle on `pool`; `None` when it has as many as it can.
    pub(crate) fn new(pool: &'p GenPool<'_, WORDS>) -> Option<Self> {
        let free = |place: &&Padded<Public>| {
            // Acquire: pairs with the Release in `drop`: the last owner's last counts come before ours. Relaxed on failure:
            // somebody else's place.
            place.0.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let public = &pool.handles.places.iter().find(free)?.0;
        let stacks = core::array::from_fn(|_| Stack { count: 0, starts: [0; ROOM] });
        let pressure = pool.handles.pressure.0.load(Ordering::Relaxed);
        Some(Local { pool, public, cached: 0, pressure, stacks })
    }

    /// Takes a run of `order`. From the stack it is wait-free, without an atomic instruction.
    #[inline]
    pub(crate) fn take(&mut self, order: Order) -> Result<Run, AllocError> {
        if let Some(stack) = self.stacks.get_mut(order.get() as usize)
            && let Some(start) = stack.pop()
        {
            self.count(self.cached - order.pages());
            return Ok(Run::around(start, order));
        }
        self.refill(order)
    }

    /// Gives an owned run back. Onto the stack it is wait-free, without an atomic instruction.
    #[inline]
    pub(crate) fn give_back(&mut self, run: Run) {
        let order = run.order().get() as usize;
        let pressed = self.pool.handles.pressure.0.load(Ordering::Relaxed) != self.pressure;
        if let Some(stack) = self.stacks.get_mut(order)
            && stack.count < usize::from(KEEP[order])
            && !pressed
        {
            stack.push(run.start().get());
            self.count(self.cached + run.pages());
            return;
        }
        self.spill(run);
    }

    #[inline]
    fn count(&mut self, cached: u64) {
        self.cached = cached;
        // Relaxed: only told to those who are refused. Likewise the pressure, here and in `give_back`: seen a little later, it is
        // still seen; and the own tables, which only this handle writes.
        self.public.cached.store(cached, Ordering::Relaxed);
    }

    /// How many pages it has at hand.
    pub(crate) fn cached(&self) -> u64 {
        self.cached
    }

    /// Gives back all that it has at hand, and its tables.
    #[cold]
    pub(crate) fn drain(&mut self) {
        self.pressure = self.pool.handles.pressure.0.load(Ordering::Relaxed);
        for order in 0..ORDERS {
            while let Some(start) = self.stacks.get_mut(order).and_then(Stack::pop) {
                // Owned, so it cannot be idle.
                let _ = self.pool.give_back(Run::around(start, Order::clamped(order as u32)));
            }
        }
        self.count(0);
        (0..GROUPS).for_each(|group| self.leave_table(group));
    }

    /// Takes a run from the tables: its own, else one that it makes its own, else wherever there is one.
    #[cold]
    fn refill(&mut self, order: Order) -> Result<Run, AllocError> {
        if let Some(group) = self.group(order) {
            // A larger run is not cut in its own table while the lists have a table with a tighter one.
            let mut at_most = self.pool.lowest_listed(order);
            loop {
                if let Some(table) = self.own_table(group)
                    && let Some(run) = self.fetch(table, order, at_most)
                {
                    return Ok(run);
                }
                self.leave_table(group);
                if !self.pool.own_table(order, &self.public.own[group]) {
                    break;
                }
                // That was the tightest.
                at_most = u32::MAX;
            }
        }
        match self.pool.take(order) {
            Err(AllocError::NoSpace { .. }) if self.cached > 0 => {
                self.drain();
                self.pool.take(order)
            }
            result => result,
        }
    }

    /// Which of its tables an order is taken from; `None` for orders of whole tables and more.
    fn group(&self, order: Order) -> Option<usize> {
        match order.get() {
            order if order >= GenPool::<WORDS>::RADIX => None,
            0 => Some(0),
            1..=3 => Some(1),
            _ => Some(2),
        }
    }

    fn own_table(&self, group: usize) -> Option<usize> {
        (self.public.own[group % GROUPS].load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    fn leave_table(&mut self, group: usize) {
        let own = &self.public.own[group % GROUPS];
        if let Some(table) = (own.load(Ordering::Relaxed) as usize).checked_sub(1) {
            self.pool.disown_table(table);
            own.store(0, Ordering::Relaxed);
        }
    }

    /// Takes a run from an own table; of single pages some more onto the stack.
    fn fetch(&mut self, table: usize, order: Order, at_most: u32) -> Option<Run> {
        if order != Order::ZERO {
            return self.pool.take_in(table, order, at_most);
        }
        let (base, mut pages) = self.pool.take_pages(table, FETCH, at_most)?;
        // The highest first, so that the lowest comes off first.
        while pages & (pages - 1) != 0 {
            let highest = 63 - pages.leading_zeros();
            self.stacks[0].push(base + u64::from(highest));
            pages &= !(1 << highest);
            self.cached += 1;
        }
        self.count(self.cached);
        Some(Run::around(base + u64::from(pages.trailing_zeros()), order))
    }

    /// Gives a run back to the tables, and the older half of its stack with it.
    #[cold]
    fn spill(&mut self, run: Run) {
        let order = run.order();
        if self.pool.handles.pressure.0.load(Ordering::Relaxed) != self.pressure {
            self.drain();
        } else if let Some(stack) = self.stacks.get_mut(order.get() as usize) {
            let half = (stack.count / 2).min(ROOM);
            for &start in &stack.starts[..half] {
                // Owned, so it cannot be idle.
                let _ = self.pool.give_back(Run::around(start, order));
            }
            stack.starts.copy_within(half.., 0);
            stack.count -= half;
            if half > 0 {
                stack.push(run.start().get());
                self.count(self.cached + order.pages() - half as u64 * order.pages());
                return;
            }
        }
        let _ = self.pool.give_back(run);
    }
}

impl<const WORDS: usize> Drop for Local<'_, WORDS> {
    fn drop(&mut self) {
        self.drain();
        // Release: pairs with the Acquire in `new`.
        self.public.taken.store(0, Ordering::Release);
    }
}

/// Tables that belong to handles.
impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// Takes a table with an idle run of `order` off the lists, or makes one from an idle entry above, and puts it where others
    /// can see it; the caller's until [`GenPool::disown_table`]. `false` if there is none.
    fn own_table(&self, order: Order, place: &AtomicU64) -> bool {
        // Release: pairs with the Acquire in `tables`: the table is filled before others are pointed at it.
        let publish = |table| place.store(table as u64 + 1, Ordering::Release);
        if self.shape.top == 0 {
            return false;
        }
        while let Some((table, _)) = self.propose(order.get()).filter(|&(_, class)| class < Self::RADIX) {
            let _moving = self.motion.begin();
            let won = self.set_owned(table);
            self.unlist_all(0, table);
            if won && self.table(0, table).has(order.get()) {
                publish(table);
                return true;
            }
            if won {
                self.disown_table(table);
            } else if !self.is_owned(table) {
                // Its handle has left meanwhile, and what we took off the lists may be what it had just listed.
                self.list_anew(table);
            }
        }
        let _moving = self.motion.begin();
        let Some(whole) = self.search(self.shape.entry_order(1)) else { return false };
        let (table, _) = self.shape.entry(whole.start(), 0);
        self.set_owned(table);
        let (above, entry) = self.shape.parent(table);
        self.mark_split(1, above, entry);
        self.split_notes(0, table);
        self.table(0, table).fill();
        publish(table);
        true
    }

    /// Gives a table back to the lists.
    fn disown_table(&self, table: usize) {
        let _moving = self.motion.begin();
        self.clear_owned(table);
        self.list_anew(table);
    }

    /// Takes up to `most` pages of one word of a table, the word with the fewest idle pages: its first offset and a bit each.
    ///
    /// None if the table has a larger run than `at_most`.
    fn take_pages(&self, table: usize, most: u32, at_most: u32) -> Option<(u64, u64)> {
        if at_most < Self::RADIX && self.table(0, table).has(at_most + 1) {
            return None;
        }
        let (index, pages) = self.table(0, table).claim_some(most)?;
        let place = super::Place { level: 0, table, entry: index * 64, order: 0 };
        Some((self.shape.run(place).start().get(), pages))
    }
}

/// A handle on a [`GenPool`]: runs at hand for one CPU or thread.
///
/// The hot pair of [`LocalPool::alloc`] and [`LocalPool::free`] is wait-free and has no atomic instruction that others could
/// contend for. Dropping it gives back all that it has at hand.
pub struct LocalPool<'p, const WORDS: usize = 8>(Local<'p, WORDS>);

/// An allocated run, as a value that can be given back once and only to the pool that it came from.
#[derive(Debug)]
#[must_use = "a run that is not freed stays taken"]
pub struct Taken<'p> {
    /// The pool's address tells pools apart; it is never followed.
    pool: usize,
    run: Run,
    _pool: core::marker::PhantomData<&'p ()>,
}

impl Taken<'_> {
    /// Its first page.
    pub fn offset(&self) -> Offset {
        self.run.start()
    }

    /// Its order.
    pub fn order(&self) -> Order {
        self.run.order()
    }

    /// Its pages.
    pub fn run(&self) -> Run {
        self.run
    }

    /// Gives up the type and keeps the pages: give them back with [`GenPool::free`].
    pub fn into_raw(self) -> Run {
        self.run
    }
}

impl<const WORDS: usize> GenPool<'_, WORDS> {
    /// A handle for one CPU or thread; `None` when 64 are out already.
    pub fn local(&self) -> Option<LocalPool<'_, WORDS>> {
        Local::new(self).map(LocalPool)
    }

    fn identity(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

impl<'p, const WORDS: usize> LocalPool<'p, WORDS> {
    /// Takes a run of `order`.
    #[inline]
    pub fn alloc(&mut self, order: Order) -> Result<Taken<'p>, AllocError> {
        let run = self.0.take(order)?;
        Ok(Taken { pool: self.0.pool.identity(), run, _pool: core::marker::PhantomData })
    }

    /// Gives a run back; one of another pool comes back as the error.
    #[inline]
    pub fn free(&mut self, taken: Taken<'p>) -> Result<(), Taken<'p>> {
        if taken.pool != self.0.pool.identity() {
            return Err(taken);
        }
        self.0.give_back(taken.run);
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
