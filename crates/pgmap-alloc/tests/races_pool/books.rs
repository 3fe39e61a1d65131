//! Who pays: owners, their stocks, and the watermark.

use pgmap_alloc::{Accounted, AccountedError, Charge, ChargeError, Limits, Offset, Owner, Owners, Params, Urgency};

use super::{ONE, Pool, at, order, race, range};

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

/// A free that the pool refuses changes the books back, and draws a page for the next time as an allocation does: that is hidden for a
/// moment too.
#[test]
fn req_68_watermark_refusal_against_a_free_that_is_refused() {
    race(
        || {
            let pool = Box::leak(Box::new(Pool::boxed(&Params::new(&[range(0, 16)])).unwrap()));
            let owners = Box::leak(Box::new(Owners::with_parents([None, Some(Owner(0)), Some(Owner(0))]).unwrap()));
            let books = Books { books: Accounted::new(pool, owners, (), 11) };
            assert_eq!(books.alloc(2, 1, Urgency::Normal), Ok(at(0)));
            books
        },
        // Not these.
        |books| books.books.free(at(8), order(2), Owner(1)).is_err(),
        |books| books.alloc(0, 2, Urgency::Normal),
        |books, refused, got| {
            assert!(refused && got.is_ok(), "there was one above the watermark: {got:?}");
            assert_eq!((books.books.account().used, books.has(0)), (5, 5));
        },
    );
}
