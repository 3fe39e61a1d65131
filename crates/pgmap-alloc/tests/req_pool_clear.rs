//! Requirement 46: which idle pages are cleared; against a slow model: `req_pool_clear_model`.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pgmap_alloc::{
    AfterFree, AllocError, AllocExtentError, Contents, DirtyRun, Extent, ExtentParams, FreeError, Freed, GenPool, Lookup, Mode,
    PageWord, Params, Pgmap, PgmapOps, PoolNeeds, Removal, Retirement, Run, ScatterError, ScatterParams, Wish, fit,
};
use support::{EndOnPanic, Random, at, clear_pool as pool, order, range, window};

#[test]
fn req_46_unknown_is_dirty_and_a_pool_that_does_not_track_knows_nothing() {
    for params in [Params::new(&[range(0, 4096)]), Params::new(&[range(0, 4096)]).tracking_clear()] {
        let pool = GenPool::new(&params).unwrap();
        assert_eq!(pool.alloc_wishing(order(3), Wish::PreferCleared).unwrap().1, Contents::Dirty);
        assert_eq!(pool.alloc_wishing(order(3), Wish::Cleared), Err(AllocError::NoneCleared));
        assert_eq!(pool.alloc_wishing(order(13), Wish::Cleared), Err(AllocError::TooLarge));
        assert_eq!(pool.avail_cleared(Extent::ALL), 0);
    }
    let silent = GenPool::new(&Params::new(&[range(0, 512)])).unwrap();
    silent.alloc(order(9)).unwrap();
    silent.free_cleared(at(0), order(9)).unwrap();
    assert_eq!(silent.avail_cleared(Extent::ALL), 0);
    let needs = |params: &Params<'_>| PoolNeeds::of::<8>(params).unwrap().tables;
    let ranges = [range(0, 1 << 20)];
    assert!(needs(&Params::new(&ranges)) < needs(&Params::new(&ranges).tracking_clear()), "what is not asked for costs nothing");
}

#[test]
fn req_46_cleared_and_dirty_neighbours_merge_and_keep_what_they_were() {
    let pool = pool(1 << 18);
    let whole = pool.largest_order();
    pool.alloc(whole).unwrap();
    // Every other 2 MiB comes back cleared, and the large run is whole again.
    for start in (0..1u64 << 18).step_by(512) {
        let free = if start % 1024 == 0 { GenPool::free_cleared } else { GenPool::free };
        free(&pool, at(start), order(9)).unwrap();
    }
    assert_eq!(pool.avail_cleared(Extent::ALL), 1 << 17);
    let (start, contents) = pool.alloc_wishing(whole, Wish::PreferCleared).unwrap();
    assert_eq!(contents, Contents::Dirty, "not all of it is cleared");
    // Nobody used it: what it was is still known when half of it comes back as it was.
    pool.free_cleared(start, order(17)).unwrap();
    pool.free(at(1 << 17), order(17)).unwrap();
    assert_eq!(pool.avail_cleared(Extent::ALL), 1 << 17);
    assert_eq!(pool.alloc_wishing(order(17), Wish::Cleared), Ok((at(0), Contents::Cleared)));
    assert_eq!(pool.alloc_wishing(order(0), Wish::Cleared), Err(AllocError::NoneCleared));
}

#[test]
fn req_46_a_cleared_run_is_found_inside_a_mixed_one() {
    let pool = pool(1 << 18);
    pool.alloc(order(18)).unwrap();
    pool.free_cleared(at(77 * 512 + 64), order(6)).unwrap();
    for extent in [(0, 77 * 512 + 64), (77 * 512 + 128, 1 << 18)] {
        pool.free_extent(Extent::between(at(extent.0), at(extent.1)).unwrap()).unwrap();
    }
    assert_eq!(pool.alloc_wishing(order(7), Wish::Cleared), Err(AllocError::NoneCleared));
    assert_eq!(pool.alloc_wishing(order(5), Wish::PreferCleared), Ok((at(77 * 512 + 64), Contents::Cleared)));
    assert_eq!(pool.alloc_wishing(order(5), Wish::Cleared), Ok((at(77 * 512 + 96), Contents::Cleared)));
    assert_eq!(pool.avail_cleared(Extent::ALL), 0);
}

#[test]
fn req_46_a_background_clearer_takes_dirty_runs_and_gives_them_back_clean() {
    let pool = pool(5000);
    let taken = pool.alloc(order(7)).unwrap();
    let mut pages = 0;
    for dirty in pool.dirty_runs(Extent::ALL, order(8)) {
        assert!(!pool.is_idle(dirty.run().start()), "nobody else can have it meanwhile");
        assert!(dirty.run().order() <= order(8));
        pages += dirty.run().pages();
        dirty.cleared();
    }
    assert_eq!((pages, pool.avail_cleared(Extent::ALL)), (5000 - 128, 5000 - 128));
    assert!(pool.dirty_runs(Extent::ALL, order(8)).next().is_none());
    // One that is dropped stays dirty, and is idle.
    pool.free(taken, order(7)).unwrap();
    drop(pool.dirty_runs(Extent::ALL, order(8)).next().unwrap());
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (5000, 4872));
    // After a reset nothing is known; a window forgets only itself.
    pool.forget_clear(Extent::between(at(4000), at(4100)).unwrap()).unwrap();
    assert_eq!(pool.avail_cleared(Extent::ALL), 4772);
    pool.forget_clear(Extent::ALL).unwrap();
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (5000, 0));
    assert_eq!(pool.alloc_wishing(order(12), Wish::DontCare), Ok((at(0), Contents::Dirty)));
}

