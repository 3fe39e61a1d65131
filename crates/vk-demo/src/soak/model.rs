//! The objects of a soak, and what each page of them must hold.

use pgmap_alloc::{Offset, Owners, RetireError};
use pgmap_ttm::{
    Bo, Bulk, CopyError, Manager, MemoryType, ObjectParams, Owner, Piece, Place, Placement, ResourceManager, WaitError,
};

use super::findings::Findings;
use super::story::{OWNERS, PARENT};
use crate::checksum;
use crate::device::Device;
use crate::failure::Failure;
use crate::heap::{Heap, PAGE};
use crate::mover::{DeviceManager, DeviceMover};
use crate::pattern::Pattern;
use crate::sums::Found;

/// Words of a page.
const WORDS: u64 = PAGE / 8;
/// At the most one page of the heap in this many is retired.
const RETIRED_SHARE: u64 = 16;

/// The accounts of a soak.
pub(super) type Payers = Owners<{ OWNERS as usize }>;

/// One of them is everyone else's parent.
pub(super) fn payers() -> Result<Payers, Failure> {
    let parents = std::array::from_fn(|owner| (owner != PARENT.0 as usize).then_some(PARENT));
    Payers::with_parents(parents).map_err(|why| Failure::Heap(why.to_string()))
}

/// A manager, its objects, and what is known of them.
pub(super) struct Model<'h, 'd> {
    pub(super) heap: &'h Heap,
    /// Who pays for pages of the heap.
    pub(super) owners: &'h Payers,
    pub(super) manager: DeviceManager<'h, 'd>,
    pub(super) vram: MemoryType,
    pub(super) host: MemoryType,
    pub(super) swap: MemoryType,
    pub(super) bulk: Bulk,
    pub(super) items: Vec<Item>,
    /// First pages of carve-outs.
    pub(super) carved: Vec<u64>,
    /// The last object that was freed.
    pub(super) stale: Option<Bo>,
    pub(super) findings: Findings,
    seed: u64,
    inject: bool,
    last_id: u64,
    bytes: Vec<u8>,
}

/// One object.
pub(super) struct Item {
    pub(super) bo: Bo,
    id: u64,
    pub(super) pages: Vec<Page>,
    /// Pushed out, it loses its pages.
    may_vanish: bool,
    /// It was written or moved after it was last compared.
    is_fresh: bool,
    pub(super) pins: u32,
}

/// What is known of a page of an object.
#[derive(Clone, Copy, Default)]
pub(super) struct Page {
    /// What was last written into it.
    version: Option<u64>,
    /// Whether that has been compared.
    compared: bool,
}

impl<'h, 'd> Model<'h, 'd> {
    pub(super) fn new(
        heap: &'h Heap,
        owners: &'h Payers,
        device: &'d mut dyn Device,
        hosts: [u64; 2],
        seed: u64,
        inject: bool,
    ) -> Result<Model<'h, 'd>, Failure> {
        let mut manager = Manager::new(DeviceMover::new(heap, device, &hosts[..1]), PAGE.trailing_zeros());
        let mut add = |resources| manager.add(resources).map_err(|why| Failure::Heap(why.to_string()));
        let vram = add(ResourceManager::device(heap.pgmap()).charged_to(owners))?;
        let (host, swap) = (add(ResourceManager::host(hosts[0]))?, add(ResourceManager::host(hosts[1]))?);
        manager.mover_mut().add_swap(hosts[1], host)?;
        let bulk = manager.create_bulk();
        Ok(Model {
            heap,
            owners,
            manager,
            vram,
            host,
            swap,
            bulk,
            items: Vec::new(),
            carved: Vec::new(),
            stale: None,
            findings: Findings::default(),
            seed,
            inject,
            last_id: 0,
            bytes: Vec::new(),
        })
    }

    /// Makes an object that stands nowhere.
    pub(super) fn create(&mut self, pages: u64, owner: Owner, may_vanish: bool) {
        let out = Placement::new(&[Place::new(self.host), Place::new(self.swap)]);
        let evict_to = if may_vanish { Placement::nowhere() } else { out };
        match self.manager.create(ObjectParams::new(pages).owner(owner).evict_to(evict_to)) {
            Ok(bo) => {
                self.last_id += 1;
                let pages = vec![Page::default(); pages as usize];
                self.items.push(Item { bo, id: self.last_id, pages, may_vanish, is_fresh: false, pins: 0 });
            }
            Err(why) => self.findings.problem(format!("an object of {pages} pages was not made: {why}")),
        }
    }

    /// Frees an object, after a last look; refused only while it is pinned.
    pub(super) fn free(&mut self, item: usize) -> Result<(), Failure> {
        self.verify(item)?;
        let freed = self.manager.free(self.items[item].bo);
        if freed.is_ok() != (self.items[item].pins == 0) {
            self.findings.problem(format!("free of an object with {} pins: {freed:?}", self.items[item].pins));
        }
        match freed {
            Ok(()) => self.stale = Some(self.items.swap_remove(item).bo),
            Err(_) => self.findings.refused += 1,
        }
        Ok(())
    }

