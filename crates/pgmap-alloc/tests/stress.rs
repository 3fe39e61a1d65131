//! Reality: four threads, all verbs, small pools, a kill in the middle of it; no page ever has two owners.
//!
//! About two seconds in all; `PGMAP_STRESS_SECS` makes each part longer.

#![cfg(all(feature = "alloc", not(loom)))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

use pgmap_alloc::{AfterFree, AllocError, Block, Folio, Freed, Offset, Order, Params, Pgmap, PgmapOps, PhysRange, RequestError};
use support::{Lent, Random, at, order, partition, range, stress_time};

const THREADS: u64 = 4;

/// Who owns each page: 0 nobody, else a thread's number. Written by whoever has just been given the page, and before it is given
/// back, so two owners at a time would meet here.
struct Owners {
    pages: Vec<AtomicU32>,
    folios: AtomicU64,
    frees: AtomicU64,
}

impl Owners {
    fn new(pages: u64) -> Owners {
        Owners { pages: (0..pages).map(|_| AtomicU32::new(0)).collect(), folios: AtomicU64::new(0), frees: AtomicU64::new(0) }
    }

    fn take(&self, start: Offset, order: Order, by: u64) {
        for page in start.get()..start.get() + order.pages() {
            let before = self.pages[page as usize].swap(by as u32, Ordering::SeqCst);
            assert_eq!(before, 0, "page {page} was given to {by}, and {before} has it");
        }
    }

    fn leave(&self, start: Offset, order: Order, by: u64) {
        for page in start.get()..start.get() + order.pages() {
            let before = self.pages[page as usize].swap(0, Ordering::SeqCst);
            assert_eq!(u64::from(before), by, "page {page} changed hands");
        }
    }
}

/// The last put gives the pages up, wherever it happens; the data says who took them.
impl PgmapOps for &Owners {
    type Data = u64;

    fn folio_free(&self, folio: Freed<u64>) -> AfterFree {
        self.leave(folio.offset, folio.order, folio.data);
        self.frees.fetch_add(1, Ordering::Relaxed);
        AfterFree::Release
    }
}

/// What one thread holds.
struct Hands<'p, 'o, const WORDS: usize> {
    pgmap: &'p Pgmap<'p, &'o Owners, WORDS>,
    owners: &'o Owners,
    by: u64,
    folios: Vec<Folio<'p, &'o Owners, WORDS>>,
    raw: Vec<Offset>,
    blocks: Vec<Block<'p, &'o Owners, WORDS>>,
}

impl<const WORDS: usize> Hands<'_, '_, WORDS> {
    /// One verb at random; `false` once the pgmap is dying.
    fn step(&mut self, random: &mut Random, last: u64, orders: u64) -> bool {
        let o = order((random.below(orders) * random.below(orders) / orders) as u32);
        let anywhere = at((random.below(last) >> o.get()) << o.get());
        match random.below(12) {
            0 => match self.pgmap.alloc_folio_with(o, self.by) {
                Ok(folio) => self.serve(folio),
                Err(error) => return error != AllocError::Dying,
            },
            1 => match self.pgmap.request_folio_with(anywhere, o, self.by) {
                Ok(folio) => self.serve(folio),
                Err(error) => return error != RequestError::Dying,
            },
            2 => {
                if let Ok(head) = self.pgmap.alloc_folio_raw(o, self.by) {
                    self.owners.take(head, o, self.by);
                    self.owners.folios.fetch_add(1, Ordering::Relaxed);
                    self.raw.push(head);
                }
            }
            3 => {
                if let Ok(block) = self.pgmap.alloc_block(o) {
                    self.owners.take(block.offset(), block.order(), self.by);
                    self.blocks.push(block);
                }
            }
            4 => {
                if let Ok(block) = self.pgmap.request_block(anywhere, o) {
                    self.owners.take(block.offset(), block.order(), self.by);
                    self.blocks.push(block);
                }
            }
            // A reference to anybody's folio, which may be the last one when it goes.
            5 => self.folios.extend(self.pgmap.try_get(anywhere)),
            6 => {
                let more = self.folios.last().cloned();
                self.folios.extend(more);
            }
            7 if !self.blocks.is_empty() => {
                let block = self.blocks.swap_remove(random.below(self.blocks.len() as u64) as usize);
                match block.into_folio(self.by) {
                    Ok(folio) => {
                        self.owners.folios.fetch_add(1, Ordering::Relaxed);
                        self.folios.push(folio);
                    }
                    Err(refused) => self.blocks.push(refused.value),
                }
            }
            8 if !self.raw.is_empty() => {
                let head = self.raw.swap_remove(random.below(self.raw.len() as u64) as usize);
                self.pgmap.put_raw(head, 1).unwrap();
            }
            9 if !self.blocks.is_empty() => {
                let block = self.blocks.swap_remove(random.below(self.blocks.len() as u64) as usize);
                self.give_up(block, random);
            }
            _ => {
                for _ in 0..2 {
                    if !self.folios.is_empty() {
                        drop(self.folios.swap_remove(random.below(self.folios.len() as u64) as usize));
                    }
                }
            }
        }
        true
    }

