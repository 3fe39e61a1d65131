//! A pool, its partitions and its handles.

use pgmap_alloc::fit::{self, Offer, Want};
use pgmap_alloc::{
    Extent, ExtentParams, GenPool, LocalPool, Mode, Offset, PageWord, Params, PerCpu, Reservation, Run, ScatterParams, Wish,
};

use crate::support::{at, order, range, window};
use crate::{Case, Next, World, answer, cases, next_of, said};

/// A pool in the middle of its life.
pub struct Pool {
    pub pool: &'static GenPool<'static>,
    handle: Option<LocalPool<'static>>,
    cpus: Option<PerCpu<'static, GenPool<'static>, 2>>,
    _kept: Option<Reservation<'static, 'static>>,
}

/// All pages, from offset 0 on; the second range follows the first.
fn pages(pool: &GenPool<'_>) -> impl Iterator<Item = Offset> {
    pool.ranges().flat_map(|range| (range.first.get()..range.end().get()).map(Offset::new))
}

impl World for Pool {
    fn dump(&self) -> Vec<String> {
        let pool = self.pool;
        let mut lines = vec![
            format!("ranges {:?}", pool.ranges().collect::<Vec<_>>()),
            format!("size {} largest order {:?}", pool.size(), pool.largest_order()),
            format!("idle {} cleared {}", pool.avail(), pool.avail_cleared(Extent::ALL)),
            format!("counted {:?}", pool.counted_runs()),
            format!("runs {:?}", pool.idle_runs()),
            format!("largest idle {:?}", pool.largest_idle()),
            format!("handle has {:?}", self.handle.as_ref().map(LocalPool::cached)),
        ];
        lines.extend(pool.gaps_in(Extent::ALL).map(|gap| format!("gap {gap:?}")));
        lines.extend(pages(pool).map(|page| {
            let contents = pool.contents_of(Extent::new(page, 1).unwrap());
            format!("page {page}: idle {} {contents:?}", pool.is_idle(page))
        }));
        for o in [3, 6, 9] {
            let runs = pages(pool).filter(|page| page.get() % order(o).pages() == 0);
            lines.extend(
                runs.map(|page| format!("run {page} of {o}: {:?}", pool.contents_of(Run::new(page, order(o)).unwrap().into()))),
            );
        }
        lines
    }

    fn next(&mut self) -> Next {
        let plainly = |o: &u32| answer(self.pool.alloc(order(*o)), |_| format!("order {o}"), |at| format!("{at}"));
        let mut answers: Vec<_> = [0, 0, 3, 3, 0, 6, 1, 9, 0].iter().map(plainly).collect();
        let cleared = self.pool.alloc_wishing(order(0), Wish::PreferCleared);
        answers.push(answer(cleared, |(_, contents)| format!("{contents:?}"), |(at, _)| format!("{at}")));
        if let Some(handle) = &mut self.handle {
            answers.push(answer(handle.alloc(order(0)), |_| "at hand".to_owned(), |taken| format!("{}", taken.into_raw().start())));
        }
        next_of(&answers)
    }
}

fn built(params: &Params<'_>) -> Pool {
    let pool: &'static GenPool<'static> = Box::leak(Box::new(GenPool::new(params).unwrap()));
    Pool { pool, handle: None, cpus: None, _kept: None }
}

/// Two ranges, of which pages are taken, cleared, dirty, and reserved; the last that came back have not been listed.
fn lived_in() -> Pool {
    let ranges = [range(0, 2048), range(1 << 20, 700)];
    let mut world = built(&Params::new(&ranges).tracking_clear().taking_reservations().counting_runs().with_room(1, 1 << 13));
    let pool = world.pool;
    for (page, o) in [(0, 0), (8, 3), (64, 6), (512, 9), (128, 7), (1500, 0)] {
        pool.alloc_at(at(page), order(o)).unwrap();
    }
    pool.free_cleared(at(128), order(7)).unwrap();
    pool.alloc_at(at(1024), order(8)).unwrap();
    pool.free_cleared(at(1024), order(8)).unwrap();
    let pages: Vec<_> = (0..20).map(|_| pool.alloc(order(0)).unwrap()).collect();
    pages.iter().step_by(3).for_each(|page| pool.free(*page, order(0)).unwrap());
    pages.iter().skip(1).step_by(3).for_each(|page| pool.free_cleared(*page, order(0)).unwrap());
    world._kept = Some(pool.reserve(order(2), Box::leak(Box::new([at(0); 2]))).unwrap());
    world
}

