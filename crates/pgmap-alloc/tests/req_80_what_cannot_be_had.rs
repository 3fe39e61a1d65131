//! Requirement 80: what cannot be had is not counted as free, in the watermark, in refusals and in every figure.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    AccountedError, AllocError, Charging, ExtentParams, Owner, Owners, Params, Pgmap, Reason, Removal, RequestError, RunState,
    SpecialSize, Urgency,
};
use support::{at, order, range};

/// Two ranges of 512 pages, the last 64 of all pages for the critical.
const RESERVE: u64 = 64;

type Books<'p> = Pgmap<'p, Charging<(), &'p Owners<2>>>;

fn with_reserve(owners: &Owners<2>) -> Books<'_> {
    let ranges = [range(1 << 20, 512), range(1 << 28, 512)];
    Pgmap::new(&Params::new(&ranges), Charging::new((), owners, RESERVE, 1024)).unwrap()
}

/// Normal callers have all that is idle but the reserve, are told truly how much that is, and the critical have the reserve.
fn check_reserve(pgmap: &Books<'_>, idle: u64, what: &str) {
    let account = pgmap.account();
    assert_eq!(account.size - account.used, idle, "{what}: {account:?}");
    assert_eq!(pgmap.validate().unwrap().idle, idle, "{what}");
    let mut held = vec![];
    let refused = loop {
        match pgmap.alloc_folio_for(order(0), Owner(0), Urgency::Normal, ()) {
            Ok(folio) => held.push(folio),
            Err(error) => break error,
        }
    };
    assert_eq!(held.len() as u64, idle - RESERVE, "{what}");
    assert_eq!(refused, AccountedError::Watermark { idle: RESERVE, watermark: RESERVE }, "{what}");
    let mut critical = 0;
    while let Ok(folio) = pgmap.alloc_folio_for(order(0), Owner(1), Urgency::Critical, ()) {
        held.push(folio);
        critical += 1;
    }
    assert_eq!(critical, RESERVE, "{what}");
    assert_eq!(pgmap.account().used, pgmap.account().size, "{what}");
    drop(held);
    assert_eq!(pgmap.account().used, account.used, "{what}: all of it is given back");
}

#[test]
fn req_80_the_reserve_is_of_pages_that_can_be_had() {
    let owners = Owners::new();
    let pgmap = with_reserve(&owners);
    check_reserve(&pgmap, 1024, "nothing is lost");
    (0..32).for_each(|page| _ = pgmap.retire(at(page)).unwrap());
    check_reserve(&pgmap, 992, "32 are retired");
    pgmap.declare_special(at(32), SpecialSize::Page, Reason::Firmware).unwrap();
    check_reserve(&pgmap, 991, "one is special");
    let block = pgmap.request_block(at(64), order(5)).unwrap();
    check_reserve(&pgmap, 959, "a block is nobody's");
    let (first, rest) = {
        let mut parts = block.split(order(4));
        (parts.next().unwrap(), parts)
    };
    drop(rest);
    check_reserve(&pgmap, 975, "half of it is back");
    let folio = first.into_folio(()).unwrap();
    let extent = pgmap.alloc_extent(&ExtentParams::new(100)).unwrap();
    check_reserve(&pgmap, 875, "a folio and an extent");
    drop(extent);
    let again = folio.into_block().unwrap();
    check_reserve(&pgmap, 975, "a folio that has become a block again");
    drop(again);
    pgmap.undeclare_special(at(32), SpecialSize::Page).unwrap();
    check_reserve(&pgmap, 992, "all but the retired ones");
    let raw = pgmap.alloc_folio_raw(order(3), ()).unwrap();
    pgmap.put_raw(raw, 1).unwrap();
    let run = pgmap.alloc_block(order(3)).unwrap().into_raw();
    pgmap.free_block_raw(run.start(), run.order()).unwrap();
    let paid = pgmap.alloc_block_for(order(3), Owner(0), Urgency::Normal).unwrap();
    drop(paid.into_folio(()).unwrap());
    check_reserve(&pgmap, 992, "by the raw verbs, and a block that an owner pays for");
}

#[test]
fn req_80_pending_pages_are_counted_once_while_they_are_used_and_afterwards() {
    let owners = Owners::new();
    let pgmap = with_reserve(&owners);
    let folio = pgmap.request_folio_for(at(0), order(4), Owner(0), Urgency::Normal, ()).unwrap();
    let block = pgmap.request_block(at(16), order(4)).unwrap();
    (0..32).step_by(4).for_each(|page| _ = pgmap.retire(at(page)).unwrap());
    check_reserve(&pgmap, 1024 - 32, "8 are pending");
    drop((folio, block));
    check_reserve(&pgmap, 1024 - 8, "8 are retired");
    // A request that meets bad pages and is refused, or served elsewhere, leaves no trace.
    assert!(pgmap.request_folio_for(at(0), order(4), Owner(0), Urgency::Normal, ()).is_err());
    check_reserve(&pgmap, 1024 - 8, "8 are retired");
}

