//! Ranges that come and go under a pgmap in use: requirement 06.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::mpsc;
use std::task::Poll;

use pgmap_alloc::{
    AddRangeError, Block, Extent, Lookup, Order, Params, Pgmap, Reason, Refused, Removal, RemoveRangeError, RequestError,
    RetireError, Retirement, RunState, SpecialError, SpecialSize,
};
use support::{Driver, Task, at, order, range};

/// Where the second range starts: not at 1024, because no idle run may cross from one range into the next.
const SECOND: u64 = 2048;

fn pgmap() -> Pgmap<'static, Driver> {
    let ranges = [range(0, 1024), range(1 << 20, 1024)];
    let pgmap = Pgmap::new(&Params::new(&ranges).with_room(1, 8192), Driver::default()).unwrap();
    assert_eq!(pgmap.ranges().nth(1).map(|range| range.first), Some(at(SECOND)));
    pgmap
}

#[test]
fn req_06_a_closed_range_serves_no_request_and_goes_when_its_last_folio_has_gone() {
    let pgmap = pgmap();
    assert_eq!(pgmap.close_range(at(5)).err(), Some(RemoveRangeError::Unknown));
    let folio = pgmap.request_folio(at(SECOND + 64), order(3)).unwrap();
    let closed = pgmap.close_range(at(SECOND)).unwrap();
    assert_eq!(pgmap.close_range(at(SECOND)).err(), Some(RemoveRangeError::AlreadyLeaving));
    assert_eq!(pgmap.request_folio(at(SECOND), Order::ZERO).err(), Some(RequestError::Leaving));
    assert_eq!(pgmap.request_block(at(SECOND + 512), Order::PMD).err(), Some(RequestError::Leaving));
    let Removal::Waiting(closed, holdout) = closed.poll_removal() else { panic!("gone under a folio") };
    assert_eq!((holdout.start, holdout.state), (at(SECOND + 64), RunState::Folio { order: order(3), refs: 1 }));
    // The rest serves on, and only the rest.
    let rest: Vec<_> = (0..1024).map(|_| pgmap.alloc_folio(Order::ZERO).unwrap()).collect();
    assert!(rest.iter().all(|folio| folio.offset().get() < 1024) && pgmap.alloc_folio(Order::ZERO).is_err());
    assert!(matches!(pgmap.lookup(at(SECOND)), Ok(Lookup::Special { reason: Reason::Leaving, .. })));
    assert_eq!(pgmap.validate().map(|census| (census.in_service, census.special)), Ok((1024 + 8, 1024 - 8)));

    drop(folio);
    let Removal::Done(gone) = closed.poll_removal() else { panic!("nothing is in the way") };
    assert_eq!((gone.first, pgmap.pages()), (at(SECOND), 1024));
    assert!(pgmap.lookup(at(SECOND)).is_err());
    let back = pgmap.add_range(range(1 << 21, 512)).unwrap();
    assert_eq!(pgmap.alloc_folio(Order::PMD).map(|folio| folio.offset()), Ok(back.first));
    drop(rest);
    assert_eq!(pgmap.validate().unwrap().idle, 1024 + 512);
}

#[test]
fn req_06_a_range_that_is_opened_again_has_lost_nothing() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(SECOND + 64), order(3)).unwrap();
    let closed = pgmap.close_range(at(SECOND)).unwrap();
    let Removal::Waiting(closed, _) = closed.poll_removal() else { panic!("gone under a folio") };
    drop(closed);
    assert_eq!(pgmap.validate().map(|census| (census.in_service, census.idle)), Ok((8, 2048 - 8)));
    drop(folio);
    assert!(pgmap.request_folio(at(SECOND), order(10)).is_ok());
}

