//! Bad memory, one thread at a time: requirements 38 and 39. The races are in `races.rs`.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Mutex, OnceLock};

use pgmap_alloc::{
    AfterFree, AllocError, Expect, Failure, Freed, Lookup, Order, Params, PardonError, Pgmap, PgmapOps, Put, Reason, Refused,
    RequestError, RetireError, Retirement, SpecialSize,
};
use support::{at, order, range};

/// A driver that writes down every page that it is told of.
#[derive(Default)]
struct Owner(Mutex<Vec<Failure<u64>>>);

impl PgmapOps for Owner {
    type Data = u64;

    fn memory_failure(&self, failure: Failure<u64>) {
        self.0.lock().unwrap().push(failure);
    }
}

fn owner() -> Pgmap<'static, Owner> {
    Pgmap::new(&Params::new(&[range(0, 2048)]), Owner::default()).unwrap()
}

#[test]
fn req_38_an_idle_page_is_retired_at_once() {
    let pgmap = owner();
    assert_eq!(pgmap.retire(at(7)), Ok(Retirement::Done));
    assert_eq!(pgmap.retire(at(7)), Err(RetireError::AlreadyRetired));
    assert_eq!(pgmap.retire(at(2048)), Err(RetireError::OutOfRange));
    assert_eq!(*pgmap.ops().0.lock().unwrap(), [Failure { offset: at(7), owner: Lookup::Idle, data: None }]);
    assert_eq!((pgmap.lookup(at(7)), pgmap.validate().unwrap().retired), (Ok(Lookup::Retired), 1));
    assert_eq!(pgmap.retiring().count(), 0);
}

#[test]
fn req_38_a_page_in_service_waits_for_the_last_put() {
    let pgmap = owner();
    let folio = pgmap.request_folio_with(at(512), Order::PMD, 42).unwrap();
    let clone = folio.clone();
    let bad = at(600);
    assert_eq!(pgmap.inject_memory_failure(bad), Ok(Retirement::Pending));
    assert_eq!(pgmap.retire(bad), Ok(Retirement::Pending), "asking again changes nothing");
    let standing = Lookup::Folio { head: at(512), order: Order::PMD };
    assert_eq!(*pgmap.ops().0.lock().unwrap(), [Failure { offset: bad, owner: standing, data: Some(42) }], "told once");
    assert_eq!((pgmap.lookup(bad), pgmap.retiring().collect::<Vec<_>>()), (Ok(standing), vec![bad]));
    drop(folio);
    assert_eq!(pgmap.lookup(bad), Ok(standing));
    drop(clone);
    assert_eq!((pgmap.lookup(bad), pgmap.lookup(at(601))), (Ok(Lookup::Retired), Ok(Lookup::Idle)));
    assert_eq!((pgmap.retiring().count(), pgmap.retired().collect::<Vec<_>>()), (0, vec![bad]));
    assert_eq!(pgmap.validate().unwrap().idle, 2047, "the other pages are idle again");
    assert_eq!(pgmap.request_folio_with(at(512), Order::PMD, 0).err(), Some(RequestError::Retired));
}

#[test]
fn req_38_a_page_in_a_block_a_handle_or_a_split_folio_waits_too() {
    let pgmap = owner();
    let block = pgmap.request_block(at(0), order(4)).unwrap();
    assert_eq!(pgmap.retire(at(9)), Ok(Retirement::Pending));
    let told = pgmap.ops().0.lock().unwrap()[0];
    assert_eq!((told.owner, told.data), (Lookup::Block, None));
    assert!(block.is_bad());
    let Refused { error, value: block } = block.into_folio(1).err().unwrap();
    assert_eq!(error, RequestError::Retired, "no folio over a bad page");
    let mut parts = block.split(order(3));
    drop(parts.next());
    assert!(pgmap.is_retiring(at(9)));
    drop(parts);
    assert_eq!((pgmap.lookup(at(9)), pgmap.lookup(at(8))), (Ok(Lookup::Retired), Ok(Lookup::Idle)));

    let mut local = pgmap.local().unwrap();
    let folio = local.alloc_folio(Order::ZERO).unwrap();
    let page = folio.offset();
    let _ = local.put(folio);
    assert_eq!(pgmap.retire(page), Ok(Retirement::Pending), "at hand in the handle");
    let next = local.alloc_folio(Order::ZERO).unwrap();
    assert_ne!(next.offset(), page, "the handle does not put it into service");
    assert_eq!(pgmap.lookup(page), Ok(Lookup::Retired));
    let bad = next.offset();
    assert_eq!(pgmap.retire(bad), Ok(Retirement::Pending));
    let _ = local.put(next);
    assert_eq!(pgmap.lookup(bad), Ok(Lookup::Retired), "the handle does not keep it");

    let folio = pgmap.request_folio_with(at(512), Order::PMD, 1).unwrap();
    assert_eq!(pgmap.retire(at(1000)), Ok(Retirement::Pending));
    let parts: Vec<_> = folio.split(Order::ZERO, 1).unwrap().collect();
    assert!(pgmap.is_retiring(at(1000)));
    drop(parts);
    assert_eq!((pgmap.lookup(at(1000)), pgmap.retiring().count()), (Ok(Lookup::Retired), 0));
    drop(local);
    assert_eq!(pgmap.validate().unwrap().idle, 2048 - 4);
}

