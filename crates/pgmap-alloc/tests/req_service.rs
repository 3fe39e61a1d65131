//! The folio service, one thread at a time: requirements 22, 23, 25 and 30 to 37. The races are in `races.rs`.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use pgmap_alloc::{
    AccessError, AfterFree, AllocExtentError, Block, BlockError, Capability, Expect, Extent, ExtentParams, FreeError, Freed,
    FreezeError, GetError, Lookup, MapError, MemoryType, Mode, Offset, Order, Params, Pgmap, PgmapOps, PinError, Put, PutError,
    Reason, Refused, RequestError, Run, RunState, ShareError, Shared, SpecialError, SpecialSize, SplitError, WaitError, fit,
};
use support::{Driver, at, order, pgmap, range};

/// A driver whose memory is of any type, and whose folios are shared.
struct Typed(MemoryType);

impl PgmapOps for Typed {
    type Data = Shared;

    fn memory_type(&self) -> MemoryType {
        self.0
    }
}

fn typed(memory_type: MemoryType) -> Pgmap<'static, Typed> {
    Pgmap::new(&Params::new(&[range(0, 2048)]), Typed(memory_type)).unwrap()
}

/// A driver that writes down every `folio_split`, and gives each part its own data.
#[derive(Default)]
struct Splits(Mutex<Vec<(Freed<u64>, Option<Offset>)>>, Mutex<Vec<Freed<u64>>>);

impl PgmapOps for Splits {
    type Data = u64;

    fn folio_split(&self, whole: Freed<u64>, part: Option<Offset>) -> u64 {
        self.0.lock().unwrap().push((whole, part));
        part.map_or(whole.data, |part| whole.data + part.get())
    }

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        self.1.lock().unwrap().push(folio);
        AfterFree::ByType
    }
}

fn splits() -> Pgmap<'static, Splits> {
    Pgmap::new(&Params::new(&[range(0, 2048)]), Splits::default()).unwrap()
}

#[test]
fn req_22_share_counts_are_checked() {
    let pgmap = typed(MemoryType::FsDax);
    let folio = pgmap.alloc_folio_with(Order::PMD, Shared::new(7)).unwrap();
    assert_eq!(folio.unshare(Order::PMD), Err(ShareError::NotShared));
    assert_eq!(folio.share(Order::ZERO), Err(ShareError::OrderMismatch { order: Order::PMD }));
    assert_eq!((folio.share(Order::PMD), folio.share(Order::PMD)), (Ok(1), Ok(2)));
    assert_eq!(folio.unshare(Order::ZERO), Err(ShareError::OrderMismatch { order: Order::PMD }));
    assert_eq!((folio.unshare(Order::PMD), folio.data().shares(), folio.data().key), (Ok(1), 1, 7));
    assert_eq!(folio.refs(), 1, "a share is no reference");
    let head = folio.offset();
    drop(folio);
    let block = Block::from_raw(&pgmap, Run::new(head, Order::PMD).unwrap()).unwrap();
    let folio = block.into_folio(Shared::default()).unwrap();
    assert_eq!(folio.data().shares(), 0, "shares do not outlive the folio");

    let other = typed(MemoryType::Generic);
    let folio = other.alloc_folio(Order::ZERO).unwrap();
    assert_eq!(folio.share(Order::ZERO), Err(ShareError::NotAllowed { memory_type: MemoryType::Generic }));
}