#[test]
fn req_46_a_handle_leaves_nothing_that_only_looks_cleared() {
    let pool = pool(512 * 4);
    // All cleared, page by page, so that the notes of every table say so; then merged, taken as a whole, and left dirty.
    pool.alloc(order(11)).unwrap();
    (0..2048).for_each(|page| pool.free_cleared(at(page), order(0)).unwrap());
    pool.alloc(order(11)).unwrap();
    pool.free(at(0), order(11)).unwrap();
    assert_eq!(pool.avail_cleared(Extent::ALL), 0);
    // A handle splits a table for itself and works in it.
    let mut handle = pool.local().unwrap();
    let runs: Vec<_> = (0..40).map(|_| handle.alloc(order(0)).unwrap()).collect();
    assert_eq!(pool.avail_cleared(Extent::ALL), 0);
    runs.into_iter().for_each(|run| handle.free(run).unwrap());
    drop(handle);
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (2048, 0));
}

/// A pool in which everything is cleared.
fn all_cleared(pages: u64) -> GenPool<'static> {
    let pool = GenPool::new(&Params::new(&[range(0, pages)]).tracking_clear().taking_reservations()).unwrap();
    for run in window(0, pages).runs(pool.largest_order()) {
        pool.alloc_at(run.start(), run.order()).unwrap();
        pool.free_cleared(run.start(), run.order()).unwrap();
    }
    assert_eq!(pool.avail_cleared(Extent::ALL), pages);
    pool
}

#[test]
fn req_46_what_a_handle_fetched_and_did_not_use_is_as_it_was() {
    let pool = all_cleared(512 * 4);
    let mut handle = pool.local().unwrap();
    // One page is used; many more are fetched with it.
    let page = handle.alloc(order(0)).unwrap();
    assert!(handle.cached() > 0);
    handle.free(page).unwrap();
    handle.drain();
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (2048, 2047), "the one that was used");
    // The same when the stack runs over, and at other orders.
    let mut taken: Vec<_> = (0..100).map(|_| handle.alloc(order(0)).unwrap()).collect();
    taken.extend((1..9).map(|o| handle.alloc(order(o)).unwrap()));
    let used: u64 = taken.iter().map(|run| run.run().pages()).sum();
    taken.into_iter().for_each(|run| handle.free(run).unwrap());
    drop(handle);
    let cleared = pool.avail_cleared(Extent::ALL);
    assert_eq!(pool.avail(), 2048);
    assert!((2047 - used..=2048 - used).contains(&cleared), "{cleared} of {}: {used} were used", 2048 - used);
}

#[test]
fn req_46_what_is_forgotten_while_a_handle_has_it_is_dirty() {
    let pool = all_cleared(512 * 4);
    let mut handle = pool.local().unwrap();
    let page = handle.alloc(order(0)).unwrap();
    let cached = handle.cached();
    assert!(cached > 0);
    pool.forget_clear(Extent::ALL).unwrap();
    handle.free(page).unwrap();
    handle.drain();
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (2048, 0));
    // Cleared anew since: what was fetched before is given back before more is fetched.
    let page = handle.alloc(order(0)).unwrap();
    pool.forget_clear(Extent::ALL).unwrap();
    pool.dirty_runs(Extent::ALL, order(9)).for_each(DirtyRun::cleared);
    let cleared = pool.avail_cleared(Extent::ALL);
    let more = handle.alloc(order(3)).unwrap();
    handle.free(more).unwrap();
    handle.free(page).unwrap();
    drop(handle);
    assert_eq!(pool.avail(), 2048);
    assert!(pool.avail_cleared(Extent::ALL) <= cleared, "nothing is cleared that nobody has cleared");
}

#[test]
fn req_46_what_is_forgotten_while_a_reservation_holds_it_is_dirty() {
    let pool = all_cleared(1024);
    let mut room = [at(0); 4];
    drop(pool.reserve(order(3), &mut room).unwrap());
    assert_eq!(pool.avail_cleared(Extent::ALL), 1024, "not used, so as it was");
    let mut reserved = pool.reserve(order(3), &mut room).unwrap();
    let committed = reserved.commit_one().unwrap();
    pool.forget_clear(Extent::ALL).unwrap();
    drop(reserved);
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (1016, 0));
    // The owner knows best what his pages hold.
    pool.free_cleared(committed, order(3)).unwrap();
    assert_eq!(pool.avail_cleared(Extent::ALL), 8);
    // A clearer's run is his too, until he drops it.
    let dirty = pool.dirty_runs(Extent::ALL, order(3)).next().unwrap();
    pool.forget_clear(Extent::ALL).unwrap();
    dirty.cleared();
    assert_eq!(pool.avail_cleared(Extent::ALL), 8);
}

