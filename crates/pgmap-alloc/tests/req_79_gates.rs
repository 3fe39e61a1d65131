//! Requirement 79: after a kill, a close of a range, or while somebody waits for idle or for a freeze, no finder gets a new
//! reference. Holders go on, so each of these ends after the longest hold.

#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::thread;

use pgmap_alloc::{Drain, Expect, FreezeError, GateError, MemoryType, Offset, Params, Pgmap, PgmapOps, PinError, Put, Removal};
use support::{Task, at, order, range};

/// A driver whose memory is of this type.
struct Of(MemoryType);

impl PgmapOps for Of {
    type Data = ();

    fn memory_type(&self) -> MemoryType {
        self.0
    }
}

type Map = Pgmap<'static, Of>;

/// Two ranges of 512 pages, whose memory may be pinned and mapped.
fn pgmap() -> Map {
    of(MemoryType::Generic)
}

fn of(memory_type: MemoryType) -> Map {
    Pgmap::new(&Params::new(&[range(0, 512), range(1 << 20, 512)]), Of(memory_type)).unwrap()
}

/// Whether finders are let to the folio that covers a page; all of them say the same.
fn is_open(pgmap: &Map, page: u64) -> Result<(), PinError> {
    let page = at(page);
    let pin = pgmap.pin(page).map(drop);
    let raw = pgmap.try_get_raw(page).map(|head| pgmap.put_raw(head, 1));
    assert_eq!((pgmap.try_get(page).is_some(), raw.is_some()), (pin.is_ok(), pin.is_ok()));
    pin
}

/// What closes the folio at 8 to finders leaves holders alone, and the one in the other range unless it closes `everywhere`.
fn closes<G>(close: impl FnOnce(&'static Map) -> G, why: PinError, everywhere: bool) {
    let pgmap: &Map = Box::leak(Box::new(pgmap()));
    let there = pgmap.ranges().nth(1).unwrap().first;
    let (folio, other) = (pgmap.request_folio(at(8), order(3)).unwrap(), pgmap.request_folio(there, order(3)).unwrap());
    let there = there.get();
    assert_eq!((is_open(pgmap, 13), is_open(pgmap, there)), (Ok(()), Ok(())));
    let closed = close(pgmap);
    assert_eq!(is_open(pgmap, 13), Err(why));
    assert_eq!(is_open(pgmap, there), if everywhere { Err(why) } else { Ok(()) });
    let more = folio.clone();
    pgmap.get_raw(at(8)).unwrap();
    assert_eq!((folio.refs(), pgmap.put_raw(at(8), 1)), (3, Ok(Put::InService)), "holders go on");
    pgmap.map_raw(at(8)).unwrap();
    assert_eq!(pgmap.unmap_raw(at(8)), Ok(Put::InService));
    drop(more);
    drop(closed);
    assert_eq!(is_open(pgmap, 13), if everywhere { Err(why) } else { Ok(()) }, "after the gate");
    drop((folio, other));
    assert_eq!(pgmap.validate().unwrap().idle, 1024);
}

#[test]
fn req_79_each_gate_is_closed_to_finders_and_open_to_holders() {
    closes(|pgmap| pgmap.gate(at(15)).unwrap(), PinError::Closed, false);
    closes(|pgmap| pgmap.close_range(at(0)).unwrap(), PinError::Leaving, false);
    closes(|pgmap| _ = pgmap.kill(), PinError::Dying, true);
    closes(
        |pgmap| {
            let mut idle = Box::pin(pgmap.until_idle(at(10)).unwrap());
            assert!(Task::default().poll(&mut idle).is_pending());
            idle
        },
        PinError::Closed,
        false,
    );
    closes(
        |pgmap| {
            pgmap.get_raw(at(8)).unwrap();
            let mut frozen = Box::pin(pgmap.until_frozen(at(8), Expect::Refs(1)).unwrap());
            assert!(Task::default().poll(&mut frozen).is_pending());
            assert_eq!(pgmap.put_raw(at(8), 1), Ok(Put::InService));
            frozen
        },
        PinError::Closed,
        false,
    );
}

#[test]
fn req_79_a_gate_that_several_close_opens_with_the_last() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(8), order(3)).unwrap();
    let (first, second) = (folio.gate().unwrap(), pgmap.gate(at(11)).unwrap());
    let mut idle = Box::pin(pgmap.until_idle(at(15)).unwrap());
    assert!(Task::default().poll(&mut idle).is_pending());
    drop(second);
    assert_eq!(is_open(&pgmap, 8), Err(PinError::Closed));
    drop(idle);
    assert_eq!((is_open(&pgmap, 8), first.offset()), (Err(PinError::Closed), at(8)));
    drop(first);
    assert_eq!(is_open(&pgmap, 8), Ok(()));
    // There is room for 64, and a refusal has a name.
    let all: Vec<_> = (0..64).map(|_| pgmap.gate(at(8)).unwrap()).collect();
    assert_eq!(pgmap.gate(at(8)).err(), Some(GateError::NoSlot));
    assert_eq!(pgmap.gate(at(u64::MAX)).err(), Some(GateError::OutOfRange));
    drop(all);
    assert_eq!(is_open(&pgmap, 8), Ok(()));
}