/// The same, with a handle that has something at hand, and handles for two CPUs.
fn with_handles() -> Pool {
    let mut world = lived_in();
    let mut handle = world.pool.local().unwrap();
    let taken: Vec<_> = [0, 0, 3, 0].map(|o| handle.alloc(order(o)).unwrap()).into_iter().collect();
    taken.into_iter().skip(1).for_each(|taken| handle.free(taken).unwrap());
    world.handle = Some(handle);
    world.cpus = Some(PerCpu::with_cpus(world.pool));
    world
}

/// Nothing is left.
fn full() -> Pool {
    let world = lived_in();
    while world.pool.alloc(order(0)).is_ok() {}
    world
}

/// Single pages are left, some of them cleared.
fn scattered() -> Pool {
    let world = full();
    for page in (1025..1500).step_by(2) {
        if page % 3 == 0 {
            world.pool.free_cleared(at(page), order(0)).unwrap();
        } else {
            world.pool.free(at(page), order(0)).unwrap();
        }
    }
    world
}

/// The same through handles: one that has nothing at hand.
fn scattered_with_handles() -> Pool {
    let mut world = scattered();
    world.handle = world.pool.local();
    world.cpus = Some(PerCpu::with_cpus(world.pool));
    world
}

fn full_with_handles() -> Pool {
    let mut world = full();
    world.handle = world.pool.local();
    world.cpus = Some(PerCpu::with_cpus(world.pool));
    world
}

/// Much is left, nothing is cleared.
fn dirty() -> Pool {
    let world = lived_in();
    world.pool.forget_clear(Extent::ALL).unwrap();
    world
}

/// No reservations, no room.
fn plain() -> Pool {
    built(&Params::new(&[range(0, 512)]))
}

/// Offers a place that is in no gap.
fn beside(_: Extent, _: &Want) -> Option<Offer> {
    Some(Offer { start: at(0), cost: 0 })
}

const RUN: fn() -> Run = || Run::new(at(0), order(0)).unwrap();

fn extent(params: ExtentParams, world: &Pool) -> String {
    said(world.pool.alloc_extent(&params))
}

fn scatter(params: ScatterParams, room: usize, world: &Pool) -> String {
    said(world.pool.alloc_scattered(&params, &mut vec![RUN(); room]))
}

/// The first half of the first range.
fn half(world: &Pool) -> pgmap_alloc::Partition<'static> {
    world.pool.partition(window(0, 1024)).unwrap()
}

pub fn cases() -> Vec<Case<Pool>> {
    let mut list = vec![];
    taking(&mut list);
    of_any_length(&mut list);
    giving(&mut list);
    handles(&mut list);
    partitions(&mut list);
    ranges(&mut list);
    list
}

