//! Handles that all share: calls as this CPU or that, while others have handles in use, against the model.

use std::ops::Range;
use std::slice::Iter;

use arbitrary::Arbitrary;
use pgmap_alloc::{AllocError, GenPool, Order, Params, Pgmap, Phys, PhysRange};

use crate::model::Model;
use crate::op::Shape;
use crate::recorder::Recorder;
use crate::subject::{CPUS, Cpus, Subject, Way};

/// A pool or a pgmap and what is done to it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    /// What it is made of.
    pub shape: Shape,
    /// Whether it is a pgmap, which has folios, or a bare pool.
    pub folios: bool,
    /// How many handles others have left for the CPUs, more or less.
    pub left: u8,
    /// What is done, in this order.
    pub ops: Vec<Op>,
}

/// Who calls.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum By {
    /// The CPU of this number.
    Cpu(u8),
    /// The CPU that this thread is.
    Here,
    /// Whoever has entered last, through the handle that he has in use.
    Inside,
    /// Nobody in particular: without a handle.
    Shared,
}

/// One call, or a few.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Op {
    /// A run of this order, or up to so many more.
    Alloc(By, u8, u8),
    /// What is out as number `n` comes back, and so many more.
    Free(By, u8, u8),
    /// One more reference to what is out as number `n`.
    Get(u8),
    /// What is out as number `n` goes to the handles of somebody else, on this CPU.
    Stray(u8, u8),
    /// What follows happens while the handle of this CPU is in use.
    Enter(u8),
    /// Whoever has entered last is done.
    Leave,
    /// The handles that are not in use give back what they have at hand.
    Drain,
    /// The range of this number is taken away and comes again, if it can; perhaps everything in it is put on a CPU before.
    Renew(u8, Option<u8>),
    /// From now on nothing new.
    Kill,
    /// Every page is compared.
    Validate,
}

/// Runs the input against the model; panics at the first difference.
pub fn run(input: &Input) {
    match (input.folios, input.shape.small_tables) {
        (false, true) => on_pool::<1>(input),
        (false, false) => on_pool::<8>(input),
        (true, true) => on_pgmap::<1>(input),
        (true, false) => on_pgmap::<8>(input),
    }
}

/// What another is made of, to which nothing belongs that is out here.
const ELSEWHERE: [PhysRange; 1] = [PhysRange { start: Phys(0), pages: 1 }];

fn on_pool<const WORDS: usize>(input: &Input) {
    let ranges = input.shape.ranges();
    let [mine, other] =
        [&ranges[..], &ELSEWHERE[..]].map(|ranges| GenPool::boxed(&Params::new(ranges)).expect("the shape is sound"));
    Caller::<GenPool<'_, WORDS>>::go(&mine, &other, input);
}

fn on_pgmap<const WORDS: usize>(input: &Input) {
    let ranges = input.shape.ranges();
    let [mine, other] = [&ranges[..], &ELSEWHERE[..]]
        .map(|ranges| Pgmap::boxed(&Params::new(ranges), Recorder::default()).expect("the shape is sound"));
    Caller::<Pgmap<'_, Recorder, WORDS>>::go(&mine, &other, input);
}

struct Caller<'c, 'p, P: Subject<'p>> {
    cpus: &'c Cpus<'p, P>,
    elsewhere: &'c Cpus<'p, P>,
    model: Model,
    out: Vec<P::Item>,
    /// Tells folios apart: the next one's number.
    serial: u64,
    /// Whether there are handles for all CPUs.
    enough: bool,
}

/// What is in use around a call.
struct Inside<'h, H> {
    /// The handle that was entered last.
    handle: Option<&'h mut H>,
    /// How many have entered and not left.
    entered: usize,
    /// How many pages those before the last have at hand.
    around: u64,
}

/// No more than so many enter at a time: there are no more ways to find all handles in use.
const MOST: usize = CPUS + 2;

impl<'p, P: Subject<'p>> Caller<'_, 'p, P> {
    fn go(mine: &'p P, other: &'p P, input: &Input) {
        // More than the CPUs can use: nobody else has any.
        let left = usize::from(input.left) % (CPUS + 2);
        let enough = left >= CPUS;
        let mut others: Vec<P::Handle> = if enough { Vec::new() } else { std::iter::from_fn(|| mine.handle()).collect() };
        others.truncate(others.len().saturating_sub(left));
        let (cpus, elsewhere) = (Cpus::with_cpus(mine), Cpus::with_cpus(other));
        let model = Model::new(mine.placed());
        let mut caller = Caller { cpus: &cpus, elsewhere: &elsewhere, model, out: Vec::new(), serial: 0, enough };
        caller.follow(&mut input.ops.iter(), Inside { handle: None, entered: 0, around: 0 });
        caller.end();
    }

