//! Does each operation on the pgmap and on the model, and compares every answer.

use pgmap_alloc::{
    AllocError, DataCell, Drain, Drained, Folio, FreeError, Freed, GetError, Killed, Lookup, Offset, Order, Params, Pgmap, Put,
    PutError, RangeSlot, RequestError, Run, Storage, Table, Word, storage_needed,
};

use crate::compare::compare_all;
use crate::handles::Handles;
use crate::model::{self, Model, Owner};
use crate::op::{Fate, Input, Op, Place, Size};
use crate::recorder::{Recorder, data, keeps};

/// What a fuzz target concentrates on; the operations are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// From an idle pgmap; it lives until the end.
    Request,
    /// From a full one; it lives until the end.
    Free,
    /// From an idle one; it may be killed at any point.
    Lifecycle,
    /// From an idle one, through handles and without; it may be killed at any point.
    Handle,
}

/// Runs the input against the model; panics at the first difference.
pub fn run(target: Target, input: &Input) {
    if input.shape.small_tables { run_with_tables::<1>(target, input) } else { run_with_tables::<8>(target, input) }
}

fn run_with_tables<const WORDS: usize>(target: Target, input: &Input) {
    let ranges = input.shape.ranges();
    let params = Params::new(&ranges);
    let needed = storage_needed::<Recorder, WORDS>(&params).expect("the shape is sound");
    let mut tables: Vec<Table<WORDS>> = (0..needed.tables).map(|_| Table::new()).collect();
    let mut slots: Vec<RangeSlot> = (0..needed.ranges).map(|_| RangeSlot::new()).collect();
    let mut words: Vec<Word> = (0..needed.words).map(|_| Word::new()).collect();
    let mut cells: Vec<DataCell> = (0..needed.data).map(|_| DataCell::new()).collect();
    let storage = Storage { tables: &mut tables, ranges: &mut slots, words: &mut words, data: &mut cells };
    let pgmap = Pgmap::with_storage(&params, storage, Recorder::default()).expect("the storage is what is needed");

    let handles = if target == Target::Handle { Handles::two(&pgmap) } else { Handles::none() };
    let mut driver = Driver::new(&pgmap, handles);
    if target == Target::Free {
        driver.fill();
    }
    for op in &input.ops {
        if matches!(target, Target::Lifecycle | Target::Handle) || !matches!(op, Op::Kill | Op::PollDrain) {
            driver.step(*op);
        }
    }
    driver.end();
}

struct Driver<'p, const WORDS: usize> {
    pgmap: &'p Pgmap<'p, Recorder, WORDS>,
    model: Model,
    handles: Handles<'p, WORDS>,
    /// Tells folios apart: the next one's number.
    serial: u64,
    killed: Option<Killed<'p, Recorder, WORDS>>,
    drained: Option<Drained<'p, Recorder, WORDS>>,
}

impl<'p, const WORDS: usize> Driver<'p, WORDS> {
    fn new(pgmap: &'p Pgmap<'p, Recorder, WORDS>, handles: Handles<'p, WORDS>) -> Self {
        let model = Model::new(pgmap.ranges().collect());
        let largest = (0..=44).rev().filter_map(|order| Order::new(order).ok()).find(|order| model.has_idle_run(*order));
        assert_eq!(Some(pgmap.largest_order()), largest);
        Driver { pgmap, model, handles, serial: 0, killed: None, drained: None }
    }

    /// Takes everything, in a mixture of orders, folios and blocks.
    fn fill(&mut self) {
        let mut most = 9;
        for (turn, order) in [3, 0, 9, 1, 5, 0, 2].into_iter().cycle().enumerate() {
            let size = Size::Small(order.min(most));
            let taken = if turn % 3 == 2 { self.alloc_block(size) } else { self.alloc_folio(size, Fate::Release) };
            match (taken, order.min(most)) {
                (true, _) => {}
                (false, 0) => break,
                (false, refused) => most = refused - 1,
            }
        }
        assert_eq!(self.model.census().idle, 0);
    }