fn taking(list: &mut Vec<Case<Pool>>) {
    cases! { list, lived_in;
        "GenPool::alloc" "TooLarge" |w| said(w.pool.alloc(order(30)));
        "GenPool::alloc_many" "TooLarge" |w| said(w.pool.alloc_many(order(30), &mut [at(0); 2]));
        "GenPool::alloc_many" "NoSpace" |w| said(w.pool.alloc_many(order(0), &mut [at(0); 4000]));
        "GenPool::alloc_many" "NoSpace" |w| said(w.pool.alloc_many(order(4), &mut [at(0); 200]));
        "GenPool::alloc_many" "Fragmented" |w| said(w.pool.alloc_many(order(9), &mut [at(0); 3]));
        "GenPool::alloc_wishing" "TooLarge" |w| said(w.pool.alloc_wishing(order(30), Wish::PreferCleared));
        "GenPool::alloc_wishing" "NoneCleared" |w| said(w.pool.alloc_wishing(order(9), Wish::Cleared));
        "GenPool::alloc_up_to" "TooLarge" |w| said(w.pool.alloc_up_to(order(30), order(30)));
        "GenPool::alloc_at" "Misaligned" |w| said(w.pool.alloc_at(at(1), order(1)));
        "GenPool::alloc_at" "Overflow" |w| said(w.pool.alloc_at(at(u64::MAX - 7), order(3)));
        "GenPool::alloc_at" "OutOfRange" |w| said(w.pool.alloc_at(at(1 << 40), order(3)));
        "GenPool::alloc_at" "CrossesRange" |w| said(w.pool.alloc_at(at(0), order(12)));
        "GenPool::alloc_at" "Busy" |w| said(w.pool.alloc_at(at(0), order(0)));
        "GenPool::alloc_at" "Busy" |w| said(w.pool.alloc_at(at(0), order(9)));
        "GenPool::alloc_at" "Busy" |w| said(w.pool.alloc_at(at(1024), order(10)));
        "GenPool::reserve" "NoRuns" |w| said(w.pool.reserve(order(0), &mut []));
        "GenPool::reserve" "Refused" |w| said(w.pool.reserve(order(4), &mut [at(0); 200]));
        "GenPool::reserve" "Refused" |w| said(w.pool.reserve(order(0), &mut [at(0); 4000]));
        "GenPool::reserve" "Refused" |w| said(w.pool.reserve(order(30), &mut [at(0); 1]));
    }
    cases! { list, full;
        "GenPool::alloc" "NoSpace" |w| said(w.pool.alloc(order(0)));
        "GenPool::alloc_many" "NoSpace" |w| said(w.pool.alloc_many(order(0), &mut [at(0); 2]));
        "GenPool::alloc_wishing" "NoSpace" |w| said(w.pool.alloc_wishing(order(0), Wish::PreferCleared));
        "GenPool::alloc_up_to" "NoSpace" |w| said(w.pool.alloc_up_to(order(3), order(0)));
        "GenPool::alloc_at" "Busy" |w| said(w.pool.alloc_at(at(1024), order(9)));
    }
    cases! { list, scattered;
        "GenPool::alloc" "Fragmented" |w| said(w.pool.alloc(order(1)));
        "GenPool::alloc" "Fragmented" |w| said(w.pool.alloc(order(7)));
        "GenPool::alloc_many" "Fragmented" |w| said(w.pool.alloc_many(order(1), &mut [at(0); 2]));
        "GenPool::alloc_many" "NoSpace" |w| said(w.pool.alloc_many(order(0), &mut [at(0); 300]));
        "GenPool::alloc_wishing" "Fragmented" |w| said(w.pool.alloc_wishing(order(1), Wish::PreferCleared));
        "GenPool::alloc_wishing" "NoneCleared" |w| said(w.pool.alloc_wishing(order(1), Wish::Cleared));
        "GenPool::alloc_up_to" "Fragmented" |w| said(w.pool.alloc_up_to(order(5), order(1)));
        "GenPool::reserve" "Refused" |w| said(w.pool.reserve(order(0), &mut [at(0); 300]));
        "GenPool::reserve" "Refused" |w| said(w.pool.reserve(order(1), &mut [at(0); 1]));
    }
    cases! { list, dirty;
        "GenPool::alloc_wishing" "NoneCleared" |w| said(w.pool.alloc_wishing(order(0), Wish::Cleared));
    }
    cases! { list, plain;
        "GenPool::reserve" "NotTaken" |w| said(w.pool.reserve(order(0), &mut [at(0); 1]));
    }
}

