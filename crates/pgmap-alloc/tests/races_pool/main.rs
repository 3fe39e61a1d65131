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
//! | `RangeSlot::read` or `write` Relaxed; the word of `Ranges::replace`, or the first load of `Ranges::read`, Relaxed | read_of_the_ranges |
//! | `Ranges::read` without its second look | read_of_the_ranges |
//! | `Ranges::change` Relaxed | two_ranges_come_at_once |
//! | a range idle before it is known | read_of_the_ranges, every request_against_a_range, two_ranges |
//! | a range forgotten before it is taken | request_against_a_range_that_goes |
//! | `Table::set_notes` by load and store | cleared_and_dirty_free_of_neighbours |
//! | notes written after the release | cleared_free_against_somebody_who_leaves_the_page_dirty |
//! | `Table::release` Relaxed | both cleared_free, request_against_a_range_that_comes |
//! | a merge without the notes | dirty_free_of_the_last_page |
//! | `hold` without its fence, or its hints before its marks | reservation_against_a_free |
//! | `held_among` without its second look | reservation_against_a_free |
//! | `unhold` does nothing | commit_against_a_free |
//! | refusals are not proved; or what may be undone is not in motion; or that is not asked for | owner_refusal, watermark_refusal |
//! | the watermark's gate is only looked at | two_requests_at_the_watermark |
//! | parents are charged without a look first | owner_refusal_against_a_request |
//! | an owner's stocks: refusals are not proved; drawing, or drawing back, is no motion; nothing is collected | owner_refusal_against_a_stock, owner_at_his_limit |
//! | what goes back unused is no motion, or who forgets looks once | reservation_that_is_dropped, cleared_page_that_is_spared |
//!
//! These stayed green: a stock is used though more is drawn than the limit (who is refused has looked before); the drop of `Change` Relaxed, `Tally::used` and `Account::lower` Relaxed, `Tally::give` without its note (a
//! fence elsewhere, or the motion, gives the same order in the models); a merge that sums the notes up after the release of the
//! entry, which nobody else can claim between the two as the models are cut; an undone charge that calls itself over the limit.

#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod lists;
mod mistakes;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use pgmap_alloc::{
    Accounted, AccountedError, AddRangeError, Charge, ChargeError, Contents, Extent, FreeError, GenPool, Limits, Offset, Order,
    Owner, Owners, Params, Phys, PhysRange, PlacedRange, RemoveRangeError, Urgency, Wish,
};

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
    model(move || {
        let (mine, shared) = (Arc::new(set_up()), Arc::clone);
        let theirs = shared(&mine);
        let thread = thread::spawn(move || one(&theirs));
        let second = other(&mine);
        check(&mine, thread.join().unwrap(), second);
    });
    model(move || {
        let (mine, shared) = (Arc::new(set_up()), Arc::clone);
        let theirs = shared(&mine);
        let thread = thread::spawn(move || other(&theirs));
        let first = one(&mine);
        check(&mine, first, thread.join().unwrap());
    });
}

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.max_branches = 20_000;
    builder.check(threads);
}

/// One page, and room for two ranges more.
fn growing() -> Pool {
    Pool::boxed(&Params::new(&[range(0, 1)]).with_room(2, 8)).unwrap()
}

/// A range whose fields all say which one it is.
fn add(pool: &Pool, page: u64) -> Result<PlacedRange, AddRangeError> {
    pool.add_range_tagged(range(page, page / 100), page)
}

/// The same with one range more, which starts at [`SECOND`].
fn grown() -> Pool {
    let pool = growing();
    assert_eq!(add(&pool, 200).unwrap().first, SECOND);
    pool
}

const SECOND: Offset = Offset::new(2);

#[test]
fn read_of_the_ranges_against_two_changes() {
    race(
        grown,
        |pool| {
            pool.remove_range(SECOND).unwrap();
            assert_eq!(add(pool, 300).unwrap().first, SECOND);
        },
        |pool| {
            for range in pool.ranges().skip(1) {
                assert_eq!((range.phys.0 / PAGE, range.pages), (range.tag, range.tag / 100), "one range, not pieces of two");
            }
        },
        |_, (), ()| {},
    );
}