    /// Writes the `which`-th piece of an object, if it stands anywhere, after a last look at what it holds.
    pub(super) fn write(&mut self, item: usize, which: usize) -> Result<(), Failure> {
        self.verify(item)?;
        let pieces = self.pieces(item);
        if pieces.is_empty() {
            return Ok(());
        }
        let (first, piece) = pieces[which % pieces.len()];
        // A folio can be larger than the object that stands in it.
        let pages = piece.pages.min(self.items[item].pages.len() as u64 - first);
        self.write_pages(item, first, Piece { pages, ..piece })?;
        self.arrived(item)
    }

    /// Writes pages that an object has come to have, as drivers clear them: nothing that moves is without contents.
    fn write_new(&mut self, item: usize) -> Result<(), Failure> {
        if self.items[item].pages.iter().all(|page| page.version.is_some()) {
            return Ok(());
        }
        // A copy that failed takes the object back to where it was.
        self.settle(item);
        for (first, piece) in self.pieces(item) {
            let end = (first + piece.pages).min(self.items[item].pages.len() as u64);
            let mut page = first;
            while page < end {
                let new = self.items[item].pages[page as usize..end as usize].iter().take_while(|page| page.version.is_none());
                let pages = new.count() as u64;
                if pages > 0 {
                    self.write_pages(item, page, Piece { first: piece.first + (page - first), pages, ..piece })?;
                }
                page += pages.max(1);
            }
        }
        Ok(())
    }

    fn write_pages(&mut self, item: usize, first: u64, piece: Piece) -> Result<(), Failure> {
        let (Item { bo, id, .. }, pages) = (&self.items[item], piece.pages);
        let (bo, id) = (*bo, *id);
        self.findings.coverage.written_bytes += pages * PAGE;
        let version = self.findings.ops;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize((pages * PAGE) as usize, 0);
        Pattern::new(self.seed, id, version).fill(first * WORDS, &mut bytes);
        let written = self.manager.mover_mut().write(&[piece], &bytes);
        self.bytes = bytes;
        if let Some(ticket) = written? {
            let _ = self.manager.used_until(bo, ticket);
        }
        let written = Page { version: Some(version), compared: false };
        self.items[item].pages[first as usize..(first + pages) as usize].fill(written);
        Ok(())
    }

    /// What an object held is gone, by its owner's own wish.
    pub(super) fn forget(&mut self, item: usize) {
        self.items[item].pages.fill(Page::default());
    }

    /// Looks at objects that may vanish in whatever is done next, and have been written or moved after the last look.
    pub(super) fn verify_vanishing(&mut self) -> Result<(), Failure> {
        for item in 0..self.items.len() {
            if self.items[item].may_vanish && self.items[item].is_fresh {
                self.verify(item)?;
            }
        }
        Ok(())
    }

    /// Has the device sum what has moved, where that is in the heap: before anything can move it on. Nothing waits for it.
    pub(super) fn sum_arrivals(&mut self) -> Result<(), Failure> {
        for bo in self.manager.mover_mut().take_arrivals() {
            if let Some(item) = self.items.iter().position(|item| item.bo == bo) {
                self.write_new(item)?;
                self.arrived(item)?;
            }
        }
        Ok(())
    }

    /// The pages of an object that are known and in the heap are summed.
    fn arrived(&mut self, item: usize) -> Result<(), Failure> {
        self.items[item].is_fresh = true;
        let (mut known, mut sum) = (Vec::new(), 0);
        let mut bytes = vec![0; PAGE as usize];
        for (first, piece) in self.pieces(item).into_iter().filter(|(_, piece)| piece.memory == self.vram) {
            let pages = piece.pages.min(self.items[item].pages.len() as u64 - first);
            for at in 0..pages {
                let Some(version) = self.items[item].pages[(first + at) as usize].version else { continue };
                Pattern::new(self.seed, self.items[item].id, version).fill((first + at) * WORDS, &mut bytes);
                sum = checksum::add(sum, known.len() as u64 * PAGE / 4, &bytes);
                known.push(Piece { first: piece.first + at, pages: 1, ..piece });
            }
        }
        if !known.is_empty() {
            self.manager.mover_mut().begin_sum(&known, sum)?;
        }
        Ok(())
    }

    /// Forgets what was in objects that have lost their pages, where they may.
    pub(super) fn forget_vanished(&mut self) {
        for item in self.items.iter_mut().filter(|item| item.may_vanish) {
            if self.manager.info(item.bo).is_ok_and(|info| info.resident == 0) {
                item.pages.fill(Page::default());
            }
        }
    }