#[test]
fn req_06_several_ranges_leave_at_a_time_and_each_by_itself() {
    let ranges: Vec<_> = (0..10).map(|n| range(n << 16, 64)).collect();
    let pgmap = Pgmap::new(&Params::new(&ranges), Driver::default()).unwrap();
    let firsts: Vec<_> = pgmap.ranges().map(|range| range.first).collect();
    let mut closed: Vec<_> = firsts[..8].iter().map(|&first| pgmap.close_range(first).unwrap()).collect();
    assert_eq!(pgmap.close_range(firsts[8]).err(), Some(RemoveRangeError::TooManyLeaving { leaving: 8 }));
    assert!(closed.iter().all(|closed| pgmap.request_block(closed.range().first, Order::ZERO).is_err()));
    drop(closed.pop());
    assert!(pgmap.request_folio(firsts[7], order(6)).is_ok(), "open again");
    for closed in closed {
        assert!(matches!(closed.poll_removal(), Removal::Done(_)));
    }
    assert_eq!((pgmap.pages(), pgmap.validate().unwrap().idle), (3 * 64, 3 * 64));
}

#[test]
fn req_06_a_block_in_a_closed_range_becomes_no_folio_and_opens_with_it() {
    let pgmap = pgmap();
    let block = pgmap.request_block(at(SECOND), order(4)).unwrap();
    let closed = pgmap.close_range(at(SECOND)).unwrap();
    let Refused { error, value: block } = block.into_folio(0).err().unwrap();
    assert_eq!(error, RequestError::Leaving);
    drop(closed);
    assert!(block.into_folio(0).is_ok());
}

#[test]
fn req_06_a_retired_page_goes_with_its_range_and_a_pending_one_stays_in_the_way() {
    let pgmap = pgmap();
    let (bad, pending) = (at(SECOND + 3), at(SECOND + 512));
    let folio = pgmap.request_folio(pending, order(2)).unwrap();
    assert_eq!((pgmap.retire(bad), pgmap.retire(pending)), (Ok(Retirement::Done), Ok(Retirement::Pending)));
    let Removal::Waiting(closed, holdout) = pgmap.close_range(at(SECOND)).unwrap().poll_removal() else { panic!("in service") };
    assert_eq!(holdout.start, pending);
    // A page that has been taken because its range is leaving can be found bad too.
    let late = at(SECOND + 700);
    assert_eq!(pgmap.retire(late), Ok(Retirement::Pending));
    drop(folio);
    assert_eq!(closed.retired().collect::<Vec<_>>(), [bad, pending, late]);
    let Removal::Done(gone) = closed.poll_removal() else { panic!("nothing is in the way") };
    assert_eq!((pgmap.retired().count(), pgmap.retiring().count(), pgmap.validate().unwrap().retired), (0, 0, 0));
    assert_eq!((pgmap.retire(bad), pgmap.lookup(bad).is_err()), (Err(RetireError::OutOfRange), true));
    // The same memory again: idle, all of it, until the driver says what it knows.
    let back = pgmap.add_range(range(1 << 20, 1024)).unwrap();
    assert_eq!((back.first, pgmap.lookup(bad), pgmap.lookup(late)), (gone.first, Ok(Lookup::Idle), Ok(Lookup::Idle)));
    assert_eq!(pgmap.restore_retired([bad, pending], |page, error| panic!("{page}: {error}")), 2);
    assert_eq!(pgmap.validate().map(|census| (census.idle, census.retired)), Ok((2046, 2)));
}

#[test]
fn req_06_a_page_found_bad_while_its_range_leaves_is_retired_when_the_range_stays() {
    let pgmap = pgmap();
    let Removal::Waiting(closed, _) = ({
        let _block = pgmap.request_block(at(SECOND), Order::ZERO).unwrap().into_raw();
        pgmap.close_range(at(SECOND)).unwrap().poll_removal()
    }) else {
        panic!("a block is in the way")
    };
    let late = at(SECOND + 700);
    assert_eq!(pgmap.retire(late), Ok(Retirement::Pending));
    drop(closed);
    assert_eq!((pgmap.lookup(late), pgmap.retiring().count()), (Ok(Lookup::Retired), 0));
    pgmap.free_block_raw(at(SECOND), Order::ZERO).unwrap();
    assert_eq!(pgmap.validate().map(|census| (census.idle, census.retired)), Ok((2047, 1)));
}

