//! Every verb of the folio service against a slow model that knows each page by itself: what stands there, and whether it is bad.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

use pgmap_alloc::{
    AllocError, Block, Expect, Folio, FreezeError, GetError, Lookup, MapError, Params, PardonError, Pgmap, Put, PutError, Reason,
    Refused, RequestError, RetireError, Retirement, Run, SpecialError, SpecialSize, SplitError,
};
use proptest::prelude::*;
use support::{Driver, at, order, range};

/// Two levels of small tables, and an end that is no power of two.
const PAGES: u64 = 150;
type Map = Pgmap<'static, Driver, 1>;

#[derive(Clone, Copy, Debug)]
enum Op {
    Alloc(u32),
    Request(u64, u32),
    RequestBlock(u64, u32),
    FreeBlock(u64, u32),
    IntoFolio(u64, u32),
    IntoBlock(u64),
    Get(u64),
    Put(u64, u32),
    Map(u64),
    Unmap(u64),
    Split(u64, u32, u32),
    Evict(u64),
    Special(u64),
    Unspecial(u64),
    Retire(u64),
    Pardon(u64),
}

fn op() -> impl Strategy<Value = Op> {
    // Often at the same few pages, and mostly aligned, so that much meets.
    let page = || prop_oneof![0..PAGES + 2, 0..16_u64, 64..72_u64];
    let run = || (page(), 0..5_u32, 0..8_u8).prop_map(|(page, o, raw)| (if raw == 0 { page } else { page >> o << o }, o));
    prop_oneof![
        3 => (0..8_u32).prop_map(Op::Alloc),
        5 => run().prop_map(|(page, o)| Op::Request(page, o)),
        2 => run().prop_map(|(page, o)| Op::RequestBlock(page, o)),
        3 => run().prop_map(|(page, o)| Op::FreeBlock(page, o)),
        2 => run().prop_map(|(page, o)| Op::IntoFolio(page, o)),
        2 => page().prop_map(Op::IntoBlock),
        3 => page().prop_map(Op::Get),
        8 => (page(), 0..3_u32).prop_map(|(page, n)| Op::Put(page, n)),
        3 => page().prop_map(Op::Map),
        3 => page().prop_map(Op::Unmap),
        4 => (page(), 0..4_u32, 1..3_u32).prop_map(|(page, o, refs)| Op::Split(page, o, refs)),
        2 => page().prop_map(Op::Evict),
        2 => page().prop_map(Op::Special),
        2 => page().prop_map(Op::Unspecial),
        4 => page().prop_map(Op::Retire),
        3 => page().prop_map(Op::Pardon),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Idle,
    Folio(u64),
    Block,
    Special,
    Retired,
}

#[derive(Clone, Copy, Debug)]
struct InService {
    order: u32,
    refs: u32,
    maps: u32,
}

struct Model {
    pages: Vec<Page>,
    bad: Vec<bool>,
    folios: BTreeMap<u64, InService>,
}

impl Model {
    fn page(&self, page: u64) -> Option<Page> {
        self.pages.get(page as usize).copied()
    }

    fn set(&mut self, first: u64, o: u32, to: Page) {
        (first..first + (1 << o)).for_each(|page| self.pages[page as usize] = to);
    }

    fn all(&self, first: u64, o: u32, what: Page) -> bool {
        (first..first + (1 << o)).all(|page| self.page(page) == Some(what))
    }

    fn any_bad(&self, first: u64, o: u32) -> bool {
        (first..first + (1 << o)).any(|page| self.bad[page as usize])
    }

    fn add_folio(&mut self, head: u64, o: u32) {
        self.set(head, o, Page::Folio(head));
        self.folios.insert(head, InService { order: o, refs: 1, maps: 0 });
    }

    /// The pages come back: bad ones are retired.
    fn release(&mut self, first: u64, o: u32) {
        for page in (first..first + (1 << o)).map(|page| page as usize) {
            self.pages[page] = if std::mem::take(&mut self.bad[page]) { Page::Retired } else { Page::Idle };
        }
    }

    /// What a request of this run is answered.
    fn requested(&self, first: u64, o: u32) -> Result<(), RequestError> {
        match first + (1 << o) {
            _ if !first.is_multiple_of(1 << o) => Err(RequestError::Misaligned),
            _ if first >= PAGES => Err(RequestError::OutOfRange),
            end if end > PAGES => Err(RequestError::CrossesRange),
            // Pending pages first, then whatever comes first.
            _ if self.any_bad(first, o) => Err(RequestError::Retired),
            _ => match (first..first + (1 << o)).find_map(|page| self.page(page).filter(|what| *what != Page::Idle)) {
                None => Ok(()),
                Some(Page::Retired) => Err(RequestError::Retired),
                Some(Page::Special) => Err(RequestError::Special),
                Some(_) => Err(RequestError::Busy),
            },
        }
    }
}

fn step(pgmap: &'static Map, model: &mut Model, op: Op) {
    match op {
        Op::Alloc(o) => {
            let fits = |first: &u64| first + (1 << o) <= PAGES && model.all(*first, o, Page::Idle);
            match pgmap.alloc_folio_raw(order(o), 7) {
                Ok(head) => {
                    assert!(fits(&head.get()), "{head} is not idle");
                    model.add_folio(head.get(), o);
                }
                Err(AllocError::NoSpace { .. } | AllocError::Fragmented { .. }) => {
                    assert!(!(0..PAGES).step_by(1 << o).any(|first| fits(&first)));
                }
                Err(error) => assert!(o >= 8, "{error}"),
            }
        }
        Op::Request(page, o) => {
            let expected = model.requested(page, o);
            assert_eq!(pgmap.request_folio_raw(at(page), order(o), 7), expected);
            if expected.is_ok() {
                model.add_folio(page, o);
            }
        }
        Op::RequestBlock(page, o) => {
            let expected = model.requested(page, o);
            assert_eq!(pgmap.request_block(at(page), order(o)).map(|block| _ = block.into_raw()), expected);
            if expected.is_ok() {
                model.set(page, o, Page::Block);
            }
        }
        Op::FreeBlock(page, o) => {
            let free = page.is_multiple_of(1 << o) && model.all(page, o, Page::Block);
            assert_eq!(pgmap.free_block_raw(at(page), order(o)).is_ok(), free);
            if free {
                model.release(page, o);
            }
        }
        Op::IntoFolio(page, o) => {
            let Ok(run) = Run::new(at(page), order(o)) else { return };
            let block = Block::from_raw(pgmap, run);
            assert_eq!(block.is_ok(), model.all(page, o, Page::Block));
            let Ok(block) = block else { return };
            assert_eq!(block.is_bad(), model.any_bad(page, o));
            match block.into_folio(7) {
                Ok(folio) => {
                    assert!(!model.any_bad(page, o), "a folio over a bad page");
                    folio.into_raw();
                    model.add_folio(page, o);
                }
                Err(Refused { error, value: block }) => {
                    assert_eq!((error, model.any_bad(page, o)), (RequestError::Retired, true));
                    block.into_raw();
                }
            }
        }
        Op::IntoBlock(head) => {
            let Some(folio) = Folio::from_raw(pgmap, at(head)) else { return assert!(!model.folios.contains_key(&head)) };
            let was = model.folios[&head];
            match folio.into_block() {
                Ok(block) => {
                    assert_eq!((was.refs, was.maps, block.into_raw().order().get()), (1, 0, was.order));
                    model.folios.remove(&head);
                    model.set(head, was.order, Page::Block);
                }
                Err(folio) => assert!((was.refs, was.maps) != (1, 0) && folio.into_raw() == at(head)),
            }
        }
        Op::Get(head) => {
            let expected = match model.folios.get_mut(&head) {
                Some(folio) => {
                    folio.refs += 1;
                    Ok(())
                }
                None => Err(if head < PAGES { GetError::NotInService } else { GetError::OutOfRange }),
            };
            assert_eq!(pgmap.get_raw(at(head)), expected);
        }
        Op::Put(head, n) => {
            let expected = match model.folios.get_mut(&head) {
                None if head >= PAGES => Err(PutError::OutOfRange),
                None => Err(PutError::NotInService),
                Some(folio) if n > folio.refs - folio.maps => Err(PutError::TooMany { held: folio.refs - folio.maps }),
                Some(folio) => {
                    folio.refs -= n;
                    Ok(if folio.refs == 0 { Put::Freed } else { Put::InService })
                }
            };
            assert_eq!(pgmap.put_raw(at(head), n), expected);
            gone(model, head, expected);
        }
        Op::Map(head) => {
            let expected = match model.folios.get_mut(&head) {
                Some(folio) => {
                    (folio.refs, folio.maps) = (folio.refs + 1, folio.maps + 1);
                    Ok(())
                }
                None => Err(if head < PAGES { MapError::NotInService } else { MapError::OutOfRange }),
            };
            assert_eq!(pgmap.map_raw(at(head)), expected);
        }
        Op::Unmap(head) => {
            let expected = match model.folios.get_mut(&head) {
                None if head >= PAGES => Err(PutError::OutOfRange),
                None => Err(PutError::NotInService),
                Some(folio) if folio.maps == 0 => Err(PutError::NotMapped),
                Some(folio) => {
                    (folio.refs, folio.maps) = (folio.refs - 1, folio.maps - 1);
                    Ok(if folio.refs == 0 { Put::Freed } else { Put::InService })
                }
            };
            assert_eq!(pgmap.unmap_raw(at(head)), expected);
            gone(model, head, expected);
        }
        Op::Split(head, o, refs) => {
            let expected = match model.folios.get(&head) {
                None if head >= PAGES => Err(SplitError::OutOfRange),
                None => Err(SplitError::NotInService),
                Some(folio) if folio.refs != refs => Err(SplitError::StrayReferences { held: folio.refs }),
                Some(folio) if o >= folio.order => Err(SplitError::NotSmaller { order: order(folio.order) }),
                Some(folio) if folio.maps > 0 => Err(SplitError::Mapped { mappings: folio.maps }),
                Some(_) => Ok(()),
            };
            assert_eq!(pgmap.split_raw(at(head), order(o), refs), expected);
            if expected.is_ok() {
                let whole = model.folios[&head];
                (head..head + (1 << whole.order)).step_by(1 << o).for_each(|part| model.add_folio(part, o));
                model.folios.get_mut(&head).unwrap().refs = refs;
            }
        }
        Op::Evict(head) => {
            let frozen = pgmap.freeze_raw(at(head), Expect::NoPins);
            match model.folios.get(&head) {
                None if head >= PAGES => assert_eq!(frozen.err(), Some(FreezeError::OutOfRange)),
                None => assert_eq!(frozen.err(), Some(FreezeError::NotInService)),
                Some(folio) if folio.refs > folio.maps => {
                    assert_eq!(frozen.err(), Some(FreezeError::Pinned { pins: folio.refs - folio.maps }));
                }
                Some(_) => {
                    assert!(frozen.unwrap().free().is_ok());
                    gone(model, head, Ok(Put::Freed));
                }
            }
        }
        Op::Special(page) => {
            let expected = match model.page(page) {
                None => Err(SpecialError::OutOfRange),
                Some(Page::Idle) => Ok(()),
                Some(Page::Folio(head)) => Err(SpecialError::InService { head: at(head) }),
                Some(_) => Err(SpecialError::Busy),
            };
            assert_eq!(pgmap.declare_special(at(page), SpecialSize::Page, Reason::Zero), expected);
            if expected.is_ok() {
                model.set(page, 0, Page::Special);
            }
        }
        Op::Unspecial(page) => {
            let special = model.page(page) == Some(Page::Special);
            assert_eq!(pgmap.undeclare_special(at(page), SpecialSize::Page).is_ok(), special);
            if special {
                model.release(page, 0);
            }
        }
        Op::Pardon(page) => {
            let expected = match model.page(page) {
                None => Err(PardonError::OutOfRange),
                Some(_) if std::mem::take(&mut model.bad[page as usize]) => Ok(Retirement::Pending),
                Some(Page::Retired) => {
                    model.set(page, 0, Page::Idle);
                    Ok(Retirement::Done)
                }
                Some(_) => Err(PardonError::NotBad),
            };
            assert_eq!(pgmap.pardon(at(page)), expected);
        }
        Op::Retire(page) => {
            let expected = match model.page(page) {
                None => Err(RetireError::OutOfRange),
                Some(Page::Retired) => Err(RetireError::AlreadyRetired),
                Some(Page::Idle) => Ok(Retirement::Done),
                Some(_) => Ok(Retirement::Pending),
            };
            assert_eq!(pgmap.retire(at(page)), expected);
            match expected {
                Ok(Retirement::Done) => model.pages[page as usize] = Page::Retired,
                Ok(Retirement::Pending) => model.bad[page as usize] = true,
                Err(_) => {}
            }
        }
    }
}

/// The folio's last reference may have gone.
fn gone(model: &mut Model, head: u64, put: Result<Put, PutError>) {
    if put == Ok(Put::Freed) {
        let folio = model.folios.remove(&head).unwrap();
        model.release(head, folio.order);
    }
}

fn compare(pgmap: &'static Map, model: &Model) {
    for page in 0..PAGES {
        let found = match pgmap.lookup(at(page)).unwrap() {
            Lookup::Idle => Page::Idle,
            Lookup::Block => Page::Block,
            Lookup::Special { .. } => Page::Special,
            Lookup::Retired => Page::Retired,
            Lookup::Folio { head, order } => {
                let folio = model.folios[&head.get()];
                let counts = pgmap.counts_raw(head).unwrap();
                assert_eq!((order.get(), counts.refs, counts.mappings), (folio.order, folio.refs, folio.maps));
                Page::Folio(head.get())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(Some(found), model.page(page), "page {page}");
    }
    let pending: Vec<_> = (0..PAGES).filter(|&page| model.bad[page as usize]).map(at).collect();
    assert_eq!(pgmap.retiring().collect::<Vec<_>>(), pending);
    let census = pgmap.validate_every_word().unwrap();
    assert_eq!(census.folios, model.folios.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn req_38_every_verb_of_the_service_agrees_with_a_model_of_each_page(ops in prop::collection::vec(op(), 1..120)) {
        let pgmap: &Map = Box::leak(Box::new(Map::boxed(&Params::new(&[range(0, PAGES)]), Driver::default()).unwrap()));
        let mut model = Model { pages: vec![Page::Idle; PAGES as usize], bad: vec![false; PAGES as usize], folios: BTreeMap::new() };
        for op in ops {
            step(pgmap, &mut model, op);
            compare(pgmap, &model);
        }
        // The end: everything comes back, and what is bad is retired.
        for head in model.folios.keys().copied().collect::<Vec<_>>() {
            let InService { refs, maps, .. } = model.folios[&head];
            (0..maps).for_each(|_| step(pgmap, &mut model, Op::Unmap(head)));
            step(pgmap, &mut model, Op::Put(head, refs - maps));
        }
        (0..PAGES).for_each(|page| {
            step(pgmap, &mut model, Op::FreeBlock(page, 0));
            step(pgmap, &mut model, Op::Unspecial(page));
        });
        compare(pgmap, &model);
        assert!(model.pages.iter().all(|page| matches!(page, Page::Idle | Page::Retired)) && pgmap.retiring().count() == 0);
        pgmap.kill().drain(|holdout| panic!("{holdout:?}")).teardown();
    }
}