    /// One operation, and what the driver was told during it.
    fn step(&mut self, op: Op) {
        match op {
            Op::AllocFolio(size, fate) => drop(self.alloc_folio(size, fate)),
            Op::RequestFolio(place, size, fate) => self.request_folio(place, size, fate),
            Op::AllocBlock(size) => drop(self.alloc_block(size)),
            Op::RequestBlock(place, size) => self.request_block(place, size),
            Op::Get(place) => self.get(place),
            Op::TryGet(place) => self.try_get(place),
            Op::Put(place, n) => self.put(place, u32::from(n)),
            Op::FreeBlock(place, size) => self.free_block(place, size),
            Op::LocalAlloc(second, size, fate) => self.local_alloc(second, size, fate),
            Op::LocalPut(second, place) => self.local_put(second, place),
            Op::LocalDrain(second) => self.handles.drain(|which| which == second),
            Op::Lookup(place) => self.lookup(place),
            Op::Kill => self.kill(),
            Op::PollDrain => self.poll_drain(),
            Op::Validate => self.compare_all(),
        }
        // `put` takes out what it expects; nothing else may ever end a folio's service.
        assert_eq!(self.pgmap.ops().take_freed(), []);
    }

    /// Whether something was allocated.
    fn alloc_folio(&mut self, size: Size, fate: Fate) -> bool {
        let Some(order) = self.order(size, 0) else { return false };
        let data = self.next_data(fate);
        let result = self.pgmap.alloc_folio_raw(order, data);
        self.check_alloc(order, result);
        if let Ok(head) = result {
            self.model.add_folio(head.get(), order, data);
        }
        result.is_ok()
    }

    /// Whether something was allocated.
    fn alloc_block(&mut self, size: Size) -> bool {
        let Some(order) = self.order(size, 0) else { return false };
        let result = self.pgmap.alloc_block(order).map(|block| block.into_raw());
        self.check_alloc(order, result.map(Run::start));
        if let Ok(run) = result {
            assert_eq!(run.order(), order);
            self.model.add_block(run);
        }
        result.is_ok()
    }

    /// What was allocated was idle, in one range and contiguous in physical memory; what was refused did not exist.
    fn check_alloc(&self, order: Order, result: Result<Offset, AllocError>) {
        match result {
            Ok(offset) => {
                assert!(!self.model.dying, "something was allocated from a dying pgmap");
                assert_eq!(self.model.check_request(offset, order), Ok(()), "{offset} at order {order} could not be taken");
                let phys = |page: u64| self.pgmap.phys(Offset::new(page)).map(|phys| phys.0 >> 12);
                let first = phys(offset.get()).expect("an allocated page has an address");
                assert_eq!(first % order.pages(), 0, "not aligned in physical memory");
                assert_eq!(phys(offset.get() + order.pages() - 1), Some(first + order.pages() - 1));
            }
            Err(error) if self.model.dying => assert_eq!(error, AllocError::Dying),
            Err(error) if order > self.pgmap.largest_order() => assert_eq!(error, AllocError::TooLarge),
            Err(error) => {
                let cached = self.handles.cached();
                let findable = self.model.census().idle - cached;
                let scattered = order > Order::ZERO && findable >= order.pages();
                let why = if scattered { AllocError::Fragmented { cached } } else { AllocError::NoSpace { cached } };
                assert_eq!(error, why, "{findable} pages are idle, none of them at hand in a handle");
                assert!(cached > 0 || !self.model.has_idle_run(order), "order {order} was refused, but there is one");
            }
        }
    }

    fn request_folio(&mut self, place: Place, size: Size, fate: Fate) {
        let Some((offset, order)) = self.target(place, size) else { return };
        let data = self.next_data(fate);
        let result = self.pgmap.request_folio_raw(offset, order, data);
        self.check_request(offset, order, result);
        if result.is_ok() {
            self.model.add_folio(offset.get(), order, data);
        }
    }

    fn request_block(&mut self, place: Place, size: Size) {
        let Some((offset, order)) = self.target(place, size) else { return };
        let result = self.pgmap.request_block(offset, order).map(|block| block.into_raw());
        self.check_request(offset, order, result.map(drop));
        if let Ok(run) = result {
            assert_eq!((run.start(), run.order()), (offset, order));
            self.model.add_block(run);
        }
    }

    fn check_request(&self, offset: Offset, order: Order, result: Result<(), RequestError>) {
        let expected = if self.model.dying { Err(RequestError::Dying) } else { self.model.check_request(offset, order) };
        // A page that a handle has at hand looks taken.
        if result != Err(RequestError::Busy) || expected.is_err() || self.handles.cached() == 0 {
            assert_eq!(result, expected, "a request of {offset} at order {order}");
        }
    }

    fn get(&mut self, place: Place) {
        let head = self.page(place, Order::ZERO);
        let expected = match self.model.folio(head) {
            Some(_) => Ok(()),
            None if self.model.has(head) => Err(GetError::NotInService),
            None => Err(GetError::OutOfRange),
        };
        assert_eq!(self.pgmap.get_raw(Offset::new(head)), expected, "a get of {head}");
        self.model.count(head, 1, keeps);
    }