/// Whatever is in the way, its end wakes the removal, and nothing else does.
#[test]
fn req_06_a_removal_is_woken_by_the_end_of_what_is_in_its_way() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(SECOND), order(3)).unwrap();
    let block = pgmap.request_block(at(SECOND + 64), order(4)).unwrap();
    pgmap.declare_special(at(SECOND + 512), SpecialSize::Pmd, Reason::Firmware).unwrap();
    let elsewhere = pgmap.request_folio(at(0), Order::PMD).unwrap();
    let mut local = pgmap.local().unwrap();
    {
        // The rest of the first range is taken, so that the handle fills itself from the second.
        let _rest = pgmap.request_block(at(512), Order::PMD).unwrap();
        let folio = local.alloc_folio(Order::ZERO).unwrap();
        assert!(folio.offset() >= at(SECOND));
        let _ = local.put(folio);
    }

    let mut offered = vec![];
    let mut removed = Box::pin(pgmap.close_range(at(SECOND)).unwrap().removed(|holdout| offered.push(holdout.start)));
    let task = Task::default();
    assert!(task.poll(&mut removed).is_pending());
    assert_eq!(task.woken(), 0, "parked");
    drop(elsewhere);
    assert_eq!(task.woken(), 0, "another range's business");
    drop(folio);
    assert_eq!((task.woken(), task.poll(&mut removed), task.woken()), (1, Poll::Pending, 0));
    let run = block.into_raw();
    assert_eq!((pgmap.free_block_raw(run.start(), run.order()), task.woken()), (Ok(()), 1));
    assert_eq!((task.poll(&mut removed), task.woken()), (Poll::Pending, 0));
    pgmap.undeclare_special(at(SECOND + 512), SpecialSize::Pmd).unwrap();
    assert_eq!((task.woken(), task.poll(&mut removed), task.woken()), (1, Poll::Pending, 0));
    drop(local);
    assert!(task.woken() > 0, "what a handle has at hand comes back with it");
    let Poll::Ready(gone) = task.poll(&mut removed) else { panic!("nothing is in the way") };
    drop(removed);
    assert_eq!((gone.first, pgmap.validate().unwrap().idle), (at(SECOND), 1024));
    assert_eq!(offered.first(), Some(&at(SECOND)));
    assert!(offered.len() > 1 && offered.is_sorted(), "each thing is offered when its turn comes: {offered:?}");
}

#[test]
fn req_06_a_handle_gives_back_what_it_has_of_a_closed_range_at_its_next_put() {
    let pgmap = pgmap();
    let mut local = pgmap.local().unwrap();
    let folios: Vec<_> = (0..1500).map(|_| local.alloc_folio(Order::ZERO).unwrap()).collect();
    let (mut here, there): (Vec<_>, Vec<_>) = folios.into_iter().partition(|folio| folio.offset() < at(SECOND));
    there.into_iter().for_each(|folio| _ = local.put(folio));
    assert!(local.cached() > 0);
    let Removal::Waiting(closed, holdout) = pgmap.close_range(at(SECOND)).unwrap().poll_removal() else { panic!("at hand") };
    assert_eq!(holdout.state, RunState::Block);
    let _ = local.put(here.pop().unwrap());
    assert_eq!(local.cached(), 0);
    assert!(matches!(closed.poll_removal(), Removal::Done(_)));
}

#[test]
fn req_06_a_parked_removal_waits_for_a_block() {
    let pgmap = pgmap();
    let block = pgmap.request_block(at(SECOND + 64), order(4)).unwrap();
    let (offer, offered) = mpsc::channel();
    std::thread::scope(|scope| {
        let removal = scope.spawn(|| {
            let closed = pgmap.close_range(at(SECOND)).unwrap();
            closed.remove_parked(move |holdout| offer.send(holdout).unwrap())
        });
        let holdout = offered.recv().unwrap();
        assert_eq!((holdout.start, holdout.pages, holdout.state), (at(SECOND + 64), 16, RunState::Block));
        drop::<Block<'_, _>>(block);
        assert_eq!(removal.join().unwrap().first, at(SECOND));
    });
    assert_eq!(pgmap.pages(), 1024);
}