#[test]
fn req_23_pins_are_references_without_mappings() {
    let pgmap = pgmap(&[range(0, 2048)]);
    let folio = pgmap.alloc_folio(Order::PMD).unwrap();
    let head = folio.offset();
    for _ in 0..3 {
        pgmap.map_raw(head).unwrap();
    }
    let counts = folio.counts();
    assert_eq!((counts.refs, counts.mappings, counts.pins), (4, 3, 1));
    assert_eq!(folio.freeze(Expect::NoPins).err(), Some(FreezeError::Pinned { pins: 1 }), "migration waits for the last pin");
    assert_eq!(pgmap.put_raw(head, 2), Err(PutError::TooMany { held: 1 }), "a put takes no mapping");
    drop(folio);
    assert_eq!(pgmap.put_raw(head, 1), Err(PutError::TooMany { held: 0 }));

    let frozen = pgmap.freeze_raw(head, Expect::NoPins).unwrap();
    assert_eq!(pgmap.try_get_raw(head), None);
    assert_eq!(pgmap.get_raw(head), Err(GetError::Frozen));
    assert_eq!(pgmap.map_raw(head), Err(MapError::Frozen));
    assert!(!pgmap.is_idle(head), "frozen is not idle");
    assert_eq!(pgmap.freeze_raw(head, Expect::NoPins).err(), Some(FreezeError::Frozen));
    assert_eq!((pgmap.unmap_raw(head), pgmap.unmap_raw(head)), (Ok(Put::InService), Ok(Put::InService)));
    assert_eq!(pgmap.unmap_raw(head), Err(PutError::Frozen), "the last put needs a thawed folio");
    drop(frozen);
    assert_eq!((pgmap.unmap_raw(head), pgmap.ops().calls()), (Ok(Put::Freed), 1));
    assert_eq!(pgmap.unmap_raw(head), Err(PutError::NotInService));

    // Evicted although mapped: one folio_free, and the mappings are gone with it.
    let head = pgmap.alloc_folio(Order::PMD).unwrap().into_raw();
    pgmap.map_raw(head).unwrap();
    assert_eq!(pgmap.put_raw(head, 1), Ok(Put::InService));
    assert!(pgmap.freeze_raw(head, Expect::NoPins).unwrap().free().is_ok());
    assert_eq!((pgmap.ops().calls(), pgmap.unmap_raw(head)), (2, Err(PutError::NotInService)));
    assert_eq!(pgmap.validate().unwrap().idle, 2048);
}

#[test]
fn req_25_wait_idle_returns_at_once_or_when_woken_and_leaves_no_trace() {
    let pgmap = pgmap(&[range(0, 2048)]);
    assert_eq!(pgmap.wait_idle(at(5)), Ok(()), "idle already");
    assert_eq!(pgmap.wait_idle(at(2048)), Err(WaitError::OutOfRange));
    let folio = pgmap.alloc_folio(Order::PMD).unwrap();
    let tail = at(folio.offset().get() + 77);
    assert_eq!(pgmap.wait_idle_timeout(tail, Duration::ZERO), Err(WaitError::TimedOut));
    assert_eq!(pgmap.wait_idle_unless(tail, || true), Err(WaitError::Interrupted));
    assert_eq!(folio.refs(), 1, "a wait holds no reference");
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| pgmap.wait_idle(tail))).collect();
        let clone = folio.clone();
        drop(folio);
        drop(clone);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
    });
    // A wait that begins while the page is covered by a large folio ends with the part that covers it.
    let folio = pgmap.alloc_folio(Order::PMD).unwrap();
    let page = at(folio.offset().get() + 300);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| pgmap.wait_idle(page));
        let parts: Vec<_> = folio.split(order(8), 1).unwrap().collect();
        drop(parts);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    let other = support::pgmap(&[range(0, 512)]);
    let foreign = other.alloc_folio(Order::ZERO).unwrap();
    let Refused { error, value: foreign } = pgmap.put_and_wait(foreign).unwrap_err();
    assert_eq!((error, foreign.refs()), (WaitError::Foreign, 1));
    assert!(other.put_and_wait(foreign).is_ok());
    assert_eq!(pgmap.validate().unwrap().idle, 2048);
}

#[test]
fn req_30_memory_types_say_what_may_be_done() {
    for rules in MemoryType::TABLE {
        let pgmap = typed(rules.memory_type);
        let memory_type = rules.memory_type;
        let folio = pgmap.alloc_folio(Order::PMD).unwrap();
        let page = at(folio.offset().get() + 3);
        let pinned = pgmap.pin(page).map(|pin| pin.refs());
        assert_eq!(pinned, if rules.pin { Ok(2) } else { Err(PinError::NotAllowed { memory_type }) });
        assert_eq!(pgmap.map_raw(folio.offset()).is_ok(), rules.map);
        assert_eq!(folio.share(Order::PMD).is_ok(), rules.share);
        assert_eq!(pgmap.check_access(page, Capability::CopyOnWrite).is_ok(), rules.copy_on_write);
        let head = folio.into_raw();
        let gate = pgmap.freeze_raw(head, Expect::NoPins).err();
        let pinned = FreezeError::Pinned { pins: 1 };
        assert_eq!(gate, Some(if rules.migrate { pinned } else { FreezeError::NotAllowed { memory_type } }));
        pgmap.unmap_raw(head).unwrap();
        assert_eq!(pgmap.put_raw(head, 1), Ok(Put::Freed));
        let kept = rules.free == pgmap_alloc::FreeRule::Keep;
        assert_eq!(pgmap.lookup(head), Ok(if kept { Lookup::Block } else { Lookup::Idle }), "{memory_type}");
    }
    assert_eq!(pgmap(&[range(0, 1)]).pin(at(1)).err(), Some(PinError::OutOfRange));
    assert_eq!(typed(MemoryType::FsDax).pin(at(1)).err(), Some(PinError::NotInService));
}