#[test]
fn req_46_nothing_is_cleared_after_it_was_forgotten_whatever_others_do() {
    // Nobody ever clears a page again: so once forgetting has succeeded, nobody may get one.
    for round in 0..30 {
        let (busy, forgotten) = (AtomicU64::new(2), AtomicBool::new(false));
        let pool = all_cleared(1 << 12);
        std::thread::scope(|threads| {
            for seed in 0..2 {
                let (pool, busy, forgotten) = (&pool, &busy, &forgotten);
                threads.spawn(move || {
                    let _end = EndOnPanic;
                    let mut random = Random::new(2 * round + seed);
                    (0..100).for_each(|_| use_a_little(pool, &mut random, forgotten));
                    busy.fetch_sub(1, Ordering::SeqCst);
                });
            }
            while busy.load(Ordering::SeqCst) > 0 {
                if pool.forget_clear(Extent::ALL).is_ok() {
                    forgotten.store(true, Ordering::SeqCst);
                }
                std::thread::yield_now();
            }
        });
        pool.forget_clear(Extent::ALL).unwrap();
        assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (1 << 12, 0));
    }
}

/// Takes pages in some way and gives them back, most often unused.
fn use_a_little(pool: &GenPool<'_>, random: &mut Random, forgotten: &AtomicBool) {
    let forgotten = forgotten.load(Ordering::SeqCst);
    match random.below(7) {
        0 => drop(pool.reserve(order(random.below(10) as u32), &mut [at(0); 3])),
        1 => {
            let mut short = [Run::new(at(0), order(0)).unwrap(); 4];
            assert!(pool.alloc_scattered(&ScatterParams::new((1 << 10) - 1), &mut short).is_err());
        }
        2 => {
            let mut handle = pool.local().unwrap();
            // Refused while the other tries to have all.
            if let Ok(run) = handle.alloc(order(0)) {
                handle.free(run).unwrap();
            }
        }
        3 => {
            let refused = pool.alloc_many(order(random.below(8) as u32), &mut vec![at(0); (1 << 12) + 1]);
            assert!(refused.is_err(), "there are not so many");
        }
        4 => {
            let mut short = [PageWord::EMPTY; 9];
            assert!(pool.alloc_words(1 << 12, &mut short).is_err(), "they do not fit");
        }
        5 => {
            let extent = pool.alloc_extent(&ExtentParams::new(1 + random.below(300)));
            extent.into_iter().for_each(|extent| pool.free_extent(extent).unwrap());
        }
        _ => {
            let o = order(random.below(10) as u32);
            if let Ok((start, contents)) = pool.alloc_wishing(o, Wish::PreferCleared) {
                assert!(!forgotten || contents == Contents::Dirty, "{start}+2^{o} was forgotten");
                pool.free(start, o).unwrap();
            }
        }
    }
    std::thread::yield_now();
}

#[test]
fn req_46_who_does_not_care_leaves_what_is_cleared_to_those_who_do() {
    let pool = pool(1024);
    pool.alloc(order(10)).unwrap();
    (0..1024).for_each(|page| {
        let free = if page % 128 < 64 { GenPool::free_cleared } else { GenPool::free };
        free(&pool, at(page), order(0)).unwrap();
    });
    for _ in 0..512 / 16 {
        assert_eq!(pool.alloc_wishing(order(4), Wish::DontCare).unwrap().1, Contents::Dirty);
    }
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (512, 512), "not one cleared page was wasted");
    // Then he takes those: a wish is no reason to refuse him.
    assert_eq!(pool.alloc_wishing(order(4), Wish::DontCare).unwrap().1, Contents::Cleared);
    // What comes back dirty is what he gets next.
    let dirty = (0..1024).map(at).find(|page| !pool.is_idle(*page) && page.get() % 128 >= 64).unwrap();
    pool.free(dirty, order(0)).unwrap();
    assert_eq!(pool.alloc_wishing(order(0), Wish::DontCare), Ok((dirty, Contents::Dirty)));
}

/// 1024 pages of which those before 100, from 300 to 400 and from 700 to 900 are cleared.
fn partly_cleared() -> GenPool<'static> {
    let pool = pool(1024);
    pool.alloc(order(10)).unwrap();
    for (start, end, clean) in
        [(0, 100, true), (100, 300, false), (300, 400, true), (400, 700, false), (700, 900, true), (900, 1024, false)]
    {
        let free = if clean { GenPool::free_cleared } else { GenPool::free };
        window(start, end).runs(order(10)).for_each(|run| free(&pool, run.start(), run.order()).unwrap());
    }
    assert_eq!(pool.avail_cleared(Extent::ALL), 400);
    pool
}

