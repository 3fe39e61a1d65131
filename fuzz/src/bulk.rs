//! Many pages in one call: by the list, by the word, on the shared path and through handles, against a set of pages.

use std::collections::BTreeSet;
use std::ops::Range;

use arbitrary::Arbitrary;
use pgmap_alloc::PoolNeeds;
use pgmap_alloc::{
    AllocError, FreeError, FreeManyError, GenPool, LocalPool, Offset, Order, PageWord, Params, RangeSlot, ScatterError, Table,
};

use crate::op::Shape;

/// A pool and what is done to it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    /// What the pool is made of.
    pub shape: Shape,
    /// Whether it counts its idle runs.
    pub counts: bool,
    /// Whether it remembers what is cleared.
    pub tracks: bool,
    /// What is done, in this order, and by whom.
    pub ops: Vec<(Op, By)>,
}

/// Who calls.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Nobody in particular.
    Shared,
    /// One of two handles.
    Handle,
    /// The other.
    Other,
}

/// One call.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Op {
    /// One run of this order.
    Alloc(u8),
    /// So many runs of this order, or none.
    Many(u8, u16),
    /// So many, or as many as there are.
    Some(u8, u16),
    /// So many pages in no more than so many words, or none.
    Words(u16, u8),
    /// So many, or as many as there are.
    SomeWords(u16),
    /// From the taken page on that is next to this one: so many runs of this order, one by one or as a list.
    FreeMany(u16, u8, u16, Flaw),
    /// What is taken of so many words from there on, thinned out by a mask.
    FreeWords(u16, u8, u64, Flaw),
    /// The handle gives back all that it has at hand.
    Drain,
    /// Every page is compared.
    Validate,
}

/// What is wrong with a list that is to be freed.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// One place of it names pages that are idle, if there are any.
    Idle(u8),
    /// One place of it names pages beyond the last range.
    Outside(u8),
}

/// Runs the input against the model; panics at the first difference.
pub fn run(input: &Input) {
    if input.shape.small_tables { run_with_tables::<1>(input) } else { run_with_tables::<8>(input) }
}

fn run_with_tables<const WORDS: usize>(input: &Input) {
    let ranges = input.shape.ranges();
    let mut params = Params::new(&ranges);
    if input.counts {
        params = params.counting_runs();
    }
    if input.tracks {
        params = params.tracking_clear();
    }
    // One in two, without a byte of its own: the inputs that there are stay what they are.
    if input.ops.len() % 2 == 1 {
        params = params.packing_tightly();
    }
    let needs = PoolNeeds::of::<WORDS>(&params).expect("the shape is sound");
    let mut tables: Vec<Table<WORDS>> = (0..needs.tables).map(|_| Table::new()).collect();
    let mut slots: Vec<RangeSlot> = (0..needs.ranges).map(|_| RangeSlot::new()).collect();
    let pool = GenPool::with_storage(&params, &mut tables, &mut slots).expect("the storage is what is needed");
    let handles = [pool.local(), pool.local()].map(|local| local.expect("there is room for two"));
    let mut caller = Caller { pool: &pool, handles, taken: BTreeSet::new() };
    for (op, by) in &input.ops {
        caller.step(*op, *by);
        caller.adds_up();
    }
    caller.end();
}

struct Caller<'p, const WORDS: usize> {
    pool: &'p GenPool<'p, WORDS>,
    handles: [LocalPool<'p, WORDS>; 2],
    taken: BTreeSet<u64>,
}

/// The most runs and words of one call.
const MOST: usize = 700;

impl<'p, const WORDS: usize> Caller<'p, WORDS> {
    fn step(&mut self, op: Op, by: By) {
        match op {
            Op::Alloc(order) => self.alloc(small(order), by),
            Op::Many(order, count) => self.many(small(order), usize::from(count) % MOST, by),
            Op::Some(order, count) => self.some(small(order), usize::from(count) % MOST, by),
            Op::Words(pages, room) => self.words(u64::from(pages) % 2000, usize::from(room), by),
            Op::SomeWords(pages) => self.some_words(u64::from(pages) % 2000, by),
            Op::FreeMany(from, order, count, flaw) => self.free_many(from, small(order), usize::from(count) % MOST, flaw, by),
            Op::FreeWords(from, count, mask, flaw) => self.free_words(from, usize::from(count) % 16, mask, flaw, by),
            Op::Drain => {
                if let Some(local) = self.handle(by) {
                    local.drain();
                    assert_eq!(local.cached(), 0);
                }
            }
            Op::Validate => self.validate(),
        }
    }

