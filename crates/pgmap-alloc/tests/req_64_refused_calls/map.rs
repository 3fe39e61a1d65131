//! A pgmap: its folios, blocks, bad pages, ranges, waits and its end.

use std::pin::Pin;

use pgmap_alloc::fit::{Offer, Want};
use pgmap_alloc::{
    AfterFree, Block, Capability, Charging, Closed, Expect, Extent, ExtentParams, Folio, Freed, Frozen, Limits, Local, MemoryType,
    Mode, OwnedBlock, Owner, Owners, Params, PerCpu, Pgmap, PgmapOps, Phys, PhysRange, Reason, Run, Shared, SpecialSize, UntilIdle,
    Urgency, Usage, Wish,
};

use crate::support::{Task, at, order, range, window};
use crate::{Case, Next, World, answer, cases, next_of, said, said_and};

/// A driver that keeps a key and a share count.
pub struct Keeps(MemoryType);

impl PgmapOps for Keeps {
    type Data = Shared;

    fn folio_free(&self, _: Freed<Shared>) -> AfterFree {
        AfterFree::Release
    }

    fn memory_type(&self) -> MemoryType {
        self.0
    }
}

type Ops = Charging<Keeps, &'static Owners<4>>;
pub(crate) type Service = Pgmap<'static, Ops>;

/// A pgmap in the middle of its life.
pub struct Map {
    pub(crate) pgmap: &'static Service,
    owners: &'static Owners<4>,
    other: &'static Service,
    pub(crate) folios: Vec<Folio<'static, Ops>>,
    blocks: Vec<Block<'static, Ops>>,
    paid: Vec<OwnedBlock<'static, Keeps, &'static Owners<4>>>,
    closed: Vec<Closed<'static, Ops>>,
    frozen: Option<Frozen<'static, Ops>>,
    local: Option<Local<'static, Ops>>,
    cpus: Option<PerCpu<'static, Service, 2>>,
    wait: Option<(Pin<Box<UntilIdle<'static, Ops>>>, Task)>,
}

fn dump_map(pgmap: &Service) -> Vec<String> {
    // How often it refused is what a refusal is to change.
    let account = pgmap_alloc::Account { refusals: Default::default(), ..pgmap.account() };
    let mut lines = vec![
        format!("{account:?}"),
        format!("ranges {:?}", pgmap.ranges().collect::<Vec<_>>()),
        format!("pages {} largest order {:?} dying {}", pgmap.pages(), pgmap.largest_order(), pgmap.is_dying()),
        format!("retired {:?} pending {:?}", pgmap.retired().collect::<Vec<_>>(), pgmap.retiring().collect::<Vec<_>>()),
        format!("census {:?}", pgmap.validate_every_word()),
    ];
    lines.extend(pgmap.snapshot_with_data().zip(pgmap.snapshot_with_payers()).map(|(run, payer)| format!("{run:?} {:?}", payer.1)));
    let pages = || pgmap.ranges().flat_map(|range| range.first.get()..range.end().get());
    // By the page only where that says more: it is a search each time.
    for start in pages().filter(|page| page % 64 == 0) {
        let cleared = |start, pages| pgmap.avail_cleared(Extent::new(at(start), pages).unwrap());
        match cleared(start, 64) {
            some @ 1..64 => {
                lines.extend((start..start + 64).map(|page| format!("of {some} page {page} cleared {}", cleared(page, 1))));
            }
            all => lines.push(format!("64 pages from {start} cleared {all}")),
        }
    }
    lines.extend(pages().map(at).map(|page| format!("page {page}: {:?} idle {}", pgmap.lookup(page), pgmap.is_idle(page))));
    lines.extend(pgmap.snapshot().map(|run| run.start).map(|head| format!("{head}: {:?}", pgmap.counts_raw(head))));
    lines
}

impl World for Map {
    fn dump(&self) -> Vec<String> {
        let mut lines = dump_map(self.pgmap);
        lines.extend(dump_map(self.other));
        let usage = |owner| Usage { refused: 0, ..self.owners.usage(Owner(owner)).unwrap() };
        lines.extend([0, 1, 2, 3].map(|owner| format!("owner {owner}: {:?}", usage(owner))));
        lines.extend(self.folios.iter().map(|folio| format!("{folio:?} {:?}", folio.counts())));
        lines.extend(self.blocks.iter().map(|block| format!("{block:?} {:?} bad {}", block.contents(), block.is_bad())));
        lines.extend(self.paid.iter().map(|block| format!("{block:?}")));
        lines.extend(self.closed.iter().map(|closed| {
            let (holdouts, retired): (Vec<_>, Vec<_>) = (closed.holdouts().collect(), closed.retired().collect());
            format!("closed {:?} {holdouts:?} {retired:?}", closed.range())
        }));
        lines.push(format!("frozen {:?}", self.frozen.as_ref().map(|frozen| (frozen.offset(), frozen.order(), frozen.data()))));
        lines.push(format!("at hand {:?}", self.local.as_ref().map(Local::cached)));
        lines.push(format!("woken {:?}", self.wait.as_ref().map(|(_, task)| task.woken())));
        lines
    }

