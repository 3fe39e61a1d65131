//! Retiring a page against whoever has it, gets it or gives it back. Nobody writes a retired page; whoever finds it retired may
//! read it.

use pgmap_alloc::{Block, Folio, Lookup, PardonError, RequestError, RetireError, Retirement};

use crate::{Map, ONE, at, in_service, large_in_service, pgmap, race, race_up_to, two};

type Retired = Result<Retirement, RetireError>;

/// Finds a page bad, and reads it if it is retired.
fn retire<const PAGE: u64>(pgmap: &Map) -> Retired {
    let retired = pgmap.retire(at(PAGE));
    if pgmap.lookup(at(PAGE)) == Ok(Lookup::Retired) {
        pgmap.ops().read(PAGE);
    }
    retired
}

fn assert_retired<const PAGE: u64>(pgmap: &Map) {
    assert_eq!((pgmap.lookup(at(PAGE)), pgmap.retiring().count()), (Ok(Lookup::Retired), 0));
    assert_eq!(pgmap.retire(at(PAGE)), Err(RetireError::AlreadyRetired));
}

#[test]
fn request_against_retire() {
    race(
        || pgmap(2),
        |pgmap| {
            let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
            pgmap.ops().write(head.get());
            // The last put may be the retirement's, which has a look at the driver's data.
            let _ = pgmap.put_raw(head, 1).unwrap();
        },
        retire::<0>,
        |pgmap, (), retired| {
            assert!(retired.is_ok());
            assert_retired::<0>(pgmap);
        },
    );
}

/// Who has found a page bad, and then finds no folio there, may rely on it: none comes, though somebody has claimed the pages.
#[test]
fn request_of_a_large_folio_against_retire_of_its_tail() {
    race(
        || pgmap(2),
        |pgmap| {
            pgmap.request_folio_raw(at(0), two(), 7).map(|()| {
                pgmap.ops().write(1);
                let _ = pgmap.put_raw(at(0), 1).unwrap();
            })
        },
        |pgmap| {
            let retired = pgmap.retire(at(1));
            if matches!(pgmap.lookup(at(1)), Ok(Lookup::Retired | Lookup::Block)) {
                pgmap.ops().read(1);
            }
            retired
        },
        |pgmap, served, retired| {
            assert!(retired.is_ok());
            if let Err(error) = served {
                assert!(matches!(error, RequestError::Busy | RequestError::Retired), "{error}");
            }
            assert_retired::<1>(pgmap);
            assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Idle));
        },
    );
}

#[test]
fn block_against_retire() {
    race(
        || pgmap(2),
        |pgmap| {
            let block = pgmap.alloc_block(two()).map(Block::into_raw).ok()?;
            pgmap.ops().write(1);
            pgmap.free_block_raw(block.start(), block.order()).unwrap();
            Some(())
        },
        retire::<1>,
        |pgmap, _, retired| {
            assert!(retired.is_ok());
            assert_retired::<1>(pgmap);
        },
    );
}

/// No folio begins with a page of which it is known that it is bad.
#[test]
fn block_that_becomes_a_folio_against_retire_of_its_tail() {
    race(
        || pgmap(2),
        |pgmap| {
            let block = pgmap.alloc_block(two()).ok()?;
            let known = pgmap.ops().failures() > 0;
            match block.into_folio(7) {
                Ok(folio) => {
                    assert!(!known, "a folio over a bad page");
                    pgmap.ops().write(1);
                    drop(folio);
                }
                Err(refused) => assert_eq!(refused.error, RequestError::Retired),
            }
            Some(())
        },
        retire::<1>,
        |pgmap, _, retired| {
            assert!(retired.is_ok());
            assert_retired::<1>(pgmap);
            assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Idle));
        },
    );
}

fn put_large(pgmap: &Map) {
    pgmap.ops().write(1);
    let _ = pgmap.put_raw(at(0), 1).unwrap();
}

#[test]
fn last_put_against_retire_of_a_tail() {
    race(large_in_service, put_large, retire::<1>, |pgmap, (), retired| {
        assert!(retired.is_ok());
        assert_eq!((pgmap.ops().calls(), pgmap.lookup(at(0))), (1, Ok(Lookup::Idle)));
        assert_retired::<1>(pgmap);
    });
}

/// The page's own word may be changing just then.
#[test]
fn last_put_against_retire_of_the_first_page() {
    race(large_in_service, put_large, retire::<0>, |pgmap, (), retired| {
        assert!(retired.is_ok());
        assert_eq!((pgmap.ops().calls(), pgmap.lookup(at(1))), (1, Ok(Lookup::Idle)));
        assert_retired::<0>(pgmap);
    });
}

