//! The races, one by one, in the model checker: every interleaving and every reordering that the orderings allow.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pgmap-alloc --release --test races`
//!
//! Pools are tiny (tables of one or two words) and threads do one or two things each. Threads are switched at most
//! `LOOM_MAX_PREEMPTIONS` times (3 unless told) where they could have gone on.
//!
//! What the models look at, besides answers and states, is what drivers use a page for: each owner writes its contents
//! ([`Driver::write`]), and `folio_free` clears them. loom objects unless one comes after the other by the orderings alone. So a
//! model in which a page changes hands shows the edge by which it does.
//!
//! # Weakenings tried
//!
//! Each was made alone, with three switches (two in the models that take no more), and turned every model red that its row names.
//! Every model is in a row.
//!
//! | weakened | red |
//! |---|---|
//! | `Lifetime::now` as a relaxed load | request_against_kill |
//! | `Lifetime::step` Relaxed; `Lifetime::quiesced` Relaxed | drain_against_drain |
//! | `Word::publish` Relaxed | get_against_request_finds_what_was_set_up |
//! | `Word::try_get` Relaxed | get_against_request_finds_what_was_set_up, split_against_get |
//! | `Word::give_back` Release | put_against_try_get, two_puts_free_once, split_against_clone, wait_idle_against_silent_last_put_into_a_handle |
//! | `Word::give_back` Acquire | freeze_against_get_and_unmap, drain_against_silent_last_put, wait_idle_against_silent_last_put_into_a_handle |
//! | `Word::finish_free` Relaxed | drain_against_last_put, parked_drain_against_last_put, wait_idle_against: last_put, end_as_a_block; in_the_queue |
//! | `Word::finish_free_chained` Acquire; Release; a plain store | wait_idle_against_last_put_into_a_handle |
//! | `Word::snapshot` Relaxed | drain_against: last_put, silent_last_put; split_against_get, wait_idle_against_end_as_a_block, request_against_retire, last_put_against_retire_of_a_tail, block_against_retire |
//! | `Word::touch` Acquire | wait_idle_against: last_put, last_put_and_another_request, last_put_into_a_handle, silent_last_put_into_a_handle, end_as_a_block, split, request_and_last_put |
//! | a put into a handle does not look | wait_idle_against: last_put_into_a_handle, silent_last_put_into_a_handle |
//! | a put to the tables does not look | wait_idle_against: last_put, request_and_last_put, last_put_and_another_request, split; in_the_queue; parked_drain_against_last_put |
//! | a waiter, or `Table::meet` as Relaxed, does not meet | wait_idle_against: end_as_a_block, request_that_is_refused |
//! | a keeper does not meet | wait_idle_against_end_as_a_block |
//! | a request that is refused does not wake; does not meet | wait_idle_against_request_that_is_refused |
//! | a slot is not marked as fired | wait_idle_against_last_put_and_another_request |
//! | who fires does not call the queue | wait_idle_in_the_queue |
//! | a joiner does not serve the call that found the lock taken; `WaitQueue::serve` without its fence | join_of_the_queue_against: call, leave_of_the_slot, two_calls |
//! | a leaver does not | leave_of_the_queue_against_call |
//! | `WaitQueue::serve` does not look again | queue::models (`--lib`) |
//! | a waiter that finds the queue's lock taken does not look again | join_of_the_queue_against_leave_of_the_slot |
//! | a place is given up in no new epoch | poll_by_another_task_against_join |
//! | `Word::freeze` Release | freeze_against_get_and_unmap |
//! | `Word::shrink` Acquire; `Word::thaw` Relaxed; `Gates::note_split` Relaxed; `Folios::covering` does not look again | split_against_get |
//! | finders do not look at the gates; gates are not counted | finder_against_gate, finders_against: wait_idle, kill_and_drain, removal; split_against_gate |
//! | a kill does not close the gates | finders_against_kill_and_drain |
//! | the close of a range is not counted as a gate | finders_against_removal |
//! | a gate is before its own page only | split_against_gate |
//! | a finder does not look whether the folio still covers its page; `Gates::look` Relaxed | split_against_get |
//! | a put does not tell those who wait to freeze | wait_to_freeze_against: put, unmap; wait_to_freeze_a_part |
//! | a thaw does not tell them; an undone part does not | wait_to_freeze_a_part |
//! | `Word::freeze_or_wait` Release | wait_to_freeze_against: put, wait_to_freeze |
//! | `Word::freeze_or_wait` Acquire | wait_to_freeze_against: put, unmap, last_puts; wait_to_freeze_a_part |
//! | a thaw forgets the end that was left to it; a drop that is refused while frozen is lost | drop_of_the_last_reference_against_thaw, wait_to_freeze_against_last_puts |
//! | `Word::thaw` Release | drop_of_the_last_reference_against_thaw |
//! | `Word::thaw` Acquire | wait_to_freeze_against_wait_to_freeze, split_against_get |
//! | `Word::begin` takes a bad page | request_against_retire, last_put_into_a_handle_against_retire |
//! | requests do not look for bad pages in their run | block_that_becomes_a_folio_against_retire_of_its_tail, request_of_a_large_folio_against_retire_of_its_tail |
//! | last puts do not | both last_put_against_retire, block_against_retire, split_against_retire_of_a_tail |
//! | whoever retires does not touch the words above | request_of_a_large_folio_against_retire_of_its_tail |
//! | `finish_free`, or the end of a put, forgets that the page is bad | last_put_against_retire_of_the_first_page |
//! | `finish_free_chained` forgets it | last_put_into_a_handle_against_retire |
//! | `begin_part`, or `abandon_part`, forgets it | split_against_retire_of_a_tail |
//! | it is said of a word that is `Freeing` | last_put_against_retire_of_the_first_page |
//! | it is said of a word that is `Building` | request_against_retire |
//! | who has noted a page does not look whether it is retired | retire_against_retire |
//! | who retires a page leaves its notes | retire_against_retire, last_put_against_retire_of_the_first_page |
//! | a range that is gone leaves its marks | retire_against_removal |
//! | `retire_owned` retires a page that has been pardoned | both last_put_against_pardon_of, block_that_comes_back_against_pardon, last_put_against_retire_and_pardon, retire_against_pardon_of_an_idle_page |
//! | who gives a pardoned page back does not look for marks made meanwhile | last_put_against_pardon_and_another_retirement |
//! | a pardon does not look for marks made meanwhile | retire_against_pardon_alone, retire_against_pardon_of_a_retired_page |
//! | a pardon, or the close of a range, without the right to change the ranges | pardon_against_removal |
//! | `Word::unretire` Relaxed | block_that_comes_back_against_pardon |
//! | `enter_service` looks again for why its word did not begin | request_against_retire_and_pardon |
//! | `take_leaving` without its fence | free_of_a_block_against_opening |
//! | the drop of `Closed` without its fence | free_of_a_block_against_opening, request_against_removal |
//! | a range's words forgotten after it stops leaving | request_against_removal |
//! | whoever gives pages of a leaving range back does not call | last_put_against_parked_removal |
//! | `Table::release` Relaxed | all of `requests`, take_at_against_release, handle_drain_against_refusal |
//! | `Table::change_class` without its fence; a release does not raise the class; `GenPool::relist` does not look again | relist_against_release |
//! | `GenPool::merge` without its fence | merge_against_claim |
//! | `Motion::watch` without its fence | release_against_refusal |
//!
//! These stayed green, because in the models something else gives the same order: `Lifetime::add_waiter` and `add_mark` Relaxed, and
//! `give_back` no stronger than AcqRel (the touch and the chain of the word's changes, which `overwrite` keeps whole in models);
//! `Word::touch` Release (who finds the page idle has acquired that by a snapshot); `Word::get` Relaxed; `Word::begin` Relaxed
//! (`Lifetime::now` is a read-modify-write there), `Word::shrink` Release, `Table::claim_words` Relaxed (the look before it
//! acquires), `Word::declare` and `Word::undeclare` Relaxed, each access of `WaitQueue` Relaxed and `WaitSlot::has_fired` a relaxed load (there are
//! fences around them, and what is waited for has an order of its own), `Motion::note` and `GenPool::ensure_listed` without
//! their fences (a release that is missed by one look is met by another), `Waiters::tell` that does not call the queue (whoever leaves a
//! slot calls it too; a test shows it), and a wait to freeze that notes whom to wake after its attempt (the lock is not modelled). A bad page that is not uncounted costs looks and nothing
//! else. Retirements are ordered three times over: by the words, by the tables, and by the proof of the claim that failed; no single
//! one of the fences of `Word::retire`, `Word::condemn` and `Marks::note` shows.

