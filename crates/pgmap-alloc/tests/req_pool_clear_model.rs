//! Requirements 46, 64 and 65: what pages hold, against a slow model: every verb that takes pages or gives them back, refused and undone calls, and
//! questions of every size.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    AllocError, AllocExtentError, Contents, DirtyRun, Extent, ExtentParams, GenPool, LocalPool, Mode, Offset, Order, PageWord,
    Params, PoolNeeds, RangeSlot, Run, ScatterError, ScatterParams, Table, Wish, fit,
};
use proptest::prelude::*;
use support::{at, order, range};

#[derive(Clone, Debug)]
enum Op {
    Alloc(u32, u8),
    At(u64, u32),
    UpTo(u32, u32),
    Extent(u64, u8),
    Partition(u64, u64),
    /// Runs of an order in one call, as many as there are or all; by a handle or not.
    Many(u32, u64, u8),
    /// Pages by the word; as `Many`.
    Words(u64, usize, u8),
    Scattered(u64, u32, u8),
    /// A reservation of so many runs, of which some are committed.
    Reserve(u32, usize, usize),
    /// Through a handle: a run is taken, and one that was taken before comes back.
    Handle(u32),
    Drain,
    Free(usize, bool),
    /// A part comes back.
    Part(usize, u64, u32, bool),
    /// Contiguous pages, or words of them, by one call.
    FreeAll(usize, bool),
    Clear(u32, bool),
    Forget(u64, u64),
    /// The range that everything is in is to go, and cannot.
    Remove,
}

fn op() -> impl Strategy<Value = Op> {
    let size = || prop_oneof![3 => 1..70u64, 2 => 1..700u64, 1 => 1..6000u64];
    prop_oneof![
        5 => (0..13u32, 0..3u8).prop_map(|(o, wish)| Op::Alloc(o, wish)),
        2 => (0..5000u64, 0..11u32).prop_map(|(page, o)| Op::At(page >> o << o, o)),
        1 => (0..13u32, 0..6u32).prop_map(|(o, floor)| Op::UpTo(o, floor)),
        3 => (size(), any::<u8>()).prop_map(|(pages, wish)| Op::Extent(pages, wish)),
        1 => (0..5000u64, size()).prop_map(|(start, pages)| Op::Partition(start, pages)),
        2 => (0..8u32, size(), 0..4u8).prop_map(|(o, runs, how)| Op::Many(o, runs, how)),
        2 => (size(), 1..60usize, 0..4u8).prop_map(|(pages, room, how)| Op::Words(pages, room, how)),
        2 => (size(), 0..5u32, any::<u8>()).prop_map(|(pages, block, wish)| Op::Scattered(pages, block, wish)),
        2 => (0..10u32, 1..9usize, 0..9usize).prop_map(|(o, runs, commit)| Op::Reserve(o, runs, commit)),
        3 => (0..9u32).prop_map(Op::Handle),
        1 => Just(Op::Drain),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(i, clean)| Op::Free(i, clean)),
        4 => (any::<usize>(), any::<u64>(), 0..9u32, any::<bool>()).prop_map(|(i, at, o, clean)| Op::Part(i, at, o, clean)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(i, words)| Op::FreeAll(i, words)),
        2 => (0..13u32, any::<bool>()).prop_map(|(o, drops)| Op::Clear(o, drops)),
        1 => (0..4000u64, 1..2000u64).prop_map(|(start, pages)| Op::Forget(start, pages)),
        1 => Just(Op::Remove),
    ]
}

/// Only what wishes depend on: there the model is exact, and rare mixtures must come up.
fn wishes() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0..12u32, 0..3u8).prop_map(|(o, wish)| Op::Alloc(o, wish)),
        2 => (1..600u64, any::<u8>()).prop_map(|(pages, wish)| Op::Extent(pages, wish)),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(i, clean)| Op::Free(i, clean)),
        1 => (0..10u32).prop_map(|o| Op::Clear(o, false)),
        1 => (0..4000u64, 1..2000u64).prop_map(|(start, pages)| Op::Forget(start, pages)),
    ]
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    taken: bool,
    /// When it was last freed, or last forgotten while it was idle.
    cleared: bool,
}

struct Model {
    pages: Vec<Page>,
    held: Vec<Extent>,
}

fn slice(extent: Extent) -> std::ops::Range<usize> {
    extent.start().get() as usize..extent.end().get() as usize
}

impl Model {
    fn of(&self, extent: Extent) -> &[Page] {
        &self.pages[slice(extent)]
    }