#[test]
fn last_put_into_a_handle_against_retire() {
    race_up_to(
        2,
        in_service,
        |pgmap| {
            let mut local = pgmap.local().unwrap();
            let _ = local.put(Folio::from_raw(pgmap, at(0)).unwrap());
            // At hand or not, the page is not put into service again once it is marked.
            if let Ok(folio) = local.alloc_folio(ONE) {
                pgmap.ops().write(0);
                let _ = local.put(folio);
            }
        },
        retire::<0>,
        |pgmap, (), retired| {
            assert!(retired.is_ok());
            assert_retired::<0>(pgmap);
        },
    );
}

/// Two find a page bad, one of them while its folio is being freed, so that it can only be noted: no note is left behind.
#[test]
fn retire_against_retire() {
    race(
        in_service,
        |pgmap| {
            pgmap.ops().write(0);
            let _ = pgmap.put_raw(at(0), 1).unwrap();
            pgmap.retire(at(0))
        },
        retire::<0>,
        |pgmap, mine, other| {
            let told = [mine, other];
            assert!(told.iter().all(|told| matches!(told, Ok(_) | Err(RetireError::AlreadyRetired))), "{told:?}");
            assert!(told.iter().any(|told| matches!(told, Ok(Retirement::Done | Retirement::Pending))), "{told:?}");
            assert_retired::<0>(pgmap);
        },
    );
}

type Pardoned = Result<Retirement, PardonError>;

fn pardon<const PAGE: u64>(pgmap: &Map) -> Pardoned {
    pgmap.pardon(at(PAGE))
}

/// Nothing is left of a bad page that was pardoned: the next request gets it.
fn assert_good<const PAGE: u64>(pgmap: &Map) {
    assert_eq!((pgmap.lookup(at(PAGE)), pgmap.retiring().count()), (Ok(Lookup::Idle), 0));
    assert_eq!(pgmap.pardon(at(PAGE)), Err(PardonError::NotBad));
    pgmap.request_folio_raw(at(PAGE), ONE, 7).unwrap();
    pgmap.ops().write(PAGE);
    let _ = pgmap.put_raw(at(PAGE), 1).unwrap();
    assert_eq!(pgmap.lookup(at(PAGE)), Ok(Lookup::Idle));
}

/// A page that was pending is retired and then pardoned, or pardoned and then idle.
#[test]
fn last_put_against_pardon_of_a_tail() {
    let set_up = || {
        let pgmap = large_in_service();
        assert_eq!(pgmap.retire(at(1)), Ok(Retirement::Pending));
        pgmap
    };
    race(set_up, put_large, pardon::<1>, |pgmap, (), pardoned| {
        assert!(matches!(pardoned, Ok(Retirement::Pending | Retirement::Done)), "{pardoned:?}");
        assert_good::<1>(pgmap);
    });
}

/// The page's own word may be changing just then: that is said, and the page is retired as if there had been no pardon.
#[test]
fn last_put_against_pardon_of_the_first_page() {
    let set_up = || {
        let pgmap = large_in_service();
        assert_eq!(pgmap.retire(at(0)), Ok(Retirement::Pending));
        pgmap
    };
    race(set_up, put_large, pardon::<0>, |pgmap, (), pardoned| match pardoned {
        Err(error) => {
            assert_eq!(error, PardonError::Unsettled);
            assert_retired::<0>(pgmap);
        }
        Ok(_) => assert_good::<0>(pgmap),
    });
}

/// Of a page that comes back the request after it, or the pardon, knows that it is good.
#[test]
fn block_that_comes_back_against_pardon() {
    let set_up = || {
        let pgmap = pgmap(1);
        let _ = pgmap.alloc_block(ONE).map(Block::into_raw).unwrap();
        assert_eq!(pgmap.retire(at(0)), Ok(Retirement::Pending));
        pgmap
    };
    race(
        set_up,
        |pgmap| {
            pgmap.ops().write(0);
            pgmap.free_block_raw(at(0), ONE).unwrap();
            if let Ok(head) = pgmap.alloc_folio_raw(ONE, 7) {
                pgmap.ops().write(0);
                let _ = pgmap.put_raw(head, 1).unwrap();
            }
        },
        pardon::<0>,
        |pgmap, (), pardoned| {
            assert!(pardoned.is_ok(), "{pardoned:?}");
            assert_good::<0>(pgmap);
        },
    );
}