#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod hotplug;
mod lifetime;
mod pool;
mod references;
mod requests;
mod retire;
mod split;
mod waits;

use std::sync::atomic::AtomicUsize as Plain;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;
use pgmap_alloc::{AfterFree, Failure, Freed, GenPool, Offset, Order, Params, Pgmap, PgmapOps, Phys, PhysRange};

/// What pages hold, as loom sees it: nothing but who wrote and read it when.
struct Contents([UnsafeCell<()>; 4]);

impl Contents {
    fn new() -> Contents {
        Contents([(); 4].map(UnsafeCell::new))
    }

    /// Its owner writes a page.
    fn write(&self, page: u64) {
        self.0[page as usize].with_mut(|_| ());
    }

    /// Somebody reads a page that nobody writes any more.
    fn read(&self, page: u64) {
        self.0[page as usize].with(|_| ());
    }
}

/// A driver that counts calls, and whose `folio_free` clears the pages.
struct Driver {
    calls: Plain,
    done: AtomicUsize,
    contents: Contents,
    /// What the hooks before and after a drain share.
    hooks: UnsafeCell<()>,
    torn_down: Plain,
    /// Pages that have been found bad.
    failures: AtomicUsize,
}

impl PgmapOps for Driver {
    type Data = u64;

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        self.calls.fetch_add(1, Relaxed);
        (0..folio.order.pages()).for_each(|page| self.write(folio.offset.get() + page));
        self.done.fetch_add(1, Relaxed);
        AfterFree::ByType
    }

    fn memory_failure(&self, _: Failure<u64>) {
        self.failures.fetch_add(1, Release);
    }

    fn quiesce(&self) {
        assert_eq!(self.torn_down.load(Relaxed), 0, "torn down before the quiesce hook has run");
        // A look at something, so that others may come in between.
        self.hooks.with_mut(|_| _ = self.done());
    }

    fn teardown(&self) {
        self.hooks.with_mut(|_| ());
        self.torn_down.fetch_add(1, Relaxed);
    }
}

