//! Sequential truth: random verbs over folios, blocks, raw forms and a kill, against a model with one owner per page.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

use pgmap_alloc::{AllocError, FreeError, GetError, Lookup, Order, Put, PutError, RequestError};
use proptest::prelude::*;
use support::{Map, at, order, partition, pgmap, range};

#[derive(Clone, Copy, Debug)]
enum Op {
    Alloc(u32, u64),
    Request(u64, u32, u64),
    AllocBlock(u32),
    RequestBlock(u64, u32),
    Get(u64),
    TryGet(u64),
    Put(u64, u32),
    FreeBlock(u64, u32),
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    // Mostly aligned, so that much succeeds.
    let run = (0..1200u64, 0..10u32, 0..8u8).prop_map(|(at, o, raw)| (if raw == 0 { at } else { (at >> o) << o }, o));
    prop_oneof![
        40 => (0..10u32, any::<u64>()).prop_map(|(o, data)| Op::Alloc(o, data)),
        40 => (run.clone(), any::<u64>()).prop_map(|((at, o), data)| Op::Request(at, o, data)),
        20 => (0..10u32).prop_map(Op::AllocBlock),
        20 => run.clone().prop_map(|(at, o)| Op::RequestBlock(at, o)),
        20 => (0..1200u64).prop_map(Op::Get),
        20 => (0..1200u64).prop_map(Op::TryGet),
        80 => (0..1200u64, 0..4u32).prop_map(|(at, n)| Op::Put(at, n)),
        60 => run.prop_map(|(at, o)| Op::FreeBlock(at, o)),
        1 => Just(Op::Kill),
    ]
}

/// A folio of the model.
#[derive(Clone, Copy)]
struct Served {
    order: Order,
    refs: u32,
    data: u64,
}

/// One state per page, and the folios by their heads.
struct Model {
    /// Which range each offset lies in; `None` in a hole.
    range: Vec<Option<usize>>,
    idle: Vec<bool>,
    folios: BTreeMap<u64, Served>,
    dying: bool,
    freed: usize,
}

impl Model {
    fn of(pgmap: &Map) -> Model {
        let ranges: Vec<_> = pgmap.ranges().collect();
        let end = ranges.last().unwrap().end().get();
        let range = (0..end).map(|page| ranges.iter().position(|range| range.first <= at(page) && at(page) < range.end()));
        let range: Vec<_> = range.collect();
        let idle = range.iter().map(Option::is_some).collect();
        Model { range, idle, folios: BTreeMap::new(), dying: false, freed: 0 }
    }

    fn pages(start: u64, o: Order) -> std::ops::Range<usize> {
        start as usize..(start + o.pages()) as usize
    }

    fn is_idle(&self, start: u64, o: Order) -> bool {
        Self::pages(start, o).all(|page| self.idle.get(page) == Some(&true))
    }

    /// What is wrong with a run, if anything is.
    fn check(&self, start: u64, o: Order) -> Result<(), RequestError> {
        if !start.is_multiple_of(o.pages()) {
            return Err(RequestError::Misaligned);
        }
        let home = self.range.get(start as usize).copied().flatten().ok_or(RequestError::OutOfRange)?;
        let inside = Self::pages(start, o).all(|page| self.range.get(page) == Some(&Some(home)));
        if inside { Ok(()) } else { Err(RequestError::CrossesRange) }
    }

    fn request(&self, start: u64, o: Order) -> Result<(), RequestError> {
        if self.dying {
            return Err(RequestError::Dying);
        }
        self.check(start, o)?;
        if self.is_idle(start, o) { Ok(()) } else { Err(RequestError::Busy) }
    }

    /// Whether a run was rightly given, or rightly refused.
    fn judge(&self, o: Order, given: Result<u64, AllocError>) {
        let fits = |o: Order, idle: &dyn Fn(usize) -> bool| {
            let starts = (0..self.idle.len() as u64).step_by(o.pages() as usize);
            starts.into_iter().any(|start| self.check(start, o).is_ok() && Self::pages(start, o).all(idle))
        };
        match given {
            Ok(start) => assert!(!self.dying && self.check(start, o).is_ok() && self.is_idle(start, o), "{start}+2^{o} was given"),
            Err(AllocError::Dying) => assert!(self.dying),
            Err(AllocError::TooLarge) => assert!(!fits(o, &|_| true)),
            Err(error) => {
                assert!(!fits(o, &|page| self.idle[page]), "order {o} fits and was refused");
                let idle = self.idle.iter().filter(|&&idle| idle).count() as u64;
                let fragmented = idle >= o.pages();
                let why = if fragmented { AllocError::Fragmented { cached: 0 } } else { AllocError::NoSpace { cached: 0 } };
                assert_eq!(error, why, "{idle} pages are idle");
            }
        }
    }

    fn set(&mut self, start: u64, o: Order, idle: bool) {
        self.idle[Self::pages(start, o)].fill(idle);
    }

    fn serve(&mut self, start: u64, order: Order, data: u64) {
        self.set(start, order, false);
        self.folios.insert(start, Served { order, refs: 1, data });
    }

    /// The head of the folio that covers a page.
    fn folio(&self, page: u64) -> Option<u64> {
        let (&head, folio) = self.folios.range(..=page).next_back()?;
        (page < head + folio.order.pages()).then_some(head)
    }
}