    fn is_cleared(&self, extent: Extent) -> bool {
        self.of(extent).iter().all(|page| page.cleared)
    }

    fn take(&mut self, extent: Extent) {
        assert!(self.of(extent).iter().all(|page| !page.taken), "{extent} was taken");
        self.pages[slice(extent)].iter_mut().for_each(|page| page.taken = true);
        self.held.push(extent);
    }

    fn leave(&mut self, extent: Extent, cleared: bool) {
        assert!(self.of(extent).iter().all(|page| page.taken));
        self.pages[slice(extent)].fill(Page { taken: false, cleared });
    }

    fn pick(&mut self, i: usize) -> Option<Extent> {
        let index = i.checked_rem(self.held.len())?;
        Some(self.held.swap_remove(index))
    }

    fn idle(&self, cleared: impl Fn(bool) -> bool) -> u64 {
        self.pages.iter().filter(|page| !page.taken && cleared(page.cleared)).count() as u64
    }

    /// Whether there is an aligned run of an order all of whose pages are idle and such.
    fn has(&self, order: u32, such: impl Fn(&Page) -> bool) -> bool {
        self.pages.chunks_exact(1 << order).any(|run| run.iter().all(|page| !page.taken && such(page)))
    }
}

fn wish(number: u8) -> Wish {
    [Wish::DontCare, Wish::PreferCleared, Wish::Cleared][usize::from(number) % 3]
}

fn told<const WORDS: usize>(pool: &GenPool<'_, WORDS>, extent: Extent) -> bool {
    pool.contents_of(extent) == Contents::Cleared
}

/// Asks of all that is held: page by page, in aligned and in crooked parts, and as a whole.
fn ask<const WORDS: usize>(pool: &GenPool<'_, WORDS>, model: &Model) {
    for extent in &model.held {
        let (start, end) = (extent.start().get(), extent.end().get());
        for step in [1, 3, 16, 64, 100, 512] {
            for from in (start..end).step_by(step).take(200) {
                let part = Extent::between(at(from), at(end.min(from + step as u64))).unwrap();
                assert_eq!(told(pool, part), model.is_cleared(part), "{part} of {extent}");
            }
        }
        assert_eq!(told(pool, *extent), model.is_cleared(*extent), "{extent}");
    }
}

/// What a handle holds between two calls is out of the model's sight: so it is drained after each, and what it hands out is asked about at once.
fn by_handle<const WORDS: usize>(handle: &mut LocalPool<'_, WORDS>, pool: &GenPool<'_, WORDS>, o: u32, model: &mut Model) {
    let mut runs = vec![];
    // More than one, so that some of them lay in the handle; and what is not used goes back as it was.
    for _ in 0..3 {
        let Ok(taken) = handle.alloc(order(o)) else { break };
        assert_eq!(told(pool, taken.run().into()), model.is_cleared(taken.run().into()), "{} by a handle", taken.run());
        model.take(taken.run().into());
        runs.push(taken);
    }
    for (index, taken) in runs.into_iter().enumerate() {
        let run = Extent::from(taken.run());
        if index == 1 {
            model.held.retain(|held| *held != run);
            handle.free(taken).unwrap();
            model.leave(run, false);
        } else {
            taken.into_raw();
        }
    }
    handle.drain();
}

/// From a pool in which all is cleared, as far up as there are tables, or nothing is known; asks after every so many steps.
fn compare<const WORDS: usize>(pages: u64, cleared: bool, ops: &[Op], every: usize) {
    let ranges = [range(0, pages)];
    let params = Params::new(&ranges).tracking_clear().taking_reservations();
    let needs = PoolNeeds::of::<WORDS>(&params).unwrap();
    let mut tables: Vec<_> = (0..needs.tables).map(|_| Table::<WORDS>::new()).collect();
    let mut slots: Vec<_> = (0..needs.ranges).map(|_| RangeSlot::new()).collect();
    let pool = GenPool::with_storage(&params, &mut tables, &mut slots).unwrap();
    let mut handle = pool.local().unwrap();
    let mut model = Model { pages: vec![Page { taken: false, cleared }; pages as usize], held: vec![] };
    if cleared {
        pool.dirty_runs(Extent::ALL, Order::MAX).for_each(DirtyRun::cleared);
    }
    for (number, op) in ops.iter().enumerate() {
        step(&pool, &mut handle, &mut model, op);
        // Debug builds take their time over the questions.
        if number % every == 0 || number + 1 == ops.len() {
            let counted = (pool.avail(), pool.avail_cleared(Extent::ALL));
            assert_eq!(counted, (model.idle(|_| true), model.idle(|cleared| cleared)), "after {op:?}");
            ask(&pool, &model);
        }
    }
}