#[test]
fn req_06_a_range_is_evicted_while_others_allocate() {
    let pgmap = pgmap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let held = std::sync::Mutex::new((0..1500).map(|_| pgmap.alloc_folio(Order::ZERO).unwrap()).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let folio = pgmap.alloc_folio(order(1)).ok();
                    std::thread::yield_now();
                    drop(folio);
                }
            });
        }
        let closed = pgmap.close_range(at(SECOND)).unwrap();
        let gone = closed.remove_parked(|holdout| {
            held.lock().unwrap().retain(|folio| folio.offset() != holdout.start);
        });
        assert_eq!(gone.first, at(SECOND));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let held = held.into_inner().unwrap();
    assert!(held.iter().all(|folio| folio.offset().get() < 1024));
    assert_eq!(pgmap.validate().map(|census| census.in_service), Ok(held.len() as u64));
}

/// Whatever was bad or special there, a range that is gone leaves nothing, and whoever comes next at its offsets is served.
#[test]
fn req_06_a_range_that_is_gone_leaves_no_mark_on_whoever_comes_next() {
    let pgmap = pgmap();
    let (retired, in_folio, late) = (at(SECOND + 3), at(SECOND + 515), at(SECOND + 700));
    assert_eq!(pgmap.retire(retired), Ok(Retirement::Done));
    let folio = pgmap.request_folio(at(SECOND + 512), order(3)).unwrap();
    pgmap.declare_special(at(SECOND + 8), SpecialSize::Page, Reason::Firmware).unwrap();
    assert_eq!(pgmap.retire(at(SECOND + 8)), Ok(Retirement::Pending), "special pages can be bad too");
    assert_eq!(pgmap.retire(in_folio), Ok(Retirement::Pending));
    let Removal::Waiting(closed, holdout) = pgmap.close_range(at(SECOND)).unwrap().poll_removal() else { panic!("in use") };
    assert_eq!((holdout.start, holdout.pages), (at(SECOND + 8), 1), "a special range of the driver's is in the way");
    // Found bad when the range has taken them: one at the start of what was taken, one inside.
    assert_eq!((pgmap.retire(late), pgmap.retire(at(SECOND + 1))), (Ok(Retirement::Pending), Ok(Retirement::Pending)));
    pgmap.undeclare_special(at(SECOND + 8), SpecialSize::Page).unwrap();
    assert_eq!(pgmap.lookup(at(SECOND + 8)), Ok(Lookup::Retired));
    drop(folio);
    assert_eq!(pgmap.lookup(in_folio), Ok(Lookup::Retired));
    let mut bad: Vec<_> = closed.retired().map(|page| page.get() - SECOND).collect();
    bad.sort_unstable();
    assert_eq!(bad, [1, 3, 8, 515, 700], "whoever adds the memory again can say what was bad of it");
    assert!(matches!(closed.poll_removal(), Removal::Done(_)));
    assert_eq!((pgmap.retiring().count(), pgmap.retired().count(), pgmap.pages()), (0, 0, 1024));
    assert_eq!(pgmap.retire(late), Err(RetireError::OutOfRange));

    let back = pgmap.add_range(range(1 << 20, 1024)).unwrap();
    assert_eq!(back.first, at(SECOND), "at the same offsets");
    let all = pgmap.request_folio(back.first, order(10)).unwrap();
    assert_eq!(pgmap.lookup(at(SECOND + 8)), Ok(Lookup::Folio { head: back.first, order: order(10) }));
    drop(all);
    let bad = bad.into_iter().map(|page| at(back.first.get() + page));
    assert_eq!(pgmap.restore_retired(bad, |page, error| panic!("{page}: {error}")), 5);
    assert_eq!(pgmap.validate().map(|census| (census.retired, census.idle)), Ok((5, 2048 - 5)));
}