fn of_any_length(list: &mut Vec<Case<Pool>>) {
    cases! { list, lived_in;
        "GenPool::alloc_extent" "NoPages" |w| extent(ExtentParams::new(0), w);
        "GenPool::alloc_extent" "BaseOutside" |w| extent(ExtentParams { base: Some(at(1 << 40)), ..ExtentParams::new(3) }, w);
        "GenPool::alloc_extent" "Alignment" |w| extent(ExtentParams::new(3).aligned(3), w);
        "GenPool::alloc_extent" "LargerThanWindow" |w| extent(ExtentParams::new(9).within(window(0, 8)), w);
        "GenPool::alloc_extent" "WindowOutside" |w| extent(ExtentParams::new(1).within(window(1 << 40, 1 << 41)), w);
        "GenPool::alloc_extent" "TooLarge" |w| extent(ExtentParams::new(2049), w);
        "GenPool::alloc_extent" "NoSpace" |w| extent(ExtentParams::new(2000).within(window(0, 2048)), w);
        "GenPool::alloc_extent" "Fragmented" |w| extent(ExtentParams::new(1000).within(window(0, 2048)), w);
        "GenPool::alloc_extent" "NoneCleared" |w| extent(ExtentParams::new(400).wishing(Wish::Cleared), w);
        "GenPool::alloc_extent" "NoneCleared" |w| extent(ExtentParams::new(257).wishing(Wish::Cleared).by(Mode::TopDown(fit::best_fit)), w);
        "GenPool::alloc_extent" "BadFit" |w| extent(ExtentParams::new(3).by(Mode::BottomUp(beside)), w);
        "GenPool::alloc_scattered" "NoPages" |w| scatter(ScatterParams::new(0), 9, w);
        "GenPool::alloc_scattered" "MinBlockTooLarge" |w| scatter(ScatterParams::new(2).in_blocks_of(order(2)), 9, w);
        "GenPool::alloc_scattered" "NoMultiple" |w| scatter(ScatterParams::new(6).in_blocks_of(order(2)), 9, w);
        "GenPool::alloc_scattered" "LargerThanWindow" |w| scatter(ScatterParams::new(9).within(window(0, 8)), 9, w);
        "GenPool::alloc_scattered" "WindowOutside" |w| scatter(ScatterParams::new(1).within(window(1 << 40, 1 << 41)), 9, w);
        "GenPool::alloc_scattered" "TooLarge" |w| scatter(ScatterParams::new(1 << 20), 9, w);
        "GenPool::alloc_scattered" "NoSpace" |w| scatter(ScatterParams::new(2700), 900, w);
        "GenPool::alloc_scattered" "Fragmented" |w| scatter(ScatterParams::new(1536).in_blocks_of(order(9)), 9, w);
        "GenPool::alloc_scattered" "ListFull" |w| scatter(ScatterParams::new(1800), 2, w);
        "GenPool::alloc_scattered" "NoneCleared" |w| scatter(ScatterParams::new(1000).wishing(Wish::Cleared), 99, w);
        "GenPool::alloc_scattered" "BadFit" |w| scatter(ScatterParams::new(3).by(Mode::BottomUp(beside)), 9, w);
        "GenPool::alloc_words" "NoPages" |w| said(w.pool.alloc_words(0, &mut [PageWord::EMPTY; 9]));
        "GenPool::alloc_words" "TooLarge" |w| said(w.pool.alloc_words(1 << 20, &mut [PageWord::EMPTY; 9]));
        "GenPool::alloc_words" "NoSpace" |w| said(w.pool.alloc_words(2700, &mut [PageWord::EMPTY; 99]));
        "GenPool::alloc_words" "ListFull" |w| said(w.pool.alloc_words(1800, &mut [PageWord::EMPTY; 9]));
    }
    cases! { list, full;
        "GenPool::alloc_extent" "NoSpace" |w| extent(ExtentParams::new(3), w);
        "GenPool::alloc_scattered" "NoSpace" |w| scatter(ScatterParams::new(3), 3, w);
        "GenPool::alloc_words" "NoSpace" |w| said(w.pool.alloc_words(3, &mut [PageWord::EMPTY; 9]));
    }
    cases! { list, scattered;
        "GenPool::alloc_extent" "Fragmented" |w| extent(ExtentParams::new(2), w);
        "GenPool::alloc_extent" "Fragmented" |w| extent(ExtentParams::new(3).by(Mode::BottomUp(fit::first_fit)), w);
        "GenPool::alloc_scattered" "Fragmented" |w| scatter(ScatterParams::new(4).in_blocks_of(order(1)), 9, w);
        "GenPool::alloc_scattered" "ListFull" |w| scatter(ScatterParams::new(99), 98, w);
        "GenPool::alloc_scattered" "NoneCleared" |w| scatter(ScatterParams::new(100).wishing(Wish::Cleared), 199, w);
        "GenPool::alloc_words" "ListFull" |w| said(w.pool.alloc_words(200, &mut [PageWord::EMPTY; 2]));
    }
}