    fn next(&mut self) -> Next {
        let place = |head: pgmap_alloc::Offset| format!("{head}");
        let plainly = |o: &u32| answer(self.pgmap.alloc_folio_raw(order(*o), Shared::new(0)), |_| format!("order {o}"), place);
        let mut answers: Vec<_> = [0, 0, 3, 3, 0, 6, 1, 9, 0].iter().map(plainly).collect();
        let cleared = self.pgmap.alloc_folio_wishing(order(0), Wish::PreferCleared, Shared::new(0));
        answers.push(answer(cleared, |(_, contents)| format!("{contents:?}"), |(folio, _)| place(folio.into_raw())));
        if let Some(local) = &mut self.local {
            answers.push(answer(local.alloc_folio(order(0)), |_| "at hand".to_owned(), |folio| place(folio.into_raw())));
        }
        next_of(&answers)
    }
}

fn built(memory: MemoryType, params: &Params<'_>) -> Map {
    let owners: &'static Owners<4> =
        Box::leak(Box::new(Owners::with_parents([None, Some(Owner(0)), Some(Owner(0)), None]).unwrap()));
    owners.set_limits(Owner(3), Limits { max: 8, ..Limits::NONE }).unwrap();
    let pgmap = |params: &Params<'_>| -> &'static Service {
        Box::leak(Box::new(Pgmap::new(params, Charging::new(Keeps(memory), owners, 16, 2748)).unwrap()))
    };
    Map {
        pgmap: pgmap(params),
        other: pgmap(&Params::new(&[range(0, 64)])),
        owners,
        folios: vec![],
        blocks: vec![],
        paid: vec![],
        closed: vec![],
        frozen: None,
        local: None,
        cpus: None,
        wait: None,
    }
}

fn of_type(memory: MemoryType) -> Map {
    let ranges = [range(0, 2048), range(1 << 20, 700)];
    let mut world = built(memory, &Params::new(&ranges).tracking_clear().counting_runs().with_room(1, 1 << 13));
    let pgmap = world.pgmap;
    let folio =
        |page, o, owner| pgmap.request_folio_for(at(page), order(o), Owner(owner), Urgency::Normal, Shared::new(5)).unwrap();
    // 0: mapped, and held twice; somebody waits for it.
    world.folios.push(folio(0, 4, 1));
    world.folios.push(world.folios[0].clone());
    pgmap.map_raw(at(0)).unwrap();
    let (mut wait, task) = (Box::pin(pgmap.until_idle(at(3)).unwrap()), Task::default());
    assert!(task.poll(&mut wait).is_pending());
    task.woken();
    world.wait = Some((wait, task));
    // 2: nobody's. 3: shared, if that may be, and one of its pages is pending. 4: by itself.
    world.folios.push(pgmap.request_folio(at(16), order(0)).unwrap());
    world.folios.push(folio(32, 3, 2));
    if memory == MemoryType::FsDax {
        world.folios[3].share(order(3)).unwrap();
    }
    let _ = pgmap.retire(at(33)).unwrap();
    world.folios.push(folio(64, 2, 2));
    // 5: of another pgmap.
    world.folios.push(world.other.request_folio(at(0), order(0)).unwrap());
    for (page, o) in [(128, 5), (160, 0)] {
        world.blocks.push(pgmap.request_block(at(page), order(o)).unwrap());
    }
    world.paid.push(pgmap.alloc_block_for(order(2), Owner(2), Urgency::Normal).unwrap());
    let _ = pgmap.retire(at(130)).unwrap();
    let _ = pgmap.retire(at(200)).unwrap();
    pgmap.declare_special(at(201), SpecialSize::Page, Reason::Firmware).unwrap();
    pgmap.request_block(at(256), order(6)).unwrap().release_cleared();
    pgmap.request_block(at(1024), order(9)).unwrap().release_cleared();
    let pages: Vec<_> = (0..20).map(|_| pgmap.alloc_folio_raw(order(0), Shared::new(0)).unwrap()).collect();
    pages.iter().step_by(3).for_each(|page| _ = pgmap.put_raw(*page, 1).unwrap());
    world
}

pub(crate) fn lived_in() -> Map {
    of_type(MemoryType::FsDax)
}

pub(crate) fn private() -> Map {
    of_type(MemoryType::DevicePrivate)
}

fn full() -> Map {
    let mut world = lived_in();
    while world.pgmap.alloc_folio_raw(order(0), Shared::new(0)).is_ok() {}
    world.local = world.pgmap.local();
    world.cpus = Some(PerCpu::with_cpus(world.pgmap));
    world
}

fn scattered() -> Map {
    let world = full();
    for page in (1025..1500).step_by(2) {
        let _ = world.pgmap.put_raw(at(page), 1).unwrap();
    }
    world
}

pub(crate) fn dying() -> Map {
    let mut world = lived_in();
    world.local = world.pgmap.local();
    world.cpus = Some(PerCpu::with_cpus(world.pgmap));
    world.pgmap.kill();
    world
}

/// With handles that have something at hand.
fn with_handles() -> Map {
    let mut world = lived_in();
    let mut local = world.pgmap.local().unwrap();
    let folio = local.alloc_folio(order(0)).unwrap();
    local.put(folio).unwrap();
    world.local = Some(local);
    world.cpus = Some(PerCpu::with_cpus(world.pgmap));
    world
}

pub(crate) fn frozen() -> Map {
    let mut world = lived_in();
    world.frozen = Some(world.pgmap.freeze_raw(world.folios[2].offset(), Expect::Refs(1)).unwrap());
    world
}

/// The page at 16 has one reference, which is a mapping.
fn mapped_and_frozen() -> Map {
    let mut world = lived_in();
    world.pgmap.map_raw(at(16)).unwrap();
    drop(world.folios.remove(2));
    world.frozen = Some(world.pgmap.freeze_raw(at(16), Expect::Refs(1)).unwrap());
    world
}

/// The first range is closed.
pub(crate) fn closed() -> Map {
    let mut world = lived_in();
    world.closed.push(world.pgmap.close_range(at(0)).unwrap());
    world
}

/// As many ranges are closed as can be.
fn all_closed() -> Map {
    let ranges: Vec<PhysRange> = (0..9).map(|n| range(n << 20, 64)).collect();
    let mut world = built(MemoryType::FsDax, &Params::new(&ranges));
    let firsts: Vec<_> = world.pgmap.ranges().map(|range| range.first).collect();
    world.closed.extend(firsts.iter().take(8).map(|first| world.pgmap.close_range(*first).unwrap()));
    world
}

/// As many ranges as can be.
fn no_slot() -> Map {
    let world = lived_in();
    world.pgmap.add_range(range(1 << 28, 64)).unwrap();
    world
}

/// Pages of 4 MiB.
fn large_pages() -> Map {
    built(MemoryType::FsDax, &Params { page_shift: 22, ..Params::new(&[PhysRange { start: Phys(0), pages: 64 }]) })
}

/// Two blocks of the same pages, of which one has become a folio.
fn block_under_folio() -> Map {
    let mut world = lived_in();
    let twin = Block::from_raw(world.pgmap, Run::new(at(160), order(0)).unwrap()).unwrap();
    world.folios.push(twin.into_folio(Shared::new(1)).unwrap());
    world
}

/// The same with one that is paid for.
fn paid_under_folio() -> Map {
    let mut world = lived_in();
    let (start, o) = (world.paid[0].block().offset(), world.paid[0].block().order());
    let twin = Block::from_raw(world.pgmap, Run::new(start, o).unwrap()).unwrap();
    world.folios.push(twin.into_folio(Shared::new(1)).unwrap());
    world
}

/// A page of the block that is paid for is pending.
fn paid_and_bad() -> Map {
    let world = lived_in();
    let _ = world.pgmap.retire(world.paid[0].block().offset()).unwrap();
    world
}

fn all_closed_but_paid() -> Map {
    let mut world = lived_in();
    let firsts: Vec<_> = world.pgmap.ranges().map(|range| range.first).collect();
    world.closed.extend(firsts.iter().map(|first| world.pgmap.close_range(*first).unwrap()));
    world
}

fn beside(_: Extent, _: &Want) -> Option<Offer> {
    Some(Offer { start: at(0), cost: 0 })
}

fn of_block(w: &mut Map, index: usize) -> String {
    let block = w.blocks.remove(index);
    let blocks = &mut w.blocks;
    said_and(block.into_folio(Shared::new(9)), |block| blocks.insert(index, block))
}

fn of_paid(w: &mut Map) -> String {
    let block = w.paid.remove(0);
    let paid = &mut w.paid;
    said_and(block.into_folio(Shared::new(9)), |block| paid.insert(0, block))
}

fn of_folio(w: &mut Map, index: usize, o: u32, refs: u32) -> String {
    let folio = w.folios.remove(index);
    let folios = &mut w.folios;
    said_and(folio.split(order(o), refs), |folio| folios.insert(index, folio))
}

fn recharge(w: &Map, heads: &[u64], from: u32, to: u32) -> String {
    said(w.pgmap.recharge_raw(heads.iter().copied().map(at), Owner(from), Owner(to)))
}

fn for_owner(w: &Map, o: u32, owner: u32, urgency: Urgency) -> String {
    said(w.pgmap.alloc_folio_for(order(o), Owner(owner), urgency, Shared::new(1)))
}

fn block_for(w: &Map, o: u32, owner: u32, urgency: Urgency) -> String {
    said(w.pgmap.alloc_block_for(order(o), Owner(owner), urgency))
}

fn at_for(w: &Map, page: u64, o: u32, owner: u32, urgency: Urgency) -> String {
    said(w.pgmap.request_folio_for(at(page), order(o), Owner(owner), urgency, Shared::new(1)))
}

fn local_for(w: &mut Map, o: u32, owner: u32, urgency: Urgency) -> String {
    said(w.local.as_mut().unwrap().alloc_folio_for(order(o), Owner(owner), urgency, Shared::new(1)))
}

fn local(w: &mut Map, o: u32) -> String {
    said(w.local.as_mut().unwrap().alloc_folio(order(o)))
}

fn local_with(w: &mut Map, o: u32) -> String {
    said(w.local.as_mut().unwrap().alloc_folio_with(order(o), Shared::new(1)))
}

fn cpu(w: &Map, o: u32) -> String {
    said(w.cpus.as_ref().unwrap().on(0).alloc_folio(order(o)))
}

fn cpu_with(w: &Map, o: u32) -> String {
    said(w.cpus.as_ref().unwrap().on(0).alloc_folio_with(order(o), Shared::new(1)))
}

pub fn cases() -> Vec<Case<Map>> {
    let mut list = vec![];
    anywhere(&mut list);
    at_a_place(&mut list);
    counting(&mut list);
    whole(&mut list);
    bad_and_special(&mut list);
    books(&mut list);
    handles(&mut list);
    list.extend(crate::gates::cases());
    list
}

/// Where the pgmap picks the place.
fn anywhere(list: &mut Vec<Case<Map>>) {
    cases! { list, lived_in;
        "Pgmap::alloc_folio" "TooLarge" |w| said(w.pgmap.alloc_folio(order(30)));
        "Pgmap::alloc_folio_with" "TooLarge" |w| said(w.pgmap.alloc_folio_with(order(30), Shared::new(1)));
        "Pgmap::alloc_folio_raw" "TooLarge" |w| said(w.pgmap.alloc_folio_raw(order(30), Shared::new(1)));
        "Pgmap::alloc_folio_wishing" "TooLarge" |w| said(w.pgmap.alloc_folio_wishing(order(30), Wish::DontCare, Shared::new(1)));
        "Pgmap::alloc_folio_wishing" "NoneCleared" |w| said(w.pgmap.alloc_folio_wishing(order(10), Wish::Cleared, Shared::new(1)));
        "Pgmap::alloc_block" "TooLarge" |w| said(w.pgmap.alloc_block(order(30)));
        "Pgmap::alloc_extent" "NoPages" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(0)));
        "Pgmap::alloc_extent" "BaseOutside" |w| said(w.pgmap.alloc_extent(&ExtentParams { base: Some(at(1 << 40)), ..ExtentParams::new(3) }));
        "Pgmap::alloc_extent" "Alignment" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(3).aligned(3)));
        "Pgmap::alloc_extent" "LargerThanWindow" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(9).within(window(0, 8))));
        "Pgmap::alloc_extent" "WindowOutside" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(1).within(window(1 << 40, 1 << 41))));
        "Pgmap::alloc_extent" "TooLarge" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(2049)));
        "Pgmap::alloc_extent" "NoSpace" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(2000).within(window(0, 2048))));
        "Pgmap::alloc_extent" "NoneCleared" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(800).wishing(Wish::Cleared)));
        "Pgmap::alloc_extent" "BadFit" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(3).by(Mode::BottomUp(beside))));
    }
    cases! { list, full;
        "Pgmap::alloc_folio" "NoSpace" |w| said(w.pgmap.alloc_folio(order(0)));
        "Pgmap::alloc_folio_with" "NoSpace" |w| said(w.pgmap.alloc_folio_with(order(0), Shared::new(1)));
        "Pgmap::alloc_folio_raw" "NoSpace" |w| said(w.pgmap.alloc_folio_raw(order(0), Shared::new(1)));
        "Pgmap::alloc_folio_wishing" "NoSpace" |w| said(w.pgmap.alloc_folio_wishing(order(0), Wish::DontCare, Shared::new(1)));
        "Pgmap::alloc_block" "NoSpace" |w| said(w.pgmap.alloc_block(order(0)));
        "Pgmap::alloc_extent" "NoSpace" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(2)));
    }
    cases! { list, scattered;
        "Pgmap::alloc_folio" "Fragmented" |w| said(w.pgmap.alloc_folio(order(1)));
        "Pgmap::alloc_folio_with" "Fragmented" |w| said(w.pgmap.alloc_folio_with(order(1), Shared::new(1)));
        "Pgmap::alloc_folio_raw" "Fragmented" |w| said(w.pgmap.alloc_folio_raw(order(1), Shared::new(1)));
        "Pgmap::alloc_folio_wishing" "Fragmented" |w| said(w.pgmap.alloc_folio_wishing(order(1), Wish::DontCare, Shared::new(1)));
        "Pgmap::alloc_block" "Fragmented" |w| said(w.pgmap.alloc_block(order(1)));
        "Pgmap::alloc_extent" "Fragmented" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(2)));
    }
    cases! { list, dying;
        "Pgmap::alloc_folio" "Dying" |w| said(w.pgmap.alloc_folio(order(0)));
        "Pgmap::alloc_folio_with" "Dying" |w| said(w.pgmap.alloc_folio_with(order(0), Shared::new(1)));
        "Pgmap::alloc_folio_raw" "Dying" |w| said(w.pgmap.alloc_folio_raw(order(0), Shared::new(1)));
        "Pgmap::alloc_folio_wishing" "Dying" |w| said(w.pgmap.alloc_folio_wishing(order(0), Wish::DontCare, Shared::new(1)));
        "Pgmap::alloc_block" "Dying" |w| said(w.pgmap.alloc_block(order(0)));
        "Pgmap::alloc_extent" "Dying" |w| said(w.pgmap.alloc_extent(&ExtentParams::new(2)));
    }
}

