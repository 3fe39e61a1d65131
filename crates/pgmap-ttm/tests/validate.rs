//! Validation: the flags of a place, and ways that there are not. The story of TTM's own unit tests is in `conformance.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{Offset, Params, Pgmap, Phys, PhysRange};
use pgmap_ttm::*;
use support::*;

#[test]
fn req_53_multihop_with_no_way_at_all_goes_nowhere() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let (vram, host, swap) = (r.vram, r.host, r.swap);
    r.m.mover_mut().detour(vram, swap, host);
    r.m.mover_mut().detour(host, swap, vram);
    let bo = r.in_vram(20, 8);
    assert_eq!(r.m.validate(bo, &Place::new(swap).into()), Err(ValidateError::Copy(CopyError::Via(vram))));
    assert_eq!(r.home(bo), Some(vram));
    check(&mut r.m, bo, 8);
    r.finish(&[bo]);
}

#[test]
fn req_52_contiguous_is_one_run_and_moves_what_is_not() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    // No two neighbours are idle, so the object is scattered; then everybody else goes.
    let single: Vec<Bo> = (0..64).map(|seed| r.in_vram(1, seed)).collect();
    let single: Vec<(Bo, bool)> = single.into_iter().map(|bo| (bo, is_even(&r, bo))).collect();
    single.iter().filter(|(_, even)| *even).for_each(|(bo, _)| r.m.free(*bo).unwrap());
    let bo = r.m.create(r.params(12)).unwrap();
    r.m.validate(bo, &r.to_vram()).unwrap();
    assert_eq!(r.m.pieces(bo).unwrap().count(), 12);
    single.iter().filter(|(_, even)| !*even).for_each(|(bo, _)| r.m.free(*bo).unwrap());
    fill(&mut r.m, bo, 11);
    let run = Place::new(r.vram).with(Flags::CONTIGUOUS);
    r.m.validate(bo, &run.into()).unwrap();
    assert_one_run(&r, bo, 12);
    let usage = r.m.memory_usage(r.vram).unwrap();
    assert_eq!((usage.used, usage.leaving), (12 + 12, 12), "no page more than the object has is taken");
    check(&mut r.m, bo, 11);
    assert_eq!(r.m.validate(bo, &run.into()), Ok(false));
    r.finish(&[bo]);
}

#[test]
fn req_52_contiguous_takes_a_gap_that_is_no_power_of_two() {
    let pgmap = pgmap(24);
    let mut r = rig(&pgmap, 64);
    let run: Placement = Place::new(r.vram).with(Flags::CONTIGUOUS).into();
    let at = |r: &Rig<'_>, bo| r.m.pieces(bo).unwrap().next().unwrap().1.first;
    // 32 pages would not even fit; then 8 are left on one side, and 5 fill the gap to the page on the other.
    let large = r.m.create(r.params(19)).unwrap();
    r.m.validate(large, &run).unwrap();
    assert_one_run(&r, large, 19);
    fill(&mut r.m, large, 1);
    let small = r.m.create(r.params(5)).unwrap();
    r.m.validate(small, &run).unwrap();
    assert_one_run(&r, small, 5);
    fill(&mut r.m, small, 2);
    assert_eq!(pgmap.validate().unwrap().idle, 0);
    // In a window, from the high end.
    r.m.free(large).unwrap();
    r.m.wait_all();
    let place = Place::new(r.vram).with(Flags::CONTIGUOUS | Flags::TOP_DOWN).within(2, 18);
    let new = r.m.create(r.params(7)).unwrap();
    r.m.validate(new, &place.into()).unwrap();
    assert_one_run(&r, new, 7);
    assert_eq!((at(&r, small), at(&r, new)), (19, 11));
    check(&mut r.m, small, 2);
    r.finish(&[small, new]);
}