#[test]
fn request_against_a_range_that_goes() {
    race(
        grown,
        |pool| pool.remove_range(SECOND),
        |pool| pool.alloc_at(SECOND, ONE),
        |pool, removed, got| match got {
            Ok(()) => {
                assert_eq!(removed, Err(RemoveRangeError::InUse { page: SECOND }));
                assert_eq!(pool.phys(SECOND), Some(Phys(200 * PAGE)));
                pool.free(SECOND, ONE).unwrap();
            }
            Err(_) => assert!(matches!(removed, Ok(_) | Err(RemoveRangeError::Contended)), "{removed:?}"),
        },
    );
}

#[test]
fn request_against_a_range_that_comes() {
    race(
        || {
            let pool = growing();
            pool.alloc(ONE).unwrap();
            pool
        },
        |pool| add(pool, 100).unwrap(),
        |pool| {
            // Known first, idle then: whoever gets a page of it can find where it is.
            let got = pool.alloc(ONE);
            if let Ok(page) = got {
                assert_eq!(pool.phys(page), Some(Phys(100 * PAGE)));
            }
            got
        },
        |pool, added, got| assert_eq!(got.is_err(), pool.is_idle(added.first)),
    );
}

#[test]
fn two_ranges_come_at_once() {
    race(
        growing,
        |pool| add(pool, 100),
        |pool| add(pool, 200),
        |pool, one, other| {
            for added in [one, other] {
                assert!(matches!(added, Ok(_) | Err(AddRangeError::Changing)), "{added:?}");
            }
            let came: u64 = [one, other].iter().flatten().map(|range| range.pages).sum();
            assert!(came > 0, "each was told to wait for the other");
            assert_eq!((pool.size(), pool.avail()), (1 + came, 1 + came));
        },
    );
}

/// Two pages, and what they hold: 0 = all zero. Written by whoever has a page, so ordered by the tables alone.
struct Pages {
    pool: Pool,
    hold: [AtomicUsize; 2],
}

impl Pages {
    fn new() -> Pages {
        let pool = Pool::boxed(&Params::new(&[range(0, 2)]).tracking_clear()).unwrap();
        Pages { pool, hold: [AtomicUsize::new(1), AtomicUsize::new(1)] }
    }

    /// Page 0 is taken.
    fn one_taken() -> Pages {
        let pages = Pages::new();
        pages.pool.alloc_at(at(0), ONE).unwrap();
        pages
    }

    fn take(&self, wish: Wish) -> Option<usize> {
        let (page, contents) = self.pool.alloc_wishing(ONE, wish).ok()?;
        let index = page.get() as usize;
        if contents == Contents::Cleared {
            assert_eq!(self.hold[index].load(Relaxed), 0, "said to be cleared");
        }
        Some(index)
    }

    fn leave(&self, index: usize, dirt: usize) {
        self.hold[index].store(dirt, Relaxed);
        let free = if dirt == 0 { Pool::free_cleared } else { Pool::free };
        free(&self.pool, at(index as u64), ONE).unwrap();
    }
}

#[test]
fn cleared_free_against_an_allocation_that_wants_one() {
    race(
        Pages::one_taken,
        |pages| pages.leave(0, 0),
        |pages| pages.take(Wish::Cleared),
        |pages, (), taken| assert_eq!(pages.pool.avail_cleared(Extent::ALL), u64::from(taken.is_none())),
    );
}

#[test]
fn cleared_free_against_somebody_who_leaves_the_page_dirty() {
    race(
        Pages::one_taken,
        |pages| pages.leave(0, 0),
        |pages| {
            if pages.pool.alloc_at(at(0), ONE).is_ok() {
                pages.leave(0, 1);
            }
        },
        |pages, (), ()| while pages.take(Wish::Cleared).is_some() {},
    );
}

