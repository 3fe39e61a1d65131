//! Retiring a page against whoever has it, gets it or gives it back. Nobody writes a retired page; whoever finds it retired may
//! read it.

use pgmap_alloc::{Block, Folio, Lookup, RequestError, RetireError, Retirement};

use crate::{Map, ONE, at, model, pgmap, spawn, two};

/// Reads a page if it is retired.
fn read_if_retired(pgmap: &Map, page: u64) {
    if pgmap.lookup(at(page)) == Ok(Lookup::Retired) {
        pgmap.ops().read(page);
    }
}

fn assert_retired(pgmap: &Map, page: u64) {
    assert_eq!((pgmap.lookup(at(page)), pgmap.retiring().count()), (Ok(Lookup::Retired), 0));
}

#[test]
fn request_against_retire() {
    model(|| {
        let pgmap = pgmap(2);
        let request = spawn(&pgmap, |pgmap| {
            let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
            pgmap.ops().write(head.get());
            // The last put may be the retirement's, which has a look at the driver's data.
            let _ = pgmap.put_raw(head, 1).unwrap();
        });
        let _ = pgmap.retire(at(0)).unwrap();
        read_if_retired(&pgmap, 0);
        request.join().unwrap();
        assert_retired(&pgmap, 0);
        assert_eq!(pgmap.retire(at(0)), Err(RetireError::AlreadyRetired));
    });
}

#[test]
fn request_of_a_large_folio_against_retire_of_its_tail() {
    model(|| {
        let pgmap = pgmap(2);
        let request = spawn(&pgmap, |pgmap| {
            pgmap.request_folio_raw(at(0), two(), 7).map(|()| {
                pgmap.ops().write(1);
                let _ = pgmap.put_raw(at(0), 1).unwrap();
            })
        });
        let _ = pgmap.retire(at(1)).unwrap();
        read_if_retired(&pgmap, 1);
        if let Err(error) = request.join().unwrap() {
            assert!(matches!(error, RequestError::Busy | RequestError::Retired), "{error}");
        }
        assert_retired(&pgmap, 1);
        assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Idle));
    });
}

#[test]
fn block_against_retire() {
    model(|| {
        let pgmap = pgmap(2);
        let block = spawn(&pgmap, |pgmap| {
            let block = pgmap.alloc_block(two()).map(Block::into_raw).ok()?;
            pgmap.ops().write(1);
            pgmap.free_block_raw(block.start(), block.order()).unwrap();
            Some(())
        });
        let _ = pgmap.retire(at(1)).unwrap();
        read_if_retired(&pgmap, 1);
        block.join().unwrap();
        assert_retired(&pgmap, 1);
    });
}

#[test]
fn last_put_against_retire() {
    model(|| {
        let pgmap = pgmap(2);
        pgmap.request_folio_raw(at(0), two(), 7).unwrap();
        let put = spawn(&pgmap, |pgmap| {
            pgmap.ops().write(1);
            pgmap.put_raw(at(0), 1).unwrap()
        });
        let _ = pgmap.retire(at(1)).unwrap();
        read_if_retired(&pgmap, 1);
        let _ = put.join().unwrap();
        assert_eq!(pgmap.ops().calls(), 1);
        assert_retired(&pgmap, 1);
        assert_eq!(pgmap.lookup(at(0)), Ok(Lookup::Idle));
    });
}

#[test]
fn last_put_into_a_handle_against_retire() {
    model(|| {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let put = spawn(&pgmap, move |pgmap| {
            let mut local = pgmap.local().unwrap();
            let _ = local.put(Folio::from_raw(pgmap, head).unwrap());
            // At hand or not, the page is not put into service again once it is marked.
            if let Ok(folio) = local.alloc_folio(ONE) {
                pgmap.ops().write(0);
                let _ = local.put(folio);
            }
        });
        let _ = pgmap.retire(at(0)).unwrap();
        read_if_retired(&pgmap, 0);
        put.join().unwrap();
        assert_retired(&pgmap, 0);
    });
}

/// Two find a page bad while its owner gives it back.
#[test]
fn retire_against_retire() {
    model(|| {
        let pgmap = pgmap(1);
        let block = pgmap.alloc_block(ONE).unwrap();
        let other = spawn(&pgmap, |pgmap| {
            let retirement = pgmap.retire(at(0));
            read_if_retired(pgmap, 0);
            retirement
        });
        pgmap.ops().write(0);
        drop(block);
        let mine = pgmap.retire(at(0));
        let other = other.join().unwrap();
        let told = [mine, other];
        assert!(told.iter().all(|told| matches!(told, Ok(_) | Err(RetireError::AlreadyRetired))), "{told:?}");
        assert!(told.iter().any(|told| matches!(told, Ok(Retirement::Done | Retirement::Pending))), "{told:?}");
        assert_retired(&pgmap, 0);
    });
}
