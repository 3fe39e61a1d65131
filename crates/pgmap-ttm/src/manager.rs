//! The manager: its memory types, its objects, and the books that are kept about them.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use hashbrown::HashMap;
use pgmap_alloc::{Owner, PgmapOps};
use slab::Slab;

use crate::bo::{Bo, ByObject, Candidate, ObjectInfo, ObjectParams, Priority};
use crate::error::{AddError, CreateError, FreeError, Stale, UnknownMemory};
use crate::lru::Lru;
use crate::mover::Mover;
use crate::object::Object;
use crate::piece::{Piece, Ticket};
use crate::place::MemoryType;
use crate::resource::{Kind, MemoryUsage, ResourceManager};
use crate::segment::{Ghost, Segment, Segments};

/// A step at which a fault hook can make a verb fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Charging pages to an owner: as if the owner were at its limit.
    Charge,
    /// Taking pages: as if there were no room.
    Allocate,
    /// Starting a copy: as if the mover refused.
    Copy,
    /// The end of a copy: as if it had failed.
    Fence,
}

/// What a manager has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Copies that were started.
    pub copies: u64,
    /// Pages in them.
    pub pages_copied: u64,
    /// Pieces in them.
    pub pieces_copied: u64,
    /// Copies that failed after they had been started, and were undone.
    pub undone: u64,
    /// Objects, or what they had in one memory type, that were pushed out with their contents.
    pub evicted: u64,
    /// Objects that lost their pages, and what was in them.
    pub gutted: u64,
    /// Objects that were purged: they lost what nobody needed.
    pub purged: u64,
    /// Objects that were moved to the swap.
    pub swapped_out: u64,
    /// Objects that were brought back when there was room again.
    pub promoted: u64,
    /// Faults that brought pages in.
    pub faults: u64,
    /// Moves that needed a stop on the way.
    pub bounced: u64,
    /// Waits for a copy.
    pub waits: u64,
}

pub(crate) type FaultHook = Box<dyn FnMut(Step) -> bool + Send>;
pub(crate) type Valuable = Box<dyn Fn(&Candidate) -> bool + Send>;