    /// Does what is left, up to where whoever has entered last is done.
    fn follow(&mut self, ops: &mut Iter<'_, Op>, mut inside: Inside<'_, P::Handle>) {
        while let Some(op) = ops.next() {
            match *op {
                Op::Leave if inside.entered > 0 => return,
                Op::Enter(cpu) if inside.entered < MOST => {
                    let (entered, around) = (inside.entered + 1, inside.cached::<P>());
                    self.cpus.on(cpu.into()).with(|handle| {
                        assert!(inside.entered < CPUS || handle.is_none(), "a handle that is in use");
                        assert!(inside.entered >= CPUS || handle.is_some() || !self.enough, "there is one that is not in use");
                        self.follow(ops, Inside { handle, entered, around });
                    });
                }
                op => self.step(op, &mut inside),
            }
        }
    }

    fn step(&mut self, op: Op, inside: &mut Inside<'_, P::Handle>) {
        match op {
            Op::Alloc(by, order, more) => {
                let order = Order::new(u32::from(order) % 14).expect("a small order");
                _ = (0..=more).all(|_| self.alloc(by, order, inside));
            }
            Op::Free(by, number, more) => (0..=more).for_each(|_| self.free(by, number, inside)),
            Op::Get(number) => {
                if let Some(item) = self.number(number).and_then(|index| P::again(&self.out[index], &mut self.model)) {
                    self.out.push(item);
                }
            }
            Op::Stray(cpu, number) => {
                if let Some(index) = self.number(number) {
                    let item = self.out.swap_remove(index);
                    self.out.push(P::stray(self.elsewhere.on(cpu.into()), item));
                }
            }
            Op::Drain => self.drain(inside),
            Op::Renew(range, evict) => self.renew(range.into(), evict, inside),
            Op::Kill => self.owner().kill(&mut self.model),
            Op::Validate => self.validate(inside),
            // Too many have entered, or nobody has.
            Op::Enter(_) | Op::Leave => {}
        }
    }

