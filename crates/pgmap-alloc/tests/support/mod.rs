//! What the requirement tests share: short names, a driver that remembers what it was told, and the proof of a quiet pgmap.

// Every test file is a crate of its own and uses what it needs.
#![allow(dead_code, unreachable_pub)]

use std::sync::{Mutex, OnceLock};

use pgmap_alloc::{
    AfterFree, Census, DataCell, Extent, Freed, GenPool, Lookup, Offset, Order, PageWord, Params, Pgmap, PgmapOps, Phys, PhysRange,
    RangeSlot, Storage, Table, Word, storage_needed,
};

pub const PAGE: u64 = 4096;

pub fn order(order: u32) -> Order {
    Order::new(order).unwrap()
}

pub fn at(page: u64) -> Offset {
    Offset::new(page)
}

/// A range by page numbers of physical memory.
pub fn range(page: u64, pages: u64) -> PhysRange {
    PhysRange { start: Phys(page * PAGE), pages }
}

/// The pages from `start` up to `end`.
pub fn window(start: u64, end: u64) -> Extent {
    Extent::between(at(start), at(end)).unwrap()
}

/// A pool of one range of so many pages, from address 0 on.
#[cfg(feature = "alloc")]
pub fn pool(pages: u64) -> GenPool<'static> {
    GenPool::new(&Params::new(&[range(0, pages)])).unwrap()
}

/// [`pool`], and it remembers what is cleared.
#[cfg(feature = "alloc")]
pub fn clear_pool(pages: u64) -> GenPool<'static> {
    GenPool::new(&Params::new(&[range(0, pages)]).tracking_clear()).unwrap()
}

/// Pages of one word of a table, by a mask.
pub fn word(base: u64, mask: u64) -> PageWord {
    PageWord::new(at(base), mask).unwrap()
}

/// Nothing of a pool is taken, and all of it merges.
pub fn assert_whole<const WORDS: usize>(pool: &GenPool<'_, WORDS>) {
    assert_eq!(pool.avail(), pool.size());
    let largest = pool.alloc(pool.largest_order()).unwrap();
    pool.free(largest, pool.largest_order()).unwrap();
}

type OnFree = Box<dyn Fn(Freed<u64>) -> AfterFree + Send + Sync>;

/// A driver that remembers every call, and does in `folio_free` what a test asks of it.
#[derive(Default)]
pub struct Driver {
    pub freed: Mutex<Vec<Freed<u64>>>,
    pub hooks: Mutex<Vec<&'static str>>,
    pub on_free: OnceLock<OnFree>,
}

impl Driver {
    pub fn calls(&self) -> usize {
        self.freed.lock().unwrap().len()
    }

    pub fn last(&self) -> Freed<u64> {
        *self.freed.lock().unwrap().last().unwrap()
    }
}

impl PgmapOps for Driver {
    type Data = u64;

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        self.freed.lock().unwrap().push(folio);
        self.on_free.get().map_or(AfterFree::Release, |on_free| on_free(folio))
    }

    fn quiesce(&self) {
        self.hooks.lock().unwrap().push("quiesce");
    }

    fn teardown(&self) {
        self.hooks.lock().unwrap().push("teardown");
    }
}

#[cfg(feature = "alloc")]
pub type Map = Pgmap<'static, Driver>;

#[cfg(feature = "alloc")]
pub fn pgmap(ranges: &[PhysRange]) -> Map {
    Pgmap::new(&Params::new(ranges), Driver::default()).unwrap()
}

/// A pgmap that a callback can name while it runs.
#[cfg(feature = "alloc")]
pub fn leaked(ranges: &[PhysRange]) -> &'static Map {
    Box::leak(Box::new(pgmap(ranges)))
}

/// Proves the partition page by page: the validator, the snapshot and every single lookup say the same.
pub fn partition<O: PgmapOps, const WORDS: usize>(pgmap: &Pgmap<'_, O, WORDS>) -> Census {
    let census = pgmap.validate().unwrap();
    let mut found = Census { pages: census.pages, folios: census.folios, ..Census::default() };
    for range in pgmap.ranges() {
        for page in range.first.get()..range.end().get() {
            match pgmap.lookup(at(page)).unwrap() {
                Lookup::Idle => found.idle += 1,
                Lookup::Folio { .. } => found.in_service += 1,
                Lookup::Block => found.block += 1,
                other => panic!("page {page} is {other:?}"),
            }
        }
    }
    assert_eq!(found, census);
    assert_eq!(census.idle + census.in_service + census.block, census.pages);
    let walked: u64 = pgmap.snapshot().map(|run| run.pages).sum();
    assert_eq!(walked, census.pages);
    census
}