impl Driver {
    fn new() -> Driver {
        let (calls, done, torn_down) = (Plain::new(0), AtomicUsize::new(0), Plain::new(0));
        Driver { calls, done, contents: Contents::new(), hooks: UnsafeCell::new(()), torn_down, failures: AtomicUsize::new(0) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    fn done(&self) -> usize {
        self.done.load(Relaxed)
    }

    fn failures(&self) -> usize {
        self.failures.load(Acquire)
    }

    fn write(&self, page: u64) {
        self.contents.write(page);
    }

    fn read(&self, page: u64) {
        self.contents.read(page);
    }
}

/// A driver that hears nothing and keeps nothing.
struct Deaf(Contents);

impl PgmapOps for Deaf {
    type Data = ();

    const HEARS_FREES: bool = false;
}

type Map = Pgmap<'static, Driver, 1>;
type DeafMap = Pgmap<'static, Deaf, 1>;
type Pool<const WORDS: usize> = GenPool<'static, WORDS>;

const ONE: Order = Order::ZERO;

fn two() -> Order {
    Order::new(1).unwrap()
}

fn at(page: u64) -> Offset {
    Offset::new(page)
}

fn ranges(pages: u64) -> [PhysRange; 1] {
    [PhysRange { start: Phys(0), pages }]
}

fn pgmap(pages: u64) -> Map {
    Map::boxed(&Params::new(&ranges(pages)), Driver::new()).unwrap()
}

/// A pgmap of one page, which is in service.
fn in_service() -> Map {
    let pgmap = pgmap(1);
    assert_eq!(pgmap.alloc_folio_raw(ONE, 7), Ok(at(0)));
    pgmap
}

/// A pgmap of two pages, both of one folio in service.
fn large_in_service() -> Map {
    let pgmap = pgmap(2);
    pgmap.request_folio_raw(at(0), two(), 7).unwrap();
    pgmap
}

/// A pgmap of one page, which is in service, and whose driver hears nothing.
fn deaf_in_service() -> DeafMap {
    let pgmap = DeafMap::boxed(&Params::new(&ranges(1)), Deaf(Contents::new())).unwrap();
    assert_eq!(pgmap.alloc_folio_raw(ONE, ()), Ok(at(0)));
    pgmap
}

fn pool<const WORDS: usize>(pages: u64) -> Pool<WORDS> {
    Pool::boxed(&Params::new(&ranges(pages))).unwrap()
}

/// Runs `one` against `other`, each of them as the thread that begins. The checker lets a thread go on until it must wait, and then
/// looks only for accesses that clash with the last one before, so which of the two comes first makes a difference.
fn race<S: 'static, A: 'static, B: 'static>(set_up: fn() -> S, one: fn(&S) -> A, other: fn(&S) -> B, check: fn(&S, A, B)) {
    race_up_to(3, set_up, one, other, check);
}

/// [`race`] with fewer switches, where threads do much.
fn race_up_to<S: 'static, A: 'static, B: 'static>(
    preemptions: usize,
    set_up: fn() -> S,
    one: fn(&S) -> A,
    other: fn(&S) -> B,
    check: fn(&S, A, B),
) {
    model(preemptions, move || {
        let shared = Arc::new(set_up());
        let thread = spawn(&shared, one);
        let second = other(&shared);
        check(&shared, thread.join().unwrap(), second);
    });
    model(preemptions, move || {
        let shared = Arc::new(set_up());
        let thread = spawn(&shared, other);
        let first = one(&shared);
        check(&shared, first, thread.join().unwrap());
    });
}

/// Words of a model's thread.
const STACK: usize = 1 << 16;

fn model(preemptions: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    // A pgmap is made on the stack, and that of the model's own thread is small.
    let threads = std::sync::Arc::new(threads);
    builder.check(move || {
        let threads = threads.clone();
        thread::Builder::new().stack_size(STACK).spawn(move || threads()).unwrap().join().unwrap();
    });
}

fn spawn<T: 'static, R: 'static>(shared: &Arc<T>, work: fn(&T) -> R) -> thread::JoinHandle<R> {
    let shared = shared.clone();
    thread::spawn(move || work(&shared))
}