/// One verb that names a place, into each refusal.
macro_rules! placed {
    ($list:ident; $($verb:literal |$w:ident, $page:ident, $o:ident| $call:expr;)+) => {
        $(
            cases! { $list, lived_in;
                $verb "Misaligned" |$w| { let ($page, $o) = (at(1), order(1)); said($call) };
                $verb "Overflow" |$w| { let ($page, $o) = (at(u64::MAX - 7), order(3)); said($call) };
                $verb "OutOfRange" |$w| { let ($page, $o) = (at(1 << 40), order(3)); said($call) };
                $verb "CrossesRange" |$w| { let ($page, $o) = (at(2048), order(10)); said($call) };
                $verb "Busy" |$w| { let ($page, $o) = (at(16), order(0)); said($call) };
                $verb "Busy" |$w| { let ($page, $o) = (at(64), order(3)); said($call) };
                $verb "Busy" |$w| { let ($page, $o) = (at(0), order(5)); said($call) };
                $verb "Retired" |$w| { let ($page, $o) = (at(200), order(0)); said($call) };
                $verb "Retired" |$w| { let ($page, $o) = (at(128), order(7)); said($call) };
                $verb "Special" |$w| { let ($page, $o) = (at(201), order(0)); said($call) };
            }
            cases! { $list, closed;
                $verb "Leaving" |$w| { let ($page, $o) = (at(300), order(0)); said($call) };
                $verb "Leaving" |$w| { let ($page, $o) = (at(0), order(9)); said($call) };
            }
            cases! { $list, dying;
                $verb "Dying" |$w| { let ($page, $o) = (at(300), order(0)); said($call) };
            }
        )+
    };
}