    /// Compares every byte that is known of an object.
    pub(super) fn verify(&mut self, item: usize) -> Result<(), Failure> {
        self.settle(item);
        self.items[item].is_fresh = false;
        let pieces = self.pieces(item);
        let mut found = 0;
        for (first, piece) in pieces {
            let pages = piece.pages.min(self.items[item].pages.len() as u64 - first);
            let known = self.items[item].pages[first as usize..(first + pages) as usize].to_vec();
            let count = known.iter().filter(|page| page.version.is_some()).count();
            if count == 0 {
                continue;
            }
            found += count;
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize((pages * PAGE) as usize, 0);
            let read = self.manager.mover_mut().read(&[Piece { pages, ..piece }], &mut bytes);
            // What could not be read is nothing to compare.
            let pages = if read.is_ok() { &bytes[..] } else { &[] };
            for ((known, page), at) in known.iter().zip(pages.chunks_exact(PAGE as usize)).zip(first..) {
                if let Some(version) = known.version {
                    self.compare(item, at, version, page);
                }
            }
            self.bytes = bytes;
            read?;
        }
        let written = self.items[item].pages.iter().filter(|page| page.version.is_some()).count();
        if found < written {
            self.findings.lost_pages += (written - found) as u64;
            self.findings.problem(format!("{} pages that were written stand nowhere", written - found));
            // Said once.
            self.forget(item);
        }
        Ok(())
    }

    fn compare(&mut self, item: usize, page: u64, version: u64, bytes: &[u8]) {
        self.findings.checked_bytes += bytes.len() as u64;
        if !std::mem::replace(&mut self.items[item].pages[page as usize].compared, true) {
            self.findings.coverage.compared_bytes += bytes.len() as u64;
        }
        if let Some(mismatch) = Pattern::new(self.seed, self.items[item].id, version).check(page * WORDS, bytes) {
            self.findings.wrong_words += mismatch.words;
            self.findings.problem(format!("page {page} of an object holds {} wrong words", mismatch.words));
        }
    }

    /// Waits for an object's copies; one that failed is no matter here, if it may fail.
    pub(super) fn settle(&mut self, item: usize) {
        match self.manager.wait(self.items[item].bo) {
            Ok(()) => {}
            Err(WaitError::CopyFailed) if self.inject => {}
            Err(why) => self.findings.problem(format!("wait: {why}")),
        }
    }

    /// Counts a refusal that is in order; one that is not is a problem.
    pub(super) fn refused(&mut self, what: &str, why: &dyn std::fmt::Debug, copy: Option<CopyError>, in_order: bool) {
        self.findings.refused += 1;
        // A copy fails only if it was made to.
        if !in_order || copy.is_some() && !self.inject {
            self.findings.problem(format!("{what}: {why:?}"));
        }
    }

    /// Every byte, every book.
    pub(super) fn quiet_point(&mut self) -> Result<(), Failure> {
        self.manager.mover().trouble()?;
        for item in 0..self.items.len() {
            self.verify(item)?;
        }
        self.manager.wait_all();
        self.manager.mover().trouble()?;
        self.end_sums()?;
        self.findings.quiet_points += 1;
        let usage = self.manager.memory_usage(self.vram).unwrap_or_default();
        self.findings.retired_pages = self.heap.pgmap().retired().count() as u64;
        let taken = usage.used + usage.carved + self.findings.retired_pages;
        let charged = self.owners.usage(PARENT).map_or(0, |usage| usage.pages);
        match (self.manager.audit(), self.heap.pages_in_service()) {
            (Ok(audit), Ok(in_service)) => {
                if audit.leaving != 0 || in_service != taken || charged != usage.used {
                    let books =
                        format!("the pgmap has {in_service} pages in use, the manager {usage:?}, {audit:?}; {charged} are charged");
                    self.findings.problem(books);
                }
            }
            (Err(why), _) => self.findings.problem(why.to_string()),
            (_, Err(why)) => self.findings.problem(why.to_string()),
        }
        Ok(())
    }

    pub(super) fn end_sums(&mut self) -> Result<(), Failure> {
        let Found { sums, bytes, wrong } = self.manager.mover_mut().end_sums()?;
        (self.findings.device_sums, self.findings.summed_bytes, self.findings.wrong_sums) = (sums, bytes, wrong);
        Ok(())
    }

    /// Takes a page of the heap out of use for good, at once or when whoever has it gives it back.
    pub(super) fn retire(&mut self, page: u64) {
        let pgmap = self.heap.pgmap();
        if pgmap.retired().count() as u64 + pgmap.retiring().count() as u64 >= pgmap.pages() / RETIRED_SHARE {
            return;
        }
        match pgmap.retire(Offset::new(page)) {
            Ok(_) => {}
            Err(RetireError::AlreadyRetired) => self.findings.refused += 1,
            Err(why) => self.findings.problem(format!("retire: {why}")),
        }
    }

    fn pieces(&self, item: usize) -> Vec<(u64, Piece)> {
        self.manager.pieces(self.items[item].bo).map(Iterator::collect).unwrap_or_default()
    }
}