#[test]
fn req_46_contiguous_pages_can_be_wished_for_too_and_say_what_they_hold() {
    let pool = partly_cleared();
    let ask = |params: ExtentParams| pool.alloc_extent(&params).map(|extent| (extent, pool.contents_of(extent)));
    let cleared = |extent| Ok((extent, Contents::Cleared));
    let (low, high) = (Mode::BottomUp(fit::first_fit_align), Mode::TopDown(fit::first_fit_align));
    // All is one gap: the cleared part of it counts, from either end, by the best fit, in a window, aligned.
    assert_eq!(ask(ExtentParams::new(90).wishing(Wish::Cleared).by(low)), cleared(window(0, 90)));
    assert_eq!(ask(ExtentParams::new(90).wishing(Wish::Cleared).by(high)), cleared(window(810, 900)));
    assert_eq!(ask(ExtentParams::new(90).wishing(Wish::Cleared).by(Mode::BottomUp(fit::best_fit))), cleared(window(300, 390)));
    let inside = ExtentParams::new(20).within(window(650, 750)).aligned(16);
    assert_eq!(ask(inside.wishing(Wish::Cleared).by(low)), cleared(window(704, 724)));
    assert_eq!(ask(inside.wishing(Wish::Cleared).by(high)), Err(AllocExtentError::NoneCleared), "736 to 756 is not all inside");
    // 86 pages are left side by side: who insists is refused, who prefers gets others.
    let (left, before) = (pool.avail_cleared(Extent::ALL), pool.avail());
    assert_eq!(ask(ExtentParams::new(120).wishing(Wish::Cleared)), Err(AllocExtentError::NoneCleared));
    assert_eq!((pool.avail_cleared(Extent::ALL), pool.avail()), (left, before));
    let (extent, contents) = ask(ExtentParams::new(120).wishing(Wish::PreferCleared)).unwrap();
    assert_eq!((extent.pages(), contents), (120, Contents::Dirty));
    assert_eq!(ask(ExtentParams::new(30).wishing(Wish::PreferCleared)).unwrap().1, Contents::Cleared);
    // A pool that does not remember has nothing to offer, and nobody is kept waiting.
    let silent = support::pool(1024);
    assert_eq!(silent.alloc_extent(&ExtentParams::new(5).wishing(Wish::Cleared)), Err(AllocExtentError::NoneCleared));
    let any = silent.alloc_extent(&ExtentParams::new(5).wishing(Wish::PreferCleared)).unwrap();
    assert_eq!(silent.contents_of(any), Contents::Dirty);
}

#[test]
fn req_46_scattered_pages_can_be_wished_for_too() {
    let pool = partly_cleared();
    let mut out = [Run::new(at(0), order(0)).unwrap(); 64];
    let whole = |run: &Run| pool.contents_of((*run).into()) == Contents::Cleared;
    // All that is cleared, and not a page more.
    let all = ScatterParams::new(400).wishing(Wish::Cleared);
    let runs = pool.alloc_scattered(&all, &mut out).unwrap();
    assert!(runs.iter().all(whole));
    runs.to_vec().iter().for_each(|run| pool.free_cleared(run.start(), run.order()).unwrap());
    let none = pool.alloc_scattered(&ScatterParams::new(401).wishing(Wish::Cleared), &mut out);
    assert_eq!((none, pool.avail(), pool.avail_cleared(Extent::ALL)), (Err(ScatterError::NoneCleared), 1024, 400));
    let large = pool.alloc_scattered(&ScatterParams::new(256).in_blocks_of(order(7)).wishing(Wish::Cleared), &mut out);
    assert_eq!(large, Err(ScatterError::NoneCleared), "there is one run of 128");
    // Who prefers them gets the same sizes as anybody, cleared ones first.
    let runs =
        pool.alloc_scattered(&ScatterParams::new(256).in_blocks_of(order(6)).wishing(Wish::PreferCleared), &mut out).unwrap();
    assert_eq!(runs.iter().map(|run| run.order().get()).collect::<Vec<_>>(), [8]);
    let runs = pool.alloc_scattered(&ScatterParams::new(64).wishing(Wish::PreferCleared), &mut out).unwrap();
    assert!(runs.len() == 1 && whole(&runs[0]), "{runs:?}");
}

#[test]
fn req_46_blocks_say_what_they_hold() {
    let pgmap = pgmap(2048);
    pgmap.alloc_block(order(9)).unwrap().release_cleared();
    let ask = ExtentParams::new(300).wishing(Wish::PreferCleared);
    let blocks: Vec<_> = pgmap.alloc_extent(&ask).unwrap().collect();
    assert!(blocks.iter().all(|block| block.contents() == Contents::Cleared));
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 212);
    drop(blocks);
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 212, "given back without a word, so dirty");
}