/// A gate is before the folio that covers its page: after a split the part, and after its end nothing.
#[test]
fn req_79_a_gate_stays_with_its_page_through_a_split_and_ends_with_the_folio() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(8), order(3)).unwrap();
    let gate = pgmap.gate(at(14)).unwrap();
    let parts: Vec<_> = folio.split(order(2), 1).unwrap().collect();
    assert!(pgmap.try_get(at(8)).is_some() && pgmap.try_get(at(12)).is_none() && pgmap.try_get(at(15)).is_none());
    drop(parts);
    let next = pgmap.request_folio(at(8), order(3)).unwrap();
    assert!(pgmap.try_get(at(14)).is_some(), "the next folio is another one");
    drop((next, gate));
    assert_eq!(pgmap.validate().unwrap().idle, 1024);
}

/// What is found bad behind a gate is told with whose it is.
#[test]
fn req_38_a_gate_does_not_hide_whose_a_bad_page_is() {
    let pgmap = support::pgmap(&[range(0, 512)]);
    let folio = pgmap.request_folio_with(at(8), order(3), 77).unwrap();
    let gate = folio.gate().unwrap();
    let refs = folio.refs();
    assert!(pgmap.retire(at(9)).is_ok());
    assert_eq!(folio.refs(), refs);
    drop((gate, folio));
    assert!(pgmap.retired().eq([at(9)]));
}

/// How often a finder tries to be refused. Only one that no gate stops comes to that.
const IN_VAIN: u32 = 500_000;

/// Two threads find the folio hand over hand, so that each has a reference at every moment, until they are refused. Says what
/// `work` says, which begins when both have one.
fn against_finders<R>(pgmap: &Map, work: impl FnOnce() -> R) -> R {
    let (running, stuck) = (AtomicU32::new(0), AtomicBool::new(false));
    let done = thread::scope(|scope| {
        for page in [9, 14] {
            let (running, stuck) = (&running, &stuck);
            scope.spawn(move || {
                let mut held = pgmap.try_get(at(page)).unwrap();
                running.fetch_add(1, Ordering::SeqCst);
                for _ in 0..IN_VAIN {
                    let Some(next) = pgmap.try_get(at(page)) else { return };
                    held = next;
                    thread::yield_now();
                }
                drop(held);
                stuck.store(true, Ordering::SeqCst);
            });
        }
        while running.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        work()
    });
    assert!(!stuck.load(Ordering::SeqCst), "finders went on for ever");
    done
}

fn with_folio() -> (Map, Offset) {
    with_folio_of(MemoryType::Generic)
}

fn with_folio_of(memory_type: MemoryType) -> (Map, Offset) {
    let pgmap = of(memory_type);
    let head = pgmap.request_folio(at(8), order(3)).unwrap().into_raw();
    (pgmap, head)
}