#[test]
fn req_38_retired_pages_survive_kill_and_drain_and_a_restart() {
    let first = owner();
    let folio = first.request_folio_with(at(64), order(2), 0).unwrap();
    for page in [3, 65, 2047] {
        first.retire(at(page)).unwrap();
    }
    let saved: Vec<_> = first.retired().chain(first.retiring()).collect();
    assert_eq!(saved, [at(3), at(2047), at(65)]);
    let killed = first.kill();
    assert_eq!(first.retire(at(5)), Ok(Retirement::Done), "after the kill too");
    drop(folio);
    killed.drain(|holdout| panic!("{holdout:?}")).teardown();
    assert_eq!(first.retired().collect::<Vec<_>>(), [3, 5, 65, 2047].map(at));

    let second = owner();
    let none = |page, error| panic!("{page}: {error}");
    assert_eq!(second.restore_retired(saved.iter().copied(), none), 3);
    assert_eq!(second.restore_retired(saved, none), 3, "twice is harmless");
    assert_eq!(second.retired().collect::<Vec<_>>(), [3, 65, 2047].map(at));
}

/// A rubbish record among a saved list stops nothing, wherever it stands, and is told.
#[test]
fn req_38_req_64_a_saved_list_with_rubbish_in_it_retires_all_that_is_good() {
    let pgmap: Pgmap<'_, Owner> = Pgmap::new(&Params::new(&[range(0, 1000), range(1 << 20, 24)]), Owner::default()).unwrap();
    let first = pgmap.ranges().nth(1).unwrap().first.get();
    let folio = pgmap.request_folio_with(at(64), order(2), 9).unwrap();
    let list = [u64::MAX, 3, 999, 1000, 5, 1 << 32, 66, 5, first, first + 24, 7].map(at);
    let mut bad = vec![];
    assert_eq!(pgmap.restore_retired(list, |page, error| bad.push((page, error))), 7);
    assert_eq!(bad, [u64::MAX, 1000, 1 << 32, first + 24].map(|page| (at(page), RetireError::OutOfRange)));
    assert_eq!(pgmap.retired().collect::<Vec<_>>(), [3, 5, 7, 999, first].map(at));
    assert_eq!(pgmap.retiring().collect::<Vec<_>>(), [at(66)]);
    assert_eq!(pgmap.ops().0.lock().unwrap().len(), 6, "told of each once");
    drop(folio);
    let census = pgmap.validate().unwrap();
    assert_eq!((census.retired, census.idle), (6, 1024 - 6));
}