/// A driver that clears a folio before it lets it go if its data says so.
struct Clearing;

impl PgmapOps for Clearing {
    type Data = u32;

    fn folio_free(&self, folio: Freed<u32>) -> AfterFree {
        if folio.data == 1 { AfterFree::ReleaseCleared } else { AfterFree::ByType }
    }
}

fn pgmap(pages: u64) -> Pgmap<'static, Clearing> {
    Pgmap::new(&Params::new(&[range(0, pages)]).tracking_clear(), Clearing).unwrap()
}

#[test]
fn req_46_folio_free_says_what_it_leaves() {
    let pgmap = pgmap(2048);
    let (folio, contents) = pgmap.alloc_folio_wishing(order(9), Wish::PreferCleared, 1).unwrap();
    assert_eq!(contents, Contents::Dirty);
    let head = folio.offset();
    drop(folio);
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 512);
    let (folio, contents) = pgmap.alloc_folio_wishing(order(9), Wish::Cleared, 0).unwrap();
    assert_eq!((folio.offset(), contents), (head, Contents::Cleared));
    assert_eq!(pgmap.alloc_folio_wishing(order(0), Wish::Cleared, 0).unwrap_err(), AllocError::NoneCleared);
    drop(folio);
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 0, "left dirty");
    // The background clearer has its pages as blocks; one that he drops stays dirty.
    let mut blocks = pgmap.dirty_blocks(Extent::ALL, order(8));
    drop(blocks.next().unwrap());
    blocks.next().unwrap().release_cleared();
    drop(blocks);
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 256);
    pgmap.forget_clear(Extent::ALL).unwrap();
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 0);
    assert_eq!(pgmap.validate().unwrap().idle, 2048);
    // A page that goes bad while the clearer has it is retired when he gives it back.
    let block = pgmap.dirty_blocks(Extent::ALL, order(8)).next().unwrap();
    assert_eq!(pgmap.retire(block.offset()), Ok(Retirement::Pending));
    block.release_cleared();
    assert_eq!((pgmap.retired().count(), pgmap.avail_cleared(Extent::ALL)), (1, 255));
    assert_eq!(pgmap.validate().unwrap().idle, 2047);
    pgmap.kill();
    assert!(pgmap.dirty_blocks(Extent::ALL, order(8)).next().is_none());
    assert_eq!(pgmap.alloc_folio_wishing(order(0), Wish::DontCare, 0).unwrap_err(), AllocError::Dying);
}

#[test]
fn req_46_folios_that_a_handle_puts_keep_what_folio_free_said() {
    let pgmap = pgmap(2048);
    let mut handle = pgmap.local().unwrap();
    let cleared = handle.alloc_folio_with(order(3), 1).unwrap();
    let dirty = handle.alloc_folio_with(order(3), 0).unwrap();
    let head = cleared.offset();
    handle.put(cleared).unwrap();
    handle.put(dirty).unwrap();
    drop(handle);
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 8);
    assert_eq!(pgmap.alloc_folio_wishing(order(3), Wish::Cleared, 0).unwrap().0.offset(), head);
    // The same with a handle on the bare pool: the run leaves the type, and says what it holds.
    let pool = pool(2048);
    let mut handle = pool.local().unwrap();
    let run = handle.alloc(order(2)).unwrap().into_raw();
    pool.free_cleared(run.start(), run.order()).unwrap();
    drop(handle);
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (2048, 4));
}

/// What an idle page holds is not forgotten because somebody frees it by mistake.
#[test]
fn req_46_a_refused_free_leaves_the_clear_state_as_it_was() {
    let pool = pool(64);
    let page = pool.alloc(order(0)).unwrap();
    pool.alloc(order(0)).unwrap();
    pool.free_cleared(page, order(0)).unwrap();
    let before = pool.avail_cleared(Extent::ALL);
    assert!(before > 0);
    assert_eq!(pool.free(page, order(0)), Err(FreeError::DoubleFree { page }));
    assert_eq!(pool.avail_cleared(Extent::ALL), before);
}

/// What parts of a taken run hold, at every size.
fn parts(pool: &GenPool<'_>, run: Extent) -> Vec<(Extent, Contents)> {
    let sizes = (0..run.pages().ilog2()).flat_map(|o| (0..run.pages() >> o).map(move |part| (part << o, 1 << o)));
    let crooked = [(1, 2), (3, 61), (63, 2), (100, 29)].into_iter().filter(|(start, pages)| start + pages <= run.pages());
    let parts = sizes.chain(crooked).map(|(start, pages)| Extent::new(at(run.start().get() + start), pages).unwrap());
    parts.map(|part| (part, pool.contents_of(part))).collect()
}

