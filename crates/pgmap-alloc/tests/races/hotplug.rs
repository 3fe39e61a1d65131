//! Taking a range away against whoever requests there or is still there.

use pgmap_alloc::{AllocError, Removal};

use crate::{ONE, at, model, model_up_to, pgmap, spawn};

/// A request in a range that is being taken away is served before, or not at all: once the range is gone nobody uses it.
#[test]
fn request_against_removal() {
    model(|| {
        let pgmap = pgmap(1);
        let request = spawn(&pgmap, |pgmap| {
            let served = pgmap.alloc_folio_raw(ONE, 7);
            if let Ok(head) = served {
                pgmap.ops().write(0);
                let _ = pgmap.put_raw(head, 1).unwrap();
            }
            served
        });
        let removal = pgmap.close_range(at(0)).unwrap().poll_removal();
        let gone = matches!(removal, Removal::Done(_));
        if gone {
            // The memory is unplugged.
            pgmap.ops().write(0);
        }
        drop(removal);
        let served = request.join().unwrap();
        assert!(!matches!(served, Err(AllocError::Dying)));
        assert_eq!(pgmap.ops().calls(), usize::from(served.is_ok()));
        assert_eq!((pgmap.pages(), pgmap.validate().unwrap().idle), if gone { (0, 0) } else { (1, 1) }, "nothing is lost");
    });
}

/// Whoever waits for a range hears of the last put there.
#[test]
fn last_put_against_parked_removal() {
    model_up_to(2, || {
        let pgmap = pgmap(1);
        let head = pgmap.alloc_folio_raw(ONE, 7).unwrap();
        let put = spawn(&pgmap, move |pgmap| {
            pgmap.ops().write(0);
            pgmap.put_raw(head, 1)
        });
        let gone = loom::future::block_on(pgmap.close_range(at(0)).unwrap().removed(|_| ()));
        pgmap.ops().write(0);
        assert_eq!((gone.pages, pgmap.pages(), pgmap.ops().done()), (1, 0, 1));
        assert!(put.join().unwrap().is_ok());
    });
}

/// A range that is opened again has lost nothing, whoever gave something back meanwhile.
#[test]
fn free_of_a_block_against_opening() {
    model(|| {
        let pgmap = pgmap(2);
        let block = pgmap.request_block(at(1), ONE).unwrap().into_raw();
        let closed = pgmap.close_range(at(0)).unwrap();
        let free = spawn(&pgmap, move |pgmap| {
            pgmap.ops().write(1);
            pgmap.free_block_raw(block.start(), ONE).unwrap();
        });
        drop(closed);
        if let Ok(block) = pgmap.request_block(at(1), ONE) {
            pgmap.ops().write(1);
            drop(block);
        }
        free.join().unwrap();
        assert_eq!(pgmap.validate().map(|census| (census.idle, census.special)), Ok((2, 0)));
    });
}