#[test]
fn req_31_lookup_says_what_stands_at_every_page() {
    let pgmap = pgmap(&[range(0, 4 << 18)]);
    let folio = pgmap.request_folio(at(1024), order(3)).unwrap();
    let block = pgmap.request_block(at(2048), Order::PMD).unwrap();
    pgmap.retire(at(9)).unwrap();
    let special = [(at(10), SpecialSize::Page, 0), (at(512), SpecialSize::Pmd, 9), (at(1 << 18), SpecialSize::Pud, 18)];
    for (offset, size, _) in special {
        pgmap.declare_special(offset, size, Reason::Driver(size as u16)).unwrap();
    }
    let says = |page: u64| pgmap.lookup(at(page)).unwrap();
    for page in 1024..1032 {
        assert_eq!(says(page), Lookup::Folio { head: folio.offset(), order: order(3) });
    }
    assert_eq!((says(511), says(1032), says(9), says(8)), (Lookup::Idle, Lookup::Idle, Lookup::Retired, Lookup::Idle));
    assert_eq!((says(2048), says(2559), says(2560)), (Lookup::Block, Lookup::Block, Lookup::Idle));
    for (head, size, o) in special {
        for page in [0, 1, (1 << o) - 1].map(|page| at(head.get() + page.min((1 << o) - 1))) {
            let reason = Reason::Driver(size as u16);
            assert_eq!(pgmap.lookup(page), Ok(Lookup::Special { head, order: order(o), reason }));
            assert!(pgmap.try_get(page).is_none(), "a special page never yields a folio");
        }
        assert_ne!(says(head.get() + (1 << o)), says(head.get()));
    }
    drop(block);
    let census = pgmap.validate().unwrap();
    assert_eq!((census.special, census.retired), (1 + 512 + (1 << 18), 1));
    for (offset, size, _) in special {
        pgmap.undeclare_special(offset, size).unwrap();
        assert_eq!(pgmap.undeclare_special(offset, size), Err(SpecialError::NotSpecial));
    }
    assert_eq!(pgmap.validate().unwrap().special, 0);
}