/// Requirement 65: unknown is dirty at every size.
#[test]
fn req_65_parts_of_a_dirty_run_are_dirty_at_every_size() {
    let pool = pool(2048);
    // Cleared page by page, then used as a whole and given back dirty.
    pool.alloc_at(at(0), order(9)).unwrap();
    (0..512).for_each(|page| pool.free_cleared(at(page), order(0)).unwrap());
    pool.alloc_at(at(0), order(9)).unwrap();
    pool.free(at(0), order(9)).unwrap();
    pool.alloc_at(at(0), order(9)).unwrap();
    assert!(parts(&pool, window(0, 512)).iter().all(|(_, contents)| *contents == Contents::Dirty));
    // The other way round: cleared as a whole, so cleared in every part.
    pool.free_cleared(at(0), order(9)).unwrap();
    pool.alloc_at(at(0), order(9)).unwrap();
    assert!(parts(&pool, window(0, 512)).iter().all(|(_, contents)| *contents == Contents::Cleared));
    // What comes back in part changes nothing of the rest, whoever has either.
    pool.free(at(64), order(6)).unwrap();
    assert_eq!(pool.contents_of(window(0, 64)), Contents::Cleared);
    assert_eq!(pool.contents_of(window(128, 512)), Contents::Cleared);
    pool.alloc_at(at(64), order(6)).unwrap();
    for (part, contents) in parts(&pool, window(0, 512)) {
        let dirty = part.common(window(64, 128)).is_some();
        assert_eq!(contents, if dirty { Contents::Dirty } else { Contents::Cleared }, "{part}");
    }
}

#[test]
fn req_65_parts_of_a_block_hold_what_the_block_held() {
    let pgmap = pgmap(2048);
    let whole = || pgmap.request_block(at(0), order(9)).unwrap();
    whole().split(order(0)).for_each(pgmap_alloc::Block::release_cleared);
    drop(whole());
    assert!(whole().split(order(8)).all(|half| half.contents() == Contents::Dirty));
    whole().release_cleared();
    // The kept part of a trimmed block, and the halves of a block of which one has gone already.
    let block = whole();
    assert!(block.trim(100).all(|kept| kept.contents() == Contents::Cleared));
    whole().release_cleared();
    let mut halves = whole().split(order(8));
    let (low, high) = (halves.next().unwrap(), halves.next().unwrap());
    drop(low);
    assert_eq!(high.contents(), Contents::Cleared);
    assert_eq!(high.split(order(7)).map(|part| part.contents()).collect::<Vec<_>>(), [Contents::Cleared; 2]);
}

/// Requirement 64: a refused call leaves what pages hold as it was.
#[test]
fn req_64_a_refused_bulk_call_forgets_nothing() {
    for (o, runs) in [(0, 65), (4, 5), (6, 2)] {
        let mut out = vec![at(0); runs];
        let pool = all_cleared(64);
        pool.alloc_many(order(o), &mut out).unwrap_err();
        assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (64, 64), "order {o}");
        let mut handle = pool.local().unwrap();
        handle.alloc_many(order(o), &mut out).unwrap_err();
        drop(handle);
        assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (64, 64), "order {o}, by a handle");
    }
    for (pages, room) in [(4096, 10), (700, 10), (70, 1)] {
        let mut out = vec![PageWord::EMPTY; room];
        let pool = all_cleared(4096);
        pool.alloc_words(pages, &mut out).unwrap_err();
        assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (4096, 4096), "{pages} pages");
        let mut handle = pool.local().unwrap();
        handle.alloc_words(pages, &mut out).unwrap_err();
        drop(handle);
        assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (4096, 4096), "{pages} pages, by a handle");
    }
}

/// A pgmap in which everything is cleared.
fn cleared_pgmap(pages: u64) -> Pgmap<'static, Clearing> {
    let pgmap = pgmap(pages);
    pgmap.dirty_blocks(Extent::ALL, order(20)).for_each(pgmap_alloc::Block::release_cleared);
    assert_eq!(pgmap.avail_cleared(Extent::ALL), pages);
    pgmap
}

#[test]
fn req_64_a_range_that_is_opened_again_holds_what_it_held() {
    let pgmap = cleared_pgmap(2048);
    // Two of its pages are dirty, one of them taken while the range closes.
    let taken = pgmap.request_block(at(77), order(0)).unwrap();
    drop(pgmap.request_block(at(1000), order(0)).unwrap());
    let closed = pgmap.close_range(at(0)).unwrap();
    let Removal::Waiting(closed, _) = closed.poll_removal() else { panic!("a page is taken") };
    drop(taken);
    drop(closed);
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 2046);
    // What is forgotten meanwhile is dirty.
    let taken = pgmap.request_block(at(77), order(0)).unwrap();
    let Removal::Waiting(closed, _) = pgmap.close_range(at(0)).unwrap().poll_removal() else { panic!("a page is taken") };
    pgmap.forget_clear(Extent::ALL).unwrap();
    drop((closed, taken));
    assert_eq!((pgmap.avail_cleared(Extent::ALL), pgmap.validate().unwrap().idle), (0, 2048));
    // The pool's own removal, given up in the middle.
    let pool = all_cleared(2048 + 64);
    pool.alloc_at(at(2100), order(0)).unwrap();
    pool.remove_range(at(0)).unwrap_err();
    assert_eq!(pool.avail_cleared(Extent::ALL), 2048 + 63);
}

