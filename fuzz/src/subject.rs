//! What handles that all share can be on: a bare pool, whose runs are blocks to the model, or a pgmap, whose folios are folios.

use pgmap_alloc::{
    AllocError, Drain, Folio, Freed, GenPool, Handles, Local, LocalPool, Offset, OnCpu, Order, PerCpu, Pgmap, PhysRange,
    PlacedRange, Put, PutError, Refused, Removal, RemoveRangeError, Run, Taken,
};

use crate::compare::compare_all;
use crate::model::Model;
use crate::recorder::{Recorder, data, keeps};

/// Handles for so many CPUs: few, so that often all are in use.
pub(crate) const CPUS: usize = 3;

/// The handles of an input.
pub(crate) type Cpus<'p, P> = PerCpu<'p, P, CPUS>;

/// Which way a call goes.
pub(crate) enum Way<'w, 'p, P: Handles<'p>> {
    /// As a CPU.
    On(OnCpu<'w, 'p, P, CPUS>),
    /// Through a handle that is in use.
    Held(&'w mut P::Handle),
    /// Without a handle.
    Shared,
}

/// A pool or a pgmap. Each verb does what it says to the model as well, and compares what it was told.
pub(crate) trait Subject<'p>: Handles<'p> + Sized + 'p {
    /// A run, or a reference to a folio.
    type Item;

    /// Takes a run, or brings folio number `serial` into service. The model is not told: the caller judges the answer first.
    fn alloc(&'p self, way: Way<'_, 'p, Self>, order: Order, serial: u64) -> Result<Self::Item, AllocError>;

    /// What `alloc` took, for the model.
    fn add(model: &mut Model, run: Run, serial: u64);

    /// Gives an item back.
    fn free(&'p self, way: Way<'_, 'p, Self>, item: Self::Item, model: &mut Model);

    /// Tries to give an item back to handles of another subject: it comes back.
    fn stray(elsewhere: OnCpu<'_, 'p, Self, CPUS>, item: Self::Item) -> Self::Item;

    /// Another reference; `None` where there is no such thing.
    fn again(item: &Self::Item, model: &mut Model) -> Option<Self::Item>;

    /// Its pages.
    fn run(item: &Self::Item) -> Run;

    /// How many idle pages a handle has at hand.
    fn cached(handle: &Self::Handle) -> u64;

    /// How many pages are idle for all to see.
    fn idle(&self) -> u64;

    /// Its ranges.
    fn placed(&self) -> Vec<PlacedRange>;

    /// Every page, at a moment at which no handle has any at hand.
    fn compare(&self, model: &Model);

    /// Takes the range at `first` away, and says whether it is gone. `evict` is called when nothing new comes from there any more, if
    /// there is such a moment; it is told whether there is.
    fn remove(&'p self, first: Offset, evict: impl FnOnce(bool)) -> bool;

    /// Adds a range.
    fn put_in(&self, range: PhysRange);

    /// From now on nothing new, where that can be said.
    fn kill(&'p self, model: &mut Model);

    /// Nothing is out and nothing at hand: all is idle and whole.
    fn end(&'p self, model: &mut Model);
}

/// What is out of a pool. Only handles give out values; a run that was taken without one goes back without one.
pub(crate) struct Piece<'p> {
    run: Run,
    taken: Option<Taken<'p>>,
}

impl<'p> From<Taken<'p>> for Piece<'p> {
    fn from(taken: Taken<'p>) -> Self {
        Piece { run: taken.run(), taken: Some(taken) }
    }
}

impl<'p, const WORDS: usize> Subject<'p> for GenPool<'p, WORDS> {
    type Item = Piece<'p>;

    fn alloc(&'p self, way: Way<'_, 'p, Self>, order: Order, _serial: u64) -> Result<Piece<'p>, AllocError> {
        match way {
            Way::On(cpu) => cpu.alloc(order).map(Piece::from),
            Way::Held(local) => local.alloc(order).map(Piece::from),
            Way::Shared => {
                let run = Run::new(GenPool::alloc(self, order)?, order).expect("what is handed out is aligned");
                Ok(Piece { run, taken: None })
            }
        }
    }

    fn add(model: &mut Model, run: Run, _serial: u64) {
        model.add_block(run);
    }

    fn free(&'p self, way: Way<'_, 'p, Self>, item: Piece<'p>, model: &mut Model) {
        let run = item.run;
        let freed = match (way, item.taken) {
            (Way::On(cpu), Some(taken)) => cpu.free(taken).is_ok(),
            (Way::Held(local), Some(taken)) => local.free(taken).is_ok(),
            (Way::Shared, _) | (_, None) => GenPool::free(self, run.start(), run.order()).is_ok(),
        };
        assert!(freed, "{run:?} was refused, and is its own");
        model.remove_block(run);
    }

    fn stray(elsewhere: OnCpu<'_, 'p, Self, CPUS>, item: Piece<'p>) -> Piece<'p> {
        let taken = item.taken.map(|taken| elsewhere.free(taken).expect_err("it is of another pool"));
        assert!(taken.as_ref().is_none_or(|taken| taken.run() == item.run));
        Piece { taken, ..item }
    }

    fn again(_item: &Piece<'p>, _model: &mut Model) -> Option<Piece<'p>> {
        None
    }

    fn run(item: &Piece<'p>) -> Run {
        item.run
    }

    fn cached(handle: &LocalPool<'p, WORDS>) -> u64 {
        handle.cached()
    }

    fn idle(&self) -> u64 {
        self.avail()
    }

    fn placed(&self) -> Vec<PlacedRange> {
        self.ranges().collect()
    }

    fn compare(&self, model: &Model) {
        for range in self.ranges() {
            for page in range.first.get()..range.end().get() {
                assert_eq!(self.is_idle(Offset::new(page)), model.is_untaken(page..page + 1), "page {page}");
            }
        }
    }

    fn remove(&'p self, first: Offset, evict: impl FnOnce(bool)) -> bool {
        evict(false);
        match self.remove_range(first) {
            Ok(_) => true,
            Err(RemoveRangeError::InUse { page }) => {
                assert!(!self.is_idle(page), "{page} is not in the way");
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn put_in(&self, range: PhysRange) {
        self.add_range(range).expect("there is room where it was");
    }

    fn kill(&'p self, _model: &mut Model) {}

    fn end(&'p self, _model: &mut Model) {
        let largest = GenPool::alloc(self, self.largest_order()).expect("the largest run has come together again");
        assert_eq!(GenPool::free(self, largest, self.largest_order()), Ok(()));
    }
}

impl<'p, const WORDS: usize> Subject<'p> for Pgmap<'p, Recorder, WORDS> {
    type Item = Folio<'p, Recorder, WORDS>;

    fn alloc(&'p self, way: Way<'_, 'p, Self>, order: Order, serial: u64) -> Result<Self::Item, AllocError> {
        let data = data(serial, false);
        match way {
            Way::On(cpu) => cpu.alloc_folio_with(order, data),
            Way::Held(local) => local.alloc_folio_with(order, data),
            Way::Shared => self.alloc_folio_with(order, data),
        }
    }

    fn add(model: &mut Model, run: Run, serial: u64) {
        model.add_folio(run.start().get(), run.order(), data(serial, false));
    }

    fn free(&'p self, way: Way<'_, 'p, Self>, item: Self::Item, model: &mut Model) {
        let head = item.offset();
        let put = match way {
            Way::On(cpu) => cpu.put(item),
            Way::Held(local) => local.put(item),
            Way::Shared => self.put(item),
        };
        let gone = model.count(head.get(), -1, keeps);
        assert_eq!(put.ok(), Some(if gone.is_some() { Put::Freed } else { Put::InService }));
        let freed = gone.map(|gone| Freed { offset: head, order: gone.order, data: gone.data });
        assert_eq!(self.ops().take_freed(), freed.as_slice(), "what the driver was told");
    }

    fn stray(elsewhere: OnCpu<'_, 'p, Self, CPUS>, item: Self::Item) -> Self::Item {
        let Refused { error, value: item } = elsewhere.put(item).expect_err("it is of another pgmap");
        assert_eq!(error, PutError::Foreign);
        item
    }

    fn again(item: &Self::Item, model: &mut Model) -> Option<Self::Item> {
        model.count(item.offset().get(), 1, keeps);
        Some(item.clone())
    }

    fn run(item: &Self::Item) -> Run {
        Run::new(item.offset(), item.order()).expect("a folio is aligned")
    }

    fn cached(handle: &Local<'p, Recorder, WORDS>) -> u64 {
        handle.cached()
    }

    fn idle(&self) -> u64 {
        self.validate().expect("consistent").idle
    }

    fn placed(&self) -> Vec<PlacedRange> {
        self.ranges().collect()
    }

    fn compare(&self, model: &Model) {
        compare_all(self, model);
    }

    fn remove(&'p self, first: Offset, evict: impl FnOnce(bool)) -> bool {
        let closed = self.close_range(first).expect("no other is leaving");
        evict(true);
        match closed.poll_removal() {
            Removal::Done(range) => {
                assert_eq!(range.first, first);
                true
            }
            // Dropped here, which opens it again.
            Removal::Waiting(_closed, _holdout) => false,
        }
    }

    fn put_in(&self, range: PhysRange) {
        self.add_range(range).expect("there is room where it was");
    }

    fn kill(&'p self, model: &mut Model) {
        let killed = Pgmap::kill(self);
        model.dying = true;
        match killed.poll_drain() {
            Drain::Done(_) => assert!(model.folios().next().is_none()),
            Drain::Waiting(_, holdout) => assert!(model.folio(holdout.offset.get()).is_some()),
        }
    }

    fn end(&'p self, model: &mut Model) {
        model.dying = true;
        Pgmap::kill(self).drain(|holdout| panic!("waits for {holdout:?}")).teardown();
        assert_eq!(self.ops().ends(), (1, 1), "quiesce and teardown are told once");
        self.compare(model);
    }
}