/// What cannot be had says so by name, alone and as part of a run, be it retired, pending or special.
#[test]
fn req_80_a_request_names_what_stands_in_its_way() {
    let pgmap = owner();
    let refused = |page, o| pgmap.request_folio_with(at(page), order(o), 0).err().unwrap();
    let refused_block = |page, o| pgmap.request_block(at(page), order(o)).err().unwrap();
    pgmap.retire(at(7)).unwrap();
    let folio = pgmap.request_folio_with(at(64), order(2), 9).unwrap();
    assert_eq!((refused(64, 2), refused(65, 0)), (RequestError::Busy, RequestError::Busy));
    assert_eq!(pgmap.retire(at(65)), Ok(Retirement::Pending));
    pgmap.declare_special(at(512), SpecialSize::Pmd, Reason::Firmware).unwrap();
    for (page, o, error) in [
        (7, 0, RequestError::Retired),
        (0, 3, RequestError::Retired),
        (0, 6, RequestError::Retired),
        // Pending: it will not be had when it comes back either.
        (65, 0, RequestError::Retired),
        (64, 2, RequestError::Retired),
        (64, 0, RequestError::Busy),
        (512, 9, RequestError::Special),
        (700, 0, RequestError::Special),
    ] {
        assert_eq!((refused(page, o), refused_block(page, o)), (error, error), "{page}+2^{o}");
    }
    let closed = pgmap.close_range(at(0)).unwrap();
    assert_eq!(refused(0, 0), RequestError::Leaving);
    let pgmap_alloc::Removal::Waiting(closed, _) = closed.poll_removal() else { panic!("a folio is in the way") };
    assert_eq!((refused(0, 0), refused(1024, 9)), (RequestError::Leaving, RequestError::Leaving), "taken by its range");
    drop((closed, folio));
    assert_eq!(refused(65, 0), RequestError::Retired);
    assert_eq!(pgmap.validate().map(|census| (census.idle, census.retired, census.special)), Ok((2048 - 2 - 512, 2, 512)));
}

#[test]
fn req_38_a_retired_page_that_is_pardoned_is_as_good_as_any_other() {
    let pgmap = owner();
    assert_eq!(pgmap.pardon(at(7)), Err(PardonError::NotBad));
    assert_eq!(pgmap.pardon(at(2048)), Err(PardonError::OutOfRange));
    assert_eq!(pgmap.pardon(at(u64::MAX)), Err(PardonError::OutOfRange));
    assert_eq!((pgmap.retire(at(7)), pgmap.pardon(at(7))), (Ok(Retirement::Done), Ok(Retirement::Done)));
    assert_eq!(
        (pgmap.lookup(at(7)), pgmap.retired().count(), pgmap.pardon(at(7))),
        (Ok(Lookup::Idle), 0, Err(PardonError::NotBad))
    );
    // It is idle, merged, and can be found bad again.
    assert!(pgmap.request_folio_with(at(0), order(11), 0).is_ok());
    assert_eq!((pgmap.retire(at(7)), pgmap.retire(at(7))), (Ok(Retirement::Done), Err(RetireError::AlreadyRetired)));
    assert_eq!(pgmap.ops().0.lock().unwrap().len(), 2);
    // After the kill too.
    let killed = pgmap.kill();
    assert_eq!(pgmap.pardon(at(7)), Ok(Retirement::Done));
    killed.drain(|holdout| panic!("{holdout:?}")).teardown();
    assert_eq!(pgmap.validate().map(|census| census.idle), Ok(2048));
}

/// In a folio, a block, a handle or a special range: it is pardoned where it is, and comes back as all others do.
#[test]
fn req_38_a_pending_page_that_is_pardoned_comes_back() {
    let pgmap = owner();
    let folio = pgmap.request_folio_with(at(64), order(2), 9).unwrap();
    let mut block = pgmap.request_block(at(0), order(3)).unwrap();
    let mut local = pgmap.local().unwrap();
    let at_hand = local.alloc_folio(Order::ZERO).unwrap().offset();
    let put = local.alloc_folio(Order::ZERO).unwrap();
    let kept = put.offset();
    let _ = local.put(put);
    pgmap.declare_special(at(768), SpecialSize::Page, Reason::Firmware).unwrap();
    let all = [at(64), at(66), at(0), at(5), at_hand, kept, at(768)];
    for &page in &all {
        assert_eq!(pgmap.retire(page).unwrap(), if page == at_hand { Retirement::Done } else { Retirement::Pending }, "{page}");
    }
    for &page in &all {
        let was = if page == at_hand { Retirement::Done } else { Retirement::Pending };
        assert_eq!((pgmap.pardon(page), pgmap.pardon(page)), (Ok(was), Err(PardonError::NotBad)), "{page}");
    }
    assert_eq!((pgmap.retiring().count(), pgmap.retired().count(), block.is_bad()), (0, 0, false));
    block = block.into_folio(3).map_err(|refused| refused.error).unwrap().into_block().unwrap();
    pgmap.undeclare_special(at(768), SpecialSize::Page).unwrap();
    drop((folio, block, local));
    assert_eq!(pgmap.validate().map(|census| (census.idle, census.retired)), Ok((2048, 0)));
    assert!(pgmap.request_folio_with(at(0), order(11), 0).is_ok());
}