fn step<'p, const WORDS: usize>(pool: &'p GenPool<'_, WORDS>, handle: &mut LocalPool<'p, WORDS>, model: &mut Model, op: &Op) {
    match *op {
        Op::Alloc(o, number) => alloc(pool, model, o, wish(number)),
        Op::At(page, o) => {
            if pool.alloc_at(at(page), order(o)).is_ok() {
                model.take(Run::new(at(page), order(o)).unwrap().into());
            }
        }
        Op::UpTo(o, floor) => {
            if let Ok(run) = pool.alloc_up_to(order(o), order(floor)) {
                model.take(run.into());
            }
        }
        Op::Extent(length, number) => extent(pool, model, length, wish(number)),
        Op::Partition(start, length) => {
            let Some(part) = Extent::new(at(start), 1000).ok().and_then(|window| pool.partition(window)) else { return };
            if let Ok(extent) = part.alloc_extent(&ExtentParams::new(length.min(900))) {
                model.take(extent);
            }
        }
        Op::Many(o, runs, how) => {
            let mut out = vec![Offset::new(0); runs as usize];
            let done = match how {
                0 => pool.alloc_many(order(o), &mut out).map_or(0, |()| out.len()),
                1 => handle.alloc_many(order(o), &mut out).map_or(0, |()| out.len()),
                2 => pool.alloc_some(order(o), &mut out),
                _ => handle.alloc_some(order(o), &mut out),
            };
            handle.drain();
            out[..done].iter().for_each(|start| model.take(Run::new(*start, order(o)).unwrap().into()));
        }
        Op::Words(pages, room, how) => {
            let mut out = vec![PageWord::EMPTY; room];
            let words = match how {
                0 => pool.alloc_words(pages, &mut out).unwrap_or_default(),
                1 => handle.alloc_words(pages, &mut out).unwrap_or_default(),
                2 => pool.alloc_some_words(pages, &mut out),
                _ => handle.alloc_some_words(pages, &mut out),
            };
            words.iter().flat_map(|word| word.runs()).for_each(|run| model.take(run.into()));
            handle.drain();
        }
        Op::Scattered(pages, block, number) => {
            let params = ScatterParams::new(pages >> block << block).in_blocks_of(order(block)).wishing(wish(number));
            let mut out = [Run::new(at(0), order(0)).unwrap(); 12];
            match pool.alloc_scattered(&params, &mut out) {
                Ok(runs) => {
                    assert!(params.wish != Wish::Cleared || runs.iter().all(|run| model.is_cleared((*run).into())));
                    runs.iter().for_each(|run| model.take((*run).into()));
                }
                Err(ScatterError::NoneCleared) => assert!(model.idle(|cleared| cleared) < pages || block > 0),
                Err(_) => {}
            }
        }
        Op::Reserve(o, runs, commit) => {
            let mut room = vec![at(0); runs];
            if let Ok(mut reserved) = pool.reserve(order(o), &mut room) {
                for _ in 0..commit {
                    let Some(start) = reserved.commit_one() else { break };
                    model.take(Run::new(start, order(o)).unwrap().into());
                }
            }
        }
        Op::Handle(o) => by_handle(handle, pool, o, model),
        Op::Drain => handle.drain(),
        Op::Free(i, clean) => {
            let Some(extent) = model.pick(i) else { return };
            let free = if clean { GenPool::free_cleared } else { GenPool::free };
            extent.runs(Order::MAX).for_each(|run| free(pool, run.start(), run.order()).unwrap());
            model.leave(extent, clean);
        }
        Op::Part(i, page, o, clean) => {
            let Some(extent) = model.pick(i) else { return };
            let inside = page % extent.pages();
            let start = (extent.start().get() + inside) >> o << o;
            let part = Extent::new(at(start), 1 << o).ok().filter(|part| part.common(extent) == Some(*part));
            let Some(part) = part else { return model.held.push(extent) };
            let free = if clean { GenPool::free_cleared } else { GenPool::free };
            free(pool, part.start(), order(o)).unwrap();
            model.leave(part, clean);
            model.held.extend(Extent::between(extent.start(), part.start()));
            model.held.extend(Extent::between(part.end(), extent.end()));
        }
        Op::FreeAll(i, words) => {
            let Some(extent) = model.pick(i) else { return };
            if words {
                let words: Vec<_> = extent.runs(order(6 + 1)).filter_map(PageWord::of).collect();
                pool.free_words(&words).unwrap();
                let rest = extent.runs(order(6 + 1)).filter(|run| PageWord::of(*run).is_none());
                rest.for_each(|run| pool.free(run.start(), run.order()).unwrap());
            } else {
                pool.free_extent(extent).unwrap();
            }
            model.leave(extent, false);
        }
        Op::Clear(o, drops) => {
            for dirty in pool.dirty_runs(Extent::ALL, order(o)).take(3) {
                let extent = Extent::from(dirty.run());
                assert!(model.of(extent).iter().all(|page| !page.taken && !page.cleared));
                if drops {
                    drop(dirty);
                } else {
                    dirty.cleared();
                    model.pages[slice(extent)].fill(Page { taken: false, cleared: true });
                }
            }
        }
        Op::Forget(start, length) => {
            let window = Extent::new(at(start), length).unwrap();
            pool.forget_clear(window).unwrap();
            let idle = model.pages.iter_mut().enumerate().filter(|(page, it)| window.contains(at(*page as u64)) && !it.taken);
            idle.for_each(|(_, page)| page.cleared = false);
        }
        Op::Remove => {
            // The last page, so that all the others are taken before.
            let last = model.pages.len() as u64 - 1;
            let mine = pool.alloc_at(at(last), order(0)).is_ok();
            pool.remove_range(at(0)).unwrap_err();
            if mine {
                model.take(Extent::new(at(last), 1).unwrap());
            }
        }
    }
}