#[test]
fn req_52_contiguous_never_crosses_into_another_range() {
    // Side by side as offsets, far apart as addresses. (There is no hole between them because no aligned run would cross.)
    let ranges = [PhysRange { start: Phys(0), pages: 8 }, PhysRange { start: Phys(64 << SHIFT), pages: 6 }];
    let pgmap = Pgmap::new(&Params { page_shift: SHIFT, ..Params::new(&ranges) }, ByObject).unwrap();
    let mut r = rig(&pgmap, 64);
    assert_eq!(r.m.memory_usage(r.vram).unwrap().end, 14, "the test wants no hole");
    let block = r.m.create(r.params(3)).unwrap();
    r.m.validate(block, &Place::new(r.vram).within(0, 3).into()).unwrap();
    let run = Place::new(r.vram).with(Flags::CONTIGUOUS);
    let whole = r.m.create(r.params(9)).unwrap();
    assert_eq!(r.m.validate(whole, &run.into()), Err(ValidateError::TooLarge));
    // 3 to 9 is idle, too, as offsets.
    let bo = r.m.create(r.params(6)).unwrap();
    r.m.validate(bo, &run.within(1, 14).into()).unwrap();
    assert_eq!(r.m.pieces(bo).unwrap().next().unwrap().1.first, 8);
    // Nor is an object in one run that happens to stand on both sides of the border.
    let both = r.m.create(r.params(2)).unwrap();
    r.m.validate(bo, &r.to_host()).unwrap();
    r.m.wait_all();
    r.m.validate(both, &Place::new(r.vram).within(7, 9).into()).unwrap();
    assert_eq!(r.m.validate(both, &run.into()), Ok(true));
    assert_one_run(&r, both, 2);
    let below: Vec<bool> = r.m.pieces(both).unwrap().map(|(_, piece)| piece.first < 8).collect();
    assert!(below.iter().all(|is| *is == below[0]), "on one side");
    assert_eq!(r.m.validate(both, &run.into()), Ok(false));
    r.finish(&[block, whole, bo, both]);
}

#[test]
fn req_52_a_window_is_filled_with_what_is_idle_in_it() {
    for flags in [Flags::empty(), Flags::TOP_DOWN] {
        let pgmap = pgmap(64);
        let mut r = rig(&pgmap, 64);
        // Idle in the window: 9, 12 to 15, 24 to 31, 37; everything else is taken, in folios of every size.
        let taken = [(0, 9), (10, 12), (16, 24), (32, 37), (38, 64)];
        let others: Vec<Bo> = taken
            .iter()
            .map(|(first, last)| {
                let bo = r.m.create(r.params(last - first)).unwrap();
                r.m.validate(bo, &Place::new(r.vram).within(*first, *last).into()).unwrap();
                bo
            })
            .collect();
        let bo = r.m.create(r.params(14)).unwrap();
        r.m.validate(bo, &Place::new(r.vram).with(flags).within(5, 38).into()).unwrap();
        let mut folios: Vec<_> = r.m.pieces(bo).unwrap().map(|(_, p)| (p.first, p.pages)).collect();
        assert_eq!(folios[0], (24, 8), "the largest first");
        folios.sort_unstable();
        assert_eq!(folios, [(9, 1), (12, 4), (24, 8), (37, 1)], "{flags:?}");
        assert_eq!(r.m.counters().evicted, 0);
        r.finish(&[&others[..], &[bo]].concat());
    }
}

#[test]
fn req_52_contiguous_holds_for_host_pages_too() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 16);
    let blocks: Vec<Bo> = (0..4).map(|seed| r.in_host(4, seed)).collect();
    for i in [0, 2, 3] {
        r.m.free(blocks[i]).unwrap();
    }
    let (scattered, whole) = (r.in_host(6, 8), r.m.create(r.params(6)).unwrap());
    assert_eq!(r.m.pieces(scattered).unwrap().count(), 2, "first fit");
    let run: Placement = Place::new(r.host).with(Flags::CONTIGUOUS).into();
    r.m.pin(blocks[1]).unwrap();
    r.m.validate(whole, &run).unwrap();
    assert_eq!(r.m.pieces(whole).unwrap().map(|(_, piece)| piece.first).collect::<Vec<_>>(), [10]);
    r.m.validate(whole, &Placement::nowhere()).unwrap();
    r.m.validate(scattered, &Placement::nowhere()).unwrap();
    r.m.validate(whole, &run).unwrap();
    let pieces: Vec<_> = r.m.pieces(whole).unwrap().map(|(_, piece)| (piece.first, piece.pages)).collect();
    assert_eq!(pieces, [(8, 6)], "four pages before it are free, and too few");
    r.m.unpin(blocks[1]).unwrap();
    r.finish(&[scattered, whole, blocks[1]]);
}

#[test]
fn req_52_window_is_exclusive_at_the_top() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    for memory in [r.vram, r.host] {
        let bo = r.m.create(r.params(4)).unwrap();
        r.m.validate(bo, &Place::new(memory).within(19, 23).into()).unwrap();
        let pages = |r: &Rig<'_>| -> Vec<u64> {
            let mut pages: Vec<u64> = r.m.pieces(bo).unwrap().flat_map(|(_, p)| p.first..p.first + p.pages).collect();
            pages.sort_unstable();
            pages
        };
        assert_eq!(pages(&r), [19, 20, 21, 22]);
        fill(&mut r.m, bo, 12);
        assert_eq!(r.m.validate(bo, &Place::new(memory).within(41, 45).into()), Ok(true), "another window is another place");
        assert_eq!(pages(&r), [41, 42, 43, 44]);
        check(&mut r.m, bo, 12);
        r.m.free(bo).unwrap();
    }
    r.finish(&[]);
}