/// A driver's `folio_free` is called between the last put and the idle page: what the pardon cannot change then it says.
#[test]
fn req_38_a_page_may_be_pardoned_while_its_folio_is_being_freed() {
    struct Mender(OnceLock<&'static Pgmap<'static, Mender>>);
    impl PgmapOps for Mender {
        type Data = ();
        fn folio_free(&self, folio: Freed<()>) -> AfterFree {
            let (pgmap, head) = (self.0.get().unwrap(), folio.offset);
            // The first page's own word says so and is about to be overwritten; the second page's is free.
            assert_eq!(pgmap.pardon(head), Err(PardonError::Unsettled));
            assert_eq!(pgmap.pardon(at(head.get() + 1)), Ok(Retirement::Pending));
            // Found bad in this moment it can only be noted, and a note can be taken back.
            assert_eq!(
                (pgmap.retire(at(head.get() + 2)), pgmap.pardon(at(head.get() + 2))),
                (Ok(Retirement::Pending), Ok(Retirement::Pending))
            );
            AfterFree::Release
        }
    }
    let pgmap: &_ = Box::leak(Box::new(Pgmap::new(&Params::new(&[range(0, 2048)]), Mender(OnceLock::new())).unwrap()));
    assert!(pgmap.ops().0.set(pgmap).is_ok());
    let folio = pgmap.request_folio(at(64), order(2)).unwrap();
    assert_eq!((pgmap.retire(at(64)), pgmap.retire(at(65))), (Ok(Retirement::Pending), Ok(Retirement::Pending)));
    drop(folio);
    assert_eq!((pgmap.retired().collect::<Vec<_>>(), pgmap.retiring().count()), (vec![at(64)], 0));
    assert_eq!(pgmap.pardon(at(64)), Ok(Retirement::Done));
    assert_eq!(pgmap.validate().map(|census| census.idle), Ok(2048));
}

/// A note is taken back as well as a word that says so.
#[test]
fn req_38_a_page_that_is_only_noted_can_be_pardoned() {
    struct Mender(OnceLock<&'static Pgmap<'static, Mender>>);
    impl PgmapOps for Mender {
        type Data = ();
        fn folio_free(&self, folio: Freed<()>) -> AfterFree {
            let pgmap = self.0.get().unwrap();
            assert_eq!(
                (pgmap.retire(folio.offset), pgmap.pardon(folio.offset)),
                (Ok(Retirement::Pending), Ok(Retirement::Pending))
            );
            assert_eq!(pgmap.pardon(folio.offset), Err(PardonError::NotBad));
            AfterFree::Release
        }
    }
    let pgmap: &_ = Box::leak(Box::new(Pgmap::new(&Params::new(&[range(0, 64)]), Mender(OnceLock::new())).unwrap()));
    assert!(pgmap.ops().0.set(pgmap).is_ok());
    drop(pgmap.request_folio(at(3), Order::ZERO).unwrap());
    assert_eq!((pgmap.lookup(at(3)), pgmap.retiring().count()), (Ok(Lookup::Idle), 0));
    assert!(pgmap.request_folio(at(0), order(6)).is_ok());
}

/// A retired page goes with its range; a pardon comes before or after.
#[test]
fn req_38_a_retired_page_of_a_closed_range_is_not_pardoned() {
    let pgmap = owner();
    let folio = pgmap.request_folio_with(at(64), order(2), 9).unwrap();
    assert_eq!((pgmap.retire(at(7)), pgmap.retire(at(66))), (Ok(Retirement::Done), Ok(Retirement::Pending)));
    let closed = pgmap.close_range(at(0)).unwrap();
    assert_eq!((pgmap.pardon(at(7)), pgmap.pardon(at(66))), (Err(PardonError::Leaving), Ok(Retirement::Pending)));
    drop(closed);
    assert_eq!(pgmap.pardon(at(7)), Ok(Retirement::Done));
    drop(folio);
    assert_eq!(pgmap.validate().map(|census| census.idle), Ok(2048));
}