fn at_a_place(list: &mut Vec<Case<Map>>) {
    placed! { list;
        "Pgmap::request_folio" |w, page, o| w.pgmap.request_folio(page, o);
        "Pgmap::request_folio_with" |w, page, o| w.pgmap.request_folio_with(page, o, Shared::new(1));
        "Pgmap::request_folio_raw" |w, page, o| w.pgmap.request_folio_raw(page, o, Shared::new(1));
        "Pgmap::request_block" |w, page, o| w.pgmap.request_block(page, o);
    }
    cases! { list, lived_in;
        "Pgmap::free_block_raw" "Misaligned" |w| said(w.pgmap.free_block_raw(at(1), order(1)));
        "Pgmap::free_block_raw" "Overflow" |w| said(w.pgmap.free_block_raw(at(u64::MAX - 7), order(3)));
        "Pgmap::free_block_raw" "OutOfRange" |w| said(w.pgmap.free_block_raw(at(1 << 40), order(3)));
        "Pgmap::free_block_raw" "CrossesRange" |w| said(w.pgmap.free_block_raw(at(2048), order(10)));
        "Pgmap::free_block_raw" "DoubleFree" |w| said(w.pgmap.free_block_raw(at(1024), order(3)));
        "Pgmap::free_block_raw" "DoubleFree" |w| said(w.pgmap.free_block_raw(at(128), order(6)));
        "Pgmap::free_block_raw" "InService" |w| said(w.pgmap.free_block_raw(at(3), order(0)));
        "Pgmap::free_block_raw" "Retired" |w| said(w.pgmap.free_block_raw(at(200), order(0)));
        "Pgmap::free_block_raw" "Special" |w| said(w.pgmap.free_block_raw(at(201), order(0)));
        "Block::from_raw" "NoSuchRun" |w| said(Block::from_raw(w.pgmap, Run::new(at(1 << 40), order(0)).unwrap()));
        "Block::from_raw" "NotTaken" |w| said(Block::from_raw(w.pgmap, Run::new(at(1024), order(0)).unwrap()));
        "Block::from_raw" "NotTaken" |w| said(Block::from_raw(w.pgmap, Run::new(at(0), order(4)).unwrap()));
        "Block::into_folio" "Retired" |w| of_block(w, 0);
    }
    cases! { list, closed;
        "Block::into_folio" "Leaving" |w| of_block(w, 1);
    }
    cases! { list, all_closed_but_paid;
        "OwnedBlock::into_folio" "Leaving" |w| of_paid(w);
    }
    cases! { list, dying;
        "Block::into_folio" "Dying" |w| of_block(w, 1);
        "OwnedBlock::into_folio" "Dying" |w| of_paid(w);
    }
    cases! { list, block_under_folio;
        "Block::into_folio" "Busy" |w| of_block(w, 1);
    }
    cases! { list, paid_under_folio;
        "OwnedBlock::into_folio" "Busy" |w| of_paid(w);
    }
    cases! { list, paid_and_bad;
        "OwnedBlock::into_folio" "Retired" |w| of_paid(w);
    }
}

