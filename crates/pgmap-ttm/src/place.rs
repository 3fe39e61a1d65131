//! Where an object may stand: places in order of preference.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bitflags::bitflags;

/// A kind of memory that a manager was given: the device memory of one pgmap, or host pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryType(pub(crate) u8);

impl MemoryType {
    /// How many memory types one manager can have.
    pub const MAX: usize = 16;

    /// Its index, in the order in which the manager was given its memory.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory {}", self.0)
    }
}

/// The pages of a memory type that a place may use: from `first` up to, not including, `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first page.
    pub first: u64,
    /// The first page beyond.
    pub last: u64,
}

impl Window {
    /// Every page.
    pub const ALL: Window = Window { first: 0, last: u64::MAX };

    /// Whether the run of `pages` pages at `first` lies inside.
    pub const fn contains(&self, first: u64, pages: u64) -> bool {
        match first.checked_add(pages) {
            Some(end) => self.first <= first && end <= self.last,
            None => false,
        }
    }

    /// Whether all of `other` lies inside.
    pub(crate) const fn encloses(&self, other: &Window) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether the run of `pages` pages at `first` has a page inside.
    pub const fn meets(&self, first: u64, pages: u64) -> bool {
        self.meeting(first, pages) > 0
    }

    /// How many pages of the run of `pages` pages at `first` lie inside.
    pub(crate) const fn meeting(&self, first: u64, pages: u64) -> u64 {
        let end = first.saturating_add(pages);
        let (start, end) = (if first > self.first { first } else { self.first }, if end < self.last { end } else { self.last });
        end.saturating_sub(start)
    }
}

bitflags! {
    /// How a place is to be filled.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u8 {
        /// All pages of the object in one run.
        const CONTIGUOUS = 1;
        /// From the high end of the window downwards.
        const TOP_DOWN = 2;
        /// A stop on the way: the next validation moves the object on.
        const TEMPORARY = 4;
    }
}

/// In which pass of a validation a place takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pass {
    /// In both.
    #[default]
    Both,
    /// Desired: worth using if there is room, not worth pushing anyone out.
    Desired,
    /// Fallback: only when there was no room elsewhere without pushing someone out.
    Fallback,
}

/// One acceptable home of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The memory type.
    pub memory: MemoryType,
    /// The pages of it that may be used.
    pub window: Window,
    /// How they are to be used.
    pub flags: Flags,
    /// When they are to be used.
    pub pass: Pass,
}

impl Place {
    /// Anywhere in `memory`.
    pub const fn new(memory: MemoryType) -> Place {
        Place { memory, window: Window::ALL, flags: Flags::empty(), pass: Pass::Both }
    }

    /// The same place, from page `first` up to, not including, page `last`.
    pub const fn within(self, first: u64, last: u64) -> Place {
        Place { window: Window { first, last }, ..self }
    }

    /// The same place with these flags and no others.
    pub const fn with(self, flags: Flags) -> Place {
        Place { flags, ..self }
    }

    /// The same place, used in the first pass only.
    pub const fn desired(self) -> Place {
        Place { pass: Pass::Desired, ..self }
    }

    /// The same place, used in the second pass only.
    pub const fn fallback(self) -> Place {
        Place { pass: Pass::Fallback, ..self }
    }

    /// Whether this place takes part when others are (`evicting`) or are not pushed out for it.
    pub(crate) fn takes_part(&self, evicting: bool) -> bool {
        self.pass != if evicting { Pass::Desired } else { Pass::Fallback }
    }
}

/// Places in order of preference; an empty one means that the object needs no memory at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement(Arc<[Place]>);

impl Placement {
    /// These places, the best first.
    pub fn new(places: &[Place]) -> Placement {
        Placement(places.into())
    }

    /// Nowhere: an object validated into it, or evicted to it, loses its pages and what was in them.
    pub fn nowhere() -> Placement {
        Placement::default()
    }

    /// The places that are not in `memory`.
    pub(crate) fn outside(&self, memory: MemoryType) -> Vec<Place> {
        self.0.iter().filter(|place| place.memory != memory).copied().collect()
    }

    /// The places, the best first.
    pub fn places(&self) -> &[Place] {
        &self.0
    }
}

impl From<Place> for Placement {
    fn from(place: Place) -> Placement {
        Placement::new(&[place])
    }
}