    fn handle(&mut self, by: By) -> Option<&mut LocalPool<'p, WORDS>> {
        match by {
            By::Shared => None,
            By::Handle => self.handles.first_mut(),
            By::Other => self.handles.last_mut(),
        }
    }

    fn cached(&self) -> u64 {
        self.handles.iter().map(LocalPool::cached).sum()
    }

    /// How many idle aligned runs of `order` lie in the ranges beside each other.
    fn runs(&self, order: Order) -> usize {
        let runs = self.pool.ranges().flat_map(|range| {
            let first = range.first.get().next_multiple_of(order.pages());
            let starts = (first..range.end().get()).step_by(order.pages() as usize);
            starts.take_while(move |start| start + order.pages() <= range.end().get())
        });
        runs.filter(|start| self.taken.range(pages(*start, order)).next().is_none()).count()
    }

    fn take(&mut self, pages: impl IntoIterator<Item = u64>) {
        for page in pages {
            assert!(self.pool.has_offset(Offset::new(page)) && !self.pool.is_idle(Offset::new(page)), "{page}");
            assert!(self.taken.insert(page), "{page} is handed out twice");
        }
    }

    /// `wanted` runs were refused.
    fn check_refusal(&self, order: Order, wanted: usize, error: AllocError) {
        if order > self.pool.largest_order() {
            return assert_eq!(error, AllocError::TooLarge);
        }
        let (cached, idle) = (self.cached(), self.pool.avail());
        assert!(cached > 0 || self.runs(order) < wanted, "{wanted} runs of order {order} are there, and {error}");
        let scattered = order > Order::ZERO && idle >= order.pages() * wanted as u64;
        let why = if scattered { AllocError::Fragmented { cached } } else { AllocError::NoSpace { cached } };
        assert_eq!(error, why, "{wanted} runs of order {order}, {idle} pages are idle");
    }

    fn alloc(&mut self, order: Order, by: By) {
        let pool = self.pool;
        let got = match self.handle(by) {
            Some(local) => local.alloc(order).map(|run| run.into_raw().start()),
            None => pool.alloc(order),
        };
        match got {
            Ok(start) => {
                assert!(start.is_aligned(order));
                self.take(pages(start.get(), order));
            }
            Err(error) => self.check_refusal(order, 1, error),
        }
    }

    fn many(&mut self, order: Order, count: usize, by: By) {
        let (pool, mut out) = (self.pool, vec![Offset::new(u64::MAX); count]);
        let got = match self.handle(by) {
            Some(local) => local.alloc_many(order, &mut out),
            None => pool.alloc_many(order, &mut out),
        };
        match got {
            Ok(()) => self.take_runs(order, &out),
            Err(error) => self.check_refusal(order, count, error),
        }
    }

    fn some(&mut self, order: Order, count: usize, by: By) {
        let (pool, mut out) = (self.pool, vec![Offset::new(u64::MAX); count]);
        let done = match self.handle(by) {
            Some(local) => local.alloc_some(order, &mut out),
            None => pool.alloc_some(order, &mut out),
        };
        self.take_runs(order, &out[..done]);
        if done < count && self.cached() == 0 {
            assert_eq!(self.runs(order), 0, "{done} of {count} runs of order {order} were all there were");
        }
    }

    fn take_runs(&mut self, order: Order, starts: &[Offset]) {
        assert!(starts.iter().all(|start| start.is_aligned(order)));
        starts.iter().for_each(|start| self.take(pages(start.get(), order)));
    }

    fn words(&mut self, wanted: u64, room: usize, by: By) {
        let (pool, mut out) = (self.pool, vec![PageWord::EMPTY; room]);
        let got = match self.handle(by) {
            Some(local) => local.alloc_words(wanted, &mut out),
            None => pool.alloc_words(wanted, &mut out),
        };
        match got.map(<[PageWord]>::to_vec) {
            Ok(words) => {
                assert_eq!(words.iter().map(|word| word.pages()).sum::<u64>(), wanted);
                self.take(words.into_iter().flatten().map(Offset::get));
            }
            Err(ScatterError::NoPages) => assert_eq!(wanted, 0),
            Err(ScatterError::TooLarge { pages }) => assert!(pages == wanted && wanted > self.pool.size()),
            Err(ScatterError::ListFull { room: full, .. }) => assert!(full == room && (room as u64) < wanted),
            Err(ScatterError::NoSpace { idle, cached }) => {
                assert_eq!((idle, cached), (self.pool.avail(), self.cached()));
                assert!(idle < wanted);
            }
            Err(error) => panic!("{wanted} pages were refused: {error}"),
        }
    }

    fn some_words(&mut self, wanted: u64, by: By) {
        let (pool, mut out) = (self.pool, vec![PageWord::EMPTY; MOST]);
        let words = match self.handle(by) {
            Some(local) => local.alloc_some_words(wanted, &mut out),
            None => pool.alloc_some_words(wanted, &mut out),
        };
        let (words, got) = (words.to_vec(), words.iter().map(|word| word.pages()).sum::<u64>());
        assert!(got <= wanted && words.iter().all(|word| !word.is_empty()));
        let full = words.len() == MOST;
        self.take(words.into_iter().flatten().map(Offset::get));
        if got < wanted && !full && self.cached() == 0 {
            assert_eq!(self.pool.avail(), 0, "{got} of {wanted} pages were all there were");
        }
    }

    /// The first taken page from one on, or from the start.
    fn taken_from(&self, from: u16) -> Option<u64> {
        self.taken.range(u64::from(from)..).next().or(self.taken.first()).copied()
    }

    fn free_many(&mut self, from: u16, order: Order, count: usize, flaw: Flaw, by: By) {
        let Some(first) = self.taken_from(from) else { return };
        let whole = |start: &u64| pages(*start, order).all(|page| self.taken.contains(&page));
        let starts = (first.next_multiple_of(order.pages())..).step_by(order.pages() as usize);
        let mut list: Vec<_> = starts.take(4 * MOST).filter(whole).take(count).map(Offset::new).collect();
        let bad = self.flawed(flaw, list.len()).map(|(at, page)| {
            list[at] = Offset::new(page).align_down(order);
            at
        });
        let pool = self.pool;
        let freed = match self.handle(by) {
            Some(local) => local.free_many(order, &list),
            None => pool.free_many(order, &list),
        };
        self.check_freed(freed, bad);
        for start in &list[..bad.unwrap_or(list.len())] {
            pages(start.get(), order).for_each(|page| assert!(self.taken.remove(&page)));
        }
    }

    fn free_words(&mut self, from: u16, count: usize, mask: u64, flaw: Flaw, by: By) {
        let Some(first) = self.taken_from(from) else { return };
        let bases = (0..count as u64).map(|index| first / 64 * 64 + 64 * index);
        let of = |base: u64| self.taken.range(base..base + 64).fold(0, |mask, page| mask | 1 << (page - base));
        let mut words: Vec<_> = bases.map(|base| word(base, of(base) & mask.rotate_left(base as u32 / 64))).collect();
        let bad = self.flawed(flaw, words.len()).map(|(at, page)| {
            words[at] = word(page / 64 * 64, 1 << (page % 64) | of(page / 64 * 64) & mask);
            at
        });
        // Who names a page twice means it once.
        let listed: Vec<_> = words.iter().take(bad.unwrap_or(words.len())).flat_map(|word| word.iter()).map(Offset::get).collect();
        let pool = self.pool;
        let freed = match self.handle(by) {
            Some(local) => local.free_words(&words),
            None => pool.free_words(&words),
        };
        self.check_freed(freed, bad);
        listed.iter().for_each(|page| assert!(self.taken.remove(page)));
    }

    /// A place of a list, and a page that must not be in it.
    fn flawed(&self, flaw: Flaw, length: usize) -> Option<(usize, u64)> {
        let end = self.pool.ranges().last()?.end().get();
        let (at, page) = match flaw {
            Flaw::None => return None,
            // What is at hand in a handle looks taken, and is not to be named.
            Flaw::Idle(at) => (at, (0..end).find(|page| self.pool.is_idle(Offset::new(*page)))?),
            Flaw::Outside(at) => (at, end.next_multiple_of(1 << 12)),
        };
        (length > 0).then(|| (usize::from(at) % length, page))
    }

    fn check_freed(&self, freed: Result<(), FreeManyError>, bad: Option<usize>) {
        match (freed, bad) {
            (Ok(()), None) => {}
            (Err(FreeManyError::Refused { index, error }), Some(bad)) => {
                assert_eq!(index, bad, "{error}");
                match error {
                    FreeError::DoubleFree { page } => assert!(self.pool.is_idle(page), "{page} is not idle"),
                    FreeError::OutOfRange | FreeError::CrossesRange => {}
                    error => panic!("{error}"),
                }
            }
            (freed, bad) => panic!("{freed:?}, and bad is {bad:?}"),
        }
    }

    /// Nothing is lost and nothing too much.
    fn adds_up(&self) {
        let idle = self.pool.avail();
        assert_eq!(idle + self.cached() + self.taken.len() as u64, self.pool.size());
        if let Some(counted) = self.pool.counted_runs() {
            assert_eq!(counted.pages(), idle);
        }
    }

    fn validate(&self) {
        let idle = self.pool.ranges().flat_map(|range| range.first.get()..range.end().get());
        let idle = idle.filter(|page| self.pool.is_idle(Offset::new(*page)));
        assert_eq!(idle.inspect(|page| assert!(!self.taken.contains(page))).count() as u64, self.pool.avail());
    }

    /// All comes back, and merges.
    fn end(mut self) {
        let left: Vec<_> = self.taken.iter().copied().map(Offset::new).collect();
        self.pool.free_many(Order::ZERO, &left).expect("it was taken");
        self.taken.clear();
        self.handles.iter_mut().for_each(LocalPool::drain);
        self.adds_up();
        let largest = self.pool.largest_order();
        self.pool.alloc(largest).expect("the largest run has come together again");
    }
}

/// An order that a small pool has, or one more.
fn small(order: u8) -> Order {
    Order::new(u32::from(order) % 14).expect("a small order")
}

fn pages(start: u64, order: Order) -> Range<u64> {
    start..start + order.pages()
}

fn word(base: u64, mask: u64) -> PageWord {
    PageWord::new(Offset::new(base), mask).expect("a multiple of 64")
}