#[test]
fn req_64_a_run_that_does_not_enter_service_holds_what_it_held() {
    let pgmap = cleared_pgmap(2048);
    let mut handle = pgmap.local().unwrap();
    // One of the runs that lie in the handle goes bad, so it is passed over, and its other pages are as they were.
    let folio = handle.alloc_folio(order(3)).unwrap();
    let mut after = (folio.offset().get() + 8..2048).map(at);
    let bad = after.find(|page| matches!(pgmap.lookup(*page), Ok(Lookup::Block))).unwrap();
    assert_eq!(pgmap.retire(bad), Ok(Retirement::Pending));
    let all: Vec<_> = (0..3).map(|_| handle.alloc_folio(order(3)).unwrap()).collect();
    assert_eq!(pgmap.retired().collect::<Vec<_>>(), [bad]);
    drop((handle, folio, all));
    assert_eq!(pgmap.avail_cleared(Extent::ALL), 2048 - 32 - 1);
}

/// What a handle has fetched is idle for everybody: forgotten like all else, before somebody gets it.
#[test]
fn req_65_a_handle_hands_out_nothing_as_cleared_that_was_forgotten_meanwhile() {
    for o in [0, 3] {
        let pool = all_cleared(512 * 4);
        let mut handle = pool.local().unwrap();
        let first = handle.alloc(order(o)).unwrap();
        assert_eq!(pool.contents_of(first.run().into()), Contents::Cleared);
        assert!(handle.cached() > 0);
        pool.forget_clear(Extent::ALL).unwrap();
        let second = handle.alloc(order(o)).unwrap();
        assert_eq!(pool.contents_of(second.run().into()), Contents::Dirty);
    }
}

/// As far up as tables go: what stands above a part may be three levels up, and what stands below a whole three levels down.
#[test]
fn req_65_what_is_above_and_below_is_right_over_all_levels() {
    // Tables of 64 entries: four levels, and the one on top.
    let (pages, whole) = (1u64 << 24, order(24));
    let pool = GenPool::<1>::boxed(&Params::new(&[range(0, pages)]).tracking_clear()).unwrap();
    let holds = |start: u64, pages: u64| pool.contents_of(Extent::new(at(start), pages).unwrap());
    pool.alloc(whole).unwrap();
    pool.free_cleared(at(0), whole).unwrap();
    assert_eq!(pool.avail_cleared(Extent::ALL), pages);
    // A page, alone: all entries around it are split.
    pool.alloc_at(at(77), order(0)).unwrap();
    assert_eq!(holds(77, 1), Contents::Cleared);
    pool.free(at(77), order(0)).unwrap();
    assert_eq!(pool.avail_cleared(Extent::ALL), pages - 1);
    // The whole is merged again, and knows that it is not all one; each part still says what it holds.
    assert_eq!(pool.alloc(whole), Ok(at(0)));
    let parts = [(0, pages), (0, 1 << 18), (64, 64), (77, 1), (76, 2)];
    assert!(parts.iter().all(|(start, pages)| holds(*start, *pages) == Contents::Dirty));
    let others = [(0, 77), (78, 1), (128, 64), (1 << 12, 1 << 12), (1 << 18, 1 << 18), (78, pages - 78)];
    assert!(others.iter().all(|(start, pages)| holds(*start, *pages) == Contents::Cleared));
    // What comes back as a whole leaves nothing of that behind, at any level.
    pool.free(at(0), whole).unwrap();
    assert_eq!(pool.alloc(whole), Ok(at(0)));
    assert!(parts.iter().chain(&others).all(|(start, pages)| holds(*start, *pages) == Contents::Dirty));
    pool.free_cleared(at(77), order(0)).unwrap();
    assert_eq!(pool.avail_cleared(Extent::ALL), 1);
    // The owner takes it back, and frees the whole: it had noted a part below.
    pool.alloc_at(at(77), order(0)).unwrap();
    pool.free_cleared(at(0), whole).unwrap();
    assert_eq!(
        (pool.avail_cleared(Extent::ALL), pool.alloc_wishing(whole, Wish::Cleared)),
        (pages, Ok((at(0), Contents::Cleared)))
    );
    assert_eq!(holds(77, 1), Contents::Cleared);
}