#[test]
fn cleared_and_dirty_free_of_neighbours() {
    race(
        || {
            // Page 0 was cleared and is not any more, page 1 the other way round: both notes are in one word.
            let pages = Pages::one_taken();
            pages.leave(0, 0);
            pages.pool.alloc(Order::new(1).unwrap()).unwrap();
            pages
        },
        |pages| pages.leave(0, 1),
        |pages| pages.leave(1, 0),
        |pages, (), ()| {
            assert_eq!(pages.pool.avail_cleared(Extent::ALL), 1);
            assert_eq!(pages.take(Wish::Cleared), Some(1));
        },
    );
}

/// A pool in which both pages are cleared.
fn all_cleared() -> Pool {
    let pool = Pool::boxed(&Params::new(&[range(0, 2)]).tracking_clear().taking_reservations()).unwrap();
    for page in 0..2 {
        pool.alloc_at(at(page), ONE).unwrap();
        pool.free_cleared(at(page), ONE).unwrap();
    }
    pool
}

#[test]
fn reservation_that_is_dropped_against_forgetting() {
    race(
        all_cleared,
        |pool| drop(pool.reserve(ONE, &mut [at(0)])),
        |pool| {
            let forgotten = pool.forget_clear(Extent::ALL).is_ok();
            assert!(!forgotten || pool.alloc_wishing(ONE, Wish::PreferCleared).is_ok_and(|(_, holds)| holds == Contents::Dirty));
            forgotten
        },
        |pool, (), forgotten| assert!(!forgotten || pool.avail_cleared(Extent::ALL) == 0, "cleared after it was forgotten"),
    );
}

#[test]
fn cleared_page_that_is_spared_against_forgetting() {
    race(
        || {
            // Page 1 is cleared, page 2 is not: who does not care takes the one, puts it back, and takes the other.
            let pool = Pool::boxed(&Params::new(&[range(0, 4)]).tracking_clear()).unwrap();
            pool.alloc_at(at(0), order(2)).unwrap();
            pool.free_cleared(at(1), ONE).unwrap();
            pool.free(at(2), ONE).unwrap();
            pool
        },
        |pool| {
            let (page, _) = pool.alloc_wishing(ONE, Wish::DontCare).unwrap();
            pool.free(page, ONE).unwrap();
        },
        |pool| pool.forget_clear(Extent::ALL).is_ok(),
        |pool, (), forgotten| assert!(!forgotten || pool.avail_cleared(Extent::ALL) == 0),
    );
}

#[test]
fn dirty_free_of_the_last_page_against_an_allocation_of_the_whole() {
    race(
        || {
            let pool = Pool::boxed(&Params::new(&[range(0, 64)]).tracking_clear()).unwrap();
            // The whole of it, an entry of the table above, was cleared once; now all of it but one page comes back cleared.
            pool.alloc(order(6)).unwrap();
            pool.free_cleared(at(0), order(6)).unwrap();
            pool.alloc(order(6)).unwrap();
            for (page, order) in [(0, 5), (32, 4), (48, 3), (56, 2), (60, 1), (62, 0)].map(|(page, o)| (page, order(o))) {
                pool.free_cleared(at(page), order).unwrap();
            }
            pool
        },
        |pool| pool.free(at(63), ONE).unwrap(),
        |pool| pool.alloc_wishing(order(6), Wish::PreferCleared),
        |pool, (), whole| match whole {
            Ok((_, contents)) => assert_eq!(contents, Contents::Dirty),
            Err(_) => assert_eq!(pool.avail_cleared(Extent::ALL), 63),
        },
    );
}

/// Two tables; in one a reservation stays, in the other one has left a hint that nothing is behind.
struct Misleading {
    pool: Pool,
    start: Offset,
}

impl Misleading {
    fn new() -> Misleading {
        let pool = Pool::boxed(&Params::new(&[range(0, 128)]).taking_reservations()).unwrap();
        let (mut room, mut gone) = ([at(0)], [at(0)]);
        // Never dropped: it lives as long as the pool.
        std::mem::forget(pool.reserve(order(6), &mut room).unwrap());
        drop(pool.reserve(ONE, &mut gone).unwrap());
        // So that its listing is right: while somebody puts one right, a mistaken free of the whole may not see what is idle.
        pool.alloc(ONE).unwrap();
        Misleading { pool, start: gone[0].align_down(order(6)) }
    }