#[test]
fn req_79_a_drain_ends_while_folios_are_found_and_dropped() {
    let (pgmap, head) = with_folio();
    against_finders(&pgmap, || {
        let killed = pgmap.kill();
        assert!(pgmap.try_get(head).is_none(), "found after the kill");
        let _ = pgmap.put_raw(head, 1).unwrap();
        killed.drain_parked(|_| ()).teardown();
    });
    let (pgmap, head) = with_folio();
    against_finders(&pgmap, || {
        let mut killed = pgmap.kill();
        let _ = pgmap.put_raw(head, 1).unwrap();
        while let Drain::Waiting(again, _) = killed.poll_drain() {
            killed = again;
            thread::yield_now();
        }
    });
    assert_eq!(pgmap.validate().unwrap().idle, 1024);
}

#[test]
fn req_79_a_range_goes_while_folios_are_found_and_dropped() {
    for parked in [false, true] {
        let (pgmap, head) = with_folio();
        against_finders(&pgmap, || {
            let mut closed = pgmap.close_range(at(0)).unwrap();
            assert!(pgmap.try_get(head).is_none(), "found after the close");
            let _ = pgmap.put_raw(head, 1).unwrap();
            if parked {
                let _ = closed.remove_parked(|_| ());
                return;
            }
            while let Removal::Waiting(again, _) = closed.poll_removal() {
                closed = again;
                thread::yield_now();
            }
        });
        assert_eq!(pgmap.validate().unwrap().idle, 512);
    }
}

#[test]
fn req_79_a_wait_ends_while_folios_are_found_and_dropped() {
    let (pgmap, head) = with_folio();
    against_finders(&pgmap, || {
        let _ = pgmap.put_raw(head, 1).unwrap();
        pgmap.wait_idle(head).unwrap();
        assert!(pgmap.is_idle(head));
    });
    // And by other means, behind a gate.
    let (pgmap, head) = with_folio();
    against_finders(&pgmap, || {
        let gate = pgmap.gate(head).unwrap();
        let _ = pgmap.put_raw(head, 1).unwrap();
        while !pgmap.is_idle(head) {
            thread::yield_now();
        }
        drop(gate);
    });
}

#[test]
fn req_79_a_freeze_ends_while_folios_are_found_and_dropped() {
    for expect in [Expect::Refs(2), Expect::NoPins] {
        let (pgmap, head) = with_folio_of(MemoryType::DeviceCoherent);
        pgmap.map_raw(head).unwrap();
        against_finders(&pgmap, || {
            if expect == Expect::NoPins {
                let _ = pgmap.put_raw(head, 1).unwrap();
            }
            let frozen = pgmap.wait_frozen(head, expect).unwrap();
            let counts = pgmap.counts_raw(head).unwrap();
            assert_eq!((counts.mappings, frozen.offset(), pgmap.try_get(head).is_none()), (1, head, true));
        });
        assert!(pgmap.try_get(head).is_some(), "thawed, it can be found again");
    }
    let (pgmap, head) = with_folio();
    against_finders(&pgmap, || {
        let gate = pgmap.gate(head).unwrap();
        while pgmap.freeze_raw(head, Expect::Refs(1)).is_err() {
            thread::yield_now();
        }
        drop(gate);
    });
}

/// Several wait for the same folio, one of them in vain, while others find it: each ends.
#[test]
fn req_79_many_wait_while_folios_are_found_and_dropped() {
    let (pgmap, head) = with_folio();
    against_finders(&pgmap, || {
        let mut in_vain = Box::pin(pgmap.until_idle(at(12)).unwrap());
        assert!(Task::default().poll(&mut in_vain).is_pending());
        thread::scope(|scope| {
            let freezer = || drop(pgmap.wait_frozen(head, Expect::Refs(1)).unwrap());
            let freezers = [scope.spawn(freezer), scope.spawn(freezer)];
            drop(in_vain);
            freezers.into_iter().for_each(|freezer| freezer.join().unwrap());
            let idle = [scope.spawn(|| pgmap.wait_idle(head)), scope.spawn(|| pgmap.wait_idle(at(15)))];
            let _ = pgmap.put_raw(head, 1).unwrap();
            idle.into_iter().for_each(|idle| idle.join().unwrap().unwrap());
        });
    });
    assert_eq!(pgmap.validate().unwrap().idle, 1024);
}