fn giving(list: &mut Vec<Case<Pool>>) {
    // Page 100 is idle, 128 idle and cleared; 0 and the runs at 8, 64 and 512 are taken.
    cases! { list, lived_in;
        "GenPool::free" "Misaligned" |w| said(w.pool.free(at(513), order(1)));
        "GenPool::free" "Overflow" |w| said(w.pool.free(at(u64::MAX - 7), order(3)));
        "GenPool::free" "OutOfRange" |w| said(w.pool.free(at(1 << 40), order(3)));
        "GenPool::free" "CrossesRange" |w| said(w.pool.free(at(0), order(12)));
        "GenPool::free" "DoubleFree" |w| said(w.pool.free(at(40), order(0)));
        "GenPool::free" "DoubleFree" |w| said(w.pool.free(at(128), order(7)));
        "GenPool::free" "DoubleFree" |w| said(w.pool.free(at(0), order(9)));
        "GenPool::free" "DoubleFree" |w| said(w.pool.free(at(0), order(11)));
        "GenPool::free" "Held" |w| said(w.pool.free(held(w), order(2)));
        "GenPool::free" "Held" |w| said(w.pool.free(held(w), order(0)));
        "GenPool::free_cleared" "Misaligned" |w| said(w.pool.free_cleared(at(513), order(1)));
        "GenPool::free_cleared" "Overflow" |w| said(w.pool.free_cleared(at(u64::MAX - 7), order(3)));
        "GenPool::free_cleared" "OutOfRange" |w| said(w.pool.free_cleared(at(1 << 40), order(3)));
        "GenPool::free_cleared" "CrossesRange" |w| said(w.pool.free_cleared(at(0), order(12)));
        "GenPool::free_cleared" "DoubleFree" |w| said(w.pool.free_cleared(at(40), order(0)));
        "GenPool::free_cleared" "DoubleFree" |w| said(w.pool.free_cleared(at(1900), order(2)));
        "GenPool::free_cleared" "DoubleFree" |w| said(w.pool.free_cleared(at(0), order(9)));
        "GenPool::free_cleared" "Held" |w| said(w.pool.free_cleared(held(w), order(2)));
        "GenPool::free_extent" "OutOfRange" |w| said(w.pool.free_extent(window(1 << 40, (1 << 40) + 9)));
        "GenPool::free_extent" "CrossesRange" |w| said(w.pool.free_extent(window(512, 4000)));
        "GenPool::free_extent" "DoubleFree" |w| said(w.pool.free_extent(window(512, 1025)));
        "GenPool::free_extent" "DoubleFree" |w| said(w.pool.free_extent(window(63, 128)));
        "GenPool::free_extent" "Held" |w| said(w.pool.free_extent(Extent::new(held(w), 3).unwrap()));
        "GenPool::free_many" "Refused" |w| said(w.pool.free_many(order(0), &[at(40), at(0)]));
        "GenPool::free_many" "Refused" |w| said(w.pool.free_many(order(3), &[at(9), at(8)]));
        "GenPool::free_many" "Refused" |w| said(w.pool.free_many(order(0), &[held(w), at(0)]));
        "GenPool::free_words" "Refused" |w| said(w.pool.free_words(&[word(64, !0), word(0, 1 << 40 | 1)][1..]));
        "GenPool::free_words" "Refused" |w| said(w.pool.free_words(&[word(1 << 40, 1)]));
    }
}

fn word(base: u64, mask: u64) -> PageWord {
    PageWord::new(at(base), mask).unwrap()
}

/// A page that a reservation holds: the only taken ones that no case and no maker has named.
fn held(world: &Pool) -> Offset {
    let pool = world.pool;
    let taken = pages(pool).filter(|page| page.get() % 4 == 0 && (page.get() < 512 || page.get() >= 1024));
    let held = |page: &Offset| !pool.is_idle(*page) && format!("{:?}", pool.free(*page, order(0))).contains("Held");
    // Only a page that is held is refused so; another would be given back.
    let probed = taken.filter(|page| (0..4).all(|part| !pool.is_idle(at(page.get() + part)))).filter(|page| {
        let page = page.get();
        page != 1500 && !(8..16).contains(&page) && !(64..128).contains(&page)
    });
    let mut probed = probed;
    probed.find(held).unwrap()
}