    fn owner(&self) -> &'p P {
        self.cpus.owner()
    }

    /// What is out as number `number`, spread over all that is out, however much it is.
    fn number(&self, number: u8) -> Option<usize> {
        (usize::from(number) * 37).checked_rem(self.out.len())
    }

    /// Whether something was taken.
    fn alloc(&mut self, by: By, order: Order, inside: &mut Inside<'_, P::Handle>) -> bool {
        let Some(way) = way(self.cpus, by, inside) else { return false };
        self.serial += 1;
        let result = P::alloc(self.owner(), way, order, self.serial);
        let taken = result.is_ok();
        match result {
            Ok(item) => self.add(item, order),
            Err(error) => self.check_refusal(order, error, by, inside),
        }
        taken
    }

    /// What was taken was idle and is in one range.
    fn add(&mut self, item: P::Item, order: Order) {
        let run = P::run(&item);
        assert!(!self.model.dying, "{run:?} of a dying pgmap");
        assert_eq!((run.order(), self.model.check_request(run.start(), order)), (order, Ok(())), "{run:?} could not be taken");
        P::add(&mut self.model, run, self.serial);
        self.out.push(item);
    }

    /// What was refused did not exist, or lies in a handle, and the refusal says how much that is.
    fn check_refusal(&self, order: Order, error: AllocError, by: By, inside: &Inside<'_, P::Handle>) {
        if !self.model.dying && !Model::new(self.owner().placed()).has_idle_run(order) {
            return assert_eq!(error, AllocError::TooLarge);
        }
        if let By::Inside = by {
            assert_eq!(inside.handle.as_deref().map(P::cached), Some(0), "left in the handle that refuses");
        }
        if self.model.dying {
            return assert_eq!(error, AllocError::Dying);
        }
        let (idle, cached) = (self.owner().idle(), self.cached());
        let scattered = order > Order::ZERO && idle >= order.pages();
        let why = if scattered { AllocError::Fragmented { cached } } else { AllocError::NoSpace { cached } };
        assert_eq!(error, why, "order {order}, {idle} pages are idle");
        if let By::Cpu(_) | By::Here = by {
            assert_eq!(cached, inside.cached::<P>(), "left in handles, not only in those that are in use");
        }
        assert!(cached > 0 || !self.model.has_idle_run(order), "order {order} was refused, but there is one");
    }

    fn free(&mut self, by: By, number: u8, inside: &mut Inside<'_, P::Handle>) {
        if let Some(index) = self.number(number)
            && let Some(way) = way(self.cpus, by, inside)
        {
            P::free(self.owner(), way, self.out.swap_remove(index), &mut self.model);
        }
    }

    /// How many pages are neither out nor idle: those at hand in handles.
    fn cached(&self) -> u64 {
        self.model.census().idle - self.owner().idle()
    }

    /// Nothing stays behind but in handles that are in use.
    fn drain(&self, inside: &Inside<'_, P::Handle>) {
        self.cpus.drain();
        assert_eq!(self.cached(), inside.cached::<P>());
    }

    fn validate(&self, inside: &Inside<'_, P::Handle>) {
        self.drain(inside);
        if inside.cached::<P>() == 0 {
            self.owner().compare(&self.model);
        }
    }

    /// The range of this number is taken away and added again, if nothing is in the way.
    fn renew(&mut self, number: usize, evict: Option<u8>, inside: &Inside<'_, P::Handle>) {
        let placed = self.owner().placed();
        // A dying pgmap has no use for it.
        let Some(range) = placed.get(number % placed.len()).filter(|_| !self.model.dying) else { return };
        let pages = range.first.get()..range.end().get();
        let gone = P::remove(self.owner(), range.first, |closed| {
            if closed {
                self.alloc_beside(&pages);
            }
            self.cpus.drain();
            if let Some(cpu) = evict {
                self.evict(&pages, cpu);
            }
            // What is put while its range is closed does not stay at hand.
            if !closed {
                self.cpus.drain();
            }
        });
        let untaken = self.model.is_untaken(pages.clone());
        assert!(untaken || !gone, "the range at {} is gone, and something of it is out", range.first);
        assert!(gone || !untaken || inside.cached::<P>() > 0, "nothing is in the way of {}", range.first);
        if gone {
            self.owner().put_in(PhysRange { start: range.phys, pages: range.pages });
            self.model.place(self.owner().placed());
        }
    }

    /// Refused or not: nothing comes from a range that is closed, though a handle has some of it at hand.
    fn alloc_beside(&mut self, closed: &Range<u64>) {
        self.serial += 1;
        if let Ok(item) = P::alloc(self.owner(), Way::On(self.cpus.here()), Order::ZERO, self.serial) {
            assert!(!closed.contains(&P::run(&item).start().get()), "a page of a range that is closed");
            self.add(item, Order::ZERO);
        }
    }

    /// All that is out of these pages comes back.
    fn evict(&mut self, pages: &Range<u64>, cpu: u8) {
        for item in self.out.extract_if(.., |item| pages.contains(&P::run(item).start().get())) {
            P::free(self.cpus.owner(), Way::On(self.cpus.on(cpu.into())), item, &mut self.model);
        }
    }

    /// All comes back, and nothing has been lost.
    fn end(mut self) {
        for (turn, item) in self.out.drain(..).enumerate() {
            P::free(self.cpus.owner(), Way::On(self.cpus.on(turn)), item, &mut self.model);
        }
        self.cpus.drain();
        assert_eq!(self.owner().idle(), self.model.census().pages);
        self.owner().compare(&self.model);
        P::end(self.owner(), &mut self.model);
    }
}

impl<H> Inside<'_, H> {
    /// How many pages the handles that are in use have at hand.
    fn cached<'p, P: Subject<'p, Handle = H>>(&self) -> u64 {
        self.around + self.handle.as_deref().map_or(0, P::cached)
    }
}

/// Which way a call of `by` goes; `None` if nobody has entered, or found no handle.
fn way<'w, 'p, P: Subject<'p>>(cpus: &'w Cpus<'p, P>, by: By, inside: &'w mut Inside<'_, P::Handle>) -> Option<Way<'w, 'p, P>> {
    match by {
        By::Cpu(number) => Some(Way::On(cpus.on(number.into()))),
        By::Here => Some(Way::On(cpus.here())),
        By::Inside => inside.handle.as_deref_mut().map(Way::Held),
        By::Shared => Some(Way::Shared),
    }
}