/// What comes back in parts, all of it cleared or all of it dirty in the end, is found as the whole that it is.
#[test]
fn req_46_what_was_cleared_in_parts_is_found_as_a_whole() {
    // Whichever of the two an allocation without a wish would take.
    for (clean, other) in [(0, 512), (512, 0)] {
        let pool = pool(1024);
        let whole = |start| pool.alloc_at(at(start), order(9)).unwrap();
        let is_found = || {
            assert_eq!(pool.alloc_wishing(order(9), Wish::PreferCleared), Ok((at(clean), Contents::Cleared)));
            pool.free_cleared(at(clean), order(9)).unwrap();
        };
        let dirty_page = || {
            pool.alloc_at(at(clean + 7), order(0)).unwrap();
            pool.free(at(clean + 7), order(0)).unwrap();
        };
        pool.alloc(order(10)).unwrap();
        pool.free(at(other), order(9)).unwrap();
        (clean..clean + 256).for_each(|page| pool.free_cleared(at(page), order(0)).unwrap());
        // There is none at first, and that is remembered until the last page is back.
        assert_eq!(pool.alloc_wishing(order(9), Wish::PreferCleared), Ok((at(other), Contents::Dirty)));
        pool.free(at(other), order(9)).unwrap();
        (clean + 256..clean + 512).for_each(|page| pool.free_cleared(at(page), order(0)).unwrap());
        is_found();
        // A page is dirty for a while: cleared with others, and with all.
        dirty_page();
        whole(clean);
        pool.free_cleared(at(clean), order(3)).unwrap();
        (clean + 8..clean + 512).for_each(|page| pool.free_cleared(at(page), order(0)).unwrap());
        is_found();
        dirty_page();
        whole(clean);
        pool.free_cleared(at(clean), order(9)).unwrap();
        is_found();
    }
}

#[test]
fn req_46_what_a_handle_gives_back_unused_can_be_wished_for_again() {
    let pool = all_cleared(1024);
    let mut handle = pool.local().unwrap();
    let mut taken = vec![handle.alloc(order(0)).unwrap().into_raw().start()];
    while let Ok((page, _)) = pool.alloc_wishing(order(0), Wish::Cleared) {
        taken.push(page);
    }
    pool.free(taken.pop().unwrap(), order(0)).unwrap();
    assert_eq!(pool.alloc_wishing(order(0), Wish::PreferCleared).unwrap().1, Contents::Dirty);
    // Holes that an allocation without a wish would fill first.
    taken.iter().step_by(2).take(40).for_each(|page| pool.free(*page, order(0)).unwrap());
    let cached = handle.cached();
    assert!(cached > 0);
    handle.drain();
    assert!((0..cached).all(|_| pool.alloc_wishing(order(0), Wish::PreferCleared).unwrap().1 == Contents::Cleared));
}

#[test]
fn req_46_a_wish_is_granted_from_the_table_of_a_handle_if_nowhere_else() {
    let pool = all_cleared(1024);
    let mut handle = pool.local().unwrap();
    let mine = handle.alloc(order(0)).unwrap();
    let other = at(if mine.offset().get() < 512 { 512 } else { 0 });
    pool.alloc_at(other, order(9)).unwrap();
    pool.free(other, order(9)).unwrap();
    assert_eq!(pool.alloc_wishing(order(0), Wish::PreferCleared).unwrap().1, Contents::Cleared);
    handle.free(mine).unwrap();
}

#[test]
fn req_46_a_wish_comes_round_to_where_it_has_been() {
    // Tables of 64 entries, sixteen of them on the middle level.
    let pool = GenPool::<1>::boxed(&Params::new(&[range(0, 1 << 16)]).tracking_clear()).unwrap();
    for start in [5 << 12, 1 << 12] {
        pool.alloc_at(at(start), order(6)).unwrap();
        pool.free_cleared(at(start), order(6)).unwrap();
        for page in 0..64 {
            assert_eq!(pool.alloc_wishing(order(0), Wish::PreferCleared), Ok((at(start + page), Contents::Cleared)));
        }
    }
    assert_eq!(pool.alloc_wishing(order(0), Wish::PreferCleared).unwrap().1, Contents::Dirty);
}

#[test]
fn req_46_a_run_of_several_words_is_cleared_in_each_of_them() {
    let pool = pool(1024);
    pool.alloc(order(10)).unwrap();
    pool.free_cleared(at(768), order(7)).unwrap();
    // The last to come back, and its first half is cleared.
    pool.free_cleared(at(0), order(6)).unwrap();
    pool.free(at(64), order(6)).unwrap();
    assert_eq!(pool.alloc_wishing(order(7), Wish::PreferCleared), Ok((at(768), Contents::Cleared)));
}

#[test]
fn req_46_a_part_of_what_came_back_a_moment_ago_can_be_wished_for() {
    let pool = pool(1024);
    pool.alloc(order(10)).unwrap();
    pool.free(at(700), order(1)).unwrap();
    // The table is in use, and listed for a page at most.
    pool.free(at(100), order(0)).unwrap();
    pool.alloc_at(at(100), order(0)).unwrap();
    // In the caller's places, of which those of the order that is asked for alone are looked at first.
    pool.free_cleared(at(0), order(3)).unwrap();
    assert_eq!(pool.alloc_wishing(order(1), Wish::PreferCleared).unwrap().1, Contents::Cleared);
}
