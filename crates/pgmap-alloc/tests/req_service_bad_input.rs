//! Every bad input to the folio service, by name: a precise error, and nothing has changed. Requirements 04, 06, 07, 18, 22, 23, 25,
//! 27, 29, 30, 34, 35, 36 and 38.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use pgmap_alloc::{
    AfterFree, Block, BlockError, DrainError, Expect, Folio, FreeError, Freed, FreezeError, GetError, Lookup, LookupError,
    MapError, MemoryType, Offset, Order, Params, Pgmap, PgmapOps, PinError, PutError, Reason, RemoveRangeError, RequestError,
    RetireError, Run, RunError, ShareError, Shared, SpecialError, SpecialSize, SplitError, WaitError,
};
use support::{at, order, range};

/// A driver that must not be told anything.
struct Deaf(MemoryType);

impl PgmapOps for Deaf {
    type Data = Shared;

    fn folio_free(&self, folio: Freed<Shared>) -> AfterFree {
        // At the end, when the folios of the stage are put.
        assert!(folio.data.key == KEY || folio.data == Shared::default());
        AfterFree::Release
    }

    fn folio_split(&self, _: Freed<Shared>, _: Option<Offset>) -> Shared {
        panic!("a refused split calls nobody")
    }

    fn memory_failure(&self, failure: pgmap_alloc::Failure<Shared>) {
        assert_eq!(failure.offset, BAD, "a refused retirement tells nobody");
    }

    fn memory_type(&self) -> MemoryType {
        self.0
    }
}

const KEY: u32 = 77;
const BAD: Offset = Offset::new(100);
type Map = Pgmap<'static, Deaf>;