fn counting(list: &mut Vec<Case<Map>>) {
    cases! { list, lived_in;
        "Pgmap::get_raw" "OutOfRange" |w| said(w.pgmap.get_raw(at(1 << 40)));
        "Pgmap::get_raw" "NotInService" |w| said(w.pgmap.get_raw(at(3)));
        "Pgmap::get_raw" "NotInService" |w| said(w.pgmap.get_raw(at(128)));
        "Pgmap::counts_raw" "OutOfRange" |w| said(w.pgmap.counts_raw(at(1 << 40)));
        "Pgmap::counts_raw" "NotInService" |w| said(w.pgmap.counts_raw(at(3)));
        "Pgmap::put_raw" "OutOfRange" |w| said(w.pgmap.put_raw(at(1 << 40), 1));
        "Pgmap::put_raw" "NotInService" |w| said(w.pgmap.put_raw(at(201), 1));
        "Pgmap::put_raw" "TooMany" |w| said(w.pgmap.put_raw(at(0), 3));
        "Pgmap::put_raw" "TooMany" |w| said(w.pgmap.put_raw(at(16), u32::MAX));
        "Pgmap::map_raw" "OutOfRange" |w| said(w.pgmap.map_raw(at(1 << 40)));
        "Pgmap::map_raw" "NotInService" |w| said(w.pgmap.map_raw(at(200)));
        "Pgmap::unmap_raw" "OutOfRange" |w| said(w.pgmap.unmap_raw(at(1 << 40)));
        "Pgmap::unmap_raw" "NotInService" |w| said(w.pgmap.unmap_raw(at(128)));
        "Pgmap::unmap_raw" "NotMapped" |w| said(w.pgmap.unmap_raw(at(16)));
        "Pgmap::pin" "OutOfRange" |w| said(w.pgmap.pin(at(1 << 40)));
        "Pgmap::pin" "NotInService" |w| said(w.pgmap.pin(at(128)));
        "Pgmap::put" "Foreign" |w| { let folio = w.folios.pop().unwrap(); let folios = &mut w.folios; said_and(w.pgmap.put(folio), |folio| folios.push(folio)) };
        "Folio::share" "OrderMismatch" |w| said(w.folios[3].share(order(0)));
        "Folio::unshare" "OrderMismatch" |w| said(w.folios[3].unshare(order(0)));
        "Folio::unshare" "NotShared" |w| said(w.folios[2].unshare(order(0)));
        "Pgmap::lookup" "OutOfRange" |w| said(w.pgmap.lookup(at(1 << 40)));
        "Pgmap::check_access" "OutOfRange" |w| said(w.pgmap.check_access(at(1 << 40), Capability::Map));
        "Pgmap::check_access" "NotInService" |w| said(w.pgmap.check_access(at(128), Capability::Map));
        "Pgmap::check_access" "Special" |w| said(w.pgmap.check_access(at(201), Capability::Map));
        "Pgmap::check_access" "Retired" |w| said(w.pgmap.check_access(at(200), Capability::Map));
        "Pgmap::check_access" "NotAllowed" |w| said(w.pgmap.check_access(at(0), Capability::Migrate));
        "Pgmap::until_idle" "OutOfRange" |w| said(w.pgmap.until_idle(at(1 << 40)));
        "Pgmap::wait_idle" "OutOfRange" |w| said(w.pgmap.wait_idle(at(1 << 40)));
        "Pgmap::wait_idle_unless" "OutOfRange" |w| said(w.pgmap.wait_idle_unless(at(1 << 40), || true));
        "Pgmap::wait_idle_unless" "Interrupted" |w| said(w.pgmap.wait_idle_unless(at(0), || true));
        "Pgmap::wait_idle_timeout" "OutOfRange" |w| said(w.pgmap.wait_idle_timeout(at(1 << 40), std::time::Duration::ZERO));
        "Pgmap::wait_idle_timeout" "TimedOut" |w| said(w.pgmap.wait_idle_timeout(at(0), std::time::Duration::ZERO));
        "Pgmap::put_and_wait" "Foreign" |w| { let folio = w.folios.pop().unwrap(); let folios = &mut w.folios; said_and(w.pgmap.put_and_wait(folio), |folio| folios.push(folio)) };
        "Pgmap::killed" "NotKilled" |w| said(w.pgmap.killed().map(drop));
    }
    cases! { list, private;
        "Pgmap::pin" "NotAllowed" |w| said(w.pgmap.pin(at(0)));
        "Folio::share" "NotAllowed" |w| said(w.folios[3].share(order(3)));
        "Folio::unshare" "NotAllowed" |w| said(w.folios[3].unshare(order(3)));
    }
    cases! { list, frozen;
        "Pgmap::get_raw" "Frozen" |w| said(w.pgmap.get_raw(at(16)));
        "Pgmap::put_raw" "Frozen" |w| said(w.pgmap.put_raw(at(16), 1));
        "Pgmap::map_raw" "Frozen" |w| said(w.pgmap.map_raw(at(16)));
        "Pgmap::freeze_raw" "Frozen" |w| said(w.pgmap.freeze_raw(at(16), Expect::Refs(1)));
        "Pgmap::split_raw" "Frozen" |w| said(w.pgmap.split_raw(at(16), order(0), 1));
        "Folio::freeze" "Frozen" |w| said(w.folios[2].freeze(Expect::Refs(1)));
        "Folio::split" "Frozen" |w| of_folio(w, 2, 0, 1);
    }
    cases! { list, mapped_and_frozen;
        "Pgmap::unmap_raw" "Frozen" |w| said(w.pgmap.unmap_raw(at(16)));
    }
}