/// A retired page that is pardoned and found bad again is what the later of the two says.
#[test]
fn retire_against_pardon_of_a_retired_page() {
    let set_up = || {
        let pgmap = pgmap(1);
        assert_eq!(pgmap.retire(at(0)), Ok(Retirement::Done));
        pgmap
    };
    race_up_to(
        2,
        set_up,
        |pgmap| {
            let pardoned = pardon::<0>(pgmap);
            if let Ok(head) = pgmap.alloc_folio_raw(ONE, 7) {
                pgmap.ops().write(0);
                let _ = pgmap.put_raw(head, 1).unwrap();
            }
            pardoned
        },
        // Does not read it: a retired page may be written again once it is pardoned.
        |pgmap| pgmap.retire(at(0)),
        |pgmap, pardoned, retired| {
            assert_eq!(pardoned, Ok(Retirement::Done));
            if retired == Err(RetireError::AlreadyRetired) { assert_good::<0>(pgmap) } else { assert_retired::<0>(pgmap) }
        },
    );
}

/// A retirement while the page is on its way back counts, though no request follows.
#[test]
fn retire_against_pardon_alone() {
    let set_up = || {
        let pgmap = pgmap(1);
        assert_eq!(pgmap.retire(at(0)), Ok(Retirement::Done));
        pgmap
    };
    race(
        set_up,
        pardon::<0>,
        |pgmap| pgmap.retire(at(0)),
        |pgmap, pardoned, retired| {
            assert_eq!(pardoned, Ok(Retirement::Done));
            let last = if retired == Err(RetireError::AlreadyRetired) { Lookup::Idle } else { Lookup::Retired };
            assert_eq!(pgmap.lookup(at(0)), Ok(last), "{retired:?}");
        },
    );
}

/// Pardoned and found bad again while its last put wants to retire it: the last word counts.
#[test]
fn last_put_against_pardon_and_another_retirement() {
    let set_up = || {
        let pgmap = large_in_service();
        assert_eq!(pgmap.retire(at(1)), Ok(Retirement::Pending));
        pgmap
    };
    race_up_to(
        2,
        set_up,
        put_large,
        |pgmap| (pgmap.pardon(at(1)), pgmap.retire(at(1))),
        |pgmap, (), (pardoned, retired)| {
            assert!(pardoned.is_ok() && retired.is_ok(), "{pardoned:?} {retired:?}");
            assert_eq!(pgmap.lookup(at(1)), Ok(Lookup::Retired));
        },
    );
}

/// The page is idle: found bad and pardoned, or pardoned in vain and then found bad.
#[test]
fn retire_against_pardon_of_an_idle_page() {
    race(
        || pgmap(1),
        |pgmap| pgmap.retire(at(0)),
        pardon::<0>,
        |pgmap, retired, pardoned| {
            assert!(retired.is_ok(), "{retired:?}");
            if pardoned == Err(PardonError::NotBad) { assert_retired::<0>(pgmap) } else { assert_good::<0>(pgmap) }
        },
    );
}

/// A request that finds its first page bad gives the page back, also if it has been pardoned by then.
#[test]
fn request_against_retire_and_pardon() {
    race_up_to(
        2,
        || pgmap(1),
        |pgmap| {
            if let Ok(head) = pgmap.alloc_folio_raw(ONE, 7) {
                pgmap.ops().write(head.get());
                let _ = pgmap.put_raw(head, 1).unwrap();
            }
        },
        |pgmap| (pgmap.retire(at(0)), pgmap.pardon(at(0))),
        |pgmap, (), (retired, pardoned)| {
            assert!(retired.is_ok(), "{retired:?}");
            match pardoned {
                Ok(_) => assert_good::<0>(pgmap),
                Err(error) => {
                    assert!(matches!(error, PardonError::Unsettled | PardonError::NotBad), "{error}");
                    assert_retired::<0>(pgmap);
                }
            }
        },
    );
}

/// Found bad while its folio is being freed the page can only be noted; the note is retired or pardoned, and a pardon that finds it
/// between the two has found nothing.
#[test]
fn last_put_against_retire_and_pardon() {
    race_up_to(
        2,
        in_service,
        |pgmap| {
            pgmap.ops().write(0);
            let _ = pgmap.put_raw(at(0), 1).unwrap();
        },
        |pgmap| (pgmap.retire(at(0)), pgmap.pardon(at(0))),
        |pgmap, (), (retired, pardoned)| {
            assert!(retired.is_ok(), "{retired:?}");
            if pardoned.is_ok() { assert_good::<0>(pgmap) } else { assert_retired::<0>(pgmap) }
        },
    );
}