#[test]
fn req_52_top_down_fills_from_the_high_end() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    for (memory, top) in [(r.vram, 64), (r.host, 64)] {
        let bo = r.m.create(r.params(4)).unwrap();
        r.m.validate(bo, &Place::new(memory).with(Flags::TOP_DOWN).into()).unwrap();
        assert_eq!(r.m.pieces(bo).unwrap().map(|(_, p)| p.first).min(), Some(top - 4));
        r.m.free(bo).unwrap();
        let bo = r.m.create(r.params(4)).unwrap();
        r.m.validate(bo, &Place::new(memory).with(Flags::TOP_DOWN).within(3, 30).into()).unwrap();
        let pieces: Vec<Piece> = r.m.pieces(bo).unwrap().map(|(_, p)| p).collect();
        assert!(pieces.iter().all(|p| p.first >= 24 && p.first + p.pages <= 30), "{pieces:?}");
        r.m.free(bo).unwrap();
    }
    r.finish(&[]);
}

#[test]
fn req_52_temporary_is_left_at_the_next_validation() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let bo = r.m.create(r.params(4)).unwrap();
    r.m.validate(bo, &Place::new(r.vram).with(Flags::TEMPORARY).into()).unwrap();
    fill(&mut r.m, bo, 13);
    assert_eq!(r.m.validate(bo, &r.to_vram()), Ok(true));
    assert_eq!(r.m.validate(bo, &r.to_vram()), Ok(false));
    check(&mut r.m, bo, 13);
    r.finish(&[bo]);
}

#[test]
fn req_52_desired_never_pushes_out_and_fallback_only_under_pressure() {
    let pgmap = pgmap(16);
    let mut r = rig(&pgmap, 64);
    let desired = Placement::new(&[Place::new(r.vram).desired(), Place::new(r.host)]);
    let fallback = Placement::new(&[Place::new(r.vram), Place::new(r.host).fallback()]);
    let (a, b, c) = (r.in_vram(16, 1), r.m.create(r.params(8)).unwrap(), r.in_host(8, 3));
    r.m.validate(b, &desired).unwrap();
    assert_eq!((r.home(b), r.home(a)), (Some(r.host), Some(r.vram)));
    let only_desired = Place::new(r.vram).desired().into();
    assert_eq!(r.m.validate(b, &only_desired), Err(ValidateError::NoSpace));
    // A fallback is no good place in the first pass; in the second it comes in its turn, after the device.
    r.m.pin(a).unwrap();
    assert_eq!(r.m.validate(c, &fallback), Ok(false), "no room: the fallback is good enough");
    r.m.unpin(a).unwrap();
    r.m.free(a).unwrap();
    assert_eq!(r.m.validate(c, &fallback), Ok(true), "room: the fallback is left");
    assert_eq!(r.home(c), Some(r.vram));
    check(&mut r.m, c, 3);
    r.finish(&[b, c]);
}

#[test]
fn folios_carry_the_key_of_their_object() {
    let pgmap = pgmap(64);
    let mut r = rig(&pgmap, 64);
    let objects: Vec<Bo> = (0..3).map(|seed| r.in_vram(5, seed)).collect();
    for bo in &objects {
        for (page, piece) in r.m.pieces(*bo).unwrap() {
            assert_eq!(pgmap.try_get(Offset::new(piece.first)).unwrap().data(), bo.key());
            let last = piece.first + piece.pages - 1;
            let holder = Holder::Object { bo: *bo, page: page + piece.pages - 1 };
            assert_eq!(r.m.holder(r.vram, last), Ok(holder));
        }
    }
    r.finish(&objects);
}

fn assert_one_run(r: &Rig<'_>, bo: Bo, pages: u64) {
    let pieces: Vec<(u64, Piece)> = r.m.pieces(bo).unwrap().collect();
    let start = pieces[0].1.first;
    let mut next = 0;
    for (page, piece) in &pieces {
        assert_eq!((*page, piece.first - start), (next, next), "{pieces:?}");
        next += piece.pages;
    }
    assert_eq!(next, pages);
}

fn is_even(r: &Rig<'_>, bo: Bo) -> bool {
    r.m.pieces(bo).unwrap().all(|(_, piece)| piece.first % 2 == 0)
}