fn whole(list: &mut Vec<Case<Map>>) {
    cases! { list, private;
        "Pgmap::freeze_raw" "OutOfRange" |w| said(w.pgmap.freeze_raw(at(1 << 40), Expect::Refs(1)));
        "Pgmap::freeze_raw" "NotInService" |w| said(w.pgmap.freeze_raw(at(128), Expect::Refs(1)));
        "Pgmap::freeze_raw" "StrayReferences" |w| said(w.pgmap.freeze_raw(at(0), Expect::Refs(2)));
        "Pgmap::freeze_raw" "Pinned" |w| said(w.pgmap.freeze_raw(at(0), Expect::NoPins));
        "Folio::freeze" "StrayReferences" |w| said(w.folios[0].freeze(Expect::Refs(2)));
        "Folio::freeze" "Pinned" |w| said(w.folios[0].freeze(Expect::NoPins));
        "Pgmap::split_raw" "OutOfRange" |w| said(w.pgmap.split_raw(at(1 << 40), order(0), 1));
        "Pgmap::split_raw" "NotInService" |w| said(w.pgmap.split_raw(at(128), order(0), 1));
        "Pgmap::split_raw" "NotSmaller" |w| said(w.pgmap.split_raw(at(64), order(2), 1));
        "Pgmap::split_raw" "StrayReferences" |w| said(w.pgmap.split_raw(at(64), order(0), 2));
        "Pgmap::split_raw" "Mapped" |w| said(w.pgmap.split_raw(at(0), order(0), 3));
        "Folio::split" "NotSmaller" |w| of_folio(w, 4, 2, 1);
        "Folio::split" "StrayReferences" |w| of_folio(w, 4, 0, 2);
        "Folio::split" "Mapped" |w| of_folio(w, 0, 0, 3);
    }
    cases! { list, lived_in;
        "Pgmap::freeze_raw" "NotAllowed" |w| said(w.pgmap.freeze_raw(at(0), Expect::NoPins));
        "Folio::freeze" "NotAllowed" |w| said(w.folios[0].freeze(Expect::NoPins));
        "Pgmap::add_range" "Empty" |w| said(w.pgmap.add_range(range(1 << 30, 0)));
        "Pgmap::add_range" "Misaligned" |w| said(w.pgmap.add_range(PhysRange { start: Phys(7), pages: 1 }));
        "Pgmap::add_range" "TooLarge" |w| said(w.pgmap.add_range(range(1, u64::MAX / 2)));
        "Pgmap::add_range" "Overlap" |w| said(w.pgmap.add_range(range(2047, 2)));
        "Pgmap::add_range" "NoRoom" |w| said(w.pgmap.add_range(range(1 << 30, 1 << 14)));
        "Pgmap::close_range" "Unknown" |w| said(w.pgmap.close_range(at(1)).map(drop));
    }
    cases! { list, no_slot;
        "Pgmap::add_range" "NoSlot" |w| said(w.pgmap.add_range(range(1 << 30, 1)));
    }
    cases! { list, closed;
        "Pgmap::close_range" "AlreadyLeaving" |w| said(w.pgmap.close_range(at(0)).map(drop));
    }
    cases! { list, all_closed;
        "Pgmap::close_range" "TooManyLeaving" |w| said(w.pgmap.close_range(w.pgmap.ranges().last().unwrap().first).map(drop));
    }
}