    fn try_get(&mut self, place: Place) {
        let page = self.page(place, Order::ZERO);
        let expected = match self.model.owner(page) {
            // A killed pgmap lets no finder in.
            Some(Owner::Folio(head)) if !self.model.dying => Some(head),
            _ => None,
        };
        assert_eq!(self.pgmap.try_get_raw(Offset::new(page)).map(Offset::get), expected, "a reference to page {page}");
        if let Some(head) = expected {
            self.model.count(head, 1, keeps);
        }
    }

    fn put(&mut self, place: Place, n: u32) {
        let head = self.page(place, Order::ZERO);
        let expected = match self.model.folio(head) {
            Some(folio) if n > folio.refs => Err(PutError::TooMany { held: folio.refs }),
            Some(folio) if n == folio.refs => Ok(Put::Freed),
            Some(_) => Ok(Put::InService),
            None if self.model.has(head) => Err(PutError::NotInService),
            None => Err(PutError::OutOfRange),
        };
        assert_eq!(self.pgmap.put_raw(Offset::new(head), n), expected, "a put of {n} references to {head}");
        if expected.is_ok() {
            let gone = self.model.count(head, -i64::from(n), keeps);
            self.check_told(head, gone);
        }
    }

    fn free_block(&mut self, place: Place, size: Size) {
        let Some((offset, order)) = self.target(place, size) else { return };
        // A page that a handle has at hand looks like a block: freeing it is a mistake that nothing can detect.
        if self.handles.exist() && self.model.check_free(offset, order).is_err() {
            return;
        }
        let result = self.pgmap.free_block_raw(offset, order);
        match (result, self.model.check_free(offset, order)) {
            (Err(given @ (FreeError::DoubleFree { .. } | FreeError::InService { .. })), Err(expected)) if given != expected => {
                let confirmed = Run::new(offset, order).is_ok_and(|run| self.model.confirms(run, given));
                assert!(confirmed, "a free of {offset} at order {order} was refused with {given:?}, not {expected:?}");
            }
            (given, expected) => assert_eq!(given, expected, "a free of {offset} at order {order}"),
        }
        if result.is_ok()
            && let Ok(run) = Run::new(offset, order)
        {
            self.model.remove_block(run);
        }
    }

    fn lookup(&self, place: Place) {
        let page = self.page(place, Order::ZERO);
        let offset = Offset::new(page);
        let expected = match self.model.owner(page) {
            Some(Owner::Folio(head)) => {
                let order = self.model.folio(head).expect("the owner is in service").order;
                Some(Lookup::Folio { head: Offset::new(head), order })
            }
            Some(Owner::Block) => Some(Lookup::Block),
            None => self.model.has(page).then_some(Lookup::Idle),
        };
        let found = self.pgmap.lookup(offset).ok();
        let at_hand = found == Some(Lookup::Block) && expected == Some(Lookup::Idle) && self.handles.cached() > 0;
        assert!(found == expected || at_hand, "a lookup of {page}: {found:?}, not {expected:?}");
        assert_eq!(self.pgmap.is_idle(offset), !matches!(expected, Some(Lookup::Folio { .. })), "the count of {page}");
        assert_eq!(self.pgmap.phys(offset).is_some(), self.model.has(page));
        assert_eq!(self.pgmap.phys(offset).and_then(|phys| self.pgmap.offset_of(phys)), self.model.has(page).then_some(offset));
    }

    fn kill(&mut self) {
        let killed = self.pgmap.kill();
        self.model.dying = true;
        if self.drained.is_none() {
            // A second kill is legal and changes nothing; the older one's drain has come further.
            self.killed.get_or_insert(killed);
        }
    }

    fn poll_drain(&mut self) {
        let Some(killed) = self.killed.take() else { return };
        let left: u64 = self.model.folios().map(|(_, folio)| folio.order.pages()).sum();
        assert_eq!(killed.pages_in_service(), left);
        match (killed.poll_drain(), self.model.folios().next()) {
            (Drain::Done(drained), None) => self.drained = Some(drained),
            (Drain::Waiting(killed, holdout), Some((head, folio))) => {
                let found = (holdout.offset.get(), holdout.order, holdout.refs);
                assert_eq!(found, (head, folio.order, folio.refs), "the drain waits for another folio");
                self.killed = Some(killed);
            }
            (Drain::Done(_), Some((head, _))) => panic!("drained while the folio at {head} is in service"),
            (Drain::Waiting(_, holdout), None) => panic!("waits for {holdout:?}, but nothing is in service"),
        }
    }