/// 2048 pages with one of everything: a folio of order 4 with three references and a mapping at 16, a frozen one of order 1 at 64, a
/// block of order 3 at 128, a special page at 99, a retired one at 100; the rest is idle.
struct Stage {
    pgmap: &'static Map,
    _folios: [Folio<'static, Deaf>; 3],
    _frozen: pgmap_alloc::Frozen<'static, Deaf>,
    _block: Block<'static, Deaf>,
}

const FOLIO: Offset = Offset::new(16);
const FROZEN: Offset = Offset::new(64);
const BLOCK: Offset = Offset::new(128);
const SPECIAL: Offset = Offset::new(99);
const IDLE: Offset = Offset::new(1024);
const OUTSIDE: Offset = Offset::new(2048);

fn stage(memory_type: MemoryType) -> Stage {
    let pgmap: &Map = Box::leak(Box::new(Pgmap::new(&Params::new(&[range(0, 2048)]), Deaf(memory_type)).unwrap()));
    let folio = pgmap.request_folio_with(FOLIO, order(4), Shared::new(KEY)).unwrap();
    pgmap.map_raw(FOLIO).unwrap();
    let frozen = pgmap.request_folio(FROZEN, order(1)).unwrap();
    let _frozen = frozen.freeze(Expect::Refs(1)).unwrap();
    let _block = pgmap.request_block(BLOCK, order(3)).unwrap();
    pgmap.declare_special(SPECIAL, SpecialSize::Page, Reason::Zero).unwrap();
    let _ = pgmap.retire(BAD).unwrap();
    Stage { pgmap, _folios: [folio.clone(), folio, frozen], _frozen, _block }
}

/// All that can be seen of it.
fn seen(pgmap: &Map) -> impl PartialEq + core::fmt::Debug {
    let page_by_page: Vec<_> = (0..2048).map(|page| (pgmap.lookup(at(page)), pgmap.is_idle(at(page)))).collect();
    let counts: Vec<_> = (0..2048).map(|page| pgmap.counts_raw(at(page))).collect();
    let data = pgmap.try_get(FOLIO).map(|folio| folio.data());
    let walked: Vec<_> = pgmap.snapshot().collect();
    let bad: Vec<_> = pgmap.retired().chain(pgmap.retiring()).collect();
    (page_by_page, counts, data, walked, bad, pgmap.validate_every_word(), pgmap.is_dying())
}

/// Makes a mistake, whose error is by name, and after which all is as before.
fn mistake<E: PartialEq + core::fmt::Debug>(stage: &Stage, name: &str, act: impl FnOnce(&'static Map) -> Option<E>, error: E) {
    let before = seen(stage.pgmap);
    assert_eq!(act(stage.pgmap), Some(error), "{name}");
    assert!(before == seen(stage.pgmap), "{name} has changed something");
}

#[test]
fn req_18_a_put_of_more_than_is_held_changes_nothing() {
    let stage = stage(MemoryType::DevicePrivate);
    let put = |page, n| move |pgmap: &Map| pgmap.put_raw(page, n).err();
    mistake(&stage, "more than held", put(FOLIO, 3), PutError::TooMany { held: 2 });
    mistake(&stage, "far more than held", put(FOLIO, u32::MAX), PutError::TooMany { held: 2 });
    mistake(&stage, "the last of a frozen folio", put(FROZEN, 1), PutError::Frozen);
    for page in [at(17), BLOCK, SPECIAL, BAD, IDLE] {
        mistake(&stage, "where no folio starts", put(page, 1), PutError::NotInService);
        mistake(&stage, "a get there", |pgmap| pgmap.get_raw(page).err(), GetError::NotInService);
        mistake(&stage, "a mapping there", |pgmap| pgmap.map_raw(page).err(), MapError::NotInService);
        mistake(&stage, "an unmapping there", |pgmap| pgmap.unmap_raw(page).err(), PutError::NotInService);
    }
    mistake(&stage, "outside", put(OUTSIDE, 1), PutError::OutOfRange);
    mistake(&stage, "a get outside", |pgmap| pgmap.get_raw(at(u64::MAX)).err(), GetError::OutOfRange);
    mistake(&stage, "a get of a frozen folio", |pgmap| pgmap.get_raw(FROZEN).err(), GetError::Frozen);
    mistake(&stage, "an unmapping of what is not mapped", |pgmap| pgmap.unmap_raw(FROZEN).err(), PutError::NotMapped);
    mistake(&stage, "a mapping of a frozen folio", |pgmap| pgmap.map_raw(FROZEN).err(), MapError::Frozen);
}

#[test]
fn req_35_a_split_that_cannot_be_changes_nothing() {
    let stage = stage(MemoryType::DevicePrivate);
    let split = |page, o, refs| move |pgmap: &Map| pgmap.split_raw(page, order(o), refs).err();
    for wrong in [0, 1, 2, 4, u32::MAX] {
        mistake(&stage, "the wrong count", split(FOLIO, 2, wrong), SplitError::StrayReferences { held: 3 });
    }
    mistake(&stage, "to a larger order", split(FOLIO, 5, 3), SplitError::NotSmaller { order: order(4) });
    mistake(&stage, "to its own order", split(FOLIO, 4, 3), SplitError::NotSmaller { order: order(4) });
    mistake(&stage, "while mapped", split(FOLIO, 2, 3), SplitError::Mapped { mappings: 1 });
    mistake(&stage, "while frozen", split(FROZEN, 0, 1), SplitError::Frozen);
    mistake(&stage, "of a tail", split(at(18), 0, 1), SplitError::NotInService);
    mistake(&stage, "of a block", split(BLOCK, 0, 1), SplitError::NotInService);
    mistake(&stage, "outside", split(OUTSIDE, 0, 1), SplitError::OutOfRange);
    let freeze = |page, expect| move |pgmap: &Map| pgmap.freeze_raw(page, expect).err();
    mistake(&stage, "a freeze with the wrong count", freeze(FOLIO, Expect::Refs(2)), FreezeError::StrayReferences { held: 3 });
    mistake(&stage, "a freeze of what is pinned", freeze(FOLIO, Expect::NoPins), FreezeError::Pinned { pins: 2 });
    mistake(&stage, "a freeze of a frozen folio", freeze(FROZEN, Expect::Refs(1)), FreezeError::Frozen);
    mistake(&stage, "a freeze where nothing starts", freeze(IDLE, Expect::Refs(0)), FreezeError::NotInService);
    mistake(&stage, "a freeze outside", freeze(OUTSIDE, Expect::NoPins), FreezeError::OutOfRange);
}

#[test]
fn req_38_a_retirement_outside_or_again_changes_nothing() {
    let stage = stage(MemoryType::DevicePrivate);
    for page in [OUTSIDE, at(1 << 40), at(u64::MAX)] {
        mistake(&stage, "outside", |pgmap| pgmap.retire(page).err(), RetireError::OutOfRange);
        mistake(&stage, "injected outside", |pgmap| pgmap.inject_memory_failure(page).err(), RetireError::OutOfRange);
        mistake(&stage, "restored outside", |pgmap| pgmap.restore_retired([page]).err(), (page, RetireError::OutOfRange));
        mistake(&stage, "looked up outside", |pgmap| pgmap.lookup(page).err(), LookupError::OutOfRange);
    }
    mistake(&stage, "again", |pgmap| pgmap.retire(BAD).err(), RetireError::AlreadyRetired);
}

#[test]
fn req_34_a_special_range_that_cannot_be_changes_nothing() {
    let stage = stage(MemoryType::DevicePrivate);
    let declare = |page, size| move |pgmap: &Map| pgmap.declare_special(page, size, Reason::Firmware).err();
    let taken = SpecialError::InService { head: FOLIO };
    mistake(&stage, "over a page in service", declare(FOLIO, SpecialSize::Page), taken);
    mistake(&stage, "over a tail in service", declare(at(20), SpecialSize::Page), taken);
    mistake(&stage, "over many, one in service", declare(at(0), SpecialSize::Pmd), taken);
    mistake(&stage, "over a block", declare(BLOCK, SpecialSize::Page), SpecialError::Busy);
    mistake(&stage, "over a special page", declare(SPECIAL, SpecialSize::Page), SpecialError::Busy);
    mistake(&stage, "over a retired page", declare(BAD, SpecialSize::Page), SpecialError::Busy);
    mistake(&stage, "misaligned", declare(at(1025), SpecialSize::Pmd), SpecialError::Misaligned);
    mistake(&stage, "outside", declare(OUTSIDE, SpecialSize::Page), SpecialError::OutOfRange);
    mistake(&stage, "beyond the end", declare(at(0), SpecialSize::Pud), SpecialError::CrossesRange);
    let undeclare = |page, size| move |pgmap: &Map| pgmap.undeclare_special(page, size).err();
    mistake(&stage, "none to take back", undeclare(FOLIO, SpecialSize::Page), SpecialError::NotSpecial);
    mistake(&stage, "one of another size", undeclare(at(0), SpecialSize::Pmd), SpecialError::NotSpecial);
    mistake(&stage, "none outside", undeclare(OUTSIDE, SpecialSize::Page), SpecialError::OutOfRange);
}

#[test]
fn req_30_what_the_memory_type_forbids_changes_nothing() {
    let stage_of = stage;
    let stage = stage_of(MemoryType::DevicePrivate);
    let memory_type = MemoryType::DevicePrivate;
    mistake(&stage, "pin of DevicePrivate", |pgmap| pgmap.pin(FOLIO).err(), PinError::NotAllowed { memory_type });
    let share = |pgmap: &'static Map| pgmap.try_get(FOLIO).unwrap().share(order(4)).err();
    mistake(&stage, "share of DevicePrivate", share, ShareError::NotAllowed { memory_type });
    mistake(&stage, "pin outside", |pgmap| pgmap.pin(OUTSIDE).err(), PinError::OutOfRange);
    let (stage, memory_type) = (stage_of(MemoryType::FsDax), MemoryType::FsDax);
    let migrate = |pgmap: &'static Map| pgmap.freeze_raw(FOLIO, Expect::NoPins).err();
    mistake(&stage, "migration of FsDax", migrate, FreezeError::NotAllowed { memory_type });
    mistake(&stage, "pin of what is idle", |pgmap| pgmap.pin(IDLE).err(), PinError::NotInService);
    mistake(&stage, "pin of what is special", |pgmap| pgmap.pin(SPECIAL).err(), PinError::NotInService);
    let share = |o| move |pgmap: &'static Map| pgmap.try_get(FOLIO).unwrap().share(order(o)).err();
    mistake(&stage, "share of another order", share(3), ShareError::OrderMismatch { order: order(4) });
    let unshare = |pgmap: &'static Map| pgmap.try_get(FOLIO).unwrap().unshare(order(4)).err();
    mistake(&stage, "a share fewer than none", unshare, ShareError::NotShared);
}

#[test]
fn req_25_a_wait_for_what_is_not_ours_changes_nothing() {
    let (ours, theirs) = (stage(MemoryType::DevicePrivate), stage(MemoryType::DevicePrivate));
    let foreign = |pgmap: &'static Map| pgmap.put_and_wait(theirs.pgmap.try_get(FOLIO).unwrap()).map_err(|(error, _)| error).err();
    mistake(&ours, "on a foreign folio", foreign, WaitError::Foreign);
    mistake(&ours, "outside", |pgmap| pgmap.wait_idle(OUTSIDE).err(), WaitError::OutOfRange);
    mistake(&ours, "too long", |pgmap| pgmap.wait_idle_timeout(FOLIO, Duration::ZERO).err(), WaitError::TimedOut);
    mistake(&ours, "interrupted", |pgmap| pgmap.wait_idle_unless(at(31), || true).err(), WaitError::Interrupted);
    let put = |pgmap: &'static Map| pgmap.put(theirs.pgmap.try_get(FOLIO).unwrap()).map_err(|(error, _)| error).err();
    mistake(&ours, "put of a foreign folio", put, PutError::Foreign);
    let put = |pgmap: &'static Map| {
        let folio = theirs.pgmap.try_get(FOLIO).unwrap();
        pgmap.local().unwrap().put(folio).map_err(|(error, _)| error).err()
    };
    mistake(&ours, "put of a foreign folio into a handle", put, PutError::Foreign);
    assert_eq!(theirs.pgmap.counts_raw(FOLIO).map(|counts| counts.refs), Ok(3));
}

#[test]
fn req_27_a_drain_without_a_kill_changes_nothing() {
    let stage = stage(MemoryType::DevicePrivate);
    mistake(&stage, "drain without kill", |pgmap| pgmap.killed().err(), DrainError::NotKilled);
    let kill = |_: &Map| Some(stage.pgmap.kill().pages_in_service());
    assert_eq!(kill(stage.pgmap), Some(18));
    // Afterwards everything new is refused, by name.
    let request = |pgmap: &'static Map| pgmap.request_folio(IDLE, Order::ZERO).err();
    mistake(&stage, "a request after the kill", request, RequestError::Dying);
    mistake(&stage, "a block after the kill", |pgmap| pgmap.request_block(IDLE, Order::ZERO).err(), RequestError::Dying);
    let declare = |pgmap: &'static Map| pgmap.declare_special(IDLE, SpecialSize::Page, Reason::Zero).err();
    mistake(&stage, "special after the kill", declare, SpecialError::Dying);
}

#[test]
fn req_07_a_request_that_cannot_be_changes_nothing() {
    let stage = stage(MemoryType::DevicePrivate);
    let request = |page, o| move |pgmap: &'static Map| pgmap.request_folio(page, order(o)).err();
    for (page, o) in
        [(FOLIO, 0), (at(17), 0), (at(0), 5), (FROZEN, 1), (BLOCK, 3), (at(128), 7), (SPECIAL, 0), (BAD, 0), (at(96), 3)]
    {
        let bad = (page.get()..page.get() + order(o).pages()).contains(&BAD.get());
        let error = if bad { RequestError::Retired } else { RequestError::Busy };
        mistake(&stage, "of pages that are not idle", request(page, o), error);
        mistake(&stage, "the same as a block", |pgmap| pgmap.request_block(page, order(o)).err(), error);
    }
    mistake(&stage, "misaligned", request(at(1025), 1), RequestError::Misaligned);
    mistake(&stage, "outside", request(OUTSIDE, 0), RequestError::OutOfRange);
    mistake(&stage, "beyond the end", request(at(0), 12), RequestError::CrossesRange);
    mistake(&stage, "beyond all numbers", request(at(u64::MAX - 1), 0), RequestError::OutOfRange);
    mistake(&stage, "that overflows", request(at(u64::MAX - 15), 4), RequestError::Overflow);
}

#[test]
fn req_36_a_block_that_cannot_be_changes_nothing() {
    let stage = stage(MemoryType::DevicePrivate);
    let free = |page, o| move |pgmap: &Map| pgmap.free_block_raw(page, order(o)).err();
    mistake(&stage, "a free in service", free(at(17), 0), FreeError::InService { head: FOLIO });
    mistake(&stage, "a free around one in service", free(at(0), 6), FreeError::InService { head: FOLIO });
    mistake(&stage, "a free of a special page", free(SPECIAL, 0), FreeError::Special { head: SPECIAL });
    mistake(&stage, "a free of a retired page", free(BAD, 0), FreeError::Retired { page: BAD });
    mistake(&stage, "a free of an idle page", free(IDLE, 0), FreeError::DoubleFree { page: IDLE });
    mistake(&stage, "a free outside", free(OUTSIDE, 0), FreeError::OutOfRange);
    let adopt = |page, o| move |pgmap: &'static Map| Block::from_raw(pgmap, Run::new(page, order(o)).unwrap()).err();
    mistake(&stage, "a block of idle pages", adopt(IDLE, 2), BlockError::NotTaken { page: IDLE });
    mistake(&stage, "a block in service", adopt(at(20), 2), BlockError::NotTaken { page: FOLIO });
    mistake(&stage, "a block outside", adopt(OUTSIDE, 2), BlockError::NoSuchRun);
    mistake(&stage, "no run", |_| Run::new(at(3), order(1)).err(), RunError::Misaligned);
    mistake(&stage, "a folio where none is", |pgmap| Folio::from_raw(pgmap, IDLE).is_none().then_some(()), ());
    let into_block = |pgmap: &'static Map| pgmap.try_get(FOLIO).unwrap().into_block().err().map(|folio| folio.offset());
    mistake(&stage, "a block of a folio that others hold", into_block, FOLIO);
    mistake(&stage, "no range starts here", |pgmap| pgmap.close_range(at(1)).err(), RemoveRangeError::Unknown);
    assert_eq!(stage.pgmap.lookup(BLOCK), Ok(Lookup::Block));
}
