//! The races of the pool's own parts, in the model checker: ranges that come and go, notes on what pages hold, held runs, books.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pgmap-alloc --release --test races_pool`; see `races` for how the models are made.
//!
//! # Weakenings tried
//!
//! Each was made alone, all models were run, and these went red:
//!
//! | weakened | red |
//! |---|---|
//! | `RangeSlot::load` or `store` Relaxed; the word of `Ranges::relink`, or the first load of `Ranges::read_named`, Relaxed | read_of_the_ranges |
//! | `Ranges::read_named` without its second look | read_of_the_ranges |
//! | a range idle before it is known | read_of_the_ranges, every request_against_a_range, two_ranges |
//! | pages of a range that grows idle before they are known | request_against_a_range_that_grows |
//! | a range forgotten before it is taken | request_against_a_range_that_goes |
//! | `Table::set_notes` by load and store | cleared_and_dirty_free_of_neighbours |
//! | notes written after the release | cleared_free_against_somebody_who_leaves_the_page_dirty |
//! | `Table::release` Relaxed | both cleared_free, request_against_a_range_that_comes |
//! | a free of a part that does not raise `mixed` above | two_parts_of_a_cleared_run, dirty_free_of_the_last_page |
//! | a wish that insists keeps what it has claimed, or is no motion meanwhile | wish_for_a_page_that_somebody_leaves_dirty |
//! | whether somebody was forgetting already is not asked | reservation_that_is_dropped |
//! | `hold` without its fence, or its hints before its marks | reservation_against_a_free |
//! | `held_among` without its second look | reservation_against_a_free |
//! | `unhold` does nothing | commit_against_a_free |
//! | refusals are not proved; or what may be undone is not in motion; or that is not asked for | owner_refusal, watermark_refusal |
//! | the watermark's gate is only looked at | two_requests_at_the_watermark |
//! | parents are charged without a look first | owner_refusal_against_a_request |
//! | an owner's stocks: refusals are not proved; drawing, or drawing back, is no motion; nothing is collected | owner_refusal_against_a_stock, owner_at_his_limit |
//! | a charge is handed over without a reference of the call's own | charge_handed_over: against_a_split, against_the_last_put |
//! | a split rewrites the charge by load and store | charge_handed_over_by_a_reference_of_another |
//! | a tally's stocks: filled without a note; what is collected, or comes back, is not noted; what is drawn back is no motion | tally::models (`--lib`) |
//! | an owner's stocks: neither kind of uncharge notes | owners::models (`--lib`) |
//! | a free that the pool refuses takes its pages back in no motion | watermark_refusal_against_a_free_that_is_refused |
//! | what goes back unused is no motion, or who forgets looks once | reservation_that_is_dropped, cleared_page_that_is_spared |
//! | a handle's place is left before the handle is drained | handle_that_comes |
//! | who finds the CPU's handle in use frees nothing | caller_against_one_who_gives_back, caller_against_a_drain |
//!
//! These stayed green: `Handles::leave` Relaxed (the drain before it ends in a fence, in the models); a stock is used though more is
//! drawn than the limit (who is refused has looked before); the drop of `Change` Relaxed, every `SeqCst` of `Tally` and `Owners` as
//! Relaxed, one of an owner's two notes (fences and motions around them give the same order in the models, and one slot has one stock); a
//! merge that leaves the notes as they are, which are right all the same; an undone charge that calls itself over the limit.

#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod books;
mod charges;
mod clear;
mod handles;
mod held;
mod lists;
mod mistakes;
mod ranges;
mod spares;

use loom::sync::Arc;
use loom::thread;
use pgmap_alloc::{GenPool, Offset, Order, Phys, PhysRange};

/// Tables of 64 entries.
type Pool = GenPool<'static, 1>;

const ONE: Order = Order::ZERO;
const PAGE: u64 = 4096;

fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

fn at(page: u64) -> Offset {
    Offset::new(page)
}

fn range(page: u64, pages: u64) -> PhysRange {
    PhysRange { start: Phys(page * PAGE), pages }
}

/// Runs `one` against `other`, each of them as the thread that begins: the checker lets a thread go on until it must wait, and then
/// looks only for accesses that clash with the last one before, so which of the two comes first makes a difference.
fn race<S: Send + Sync + 'static, A: 'static, B: 'static>(
    set_up: fn() -> S,
    one: fn(&S) -> A,
    other: fn(&S) -> B,
    check: fn(&S, A, B),
) {
    race_within(3, set_up, one, other, check);
}

/// [`race`] with no more than so many preemptions.
fn race_within<S: Send + Sync + 'static, A: 'static, B: 'static>(
    preemptions: usize,
    set_up: fn() -> S,
    one: fn(&S) -> A,
    other: fn(&S) -> B,
    check: fn(&S, A, B),
) {
    model_within(preemptions, move || {
        let (mine, shared) = (Arc::new(set_up()), Arc::clone);
        let theirs = shared(&mine);
        let thread = thread::spawn(move || one(&theirs));
        let second = other(&mine);
        check(&mine, thread.join().unwrap(), second);
    });
    model_within(preemptions, move || {
        let (mine, shared) = (Arc::new(set_up()), Arc::clone);
        let theirs = shared(&mine);
        let thread = thread::spawn(move || other(&theirs));
        let first = one(&mine);
        check(&mine, first, thread.join().unwrap());
    });
}

/// Words of a model's thread.
const STACK: usize = 1 << 16;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    model_within(3, threads);
}

/// [`model`] with no more than so many preemptions.
fn model_within(preemptions: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    // A pool is made on the stack, and that of the model's own thread is small.
    let threads = std::sync::Arc::new(threads);
    builder.check(move || {
        let threads = threads.clone();
        thread::Builder::new().stack_size(STACK).spawn(move || threads()).unwrap().join().unwrap();
    });
}