    fn local_alloc(&mut self, second: bool, size: Size, fate: Fate) {
        let Some(order) = self.order(size, 0) else { return };
        let data = self.next_data(fate);
        let Some(result) = self.handles.alloc(second, order, data) else { return };
        self.check_alloc(order, result);
        if let Ok(head) = result {
            self.model.add_folio(head.get(), order, data);
        }
    }

    fn local_put(&mut self, second: bool, place: Place) {
        let head = self.page(place, Order::ZERO);
        if !self.handles.exist() || self.model.folio(head).is_none() {
            return;
        }
        let folio = Folio::from_raw(self.pgmap, Offset::new(head)).expect("the model has it in service");
        let put = self.handles.put(second, folio);
        let gone = self.model.count(head, -1, keeps);
        assert_eq!(put, Some(if gone.is_some() { Put::Freed } else { Put::InService }));
        self.check_told(head, gone);
    }

    /// What the driver was told when the last reference went; `gone` is what the model says.
    fn check_told(&self, head: u64, gone: Option<model::Folio>) {
        let freed = gone.map(|gone| Freed { offset: Offset::new(head), order: gone.order, data: gone.data });
        assert_eq!(self.pgmap.ops().take_freed(), freed.as_slice(), "what the driver was told");
    }

    /// The whole state, at a moment at which handles have nothing at hand.
    fn compare_all(&mut self) {
        self.handles.drain(|_| true);
        compare_all(self.pgmap, &self.model);
    }

    /// Kills it, puts every reference, drains, gives back every block: then every page is idle.
    fn end(mut self) {
        self.compare_all();
        self.kill();
        for (head, folio) in self.model.folios().collect::<Vec<_>>() {
            assert_eq!(self.pgmap.put_raw(Offset::new(head), folio.refs), Ok(Put::Freed));
            let gone = self.model.count(head, -i64::from(folio.refs), keeps);
            self.check_told(head, gone);
        }
        self.poll_drain();
        let drained = self.drained.take().expect("nothing is in service");
        drained.teardown();
        // A second one from a second kill is legal and tells the driver nothing new.
        self.pgmap.kill().drain(|holdout| panic!("waits for {holdout:?}")).teardown();
        assert_eq!(self.pgmap.ops().ends(), (1, 1), "quiesce and teardown are told once");
        while let Some(page) = self.model.first_block() {
            let run = Run::new(Offset::new(page), self.model.largest_block(page)).expect("the model's block is a run");
            assert_eq!(self.pgmap.free_block_raw(run.start(), run.order()), Ok(()));
            self.model.remove_block(run);
        }
        self.compare_all();
        assert_eq!(self.model.census().idle, self.pgmap.pages());
    }

    fn next_data(&mut self, fate: Fate) -> u64 {
        self.serial += 1;
        data(self.serial, fate == Fate::Keep)
    }

    /// Where and how large; `None` if the order cannot be named.
    fn target(&self, place: Place, size: Size) -> Option<(Offset, Order)> {
        let rough = if size == Size::Same { Order::ZERO } else { self.order(size, 0)? };
        let page = self.page(place, rough);
        Some((Offset::new(page), self.order(size, page)?))
    }

    fn page(&self, place: Place, order: Order) -> u64 {
        // Some way beyond the end, too.
        let within = |page: u16| u64::from(page) % (self.model.end() + 64);
        match place {
            Place::Taken(number) => self.taken(number).map_or(u64::from(number), |(head, _)| head),
            Place::Tail(number, tail) => self.taken(number).map_or(u64::from(tail), |(head, pages)| head + u64::from(tail) % pages),
            Place::Aligned(page) => Offset::new(within(page)).align_down(order).get(),
            Place::Page(page) => within(page),
            Place::Wild(page) => page,
        }
    }

    /// The first page and the length of what is taken as number `number`.
    fn taken(&self, number: u8) -> Option<(u64, u64)> {
        let count = self.model.taken().count();
        // Spread over all that is taken, however much it is.
        let index = usize::from(number) * 37 % count.max(1);
        self.model.taken().nth(index)
    }

    fn order(&self, size: Size, page: u64) -> Option<Order> {
        match size {
            Size::Small(order) => Order::new(u32::from(order) % 14).ok(),
            Size::Any(order) => Order::new(u32::from(order)).ok(),
            Size::Same => match self.model.owner(page) {
                Some(Owner::Folio(head)) => self.model.folio(head).map(|folio| folio.order),
                _ => Some(self.model.largest_block(page)),
            },
        }
    }
}