    fn serve(&mut self, folio: Folio<'_, &Owners, WORDS>) {
        let (head, o) = (folio.offset(), folio.order());
        assert_eq!(folio.data(), self.by);
        self.owners.take(head, o, self.by);
        self.owners.folios.fetch_add(1, Ordering::Relaxed);
        // By its raw form, so that lifetimes need not meet.
        self.raw.push(folio.into_raw());
    }

    /// A block goes as one, or in two halves by offset.
    fn give_up(&self, block: Block<'_, &Owners, WORDS>, random: &mut Random) {
        let (start, o) = (block.offset(), block.order());
        self.owners.leave(start, o, self.by);
        if o == order(0) || random.one_in(2) {
            return;
        }
        let (_, half) = (block.into_raw(), order(o.get() - 1));
        for part in [at(start.get() + half.pages()), start] {
            self.pgmap.free_block_raw(part, half).unwrap();
        }
    }

    fn put_all(&mut self, random: &mut Random) {
        self.folios.clear();
        for head in self.raw.drain(..) {
            self.pgmap.put_raw(head, 1).unwrap();
        }
        for block in std::mem::take(&mut self.blocks) {
            self.give_up(block, random);
        }
    }
}

/// Rounds of random verbs, a proof after each, and a kill in the middle of the last.
fn stress<const WORDS: usize>(ranges: &[PhysRange], orders: u64) {
    let mut lent = Lent::<WORDS>::new(ranges);
    let plan = pgmap_alloc::PoolNeeds::of::<WORDS>(&Params::new(ranges)).unwrap();
    let owners = Owners::new(plan.pages);
    let pgmap = lent.pgmap(&owners);
    let (meet, time) = (Barrier::new(THREADS as usize), stress_time());
    let over = AtomicU32::new(0);
    thread::scope(|scope| {
        for by in 1..=THREADS {
            let (pgmap, owners, meet, time, over) = (&pgmap, &owners, &meet, &time, &over);
            scope.spawn(move || {
                let _alarm = support::EndOnPanic;
                let mut random = Random::new(by);
                let mut hands = Hands { pgmap, owners, by, folios: vec![], raw: vec![], blocks: vec![] };
                for round in 0.. {
                    for _ in 0..2000 {
                        hands.step(&mut random, plan.pages, orders);
                    }
                    if round % 3 == 0 {
                        hands.put_all(&mut random);
                    }
                    // Quiet: one thread proves the partition against what the shadow says.
                    if meet.wait().is_leader() {
                        let census = partition(pgmap);
                        let taken = owners.pages.iter().filter(|page| page.load(Ordering::SeqCst) != 0).count() as u64;
                        assert_eq!(census.in_service + census.block, taken);
                        let (begun, ended) = (owners.folios.load(Ordering::SeqCst), owners.frees.load(Ordering::SeqCst));
                        assert_eq!(census.folios, begun - ended);
                        over.store(u32::from(time.is_over()), Ordering::SeqCst);
                    }
                    meet.wait();
                    if over.load(Ordering::SeqCst) != 0 {
                        break;
                    }
                }
                // One kills while the others go on until they are told.
                if by == 1 {
                    thread::yield_now();
                    let _ = pgmap.kill();
                } else {
                    while hands.step(&mut random, plan.pages, orders) {}
                }
                hands.put_all(&mut random);
            });
        }
    });
    pgmap.kill().drain(|holdout| panic!("everything has been put, but {holdout:?}")).teardown();
    assert_eq!(partition(&pgmap).idle, pgmap.pages());
    assert!(owners.pages.iter().all(|page| page.load(Ordering::SeqCst) == 0));
    assert_eq!(owners.folios.load(Ordering::SeqCst), owners.frees.load(Ordering::SeqCst));
}

#[test]
fn req_14_no_page_has_two_owners_in_tables_of_one_word() {
    stress::<1>(&[range(0, 64 * 64 + 100)], 8);
}

#[test]
fn req_14_no_page_has_two_owners_in_tables_of_two_words() {
    stress::<2>(&[range(0, 700), range(8192, 512)], 9);
}

#[test]
fn req_14_no_page_has_two_owners_in_real_tables() {
    stress::<8>(&[range(0, 2048), range(10_001, 999)], 12);
}