/// A pending page of a folio holds the range as long as the folio does, whatever becomes of it.
#[test]
fn req_06_pending_pages_of_folios_blocks_and_handles_go_with_the_last_of_them() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(SECOND), order(4)).unwrap();
    let block = pgmap.request_block(at(SECOND + 64), order(4)).unwrap();
    let mut local = pgmap.local().unwrap();
    let rest = (pgmap.request_block(at(0), order(10)).unwrap(), pgmap.request_block(at(SECOND + 512), order(9)).unwrap());
    let at_hand = local.alloc_folio(Order::ZERO).unwrap();
    let page = at_hand.offset();
    assert!(page > at(SECOND) && local.put(at_hand).is_ok());
    drop(rest);
    for bad in [at(SECOND), at(SECOND + 15), at(SECOND + 70), page] {
        assert_eq!(pgmap.retire(bad), Ok(Retirement::Pending));
    }
    let mut closed = pgmap.close_range(at(SECOND)).unwrap();
    let mut in_the_way = vec![];
    let mut ends: Vec<Box<dyn FnOnce()>> = vec![Box::new(|| drop(folio)), Box::new(|| drop(block)), Box::new(|| drop(local))];
    while let Removal::Waiting(again, holdout) = closed.poll_removal() {
        closed = again;
        in_the_way.push(holdout.start);
        ends.remove(0)();
    }
    assert_eq!((in_the_way.len(), in_the_way[0]), (3, at(SECOND)));
    assert_eq!((pgmap.retiring().count(), pgmap.retired().count()), (0, 0));
    assert_eq!(pgmap.validate().unwrap().idle, 1024);
}

/// Two ranges that touch in offset space, and the same state on both sides of the border.
fn touching() -> (Pgmap<'static, Driver>, u64) {
    let ranges = [range(8, 128), range(136, 6)];
    let pgmap = Pgmap::new(&Params::new(&ranges).tracking_clear(), Driver::default()).unwrap();
    let border = pgmap.ranges().next().unwrap().end();
    assert_eq!(pgmap.ranges().nth(1).unwrap().first, border, "side by side");
    (pgmap, border.get())
}

#[test]
fn req_06_a_closed_range_names_its_own_pages_and_no_others() {
    let (pgmap, border) = touching();
    let first = pgmap.ranges().next().unwrap().first;
    let block = |page| pgmap.request_block(at(page), order(1)).unwrap();
    let blocks = [block(border - 2), block(border)];
    let closed = pgmap.close_range(first).unwrap();
    let holdouts: Vec<_> = closed.holdouts().map(|run| (run.start.get(), run.pages, run.state)).collect();
    assert_eq!(holdouts, [(border - 2, 2, RunState::Block)]);
    let Removal::Waiting(closed, holdout) = closed.poll_removal() else { panic!("a block is in the way") };
    assert_eq!((holdout.start.get(), holdout.pages), (border - 2, 2));
    drop((closed, blocks));

    // Retired pages on both sides: each goes with its own range.
    assert_eq!((pgmap.retire(at(border - 1)), pgmap.retire(at(border))), (Ok(Retirement::Done), Ok(Retirement::Done)));
    let closed = pgmap.close_range(first).unwrap();
    assert_eq!(closed.retired().collect::<Vec<_>>(), [at(border - 1)]);
    let Removal::Done(gone) = closed.poll_removal() else { panic!("nothing is in the way") };
    assert_eq!((gone.end().get(), pgmap.retired().collect::<Vec<_>>()), (border, vec![at(border)]));
    assert_eq!(pgmap.validate_every_word().map(|census| (census.idle, census.retired)), Ok((5, 1)));
}