/// Every source file of the library, by its path below `src`.
pub fn sources(visit: &mut dyn FnMut(&str, &str)) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                visit(&name, &std::fs::read_to_string(&path).unwrap());
            }
        }
    }
}

/// How long a stress goes on: a share of `PGMAP_STRESS_SECS`, a fraction of a second without it.
pub struct StressTime(std::time::Instant);

pub fn stress_time() -> StressTime {
    let seconds = std::env::var("PGMAP_STRESS_SECS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.3);
    StressTime(std::time::Instant::now() + std::time::Duration::from_secs_f64(seconds))
}

impl StressTime {
    pub fn is_over(&self) -> bool {
        std::time::Instant::now() >= self.0
    }
}

/// Numbers that look random and come again with the same seed (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Something that polls a future by hand and counts how often it is woken.
#[derive(Default)]
pub struct Task(std::sync::Arc<Woken>);

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicU32);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Task {
    pub fn poll<F: Future + ?Sized>(&self, future: &mut std::pin::Pin<Box<F>>) -> std::task::Poll<F::Output> {
        let waker = std::task::Waker::from(self.0.clone());
        future.as_mut().poll(&mut std::task::Context::from_waker(&waker))
    }

    /// How often it has been woken since it was asked last.
    pub fn woken(&self) -> u32 {
        self.0.0.swap(0, std::sync::atomic::Ordering::SeqCst)
    }
}

/// Metadata that a test lends to a pgmap and looks at afterwards.
pub struct Lent<const WORDS: usize> {
    ranges: Vec<PhysRange>,
    tables: Vec<Table<WORDS>>,
    slots: Vec<RangeSlot>,
    words: Vec<Word>,
    cells: Vec<DataCell>,
}

impl<const WORDS: usize> Lent<WORDS> {
    pub fn new(ranges: &[PhysRange]) -> Self {
        let needed = storage_needed::<Driver, WORDS>(&Params::new(ranges)).unwrap();
        Lent {
            ranges: ranges.to_vec(),
            tables: (0..needed.tables).map(|_| Table::new()).collect(),
            slots: (0..needed.ranges).map(|_| RangeSlot::new()).collect(),
            words: (0..needed.words).map(|_| Word::new()).collect(),
            cells: (0..needed.data).map(|_| DataCell::new()).collect(),
        }
    }

    pub fn pgmap<O: PgmapOps>(&mut self, ops: O) -> Pgmap<'_, O, WORDS> {
        let Lent { ranges, tables, slots, words, cells } = self;
        Pgmap::with_storage(&Params::new(ranges), Storage { tables, ranges: slots, words, data: cells }, ops).unwrap()
    }

    /// Forgets what was idle, but not the words, and says that all of it is zero. (A word before page 64 would be found.)
    pub fn stale_words<O: PgmapOps>(&mut self, ops: O) -> Pgmap<'_, O, WORDS> {
        self.tables.iter_mut().for_each(|table| *table = Table::new());
        self.slots.iter_mut().for_each(|slot| *slot = RangeSlot::new());
        let Lent { ranges, tables, slots, words, cells } = self;
        Pgmap::with_zeroed_storage(&Params::new(ranges), Storage { tables, ranges: slots, words, data: cells }, ops).unwrap()
    }

    /// The pages whose words are not zero.
    pub fn words_in_use(&self) -> Vec<usize> {
        in_use(&self.words)
    }

    /// The pages whose data cells are not zero.
    pub fn cells_in_use(&self) -> Vec<usize> {
        in_use(&self.cells)
    }

    /// Every table, word and cell, with its name.
    pub fn printed(&self) -> Vec<(String, String)> {
        fn all<T: std::fmt::Debug>(name: &str, values: &[T]) -> Vec<(String, String)> {
            values.iter().enumerate().map(|(index, value)| (format!("{name} {index}"), format!("{value:?}"))).collect()
        }
        [all("table", &self.tables), all("word", &self.words), all("cell", &self.cells)].concat()
    }

    /// How many tables are not zero.
    pub fn tables_in_use(&self) -> usize {
        in_use(&self.tables).len()
    }
}

/// Metadata is opaque, but what it prints tells a fresh one from another.
fn in_use<T: Default + std::fmt::Debug>(values: &[T]) -> Vec<usize> {
    let fresh = format!("{:?}", T::default());
    (0..values.len()).filter(|&index| format!("{:?}", values[index]) != fresh).collect()
}

/// Ends the process when its thread panics: the others would wait for it for ever.
pub struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::exit(101);
        }
    }
}