fn handles(list: &mut Vec<Case<Pool>>) {
    cases! { list, with_handles;
        "LocalPool::alloc" "TooLarge" |w| said(w.handle.as_mut().unwrap().alloc(order(30)));
        "LocalPool::alloc_many" "TooLarge" |w| said(w.handle.as_mut().unwrap().alloc_many(order(30), &mut [at(0); 2]));
        "LocalPool::alloc_words" "NoPages" |w| said(w.handle.as_mut().unwrap().alloc_words(0, &mut [PageWord::EMPTY; 9]));
        "LocalPool::alloc_words" "TooLarge" |w| said(w.handle.as_mut().unwrap().alloc_words(1 << 20, &mut [PageWord::EMPTY; 9]));
        "LocalPool::free_many" "Refused" |w| said(w.handle.as_mut().unwrap().free_many(order(0), &[at(1100), at(0)]));
        "LocalPool::free_words" "Refused" |w| said(w.handle.as_mut().unwrap().free_words(&[word(1088, 1 << 40 | 1)]));
        "OnCpu::alloc" "TooLarge" |w| said(w.cpus.as_ref().unwrap().on(0).alloc(order(30)));
    }
    cases! { list, full_with_handles;
        "LocalPool::alloc" "NoSpace" |w| said(w.handle.as_mut().unwrap().alloc(order(0)));
        "LocalPool::alloc_many" "NoSpace" |w| said(w.handle.as_mut().unwrap().alloc_many(order(0), &mut [at(0); 2]));
        "LocalPool::alloc_words" "NoSpace" |w| said(w.handle.as_mut().unwrap().alloc_words(3, &mut [PageWord::EMPTY; 9]));
        "OnCpu::alloc" "NoSpace" |w| said(w.cpus.as_ref().unwrap().on(0).alloc(order(0)));
    }
    cases! { list, scattered_with_handles;
        "LocalPool::alloc" "Fragmented" |w| said(w.handle.as_mut().unwrap().alloc(order(1)));
        "LocalPool::alloc_many" "Fragmented" |w| said(w.handle.as_mut().unwrap().alloc_many(order(1), &mut [at(0); 2]));
        "LocalPool::alloc_many" "NoSpace" |w| said(w.handle.as_mut().unwrap().alloc_many(order(0), &mut [at(0); 300]));
        "LocalPool::alloc_words" "ListFull" |w| said(w.handle.as_mut().unwrap().alloc_words(200, &mut [PageWord::EMPTY; 2]));
        "OnCpu::alloc" "Fragmented" |w| said(w.cpus.as_ref().unwrap().on(0).alloc(order(1)));
    }
}