#[test]
fn req_80_a_closing_range_is_not_free_from_the_moment_it_is_closed() {
    let owners = Owners::new();
    let pgmap = with_reserve(&owners);
    let second = pgmap.ranges().nth(1).unwrap().first;
    let held = pgmap.request_folio(second, order(0)).unwrap();
    let closed = pgmap.close_range(second).unwrap();
    check_reserve(&pgmap, 512, "closed, one folio in the way");
    assert_eq!(pgmap.alloc_extent(&ExtentParams::new(513)).map(drop).unwrap_err().to_string(), "no range has 513 pages");
    let Removal::Waiting(closed, _) = closed.poll_removal() else { panic!("a folio is in the way") };
    check_reserve(&pgmap, 512, "closing");
    drop(closed);
    check_reserve(&pgmap, 1023, "open again");
    drop(held);
    let Removal::Done(gone) = pgmap.close_range(second).unwrap().poll_removal() else { panic!("nothing is in the way") };
    assert_eq!((gone.pages, pgmap.account().size, pgmap.account().used), (512, 512, 0));
    check_reserve(&pgmap, 512, "gone");
}

#[test]
fn req_80_what_a_refusal_says_is_idle_can_be_had() {
    let owners = Owners::new();
    let pgmap = with_reserve(&owners);
    // Every other page of the first range is retired, the second range is closing.
    (0..512).step_by(2).for_each(|page| _ = pgmap.retire(at(page)).unwrap());
    let second = pgmap.ranges().nth(1).unwrap().first;
    let closed = pgmap.close_range(second).unwrap();
    let refused = pgmap.alloc_folio_for(order(3), Owner(0), Urgency::Normal, ()).unwrap_err();
    assert!(matches!(
        refused,
        AccountedError::Pool { error: AllocError::Fragmented { .. } } | AccountedError::Fragmented { idle: 256 }
    ));
    let account = pgmap.account();
    assert_eq!((account.size - account.used, account.largest_idle), (256, Some(0)));
    let idle = pgmap.snapshot().filter(|run| run.state == RunState::Idle);
    assert_eq!(idle.map(|run| run.pages).sum::<u64>(), 256);
    drop(closed);
}

/// What is left in handles is not said to be there for everybody.
#[test]
fn req_80_pages_at_hand_in_a_handle_are_not_counted_as_idle_in_a_refusal() {
    let owners = Owners::new();
    let pgmap = with_reserve(&owners);
    let mut handle = pgmap.local().unwrap();
    let folio = handle.alloc_folio_for(order(0), Owner(0), Urgency::Normal, ()).unwrap();
    let cached = handle.cached();
    assert!(cached > 0);
    let account = pgmap.account();
    assert_eq!((account.used, account.cached), (1, cached));
    let mut held = vec![];
    let refused = loop {
        match pgmap.alloc_folio_for(order(0), Owner(0), Urgency::Normal, ()) {
            Ok(folio) => held.push(folio),
            Err(error) => break error,
        }
    };
    let AccountedError::Watermark { idle, .. } = refused else { panic!("{refused}") };
    assert_eq!(idle, RESERVE - cached.min(RESERVE), "and not {RESERVE}");
    // The critical are told truly what became of the rest.
    while let Ok(folio) = pgmap.alloc_folio_for(order(0), Owner(1), Urgency::Critical, ()) {
        held.push(folio);
    }
    let refused = pgmap.alloc_folio_for(order(0), Owner(1), Urgency::Critical, ()).unwrap_err();
    assert_eq!(refused, AccountedError::Pool { error: AllocError::NoSpace { cached } });
    handle.put(folio).unwrap();
    assert!(pgmap.alloc_folio_for(order(0), Owner(1), Urgency::Critical, ()).is_ok(), "asked to give them back, it has");
    drop((held, handle));
    assert_eq!((pgmap.account().used, pgmap.account().cached), (0, 0));
}

#[test]
fn req_80_a_request_for_a_retired_page_says_so() {
    let owners = Owners::new();
    let pgmap = with_reserve(&owners);
    let _ = pgmap.retire(at(5)).unwrap();
    let refused = |page, o| pgmap.request_folio(at(page), order(o)).map(drop).unwrap_err();
    assert_eq!(refused(5, 0), RequestError::Retired);
    assert_eq!(refused(0, 3), RequestError::Retired);
    let _block = pgmap.request_block(at(8), order(3)).unwrap();
    assert_eq!(refused(8, 3), RequestError::Busy);
    assert_eq!(refused(0, 4), RequestError::Retired, "which no wait will change");
    assert_eq!(pgmap.request_block(at(5), order(0)).map(drop).unwrap_err(), RequestError::Retired);
}