/// First pages, tails, blocks, what a handle has, what is frozen or special: each page waits in its own word.
#[test]
fn req_38_any_number_of_pages_may_be_pending() {
    let pgmap = owner();
    let block = pgmap.request_block(at(0), order(9)).unwrap();
    let mut folios: Vec<_> = (512..768).map(|page| pgmap.request_folio_with(at(page), Order::ZERO, 1).unwrap()).collect();
    let folio = pgmap.request_folio_with(at(1024), Order::PMD, 2).unwrap();
    pgmap.declare_special(at(768), SpecialSize::Page, Reason::Firmware).unwrap();
    let all: Vec<_> = (0..512).chain(512..=768).chain((1024..1536).step_by(2)).map(at).collect();
    let frozen = folios[0].freeze(Expect::Refs(1)).unwrap();
    for &page in &all {
        assert_eq!(pgmap.retire(page), Ok(Retirement::Pending));
        assert_eq!(pgmap.retire(page), Ok(Retirement::Pending), "once is enough");
    }
    drop(frozen);
    assert_eq!((pgmap.retiring().collect::<Vec<_>>(), pgmap.retired().count()), (all.clone(), 0));
    assert!(block.is_bad() && pgmap.is_retiring(at(700)) && !pgmap.is_retiring(at(1025)));
    assert_eq!(pgmap.ops().0.lock().unwrap().len(), all.len(), "told once of each");
    assert!(pgmap.validate().is_ok());

    // They go with their owners, and the others stay.
    drop(folios.drain(..100));
    assert_eq!((pgmap.retired().count(), pgmap.retiring().count()), (100, all.len() - 100));
    let parts: Vec<_> = folio.split(order(3), 1).unwrap().collect();
    assert_eq!(parts[5].counts().refs, 1);
    drop(parts);
    assert_eq!((pgmap.retired().count(), pgmap.retiring().count()), (356, all.len() - 356));
    drop((block, folios));
    pgmap.undeclare_special(at(768), SpecialSize::Page).unwrap();
    assert_eq!((pgmap.retired().collect::<Vec<_>>(), pgmap.retiring().count()), (all.clone(), 0));
    let census = pgmap.validate().unwrap();
    assert_eq!((census.retired, census.idle), (all.len() as u64, 2048 - all.len() as u64));
    // Nothing is left that would make a request look again.
    assert_eq!(pgmap.retire(at(1537)), Ok(Retirement::Done));
    assert!(pgmap.request_folio_with(at(1538), order(1), 0).is_ok());
}

/// The page's own word cannot say so just then: it is noted, and others may be too.
#[test]
fn req_38_a_page_may_be_found_bad_while_its_own_folio_is_being_freed() {
    const DEPTH: u64 = 200;
    struct Deep(OnceLock<&'static Pgmap<'static, Deep>>);
    impl PgmapOps for Deep {
        type Data = ();
        fn folio_free(&self, folio: Freed<()>) -> AfterFree {
            let (pgmap, page) = (self.0.get().unwrap(), folio.offset.get());
            // As many as can be noted; then it is to be tried again.
            let expected = if page < 128 { Ok(Retirement::Pending) } else { Err(RetireError::Unsettled) };
            assert_eq!(pgmap.retire(folio.offset), expected);
            if page + 1 < DEPTH {
                assert_eq!(pgmap.put_raw(at(page + 1), 1), Ok(Put::Freed));
            }
            AfterFree::Release
        }
    }
    let pgmap: &_ = Box::leak(Box::new(Pgmap::new(&Params::new(&[range(0, 2048)]), Deep(OnceLock::new())).unwrap()));
    assert!(pgmap.ops().0.set(pgmap).is_ok());
    (0..DEPTH).for_each(|page| pgmap.request_folio_raw(at(page), Order::ZERO, ()).unwrap());
    assert_eq!(pgmap.put_raw(at(0), 1), Ok(Put::Freed));
    assert_eq!((pgmap.retired().count(), pgmap.retiring().count()), (128, 0));
    assert!(pgmap.lookup(at(127)) == Ok(Lookup::Retired) && pgmap.lookup(at(128)) == Ok(Lookup::Idle));
    assert_eq!(pgmap.validate().map(|census| census.idle), Ok(2048 - 128));
}

#[test]
fn req_39_a_request_that_comes_after_never_gets_a_bad_page() {
    let pgmap = owner();
    let mut held: Vec<_> = (0..2048).map(|_| pgmap.alloc_folio(Order::ZERO).unwrap()).collect();
    for page in (0..2048).step_by(20) {
        assert_eq!(pgmap.retire(at(page)), Ok(Retirement::Pending));
    }
    held.clear();
    for _ in 0..2048 - 103 {
        let folio = pgmap.alloc_folio(Order::ZERO).unwrap();
        assert_ne!(folio.offset().get() % 20, 0);
        held.push(folio);
    }
    assert!(matches!(pgmap.alloc_folio(Order::ZERO).err(), Some(AllocError::NoSpace { .. })));
}