fn partitions(list: &mut Vec<Case<Pool>>) {
    cases! { list, scattered;
        "Partition::alloc_scattered" "Fragmented" |w| said(w.pool.partition(window(1024, 2048)).unwrap().alloc_scattered(&ScatterParams::new(4).in_blocks_of(order(1)), &mut [RUN(); 9]));
    }
    cases! { list, lived_in;
        "Partition::alloc" "LargerThanWindow" |w| said(half(w).alloc(order(11)));
        "Partition::alloc" "TooLarge" |w| said(w.pool.partition(window(0, 4096)).unwrap().alloc(order(12)));
        "Partition::alloc" "NoSpace" |w| said(half(w).alloc(order(9)));
        "Partition::alloc_extent" "NoPages" |w| said(half(w).alloc_extent(&ExtentParams::new(0)));
        "Partition::alloc_extent" "BaseOutside" |w| said(half(w).alloc_extent(&ExtentParams { base: Some(at(1 << 40)), ..ExtentParams::new(3) }));
        "Partition::alloc_extent" "Alignment" |w| said(half(w).alloc_extent(&ExtentParams::new(3).aligned(3)));
        "Partition::alloc_extent" "LargerThanWindow" |w| said(half(w).alloc_extent(&ExtentParams::new(1025)));
        "Partition::alloc_extent" "WindowOutside" |w| said(half(w).alloc_extent(&ExtentParams::new(1).within(window(2000, 2001))));
        "Partition::alloc_extent" "TooLarge" |w| said(w.pool.partition(window(0, 4096)).unwrap().alloc_extent(&ExtentParams::new(2049)));
        "Partition::alloc_extent" "NoSpace" |w| said(half(w).alloc_extent(&ExtentParams::new(1000)));
        "Partition::alloc_extent" "Fragmented" |w| said(half(w).alloc_extent(&ExtentParams::new(390)));
        "Partition::alloc_extent" "NoneCleared" |w| said(half(w).alloc_extent(&ExtentParams::new(200).wishing(Wish::Cleared)));
        "Partition::alloc_extent" "BadFit" |w| said(half(w).alloc_extent(&ExtentParams::new(3).by(Mode::BottomUp(beside))));
        "GenPool::alloc_falling_back" "NoPages" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(0)));
        "GenPool::alloc_falling_back" "BaseOutside" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams { base: Some(at(1 << 40)), ..ExtentParams::new(3) }));
        "GenPool::alloc_falling_back" "Alignment" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(3).aligned(3)));
        "GenPool::alloc_falling_back" "LargerThanWindow" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(1025)));
        "GenPool::alloc_falling_back" "WindowOutside" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(1).within(window(2000, 2001))));
        "GenPool::alloc_falling_back" "TooLarge" |w| said(GenPool::alloc_falling_back(&[w.pool.partition(window(0, 4096)).unwrap()], &ExtentParams::new(2049)));
        "GenPool::alloc_falling_back" "NoSpace" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(1000)));
        "GenPool::alloc_falling_back" "Fragmented" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(390)));
        "GenPool::alloc_falling_back" "NoneCleared" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(200).wishing(Wish::Cleared)));
        "GenPool::alloc_falling_back" "BadFit" |w| said(GenPool::alloc_falling_back(&[half(w)], &ExtentParams::new(3).by(Mode::BottomUp(beside))));
        "Partition::alloc_at" "Misaligned" |w| said(half(w).alloc_at(at(101), order(1)));
        "Partition::alloc_at" "Overflow" |w| said(half(w).alloc_at(at(u64::MAX - 7), order(3)));
        "Partition::alloc_at" "OutOfRange" |w| said(half(w).alloc_at(at(1024), order(0)));
        "Partition::alloc_at" "CrossesRange" |w| said(w.pool.partition(window(0, 4096)).unwrap().alloc_at(at(0), order(12)));
        "Partition::alloc_at" "Busy" |w| said(half(w).alloc_at(at(0), order(6)));
        "Partition::alloc_scattered" "NoPages" |w| said(half(w).alloc_scattered(&ScatterParams::new(0), &mut [RUN(); 9]));
        "Partition::alloc_scattered" "MinBlockTooLarge" |w| said(half(w).alloc_scattered(&ScatterParams::new(2).in_blocks_of(order(2)), &mut [RUN(); 9]));
        "Partition::alloc_scattered" "NoMultiple" |w| said(half(w).alloc_scattered(&ScatterParams::new(6).in_blocks_of(order(2)), &mut [RUN(); 9]));
        "Partition::alloc_scattered" "LargerThanWindow" |w| said(half(w).alloc_scattered(&ScatterParams::new(1025), &mut [RUN(); 9]));
        "Partition::alloc_scattered" "WindowOutside" |w| said(half(w).alloc_scattered(&ScatterParams::new(1).within(window(2000, 2001)), &mut [RUN(); 9]));
        "Partition::alloc_scattered" "TooLarge" |w| said(w.pool.partition(window(0, 4096)).unwrap().alloc_scattered(&ScatterParams::new(3000), &mut [RUN(); 9]));
        "Partition::alloc_scattered" "NoSpace" |w| said(half(w).alloc_scattered(&ScatterParams::new(1000), &mut [RUN(); 900]));
        "Partition::alloc_scattered" "ListFull" |w| said(half(w).alloc_scattered(&ScatterParams::new(300), &mut [RUN(); 1]));
        "Partition::alloc_scattered" "NoneCleared" |w| said(half(w).alloc_scattered(&ScatterParams::new(300).wishing(Wish::Cleared), &mut [RUN(); 99]));
        "Partition::alloc_scattered" "BadFit" |w| said(half(w).alloc_scattered(&ScatterParams::new(3).by(Mode::BottomUp(beside)), &mut [RUN(); 9]));
        "Partition::free" "Misaligned" |w| said(half(w).free(at(513), order(1)));
        "Partition::free" "Overflow" |w| said(half(w).free(at(u64::MAX - 7), order(3)));
        "Partition::free" "OutOfRange" |w| said(half(w).free(at(1500), order(0)));
        "Partition::free" "CrossesRange" |w| said(w.pool.partition(window(0, 4096)).unwrap().free(at(0), order(12)));
        "Partition::free" "DoubleFree" |w| said(half(w).free(at(40), order(0)));
        "Partition::free" "Held" |w| said(w.pool.partition(window(0, 4096)).unwrap().free(held(w), order(0)));
        "Partition::free_extent" "OutOfRange" |w| said(half(w).free_extent(window(512, 1025)));
        "Partition::free_extent" "CrossesRange" |w| said(w.pool.partition(window(0, 4096)).unwrap().free_extent(window(512, 4000)));
        "Partition::free_extent" "DoubleFree" |w| said(half(w).free_extent(window(63, 128)));
        "Partition::free_extent" "Held" |w| said(w.pool.partition(window(0, 4096)).unwrap().free_extent(Extent::new(held(w), 2).unwrap()));
    }
}