#[test]
fn req_32_every_way_to_ask_agrees_with_lookup() {
    let pgmap = pgmap(&[range(0, 2048)]);
    let _folio = pgmap.request_folio(at(64), order(4)).unwrap();
    let frozen = pgmap.request_folio(at(128), order(4)).unwrap();
    let _frozen = frozen.freeze(Expect::Refs(1)).unwrap();
    let _block = pgmap.request_block(at(256), order(5)).unwrap();
    pgmap.retire(at(3)).unwrap();
    pgmap.declare_special(at(512), SpecialSize::Pmd, Reason::Firmware).unwrap();
    let walked: Vec<_> = pgmap.snapshot().collect();
    for page in (0..2048).map(at) {
        let run = walked.iter().find(|run| run.start <= page && page.get() < run.start.get() + run.pages).unwrap();
        let got = pgmap.try_get(page).map(|folio| folio.offset());
        let answers = (pgmap.is_idle(page), got, run.state);
        match pgmap.lookup(page).unwrap() {
            Lookup::Idle => assert_eq!(answers, (true, None, RunState::Idle)),
            Lookup::Block => assert_eq!(answers, (true, None, RunState::Block)),
            Lookup::Retired => assert_eq!(answers, (true, None, RunState::Retired)),
            Lookup::Special { order, reason, .. } => assert_eq!(answers, (true, None, RunState::Special { order, reason })),
            Lookup::Folio { head, order } => {
                let found = if head == at(128) { None } else { Some(head) };
                assert_eq!(answers, (false, found, RunState::Folio { order, refs: 1 }));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn req_33_metadata_does_not_make_a_page_reference_counted() {
    let pgmap = pgmap(&[range(0, 2048)]);
    let _block = pgmap.request_block(at(0), order(0)).unwrap();
    pgmap.declare_special(at(1), SpecialSize::Page, Reason::Zero).unwrap();
    pgmap.retire(at(2)).unwrap();
    for page in (0..4).map(at) {
        assert_eq!(pgmap.get_raw(page), Err(GetError::NotInService));
        assert_eq!(pgmap.put_raw(page, 1), Err(PutError::NotInService));
        assert_eq!(pgmap.map_raw(page), Err(MapError::NotInService));
        assert_eq!(pgmap.unmap_raw(page), Err(PutError::NotInService));
        assert_eq!(pgmap.freeze_raw(page, Expect::Refs(0)).err(), Some(FreezeError::NotInService));
        assert_eq!(pgmap.split_raw(page, Order::ZERO, 0), Err(SplitError::NotInService));
        assert_eq!(pgmap.counts_raw(page), Err(GetError::NotInService));
        assert!(pgmap_alloc::Folio::from_raw(&pgmap, page).is_none());
    }
    // A tail has metadata of its own, and no count.
    let folio = pgmap.request_folio(at(512), Order::PMD).unwrap();
    assert_eq!(pgmap.get_raw(at(513)), Err(GetError::NotInService));
    drop(folio);
}

#[test]
fn req_34_no_folio_contains_a_special_or_retired_page() {
    let pgmap = pgmap(&[range(0, 2048)]);
    pgmap.declare_special(at(700), SpecialSize::Page, Reason::Registers).unwrap();
    pgmap.retire(at(1100)).unwrap();
    let (special, retired) = (RequestError::Special, RequestError::Retired);
    // Of several pages in the way the first.
    let all = [(700, 0, special), (700, 2, special), (512, 9, special), (1100, 0, retired), (1024, 9, retired), (0, 11, special)];
    for (page, o, error) in all {
        assert_eq!(pgmap.request_folio(at(page), order(o)).err(), Some(error), "{page} {o}");
        assert_eq!(pgmap.request_block(at(page), order(o)).err(), Some(error), "{page} {o}");
    }
    let mut held = vec![];
    while let Ok(folio) = pgmap.alloc_folio(Order::ZERO) {
        assert!(![700, 1100].contains(&folio.offset().get()));
        held.push(folio);
    }
    assert_eq!(held.len(), 2046);
    assert_eq!(pgmap.check_access(at(700), Capability::CopyOnWrite), Err(AccessError::Special));
    assert_eq!(pgmap.check_access(at(1100), Capability::CopyOnWrite), Err(AccessError::Retired));
    assert_eq!(pgmap.check_access(at(4096), Capability::CopyOnWrite), Err(AccessError::OutOfRange));
    let taken = at(5);
    let refused = pgmap.declare_special(taken, SpecialSize::Page, Reason::Zero);
    assert_eq!(refused, Err(SpecialError::InService { head: taken }));
    assert_eq!(pgmap.declare_special(at(700), SpecialSize::Page, Reason::Zero), Err(SpecialError::Busy));
    assert_eq!(pgmap.declare_special(at(5), SpecialSize::Pmd, Reason::Zero), Err(SpecialError::Misaligned));
    assert_eq!(pgmap.declare_special(at(4096), SpecialSize::Pmd, Reason::Zero), Err(SpecialError::OutOfRange));
    assert_eq!(pgmap.declare_special(at(0), SpecialSize::Pud, Reason::Zero), Err(SpecialError::CrossesRange));
    drop(held);
    assert_eq!(pgmap.free_block_raw(at(700), Order::ZERO), Err(FreeError::Special { head: at(700) }));
    assert_eq!(pgmap.free_block_raw(at(1100), Order::ZERO), Err(FreeError::Retired { page: at(1100) }));
    assert_eq!(pgmap.validate().unwrap().idle, 2046);
}

#[test]
fn req_35_split_needs_the_exact_references_and_calls_back_per_part() {
    let pgmap = splits();
    let folio = pgmap.request_folio_with(at(512), Order::PMD, 1000).unwrap();
    let stray = folio.clone();
    let Refused { error, value: folio } = folio.split(order(8), 1).err().unwrap();
    assert_eq!(error, SplitError::StrayReferences { held: 2 });
    let Refused { error, value: folio } = folio.split(order(8), 3).err().unwrap();
    assert_eq!(error, SplitError::StrayReferences { held: 2 });
    assert_eq!(pgmap.split_raw(at(512), Order::PMD, 2), Err(SplitError::NotSmaller { order: Order::PMD }));
    assert_eq!(pgmap.split_raw(at(512), order(10), 2), Err(SplitError::NotSmaller { order: Order::PMD }));
    assert_eq!(pgmap.split_raw(at(4096), order(1), 2), Err(SplitError::OutOfRange));
    pgmap.map_raw(at(512)).unwrap();
    assert_eq!(pgmap.split_raw(at(512), order(8), 3), Err(SplitError::Mapped { mappings: 1 }));
    pgmap.unmap_raw(at(512)).unwrap();
    assert_eq!((folio.order(), folio.refs(), folio.data()), (Order::PMD, 2, 1000), "refused: whole, and as before");
    assert!(pgmap.ops().0.lock().unwrap().is_empty());
    assert_eq!(pgmap.lookup(at(768)), Ok(Lookup::Folio { head: at(512), order: Order::PMD }));

    let parts: Vec<_> = folio.split(order(7), 2).unwrap().collect();
    let heads: Vec<_> = parts.iter().map(|part| (part.offset().get(), part.order().get(), part.refs(), part.data())).collect();
    assert_eq!(heads, [(512, 7, 2, 1000), (640, 7, 1, 1640), (768, 7, 1, 1768), (896, 7, 1, 1896)]);
    let whole = Freed { offset: at(512), order: Order::PMD, data: 1000 };
    let told = [Some(640), Some(768), Some(896), None].map(|part| (whole, part.map(at)));
    assert_eq!(*pgmap.ops().0.lock().unwrap(), told);
    assert_eq!(stray.order(), order(7));
    drop((parts, stray));
    assert_eq!((pgmap.ops().1.lock().unwrap().len(), pgmap.validate().unwrap().idle), (4, 2048));
}

/// A driver that looks at every page of the whole while it is told of the parts.
struct Watcher(OnceLock<&'static Pgmap<'static, Watcher>>, Mutex<u32>);

impl PgmapOps for Watcher {
    type Data = u64;

    fn folio_split(&self, whole: Freed<u64>, part: Option<Offset>) -> u64 {
        let pgmap = self.0.get().unwrap();
        for page in (whole.offset.get()..whole.offset.get() + whole.order.pages()).map(at) {
            assert!(!pgmap.is_idle(page), "{page} has no reference while it is split");
            assert!(pgmap.try_get(page).is_none(), "{page} is found while it is split");
            assert!(matches!(pgmap.lookup(page), Ok(Lookup::Folio { head, order }) if page.align_down(order) == head));
            assert_eq!(pgmap.request_folio_with(page, Order::ZERO, 0).err(), Some(RequestError::Busy));
        }
        *self.1.lock().unwrap() += 1;
        part.map_or(0, Offset::get)
    }
}

#[test]
fn req_35_nobody_sees_a_count_of_zero_during_a_split() {
    let pgmap: &_ =
        Box::leak(Box::new(Pgmap::new(&Params::new(&[range(0, 64)]), Watcher(OnceLock::new(), Mutex::default())).unwrap()));
    assert!(pgmap.ops().0.set(pgmap).is_ok());
    for (from, to) in [(1, 0), (4, 0), (4, 3), (6, 2)] {
        *pgmap.ops().1.lock().unwrap() = 0;
        let folio = pgmap.request_folio_with(at(0), order(from), 0).unwrap();
        let parts: Vec<_> = folio.split(order(to), 1).unwrap().collect();
        assert_eq!((*pgmap.ops().1.lock().unwrap(), parts.len()), (1 << (from - to), 1 << (from - to)));
        assert!(parts.iter().all(|part| part.data() == part.offset().get() && part.refs() == 1));
    }
    assert_eq!(pgmap.validate().unwrap().idle, 64);
}

#[test]
fn req_36_parts_come_back_one_by_one() {
    let pgmap = splits();
    let folio = pgmap.request_folio_with(at(0), Order::PMD, 0).unwrap();
    let mut parts: Vec<_> = folio.split(Order::ZERO, 1).unwrap().collect();
    assert_eq!(parts.len(), 512);
    let mut random = support::Random::new(36);
    while !parts.is_empty() {
        let census = pgmap.validate().unwrap();
        assert_eq!((census.in_service, census.folios), (parts.len() as u64, parts.len() as u64));
        drop(parts.swap_remove(random.below(parts.len() as u64) as usize));
        if parts.len() % 64 != 0 {
            continue;
        }
        assert_eq!(census.idle, 2048 - parts.len() as u64 - 1, "pages are accounted as pages");
    }
    // Nothing is lost of parts that nobody took.
    let folio = pgmap.request_folio_with(at(0), Order::PMD, 0).unwrap();
    let mut parts = folio.split(order(6), 1).unwrap();
    let first = parts.next().unwrap();
    drop(parts);
    assert_eq!(pgmap.validate().unwrap().in_service, 64);
    drop(first);
    assert_eq!(pgmap.validate().unwrap().idle, 2048);
}

#[test]
fn req_36_blocks_split_trim_and_turn_into_folios_and_back() {
    let pgmap = pgmap(&[range(0, 2048)]);
    let block = pgmap.request_block(at(512), Order::PMD).unwrap();
    let mut halves = block.split(order(8));
    let (first, second) = (halves.next().unwrap(), halves.next().unwrap());
    assert!(halves.next().is_none());
    let folio = first.into_folio(5).unwrap_or_else(|refused| panic!("{refused}"));
    let clone = folio.clone();
    let folio = folio.into_block().err().unwrap();
    drop(clone);
    let first = folio.into_block().ok().unwrap();
    assert_eq!((pgmap.ops().calls(), pgmap.lookup(at(512))), (1, Ok(Lookup::Block)), "kept, whatever folio_free answers");
    let kept: Vec<_> = second.trim(11).map(|block| (block.offset().get(), block.order().get(), block.into_raw())).collect();
    assert_eq!(kept.iter().map(|&(start, order, _)| (start, order)).collect::<Vec<_>>(), [(768, 3), (776, 1), (778, 0)]);
    assert_eq!(pgmap.validate().unwrap().block, 256 + 11);
    drop(first);
    for (.., run) in kept {
        drop(Block::from_raw(&pgmap, run).unwrap());
        assert_eq!(Block::from_raw(&pgmap, run).err(), Some(BlockError::NotTaken { page: run.start() }));
    }
    assert_eq!(pgmap.validate().unwrap().idle, 2048);
}

#[test]
fn req_36_folio_free_may_keep_the_pages() {
    let pgmap = Pgmap::new(&Params::new(&[range(0, 2048)]), Driver::default()).unwrap();
    let _ = pgmap.ops().on_free.set(Box::new(|_| AfterFree::Keep));
    let head = pgmap.alloc_folio(order(3)).unwrap().offset();
    assert_eq!(pgmap.lookup(head), Ok(Lookup::Block));
    let run = Run::new(head, order(3)).unwrap();
    let again = Block::from_raw(&pgmap, run).unwrap().into_folio(9).unwrap_or_else(|refused| panic!("{refused}"));
    drop(again);
    assert_eq!(pgmap.free_block_raw(head, order(3)), Ok(()));
    assert_eq!(pgmap.validate().unwrap().idle, 2048);
}

#[test]
fn req_37_freed_parts_merge_to_the_largest_run() {
    let pgmap = splits();
    let folio = pgmap.alloc_folio_with(order(11), 0).unwrap();
    drop(folio.split(Order::ZERO, 1).unwrap());
    assert_eq!(pgmap.alloc_folio_with(order(11), 0).map(|folio| folio.order()), Ok(order(11)));
}

#[test]
fn req_41_an_extent_of_a_pgmap_comes_as_blocks() {
    let pgmap = pgmap(&[range(0, 4096)]);
    let idle = || pgmap.validate().unwrap().idle;
    let window = Extent::between(at(1000), at(3000)).unwrap();
    let ask = ExtentParams::new(520).within(window).by(Mode::TopDown(fit::first_fit_align));
    let blocks: Vec<_> = pgmap.alloc_extent(&ask).unwrap().collect();
    assert_eq!(blocks.iter().map(|block| block.order().pages()).sum::<u64>(), 520);
    assert_eq!((blocks[0].offset(), idle()), (at(2480), 4096 - 520));
    assert_eq!(pgmap.lookup(at(2999)), Ok(Lookup::Block));
    // A block becomes a folio as any other does; those that nobody takes go back.
    let folio = blocks.into_iter().next().unwrap().into_folio(7).unwrap();
    assert_eq!(idle(), 4096 - folio.order().pages());
    drop(folio);
    drop(pgmap.alloc_extent(&ask).unwrap());
    assert_eq!(idle(), 4096);
    // A bad page is never part of one, and after a kill there are none.
    pgmap.retire(at(2500)).unwrap();
    let blocks = pgmap.alloc_extent(&ask).unwrap();
    assert!(blocks.map(|block| block.offset()).all(|start| start < at(2500)));
    assert_eq!(idle(), 4095);
    let _killed = pgmap.kill();
    assert!(matches!(pgmap.alloc_extent(&ask), Err(AllocExtentError::Dying)));
}