fn run(ops: &[Op]) {
    let pgmap = pgmap(&[range(0, 600), range(10_000, 300), range(20_480, 128)]);
    let mut model = Model::of(&pgmap);
    for &op in ops {
        match op {
            Op::Alloc(o, data) => {
                let given = pgmap.alloc_folio_raw(order(o), data).map(pgmap_alloc::Offset::get);
                model.judge(order(o), given);
                if let Ok(start) = given {
                    model.serve(start, order(o), data);
                }
            }
            Op::Request(start, o, data) => {
                let result = pgmap.request_folio_raw(at(start), order(o), data);
                assert_eq!(result, model.request(start, order(o)), "{start}+2^{o}");
                if result.is_ok() {
                    model.serve(start, order(o), data);
                }
            }
            Op::AllocBlock(o) => {
                let given = pgmap.alloc_block(order(o)).map(|block| block.into_raw().start().get());
                model.judge(order(o), given);
                if let Ok(start) = given {
                    model.set(start, order(o), false);
                }
            }
            Op::RequestBlock(start, o) => {
                let result = pgmap.request_block(at(start), order(o)).map(pgmap_alloc::Block::into_raw).map(|_| ());
                assert_eq!(result, model.request(start, order(o)), "{start}+2^{o}");
                if result.is_ok() {
                    model.set(start, order(o), false);
                }
            }
            Op::Get(page) => {
                let expected = match (model.range.get(page as usize), model.folios.get_mut(&page)) {
                    (None | Some(None), _) => Err(GetError::OutOfRange),
                    (_, None) => Err(GetError::NotInService),
                    (_, Some(folio)) => {
                        folio.refs += 1;
                        Ok(())
                    }
                };
                assert_eq!(pgmap.get_raw(at(page)), expected);
            }
            Op::TryGet(page) => {
                let head = model.folio(page).filter(|_| !model.dying);
                assert_eq!(pgmap.try_get_raw(at(page)).map(pgmap_alloc::Offset::get), head);
                if let Some(folio) = head.and_then(|head| model.folios.get_mut(&head)) {
                    folio.refs += 1;
                }
            }
            // Of a folio, by any of its pages; else of nothing.
            Op::Put(page, n) => {
                let head = model.folio(page).unwrap_or(page);
                let result = pgmap.put_raw(at(head), n);
                match model.folios.get_mut(&head) {
                    None if model.range.get(head as usize).copied().flatten().is_none() => {
                        assert_eq!(result, Err(PutError::OutOfRange));
                    }
                    None => assert_eq!(result, Err(PutError::NotInService)),
                    Some(folio) if n > folio.refs => assert_eq!(result, Err(PutError::TooMany { held: folio.refs })),
                    Some(folio) if n < folio.refs => {
                        folio.refs -= n;
                        assert_eq!(result, Ok(Put::InService));
                    }
                    Some(&mut Served { order, data, .. }) => {
                        assert_eq!(result, Ok(Put::Freed));
                        let freed = pgmap.ops().last();
                        assert_eq!((freed.offset, freed.order, freed.data), (at(head), order, data));
                        model.folios.remove(&head);
                        model.set(head, order, true);
                        model.freed += 1;
                    }
                }
                assert_eq!(pgmap.ops().calls(), model.freed);
            }
            Op::FreeBlock(start, o) => {
                let result = pgmap.free_block_raw(at(start), order(o));
                match model.check(start, order(o)) {
                    Err(RequestError::Misaligned) => assert_eq!(result, Err(FreeError::Misaligned)),
                    Err(RequestError::OutOfRange) => assert_eq!(result, Err(FreeError::OutOfRange)),
                    Err(_) => assert_eq!(result, Err(FreeError::CrossesRange)),
                    Ok(()) => {
                        let mut pages = Model::pages(start, order(o));
                        let folio = pages.clone().find_map(|page| model.folio(page as u64));
                        match (folio, pages.any(|page| model.idle[page])) {
                            (Some(_), _) => assert!(
                                matches!(result, Err(FreeError::InService { head }) if model.folios.contains_key(&head.get()))
                            ),
                            (None, true) => {
                                assert!(matches!(result, Err(FreeError::DoubleFree { page }) if model.idle[page.get() as usize]));
                            }
                            (None, false) => {
                                assert_eq!(result, Ok(()));
                                model.set(start, order(o), true);
                            }
                        }
                    }
                }
            }
            Op::Kill => {
                let _ = pgmap.kill();
                model.dying = true;
            }
        }
    }
    compare(&pgmap, &model);
    finish(&pgmap, model);
}

/// Every page says what the model says.
fn compare(pgmap: &Map, model: &Model) {
    let census = partition(pgmap);
    assert_eq!(census.folios as usize, model.folios.len());
    for (page, range) in (0u64..).zip(&model.range) {
        let expected = match (range, model.folio(page)) {
            (None, _) => continue,
            (_, Some(head)) => Lookup::Folio { head: at(head), order: model.folios[&head].order },
            _ if model.idle[page as usize] => Lookup::Idle,
            _ => Lookup::Block,
        };
        assert_eq!(pgmap.lookup(at(page)), Ok(expected), "page {page}");
    }
}

/// The end of every life: kill, drain by evicting what it names, free the blocks, tear down, and all is idle.
fn finish(pgmap: &Map, mut model: Model) {
    pgmap
        .kill()
        .drain(|holdout| {
            let folio = model.folios.remove(&holdout.offset.get()).unwrap();
            assert_eq!((holdout.order, holdout.refs), (folio.order, folio.refs));
            model.idle[Model::pages(holdout.offset.get(), folio.order)].fill(true);
            assert_eq!(pgmap.put_raw(holdout.offset, folio.refs), Ok(Put::Freed));
        })
        .teardown();
    assert!(model.folios.is_empty());
    for page in (0..model.idle.len()).filter(|&page| model.range[page].is_some() && !model.idle[page]) {
        pgmap.free_block_raw(at(page as u64), order(0)).unwrap();
    }
    assert_eq!(partition(pgmap).idle, pgmap.pages());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn req_13_every_verb_agrees_with_the_model(ops in prop::collection::vec(op(), 1..300)) {
        run(&ops);
    }
}