    fn mistaken_free(&self) -> FreeError {
        self.pool.free(self.start, order(6)).unwrap_err()
    }
}

#[test]
fn reservation_against_a_free_that_a_stale_hint_misleads() {
    race(
        Misleading::new,
        |it| {
            let mut room = [at(0)];
            std::mem::forget(it.pool.reserve(ONE, &mut room).unwrap());
        },
        |it| assert!(matches!(it.mistaken_free(), FreeError::Held { .. } | FreeError::DoubleFree { .. })),
        |it, (), ()| {
            let refused = it.mistaken_free();
            assert!(matches!(refused, FreeError::Held { .. }), "the hint was lost: {refused}");
        },
    );
}

#[test]
fn commit_against_a_free_of_the_same_run() {
    race(
        || {
            let pool = Pool::boxed(&Params::new(&[range(0, 2)]).taking_reservations()).unwrap();
            std::mem::forget(pool.reserve(ONE, &mut [at(0)]).unwrap());
            pool
        },
        |pool| {
            let mut room = [at(0)];
            pool.reserve(ONE, &mut room).map(|reserved| reserved.commit()[0])
        },
        |pool| pool.free(at(1), ONE),
        |pool, committed, freed| {
            assert_eq!(committed, Ok(at(1)));
            match freed {
                Ok(()) => assert!(pool.is_idle(at(1)), "committed before"),
                Err(error) => {
                    assert!(matches!(error, FreeError::Held { .. } | FreeError::DoubleFree { .. }), "{error}");
                    // One reservation lives on, so the marks are looked at: they are gone.
                    pool.free(at(1), ONE).unwrap();
                }
            }
        },
    );
}

/// An owner who has four pages and a limit, and in stock so many.
fn owner(in_stock: u64, max: u64) -> Owners<1> {
    let owners = Owners::new();
    owners.set_limits(Owner(0), Limits { max, ..Limits::NONE }).unwrap();
    owners.charge_anyway(Owner(0), 4 + in_stock);
    if in_stock > 0 {
        owners.uncharge(Owner(0), in_stock).unwrap();
    }
    owners
}

fn has(owners: &Owners<1>) -> u64 {
    owners.usage(Owner(0)).unwrap().pages
}

#[test]
fn owner_at_his_limit_is_charged_what_another_gives_back() {
    race(
        || owner(1, 4),
        |owners| owners.uncharge(Owner(0), 1),
        |owners| owners.try_charge(Owner(0), 1),
        |owners, back, charged| {
            assert_eq!((back, has(owners)), (Ok(()), 3 + u64::from(charged.is_ok())));
            // What came back can be had, in stock or not, and no more.
            assert_eq!(owners.try_charge(Owner(0), 1).is_ok(), charged.is_err());
            let over = ChargeError::OverLimit { owner: 0, has: 4, max: 4 };
            assert_eq!((owners.try_charge(Owner(0), 1), has(owners)), (Err(over), 4));
        },
    );
}

#[test]
fn owner_is_charged_by_two_for_the_last_pages() {
    race(
        || owner(1, 6),
        |owners| owners.try_charge(Owner(0), 2),
        |owners| owners.try_charge(Owner(0), 2),
        |owners, one, other| {
            assert!(one.is_ok() != other.is_ok(), "there are two pages: {one:?} {other:?}");
            assert_eq!(has(owners), 6);
        },
    );
}

#[test]
fn owner_refusal_against_a_stock_that_is_drawn_back() {
    race(
        || owner(2, 7),
        |owners| owners.uncharge(Owner(0), 1),
        |owners| owners.try_charge(Owner(0), 3),
        |owners, back, charged| {
            assert_eq!(back, Ok(()));
            assert!(!matches!(charged, Err(ChargeError::OverLimit { .. })), "three pages were always to be had: {charged:?}");
            assert_eq!(has(owners), 3 + if charged.is_ok() { 3 } else { 0 });
        },
    );
}