fn ranges(list: &mut Vec<Case<Pool>>) {
    let full_of_ranges = || {
        let world = lived_in();
        world.pool.add_range(range(1 << 28, 64)).unwrap();
        world
    };
    cases! { list, lived_in;
        "GenPool::add_range" "Empty" |w| said(w.pool.add_range(range(1 << 30, 0)));
        "GenPool::add_range" "Misaligned" |w| said(w.pool.add_range(pgmap_alloc::PhysRange { start: pgmap_alloc::Phys(7), pages: 1 }));
        "GenPool::add_range" "TooLarge" |w| said(w.pool.add_range(range(1, u64::MAX / 2)));
        "GenPool::add_range" "Overlap" |w| said(w.pool.add_range(range(2047, 2)));
        "GenPool::add_range" "NoRoom" |w| said(w.pool.add_range(range(1 << 30, 1 << 14)));
        "GenPool::grow_range" "Empty" |w| said(w.pool.grow_range(at(0), range(2048, 0)));
        "GenPool::grow_range" "Misaligned" |w| said(w.pool.grow_range(at(0), pgmap_alloc::PhysRange { start: pgmap_alloc::Phys(7), pages: 1 }));
        "GenPool::grow_range" "TooLarge" |w| said(w.pool.grow_range(at(0), range(2048, u64::MAX / 2)));
        "GenPool::grow_range" "Unknown" |w| said(w.pool.grow_range(at(1), range(2048, 1)));
        "GenPool::grow_range" "NotAdjacent" |w| said(w.pool.grow_range(at(0), range(4096, 1)));
        "GenPool::grow_range" "NoRoom" |w| said(w.pool.grow_range(at(0), range(2048, 1 << 14)));
        "GenPool::remove_range" "Unknown" |w| said(w.pool.remove_range(at(1)));
        "GenPool::remove_range" "InUse" |w| said(w.pool.remove_range(at(0)));
    }
    cases! { list, full_of_ranges;
        "GenPool::add_range" "NoSlot" |w| said(w.pool.add_range(range(1 << 30, 1)));
    }
    // One page of it is in use, at the end: what was taken before is given back.
    let second_in_use = || {
        let world = lived_in();
        let second = world.pool.ranges().nth(1).unwrap();
        let last = second.end().get() - 1;
        let run = Run::new(at(second.first.get()), order(9)).unwrap();
        world.pool.alloc_at(run.start(), run.order()).unwrap();
        world.pool.free_cleared(run.start(), run.order()).unwrap();
        world.pool.alloc_at(at(last), order(0)).unwrap();
        world
    };
    cases! { list, second_in_use;
        "GenPool::remove_range" "InUse" |w| said(w.pool.remove_range(w.pool.ranges().nth(1).unwrap().first));
    }
    cases! { list, full;
        "GenPool::remove_range" "InUse" |w| said(w.pool.remove_range(w.pool.ranges().nth(1).unwrap().first));
    }
}
