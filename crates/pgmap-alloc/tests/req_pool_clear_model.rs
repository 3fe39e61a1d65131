//! Requirement 46: which idle pages are cleared, against a slow model.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    AllocError, AllocExtentError, Contents, Extent, ExtentParams, GenPool, Mode, Order, Params, PoolNeeds, RangeSlot, Table, Wish,
    fit,
};
use proptest::prelude::*;
use support::{at, order, range};

#[derive(Clone, Debug)]
enum Op {
    Alloc(u32, u8),
    Extent(u64, u8),
    Free(usize, bool),
    Clear(u32),
    Forget(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0..12u32, 0..3u8).prop_map(|(o, wish)| Op::Alloc(o, wish)),
        2 => (1..600u64, any::<u8>()).prop_map(|(pages, wish)| Op::Extent(pages, wish)),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(i, clean)| Op::Free(i, clean)),
        1 => (0..10u32).prop_map(Op::Clear),
        1 => (0..4000u64, 1..2000u64).prop_map(|(start, pages)| Op::Forget(start, pages)),
    ]
}

fn compare<const WORDS: usize>(pages: u64, ops: &[Op]) {
    let ranges = [range(0, pages)];
    let params = Params::new(&ranges).tracking_clear();
    let needs = PoolNeeds::of::<WORDS>(&params).unwrap();
    let mut tables: Vec<_> = (0..needs.tables).map(|_| Table::<WORDS>::new()).collect();
    let mut slots: Vec<_> = (0..needs.ranges).map(|_| RangeSlot::new()).collect();
    let pool = GenPool::with_storage(&params, &mut tables, &mut slots).unwrap();
    // Idle and cleared, idle and dirty, taken.
    let mut model: Vec<Option<bool>> = vec![Some(false); pages as usize];
    let mut held: Vec<Extent> = vec![];
    let slice = |extent: Extent| extent.start().get() as usize..extent.end().get() as usize;
    for op in ops {
        match *op {
            Op::Alloc(o, wish) => {
                let wish = [Wish::DontCare, Wish::PreferCleared, Wish::Cleared][usize::from(wish)];
                let all = |contents: &dyn Fn(&Option<bool>) -> bool| model.chunks_exact(1 << o).any(|run| run.iter().all(contents));
                match pool.alloc_wishing(order(o), wish) {
                    Ok((start, contents)) => {
                        let extent = Extent::new(start, 1 << o).unwrap();
                        let cleared = model[slice(extent)].iter().all(|page| *page == Some(true));
                        assert_eq!(contents, if cleared { Contents::Cleared } else { Contents::Dirty });
                        assert!(wish != Wish::Cleared || cleared);
                        assert!(
                            wish != Wish::PreferCleared || cleared || !all(&|page| *page == Some(true)),
                            "there was a cleared one"
                        );
                        let wasted = model[slice(extent)].contains(&Some(true));
                        assert!(wish != Wish::DontCare || !wasted || !all(&|page| *page == Some(false)), "there was a dirty one");
                        assert!(model[slice(extent)].iter().all(Option::is_some));
                        model[slice(extent)].fill(None);
                        held.push(extent);
                    }
                    Err(AllocError::NoneCleared) => assert!(!all(&|page| *page == Some(true))),
                    Err(_) => assert!(!all(&Option::is_some)),
                }
            }
            Op::Extent(length, wish) => {
                let wish = [Wish::DontCare, Wish::PreferCleared, Wish::Cleared][wish as usize % 3];
                let mode = [Mode::Simple, Mode::BottomUp(fit::best_fit), Mode::TopDown(fit::first_fit)][length as usize % 3];
                let all = |is: &dyn Fn(&Option<bool>) -> bool| model.windows(length as usize).any(|place| place.iter().all(is));
                match pool.alloc_extent(&ExtentParams::new(length).wishing(wish).by(mode)) {
                    Ok(extent) => {
                        let cleared = model[slice(extent)].iter().all(|page| *page == Some(true));
                        let told = pool.contents_of(extent) == Contents::Cleared;
                        assert_eq!(told, cleared, "{extent} was said to hold something else");
                        assert!(wish != Wish::Cleared || cleared);
                        assert!(model[slice(extent)].iter().all(Option::is_some));
                        model[slice(extent)].fill(None);
                        held.push(extent);
                    }
                    Err(AllocExtentError::NoneCleared) => assert!(!all(&|page| *page == Some(true)), "{length} pages are cleared"),
                    Err(_) => assert!(!all(&Option::is_some), "{length} pages are idle"),
                }
            }
            Op::Free(i, clean) if !held.is_empty() => {
                let extent = held.swap_remove(i % held.len());
                for run in extent.runs(Order::MAX) {
                    let free = if clean { GenPool::free_cleared } else { GenPool::free };
                    free(&pool, run.start(), run.order()).unwrap();
                }
                model[slice(extent)].fill(Some(clean));
            }
            Op::Clear(o) => {
                for dirty in pool.dirty_runs(Extent::ALL, order(o)).take(3) {
                    let extent = Extent::from(dirty.run());
                    assert!(model[slice(extent)].iter().all(|page| *page == Some(false)));
                    model[slice(extent)].fill(Some(true));
                    dirty.cleared();
                }
            }
            Op::Forget(start, length) => {
                let window = Extent::new(at(start), length).unwrap();
                pool.forget_clear(window).unwrap();
                let end = window.end().get().min(pages);
                for page in start.min(end)..end {
                    model[page as usize] = model[page as usize].map(|_| false);
                }
            }
            Op::Free(..) => {}
        }
    }
    let count = |contents| model.iter().filter(|page| **page == Some(contents)).count() as u64;
    assert_eq!((pool.avail(), pool.avail_cleared(Extent::ALL)), (count(true) + count(false), count(true)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn req_46_agrees_with_the_model_in_tables_of_one_word(ops in prop::collection::vec(op(), 1..150)) {
        compare::<1>(4096, &ops);
    }

    #[test]
    fn req_46_agrees_with_the_model_in_tables_of_eight_words(ops in prop::collection::vec(op(), 1..150)) {
        compare::<8>(5000, &ops);
    }
}