/// The same for all that is told of the whole: a run of pages side by side is one of one range.
#[test]
fn req_05_no_run_of_a_snapshot_crosses_a_border() {
    let (pgmap, border) = touching();
    let whole = || pgmap.snapshot().collect::<Vec<_>>();
    let crosses =
        |runs: &[pgmap_alloc::SnapshotRun]| runs.iter().any(|run| run.start.get() < border && run.start.get() + run.pages > border);
    assert!(!crosses(&whole()), "idle: {:?}", whole());
    let blocks: Vec<_> = (0..134).map(|_| pgmap.alloc_block(Order::ZERO).unwrap().into_raw()).collect();
    assert!(!crosses(&whole()), "taken: {:?}", whole());
    for run in blocks {
        pgmap.free_block_raw(run.start(), run.order()).unwrap();
        let _ = pgmap.retire(run.start()).unwrap();
    }
    assert!(!crosses(&whole()), "retired: {:?}", whole());
}

#[test]
fn req_06_nothing_in_a_closed_range_becomes_special_or_is_given_to_the_clearer() {
    let (pgmap, border) = touching();
    let first = pgmap.ranges().next().unwrap().first;
    assert_eq!(pgmap.declare_special(first, SpecialSize::Page, Reason::Leaving), Err(SpecialError::NotYours));
    let closed = pgmap.close_range(first).unwrap();
    assert_eq!(pgmap.declare_special(first, SpecialSize::Page, Reason::Zero), Err(SpecialError::Leaving));
    assert_eq!(pgmap.declare_special(at(border - 1), SpecialSize::Page, Reason::Zero), Err(SpecialError::Leaving));
    pgmap.declare_special(at(border), SpecialSize::Page, Reason::Zero).unwrap();
    let dirty: Vec<_> = pgmap.dirty_blocks(Extent::ALL, order(3)).map(|block| block.offset().get()).collect();
    assert!(dirty.iter().all(|page| *page > border) && !dirty.is_empty(), "{dirty:?}");
    assert!(matches!(closed.poll_removal(), Removal::Done(_)));
    assert_eq!(pgmap.validate().map(|census| (census.pages, census.idle, census.special)), Ok((6, 5, 1)));
}

/// A folio lies across the seam, and the range goes as one, with what was bad on both sides.
#[test]
fn req_69_a_folio_lies_across_the_seam_of_a_range_that_has_grown() {
    let pgmap = Pgmap::new(&Params::new(&[range(512, 300)]).growing_to(4096).with_room(1, 1 << 14), Driver::default()).unwrap();
    let first = pgmap.ranges().next().unwrap().first;
    let seam = first.get() + 300;
    let before = pgmap.request_folio(at(seam - 44), order(5)).unwrap();
    assert_eq!(pgmap.request_folio(first, Order::PMD).err(), Some(RequestError::CrossesRange));
    pgmap.grow_range(first, range(812, 212)).unwrap();
    assert_eq!((pgmap.pages(), pgmap.largest_order(), before.refs()), (512, Order::PMD, 1));
    let across = pgmap.request_folio(at(seam - 12), order(4)).unwrap();
    assert!(across.phys().unwrap().0 < (812 << 12) && across.order().pages() == 16, "{across:?}");
    assert_eq!(pgmap.lookup(at(seam)), Ok(Lookup::Folio { head: at(seam - 12), order: order(4) }));
    assert_eq!((pgmap.retire(at(seam - 100)), pgmap.retire(at(seam + 100))), (Ok(Retirement::Done), Ok(Retirement::Done)));

    let closed = pgmap.close_range(first).unwrap();
    assert_eq!(pgmap.grow_range(first, range(1024, 8)), Err(AddRangeError::Leaving));
    let Removal::Waiting(closed, holdout) = closed.poll_removal() else { panic!("folios are in the way") };
    assert_eq!(holdout.start, at(seam - 44));
    drop((before, across));
    assert_eq!(closed.retired().collect::<Vec<_>>(), [at(seam - 100), at(seam + 100)]);
    let Removal::Done(gone) = closed.poll_removal() else { panic!("nothing is in the way") };
    assert_eq!((gone.pages, pgmap.pages(), pgmap.validate().unwrap().idle), (512, 0, 0));
    let back = pgmap.add_range(range(512, 512)).unwrap();
    drop(pgmap.request_folio(back.first, Order::PMD).unwrap());
    assert_eq!(pgmap.validate_every_word().map(|census| (census.idle, census.retired)), Ok((512, 0)));
}
