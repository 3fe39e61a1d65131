//! One of the threads of the stress, and all that it can do.

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use pgmap_alloc::{
    AccessError, Block, Capability, DriverData, Expect, Extent, ExtentParams, Folio, Local, Lookup, Offset, Order, Pgmap, PutError,
    Reason, RetireError, Retirement, SpecialSize, WaitError, Wish,
};

use crate::kinds::{Kind, keeping_nothing, names};
use crate::support::{Random, at, order};
use crate::{PAGES, PLUGGED};

/// What all threads share.
pub struct Common<'p, K: Kind> {
    pub pgmap: &'p Pgmap<'static, K>,
    /// Pages that have come into service.
    pub served: AtomicU64,
    /// Folios on their way from one thread to another.
    pub post: Mutex<Vec<Folio<'p, K>>>,
    pub stop: AtomicBool,
}

/// What one thread has.
pub struct Worker<'c, 'p, K: Kind> {
    pub common: &'c Common<'p, K>,
    pub random: Random,
    pub folios: Vec<Folio<'p, K>>,
    pub blocks: Vec<Block<'p, K>>,
    pub specials: Vec<(Offset, SpecialSize)>,
    pub local: Option<Local<'p, K>>,
}

impl<'p, K: Kind> Worker<'_, 'p, K> {
    fn pgmap(&self) -> &'p Pgmap<'static, K> {
        self.common.pgmap
    }

    fn order(&mut self) -> Order {
        order([0, 0, 0, 0, 1, 2, 3, 5, 9, 10][self.random.below(10) as usize])
    }

    /// A page, also where the range comes and goes.
    fn page(&mut self) -> Offset {
        at(self.random.below(PAGES + PLUGGED))
    }

    fn aligned(&mut self, order: Order) -> Offset {
        at(self.page().get() >> order.get() << order.get())
    }

    fn keep(&mut self, folio: Folio<'p, K>) {
        self.common.served.fetch_add(folio.order().pages(), Relaxed);
        self.folios.push(folio);
    }

    fn any_folio(&mut self) -> Option<Folio<'p, K>> {
        let count = self.folios.len() as u64;
        (count > 0).then(|| self.folios.swap_remove(self.random.below(count) as usize))
    }

    pub fn run(&mut self) {
        while !self.common.stop.load(Relaxed) {
            self.one_operation();
            if self.folios.len() > 40 {
                self.folios.truncate(10);
            }
            if self.blocks.len() > 40 {
                self.blocks.clear();
            }
        }
    }

    /// Some more operations, so that the kill and the drain meet them, and then the end.
    pub fn finish(mut self) {
        self.run();
        (0..200).for_each(|_| self.one_operation());
        self.take_specials_back(0);
        let post = &self.common.post;
        drop((self.folios, self.blocks, self.local));
        let left = std::mem::take(&mut *post.lock().unwrap());
        drop(left);
    }

    fn one_operation(&mut self) {
        match self.random.below(20) {
            0..4 => self.bring_into_service(),
            4..7 => drop(self.any_folio()),
            7 => self.speculate(),
            8 => self.count(),
            9 => self.split(),
            10 => self.migrate(),
            11 => self.freeze(),
            12 => self.take_blocks(),
            13 => self.take_kept(),
            14 => self.special(),
            15 => self.find_bad(),
            16 => self.wait(),
            17 => self.look(),
            18 => self.clear(),
            _ => self.use_handle(),
        }
    }

    /// By every way there is.
    fn bring_into_service(&mut self) {
        let (pgmap, order, head) = (self.pgmap(), self.order(), self.page());
        let start = self.aligned(order);
        let folio = match self.random.below(6) {
            0 => pgmap.alloc_folio_with(order, K::Data::from_bits(0)).ok(),
            1 => pgmap.request_folio_with(start, order, K::data(start)).ok(),
            2 => pgmap.request_folio_raw(start, order, K::data(start)).ok().and_then(|()| Folio::from_raw(pgmap, start)),
            3 => K::ask(pgmap, order, &mut self.random).ok(),
            4 => {
                let block = pgmap.request_block(start, order).ok();
                block.and_then(|block| block.into_folio(K::data(start)).ok())
            }
            _ => {
                let block = pgmap.alloc_block(order).ok();
                block.and_then(|block| block.into_folio(K::Data::from_bits(0)).ok())
            }
        };
        let Some(folio) = folio else { return };
        assert!(names(K::named(folio.data()), folio.offset()) && folio.refs() >= 1, "{folio:?} near {head}");
        self.keep(folio);
    }

    /// A reference to whatever is there, from here or to another thread.
    fn speculate(&mut self) {
        let page = self.page();
        if let Some(folio) = self.pgmap().try_get(page) {
            assert!(names(K::named(folio.data()), folio.offset()));
            assert!(folio.offset() <= page && page.get() < folio.offset().get() + folio.order().pages());
            self.common.post.lock().unwrap().push(folio);
        }
        let got = self.common.post.lock().unwrap().pop();
        drop(got);
    }

    /// Many references at once, and too many.
    fn count(&mut self) {
        let Some(folio) = self.any_folio() else { return };
        let (pgmap, head) = (self.pgmap(), folio.offset());
        K::use_folio(&folio);
        // Frozen: somebody migrates it, which he cannot while we hold it, or splits it, which he gives up.
        let more = (0..self.random.below(5)).filter(|_| pgmap.get_raw(head).is_ok()).count() as u32;
        let refused = pgmap.put_raw(head, u32::MAX);
        assert!(matches!(refused, Err(PutError::TooMany { held }) if held > more), "{refused:?}");
        let clones = [folio.clone(), folio.clone()];
        assert!(pgmap.put_raw(head, more).is_ok());
        drop(clones);
        self.folios.push(folio);
    }

    fn split(&mut self) {
        let Some(folio) = self.any_folio() else { return };
        let smaller = order(u32::from(folio.order().get() > 0) * (folio.order().get() / 2));
        match folio.split(smaller, 1) {
            Ok(parts) => parts.for_each(|part| self.folios.push(part)),
            Err(refused) => self.folios.push(refused.value),
        }
    }

    /// Moves a folio away if nobody else has it, else unmaps and puts it.
    fn migrate(&mut self) {
        let Some(folio) = self.any_folio() else { return };
        let pgmap = self.pgmap();
        if pgmap.map_raw(folio.offset()).is_err() {
            // Frozen by somebody who is about to give up.
            return self.folios.push(folio);
        }
        let head = folio.into_raw();
        let _ = pgmap.put_raw(head, 1);
        let gone = pgmap.freeze_raw(head, Expect::NoPins).is_ok_and(|frozen| frozen.free().is_ok());
        // The last put of a frozen folio is refused; who has frozen it gives up, because we have a reference.
        while !gone && pgmap.unmap_raw(head) == Err(PutError::Frozen) {
            std::thread::yield_now();
        }
    }

    fn freeze(&mut self) {
        let Some(folio) = self.any_folio() else { return };
        if let Ok(mut frozen) = folio.freeze(Expect::Refs(1)) {
            assert!(self.pgmap().get_raw(folio.offset()).is_err(), "a frozen folio was found");
            let data = frozen.data();
            frozen.set_data(K::data(folio.offset()));
            frozen.set_data(data);
            assert!(frozen.free().is_err(), "freed under a reference that is no mapping");
        }
        self.folios.push(folio);
    }

    fn take_blocks(&mut self) {
        let (pgmap, order) = (self.pgmap(), self.order());
        match self.random.below(5) {
            0 => {
                if let Ok(block) = pgmap.alloc_block(order) {
                    self.blocks.extend(block.trim(self.random.below(order.pages()) + 1));
                }
            }
            1 => {
                if let Ok(block) = pgmap.alloc_block(order) {
                    self.blocks.extend(block.split(Order::new(order.get() / 2).unwrap()));
                }
            }
            2 => {
                let window = Extent::between(at(0), at(PAGES)).unwrap();
                let params = ExtentParams::new(self.random.below(100) + 1).within(window);
                self.blocks.extend(pgmap.alloc_extent(&params).into_iter().flatten());
            }
            3 => self.blocks.clear(),
            _ => match self.any_folio().map(|folio| keeping_nothing(|| folio.into_block())) {
                Some(Ok(block)) => self.blocks.push(block),
                Some(Err(folio)) => self.folios.push(folio),
                None => {}
            },
        }
    }

    /// Pages that the driver has kept are a block, whoever takes them over.
    fn take_kept(&mut self) {
        let pgmap = self.pgmap();
        let Some(run) = pgmap.ops().books().kept.lock().unwrap().pop() else { return };
        // Once `folio_free`, which wrote it down, has returned.
        while matches!(pgmap.lookup(run.start()), Ok(Lookup::Folio { .. })) {
            std::thread::yield_now();
        }
        if self.random.one_in(2) {
            assert_eq!(pgmap.free_block_raw(run.start(), run.order()), Ok(()));
        } else {
            self.blocks.push(Block::from_raw(pgmap, run).unwrap());
        }
    }

    fn special(&mut self) {
        let size = if self.random.one_in(20) { SpecialSize::Pmd } else { SpecialSize::Page };
        let offset = if size == SpecialSize::Pmd { self.aligned(Order::PMD) } else { self.page() };
        if self.pgmap().declare_special(offset, size, Reason::Driver(1)).is_ok() {
            assert!(matches!(self.pgmap().lookup(offset), Ok(Lookup::Special { reason: Reason::Driver(1), .. })));
            assert_eq!(self.pgmap().check_access(offset, Capability::CopyOnWrite), Err(AccessError::Special));
            assert!(self.pgmap().try_get(offset).is_none());
            self.specials.push((offset, size));
        }
        if self.specials.len() > 3 || self.random.one_in(2) {
            self.take_specials_back(self.specials.len().saturating_sub(2));
        }
    }

    fn take_specials_back(&mut self, left: usize) {
        for (offset, size) in self.specials.drain(left..) {
            self.common.pgmap.undeclare_special(offset, size).unwrap();
        }
    }

    fn find_bad(&mut self) {
        let pgmap = self.pgmap();
        if !self.random.one_in(100) {
            let _ = pgmap.retiring().find(|&page| pgmap.is_retiring(page));
            return;
        }
        let page = self.page();
        let retired = if self.random.one_in(2) { pgmap.retire(page) } else { pgmap.inject_memory_failure(page) };
        match retired {
            Ok(Retirement::Done | Retirement::Pending) => {}
            // Several threads end folios there, or the range is gone.
            Err(RetireError::AlreadyRetired | RetireError::OutOfRange) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn wait(&mut self) {
        let (pgmap, page) = (self.pgmap(), self.page());
        match self.random.below(3) {
            0 => match pgmap.wait_idle_timeout(page, Duration::from_micros(50)) {
                Ok(()) | Err(WaitError::TimedOut | WaitError::OutOfRange) => {}
                Err(error) => panic!("{error}"),
            },
            1 => {
                // Given up at once.
                let Ok(waits) = pgmap.until_idle(page) else { return };
                let _ = pin!(waits).poll(&mut Context::from_waker(Waker::noop()));
            }
            _ => {
                // A folio of its own: if nobody else has it, it is idle at once.
                let Some(folio) = self.any_folio() else { return };
                let page = folio.offset();
                drop(folio);
                let _ = pgmap.wait_idle_timeout(page, Duration::from_millis(1));
            }
        }
    }

    fn look(&mut self) {
        let (pgmap, page) = (self.pgmap(), self.page());
        match pgmap.lookup(page) {
            Ok(Lookup::Folio { head, order }) => assert!(head <= page && page.get() < head.get() + order.pages()),
            Ok(Lookup::Special { head, order, .. }) => assert!(head <= page && page.get() < head.get() + order.pages()),
            _ => {}
        }
        assert!(self.folios.iter().all(|folio| matches!(pgmap.lookup(folio.offset()), Ok(Lookup::Folio { .. }))));
        assert!(self.folios.iter().all(|folio| !pgmap.is_idle(folio.offset())));
        let walked: u64 = pgmap.snapshot().take(50).map(|run| run.pages).sum();
        assert!(walked <= PAGES + PLUGGED);
    }

    /// What pages hold, in a pool that knows.
    fn clear(&mut self) {
        let (pgmap, order) = (self.pgmap(), self.order());
        let window = Extent::between(at(0), at(PAGES)).unwrap();
        match self.random.below(4) {
            0 => {
                let wish = [Wish::DontCare, Wish::PreferCleared, Wish::Cleared][self.random.below(3) as usize];
                if let Ok((folio, _)) = pgmap.alloc_folio_wishing(order, wish, K::Data::from_bits(0)) {
                    self.keep(folio);
                }
            }
            1 => pgmap.dirty_blocks(window, order).take(3).for_each(Block::release_cleared),
            // Where the others never rest it may be said that not all is forgotten.
            2 if self.random.one_in(50) => _ = pgmap.forget_clear(window),
            2 => assert!(pgmap.avail_cleared(window) <= PAGES),
            _ => self.blocks.pop().into_iter().for_each(Block::release_cleared),
        }
    }

    /// The handle lives on from one operation to the next.
    fn use_handle(&mut self) {
        let mut local = self.local.take().or_else(|| self.pgmap().local());
        let Some(handle) = &mut local else { return };
        for _ in 0..self.random.below(40) {
            let order = self.order();
            let Ok(folio) = handle.alloc_folio_with(order, K::Data::from_bits(0)) else { continue };
            self.common.served.fetch_add(order.pages(), Relaxed);
            if self.random.one_in(3) { self.folios.push(folio) } else { assert!(handle.put(folio).is_ok()) }
        }
        if let Some(folio) = self.any_folio() {
            assert!(handle.put(folio).is_ok());
        }
        if self.random.one_in(8) {
            handle.drain();
        }
        self.local = if self.random.one_in(8) { None } else { local };
    }
}