#[test]
fn req_79_a_wait_for_a_freeze_is_woken_by_what_brings_it_nearer() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(8), order(3)).unwrap();
    let more = folio.clone();
    pgmap.map_raw(at(8)).unwrap();
    let (task, other) = (Task::default(), Task::default());
    let mut first = Box::pin(folio.until_frozen(Expect::Refs(1)).unwrap());
    assert!(task.poll(&mut first).is_pending() && task.woken() == 0);
    let _ = pgmap.unmap_raw(at(8)).unwrap();
    assert_eq!(task.woken(), 1);
    assert!(task.poll(&mut first).is_pending() && task.woken() == 0);
    let mut second = Box::pin(folio.until_frozen(Expect::Refs(1)).unwrap());
    assert!(other.poll(&mut second).is_pending());
    drop(more);
    assert_eq!((task.woken(), other.woken()), (1, 1));
    let Poll::Ready(Ok(frozen)) = task.poll(&mut first) else { panic!("the references are as expected") };
    assert!(other.poll(&mut second).is_pending(), "another has it frozen");
    assert_eq!(other.woken(), 0);
    drop(frozen);
    assert_eq!(other.woken(), 1);
    assert!(matches!(other.poll(&mut second), Poll::Ready(Ok(_))));
}

#[test]
fn req_79_a_wait_for_a_freeze_that_cannot_come_says_why() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(8), order(3)).unwrap();
    assert_eq!(folio.wait_frozen(Expect::Refs(2)).err(), Some(FreezeError::StrayReferences { held: 1 }));
    assert_eq!(pgmap.wait_frozen(at(9), Expect::Refs(1)).err(), Some(FreezeError::NotInService));
    assert_eq!(pgmap.wait_frozen(at(4096), Expect::Refs(1)).err(), Some(FreezeError::OutOfRange));
    let (more, second) = (folio.clone(), std::time::Duration::ZERO);
    assert_eq!(pgmap.wait_frozen_timeout(at(8), Expect::Refs(1), second).err(), Some(FreezeError::TimedOut));
    let interrupted = pgmap.wait_frozen_unless(at(8), Expect::Refs(1), || true).err();
    assert_eq!((interrupted, is_open(&pgmap, 8)), (Some(FreezeError::Interrupted), Ok(())), "without a trace");
    // The folio ends meanwhile.
    let task = Task::default();
    let mut frozen = Box::pin(pgmap.until_frozen(at(8), Expect::Refs(1)).unwrap());
    assert!(task.poll(&mut frozen).is_pending());
    drop((folio, more));
    let next = pgmap.request_folio(at(8), order(3)).unwrap();
    assert!(task.woken() > 0);
    assert!(matches!(task.poll(&mut frozen), Poll::Ready(Err(FreezeError::NotInService))), "the next folio is another one");
    drop(next);
    let not_allowed = FreezeError::NotAllowed { memory_type: MemoryType::Generic };
    assert_eq!(pgmap.until_frozen(at(8), Expect::NoPins).map(drop), Err(not_allowed));
}

/// Whoever finds no room for his wait is told of puts all the same.
#[test]
fn req_68_a_wait_for_a_freeze_without_a_slot_is_woken_too() {
    let pgmap = pgmap();
    let folio = pgmap.request_folio(at(8), order(3)).unwrap();
    let gates: Vec<_> = (0..64).map(|_| pgmap.gate(at(100)).unwrap()).collect();
    let (more, task) = (folio.clone(), Task::default());
    let mut frozen = Box::pin(folio.until_frozen(Expect::Refs(1)).unwrap());
    assert!(task.poll(&mut frozen).is_pending() && task.woken() == 0);
    drop(more);
    assert_eq!(task.woken(), 1);
    assert!(matches!(task.poll(&mut frozen), Poll::Ready(Ok(_))));
    drop(gates);
}