fn bad_and_special(list: &mut Vec<Case<Map>>) {
    cases! { list, lived_in;
        "Pgmap::retire" "OutOfRange" |w| said(w.pgmap.retire(at(1 << 40)));
        "Pgmap::retire" "AlreadyRetired" |w| said(w.pgmap.retire(at(200)));
        "Pgmap::inject_memory_failure" "OutOfRange" |w| said(w.pgmap.inject_memory_failure(at(1 << 40)));
        "Pgmap::restore_retired" "OutOfRange" |w| { let mut said = String::new(); w.pgmap.restore_retired([at(200), at(1 << 40)], |_, error| said = format!("{error:?}")); said };
        "Pgmap::pardon" "OutOfRange" |w| said(w.pgmap.pardon(at(1 << 40)));
        "Pgmap::pardon" "NotBad" |w| said(w.pgmap.pardon(at(300)));
        "Pgmap::pardon" "NotBad" |w| said(w.pgmap.pardon(at(201)));
        "Pgmap::declare_special" "NotYours" |w| said(w.pgmap.declare_special(at(300), SpecialSize::Page, Reason::Leaving));
        "Pgmap::declare_special" "Misaligned" |w| said(w.pgmap.declare_special(at(1), SpecialSize::Pmd, Reason::Firmware));
        "Pgmap::declare_special" "Overflow" |w| said(w.pgmap.declare_special(at(u64::MAX - 511), SpecialSize::Pmd, Reason::Firmware));
        "Pgmap::declare_special" "OutOfRange" |w| said(w.pgmap.declare_special(at(1 << 40), SpecialSize::Page, Reason::Firmware));
        "Pgmap::declare_special" "CrossesRange" |w| said(w.pgmap.declare_special(at(2560), SpecialSize::Pmd, Reason::Firmware));
        "Pgmap::declare_special" "InService" |w| said(w.pgmap.declare_special(at(16), SpecialSize::Page, Reason::Firmware));
        "Pgmap::declare_special" "Busy" |w| said(w.pgmap.declare_special(at(128), SpecialSize::Page, Reason::Firmware));
        "Pgmap::undeclare_special" "Misaligned" |w| said(w.pgmap.undeclare_special(at(1), SpecialSize::Pmd));
        "Pgmap::undeclare_special" "Overflow" |w| said(w.pgmap.undeclare_special(at(u64::MAX - 511), SpecialSize::Pmd));
        "Pgmap::undeclare_special" "OutOfRange" |w| said(w.pgmap.undeclare_special(at(1 << 40), SpecialSize::Page));
        "Pgmap::undeclare_special" "CrossesRange" |w| said(w.pgmap.undeclare_special(at(2560), SpecialSize::Pmd));
        "Pgmap::undeclare_special" "NotSpecial" |w| said(w.pgmap.undeclare_special(at(16), SpecialSize::Page));
        "Pgmap::undeclare_special" "NotSpecial" |w| said(w.pgmap.undeclare_special(at(200), SpecialSize::Page));
    }
    cases! { list, large_pages;
        "Pgmap::declare_special" "SmallerThanPage" |w| said(w.pgmap.declare_special(at(0), SpecialSize::Pmd, Reason::Firmware));
        "Pgmap::undeclare_special" "SmallerThanPage" |w| said(w.pgmap.undeclare_special(at(0), SpecialSize::Pmd));
    }
    cases! { list, closed;
        "Pgmap::undeclare_special" "NotSpecial" |w| said(w.pgmap.undeclare_special(at(1024), SpecialSize::Pmd));
        "Pgmap::declare_special" "Leaving" |w| said(w.pgmap.declare_special(at(301), SpecialSize::Page, Reason::Firmware));
    }
    cases! { list, dying;
        "Pgmap::declare_special" "Dying" |w| said(w.pgmap.declare_special(at(300), SpecialSize::Page, Reason::Firmware));
    }
}