/// Keeps objects in memory. The crate's front page walks through what it does.
///
/// Everything goes through `&mut self`: to share a manager, put it behind one lock. Dropping it waits for the copies that are
/// still under way, gives every page back, and takes it off its owner's account; what others still hold is then nobody's.
pub struct Manager<'p, M: Mover, O: PgmapOps<Data = usize> = ByObject> {
    pub(crate) mover: M,
    pub(crate) page_shift: u32,
    pub(crate) memories: Vec<ResourceManager<'p, O>>,
    pub(crate) objects: Slab<Object<'p, O>>,
    pub(crate) lru: Lru,
    /// How many members each bulk has.
    pub(crate) bulks: HashMap<u64, usize>,
    /// What objects gave up while others held it, and who pays for it until they put it.
    pub(crate) held: Vec<(Owner, Segment<'p, O>)>,
    /// Oldest ticket first.
    pub(crate) ghosts: VecDeque<Ghost<'p, O>>,
    pub(crate) last_ticket: Ticket,
    /// What was pushed out: priority, when, and which object.
    pub(crate) pushed_out: BTreeSet<(Priority, u64, usize)>,
    /// Pages that promotions could have moved, and did not for the sake of an object that comes as a whole.
    pub(crate) unused_budget: u64,
    pub(crate) last_serial: u64,
    pub(crate) counters: Counters,
    pub(crate) valuable: Option<Valuable>,
    fault_hook: Option<FaultHook>,
}

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// A manager without memory, whose pages are of `2^page_shift` bytes.
    pub fn new(mover: M, page_shift: u32) -> Self {
        Manager {
            mover,
            page_shift,
            memories: Vec::new(),
            objects: Slab::new(),
            lru: Lru::default(),
            bulks: HashMap::new(),
            held: Vec::new(),
            ghosts: VecDeque::new(),
            last_ticket: Ticket::default(),
            pushed_out: BTreeSet::new(),
            unused_budget: 0,
            last_serial: 0,
            counters: Counters::default(),
            valuable: None,
            fault_hook: None,
        }
    }

    /// Adds a memory type.
    pub fn add(&mut self, resources: ResourceManager<'p, O>) -> Result<MemoryType, AddError> {
        if resources.pages() == 0 {
            return Err(AddError::NoPages);
        }
        if let Kind::Device { pgmap, .. } = &resources.kind
            && pgmap.page_shift() != self.page_shift
        {
            return Err(AddError::PageShift { pgmap: pgmap.page_shift(), manager: self.page_shift });
        }
        let index = u8::try_from(self.memories.len()).ok().filter(|i| usize::from(*i) < MemoryType::MAX);
        let memory = MemoryType(index.ok_or(AddError::TooMany)?);
        self.memories.push(resources);
        self.lru.add_memory();
        Ok(memory)
    }

    /// Makes an object that stands nowhere yet.
    pub fn create(&mut self, params: ObjectParams) -> Result<Bo, CreateError> {
        let largest = self.memories.iter().map(ResourceManager::pages).max().unwrap_or(0);
        if params.pages == 0 {
            return Err(CreateError::NoPages);
        }
        if params.pages > largest {
            return Err(CreateError::TooLarge { largest });
        }
        if let Some(place) = params.evict_to.places().iter().find(|place| self.known(place.memory).is_err()) {
            return Err(CreateError::UnknownMemory(place.memory));
        }
        self.last_serial += 1;
        let serial = self.last_serial;
        let key = self.objects.insert(Object::new(serial, params));
        Ok(Bo { key, serial })
    }

    /// Frees an object. Its pages are free once nothing that was started uses them any more.
    pub fn free(&mut self, bo: Bo) -> Result<(), FreeError> {
        let key = self.find(bo)?;
        if self.objects[key].pins > 0 {
            return Err(FreeError::Pinned);
        }
        self.drop_pages(key);
        self.forget_pushed_out(key);
        self.leave(key);
        self.objects.remove(key);
        self.reap();
        Ok(())
    }

    /// What can be seen of an object.
    pub fn info(&self, bo: Bo) -> Result<ObjectInfo, Stale> {
        let object = &self.objects[self.find(bo)?];
        Ok(ObjectInfo {
            pages: object.pages,
            resident: object.resident(),
            owner: object.owner,
            priority: object.priority,
            keeping: object.keeping,
            pins: object.pins,
            pushed_out: object.pushed_out.is_some(),
            moved_at: object.moved_at,
        })
    }

    /// Where an object stands: each piece with the object's page that it starts at. Pages that stand nowhere are left out.
    ///
    /// What a piece holds is the object's only after [`wait`](Manager::wait), and for as long as nothing makes it move.
    pub fn pieces(&self, bo: Bo) -> Result<impl Iterator<Item = (u64, Piece)>, Stale> {
        let object = &self.objects[self.find(bo)?];
        Ok(object.segments().map(|(page, segment)| (page, segment.piece)))
    }

    /// The memory type in which the whole object stands, if there is one.
    pub fn home(&self, bo: Bo) -> Result<Option<MemoryType>, Stale> {
        let object = &self.objects[self.find(bo)?];
        let mut memories = object.segments().map(|(_, segment)| segment.piece.memory);
        let first = memories.next().filter(|_| object.resident() == object.pages);
        Ok(first.filter(|first| memories.all(|memory| memory == *first)))
    }

    /// Says that the device uses the object's pages until `ticket`: a point of the mover's timeline that something which was
    /// started already will reach.
    pub fn used_until(&mut self, bo: Bo, ticket: Ticket) -> Result<(), Stale> {
        let key = self.find(bo)?;
        let object = &mut self.objects[key];
        object.used_until = object.used_until.max(Some(ticket));
        Ok(())
    }

    /// How full a memory type is.
    pub fn memory_usage(&self, memory: MemoryType) -> Result<MemoryUsage, UnknownMemory> {
        Ok(self.memories[self.known(memory)?].usage())
    }

    /// What the manager has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The mover.
    pub fn mover(&self) -> &M {
        &self.mover
    }

    /// The mover, to read and write bytes with.
    pub fn mover_mut(&mut self) -> &mut M {
        &mut self.mover
    }

    /// Asks `valuable` before an object is pushed out for another's need; `false` spares it.
    pub fn set_eviction_valuable(&mut self, valuable: impl Fn(&Candidate) -> bool + Send + 'static) {
        self.valuable = Some(Box::new(valuable));
    }

    /// Asks `hook` at each step whether it is to fail.
    pub fn set_fault_hook(&mut self, hook: impl FnMut(Step) -> bool + Send + 'static) {
        self.fault_hook = Some(Box::new(hook));
    }

    /// No step fails by request any more.
    pub fn clear_fault_hook(&mut self) {
        self.fault_hook = None;
    }

    pub(crate) fn find(&self, bo: Bo) -> Result<usize, Stale> {
        match self.objects.get(bo.key) {
            Some(object) if object.serial == bo.serial => Ok(bo.key),
            _ => Err(Stale),
        }
    }

    /// The handle of an object that is known to exist.
    pub(crate) fn bo(&self, key: usize) -> Bo {
        Bo { key, serial: self.objects[key].serial }
    }

    /// Tells the mover where an object stands now.
    pub(crate) fn notify(&mut self, key: usize) {
        let bo = self.bo(key);
        let mut pieces = self.objects[key].segments().map(|(page, segment)| (page, segment.piece));
        self.mover.move_notify(bo, &mut pieces);
    }

    pub(crate) fn known(&self, memory: MemoryType) -> Result<usize, UnknownMemory> {
        if memory.index() < self.memories.len() { Ok(memory.index()) } else { Err(UnknownMemory { memory }) }
    }

    pub(crate) fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(1u64.checked_shl(self.page_shift).unwrap_or(u64::MAX))
    }

    pub(crate) fn injected(&mut self, step: Step) -> bool {
        self.fault_hook.as_mut().is_some_and(|hook| hook(step))
    }

    /// Gives segments back and takes them off their owner's account.
    pub(crate) fn release(&mut self, owner: Owner, segments: Segments<'p, O>) {
        for (_, segment) in segments {
            self.release_one(owner, segment);
        }
    }

    /// Gives a segment back, or keeps it, charged, until the last of those who hold its folio has put it.
    fn release_one(&mut self, owner: Owner, segment: Segment<'p, O>) {
        let Piece { memory, pages, .. } = segment.piece;
        let resources = &mut self.memories[memory.index()];
        match resources.release(segment) {
            // Refused only if someone else uncharged what this manager had charged; the audit finds that.
            Ok(()) => _ = resources.accounts.uncharge(owner, pages),
            Err(held) => {
                resources.held += pages;
                self.held.push((owner, held));
            }
        }
    }

    /// Gives back what others held and have put.
    pub(crate) fn release_held(&mut self) {
        if self.held.iter().all(|(_, segment)| segment.is_shared()) {
            return;
        }
        for (owner, segment) in core::mem::take(&mut self.held) {
            self.memories[segment.piece.memory.index()].held -= segment.piece.pages;
            self.release_one(owner, segment);
        }
    }

    /// Puts what others hold in `memory`, which is going away: who puts it last no longer matters to anyone here.
    pub(crate) fn let_go(&mut self, memory: MemoryType) {
        let resources = &mut self.memories[memory.index()];
        for (owner, segment) in self.held.extract_if(.., |(_, segment)| segment.piece.memory == memory) {
            let pages = segment.piece.pages;
            resources.held -= pages;
            resources.used -= pages;
            let _ = resources.accounts.uncharge(owner, pages);
        }
    }

    /// Lists an object where it has pages and is not pinned, and nowhere else; `touch` makes it the youngest.
    pub(crate) fn relist(&mut self, key: usize, touch: bool) {
        let object = &mut self.objects[key];
        let mut stands = [false; MemoryType::MAX];
        if object.pins == 0 {
            object.segments().for_each(|(_, segment)| stands[segment.piece.memory.index()] = true);
        }
        let (rank, bulk) = (object.rank(), object.bulk);
        for (index, stands) in (0..).zip(stands).take(self.memories.len()) {
            let memory = MemoryType(index);
            let age = object.ages.get(&memory).copied();
            if age.is_some() && stands && !touch {
                continue;
            }
            if let Some(age) = age {
                self.lru.remove(memory, rank, bulk, age);
                object.ages.remove(&memory);
            }
            if stands {
                object.ages.insert(memory, self.lru.push(memory, rank, bulk, key));
            }
        }
    }
}

impl<M: Mover, O: PgmapOps<Data = usize>> Drop for Manager<'_, M, O> {
    fn drop(&mut self) {
        let used = self.objects.iter().filter_map(|(_, object)| object.used_until).max();
        for ticket in self.ghosts.iter().map(|ghost| ghost.ticket).chain(used) {
            // Whether it failed no longer matters: it has ended, and nobody will look.
            let _ = self.mover.wait(ticket);
        }
        // The accounts outlive the manager.
        for (_, mut object) in core::mem::take(&mut self.objects) {
            self.release(object.owner, object.take(object.whole()));
        }
        for ghost in core::mem::take(&mut self.ghosts) {
            self.release(ghost.owner, ghost.old);
        }
        (0..).map(MemoryType).take(self.memories.len()).for_each(|memory| self.let_go(memory));
    }
}