fn alloc<const WORDS: usize>(pool: &GenPool<'_, WORDS>, model: &mut Model, o: u32, wish: Wish) {
    match pool.alloc_wishing(order(o), wish) {
        Ok((start, contents)) => {
            let extent = Extent::new(start, 1 << o).unwrap();
            let cleared = model.is_cleared(extent);
            assert_eq!(contents == Contents::Cleared, cleared, "{extent}");
            assert!(wish != Wish::Cleared || cleared);
            assert!(wish != Wish::PreferCleared || cleared || !model.has(o, |page| page.cleared), "there was a cleared one");
            let wasted = model.of(extent).iter().any(|page| page.cleared);
            assert!(wish != Wish::DontCare || !wasted || !model.has(o, |page| !page.cleared), "there was a dirty one");
            model.take(extent);
        }
        Err(AllocError::NoneCleared) => assert!(!model.has(o, |page| page.cleared)),
        Err(_) => assert!(!model.has(o, |_| true)),
    }
}

fn extent<const WORDS: usize>(pool: &GenPool<'_, WORDS>, model: &mut Model, length: u64, wish: Wish) {
    let mode = [Mode::Simple, Mode::BottomUp(fit::best_fit), Mode::TopDown(fit::first_fit)][length as usize % 3];
    let has = |such: &dyn Fn(&Page) -> bool| {
        model.pages.windows(length as usize).any(|place| place.iter().all(|page| !page.taken && such(page)))
    };
    match pool.alloc_extent(&ExtentParams::new(length).wishing(wish).by(mode)) {
        Ok(extent) => {
            assert!(wish != Wish::Cleared || model.is_cleared(extent));
            model.take(extent);
        }
        Err(AllocExtentError::NoneCleared) => assert!(!has(&|page| page.cleared), "{length} pages are cleared"),
        Err(_) => assert!(!has(&|_| true), "{length} pages are idle"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn req_65_agrees_with_the_model_in_tables_of_one_word(cleared: bool, ops in prop::collection::vec(op(), 1..100)) {
        compare::<1>(4096, cleared, &ops, 5);
    }

    #[test]
    fn req_65_agrees_with_the_model_in_tables_of_eight_words(cleared: bool, ops in prop::collection::vec(op(), 1..100)) {
        compare::<8>(5000, cleared, &ops, 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn req_46_wishes_agree_with_the_model_in_tables_of_one_word(ops in prop::collection::vec(wishes(), 1..150)) {
        compare::<1>(4096, false, &ops, 50);
    }

    #[test]
    fn req_46_wishes_agree_with_the_model_in_tables_of_eight_words(ops in prop::collection::vec(wishes(), 1..150)) {
        compare::<8>(5000, false, &ops, 50);
    }
}