#[test]
fn owner_refusal_against_a_stock_that_is_being_filled() {
    race(
        || owner(0, 7),
        |owners| owners.try_charge(Owner(0), 1),
        |owners| owners.try_charge(Owner(0), 2),
        |owners, one, two| {
            assert_eq!((one, two), (Ok(()), Ok(())), "there were three pages");
            assert_eq!(has(owners), 7);
        },
    );
}

/// A pool of four pages of which 0 and 2 are taken behind the books' back, so that two pages side by side are not to be had though
/// the books do not know.
struct Booked {
    pool: Pool,
    owners: Owners<3>,
}

impl Booked {
    fn new() -> Booked {
        let pool = Pool::boxed(&Params::new(&[range(0, 4)])).unwrap();
        [0, 2].iter().for_each(|&page| pool.alloc_at(at(page), ONE).unwrap());
        // Two children of one parent.
        let owners = Owners::with_parents([None, Some(Owner(0)), Some(Owner(0))]).unwrap();
        Booked { pool, owners }
    }
}

/// Books over a pool that lives as long: the checker's threads borrow nothing.
struct Books {
    books: Accounted<'static, &'static Owners<3>, (), 1>,
}

impl Books {
    fn new(watermark: u64, max: u64) -> Books {
        let Booked { pool, owners } = Box::leak(Box::new(Booked::new()));
        owners.set_limits(Owner(0), Limits { max, ..Limits::NONE }).unwrap();
        Books { books: Accounted::new(pool, owners, (), watermark) }
    }

    fn alloc(&self, o: u32, owner: u32, urgency: Urgency) -> Result<Offset, AccountedError> {
        self.books.alloc(order(o), Owner(owner), urgency)
    }

    fn has(&self, owner: u32) -> u64 {
        self.books.charge().usage(Owner(owner)).unwrap().pages
    }
}

#[test]
fn owner_refusal_against_a_request_of_his_that_fails() {
    race(
        || Books::new(0, 2),
        |books| books.alloc(1, 1, Urgency::Normal),
        |books| books.alloc(0, 2, Urgency::Normal),
        |books, large, small| {
            assert!(matches!(large, Err(AccountedError::Fragmented { .. } | AccountedError::Owner { .. })), "{large:?}");
            assert!(small.is_ok(), "one page was always to be had, and his limit is two: {small:?}");
            assert_eq!([0, 1, 2].map(|owner| books.has(owner)), [1, 0, 1]);
        },
    );
}

#[test]
fn watermark_refusal_against_a_request_that_fails() {
    race(
        || {
            let books = Books::new(1, 9);
            books.alloc(0, 1, Urgency::Normal).unwrap();
            books
        },
        |books| books.alloc(1, 1, Urgency::Normal),
        |books| books.alloc(0, 2, Urgency::Normal),
        |books, large, small| {
            assert!(large.is_err(), "{large:?}");
            assert!(small.is_ok(), "there were two above the watermark: {small:?}");
            assert_eq!((books.books.account().used, books.has(0)), (2, 2));
        },
    );
}

#[test]
fn two_requests_at_the_watermark() {
    race(
        || Books::new(3, 9),
        |books| books.alloc(0, 1, Urgency::Normal),
        |books| books.alloc(0, 2, Urgency::Normal),
        |books, one, other| {
            assert!(one.is_ok() != other.is_ok(), "there is room for exactly one: {one:?} {other:?}");
            let refused = if one.is_ok() { other } else { one };
            assert_eq!(refused, Err(AccountedError::Watermark { idle: 3, watermark: 3 }));
            assert_eq!(books.books.account().used, 1);
        },
    );
}

#[test]
fn request_against_a_free_at_the_watermark() {
    race(
        || {
            let books = Books::new(3, 9);
            assert_eq!(books.alloc(0, 1, Urgency::Normal), Ok(at(1)));
            books
        },
        |books| books.books.free(at(1), ONE, Owner(1)).unwrap(),
        |books| books.alloc(0, 2, Urgency::Normal),
        |books, (), got| {
            let used = u64::from(got.is_ok());
            assert_eq!((books.books.account().used, books.has(0)), (used, used));
            assert!(books.alloc(0, 2, Urgency::Normal).is_ok() == got.is_err());
        },
    );
}
