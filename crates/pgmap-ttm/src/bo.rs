//! What a caller says of an object, and what it is told.

use pgmap_alloc::{Order, Owner, PgmapOps};

use crate::piece::Ticket;
use crate::place::{Place, Placement};

/// Names an object of a manager, also after it was freed: then every verb says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bo {
    pub(crate) key: usize,
    /// Keys are used again, serial numbers are not.
    pub(crate) serial: u64,
}

impl Bo {
    /// The object's key: what its folios carry as driver data.
    pub const fn key(self) -> usize {
        self.key
    }
}

/// The least that a pgmap of a manager needs: its folios carry the key of their object.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByObject;

impl PgmapOps for ByObject {
    type Data = usize;
}

/// How much an object is worth keeping: objects of a lower priority are pushed out first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// First to go.
    Low,
    /// As most objects are.
    #[default]
    Normal,
    /// After all normal ones.
    High,
    /// Last to go: what the device itself needs.
    Kernel,
}

impl Priority {
    const LEVELS: usize = 4;
}

/// Whether what an object holds is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keeping {
    /// It is.
    #[default]
    Needed,
    /// Not now: it may be purged when room is short.
    Purgeable,
    /// It was purged: the pages are gone, and what was in them is lost.
    Purged,
}

/// In which of the lists of a memory type an object stands: what may be purged goes first, then what has the lowest priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(usize);

impl Rank {
    pub(crate) const LEVELS: usize = 1 + Priority::LEVELS;

    pub(crate) fn of(priority: Priority, keeping: Keeping) -> Rank {
        match keeping {
            Keeping::Needed => Rank(1 + priority as usize),
            Keeping::Purgeable | Keeping::Purged => Rank(0),
        }
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// What an object is made of.
#[derive(Clone, Debug)]
pub struct ObjectParams {
    /// Its length; at least one page.
    pub pages: u64,
    /// Who is charged for its pages.
    pub owner: Owner,
    /// How much it is worth keeping.
    pub priority: Priority,
    /// The largest folio that it is built of.
    pub largest: Order,
    /// Where it goes when it is pushed out; nowhere means that its contents may be lost.
    pub evict_to: Placement,
}

impl ObjectParams {
    /// An object of `pages` pages, of folios as large as there are, that owner 0 pays for and that is lost when it is pushed out.
    pub fn new(pages: u64) -> ObjectParams {
        ObjectParams { pages, owner: Owner(0), priority: Priority::default(), largest: Order::MAX, evict_to: Placement::nowhere() }
    }

    /// The same object, pushed out to `placement`.
    pub fn evict_to(self, placement: impl Into<Placement>) -> ObjectParams {
        ObjectParams { evict_to: placement.into(), ..self }
    }

    /// The same object, charged to `owner`.
    pub fn owner(self, owner: Owner) -> ObjectParams {
        ObjectParams { owner, ..self }
    }

    /// The same object with this priority.
    pub fn priority(self, priority: Priority) -> ObjectParams {
        ObjectParams { priority, ..self }
    }

    /// The same object, built of folios of at most this order.
    pub fn largest(self, order: Order) -> ObjectParams {
        ObjectParams { largest: order, ..self }
    }
}

/// What can be seen of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its length in pages.
    pub pages: u64,
    /// How many of them stand somewhere.
    pub resident: u64,
    /// Who is charged for them.
    pub owner: Owner,
    /// How much it is worth keeping.
    pub priority: Priority,
    /// Whether what it holds is needed.
    pub keeping: Keeping,
    /// How often it is pinned.
    pub pins: u32,
    /// Whether it was pushed out of where its last placement wanted it.
    pub pushed_out: bool,
    /// The last copy that brought some of its pages where they stand, if there was one.
    pub moved_at: Option<Ticket>,
}

/// An object that is about to be pushed out for another's need.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The object.
    pub bo: Bo,
    /// Its length in pages.
    pub pages: u64,
    /// Who is charged for it.
    pub owner: Owner,
    /// How much it is worth keeping.
    pub priority: Priority,
    /// The place where room is needed.
    pub place: Place,
}