fn books(list: &mut Vec<Case<Map>>) {
    cases! { list, lived_in;
        "Pgmap::alloc_folio_for" "Owner" |w| for_owner(w, 4, 3, Urgency::Normal);
        "Pgmap::alloc_folio_for" "Owner" |w| for_owner(w, 0, 9, Urgency::Normal);
        "Pgmap::alloc_folio_for" "Pool" |w| for_owner(w, 30, 1, Urgency::Normal);
        "Pgmap::alloc_block_for" "Owner" |w| block_for(w, 4, 3, Urgency::Normal);
        "Pgmap::alloc_block_for" "Pool" |w| block_for(w, 30, 1, Urgency::Normal);
        "Pgmap::request_folio_for" "Owner" |w| at_for(w, 304, 4, 3, Urgency::Normal);
        "Pgmap::request_folio_for" "Request" |w| at_for(w, 16, 0, 1, Urgency::Normal);
        "Pgmap::request_folio_for" "Request" |w| at_for(w, 128, 7, 1, Urgency::Normal);
        "Pgmap::recharge_raw" "NotInService" |w| recharge(w, &[32, 64, 128], 2, 1);
        "Pgmap::recharge_raw" "NotCharged" |w| recharge(w, &[32, 64, 0], 2, 1);
        "Pgmap::recharge_raw" "NotCharged" |w| recharge(w, &[32, 64, 16], 2, 1);
        "Pgmap::recharge_raw" "NotCharged" |w| recharge(w, &[32, 64, 32], 2, 1);
        "Pgmap::recharge_raw" "Owner" |w| recharge(w, &[32, 64], 2, 3);
        "Pgmap::recharge_raw" "Owner" |w| recharge(w, &[32, 64], 2, 9);
        "Folio::recharge" "NotCharged" |w| said(w.folios[0].recharge(Owner(2), Owner(1)));
        "Folio::recharge" "Owner" |w| said(w.folios[0].recharge(Owner(1), Owner(3)));
    }
    cases! { list, frozen;
        "Pgmap::recharge_raw" "NotInService" |w| recharge(w, &[32, 16], 2, 1);
    }
    cases! { list, full;
        "Pgmap::alloc_folio_for" "Watermark" |w| for_owner(w, 0, 1, Urgency::Normal);
        "Pgmap::alloc_folio_for" "Pool" |w| for_owner(w, 0, 1, Urgency::Critical);
        "Pgmap::alloc_block_for" "Watermark" |w| block_for(w, 0, 1, Urgency::Normal);
        "Pgmap::alloc_block_for" "Pool" |w| block_for(w, 0, 1, Urgency::Critical);
        "Pgmap::request_folio_for" "Watermark" |w| at_for(w, 16, 0, 1, Urgency::Normal);
        "Pgmap::request_folio_for" "Request" |w| at_for(w, 1024, 9, 1, Urgency::Critical);
    }
    cases! { list, scattered;
        "Pgmap::alloc_folio_for" "Fragmented" |w| for_owner(w, 1, 1, Urgency::Normal);
        "Pgmap::alloc_block_for" "Fragmented" |w| block_for(w, 1, 1, Urgency::Normal);
    }
    cases! { list, dying;
        "Pgmap::alloc_folio_for" "Pool" |w| for_owner(w, 0, 1, Urgency::Normal);
        "Pgmap::request_folio_for" "Request" |w| at_for(w, 300, 0, 1, Urgency::Normal);
    }
    cases! { list, closed;
        "Pgmap::request_folio_for" "Request" |w| at_for(w, 300, 0, 1, Urgency::Normal);
    }
}

fn handles(list: &mut Vec<Case<Map>>) {
    cases! { list, with_handles;
        "Local::alloc_folio" "TooLarge" |w| local(w, 30);
        "Local::alloc_folio_with" "TooLarge" |w| local_with(w, 30);
        "Local::alloc_folio_for" "Owner" |w| local_for(w, 4, 3, Urgency::Normal);
        "Local::alloc_folio_for" "Pool" |w| local_for(w, 30, 1, Urgency::Normal);
        "Local::put" "Foreign" |w| { let folio = w.folios.pop().unwrap(); let folios = &mut w.folios; said_and(w.local.as_mut().unwrap().put(folio), |folio| folios.push(folio)) };
        "OnCpu::alloc_folio" "TooLarge" |w| cpu(w, 30);
        "OnCpu::alloc_folio_with" "TooLarge" |w| cpu_with(w, 30);
        "OnCpu::put" "Foreign" |w| { let folio = w.folios.pop().unwrap(); let folios = &mut w.folios; said_and(w.cpus.as_ref().unwrap().on(0).put(folio), |folio| folios.push(folio)) };
    }
    cases! { list, full;
        "Local::alloc_folio" "NoSpace" |w| local(w, 0);
        "Local::alloc_folio_with" "NoSpace" |w| local_with(w, 0);
        "Local::alloc_folio_for" "Watermark" |w| local_for(w, 0, 1, Urgency::Normal);
        "Local::alloc_folio_for" "Pool" |w| local_for(w, 0, 1, Urgency::Critical);
        "OnCpu::alloc_folio" "NoSpace" |w| cpu(w, 0);
        "OnCpu::alloc_folio_with" "NoSpace" |w| cpu_with(w, 0);
    }
    cases! { list, scattered;
        "Local::alloc_folio" "Fragmented" |w| local(w, 1);
        "Local::alloc_folio_with" "Fragmented" |w| local_with(w, 1);
        "Local::alloc_folio_for" "Fragmented" |w| local_for(w, 1, 1, Urgency::Normal);
        "OnCpu::alloc_folio" "Fragmented" |w| cpu(w, 1);
        "OnCpu::alloc_folio_with" "Fragmented" |w| cpu_with(w, 1);
    }
    cases! { list, dying;
        "Local::alloc_folio" "Dying" |w| local(w, 0);
        "Local::alloc_folio_with" "Dying" |w| local_with(w, 0);
        "OnCpu::alloc_folio" "Dying" |w| cpu(w, 0);
        "OnCpu::alloc_folio_with" "Dying" |w| cpu_with(w, 0);
    }
}
